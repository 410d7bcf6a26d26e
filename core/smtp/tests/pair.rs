//! A client and a server of ours, face to face in memory, with every cut.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod talk;

use mox_address::{Domain, Host, Path};
use mox_machine::{Now, Rng, Secret, Seed};
use mox_smtp::client::{Answer, Ask, Class, Client, Config, Ending, Event, Tls, Transaction};
use mox_smtp::server::Mode;
use proptest::prelude::*;
use talk::{Store, Talk, World, config, server};

#[derive(Debug, Default)]
struct Outbox {
    todo: Vec<Vec<u8>>,
    next: usize,
    events: Vec<Event>,
}

impl World<Client> for Outbox {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Next(_) => {
                self.next += 1;
                let Some(body) = self.todo.get(self.next - 1) else {
                    return Answer::Quit;
                };
                let path = |text| Path::parse(text, true).unwrap();
                Answer::Send(Transaction {
                    from: Some(path("a@c.example")),
                    to: vec![path("b@mx.example"), path("\"c d\"@mx.example")],
                    size: body.len() as u64,
                    eight_bit: true,
                    utf8: false,
                    ..Transaction::default()
                })
            }
            Ask::Sasl { .. } => Answer::Response(Some(Secret::new(b"\0user\0good"[..].into()))),
            Ask::Piece { offset, max } => {
                let body = &self.todo[self.next - 1];
                let from = usize::try_from(offset).unwrap();
                Answer::Piece(body[from..body.len().min(from + max)].to_vec().into())
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// Carries bytes both ways in random pieces until both are done.
fn converse(bodies: &[Vec<u8>], seed: u64, tls: bool) -> (Store, Outbox) {
    let mut rules = config(Mode::Submission);
    rules.max_size = 1_000_000;
    rules.starttls = tls;
    rules.mechanisms = vec!["PLAIN"];
    rules.auth_required = true;
    rules.auth_in_clear = !tls;
    let mut there = server(&rules);
    let mut own = Config::new(Host::Domain(Domain::parse("c.example", false).unwrap()));
    own.mechanisms = vec!["PLAIN"];
    own.tls = if tls { Tls::Required } else { Tls::Never };
    let outbox = Outbox {
        todo: bodies.to_vec(),
        ..Outbox::default()
    };
    let mut here = Talk::new(Client::new(own, Now::default()), outbox);
    let mut rng = Seed::from_number(seed).rng();
    let cut = |rng: &mut Rng, bytes: &mut Vec<u8>| {
        let most = if rng.one_in(2) { 7 } else { 9_000 };
        let n = bytes.len().min(1 + rng.below(most) as usize);
        bytes.drain(..n).collect::<Vec<u8>>()
    };
    while !here.closed {
        let mut moved = false;
        if !there.output.is_empty() {
            let piece = cut(&mut rng, &mut there.output);
            here.feed(&piece);
            moved = true;
        }
        if !here.output.is_empty() && rng.one_in(2) {
            let piece = cut(&mut rng, &mut here.output);
            there.feed(&piece);
            moved = true;
        }
        if here.upgrading && there.upgrading && there.output.is_empty() {
            here.tls();
            there.tls();
            moved = true;
        }
        assert!(moved || !here.output.is_empty(), "nobody knows what to do");
    }
    assert!(there.closed);
    (there.world, here.world)
}

fn check(bodies: &[Vec<u8>], seed: u64, tls: bool) {
    let (store, outbox) = converse(bodies, seed, tls);
    let got: Vec<Vec<u8>> = store.messages.into_iter().map(|(_, body)| body).collect();
    assert!(got == bodies, "the bodies differ");
    let delivered = outbox
        .events
        .iter()
        .filter(|e| matches!(e, Event::Recipient { outcome, .. } if outcome.class == Class::Delivered && outcome.tls == tls))
        .count();
    assert_eq!(delivered, 2 * bodies.len());
    assert_eq!(outbox.events.last(), Some(&Event::Closed(Ending::Quit)));
}

#[test]
fn messages_arrive_as_they_were_sent() {
    let bodies = [
        b"".to_vec(),
        b".\r\n..\r\n.\r\n".to_vec(),
        b"\r\n".repeat(10),
        b"..23456789\r\n".repeat(10_000),
        [&b"x".repeat(200_000)[..], b"\r\n"].concat(),
    ];
    for seed in 0..20 {
        check(&bodies, seed, seed % 2 == 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_lines_arrive_as_they_were_sent(
        bodies in prop::collection::vec(prop::collection::vec("[.a\u{fc}]{0,9}", 0..30), 1..4),
        seed in any::<u64>(),
        tls in any::<bool>(),
    ) {
        let bodies: Vec<Vec<u8>> = bodies
            .iter()
            .map(|lines| lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect())
            .collect();
        check(&bodies, seed, tls);
    }
}
