//! Mail for several mailboxes: what is so with one of them is no other's business.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_driver::Runtime;
use mox_mailbox::{Kinship, Meta, Reads};
use mox_node::Outgoing;
use mox_server::decision::{Reason, Record, Verdict};
use mox_server::ruleset::{Pattern, Ruleset};
use mox_sim::{Dialogue, DnsManner, SimRuntime, SimStream};
use one_server::{One, ours};
use std::ops::ControlFlow;
use std::time::Duration;

const ZONE: &str = "\
far.example. TXT \"v=spf1 ip4:10.0.2.1 -all\"\n\
far.example. MX 10 mx.far.example.\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n";

fn world<F: Future<Output = ()> + Send>(
    set: impl FnOnce(&mut One) + Send + 'static,
    scenario: impl FnOnce(One, SimRuntime) -> F + Send + 'static,
) {
    one_server::judged((ZONE, DnsManner::direct()), set, scenario);
}

async fn session(client: &SimRuntime) -> Dialogue<SimStream> {
    let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
    smtp.expect("220").await.unwrap();
    smtp.say("EHLO mx.far.example\r\n").await.unwrap();
    smtp.expect("250").await.unwrap();
    smtp
}

async fn ask(smtp: &mut Dialogue<SimStream>, line: &str) -> String {
    smtp.say(&format!("{line}\r\n")).await.unwrap();
    smtp.reply().await.unwrap()
}

/// A message with a body of so many octets.
fn text(octets: usize) -> String {
    let line = "All work and no play makes Jack a dull boy.\r\n";
    let body = line.repeat(octets / line.len() + 1);
    format!("From: <bob@far.example>\r\nSubject: to many\r\n\r\n{body}")
}

async fn set_quota(one: &One, account: &'static str, quota: Option<u64>) {
    let set = move |reads: &dyn Reads| {
        let account = mox_mailbox::account(reads, account)?.unwrap();
        mox_mailbox::set_quota(reads, account.id, quota)
    };
    one.node().store().run(set).await.unwrap();
}

