//! Domains with several hosts, and hosts that cannot take everything.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_dns::MasterFile;
use mox_driver::Runtime;
use mox_machine::Mono;
use mox_node::{Change, Outgoing, Selection, Wanted};
use mox_server::config::{Family, OutgoingAddresses};
use mox_sim::peers::{
    Act, BrokenTls, Dropper, Flaw, Ledger, Manner, Plain, Seen, Stage, Until, serve,
};
use mox_sim::{DnsManner, Knobs, Sim, SimRuntime, name_server};
use one_server::{One, inbox, sleep, submit, submit_with, text};
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MARK: &str = "mark-1-end";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const FIVE: [&str; 5] = [
    "a@peer.example",
    "b@peer.example",
    "c@peer.example",
    "d@peer.example",
    "e@peer.example",
];

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
    world_of(1, false, OutgoingAddresses::default(), hosts, story);
}

fn world_of<F: Future<Output = ()> + Send + 'static>(
    seed: u64,
    has_both_families: bool,
    addresses: OutgoingAddresses,
    hosts: Vec<Option<Host>>,
    story: impl FnOnce(One, Vec<Ledger>, SimRuntime) -> F + Send + 'static,
) {
    let sim = Sim::new(seed, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let (mut ledgers, mut zone) = (Vec::new(), String::new());
        for (host, nth) in hosts.into_iter().zip(1..) {
            let peer = world.computer("peer", [10, 0, 2, nth]);
            zone += &format!("mx{nth}.peer.example. 3600 A 10.0.2.{nth}\n");
            if has_both_families {
                let six = peer.addresses()[1];
                zone += &format!("mx{nth}.peer.example. 3600 AAAA {six}\n");
            }
            for domain in ["peer.example", "xn--bcher-kva.example"] {
                zone += &format!("{domain}. 3600 MX {nth}0 mx{nth}.peer.example.\n");
            }
            if let Some(host) = host {
                ledgers.push(serve(&peer, 25, "mx.peer.example", None, host).unwrap());
            }
        }
        let client = world.computer("client", [10, 0, 1, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = MasterFile::parse(&zone).unwrap();
        let mut one = One::new(&world, Outgoing::Direct);
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.sending.addresses = addresses;
        one.start().await;
        story(one, ledgers, client).await;
    });
    assert_eq!(sim.panics(), 0);
}

/// A message whose header is not ASCII.
fn umlauts() -> String {
    text(MARK, 3).replace("Subject: ", "Subject: \u{fc} ")
}

/// Who cannot take a message, its parameters, the message, and what is told when no host can.
type Hindrance = (fn() -> Host, &'static str, String, [&'static str; 2]);

