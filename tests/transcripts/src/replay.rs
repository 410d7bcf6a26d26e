//! Plays a captured session against a machine.
//!
//! What the machine was told is told again, in the same order: octets of the peer, answers, time. What came out of it
//! must come out again: the octets, the answered asks and the events, each in the same order. It may come earlier
//! than it was recorded, because here nobody waits for a slow reader, but never later, and nothing may be missing or
//! added. Pieces of a message are counted by octets, because where they end depends on how the input was cut.

use bytes::BytesMut;
use core::time::Duration;
use mox_machine::{AskId, Now, Session, Step, TlsFacts};
use std::collections::VecDeque;

use crate::capture::{AT_ONCE, Capture, Item, octets_line, start_of};
use crate::play::{Cut, cuts};
use crate::spelled::Spelled;

impl<S: Spelled> Capture<S> {
    /// Plays it whole, and with `cuts` also byte by byte and cut once at every place (200 of them from 4 KiB on). The
    /// error names the line, what was recorded and what came.
    pub fn replay(&self, with_cuts: bool) -> Result<(), String> {
        let size = self
            .play(&Cut::Whole)
            .map_err(|why| format!("{why} (whole)"))?;
        if !with_cuts {
            return Ok(());
        }
        self.play(&Cut::Bytes)
            .map_err(|why| format!("{why} (byte by byte)"))?;
        for at in cuts(size) {
            self.play(&Cut::At(at))
                .map_err(|why| format!("{why} (cut at {at})"))?;
        }
        Ok(())
    }

    fn stage(&self) -> Result<Stage<S>, String> {
        let now = start_of(self.clock);
        let session =
            S::make(&self.about.config, &self.seed, now).map_err(|why| format!("config: {why}"))?;
        let mut stage = Stage {
            session,
            now,
            input: BytesMut::new(),
            upgrade: false,
            closed: false,
            open: Vec::new(),
            pieces: VecDeque::from([Pieces::default()]),
            sent: Vec::new(),
            facts: VecDeque::new(),
        };
        // On a port where TLS comes first, the machine is told before it may say anything.
        let first = self.items.iter().map(|(_, item)| item);
        let mut first = first.filter(|item| !matches!(item, Item::Comment(_) | Item::Wait(_)));
        if !matches!(first.next(), Some(Item::Transport(what)) if what == "tls") {
            // It is shown the clock before anything happens: some hosts do so with no octets at all.
            stage.session.recv(now, &mut stage.input);
            stage.go();
        }
        Ok(stage)
    }

    /// Octets of the peer in all.
    fn play(&self, cut: &Cut) -> Result<usize, String> {
        let mut stage = self.stage()?;
        let mut at = 0;
        let mut ended = false;
        for (place, (line, item)) in self.items.iter().enumerate() {
            match item {
                Item::Received(octets) => {
                    match cut {
                        Cut::Bytes => octets.chunks(1).for_each(|byte| stage.feed(byte)),
                        Cut::At(place) if (at + 1..at + octets.len()).contains(place) => {
                            let (one, two) = octets.split_at(*place - at);
                            stage.feed(one);
                            stage.feed(two);
                        }
                        _ => stage.feed(octets),
                    }
                    at += octets.len();
                }
                Item::Sent(octets) => {
                    stage.go();
                    stage.expect_sent(*line, octets)?;
                }
                Item::Fact(fact) => {
                    stage.go();
                    ended |= fact == "close";
                    stage.expect_fact(*line, fact)?;
                }
                Item::Comment(_) => {}
                Item::Wait(time) => stage.wait(*time),
                given => {
                    stage.give(*line, given)?;
                    let ahead = self.items.get(place + 1..).unwrap_or_default();
                    if !is_at_once(given) && !goes_on_at_once(ahead) {
                        stage.go();
                    }
                }
            }
        }
        // A recording that was cut off ends anywhere.
        if ended && !self.truncated {
            stage.expect_nothing()?;
        }
        Ok(at)
    }

