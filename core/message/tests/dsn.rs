//! Delivery status notifications, read as a recipient's program reads them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_address::{Domain, Enhanced, Path};
use mox_machine::{Seed, Utc};
use mox_message::dsn::{
    Composed, DIAGNOSTIC_MAX, Diagnostic, Dsn, HEADER_MAX, Kind, NoRecipients, Recipient, Tried,
};
use mox_mime::{Inside, Limits, Structure, TransferDecoder, Walker, header};
use proptest::prelude::*;

fn path(text: &str) -> Path {
    Path::parse(text, true).unwrap()
}

fn walk(message: &[u8]) -> Structure {
    let mut walker = Walker::new(Limits::default());
    walker.push(message);
    walker.finish()
}

/// Media types and decoded bodies of the three parts.
fn read(composed: &Composed) -> Vec<(String, Vec<u8>)> {
    let found = walk(&composed.message);
    assert_eq!(found.part.subtype, b"report");
    let Inside::Multipart(children) = &found.part.inside else {
        panic!("{found:?}");
    };
    let part = |p: &mox_mime::Part| {
        let kind = [&p.media[..], b"/", &p.subtype].concat();
        let mut decoder = TransferDecoder::new(&p.encoding).unwrap();
        let mut body = Vec::new();
        decoder.push(
            &composed.message[p.body as usize..p.end as usize],
            &mut body,
        );
        decoder.finish(&mut body);
        (String::from_utf8(kind).unwrap(), body)
    };
    children.iter().map(part).collect()
}

/// What every mail must be that any server may relay.
fn assert_sendable(composed: &Composed) {
    let message = &composed.message;
    assert!(message.ends_with(b"\r\n"));
    assert!(composed.utf8 || message.is_ascii());
    assert!(std::str::from_utf8(message).is_ok());
    assert!(!message.contains(&0));
    for line in message
        .strip_suffix(b"\r\n")
        .unwrap()
        .split(|c| *c == b'\n')
    {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(
            line.len() <= 998 && !line.contains(&b'\r'),
            "{}",
            String::from_utf8_lossy(line)
        );
    }
    let feeds = message.iter().filter(|c| **c == b'\n').count();
    assert_eq!(message.windows(2).filter(|w| w == b"\r\n").count(), feeds);
}

struct Case {
    host: Domain,
    to: Path,
    seed: Seed,
    address: Path,
}

impl Case {
    fn new(address: &str) -> Self {
        Self {
            host: Domain::parse("mx.example.org", false).unwrap(),
            to: path("alice@example.org"),
            seed: Seed::from_number(7),
            address: path(address),
        }
    }

    fn recipient(&self) -> Recipient<'_> {
        Recipient {
            address: &self.address,
            original: None,
            status: Some(Enhanced(5, 1, 1)),
            remote: Some("mx.example.net [192.0.2.1]"),
            diagnostic: Diagnostic::Reply("550 5.1.1 no such user"),
            last_attempt: Some(Utc::from_secs(1_767_323_045)),
            tried: None,
            maybe_delivered: false,
        }
    }

    fn dsn<'a>(&'a self, recipients: &'a [Recipient<'a>], header: &'a [u8]) -> Dsn<'a> {
        Dsn {
            kind: Kind::Failed,
            hostname: &self.host,
            to: &self.to,
            seed: &self.seed,
            date: Utc::from_secs(1_767_323_050),
            arrived: Utc::from_secs(1_767_323_000),
            envelope_id: None,
            recipients,
            header,
            whole: None,
            utf8: true,
        }
    }
}

