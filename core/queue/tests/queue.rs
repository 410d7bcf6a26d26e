#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use core::time::Duration;
use mox_machine::{Seed, Utc};
use mox_queue::{Entry, Failure, Limits, Next, NextHop, Outcome, Plan, Scheduler, Times, next};
use proptest::prelude::*;
use std::collections::BTreeMap;

const T0: i64 = 1_767_323_045;

fn at(secs: i64) -> Utc {
    Utc::from_secs(T0 + secs)
}

fn steady() -> Plan {
    Plan {
        jitter_percent: 0,
        ..Plan::default()
    }
}

/// A name in capitals is that of a transport.
fn hop(name: &str) -> NextHop {
    match name.starts_with(char::is_uppercase) {
        true => NextHop::Transport(name.into()),
        false => NextHop::Domain(name.into()),
    }
}

fn entry(id: u64, domain: &str, secs: i64, retry: bool) -> Entry {
    Entry {
        id,
        owner: 0,
        hop: hop(domain),
        next_attempt: at(secs),
        delay_notice: None,
        retry,
    }
}

#[test]
fn a_message_that_never_gets_through_is_tried_for_five_days_at_growing_pauses() {
    let plan = steady();
    let mut times = Times {
        queued: at(0),
        attempts: 0,
        delay_notified: false,
    };
    let (mut now, mut tried, mut notices) = (at(0), Vec::new(), Vec::new());
    let end = loop {
        times.attempts += 1;
        tried.push((now.secs() - T0) / 60);
        match next(&plan, &times, Outcome::Temporary, now, 0) {
            Next::Retry { at, delay_notice } => {
                if delay_notice {
                    notices.push((now.secs() - T0) / 60);
                    times.delay_notified = true;
                }
                now = at;
            }
            other => break other,
        }
    };
    assert_eq!(
        tried,
        [
            0, 7, 22, 52, 112, 232, 472, 952, 1_912, 2_872, 3_832, 4_792, 5_752, 6_712, 7_200
        ]
    );
    assert_eq!(end, Next::Fail(Failure::Expired));
    assert_eq!(notices, [472]);
    assert_eq!(plan.expires(at(0)), now);
}

#[test]
fn jitter_stays_within_ten_percent_and_reaches_both_ends() {
    let plan = Plan::default();
    let mut rng = Seed::from_number(3).rng();
    let (mut least, mut most) = (i64::MAX, 0);
    for attempts in [1, 2, 7, 8, 20] {
        let plain = [450, 900, 28_800, 57_600, 57_600][match attempts {
            1 => 0,
            2 => 1,
            7 => 2,
            8 => 3,
            _ => 4,
        }] * 1_000_000;
        for _ in 0..2_000 {
            let times = Times {
                queued: at(0),
                attempts,
                delay_notified: false,
            };
            let permille =
                (plan.retry_at(&times, at(0), rng.next_u64()).0 - at(0).0) * 1_000 / plain;
            least = least.min(permille);
            most = most.max(permille);
        }
    }
    assert!((900..=902).contains(&least), "{least}");
    assert!((1_098..=1_100).contains(&most), "{most}");
}

#[test]
fn each_outcome_has_its_consequence() {
    let plan = steady();
    let after = |outcome, attempts, secs| {
        let times = Times {
            queued: at(0),
            attempts,
            delay_notified: false,
        };
        next(&plan, &times, outcome, at(secs), 0)
    };
    let retry = |secs, delay_notice| Next::Retry {
        at: at(secs),
        delay_notice,
    };
    assert_eq!(after(Outcome::Delivered, 1, 0), Next::Done);
    assert_eq!(
        after(Outcome::Permanent, 1, 0),
        Next::Fail(Failure::Permanent)
    );
    assert_eq!(after(Outcome::NoDomain, 2, 0), retry(900, false));
    assert_eq!(
        after(Outcome::NoDomain, 3, 0),
        Next::Fail(Failure::NoDomain)
    );
    assert_eq!(
        after(Outcome::NoHost, 9, 14_399),
        retry(14_399 + 57_600, false)
    );
    assert_eq!(
        after(Outcome::NoHost, 9, 14_400),
        Next::Fail(Failure::NoHost)
    );
    assert_eq!(
        after(Outcome::Temporary, 6, 14_399),
        retry(14_399 + 14_400, false)
    );
    assert_eq!(after(Outcome::Temporary, 6, 14_400), retry(28_800, true));
    // The last pause is cut at the end of the lifetime.
    assert_eq!(after(Outcome::Temporary, 14, 431_999), retry(432_000, true));
    assert_eq!(
        after(Outcome::Temporary, 14, 432_000),
        Next::Fail(Failure::Expired)
    );
}

