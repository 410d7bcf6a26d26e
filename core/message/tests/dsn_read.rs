//! Notifications of other servers, and our own, as they are read.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_address::{Domain, Enhanced, Path};
use mox_machine::{Seed, Utc};
use mox_message::dsn::{Action, Diagnostic, Dsn, Kind, Notification, Recipient, Reported};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

#[test]
fn what_we_write_ourselves_is_read_as_it_was_meant() {
    let path = |text: &str| Path::parse(text, true).unwrap();
    let to = path("ann@ours.example");
    for (utf8, written) in [
        (false, "carol@bücher.example"),
        (true, "carol@bücher.example"),
        (false, "j\u{f6}rg+2B@bücher.example"),
        (true, "j\u{f6}rg+2B@bücher.example"),
    ] {
        let carol = path(written);
        let dsn = Dsn {
            kind: Kind::Failed,
            hostname: &Domain::parse("mx.ours.example", false).unwrap(),
            to: &to,
            seed: &Seed::from_number(1),
            date: Utc::from_secs(1_767_323_045),
            arrived: Utc::from_secs(1_767_323_000),
            envelope_id: Some("a+20 7"),
            recipients: &[Recipient {
                address: &carol,
                original: Some("rfc822;Carol+2024+AB@shop.example"),
                status: Some(Enhanced(5, 1, 1)),
                remote: Some("mx.far.example"),
                diagnostic: Diagnostic::Reply("550 5.1.1 nobody"),
                last_attempt: None,
                tried: None,
                maybe_delivered: false,
            }],
            header: b"Message-ID: <1@ours.example>\r\nSubject: hi\r\n\r\n",
            whole: None,
            utf8,
        };
        let read = Notification::read(&dsn.compose().unwrap().message).unwrap();
        assert_eq!(read.envelope_id.as_deref(), Some("a+20 7"));
        assert_eq!(read.reporting_mta.as_deref(), Some("mx.ours.example"));
        assert_eq!(read.message_id.as_deref(), Some("<1@ours.example>"));
        let [told] = &read.recipients[..] else {
            panic!("{read:?}")
        };
        let in_ascii = written.replace("bücher", "xn--bcher-kva");
        assert_eq!(told.recipient, in_ascii, "{utf8}");
        assert_eq!(told.original.as_deref(), Some("Carol+2024+AB@shop.example"));
        assert_eq!(
            (told.action, told.status),
            (Some(Action::Failed), Some(Enhanced(5, 1, 1)))
        );
        assert!(
            told.diagnostic
                .as_ref()
                .unwrap()
                .contains("550 5.1.1 nobody")
        );
    }
}

#[test]
fn the_shape_of_postfix_is_read() {
    let text = "From: MAILER-DAEMON@mx.far.example (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender\n\
        To: ann@ours.example\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n\
        Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"4B1.17/mx.far.example\"\n\n\
        --4B1.17/mx.far.example\nContent-Type: text/plain; charset=us-ascii\n\nI could not deliver it.\n\n\
        --4B1.17/mx.far.example\nContent-Description: Delivery report\nContent-Type: message/delivery-status\n\n\
        Reporting-MTA: dns; mx.far.example\nOriginal-Envelope-Id: job+207\nX-Postfix-Queue-ID: 4B1\n\
        Arrival-Date: Fri,  2 Jan 2026 03:04:05 +0000 (UTC)\n\n\
        Final-Recipient: rfc822; carol@home.example\nOriginal-Recipient: rfc822;carol@far.example\nAction: failed\n\
        Status: 5.1.1\nRemote-MTA: dns; mx.home.example\nDiagnostic-Code: smtp; 550 5.1.1 <carol@home.example>: Recipient\n    unknown\n\n\
        Final-Recipient: rfc822; dave@far.example\nAction: delayed\nStatus: 4.2.2 (over quota)\n\n\
        --4B1.17/mx.far.example\nContent-Description: Undelivered Message\nContent-Type: message/rfc822\n\n\
        From: ann@ours.example\nMessage-Id:\n <1@ours.example>\nSubject: hi\n\nBody.\n\n--4B1.17/mx.far.example--\n";
    let read = Notification::read(&crlf(text)).unwrap();
    // It stands as it is: that this server did not decode it, only who gave it can know.
    assert_eq!(read.envelope_id.as_deref(), Some("job+207"));
    assert_eq!(read.message_id.as_deref(), Some("<1@ours.example>"));
    let carol = Reported {
        original: Some("carol@far.example".into()),
        recipient: "carol@home.example".into(),
        action: Some(Action::Failed),
        status: Some(Enhanced(5, 1, 1)),
        remote: Some("mx.home.example".into()),
        diagnostic: Some("550 5.1.1 <carol@home.example>: Recipient    unknown".into()),
    };
    let dave = Reported {
        recipient: "dave@far.example".into(),
        action: Some(Action::Delayed),
        status: Some(Enhanced(4, 2, 2)),
        ..Reported::default()
    };
    assert_eq!(read.recipients, [carol, dave]);
}

