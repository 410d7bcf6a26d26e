//! What is looked at before there is a message (whether the sender could be answered, TLS that is demanded), tokens for the
//! Subject, and what the id of a transaction tells.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_dns::Name;
use mox_driver::Runtime;
use mox_server::decision::{Reason, Record, Token};
use mox_server::ruleset::{Pattern, Ruleset};
use mox_sim::{Dialogue, DnsManner, SimRuntime};
use one_server::{One, ours, sleep};
use std::time::Duration;

/// far.example can be answered and vouches for its mail; all.lists lists its client.
const ZONE: &str = "\
far.example. MX 10 mx.far.example.\n\
far.example. TXT \"v=spf1 ip4:10.0.2.1 -all\"\n\
_dmarc.far.example. TXT \"v=DMARC1; p=none\"\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n\
null.example. MX 0 .\n\
nobody.example. MX 10 gone.example.\n\
text.example. TXT \"v=spf1 -all\"\n\
plain.example. A 10.0.2.1\n\
2.0.0.127.bl.lists. A 127.0.0.2\n\
1.2.0.10.bl.lists. A 127.0.0.4\n";

const HOUR: Duration = Duration::from_secs(3_600);

/// Says these lines in one session; the reply to each.
async fn session(client: &SimRuntime, lines: &[&str]) -> Vec<String> {
    let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
    smtp.expect("220").await.unwrap();
    let mut replies = Vec::new();
    for line in lines {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        replies.push(smtp.reply().await.unwrap());
    }
    replies
}

/// Brings a message of bob@far.example, or of this author, to Ann; the reply to it.
async fn bring(client: &SimRuntime, author: &str, subject: &str) -> String {
    let text = format!("From: <{author}>\r\nSubject: {subject}\r\n\r\nHello.\r\n.");
    let lines = [
        "EHLO mx.far.example",
        "MAIL FROM:<bob@far.example>",
        "RCPT TO:<ann@ours.example>",
        "DATA",
        &text,
    ];
    session(client, &lines).await.pop().unwrap()
}

/// The newest record about this, which decides the same again, also from what `--json` prints.
fn newest(one: &One, what: &str) -> Record {
    let record = one.node().explain(what, 1).unwrap().remove(0);
    assert_eq!(record.differences(), Vec::<String>::new(), "{record:#?}");
    assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(&record));
    record
}

fn world<F: Future<Output = ()> + Send>(
    manner: DnsManner,
    set: impl FnOnce(&mut One) + Send + 'static,
    scenario: impl FnOnce(One, SimRuntime) -> F + Send + 'static,
) {
    one_server::judged((ZONE, manner), set, scenario);
}

#[test]
fn who_could_not_be_answered_may_not_send_and_the_record_says_why() {
    world(
        DnsManner::direct(),
        |_| {},
        |one, client| async move {
            for (sender, reply, why) in [
                ("bob@null.example", "550 5.7.27 ", "it takes no mail"),
                ("bob@gone.example", "550 5.7.27 ", "does not exist"),
                (
                    "bob@nobody.example",
                    "550 5.7.27 ",
                    "no host that takes mail",
                ),
                ("bob@text.example", "550 5.7.27 ", "no host that takes mail"),
                ("bob@[10.0.2.1]", "550 5.7.0 ", "an address literal"),
            ] {
                let mail = format!("MAIL FROM:<{sender}>");
                let lines = ["EHLO mx.far.example", &mail, "RCPT TO:<ann@ours.example>"];
                let replies = session(&client, &lines).await;
                assert!(replies[1].starts_with(reply), "{sender}: {}", replies[1]);
                assert!(replies[2].starts_with("503 "), "{}", replies[2]);
                let record = newest(&one, sender);
                assert!(replies[1].contains(&record.id), "{}", replies[1]);
                let decision = &record.recipients[0].decision;
                assert_eq!(decision.reason, Reason::SenderUnreachable);
                assert!(
                    decision.rules[0].because.contains(why),
                    "{:?}",
                    decision.rules
                );
                let change = record.recipients[0].change.as_ref().unwrap();
                assert_eq!(change.what, "the sender's domain can be answered");
            }
            for sender in [
                "bob@far.example",
                "bob@plain.example",
                "ann@ours.example",
                "",
            ] {
                let mail = format!("MAIL FROM:<{sender}>");
                let replies = session(&client, &["EHLO mx.far.example", &mail]).await;
                assert!(replies[1].starts_with("250 "), "{sender}: {}", replies[1]);
            }
            one.node().drain().await;
        },
    );
}