#[test]
fn a_message_is_returned_whole_where_it_fits_into_another_one() {
    let case = Case::new("bob@example.net");
    let recipients = [case.recipient()];
    let last = |whole: &[u8]| {
        let dsn = case.dsn(&recipients, b"Subject: a\r\n\r\n");
        let composed = Dsn {
            whole: Some(whole),
            ..dsn
        };
        let composed = composed.compose().unwrap();
        let at = composed
            .message
            .windows(20)
            .rposition(|w| w == b"Content-Type: messag" || w == b"Content-Type: text/r");
        let part = String::from_utf8_lossy(&composed.message[at.unwrap()..]).into_owned();
        part.split_once("\r\n--=_").unwrap().0.to_owned()
    };
    assert_eq!(
        last(b"Subject: a\r\n\r\nhi\r\n"),
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7BIT\r\n\r\nSubject: a\r\n\r\nhi\r\n"
    );
    assert!(
        last("Subject: a\r\n\r\n\u{fc}\r\n".as_bytes())
            .contains("message/rfc822\r\nContent-Transfer-Encoding: 8BIT\r\n")
    );
    // A line that is too long, a NUL, a bare CR.
    let long = [b"Subject: a\r\n\r\n", &[b'x'; 999][..]].concat();
    for whole in [
        &long[..],
        b"Subject: a\r\n\r\n\0",
        b"Subject: a\r\n\r\na\rb",
    ] {
        assert!(last(whole).starts_with("Content-Type: text/rfc822-headers\r\n"));
    }
}

#[test]
fn what_was_delivered_or_handed_on_says_so() {
    let case = Case::new("bob@example.net");
    let mut recipient = case.recipient();
    recipient.diagnostic = Diagnostic::Reply("250 2.0.0 taken");
    let recipients = [recipient];
    for (kind, subject, action) in [
        (
            Kind::Delivered,
            "Mail was delivered to bob@example.net",
            "delivered",
        ),
        (
            Kind::Relayed,
            "Mail was handed on to bob@example.net",
            "relayed",
        ),
    ] {
        let dsn = Dsn {
            kind,
            ..case.dsn(&recipients, b"Subject: a\r\n\r\n")
        };
        let composed = dsn.compose().unwrap();
        assert_sendable(&composed);
        let text = String::from_utf8(composed.message).unwrap();
        assert!(text.contains(&format!("Subject: {subject}\r\n")), "{text}");
        assert!(
            text.contains(&format!("Action: {action}\r\nStatus: 2.1.1\r\n")),
            "{text}"
        );
    }
}

#[test]
fn a_failure_is_told_to_people_and_machines() {
    let case = Case::new("bob@example.net");
    let recipients = [case.recipient()];
    let header =
        b"Received: from a\n by b\nSubject: =?utf-8?q?Lunch?=\nMessage-ID: <1@example.org>\n\nbody";
    let composed = case.dsn(&recipients, header).compose().unwrap();
    assert_sendable(&composed);
    assert!(!composed.utf8);
    let text = String::from_utf8(composed.message).unwrap();
    let boundary = text
        .split_once("boundary=\"")
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    let id = &composed.message_id;
    let expected = format!(
        "From: Mail Delivery System <postmaster@mx.example.org>
To: <alice@example.org>
Subject: Mail could not be delivered to bob@example.net
Date: Fri, 02 Jan 2026 03:04:10 +0000
Message-ID: {id}
In-Reply-To: <1@example.org>
References: <1@example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary=\"{boundary}\"

--{boundary}
Content-Type: text/plain; charset=us-ascii
Content-Transfer-Encoding: 7BIT

This is the mail server mx.example.org.

Your message could not be delivered to the address below. This is final: it
will not be tried again.

  bob@example.net
    The server mx.example.net [192.0.2.1] answered: 550 5.1.1 no such user

    What you can do: look whether the address is written right, and ask the
    recipient by other means for the one that holds now.

Your message:
  Subject: Lunch
  Message-ID: <1@example.org>
  Received here: Fri, 02 Jan 2026 03:03:20 +0000

Details for mail administrators and the header of your message are attached.

--{boundary}
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7BIT

Reporting-MTA: dns; mx.example.org
Arrival-Date: Fri, 02 Jan 2026 03:03:20 +0000

Final-Recipient: rfc822; bob@example.net
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.net ([192.0.2.1])
Diagnostic-Code: smtp; 550 5.1.1 no such user
Last-Attempt-Date: Fri, 02 Jan 2026 03:04:05 +0000

--{boundary}
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 7BIT

Received: from a
 by b
Subject: =?utf-8?q?Lunch?=
Message-ID: <1@example.org>

--{boundary}--
"
    );
    assert_eq!(text, expected.replace('\n', "\r\n"));
}

