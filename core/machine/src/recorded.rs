//! Sessions that keep what happens to them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use bytes::BytesMut;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::pieces::Pieces;
use crate::{AskId, Mono, Now, Session, Step, TlsFacts};

/// A session whose asks and answers can be kept.
pub trait Recordable: Session<Ask: Clone, Answer: Clone, Event: Clone> {
    /// Octets of an ask that is nothing but the next piece of a message. Of such an ask only the length is kept: its
    /// octets are in the input.
    fn piece(ask: &Self::Ask) -> Option<usize>;
    /// Octets of memory an ask holds beside its own size.
    fn ask_weight(ask: &Self::Ask) -> usize;
    /// Octets of memory an answer holds beside its own size.
    fn answer_weight(answer: &Self::Answer) -> usize;
    /// Octets of memory an event holds beside its own size.
    fn event_weight(event: &Self::Event) -> usize;
    /// A copy of an ask to keep: it holds no buffer of others, which would outlive them and be larger than its weight.
    fn keep_ask(ask: &Self::Ask) -> Self::Ask;
    /// The same of an answer.
    fn keep_answer(answer: &Self::Answer) -> Self::Answer;
}

/// Octets that all tapes of a process may hold together.
#[derive(Debug, Clone)]
pub struct TapeRoom(Arc<AtomicUsize>);

impl TapeRoom {
    /// Room for so many octets.
    pub fn new(octets: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(octets)))
    }

    /// Octets that are free.
    pub fn free(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self, octets: usize) -> bool {
        let less = |free: usize| free.checked_sub(octets);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    fn give_back(&self, octets: usize) {
        self.0.fetch_add(octets, Ordering::Relaxed);
    }
}

/// What happened to a session, in order. Bounded: see [`is_truncated`](Self::is_truncated).
pub struct Tape<S: Recordable> {
    start: Now,
    records: Pieces<(Mono, Entry<S>)>,
    /// What was received and sent, one after the other; that of one record is in one piece.
    octets: Pieces<u8>,
    /// Octets taken of the room.
    used: usize,
    max: usize,
    room: TapeRoom,
    truncated: bool,
}

type Entry<S> = Record<<S as Session>::Ask, <S as Session>::Answer, <S as Session>::Event>;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<A, W, E> {
    /// So many octets came that the session had not been offered before.
    Received(usize),
    /// The peer half-closed the stream.
    Eof,
    /// The stream is encrypted from here on: version and cipher of TLS.
    Secured(u16, u16),
    /// Time passed.
    Tick,
    /// The process stops.
    Drain,
    /// The world answered.
    Answered(AskId, W),
    /// The session asked.
    Asked(AskId, A),
    /// The session asked what to do with so many more octets of the message.
    Piece(AskId, usize),
    /// The session does not want an answer any more.
    Cancelled(AskId),
    /// The session sent so many octets.
    Sent(usize),
    /// The session told a fact.
    Event(E),
    /// The session wants TLS.
    StartTls,
    /// The session wants compression.
    Compress,
    /// The session closed the stream.
    Closed,
}

impl<S: Recordable> Tape<S> {
    /// An empty tape of at most `max` octets, all of them out of `room`.
    pub fn new(start: Now, max: usize, room: TapeRoom) -> Self {
        Self {
            start,
            records: Pieces::new(),
            octets: Pieces::new(),
            used: 0,
            max,
            room,
            truncated: false,
        }
    }

    /// When the session began.
    pub fn start(&self) -> Now {
        self.start
    }

