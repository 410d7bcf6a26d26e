//! Fields a server puts before a message, and loops.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_address::{Domain, Path};
use mox_machine::{Seed, TlsFacts, Utc};
use mox_message::{
    Deliveries, Protocol, Received, ReceivedFrom, date_rfc5322, delivered_to, delivered_to_values,
    message_id, received_count, return_path,
};
use mox_mime::{Date, header};
use proptest::prelude::*;

const NOW: Utc = Utc::from_secs(1_767_323_045);

fn path(text: &str) -> Path {
    Path::parse(text, true).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text, true).unwrap()
}

fn peer<'a>(hello: &'a str, by: &'a Domain) -> Received<'a> {
    Received {
        from: ReceivedFrom::Peer {
            hello,
            reverse: None,
            ip: "192.0.2.1".parse().unwrap(),
        },
        by,
        by_ip: None,
        protocol: Protocol {
            extended: true,
            ..Protocol::default()
        },
        tls: None,
        id: "abc",
        recipient: None,
        date: NOW,
    }
}

#[test]
fn dates_have_weekday_seconds_and_a_numeric_zone() {
    assert_eq!(date_rfc5322(NOW), "Fri, 02 Jan 2026 03:04:05 +0000");
    assert_eq!(
        date_rfc5322(Utc::from_secs(0)),
        "Thu, 01 Jan 1970 00:00:00 +0000"
    );
}

#[test]
fn message_ids_follow_from_the_seed_and_name_the_host() {
    let id = |n| message_id(&Seed::from_number(n), &domain("bücher.example"));
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
    let (token, host) = id(1)[1..]
        .split_once('@')
        .map(|(t, h)| (t.to_owned(), h.to_owned()))
        .unwrap();
    assert_eq!((token.len(), host.as_str()), (22, "xn--bcher-kva.example>"));
}

#[test]
fn a_received_field_tells_peer_protocol_tls_and_recipient() {
    let (by, tls, to) = (
        domain("mx.example.org"),
        TlsFacts {
            version: 0x0304,
            cipher: 0x1301,
            ..TlsFacts::default()
        },
        path("bob@example.org"),
    );
    let received = Received {
        from: ReceivedFrom::Peer {
            hello: "Client.example",
            reverse: Some("host.client.example."),
            ip: "2001:db8::1".parse().unwrap(),
        },
        by_ip: Some("192.0.2.25".parse().unwrap()),
        tls: Some(&tls),
        id: "AAAAAAAAAAAAAAAAAAAAAA",
        recipient: Some(&to),
        ..peer("", &by)
    };
    assert_eq!(
        received.write(),
        "Received: from client.example (host.client.example [IPv6:2001:db8::1]) by\r\n\
         \tmx.example.org ([192.0.2.25]) via tcp with ESMTPS id AAAAAAAAAAAAAAAAAAAAAA\r\n\
         \t(TLS1.3 TLS_AES_128_GCM_SHA256) for <bob@example.org>;\r\n\
         \tFri, 02 Jan 2026 03:04:05 +0000\r\n"
    );
}

#[test]
fn a_submitted_message_does_not_tell_where_its_author_is() {
    let by = domain("mx.example.org");
    let received = Received {
        from: ReceivedFrom::Submission,
        protocol: Protocol {
            extended: true,
            utf8: false,
            authenticated: true,
        },
        ..peer("", &by)
    };
    assert_eq!(
        received.write(),
        "Received: from mx.example.org by mx.example.org via tcp with ESMTPA id abc ;\r\n\
         \tFri, 02 Jan 2026 03:04:05 +0000\r\n"
    );
}

