//! From a seed to a plan: each kind of client, action, fault and crash is in some worlds, and missing in others.

mod company;
mod sending;
mod trouble;

use mox_machine::{Rng, Seed};

use super::{
    ACCOUNTS_MAX, ClientPlan, Crash, Deed, Does, FLAGS, How, MAILBOXES, Notify, PEER_ACCOUNTS,
    Plan, SERVERS_MAX, Secrecy, Send, ServerPlan, Then, To,
};
use crate::Knobs;

/// One world in so many is without any fault.
const FAULT_FREE_ONE_IN: u64 = 8;
/// Octets of a segment below which messages are short.
const SMALL_SEGMENT: usize = 100;

impl Plan {
    /// The plan of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let root = Seed::from_number(seed).child("plan", 0);
        let mut rng = root.child("shape", 0).rng();
        let is_fault_free = rng.one_in(FAULT_FREE_ONE_IN);
        let servers: Vec<ServerPlan> = (0..1 + rng.below(SERVERS_MAX as u64))
            .map(|_| ServerPlan {
                accounts: 1 + number(&mut rng, ACCOUNTS_MAX),
                tls: rng.one_in(2),
            })
            .collect();
        let heal_ms = 20_000 + rng.below(100_000);
        let knobs = match is_fault_free {
            true => Knobs::fault_free(),
            false => trouble::knobs(&root),
        };
        let peers = company::peers(&root, heal_ms);
        let mut swarm = Swarm::drawn(&servers, root.child("clients", 0).rng());
        swarm.peers = peers.len();
        // Octet by octet, a long message says no more than a short one.
        if knobs.segment < SMALL_SEGMENT {
            swarm.lines = swarm.lines.min(20);
        }
        let count = 1 + rng.below(9);
        let clients = (0..count).map(|_| swarm.client(heal_ms / 2)).collect();
        let mut crash_rng = root.child("crashes", 0).rng();
        let crashes = match is_fault_free || crash_rng.one_in(4) {
            true => Vec::new(),
            false => crashes(&mut crash_rng, servers.len(), heal_ms),
        };
        let mut plan = Self {
            seed,
            knobs,
            heal_ms,
            servers,
            clients,
            crashes,
            peers,
            names: None,
            cuts: Vec::new(),
            disks: Vec::new(),
            jumps: Vec::new(),
        };
        if !is_fault_free {
            trouble::add(&mut plan, &root);
        }
        plan
    }
}

/// What the clients of one world do, more often or never.
struct Swarm<'s> {
    servers: &'s [ServerPlan],
    rng: Rng,
    /// How often each kind of deed is done, against each other.
    deeds: [u64; 10],
    hows: [u64; 6],
    /// Lines of the largest message.
    lines: u64,
    /// The longest pause.
    pause_ms: u64,
    pieces: u64,
    /// Other people's servers.
    peers: usize,
    /// Clients nobody invites come too.
    is_invaded: bool,
}

impl<'s> Swarm<'s> {
    fn drawn(servers: &'s [ServerPlan], mut rng: Rng) -> Self {
        let mut weight = |most: u64| match rng.one_in(3) {
            true => 0,
            false => 1 + rng.below(most),
        };
        let mut deeds = core::array::from_fn(|_| weight(6));
        let mut hows = core::array::from_fn(|_| weight(4));
        // Something must be possible.
        deeds[9] += 1;
        hows[0] += 1;
        Self {
            servers,
            deeds,
            hows,
            lines: one_of(&mut rng, &[3, 30, 900, 1_600]),
            pause_ms: one_of(&mut rng, &[10, 500, 8_000]),
            pieces: 1 + rng.below(5),
            peers: 0,
            is_invaded: rng.one_in(3),
            rng,
        }
    }

    fn client(&mut self, latest_ms: u64) -> ClientPlan {
        let server = number(&mut self.rng, self.servers.len());
        let account = self.account(server);
        let actions = 1 + self.rng.below(2 * self.pieces);
        let secrecy = match self.rng.below(3) {
            0 => Secrecy::None,
            1 => Secrecy::StartTls,
            _ => Secrecy::AtOnce,
        };
        let does = match self.rng.below(5) {
            _ if self.is_invaded && self.rng.one_in(4) => Does::Intrude(
                (0..1 + self.rng.below(3))
                    .map(|_| company::rude(&mut self.rng))
                    .collect(),
            ),
            0 => Does::Relay((0..actions).map(|_| self.send(Some(server))).collect()),
            1 | 2 => Does::Submit(account, (0..actions).map(|_| self.send(None)).collect()),
            _ => Does::Read(account, (0..3 * actions).map(|_| self.deed()).collect()),
        };
        ClientPlan {
            begins_ms: self.rng.below(latest_ms.max(1)),
            server,
            secrecy,
            does,
        }
    }