#[test]
fn a_clock_put_forward_by_years_does_not_expire_mail_that_was_hardly_tried() {
    let times = Times {
        queued: at(-1_000_000_000),
        attempts: 2,
        delay_notified: true,
    };
    assert_eq!(
        next(&steady(), &times, Outcome::Temporary, at(0), 0),
        Next::Retry {
            at: at(900),
            delay_notice: false
        }
    );
}

#[test]
fn what_is_due_starts_in_order_within_the_bounds_and_slots_come_back() {
    let mut scheduler = Scheduler::new(Limits {
        total: 4,
        retries: 3,
        per_domain: 2,
        ..Limits::default()
    });
    for (id, domain, secs) in [
        (1, "a", 3),
        (2, "a", 1),
        (3, "a", 2),
        (4, "b", 5),
        (5, "c", 9),
    ] {
        scheduler.insert(entry(id, domain, secs, false));
    }
    assert_eq!(scheduler.wait(at(0)), Some(Duration::from_secs(1)));
    assert_eq!(scheduler.due(at(0)), []);
    assert_eq!(scheduler.due(at(5)), [2, 3, 4]);
    assert_eq!(scheduler.wait(at(5)), Some(Duration::from_secs(4)));
    assert_eq!(scheduler.due(at(8)), [], "a is at its bound");
    scheduler.remove(4);
    scheduler.finished(4);
    assert_eq!(
        scheduler.wait(at(6)),
        Some(Duration::from_secs(3)),
        "a is at its bound"
    );
    assert_eq!(scheduler.due(at(9)), [5]);
    scheduler.insert(entry(2, "a", 100, true));
    scheduler.finished(2);
    assert_eq!(scheduler.due(at(9)), [1]);
    for id in [1, 3, 5] {
        scheduler.remove(id);
        scheduler.finished(id);
    }
    assert_eq!((scheduler.len(), scheduler.running()), (1, 0));
    assert_eq!(scheduler.due(at(99)), []);
    assert_eq!(scheduler.due(at(100)), [2]);
}

#[test]
fn a_running_message_is_not_started_twice_whatever_is_inserted() {
    let mut scheduler = Scheduler::new(Limits::default());
    scheduler.insert(entry(1, "a", 0, false));
    assert_eq!(scheduler.due(at(0)), [1]);
    scheduler.insert(entry(1, "a", 0, true));
    assert_eq!(scheduler.due(at(0)), []);
    scheduler.finished(1);
    assert_eq!(scheduler.due(at(0)), [1]);
    scheduler.finished(1);
    scheduler.finished(1);
    scheduler.finished(77);
    assert_eq!(scheduler.running(), 0);
}

#[test]
fn one_server_for_everybody_has_a_bound_of_its_own() {
    let limits = Limits::default();
    let mut scheduler = Scheduler::new(limits.clone());
    for id in 0..20 {
        scheduler.insert(entry(id, "Provider", 0, false));
        // A domain of the same name is somebody else.
        scheduler.insert(entry(100 + id, "provider", 0, false));
    }
    let due = scheduler.due(at(0));
    let by_transport = due.iter().filter(|id| **id < 100).count();
    assert_eq!((due.len(), by_transport), (4 + 5, limits.per_transport));
    assert_eq!(scheduler.runs_to(0), Some(&hop("Provider")));
    assert_eq!(scheduler.runs_to(19), None);
    scheduler.remove(0);
    scheduler.finished(0);
    assert_eq!(scheduler.due(at(0)), [5]);
}

