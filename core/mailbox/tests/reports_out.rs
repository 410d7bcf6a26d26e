//! What is to be reported to other domains: counted, reported once a day, whatever clocks say.
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

const KIND: Reporting = Reporting::Dmarc;

fn seen(at: Utc, domain: &str, row: &str) -> Observation {
    Observation {
        kind: KIND,
        at,
        domain: domain.into(),
        policy: Bytes::from(format!("policy of {domain}")),
        row: Bytes::copy_from_slice(row.as_bytes()),
    }
}

fn see(e: &mut Engine, domain: &str, row: &str) {
    let one = seen(e.now, domain, row);
    e.run(|reads| observe(reads, &[one])).unwrap();
}

fn done(e: &Engine, domain: &str, day: u32) -> ReportDone {
    ReportDone {
        domain: domain.into(),
        day,
        at: e.now,
        report_id: "1".into(),
        to: vec![format!("rua@{domain}")],
        count: 1,
        text: String::new(),
    }
}

/// A report, ready to be queued.
fn report(e: &mut Engine, to: &str) -> Delivery {
    let mut delivery = e.delivery(20_000, Vec::new());
    delivery.queue = Some(Enqueue {
        account: None,
        reverse_path: String::new(),
        prefix: Bytes::new(),
        eight_bit: false,
        utf8: false,
        extra: Bytes::from_static(b"report-1"),
        dsn: String::new(),
        require_tls: false,
        tls_optional: false,
        ids: Vec::new(),
        groups: vec![Group {
            recipients: vec![to.into()],
            next_attempt: e.now,
            hold: false,
            release: None,
        }],
    });
    delivery
}

fn waiting(e: &Engine, day: u32) -> Vec<(u32, String)> {
    reports_waiting(&e.rows, KIND, day, 100).unwrap()
}

fn counts(e: &Engine, domain: &str, day: u32) -> Vec<(u64, Bytes)> {
    let observed = observed(&e.rows, KIND, day, domain).unwrap();
    let mut rows = observed.unwrap_or_default().rows;
    rows.sort();
    rows
}

#[test]
fn the_same_is_counted_and_days_domains_and_kinds_are_kept_apart() {
    let mut e = Engine::new();
    let day = day_of(e.now);
    for (domain, row) in [
        ("a.example", "x"),
        ("a.example", "x"),
        ("a.example", "y"),
        ("a.example.org", "x"),
        ("not a name", "x"),
    ] {
        see(&mut e, domain, row);
    }
    let tls = Observation {
        kind: Reporting::Tls,
        ..seen(e.now, "a.example", "x")
    };
    e.run(|reads| observe(reads, &[tls])).unwrap();
    e.later(DAY);
    see(&mut e, "a.example", "x");
    let row = |count, row: &'static str| (count, Bytes::from(row));
    assert_eq!(counts(&e, "a.example", day), [row(1, "y"), row(2, "x")]);
    assert_eq!(counts(&e, "a.example.org", day), [row(1, "x")]);
    assert_eq!(counts(&e, "a.example", day + 1), [row(1, "x")]);
    let of_day = [(day, "a.example".into()), (day, "a.example.org".into())];
    assert_eq!(waiting(&e, day), []);
    assert_eq!(waiting(&e, day + 1), of_day);
    let observed = observed(&e.rows, KIND, day, "a.example").unwrap().unwrap();
    assert_eq!(observed.policy, "policy of a.example");
    let tls = reports_waiting(&e.rows, Reporting::Tls, day + 9, 100).unwrap();
    assert_eq!(tls, [(day, "a.example".into())]);
}

