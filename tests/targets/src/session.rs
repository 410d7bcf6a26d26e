//! The session contract R1 to R9 under any sequence of calls.
//!
//! A sequence is run twice. Once plainly: input whole, everything polled at once, every ask answered at once. Once as
//! badly as the contract allows: input cut anywhere, polled or not, answers late, and answers that nobody asked for in
//! between. What was sent, asked and told must be the same (R4, R5).

use bytes::BytesMut;
use core::time::Duration;
use mox_machine::{AskId, Mono, Now, Session, Step, TlsFacts, Utc};
use std::collections::VecDeque;

use crate::source::{Source, cut};

/// What a session is made of, and the world it asks. All of it depends on `choices` only.
pub trait Case {
    type Session: Session;

    fn session(&self, now: Now) -> Self::Session;
    /// What peers say.
    fn words(&self) -> &'static [&'static [u8]];
    /// The answer, which depends on the ask alone; `None` leaves it open for good.
    fn answer(
        &self,
        ask: &<Self::Session as Session>::Ask,
    ) -> Option<<Self::Session as Session>::Answer>;
    /// An answer that nobody asked for.
    fn stray(&self) -> <Self::Session as Session>::Answer;
    /// Octets of a message or literal in an ask: how they are cut is nobody's business.
    fn body(ask: &<Self::Session as Session>::Ask) -> Option<&[u8]>;
    /// The bytes that follow a request for TLS are judged by when they come: then only the other rules hold.
    fn is_cut_blind(&self) -> bool;
}

/// What nobody may read in anything a session shows. It is said in AUTH and LOGIN only.
pub const SECRETS: [&str; 3] = ["hunter2", "AHUAaHVudGVyMg==", "aHVudGVyMg=="];
/// Octets that a session may leave untaken while it wants more.
const UNTAKEN: usize = 1024 * 1024;

#[derive(Debug)]
enum Op {
    Say(Vec<u8>),
    Pass(Duration),
    Eof,
    Drain,
    Secured,
}

fn ops(source: &mut Source<'_>, words: &[&[u8]]) -> Vec<Op> {
    let mut ops = Vec::new();
    while !source.is_empty() && ops.len() < 64 {
        ops.push(match source.octet() {
            0..=219 => Op::Say(source.text(words)),
            220..=239 => Op::Pass(Duration::from_secs(
                u64::from(source.octet()) * source.pick(&[1, 10, 60]),
            )),
            240..=244 => Op::Eof,
            245..=249 => Op::Drain,
            _ => Op::Secured,
        });
    }
    ops
}

/// Runs a case both ways.
pub fn check<C: Case>(case: &C, source: &mut Source<'_>) {
    let ops = ops(source, case.words());
    let plain = Run::new(case, None).all(&ops);
    let bad = Run::new(case, Some(source)).all(&ops);
    if case.is_cut_blind() {
        assert_eq!(
            bad.sent.escape_ascii().to_string(),
            plain.sent.escape_ascii().to_string(),
            "R4: {ops:?}"
        );
        assert_eq!(bad.asked, plain.asked, "R4: {ops:?}");
        assert_eq!(bad.told, plain.told, "R4: {ops:?}");
    }
}

/// All that came out, each kind in its order.
#[derive(Debug, Default)]
struct Out {
    sent: Vec<u8>,
    asked: Vec<String>,
    told: Vec<String>,
}

struct Run<'c, 's, 'd, C: Case> {
    case: &'c C,
    session: C::Session,
    /// Chooses how bad it is; `None` is plain.
    choices: Option<&'s mut Source<'d>>,
    now: Now,
    input: BytesMut,
    answers: VecDeque<(AskId, Option<<C::Session as Session>::Answer>)>,
    used: Vec<AskId>,
    last: AskId,
    body: Vec<u8>,
    upgrading: bool,
    closed: bool,
    out: Out,
}

impl<'c, 's, 'd, C: Case> Run<'c, 's, 'd, C> {
    fn new(case: &'c C, choices: Option<&'s mut Source<'d>>) -> Self {
        let now = Now {
            mono: Mono(1_000_000_000),
            utc: Utc::from_secs(1_767_323_045),
        };
        Self {
            case,
            session: case.session(now),
            choices,
            now,
            input: BytesMut::new(),
            answers: VecDeque::new(),
            used: Vec::new(),
            last: AskId(0),
            body: Vec::new(),
            upgrading: false,
            closed: false,
            out: Out::default(),
        }
    }

    fn all(mut self, ops: &[Op]) -> Out {
        self.settle();
        for op in ops {
            match op {
                Op::Say(bytes) if !self.closed && !self.upgrading => self.say(bytes),
                Op::Say(_) => {}
                Op::Pass(time) => self.pass(*time),
                Op::Eof => self.session.eof(self.now),
                Op::Drain => self.session.drain(self.now),
                Op::Secured => {
                    if std::mem::take(&mut self.upgrading) {
                        self.session.secured(self.now, TlsFacts::default());
                    }
                }
            }
            self.settle();
        }
        self.flush_body();
        assert!(self.session.poll().is_none(), "R2");
        self.out
    }