fn hindrances() -> Vec<Hindrance> {
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
fn nothing_is_final_while_there_are_hosts_that_were_not_asked() {
    // Ten addresses are tried at once.
    let closed = || Some(saying(Stage::Greeting, "554 no mail here"));
    let hosts = (0..10)
        .map(|_| closed())
        .chain([Some(Box::new(Plain) as Host)]);
    world(hosts.collect(), |one, ledgers, client| async move {
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        one.settle(MINUTE).await;
        let visits: Vec<usize> = ledgers.iter().map(|l| l.visits().len()).collect();
        assert_eq!(visits, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        assert_eq!(inbox(&client).await.unwrap(), "");
        assert_eq!(one.queue()[0].last.as_deref(), Some("554 no mail here"));
        one.stop().await;
    });
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

/// Takes two recipients at a time, and may say so.
fn two_at_a_time(offer: &'static str, refusal: &'static str) -> Host {
    Box::new(Does(move |seen: &Seen<'_>| match seen.stage {
        Stage::Hello => Some(vec![Act::reply(&format!("250-mx.example\r\n250 {offer}"))]),
        Stage::Rcpt if seen.to.len() > 2 => Some(vec![Act::reply(refusal)]),
        _ => None,
    }))
}

#[test]
fn recipients_that_are_too_many_for_one_transaction_are_in_the_next_one() {
    for (offer, refusal) in [
        ("LIMITS RCPTMAX=2", "500 5.5.1 you were told"),
        ("PIPELINING", "452 4.5.3 too many"),
        ("8BITMIME", "552 too many"),
    ] {
        let hosts = vec![Some(two_at_a_time(offer, refusal))];
        world(hosts, move |one, ledgers, client| async move {
            submit(&client, &FIVE, &text(MARK, 3)).await.unwrap();
            assert!(one.settle(MINUTE).await, "{:?}", one.queue());
            assert_eq!(ledgers[0].visits().len(), 1);
            let all = ledgers[0].deliveries();
            let counts: Vec<usize> = all.iter().map(|delivered| delivered.to.len()).collect();
            assert_eq!(counts, [2, 2, 1], "{offer}");
            assert!(FIVE.iter().all(|to| ledgers[0].copies(to, MARK) == 1));
            assert_eq!(inbox(&client).await.unwrap(), "");
            one.stop().await;
        });
    }
}

#[test]
fn a_host_that_takes_one_message_in_a_session_is_visited_again() {
    let hosts = vec![Some(two_at_a_time(
        "LIMITS RCPTMAX=2 MAILMAX=1",
        "500 5.5.1 no",
    ))];
    world(hosts, |one, ledgers, client| async move {
        submit(&client, &FIVE, &text(MARK, 3)).await.unwrap();
        sleep(&client, MINUTE).await;
        let [queued] = &one.queue()[..] else {
            panic!("{:?}", one.queue())
        };
        assert_eq!(queued.to, FIVE[2..]);
        assert_eq!(
            queued.last.as_deref(),
            Some("the host takes no more recipients in one session")
        );
        assert!(one.settle(HOUR).await);
        assert_eq!(ledgers[0].visits().len(), 3);
        one.stop().await;
    });
}

#[test]
fn who_has_the_message_does_not_get_it_again_when_the_power_fails_before_the_answer_to_quit() {
    let hangs = Does(|seen: &Seen<'_>| (seen.stage == Stage::Quit).then(|| vec![Act::Hang]));
    world(
        vec![Some(Box::new(hangs) as Host)],
        |mut one, ledgers, client| async move {
            submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
            sleep(&client, 3 * SECOND).await;
            assert_eq!(ledgers[0].visits()[0].commands.last().unwrap(), "QUIT");
            one.crash();
            one.start().await;
            assert!(one.settle(HOUR).await);
            assert_eq!(ledgers[0].copies(CAROL, MARK), 1);
            one.stop().await;
        },
    );
}

#[test]
fn hosts_that_drag_their_feet_end_an_attempt_after_half_an_hour() {
    let slow = || -> Host {
        Box::new(Does(|seen: &Seen<'_>| {
            let mut acts = vec![Act::Pause(Duration::from_secs(290))];
            acts.extend(match seen.stage {
                Stage::Rcpt => vec![Act::reply("450 4.2.0 later")],
                _ => seen.plain(),
            });
            Some(acts)
        }))
    };
    let hosts = (0..5).map(|_| Some(slow())).collect();
    world(hosts, |one, ledgers, client| async move {
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        // One host takes 20 minutes; the next attempt is 7 or 8 minutes after the first.
        sleep(&client, 35 * MINUTE).await;
        let visits: Vec<usize> = ledgers.iter().map(|ledger| ledger.visits().len()).collect();
        assert_eq!(visits, [1, 1, 0, 0, 0]);
        let second = &ledgers[1].visits()[0];
        let lasted = second.ended.unwrap().since(ledgers[0].visits()[0].began);
        assert!(lasted > 30 * MINUTE && lasted < 32 * MINUTE, "{lasted:?}");
        let last = one.queue()[0].last.clone().unwrap();
        assert_eq!(last, "450 4.2.0 later");
        one.stop().await;
    });
}

#[test]
fn a_stop_does_not_wait_for_the_next_host_and_what_the_first_one_took_is_known() {
    let picky = Does(|seen: &Seen<'_>| {
        let is_dave = seen.to.first().is_some_and(|to| to.starts_with("dave@"));
        (seen.stage == Stage::Rcpt && is_dave).then(|| vec![Act::reply("450 4.2.0 later")])
    });
    let hangs = Does(|seen: &Seen<'_>| (seen.stage == Stage::Greeting).then(|| vec![Act::Hang]));
    let hosts = vec![Some(Box::new(picky) as Host), Some(Box::new(hangs) as Host)];
    world(hosts, |mut one, ledgers, client| async move {
        let both = [CAROL, "dave@peer.example"];
        submit(&client, &both, &text(MARK, 3)).await.unwrap();
        sleep(&client, 20 * SECOND).await;
        assert_eq!(ledgers[1].visits().len(), 1);
        let began = client.now().mono;
        one.runtime.stopping();
        one.node().drain().await;
        let took = client.now().mono.since(began);
        assert!(took < 5 * SECOND, "{took:?}");
        one.crash();
        one.start().await;
        let [queued] = &one.queue()[..] else {
            panic!("{:?}", one.queue())
        };
        assert_eq!(queued.to, ["dave@peer.example"]);
        sleep(&client, HOUR).await;
        assert_eq!(ledgers[0].copies(CAROL, MARK), 1);
        one.stop().await;
    });
}

#[test]
fn a_delay_is_told_in_the_words_of_who_still_waits() {
    let later = Does(|seen: &Seen<'_>| {
        let is_a = seen.to.first().is_some_and(|to| to.starts_with("a@"));
        (seen.stage == Stage::Rcpt && is_a).then(|| vec![Act::reply("450 4.2.1 a is busy")])
    });
    world(
        vec![Some(Box::new(later) as Host)],
        |one, _, client| async move {
            submit(&client, &FIVE[..2], &text(MARK, 3)).await.unwrap();
            sleep(&client, MINUTE).await;
            let [queued] = &one.queue()[..] else {
                panic!("{:?}", one.queue())
            };
            assert_eq!(queued.to, FIVE[..1]);
            assert_eq!(queued.last.as_deref(), Some("450 4.2.1 a is busy"));
            one.stop().await;
        },
    );
}

#[test]
fn what_was_held_back_has_its_whole_time_from_its_release() {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    /// All entries of the queue.
    async fn change(one: &One, change: Change) {
        let changed = one.node().change_queue(&Selection::default(), change).await;
        assert_eq!(changed.unwrap(), 1);
    }
    let busy = || saying(Stage::Rcpt, "450 4.2.0 later");
    // Held by an administrator for six days, then released; by its sender for ten, and kicked after six.
    for (params, holds, change_after) in [
        ("", true, Change::Release),
        ("", true, Change::Kick),
        (" HOLDFOR=864000", false, Change::Kick),
    ] {
        world(vec![Some(busy())], move |one, ledgers, client| async move {
            submit_with(&client, params, &[CAROL], &text(MARK, 3))
                .await
                .unwrap();
            if holds {
                sleep(&client, MINUTE).await;
                change(&one, Change::Hold).await;
            }
            sleep(&client, 6 * DAY).await;
            let before = ledgers[0].visits().len();
            assert_eq!(before, usize::from(holds));
            change(&one, change_after).await;
            sleep(&client, 4 * DAY).await;
            assert_eq!(one.queue().len(), 1, "given up after four days");
            assert_eq!(one.queue()[0].release, None);
            assert!(ledgers[0].visits().len() > before + 8);
            assert!(one.settle(2 * DAY).await);
            one.stop().await;
        });
    }
}

#[test]
fn a_domain_by_both_of_its_names_is_one_transaction_one_bound_and_one_selection() {
    let asks = [" SMTPUTF8", ""];
    let names = ["b\u{fc}cher.example", "xn--bcher-kva.example"];
    world(
        vec![Some(Box::new(Plain) as Host)],
        move |one, ledgers, client| async move {
            let to = [format!("carol@{}", names[0]), format!("dave@{}", names[1])];
            let to: Vec<&str> = to.iter().map(String::as_str).collect();
            submit_with(&client, asks[0], &to, &text(MARK, 3))
                .await
                .unwrap();
            assert!(one.settle(HOUR).await);
            let [delivered] = &ledgers[0].deliveries()[..] else {
                panic!("{:?}", ledgers[0].deliveries())
            };
            let both = ["dave@xn--bcher-kva.example", "carol@xn--bcher-kva.example"];
            assert_eq!(delivered.to, both);
            one.stop().await;
        },
    );
    let hangs = Does(|seen: &Seen<'_>| (seen.stage == Stage::Rcpt).then(|| vec![Act::Hang]));
    world(
        vec![Some(Box::new(hangs) as Host)],
        move |mut one, ledgers, client| async move {
            for _ in 0..4 {
                for (params, name) in asks.into_iter().zip(names) {
                    let to = format!("carol@{name}");
                    submit_with(&client, params, &[&to], &text(MARK, 3))
                        .await
                        .unwrap();
                }
            }
            sleep(&client, MINUTE).await;
            // As many as to any domain.
            assert_eq!((ledgers[0].visits().len(), one.queue().len()), (4, 8));
            let found = |selection: Selection| one.node().queue_from(&selection, 0, 10).unwrap().0;
            for name in ["B\u{dc}CHER.example", names[0], names[1]] {
                let domain = Some(name.to_owned());
                let recipient = Some(format!("Carol@{name}"));
                let found = [
                    found(Selection {
                        domain,
                        ..Selection::default()
                    })
                    .len(),
                    found(Selection {
                        recipient,
                        ..Selection::default()
                    })
                    .len(),
                ];
                assert_eq!(found, [8, 8], "{name}");
            }
            one.crash();
        },
    );
}

#[test]
fn what_a_host_says_is_kept_word_for_word() {
    let said = format!("450 4.2.0 {}", "very busy ".repeat(100));
    let busy = said.clone();
    let host = Does(move |seen: &Seen<'_>| {
        (seen.stage == Stage::Rcpt).then(|| vec![Act::reply(busy.trim_end())])
    });
    world(
        vec![Some(Box::new(host) as Host)],
        |one, _, client| async move {
            submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
            sleep(&client, 20 * MINUTE).await;
            let entry = one.queue().remove(0);
            assert_eq!(entry.last.as_deref(), Some(said.trim_end()));
            let history = one
                .node()
                .queue_history(&Wanted::Entry(entry.id))
                .unwrap()
                .unwrap();
            let kept: Vec<usize> = history.attempts.iter().map(|a| a.outcome.len()).collect();
            assert_eq!(kept, [256, said.trim_end().len()]);
            one.stop().await;
        },
    );
}

const MUST: &str = "530 5.7.0 Must issue a STARTTLS command first";

/// Demands TLS at MAIL, and cannot do it.
fn demanding(flaw: Flaw) -> Host {
    let mut broken = BrokenTls(flaw);
    Box::new(Does(move |seen: &Seen<'_>| match seen.stage {
        Stage::Mail if !seen.secured => Some(vec![Act::reply(MUST)]),
        _ => broken.at(seen),
    }))
}

