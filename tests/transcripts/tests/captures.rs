//! What a tape holds becomes a file that plays again; files that are damaged are refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    missing_docs,
    reason = "tests"
)]

use bytes::{Bytes, BytesMut};
use mox_address::{Domain, Host, Path, Reply};
use mox_imap::Server as ImapServer;
use mox_imap::server::{Answer as Told, Ask as Asked, BoxId, Changes, Row, Selected, SystemFlags};
use mox_machine::{
    AskId, Mono, Now, Recordable, Recorded, Secret, Seed, Session, Step, Tape, TapeRoom, TlsFacts,
    Utc,
};
use mox_smtp::client::{self, Client};
use mox_smtp::server::{Answer, Ask, Config, Mode, Server};
use mox_transcripts::{About, Capture, Redact, Transcript, imap, redact, replay, smtp};
use mox_uids::{Uid, UidSet};
use std::collections::VecDeque;
use std::time::Duration;

const KEY: [u8; 32] = [3; 32];

/// A recorded session and a world that answers as it is told, as late as it is told.
struct Talk<S: Recordable> {
    session: Recorded<S>,
    now: Now,
    input: BytesMut,
    asked: VecDeque<(AskId, S::Ask)>,
    sent: Vec<u8>,
}

impl<S: Recordable> Talk<S> {
    fn new(session: S, now: Now) -> Self {
        let tape = Tape::new(now, 1 << 20, TapeRoom::new(1 << 20));
        let mut talk = Self {
            session: Recorded::new(session, Some(tape)),
            now,
            input: BytesMut::new(),
            asked: VecDeque::new(),
            sent: Vec::new(),
        };
        talk.poll();
        talk
    }

    fn poll(&mut self) {
        while let Some(step) = self.session.poll() {
            match step {
                Step::Ask(id, ask) => self.asked.push_back((id, ask)),
                Step::Send(octets) => self.sent.extend_from_slice(&octets),
                Step::Cancel(id) => self.asked.retain(|(asked, _)| *asked != id),
                _ => {}
            }
        }
    }

    /// Octets come; nothing is answered yet.
    fn say(&mut self, text: impl AsRef<[u8]>) {
        self.now.mono = self.now.mono + Duration::from_micros(1_500);
        self.input.extend_from_slice(text.as_ref());
        self.read();
    }

    /// Until nothing is taken any more.
    fn read(&mut self) {
        loop {
            let before = self.input.len();
            if self.session.wants_read() && before > 0 {
                self.session.recv(self.now, &mut self.input);
            }
            self.poll();
            if self.input.len() == before {
                return;
            }
        }
    }

    /// Answers what is asked, and what is asked then.
    fn answer(&mut self, answer: impl Fn(&S::Ask) -> Option<S::Answer>) {
        self.answer_with(answer);
    }

    fn answer_with(&mut self, mut answer: impl FnMut(&S::Ask) -> Option<S::Answer>) {
        let mut open = VecDeque::new();
        while let Some((id, ask)) = self.asked.pop_front() {
            match answer(&ask) {
                Some(told) => {
                    self.session.answer(self.now, id, told);
                    self.poll();
                    self.read();
                }
                None => open.push_back((id, ask)),
            }
        }
        self.asked = open;
    }
}

fn start() -> Now {
    Now {
        mono: Mono(77_000_000_123),
        utc: Utc::from_secs(1_767_323_045),
    }
}

fn about(config: String) -> About {
    About {
        about: "incoming of ann@mx.example".into(),
        peer: "192.0.2.77:4711".into(),
        privacy: "plain".into(),
        config,
    }
}

fn world(ask: &Ask) -> Option<Answer> {
    Some(match ask {
        Ask::Recipient { to, .. } if to.to_string().starts_with("nobody") => {
            Answer::Reply(Reply::new(550, 1, 1, "nobody@mx.example is not here"))
        }
        Ask::Sasl { response: None, .. } => Answer::Challenge(Bytes::new()),
        Ask::Sasl { .. } => Answer::Authenticated("ann@mx.example".into()),
        Ask::Commit { .. } => Answer::Stored { id: "7".into() },
        _ => Answer::Accept,
    })
}

