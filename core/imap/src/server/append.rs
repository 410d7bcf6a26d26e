//! APPEND (RFC 3501 6.3.11) and REPLACE (RFC 8508): whether a message is welcome is asked before it is read, which then
//! streams. Several messages of one command (RFC 3502) and the parts of one (CATENATE, RFC 4469) come one after the
//! other, and all or none of them are stored.
//!
//! Every octet of a literal is taken as what it is, whatever becomes of the command.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use mox_machine::{AskId, Step};
use mox_uids::{Uid, UidSet};

use super::job::{Job, Next, Reply, Running};
use super::{Answer, Ask, BoxId, Event, Limits, Server, numbered};
use crate::wire::{
    Announced, AppendReader, AppendStep, Head, Malformed, MessageUrl, SequenceSet, Verb, put,
};

/// Octets that are worth an ask of their own, unless the message ends.
const PIECE_MIN: usize = 4 * 1024;
/// Octets in a piece at most.
const PIECE_MAX: usize = 64 * 1024;
/// Pieces not answered yet at most.
const PIECES_MAX: usize = 6;

/// An APPEND that is being read.
#[derive(Debug)]
pub(super) struct Append {
    stage: Stage,
    reader: AppendReader,
    /// What was read and is not done yet.
    steps: VecDeque<AppendStep>,
    /// The literal behind these steps.
    literal: Option<Announced>,
    name: String,
    /// It goes to the selected mailbox.
    own: bool,
    /// REPLACE: the message that goes, if it is still there.
    replaces: bool,
    replace: Option<(BoxId, Uid)>,
    /// Parts so far; a message that is whole is one.
    parts: u32,
    /// Octets of the present message, and those of its literal still to come.
    octets: u64,
    left: u64,
    binary: bool,
    /// The world has something of it.
    opened: bool,
    /// The URL that is being inserted.
    url: Vec<u8>,
    /// Pieces not answered yet, and their octets.
    pieces: VecDeque<(AskId, usize)>,
    unanswered: usize,
    /// The rest is read and thrown away; this is the answer in the end.
    refused: Option<Reply>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// May it be appended? Is the part there?
    Asking,
    /// A literal.
    Reading,
    /// The text behind a literal.
    Text,
    /// Pieces are still on their way to the disk.
    Ending,
    Committing,
}

impl Append {
    pub(super) fn wants_read(&self, limits: &Limits) -> bool {
        match self.stage {
            Stage::Reading if self.refused.is_some() => true,
            Stage::Reading => {
                self.pieces.len() < PIECES_MAX
                    && (self.unanswered == 0 || self.unanswered + PIECE_MIN <= limits.window)
            }
            Stage::Text => true,
            Stage::Asking | Stage::Ending | Stage::Committing => false,
        }
    }
}

impl Server {
    /// The command up to its first literal is read.
    pub(super) fn append(
        &mut self,
        verb: Verb,
        reader: AppendReader,
        steps: Vec<AppendStep>,
        literal: Announced,
    ) {
        self.is_active();
        let held = self.framer.take();
        let tag = Head::parse(&held).tag.unwrap_or(b"*").to_vec();
        self.begin_append(tag, verb, reader, steps, Some(literal));
    }

    /// A command that has no literal, or none but arguments.
    pub(super) fn append_whole(&mut self, verb: Verb, line: &Bytes) {
        let head = Head::parse(line);
        let tag = head.tag.unwrap_or(b"*").to_vec();
        let mut reader = AppendReader::new(verb != Verb::Append);
        let args = head.args.unwrap_or_default();
        match reader.read(args, &self.known(), &self.config.limits.parse) {
            Ok(steps) => self.begin_append(tag, verb, reader, steps.unwrap_or_default(), None),
            Err(why) => self.reply(&tag, Some(verb), &why.into()),
        }
    }

    fn begin_append(
        &mut self,
        tag: Vec<u8>,
        verb: Verb,
        reader: AppendReader,
        steps: Vec<AppendStep>,
        literal: Option<Announced>,
    ) {
        let append = Append {
            stage: Stage::Asking,
            reader,
            steps: steps.into(),
            literal,
            name: String::new(),
            own: false,
            replaces: verb != Verb::Append,
            replace: None,
            parts: 0,
            octets: 0,
            left: 0,
            binary: false,
            opened: false,
            url: Vec::new(),
            pieces: VecDeque::new(),
            unanswered: 0,
            refused: None,
        };
        let running = Box::new(Running {
            tag,
            verb,
            forbids_expunge: false,
            ask: None,
            job: Job::Login,
            since: self.now.unwrap_or_default().mono,
        });
        let next = self.append_steps(Box::new(append), verb.is_uid());
        if self.phase != super::Phase::Closed {
            self.proceed(running, next);
        }
    }