#[test]
fn a_host_that_demands_tls_and_cannot_do_it_for_a_while_is_waited_for() {
    for flaw in [Flaw::Refuses, Flaw::Closes, Flaw::Hangs, Flaw::Garbage] {
        let until = Mono(1_000_000_000) + 10 * MINUTE;
        let for_a_while: Host = Box::new(Until::new(demanding(flaw), until));
        world(vec![Some(for_a_while)], |one, ledgers, client| async move {
            submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
            sleep(&client, 6 * MINUTE).await;
            let last = one.queue().remove(0).last.unwrap();
            assert!(last.starts_with("TLS failed: "), "{last}");
            assert!(last.ends_with(MUST), "{last}");
            assert!(one.settle(2 * HOUR).await);
            assert_eq!(ledgers[0].copies(CAROL, MARK), 1);
            assert_eq!(inbox(&client).await.unwrap(), "");
            one.stop().await;
        });
    }
}

#[test]
fn a_session_that_is_in_clear_only_because_tls_failed_carries_no_other_message() {
    let mut broken = BrokenTls(Flaw::Closes);
    // It hears of a sender in clear, and of no recipient.
    let host = Does(move |seen: &Seen<'_>| match seen.stage {
        Stage::Rcpt if !seen.secured => Some(vec![Act::reply(MUST)]),
        _ => broken.at(seen),
    });
    let until = Mono(1_000_000_000) + 10 * MINUTE;
    let host: Host = Box::new(Until::new(Box::new(host) as Host, until));
    world(vec![Some(host)], |one, ledgers, client| async move {
        let marks: Vec<String> = (0..12).map(|n| format!("{MARK}-{n}-")).collect();
        for mark in &marks {
            submit(&client, &[CAROL], &text(mark, 3)).await.unwrap();
        }
        assert!(one.settle(2 * HOUR).await);
        for mark in &marks {
            assert_eq!(ledgers[0].copies(CAROL, mark), 1);
        }
        assert_eq!(inbox(&client).await.unwrap(), "");
        one.stop().await;
    });
}

