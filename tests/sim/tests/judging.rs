//! What accounts and lists have to say about mail of strangers: rulesets, copies of what is refused, lists of addresses, and
//! that it waits.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_dns::Name;
use mox_driver::Runtime;
use mox_server::config::Incoming;
use mox_server::decision::{Reason, Record, Verdict};
use mox_server::ruleset::{Pattern, Ruleset};
use mox_sim::{Dialogue, DnsManner, SimRuntime, SimStream};
use one_server::{One, PASSWORD, ours};
use std::time::Duration;

/// far.example names its client, forged.example does not; good.lists lists us, all.lists everybody, gone.lists nobody.
const ZONE: &str = "\
far.example. TXT \"v=spf1 ip4:10.0.2.1 -all\"\n\
far.example. MX 10 mx.far.example.\n\
forged.example. MX 10 mx.far.example.\n\
aside.example. MX 10 mx.far.example.\n\
xn--bcher-kva.example. MX 10 mx.far.example.\n\
forged.example. TXT \"v=spf1 -all\"\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n\
_dmarc.aside.example. TXT \"v=DMARC1; p=quarantine\"\n\
2.0.0.127.good.lists. A 127.0.0.2\n\
1.2.0.10.good.lists. A 127.0.0.4\n\
1.2.0.10.good.lists. TXT \"sends junk\"\n\
1.0.0.127.all.lists. A 127.0.0.2\n\
2.0.0.127.all.lists. A 127.0.0.2\n\
1.2.0.10.all.lists. A 127.0.0.2\n\
1.2.0.10.gone.lists. A 203.0.113.1\n";

/// Brings a message of this sender to ann; the reply to it, and how long that took.
async fn bring(client: &SimRuntime, from: &str, text: &str) -> (String, Duration) {
    bring_to(client, from, &["ann@ours.example"], text).await
}

async fn bring_to(client: &SimRuntime, from: &str, to: &[&str], text: &str) -> (String, Duration) {
    let stream = client.connect(ours(25), None).await.unwrap();
    let mut smtp = Dialogue::new(stream);
    smtp.expect("220").await.unwrap();
    let begin = [
        "EHLO mx.far.example".to_owned(),
        format!("MAIL FROM:<{from}>"),
    ];
    let to = to.iter().map(|to| format!("RCPT TO:<{to}>"));
    for line in begin.into_iter().chain(to) {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        smtp.expect("250").await.unwrap();
    }
    smtp.say("DATA\r\n").await.unwrap();
    smtp.expect("354").await.unwrap();
    let begun = client.now().mono;
    smtp.say(&format!("{text}.\r\n")).await.unwrap();
    let reply = smtp.reply().await.unwrap();
    (reply, client.now().mono.since(begun))
}

/// A session of ann's.
async fn reader(client: &SimRuntime) -> Dialogue<SimStream> {
    let stream: SimStream = client.connect(ours(143), None).await.unwrap();
    let mut imap = Dialogue::new(stream);
    imap.line().await.unwrap();
    let login = format!("LOGIN ann@ours.example \"{PASSWORD}\"");
    imap.command(&login).await.unwrap();
    imap
}

/// All that is in a mailbox of ann's; empty when there is no such mailbox.
async fn read(client: &SimRuntime, mailbox: &str) -> String {
    let mut imap = reader(client).await;
    let selected = imap.command(&format!("SELECT {mailbox}")).await.unwrap();
    if !selected.contains(" OK ") || selected.contains("* 0 EXISTS") {
        return String::new();
    }
    imap.command("FETCH 1:* (FLAGS BODY.PEEK[])").await.unwrap()
}

fn text(from: &str, subject: &str) -> String {
    format!("From: <{from}>\r\nMessage-ID: <{subject}@id>\r\nSubject: {subject}\r\n\r\nHello.\r\n")
}

/// The newest record, which decides the same again.
fn newest(one: &One) -> Record {
    let record = one.node().explain("ann@ours.example", 1).unwrap().remove(0);
    assert_eq!(record.differences(), Vec::<String>::new(), "{record:#?}");
    record
}

