//! Whole worlds with all oracles: those of the seeds, and small ones that go where a fault would be.

use mox_machine::{Rng, Seed};
use mox_sim::plan::{
    ClientPlan, Crash, Deed, Does, How, Notify, Secrecy, Send, ServerPlan, Then, To,
};
use mox_sim::{Knobs, Plan, run};

/// The worlds of `moxctl sim --seed`.
pub fn whole_worlds(seed: u64) -> Vec<String> {
    run(&Plan::of_seed(seed)).wrong
}

/// The worlds of `moxctl sim --ten-days`.
pub fn ten_days_of_a_queue(seed: u64) -> Vec<String> {
    run(&Plan::ten_days_of_seed(seed)).wrong
}

/// Two people in one mailbox of one server, without any fault.
pub fn a_shared_mailbox(seed: u64) -> Vec<String> {
    run(&mailboxes(seed, 0)).wrong
}

/// One mailbox, and a server that loses its power again and again.
pub fn a_mailbox_under_crashes(seed: u64) -> Vec<String> {
    run(&mailboxes(seed, 8)).wrong
}

/// Two servers, people who send to both, without any fault.
pub fn mail_without_faults(seed: u64) -> Vec<String> {
    run(&mail(seed, 0, Knobs::fault_free())).wrong
}

/// Two servers that send mail to each other and lose their power again and again.
pub fn mail_under_crashes(seed: u64) -> Vec<String> {
    run(&mail(seed, 8, Knobs::fault_free())).wrong
}

/// The same, and each time batches are cut off that were durable: whoever opens those rows must see it.
pub fn rows_that_lost_their_end(seed: u64) -> Vec<String> {
    let mut plan = mail(seed, 8, Knobs::fault_free());
    let mut rng = rng(seed);
    for crash in &mut plan.crashes {
        crash.cut = 1 + rng.below(20) as usize;
    }
    run(&plan).wrong
}

/// Two servers on a network that breaks connections.
pub fn mail_over_a_bad_network(seed: u64) -> Vec<String> {
    let knobs = Knobs {
        reset_one_in: 40,
        ..Knobs::fault_free()
    };
    run(&mail(seed, 4, knobs)).wrong
}

/// How long faults go on, in milliseconds.
const HEAL_MS: u64 = 12_000;

fn rng(seed: u64) -> Rng {
    Seed::from_number(seed).child("small worlds", 0).rng()
}

fn crashes(rng: &mut Rng, count: u64, servers: u64) -> Vec<Crash> {
    let mut crashes: Vec<Crash> = (0..count)
        .map(|_| Crash {
            server: rng.below(servers) as usize,
            at_ms: rng.below(HEAL_MS),
            then: match rng.one_in(3) {
                true => Then::Steps(rng.below(100)),
                false => Then::Call(rng.below(16)),
            },
            down_ms: rng.below(500),
            cut: 0,
        })
        .collect();
    crashes.sort_unstable_by_key(|crash| crash.at_ms);
    crashes
}

const fn server(accounts: usize) -> ServerPlan {
    ServerPlan {
        accounts,
        tls: false,
    }
}

fn mailboxes(seed: u64, crash_count: u64) -> Plan {
    let mut rng = rng(seed);
    let clients = (0..2)
        .map(|_| {
            let deeds = (0..30).map(|n| deed(&mut rng, n)).collect();
            ClientPlan {
                begins_ms: rng.below(200),
                server: 0,
                secrecy: Secrecy::None,
                does: Does::Read(0, deeds),
            }
        })
        .collect();
    Plan {
        seed,
        knobs: Knobs::fault_free(),
        heal_ms: HEAL_MS,
        servers: vec![server(1)],
        clients,
        crashes: crashes(&mut rng, crash_count, 1),
        ..Plan::default()
    }
}

fn deed(rng: &mut Rng, n: u64) -> Deed {
    let nth = rng.below(100) as u32;
    // First there must be something.
    match if n < 3 { 0 } else { rng.below(12) } {
        0 | 1 => Deed::Append(rng.below(2) as usize, [2, 2, 900][rng.below(3) as usize]),
        2 | 3 => Deed::Flag {
            nth,
            flag: rng.below(4) as usize,
            set: !rng.one_in(3),
        },
        4 => Deed::Copy(nth, rng.below(3) as usize),
        5 | 6 => Deed::Move(nth, rng.below(3) as usize),
        7 | 8 => Deed::Delete(nth),
        9 => Deed::Idle(rng.below(600)),
        10 => Deed::Wait(rng.below(600)),
        _ => Deed::Sync,
    }
}

fn mail(seed: u64, crash_count: u64, knobs: Knobs) -> Plan {
    let mut rng = rng(seed);
    let clients = (0..4)
        .map(|n| {
            let server = n % 2;
            let sends: Vec<Send> = (0..4).map(|_| send(&mut rng, server, n < 3)).collect();
            ClientPlan {
                begins_ms: rng.below(1_000),
                server,
                secrecy: Secrecy::None,
                does: match n < 3 {
                    true => Does::Submit(rng.below(2) as usize, sends),
                    false => Does::Relay(sends),
                },
            }
        })
        .collect();
    Plan {
        seed,
        knobs,
        heal_ms: HEAL_MS,
        servers: vec![server(2), server(2)],
        clients,
        crashes: crashes(&mut rng, crash_count, 2),
        ..Plan::default()
    }
}

/// Somebody at either server, two at the other one, or nobody.
fn send(rng: &mut Rng, own: usize, may_relay: bool) -> Send {
    let other = if may_relay { 1 - own } else { own };
    let to = match rng.below(5) {
        0 => vec![To::Account(own, 0), To::Account(own, 1)],
        1 => vec![
            To::Account(own, rng.below(2) as usize),
            To::Account(other, 1),
        ],
        2 => vec![To::Account(other, 0), To::Account(other, 1)],
        3 if may_relay => vec![To::Nobody(other)],
        _ => vec![To::Account(other, rng.below(2) as usize)],
    };
    let mut to = to;
    to.sort_unstable();
    to.dedup();
    Send {
        after_ms: rng.below(1_500),
        to,
        lines: [3, 40, 900][rng.below(3) as usize],
        how: match rng.below(5) {
            0 => How::Pipelined,
            1 => How::Chunks(1_000),
            2 => How::AfterReset,
            3 => How::CutOnce,
            _ => How::Plain,
        },
        notify: Notify::Usual,
    }
}
