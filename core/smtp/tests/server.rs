//! What a server replies.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod talk;

use mox_address::Reply;
use mox_machine::{Session, TlsFacts};
use mox_smtp::server::{CloseReason, Config, Event, Mode, Unfit, Violation};
use std::time::Duration;
use talk::{Store, config, play, play_with, server};

const HELLO: &str = "
    S: 220 mx.example ESMTP
    C: EHLO c.example
    S: 250-mx.example
    S: 250-PIPELINING
    S: 250-SIZE 100000
    S: 250-ENHANCEDSTATUSCODES
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-CHUNKING
    S: 250-DSN
    S: 250 LIMITS RCPTMAX=1000 MAILMAX=10000
";
const ENVELOPE: &str = "
    C: MAIL FROM:<a@c.example>
    S: 250 2.1.0 OK
    C: RCPT TO:<b@mx.example>
    S: 250 2.1.5 OK
";
const DATA: &str = "
    C: DATA
    S: 354 End with a line of one dot
";

fn delivery(script: &str) -> Store {
    play(&config(Mode::Delivery), &format!("{HELLO}{script}"))
}

fn count(store: &Store, event: &Event) -> usize {
    store.events.iter().filter(|e| *e == event).count()
}

#[test]
fn a_message_is_received_and_its_id_is_in_the_reply() {
    let store = delivery(&format!(
        "{ENVELOPE}{DATA}
        C: Subject: x
        C:
        C: ..dot
        C: .
        S: 250 2.0.0 id1 stored
        C: QUIT
        S: 221 2.0.0 Bye
        @ close"
    ));
    assert_eq!(
        store.messages,
        [(
            "a@c.example b@mx.example".into(),
            b"Subject: x\r\n\r\n.dot\r\n".to_vec()
        )]
    );
    assert_eq!(store.events, [Event::Closed(CloseReason::Quit)]);
}

#[test]
fn an_empty_message_is_a_message() {
    let store = delivery(&format!("{ENVELOPE}{DATA}C: .\nS: 250 2.0.0 id1 stored"));
    assert_eq!(store.messages[0].1, b"");
}

#[test]
fn a_pipelined_transaction_is_answered_in_order() {
    let store = play_with(
        &config(Mode::Delivery),
        &format!(
            "{HELLO}
            C: MAIL FROM:<>
            C: RCPT TO:<b1@mx.example>
            C: RCPT TO:<no@mx.example>
            C: RCPT TO:<bad
            C: RCPT TO:<b2@mx.example>
            C: DATA
            S: 250 2.1.0 OK
            S: 250 2.1.5 OK
            S: 550 5.1.1 No such user
            S: 501 5.5.2 Syntax: RCPT TO:<address>
            S: 250 2.1.5 OK
            S: 354 End with a line of one dot
            C: x
            C: .
            C: RSET
            C: QUIT
            S: 250 2.0.0 id1 stored
            S: 250 2.0.0 OK
            S: 221 2.0.0 Bye
            @ close"
        ),
        || Store {
            refuse: vec![("\"no\"", Reply::new(550, 1, 1, "No such user"))],
            ..Store::default()
        },
    );
    assert_eq!(store.messages[0].0, "<> b1@mx.example b2@mx.example");
}

#[test]
fn recipients_are_asked_about_in_parallel_and_released_in_order() {
    let mut talk = server(&config(Mode::Delivery));
    talk.feed(b"EHLO c\r\nMAIL FROM:<a@c>\r\n");
    talk.said();
    talk.hold = true;
    for n in 0..20 {
        talk.feed(format!("RCPT TO:<u{n}@mx.example>\r\n").as_bytes());
    }
    talk.feed(b"NOOP\r\n");
    assert_eq!(talk.open.len(), 8);
    talk.answer_one(7);
    talk.run();
    assert_eq!(talk.said(), "", "the first is not answered yet");
    talk.answer_one(0);
    talk.run();
    assert_eq!(talk.said(), "250 2.1.5 OK\r\n");
    talk.hold = false;
    talk.run();
    assert_eq!(
        talk.said(),
        format!("{}250 2.0.0 OK\r\n", "250 2.1.5 OK\r\n".repeat(19))
    );
    assert_eq!(talk.most_open, 8);
}

