//! Domains with several hosts, and hosts that cannot take everything.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_node::Outgoing;
use mox_sim::peers::{Act, Ledger, Manner, Plain, Seen, Stage, serve};
use mox_sim::{Knobs, Sim, SimRuntime};
use one_server::{One, inbox, submit_with, text};
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MARK: &str = "mark-1-end";
const HOUR: Duration = Duration::from_secs(3_600);

/// Does what a function says.
struct Does<F>(F);

impl<F: FnMut(&Seen<'_>) -> Option<Vec<Act>> + Send + 'static> Manner for Does<F> {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        self.0(seen)
    }
}

type Host = Box<dyn Manner>;

/// Offers this extension only.
fn offering(word: &'static str) -> Host {
    Box::new(Does(move |seen: &Seen<'_>| {
        let offer = format!("250-mx.example\r\n250 {word}");
        (seen.stage == Stage::Hello).then(|| vec![Act::reply(&offer)])
    }))
}

/// Says this at a stage.
fn saying(at: Stage, reply: &'static str) -> Host {
    Box::new(Does(move |seen: &Seen<'_>| {
        (seen.stage == at).then(|| vec![Act::reply(reply)])
    }))
}

/// Our server before a domain with these hosts, tried in this order; nobody listens where there is none.
fn world<F: Future<Output = ()> + Send + 'static>(
    hosts: Vec<Option<Host>>,
    story: impl FnOnce(One, Vec<Ledger>, SimRuntime) -> F + Send + 'static,
) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let (mut ledgers, mut addresses) = (Vec::new(), Vec::new());
        for (host, nth) in hosts.into_iter().zip(1..) {
            let peer = world.computer("peer", [10, 0, 2, nth]);
            addresses.push((peer.addresses()[0], 25).into());
            if let Some(host) = host {
                ledgers.push(serve(&peer, 25, "mx.peer.example", None, host).unwrap());
            }
        }
        let client = world.computer("client", [10, 0, 1, 1]);
        let mut one = One::new(&world, Outgoing::Relay(addresses));
        one.start().await;
        story(one, ledgers, client).await;
    });
    assert_eq!(sim.panics(), 0);
}

/// A message whose header is not ASCII.
fn umlauts() -> String {
    text(MARK, 3).replace("Subject: ", "Subject: \u{fc} ")
}

/// What one host cannot do, with the message, its parameters, and what is told when no host can.
fn hindrances() -> Vec<(fn() -> Host, &'static str, String, [&'static str; 2])> {
    let plain = || text(MARK, 3);
    vec![
        (
            || offering("PIPELINING"),
            " SMTPUTF8",
            umlauts(),
            ["Status: 5.6.7\r\n", "does not offer SMTPUTF8"],
        ),
        (
            || offering("SIZE 100"),
            "",
            plain(),
            ["Status: 5.3.4\r\n", "larger than the host takes"],
        ),
        (
            || saying(Stage::Greeting, "554 no mail here"),
            "",
            plain(),
            ["Status: 5.0.0\r\n", "smtp; 554 no mail here"],
        ),
        (
            || saying(Stage::Hello, "521 5.3.2 never"),
            "",
            plain(),
            ["Status: 5.3.2\r\n", "smtp; 521 5.3.2 never"],
        ),
    ]
}

#[test]
fn what_one_host_does_not_take_the_next_one_does() {
    for (hindered, params, message, _) in hindrances() {
        let hosts = vec![Some(hindered()), Some(Box::new(Plain) as Host)];
        world(hosts, move |one, ledgers, client| async move {
            submit_with(&client, params, &[CAROL], &message)
                .await
                .unwrap();
            assert!(one.settle(HOUR).await, "{:?}", one.queue());
            assert_eq!(ledgers[0].visits().len(), 1);
            assert_eq!(ledgers[1].copies(CAROL, MARK), 1);
            assert_eq!(inbox(&client).await.unwrap(), "");
            one.stop().await;
        });
    }
}

#[test]
fn what_no_host_takes_is_told_at_once_with_its_reason() {
    for (hindered, params, message, told) in hindrances() {
        let hosts = vec![Some(hindered()), Some(hindered())];
        world(hosts, move |one, ledgers, client| async move {
            submit_with(&client, params, &[CAROL], &message)
                .await
                .unwrap();
            assert!(
                one.settle(Duration::from_secs(60)).await,
                "{:?}",
                one.queue()
            );
            let visits: Vec<usize> = ledgers.iter().map(|l| l.visits().len()).collect();
            assert_eq!(visits, [1, 1]);
            let inbox = inbox(&client).await.unwrap().replace("\r\n ", " ");
            for told in told {
                assert!(inbox.contains(told), "{told}: {inbox}");
            }
            one.stop().await;
        });
    }
}

#[test]
fn a_host_that_cannot_be_reached_may_be_the_one_that_takes_it() {
    for (hindered, params, message, _) in hindrances() {
        for hosts in [vec![Some(hindered()), None], vec![None, Some(hindered())]] {
            let message = message.clone();
            world(hosts, move |one, _, client| async move {
                submit_with(&client, params, &[CAROL], &message)
                    .await
                    .unwrap();
                one.settle(Duration::from_secs(60)).await;
                let [queued] = &one.queue()[..] else {
                    panic!("given up: {}", inbox(&client).await.unwrap())
                };
                assert!(queued.last.as_ref().unwrap().contains("no connection"));
                one.stop().await;
            });
        }
    }
}

#[test]
fn smtputf8_is_said_only_where_the_message_needs_it() {
    let hosts = vec![Some(offering("PIPELINING"))];
    world(hosts, |one, ledgers, client| async move {
        let to = ["carol@b\u{fc}cher.example"];
        submit_with(&client, " SMTPUTF8", &to, &text(MARK, 3))
            .await
            .unwrap();
        assert!(one.settle(HOUR).await);
        let commands = &ledgers[0].visits()[0].commands;
        assert_eq!(
            commands[1..3],
            [
                "MAIL FROM:<ann@ours.example>",
                "RCPT TO:<carol@xn--bcher-kva.example>"
            ]
        );
        assert_eq!(inbox(&client).await.unwrap(), "");
        // A local part has no other spelling.
        submit_with(
            &client,
            " SMTPUTF8",
            &["\u{fc}@peer.example"],
            &text(MARK, 3),
        )
        .await
        .unwrap();
        assert!(one.settle(HOUR).await);
        assert_eq!(ledgers[0].deliveries().len(), 1);
        let inbox = inbox(&client).await.unwrap();
        assert!(
            inbox.contains("Final-Recipient: utf-8; \u{fc}@peer.example"),
            "{inbox}"
        );
        one.stop().await;
    });
}
