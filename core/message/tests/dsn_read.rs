//! Notifications of other servers, and our own, as they are read.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "vectors are files that a variable names"
)]

use mox_address::{Domain, Enhanced, Path};
use mox_machine::{Seed, Utc};
use mox_message::dsn::{Action, Diagnostic, Dsn, Kind, Notification, Recipient, Reported};
use proptest::prelude::*;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

#[test]
fn what_we_write_ourselves_is_read_as_it_was_meant() {
    let (to, carol) = ("ann@ours.example", "carol@bücher.example");
    let path = |text: &str| Path::parse(text, true).unwrap();
    let (to, carol) = (path(to), path(carol));
    for utf8 in [false, true] {
        let dsn = Dsn {
            kind: Kind::Failed,
            hostname: &Domain::parse("mx.ours.example", false).unwrap(),
            to: &to,
            seed: &Seed::from_number(1),
            date: Utc::from_secs(1_767_323_045),
            arrived: Utc::from_secs(1_767_323_000),
            envelope_id: Some("job 7"),
            recipients: &[Recipient {
                address: &carol,
                original: Some("rfc822;Carol@shop.example"),
                status: Some(Enhanced(5, 1, 1)),
                remote: Some("mx.far.example"),
                diagnostic: Diagnostic::Reply("550 5.1.1 nobody"),
                last_attempt: None,
            }],
            header: b"Message-ID: <1@ours.example>\r\nSubject: hi\r\n\r\n",
            whole: None,
            utf8,
        };
        let read = Notification::read(&dsn.compose().unwrap().message).unwrap();
        assert_eq!(read.envelope_id.as_deref(), Some("job 7"));
        assert_eq!(read.reporting_mta.as_deref(), Some("mx.ours.example"));
        assert_eq!(read.message_id.as_deref(), Some("<1@ours.example>"));
        let [told] = &read.recipients[..] else {
            panic!("{read:?}")
        };
        assert!(
            told.recipient.ends_with("cher.example") || told.recipient.ends_with("-kva.example")
        );
        assert_eq!(told.original.as_deref(), Some("Carol@shop.example"));
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
    assert_eq!(read.envelope_id.as_deref(), Some("job 7"));
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

/// The folder of messages, unpacked, with their expectations; `None`, and a word about it, where there are none.
fn vectors() -> Option<(PathBuf, Vec<Value>)> {
    let Some(folder) = std::env::var_os("MAIL_VECTORS") else {
        eprintln!("skipped: MAIL_VECTORS is not set");
        return None;
    };
    let folder = PathBuf::from(folder).join("dsn");
    let place = std::env::temp_dir().join(format!("mox-dsn-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "-xf"])
        .arg(folder.join("dsn-open.tar.zst"))
        .arg("-C")
        .arg(&place);
    assert!(tar.status().unwrap().success());
    let manifest = std::fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let lines = manifest
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    Some((place, lines.collect()))
}

#[test]
fn notifications_of_sixty_kinds_of_servers_are_read_as_others_read_them() {
    let Some((place, manifest)) = vectors() else {
        return;
    };
    let (mut groups, mut wrong, mut there) = (0, Vec::new(), 0);
    for entry in &manifest {
        let file = entry["file"].as_str().unwrap();
        let Ok(message) = std::fs::read(place.join(file)) else {
            continue;
        };
        there += 1;
        let read = Notification::read(&message);
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
        for group in expected
            .iter()
            .filter(|group| !group["final-recipient"].is_null())
        {
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
    std::fs::remove_dir_all(&place).unwrap();
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
}