    /// More happened than there was room for; what is on the tape is the beginning.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Octets of memory it takes, with what it keeps ahead.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Nothing happened.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Everything in order: when, what, and the octets that were received or sent.
    pub fn records(&self) -> impl Iterator<Item = (Mono, &Entry<S>, &[u8])> {
        let mut pieces = self.octets.pieces();
        let mut rest: &[u8] = &[];
        let records = self.records.pieces().flatten();
        records.map(move |(at, record)| {
            let length = match record {
                Record::Received(length) | Record::Sent(length) => *length,
                _ => 0,
            };
            if rest.is_empty() && length > 0 {
                rest = pieces.next().unwrap_or_default();
            }
            let (octets, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            (*at, record, octets)
        })
    }

    /// Makes room for one more record, so many octets that were said, and `weight` octets beside.
    fn has_room(&mut self, weight: usize, octets: usize) -> bool {
        // More than is needed now, so that it is seldom made; close to the limit no more than that.
        for ahead in [true, false] {
            if self.truncated {
                break;
            }
            let (record, said) = (
                self.records.wanted(1, ahead),
                self.octets.wanted(octets, ahead),
            );
            let size = weight
                .saturating_add(Pieces::<(Mono, Entry<S>)>::cost(record))
                .saturating_add(Pieces::<u8>::cost(said));
            if self.used.saturating_add(size) <= self.max && self.room.take(size) {
                self.used += size;
                self.records.make(record);
                self.octets.make(said);
                return true;
            }
        }
        self.truncated = true;
        false
    }

    fn push(&mut self, at: Mono, record: Entry<S>) {
        self.push_heavy(at, 0, || record);
    }

    /// What does not fit is not even copied.
    fn push_heavy(&mut self, at: Mono, weight: usize, record: impl FnOnce() -> Entry<S>) {
        if self.has_room(weight, 0)
            && let Some(records) = self.records.last()
        {
            records.push((at, record()));
        }
    }

    fn push_octets(&mut self, at: Mono, record: Entry<S>, octets: &[u8]) {
        if self.has_room(0, octets.len())
            && let Some(records) = self.records.last()
        {
            records.push((at, record));
            if let Some(said) = self.octets.last() {
                said.extend_from_slice(octets);
            }
        }
    }
}

impl<S: Recordable> Drop for Tape<S> {
    fn drop(&mut self) {
        self.room.give_back(self.used);
    }
}

impl<S: Recordable> fmt::Debug for Tape<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape")
            .field("records", &self.records.len())
            .field("octets", &self.octets.len())
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}

/// A session, with a tape beside it when it is recorded. It behaves as the session alone.
#[derive(Debug)]
pub struct Recorded<S: Recordable> {
    session: S,
    tape: Option<Box<Tape<S>>>,
    /// The last clock it was shown.
    now: Mono,
    /// Octets the session was offered and left.
    left: usize,
}

impl<S: Recordable> Recorded<S> {
    /// A session that begins now; without a tape nothing is recorded.
    pub fn new(session: S, tape: Option<Tape<S>>) -> Self {
        Self {
            session,
            now: tape.as_ref().map_or_else(Mono::default, |t| t.start.mono),
            tape: tape.map(Box::new),
            left: 0,
        }
    }

    /// The session.
    pub fn session(&self) -> &S {
        &self.session
    }

    /// What was recorded, once. Nothing is recorded from here on.
    pub fn take_tape(&mut self) -> Option<Tape<S>> {
        self.tape.take().map(|tape| *tape)
    }

    fn note(&mut self, now: Now, record: Entry<S>) {
        self.now = now.mono;
        if let Some(tape) = &mut self.tape {
            tape.push(now.mono, record);
        }
    }
}

impl<S: Recordable> Session for Recorded<S> {
    type Ask = S::Ask;
    type Answer = S::Answer;
    type Event = S::Event;

    fn recv(&mut self, now: Now, input: &mut BytesMut) {
        if let Some(tape) = &mut self.tape {
            self.now = now.mono;
            let new = input.get(self.left..).unwrap_or_default();
            if !new.is_empty() {
                tape.push_octets(now.mono, Record::Received(new.len()), new);
            }
        }
        self.session.recv(now, input);
        self.left = input.len();
    }

    fn eof(&mut self, now: Now) {
        self.note(now, Record::Eof);
        self.session.eof(now);
    }

    fn secured(&mut self, now: Now, tls: TlsFacts) {
        self.left = 0;
        self.note(now, Record::Secured(tls.version, tls.cipher));
        self.session.secured(now, tls);
    }

    fn answer(&mut self, now: Now, id: AskId, answer: S::Answer) {
        self.now = now.mono;
        if let Some(tape) = self.tape.as_mut().filter(|tape| !tape.truncated) {
            let weight = S::answer_weight(&answer);
            let kept = || Record::Answered(id, S::keep_answer(&answer));
            tape.push_heavy(now.mono, weight, kept);
        }
        self.session.answer(now, id, answer);
    }