#[test]
fn helo_has_one_line() {
    play(
        &config(Mode::Delivery),
        "S: 220 mx.example ESMTP
        C: HELO c.example
        S: 250 mx.example
        C: HELO [192.0.2.1]
        S: 501 5.5.2 Say your domain name or [address]
        C: EHLO [IPv6:2001:db8::1]
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-SIZE 100000
        S: 250-ENHANCEDSTATUSCODES
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-CHUNKING
        S: 250-DSN
        S: 250 LIMITS RCPTMAX=1000 MAILMAX=10000
        C: EHLO under_score
        S: 501 5.5.2 Say your domain name or [address]",
    );
}

#[test]
fn commands_out_of_order_are_refused() {
    play(
        &config(Mode::Delivery),
        "S: 220 mx.example ESMTP
        C: MAIL FROM:<a@b>
        S: 503 5.5.1 EHLO comes first
        C: RCPT TO:<a@b>
        S: 503 5.5.1 MAIL comes first
        C: DATA
        S: 503 5.5.1 MAIL comes first
        C: HELO c
        S: 250 mx.example
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 OK
        C: MAIL FROM:<a@b>
        S: 503 5.5.1 MAIL was given already
        C: DATA
        S: 503 5.5.1 No valid recipients
        C: STARTTLS
        S: 502 5.5.1 TLS is not offered
        C: AUTH PLAIN
        S: 503 5.5.1 AUTH is not offered",
    );
}

#[test]
fn the_small_commands_have_their_replies() {
    play(
        &config(Mode::Delivery),
        "S: 220 mx.example ESMTP
        C: NOOP whatever
        S: 250 2.0.0 OK
        C: HELP me
        S: 214 2.0.0 See RFC 5321
        C: VRFY root
        S: 252 2.7.0 Send it and see",
    );
}

#[test]
fn parameters_are_checked() {
    delivery(
        "C: MAIL FROM:<a@b> SIZE=100001
        S: 552 5.3.4 Message too big
        C: MAIL FROM:<a@b> SIZE=1 SIZE=1
        S: 501 5.5.4 Bad parameter
        C: MAIL FROM:<a@b> BODY=BINARYMIME
        S: 555 5.5.4 BODY is 7BIT or 8BITMIME
        C: MAIL FROM:<a@b> FOO=1
        S: 555 5.3.3 Parameter not supported
        C: MAIL FROM:<\u{fc}@b>
        S: 550 5.6.7 Such an address needs SMTPUTF8
        C: MAIL FROM:<a@b> AUTH=<> BODY=8BITMIME SIZE=5
        S: 250 2.1.0 OK
        C: RCPT TO:<\u{fc}@b>
        S: 553 5.6.7 Such an address needs SMTPUTF8
        C: RCPT TO:<a@b> FOO=NEVER
        S: 555 5.3.3 Parameter not supported
        C: RCPT TO:<>
        S: 501 5.5.2 Bad address
        C: RCPT TO:<Postmaster>
        S: 250 2.1.5 OK",
    );
    let utf8 = delivery(&format!(
        "C: MAIL FROM:<\u{fc}@b> SMTPUTF8
        S: 250 2.1.0 OK
        C: RCPT TO:<\u{fc}@b>
        S: 250 2.1.5 OK
        {DATA}
        C: .
        S: 250 2.0.0 id1 stored"
    ));
    assert_eq!(utf8.messages[0].0, "\u{fc}@b \u{fc}@b");
}

#[test]
fn a_bare_line_end_in_a_message_refuses_it_at_its_real_end() {
    let store = delivery(&format!(
        "{ENVELOPE}{DATA}
        C| one\\ntwo\\r\\n.\\r\\n
        S: 550 5.5.2 Bare CR or LF in the message
        C: NOOP
        S: 250 2.0.0 OK"
    ));
    assert!(store.messages.is_empty());
    let told = Event::Protocol(Violation::BareLineEndInData);
    assert_eq!((count(&store, &told), count(&store, &Event::Reset)), (1, 1));
    delivery(&format!(
        "{ENVELOPE}{DATA}
        C| one\\rtwo\\r\\n.\\r\\n
        S: 550 5.5.2 Bare CR or LF in the message"
    ));
}

