//! Every file of `vectors/` for our servers, recorded while it is played: the recording plays again, and so does what is
//! left of it without what is private, with replies of the same kinds.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use mox_imap::Server as Imap;
use mox_machine::{Recordable, Seed, Tape, TapeRoom};
use mox_smtp::server::Server as Smtp;
use mox_transcripts::world::{self, ImapServer, SmtpServer};
use mox_transcripts::{
    About, Capture, Fact, Machine, Redact, Spelled, Transcript, imap, redact, replay, run, smtp,
};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

const KEY: [u8; 32] = [5; 32];
/// What a session of `vectors/` fits into.
const ROOM: usize = 64 << 20;

/// Where a machine leaves its tape.
type Left<S> = Rc<RefCell<Option<Tape<S>>>>;

/// A machine whose tape outlives it.
struct Taped<M: Taking> {
    machine: M,
    left: Left<M::Session>,
}

trait Taking: Machine {
    type Session: Recordable;
    fn take_tape(&mut self) -> Option<Tape<Self::Session>>;
}

impl Taking for ImapServer {
    type Session = Imap;
    fn take_tape(&mut self) -> Option<Tape<Imap>> {
        Self::take_tape(self)
    }
}

impl Taking for SmtpServer {
    type Session = Smtp;
    fn take_tape(&mut self) -> Option<Tape<Smtp>> {
        Self::take_tape(self)
    }
}

impl<M: Taking> Machine for Taped<M> {
    fn side(&self) -> char {
        self.machine.side()
    }
    fn feed(&mut self, bytes: &[u8]) {
        self.machine.feed(bytes);
    }
    fn transport(&mut self, what: &str) -> bool {
        self.machine.transport(what)
    }
    fn wait(&mut self, time: Duration) {
        self.machine.wait(time);
    }
    fn answer(&mut self, place: usize, answer: &str) -> bool {
        self.machine.answer(place, answer)
    }
    fn take(&mut self) -> Vec<Fact> {
        self.machine.take()
    }
}

impl<M: Taking> Drop for Taped<M> {
    fn drop(&mut self) {
        *self.left.borrow_mut() = self.machine.take_tape();
    }
}

/// The kinds of the replies in a file, in order.
fn kinds(text: &str) -> Vec<String> {
    let said = text.lines().filter_map(|line| {
        line.strip_prefix("S: ")
            .or_else(|| line.strip_prefix("S| "))
    });
    said.filter_map(|line| {
        let (first, rest) = line.split_once([' ', '-'])?;
        if first.len() == 3 && first.bytes().all(|b| b.is_ascii_digit()) {
            return Some(first.to_owned());
        }
        let word = rest.split(' ').next()?;
        ["OK", "NO", "BAD"]
            .contains(&word)
            .then(|| format!("{first} {word}"))
    })
    .collect()
}

fn session<S: Redact>(
    transcript: &Transcript,
    config: String,
    play: impl FnOnce(&Transcript, Tape<S>) -> Result<Tape<S>, String>,
) -> Result<(), String> {
    let mut whole = transcript.clone();
    whole.header.retain(|(name, _)| name != "modes");
    whole.header.push(("modes".into(), "whole".into()));
    let tape = Tape::new(world::START, ROOM, TapeRoom::new(ROOM));
    let tape = play(&whole, tape)?;
    if tape.is_truncated() {
        return Err("the recording is not whole".into());
    }
    let about = About {
        about: "vectors".into(),
        privacy: "plain".into(),
        config,
        ..About::default()
    };
    let capture = Capture::of_tape(&tape, about, Seed::from_number(1), usize::MAX);
    let plain = capture.to_text();
    let cuts = transcript.get("modes").is_none();
    replay(&plain, cuts).map_err(|why| format!("recorded: {why}\n{plain}"))?;
    let redacted = redact(&plain, KEY).map_err(|why| format!("not redacted: {why}\n{plain}"))?;
    replay(&redacted, cuts).map_err(|why| format!("redacted: {why}\n{redacted}"))?;
    if kinds(&plain) != kinds(&redacted) {
        return Err(format!("other replies\n{plain}\n{redacted}"));
    }
    Ok(())
}

fn all(machine: &str, one: impl Fn(&Transcript) -> Result<(), String>) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")).join(machine);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "session"))
        .collect();
    files.sort();
    assert!(files.len() > 40, "{machine} has {} files", files.len());
    let mut failures = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        if let Err(why) = one(&Transcript::parse(&text).unwrap()) {
            failures.push(format!("{}: {why}", file.display()));
        }
    }
    let count = failures.len();
    assert!(failures.is_empty(), "\n{}\n{count}", failures.join("\n"));
}

#[test]
fn the_imap_servers_transcripts_are_recorded_replayed_and_redacted() {
    all("imap-server", |transcript| {
        let config = ron::to_string(&imap::Settings::of(&world::config(transcript)?)).unwrap();
        session::<Imap>(transcript, config, |whole, tape| {
            let left = Left::default();
            let tape = RefCell::new(Some(tape));
            run(whole, |transcript| {
                let machine = ImapServer::recorded(transcript, tape.take())?;
                let left = left.clone();
                Ok(Taped { machine, left })
            })?;
            left.take().ok_or_else(|| "no tape".into())
        })
    });
}

#[test]
fn the_smtp_servers_transcripts_are_recorded_replayed_and_redacted() {
    all("smtp-server", |transcript| {
        let given = transcript.get("config").unwrap_or("()");
        let given: smtp::server::Settings = ron::from_str(given).map_err(|e| e.to_string())?;
        let given = smtp::server::Settings::of(&given.config()?);
        let config = ron::to_string(&given).unwrap();
        session::<Smtp>(transcript, config, |whole, tape| {
            let left = Left::default();
            let tape = RefCell::new(Some(tape));
            run(whole, |transcript| {
                let machine = SmtpServer::recorded(transcript, tape.take())?;
                let left = left.clone();
                Ok(Taped { machine, left })
            })?;
            left.take().ok_or_else(|| "no tape".into())
        })
    });
}

#[test]
fn the_machines_are_called_as_in_their_files() {
    assert_eq!((Imap::NAME, Smtp::NAME), ("imap-server", "smtp-server"));
}