    fn account(&mut self, server: usize) -> usize {
        let accounts = self.servers.get(server).map_or(1, |s| s.accounts);
        number(&mut self.rng, accounts)
    }

    /// `only`: the server that the recipients must be at.
    fn send(&mut self, only: Option<usize>) -> Send {
        let count = 1 + match self.rng.one_in(3) {
            true => self.rng.below(5),
            false => 0,
        };
        let mut to: Vec<To> = (0..count)
            .map(|_| {
                if only.is_none() && self.peers > 0 && self.rng.one_in(2) {
                    let peer = number(&mut self.rng, self.peers);
                    return To::Peer(peer, number(&mut self.rng, PEER_ACCOUNTS));
                }
                let server = only.unwrap_or_else(|| number(&mut self.rng, self.servers.len()));
                match self.rng.one_in(8) {
                    true => To::Nobody(server),
                    false => To::Account(server, self.account(server)),
                }
            })
            .collect();
        to.sort_unstable();
        to.dedup();
        Send {
            after_ms: self.rng.below(self.pause_ms),
            to,
            lines: self.rng.below(self.lines) as u32,
            how: match chosen(&mut self.rng, &self.hows) {
                1 => How::Pipelined,
                2 => How::Chunks(1 + self.rng.below(3_000) as u32),
                3 => How::AfterReset,
                4 => How::CutOnce,
                5 => How::InjectOnce,
                _ => How::Plain,
            },
            notify: notify(&mut self.rng),
        }
    }

    fn deed(&mut self) -> Deed {
        let nth = self.rng.below(1_000) as u32;
        let mailbox = number(&mut self.rng, MAILBOXES.len());
        match chosen(&mut self.rng, &self.deeds) {
            0 => Deed::Append(mailbox, self.rng.below(self.lines) as u32),
            1 => {
                let flag = number(&mut self.rng, FLAGS.len());
                let set = !self.rng.one_in(3);
                match self.rng.one_in(3) {
                    true => Deed::FlagNumber { nth, flag, set },
                    false => Deed::Flag { nth, flag, set },
                }
            }
            2 => Deed::Copy(nth, mailbox),
            3 => Deed::Move(nth, mailbox),
            4 => Deed::Delete(nth),
            5 => Deed::Fetch(nth),
            6 => Deed::Idle(self.rng.below(20_000)),
            7 => Deed::Select(mailbox),
            8 => match self.rng.one_in(2) {
                true => Deed::Drop,
                false => Deed::Resync,
            },
            _ => match self.rng.one_in(2) {
                true => Deed::Sync,
                false => Deed::Wait(self.rng.below(self.pause_ms)),
            },
        }
    }
}

/// Most people say nothing about it.
fn notify(rng: &mut Rng) -> Notify {
    match rng.below(6) {
        0 => Notify::Never,
        1 => Notify::Failure,
        2 => Notify::Success,
        _ => Notify::Usual,
    }
}

fn crashes(rng: &mut Rng, servers: usize, heal_ms: u64) -> Vec<Crash> {
    let mut crashes: Vec<Crash> = (0..1 + rng.below(6))
        .map(|_| Crash {
            server: number(rng, servers),
            at_ms: rng.below(heal_ms),
            then: match rng.one_in(3) {
                true => Then::Steps(rng.below(200)),
                false => Then::Call(rng.below(24)),
            },
            down_ms: rng.below(6_000),
            cut: match rng.one_in(6) {
                true => 1 + number(rng, 20),
                false => 0,
            },
        })
        .collect();
    crashes.sort_unstable_by_key(|crash| crash.at_ms);
    crashes
}

fn number(rng: &mut Rng, below: usize) -> usize {
    usize::try_from(rng.below(below as u64)).unwrap_or(0)
}

fn one_of(rng: &mut Rng, choices: &[u64]) -> u64 {
    let chosen = number(rng, choices.len());
    choices.get(chosen).copied().unwrap_or_default()
}

/// An index, each as likely as its weight says.
fn chosen(rng: &mut Rng, weights: &[u64]) -> usize {
    let mut left = rng.below(weights.iter().sum());
    for (index, weight) in weights.iter().enumerate() {
        if left < *weight {
            return index;
        }
        left -= weight;
    }
    weights.len()
}