#[test]
fn a_message_that_nobody_is_asked_about_is_refused_with_the_id_of_its_transaction() {
    let small = Config {
        max_size: 20,
        ..config(Mode::Delivery)
    };
    let hello = HELLO.replace("SIZE 100000", "SIZE 20");
    for (message, why, reply) in [
        (
            "{DATA}\nC| one\\ntwo\\r\\n.\\r\\n\n",
            Unfit::BareLineEnd,
            "550 5.5.2 Bare CR or LF in the message (id t7)",
        ),
        (
            "{DATA}\nC| one\\0two\\r\\n.\\r\\n\n",
            Unfit::Nul,
            "554 5.6.0 NUL in the message (id t7)",
        ),
        (
            "{DATA}\nC: 0123456789\nC: 0123456789\nC: .\n",
            Unfit::TooBig,
            "552 5.3.4 Message too big (id t7)",
        ),
        (
            "C: BDAT 21\nC| 012345678901234567890\n",
            Unfit::TooBig,
            "552 5.3.4 Message too big (id t7)",
        ),
    ] {
        let message = message.replace("{DATA}", DATA);
        let script = format!("{hello}{ENVELOPE}{message}S: {reply}\nC: NOOP\nS: 250 2.0.0 OK");
        let store = play_with(&small, &script, || Store {
            id: Some("t7"),
            ..Store::default()
        });
        assert!(store.messages.is_empty());
        let unfit: Vec<_> = store
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Unfit { why, reply } => Some((*why, reply.to_string())),
                _ => None,
            })
            .collect();
        assert_eq!(unfit, [(why, reply.to_owned())]);
        let position = |wanted: &dyn Fn(&Event) -> bool| store.events.iter().position(wanted);
        let told = position(&|event| matches!(event, Event::Unfit { .. }));
        assert!(told < position(&|event| *event == Event::Reset));
    }
}

#[test]
fn a_size_that_is_too_much_can_be_the_worlds_to_refuse() {
    let asked = Config {
        asks_about_size: true,
        ..config(Mode::Delivery)
    };
    let script = format!(
        "{HELLO}
        C: MAIL FROM:<a@b> SIZE=100001
        S: 552 5.3.4 no (id t7)
        C: MAIL FROM:<a@b> SIZE=99999999999999999999
        S: 552 5.3.4 no (id t7)
        C: MAIL FROM:<a@b> SIZE=100000
        S: 250 2.1.0 OK"
    );
    let no = Reply::new(552, 3, 4, "no (id t7)");
    play_with(&asked, &script, || Store {
        refuse: vec![
            ("size: Some(100001)", no.clone()),
            ("size: Some(18446744073709551615)", no.clone()),
        ],
        ..Store::default()
    });
}

#[test]
fn an_ambiguous_end_is_refused_and_closes() {
    for end in [
        "\\n.\\n",
        "\\n.\\r\\n",
        "\\r\\n.\\n",
        "\\r.\\r",
        "\\r\\n.\\r\\r\\n",
        "\\r\\n\\0.\\r\\n",
    ] {
        let reply = match end.contains("\\0") {
            true => "554 5.6.0 NUL in the message",
            false => "550 5.5.2 Bare CR or LF in the message",
        };
        let store = delivery(&format!(
            "{ENVELOPE}{DATA}
            C| x{end}MAIL FROM:<evil@x>\\r\\nRCPT TO:<b@mx.example>\\r\\nDATA\\r\\ny\\r\\n.\\r\\n
            S: {reply}
            @ close"
        ));
        assert!(store.messages.is_empty());
        assert_eq!(count(&store, &Event::Closed(CloseReason::Violation)), 1);
    }
}

#[test]
fn a_nul_is_refused() {
    let store = delivery(&format!(
        "{ENVELOPE}{DATA}
        C| a\\0b\\r\\n.\\r\\n
        S: 554 5.6.0 NUL in the message
        C: RCPT TO:<b@mx.example>
        S: 503 5.5.1 MAIL comes first"
    ));
    assert!(store.messages.is_empty());
}

#[test]
fn a_bare_line_end_in_a_command_is_refused() {
    let store = delivery("C| NOOP\\nNOOP\\r\\n\nS: 500 5.5.2 Lines end in CRLF\nS: 250 2.0.0 OK");
    assert_eq!(count(&store, &Event::Protocol(Violation::BareLineEnd)), 1);
}