#[test]
fn a_delay_says_until_when_attempts_go_on() {
    let case = Case::new("bob@example.net");
    let recipients = [
        Recipient {
            status: None,
            remote: None,
            diagnostic: Diagnostic::Local("no connection"),
            last_attempt: None,
            original: Some("rfc822;Bob@example.com"),
            ..case.recipient()
        },
        Recipient {
            status: Some(Enhanced(5, 7, 1)),
            ..case.recipient()
        },
    ];
    let until = Utc::from_secs(1_767_755_045);
    let dsn = Dsn {
        kind: Kind::Delayed { until },
        envelope_id: Some("QQ 1"),
        ..case.dsn(&recipients, b"")
    };
    let composed = dsn.compose().unwrap();
    assert_sendable(&composed);
    let parts = read(&composed);
    let text = String::from_utf8(parts[0].1.clone()).unwrap();
    assert!(
        text.contains("until Wed, 07 Jan 2026 03:04:05 +0000. If"),
        "{text}"
    );
    assert!(
        text.contains("  bob@example.net\r\n    no connection\r\n"),
        "{text}"
    );
    assert_eq!(
        String::from_utf8(parts[1].1.clone()).unwrap(),
        "Original-Envelope-Id: QQ 1\r\nReporting-MTA: dns; mx.example.org\r\n\
         Arrival-Date: Fri, 02 Jan 2026 03:03:20 +0000\r\n\r\n\
         Original-Recipient: rfc822;Bob@example.com\r\nFinal-Recipient: rfc822; bob@example.net\r\n\
         Action: delayed\r\nStatus: 4.0.0\r\nDiagnostic-Code: x-mox; no connection\r\n\
         Will-Retry-Until: Wed, 07 Jan 2026 03:04:05 +0000\r\n\r\n\
         Final-Recipient: rfc822; bob@example.net\r\nAction: delayed\r\nStatus: 4.7.1\r\n\
         Remote-MTA: dns; mx.example.net ([192.0.2.1])\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
         Last-Attempt-Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n\
         Will-Retry-Until: Wed, 07 Jan 2026 03:04:05 +0000\r\n"
    );
    assert_eq!(
        header::find(&composed.message, b"Subject"),
        Some(&b" Mail is delayed"[..])
    );
}

#[test]
fn an_address_that_is_not_ascii_makes_it_utf8_where_that_is_allowed() {
    let case = Case::new("jürgen=x@bücher.example");
    let recipients = [case.recipient()];
    let allowed = case
        .dsn(&recipients, "Subject: grüße\r\n\r\n".as_bytes())
        .compose()
        .unwrap();
    assert_sendable(&allowed);
    assert!(allowed.utf8);
    let parts = read(&allowed);
    let kinds: Vec<&str> = parts.iter().map(|p| p.0.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "text/plain",
            "message/global-delivery-status",
            "message/global-headers"
        ]
    );
    let status = String::from_utf8(parts[1].1.clone()).unwrap();
    assert!(
        status.contains("Final-Recipient: utf-8; jürgen=x@xn--bcher-kva.example\r\n"),
        "{status}"
    );
    assert!(
        String::from_utf8(parts[0].1.clone())
            .unwrap()
            .contains("jürgen=x@bücher.example")
    );
    assert_eq!(parts[2].1, "Subject: grüße\r\n".as_bytes());

    let refused = Dsn {
        utf8: false,
        ..case.dsn(&recipients, "Subject: grüße\r\n\r\n".as_bytes())
    };
    let refused = refused.compose().unwrap();
    assert_sendable(&refused);
    assert!(!refused.utf8);
    let parts = read(&refused);
    let status = String::from_utf8(parts[1].1.clone()).unwrap();
    assert!(
        status.contains("Final-Recipient: utf-8; j\\x{FC}rgen\\x{3D}x@xn--bcher-kva.example\r\n"),
        "{status}"
    );
    assert_eq!(
        parts[2],
        (
            "text/rfc822-headers".to_owned(),
            "Subject: grüße\r\n".as_bytes().to_vec()
        )
    );
}

#[test]
fn all_that_is_ascii_stays_ascii() {
    let case = Case::new("bob@bücher.example");
    let recipients = [case.recipient()];
    let composed = case
        .dsn(&recipients, b"Subject: x\r\n\r\n")
        .compose()
        .unwrap();
    assert!(!composed.utf8);
    assert_sendable(&composed);
    assert_eq!(read(&composed)[1].0, "message/delivery-status");
}

