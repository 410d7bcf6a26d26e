//! Octets of messages: a message is a prefix of its own and a body it may share with others.

use bytes::{Bytes, BytesMut};
use core::ops::Range;
use mox_driver::{Pool, Runtime};
use mox_imap::server::{Answer, BodyPart, BodyWhat, BoxId};
use mox_mailbox::{AccountId, Header, MailboxId, Meta, Reads};
use mox_mime::{Part, Section, TransferDecoder, locate, part_at, parts};
use mox_server::{Intake, StoredStructure};
use mox_store::Store;
use mox_uids::Uid;
use std::io;

use super::{Done, ImapHost, Response, mailbox_of, refusal, unreadable};
use crate::budget::Held;
use crate::reread::reread;

/// Octets of a body read at a time when all of it is looked at.
const PIECE: u64 = 128 * 1024;
/// Octets of a text that are looked at for a preview.
const PREVIEW_OCTETS: u64 = 16 * 1024;
/// A section that is made and no longer than this is made again for the next piece.
const KEPT_MIN: usize = 64 * 1024;
/// Octets of a part that is decoded for BINARY, at most.
const DECODED_MAX: u64 = 64 * 1024 * 1024;

impl<R: Runtime> ImapHost<R> {
    pub(super) fn body(
        &mut self,
        mailbox: BoxId,
        uid: Uid,
        part: BodyPart,
        range: Range<u64>,
    ) -> Response {
        let (account, id) = (self.account(), mailbox_of(mailbox));
        if let Some(made) = &self.made
            && (made.mailbox, made.uid) == (id, uid)
            && made.part == part
        {
            return Response::Now(piece(&made.octets, &range));
        }
        self.made = None;
        let published = self.node.store.published();
        let meta = match mox_mailbox::meta(&*published.view, account, id, uid) {
            Ok(Some(meta)) => meta,
            Ok(None) => return Response::Now(Answer::Missing),
            Err(error) => return Response::Now(unreadable(error)),
        };
        let message = Message {
            account,
            mailbox: id,
            uid,
            meta,
        };
        let is_light = message.meta.body.is_inline() && message.meta.structure.is_some();
        let store = self.node.store.clone();
        let mut held = Held::nothing(&self.node.made_bodies);
        let work = move || {
            let (answer, made) = message.answer(&store, &*published.view, &part, &range);
            let made = made.filter(|octets| octets.len() > KEPT_MIN && held.take(octets.len()));
            let made = made.map(|octets| Made {
                mailbox: id,
                uid,
                part,
                octets,
                _held: held,
            });
            (answer, made.map(Box::new))
        };
        // A small body is a row, read from memory as a rule; a file may have to wait for the disk, and a structure that was
        // too large to store is parsed again.
        match is_light {
            true => {
                let (answer, made) = work();
                self.made = made;
                Response::Now(answer)
            }
            false => {
                let running = self.node.runtime.blocking(Pool::Bodies, Box::new(work));
                Response::later(async move {
                    let (answer, made) = running.await;
                    Done::Made(answer, made)
                })
            }
        }
    }
}

/// A section that had to be made, kept for as long as the session asks for pieces of it: made anew for each piece, a long
/// one would cost its length squared.
pub(crate) struct Made {
    mailbox: MailboxId,
    uid: Uid,
    part: BodyPart,
    octets: Bytes,
    _held: Held,
}

/// The octets of a section.
enum Found {
    /// A place in prefix and body.
    Stored(Range<u64>),
    /// Octets that are not stored like this.
    Made(Bytes),
}

fn piece(octets: &Bytes, range: &Range<u64>) -> Answer {
    let total = octets.len() as u64;
    Answer::Piece {
        total,
        bytes: octets.slice(as_index(clipped(range, total))),
    }
}

/// One stored message.
pub(super) struct Message {
    pub(super) account: AccountId,
    pub(super) mailbox: MailboxId,
    pub(super) uid: Uid,
    pub(super) meta: Meta,
}

