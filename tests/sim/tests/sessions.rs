//! One session carries several messages to the same server, and that costs none of them anything.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_dns::MasterFile;
use mox_machine::{Mono, Utc};
use mox_node::Outgoing;
use mox_sim::peers::{Act, Ledger, Manner, Plain, Seen, Stage, Visit, serve};
use mox_sim::{DnsManner, Knobs, Sim, name_server};
use one_server::{One, sleep, submit, text};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MARK: &str = "mark-1-end";
const MINUTE: Duration = Duration::from_secs(60);

/// Somebody at so many domains.
fn everybody(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("carol@d{n}.example")).collect()
}

/// A message to so many domains by a relay of this manner; the queue is empty within a minute. What the relay saw, and how often
/// each recipient was tried.
fn relayed(count: usize, manner: impl Manner) -> (Ledger, Vec<u32>) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let (ledger, tried) = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, manner).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        let to = everybody(count);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        submit(&client, &to, &text(MARK, 3)).await.unwrap();
        assert!(one.settle(MINUTE).await, "{:?}", one.queue());
        let retired = one.node().retired(Utc(0), 1_000).unwrap();
        let tried = retired.iter().map(|row| row.attempts_made).collect();
        one.stop().await;
        (ledger, tried)
    });
    assert_eq!(sim.panics(), 0);
    for to in everybody(count) {
        assert_eq!(ledger.copies(&to, MARK), 1, "{to}");
    }
    (ledger, tried)
}

fn count(visit: &Visit, verb: &str) -> usize {
    visit
        .commands
        .iter()
        .filter(|c| c.starts_with(verb))
        .count()
}

#[test]
fn twenty_messages_go_through_five_sessions() {
    let (ledger, tried) = relayed(20, Plain);
    let visits = ledger.visits();
    assert_eq!(tried, [1; 20]);
    assert_eq!(visits.len(), 5);
    assert_eq!(
        visits
            .iter()
            .map(|visit| count(visit, "MAIL"))
            .sum::<usize>(),
        20
    );
    for visit in &visits {
        let said = &visit.commands;
        assert_eq!(
            (count(visit, "EHLO"), count(visit, "RSET")),
            (1, 0),
            "{said:?}"
        );
        assert_eq!(said.last().map(String::as_str), Some("QUIT"), "{said:?}");
    }
}

/// Takes one message in a session, and does something else behind it, or when the next one comes.
struct Once {
    at: Stage,
    acts: Vec<Act>,
    had: BTreeMap<usize, usize>,
}

impl Once {
    fn new(at: Stage, acts: &[Act]) -> Self {
        Self {
            at,
            acts: acts.to_vec(),
            had: BTreeMap::new(),
        }
    }
}

impl Manner for Once {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        let had = self.had.entry(seen.visit).or_default();
        match seen.stage {
            Stage::Message if self.at == Stage::Message => {
                let mut acts = seen.plain();
                acts.extend(self.acts.iter().cloned());
                return Some(acts);
            }
            Stage::Message => *had += 1,
            stage if stage == self.at && *had > 0 => return Some(self.acts.clone()),
            _ => {}
        }
        None
    }
}

#[test]
fn a_server_that_wants_no_second_message_in_a_session_gets_it_in_another_one_at_once() {
    let bye = || Act::reply("421 4.7.0 one at a time");
    let pause = || Act::Pause(Duration::from_millis(5));
    for (at, acts) in [
        // It closes between messages, in silence or with a word.
        (Stage::Message, vec![Act::Close]),
        (Stage::Message, vec![bye(), Act::Close]),
        (Stage::Message, vec![pause(), bye(), Act::Close]),
        (Stage::Message, vec![pause(), Act::Reset]),
        // It does so when the second one comes.
        (Stage::Mail, vec![bye(), Act::Close]),
        (Stage::Mail, vec![Act::Close]),
        (Stage::Mail, vec![Act::Reset]),
        (
            Stage::Mail,
            vec![Act::reply("451 4.5.3 too many messages in this session")],
        ),
        (Stage::Mail, vec![Act::reply("550 5.5.1 one message only")]),
        (Stage::Rcpt, vec![bye(), Act::Close]),
        (Stage::Rcpt, vec![Act::Close]),
        (Stage::Data, vec![Act::Close]),
    ] {
        let what = format!("{acts:?} at {at:?}");
        let (ledger, tried) = relayed(20, Once::new(at, &acts));
        assert_eq!(tried, [1; 20], "{what}");
        assert_eq!(ledger.visits().len(), 20, "{what}");
    }
}

