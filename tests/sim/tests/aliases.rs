//! Mail for an address that stands for several accounts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_driver::Runtime;
use mox_server::decision::{Reason, Verdict};
use mox_sim::{Dialogue, DnsManner, SimRuntime, SimStream};
use one_server::{One, PASSWORD, ours};
use std::time::Duration;

const ZONE: &str = "\
far.example. TXT \"v=spf1 ip4:10.0.2.1 -all\"\n\
far.example. MX 10 mx.far.example.\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n";

fn world<F: Future<Output = ()> + Send>(
    may_send: bool,
    scenario: impl FnOnce(One, SimRuntime) -> F + Send + 'static,
) {
    one_server::judged(
        (ZONE, DnsManner::direct()),
        move |one| one.alias = Some(may_send),
        scenario,
    );
}

/// Brings a message of bob's; the reply to it.
async fn bring(client: &SimRuntime, to: &[&str], text: &str) -> String {
    let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
    smtp.expect("220").await.unwrap();
    smtp.say("EHLO mx.far.example\r\n").await.unwrap();
    smtp.expect("250").await.unwrap();
    let reply = one_server::transaction(&mut smtp, "bob@far.example", to, text).await;
    reply.unwrap_or_else(|refused| refused.to_string())
}

/// Ann sends a message of this sender; the reply to MAIL or to the message.
async fn submit(client: &SimRuntime, from: &str, to: &str, text: &str) -> String {
    let mut smtp = Dialogue::new(client.connect(ours(587), None).await.unwrap());
    let response = STANDARD.encode(format!("\0ann@ours.example\0{PASSWORD}"));
    smtp.expect("220").await.unwrap();
    for (line, code) in [
        ("EHLO client.example", "250"),
        (&format!("AUTH PLAIN {response}"), "235"),
    ] {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        smtp.expect(code).await.unwrap();
    }
    for line in [
        &format!("MAIL FROM:<{from}>"),
        &format!("RCPT TO:<{to}> NOTIFY=SUCCESS"),
        "DATA",
        &format!("From: <{from}>\r\n{text}."),
    ] {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        let reply = smtp.reply().await.unwrap();
        if !(reply.starts_with("250") || reply.starts_with("354")) {
            return reply;
        }
    }
    "250".into()
}

/// What is in a mailbox.
async fn read(client: &SimRuntime, user: &str, mailbox: &str) -> Vec<String> {
    let stream: SimStream = client.connect(ours(143), None).await.unwrap();
    let mut imap = Dialogue::new(stream);
    imap.line().await.unwrap();
    let login = format!("LOGIN {user} \"{PASSWORD}\"");
    imap.command(&login).await.unwrap();
    let selected = imap.command(&format!("SELECT {mailbox}")).await.unwrap();
    if !selected.contains(" OK ") || selected.contains("* 0 EXISTS") {
        return Vec::new();
    }
    let all = imap.command("FETCH 1:* (BODY.PEEK[])").await.unwrap();
    all.split("BODY[]").skip(1).map(str::to_owned).collect()
}

fn text(subject: &str) -> String {
    format!(
        "From: <bob@far.example>\r\nMessage-ID: <{subject}@id>\r\nSubject: {subject}\r\n\r\nHello.\r\n"
    )
}

const BOTH: [&str; 2] = ["ann@ours.example", "mox@localhost"];