#[test]
fn a_message_without_a_sender_is_for_one_recipient() {
    world(
        DnsManner::direct(),
        |_| {},
        |one, client| async move {
            for (sender, second) in [("", "452 4.5.3 "), ("bob@far.example", "250 ")] {
                let mail = format!("MAIL FROM:<{sender}>");
                let lines = [
                    "EHLO mx.far.example",
                    &mail,
                    "RCPT TO:<nobody@ours.example>",
                    "RCPT TO:<ann@ours.example>",
                    "RCPT TO:<mox@localhost>",
                    "DATA",
                    "From: <bob@far.example>\r\nSubject: hello\r\n\r\nHello.\r\n.",
                ];
                let replies = session(&client, &lines).await;
                let codes = ["250", "250 ", "550 5.1.1 ", "250 ", second, "354 ", "250 "];
                for (reply, code) in replies.iter().zip(codes) {
                    assert!(reply.starts_with(code), "{sender}: {replies:?}");
                }
                let record = one.node().explain("ann@ours.example", 1).unwrap().remove(0);
                let recipients = if sender.is_empty() { 1 } else { 2 };
                assert_eq!(record.recipients.len(), recipients);
            }
            one.node().drain().await;
        },
    );
}

#[test]
fn while_name_servers_do_not_tell_senders_are_put_off_but_our_own() {
    let silent = DnsManner {
        servfail_one_in: 1,
        ..DnsManner::direct()
    };
    world(
        silent,
        |_| {},
        |one, client| async move {
            let said = session(
                &client,
                &["EHLO mx.far.example", "MAIL FROM:<bob@far.example>"],
            )
            .await;
            assert!(said[1].starts_with("451 4.4.0 "), "{}", said[1]);
            let record = newest(&one, "bob@far.example");
            assert_eq!(record.recipients[0].decision.reason, Reason::SenderUnsure);
            let said = session(&client, &["EHLO x.example", "MAIL FROM:<ann@ours.example>"]).await;
            assert!(said[1].starts_with("250 "), "{}", said[1]);
            one.node().drain().await;
        },
    );
}

#[test]
fn where_tls_is_demanded_only_reports_about_it_come_in_clear() {
    let set = |one: &mut One| {
        one.tls = Some(one.runtime.server_tls(&["ours.example"]));
        one.require_starttls = true;
    };
    world(DnsManner::direct(), set, |one, client| async move {
        let replies = session(
            &client,
            &[
                "EHLO mx.far.example",
                "MAIL FROM:<bob@far.example>",
                "RCPT TO:<ann@ours.example>",
                "RCPT TO:<nobody@ours.example>",
                "RCPT TO:<postmaster@ours.example>",
            ],
        )
        .await;
        assert!(replies[2].starts_with("530 5.7.0 "), "{}", replies[2]);
        // It is not told in clear who has an address.
        assert!(replies[3].starts_with("530 5.7.0 "), "{}", replies[3]);
        assert!(replies[4].starts_with("250 "), "{}", replies[4]);
        let record = newest(&one, "ann@ours.example");
        assert_eq!(record.recipients[0].decision.reason, Reason::TlsRequired);
        let change = record.recipients[0].change.as_ref().unwrap();
        assert_eq!(change.what, "the session uses TLS");
        let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
        smtp.expect("220").await.unwrap();
        for (line, code) in [("EHLO mx.far.example", "250"), ("STARTTLS", "220")] {
            smtp.say(&format!("{line}\r\n")).await.unwrap();
            smtp.expect(code).await.unwrap();
        }
        let secured = client
            .secure(smtp.into_stream(), "ours.example")
            .await
            .unwrap();
        let mut smtp = Dialogue::new(secured);
        for line in [
            "EHLO mx.far.example",
            "MAIL FROM:<bob@far.example>",
            "RCPT TO:<ann@ours.example>",
        ] {
            smtp.say(&format!("{line}\r\n")).await.unwrap();
            smtp.expect("250").await.unwrap();
        }
        one.node().drain().await;
    });
}

