//! Our server finds its way by DNS, over name servers that do as they should and others.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_dns::MasterFile;
use mox_node::{Outgoing, Queued};
use mox_sim::peers::{Busy, Ledger, Plain, Stage, serve};
use mox_sim::{DnsManner, Knobs, Sim, name_server};
use one_server::{One, inbox, submit, text};
use std::time::Duration;

const ZONE: &str = include_str!("../../../vectors/dns/mail.zone");
const MARK: &str = "mark-1-end";
const HOUR: Duration = Duration::from_secs(3_600);

struct Came {
    first: Ledger,
    second: Ledger,
    left: Vec<Queued>,
    inbox: String,
    took: Duration,
    sim: Sim,
}

/// Ann sends a message to somebody at this domain; 10.0.0.9 and .10 take mail, the first perhaps not at once.
fn to(seed: u64, domain: &str, manner: DnsManner, first: Option<Busy>, at_most: Duration) -> Came {
    send(&text(MARK, 3), seed, domain, manner, first, at_most)
}

fn send(
    text: &str,
    seed: u64,
    domain: &str,
    manner: DnsManner,
    first: Option<Busy>,
    at_most: Duration,
) -> Came {
    let text = text.to_owned();
    let sim = Sim::new(seed, Knobs::fault_free());
    let world = sim.clone();
    let recipient = format!("carol@{domain}");
    let came = sim.run(async move {
        let peers = [9, 10].map(|n| world.computer("peer", [10, 0, 0, n]));
        let client = world.computer("client", [10, 0, 1, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let first = match first {
            Some(busy) => serve(&peers[0], 25, "mx1.peer.example", None, busy).unwrap(),
            None => serve(&peers[0], 25, "mx1.peer.example", None, Plain).unwrap(),
        };
        let second = serve(&peers[1], 25, "mx2.peer.example", None, Plain).unwrap();
        let mut one = One::new(&world, Outgoing::Direct);
        one.resolvers =
            vec![name_server(&names, MasterFile::parse(ZONE).unwrap(), manner).unwrap()];
        one.start().await;
        submit(&client, &[&recipient], &text).await.unwrap();
        one.settle(at_most).await;
        let came = Came {
            first,
            second,
            left: one.queue(),
            inbox: inbox(&client).await.unwrap(),
            took: world.elapsed(),
            sim: world,
        };
        one.stop().await;
        came
    });
    assert_eq!(sim.panics(), 0);
    came
}

impl Came {
    /// Copies at the first and the second host.
    fn copies(&self, domain: &str) -> [usize; 2] {
        let to = format!("carol@{domain}");
        [&self.first, &self.second].map(|ledger| ledger.copies(&to, MARK))
    }
}

#[test]
fn the_best_host_gets_the_message_by_either_family() {
    let mut families = [0, 0];
    for seed in 0..8 {
        let came = to(seed, "peer.example", DnsManner::direct(), None, HOUR);
        assert_eq!(came.copies("peer.example"), [1, 0]);
        let visits = came.first.visits();
        families[usize::from(visits[0].from.is_ipv6())] += 1;
        assert!(came.took < Duration::from_secs(60));
    }
    assert!(families[0] > 0 && families[1] > 0, "{families:?}");
}

#[test]
fn the_next_host_gets_it_when_the_best_one_has_no_time() {
    let busy = Busy::new(Stage::Greeting, mox_machine::Mono(u64::MAX));
    let came = to(1, "peer.example", DnsManner::direct(), Some(busy), HOUR);
    assert_eq!(came.copies("peer.example"), [0, 1]);
    // Both addresses of the first were tried.
    assert_eq!(came.first.visits().len(), 2);
}

#[test]
fn every_way_to_name_a_host_leads_there() {
    for domain in [
        "plain.example",
        "six.example",
        "alias.example",
        "many.example",
    ] {
        let came = to(1, domain, DnsManner::direct(), None, HOUR);
        assert_eq!(came.copies(domain), [1, 0], "{domain}");
        assert_eq!(came.inbox, "", "{domain}");
    }
}

#[test]
fn a_null_mx_and_a_way_back_to_us_fail_at_once() {
    for (domain, status) in [("null.example", "5.1.10"), ("loop.example", "5.4.6")] {
        let came = to(1, domain, DnsManner::direct(), None, HOUR);
        assert_eq!(came.left, [], "{domain}");
        assert!(
            came.inbox.contains(&format!("Status: {status}")),
            "{}",
            came.inbox
        );
        assert!(came.took < Duration::from_secs(60));
    }
}

#[test]
fn a_domain_that_is_not_there_and_one_without_host_fail_only_after_some_tries() {
    let came = to(1, "nowhere.example", DnsManner::direct(), None, 24 * HOUR);
    assert_eq!(came.left, []);
    assert!(came.inbox.contains("Status: 5.1.2"), "{}", came.inbox);
    assert!((HOUR / 4..HOUR).contains(&came.took), "{:?}", came.took);
    let came = to(1, "text.example", DnsManner::direct(), None, 24 * HOUR);
    assert_eq!(came.left, []);
    assert!(came.inbox.contains("Status: 5.4.4"), "{}", came.inbox);
    assert!(came.took > 4 * HOUR, "{:?}", came.took);
}

#[test]
fn name_servers_that_fail_are_asked_again_for_days() {
    for (domain, why) in [
        ("broken.example", "ServFail"),
        ("bogus.example", "Bogus"),
        ("dead.example", "Timeout"),
        // Not a way back to us: there is a better host, and nobody knows where.
        ("backup.example", "Timeout"),
    ] {
        let came = to(1, domain, DnsManner::direct(), None, HOUR);
        let [queued] = &came.left[..] else {
            panic!("{domain}: {}", came.inbox)
        };
        let last = queued.last.as_deref().unwrap();
        assert!(last.contains(why), "{domain}: {last}");
        assert!(queued.attempts >= 2);
    }
}

#[test]
fn who_does_without_tls_does_not_wait_for_a_policy_that_cannot_be_looked_up() {
    let manner = DnsManner::direct;
    let waits = to(1, "unsure.example", manner(), None, HOUR);
    let last = waits.left[0].last.as_deref().unwrap();
    assert!(last.contains("MTA-STS policy"), "{last}");
    let optional = format!("TLS-Required: No\r\n{}", text(MARK, 3));
    let came = send(&optional, 1, "unsure.example", manner(), None, HOUR);
    assert_eq!(came.copies("unsure.example"), [1, 0]);
}

#[test]
fn junk_forgeries_cut_answers_and_wrong_letters_change_nothing() {
    for (manner, fault) in [
        (
            DnsManner {
                junk_one_in: 1,
                ..DnsManner::direct()
            },
            "answer junk",
        ),
        (
            DnsManner {
                wrong_id_one_in: 1,
                ..DnsManner::direct()
            },
            "answer wrong id",
        ),
        (
            DnsManner {
                truncated_one_in: 1,
                ..DnsManner::direct()
            },
            "answer truncated",
        ),
        (
            DnsManner {
                other_case_one_in: 1,
                ..DnsManner::direct()
            },
            "answer other case",
        ),
    ] {
        let came = to(1, "peer.example", manner, None, HOUR);
        assert_eq!(came.copies("peer.example"), [1, 0], "{fault}");
        // One MX question, two addresses for each of two hosts, and whether there is an MTA-STS policy.
        assert_eq!(came.sim.faults()[fault], 6, "{fault}");
        assert!(came.took < Duration::from_secs(60), "{fault}");
    }
}

#[test]
fn whatever_a_name_server_does_now_and_then_the_message_arrives_once() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let manner = DnsManner::drawn(&mox_machine::Seed::from_number(seed));
        let came = to(seed, "peer.example", manner, None, 24 * HOUR);
        let [first, second] = came.copies("peer.example");
        assert_eq!(first + second, 1, "seed {seed}: {}", came.inbox);
        assert_eq!(came.left, []);
        seen.extend(came.sim.faults().into_keys());
    }
    assert!(seen.len() >= 6, "{seen:?}");
}

#[test]
fn equal_seeds_ask_equal_questions() {
    let run = || {
        let manner = DnsManner::drawn(&mox_machine::Seed::from_number(3));
        to(3, "many.example", manner, None, HOUR).sim.trace()
    };
    assert_eq!(run().first_difference(&run()), None);
}
