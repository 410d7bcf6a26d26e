//! What becomes of mail from elsewhere, over a name server: checks, header fields, decisions, records.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_dkim::{Ed25519Key, Selector, Signing};
use mox_dns::MasterFile;
use mox_driver::Runtime;
use mox_node::Outgoing;
use mox_server::decision::{Reason, Record, Verdict};
use mox_sim::{Dialogue, DnsManner, Knobs, Sim, SimRuntime, name_server};
use one_server::{One, inbox, ours};
use std::sync::Arc;

/// far.example proves what it sends and wants the rest refused; aside.example wants it put aside; loose.example wants nothing.
const ZONE: &str = "\
far.example. TXT \"v=spf1 ip4:10.0.2.1 -all\"\n\
far.example. MX 10 far.example.\n\
far.example. A 10.0.2.1\n\
elsewhere.example. A 10.0.2.9\n\
mx.far.example. TXT \"v=spf1 a -all\"\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n\
_dmarc.far.example. TXT \"v=DMARC1; p=reject\"\n\
_dmarc.aside.example. TXT \"v=DMARC1; p=quarantine\"\n\
_dmarc.loose.example. TXT \"v=DMARC1; p=none\"\n\
one._domainkey.signed.example. TXT \"v=DKIM1; k=ed25519; p=PUBLIC\"\n\
_dmarc.signed.example. TXT \"v=DMARC1; p=reject\"\n";

/// A message to ann, as it is told in one session.
struct Mail<'a> {
    client: [u8; 4],
    from: &'a str,
    text: String,
}

/// What came of it: the last reply, all that is in Ann's Inbox, and what is on record.
struct Came {
    reply: String,
    inbox: String,
    records: Vec<Record>,
}

fn text(author: &str) -> String {
    format!("From: <{author}>\r\nMessage-ID: <1@far.example>\r\nSubject: hello\r\n\r\nHello.\r\n")
}

fn receive(zone: &str, manner: DnsManner, mail: &Mail<'_>) -> Came {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let zone = MasterFile::parse(zone).unwrap();
    let (from, text, client) = (mail.from.to_owned(), mail.text.clone(), mail.client);
    let came = sim.run(async move {
        let client = world.computer("client", client);
        let names = world.computer("names", [10, 0, 0, 53]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, manner).unwrap()];
        one.start().await;
        let stream = client.connect(ours(25), None).await.unwrap();
        let mut smtp = Dialogue::new(stream);
        smtp.expect("220").await.unwrap();
        for (line, code) in [
            ("EHLO mx.far.example".to_owned(), "250"),
            (format!("MAIL FROM:<{from}>"), "250"),
            ("RCPT TO:<ann@ours.example>".to_owned(), "250"),
            ("DATA".to_owned(), "354"),
        ] {
            smtp.say(&format!("{line}\r\n")).await.unwrap();
            smtp.expect(code).await.unwrap();
        }
        smtp.say(&format!("{text}.\r\n")).await.unwrap();
        let came = Came {
            reply: smtp.reply().await.unwrap(),
            inbox: inbox(&client).await.unwrap(),
            records: one.node().explain("<ann@ours.example>", 10).unwrap(),
        };
        drop(smtp);
        one.stop().await;
        came
    });
    assert_eq!(sim.panics(), 0);
    assert_explained(&came);
    came
}

/// Every transaction has one record, which the reply and the message name, and which decides the same again.
#[track_caller]
fn assert_explained(came: &Came) {
    let [record] = &came.records[..] else {
        panic!("{} records", came.records.len());
    };
    assert!(came.reply.contains(&record.id), "{}", came.reply);
    if came.inbox.contains("Subject: hello") {
        assert!(came.inbox.contains(&record.id), "{}", came.inbox);
    }
    assert_eq!(record.differences(), Vec::<String>::new(), "{record:#?}");
    assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record));
}

fn far(author: &str) -> Mail<'static> {
    Mail {
        client: [10, 0, 2, 1],
        from: "bob@far.example",
        text: text(author),
    }
}

#[test]
fn what_was_checked_stands_before_the_message() {
    let came = receive(ZONE, DnsManner::direct(), &far("bob@far.example"));
    assert!(came.reply.starts_with("250 "), "{}", came.reply);
    for field in [
        "; accept; no-bad-signals\r\nReturn-Path: <bob@far.example>\r\nAuthentication-Results: ours.example;\r\n\
         \tiprev=pass (mx.far.example) policy.iprev=10.0.2.1;\r\n\tdkim=none;\r\n\
         \tspf=pass smtp.mailfrom=far.example;\r\n\
         \tdmarc=pass (p=reject) header.from=far.example\r\n\
         Received-SPF: pass (far.example says that 10.0.2.1 may send for it)\r\n",
        "\tmechanism=\"ip4:10.0.2.1\";\r\n",
        "Received: from mx.far.example ([10.0.2.1])",
    ] {
        assert!(came.inbox.contains(field), "{field}\nin\n{}", came.inbox);
    }
}