#[test]
fn a_message_over_the_limit_is_read_to_its_end_and_refused() {
    let mut small = config(Mode::Delivery);
    small.max_size = 20;
    let hello = HELLO.replace("100000", "20");
    let long = "C: 0123456789\n".repeat(2);
    let store = play(
        &small,
        &format!(
            "{hello}{ENVELOPE}{DATA}{long}C: .\nS: 552 5.3.4 Message too big\nC: NOOP\nS: 250 2.0.0 OK"
        ),
    );
    assert!(store.messages.is_empty());
    play(
        &small,
        &format!("{hello}{ENVELOPE}{DATA}C: 012345678\nC: 0123456\nC: .\nS: 250 2.0.0 id1 stored"),
    );
    let endless = "C: 0123456789\n".repeat(5);
    play(
        &small,
        &format!("{hello}{ENVELOPE}{DATA}{endless}S: 552 5.3.4 Message too big\n@ close"),
    );
}

#[test]
fn chunks_make_a_message() {
    let store = delivery(&format!(
        "{ENVELOPE}
        C: BDAT 6
        C| ab\\r\\n.\\r
        S: 250 2.0.0 6 octets received
        C: BDAT 4 LAST
        C| \\n..\\n
        S: 550 5.5.2 Bare CR or LF in the message
        {ENVELOPE}
        C: BDAT 5
        C| ab\\r\\n.
        C: BDAT 2 LAST
        C| \\r\\n
        S: 250 2.0.0 5 octets received
        S: 250 2.0.0 id1 stored
        {ENVELOPE}
        C: BDAT 3
        C| abc
        S: 250 2.0.0 3 octets received
        C: RCPT TO:<c@mx.example>
        S: 503 5.5.1 Not inside a message
        C: DATA
        S: 503 5.5.1 BDAT was begun
        C: RSET
        S: 250 2.0.0 OK
        {ENVELOPE}
        C: BDAT 0 LAST
        S: 250 2.0.0 id2 stored"
    ));
    assert_eq!(store.messages[0].1, b"ab\r\n.\r\n");
    assert_eq!(store.messages[1].1, b"");
}

#[test]
fn a_refused_chunk_is_swallowed_exactly() {
    delivery(
        "C: BDAT 6\nC| QUIT\\r\\n\nC: NOOP\nS: 503 5.5.1 MAIL and RCPT come first\nS: 250 2.0.0 OK",
    );
    let mut small = config(Mode::Delivery);
    small.max_size = 8;
    let hello = HELLO.replace("100000", "8");
    play(
        &small,
        &format!(
            "{hello}{ENVELOPE}
            C: BDAT 9
            C| RSET\\r\\nxyz
            C: BDAT 3 LAST
            C| xyz
            C: NOOP
            S: 552 5.3.4 Message too big
            S: 503 5.5.1 MAIL and RCPT come first
            S: 250 2.0.0 OK
            C: BDAT 999
            S: 503 5.5.1 MAIL and RCPT come first
            @ close"
        ),
    );
    delivery("C: BDAT x\nS: 501 5.5.2 Syntax: BDAT size [LAST]\n@ close");
}

#[test]
fn a_message_the_world_refuses_is_read_to_its_end() {
    let full = || Store {
        refuse: vec![("Body(", Reply::new(452, 3, 1, "Disk full"))],
        ..Store::default()
    };
    let store = play_with(
        &config(Mode::Delivery),
        &format!(
            "{HELLO}{ENVELOPE}{DATA}C: QUIT\nC: .\nS: 452 4.3.1 Disk full\nC: NOOP\nS: 250 2.0.0 OK"
        ),
        full,
    );
    assert_eq!(count(&store, &Event::Reset), 1);
    let store = play_with(
        &config(Mode::Delivery),
        &format!(
            "{HELLO}{ENVELOPE}{DATA}C: x\nC: .\nS: 451 4.3.0 Later\nC: DATA\nS: 503 5.5.1 MAIL comes first"
        ),
        || Store {
            refuse: vec![("Commit", Reply::new(451, 3, 0, "Later"))],
            ..Store::default()
        },
    );
    assert_eq!(count(&store, &Event::Reset), 0, "the Commit was asked");
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let each = || Store {
        each: Some(vec![
            Reply::new(250, 0, 0, "one"),
            Reply::new(452, 2, 2, "full"),
        ]),
        ..Store::default()
    };
    play_with(
        &config(Mode::Lmtp),
        &format!(
            "S: 220 mx.example LMTP
            C: EHLO c
            S: 500 5.5.1 This is LMTP: LHLO
            C: LHLO c
            {}
            {ENVELOPE}
            C: RCPT TO:<c@mx.example>
            S: 250 2.1.5 OK
            {DATA}
            C: .
            S: 250 2.0.0 one
            S: 452 4.2.2 full",
            HELLO.lines().skip(3).collect::<Vec<_>>().join("\n")
        ),
        each,
    );
}

