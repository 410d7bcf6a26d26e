//! FETCH, RFC 3501 6.4.5.
//!
//! Rows come in pages, bodies in ranges of 64 KiB, and nothing is asked for before what came is on its way to
//! the client. \Seen is set, durably, before a body is shown.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use mox_uids::{Uid, UidSet};

use super::job::{Job, Next, Reply};
use super::message_limit::Limited;
use super::report::Selection;
use super::{
    Answer, Ask, BodyPart, BodyWhat, CloseReason, Flag, MarkHow, More, Preview, Row, Server,
    SystemFlags, Want, numbered,
};
use crate::wire::{
    FetchArgs, FetchItem, Span, put, put_number, write_envelope, write_internal_date, write_string,
    write_structure,
};

/// Pages of messages named in one ask for rows.
const PAGES_AHEAD: u32 = 4;
/// Octets of a body asked for at a time.
const PIECE: u64 = 64 * 1024;
/// Octets written before the client must take some.
const OUTPUT_LOW: usize = 32 * 1024;

/// A FETCH that is being answered.
#[derive(Debug)]
pub(super) struct Fetch {
    items: Vec<FetchItem>,
    want: Want,
    /// Shows bodies, which sets \Seen.
    marks: bool,
    page: u32,
    changed_since: Option<u64>,
    /// Messages not asked for yet.
    left: UidSet,
    /// The last message of the page that is asked for.
    asked: Option<Uid>,
    rows: VecDeque<Row>,
    /// Of `rows`: those that this command gave \Seen.
    marked: UidSet,
    waiting: Waiting,
    /// A keyword of these rows has no name yet.
    pub(super) nameless: bool,
    current: Option<Current>,
    /// Tell with the tagged response that messages were missing.
    strict: bool,
    missing: bool,
    /// Not all messages that were named are taken.
    pub(super) limited: Limited,
    reply: Reply,
}

/// What the open ask is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Rows,
    Seen,
    Body,
}

/// The message whose response is half written.
#[derive(Debug)]
struct Current {
    row: Row,
    /// The item to be written next.
    item: usize,
    /// Items written.
    written: bool,
    /// What is left of the literal that is half written.
    literal: Option<Range<u64>>,
}

impl Fetch {
    /// The response to STORE: `rows` are known, `left` were not changed by it.
    pub(super) fn of_stored(
        items: Vec<FetchItem>,
        left: UidSet,
        rows: Vec<Row>,
        reply: Reply,
    ) -> Self {
        Self {
            items,
            want: Want::default(),
            marks: false,
            page: 500,
            changed_since: None,
            left,
            asked: None,
            rows: rows.into(),
            marked: UidSet::new(),
            waiting: Waiting::Rows,
            nameless: false,
            current: None,
            strict: false,
            missing: false,
            limited: None,
            reply,
        }
    }

    /// What is told of new messages without a command.
    pub(super) fn of_arrivals(items: Vec<FetchItem>, uids: UidSet) -> Self {
        Self {
            want: wanted(&items),
            page: 64,
            ..Self::of_stored(items, uids, Vec::new(), Reply::ok())
        }
    }

    /// A response is half written.
    pub(super) const fn in_literal(&self) -> bool {
        self.current.is_some()
    }

    /// A report in the middle of this command tells a row: what is still to be written must not be older.
    pub(super) fn renew(&mut self, told: &Row) {
        for row in &mut self.rows {
            if row.uid == told.uid && row.modseq < told.modseq {
                row.modseq = told.modseq;
                row.flags = told.flags;
                row.keywords = told.keywords;
            }
        }
    }

    fn wants_flags(&self) -> bool {
        self.marks || self.items.contains(&FetchItem::Flags)
    }
}

/// Served from the stored header, without opening the body.
fn is_header(part: &BodyPart) -> bool {
    part.path.is_empty()
        && matches!(
            part.what,
            BodyWhat::Header | BodyWhat::Fields(_) | BodyWhat::NotFields(_)
        )
}

fn wanted(items: &[FetchItem]) -> Want {
    let mut want = Want::default();
    for item in items {
        match item {
            FetchItem::Envelope => want.envelope = true,
            FetchItem::InternalDate => want.date = true,
            FetchItem::Structure { .. } => want.structure = true,
            FetchItem::SaveDate | FetchItem::EmailId => want.identity = true,
            FetchItem::Preview { lazy: false } => want.preview = Some(Preview::Eager),
            FetchItem::Preview { lazy: true } => {
                want.preview = want.preview.or(Some(Preview::Lazy));
            }
            FetchItem::Body { part, .. } if is_header(part) => want.header = true,
            _ => {}
        }
    }
    want
}