    /// Plays it and puts what comes out into the place of what was recorded. `renamed` is an ask as it is said without what
    /// is private, as far as that is known: several of a kind may be open. When it fails, what went well before is there.
    pub(crate) fn answer_anew(&mut self, renamed: impl Fn(&str) -> String) -> Result<(), String> {
        let mut stage = self.stage()?;
        let items = core::mem::take(&mut self.items);
        stage.told(&mut self.items);
        let mut items = items.into_iter();
        while let Some((line, item)) = items.next() {
            match item {
                Item::Received(octets) => {
                    // It stands there also when the machine does not survive it.
                    self.items.push((line, Item::Received(octets.clone())));
                    stage.feed(&octets);
                }
                Item::Sent(_) | Item::Fact(_) => continue,
                Item::Comment(_) => self.items.push((line, item)),
                Item::Answered(ask, answer) => {
                    // The ask may say what is not to be said: it is written as it is asked now.
                    let wanted = renamed(&ask);
                    let same = |(_, text): &(AskId, String)| *text == wanted;
                    let same = stage.open.iter().position(same);
                    let kind = |(_, text): &(AskId, String)| similar(text, &ask);
                    match same.or_else(|| stage.open.iter().position(kind)) {
                        Some(place) => {
                            let (id, text) = stage.open.remove(place);
                            self.items
                                .push((line, Item::Answered(text, answer.clone())));
                            stage.session.answer(stage.now, id, answer);
                            if goes_on_at_once(items.as_slice()) {
                                continue;
                            }
                            stage.go();
                        }
                        None => return Err(stage.not_open(line, &ask)),
                    }
                }
                given => {
                    stage.give(line, &given)?;
                    if !matches!(given, Item::Wait(_)) && !is_at_once(&given) {
                        stage.go();
                    }
                    self.items.push((line, given));
                }
            }
            stage.told(&mut self.items);
        }
        stage.go();
        stage.told(&mut self.items);
        Ok(())
    }
}

fn is_at_once<W>(item: &Item<W>) -> bool {
    matches!(item, Item::Transport(what) if what == AT_ONCE)
}

/// Whether the machine is not asked for more before the next of these.
fn goes_on_at_once<W>(ahead: &[(usize, Item<W>)]) -> bool {
    let mut ahead = ahead.iter().map(|(_, item)| item);
    let next = ahead.find(|item| !matches!(item, Item::Comment(_)));
    next.is_some_and(is_at_once)
}