#[test]
fn each_member_has_one_copy_that_names_the_alias_and_a_decision_of_its_own() {
    world(false, |one, client| async move {
        let to = [
            "sales@ours.example",
            "ann@ours.example",
            "SALES@ours.example",
        ];
        let reply = bring(&client, &to, &text("one")).await;
        assert!(reply.starts_with("250 "), "{reply}");
        for user in BOTH {
            let all = read(&client, user, "INBOX").await;
            assert_eq!(all.len(), 1, "{user}: {all:?}");
            assert!(
                all[0].contains("\r\nDelivered-To: sales@ours.example\r\n"),
                "{all:?}"
            );
        }
        let record = one
            .node()
            .explain("sales@ours.example", 1)
            .unwrap()
            .remove(0);
        assert_eq!(record.differences(), Vec::<String>::new());
        let recipients = record.recipients.iter().map(|judged| &judged.recipient);
        let recipients: Vec<_> = recipients
            .map(|r| (r.address.as_str(), r.account.as_deref()))
            .collect();
        let alias = "sales@ours.example";
        assert_eq!(recipients, [(alias, Some("ann")), (alias, Some("mox"))]);
        // The members' own addresses lead to it too, and nobody's to another.
        for member in BOTH {
            let found = one.node().explain(member, 1).unwrap();
            assert_eq!(found, std::slice::from_ref(&record), "{member}");
        }
        for (account, own, other) in [("ann", BOTH[0], BOTH[1]), ("mox", BOTH[1], BOTH[0])] {
            let may_know = |what| one.node().explain_to(account, what, 10).unwrap();
            let own = may_know(own);
            let accounts = own[0]
                .recipients
                .iter()
                .map(|j| j.recipient.account.as_deref());
            assert_eq!(accounts.collect::<Vec<_>>(), [Some(account)]);
            assert_eq!(may_know(other), []);
        }

        // It comes back by way of somebody who forwards it.
        let looped = format!("Delivered-To: <sales@ours.example>\r\n{}", text("loop"));
        let reply = bring(&client, &["sales@ours.example"], &looped).await;
        assert!(reply.starts_with("550 5.4.6 "), "{reply}");

        // What ann calls junk is junk for her.
        let stream: SimStream = client.connect(ours(143), None).await.unwrap();
        let mut imap = Dialogue::new(stream);
        imap.line().await.unwrap();
        for command in [
            format!("LOGIN ann@ours.example \"{PASSWORD}\"").as_str(),
            "SELECT INBOX",
            "MOVE 1 Junk",
        ] {
            let said = imap.command(command).await.unwrap();
            assert!(said.contains(" OK "), "{command}: {said}");
        }
        let reply = bring(&client, &["sales@ours.example"], &text("two")).await;
        assert!(reply.starts_with("250 "), "{reply}");
        let record = one
            .node()
            .explain("sales@ours.example", 1)
            .unwrap()
            .remove(0);
        let decisions = record.recipients.iter().map(|judged| &judged.decision);
        let decisions: Vec<_> = decisions.map(|d| (d.verdict, d.reason)).collect();
        assert_eq!(
            decisions,
            [
                (Verdict::Defer, Reason::Msgfromfull),
                (Verdict::Accept, Reason::NoBadSignals)
            ]
        );
        assert_eq!(read(&client, BOTH[0], "INBOX").await.len(), 0);
        assert_eq!(read(&client, BOTH[0], "Junk").await.len(), 2);
        assert_eq!(read(&client, BOTH[1], "INBOX").await.len(), 2);
        one.stop().await;
    });
}

#[test]
fn members_send_with_an_alias_where_it_says_so_and_its_mail_goes_by_the_queue_too() {
    for may_send in [false, true] {
        world(may_send, move |one, client| async move {
            let (alias, hello) = ("sales@ours.example", "Subject: hello\r\n\r\nHello.\r\n");
            let reply = submit(&client, alias, alias, hello).await;
            match may_send {
                true => assert_eq!(reply, "250"),
                false => assert!(reply.starts_with("550 5.7.1 "), "{reply}"),
            }
            assert!(one.settle(Duration::from_secs(600)).await);
            for user in BOTH {
                let all = read(&client, user, "INBOX").await;
                let count = |mark: &str| all.iter().filter(|text| text.contains(mark)).count();
                let hellos = count("\r\nSubject: hello\r\n\r\nHello.");
                assert_eq!(hellos, usize::from(may_send), "{user}: {all:?}");
                // Who sent it is told of both, by the name that was written.
                let told = count("original-recipient: rfc822;sales@ours.example")
                    + count("Original-Recipient: rfc822;sales@ours.example");
                let is_told = may_send && user == BOTH[0];
                assert_eq!(told > 0, is_told, "{user}: {all:?}");
            }
            one.stop().await;
        });
    }
}