impl Server {
    pub(super) fn fetch(&mut self, args: FetchArgs, uid: bool) -> Next {
        let FetchArgs {
            set,
            mut items,
            changed_since,
            vanished,
            partial,
        } = args;
        if partial.is_some() && !uid {
            return Next::bad("PARTIAL needs UID FETCH");
        }
        if vanished && !(uid && self.modes.qresync) {
            // RFC 7162 3.2.6.
            return Next::bad("VANISHED needs UID FETCH, and QRESYNC enabled");
        }
        if changed_since.is_some() && !items.contains(&FetchItem::Modseq) {
            items.push(FetchItem::Modseq);
        }
        // RFC 9586 3.1: UIDFETCH tells the UID already.
        if uid && !self.modes.uid_only && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        if items.contains(&FetchItem::Modseq) {
            self.use_condstore();
        }
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let mut left = match numbered(&set, &selection.uids, uid) {
            Ok(uids) => uids,
            Err(next) => return next,
        };
        if let Some(span) = partial {
            left = at_positions(&left, span);
            if let Err(next) = self.all_or_none(left.len()) {
                return next;
            }
        }
        let (left, limited) = self.highest(left);
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let marks = selection.writable
            && items
                .iter()
                .any(|item| matches!(item, FetchItem::Body { peek: false, .. }));
        let limits = &self.config.limits;
        let fetch = Fetch {
            want: wanted(&items),
            page: if marks { limits.body_page } else { limits.page },
            marks,
            changed_since,
            strict: !uid,
            limited,
            ..Fetch::of_stored(items, left, Vec::new(), Reply::ok())
        };
        let fetch = Box::new(fetch);
        match changed_since.filter(|_| vanished) {
            Some(since) => {
                let mailbox = selection.mailbox;
                let id = self.ask(Ask::Vanished { mailbox, since });
                Next::Wait(id, Job::FetchVanished(fetch, set.written()))
            }
            None => Next::Go(Job::Fetch(fetch)),
        }
    }

    pub(super) fn fetch_vanished(
        &mut self,
        fetch: Box<Fetch>,
        named: &UidSet,
        answer: Answer,
    ) -> Next {
        match answer {
            Answer::Vanished(gone) => self.write_vanished(&gone, named),
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        }
        Next::Go(Job::Fetch(fetch))
    }

    /// Writes until there is enough output, or something must be asked.
    pub(super) fn fetch_more(&mut self, mut fetch: Box<Fetch>) -> Next {
        if core::mem::take(&mut fetch.nameless) && self.begin_report(false) {
            return Next::Go(Job::Fetch(fetch));
        }
        while self.out.octets() < OUTPUT_LOW {
            if let Some(mut current) = fetch.current.take() {
                let ask = self.write_items(&fetch, &mut current);
                let done = ask.is_none() && current.item >= fetch.items.len();
                if !done {
                    fetch.current = Some(current);
                }
                if let Some(ask) = ask {
                    fetch.waiting = Waiting::Body;
                    return Next::Wait(self.ask(ask), Job::Fetch(fetch));
                }
            } else if let Some(row) = fetch.rows.pop_front() {
                fetch.current = self.begin_row(&fetch, row);
            } else if fetch.left.is_empty() {
                if fetch.missing && fetch.strict && fetch.reply.status == "OK" {
                    fetch.reply = Reply::no("EXPUNGEISSUED", "some messages are expunged");
                }
                return self.limited(fetch.limited, fetch.reply);
            } else {
                let Some(selection) = &self.selected else {
                    return Next::Done(Reply::unexpected());
                };
                fetch.waiting = Waiting::Rows;
                // A mailbox in a thousand pieces is not handed over whole with every page.
                let ahead = fetch.left.at(fetch.page.saturating_mul(PAGES_AHEAD));
                fetch.asked = ahead.or_else(|| fetch.left.last());
                let ask = Ask::Rows {
                    mailbox: selection.mailbox,
                    uids: match ahead {
                        Some(Uid(last)) => UidSet::from_runs([1..=last]).intersection(&fetch.left),
                        None => fetch.left.clone(),
                    },
                    want: fetch.want,
                    max: fetch.page,
                };
                return Next::Wait(self.ask(ask), Job::Fetch(fetch));
            }
        }
        Next::Go(Job::Fetch(fetch))
    }