#[test]
fn a_day_is_queued_and_done_in_one_operation_and_never_again() {
    let mut e = Engine::new();
    let day = day_of(e.now);
    see(&mut e, "a.example", "x");
    see(&mut e, "b.example", "x");
    e.later(DAY);
    let (first, second) = (report(&mut e, "r@a.example"), report(&mut e, "r@a.example"));
    let settled = done(&e, "a.example", day);
    let queued = e.run(|reads| settle_report(reads, KIND, Some(&first), &settled));
    assert_eq!(queued.unwrap().unwrap().queued.len(), 1);
    // The clock was put back, or somebody was too slow.
    let again = e.run(|reads| settle_report(reads, KIND, Some(&second), &settled));
    assert_eq!(again.unwrap(), None);
    assert_eq!(queue(&e.rows, 0, 10).unwrap().len(), 1);
    e.later(-DAY);
    see(&mut e, "a.example", "x");
    assert_eq!(counts(&e, "a.example", day), []);
    assert_eq!(waiting(&e, day + 1), [(day, "b.example".into())]);
    // Nothing is queued for a day of which nothing is known.
    let third = report(&mut e, "r@c.example");
    let unknown = done(&e, "c.example", day);
    let none = e.run(|reads| settle_report(reads, KIND, Some(&third), &unknown));
    assert_eq!(none.unwrap(), None);
    let all = reports_done(&e.rows, KIND, None, 10).unwrap();
    assert_eq!(all, [settled]);
    assert_eq!(
        reports_done(&e.rows, KIND, Some("b.example"), 10).unwrap(),
        []
    );
    e.check();
}

#[test]
fn what_there_is_no_room_for_is_counted_and_domains_beyond_the_limit_are_not_observed() {
    let mut e = Engine::new();
    let day = day_of(e.now);
    for n in 0..OBSERVATIONS_MAX + 3 {
        see(&mut e, "a.example", &n.to_string());
    }
    see(&mut e, "a.example", "0");
    see(&mut e, "a.example", &"x".repeat(OBSERVATION_MAX + 1));
    let seen = observed(&e.rows, KIND, day, "a.example").unwrap().unwrap();
    assert_eq!((seen.rows.len(), seen.left_out), (1_000, 4));
    assert_eq!(seen.rows.iter().map(|(count, _)| count).sum::<u64>(), 1_001);
    // All of it goes in one operation.
    let settled = done(&e, "a.example", day);
    e.run(|reads| settle_report(reads, KIND, None, &settled))
        .unwrap();
    assert_eq!(counts(&e, "a.example", day), []);
    for n in 0..=OBSERVED_DOMAINS_MAX {
        see(&mut e, &format!("{n}.example"), "x");
    }
    let all = reports_waiting(&e.rows, KIND, day + 1, 9_999).unwrap();
    assert_eq!(all.len(), 2_000);
}

#[test]
fn what_is_observed_of_a_domain_and_of_a_day_has_a_bound_in_octets() {
    let mut e = Engine::new();
    let day = day_of(e.now);
    // As large as they may be, and different.
    let rows: Vec<String> = (0..300).map(|n| format!("{n:04096}")).collect();
    let all = |e: &Engine, domain: &str| -> Vec<Observation> {
        let one = |row: &String| seen(e.now, domain, row);
        rows.iter().map(one).collect()
    };
    let see_all = |e: &mut Engine, domain: &str| {
        for some in all(e, domain).chunks(100) {
            let some = some.to_vec();
            e.run(|reads| observe(reads, &some)).unwrap();
        }
        observed(&e.rows, KIND, day, domain).unwrap()
    };
    let most = usize::try_from(OBSERVED_OCTETS_MAX).unwrap();
    let mut octets = 0;
    for n in 0..64 {
        let domain = format!("{n:02}.example");
        let policy = format!("policy of {domain}").len();
        let seen = see_all(&mut e, &domain).unwrap();
        let fit = (most - policy) / OBSERVATION_MAX;
        assert_eq!(
            (seen.rows.len(), seen.left_out),
            (fit, 300 - fit as u64),
            "{n}"
        );
        octets += policy + fit * OBSERVATION_MAX;
    }
    // The day is full: of further domains there is as much as fits in, and then nothing.
    let left = usize::try_from(OBSERVED_DAY_OCTETS_MAX).unwrap() - octets;
    let more = see_all(&mut e, "more.example").unwrap();
    let fit = (left - "policy of more.example".len()) / OBSERVATION_MAX;
    assert_eq!((more.rows.len(), more.left_out), (fit, 300 - fit as u64));
    assert_eq!(see_all(&mut e, "none.example"), None);
    // What is known is counted still, and another kind and another day have room of their own.
    let known = seen(e.now, "00.example", &rows[0]);
    let tls = Observation {
        kind: Reporting::Tls,
        ..known.clone()
    };
    let tomorrow = Observation {
        at: e.now + std::time::Duration::from_secs(86_400),
        ..known.clone()
    };
    e.run(|reads| observe(reads, &[known, tls, tomorrow]))
        .unwrap();
    let counted = counts(&e, "00.example", day);
    assert_eq!(counted.iter().map(|(count, _)| count).max(), Some(&2));
    assert_eq!(counts(&e, "00.example", day + 1).len(), 1);
    // A day that is settled gives its room back.
    let settled = done(&e, "00.example", day);
    e.run(|reads| settle_report(reads, KIND, None, &settled))
        .unwrap();
    let none = see_all(&mut e, "none.example").unwrap();
    assert_eq!(
        none.rows.len() + usize::try_from(none.left_out).unwrap(),
        300
    );
    assert!(none.rows.len() > 200, "{}", none.rows.len());
}