#[test]
fn starttls_forgets_everything() {
    let mut tls = config(Mode::Delivery);
    tls.starttls = true;
    tls.tls_required = true;
    let hello = HELLO.replace("S: 250-ENH", "S: 250-STARTTLS\nS: 250-ENH");
    let secure = HELLO.lines().skip(2).collect::<Vec<_>>().join("\n");
    let secure = secure.replace("S: 250 LIM", "S: 250-REQUIRETLS\nS: 250 LIM");
    play(
        &tls,
        &format!(
            "{hello}
            C: MAIL FROM:<a@b>
            S: 530 5.7.0 STARTTLS comes first
            C: STARTTLS
            S: 220 2.0.0 Go ahead
            @ tls
            C: MAIL FROM:<a@b>
            S: 503 5.5.1 EHLO comes first
            {secure}
            C: STARTTLS
            S: 503 5.5.1 TLS is active already
            C: MAIL FROM:<a@b>
            S: 250 2.1.0 OK"
        ),
    );
}

#[test]
fn bytes_behind_starttls_close_the_session() {
    let mut tls = config(Mode::Delivery);
    tls.starttls = true;
    let mut talk = server(&tls);
    talk.feed(b"EHLO c\r\n");
    talk.said();
    talk.feed(b"STARTTLS\r\nMAIL FROM:<evil@x>\r\n");
    assert_eq!(
        talk.said(),
        "554 5.5.0 Nothing may follow STARTTLS in clear\r\n"
    );
    assert!(talk.closed && !talk.upgrading);
    let told = Event::Protocol(Violation::DataAfterStartTls);
    assert_eq!(count(&talk.world, &told), 1);

    let mut late = server(&tls);
    late.feed(b"EHLO c\r\nSTARTTLS\r\n");
    late.feed(b"MAIL FROM:<evil@x>\r\n");
    assert!(late.closed);
    assert_eq!(count(&late.world, &told), 1);
}

#[test]
fn a_password_that_follows_a_refused_auth_is_told_to_nobody() {
    let mut submission = config(Mode::Submission);
    submission.mechanisms = vec!["PLAIN"];
    let mut talk = server(&submission);
    talk.feed(b"EHLO c\r\nAUTH LOGIN\r\nAHVzZXIAZ29vZA==\r\nsecret\r\n");
    assert!(
        talk.said()
            .ends_with("500 5.5.1 Command not recognized\r\n")
    );
    let told = format!("{:?}", talk.world.events).to_lowercase();
    assert!(
        !told.contains("ahvzzx") && !told.contains("secret"),
        "{told}"
    );
}

#[test]
fn submission_wants_tls_and_auth_and_does_not_look_at_ehlo() {
    let mut submission = config(Mode::Submission);
    submission.starttls = true;
    submission.mechanisms = vec!["SCRAM-SHA-256", "PLAIN"];
    submission.auth_required = true;
    submission.limits.hold = Duration::ZERO;
    let offer = "
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-SIZE 100000
        S: 250-AUTH SCRAM-SHA-256 PLAIN
        S: 250-ENHANCEDSTATUSCODES
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-CHUNKING
        S: 250-DSN
        S: 250-REQUIRETLS
        S: 250 LIMITS RCPTMAX=1000 MAILMAX=10000";
    play(
        &submission,
        &format!(
            "S: 220 mx.example ESMTP
            C: EHLO my_laptop!
            {}
            C: AUTH PLAIN AHVzZXIAZ29vZA==
            S: 538 5.7.11 AUTH needs TLS first
            C: MAIL FROM:<a@b>
            S: 530 5.7.0 Authentication required
            C: STARTTLS
            S: 220 2.0.0 Go ahead
            @ tls
            C: EHLO my_laptop!
            {offer}
            C: AUTH LOGIN
            S: 504 5.5.4 Mechanism not offered
            C: AUTH plain
            S: 334
            C: *
            S: 501 5.5.0 Authentication cancelled
            C: AUTH PLAIN !!!
            S: 501 5.5.2 Not base64
            C: AUTH PLAIN AHVzZXIAYmFk
            S: 535 5.7.8 Bad credentials
            C: AUTH PLAIN bW9yZQ==
            S: 334 YWdhaW4/
            C: AHVzZXIAZ29vZA==
            S: 235 2.7.0 Authenticated
            C: AUTH PLAIN
            S: 503 5.5.1 Authenticated already
            C: MAIL FROM:<a@b>
            S: 250 2.1.0 OK",
            offer
                .replace("AUTH SCRAM-SHA-256 PLAIN", "STARTTLS")
                .replace("S: 250-REQUIRETLS\n", "")
        )
        .replace("S: 334\n", "S: 334 \n"),
    );
}

