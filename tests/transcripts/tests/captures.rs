//! What a tape holds becomes a file that plays again; files that are damaged are refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    missing_docs,
    reason = "tests"
)]

use bytes::{Bytes, BytesMut};
use mox_address::{Domain, Reply};
use mox_imap::Server as ImapServer;
use mox_imap::server::{Answer as Told, Ask as Asked, BoxId, Changes, Row, Selected, SystemFlags};
use mox_machine::{
    AskId, Mono, Now, Recordable, Recorded, Seed, Session, Step, Tape, TapeRoom, TlsFacts, Utc,
};
use mox_smtp::server::{Answer, Ask, Config, Server};
use mox_transcripts::{About, Capture, Redact, imap, redact, replay, smtp};
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
        about: "a test".into(),
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
    let mut config = Config::new(Domain::parse("mx.example", false).unwrap());
    config.mechanisms = vec!["PLAIN"];
    config.starttls = true;
    let mut talk = Talk::new(Server::new(config.clone(), start()), start());
    talk.say("EHLO a.example\r\n");
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
    let tape = talk.session.take_tape().unwrap();
    Capture::of_tape(&tape, about(config), Seed::from_number(1))
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
                keywords: vec!["$Junk".into()],
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
            Asked::Commit => Told::Appended {
                validity: 7,
                uid: Uid(4),
            },
            _ => return None,
        })
    };
    for line in [
        "z NOOP\r\nlogin ann hunter2\r\naHVudGVyMi==\r\naHVudGVyMi+=\r\n",
        "a LOGIN ann@mx.example hunter2!\r\n",
        "b SELECT INBOX\r\n",
        "c UID FETCH 1:3 (BODY.PEEK[])\r\nd SEARCH TEXT \"secret plan\"\r\n",
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
    Capture::of_tape(&tape, about(config), Seed::from_number(1))
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
    for word in private {
        assert!(!redacted.contains(word), "{word} in\n{redacted}");
    }
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
    holds(&smtp_capture(), &["ann@", "bob@", "secret plan"]);
}

#[test]
fn an_imap_session_plays_again_also_when_redacted_or_cut_short() {
    holds(&imap_capture(), &["ann@", "secret plan", "A secret"]);
}

#[test]
fn a_machine_that_answers_otherwise_does_not_replay() {
    let text = smtp_capture().to_text();
    for (was, is, why) in [
        ("S: 354 ", "S: 355 ", "expected `S: 355 "),
        ("= reset", "= rest", "expected `= rest`, got `= reset`"),
        ("? commit ", "? commit 1", "expected `? commit 1"),
        ("C: RSET", "C: NOOP", ""),
        (
            "max_size:104857600",
            "max_size:10",
            "expected `S: 250-SIZE 104857600`, got `S: 250-SIZE 10`",
        ),
        ("@ tick\n", "", "got `nothing`"),
    ] {
        let other = text.replacen(was, is, 1);
        if other == text {
            assert!(why.is_empty(), "no {was} in\n{text}");
            continue;
        }
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