    /// Does what was read, up to where something must be waited for.
    fn append_steps(&mut self, mut append: Box<Append>, uid: bool) -> Next {
        while let Some(step) = append.steps.pop_front() {
            let done = match step {
                AppendStep::Mailbox(set, mailbox) => {
                    self.append_mailbox(&mut append, set.as_ref(), &mailbox, uid)
                }
                AppendStep::Message {
                    flags,
                    date,
                    parts,
                    utf8,
                } => match self.append_message(&mut append, parts, utf8) {
                    Ok(()) => {
                        let literal = append.literal.filter(|_| !parts);
                        let ask = Ask::Append {
                            name: append.name.clone(),
                            flags,
                            date,
                            size: literal.map_or(0, |l| l.size),
                            binary: literal.is_none_or(|l| l.binary),
                        };
                        append.stage = Stage::Asking;
                        return Next::Wait(self.ask(ask), Job::Append(append));
                    }
                    Err(reply) => Err(reply),
                },
                AppendStep::Url(url) => match self.append_url(&mut append, url) {
                    Ok(ask) => {
                        append.stage = Stage::Asking;
                        return Next::Wait(self.ask(ask), Job::Append(append));
                    }
                    Err(reply) => Err(reply),
                },
                AppendStep::Literal => match self.append_part(&mut append) {
                    Ok(literal) => {
                        append.literal = None;
                        if literal.waits {
                            self.out.line(b"+ go ahead");
                        }
                        append.left = literal.size;
                        append.binary = literal.binary;
                        append.stage = match literal.size {
                            0 => Stage::Text,
                            _ => Stage::Reading,
                        };
                        return Next::Go(Job::Append(append));
                    }
                    Err(reply) => Err(reply),
                },
                AppendStep::End if append.octets == 0 => {
                    Err(Reply::no("", "there is no message in it"))
                }
                AppendStep::End => Ok(()),
            };
            if let Err(reply) = done {
                return self.refuse_append(append, reply);
            }
        }
        if !append.reader.is_complete() {
            return self.refuse_append(append, Reply::bad("a message literal was expected"));
        }
        if append.pieces.is_empty() {
            return self.append_end(append);
        }
        append.stage = Stage::Ending;
        Next::Go(Job::Append(append))
    }

    fn append_mailbox(
        &self,
        append: &mut Append,
        set: Option<&SequenceSet>,
        mailbox: &[u8],
        uid: bool,
    ) -> Result<(), Reply> {
        let into_reply = |next| match next {
            Next::Done(reply) => reply,
            _ => Reply::unexpected(),
        };
        append.name = self.canonical(mailbox).map_err(into_reply)?;
        append.own = self
            .selected
            .as_ref()
            .is_some_and(|s| s.name == append.name);
        let (Some(set), Some(selection)) = (set, &self.selected) else {
            return Ok(());
        };
        if !selection.writable {
            return Err(Reply::no("", "the mailbox is read-only"));
        }
        let named: UidSet = numbered(set, &selection.uids, uid).map_err(into_reply)?;
        match (named.first(), named.len()) {
            (Some(message), 1) => append.replace = Some((selection.mailbox, message)),
            (None, _) => return Err(Reply::no("NONEXISTENT", "there is no such message")),
            _ => return Err(Reply::bad("one message can be replaced, not several")),
        }
        Ok(())
    }

    fn append_message(&self, append: &mut Append, parts: bool, utf8: bool) -> Result<(), Reply> {
        if utf8 && !self.modes.is_utf8() {
            return Err(Reply::bad("UTF8=ACCEPT is not enabled"));
        }
        append.octets = 0;
        if parts && !self.offers("CATENATE") {
            return Err(Reply::bad("a message literal was expected"));
        }
        if append.parts > 0 && !self.offers("MULTIAPPEND") {
            return Err(Reply::bad("nothing may follow the message"));
        }
        match append.literal {
            Some(literal) if !parts && literal.size == 0 => {
                Err(Reply::no("", "there is no message in it"))
            }
            Some(literal) if !parts && literal.size > self.config.limits.append => {
                Err(Reply::no("TOOBIG", "the message is too large"))
            }
            _ => Ok(()),
        }
    }

    /// Counts a part; a message that is whole is one.
    fn append_count(&self, append: &mut Append) -> Result<(), Reply> {
        append.parts += 1;
        match append.parts > self.config.limits.append_parts {
            true => Err(Reply::no("LIMIT", "too many messages or parts")),
            false => Ok(()),
        }
    }