#[test]
fn sessions_that_take_leave_count_for_their_server_until_they_are_gone() {
    let mut scheduler = Scheduler::new(Limits::default());
    let relay = NextHop::Transport("relay".into());
    for id in 0..12 {
        let entry = entry(id, "a.example", 0, false);
        scheduler.insert(Entry {
            hop: relay.clone(),
            ..entry
        });
    }
    assert_eq!(scheduler.due(at(0)), [0, 1, 2, 3, 4]);
    for id in 0..3 {
        scheduler.remove(id);
        scheduler.finished(id);
    }
    // Two of the three sessions that are over have not gone.
    scheduler.set_leaving(&relay, 2);
    assert_eq!(scheduler.due(at(0)), [5]);
    assert_eq!(scheduler.wait(at(0)), None);
    scheduler.set_leaving(&relay, 0);
    assert_eq!(scheduler.due(at(0)), [6, 7]);
}

#[test]
fn fresh_mail_is_not_starved_behind_a_backlog() {
    let limits = Limits {
        total: 10,
        retries: 7,
        per_domain: 2,
        ..Limits::default()
    };
    let mut scheduler = Scheduler::new(limits);
    for id in 0..10_000 {
        scheduler.insert(entry(
            id,
            &format!("dead{}.example", id % 5_000),
            -90_000,
            true,
        ));
    }
    // Dead hosts hold every slot that retries may have.
    assert_eq!(scheduler.due(at(0)).len(), 7);
    assert_eq!(scheduler.wait(at(0)), None);
    scheduler.insert(entry(20_000, "alive.example", 0, false));
    assert_eq!(scheduler.wait(at(0)), Some(Duration::ZERO));
    assert_eq!(scheduler.due(at(0)), [20_000]);

    // And under a steady load of fresh mail the backlog moves too: they take turns.
    let mut scheduler = Scheduler::new(Limits {
        total: 1,
        retries: 1,
        per_domain: 1,
        ..Limits::default()
    });
    for id in 0..10 {
        scheduler.insert(entry(id, "a", -100, true));
        scheduler.insert(entry(100 + id, "a", -1, false));
    }
    let mut order = Vec::new();
    while let [id] = scheduler.due(at(0))[..] {
        order.push(id);
        scheduler.remove(id);
        scheduler.finished(id);
    }
    assert_eq!(order[..4], [100, 0, 101, 1]);
    assert_eq!(order.len(), 20);
}

#[test]
fn a_clock_put_back_does_not_strand_mail_and_one_put_forward_is_noticed() {
    let mut scheduler = Scheduler::new(Limits::default());
    scheduler.insert(entry(1, "a", 57_600, true));
    assert_eq!(scheduler.wait(at(0)), Some(Duration::from_secs(600)));
    assert_eq!(scheduler.due(at(0)), []);
    // A year back: the attempt would be a year away.
    assert_eq!(scheduler.wait(at(-31_536_000)), Some(Duration::ZERO));
    assert_eq!(scheduler.due(at(-31_536_000)), [1]);
}

#[test]
fn delay_notices_come_once_also_while_every_slot_is_taken() {
    let mut scheduler = Scheduler::new(Limits {
        total: 0,
        ..Limits::default()
    });
    scheduler.insert(Entry {
        delay_notice: Some(at(100)),
        ..entry(1, "a", 0, true)
    });
    scheduler.insert(Entry {
        delay_notice: Some(at(50)),
        ..entry(2, "a", 0, true)
    });
    scheduler.remove(2);
    assert_eq!(scheduler.wait(at(90)), Some(Duration::from_secs(10)));
    assert_eq!(scheduler.delay_notices(at(99)), []);
    assert_eq!(scheduler.delay_notices(at(100)), [1]);
    assert_eq!(scheduler.delay_notices(at(1_000)), []);
    assert_eq!(scheduler.wait(at(1_000)), None);
}

fn of(owner: u64, entry: Entry) -> Entry {
    Entry { owner, ..entry }
}

