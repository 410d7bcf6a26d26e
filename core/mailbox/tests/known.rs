//! What is kept of other domains and hosts: policies, and whether there was TLS.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod engine;

use bytes::Bytes;
use engine::*;
use mox_machine::Utc;
use mox_mailbox::*;

fn at(secs: i64) -> Utc {
    Utc::from_secs(START + secs)
}

fn policy(id: &str, now: i64) -> KeptPolicy {
    KeptPolicy {
        id: id.into(),
        mode: "enforce".into(),
        max_age: 86_400,
        mx: vec!["*.far.example".into()],
        until: at(now + 86_400),
        looked: at(now),
        used: at(now),
    }
}

fn keep(e: &mut Engine, domain: &str, policy: &KeptPolicy) {
    e.run(|reads| keep_policy(reads, domain, policy)).unwrap();
}

fn kept(e: &Engine, domain: &str) -> Option<KeptPolicy> {
    kept_policy(&e.rows, domain).unwrap()
}

fn noted(e: &mut Engine, host: &str, last: i64) {
    let noted = TlsHost {
        last: at(last),
        proven: last % 2 == 0,
    };
    e.run(|reads| note_tls(reads, host, noted)).unwrap();
}

#[test]
fn a_policy_takes_the_place_of_the_one_before_and_is_used_no_less() {
    let mut e = Engine::new();
    keep(&mut e, "a.example", &policy("1", 10));
    keep(&mut e, "b.example", &policy("1", 20));
    e.run(|reads| policy_used(reads, "a.example", at(50)))
        .unwrap();
    // Nothing is kept for a domain that had nothing.
    e.run(|reads| policy_used(reads, "c.example", at(50)))
        .unwrap();
    keep(&mut e, "a.example", &policy("2", 40));
    let expected = KeptPolicy {
        used: at(50),
        ..policy("2", 40)
    };
    assert_eq!(kept(&e, "a.example"), Some(expected.clone()));
    assert_eq!(kept(&e, "c.example"), None);
    let page = |after, max| kept_policies(&e.rows, after, max).unwrap();
    let b = ("b.example".to_owned(), policy("1", 20));
    assert_eq!(page("", 9), [("a.example".into(), expected), b.clone()]);
    assert_eq!(page("a.example", 9), [b]);
    assert_eq!(page("", 1).len(), 1);
    e.check();
}

#[test]
fn what_came_of_looking_again_does_not_replace_what_a_delivery_learned_meanwhile() {
    let mut e = Engine::new();
    let seen = policy("1", 10);
    keep(&mut e, "a.example", &seen);
    // That it is used meanwhile keeps nothing from being renewed.
    e.run(|reads| policy_used(reads, "a.example", at(15)))
        .unwrap();
    let longer = KeptPolicy {
        until: at(90_000),
        looked: at(20),
        ..seen.clone()
    };
    let renewed = e.run(|reads| renew_policy(reads, "a.example", &seen, &longer));
    assert_eq!(renewed, Ok(true));
    let used = KeptPolicy {
        used: at(15),
        ..longer.clone()
    };
    assert_eq!(kept(&e, "a.example"), Some(used));
    keep(&mut e, "a.example", &policy("2", 30));
    let renewed = e.run(|reads| renew_policy(reads, "a.example", &longer, &seen));
    assert_eq!(renewed, Ok(false));
    assert_eq!(kept(&e, "a.example"), Some(policy("2", 30)));
    // It was needed since.
    e.run(|reads| forget_policy(reads, "a.example", at(29)))
        .unwrap();
    assert!(kept(&e, "a.example").is_some());
    e.run(|reads| forget_policy(reads, "a.example", at(30)))
        .unwrap();
    assert_eq!(kept(&e, "a.example"), None);
    let renewed = e.run(|reads| renew_policy(reads, "a.example", &seen, &longer));
    assert_eq!((renewed, kept(&e, "a.example")), (Ok(false), None));
    e.check();
}

#[test]
fn where_there_is_no_more_room_what_was_of_use_longest_ago_goes() {
    let mut e = Engine::new();
    let most = i64::try_from(TLS_HOSTS_MAX).unwrap();
    for n in 0..most {
        noted(&mut e, &format!("mx{n}.example"), n);
    }
    noted(&mut e, "mx0.example", most);
    noted(&mut e, "new.example", most + 1);
    let known = |e: &Engine, host: &str| tls_host(&e.rows, host).unwrap();
    let last = |e: &Engine, host: &str| known(e, host).map(|known| known.last);
    assert_eq!(last(&e, "mx0.example"), Some(at(most)));
    assert_eq!(last(&e, "mx1.example"), None);
    assert_eq!(last(&e, "mx2.example"), Some(at(2)));
    assert!(!known(&e, "new.example").unwrap().proven);
    e.check();
    // And in time all.
    let mut rounds = 0;
    while let Progress::More(()) = e.run(|reads| purge_tls_hosts(reads, at(most))).unwrap() {
        rounds += 1;
    }
    assert!(rounds > 100);
    assert_eq!(last(&e, "mx9999.example"), None);
    assert_eq!(last(&e, "mx0.example"), Some(at(most)));
    assert_eq!(last(&e, "new.example"), Some(at(most + 1)));
    e.check();
}

#[test]
fn policies_have_room_in_octets_too() {
    let mut e = Engine::new();
    let large = |n| KeptPolicy {
        mx: vec!["x".repeat(250); 250],
        ..policy("1", n)
    };
    let count = i64::try_from(STS_POLICIES_OCTETS_MAX / (250 * 250)).unwrap() + 1;
    for n in 0..count {
        keep(&mut e, &format!("d{n}.example"), &large(n));
    }
    assert_eq!(kept(&e, "d0.example"), None);
    let last = format!("d{}.example", count - 1);
    assert!(kept(&e, &last).is_some());
    e.check();
}

#[test]
fn damaged_rows_keep_nothing_out_and_go() {
    let mut e = Engine::new();
    keep(&mut e, "a.example", &policy("1", 10));
    keep(&mut e, "b.example", &policy("1", 20));
    // Of policies all rows and their count.
    let damage = |e: &mut Engine| {
        let rows = e.rows.iter(Space::Rows);
        let rows = rows.filter(|(key, row)| key[0] == Table::Policy as u8 && !row.is_empty());
        let writes = rows.map(|(key, _)| {
            let row = Some(Bytes::from_static(&[99]));
            (Space::Rows, key.to_vec(), row)
        });
        let batch = Batch {
            writes: writes.collect(),
            ..Batch::default()
        };
        assert_eq!(batch.writes.len(), 3);
        e.rows.apply(&batch);
    };
    damage(&mut e);
    assert!(kept_policy(&e.rows, "a.example").is_err());
    assert_eq!(kept_policies(&e.rows, "", 9).unwrap(), []);
    assert_eq!(e.findings().len(), 1);
    keep(&mut e, "a.example", &policy("2", 30));
    e.run(|reads| forget_policy(reads, "b.example", at(0)))
        .unwrap();
    assert_eq!(kept(&e, "a.example"), Some(policy("2", 30)));
    assert_eq!(kept(&e, "b.example"), None);
    // What led to the damaged ones is told, until its turn comes.
    assert_eq!(e.findings().len(), 2);
}