    fn append_url(&self, append: &mut Append, url: Vec<u8>) -> Result<Ask, Reply> {
        self.append_count(append)?;
        let limits = &self.config.limits;
        let selected = self.selected.as_ref().map(|s| s.name.clone());
        let named = MessageUrl::parse(&url, &limits.parse).and_then(|named| {
            let name = match named.mailbox {
                Some(name) => crate::wire::decode_name(name.as_bytes(), true).ok(),
                None => selected,
            };
            Some((name?, named.validity, named.uid, named.part, named.range))
        });
        let Some((name, validity, uid, part, range)) = named else {
            return Err(bad_url(&url));
        };
        append.url = url;
        Ok(Ask::Insert {
            name,
            validity,
            uid,
            part,
            range,
        })
    }

    fn append_part(&self, append: &mut Append) -> Result<Announced, Reply> {
        let Some(literal) = append.literal else {
            return Err(Reply::unexpected());
        };
        self.append_count(append)?;
        append.octets = append.octets.saturating_add(literal.size);
        match append.octets > self.config.limits.append {
            true => Err(Reply::no("TOOBIG", "the message is too large")),
            false => Ok(literal),
        }
    }

    /// Nothing will be stored. What the client sends without waiting is thrown away first.
    fn refuse_append(&mut self, mut append: Box<Append>, reply: Reply) -> Next {
        self.forget_append(&mut append);
        append.steps.clear();
        match append.literal.take() {
            Some(literal) if !literal.waits => {
                if literal.size > self.config.limits.frame(self.authenticated).skip {
                    self.endless();
                    return Next::Done(reply);
                }
                append.refused = Some(reply);
                append.left = literal.size;
                append.stage = match literal.size {
                    0 => Stage::Text,
                    _ => Stage::Reading,
                };
                Next::Go(Job::Append(append))
            }
            _ => Next::Done(reply),
        }
    }

    /// The world is to forget what it has of it.
    fn forget_append(&mut self, append: &mut Append) {
        append.pieces.clear();
        append.unanswered = 0;
        if core::mem::take(&mut append.opened) {
            self.out.push(Step::Event(Event::AppendDropped));
        }
    }

    pub(super) fn append_answer(
        &mut self,
        mut append: Box<Append>,
        answer: Answer,
        uid: bool,
    ) -> Next {
        match (append.stage, answer) {
            (Stage::Asking, Answer::Accept) => {
                append.opened = true;
                // What was inserted is something.
                append.octets += u64::from(!append.url.is_empty());
                append.url.clear();
                self.append_steps(append, uid)
            }
            (Stage::Asking, Answer::Missing) => {
                let reply = bad_url(&append.url);
                self.refuse_append(append, reply)
            }
            (Stage::Asking, answer) => {
                let reply = match answer {
                    Answer::No(refusal) => refusal.into(),
                    _ => Reply::unexpected(),
                };
                self.refuse_append(append, reply)
            }
            (_, Answer::Appended { validity, uids }) => {
                if let (true, Some(selection)) = (append.own || append.replaces, &mut self.selected)
                {
                    selection.touch();
                }
                let code = alloc::format!("APPENDUID {validity} {uids}");
                if append.replaces {
                    // RFC 8508 3.3: before the EXPUNGE.
                    put!(self.out.text(), "* OK [{code}] replaced\r\n");
                    return Next::ok();
                }
                Next::Done(Reply::ok_with(code))
            }
            (_, Answer::No(refusal)) => Next::Done(refusal.into()),
            _ => Next::Done(Reply::unexpected()),
        }
    }