fn smtp_capture() -> Capture<Server> {
    let (tape, config) = smtp_tape();
    Capture::of_tape(&tape, about(config), Seed::from_number(1), usize::MAX)
}

fn smtp_tape() -> (Tape<Server>, String) {
    let mut config = Config::new(Domain::parse("mx.example", false).unwrap());
    config.mechanisms = vec!["PLAIN"];
    config.starttls = true;
    let mut talk = Talk::new(Server::new(config.clone(), start()), start());
    talk.say("EHLO a.example\r\n");
    talk.answer(world);
    talk.say("VRFY ann\r\nEXPN ann\r\nNOOP ann\r\nHELP ann\r\nMAIL FROM:ann@mx.example\r\n");
    talk.say("MAIL FROM:<ann@mx.example> BODY=ann\r\nMAIL FROM:<ann@mx.example>\r\nDATA ann\r\n");
    talk.answer(world);
    talk.say("RCPT TO:<bob@[IPv6:2001:db8::1]> ORCPT=rfc822;ann+40x.example\r\nRSET\r\n");
    talk.answer(world);
    talk.say("STARTTLS\r\n");
    talk.session.secured(talk.now, TlsFacts::default());
    talk.say("EHLO a.example\r\n");
    talk.answer(world);
    talk.say("AUTH PLAIN\r\n");
    talk.answer(world);
    talk.say("AGFubgBodW50ZXIyIQ==\r\n");
    talk.answer(world);
    talk.say("MAIL FROM:<ann@mx.example>\r\nRCPT TO:<bob@mx.example>\r\nRC");
    talk.say("PT TO:<nobody@mx.example>\r\nDATA\r\n");
    talk.answer(world);
    // The world is slow: pieces stay open while more comes.
    for _ in 0..5 {
        talk.say("A secret plan, with <secret> in it.\r\n..x\r\n".repeat(300));
    }
    talk.answer(world);
    talk.say("end\r\n.\r\n");
    talk.answer(world);
    // A message that is refused in the middle.
    talk.say("MAIL FROM:<ann@mx.example>\r\n");
    talk.answer(world);
    talk.say("RCPT TO:<bob@mx.example>\r\n");
    talk.answer(world);
    talk.say("DATA\r\n");
    talk.answer(world);
    talk.say("Another secret plan.\r\n".repeat(1_000));
    talk.answer(|ask| match ask {
        Ask::Body(_) => Some(Answer::Reply(Reply::new(452, 3, 1, "no room"))),
        other => world(other),
    });
    talk.say("more\r\n.\r\n");
    talk.answer(world);
    // Then it says nothing any more.
    talk.now.mono = talk.session.deadline().unwrap().0 + Duration::from_nanos(7);
    talk.session.tick(talk.now);
    talk.poll();
    let said = String::from_utf8(talk.sent).unwrap();
    for reply in [
        "235 ",
        "550 5.1.1",
        "250 2.0.0 7",
        "452 4.3.1 no room",
        "421 ",
    ] {
        assert!(said.contains(reply), "{reply} in {said}");
    }
    let config = ron::to_string(&smtp::server::Settings::of(&config)).unwrap();
    (talk.session.take_tape().unwrap(), config)
}

/// Two messages for several recipients each, with a reply for each of them.
fn lmtp_capture() -> Capture<Server> {
    let mut config = Config::new(Domain::parse("mx.example", false).unwrap());
    config.mode = Mode::Lmtp;
    let mut talk = Talk::new(Server::new(config.clone(), start()), start());
    let world = |ask: &Ask| match ask {
        Ask::Commit { .. } => Some(Answer::Each(vec![
            Reply::new(250, 0, 0, "stored"),
            Reply::new(452, 2, 2, "bob@mx.example has no room"),
        ])),
        other => world(other),
    };
    for line in [
        "LHLO a.example\r\n",
        "MAIL FROM:<ann@mx.example>\r\nRCPT TO:<ann@mx.example>\r\nRCPT TO:<nobody@mx.example>\r\n",
        "RCPT TO:<bob@mx.example>\r\nDATA\r\n",
        "A secret plan.\r\n.\r\n",
        "MAIL FROM:<ann@mx.example>\r\nRCPT TO:<ann@mx.example>\r\nRCPT TO:<bob@mx.example>\r\nDATA\r\n",
        "Another secret plan.\r\n.\r\nQUIT\r\n",
    ] {
        talk.say(line);
        talk.answer(world);
    }
    let said = String::from_utf8(talk.sent).unwrap();
    assert_eq!(said.matches("452 4.2.2 ").count(), 2, "{said}");
    assert!(said.contains("221 "), "{said}");
    let config = ron::to_string(&smtp::server::Settings::of(&config)).unwrap();
    let tape = talk.session.take_tape().unwrap();
    Capture::of_tape(&tape, about(config), Seed::from_number(1), usize::MAX)
}

