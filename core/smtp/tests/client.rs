//! What a client says, and what it makes of replies.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod talk;

use mox_address::{Domain, Host, Path, Reply};
use mox_machine::{Now, Secret, Session, Step};
use mox_smtp::client::{
    Answer, Ask, Cause, Class, Client, Config, Ending, Event, Stage, Tls, Transaction, Until,
};
use mox_smtp::wire::Fault;
use std::time::Duration;
use talk::{Talk, World};

#[derive(Debug, Default)]
struct Outbox {
    todo: Vec<(Transaction, Vec<u8>)>,
    body: Vec<u8>,
    events: Vec<Event>,
    broken: bool,
}

impl World<Client> for Outbox {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Next(_) if self.todo.is_empty() => Answer::Quit,
            Ask::Next(_) => {
                let (transaction, body) = self.todo.remove(0);
                self.body = body;
                Answer::Send(transaction)
            }
            Ask::Sasl {
                challenge: None, ..
            } => Answer::Response(Some(Secret::new(b"\0user\0good"[..].into()))),
            Ask::Sasl { .. } => Answer::Failed,
            Ask::Piece { .. } if self.broken => Answer::Failed,
            Ask::Piece { offset, max } => {
                let from = usize::try_from(offset).unwrap();
                let to = self.body.len().min(from + max);
                Answer::Piece(self.body[from..to].to_vec().into())
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

fn path(text: &str) -> Path {
    Path::parse(text, true).unwrap()
}

fn message(to: &[&str], body: &[u8]) -> (Transaction, Vec<u8>) {
    let transaction = Transaction {
        from: Some(path("a@c.example")),
        to: to.iter().map(|to| path(to)).collect(),
        size: body.len() as u64,
        eight_bit: !body.is_ascii(),
        utf8: false,
        ..Transaction::default()
    };
    (transaction, body.to_vec())
}

fn config() -> Config {
    Config::new(Host::Domain(Domain::parse("c.example", false).unwrap()))
}

fn client(config: Config, todo: Vec<(Transaction, Vec<u8>)>) -> Talk<Client, Outbox> {
    let outbox = Outbox {
        todo,
        ..Outbox::default()
    };
    Talk::new(Client::new(config, Now::default()), outbox)
}

/// Plays server lines (`S`) against what the client must have said since (`C`).
fn play(talk: &mut Talk<Client, Outbox>, turns: &[(&str, &str)]) {
    for (server, client) in turns {
        talk.feed(server.as_bytes());
        assert_eq!(talk.said(), *client, "after {server:?}");
    }
}

fn recipients(talk: &Talk<Client, Outbox>) -> Vec<(usize, Class, Stage, Option<String>, bool)> {
    talk.world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Recipient { index, outcome } => Some((
                *index,
                outcome.class,
                outcome.stage,
                outcome.reply.as_ref().map(Reply::to_string),
                outcome.ambiguous,
            )),
            _ => None,
        })
        .collect()
}

#[test]
fn without_pipelining_each_command_waits_for_its_reply() {
    let mut talk = client(
        config(),
        vec![message(&["b@x.example", "no@x.example"], b".a\r\nb")],
    );
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            (
                "250-x\r\n250 SIZE 1000\r\n",
                "MAIL FROM:<a@c.example> SIZE=5\r\n",
            ),
            ("250 ok\r\n", "RCPT TO:<b@x.example>\r\n"),
            ("250 ok\r\n", "RCPT TO:<no@x.example>\r\n"),
            ("550 5.1.1 no\r\n", "DATA\r\n"),
            ("354 go\r\n", "..a\r\nb\r\n.\r\n"),
            ("250 2.0.0 queued\r\n", "QUIT\r\n"),
            ("221 bye\r\n", ""),
        ],
    );
    assert_eq!(
        recipients(&talk),
        [
            (
                1,
                Class::Permanent,
                Stage::Rcpt,
                Some("550 5.1.1 no".into()),
                false
            ),
            (
                0,
                Class::Delivered,
                Stage::Message,
                Some("250 2.0.0 queued".into()),
                false
            ),
        ]
    );
    let ending = talk
        .world
        .events
        .iter()
        .position(|e| matches!(e, Event::Ending { bytes: 5 }));
    assert_eq!(
        ending,
        Some(2),
        "greeted, refused, ending: {:?}",
        talk.world.events
    );
    assert_eq!(talk.world.events.last(), Some(&Event::Closed(Ending::Quit)));
}