#[test]
fn channel_binding_is_offered_only_where_there_is_a_channel() {
    let mut submission = config(Mode::Submission);
    submission.starttls = true;
    submission.auth_in_clear = true;
    submission.mechanisms = vec!["SCRAM-SHA-256-PLUS", "PLAIN"];
    submission.limits.hold = Duration::ZERO;
    let offer = "
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-SIZE 100000
        S: 250-AUTH SCRAM-SHA-256-PLUS PLAIN
        S: 250-ENHANCEDSTATUSCODES
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-CHUNKING
        S: 250-DSN
        S: 250-REQUIRETLS
        S: 250 LIMITS RCPTMAX=1000 MAILMAX=10000";
    let clear = offer.replace(
        "AUTH SCRAM-SHA-256-PLUS PLAIN",
        "STARTTLS\n        S: 250-AUTH PLAIN",
    );
    let clear = clear.replace("S: 250-REQUIRETLS\n", "");
    play(
        &submission,
        &format!(
            "S: 220 mx.example ESMTP
            C: EHLO c
            {clear}
            C: AUTH SCRAM-SHA-256-PLUS
            S: 504 5.5.4 Mechanism not offered
            C: STARTTLS
            S: 220 2.0.0 Go ahead
            @ tls
            C: EHLO c
            {offer}"
        ),
    );
}

#[test]
fn external_is_for_clients_whose_certificate_was_verified() {
    let mut submission = config(Mode::Submission);
    submission.mechanisms = vec!["EXTERNAL"];
    for certified in [false, true] {
        let mut talk = server(&submission);
        let facts = TlsFacts {
            peer_certificate: certified.then(|| b"DER"[..].into()),
            ..TlsFacts::default()
        };
        talk.session.secured(talk.now, facts);
        talk.feed(b"EHLO c\r\nAUTH EXTERNAL =\r\n");
        let said = talk.said();
        assert_eq!(said.contains("250-AUTH EXTERNAL\r\n"), certified, "{said}");
        let refused = said.ends_with("504 5.5.4 Mechanism not offered\r\n");
        assert_eq!(refused, !certified, "{said}");
    }
}

#[test]
fn failed_logins_end_the_session() {
    let mut submission = config(Mode::Submission);
    submission.mechanisms = vec!["PLAIN"];
    submission.auth_in_clear = true;
    let mut talk = server(&submission);
    talk.feed(b"EHLO c\r\n");
    for _ in 0..4 {
        talk.feed(b"AUTH PLAIN AHVzZXIAYmFk\r\n");
    }
    talk.said();
    talk.feed(b"AUTH PLAIN AHVzZXIAYmFk\r\n");
    assert_eq!(talk.said(), "421 4.7.0 Too many failed authentications\r\n");
    assert!(talk.closed);
}

#[test]
fn what_is_not_smtp_is_closed_at_once() {
    play(
        &config(Mode::Delivery),
        "S: 220 mx.example ESMTP
        C: GET / HTTP/1.1
        S: 500 5.5.1 Command not recognized
        @ close",
    );
}

#[test]
fn the_tenth_error_closes() {
    let errors = "C: FOO\nS: 500 5.5.1 Command not recognized\n".repeat(9);
    let store = delivery(&format!(
        "{errors}C: FOO\nS: 421 4.7.0 Too many errors\n@ close"
    ));
    assert_eq!(count(&store, &Event::Closed(CloseReason::TooManyErrors)), 1);
}