#[test]
fn a_header_that_is_not_seven_bit_comes_back_unharmed() {
    let case = Case::new("bob@example.net");
    let recipients = [case.recipient()];
    let long = format!("Subject: {}\r\n", "x".repeat(2_000));
    for block in [
        &b"Subject: gr\xfc\xdfe\r\n"[..],
        b"A: \0\r\nB: c\rd\r\n",
        long.as_bytes(),
    ] {
        let composed = case.dsn(&recipients, block).compose().unwrap();
        assert_sendable(&composed);
        assert_eq!(
            read(&composed)[2],
            ("text/rfc822-headers".to_owned(), block.to_vec())
        );
    }
}

#[test]
fn long_headers_and_long_words_are_cut() {
    let case = Case::new("bob@example.net");
    let words = "w".repeat(10 * DIAGNOSTIC_MAX);
    let recipients = [Recipient {
        diagnostic: Diagnostic::Reply(&words),
        ..case.recipient()
    }];
    let block = b"Received: one of many\r\n".repeat(10_000);
    let composed = case.dsn(&recipients, &block).compose().unwrap();
    assert_sendable(&composed);
    assert!(composed.message.len() < HEADER_MAX + 3 * DIAGNOSTIC_MAX);
    assert!(read(&composed)[2].1.ends_with(b"of many\r\n"));
}

/// The words for people and the status of one recipient who failed.
fn failed(recipient: Recipient<'_>, kind: Kind) -> (String, String) {
    let case = Case::new("bob@example.net");
    let recipients = [recipient];
    let dsn = Dsn {
        kind,
        ..case.dsn(&recipients, b"")
    };
    let composed = dsn.compose().unwrap();
    assert_sendable(&composed);
    let parts = read(&composed);
    let words = String::from_utf8(parts[0].1.clone()).unwrap();
    let fields = String::from_utf8(parts[1].1.clone()).unwrap();
    let status = fields.split_once("Status: ").unwrap().1;
    let status = status.split_once("\r\n").unwrap().0.to_owned();
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    (words.join(" "), status)
}

#[test]
fn what_was_tried_for_days_is_told_so_with_the_problem_that_there_was() {
    let case = Case::new("bob@example.net");
    let tried = Tried {
        times: 13,
        since: Utc::from_secs(1_766_891_000),
        is_expired: true,
    };
    let late = |status| Recipient {
        status,
        diagnostic: Diagnostic::Reply("451 later"),
        tried: Some(tried),
        ..case.recipient()
    };
    // A persistent transient failure (RFC 3463 2); 4.4.7 only where nobody named the actual problem (RFC 3463 3.5).
    for (given, told) in [
        (None, "4.4.7"),
        (Some(Enhanced(4, 0, 0)), "4.4.7"),
        (Some(Enhanced(5, 2, 2)), "4.2.2"),
    ] {
        let (words, status) = failed(late(given), Kind::Failed);
        assert_eq!(status, told);
        assert!(
            words.contains(
                "It was tried 13 times since Sun, 28 Dec 2025 03:03:20 +0000, and nobody refused it for good: its time is over. What you can do:"
            ),
            "{words}"
        );
    }
    let (words, _) = failed(late(None), Kind::Failed);
    assert!(
        words.contains("What you can do: send it again later"),
        "{words}"
    );
    let refused = Recipient {
        tried: Some(Tried {
            is_expired: false,
            ..tried
        }),
        ..case.recipient()
    };
    let (words, status) = failed(refused.clone(), Kind::Failed);
    assert!(words.contains("It was tried 13 times since Sun, 28 Dec 2025 03:03:20 +0000. What"));
    assert_eq!(status, "5.1.1");
    let at_once = Recipient {
        tried: Some(Tried {
            times: 1,
            is_expired: false,
            ..tried
        }),
        ..refused
    };
    assert!(!failed(at_once, Kind::Failed).0.contains("It was tried"));
}