#[test]
fn with_pipelining_the_envelope_is_one_write() {
    let mut talk = client(
        config(),
        vec![
            message(&["b@x"], "\u{fc}\r\n".as_bytes()),
            message(&["c@x"], b""),
        ],
    );
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            (
                "250-x\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
                "MAIL FROM:<a@c.example> BODY=8BITMIME\r\nRCPT TO:<b@x>\r\nDATA\r\n",
            ),
            ("250 ok\r\n250 ok\r\n354 go\r\n", "\u{fc}\r\n.\r\n"),
            (
                "250 ok\r\n",
                "MAIL FROM:<a@c.example>\r\nRCPT TO:<c@x>\r\nDATA\r\n",
            ),
            ("250 ok\r\n250 ok\r\n354 go\r\n", ".\r\n"),
            ("451 4.3.0 later\r\n", "QUIT\r\n"),
        ],
    );
    talk.eof();
    assert!(talk.closed);
    assert_eq!(
        recipients(&talk).iter().map(|r| r.1).collect::<Vec<_>>(),
        [Class::Delivered, Class::Temporary]
    );
}

#[test]
fn a_transaction_that_only_asks_says_no_data() {
    let asking = |until| {
        let (mut asking, body) = message(&["b@x.example", "no@x.example"], b"a\r\n");
        asking.until = until;
        client(config(), vec![(asking, body)])
    };
    let turns = [
        ("220 hi\r\n", "EHLO c.example\r\n"),
        (
            "250-x\r\n250 PIPELINING\r\n",
            "MAIL FROM:<a@c.example>\r\nRCPT TO:<b@x.example>\r\nRCPT TO:<no@x.example>\r\n",
        ),
        ("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n", "QUIT\r\n"),
        ("221 bye\r\n", ""),
    ];
    let mut talk = asking(Until::Recipients);
    play(&mut talk, &turns);
    let no = Some("550 5.1.1 no".into());
    assert_eq!(
        recipients(&talk),
        [
            (1, Class::Permanent, Stage::Rcpt, no, false),
            (0, Class::Delivered, Stage::Rcpt, None, false),
        ]
    );
    let mut talk = asking(Until::Offer);
    play(&mut talk, &[turns[0], ("250 x\r\n", "QUIT\r\n"), turns[3]]);
    let both = [0, 1].map(|nth| (nth, Class::Delivered, Stage::Mail, None, false));
    assert_eq!(recipients(&talk), both);
}

#[test]
fn a_354_without_recipients_gets_an_empty_message_and_its_reply_is_nothing() {
    let mut talk = client(config(), vec![message(&["b@x"], b"secret\r\n")]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            (
                "250-x\r\n250 PIPELINING\r\n",
                "MAIL FROM:<a@c.example>\r\nRCPT TO:<b@x>\r\nDATA\r\n",
            ),
            ("250 ok\r\n550 no\r\n354 go\r\n", ".\r\n"),
            ("250 thanks\r\n", "QUIT\r\n"),
        ],
    );
    assert_eq!(
        recipients(&talk),
        [(
            0,
            Class::Permanent,
            Stage::Rcpt,
            Some("550 no".into()),
            false
        )]
    );
}

#[test]
fn a_transaction_the_server_still_has_open_is_reset_before_the_next() {
    let mut talk = client(
        config(),
        vec![message(&["b@x"], b""), message(&["c@x"], b"")],
    );
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            ("250 x\r\n", "MAIL FROM:<a@c.example>\r\n"),
            ("250 ok\r\n", "RCPT TO:<b@x>\r\n"),
            ("450 4.2.1 greylisted\r\n", "RSET\r\n"),
            ("250 ok\r\n", "MAIL FROM:<a@c.example>\r\n"),
            ("553 5.1.8 no\r\n", "QUIT\r\n"),
        ],
    );
    assert_eq!(
        recipients(&talk)
            .iter()
            .map(|r| (r.1, r.2))
            .collect::<Vec<_>>(),
        [
            (Class::Temporary, Stage::Rcpt),
            (Class::Permanent, Stage::Mail)
        ]
    );
}