fn world<F: Future<Output = ()> + Send>(
    set: impl FnOnce(&mut One) + Send + 'static,
    scenario: impl FnOnce(One, SimRuntime) -> F + Send + 'static,
) {
    one_server::judged((ZONE, DnsManner::direct()), set, scenario);
}

fn ruleset(mailbox: &str) -> Ruleset {
    Ruleset {
        mail_from: None,
        verified_domain: None,
        headers: Vec::new(),
        mailbox: mailbox.into(),
        list_allow_domain: None,
        is_forward: false,
        accept_rejects_to_mailbox: None,
    }
}

#[test]
fn one_copy_of_what_is_refused_is_kept_and_none_of_what_is_taken_then() {
    world(
        |_| {},
        |one, client| async move {
            let forged = text("bob@forged.example", "offer");
            for _ in 0..2 {
                let (reply, _) = bring(&client, "bob@forged.example", &forged).await;
                assert!(reply.starts_with("451 4.3.0 "), "{reply}");
                let record = newest(&one);
                let placed = record.recipients[0].placed.as_deref();
                assert_eq!(placed, Some("Rejects"));
                let kept = read(&client, "Rejects").await;
                assert_eq!(kept.matches("Subject: offer").count(), 1, "{kept}");
                assert!(kept.contains("\\Seen"), "{kept}");
                assert!(kept.contains("; defer; spf-policy\r\n"), "{kept}");
            }
            // The same message, by way of a client that its sender names.
            let (reply, _) = bring(&client, "bob@far.example", &forged).await;
            assert!(reply.starts_with("250 "), "{reply}");
            assert_eq!(read(&client, "Rejects").await, "");
            one.stop().await;
        },
    );
    world(
        |one| one.incoming.keep_rejects = true,
        |one, client| async move {
            let forged = text("bob@forged.example", "offer");
            let (reply, _) = bring(&client, "bob@forged.example", &forged).await;
            assert!(reply.starts_with("451 4.3.0 "), "{reply}");
            let (reply, _) = bring(&client, "bob@far.example", &forged).await;
            assert!(reply.starts_with("250 "), "{reply}");
            let kept = read(&client, "Rejects").await;
            assert_eq!(kept.matches("Subject: offer").count(), 1, "{kept}");
            one.stop().await;
        },
    );
    world(
        |one| {
            one.incoming = Incoming {
                rejects_mailbox: None,
                ..Incoming::default()
            };
        },
        |one, client| async move {
            let forged = text("bob@forged.example", "offer");
            let (reply, _) = bring(&client, "bob@forged.example", &forged).await;
            assert!(reply.starts_with("451 4.3.0 "), "{reply}");
            assert_eq!(newest(&one).recipients[0].placed, None);
            assert_eq!(read(&client, "Rejects").await, "");
            one.stop().await;
        },
    );
}

