//! One question, asked of one server after another until somebody answers.

use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;
use mox_machine::{Mono, Rng, Seed};

use super::config::{ResolverConfig, SERVERS_MAX};
use super::wire::{FAILURE_TTL, Judged, Sent};
use crate::{Answer, Failure, Question};

/// What a [`Lookup`] wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    /// Send this datagram from a fresh socket on a random port (RFC 5452 4.5); the sockets before it are done with.
    SendUdp {
        /// To whom.
        server: SocketAddr,
        /// The whole datagram.
        bytes: Bytes,
    },
    /// Connect, and send this; the sockets before it are done with.
    SendTcp {
        /// To whom.
        server: SocketAddr,
        /// With its length in front.
        bytes: Bytes,
    },
    /// Nothing until something arrives, or until then.
    WaitUntil(Mono),
    /// The answer. Every later call says so again.
    Finished(Answer),
}

/// Gets the answer to one question from the configured servers.
///
/// UDP first, with a random id and random case (0x20); over TCP when the answer was cut off or its case is not ours. What
/// does not match the query is passed over. A server that fails, refuses or does not answer in time makes room for the
/// next; each is asked `attempts` times.
#[derive(Debug)]
pub struct Lookup {
    question: Question,
    config: ResolverConfig,
    rng: Rng,
    /// Servers tried so far, counting repetitions.
    tried: usize,
    /// The current server answers better without EDNS.
    without_edns: bool,
    /// What to say when nobody answers.
    failure: Failure,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Send the next query over UDP.
    Udp,
    /// Send the next query over TCP.
    Tcp,
    /// One was sent.
    Sent {
        query: Sent,
        tcp: bool,
        deadline: Mono,
    },
    Finished(Answer),
}

impl Lookup {
    /// Begins a lookup; ids and letter case come from `seed`, which must be fresh for each.
    pub fn new(question: Question, config: &ResolverConfig, seed: &Seed) -> Self {
        let mut config = config.clone();
        config.servers.truncate(SERVERS_MAX);
        Self {
            question,
            config,
            rng: seed.rng(),
            tried: 0,
            without_edns: false,
            failure: Failure::Timeout,
            state: State::Udp,
        }
    }

    /// The question.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// What to do now.
    pub fn next(&mut self, now: Mono) -> Do {
        if let State::Sent { deadline, .. } = &self.state {
            if now < *deadline {
                return Do::WaitUntil(*deadline);
            }
            self.next_server();
        }
        if let State::Finished(answer) = &self.state {
            return Do::Finished(answer.clone());
        }
        let Some(server) = self.server() else {
            let ttl = match self.failure {
                Failure::Timeout => 0,
                _ => FAILURE_TTL,
            };
            return self.finish(Answer::failure(self.failure, ttl));
        };
        let tcp = matches!(self.state, State::Tcp);
        let query = Sent::new(&self.question, &mut self.rng, !tcp, !self.without_edns);
        let bytes = query.bytes.clone();
        self.state = State::Sent {
            query,
            tcp,
            deadline: now + self.config.timeout,
        };
        if tcp {
            Do::SendTcp {
                server,
                bytes: with_length(&bytes),
            }
        } else {
            Do::SendUdp { server, bytes }
        }
    }

    /// A datagram came. Junk changes nothing.
    pub fn datagram(&mut self, _now: Mono, from: SocketAddr, bytes: &[u8]) {
        let Some(server) = self.server() else { return };
        let State::Sent {
            query, tcp: false, ..
        } = &self.state
        else {
            return;
        };
        // The scope of a link-local address may be missing from one of them.
        if (from.ip(), from.port()) != (server.ip(), server.port()) {
            return;
        }
        let judged = query.judge(bytes, self.config.trusts(server));
        match judged {
            Judged::Junk => {}
            Judged::OtherCase | Judged::Truncated => self.state = State::Tcp,
            judged => self.judged(judged, State::Udp),
        }
    }

    /// A message came over TCP, its two octets of length taken off.
    pub fn tcp(&mut self, _now: Mono, bytes: &[u8]) {
        let Some(server) = self.server() else { return };
        let State::Sent {
            query, tcp: true, ..
        } = &self.state
        else {
            return;
        };
        let judged = query.judge(bytes, self.config.trusts(server));
        self.judged(judged, State::Tcp);
    }

    /// The socket failed: no connection, an ICMP error, a stream that ended early.
    pub fn failed(&mut self, _now: Mono) {
        if matches!(self.state, State::Sent { .. }) {
            self.next_server();
        }
    }

    fn judged(&mut self, judged: Judged, again: State) {
        match judged {
            Judged::Answer(answer) => {
                self.finish(answer);
            }
            Judged::NoEdns if !self.without_edns => {
                self.without_edns = true;
                self.state = again;
            }
            Judged::Failed(Failure::Bogus) => {
                self.failure = Failure::Bogus;
                self.next_server();
            }
            // Junk on a connection, too: nothing better will come on it.
            _ => {
                if self.failure == Failure::Timeout {
                    self.failure = Failure::ServFail;
                }
                self.next_server();
            }
        }
    }

    fn server(&self) -> Option<SocketAddr> {
        let servers = self.config.servers.len();
        let attempts = usize::try_from(self.config.attempts).unwrap_or(usize::MAX);
        if servers == 0 || self.tried >= servers.saturating_mul(attempts) {
            return None;
        }
        self.config.servers.get(self.tried % servers).copied()
    }

    fn next_server(&mut self) {
        self.tried += 1;
        self.without_edns = false;
        self.state = State::Udp;
    }

    fn finish(&mut self, answer: Answer) -> Do {
        self.state = State::Finished(answer.clone());
        Do::Finished(answer)
    }
}

/// RFC 1035 4.2.2.
fn with_length(message: &[u8]) -> Bytes {
    let length = u16::try_from(message.len()).expect("a query fits into a packet");
    let mut bytes = Vec::with_capacity(message.len() + 2);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    Bytes::from(bytes)
}