    pub(super) fn fetch_answer(&mut self, mut fetch: Box<Fetch>, answer: Answer) -> Next {
        match (fetch.waiting, answer) {
            (Waiting::Rows, Answer::Rows { rows, next }) => return self.page(fetch, rows, next),
            (Waiting::Seen, Answer::Marked { rows, changed, .. }) => {
                let marked: UidSet = rows.iter().map(|row| row.uid).collect();
                for row in rows {
                    let known = fetch.rows.binary_search_by_key(&row.uid, |r| r.uid);
                    if let Some(known) = known.ok().and_then(|at| fetch.rows.get_mut(at)) {
                        (known.flags, known.keywords, known.modseq) =
                            (row.flags, row.keywords, row.modseq);
                    }
                }
                if let Some(selection) = &mut self.selected {
                    selection.contexts.note(&marked);
                    for (modseq, uids) in changed {
                        selection.changed_by_us(uids, modseq);
                    }
                }
                fetch.marked = marked;
            }
            // The mark was refused (a quota, a disk): reading still works.
            (Waiting::Seen, Answer::No(_)) => {}
            (Waiting::Body, Answer::Piece { total, bytes }) => self.piece(&mut fetch, total, bytes),
            (Waiting::Body, answer @ (Answer::Missing | Answer::No(_))) => {
                self.no_piece(&mut fetch, answer);
            }
            (_, Answer::No(refusal)) => return Next::Done(refusal.into()),
            _ => {
                if fetch.current.is_some() {
                    self.close(CloseReason::Failed, None);
                }
                return Next::Done(Reply::unexpected());
            }
        }
        Next::Go(Job::Fetch(fetch))
    }

    /// A page of rows came.
    fn page(&mut self, mut fetch: Box<Fetch>, rows: Vec<Row>, next: Option<Uid>) -> Next {
        let before = fetch.left.len();
        // A page that does not go forward would never end.
        let forward = next.filter(|next| fetch.left.first().is_some_and(|first| *next > first));
        let done = forward
            .map(|next| Uid(next.0.saturating_sub(1)))
            .or(fetch.asked);
        if let Some(Uid(last)) = done {
            fetch.left = fetch.left.difference(&UidSet::from_runs([1..=last.max(1)]));
        }
        let looked_at = before - fetch.left.len();
        fetch.missing |= (rows.len() as u64) < u64::from(looked_at);
        let since = fetch.changed_since.unwrap_or(0);
        fetch.rows = rows
            .into_iter()
            .filter(|row| since == 0 || row.modseq > since)
            .collect();
        fetch.marked = UidSet::new();
        if let (true, Some(selection)) = (fetch.wants_flags(), &mut self.selected) {
            fetch.nameless = !selection.names_all(fetch.rows.iter());
        }
        let unseen = |row: &&Row| !row.flags.contains(SystemFlags::SEEN);
        let uids: UidSet = fetch
            .rows
            .iter()
            .filter(unseen)
            .map(|row| row.uid)
            .collect();
        let Some(selection) = self
            .selected
            .as_ref()
            .filter(|_| fetch.marks && !uids.is_empty())
        else {
            return Next::Go(Job::Fetch(fetch));
        };
        let ask = Ask::Mark {
            mailbox: selection.mailbox,
            uids,
            how: MarkHow::Add,
            flags: [Flag::System(SystemFlags::SEEN)].into(),
            unchanged_since: None,
            known: selection.modseq,
        };
        fetch.waiting = Waiting::Seen;
        Next::Wait(self.ask(ask), Job::Fetch(fetch))
    }

    fn begin_row(&mut self, fetch: &Fetch, row: Row) -> Option<Current> {
        let selection = self.selected.as_ref()?;
        let out = self.out.text();
        if !selection.write_fetch(out, row.uid, self.modes) {
            return None;
        }
        // The client learns of the \Seen that its command sets, by what RFC 7162 3.2.4 demands.
        let marked = fetch.marked.contains(row.uid);
        let tells = |item| marked && !fetch.items.contains(&item);
        let mut written = false;
        if self.modes.condstore && !self.modes.uid_only && tells(FetchItem::Uid) {
            put!(out, "UID {}", row.uid);
            written = true;
        }
        if tells(FetchItem::Flags) {
            out.extend_from_slice(if written { b" " } else { b"" });
            selection.write_flags(out, &row, self.modes);
            written = true;
        }
        if self.modes.condstore && tells(FetchItem::Modseq) {
            put!(
                out,
                "{}MODSEQ ({})",
                if written { " " } else { "" },
                row.modseq
            );
            written = true;
        }
        Some(Current {
            row,
            item: 0,
            written,
            literal: None,
        })
    }