#[test]
fn a_policy_is_replaced_by_a_longer_one_as_long_as_there_is_room() {
    let mut e = Engine::new();
    let day = day_of(e.now);
    for octets in [1, OBSERVATION_MAX, 7, OBSERVATION_MAX + 1] {
        let one = Observation {
            policy: vec![b'x'; octets].into(),
            ..seen(e.now, "a.example", "x")
        };
        e.run(|reads| observe(reads, &[one])).unwrap();
    }
    let seen = observed(&e.rows, KIND, day, "a.example").unwrap().unwrap();
    assert_eq!((seen.policy.len(), seen.rows[0].0), (7, 4));
}

#[test]
fn an_address_that_reports_fail_for_three_times_gets_none_for_a_month() {
    let mut e = Engine::new();
    let to = "R@a.example";
    let attempt = |e: &mut Engine, fate: Fate| {
        let delivery = report(e, to);
        let id = e.run(|reads| deliver(reads, &delivery)).unwrap().queued[0];
        let now = e.now;
        e.run(|reads| queue_attempt(reads, id, "direct", now, now))
            .unwrap();
        let outcome = Outcome {
            now,
            host: String::new(),
            text: String::new(),
            tls: String::new(),
            fates: vec![fate],
            reached: Vec::new(),
            steps: Steps::default(),
            unknown: Vec::new(),
            marked: now,
            next_attempt: now,
            delay_told: false,
            notice: None,
            success: None,
        };
        e.run(|reads| queue_outcome(reads, id, &outcome)).unwrap();
        report_address_fails(&e.rows, "r@A.example", e.now).unwrap()
    };
    let no = || Fate::Failed("550 no".into());
    let yes = || Fate::Delivered("250 ok".into());
    for (fate, fails) in [
        (no(), false),
        (no(), false),
        (yes(), false),
        (no(), false),
        (no(), false),
        (no(), true),
    ] {
        assert_eq!(attempt(&mut e, fate), fails);
    }
    e.later(30 * DAY + 1);
    assert!(!report_address_fails(&e.rows, to, e.now).unwrap());
    assert!(attempt(&mut e, no()));
    assert!(!attempt(&mut e, yes()));
    e.check();
}

#[test]
fn what_an_attempt_saw_is_kept_with_its_outcome() {
    let mut e = Engine::new();
    let delivery = report(&mut e, "x@a.example");
    let id = e.run(|reads| deliver(reads, &delivery)).unwrap().queued[0];
    let now = e.now;
    e.run(|reads| queue_attempt(reads, id, "direct", now, now))
        .unwrap();
    let outcome = Outcome {
        now,
        host: String::new(),
        text: String::new(),
        tls: String::new(),
        fates: vec![Fate::Delivered("250 ok".into())],
        reached: Vec::new(),
        steps: Steps::default(),
        unknown: Vec::new(),
        marked: now,
        next_attempt: now,
        delay_told: false,
        notice: None,
        success: None,
    };
    let seen = [seen(now, "a.example", "x")];
    e.run(|reads| queue_outcome_beside(reads, id, &outcome, &seen))
        .unwrap();
    assert_eq!(counts(&e, "a.example", day_of(now)), [(1, "x".into())]);
}