impl Message {
    /// The octets `range` of a section; and all of it, if it had to be made.
    pub(super) fn answer(
        &self,
        store: &Store,
        view: &dyn Reads,
        part: &BodyPart,
        range: &Range<u64>,
    ) -> (Answer, Option<Bytes>) {
        let answer = match self.section(store, view, part) {
            Ok(Some(Found::Made(octets))) => return (piece(&octets, range), Some(octets)),
            Ok(Some(Found::Stored(place))) => match self.read(store, view, place, range) {
                Ok((total, bytes)) => Answer::Piece { total, bytes },
                Err(error) => unreadable(error),
            },
            Ok(None) if part.what == BodyWhat::Binary && self.is_there(store, view, part) => {
                refusal(
                    Some("UNKNOWN-CTE"),
                    "the encoding of that part cannot be undone",
                )
            }
            Ok(None) => Answer::Missing,
            Err(error) => unreadable(error),
        };
        (answer, None)
    }

    /// Its body as parts of it are shown (RFC 3516 4.4): what only BINARY could show is in base64. `None` where the body
    /// itself will do, which a look at the structure tells of nearly all.
    pub(super) fn without_nul(
        &self,
        store: &Store,
        view: &dyn Reads,
        structure: &Part,
    ) -> io::Result<Option<(Bytes, Part)>> {
        let length = self.meta.body.length;
        if !has_binary(structure) || length > DECODED_MAX {
            return Ok(None);
        }
        let mut octets = Vec::new();
        self.body_octets(store, view, 0..length, &mut |piece| {
            octets.extend_from_slice(piece);
        })?;
        let text = mox_message::without_binary(&octets, structure);
        Ok(text.map(|text| {
            let mut intake = Intake::new();
            intake.push(&text);
            (text.into(), intake.finish().structure.part)
        }))
    }

    fn is_there(&self, store: &Store, view: &dyn Reads, part: &BodyPart) -> bool {
        let structure = structure(store, view, &self.meta);
        structure.is_some_and(|s| locate(&s.part, &part.path, Section::All).is_some())
    }

    /// Names what is fixed about it (RFC 8474 5.1): copies share it, as they share body, prefix and date.
    pub(super) fn email_id(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        let id = self.meta.body.id;
        hasher.update(&id.boot.to_be_bytes());
        hasher.update(&id.counter.to_be_bytes());
        hasher.update(&self.meta.date.0.to_be_bytes());
        hasher.update(&self.meta.prefix);
        let mut short = [0; 16];
        hasher.finalize_xof().fill(&mut short);
        short
    }

    /// How its first text begins; empty when it has none.
    pub(super) fn preview(&self, store: &Store, view: &dyn Reads, structure: &Part) -> String {
        let mut texts = parts(structure).filter(|part| mox_message::text::is_text(part));
        let Some(part) = texts.next() else {
            return String::new();
        };
        let mut octets = Vec::new();
        let place = part.body..part.end.min(part.body + PREVIEW_OCTETS);
        let read = self.body_octets(store, view, place, &mut |piece| {
            octets.extend_from_slice(piece);
        });
        match read {
            Ok(()) => mox_message::text::preview(&mox_message::text::part_text(part, &octets)),
            Err(_) => String::new(),
        }
    }