/// Mail to a server that talks about people.
fn client_capture() -> Capture<Client> {
    let mut config = client::Config::new(Host::parse("mx.example", false).unwrap());
    config.mechanisms = vec!["PLAIN"];
    let mut talk = Talk::new(Client::new(config.clone(), start()), start());
    let message = b"A secret plan.\r\n";
    let mut sent = false;
    let path = |text: &str| Path::parse(text, false).unwrap();
    let mut world = move |ask: &client::Ask| {
        Some(match ask {
            client::Ask::Next(_) if sent => client::Answer::Quit,
            client::Ask::Next(_) => {
                sent = true;
                client::Answer::Send(client::Transaction {
                    from: Some(path("ann@mx.example")),
                    to: vec![path("bob@b.example"), path("carl@b.example")],
                    size: message.len() as u64,
                    eight_bit: false,
                    utf8: false,
                    ..client::Transaction::default()
                })
            }
            client::Ask::Sasl { challenge, .. } => {
                let response = challenge.as_ref().map_or(&b"\0ann\0hunter2"[..], |_| b"");
                client::Answer::Response(Some(Secret::new(Bytes::from_static(response))))
            }
            client::Ask::Piece { offset, .. } => client::Answer::Piece(Bytes::copy_from_slice(
                message.get(*offset as usize..).unwrap_or_default(),
            )),
        })
    };
    for reply in [
        "220 b.example welcomes carl\r\n",
        "250-b.example greets carl\r\n250-SIZE 5000\r\n250-AUTH PLAIN\r\n250 PIPELINING\r\n",
        "235 2.7.0 carl is in\r\n",
        "250 2.1.0 carl may send\r\n250 2.1.5 carl\r\n",
        "550-5.1.1 carl does not\r\n550 5.1.1 live here <carl@b.example>\r\n354 go, carl\r\n",
        "250 2.0.0 for carl\r\n",
        "221 2.0.0 bye carl\r\n",
    ] {
        talk.say(reply);
        talk.answer_with(&mut world);
    }
    let said = String::from_utf8(talk.sent).unwrap();
    assert!(said.ends_with("A secret plan.\r\n.\r\nQUIT\r\n"), "{said}");
    let config = ron::to_string(&smtp::client::Settings::of(&config)).unwrap();
    let tape = talk.session.take_tape().unwrap();
    Capture::of_tape(&tape, about(config), Seed::from_number(1), usize::MAX)
}