    /// Writes items of the current message. Returns the ask for the bytes that the next one needs.
    fn write_items(&mut self, fetch: &Fetch, current: &mut Current) -> Option<Ask> {
        let selection = self.selected.as_ref()?;
        if let Some(range) = &current.literal {
            if range.start < range.end {
                return body_ask(fetch, current, selection, range.clone());
            }
            current.literal = None;
            current.item += 1;
        }
        while let Some(item) = fetch.items.get(current.item) {
            let row = &current.row;
            let header = match item {
                FetchItem::Body { part, .. } if is_header(part) => row.header.clone(),
                _ => None,
            };
            match (item, &header) {
                (FetchItem::Body { partial, .. }, None) => {
                    let (first, count) = partial.unwrap_or((0, u64::MAX));
                    let range = first..first.saturating_add(count);
                    return body_ask(fetch, current, selection, range);
                }
                (FetchItem::BinarySize { .. }, _) => {
                    return body_ask(fetch, current, selection, 0..0);
                }
                _ => {}
            }
            let out = self.out.text();
            if current.written {
                out.push(b' ');
            }
            current.written = true;
            match item {
                FetchItem::Uid => {
                    out.extend_from_slice(b"UID ");
                    put_number(out, row.uid.0.into());
                }
                FetchItem::Flags => selection.write_flags(out, row, self.modes),
                FetchItem::Modseq => put!(out, "MODSEQ ({})", row.modseq),
                FetchItem::Size => {
                    out.extend_from_slice(b"RFC822.SIZE ");
                    // IMAP4rev1 knows 32 bits, IMAP4rev2 63.
                    let most = if self.modes.rev2 {
                        i64::MAX as u64
                    } else {
                        u32::MAX.into()
                    };
                    put_number(out, row.size.min(most));
                }
                FetchItem::InternalDate => {
                    out.extend_from_slice(b"INTERNALDATE ");
                    write_internal_date(out, row.date.unwrap_or_default());
                }
                FetchItem::SaveDate => {
                    out.extend_from_slice(b"SAVEDATE ");
                    match more(row).saved {
                        Some(saved) => write_internal_date(out, saved),
                        None => out.extend_from_slice(b"NIL"),
                    }
                }
                FetchItem::EmailId => {
                    out.extend_from_slice(b"EMAILID (M");
                    for byte in more(row).email.unwrap_or_default() {
                        put!(out, "{byte:02x}");
                    }
                    out.push(b')');
                }
                FetchItem::ThreadId => out.extend_from_slice(b"THREADID NIL"),
                FetchItem::Preview { .. } => {
                    out.extend_from_slice(b"PREVIEW ");
                    match &more(row).preview {
                        Some(text) => write_string(out, text.as_bytes()),
                        None => out.extend_from_slice(b"NIL"),
                    }
                }
                FetchItem::BinarySize { .. } => {}
                FetchItem::Envelope => {
                    out.extend_from_slice(b"ENVELOPE ");
                    match &row.envelope {
                        Some(envelope) => write_envelope(out, envelope),
                        None => write_envelope(out, &mox_mime::Envelope::default()),
                    }
                }
                FetchItem::Structure { extended } => {
                    out.extend_from_slice(if *extended {
                        b"BODYSTRUCTURE "
                    } else {
                        b"BODY "
                    });
                    match &row.structure {
                        Some(structure) => write_structure(out, structure, *extended),
                        None => write_structure(out, &mox_mime::Part::default(), *extended),
                    }
                }
                FetchItem::Body {
                    part,
                    partial,
                    label,
                    ..
                } => {
                    let bytes = selected_header(&header.unwrap_or_default(), part);
                    let range = clip(*partial, bytes.len() as u64);
                    out.extend_from_slice(label);
                    write_literal_size(out, range.end - range.start, false);
                    self.out
                        .bytes(bytes.slice(range.start as usize..range.end as usize));
                }
            }
            current.item += 1;
        }
        self.out.line(b")");
        None
    }