    /// A section; `None` when there is no such one.
    fn section(
        &self,
        store: &Store,
        view: &dyn Reads,
        part: &BodyPart,
    ) -> io::Result<Option<Found>> {
        let prefix = self.meta.prefix.len() as u64;
        // BINARY of a message is the message: what it has inside stays encoded.
        let whole_message =
            part.path.is_empty() && matches!(part.what, BodyWhat::All | BodyWhat::Binary);
        if whole_message {
            return Ok(Some(Found::Stored(0..self.meta.size)));
        }
        let section = match &part.what {
            BodyWhat::All | BodyWhat::Binary => Section::All,
            BodyWhat::Header | BodyWhat::Fields(_) | BodyWhat::NotFields(_) => Section::Header,
            BodyWhat::Text => Section::Text,
            BodyWhat::Mime => Section::Mime,
        };
        let Some(structure) = structure(store, view, &self.meta) else {
            return Ok(None);
        };
        if !part.path.is_empty()
            && part.what != BodyWhat::Binary
            && let Some((text, shown)) = self.without_nul(store, view, &structure.part)?
        {
            return Ok(locate(&shown, &part.path, section).map(|found| {
                let octets = text.slice(as_index(clipped(&found, text.len() as u64)));
                Found::Made(fields_of(&part.what, &octets).unwrap_or(octets))
            }));
        }
        let Some(found) = locate(&structure.part, &part.path, section) else {
            return Ok(None);
        };
        // The header of the message itself begins with the prefix; everything else lies behind it.
        let start = match part.path.is_empty() && section == Section::Header {
            true => 0,
            false => prefix + found.start,
        };
        let place = start..prefix + found.end;
        Ok(Some(match &part.what {
            BodyWhat::Fields(_) | BodyWhat::NotFields(_) => {
                let block = self.read_all(store, view, place)?;
                Found::Made(fields_of(&part.what, &block).unwrap_or(block))
            }
            BodyWhat::Binary => {
                let encoding = part_at(&structure.part, &part.path).map(|p| p.encoding.as_slice());
                let Some(mut decoder) = TransferDecoder::new(encoding.unwrap_or_default()) else {
                    return Ok(None);
                };
                let total = place.end.saturating_sub(place.start);
                if total > DECODED_MAX {
                    return Ok(None);
                }
                if matches!(decoder, TransferDecoder::Identity) {
                    return Ok(Some(Found::Stored(place)));
                }
                let (mut decoded, mut at) = (Vec::new(), 0);
                while at < total {
                    let (_, piece) = self.read(store, view, place.clone(), &(at..at + PIECE))?;
                    decoder.push(&piece, &mut decoded);
                    at += PIECE;
                }
                decoder.finish(&mut decoded);
                Found::Made(decoded.into())
            }
            _ => Found::Stored(place),
        }))
    }

    /// The length of a place in prefix and body, and the octets `range` of it.
    fn read(
        &self,
        store: &Store,
        view: &dyn Reads,
        place: Range<u64>,
        range: &Range<u64>,
    ) -> io::Result<(u64, Bytes)> {
        let total = place.end.saturating_sub(place.start);
        let cut = clipped(range, total);
        let wanted = place.start + cut.start..place.start + cut.end;
        let prefix = self.meta.prefix.len() as u64;
        let front = wanted.start.min(prefix)..wanted.end.min(prefix);
        let front = self.meta.prefix.slice(as_index(front));
        let back = wanted.start.max(prefix) - prefix..wanted.end.max(prefix) - prefix;
        if back.is_empty() {
            return Ok((total, front));
        }
        let back = store.read_body(view, &self.meta.body, back)?;
        if front.is_empty() {
            return Ok((total, back));
        }
        let mut joined = BytesMut::with_capacity(front.len() + back.len());
        joined.extend_from_slice(&front);
        joined.extend_from_slice(&back);
        Ok((total, joined.freeze()))
    }

    fn read_all(&self, store: &Store, view: &dyn Reads, place: Range<u64>) -> io::Result<Bytes> {
        let length = place.end.saturating_sub(place.start);
        self.read(store, view, place, &(0..length))
            .map(|(_, bytes)| bytes)
    }

    /// The header of the message with its prefix, blank line included.
    pub(super) fn header(&self, store: &Store, view: &dyn Reads) -> Option<Bytes> {
        match self.stored_header(view)? {
            StoredHeader::Whole(header) => Some(header),
            StoredHeader::Cut => self.header_in_body(store, view),
        }
    }

