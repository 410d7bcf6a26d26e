//! What is not taken of mail from elsewhere, before anybody judges it: each such reply carries an id, and the id has a record.
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
use mox_node::Outgoing;
use mox_server::decision::{Reason, Record, Stage, Verdict};
use mox_sim::{Dialogue, DnsManner, Knobs, Sim, name_server};
use mox_store::Capacity;
use one_server::{One, ours};
use std::time::Duration;

const ZONE: &str = "\
far.example. MX 10 far.example.\n\
far.example. A 10.0.2.1\n\
nobody.example. MX 0 .\n";

const MAX_SIZE: u64 = 10_000;

/// Says these lines on one connection; the last reply, and what is on record under the id in it.
fn refused(lines: &[&str], low_disk: bool) -> (String, Record) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let (reply, records) = sim.run(async move {
        let client = world.computer("client", [10, 0, 2, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = MasterFile::parse(ZONE).unwrap();
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.max_size = MAX_SIZE;
        if low_disk {
            one.options.low_percent = 5;
            one.disk.set_capacity(Capacity {
                free: 1_000,
                total: 1_000_000,
            });
        }
        one.start().await;
        let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
        smtp.expect("220").await.unwrap();
        let mut reply = String::new();
        for line in &lines {
            smtp.say(line).await.unwrap();
            reply = smtp.reply().await.unwrap();
        }
        // Records of what the protocol refuses are written beside the reply.
        smtp.say("NOOP\r\n").await.unwrap();
        let _ = smtp.reply().await;
        let (_, id) = reply
            .split_once("(id ")
            .unwrap_or_else(|| panic!("no id in {reply}"));
        let (id, _) = id.split_once(')').unwrap();
        one_server::sleep(&client, Duration::from_secs(1)).await;
        let records = one.node().explain(id, 10).unwrap();
        drop(smtp);
        one.stop().await;
        (reply, records)
    });
    assert_eq!(sim.panics(), 0);
    let [record] = &records[..] else {
        panic!("{} records for {reply}", records.len());
    };
    assert_eq!(record.differences(), Vec::<String>::new());
    assert!(
        reply.contains(&record.reply),
        "{reply} and {}",
        record.reply
    );
    assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record));
    (reply, record.clone())
}

const EHLO: &str = "EHLO mx.far.example\r\n";
const MAIL: &str = "MAIL FROM:<bob@far.example>\r\n";
const ANN: &str = "RCPT TO:<ann@ours.example>\r\n";
const DATA: &str = "DATA\r\n";

#[test]
fn each_refusal_of_mail_a_recipient_or_a_message_has_an_id_and_a_record() {
    let long = format!(
        "From: <bob@far.example>\r\n\r\n{}.\r\n",
        "x\r\n".repeat(5_000)
    );
    let chunk = format!("BDAT 10001\r\n{}", "x".repeat(10_001));
    for (lines, code, reason, stage) in [
        (
            vec!["MAIL FROM:<bob@far.example> SIZE=10001\r\n"],
            "552 5.3.4 ",
            Reason::TooBig,
            Stage::Sender,
        ),
        (
            vec!["MAIL FROM:<> SIZE=99999999999999999999\r\n"],
            "552 5.3.4 ",
            Reason::TooBig,
            Stage::Sender,
        ),
        (
            vec!["MAIL FROM:<bob@nobody.example>\r\n"],
            "550 5.7.27 ",
            Reason::SenderUnreachable,
            Stage::Sender,
        ),
        (
            vec![MAIL, "RCPT TO:<nobody@ours.example>\r\n"],
            "550 5.1.1 ",
            Reason::UnknownRecipient,
            Stage::Recipient,
        ),
        (
            vec![MAIL, "RCPT TO:<ann@far.example>\r\n"],
            "550 5.7.1 ",
            Reason::NotOurs,
            Stage::Recipient,
        ),
        (
            vec![MAIL, ANN, DATA, &long],
            "552 5.3.4 ",
            Reason::TooBig,
            Stage::Message,
        ),
        (
            vec![MAIL, ANN, &chunk],
            "552 5.3.4 ",
            Reason::TooBig,
            Stage::Message,
        ),
        (
            vec![
                MAIL,
                ANN,
                DATA,
                "From: <bob@far.example>\r\n\r\none\ntwo\r\n.\r\n",
            ],
            "550 5.5.2 ",
            Reason::BareLineEnd,
            Stage::Message,
        ),
        (
            vec![
                MAIL,
                ANN,
                DATA,
                "From: <bob@far.example>\r\n\r\none\0two\r\n.\r\n",
            ],
            "554 5.6.0 ",
            Reason::Nul,
            Stage::Message,
        ),
        (
            vec![MAIL, ANN, DATA, "Subject: no author\r\n\r\nHello.\r\n.\r\n"],
            "550 5.7.1 ",
            Reason::NoAuthor,
            Stage::Message,
        ),
    ] {
        let lines: Vec<&str> = [EHLO].into_iter().chain(lines).collect();
        let (reply, record) = refused(&lines, false);
        assert!(reply.starts_with(code), "{reply}");
        assert_eq!(record.facts.stage, stage, "{reply}");
        let judged = &record.recipients[0];
        assert_eq!(judged.decision.reason, reason, "{reply}");
        assert_eq!(judged.decision.verdict, Verdict::Refuse, "{reply}");
        if stage == Stage::Message {
            assert_eq!(judged.recipient.address, "ann@ours.example");
            assert_eq!(record.facts.sender, "bob@far.example");
        }
    }
}

#[test]
fn who_is_put_off_for_a_full_disk_can_ask_why() {
    let (reply, record) = refused(&[EHLO, MAIL], true);
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    let judged = &record.recipients[0];
    assert_eq!(judged.decision.reason, Reason::NoRoom);
    assert_eq!(judged.decision.verdict, Verdict::Defer);
    let change = judged.change.as_ref().map(|change| change.what.as_str());
    assert_eq!(change, Some("there is room"));
}

#[test]
fn who_is_put_off_for_a_disk_that_filled_while_name_servers_were_asked_can_ask_why_too() {
    let slow = DnsManner {
        slow_one_in: 1,
        slow: Duration::from_secs(4),
        ..DnsManner::direct()
    };
    let set = |one: &mut One| one.options.low_percent = 5;
    one_server::judged((ZONE, slow), set, |one, client| async move {
        let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
        smtp.expect("220").await.unwrap();
        smtp.say(EHLO).await.unwrap();
        smtp.expect("250").await.unwrap();
        smtp.say(MAIL).await.unwrap();
        one_server::sleep(&client, Duration::from_millis(50)).await;
        one.disk.set_capacity(Capacity {
            free: 1_000,
            total: 1_000_000,
        });
        let reply = smtp.reply().await.unwrap();
        assert!(reply.starts_with("452 4.3.1 "), "{reply}");
        one_server::sleep(&client, Duration::from_secs(1)).await;
        let records = one.node().explain("bob@far.example", 10).unwrap();
        assert_eq!(records.len(), 1, "{reply}");
        let record = &records[0];
        assert!(reply.contains(&format!("(id {})", record.id)), "{reply}");
        let reason = record.recipients[0].decision.reason;
        assert_eq!(reason, Reason::NoRoom);
        assert_eq!(record.differences(), Vec::<String>::new());
        drop(smtp);
        one.stop().await;
    });
}