/// Whether two asks are of the same kind.
fn similar(one: &str, two: &str) -> bool {
    let kind = |text: &str| {
        text.split([' ', '{', '('])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    kind(one) == kind(two)
}

/// A machine and what came out of it that was not compared yet.
struct Stage<S: Spelled> {
    session: S,
    now: Now,
    input: BytesMut,
    upgrade: bool,
    closed: bool,
    open: Vec<(AskId, String)>,
    /// Of the message that is taken, and behind messages whose pieces are not all answered: here octets may come earlier
    /// than they were recorded, and with them the next message.
    pieces: VecDeque<Pieces<S>>,
    sent: Vec<u8>,
    facts: VecDeque<String>,
}

/// The pieces of a message that are asked about, answered by octets.
struct Pieces<S: Session> {
    open: VecDeque<(AskId, u64)>,
    offset: u64,
    /// All pieces up to here are accepted.
    accepted: u64,
    /// The piece that reaches this octet gets this answer.
    other: Option<(u64, S::Answer)>,
    /// It got it: nothing more is answered.
    over: bool,
}

impl<S: Session> Default for Pieces<S> {
    fn default() -> Self {
        Self {
            open: VecDeque::new(),
            offset: 0,
            accepted: 0,
            other: None,
            over: false,
        }
    }
}

impl<S: Spelled> Pieces<S> {
    /// Some are not answered, and will be.
    fn waits(&self) -> bool {
        !self.open.is_empty() && !self.over
    }

    /// The first one, when its answer is known.
    fn next(&mut self) -> Option<(AskId, S::Answer)> {
        let (id, end) = self.open.front().copied()?;
        let answer = match &self.other {
            Some((at, _)) if end >= *at => {
                self.over = true;
                self.other.take().map(|(_, answer)| answer)
            }
            Some(_) => Some(S::accept()),
            None if end <= self.accepted => Some(S::accept()),
            None => None,
        }?;
        self.open.pop_front();
        Some((id, answer))
    }
}

impl<S: Spelled> Stage<S> {
    fn feed(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        self.go();
    }

    /// Until nothing moves any more.
    fn go(&mut self) {
        loop {
            let before = self.input.len();
            let reads = !self.input.is_empty() && !self.upgrade && !self.closed;
            if reads && self.session.wants_read() {
                self.session.recv(self.now, &mut self.input);
            }
            let mut moved = self.input.len() != before;
            while let Some(step) = self.session.poll() {
                moved = true;
                match step {
                    Step::Send(octets) => self.sent.extend_from_slice(&octets),
                    Step::Cancel(id) => {
                        self.open.retain(|(open, _)| *open != id);
                        for pieces in &mut self.pieces {
                            pieces.open.retain(|(open, _)| *open != id);
                        }
                    }
                    Step::Ask(id, ask) => self.ask(id, &ask),
                    Step::Event(event) => {
                        let text = S::event_text(&event);
                        self.facts
                            .extend(text.map(|t| t.replace(['\r', '\n'], " ")));
                    }
                    Step::StartTls => {
                        self.upgrade = true;
                        self.facts.push_back("starttls".into());
                    }
                    Step::Compress => self.facts.push_back("compress".into()),
                    Step::Close => {
                        self.closed = true;
                        self.facts.push_back("close".into());
                    }
                }
            }
            moved |= self.answer_pieces();
            if !moved {
                return;
            }
        }
    }

    fn ask(&mut self, id: AskId, ask: &S::Ask) {
        match S::piece(ask) {
            Some(length) => {
                if let Some(pieces) = self.pieces.back_mut() {
                    pieces.offset += length as u64;
                    pieces.open.push_back((id, pieces.offset));
                }
            }
            None => {
                self.pieces.retain(Pieces::waits);
                self.pieces.push_back(Pieces::default());
                self.open.push((id, S::ask_text(ask)));
            }
        }
    }

    /// Those that the next answer to pieces is about.
    fn answered(&mut self) -> Option<&mut Pieces<S>> {
        while self.pieces.len() > 1 && !self.pieces.front().is_some_and(Pieces::waits) {
            self.pieces.pop_front();
        }
        self.pieces.front_mut()
    }

    fn answer_pieces(&mut self) -> bool {
        let mut moved = false;
        for pieces in &mut self.pieces {
            while let Some((id, answer)) = pieces.next() {
                self.session.answer(self.now, id, answer);
                moved = true;
            }
        }
        moved
    }

    /// Something that goes in, other than octets.
    fn give(&mut self, line: usize, item: &Item<S::Answer>) -> Result<(), String> {
        match item {
            Item::Answered(ask, answer) => {
                let place = self.open.iter().position(|(_, text)| text == ask);
                let place = place.ok_or_else(|| self.not_open(line, ask))?;
                let (id, _) = self.open.remove(place);
                self.session.answer(self.now, id, answer.clone());
            }
            Item::Pieces(end, answer) => {
                let is_accept = S::answer_text(answer) == S::answer_text(&S::accept());
                match self.answered() {
                    Some(pieces) if is_accept => pieces.accepted = *end,
                    Some(pieces) => pieces.other = Some((*end, answer.clone())),
                    None => {}
                }
            }
            Item::Transport(what) => self.transport(line, what)?,
            Item::Wait(time) => self.wait(*time),
            Item::Received(_) | Item::Sent(_) | Item::Fact(_) | Item::Comment(_) => {}
        }
        Ok(())
    }

    fn transport(&mut self, line: usize, what: &str) -> Result<(), String> {
        match what {
            "tls" => {
                self.upgrade = false;
                self.input.clear();
                self.session.secured(self.now, TlsFacts::default());
            }
            "eof" => self.session.eof(self.now),
            "drain" => self.session.drain(self.now),
            "tick" => self.session.tick(self.now),
            AT_ONCE => {}
            _ => return Err(format!("{line}: `@ {what}` is not known")),
        }
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
        self.now.utc = self.now.utc + time;
    }

    fn not_open(&self, line: usize, ask: &str) -> String {
        let open: Vec<_> = self
            .open
            .iter()
            .map(|(_, text)| format!("`? {text}`"))
            .collect();
        let open = match open.is_empty() {
            true => "nothing is asked".into(),
            false => format!("what is asked is {}", open.join(", ")),
        };
        format!("{line}: expected `? {ask}`, {open}")
    }

    fn expect_sent(&mut self, line: usize, octets: &[u8]) -> Result<(), String> {
        if self.sent.starts_with(octets) {
            self.sent.drain(..octets.len());
            return Ok(());
        }
        // The first line of several that differs.
        let mut at = 0;
        let lines = octets.split_inclusive(|&b| b == b'\n');
        for (number, wanted) in (line..).zip(lines) {
            let rest = self.sent.get(at..).unwrap_or_default();
            if !rest.starts_with(wanted) {
                let got = rest.split_inclusive(|&b| b == b'\n').next();
                let got = got.map_or_else(|| "nothing".into(), |got| octets_line(S::SIDE, got));
                let wanted = octets_line(S::SIDE, wanted);
                return Err(format!("{number}: expected `{wanted}`, got `{got}`"));
            }
            at += wanted.len();
        }
        Ok(())
    }

    fn expect_fact(&mut self, line: usize, fact: &str) -> Result<(), String> {
        match self.facts.pop_front() {
            Some(got) if got == fact => Ok(()),
            Some(got) => Err(format!("{line}: expected `= {fact}`, got `= {got}`")),
            None => Err(format!("{line}: expected `= {fact}`, got `nothing`")),
        }
    }

    fn expect_nothing(&self) -> Result<(), String> {
        let sent = self.sent.split_inclusive(|&b| b == b'\n').next();
        let sent = sent.map(|line| octets_line(S::SIDE, line));
        let fact = self.facts.front().map(|fact| format!("= {fact}"));
        match sent.or(fact) {
            Some(more) => Err(format!("at the end: nothing expected, got `{more}`")),
            None => Ok(()),
        }
    }

    /// Moves what came out to a list of items.
    fn told(&mut self, items: &mut Vec<(usize, Item<S::Answer>)>) {
        if !self.sent.is_empty() {
            items.push((0, Item::Sent(core::mem::take(&mut self.sent))));
        }
        items.extend(self.facts.drain(..).map(|fact| (0, Item::Fact(fact))));
    }
}