#[test]
fn who_is_refused_in_a_session_is_tried_later_and_the_session_goes_on() {
    struct NotTheFirst;
    impl Manner for NotTheFirst {
        fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
            let refused =
                seen.stage == Stage::Rcpt && seen.to.iter().any(|to| to.ends_with("@d0.example"));
            refused.then(|| vec![Act::reply("550 5.1.1 nobody")])
        }
    }
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let ledger = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, NotTheFirst).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        let to = everybody(20);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        submit(&client, &to, &text(MARK, 3)).await.unwrap();
        assert!(one.settle(MINUTE).await);
        one.stop().await;
        ledger
    });
    assert_eq!(ledger.visits().len(), 5);
    assert_eq!(ledger.deliveries().len(), 19);
    // What the server has of the refused one is forgotten before the next.
    let resets: usize = ledger
        .visits()
        .iter()
        .map(|visit| count(visit, "RSET"))
        .sum();
    assert_eq!(resets, 1);
}

#[test]
fn what_became_of_a_message_is_in_the_store_before_the_next_one_is_begun() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let ledger = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let clock = world.computer("clock", [10, 0, 9, 9]);
        // The second message of a session gets no answer, as long as there is no sixth session.
        struct Waits(Once);
        impl Manner for Waits {
            fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
                self.0.at(seen).filter(|_| seen.visit < 5)
            }
        }
        let manner = Waits(Once::new(Stage::Mail, &[Act::Hang]));
        let ledger = serve(&peer, 25, "mx.peer.example", None, manner).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        let to = everybody(20);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        submit(&client, &to, &text(MARK, 3)).await.unwrap();
        sleep(&clock, Duration::from_secs(20)).await;
        let begun = ledger.visits();
        assert!(
            begun.iter().all(|visit| count(visit, "MAIL") == 2),
            "{begun:?}"
        );
        assert_eq!(ledger.deliveries().len(), 5);
        one.crash();
        sleep(&clock, MINUTE).await;
        one.start().await;
        assert!(one.settle(60 * MINUTE).await);
        one.stop().await;
        ledger
    });
    for to in everybody(20) {
        assert_eq!(ledger.copies(&to, MARK), 1, "{to}");
    }
}

#[test]
fn a_session_has_fifty_messages_at_most() {
    /// Only one session at a time gets anywhere.
    struct Slow;
    impl Manner for Slow {
        fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
            (seen.visit < 4 && seen.stage == Stage::Greeting).then(|| vec![Act::Hang])
        }
    }
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let ledger = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, Slow).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        let to = everybody(160);
        for some in to.chunks(80) {
            let to: Vec<&str> = some.iter().map(String::as_str).collect();
            submit(&client, &to, &text(MARK, 3)).await.unwrap();
        }
        one.settle(Duration::from_secs(100)).await;
        let visits = ledger.visits();
        one.stop().await;
        visits
    });
    let counts: Vec<usize> = ledger.iter().map(|visit| count(visit, "MAIL")).collect();
    assert_eq!(counts[..4], [0; 4]);
    assert_eq!(counts.iter().sum::<usize>(), 156, "{counts:?}");
    assert_eq!(counts.iter().max(), Some(&50), "{counts:?}");
    assert!(counts.len() <= 4 + 6, "{counts:?}");
}