#[test]
fn a_host_that_demands_tls_and_offers_none_is_believed() {
    world(
        vec![Some(saying(Stage::Mail, MUST))],
        |one, _, client| async move {
            submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
            assert!(one.settle(HOUR).await);
            let told = inbox(&client).await.unwrap();
            assert!(told.contains("Status: 5.7.0\r\n"), "{told}");
            one.stop().await;
        },
    );
}

/// The part of a notification that is about one recipient.
fn about<'a>(told: &'a str, to: &str) -> &'a str {
    let from = format!("Final-Recipient: rfc822; {to}\r\n");
    let (_, rest) = told
        .split_once(&from)
        .unwrap_or_else(|| panic!("{to} in {told}"));
    rest.split("\r\n\r\n").next().unwrap()
}

#[test]
fn of_a_delay_each_recipient_is_told_what_was_said_of_it() {
    let dave = "dave@peer.example";
    let host = Does(|seen: &Seen<'_>| {
        let said = match seen.line.contains("carol") {
            true => "452 4.2.2 mailbox full",
            false => "451 4.7.1 greylisted",
        };
        (seen.stage == Stage::Rcpt).then(|| vec![Act::reply(said)])
    });
    world(
        vec![Some(Box::new(host) as Host)],
        move |one, _, client| async move {
            submit(&client, &[CAROL, dave], &text(MARK, 3))
                .await
                .unwrap();
            sleep(&client, 5 * HOUR).await;
            let told = inbox(&client).await.unwrap();
            for (to, status, said) in [
                (CAROL, "4.2.2", "452 4.2.2 mailbox full"),
                (dave, "4.7.1", "451 4.7.1 greylisted"),
            ] {
                let about = about(&told, to);
                let status = format!("Action: delayed\r\nStatus: {status}\r\n");
                assert!(about.starts_with(&status), "{about}");
                assert!(about.contains(&format!("smtp; {said}\r\n")), "{about}");
            }
            for error in ["mailbox FULL", "greylisted"] {
                let selection = Selection {
                    error: Some(error.into()),
                    ..Selection::default()
                };
                let found = one.node().queue_from(&selection, 0, 10).unwrap();
                assert_eq!(found.0.len(), 1, "{error}");
            }
            one.stop().await;
        },
    );
}