#[test]
fn a_fresh_message_does_not_wait_behind_ten_thousand_of_another_account() {
    let limits = Limits::default();
    let mut scheduler = Scheduler::new(limits.clone());
    // Each to a domain of its own whose host does not answer: the bound of a domain keeps none of them back.
    for id in 0..10_000 {
        let slow = entry(id, &format!("slow{id}.example"), -1, false);
        scheduler.insert(of(1, slow));
    }
    let held = scheduler.due(at(0));
    assert_eq!(held, (0..40).collect::<Vec<_>>(), "some slots stay free");
    assert_eq!(scheduler.wait(at(0)), None);
    scheduler.insert(of(2, entry(20_000, "fast.example", 0, false)));
    assert_eq!(scheduler.wait(at(0)), Some(Duration::ZERO));
    assert_eq!(scheduler.due(at(0)), [20_000]);

    // What others hold never takes the last slots from who has none, and what comes free goes to who has fewer.
    for owner in 3..9 {
        for n in 0..1_000 {
            let id = owner * 100_000 + n;
            let slow = entry(id, &format!("slow{id}.example"), -1, false);
            scheduler.insert(of(owner, slow));
        }
    }
    let started = scheduler.due(at(0));
    let of_owner = |owner: u64| started.iter().filter(|id| **id / 100_000 == owner).count();
    // They take turns, and leave the last one.
    assert_eq!((3..9).map(of_owner).collect::<Vec<_>>(), [2, 2, 1, 1, 1, 1]);
    assert_eq!(scheduler.running(), 49);
    scheduler.insert(of(77, entry(77_777, "late.example", 0, false)));
    assert_eq!(scheduler.due(at(0)), [77_777]);
    let mut next = Vec::new();
    for id in 0..10 {
        scheduler.remove(id);
        scheduler.finished(id);
        next.extend(scheduler.due(at(0)));
    }
    assert_eq!(next.len(), 9, "one slot stays free");
    assert!(next.iter().all(|id| *id >= 300_000), "{next:?}");
}

#[test]
fn accounts_take_turns_at_a_domain_that_all_of_them_write_to() {
    let mut scheduler = Scheduler::new(Limits::default());
    for id in 0..1_000 {
        scheduler.insert(of(1, entry(id, "big.example", -100, false)));
    }
    assert_eq!(scheduler.due(at(0)), [0, 1, 2, 3]);
    scheduler.insert(of(2, entry(2_000, "big.example", 0, false)));
    scheduler.insert(of(3, entry(3_000, "big.example", 0, false)));
    scheduler.insert(of(3, entry(3_001, "big.example", 0, false)));
    assert_eq!(scheduler.due(at(0)), []);
    let mut order = Vec::new();
    for id in [0, 1, 2, 3, 2_000, 3_000] {
        scheduler.remove(id);
        scheduler.finished(id);
        order.extend(scheduler.due(at(0)));
    }
    // The first one waited for a place before the others did.
    assert_eq!(order, [4, 2_000, 3_000, 5, 3_001, 6]);
}

#[test]
fn a_place_at_a_domain_is_not_kept_for_who_may_take_no_slot() {
    let limits = Limits {
        total: 6,
        per_domain: 1,
        owner_share: 1,
        ..Limits::default()
    };
    let mut scheduler = Scheduler::new(limits);
    let put = |scheduler: &mut Scheduler, owner, id, domain| {
        scheduler.insert(of(owner, entry(id, domain, 0, false)));
        scheduler.due(at(0))
    };
    assert_eq!(put(&mut scheduler, 9, 100, "a"), [100]);
    // Both wait for a place there, the first one before the second.
    assert_eq!(put(&mut scheduler, 1, 1, "a"), []);
    assert_eq!(put(&mut scheduler, 2, 5, "a"), []);
    // Then the first one takes as many slots as it may have.
    assert_eq!(put(&mut scheduler, 1, 2, "b"), [2]);
    assert_eq!(put(&mut scheduler, 1, 3, "c"), [3]);
    assert_eq!(put(&mut scheduler, 8, 101, "z"), [101]);
    scheduler.remove(100);
    scheduler.finished(100);
    assert_eq!(scheduler.wait(at(0)), Some(Duration::ZERO));
    assert_eq!(scheduler.due(at(0)), [5]);
    assert_eq!(scheduler.wait(at(0)), None);
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u64, u64, u8, i64, bool),
    Remove(u64),
    Finish(u64),
    Due(i64),
    Leaving(u8, usize),
}