fn imap_capture() -> Capture<ImapServer> {
    let config = mox_imap::server::Config {
        clear_auth: true,
        ..Default::default()
    };
    let mut talk = Talk::new(
        ImapServer::new(config.clone(), Seed::from_number(1)),
        start(),
    );
    talk.session.tick(talk.now);
    let row = |uid| Row {
        uid: Uid(uid),
        modseq: 5,
        size: 40,
        flags: SystemFlags(0),
        keywords: 0,
        date: None,
        envelope: None,
        structure: None,
        header: None,
        more: None,
    };
    let world = |ask: &Asked| {
        Some(match ask {
            Asked::Login { .. } => Told::Authenticated("ann@mx.example".into()),
            Asked::Select { .. } => Told::Selected(Selected {
                mailbox: BoxId(1),
                validity: 7,
                next: 4,
                modseq: 5,
                first_unseen: Some(Uid(1)),
                uids: UidSet::from_runs([1..=3]).into(),
                recent: UidSet::new(),
                keywords: vec!["$Junk".into(), "plot".into()],
                writable: true,
            }),
            Asked::Rows { .. } => Told::Rows {
                rows: vec![row(1), row(3)],
                next: None,
            },
            Asked::Body { .. } => Told::Piece {
                total: 13,
                bytes: Bytes::from_static(b"A secret\r\n.\r\n"),
            },
            Asked::Search { .. } => Told::Found {
                uids: UidSet::from_runs([2..=2]),
                modseq: None,
            },
            Asked::Changes { since, .. } => Told::Changes(Changes {
                upto: *since,
                next: 4,
                ..Changes::default()
            }),
            Asked::Append { .. } | Asked::Piece(_) => Told::Accept,
            Asked::Commit { .. } => Told::Appended {
                validity: 7,
                uids: UidSet::from_runs([4..=4]),
            },
            Asked::Mark { .. } => Told::Marked {
                rows: vec![Row {
                    keywords: 2,
                    modseq: 6,
                    ..row(1)
                }],
                others: UidSet::new(),
                modified: UidSet::new(),
                changed: vec![(6, UidSet::from_runs([1..=1]))],
            },
            _ => return None,
        })
    };
    for line in [
        "z NOOP\r\nlogin ann hunter2\r\naHVudGVyMi==\r\naHVudGVyMi+=\r\n",
        "a LOGIN ann@mx.example hunter2!\r\n",
        "b SELECT INBOX\r\n",
        "c UID FETCH 1:3 (BODY.PEEK[])\r\nd SEARCH TEXT \"secret plan\"\r\n",
        "c SEARCH plot\r\nd FETCH 1 plot\r\nd STORE 1 +FLAGS (plot)\r\nd ID (\"name\" \"plot\")\r\n",
        "e APPEND INBOX {30}\r\n",
        "Subject: secret\r\n\r\nplan plan\r\n\r\n",
        "f LOGOUT\r\n",
    ] {
        talk.say(line);
        talk.answer(world);
    }
    let said = String::from_utf8(talk.sent).unwrap();
    assert!(said.contains("f OK LOGOUT completed\r\n"), "{said}");
    let config = ron::to_string(&imap::Settings::of(&config)).unwrap();
    let tape = talk.session.take_tape().unwrap();
    Capture::of_tape(&tape, about(config), Seed::from_number(1), usize::MAX)
}