#[test]
fn what_left_the_queue_says_of_each_recipient_which_host_took_it() {
    let dave = "dave@peer.example";
    let first = Does(move |seen: &Seen<'_>| {
        let is_dave = seen.stage == Stage::Rcpt && seen.line.contains("dave");
        is_dave.then(|| vec![Act::reply("451 4.3.0 not you")])
    });
    let hosts = vec![Some(Box::new(first) as Host), Some(Box::new(Plain) as Host)];
    world(hosts, move |one, _, client| async move {
        submit(&client, &[CAROL, dave], &text(MARK, 3))
            .await
            .unwrap();
        assert!(one.settle(MINUTE).await);
        let retired = one.node().retired(mox_machine::Utc(0), 10).unwrap();
        let of = |to: &str| {
            let all = retired.iter();
            let mut all = all.flat_map(|row| row.recipients.iter().zip(&row.reached));
            let (_, by) = all.find(|((address, _), _)| address == to).unwrap();
            (by.host.clone(), by.tls.clone())
        };
        let in_clear = |host: &str| (host.to_owned(), "in clear".to_owned());
        assert_eq!(of(CAROL), in_clear("mx1.peer.example [10.0.2.1]"));
        assert_eq!(of(dave), in_clear("mx2.peer.example [10.0.2.2]"));
        one.stop().await;
    });
}