proptest! {
    #[test]
    fn in_any_order_of_calls_the_bounds_hold_and_nothing_due_is_passed_over(
        ops in prop::collection::vec(
            prop_oneof![
                (0..40u64, 0..4u64, 0..5u8, 0..100i64, any::<bool>())
                    .prop_map(|(id, o, d, t, r)| Op::Insert(id, o, d, t, r)),
                (0..40u64).prop_map(Op::Remove),
                (0..40u64).prop_map(Op::Finish),
                (0..100i64).prop_map(Op::Due),
                (0..5u8, 0..3usize).prop_map(|(d, count)| Op::Leaving(d, count)),
            ],
            0..200,
        ),
        owner_share in 1..5usize,
    ) {
        let limits = Limits { total: 6, retries: 4, per_domain: 2, per_transport: 3, owner_share, ..Limits::default() };
        const HOPS: [&str; 5] = ["d0", "d1", "d2", "P", "Q"];
        let mut leaving: BTreeMap<NextHop, usize> = BTreeMap::new();
        let mut scheduler = Scheduler::new(limits.clone());
        let mut latest = 0;
        let mut waiting: BTreeMap<u64, Entry> = BTreeMap::new();
        let mut running: BTreeMap<u64, Entry> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Leaving(d, count) => {
                    leaving.insert(hop(HOPS[usize::from(d)]), count);
                    scheduler.set_leaving(&hop(HOPS[usize::from(d)]), count);
                }
                Op::Insert(id, o, d, t, r) => {
                    let e = of(o, entry(id, HOPS[usize::from(d)], t, r));
                    waiting.insert(id, e.clone());
                    scheduler.insert(e);
                }
                Op::Remove(id) => {
                    waiting.remove(&id);
                    scheduler.remove(id);
                }
                Op::Finish(id) => {
                    running.remove(&id);
                    scheduler.finished(id);
                }
                Op::Due(t) => {
                    // What was due once stays so when the clock is put back.
                    latest = latest.max(t);
                    let had = |running: &BTreeMap<u64, Entry>, owner| {
                        running.values().filter(|e| e.owner == owner).count()
                    };
                    for id in scheduler.due(at(t)) {
                        let e = waiting[&id].clone();
                        let free = limits.total - running.len();
                        let has = had(&running, e.owner);
                        prop_assert!(has == 0 || has < (free - 1) * owner_share, "more than its share");
                        prop_assert!(e.next_attempt <= at(latest));
                        prop_assert!(running.insert(id, e).is_none(), "started twice");
                    }
                    let to = |hop: &NextHop| running.values().filter(|e| e.hop == *hop).count();
                    let most = |hop: &NextHop| match hop {
                        NextHop::Domain(_) => limits.per_domain,
                        NextHop::Transport(_) => limits.per_transport,
                    };
                    let retries = running.values().filter(|e| e.retry).count();
                    prop_assert!(running.len() <= limits.total && retries <= limits.retries);
                    let left = |hop: &NextHop| leaving.get(hop).copied().unwrap_or(0);
                    for e in running.values() {
                        prop_assert!(to(&e.hop) <= most(&e.hop));
                    }
                    for e in waiting.values().filter(|e| !running.contains_key(&e.id)) {
                        let free = limits.total - running.len();
 let has = had(&running, e.owner);
 let could = e.next_attempt <= at(t)
 && free > 0
 && (has == 0 || has < (free - 1) * owner_share)
&& to(&e.hop) + left(&e.hop) < most(&e.hop)
                            && (!e.retry || retries < limits.retries);
                        prop_assert!(!could, "{e:?} was passed over");
                    }
                    prop_assert_ne!(scheduler.wait(at(t)), Some(Duration::ZERO));
                }
            }
            prop_assert_eq!(scheduler.len(), waiting.len());
            prop_assert_eq!(scheduler.running(), running.len());
        }
    }
}