#[test]
fn the_first_ruleset_that_matches_says_where_mail_goes_and_what_holds_for_it() {
    let pattern = |text: &str| Pattern::new(text).unwrap();
    let domain = |text: &str| mox_address::Domain::parse(text, false).unwrap();
    let rulesets = vec![
        Ruleset {
            verified_domain: Some(domain("example")),
            headers: vec![(pattern("^subject$"), pattern("^list: "))],
            list_allow_domain: Some(domain("far.example")),
            ..ruleset("Lists/far")
        },
        Ruleset {
            mail_from: Some(pattern("^forwarder@")),
            verified_domain: Some(domain("far.example")),
            is_forward: true,
            ..ruleset("Forwarded")
        },
        Ruleset {
            headers: vec![(pattern("subject"), pattern("bill"))],
            accept_rejects_to_mailbox: Some("Doubtful".into()),
            ..ruleset("Bills")
        },
    ];
    world(
        move |one| one.incoming.rulesets = rulesets,
        |one, client| async move {
            for (from, subject, mailbox, verdict, reason) in [
                (
                    "bob@far.example",
                    "List: news",
                    "Lists/far",
                    Verdict::Accept,
                    Reason::ListAllow,
                ),
                // Nobody vouches for it.
                (
                    "bob@forged.example",
                    "list: fake",
                    "Rejects",
                    Verdict::Defer,
                    Reason::SpfPolicy,
                ),
                // Who forwards vouches for what it forwards.
                (
                    "forwarder@forged.example",
                    "no forwarder",
                    "Rejects",
                    Verdict::Defer,
                    Reason::SpfPolicy,
                ),
                (
                    "forwarder@far.example",
                    "hi",
                    "Forwarded",
                    Verdict::Accept,
                    Reason::NoBadSignals,
                ),
                (
                    "bob@far.example",
                    "your BILL",
                    "Bills",
                    Verdict::Accept,
                    Reason::NoBadSignals,
                ),
                (
                    "bob@forged.example",
                    "a bill",
                    "Doubtful",
                    Verdict::Junk,
                    Reason::SpfPolicy,
                ),
                (
                    "bob@far.example",
                    "hello",
                    "INBOX",
                    Verdict::Accept,
                    Reason::NoBadSignals,
                ),
            ] {
                let (reply, _) = bring(&client, from, &text(from, subject)).await;
                let code = if verdict.is_taken() { "250 " } else { "451 " };
                assert!(reply.starts_with(code), "{subject}: {reply}");
                let record = newest(&one);
                let decision = &record.recipients[0].decision;
                assert_eq!(
                    (decision.verdict, decision.reason),
                    (verdict, reason),
                    "{subject}"
                );
                let there = read(&client, mailbox).await;
                assert!(
                    there.contains(&format!("Subject: {subject}\r\n")),
                    "{subject}: {there}"
                );
            }
            one.stop().await;
        },
    );
}

#[test]
fn a_list_that_can_be_relied_on_has_strangers_put_off() {
    for (zones, listed, reason) in [
        (&["good.lists"][..], true, Reason::DnsBlocklisted),
        (
            &["all.lists", "gone.lists", "nowhere.lists"],
            false,
            Reason::NoBadSignals,
        ),
        (&["all.lists", "good.lists"], true, Reason::DnsBlocklisted),
    ] {
        world(
            move |one| {
                one.lists = zones
                    .iter()
                    .map(|zone| Name::parse(zone).unwrap())
                    .collect()
            },
            move |one, client| async move {
                let mail = text("bob@far.example", "hello");
                let (reply, _) = bring(&client, "bob@far.example", &mail).await;
                assert_eq!(reply.starts_with("451 4.3.0 "), listed, "{zones:?} {reply}");
                let record = newest(&one);
                assert_eq!(record.recipients[0].decision.reason, reason, "{zones:?}");
                let listings = record.facts.message.unwrap().listings;
                assert_eq!(listings.len(), zones.len());
                let good = listings.iter().find(|listing| listing.listed);
                let said = good.and_then(|listing| listing.text.as_deref());
                assert_eq!(said, listed.then_some("sends junk"));
                one.stop().await;
            },
        );
    }
}

#[test]
fn mail_of_a_stranger_waits_and_mail_of_whom_one_knows_does_not() {
    let delay = Duration::from_secs(15);
    let pattern = Pattern::new("^known@").unwrap();
    world(
        move |one| {
            one.receiving.first_time_delay = delay;
            one.incoming.rulesets = vec![Ruleset {
                mail_from: Some(pattern),
                list_allow_domain: Some(mox_address::Domain::parse("far.example", false).unwrap()),
                ..ruleset("INBOX")
            }];
        },
        move |one, client| async move {
            for (from, waits) in [("known@far.example", false), ("bob@far.example", true)] {
                let (reply, took) = bring(&client, from, &text(from, "hello")).await;
                assert!(reply.starts_with("250 "), "{reply}");
                assert_eq!(took >= delay, waits, "{from}: {took:?}");
            }
            one.stop().await;
        },
    );
}