#[test]
fn lost_answers_to_final_dots_are_counted_and_a_failure_says_that_it_may_have_arrived() {
    let dropper: Host = Box::new(Dropper::new(true, 2));
    world(vec![Some(dropper)], |one, ledgers, client| async move {
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        sleep(&client, 10 * MINUTE).await;
        assert_eq!(one.queue()[0].ambiguous, 2);
        assert!(one.settle(2 * HOUR).await);
        assert_eq!(ledgers[0].copies(CAROL, MARK), 3);
        let retired = one.node().retired(mox_machine::Utc(0), 10).unwrap();
        let attempts = retired[0].attempts.iter().map(|a| a.ambiguous);
        assert_eq!(attempts.collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(
            (retired[0].ambiguous, retired[0].reached[0].ambiguous),
            (2, 2)
        );
        one.stop().await;
    });
    let mut visits = 0;
    let then_no = Does(move |seen: &Seen<'_>| match seen.stage {
        Stage::Message => {
            visits += 1;
            Some(vec![Act::Keep, Act::Close])
        }
        Stage::Rcpt if visits > 0 => Some(vec![Act::reply("550 5.1.1 nobody")]),
        _ => None,
    });
    world(
        vec![Some(Box::new(then_no) as Host)],
        |one, _, client| async move {
            submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
            assert!(one.settle(HOUR).await);
            let told = inbox(&client).await.unwrap();
            assert!(
                told.contains("It may have been delivered all the same"),
                "{told}"
            );
            one.stop().await;
        },
    );
}

#[test]
fn what_was_done_in_the_last_attempt_is_known_also_when_the_message_has_left() {
    let until = Mono(1_000_000_000) + 5 * MINUTE;
    let busy: Host = Box::new(Until::new(
        saying(Stage::Rcpt, "450 4.2.0 very busy"),
        until,
    ));
    world(vec![None, Some(busy)], |one, _, client| async move {
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        sleep(&client, 3 * MINUTE).await;
        let entry = one.queue().remove(0);
        let node = one.node().clone();
        let steps = move |wanted: Wanted| {
            let history = node.queue_history(&wanted).unwrap().unwrap();
            let transcript = history.transcript.unwrap();
            (transcript.attempt, transcript.steps)
        };
        let has = |steps: &[String], what: &str| {
            assert!(
                steps.iter().any(|step| step.contains(what)),
                "{what} in {steps:#?}"
            );
        };
        let (attempt, before) = steps(Wanted::Entry(entry.id));
        assert_eq!(
            (attempt, &before[0][..]),
            (1, "to mx1.peer.example [10.0.2.1], port 25")
        );
        assert!(before[1].starts_with("no connection: "), "{before:#?}");
        assert_eq!(before[2], "to mx2.peer.example [10.0.2.2], port 25");
        has(&before, "it says: 220 ");
        has(&before, "EHLO ours.example: 250 ");
        has(&before, "MAIL FROM:<ann@ours.example>");
        has(&before, "RCPT TO:<carol@peer.example>: 450 4.2.0 very busy");
        assert!(one.settle(HOUR).await);
        let (attempt, last) = steps(Wanted::Entry(entry.id));
        assert_eq!(attempt, 2);
        has(&last, "RCPT TO:<carol@peer.example>: 250 2.1.5 ok");
        has(&last, " octets of a message, and its end): 250 2.0.0 kept");
        let all = last.join("\n");
        assert!(!all.contains(MARK) && !all.contains("Subject"), "{all}");
        let (_, same) = steps(Wanted::Transaction(entry.transaction.clone()));
        assert_eq!(same, last);
        let nobody = Wanted::Transaction("nothing".into());
        assert!(one.node().queue_history(&nobody).unwrap().is_none());
        one.stop().await;
    });
}

/// Refuses by its rules whoever comes over a family of addresses.
fn ruling(over_six: bool, over_four: bool) -> Host {
    Box::new(Does(move |seen: &Seen<'_>| {
        let is_refused = match seen.peer.is_ipv6() {
            true => over_six,
            false => over_four,
        };
        let no = "550 5.7.25 the address you come from has no name";
        (seen.stage == Stage::Rcpt && is_refused).then(|| vec![Act::reply(no)])
    }))
}