#[test]
fn mail_that_its_authors_domain_wants_refused_is_refused() {
    let forged = Mail {
        client: [10, 0, 2, 9],
        from: "spam@elsewhere.example",
        text: text("bob@far.example"),
    };
    let came = receive(ZONE, DnsManner::direct(), &forged);
    assert!(came.reply.starts_with("550 5.7.26 "), "{}", came.reply);
    assert!(came.reply.contains("(id "), "{}", came.reply);
    assert_eq!(came.inbox, "");
    for (author, reply, is_there) in [
        // Put aside: taken, and not in the Inbox.
        ("bob@aside.example", "250 ", false),
        ("bob@loose.example", "250 ", true),
        ("bob@nothing.example", "250 ", true),
    ] {
        let mail = Mail {
            text: text(author),
            ..forged
        };
        let came = receive(ZONE, DnsManner::direct(), &mail);
        assert!(came.reply.starts_with(reply), "{author}: {}", came.reply);
        assert_eq!(came.inbox.contains("Subject: hello"), is_there, "{author}");
    }
    // A second author changes nothing; none at all is none that could be asked.
    let two = Mail {
        text: text("me@nothing.example>, <bob@far.example"),
        ..forged
    };
    let came = receive(ZONE, DnsManner::direct(), &two);
    assert!(came.reply.starts_with("550 5.7.26 "), "{}", came.reply);
    let nobody = Mail {
        text: "Subject: hello\r\n\r\nHello.\r\n".into(),
        ..forged
    };
    let came = receive(ZONE, DnsManner::direct(), &nobody);
    assert!(came.reply.starts_with("550 5.7.1 "), "{}", came.reply);
}

#[test]
fn signatures_are_checked_over_what_was_sent_and_not_over_what_is_kept() {
    let key = Arc::new(Ed25519Key::from_seed(&[7; 32]).unwrap());
    let signed = |more: &str| {
        let header = format!(
            "{more}From: <bob@signed.example>\r\nMessage-ID: <2@signed.example>\r\nSubject: hello\r\n"
        );
        let selector = Selector {
            signed: ["Authentication-Results", "From", "Subject"]
                .map(String::from)
                .to_vec(),
            ..Selector::new("signed.example", "one", key.clone())
        };
        let mut signing = Signing::new([selector]);
        signing.push(b"Hello.\r\n");
        let field = signing.finish(header.as_bytes(), 0).unwrap();
        format!("{field}{header}\r\nHello.\r\n")
    };
    let public = {
        use base64::Engine;
        let mox_dkim::PublicKey::Ed25519(public) = mox_dkim::Sign::public_key(&*key) else {
            panic!("another kind of key");
        };
        base64::engine::general_purpose::STANDARD.encode(public)
    };
    let zone = ZONE.replace("PUBLIC", &public);
    // The forged field is taken out, and was signed.
    let forged = "Authentication-Results: ours.example; spf=pass\r\n";
    for more in ["", forged] {
        let mail = Mail {
            client: [10, 0, 2, 9],
            from: "bounce@elsewhere.example",
            text: signed(more),
        };
        let came = receive(&zone, DnsManner::direct(), &mail);
        assert!(came.reply.starts_with("250 "), "{}", came.reply);
        assert!(came.inbox.contains("\tdkim=pass "), "{}", came.inbox);
        assert!(came.inbox.contains("\tdmarc=pass "), "{}", came.inbox);
        assert!(!came.inbox.contains(forged), "{}", came.inbox);
        let changed = Mail {
            text: mail.text.replace("Hello.", "Hallo."),
            ..mail
        };
        let came = receive(&zone, DnsManner::direct(), &changed);
        assert!(came.reply.starts_with("550 5.7.26 "), "{}", came.reply);
    }
}

#[test]
fn a_stranger_whom_spf_does_not_name_is_put_off() {
    let mail = Mail {
        client: [10, 0, 2, 9],
        from: "bob@far.example",
        text: text("bob@loose.example"),
    };
    let came = receive(ZONE, DnsManner::direct(), &mail);
    assert!(came.reply.starts_with("451 4.3.0 "), "{}", came.reply);
    assert_eq!(came.inbox, "");
}

#[test]
fn when_name_servers_say_nothing_mail_is_taken_in_time() {
    for manner in [
        DnsManner {
            lost_one_in: 1,
            ..DnsManner::direct()
        },
        DnsManner {
            servfail_one_in: 1,
            ..DnsManner::direct()
        },
    ] {
        // Nobody needs to answer what has no sender.
        let mail = Mail {
            from: "",
            ..far("bob@far.example")
        };
        let came = receive(ZONE, manner, &mail);
        assert!(came.reply.starts_with("250 "), "{}", came.reply);
        assert!(came.inbox.contains("\tspf=temperror"), "{}", came.inbox);
        assert!(came.inbox.contains("\tdmarc=temperror"), "{}", came.inbox);
    }
}