#[test]
fn a_message_that_is_moved_to_junk_speaks_against_the_next_one() {
    world(
        |_| {},
        |one, client| async move {
            let from = "bob@far.example";
            let (reply, _) = bring(&client, from, &text(from, "one")).await;
            assert!(reply.starts_with("250 "), "{reply}");
            let mut imap = reader(&client).await;
            imap.command("SELECT INBOX").await.unwrap();
            let moved = imap.command("MOVE 1 Junk").await.unwrap();
            assert!(moved.contains(" OK "), "{moved}");
            let (reply, _) = bring(&client, from, &text(from, "two")).await;
            assert!(reply.starts_with("451 4.3.0 "), "{reply}");
            let reason = newest(&one).recipients[0].decision.reason;
            assert_eq!(reason, Reason::Msgfromfull);
            // And back: it was a mistake.
            imap.command("SELECT Junk").await.unwrap();
            let moved = imap.command("MOVE 1 Archive").await.unwrap();
            assert!(moved.contains(" OK "), "{moved}");
            drop(imap);
            let (reply, _) = bring(&client, from, &text(from, "two")).await;
            assert!(reply.starts_with("250 "), "{reply}");
            one.stop().await;
        },
    );
}

#[test]
fn junk_goes_where_its_owner_keeps_it_whatever_that_is_called() {
    world(
        |_| {},
        |one, client| async move {
            let mut imap = reader(&client).await;
            imap.command("DELETE Junk").await.unwrap();
            let made = imap.command("CREATE Werbung (USE (\\Junk))").await.unwrap();
            assert!(made.contains(" OK "), "{made}");
            drop(imap);
            let mail = text("bob@aside.example", "offer");
            let (reply, _) = bring(&client, "bob@far.example", &mail).await;
            assert!(reply.starts_with("250 "), "{reply}");
            let record = newest(&one);
            assert_eq!(record.recipients[0].decision.verdict, Verdict::Junk);
            assert!(
                read(&client, "Werbung")
                    .await
                    .contains("Subject: offer\r\n")
            );
            assert_eq!(read(&client, "Junk").await, "");
            one.stop().await;
        },
    );
}

#[test]
fn a_loop_is_one_for_whom_it_was_delivered_to_and_not_for_others() {
    world(
        |_| {},
        |one, client| async move {
            let mail = text("bob@far.example", "again");
            let mail = format!("Delivered-To: ann@ours.example\r\n{mail}");
            let (reply, _) = bring(&client, "bob@far.example", &mail).await;
            assert!(reply.starts_with("550 5.4.6 "), "{reply}");
            let to = ["ann@ours.example", "mox@localhost"];
            let (reply, _) = bring_to(&client, "bob@far.example", &to, &mail).await;
            assert!(reply.starts_with("250 "), "{reply}");
            let record = newest(&one);
            let of = |nth: usize| {
                let judged = &record.recipients[nth];
                (judged.decision.reason, judged.placed.as_deref())
            };
            assert_eq!(of(0), (Reason::Loop, Some("Junk")));
            assert_eq!(of(1), (Reason::NoBadSignals, Some("INBOX")));
            one.stop().await;
        },
    );
}

#[test]
fn what_is_accepted_and_then_not_stored_has_a_record_that_says_so() {
    world(
        |_| {},
        |one, client| async move {
            let full = |reads: &dyn mox_mailbox::Reads| {
                let ann = mox_mailbox::account(reads, "ann")?.unwrap();
                mox_mailbox::set_quota(reads, ann.id, Some(1))
            };
            one.node().store().run(full).await.unwrap();
            let mail = text("bob@far.example", "hello");
            let (reply, _) = bring(&client, "bob@far.example", &mail).await;
            assert!(reply.starts_with("452 4.2.2 "), "{reply}");
            let record = newest(&one);
            assert!(reply.contains(&record.id), "{reply}");
            assert_eq!(record.reply, reply.trim_end());
            assert_eq!(record.recipients[0].decision.verdict, Verdict::Accept);
            assert_eq!(record.recipients[0].placed, None);
            one.stop().await;
        },
    );
}

