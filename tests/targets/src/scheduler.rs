//! The queue's index beside a list that is searched from end to end.

use core::time::Duration;
use mox_machine::Utc;
use mox_queue::{Entry, Limits, NextHop, Scheduler};
use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// Bounds hold, nothing runs twice or early, and what is due runs as soon as the bounds allow.
pub fn scheduler(data: &[u8]) {
    let mut source = Source::new(data);
    let limits = Limits {
        total: 1 + source.below(6),
        retries: 1 + source.below(4),
        per_domain: 1 + source.below(3),
        per_transport: 1 + source.below(3),
        owner_share: 1 + source.below(4),
        ..Limits::default()
    };
    let mut scheduler = Scheduler::new(limits.clone());
    let (mut waiting, mut running) = (BTreeMap::<u64, Entry>::new(), BTreeMap::<u64, Entry>::new());
    let mut now = Utc::from_secs(1_767_323_045);
    // What was due once stays so when the clock is put back.
    let mut latest = now;
    while !source.is_empty() {
        let id = u64::from(source.octet() % 12);
        match source.octet() % 8 {
            0..=2 => {
                let entry = Entry {
                    id,
                    owner: u64::from(source.octet() % 3),
                    hop: match source.pick(&["a", "b", "p"]) {
                        "p" => NextHop::Transport("p".into()),
                        domain => NextHop::Domain(domain.into()),
                    },
                    next_attempt: now + Duration::from_secs(u64::from(source.octet())),
                    delay_notice: (source.one_in(2)).then(|| now + Duration::from_secs(30)),
                    retry: source.one_in(2),
                };
                waiting.insert(id, entry.clone());
                scheduler.insert(entry);
            }
            3 => {
                waiting.remove(&id);
                scheduler.remove(id);
            }
            4 => {
                running.remove(&id);
                scheduler.finished(id);
            }
            5 => now = now + Duration::from_secs(u64::from(source.octet())),
            // Clocks are put back, too.
            6 => now = now - Duration::from_secs(u64::from(source.octet()) * 10),
            _ => {
                for id in scheduler.delay_notices(now) {
                    let entry = waiting.get_mut(&id).unwrap();
                    let due = entry.delay_notice.take().unwrap();
                    assert!(due <= now || due > now + limits.longest_wait, "told early");
                }
                latest = latest.max(now);
                let due = scheduler.due(now);
                assert_eq!(
                    due.iter().collect::<BTreeSet<_>>().len(),
                    due.len(),
                    "twice at once"
                );
                for id in due {
                    let entry = waiting.get(&id).unwrap().clone();
                    assert!(
                        entry.next_attempt <= latest
                            || entry.next_attempt > now + limits.longest_wait,
                        "early"
                    );
                    assert!(running.insert(id, entry).is_none(), "it runs already");
                }
                let count =
                    |fits: &dyn Fn(&Entry) -> bool| running.values().filter(|e| fits(e)).count();
                assert!(running.len() <= limits.total);
                assert!(count(&|e| e.retry) <= limits.retries);
                let most = |hop: &NextHop| match hop {
                    NextHop::Domain(_) => limits.per_domain,
                    NextHop::Transport(_) => limits.per_transport,
                };
                for entry in running.values() {
                    assert!(count(&|e| e.hop == entry.hop) <= most(&entry.hop));
                }
                // Nothing that could run is left.
                for entry in waiting.values().filter(|e| !running.contains_key(&e.id)) {
                    let slots = limits.total - running.len();
                    let has = count(&|e| e.owner == entry.owner);
                    let free = slots > 0
                        && (has == 0 || has < (slots - 1) * limits.owner_share)
                        && count(&|e| e.hop == entry.hop) < most(&entry.hop)
                        && (!entry.retry || count(&|e| e.retry) < limits.retries);
                    assert!(!free || entry.next_attempt > now, "{entry:?} could run");
                }
                if let Some(wait) = scheduler.wait(now) {
                    assert!(wait <= limits.recheck);
                }
            }
        }
        assert_eq!(scheduler.running(), running.len());
        let known: BTreeSet<_> = waiting.keys().collect();
        assert_eq!(scheduler.len(), known.len());
        assert_eq!(scheduler.is_empty(), known.is_empty());
    }
}