#[test]
fn a_session_with_a_later_host_never_puts_that_before_an_earlier_one() {
    const MESSAGES: usize = 8;
    /// Busy for whoever comes first, and there for all others.
    struct BusyAtFirst;
    impl Manner for BusyAtFirst {
        fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
            let is_busy = seen.stage == Stage::Greeting && seen.visit < MESSAGES / 2;
            is_busy.then(|| vec![Act::reply("421 4.3.2 busy"), Act::Close])
        }
    }
    /// Takes its time for each message: all others are in the queue by then.
    struct Slow;
    impl Manner for Slow {
        fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
            (seen.stage == Stage::Message).then(|| {
                let pause = Act::Pause(Duration::from_secs(10));
                core::iter::once(pause).chain(seen.plain()).collect()
            })
        }
    }
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let (first, second, tried) = sim.run(async move {
        let hosts = [1, 2].map(|nth| world.computer("peer", [10, 0, 2, nth]));
        let client = world.computer("client", [10, 0, 1, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let first = serve(&hosts[0], 25, "mx1.peer.example", None, BusyAtFirst).unwrap();
        let second = serve(&hosts[1], 25, "mx2.peer.example", None, Slow).unwrap();
        let zone = "peer.example. MX 10 mx1.peer.example.\n\
             peer.example. MX 20 mx2.peer.example.\n\
             mx1.peer.example. A 10.0.2.1\n\
             mx2.peer.example. A 10.0.2.2\n";
        let zone = MasterFile::parse(zone).unwrap();
        let mut one = One::new(&world, Outgoing::Direct);
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.start().await;
        for n in 0..MESSAGES {
            let to = format!("carol{n}@peer.example");
            submit(&client, &[&to], &text(MARK, 3)).await.unwrap();
        }
        assert!(one.settle(5 * MINUTE).await, "{:?}", one.queue());
        let retired = one.node().retired(Utc(0), 1_000).unwrap();
        let tried: Vec<u32> = retired.iter().map(|row| row.attempts_made).collect();
        one.stop().await;
        (first, second, tried)
    });
    assert_eq!(sim.panics(), 0);
    assert_eq!(tried, [1; MESSAGES]);
    // Those that wait find a session with the second host open, and the first one there again.
    let taken = |ledger: &Ledger| -> Vec<String> {
        let all = ledger.deliveries().into_iter().flat_map(|one| one.to);
        let mut all: Vec<String> = all.collect();
        all.sort();
        all
    };
    let named = |some: std::ops::Range<usize>| -> Vec<String> {
        some.map(|n| format!("carol{n}@peer.example")).collect()
    };
    assert_eq!(taken(&second), named(0..MESSAGES / 2));
    assert_eq!(taken(&first), named(MESSAGES / 2..MESSAGES));
    for visit in second.visits() {
        assert_eq!(count(&visit, "MAIL"), 1, "{visit:?}");
        assert_eq!(visit.commands.last().map(String::as_str), Some("QUIT"));
    }
}

#[test]
fn a_session_that_takes_leave_is_one_of_those_that_a_server_has_from_us() {
    const SESSIONS: usize = 5;
    const LEAVING: Duration = Duration::from_secs(3);
    /// Takes its time for QUIT, and knows when sessions began and ended.
    #[derive(Clone, Default)]
    struct Clings(Arc<Mutex<BTreeMap<usize, (Mono, Mono)>>>);
    impl Manner for Clings {
        fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
            let mut times = self.0.lock().unwrap();
            let (_, end) = times.entry(seen.visit).or_insert((seen.now, seen.now));
            *end = seen.now;
            (seen.stage == Stage::Quit).then(|| {
                *end = seen.now + LEAVING;
                core::iter::once(Act::Pause(LEAVING))
                    .chain(seen.plain())
                    .collect()
            })
        }
    }
    let clings = Clings::default();
    let times = clings.0.clone();
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, clings).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        // More than fifty for each session.
        let to = everybody(300);
        for some in to.chunks(75) {
            let to: Vec<&str> = some.iter().map(String::as_str).collect();
            submit(&client, &to, &text(MARK, 3)).await.unwrap();
        }
        assert!(one.settle(10 * MINUTE).await, "{}", one.queue().len());
        one.stop().await;
        assert_eq!(ledger.deliveries().len(), 300);
    });
    assert_eq!(sim.panics(), 0);
    let times = times.lock().unwrap();
    assert!(times.len() > SESSIONS, "{times:?}");
    for (began, _) in times.values() {
        let open = |(from, to): &&(Mono, Mono)| from <= began && began < to;
        let count = times.values().filter(open).count();
        assert!(count <= SESSIONS, "{count} at {began:?}: {times:?}");
    }
}