#[test]
fn helo_follows_an_ehlo_that_is_not_known() {
    let mut talk = client(config(), vec![message(&["b@x"], b"")]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            ("502 what?\r\n", "HELO c.example\r\n"),
            ("250 x\r\n", "MAIL FROM:<a@c.example>\r\n"),
        ],
    );
    let mut talk = client(config(), vec![]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            ("554 no mail here\r\n", "QUIT\r\n"),
        ],
    );
    assert!(talk.closed);
}

#[test]
fn tls_is_used_when_offered_and_everything_is_asked_again() {
    let mut talk = client(config(), vec![message(&["b@x"], b"")]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            ("250-x\r\n250-SIZE 1\r\n250 STARTTLS\r\n", "STARTTLS\r\n"),
            ("220 go\r\n", ""),
        ],
    );
    talk.tls();
    assert_eq!(talk.said(), "EHLO c.example\r\n");
    play(
        &mut talk,
        &[
            ("250 x\r\n", "MAIL FROM:<a@c.example>\r\n"),
            ("550 no\r\n", "QUIT\r\n"),
        ],
    );
    let Some(Event::Recipient { outcome, .. }) = talk.world.events.get(1) else {
        panic!("{:?}", talk.world.events);
    };
    assert!(outcome.tls);
}

#[test]
fn bytes_behind_the_220_of_starttls_end_the_session() {
    for split in [false, true] {
        let mut talk = client(config(), vec![message(&["b@x"], b"")]);
        talk.feed(b"220 hi\r\n250-x\r\n250 STARTTLS\r\n");
        talk.said();
        if split {
            talk.feed(b"220 go\r\n");
            talk.feed(b"250 evil\r\n");
        } else {
            talk.feed(b"220 go\r\n250 evil\r\n");
            assert!(!talk.upgrading);
        }
        assert!(talk.closed);
        assert!(matches!(
            talk.world.events.last(),
            Some(Event::Closed(Ending::Failed(o))) if o.cause == Cause::DataAfterStartTls
        ));
    }
}

#[test]
fn required_tls_is_required() {
    let mut strict = config();
    strict.tls = Tls::Required;
    let mut talk = client(strict.clone(), vec![message(&["b@x"], b"")]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            ("250 x\r\n", "QUIT\r\n"),
        ],
    );
    assert!(talk.closed);
    let mut talk = client(strict, vec![message(&["b@x"], b"")]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            ("250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n"),
            ("454 4.7.0 no\r\n", "QUIT\r\n"),
        ],
    );
    let mut lenient = client(config(), vec![message(&["b@x"], b"")]);
    play(
        &mut lenient,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            ("250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n"),
            ("454 4.7.0 no\r\n", "MAIL FROM:<a@c.example>\r\n"),
        ],
    );
}

#[test]
fn a_smarthost_gets_auth() {
    let mut smarthost = config();
    smarthost.mechanisms = vec!["SCRAM-SHA-256", "PLAIN"];
    let mut talk = client(smarthost.clone(), vec![message(&["b@x"], b"")]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            (
                "250-x\r\n250 AUTH login plain\r\n",
                "AUTH PLAIN AHVzZXIAZ29vZA==\r\n",
            ),
            ("235 ok\r\n", "MAIL FROM:<a@c.example>\r\n"),
        ],
    );
    let mut talk = client(smarthost.clone(), vec![]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            (
                "250-x\r\n250 AUTH PLAIN\r\n",
                "AUTH PLAIN AHVzZXIAZ29vZA==\r\n",
            ),
            ("535 5.7.8 no\r\n", "QUIT\r\n"),
        ],
    );
    let mut talk = client(smarthost, vec![]);
    talk.feed(b"220 hi\r\n250 x\r\n");
    assert!(matches!(
        talk.world.events.last(),
        Some(Event::Closed(Ending::Failed(o))) if o.cause == Cause::NoAuth
    ));
}