    /// Bytes of a body came.
    fn piece(&mut self, fetch: &mut Fetch, total: u64, mut bytes: Bytes) {
        let Some(current) = &mut fetch.current else {
            return;
        };
        if current.literal.is_none() {
            let out = self.out.text();
            let item = fetch.items.get(current.item);
            if current.written && item.is_some() {
                out.push(b' ');
            }
            current.written = true;
            match item {
                Some(FetchItem::Body {
                    partial,
                    label,
                    part,
                    ..
                }) => {
                    let range = clip(*partial, total);
                    out.extend_from_slice(label);
                    // Only a literal8 can have a NUL (RFC 3516 4.2.1).
                    let binary = part.what == BodyWhat::Binary;
                    write_literal_size(out, range.end - range.start, binary);
                    current.literal = Some(range);
                }
                Some(FetchItem::BinarySize { label, .. }) => {
                    out.extend_from_slice(label);
                    put!(out, " {total}");
                    current.item += 1;
                    return;
                }
                _ => return,
            }
        }
        let Some(range) = &mut current.literal else {
            return;
        };
        let due = range.end - range.start;
        bytes.truncate(usize::try_from(due).unwrap_or(usize::MAX));
        if bytes.is_empty() && due > 0 {
            // A body that is shorter than it was: the literal cannot be completed.
            return self.close(CloseReason::Failed, None);
        }
        range.start += bytes.len() as u64;
        self.out.bytes(bytes);
    }

    /// There is no such part, or it cannot be read.
    fn no_piece(&mut self, fetch: &mut Fetch, answer: Answer) {
        let Some(current) = &mut fetch.current else {
            return;
        };
        if current.literal.is_some() {
            return self.close(CloseReason::Failed, None);
        }
        if let Answer::No(refusal) = answer {
            fetch.reply = refusal.into();
        }
        let item = fetch.items.get(current.item);
        let size = matches!(item, Some(FetchItem::BinarySize { .. }));
        if let Some(FetchItem::Body { label, .. } | FetchItem::BinarySize { label, .. }) = item {
            let out = self.out.text();
            if current.written {
                out.push(b' ');
            }
            current.written = true;
            out.extend_from_slice(label);
            // The size of nothing is 0; text that is not there is NIL.
            out.extend_from_slice(if size { b" 0" } else { b" NIL" });
        }
        current.item += 1;
    }
}

fn body_ask(
    fetch: &Fetch,
    current: &Current,
    selection: &Selection,
    range: Range<u64>,
) -> Option<Ask> {
    let Some(FetchItem::Body { part, .. } | FetchItem::BinarySize { part, .. }) =
        fetch.items.get(current.item)
    else {
        return None;
    };
    let end = range.end.min(range.start.saturating_add(PIECE));
    Some(Ask::Body {
        mailbox: selection.mailbox,
        uid: current.row.uid,
        part: part.clone(),
        range: range.start..end,
    })
}

fn selected_header(header: &Bytes, part: &BodyPart) -> Bytes {
    match &part.what {
        BodyWhat::Fields(names) => mox_mime::header::fields(header, names, false).into(),
        BodyWhat::NotFields(names) => mox_mime::header::fields(header, names, true).into(),
        _ => header.clone(),
    }
}

/// The octets that a partial fetch means, of `total`.
fn clip(partial: Option<(u64, u64)>, total: u64) -> Range<u64> {
    let (first, count) = partial.unwrap_or((0, total));
    let first = first.min(total);
    first..first.saturating_add(count).min(total)
}

/// The members at these positions.
pub(super) fn at_positions(uids: &UidSet, span: Span) -> UidSet {
    let range = span.of(uids.len());
    let ends = uids
        .at(range.start)
        .zip(range.end.checked_sub(1).and_then(|last| uids.at(last)));
    let run = ends.filter(|(first, last)| first <= last && !range.is_empty());
    UidSet::from_runs(run.map(|(first, last)| first.0..=last.0)).intersection(uids)
}

/// The columns that are seldom there.
fn more(row: &Row) -> More {
    row.more.as_deref().cloned().unwrap_or_default()
}

fn write_literal_size(out: &mut Vec<u8>, size: u64, binary: bool) {
    if size == 0 {
        out.extend_from_slice(b" \"\"");
    } else {
        put!(out, " {}{{{size}}}\r\n", if binary { "~" } else { "" });
    }
}