    fn say(&mut self, bytes: &[u8]) {
        let Some(choices) = self.choices.as_deref_mut() else {
            self.input.extend_from_slice(bytes);
            return self.take();
        };
        let pieces: Vec<Vec<u8>> = cut(bytes, choices)
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();
        for piece in pieces {
            self.input.extend_from_slice(&piece);
            self.take();
            match self.choice(8) {
                // Neither polled nor answered: R1.
                0 | 1 => {}
                2 => self.poll(1),
                3 => self.intrude(),
                4 => self.answer_one(),
                _ => self.settle(),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        // Deadlines fire on the way, as a driver does it.
        for _ in 0..100 {
            let next = self
                .session
                .deadline()
                .map(|(at, _)| at)
                .filter(|at| *at <= until);
            let at = next.unwrap_or(until).max(self.now.mono);
            self.now.utc = self.now.utc + at.since(self.now.mono);
            self.now.mono = at;
            self.session.tick(self.now);
            if let Some((at, why)) = self.session.deadline() {
                assert!(at > self.now.mono, "R3: {why}");
            }
            self.settle();
            if next.is_none() {
                return;
            }
        }
    }

    fn take(&mut self) {
        if self.upgrading || self.closed {
            return;
        }
        let (wanted, before) = (self.session.wants_read(), self.input.len());
        self.session.recv(self.now, &mut self.input);
        assert!(
            wanted || self.input.len() == before,
            "R10: it took what it did not want"
        );
        assert!(
            !self.session.wants_read() || self.input.len() < UNTAKEN,
            "R6"
        );
    }

    /// Until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..1_000_000 {
            let before = (self.input.len(), self.last, self.answers.len());
            self.take();
            self.poll(usize::MAX);
            self.intrude();
            while self.answers.iter().any(|(_, answer)| answer.is_some()) {
                self.answer_one();
                if self.choice(2) == 0 {
                    self.poll(usize::MAX);
                }
            }
            self.poll(usize::MAX);
            if (self.input.len(), self.last, self.answers.len()) == before {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn answer_one(&mut self) {
        // In their order: the world of these cases has no other.
        let place = self.answers.iter().position(|(_, answer)| answer.is_some());
        if let Some((id, Some(answer))) = place.and_then(|place| self.answers.remove(place)) {
            self.session.answer(self.now, id, answer);
            self.used.push(id);
        }
    }

    /// Answers that nobody wants: to what was answered already and to what was never asked (R5).
    fn intrude(&mut self) {
        if self.choices.is_none() || self.choice(4) != 0 {
            return;
        }
        let asks = [
            self.used.last().copied(),
            self.used.first().copied(),
            Some(AskId(u64::MAX)),
            Some(AskId(0)),
        ];
        for id in asks.into_iter().flatten() {
            self.session.answer(self.now, id, self.case.stray());
        }
    }

    fn choice(&mut self, of: usize) -> usize {
        self.choices
            .as_deref_mut()
            .map_or(usize::MAX, |choices| choices.below(of))
    }

    fn poll(&mut self, most: usize) {
        for _ in 0..most {
            let Some(step) = self.session.poll() else {
                assert!(self.session.poll().is_none(), "R2");
                return;
            };
            let shown = format!("{step:?}");
            // A message may say anything: it is no secret of the session, whatever stands in it.
            let is_body = matches!(&step, Step::Ask(_, ask) if C::body(ask).is_some());
            if !is_body && !matches!(step, Step::Send(_)) {
                let secret = SECRETS.iter().find(|secret| shown.contains(**secret));
                assert_eq!(secret, None, "R9: {shown}");
            }
            match step {
                Step::Send(bytes) => {
                    assert!(!self.closed, "sent after the close: {shown}");
                    self.out.sent.extend_from_slice(&bytes);
                }
                Step::Ask(id, ask) => {
                    assert!(id > self.last, "R5: ids go up");
                    self.last = id;
                    match C::body(&ask) {
                        Some(body) => self.body.extend_from_slice(body),
                        None => {
                            self.flush_body();
                            self.out.asked.push(format!("{ask:?}"));
                        }
                    }
                    let answer = self.case.answer(&ask);
                    self.answers.push_back((id, answer));
                    assert!(self.answers.len() <= 8, "R6: open asks");
                }
                Step::Cancel(id) => {
                    assert!(id <= self.last, "it cancels what was not asked");
                    self.answers.retain(|(open, _)| *open != id);
                    self.used.push(id);
                }
                Step::Event(_) => self.out.told.push(shown),
                Step::StartTls => {
                    self.upgrading = true;
                    self.out.told.push(shown);
                }
                Step::Compress => self.out.told.push(shown),
                Step::Close => {
                    assert!(!self.closed, "closed twice");
                    self.closed = true;
                    self.out.told.push(shown);
                }
            }
        }
    }

    fn flush_body(&mut self) {
        if !self.body.is_empty() {
            let body = std::mem::take(&mut self.body);
            self.out.asked.push(body.escape_ascii().to_string());
        }
    }
}