#[test]
fn what_this_server_cannot_take_fails_without_a_word() {
    let mut utf8 = message(&["\u{fc}@x"], b"");
    utf8.0.from = None;
    let mut talk = client(config(), vec![utf8, message(&["b@x"], b"0123456789\r\n")]);
    play(
        &mut talk,
        &[
            ("220 hi\r\n", "EHLO c.example\r\n"),
            ("250-x\r\n250 SIZE 11\r\n", "QUIT\r\n"),
        ],
    );
    let causes: Vec<_> = talk
        .world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Recipient { outcome, .. } => Some((outcome.class, outcome.cause)),
            _ => None,
        })
        .collect();
    assert_eq!(
        causes,
        [
            (Class::Temporary, Cause::NoUtf8),
            (Class::Temporary, Cause::TooBig)
        ]
    );
}

fn in_data(body: &[u8]) -> Talk<Client, Outbox> {
    let mut talk = client(config(), vec![message(&["b@x"], body)]);
    talk.feed(b"220 hi\r\n250-x\r\n250 PIPELINING\r\n");
    talk.feed(b"250 ok\r\n250 ok\r\n");
    talk
}

#[test]
fn a_lost_connection_is_ambiguous_only_after_the_final_dot() {
    let mut early = in_data(b"x\r\n");
    early.eof();
    assert!(!recipients(&early)[0].4);
    let mut late = in_data(b"x\r\n");
    late.feed(b"354 go\r\n");
    assert!(late.said().ends_with("x\r\n.\r\n"));
    late.eof();
    assert_eq!(
        recipients(&late),
        [(0, Class::Temporary, Stage::Message, None, true)]
    );
    let mut slow = in_data(b"x\r\n");
    slow.feed(b"354 go\r\n");
    slow.sleep(Duration::from_secs(599));
    assert!(!slow.closed);
    slow.sleep(Duration::from_secs(1));
    assert_eq!(
        recipients(&slow),
        [(0, Class::Temporary, Stage::Message, None, true)]
    );
    let mut told = in_data(b"x\r\n");
    told.feed(b"354 go\r\n421 4.3.2 stopping\r\n");
    assert!(!recipients(&told)[0].4, "the server said what it did");
}

#[test]
fn a_message_with_bare_line_ends_never_gets_its_dot() {
    for (body, fault) in [
        (&b"a\r\n.\r\r\nMAIL FROM:<x@y>\r\n"[..], Fault::BareLineEnd),
        (b"a\n.\nb\r\n", Fault::BareLineEnd),
        (b"a\r", Fault::BareLineEnd),
        (b"a\0", Fault::Nul),
    ] {
        let mut talk = in_data(body);
        talk.said();
        talk.feed(b"354 go\r\n");
        assert!(!talk.said().contains("\r\n.\r\n") && talk.closed);
        assert!(matches!(
            talk.world.events.last(),
            Some(Event::Closed(Ending::Failed(o)))
                if o.cause == Cause::BadMessage(fault) && o.class == Class::Permanent && !o.ambiguous
        ));
    }
}

#[test]
fn a_message_that_cannot_be_read_never_gets_its_dot() {
    let mut talk = in_data(b"x\r\n");
    talk.world.broken = true;
    talk.feed(b"354 go\r\n");
    assert!(talk.closed && !talk.said().contains("\r\n.\r\n"));
    assert_eq!(
        recipients(&talk),
        [(0, Class::Temporary, Stage::Message, None, false)]
    );
}

#[test]
fn the_message_is_pulled_a_piece_at_a_time() {
    let body = b"0123456789abcd\r\n".repeat(20_000);
    let mut talk = in_data(&body);
    talk.said();
    talk.hold = true;
    talk.feed(b"354 go\r\n");
    let mut got = Vec::new();
    while let Some(ask) = talk.open.first().map(|(_, ask)| ask.clone()) {
        assert_eq!(
            ask,
            Ask::Piece {
                offset: got.len() as u64,
                max: 65_536
            }
        );
        talk.answer_one(0);
        talk.run();
        got.extend(std::mem::take(&mut talk.output));
        assert!(talk.open.len() <= 1);
    }
    assert!(got == [&body[..], b".\r\n"].concat());
}