#[track_caller]
fn holds<S: Redact>(capture: &Capture<S>, private: &[&str]) {
    let text = capture.to_text();
    replay(&text, true).unwrap_or_else(|why| panic!("{why}\n{text}"));
    for secret in ["hunter2", "aHVudGVyMi", "h1bnRlcj", "odW50ZXIy"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    for word in private {
        assert!(text.contains(word), "{word} in\n{text}");
    }
    let redacted = redact(&text, KEY).unwrap();
    replay(&redacted, true).unwrap_or_else(|why| panic!("{why}\n{redacted}"));
    for word in private.iter().chain(&["192.0.2.77", "ann@mx"]) {
        assert!(!redacted.contains(word), "{word} in\n{redacted}");
    }
    assert!(redacted.contains("about: incoming\n"), "{redacted}");
    assert!(!redacted.contains("# redaction changed"), "{redacted}");
    // It is redacted already.
    assert!(replay(&redact(&redacted, KEY).unwrap(), false).is_ok());
    // Any beginning of it plays up to its end, and says so.
    for max in (0..text.len()).step_by(text.len() / 50) {
        let part = capture.to_text_within(max);
        replay(&part, false).unwrap_or_else(|why| panic!("{why}\n{part}"));
        assert!(part.contains("\ntruncated: "));
    }
}

#[test]
fn an_smtp_session_plays_again_also_when_redacted_or_cut_short() {
    holds(&smtp_capture(), &["ann", "bob", "secret plan"]);
}

#[test]
fn an_lmtp_session_plays_again_also_when_redacted_or_cut_short() {
    holds(&lmtp_capture(), &["ann@", "bob@", "nobody", "secret plan"]);
}

#[test]
fn a_session_with_another_server_plays_again_also_when_redacted_or_cut_short() {
    holds(&client_capture(), &["ann@", "bob@", "carl", "secret plan"]);
}

#[test]
fn a_recording_is_made_up_to_its_limit_and_no_further() {
    let (tape, config) = smtp_tape();
    let header = about(config.clone());
    let beginning = |max| Capture::of_tape(&tape, header.clone(), Seed::from_number(1), max);
    let empty = beginning(0).to_text().len();
    for max in [500, 5_000, 50_000] {
        let text = beginning(max).to_text();
        assert!(text.contains("\ntruncated: "), "{text}");
        // Nothing of this session is larger than what came at once.
        assert!(text.len() < empty + max + 20_000, "{} of {max}", text.len());
        replay(&text, false).unwrap_or_else(|why| panic!("{why}\n{text}"));
    }
}

#[test]
fn sets_of_messages_are_written_as_imap_writes_them() {
    let text = imap_capture().to_text();
    let rows = text
        .lines()
        .find(|line| line.starts_with("? Rows"))
        .unwrap();
    assert!(rows.contains(" uids: 1:3, "), "{rows}");
}

#[test]
fn an_imap_session_plays_again_also_when_redacted_or_cut_short() {
    holds(
        &imap_capture(),
        &["ann@", "secret plan", "A secret", "plot"],
    );
}

#[test]
fn what_cannot_be_redacted_ends_before_the_command_where_it_fails() {
    let text = imap_capture().to_text();
    let at = text.find("C: e APPEND").unwrap();
    // An answer to what nobody asks behind it.
    let end = at + text[at..].find('\n').unwrap() + 1;
    let (before, behind) = text.split_at(end);
    let broken = format!("{before}? Compress\n! Accept\n{behind}");
    let parsed = || Capture::<ImapServer>::parse(&Transcript::parse(&broken).unwrap()).unwrap();
    assert!(parsed().redact(KEY).is_err());
    let mut capture = parsed();
    assert!(!capture.redact_to_where_it_fails(KEY));
    let cut = capture.to_text();
    assert!(cut.contains("\ntruncated: "), "{cut}");
    assert!(
        cut.ends_with("\n# what followed could not be redacted\n"),
        "{cut}"
    );
    assert!(cut.contains("\nS: d OK ID completed\n"), "{cut}");
    for gone in [
        "e APPEND",
        "hunter2",
        "ann@",
        "plot",
        "secret plan",
        "Compress\n",
        "# a message",
    ] {
        assert!(!cut.contains(gone), "{gone} in\n{cut}");
    }
    replay(&cut, true).unwrap_or_else(|why| panic!("{why}\n{cut}"));
    // Nothing fails: it is as ever.
    let mut whole = imap_capture();
    assert!(whole.redact_to_where_it_fails(KEY));
    assert_eq!(whole.to_text(), redact(&text, KEY).unwrap());
}

#[test]
fn a_machine_that_answers_otherwise_does_not_replay() {
    let text = smtp_capture().to_text();
    for (was, is, why) in [
        ("S: 354 ", "S: 355 ", "expected `S: 355 "),
        ("= reset", "= rest", "expected `= rest`, got `= reset`"),
        ("? commit ", "? commit 1", "expected `? commit 1"),
        ("C: RSET", "C: NOOP", "expected `= reset`"),
        (
            "max_size:104857600",
            "max_size:10",
            "expected `S: 250-SIZE 104857600`, got `S: 250-SIZE 10`",
        ),
        ("@ tick\n", "", "got `nothing`"),
    ] {
        let other = text.replacen(was, is, 1);
        assert_ne!(other, text, "no {was}");
        let failure = replay(&other, false).unwrap_err();
        assert!(failure.contains(why), "{failure}");
    }
}

#[test]
fn damaged_files_are_refused_and_never_a_panic() {
    for text in [smtp_capture().to_text(), imap_capture().to_text()] {
        let places = (0..text.len())
            .step_by(7)
            .filter(|at| text.is_char_boundary(*at));
        for at in places.take(2_000) {
            let _ = replay(&text[..at], false);
            let _ = redact(&text[..at], KEY);
        }
        // Lines in another order.
        let mut lines: Vec<&str> = text.lines().collect();
        let last = lines.len() - 1;
        for at in (10..last).step_by(11) {
            lines.swap(at, last - at % 7);
            let _ = replay(&lines.join("\n"), false);
            let _ = redact(&lines.join("\n"), KEY);
        }
    }
}