    /// The octets of a message are expected, not a line.
    pub(super) fn reads_message(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|r| matches!(&r.job, Job::Append(a) if a.stage == Stage::Reading))
    }

    /// Takes octets of the message. False when there are too few.
    pub(super) fn message_bytes(&mut self, input: &mut BytesMut) -> bool {
        let window = self.config.limits.window;
        let Some(Running {
            job: Job::Append(append),
            ..
        }) = self.running.as_deref_mut()
        else {
            return false;
        };
        let left = usize::try_from(append.left).unwrap_or(usize::MAX);
        let mut take = left.min(input.len());
        if append.refused.is_some() {
            input.advance(take);
        } else {
            let room = window.saturating_sub(append.unanswered).max(PIECE_MIN);
            take = take.min(PIECE_MAX).min(room);
            if take < PIECE_MIN && take < left {
                return false;
            }
            let piece = input.split_to(take).freeze();
            // RFC 3501 4.3: a literal has no NUL; only a literal8 may.
            if !append.binary && piece.contains(&0) {
                append.refused = Some(Reply::no("", "a message with NUL needs a literal8"));
                append.pieces.clear();
                append.opened = false;
                self.out.push(Step::Event(Event::AppendDropped));
            } else {
                let id = self.ids.next_id();
                append.unanswered += take;
                append.pieces.push_back((id, take));
                self.out.push(Step::Ask(id, Ask::Piece(piece)));
            }
        }
        append.left -= take as u64;
        if append.left == 0 {
            append.stage = Stage::Text;
        }
        self.is_active();
        take > 0
    }

    /// Gives the answer back when it is not for a piece.
    pub(super) fn piece_answer(&mut self, id: AskId, answer: Answer) -> Option<Answer> {
        let Some(Running {
            job: Job::Append(append),
            ..
        }) = self.running.as_deref_mut()
        else {
            return Some(answer);
        };
        let Some(at) = append.pieces.iter().position(|(piece, _)| *piece == id) else {
            return Some(answer);
        };
        if let Some((_, octets)) = append.pieces.remove(at) {
            append.unanswered -= octets;
        }
        let reply = match answer {
            Answer::Accept => None,
            Answer::No(refusal) => Some(refusal.into()),
            _ => Some(Reply::unexpected()),
        };
        if let Some(reply) = reply {
            append.refused = Some(reply);
            append.pieces.clear();
            append.unanswered = 0;
            append.opened = false;
            self.out.push(Step::Event(Event::AppendDropped));
        }
        let ended = append.stage == Stage::Ending && append.pieces.is_empty();
        if let Some(mut running) = self.running.take_if(|_| ended) {
            let next = match core::mem::replace(&mut running.job, Job::Login) {
                Job::Append(append) => self.append_end(append),
                job => Next::Go(job),
            };
            self.proceed(running, next);
        }
        None
    }

    /// What stands behind a literal goes on to another one.
    pub(super) fn append_literal(&mut self, mut running: Box<Running>, literal: Announced) {
        let uid = running.verb.is_uid();
        let job = core::mem::replace(&mut running.job, Job::Login);
        let Job::Append(mut append) = job else {
            return self.proceed(running, Next::Go(job));
        };
        let limits = &self.config.limits;
        let read = match append.refused.take() {
            Some(reply) => Err(reply),
            None if let Some(why) = self.literal_off(&literal) => Err(why.into()),
            None => {
                let mut reader = append.reader;
                let held = self.framer.held();
                let too_big = literal.size > limits.argument(self.authenticated)
                    || held.len() as u64 + literal.size > limits.command as u64;
                match reader.read(held, &self.known(), &limits.parse) {
                    Ok(None) if too_big => {
                        let why = Malformed::Refused("TOOBIG", "the literal is too long");
                        Err(why.into())
                    }
                    Ok(steps) => {
                        append.reader = reader;
                        Ok(steps)
                    }
                    Err(why) => Err(why.into()),
                }
            }
        };
        let next = match read {
            Ok(None) => {
                self.framer.accept(literal);
                if literal.waits {
                    self.out.line(b"+ go ahead");
                }
                Next::Go(Job::Append(append))
            }
            Ok(Some(steps)) => {
                self.framer.take();
                append.steps = steps.into();
                append.literal = Some(literal);
                self.append_steps(append, uid)
            }
            Err(reply) => {
                self.framer.take();
                append.literal = Some(literal);
                self.refuse_append(append, reply)
            }
        };
        if self.phase != super::Phase::Closed {
            self.proceed(running, next);
        }
    }

    /// The command ends behind a literal.
    pub(super) fn append_line(
        &mut self,
        mut append: Box<Append>,
        line: Result<Bytes, Malformed>,
        uid: bool,
    ) -> Next {
        if let Some(reply) = append.refused {
            return Next::Done(reply);
        }
        let mut reader = append.reader;
        let limits = &self.config.limits.parse;
        let read = line.and_then(|line| reader.read(&line, &self.known(), limits));
        match read {
            Ok(steps) => {
                append.reader = reader;
                append.steps = steps.unwrap_or_default().into();
                self.append_steps(append, uid)
            }
            Err(why) => self.refuse_append(append, why.into()),
        }
    }

    fn append_end(&mut self, mut append: Box<Append>) -> Next {
        if let Some(reply) = append.refused {
            return Next::Done(reply);
        }
        append.stage = Stage::Committing;
        let replace = append.replace;
        Next::Wait(self.ask(Ask::Commit { replace }), Job::Append(append))
    }

    /// An APPEND that will never be committed.
    pub(super) fn drop_append(&mut self, job: &Job) {
        if let Job::Append(append) = job
            && append.stage != Stage::Committing
            && append.refused.is_none()
        {
            self.out.push(Step::Event(Event::AppendDropped));
        }
    }
}

/// RFC 4469 5: which URL it is.
fn bad_url(url: &[u8]) -> Reply {
    // What the client wrote must not be able to end the line.
    let shown: String = url
        .iter()
        .map(|&b| match b {
            b'"' | b'\\' | b']' => '?',
            b' '..=b'~' => char::from(b),
            _ => '?',
        })
        .collect();
    Reply {
        code: Some(alloc::format!("BADURL \"{shown}\"").into()),
        ..Reply::no("", "this URL names nothing that is here")
    }
}