#[test]
fn draining_finishes_what_runs_and_leaves() {
    let mut talk = in_data(b"x\r\n");
    talk.world.todo.push(message(&["c@x"], b""));
    talk.session.drain(talk.now);
    talk.feed(b"354 go\r\n");
    talk.said();
    talk.feed(b"250 ok\r\n");
    assert_eq!(talk.said(), "QUIT\r\n");
    talk.sleep(Duration::from_secs(5));
    assert!(talk.closed);
    assert_eq!(recipients(&talk)[0].1, Class::Delivered);
}

#[test]
fn replies_that_are_none_end_the_session() {
    for (bytes, closes) in [
        (&b"hello\r\n"[..], true),
        (b"220-a\r\n250 b\r\n", true),
        (b"220 a\rb\r\n", true),
        (b"220-x\r\n", false),
    ] {
        let mut talk = client(config(), vec![]);
        talk.feed(bytes);
        assert_eq!(talk.closed, closes, "{bytes:?}");
    }
    let mut endless = client(config(), vec![]);
    endless.feed(&b"220-x\r\n".repeat(101));
    assert!(endless.closed);
    let mut talk = client(config(), vec![]);
    talk.hold = true;
    talk.feed(b"220 hi\r\n250 x\r\n250 extra\r\n");
    assert!(talk.closed && talk.open.is_empty());
}

#[test]
fn each_reply_has_its_time() {
    let mut talk = client(config(), vec![message(&["b@x"], b"")]);
    assert_eq!(talk.session.deadline().unwrap().1, "greeting");
    talk.sleep(Duration::from_secs(300));
    assert!(talk.closed);
    let mut talk = in_data(b"");
    assert_eq!(talk.session.deadline().unwrap().1, "data");
    talk.sleep(Duration::from_secs(120));
    assert!(matches!(
        talk.world.events.last(),
        Some(Event::Closed(Ending::Failed(o))) if o.cause == Cause::Timeout && o.stage == Stage::Data
    ));
}

#[test]
fn the_ending_is_told_before_the_dot_is_sent() {
    let mut talk = in_data(b"x\r\n");
    talk.said();
    talk.hold = true;
    talk.feed(b"354 go\r\n");
    talk.answer_one(0);
    talk.run();
    assert_eq!(talk.said(), "x\r\n");
    talk.answer_one(0);
    let steps: Vec<_> = std::iter::from_fn(|| talk.session.poll()).collect();
    assert_eq!(
        steps,
        [
            Step::Event(Event::Ending { bytes: 3 }),
            Step::Send(b".\r\n"[..].into())
        ]
    );
}

#[test]
fn commands_are_told_with_their_replies_where_that_is_asked_for_and_nothing_secret_is_among_them() {
    let mut wanted = config();
    (wanted.transcribes, wanted.mechanisms) = (true, vec!["PLAIN"]);
    let message = message(
        &["b@s.example", "d@s.example"],
        b"Subject: hidden\r\n\r\nx\r\n",
    );
    let mut talk = client(wanted, vec![message]);
    talk.feed(b"220 hello\r\n250-s.example\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n");
    talk.feed(b"235 2.7.0 ok\r\n");
    talk.feed(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 nobody\r\n354 go on\r\n");
    talk.eof();
    let events = talk.world.events.iter();
    let told = events.filter_map(|event| match event {
        Event::Exchanged { command, reply } => {
            let code = reply.as_ref().map(|reply| reply.code);
            Some((command.as_str(), code))
        }
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("", Some(220)),
            ("EHLO c.example", Some(250)),
            ("AUTH PLAIN", Some(235)),
            ("MAIL FROM:<a@c.example>", Some(250)),
            ("RCPT TO:<b@s.example>", Some(250)),
            ("RCPT TO:<d@s.example>", Some(550)),
            ("DATA", Some(354)),
            ("(22 octets of a message, and its end)", None),
        ]
    );
}