    fn tick(&mut self, now: Now) {
        self.note(now, Record::Tick);
        self.session.tick(now);
    }

    fn deadline(&self) -> Option<(Mono, &'static str)> {
        self.session.deadline()
    }

    fn drain(&mut self, now: Now) {
        self.note(now, Record::Drain);
        self.session.drain(now);
    }

    fn wants_read(&self) -> bool {
        self.session.wants_read()
    }

    fn in_bulk(&self) -> bool {
        self.session.in_bulk()
    }

    fn poll(&mut self) -> Option<Step<S::Ask, S::Event>> {
        let step = self.session.poll()?;
        let now = self.now;
        let Some(tape) = self.tape.as_mut().filter(|tape| !tape.truncated) else {
            return Some(step);
        };
        match &step {
            Step::Send(octets) => tape.push_octets(now, Record::Sent(octets.len()), octets),
            Step::Ask(id, ask) => match S::piece(ask) {
                Some(length) => tape.push(now, Record::Piece(*id, length)),
                None => tape.push_heavy(now, S::ask_weight(ask), || {
                    Record::Asked(*id, S::keep_ask(ask))
                }),
            },
            Step::Cancel(id) => tape.push(now, Record::Cancelled(*id)),
            Step::Event(event) => {
                tape.push_heavy(now, S::event_weight(event), || Record::Event(event.clone()));
            }
            Step::StartTls => tape.push(now, Record::StartTls),
            Step::Compress => tape.push(now, Record::Compress),
            Step::Close => tape.push(now, Record::Closed),
        }
        Some(step)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use bytes::Bytes;

    /// Sends back each whole line, and asks about it.
    #[derive(Debug, Default)]
    struct Echo(Vec<Step<usize, ()>>);

    impl Session for Echo {
        type Ask = usize;
        type Answer = ();
        type Event = ();
        fn recv(&mut self, _: Now, input: &mut BytesMut) {
            while let Some(at) = input.iter().position(|&b| b == b'\n') {
                let line = input.split_to(at + 1).freeze();
                self.0.push(Step::Ask(AskId(1), line.len()));
                self.0.push(Step::Send(line));
            }
        }
        fn eof(&mut self, _: Now) {
            self.0.push(Step::Close);
        }
        fn secured(&mut self, _: Now, _: TlsFacts) {}
        fn answer(&mut self, _: Now, _: AskId, (): ()) {}
        fn tick(&mut self, _: Now) {}
        fn deadline(&self) -> Option<(Mono, &'static str)> {
            None
        }
        fn drain(&mut self, _: Now) {}
        fn wants_read(&self) -> bool {
            true
        }
        fn poll(&mut self) -> Option<Step<usize, ()>> {
            (!self.0.is_empty()).then(|| self.0.remove(0))
        }
    }

    impl Recordable for Echo {
        fn piece(ask: &usize) -> Option<usize> {
            (*ask > 3).then_some(*ask)
        }
        fn ask_weight(ask: &usize) -> usize {
            1_000 * ask
        }
        fn answer_weight((): &()) -> usize {
            10_000
        }
        fn event_weight((): &()) -> usize {
            0
        }
        fn keep_ask(ask: &usize) -> usize {
            *ask
        }
        fn keep_answer((): &()) {}
    }

    fn talk(max: usize, room: &TapeRoom) -> Tape<Echo> {
        let now = Now::default();
        let mut session = Recorded::new(Echo::default(), Some(Tape::new(now, max, room.clone())));
        let mut input = BytesMut::new();
        for part in ["a", "b\nlonger\nc", "\n"] {
            input.extend_from_slice(part.as_bytes());
            session.recv(now, &mut input);
            while session.poll().is_some() {}
        }
        session.answer(now, AskId(1), ());
        session.eof(now);
        while session.poll().is_some() {}
        session.take_tape().unwrap()
    }

    #[test]
    fn what_happened_is_kept_in_order_and_no_octet_twice() {
        let room = TapeRoom::new(1_000_000);
        let tape = talk(1_000_000, &room);
        let records: Vec<_> = tape.records().map(|(_, r, o)| (r.clone(), o)).collect();
        let id = AskId(1);
        let expected: Vec<(Entry<Echo>, &[u8])> = vec![
            (Record::Received(1), b"a"),
            (Record::Received(10), b"b\nlonger\nc"),
            (Record::Asked(id, 3), b""),
            (Record::Sent(3), b"ab\n"),
            (Record::Piece(id, 7), b""),
            (Record::Sent(7), b"longer\n"),
            (Record::Received(1), b"\n"),
            (Record::Asked(id, 2), b""),
            (Record::Sent(2), b"c\n"),
            (Record::Answered(id, ()), b""),
            (Record::Eof, b""),
            (Record::Closed, b""),
        ];
        assert_eq!(records, expected);
        assert!(!tape.is_truncated());
        let used = tape.len();
        // With places that are kept ahead.
        let records = expected.len() * size_of::<(Mono, Entry<Echo>)>();
        // What was asked weighs 3,000 and 2,000, the answer 10,000; the rest is what was received and sent.
        assert!(used >= records + 12 + 12 + 5_000 + 10_000, "{used}");
        assert!(used >= tape.records.held() + tape.octets.held() + 15_000);
        assert_eq!(room.free(), 1_000_000 - used);
        drop(tape);
        assert_eq!(room.free(), 1_000_000);
    }

    #[test]
    fn a_full_tape_holds_the_beginning_and_stays_within_its_limit() {
        let room = TapeRoom::new(1_000_000);
        let whole = talk(1_000_000, &room);
        for max in (0..whole.len()).step_by(7).chain([whole.len()]) {
            let tape = talk(max, &room);
            assert!(tape.len() <= max);
            let held = tape.records.held() + tape.octets.held();
            assert!(held <= tape.len(), "{held} octets in a tape of {max}");
            assert!(!tape.is_truncated() || max < whole.len(), "{max}");
            assert!(tape.is_truncated() || max > 15_000, "{max}");
            let beginning = whole.records().map(|(_, r, o)| (r.clone(), o.to_vec()));
            let kept = tape.records().map(|(_, r, o)| (r.clone(), o.to_vec()));
            assert!(kept.eq(beginning.take(tape.records().count())));
        }
        // The room that all share ends it as well.
        let small = TapeRoom::new(200);
        let tape = talk(1_000_000, &small);
        assert!(tape.is_truncated() && tape.len() <= 200);
    }

    /// Octets of many sizes, each followed by others.
    #[test]
    fn what_a_tape_takes_is_what_it_holds_and_never_more_than_its_limit() {
        let room = TapeRoom::new(1_000_000);
        for max in [0, 500, 5_000, 70_000, 200_000, 300_000] {
            let now = Now::default();
            let mut tape: Tape<Echo> = Tape::new(now, max, room.clone());
            let said = |n: usize| vec![b'a' + (n % 26) as u8; (n * n * 7) % 3_001];
            for n in 0..300 {
                let octets = said(n);
                tape.push_octets(now.mono, Record::Sent(octets.len()), &octets);
                let held = tape.records.held() + tape.octets.held();
                assert!(held <= tape.len() && tape.len() <= max, "{held} of {max}");
            }
            let kept: Vec<_> = tape
                .records()
                .map(|(_, _, octets)| octets.to_vec())
                .collect();
            assert!(
                kept.iter()
                    .eq((0..kept.len()).map(said).collect::<Vec<_>>().iter())
            );
            // Near its limit it is filled: what was left out would not have fitted.
            let octets: usize = kept.iter().map(Vec::len).sum();
            assert!(max < 70_000 || octets > max / 2, "{octets} octets in {max}");
        }
        assert_eq!(room.free(), 1_000_000);
    }

    #[test]
    fn a_session_says_the_same_with_a_tape_beside_it() {
        let room = TapeRoom::new(0);
        let now = Now::default();
        let mut session = Recorded::new(Echo::default(), Some(Tape::new(now, 0, room)));
        session.recv(now, &mut BytesMut::from("x\n"));
        assert_eq!(session.poll(), Some(Step::Ask(AskId(1), 2)));
        assert_eq!(session.poll(), Some(Step::Send(Bytes::from("x\n"))));
        assert_eq!(session.poll(), None);
        assert!(session.take_tape().unwrap().is_empty());
    }
}