#[test]
fn a_failure_says_what_to_do_and_whether_it_may_have_arrived() {
    let case = Case::new("bob@example.net");
    for (status, advice) in [
        (Enhanced(5, 1, 1), "whether the address is written right"),
        (Enhanced(5, 1, 2), "whether what stands behind the @"),
        (Enhanced(5, 2, 1), "the mailbox is closed"),
        (Enhanced(5, 2, 2), "the mailbox is full"),
        (Enhanced(5, 3, 4), "too large there"),
        (Enhanced(5, 6, 7), "characters beyond ASCII"),
        (Enhanced(5, 7, 1), "refuses the message by its rules"),
        (
            Enhanced(5, 7, 26),
            "does not believe that the message is from you",
        ),
        (Enhanced(5, 7, 30), "cannot encrypt as your message demands"),
    ] {
        let of = Recipient {
            status: Some(status),
            ..case.recipient()
        };
        let (words, _) = failed(of.clone(), Kind::Failed);
        let (_, told) = words.split_once("What you can do: ").unwrap();
        assert!(told.contains(advice), "{status:?}: {words}");
        let (words, _) = failed(of, Kind::Relayed);
        assert!(!words.contains("What you can do"), "{words}");
    }
    let ours = Recipient {
        status: Some(Enhanced(5, 7, 1)),
        remote: None,
        diagnostic: Diagnostic::Local("not sent"),
        ..case.recipient()
    };
    let (words, _) = failed(ours, Kind::Failed);
    assert!(
        words.contains("What you can do: ask your administrator"),
        "{words}"
    );
    let maybe = |maybe_delivered| Recipient {
        maybe_delivered,
        ..case.recipient()
    };
    const ARRIVED: &str = "It may have been delivered all the same";
    assert!(failed(maybe(true), Kind::Failed).0.contains(ARRIVED));
    assert!(!failed(maybe(false), Kind::Failed).0.contains(ARRIVED));
}

#[test]
fn there_is_no_notification_about_nobody() {
    let case = Case::new("bob@example.net");
    assert_eq!(case.dsn(&[], b"").compose(), Err(NoRecipients));
}

#[test]
fn two_notifications_differ_in_id_and_boundary() {
    let (a, mut b) = (Case::new("bob@example.net"), Case::new("bob@example.net"));
    b.seed = Seed::from_number(8);
    let compose = |case: &Case| case.dsn(&[case.recipient()], b"").compose().unwrap();
    assert_eq!(compose(&a), compose(&a));
    assert_ne!(compose(&a).message_id, compose(&b).message_id);
    let boundary = |c: &Composed| walk(&c.message).part.params[1].clone();
    assert_ne!(boundary(&compose(&a)), boundary(&compose(&b)));
}

proptest! {
    #[test]
    fn whatever_peers_say_the_notification_has_three_parts(
        words in "\\PC{0,200}|(\\r|\\n|\\x00|--|=|é| |x){0,50}",
        remote in "(\\r|\\n|\\(|\\)|é| |x){0,30}",
        header in "([A-Z]: |\\r\\n|\\n|\\r|--|é|\\x00| |x){0,80}",
        utf8: bool,
        reply: bool,
        address in prop::sample::select(vec!["a@b", "\"a b\"@c", "ü@b", "x@[192.0.2.1]"]),
    ) {
        let case = Case::new(address);
        let recipients = [Recipient {
            diagnostic: if reply { Diagnostic::Reply(&words) } else { Diagnostic::Local(&words) },
            remote: Some(&remote),
            original: Some(&words),
            ..case.recipient()
        }];
        let dsn = Dsn { utf8, envelope_id: Some(&words), ..case.dsn(&recipients, header.as_bytes()) };
        let composed = dsn.compose().unwrap();
        assert_sendable(&composed);
        prop_assert!(utf8 || !composed.utf8);
        let parts = read(&composed);
        prop_assert_eq!(parts.len(), 3);
        // One group for the message, one for the recipient, whatever the words are.
        let status = String::from_utf8(parts[1].1.clone()).unwrap();
        prop_assert_eq!(status.split("\r\n\r\n").count(), 2, "{}", status);
        let names: Vec<Vec<u8>> = header::split(status.split_once("\r\n\r\n").unwrap().1.as_bytes())
            .map(|f| f.name.to_vec())
            .collect();
        prop_assert!(names.iter().all(|n| !n.is_empty()), "{}", status);
    }
}