#[test]
fn the_protocol_keyword_follows_rfc_3848_and_6531() {
    let (by, tls) = (domain("b"), TlsFacts::default());
    let keyword = |extended, utf8, authenticated, secure: bool| {
        let received = Received {
            protocol: Protocol {
                extended,
                utf8,
                authenticated,
            },
            tls: secure.then_some(&tls),
            ..peer("a", &by)
        };
        let text = received.write();
        text.split_once(" with ")
            .unwrap()
            .1
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(keyword(false, false, false, false), "SMTP");
    assert_eq!(keyword(true, false, false, false), "ESMTP");
    assert_eq!(keyword(true, false, true, true), "ESMTPSA");
    assert_eq!(keyword(true, true, false, false), "UTF8SMTP");
    assert_eq!(keyword(true, true, true, true), "UTF8SMTPSA");
}

#[test]
fn names_are_a_labels_unless_the_transaction_is_utf8() {
    let by = domain("bücher.example");
    let text = |utf8| {
        let received = Received {
            protocol: Protocol {
                extended: true,
                utf8,
                authenticated: false,
            },
            ..peer("xn--bcher-kva.example", &by)
        };
        header::unfold(received.write().as_bytes())
    };
    assert_eq!(
        String::from_utf8(text(false)).unwrap(),
        "Received: from xn--bcher-kva.example ([192.0.2.1]) by xn--bcher-kva.example\tvia tcp with ESMTP id abc ; \
         Fri, 02 Jan 2026 03:04:05 +0000"
    );
    assert_eq!(
        String::from_utf8(text(true)).unwrap(),
        "Received: from bücher.example ([192.0.2.1]) (xn--bcher-kva.example) by\tbücher.example \
         (xn--bcher-kva.example) via tcp with UTF8SMTP id abc ;\tFri, 02 Jan 2026 03:04:05 +0000"
    );
}

#[test]
fn a_hello_name_cannot_write_fields_or_comments_of_its_own() {
    let by = domain("mx");
    let text = peer("a\r\nX: y (z); <b@c> \u{e9}\0", &by).write();
    assert!(
        text.starts_with("Received: from a??X:?y??z????b?c????\u{20}"),
        "{text}"
    );
    assert_eq!(header::split(text.as_bytes()).count(), 1);
    assert!(
        peer("[192.0.2.9]", &by)
            .write()
            .starts_with("Received: from [192.0.2.9] ([192.0.2.1]) by mx via")
    );
    let same = Received {
        from: ReceivedFrom::Peer {
            hello: "a.example",
            reverse: Some("A.example."),
            ip: "192.0.2.1".parse().unwrap(),
        },
        ..peer("", &by)
    };
    assert!(
        same.write()
            .starts_with("Received: from a.example ([192.0.2.1]) by")
    );
}

#[test]
fn return_path_and_delivered_to_are_one_line() {
    assert_eq!(return_path(None), "Return-Path: <>\r\n");
    assert_eq!(
        return_path(Some(&path("a@bücher.example"))),
        "Return-Path: <a@xn--bcher-kva.example>\r\n"
    );
    assert_eq!(
        delivered_to(&path("\"a b\"@c.example")),
        "Delivered-To: \"a b\"@c.example\r\n"
    );
}

#[test]
fn loops_show_in_received_and_delivered_to() {
    let to = path("Bob@bücher.example");
    let block = format!(
        "{}{}received: x\r\nDelivered-To: <other@example.org>\r\nDelivered-to: no address\r\n\r\nReceived: no\r\n",
        delivered_to(&to),
        peer("a", &domain("b")).write()
    );
    assert_eq!(received_count(block.as_bytes()), 2);
    let deliveries = Deliveries::of(block.as_bytes());
    let same = path("bOB@xn--bcher-kva.example");
    assert!(deliveries.name_any([&path("eve@example.org"), &same]));
    assert!(deliveries.name_any([&path("other@example.org")]));
    assert!(!deliveries.name_any([&path("bob@example.org")]));
    assert_eq!(
        delivered_to_values(block.as_bytes()).collect::<Vec<_>>(),
        [
            "Bob@xn--bcher-kva.example",
            "other@example.org",
            "no address"
        ]
    );
    assert_eq!(received_count(b""), 0);
}

proptest! {
    #[test]
    fn dates_are_read_back(secs in -60_000_000_000i64..200_000_000_000) {
        let text = date_rfc5322(Utc::from_secs(secs));
        let date = Date::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(date.unix(), secs);
    }

    #[test]
    fn any_peer_gives_one_field_of_short_lines(hello in ".{0,300}", reverse in ".{0,300}", id in ".{0,40}", utf8: bool) {
        let by = domain("mx.example.org");
        let received = Received {
            from: ReceivedFrom::Peer { hello: &hello, reverse: Some(&reverse), ip: "192.0.2.1".parse().unwrap() },
            protocol: Protocol { extended: true, utf8, authenticated: false },
            id: &id,
            ..peer("", &by)
        };
        let text = received.write();
        prop_assert!(utf8 || text.is_ascii());
        let fields: Vec<_> = header::split(text.as_bytes()).collect();
        prop_assert_eq!(fields.len(), 1);
        prop_assert_eq!(fields[0].raw.len(), text.len());
        for line in text.split("\r\n") {
            prop_assert!(!line.contains(['\r', '\n', '\0']));
            // A line is longer only when it is one token.
            prop_assert!(line.chars().count() <= 78 || !line.trim().contains(' '), "{}", line);
            prop_assert!(line.len() <= 998);
        }
    }
}