#[test]
fn pipelined_followers_of_a_refused_mail_are_no_errors() {
    let refusing = || Store {
        refuse: vec![("Sender", Reply::new(550, 7, 1, "Not you"))],
        ..Store::default()
    };
    let rcpts = "C: RCPT TO:<a@b>\n".repeat(50);
    let replies = "S: 503 5.5.1 MAIL comes first\n".repeat(51);
    play_with(
        &config(Mode::Delivery),
        &format!(
            "{HELLO}C: MAIL FROM:<a@b>\n{rcpts}C: DATA\nS: 550 5.7.1 Not you\n{replies}C: NOOP\nS: 250 2.0.0 OK"
        ),
        refusing,
    );
}

#[test]
fn commands_that_lead_to_nothing_end_the_session() {
    let mut talk = server(&config(Mode::Delivery));
    for _ in 0..200 {
        talk.feed(b"NOOP\r\n");
    }
    let said = talk.said();
    assert_eq!(said.matches("250 2.0.0").count(), 100);
    assert!(said.ends_with("421 4.7.0 Too many commands without mail\r\n") && talk.closed);
}

#[test]
fn recipients_beyond_the_limit_are_deferred() {
    let mut few = config(Mode::Delivery);
    few.limits.recipients = 3;
    let mut talk = server(&few);
    talk.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\n");
    talk.said();
    talk.feed(&b"RCPT TO:<a@b>\r\n".repeat(5));
    assert_eq!(
        talk.said(),
        format!(
            "{}{}",
            "250 2.1.5 OK\r\n".repeat(3),
            "452 4.5.3 Too many recipients\r\n".repeat(2)
        )
    );
    let mut many = server(&config(Mode::Delivery));
    many.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\n");
    many.said();
    many.feed(&b"RCPT TO:<a@b>\r\n".repeat(11_000));
    let said = many.said();
    assert_eq!(said.matches("250 2.1.5").count(), 1_000);
    assert_eq!(said.matches("452 4.5.3").count(), 10_000);
    assert!(!many.closed);
    many.feed(b"RCPT TO:<a@b>\r\n");
    assert_eq!(many.said(), "421 4.7.0 Too many recipients\r\n");
    assert!(many.closed);
}

#[test]
fn a_line_that_is_too_long_closes() {
    let long = "x".repeat(2_048);
    let store = play(
        &config(Mode::Delivery),
        &format!("S: 220 mx.example ESMTP\nC: {long}\nS: 500 5.5.0 Line too long\n@ close"),
    );
    assert_eq!(count(&store, &Event::Protocol(Violation::LineTooLong)), 1);
    let fits = "x".repeat(2_042);
    delivery(&format!("C: NOOP {fits}\nS: 250 2.0.0 OK"));
}

#[test]
fn silence_ends_a_session_with_421() {
    let mut talk = server(&config(Mode::Delivery));
    talk.feed(b"EHLO c\r\n");
    talk.said();
    talk.sleep(Duration::from_secs(299));
    assert!(!talk.closed);
    talk.feed(b"NO");
    talk.sleep(Duration::from_secs(2));
    assert_eq!(talk.said(), "421 4.4.2 Timeout\r\n");
    assert!(talk.closed);
}

#[test]
fn a_drip_of_bytes_ends_with_the_transaction_limit() {
    let mut talk = server(&config(Mode::Delivery));
    talk.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    let mut seconds = 0;
    while !talk.closed {
        talk.feed(b"x");
        talk.sleep(Duration::from_secs(30));
        seconds += 30;
    }
    assert_eq!(seconds, 3_600);
    assert!(talk.said().ends_with("421 4.4.2 Timeout\r\n"));
    assert_eq!(count(&talk.world, &Event::Reset), 1);
}

#[test]
fn a_world_that_does_not_answer_ends_a_session() {
    let mut talk = server(&config(Mode::Delivery));
    talk.hold = true;
    talk.feed(b"EHLO c\r\n");
    talk.said();
    talk.sleep(Duration::from_secs(601));
    assert_eq!(talk.said(), "421 4.3.0 Internal error, try again later\r\n");
    assert!(talk.closed && talk.open.is_empty(), "the ask is cancelled");
}