#[test]
fn the_shape_of_exim_is_read() {
    let text = "Return-path: <>\nX-Failed-Recipients: carol@far.example\nAuto-Submitted: auto-replied\n\
        From: Mail Delivery System <Mailer-Daemon@mx.far.example>\nTo: ann@ours.example\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=1767323045-eximdsn-12\nMIME-Version: 1.0\n\
        Subject: Mail delivery failed: returning message to sender\n\n\
        --1767323045-eximdsn-12\nContent-type: text/plain; charset=us-ascii\n\nNot delivered.\n\n\
        --1767323045-eximdsn-12\nContent-type: message/delivery-status\n\nReporting-MTA: dns; mx.far.example\n\n\
        Action: failed\nFinal-Recipient: rfc822;carol@far.example\nStatus: 5.0.0\n\n\
        --1767323045-eximdsn-12\nContent-type: text/rfc822-headers\n\nReturn-path: <ann@ours.example>\n\
        Message-ID: <1@ours.example>\n\n--1767323045-eximdsn-12--\n";
    let read = Notification::read(&crlf(text)).unwrap();
    assert_eq!(read.message_id.as_deref(), Some("<1@ours.example>"));
    let [carol] = &read.recipients[..] else {
        panic!("{read:?}")
    };
    assert_eq!(
        (&carol.recipient[..], carol.action),
        ("carol@far.example", Some(Action::Failed))
    );
    assert_eq!(carol.status, Some(Enhanced(5, 0, 0)));
}

#[test]
fn a_message_within_the_returned_one_is_not_what_it_is_about() {
    // Somebody forwarded the notification; what was returned has a message attached.
    let text = "Subject: Fwd: Undelivered\nContent-Type: multipart/mixed; boundary=o\n\n--o\n\nLook.\n\n--o\n\
        Content-Type: message/rfc822\n\nSubject: Undelivered\nContent-Type: multipart/report; boundary=r\n\n\
        --r\n\nSorry.\n\n--r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns ; mx.far.example\n\n\
        Final-Recipient: rfc822 ; carol@far.example\nAction: failed\nStatus: 5.1.1\n\n\
        --r\nContent-Type: message/rfc822\n\nMessage-ID: <1@ours.example>\nContent-Type: multipart/mixed; boundary=i\n\n\
        --i\nContent-Type: message/rfc822\n\nMessage-ID: <9@else.example>\n\nHi.\n--i--\n--r--\n--o--\n";
    let read = Notification::read(&crlf(text)).unwrap();
    assert_eq!(read.message_id.as_deref(), Some("<1@ours.example>"));
    // White space around the semicolon belongs to neither side.
    assert_eq!(read.recipients[0].recipient, "carol@far.example");
    assert_eq!(read.reporting_mta.as_deref(), Some("mx.far.example"));
}