#[test]
fn a_proved_stranger_on_a_list_is_given_a_token_that_gets_the_message_read() {
    let set = |one: &mut One| {
        one.lists = vec![Name::parse("bl.lists").unwrap()];
        one.incoming.subject_token = Some(12 * HOUR);
    };
    world(DnsManner::direct(), set, |one, client| async move {
        let refused = bring(&client, "bob@far.example", "hello").await;
        assert!(refused.starts_with("550 5.7.1 "), "{refused}");
        let from = refused.find("(pass:").unwrap();
        let token = &refused[from..=from + refused[from..].find(')').unwrap()];
        let record = newest(&one, "ann@ours.example");
        let decided = &record.recipients[0];
        assert_eq!(decided.decision.reason, Reason::GiveSubjectpass);
        assert_eq!(decided.recipient.offer.as_deref(), Some(token));
        // For this author only.
        let subject = format!("Re: hello {token}");
        let other = bring(&client, "eve@far.example", &subject).await;
        assert!(other.starts_with("550 5.7.1 "), "{other}");
        let taken = bring(&client, "bob@far.example", &subject).await;
        assert!(taken.starts_with("250 "), "{taken}");
        let record = newest(&one, "ann@ours.example");
        let decided = &record.recipients[0];
        assert_eq!(decided.decision.reason, Reason::Subjectpass);
        assert_eq!(decided.recipient.token, Token::Valid);
        // Nothing was given, so nothing is kept that opens a mailbox.
        assert_eq!(decided.recipient.offer, None);
        sleep(&client, 13 * HOUR).await;
        let late = bring(&client, "bob@far.example", &subject).await;
        assert!(late.starts_with("550 5.7.1 "), "{late}");
        one.node().drain().await;
    });
}

#[test]
fn rulesets_see_the_fields_that_will_stand_before_each_recipients_own_message() {
    let set = |one: &mut One| {
        let pattern = |text| Pattern::new(text).unwrap();
        one.incoming.rulesets = vec![Ruleset {
            mail_from: None,
            verified_domain: None,
            headers: vec![(pattern("^delivered-to$"), pattern("^ann@ours"))],
            mailbox: "Mine".into(),
            list_allow_domain: None,
            is_forward: false,
            accept_rejects_to_mailbox: None,
        }];
    };
    world(DnsManner::direct(), set, |one, client| async move {
        let lines = [
            "EHLO mx.far.example",
            "MAIL FROM:<bob@far.example>",
            "RCPT TO:<mox@localhost>",
            "RCPT TO:<ann@ours.example>",
            "DATA",
            "From: <bob@far.example>\r\nSubject: x\r\n\r\nHello.\r\n.",
        ];
        let replies = session(&client, &lines).await;
        assert!(replies[5].starts_with("250 "), "{}", replies[5]);
        let record = newest(&one, "ann@ours.example");
        let placed: Vec<_> = record
            .recipients
            .iter()
            .map(|r| r.placed.as_deref())
            .collect();
        assert_eq!(placed, [Some("INBOX"), Some("Mine")]);
        one.node().drain().await;
    });
}

#[test]
fn the_id_of_a_transaction_tells_its_second_also_after_a_restart() {
    world(
        DnsManner::direct(),
        |_| {},
        |mut one, client| async move {
            sleep(&client, 5 * HOUR).await;
            let second = client.now().utc.secs();
            let reply = bring(&client, "bob@far.example", "hello").await;
            let id = newest(&one, "ann@ours.example").id;
            assert!(reply.contains(&id), "{reply}");
            one.crash();
            one.start().await;
            let told = one.node().transaction_time(&id).unwrap().secs();
            assert!(
                (second..second + 60).contains(&told),
                "{told} is not {second}"
            );
            assert_eq!(one.node().transaction_time("no id"), None);
            one.node().drain().await;
        },
    );
}
