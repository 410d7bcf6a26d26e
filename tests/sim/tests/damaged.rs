//! Damaged rows of what is remembered, when mail comes in: what each refuses, and that nothing else does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_dns::MasterFile;
use mox_driver::Runtime;
use mox_mailbox::{Batch, Reads, Space, Stop, Table};
use mox_node::Outgoing;
use mox_server::config::JunkFilter;
use mox_server::decision::{Reason, Record, Verdict};
use mox_sim::{Dialogue, DnsManner, Knobs, Sim, SimRuntime, name_server};
use one_server::{One, PASSWORD, ours, sleep};
use std::time::Duration;

const ZONE: &str = "\
far.example. TXT \"v=spf1 ip4:10.0.2.1 -all\"\n\
far.example. MX 10 far.example.\n\
far.example. A 10.0.2.1\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n";

/// Bob brings a message to ann; the reply.
async fn bring(client: &SimRuntime, number: u32) -> String {
    let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
    smtp.expect("220").await.unwrap();
    for (line, code) in [
        ("EHLO mx.far.example", "250"),
        ("MAIL FROM:<bob@far.example>", "250"),
        ("RCPT TO:<ann@ours.example>", "250"),
        ("DATA", "354"),
    ] {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        smtp.expect(code).await.unwrap();
    }
    let text = format!(
        "From: <bob@far.example>\r\nMessage-ID: <{number}@far.example>\r\nSubject: hello\r\n\r\nHello.\r\n.\r\n"
    );
    smtp.say(&text).await.unwrap();
    smtp.reply().await.unwrap()
}

/// Ann gives a command with INBOX selected.
async fn imap(client: &SimRuntime, command: &str) {
    let mut imap = Dialogue::new(client.connect(ours(143), None).await.unwrap());
    imap.line().await.unwrap();
    let login = format!("LOGIN ann@ours.example \"{PASSWORD}\"");
    for command in [&login, "SELECT INBOX", command] {
        let said = imap.command(command).await.unwrap();
        assert!(said.contains(" OK "), "{command}: {said}");
    }
}

/// All rows of a table are garbage from now on; how many there are.
async fn damage(one: &One, table: Table) -> usize {
    let mut keys = Vec::new();
    let published = one.node().store().published();
    let (from, to) = (vec![table as u8], vec![table as u8 + 1]);
    let mut visit = |key: &[u8], _| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    };
    (published.view)
        .scan(Space::Rows, &from, &to, &mut visit)
        .unwrap();
    let count = keys.len();
    let garbage = || Some(Bytes::from_static(&[0xff; 5]));
    let batch = Batch {
        writes: keys
            .into_iter()
            .map(|key| (Space::Rows, key, garbage()))
            .collect(),
        ..Batch::default()
    };
    let op = move |_: &dyn Reads| Ok::<_, Stop>((batch, ()));
    one.node().store().run(op).await.unwrap();
    count
}

/// Bob's first message is marked so, then a table is damaged, and he brings another one: the reply and its record.
fn second(mark: &'static str, table: Table) -> (String, Record) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let came = sim.run(async move {
        let client = world.computer("client", [10, 0, 2, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = MasterFile::parse(ZONE).unwrap();
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.incoming.junk_filter = Some(JunkFilter::default());
        one.start().await;
        let reply = bring(&client, 1).await;
        assert!(reply.starts_with("250 "), "{reply}");
        if !mark.is_empty() {
            imap(&client, mark).await;
        }
        sleep(&client, Duration::from_secs(5)).await;
        assert!(damage(&one, table).await > 0);
        let reply = bring(&client, 2).await;
        let records = one.node().explain("<2@far.example>", 10).unwrap();
        let [record] = &records[..] else {
            panic!("{} records", records.len());
        };
        assert!(reply.contains(&record.id), "{reply}");
        assert_eq!(record.differences(), Vec::<String>::new());
        let came = (reply, record.clone());
        // Both are there, and can be marked.
        imap(&client, "STORE 1:2 FLAGS ($Junk)").await;
        one.node().drain().await;
        came
    });
    assert_eq!(sim.panics(), 0);
    came
}

#[test]
fn damaged_rows_of_earlier_mail_keep_no_mail_out_and_begin_anew_with_the_next_mark() {
    let (reply, record) = second("STORE 1 +FLAGS ($NotJunk)", Table::Reputation);
    assert!(reply.starts_with("250 "), "{reply}");
    // It is as if nothing had come before.
    let decision = &record.recipients[0].decision;
    assert_eq!(decision.reason, Reason::NoBadSignals);
    assert_eq!(decision.verdict, Verdict::Accept);
}

/// It teaches the filter, and says nothing of Bob.
const JUNK: &str = "APPEND INBOX ($Junk) {14+}\r\nSubject: x\r\n\r\n";

#[test]
fn a_junk_filter_that_cannot_be_read_refuses_nothing_and_the_record_says_so() {
    let (reply, record) = second(JUNK, Table::Junk);
    assert!(reply.starts_with("250 "), "{reply}");
    let recipient = &record.recipients[0].recipient;
    let content = recipient.content.as_ref().unwrap();
    assert!(content.problem.is_some(), "{content:?}");
    assert_eq!(record.recipients[0].decision.verdict, Verdict::Accept);
}

#[test]
fn damaged_records_keep_no_mail_out_and_new_ones_are_found() {
    let (reply, record) = second("", Table::Decision);
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(record.recipients[0].decision.reason, Reason::NoBadSignals);
}