#[test]
fn no_sender_puts_a_transaction_out_of_sight_by_naming_its_id() {
    world(
        |_| {},
        |one, client| async move {
            let from = "bob@far.example";
            bring(&client, from, &text(from, "one")).await;
            let id = newest(&one).id;
            for n in 0..3 {
                let mail = text(from, "more").replace("<more@id>", &format!("<{id}>"));
                bring(&client, &format!("{n}{from}"), &mail).await;
            }
            let found = one.node().explain(&id, 3).unwrap();
            let ids: Vec<&str> = found.iter().map(|record| &record.id[..]).collect();
            assert_eq!(ids, [&id[..]]);
            // Nor are those with letters of any script out of reach.
            let to = "ann@ours.example";
            let strange = "bob@xn--bcher-kva.example";
            bring_to(&client, strange, &[to], &text(from, "idn")).await;
            assert_eq!(
                one.node().explain("Bob@Bücher.example", 9).unwrap().len(),
                1
            );
            one.stop().await;
        },
    );
}

#[test]
fn an_answer_has_so_many_octets_and_says_when_there_is_more() {
    world(
        |_| {},
        |one, client| async move {
            let (from, to) = ("bob@far.example", "ann@ours.example");
            for n in 0..4 {
                bring(&client, from, &text(from, &format!("number{n}"))).await;
            }
            let all = one.node().explained(None, to, (10, usize::MAX)).unwrap();
            assert_eq!((all.records.len(), all.is_cut), (4, false));
            let sizes = all.records.iter().map(|record| {
                let (_, size) = Record::decode_with_size(&record.encode()).unwrap();
                size
            });
            let sizes: Vec<usize> = sizes.collect();
            for account in [None, Some("ann")] {
                // The newest that fit, and the newest one whatever it has.
                for (octets, count) in [(sizes[0] + sizes[1], 2), (sizes[0], 1), (1, 1)] {
                    let cut = one.node().explained(account, to, (10, octets)).unwrap();
                    assert_eq!((cut.records.len(), cut.is_cut), (count, true), "{octets}");
                    assert_eq!(cut.records[0].id, all.records[0].id);
                }
                let cut = one.node().explained(account, to, (2, usize::MAX)).unwrap();
                assert_eq!((cut.records.len(), cut.is_cut), (2, false));
            }
            one.stop().await;
        },
    );
}

/// Ann gives these commands.
async fn commands(client: &SimRuntime, commands: &[&str]) {
    let mut imap = reader(client).await;
    for command in commands {
        let said = imap.command(command).await.unwrap();
        assert!(said.contains(" OK "), "{command}: {said}");
    }
}

#[test]
fn what_is_called_not_junk_in_junk_opens_the_door_for_the_next_one_though_it_is_moved_out() {
    world(
        |_| {},
        |one, client| async move {
            let from = "bob@far.example";
            let next = async |subject: &str| {
                let (reply, _) = bring(&client, from, &text(from, subject)).await;
                (
                    reply[..4].to_owned(),
                    newest(&one).recipients.remove(0).decision.reason,
                )
            };
            assert_eq!(next("one").await, ("250 ".into(), Reason::NoBadSignals));
            commands(&client, &["SELECT INBOX", "MOVE 1 Junk"]).await;
            assert_eq!(next("two").await, ("451 ".into(), Reason::Msgfromfull));
            commands(
                &client,
                &[
                    "SELECT Junk",
                    "STORE 1 +FLAGS ($NotJunk)",
                    "STORE 1 -FLAGS ($Junk)",
                    "MOVE 1 INBOX",
                ],
            )
            .await;
            assert_eq!(next("three").await, ("250 ".into(), Reason::Msgfromfull));
            one.stop().await;
        },
    );
}

#[test]
fn whoever_takes_a_message_out_of_rejects_has_the_next_one_of_its_author_taken() {
    world(
        |one| {
            one.incoming = Incoming {
                rejects_mailbox: Some("Spam rejects".into()),
                ..Incoming::default()
            };
        },
        |one, client| async move {
            let from = "bob@forged.example";
            let (reply, _) = bring(&client, from, &text(from, "one")).await;
            assert!(reply.starts_with("451 "), "{reply}");
            commands(&client, &["SELECT \"Spam rejects\"", "MOVE 1 INBOX"]).await;
            let kept = read(&client, "INBOX").await;
            assert!(kept.contains("$NotJunk"), "{kept}");
            let (reply, _) = bring(&client, from, &text(from, "two")).await;
            assert!(reply.starts_with("250 "), "{reply}");
            one.stop().await;
        },
    );
}