/// Says these lines in one session; the replies.
async fn session(client: &SimRuntime, lines: &[&str]) -> Vec<String> {
    let stream = client.connect(ours(25), None).await.unwrap();
    let mut smtp = Dialogue::new(stream);
    smtp.expect("220").await.unwrap();
    let mut replies = Vec::new();
    for line in lines {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        replies.push(smtp.reply().await.unwrap());
    }
    replies
}

#[test]
fn recipients_that_are_refused_have_records_too() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let client = world.computer("client", [10, 0, 2, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = MasterFile::parse(ZONE).unwrap();
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.start().await;
        let lines = [
            "EHLO mx.far.example",
            "MAIL FROM:<bob@far.example>",
            "RCPT TO:<nobody@ours.example>",
            "RCPT TO:<ann@elsewhere.example>",
        ];
        let replies = session(&client, &lines).await;
        for (reply, code, to, reason) in [
            (
                &replies[2],
                "550 5.1.1 ",
                "nobody@ours.example",
                Reason::UnknownRecipient,
            ),
            (
                &replies[3],
                "550 5.7.1 ",
                "ann@elsewhere.example",
                Reason::NotOurs,
            ),
        ] {
            assert!(reply.starts_with(code), "{reply}");
            let found = one.node().explain(to, 10).unwrap();
            assert_eq!(found.len(), 1);
            assert!(reply.contains(&found[0].id), "{reply}");
            let decision = &found[0].recipients[0].decision;
            assert_eq!(
                (decision.verdict, decision.reason),
                (Verdict::Refuse, reason)
            );
            assert!(found[0].differences().is_empty());
        }
        assert_eq!(one.node().explain("bob@far.example", 10).unwrap().len(), 2);
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn what_a_user_marks_decides_about_what_comes_next() {
    for (keyword, code, reason) in [
        ("$Junk", "451 ", Reason::Msgfromfull),
        ("$NotJunk", "250 ", Reason::Msgfromfull),
        ("other", "250 ", Reason::NoBadSignals),
    ] {
        let sim = Sim::new(1, Knobs::fault_free());
        let world = sim.clone();
        sim.run(async move {
            let client = world.computer("client", [10, 0, 2, 1]);
            let names = world.computer("names", [10, 0, 0, 53]);
            let zone = MasterFile::parse(ZONE).unwrap();
            let mut one = One::new(&world, Outgoing::Sink("mox".into()));
            one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
            one.start().await;
            let message = format!("{}.", text("bob@far.example"));
            let lines = [
                "EHLO mx.far.example",
                "MAIL FROM:<bob@far.example>",
                "RCPT TO:<ann@ours.example>",
                "DATA",
                &message,
            ];
            let first = session(&client, &lines).await;
            assert!(first[4].starts_with("250 "), "{}", first[4]);
            let mut imap = Dialogue::new(client.connect(ours(143), None).await.unwrap());
            imap.line().await.unwrap();
            let login = format!("LOGIN ann@ours.example \"{}\"", one_server::PASSWORD);
            for command in [
                &login,
                "SELECT INBOX",
                &format!("STORE 1 +FLAGS ({keyword})"),
            ] {
                let said = imap.command(command).await.unwrap();
                assert!(said.contains(" OK"), "{said}");
            }
            let second = session(&client, &lines).await;
            assert!(second[4].starts_with(code), "{keyword}: {}", second[4]);
            let records = one.node().explain("1@far.example", 10).unwrap();
            assert_eq!(records.len(), 2);
            assert_eq!(
                records[0].recipients[0].decision.reason, reason,
                "{keyword}"
            );
            assert!(records.iter().all(|record| record.differences().is_empty()));
            one.stop().await;
        });
        assert_eq!(sim.panics(), 0);
    }
}

#[test]
fn whom_a_user_wrote_to_is_taken_whatever_his_domain_did() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let client = world.computer("client", [10, 0, 2, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = MasterFile::parse(ZONE).unwrap();
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.start().await;
        one_server::submit(&client, &["bob@far.example"], &one_server::text("mark", 1))
            .await
            .unwrap();
        let message = format!("{}.", text("bob@far.example"));
        let lines = [
            "EHLO mx.far.example",
            "MAIL FROM:<bob@far.example>",
            "RCPT TO:<ann@ours.example>",
            "DATA",
            &message,
        ];
        let replies = session(&client, &lines).await;
        assert!(replies[4].starts_with("250 "), "{}", replies[4]);
        let records = one.node().explain("1@far.example", 10).unwrap();
        assert_eq!(records[0].recipients[0].decision.reason, Reason::Msgtofull);
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}
