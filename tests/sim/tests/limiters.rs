//! What limiters do to guessers, and what they do not do to everybody else behind the same address.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_driver::Runtime;
use mox_node::Outgoing;
use mox_server::decision::Verdict;
use mox_server::limiter::{Limiter, NetworkClass, RefusedService};
use mox_sim::{Dialogue, Knobs, Sim, SimRuntime};
use one_server::{One, arrive, inbox, ours, sleep, text};
use std::time::Duration;

/// One attempt to log in by IMAP; what the server said, the greeting if that was all.
async fn try_imap(from: &SimRuntime, user: &str, password: &str) -> String {
    let mut imap = Dialogue::new(from.connect(ours(143), None).await.unwrap());
    let greeting = imap.line().await.unwrap();
    if greeting.starts_with("* BYE") {
        return greeting;
    }
    imap.command(&format!("LOGIN {user} {password}"))
        .await
        .unwrap()
}

/// The same by submission.
async fn try_submission(from: &SimRuntime, user: &str, password: &str) -> String {
    let mut smtp = Dialogue::new(from.connect(ours(587), None).await.unwrap());
    let greeting = smtp.reply().await.unwrap();
    if greeting.starts_with("421") {
        return greeting;
    }
    smtp.say("EHLO phone.example\r\n").await.unwrap();
    smtp.expect("250").await.unwrap();
    let response = STANDARD.encode(format!("\0{user}\0{password}"));
    smtp.say(&format!("AUTH PLAIN {response}\r\n"))
        .await
        .unwrap();
    smtp.reply().await.unwrap()
}