#[test]
fn characters_by_number_are_read_where_the_type_says_so_and_only_those_there_are() {
    let read = |field: &str| {
        let text = format!(
            "Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: {field}\n"
        );
        let read = Notification::read(&crlf(&text)).unwrap();
        read.recipients[0].recipient.clone()
    };
    assert_eq!(
        read("UTF-8; car\\x{F6}l\\x{1F600}@x"),
        "car\u{f6}l\u{1f600}@x"
    );
    assert_eq!(read("rfc822; car\\x{F6}l@x"), "car\\x{F6}l@x");
    for odd in [
        "a\\x{}@x",
        "a\\x{D800}@x",
        "a\\x{1234567}@x",
        "a\\x{0D}@x",
        "a\\x{41",
    ] {
        assert_eq!(read(&format!("utf-8; {odd}")), odd);
    }
}

#[test]
fn what_tells_of_no_recipient_is_none() {
    for text in [
        "",
        "Subject: hi\n\nReporting-MTA: dns; x\n",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n",
        "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\nA: b\n--b--\n",
    ] {
        assert_eq!(Notification::read(&crlf(text)), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_octets_are_too_bad_to_read(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut message = b"Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: ".to_vec();
        message.extend(&octets);
        let _ = Notification::read(&message);
        let _ = Notification::read(&octets);
    }
}

#[test]
fn notifications_of_sixty_kinds_of_servers_are_read_as_others_read_them() {
    let test = "notifications_of_sixty_kinds_of_servers_are_read_as_others_read_them";
    let Some(messages) = mox_suites::notifications(test) else {
        return;
    };
    let messages: BTreeMap<String, Vec<u8>> = messages.into_iter().collect();
    let manifest = mox_suites::folder(test).unwrap().join("dsn/manifest.jsonl");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let manifest = manifest.lines();
    let manifest: Vec<Value> = manifest
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (mut groups, mut wrong, mut more, mut there) = (0, Vec::new(), Vec::new(), 0);
    for entry in &manifest {
        let file = entry["file"].as_str().unwrap();
        let Some(message) = messages.get(file) else {
            continue;
        };
        there += 1;
        let read = Notification::read(message);
        let Some(expected) = entry["machine_readable"]["recipients"].as_array() else {
            continue;
        };
        let read = read.map(|read| read.recipients).unwrap_or_default();
        let value = |group: &Value, name: &str| {
            let value = group[name].as_str().unwrap_or_default();
            let value = value.split_once(';').map_or(value, |(_, value)| value);
            value.trim().to_owned()
        };
        let word = |text: &str| {
            let word = text.split([' ', '\t', '(']).next().unwrap_or_default();
            word.to_lowercase()
        };
        let known = (expected.iter()).filter(|group| !group["final-recipient"].is_null());
        // Nobody more than are there.
        if read.len() > expected.len() {
            more.push(format!("{file}: {read:?}"));
        }
        for group in known {
            groups += 1;
            let to = value(group, "final-recipient");
            let to = to.trim_matches(['<', '>']);
            let action = word(&value(group, "action"));
            let status = word(&value(group, "status"));
            let is_read = |told: &Reported| {
                let read = told.action.map_or("", Action::as_str);
                let known = ["failed", "delayed", "delivered", "relayed", "expanded"];
                told.recipient.trim_matches(['<', '>']) == to
                    && (read == action || !known.contains(&action.as_str()))
                    && told.status.map(|s| s.to_string()).unwrap_or_default() == status
            };
            if !read.iter().any(is_read) {
                wrong.push(format!("{file}: {to} {action} {status}: {read:?}"));
            }
        }
    }
    assert!(
        there >= 500 && groups >= 280,
        "{there} messages, {groups} recipients"
    );
    eprintln!(
        "{} of {groups} recipients are read otherwise:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(wrong.len() * 100 <= groups, "{} of {groups}", wrong.len());
    eprintln!("more recipients than others read:\n{}", more.join("\n"));
    // Some servers name the original recipient only, which counts here and not there.
    assert!(more.len() <= 6, "{}", more.len());
}