#[test]
fn who_is_refused_by_rules_over_one_family_is_tried_over_the_other_before_that_is_final() {
    let mut visits = Vec::new();
    // The first family is drawn.
    for seed in 1..7 {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = count.clone();
        let hosts = vec![Some(ruling(true, false))];
        world_of(
            seed,
            true,
            OutgoingAddresses::default(),
            hosts,
            move |one, ledgers, client| async move {
                submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
                assert!(one.settle(MINUTE).await, "{:?}", one.queue());
                assert_eq!(ledgers[0].copies(CAROL, MARK), 1);
                assert_eq!(inbox(&client).await.unwrap(), "");
                counted.store(
                    ledgers[0].visits().len(),
                    std::sync::atomic::Ordering::Relaxed,
                );
                one.stop().await;
            },
        );
        visits.push(count.load(std::sync::atomic::Ordering::Relaxed));
        let hosts = vec![Some(ruling(true, true))];
        world_of(
            seed,
            true,
            OutgoingAddresses::default(),
            hosts,
            |one, ledgers, client| async move {
                submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
                assert!(one.settle(MINUTE).await, "{:?}", one.queue());
                assert_eq!(ledgers[0].visits().len(), 2);
                let told = inbox(&client).await.unwrap();
                assert_eq!(told.matches("Status: 5.7.25\r\n").count(), 1, "{told}");
                one.stop().await;
            },
        );
    }
    visits.sort_unstable();
    visits.dedup();
    assert_eq!(visits, [1, 2]);
}

#[test]
fn mail_leaves_from_the_addresses_and_over_the_families_of_the_configuration() {
    let own = std::net::Ipv4Addr::new(10, 0, 77, 1);
    let six: std::net::Ipv6Addr = "fd00::77".parse().unwrap();
    for (prefer, expected) in [
        (Family::Ipv4, std::net::IpAddr::from(own)),
        (Family::Only4, own.into()),
        (Family::Ipv6, six.into()),
    ] {
        for seed in 1..4 {
            let addresses = OutgoingAddresses {
                ipv4: Some(own),
                ipv6: Some(six),
                prefer,
            };
            let came = std::sync::Arc::new(std::sync::Mutex::new(None));
            let seen_by = came.clone();
            let host = Does(move |seen: &Seen<'_>| {
                *came.lock().unwrap() = Some(seen.peer);
                None
            });
            let hosts = vec![Some(Box::new(host) as Host)];
            world_of(
                seed,
                true,
                addresses,
                hosts,
                move |one, _, client| async move {
                    submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
                    assert!(one.settle(MINUTE).await, "{:?}", one.queue());
                    assert_eq!(*seen_by.lock().unwrap(), Some(expected), "{prefer:?}");
                    one.stop().await;
                },
            );
        }
    }
}

#[test]
fn over_ipv4_only_nobody_is_reached_by_an_address_of_ipv6() {
    for (prefer, expected) in [
        (
            Family::Only4,
            Some(
                "mail goes out over IPv4 only (outgoing, prefer: only4), \
                 and no IPv4 address of [IPv6:fd00::a00:201] is known",
            ),
        ),
        (Family::Ipv4, None),
    ] {
        let addresses = OutgoingAddresses {
            prefer,
            ..OutgoingAddresses::default()
        };
        let hosts = vec![Some(Box::new(Plain) as Host)];
        world_of(
            1,
            true,
            addresses,
            hosts,
            move |one, ledgers, client| async move {
                let to = "carol@[IPv6:fd00::a00:201]";
                submit(&client, &[to], &text(MARK, 3)).await.unwrap();
                let is_gone = one.settle(MINUTE).await;
                let last = one.queue().into_iter().find_map(|entry| entry.last);
                assert_eq!((is_gone, last.as_deref()), (expected.is_none(), expected));
                assert_eq!(ledgers[0].visits().is_empty(), !is_gone);
                one.stop().await;
            },
        );
    }
}
