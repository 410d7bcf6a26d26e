//! Ten days of a queue: our servers have mail for other people's, some of which are of no use for hours, for days, or for as
//! long as anybody tries; and everything breaks now and then, all the time.

use mox_machine::{Rng, Seed};
use std::time::Duration;

use super::{FAULT_FREE_ONE_IN, company, notify, number, one_of, trouble};
use crate::plan::{
    ACCOUNTS_MAX, ClientPlan, Crash, Cut, Does, Ends, How, PEER_ACCOUNTS, PEERS_MAX, PeerPlan,
    Plan, Secrecy, Send, ServerPlan, Then, To,
};
use crate::{DnsManner, Knobs};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// How long such a world breaks.
const BREAKS_MS: u64 = 10 * DAY_MS;
/// Mail is sent in the first days, so that each message is of age before the end.
const SENDS_MS: u64 = 4 * DAY_MS;
/// Pauses between the messages of one client at most.
const PAUSE_MS: u64 = 8 * HOUR_MS;
/// A second server of ours is in one world of so many.
const TWO_ONE_IN: u64 = 3;
/// Faults of the network would let no session come to its end with such small segments in so many days.
const SEGMENT_MIN: usize = 100;

impl Plan {
    /// The plan of a seed in which a queue works for ten days.
    pub fn ten_days_of_seed(seed: u64) -> Self {
        let root = Seed::from_number(seed).child("ten days", 0);
        let mut rng = root.child("shape", 0).rng();
        let is_fault_free = rng.one_in(FAULT_FREE_ONE_IN);
        let servers: Vec<ServerPlan> = (0..1 + u8::from(rng.one_in(TWO_ONE_IN)))
            .map(|_| ServerPlan {
                accounts: 1 + number(&mut rng, ACCOUNTS_MAX),
                tls: rng.one_in(2),
            })
            .collect();
        let knobs = match is_fault_free {
            true => Knobs::fault_free(),
            false => {
                let knobs = trouble::knobs(&root);
                Knobs {
                    segment: knobs.segment.max(SEGMENT_MIN),
                    ..knobs
                }
            }
        };
        let peers: Vec<PeerPlan> = (0..1 + rng.below(PEERS_MAX as u64))
            .map(|_| PeerPlan {
                until_s: one_of(
                    &mut rng,
                    &[HOUR_MS, 6 * HOUR_MS, 2 * DAY_MS, 6 * DAY_MS, 30 * DAY_MS],
                ) / 1_000,
                tls: rng.one_in(2),
                manner: company::manner(&mut rng),
            })
            .collect();
        let mut plan = Self {
            seed,
            knobs,
            heal_ms: BREAKS_MS,
            servers,
            peers,
            ..Self::default()
        };
        let clients = (0..1 + rng.below(3)).map(|_| client(&mut rng, &plan));
        plan.clients = clients.collect();
        if is_fault_free {
            return plan;
        }
        plan.knobs.end_of_time = Duration::from_secs(60 * 86_400);
        let mut rng = root.child("troubles", 0).rng();
        let mut crashes: Vec<Crash> = (0..rng.below(16)).map(|_| crash(&mut rng, &plan)).collect();
        crashes.sort_unstable_by_key(|crash| crash.at_ms);
        plan.crashes = crashes;
        if rng.one_in(3) {
            plan.names = Some(DnsManner::drawn(&root));
        }
        if rng.one_in(2) {
            plan.cuts = (0..1 + rng.below(4))
                .map(|_| cut(&mut rng, &plan))
                .collect();
        }
        if rng.one_in(2) {
            let disks = (0..1 + rng.below(6)).map(|_| trouble::disk(&mut rng, &plan));
            plan.disks = disks.collect();
        }
        plan
    }
}

/// Somebody with a password who sends.
fn client(rng: &mut Rng, plan: &Plan) -> ClientPlan {
    let server = number(rng, plan.servers.len());
    let accounts = |n: usize| plan.servers.get(n).map_or(1, |s| s.accounts);
    let own = number(rng, accounts(server));
    let begins_ms = rng.below(SENDS_MS / 2);
    let mut send = |_| {
        let mut to: Vec<To> = (0..1 + rng.below(3))
            .map(|_| {
                if !rng.one_in(4) {
                    let peer = number(rng, plan.peers.len());
                    return To::Peer(peer, number(rng, PEER_ACCOUNTS));
                }
                let other = number(rng, plan.servers.len());
                match rng.one_in(4) {
                    true => To::Nobody(other),
                    false => To::Account(other, number(rng, accounts(other))),
                }
            })
            .collect();
        to.sort_unstable();
        to.dedup();
        Send {
            after_ms: one_of(rng, &[10, MINUTE_MS, HOUR_MS, PAUSE_MS]),
            to,
            lines: rng.below(40) as u32,
            how: match rng.below(4) {
                0 => How::Pipelined,
                1 => How::Chunks(1 + rng.below(3_000) as u32),
                _ => How::Plain,
            },
            notify: notify(rng),
        }
    };
    // Even the longest pauses leave time for the last one to come of age.
    let sends = (0..6).map(&mut send).collect::<Vec<_>>();
    let kept = 1 + number(rng, sends.len());
    let sends = sends.into_iter().take(kept).collect();
    ClientPlan {
        begins_ms,
        server,
        secrecy: match rng.below(3) {
            0 => Secrecy::None,
            1 => Secrecy::StartTls,
            _ => Secrecy::AtOnce,
        },
        does: Does::Submit(own, sends),
    }
}

/// The power fails in the midst of what the queue does: nothing else calls the store.
fn crash(rng: &mut Rng, plan: &Plan) -> Crash {
    Crash {
        server: number(rng, plan.servers.len()),
        // More of them in the beginning, when there is more to do.
        at_ms: match rng.one_in(2) {
            true => rng.below(SENDS_MS),
            false => rng.below(BREAKS_MS),
        },
        then: match rng.one_in(4) {
            true => Then::Steps(rng.below(2_000)),
            false => Then::Call(rng.below(60)),
        },
        // Not longer than a client tries, also when another follows.
        down_ms: one_of(rng, &[500, MINUTE_MS, HOUR_MS, 2 * HOUR_MS]),
        cut: 0,
    }
}

fn cut(rng: &mut Rng, plan: &Plan) -> Cut {
    let from = Ends::Server(number(rng, plan.servers.len()));
    let to = match rng.below(3) {
        0 => Ends::Names,
        _ => Ends::Peer(number(rng, plan.peers.len())),
    };
    let (from, to) = match rng.one_in(2) {
        true => (from, to),
        false => (to, from),
    };
    Cut {
        from,
        to,
        both: rng.one_in(2),
        at_ms: rng.below(SENDS_MS),
        for_ms: one_of(rng, &[MINUTE_MS, 3 * HOUR_MS, 2 * DAY_MS]),
    }
}