#[test]
fn an_office_with_a_phone_that_has_a_wrong_password_goes_on_receiving_and_reading() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let office = world.computer("office", [10, 0, 9, 1]);
        let guesser = world.computer("guesser", [10, 0, 7, 1]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.start().await;
        inbox(&office).await.unwrap();
        let mut told = Vec::new();
        for n in 0..120 {
            // An app that adds a number to what it was told, so that no two passwords are the same.
            told.push(try_imap(&office, "bob@ours.example", &format!("old{n}")).await);
            told.push(try_submission(&office, "bob@ours.example", &format!("older{n}")).await);
            if n % 10 == 0 {
                arrive(&office, &text(&format!("number {n}"), 1))
                    .await
                    .unwrap();
                let read = inbox(&office).await.unwrap();
                assert!(read.contains(&format!("Subject: number {n}\r\n")), "{n}");
            }
        }
        let wrong = told
            .iter()
            .filter(|t| t.contains("AUTHENTICATIONFAILED") || t.starts_with("535"));
        assert!((10..60).contains(&wrong.count()));
        assert!(told.iter().any(|t| t.contains("NO [LIMIT]")), "{told:?}");
        assert!(told.iter().any(|t| t.starts_with("421 4.7.0")), "{told:?}");
        // Who is no friend of the office is told at the door.
        let mut tries = 0;
        let bye = loop {
            let said = try_imap(&guesser, "ann@ours.example", &format!("guess{tries}")).await;
            if said.starts_with("* BYE") {
                break said;
            }
            tries += 1;
        };
        assert!(bye.contains("too many failed logins"), "{bye}");
        assert!((10..14).contains(&tries), "{tries}");
        // What was refused is counted, in the store soon, and there after a start.
        sleep(&office, Duration::from_secs(120)).await;
        one.node().drain().await;
        one.start().await;
        let minutes = one.node().refused(100).unwrap();
        let all: Vec<_> = minutes.iter().flat_map(|minute| &minute.refused).collect();
        let by = |service| {
            let of = all.iter().filter(|r| r.service == service);
            of.map(|r| r.count).sum::<u64>()
        };
        assert!(by(RefusedService::Imap) > 50, "{minutes:?}");
        assert!(by(RefusedService::Submission) > 50, "{minutes:?}");
        assert_eq!(by(RefusedService::Smtp), 0, "{minutes:?}");
        for refused in all {
            assert_eq!(refused.limiter, Limiter::FailedLogins);
            assert_eq!(refused.class, Some(NetworkClass::Address));
        }
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn the_same_wrong_password_again_is_no_guess() {
    let sim = Sim::new(2, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let phone = world.computer("phone", [10, 0, 9, 1]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.start().await;
        for n in 0..100 {
            let said = try_imap(&phone, "ann@ours.example", "yesterday").await;
            assert!(said.contains("AUTHENTICATIONFAILED"), "{n}: {said}");
        }
        assert_eq!(one.node().refused(10).unwrap(), []);
        inbox(&phone).await.unwrap();
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn who_connects_too_often_is_put_off_for_a_minute() {
    let sim = Sim::new(3, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let client = world.computer("client", [10, 0, 9, 1]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.start().await;
        let mut said = Vec::new();
        for _ in 0..400 {
            let stream = client.connect(ours(25), None).await.unwrap();
            said.push(Dialogue::new(stream).reply().await.unwrap_or_default());
        }
        let greeted = said.iter().filter(|s| s.starts_with("220")).count();
        assert!((300..400).contains(&greeted), "{greeted}");
        let put_off =
            "421 4.7.0 ours.example too many connections from your address, try again in a minute";
        let told = said.iter().find(|s| s.starts_with("421")).unwrap();
        assert_eq!(told.trim_end(), put_off);
        sleep(&client, Duration::from_secs(60)).await;
        arrive(&client, &text("later", 1)).await.unwrap();
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn who_tries_names_is_shown_the_door_and_leaves_a_bounded_trail() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let harvester = world.computer("harvester", [10, 0, 7, 1]);
        let client = world.computer("client", [10, 0, 9, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone =
            mox_dns::MasterFile::parse("x.example. A 10.0.0.1\nelsewhere.example. A 10.0.9.1\n")
                .unwrap();
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        let server = mox_sim::name_server(&names, zone, mox_sim::DnsManner::direct());
        one.resolvers = vec![server.unwrap()];
        one.start().await;
        let (mut unknown, mut closed) = (0, 0);
        // Whoever has used it up learns nothing more, of those who are here neither.
        let someone = |session: u32, n: u32| match (session, n) {
            (1, 40) => "ann".to_owned(),
            _ => format!("u{n}s{session}"),
        };
        for session in 0..4 {
            let mut smtp = Dialogue::new(harvester.connect(ours(25), None).await.unwrap());
            smtp.expect("220").await.unwrap();
            smtp.say("EHLO x.example\r\nMAIL FROM:<a@x.example>\r\n")
                .await
                .unwrap();
            smtp.expect("250").await.unwrap();
            let sender = smtp.reply().await.unwrap();
            if sender.starts_with("421 4.7.0 ") {
                closed += 1;
                continue;
            }
            assert!(sender.starts_with("250 "), "{sender}");
            for n in 0..60 {
                let to = someone(session, n);
                smtp.say(&format!("RCPT TO:<{to}@ours.example>\r\n"))
                    .await
                    .unwrap();
                let reply = smtp.reply().await.unwrap();
                if reply.starts_with("421 4.7.0 ") {
                    closed += 1;
                    break;
                }
                assert!(reply.starts_with("550 5.1.1 "), "{reply}");
                unknown += 1;
            }
        }
        assert_eq!((unknown, closed), (100, 3));
        assert_eq!(one.node().explain("a@x.example", 1_000).unwrap().len(), 100);
        let refused = one.node().refused(10).unwrap();
        let counts = refused.iter().flat_map(|minute| &minute.refused);
        let of = counts.filter(|refused| refused.limiter == Limiter::UnknownRecipients);
        assert_eq!(of.map(|refused| refused.count).sum::<u64>(), 3);
        // Others are not concerned.
        arrive(&client, &text("hello", 1)).await.unwrap();
        drop(client);
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn who_comes_with_senders_that_are_none_is_shown_the_door_and_leaves_a_bounded_trail() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let stranger = world.computer("stranger", [10, 0, 7, 1]);
        let client = world.computer("client", [10, 0, 9, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = mox_dns::MasterFile::parse("elsewhere.example. A 10.0.9.1\n").unwrap();
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        let server = mox_sim::name_server(&names, zone, mox_sim::DnsManner::direct());
        one.resolvers = vec![server.unwrap()];
        one.start().await;
        let (mut refused, mut closed) = (0, 0);
        for _ in 0..5 {
            let mut smtp = Dialogue::new(stranger.connect(ours(25), None).await.unwrap());
            smtp.expect("220").await.unwrap();
            smtp.say("EHLO x.example\r\n").await.unwrap();
            smtp.expect("250").await.unwrap();
            for _ in 0..1_000 {
                smtp.say("MAIL FROM:<a@[192.0.2.1]>\r\n").await.unwrap();
                let reply = smtp.reply().await.unwrap();
                if reply.starts_with("421 4.7.0 ") {
                    closed += 1;
                    break;
                }
                assert!(reply.starts_with("550 5.7.0 "), "{reply}");
                refused += 1;
            }
        }
        assert_eq!((refused, closed), (100, 5));
        let kept = one.node().explain("a@[192.0.2.1]", 1_000).unwrap();
        assert_eq!(kept.len(), 100);
        arrive(&client, &text("hello", 1)).await.unwrap();
        drop(client);
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn one_address_brings_so_many_messages_a_minute_and_no_more() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let stranger = world.computer("stranger", [10, 0, 7, 1]);
        let client = world.computer("client", [10, 0, 9, 1]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.start().await;
        let mut smtp = Dialogue::new(stranger.connect(ours(25), None).await.unwrap());
        smtp.expect("220").await.unwrap();
        smtp.say("EHLO x.example\r\n").await.unwrap();
        smtp.expect("250").await.unwrap();
        let mut taken = 0;
        let reply = loop {
            let mail = "MAIL FROM:<>\r\nRCPT TO:<ann@ours.example>\r\nDATA\r\n";
            smtp.say(mail).await.unwrap();
            smtp.expect("250").await.unwrap();
            smtp.expect("250").await.unwrap();
            smtp.expect("354").await.unwrap();
            smtp.say("From: a@x.example\r\n\r\nhello\r\n.\r\n")
                .await
                .unwrap();
            let reply = smtp.reply().await.unwrap();
            if !reply.starts_with("250 ") {
                break reply;
            }
            taken += 1;
            assert!(taken < 2_000);
        };
        // Some came back while the others were sent.
        assert!((500..700).contains(&taken), "{taken}");
        let told = "452 4.2.2 too many messages from your address, try again later";
        assert_eq!(reply.trim_end(), told);
        let minutes = one.node().refused(10).unwrap();
        let counts = minutes.iter().flat_map(|minute| &minute.refused);
        let of = counts.filter(|refused| refused.limiter == Limiter::Messages);
        assert_eq!(of.map(|refused| refused.count).sum::<u64>(), 1);
        arrive(&client, &text("hello", 1)).await.unwrap();
        drop((client, smtp));
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn whom_no_limiter_concerns_is_never_put_off() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let office = world.computer("office", [10, 0, 9, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = mox_dns::MasterFile::parse("x.example. A 10.0.9.1\n").unwrap();
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        let server = mox_sim::name_server(&names, zone, mox_sim::DnsManner::direct());
        one.resolvers = vec![server.unwrap()];
        one.unlimited = vec![mox_server::config::Network::parse("10.0.9.0/24").unwrap()];
        one.start().await;
        for n in 0..400 {
            let stream = office.connect(ours(25), None).await.unwrap();
            let greeting = Dialogue::new(stream).reply().await.unwrap();
            assert!(greeting.starts_with("220 "), "{n}: {greeting}");
        }
        for n in 0..60 {
            let said = try_imap(&office, "ann@ours.example", &format!("guess{n}")).await;
            assert!(said.contains("AUTHENTICATIONFAILED"), "{n}: {said}");
        }
        // More recipients that are not here than anybody else may name, and more messages.
        for session in 0..20 {
            let mut smtp = Dialogue::new(office.connect(ours(25), None).await.unwrap());
            smtp.expect("220").await.unwrap();
            smtp.say("EHLO x.example\r\n").await.unwrap();
            smtp.expect("250").await.unwrap();
            for n in 0..40 {
                smtp.say("MAIL FROM:<>\r\n").await.unwrap();
                smtp.expect("250").await.unwrap();
                if n % 4 == 0 {
                    smtp.say(&format!("RCPT TO:<u{n}s{session}@ours.example>\r\n"))
                        .await
                        .unwrap();
                    smtp.expect("550").await.unwrap();
                }
                smtp.say("RCPT TO:<ann@ours.example>\r\nDATA\r\n")
                    .await
                    .unwrap();
                smtp.expect("250").await.unwrap();
                smtp.expect("354").await.unwrap();
                smtp.say("From: a@x.example\r\n\r\nhello\r\n.\r\n")
                    .await
                    .unwrap();
                smtp.expect("250").await.unwrap();
            }
        }
        assert_eq!(one.node().refused(10).unwrap(), []);
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn who_floods_us_with_mail_has_a_record_of_each_message_and_pushes_out_nobodys() {
    const ZONE: &str = "far.example. MX 10 mx.far.example.\nmx.far.example. A 10.0.2.1\n";
    let set = |one: &mut One| one.receiving.records_octets = 400_000;
    let manner = mox_sim::DnsManner::direct();
    one_server::judged((ZONE, manner), set, |one, client| async move {
        let far = client.sim().computer("stranger", [10, 0, 64, 1]);
        let bring = async |from: &SimRuntime, n: usize| {
            let mut smtp = Dialogue::new(from.connect(ours(25), None).await.unwrap());
            smtp.expect("220").await.unwrap();
            smtp.say("EHLO mx.far.example\r\n").await.unwrap();
            smtp.expect("250").await.unwrap();
            let (sender, to) = (format!("s{n}@far.example"), ["ann@ours.example"]);
            let text = format!("From: <bob@far.example>\r\nSubject: {n}\r\n\r\nHello.\r\n");
            let said = one_server::transaction(&mut smtp, &sender, &to, &text).await;
            // The id that the reply tells.
            let said = said.unwrap();
            let id = said.split_whitespace().nth(2).unwrap().to_owned();
            let found = one.node().explain(&id, 2).unwrap();
            assert_eq!(found.len(), 1, "the {n}th: {said}");
            assert_eq!(one.node().explain(&sender, 2).unwrap(), found);
            found.into_iter().next().unwrap()
        };
        let first = bring(&far, 0).await;
        assert_eq!(first.lacks(), None);
        let mut short = 0;
        for n in 1..300 {
            let record = bring(&client, n).await;
            short += usize::from(record.left_out.message);
            assert_eq!(record.recipients[0].decision.verdict, Verdict::Accept);
        }
        assert!((250..299).contains(&short), "{short}");
        // Of the flood the newest are there, and the first whole ones; of others all.
        assert_eq!(one.node().explain(&first.id, 2).unwrap(), [first]);
        assert_eq!(one.node().explain("s299@far.example", 2).unwrap().len(), 1);
        assert_eq!(one.node().explain("s100@far.example", 2).unwrap(), []);
        assert_eq!(one.node().explain("s1@far.example", 2).unwrap().len(), 1);
        assert_eq!(bring(&far, 300).await.lacks(), None);
        one.stop().await;
    });
}