    /// The same, if it is stored beside the message.
    pub(super) fn stored_header(&self, view: &dyn Reads) -> Option<StoredHeader> {
        let stored = mox_mailbox::header(view, self.account, self.mailbox, self.uid).ok()??;
        Some(self.with_prefix(stored))
    }

    /// What is stored of the header, with the prefix before it.
    pub(super) fn with_prefix(&self, stored: Header) -> StoredHeader {
        if stored.cut {
            return StoredHeader::Cut;
        }
        if self.meta.prefix.is_empty() {
            return StoredHeader::Whole(stored.octets);
        }
        let mut joined = BytesMut::with_capacity(self.meta.prefix.len() + stored.octets.len());
        joined.extend_from_slice(&self.meta.prefix);
        joined.extend_from_slice(&stored.octets);
        StoredHeader::Whole(joined.freeze())
    }

    /// The same from the body, which may be long.
    pub(super) fn header_in_body(&self, store: &Store, view: &dyn Reads) -> Option<Bytes> {
        let structure = structure(store, view, &self.meta)?;
        let end = self.meta.prefix.len() as u64 + structure.part.body;
        self.read_all(store, view, 0..end).ok()
    }

    /// The octets of a place in the body; what is no longer than a piece is not copied.
    pub(super) fn body_at(
        &self,
        store: &Store,
        view: &dyn Reads,
        place: Range<u64>,
    ) -> io::Result<Bytes> {
        if place.end.saturating_sub(place.start) <= PIECE {
            return store.read_body(view, &self.meta.body, place);
        }
        let mut octets = Vec::new();
        self.body_octets(store, view, place, &mut |piece| {
            octets.extend_from_slice(piece);
        })?;
        Ok(octets.into())
    }

    /// The octets of a place in the body, in pieces.
    pub(super) fn body_octets(
        &self,
        store: &Store,
        view: &dyn Reads,
        place: Range<u64>,
        visit: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut at = place.start;
        while at < place.end {
            let piece = store.read_body(view, &self.meta.body, at..place.end.min(at + PIECE))?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            visit(&piece);
        }
        Ok(())
    }
}

/// Whether a part has the transfer encoding `binary`.
pub(super) fn has_binary(structure: &Part) -> bool {
    parts(structure).any(|part| part.encoding.eq_ignore_ascii_case(b"binary"))
}

/// The fields of a header block that HEADER.FIELDS and HEADER.FIELDS.NOT name; `None` for other sections.
fn fields_of(what: &BodyWhat, block: &[u8]) -> Option<Bytes> {
    match what {
        BodyWhat::Fields(names) => Some(mox_mime::header::fields(block, names, false).into()),
        BodyWhat::NotFields(names) => Some(mox_mime::header::fields(block, names, true).into()),
        _ => None,
    }
}

/// What is stored of a header.
pub(super) enum StoredHeader {
    Whole(Bytes),
    /// Its beginning: the rest is in the body.
    Cut,
}

/// Envelope and structure of a message: as stored, or made again from a body whose structure was too large to store, which
/// is work for a pool.
pub(super) fn structure(store: &Store, view: &dyn Reads, meta: &Meta) -> Option<StoredStructure> {
    if let Some(stored) = meta.structure.as_deref() {
        return StoredStructure::decode(stored);
    }
    let structure = reread(store, view, &meta.body).ok()?.structure;
    Some(StoredStructure {
        envelope: structure.envelope,
        part: structure.part,
    })
}

fn clipped(range: &Range<u64>, total: u64) -> Range<u64> {
    let end = range.end.min(total);
    range.start.min(end)..end
}

fn as_index(range: Range<u64>) -> Range<usize> {
    // Ranges of what is in memory already.
    usize::try_from(range.start).unwrap_or(usize::MAX)
        ..usize::try_from(range.end).unwrap_or(usize::MAX)
}