/// What is in a mailbox; nothing where there is none.
fn stored(one: &One, account: &str, mailbox: &str) -> Vec<Meta> {
    let published = one.node().store().published();
    let view = &*published.view;
    let account = mox_mailbox::account(view, account).unwrap().unwrap().id;
    let Some(mailbox) = mox_mailbox::mailbox_id(view, account, mailbox).unwrap() else {
        return Vec::new();
    };
    let (all, mut found) = (mox_uids::UidSet::from_runs([1..=u32::MAX]), Vec::new());
    mox_mailbox::metas(view, account, mailbox, &all, &mut |_, meta| {
        found.push(meta);
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

/// The newest record about an address, which says itself what it says.
fn newest(one: &One, about: &str) -> Record {
    let record = one.node().explain(about, 1).unwrap().remove(0);
    assert_eq!(record.differences(), Vec::<String>::new(), "{record:#?}");
    record
}

#[test]
fn a_full_mailbox_puts_off_its_own_recipient_and_nobody_else() {
    world(
        |_| {},
        |one, client| async move {
            // With something in it already.
            let mut smtp = session(&client).await;
            for line in [
                "MAIL FROM:<bob@far.example>",
                "RCPT TO:<ann@ours.example>",
                "DATA",
                &format!("{}.", text(2_500)),
            ] {
                ask(&mut smtp, line).await;
            }
            assert_eq!(stored(&one, "ann", "INBOX").len(), 1);
            set_quota(&one, "ann", Some(22_000)).await;
            ask(&mut smtp, "MAIL FROM:<bob@far.example> SIZE=21000").await;
            for _ in 0..100 {
                let reply = ask(&mut smtp, "RCPT TO:<ann@ours.example>").await;
                assert!(reply.starts_with("452 4.2.2 "), "{reply}");
                let record = newest(&one, "ann@ours.example");
                assert!(reply.contains(&record.id), "{reply}");
                let judged = &record.recipients[0];
                assert_eq!(judged.decision.verdict, Verdict::Defer);
                assert_eq!(judged.decision.reason, Reason::MailboxFull);
                let smallest = judged.change.as_ref().unwrap();
                assert_eq!(smallest.what, "the mailbox has room");
                // The account may know of it.
                let own = one.node().explain_to("ann", "ann@ours.example", 1).unwrap();
                assert_eq!(own[0].id, record.id);
            }
            // However often, it is not the other side's fault; but it is not recorded for ever.
            let newest_id = newest(&one, "ann@ours.example").id;
            for _ in 0..200 {
                let reply = ask(&mut smtp, "RCPT TO:<ann@ours.example>").await;
                assert_eq!(reply, "452 4.2.2 the mailbox is full, try again later");
            }
            assert_eq!(newest(&one, "ann@ours.example").id, newest_id);
            let reply = ask(&mut smtp, "RCPT TO:<mox@localhost>").await;
            assert!(reply.starts_with("250 "), "{reply}");
            ask(&mut smtp, "DATA").await;
            let reply = ask(&mut smtp, &format!("{}.", text(15_000))).await;
            assert!(reply.starts_with("250 "), "{reply}");
            assert_eq!(stored(&one, "mox", "INBOX").len(), 1);
            // What is small enough is taken.
            for (size, code) in [
                (32_769, "552 5.3.4 "),
                (32_768, "452 4.2.2 "),
                (18_000, "250 2.1.5 "),
            ] {
                ask(&mut smtp, "RSET").await;
                let mail = format!("MAIL FROM:<bob@far.example> SIZE={size}");
                ask(&mut smtp, &mail).await;
                let reply = ask(&mut smtp, "RCPT TO:<ann@ours.example>").await;
                assert!(reply.starts_with(code), "{size}: {reply}");
            }
            one.stop().await;
        },
    );
}

#[test]
fn a_mailbox_that_is_filled_by_a_message_keeps_it_from_nobody() {
    world(
        |_| {},
        |one, client| async move {
            set_quota(&one, "ann", Some(10_000)).await;
            let mut smtp = session(&client).await;
            // Who says no size is believed to send little.
            for (attempt, code) in [(0, "250 2.1.5 "), (1, "452 4.2.2 ")] {
                ask(&mut smtp, "MAIL FROM:<bob@far.example>").await;
                let reply = ask(&mut smtp, "RCPT TO:<ann@ours.example>").await;
                assert!(reply.starts_with(code), "{reply}");
                ask(&mut smtp, "RCPT TO:<mox@localhost>").await;
                ask(&mut smtp, "DATA").await;
                let reply = ask(&mut smtp, &format!("{}.", text(15_000))).await;
                assert!(reply.starts_with("250 "), "{reply}");
                assert_eq!(stored(&one, "ann", "INBOX").len(), 1);
                assert_eq!(stored(&one, "mox", "INBOX").len(), attempt + 1);
            }
            // Nobody else is kept from a message for one mailbox: that is put off as a whole.
            set_quota(&one, "ann", Some(20_000)).await;
            ask(&mut smtp, "MAIL FROM:<bob@far.example>").await;
            ask(&mut smtp, "RCPT TO:<ann@ours.example>").await;
            ask(&mut smtp, "DATA").await;
            let reply = ask(&mut smtp, &format!("{}.", text(15_000))).await;
            assert!(reply.starts_with("452 4.2.2 "), "{reply}");
            one.stop().await;
        },
    );
}

#[test]
fn an_alias_is_taken_for_all_its_members_while_one_of_them_has_room() {
    world(
        |one| one.alias = Some(false),
        |one, client| async move {
            set_quota(&one, "ann", Some(0)).await;
            let mut smtp = session(&client).await;
            for (mox, code) in [(None, "250 2.1.5 "), (Some(0), "452 4.2.2 ")] {
                set_quota(&one, "mox", mox).await;
                ask(&mut smtp, "MAIL FROM:<bob@far.example>").await;
                let reply = ask(&mut smtp, "RCPT TO:<sales@ours.example>").await;
                assert!(reply.starts_with(code), "{reply}");
                if code.starts_with("250") {
                    ask(&mut smtp, "DATA").await;
                    let reply = ask(&mut smtp, &format!("{}.", text(100))).await;
                    assert!(reply.starts_with("250 "), "{reply}");
                }
            }
            for account in ["ann", "mox"] {
                assert_eq!(stored(&one, account, "INBOX").len(), 1, "{account}");
            }
            one.stop().await;
        },
    );
}

#[test]
fn whoever_gets_a_message_by_an_alias_gets_it_by_the_own_address_too_and_once() {
    world(
        |one| one.alias = Some(false),
        |one, client| async move {
            set_quota(&one, "ann", Some(0)).await;
            let mut smtp = session(&client).await;
            ask(&mut smtp, "MAIL FROM:<bob@far.example>").await;
            for to in ["sales", "ann", "ANN"] {
                let reply = ask(&mut smtp, &format!("RCPT TO:<{to}@ours.example>")).await;
                assert!(reply.starts_with("250 2.1.5 "), "{to}: {reply}");
            }
            ask(&mut smtp, "DATA").await;
            let reply = ask(&mut smtp, &format!("{}.", text(100))).await;
            assert!(reply.starts_with("250 "), "{reply}");
            for account in ["ann", "mox"] {
                assert_eq!(stored(&one, account, "INBOX").len(), 1, "{account}");
            }
            one.stop().await;
        },
    );
}

#[test]
fn a_mailbox_that_a_submitted_message_fills_keeps_it_from_nobody_elsewhere() {
    world(
        |one| one.outgoing = Outgoing::Direct,
        |one, client| async move {
            set_quota(&one, "ann", Some(10_000)).await;
            let to = ["ann@ours.example", "bob@far.example"];
            let mail = one_server::text("large", 1_000);
            let taken = one_server::submit(&client, &to, &mail).await.unwrap();
            assert!(taken.starts_with("250 "), "{taken}");
            assert_eq!(stored(&one, "ann", "INBOX").len(), 1);
            let queued = one.queue().remove(0).to;
            assert_eq!(queued, ["bob@far.example"]);
            // Alone it is put off.
            set_quota(&one, "ann", Some(40_000)).await;
            let refused = one_server::submit(&client, &to[..1], &mail).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("452 4.2.2 "), "{refused}");
            one.stop().await;
        },
    );
}

#[test]
fn whoever_submits_is_told_at_once_which_recipient_has_no_room() {
    world(
        |_| {},
        |one, client| async move {
            set_quota(&one, "ann", Some(0)).await;
            let refused = one_server::submit(&client, &["ann@ours.example"], &text(10)).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("452 4.2.2 "), "{refused}");
            let other = one_server::text("x", 1);
            let taken = one_server::submit(&client, &["mox@localhost"], &other);
            assert!(taken.await.unwrap().starts_with("250 "));
            one.stop().await;
        },
    );
}

#[test]
fn each_of_many_mailboxes_gets_what_was_decided_for_it_also_by_way_of_the_queue() {
    const MANY: u32 = 250;
    world(
        |one| {
            one.accounts = MANY;
            one.incoming.rulesets = vec![Ruleset {
                mail_from: Some(Pattern::new("@far.example$").unwrap()),
                verified_domain: None,
                headers: Vec::new(),
                mailbox: "Lists".into(),
                list_allow_domain: None,
                is_forward: false,
                accept_rejects_to_mailbox: None,
            }];
        },
        |mut one, client| async move {
            let mut smtp = session(&client).await;
            ask(&mut smtp, "MAIL FROM:<bob@far.example>").await;
            for n in 0..MANY {
                let reply = ask(&mut smtp, &format!("RCPT TO:<u{n}@localhost>")).await;
                assert!(reply.starts_with("250 "), "{n}: {reply}");
            }
            ask(&mut smtp, "DATA").await;
            let reply = ask(&mut smtp, &format!("{}.", text(100))).await;
            assert!(reply.starts_with("250 "), "{reply}");
            // What waits in the queue does so through a power failure.
            one.crash();
            one.start().await;
            assert!(one.settle(Duration::from_secs(3_600)).await);
            let record = newest(&one, "u0@localhost");
            let of = |n: u32| stored(&one, &format!("u{n}"), "Lists");
            let first = of(0).remove(0);
            let field = format!("X-Mox-Decision: {}; accept; no-bad-signals\r\n", record.id);
            for n in 0..MANY {
                let [copy] = &of(n)[..] else {
                    panic!("u{n}: {:?}", of(n));
                };
                let prefix = String::from_utf8_lossy(&copy.prefix);
                assert!(prefix.starts_with(&field), "u{n}: {prefix}");
                assert!(prefix.contains(&format!("Delivered-To: u{n}@localhost\r\n")));
                assert!(prefix.contains("spf=pass"), "u{n}: {prefix}");
                // It counts for what comes later from the same sender.
                assert_eq!(copy.origin, first.origin);
                assert!(Kinship::decode(&copy.origin).is_some_and(|k| !k.hashes.is_empty()));
                assert_eq!(stored(&one, &format!("u{n}"), "INBOX"), []);
            }
            one.stop().await;
        },
    );
}