#[test]
fn the_window_of_unanswered_octets_holds_the_message_back() {
    let mut big = config(Mode::Delivery);
    big.max_size = 10_000_000;
    let mut talk = server(&big);
    talk.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    talk.said();
    talk.hold = true;
    let body = b"0123456789abcdef0123456789abcd\r\n".repeat(32_768);
    talk.feed(&body);
    assert!(!talk.session.wants_read() && talk.session.in_bulk());
    let open: usize = talk
        .open
        .iter()
        .map(|(_, ask)| match ask {
            mox_smtp::server::Ask::Body(piece) => piece.len(),
            _ => 0,
        })
        .sum();
    assert!(open <= 256 * 1_024 && open > 250 * 1_024, "{open}");
    talk.hold = false;
    talk.feed(b".\r\n");
    assert_eq!(talk.said(), "250 2.0.0 id1 stored\r\n");
    assert!(talk.world.messages[0].1 == body);
}

#[test]
fn replies_that_nobody_takes_hold_the_commands_back() {
    let mut quiet = config(Mode::Delivery);
    quiet.limits.useless = 1_000_000;
    let mut talk = server(&quiet);
    let mut input = bytes::BytesMut::from(&b"NOOP\r\n".repeat(100_000)[..]);
    talk.said();
    talk.session.recv(talk.now, &mut input);
    assert!(!talk.session.wants_read());
    assert!(input.len() > 500_000);
    talk.input = input;
    talk.run();
    assert_eq!(talk.said().len(), 100_000 * "250 2.0.0 OK\r\n".len());
}

#[test]
fn the_end_of_the_stream_inside_a_message_stores_nothing() {
    let mut talk = server(&config(Mode::Delivery));
    talk.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r");
    talk.eof();
    assert!(talk.closed && talk.world.messages.is_empty());
    assert_eq!(
        talk.world.events,
        [
            Event::Protocol(Violation::EofInside),
            Event::Reset,
            Event::Closed(CloseReason::Eof)
        ]
    );
}

#[test]
fn a_message_that_was_ended_is_answered_after_the_end_of_the_stream() {
    let mut talk = server(&config(Mode::Delivery));
    talk.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    talk.said();
    talk.hold = true;
    talk.feed(b"x\r\n.\r\nQUIT\r\n");
    talk.eof();
    assert!(!talk.closed);
    talk.hold = false;
    talk.run();
    assert_eq!(talk.said(), "250 2.0.0 id1 stored\r\n221 2.0.0 Bye\r\n");
    assert!(talk.closed);
}

#[test]
fn draining_waits_for_the_running_transaction() {
    let mut talk = server(&config(Mode::Delivery));
    talk.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n");
    talk.said();
    talk.session.drain(talk.now);
    talk.run();
    assert!(!talk.closed);
    talk.feed(b"DATA\r\nx\r\n.\r\n");
    let said = talk.said();
    assert!(
        said.ends_with("250 2.0.0 id1 stored\r\n421 4.3.2 Server is stopping, try again later\r\n")
    );
    assert!(talk.closed);
    assert_eq!(count(&talk.world, &Event::Closed(CloseReason::Drained)), 1);

    let mut idle = server(&config(Mode::Delivery));
    idle.said();
    idle.session.drain(idle.now);
    idle.run();
    assert_eq!(
        idle.said(),
        "421 4.3.2 Server is stopping, try again later\r\n"
    );
}

#[test]
fn who_speaks_before_the_greeting_is_noted_or_sent_away() {
    let mut slow = config(Mode::Delivery);
    slow.greeting_delay = Duration::from_secs(3);
    let mut talk = server(&slow);
    talk.feed(b"EHLO c\r\n");
    assert_eq!(talk.said(), "");
    assert_eq!(talk.world.events, [Event::Protocol(Violation::EarlyTalker)]);
    talk.sleep(Duration::from_secs(3));
    assert!(
        talk.said()
            .starts_with("220 mx.example ESMTP\r\n250-mx.example\r\n")
    );
    slow.refuse_early_talkers = true;
    let mut talk = server(&slow);
    talk.feed(b"EHLO c\r\n");
    assert_eq!(talk.said(), "554 5.5.0 Wait for the greeting\r\n");
    assert!(talk.closed);
}

#[test]
fn a_421_of_the_world_closes() {
    let store = play_with(
        &config(Mode::Delivery),
        &format!("{HELLO}C: MAIL FROM:<a@b>\nS: 421 4.7.0 Go away\n@ close"),
        || Store {
            refuse: vec![("Sender", Reply::new(421, 7, 0, "Go away"))],
            ..Store::default()
        },
    );
    assert_eq!(count(&store, &Event::Closed(CloseReason::Refused)), 1);
}