/// A report to these addresses fails, at once and for good.
fn fail(e: &mut Engine, to: &[&str]) {
    let mut delivery = report(e, "");
    let queue = delivery.queue.as_mut().unwrap();
    queue.groups[0].recipients = to.iter().map(|to| (*to).into()).collect();
    let id = e.run(|reads| deliver(reads, &delivery)).unwrap().queued[0];
    let now = e.now;
    e.run(|reads| queue_attempt(reads, id, "direct", now, now))
        .unwrap();
    let outcome = Outcome {
        now,
        host: String::new(),
        text: String::new(),
        tls: String::new(),
        fates: vec![Fate::Failed("550 no".into()); to.len()],
        unknown: Vec::new(),
        reached: Vec::new(),
        steps: Steps::default(),
        marked: now,
        next_attempt: now,
        delay_told: false,
        notice: None,
        success: None,
    };
    e.run(|reads| queue_outcome(reads, id, &outcome)).unwrap();
}

#[test]
fn an_address_that_fails_is_the_same_with_its_domain_in_either_form_of_labels() {
    let mut e = Engine::new();
    for _ in 0..3 {
        fail(&mut e, &["rua@xn--bcher-kva.example"]);
    }
    for to in [
        "rua@b\u{fc}cher.example",
        "RUA@B\u{dc}CHER.example",
        "rua@xn--bcher-kva.example",
    ] {
        assert!(report_address_fails(&e.rows, to, e.now).unwrap(), "{to}");
    }
    assert!(!report_address_fails(&e.rows, "rua@bucher.example", e.now).unwrap());
}

/// Addresses whose failures are counted.
fn counted(e: &Engine) -> usize {
    // Table, no account, and the part of it.
    let key = |part: u8| [&[33][..], &[0; 4], &[part]].concat();
    let mut rows = 0;
    let visit = &mut |_: &[u8], _| {
        rows += 1;
        core::ops::ControlFlow::Continue(())
    };
    e.rows.scan(Space::Rows, &key(9), &key(10), visit).unwrap();
    rows
}

#[test]
fn failures_of_addresses_are_forgotten_by_time_and_make_room_for_newer_ones() {
    let mut e = Engine::new();
    fail(&mut e, &["old@a.example"]);
    fail(&mut e, &["old@a.example"]);
    e.later(89 * DAY);
    fail(&mut e, &["other@a.example"]);
    assert_eq!(counted(&e), 2);
    // The third failure after so long a time is the first one again.
    e.later(2 * DAY);
    fail(&mut e, &["old@a.example"]);
    assert!(!report_address_fails(&e.rows, "old@a.example", e.now).unwrap());
    e.later(100 * DAY);
    fail(&mut e, &["new@a.example"]);
    assert_eq!(counted(&e), 1);
}

#[test]
fn where_too_many_addresses_fail_those_that_failed_longest_ago_make_room() {
    let mut e = Engine::new();
    let name = |n: usize| format!("{n:04}@a.example");
    for first in (0..REPORTS_FAILING_MAX).step_by(50) {
        e.later(1);
        let some: Vec<String> = (first..first + 50).map(name).collect();
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        for _ in 0..3 {
            fail(&mut e, &some);
        }
    }
    assert_eq!(counted(&e), REPORTS_FAILING_MAX);
    e.later(1);
    for _ in 0..3 {
        fail(&mut e, &["new@a.example"]);
    }
    assert_eq!(counted(&e), REPORTS_FAILING_MAX);
    let fails = |to: &str| report_address_fails(&e.rows, to, e.now).unwrap();
    assert!(fails("new@a.example") && fails(&name(1)) && fails(&name(4_999)));
    assert!(!fails(&name(0)));
}
