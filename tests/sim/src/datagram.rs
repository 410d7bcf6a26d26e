//! Datagrams, as far as asking a name server needs them.

use core::fmt;
use core::task::{Poll, Waker};
use core::time::Duration;
use mox_driver::{Datagram, FutRef};
use mox_machine::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use crate::knobs::between;
use crate::net::FIRST_PORT;
use crate::sim::Sim;
use crate::slot::lock;

/// Answers one datagram by any number of them, each after a time of its own.
type Server = Box<dyn FnMut(SocketAddr, &[u8]) -> Vec<(Duration, Vec<u8>)> + Send>;
/// Who answers datagrams, by address.
pub(crate) type Servers = BTreeMap<SocketAddr, Arc<Mutex<Server>>>;

impl Sim {
    /// Lets a function answer the datagrams sent to an address: for each the answers, and how long each takes besides
    /// the network.
    pub fn serve_udp(
        &self,
        on: SocketAddr,
        server: impl FnMut(SocketAddr, &[u8]) -> Vec<(Duration, Vec<u8>)> + Send + 'static,
    ) {
        let server: Server = Box::new(server);
        lock(&self.world().servers).insert(on, Arc::new(Mutex::new(server)));
    }
}

/// A datagram socket connected to one address.
pub struct SimDatagram {
    sim: Sim,
    number: u64,
    to: SocketAddr,
    from: SocketAddr,
    rng: Rng,
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Default)]
struct Inbox {
    arrived: VecDeque<Vec<u8>>,
    waiting: Option<Waker>,
}

pub(crate) fn open(sim: Sim, to: SocketAddr, source: IpAddr) -> SimDatagram {
    let number = sim.number();
    let mut rng = sim.world().root.child("udp", number).rng();
    let port = FIRST_PORT + rng.below(16_384) as u16;
    SimDatagram {
        number,
        to,
        from: (source, port).into(),
        rng,
        inbox: Arc::default(),
        sim,
    }
}

impl SimDatagram {
    fn send_now(&mut self, bytes: &[u8]) {
        self.sim.fact("datagram", self.number, bytes);
        let knobs = &self.sim.world().knobs;
        if self.rng.one_in(self.sim.odds(knobs.loss_one_in)) {
            return self.sim.fault("datagram lost", self.number);
        }
        // Nobody sends a datagram again by itself.
        if self.sim.is_cut(self.from.ip(), self.to.ip()) {
            return self.sim.fault("datagram lost", self.number);
        }
        let there = between(&mut self.rng, knobs.latency);
        let back = between(&mut self.rng, knobs.latency);
        let (sim, to, from) = (self.sim.clone(), self.to, self.from);
        let (inbox, bytes) = (Arc::clone(&self.inbox), bytes.to_vec());
        let arrive = Box::new(move || {
            let server = lock(&sim.world().servers).get(&to).cloned();
            let answers = server.map(|server| lock(&server)(from, &bytes));
            for (after, answer) in answers.unwrap_or_default() {
                let inbox = Arc::clone(&inbox);
                let then = sim.clone();
                let deliver = Box::new(move || {
                    if then.is_cut(to.ip(), from.ip()) {
                        return then.fault("datagram lost", 0);
                    }
                    let waiting = {
                        let mut inbox = lock(&inbox);
                        inbox.arrived.push_back(answer);
                        inbox.waiting.take()
                    };
                    waiting.into_iter().for_each(Waker::wake);
                });
                sim.at(sim.now().mono + after + back, deliver);
            }
        });
        self.sim.at(self.sim.now().mono + there, arrive);
    }
}

impl Datagram for SimDatagram {
    fn send<'a>(&'a mut self, bytes: &'a [u8]) -> FutRef<'a, io::Result<()>> {
        Box::pin(async move {
            self.send_now(bytes);
            Ok(())
        })
    }

    fn recv<'a>(&'a mut self, into: &'a mut [u8]) -> FutRef<'a, io::Result<usize>> {
        Box::pin(core::future::poll_fn(move |cx| {
            let mut inbox = lock(&self.inbox);
            let Some(bytes) = inbox.arrived.pop_front() else {
                inbox.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let copied = into
                .iter_mut()
                .zip(&bytes)
                .map(|(to, from)| *to = *from)
                .count();
            self.sim.fact("answer", self.number, &bytes);
            Poll::Ready(Ok(copied))
        }))
    }
}

impl fmt::Debug for SimDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDatagram({} to {})", self.from, self.to)
    }
}
