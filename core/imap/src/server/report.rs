//! What the client is told about the selected mailbox without asking: EXISTS, EXPUNGE, FETCH, FLAGS.
//!
//! The session keeps the messages its client knows of, and counts sequence numbers by those alone. `Watch` only says
//! that there is something; it is asked for (`Changes`) and told where RFC 3501 7.4.1 allows it: at the end of a
//! command, and at once in IDLE. After FETCH, STORE and SEARCH, expunged messages keep their numbers until later.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use mox_machine::{AskId, Step, mutant};
use mox_uids::{Uid, UidSet};

use super::capability::Modes;
use super::context::Contexts;
use super::job::{Job, Running};
use super::{Answer, Ask, BoxId, Changes, CloseReason, Event, Row, Server, on_wire};
use crate::wire::{Verb, put, put_number, write_flags};

/// Rows of `Changes` asked for at a time.
const PAGE: u32 = 500;
/// Keywords that a mailbox can have: as many as a [`Row`] has bits.
const KEYWORDS_MAX: usize = u64::BITS as usize;
/// New messages whose flags are told with their arrival; beyond that the client must ask.
const FRESH_MAX: usize = 1_000;
/// Own operations remembered so that they are not told again.
const OWN_MAX: usize = 256;

/// The selected mailbox as its client knows it.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) mailbox: BoxId,
    /// As its client knows it; others may have renamed it.
    pub(super) name: String,
    /// UIDVALIDITY
    pub(super) validity: u32,
    pub(super) writable: bool,
    /// The messages the client knows of; a sequence number is a position in this.
    pub(super) uids: Arc<UidSet>,
    /// Those of them that are expunged, which the client was not told yet.
    gone: UidSet,
    /// Those with \Recent: this session was the first to be told of them (RFC 3501 2.3.2).
    pub(super) recent: UidSet,
    /// `$`: what the last SEARCH saved (RFC 5182).
    pub(super) saved: UidSet,
    /// Searches that are kept up to date (RFC 5267).
    pub(super) contexts: Contexts,
    /// Everything up to this modification sequence was told.
    pub(super) modseq: u64,
    pub(super) keywords: Vec<String>,
    /// Messages this session changed itself, with the modification sequence that gave them.
    own: Vec<(u64, UidSet)>,
    watch: Option<AskId>,
    /// There is more than was told.
    dirty: bool,
    /// The mailbox was deleted by somebody else.
    pub(super) vanished: bool,
    /// And its client knows.
    vanished_told: bool,
}

/// A report that is being put together.
#[derive(Debug)]
pub(super) struct Report {
    ask: Option<AskId>,
    /// EXPUNGE is allowed.
    full: bool,
    /// The next page begins after this modification sequence.
    since: u64,
    added: UidSet,
    fresh: BTreeMap<Uid, Row>,
    gone: UidSet,
    recent: UidSet,
}

impl Selection {
    pub(super) fn new(name: String, writable: bool, selected: super::Selected) -> Self {
        Self {
            mailbox: selected.mailbox,
            name,
            validity: selected.validity,
            writable,
            uids: selected.uids,
            gone: UidSet::new(),
            recent: selected.recent,
            saved: UidSet::new(),
            contexts: Contexts::default(),
            modseq: selected.modseq,
            keywords: selected.keywords,
            own: Vec::new(),
            watch: None,
            dirty: false,
            vanished: false,
            vanished_told: false,
        }
    }

    /// The message sequence number.
    pub(super) fn number(&self, uid: Uid) -> Option<u32> {
        self.uids.position(uid).map(|at| at + 1)
    }

    /// This session changed these with one operation; the response to the command tells it.
    pub(super) fn changed_by_us(&mut self, uids: UidSet, modseq: u64) {
        if modseq <= self.modseq {
            return;
        }
        if modseq == self.modseq + 1 && !self.dirty {
            // Nobody else's change is between.
            self.modseq = modseq;
            return;
        }
        self.dirty = true;
        if !uids.is_empty() && self.own.len() < OWN_MAX {
            self.own.push((modseq, uids));
        }
    }

    /// Something happened that this session must look for even before `Watch` says so.
    pub(super) const fn touch(&mut self) {
        self.dirty = true;
    }

    /// Whether all keywords of these rows have names. Those that somebody just used first have none yet: then the
    /// changes must be asked for before the rows are told.
    pub(super) fn names_all<'a>(&mut self, mut rows: impl Iterator<Item = &'a Row>) -> bool {
        let named = self.keywords.len().min(64) as u32;
        let unknown = rows.any(|row| {
            row.keywords
                .checked_shr(named)
                .is_some_and(|bits| bits != 0)
        });
        self.dirty |= unknown;
        !unknown
    }

    fn told(&self, row: &Row) -> bool {
        self.own
            .iter()
            .any(|(modseq, uids)| row.modseq == *modseq && uids.contains(row.uid))
    }

    /// Writes EXPUNGE for the messages of `uids`, counting down the numbers behind each, or one VANISHED, and forgets
    /// them.
    pub(super) fn expunge(&mut self, out: &mut Vec<u8>, uids: &UidSet, modes: Modes) {
        let uids = uids.intersection(&self.uids);
        if uids.is_empty() {
            return;
        }
        self.leave_contexts(out, &uids);
        if modes.tells_vanished() {
            put!(out, "* VANISHED {uids}\r\n");
        }
        let numbered = if modes.tells_vanished() {
            0
        } else {
            usize::MAX
        };
        for (before, uid) in (0u32..).zip(uids.iter()).take(numbered) {
            let before = before * u32::from(!mutant!(ExpungeNumbersStay));
            if let Some(number) = self.number(uid) {
                put!(out, "* {} EXPUNGE\r\n", number - before);
            }
        }
        self.uids = Arc::new(self.uids.difference(&uids));
        self.gone = self.gone.difference(&uids);
        self.recent = self.recent.difference(&uids);
    }

    pub(super) fn write_keywords(&self, out: &mut Vec<u8>) {
        const ALL: &[u8] = b"\\Seen \\Answered \\Flagged \\Deleted \\Draft";
        let mut names = ALL.to_vec();
        for keyword in &self.keywords {
            names.push(b' ');
            names.extend_from_slice(keyword.as_bytes());
        }
        out.extend_from_slice(b"* FLAGS (");
        out.extend_from_slice(&names);
        out.extend_from_slice(b")\r\n* OK [PERMANENTFLAGS (");
        if self.writable {
            out.extend_from_slice(&names);
            // RFC 3501 7.1: only while a new keyword can be kept.
            let room = self.keywords.len() < KEYWORDS_MAX;
            out.extend_from_slice(if room { b" \\*" } else { b"" });
        }
        out.extend_from_slice(b")] what may be stored\r\n");
    }

    /// `* 7 FETCH (`, or `* 12 UIDFETCH (` where there are no numbers any more. False when the client does not know it.
    pub(super) fn write_fetch(&self, out: &mut Vec<u8>, uid: Uid, modes: Modes) -> bool {
        let Some(number) = self.number(uid) else {
            return false;
        };
        out.extend_from_slice(b"* ");
        if modes.uid_only {
            put_number(out, uid.0.into());
            out.extend_from_slice(b" UIDFETCH (");
        } else {
            put_number(out, number.into());
            out.extend_from_slice(b" FETCH (");
        }
        true
    }

    /// `FLAGS (...)`; IMAP4rev2 knows no \Recent.
    pub(super) fn write_flags(&self, out: &mut Vec<u8>, row: &Row, modes: Modes) {
        out.extend_from_slice(b"FLAGS ");
        let recent = !modes.rev2 && self.recent.contains(row.uid);
        write_flags(out, row.flags, recent, row.keywords, &self.keywords);
    }

    pub(super) fn write_row(&self, out: &mut Vec<u8>, row: &Row, modes: Modes) {
        if !self.write_fetch(out, row.uid, modes) {
            return;
        }
        if !modes.uid_only {
            out.extend_from_slice(b"UID ");
            put_number(out, row.uid.0.into());
            out.push(b' ');
        }
        self.write_flags(out, row, modes);
        if modes.condstore {
            put!(out, " MODSEQ ({})", row.modseq);
        }
        out.extend_from_slice(b")\r\n");
    }
}

impl Server {
    /// Starts to tell what is new, if anything may be. True when an answer must be waited for.
    pub(super) fn begin_report(&mut self, full: bool) -> bool {
        if let Some(report) = &mut self.report {
            report.full |= full;
            return true;
        }
        let Some(selection) = &mut self.selected else {
            return false;
        };
        if selection.vanished {
            return false;
        }
        if !selection.dirty {
            if full {
                let gone = selection.gone.clone();
                selection.expunge(self.out.text(), &gone, self.modes);
            }
            return false;
        }
        // Told or not: what comes after this question is answered by the next Watch.
        selection.dirty = false;
        let since = selection.modseq;
        self.report = Some(Box::new(Report {
            ask: None,
            full,
            since,
            added: UidSet::new(),
            fresh: BTreeMap::new(),
            gone: UidSet::new(),
            recent: UidSet::new(),
        }));
        self.ask_changes();
        true
    }

    /// Asks for the next page of a report, once the output has room.
    pub(super) fn pump_report(&mut self) -> bool {
        let wanted = self
            .report
            .as_ref()
            .is_some_and(|report| report.ask.is_none());
        if wanted {
            self.ask_changes();
        }
        wanted
    }

    fn ask_changes(&mut self) {
        let (Some(selection), Some(report)) = (&self.selected, &self.report) else {
            return;
        };
        let ask = Ask::Changes {
            mailbox: selection.mailbox,
            since: report.since,
            max: PAGE,
        };
        let id = self.ask(ask);
        if let Some(report) = &mut self.report {
            report.ask = Some(id);
        }
    }

    /// True when the answer was for the report.
    pub(super) fn report_answer(&mut self, id: AskId, answer: Answer) -> Option<Answer> {
        if self
            .report
            .as_ref()
            .is_none_or(|report| report.ask != Some(id))
        {
            return Some(answer);
        }
        match answer {
            Answer::Changes(changes) => self.changes(changes),
            other => {
                // Not told now; the next Watch brings it up again.
                if let (Answer::Gone | Answer::Missing, Some(selection)) =
                    (other, &mut self.selected)
                {
                    selection.vanished = true;
                }
                self.end_report();
                self.tell_vanished();
            }
        }
        None
    }

    fn changes(&mut self, changes: Changes) {
        // NOTIFY tells all that happened before it (RFC 5465 3.1).
        let running = self.running.as_deref();
        let before = running.is_some_and(|running| running.verb == Verb::Notify);
        let flags_wanted = before || self.told_events().flags;
        let (Some(selection), Some(report)) = (&mut self.selected, &mut self.report) else {
            return;
        };
        report.ask = None;
        let out = self.out.text();
        if !changes.keywords.is_empty() && changes.keywords != selection.keywords {
            selection.keywords = changes.keywords;
            selection.write_keywords(out);
        }
        selection
            .contexts
            .note(&changes.rows.iter().map(|row| row.uid).collect());
        let newest = selection.uids.last();
        let mut fetch = match self.running.as_mut().map(|running| &mut running.job) {
            Some(Job::Fetch(fetch)) => Some(fetch),
            _ => None,
        };
        for row in changes.rows {
            if let Some(fetch) = &mut fetch {
                fetch.renew(&row);
            }
            if selection.uids.contains(row.uid) {
                if flags_wanted && !selection.told(&row) && !changes.gone.contains(row.uid) {
                    selection.write_row(out, &row, self.modes);
                }
            } else if newest.is_none_or(|newest| row.uid > newest) {
                report.added.insert(row.uid);
                if report.fresh.len() < FRESH_MAX || report.fresh.contains_key(&row.uid) {
                    report.fresh.insert(row.uid, row);
                }
            }
        }
        report.gone = report.gone.union(&changes.gone);
        report.recent = report.recent.union(&changes.recent);
        if changes.more && changes.upto > report.since {
            report.since = changes.upto;
            return;
        }
        selection.modseq = selection.modseq.max(changes.upto);
        self.end_report();
    }

    /// Tells arrivals and departures, and listens again.
    fn end_report(&mut self) {
        let Some(report) = self.report.take() else {
            return;
        };
        let mut arrived = UidSet::new();
        if let Some(selection) = &mut self.selected {
            let out = self.out.text();
            let known = selection.modseq;
            selection.own.retain(|(modseq, _)| *modseq > known);
            selection.gone = selection
                .gone
                .union(&report.gone.intersection(&selection.uids));
            if report.full {
                let gone = selection.gone.clone();
                selection.expunge(out, &gone, self.modes);
            }
            let added = report.added.difference(&report.gone);
            if !added.is_empty() {
                selection.uids = Arc::new(selection.uids.union(&added));
                selection.contexts.note_arrivals(&added);
                put!(out, "* {} EXISTS\r\n", selection.uids.len());
                let recent = report.recent.intersection(&added);
                if !recent.is_empty() {
                    selection.recent = selection.recent.union(&recent);
                    if !self.modes.rev2 {
                        put!(out, "* {} RECENT\r\n", selection.recent.len());
                    }
                }
                arrived = added;
            }
        }
        if !arrived.is_empty()
            && !self.arrived(&arrived)
            && let Some(selection) = &self.selected
        {
            for row in report.fresh.values() {
                selection.write_row(self.out.text(), row, self.modes);
            }
        }
        self.watch();
        self.after_report();
    }

    /// Listens for changes of the selected mailbox.
    pub(super) fn watch(&mut self) {
        let Some(selection) = &self.selected else {
            return;
        };
        if selection.watch.is_some() || selection.vanished {
            return;
        }
        let ask = Ask::Watch {
            mailbox: selection.mailbox,
            since: selection.modseq,
        };
        let id = self.ask(ask);
        if let Some(selection) = &mut self.selected {
            selection.watch = Some(id);
        }
    }

    /// Gives the answer back when it is not for the watch.
    pub(super) fn watch_answer(&mut self, id: AskId, answer: Answer) -> Option<Answer> {
        let Some(selection) = &mut self.selected else {
            return Some(answer);
        };
        let stale = mutant!(StaleWatchTaken) && matches!(answer, Answer::Modseq(_) | Answer::Gone);
        if selection.watch != Some(id) && !stale {
            return Some(answer);
        }
        selection.watch = None;
        match answer {
            Answer::Modseq(modseq) if modseq > selection.modseq => selection.dirty = true,
            Answer::Modseq(_) => self.watch(),
            _ => {
                selection.vanished = true;
                self.tell_vanished();
            }
        }
        self.tell_selected();
        None
    }

    /// The selected mailbox was deleted: IMAP4rev2 has a response for that (RFC 9051 7.3.1). Who waits in IDLE and does not know it
    /// would wait for ever.
    pub(super) fn tell_vanished(&mut self) {
        let deleted = |selection: &Selection| selection.vanished && !selection.vanished_told;
        if self.in_response() || !self.selected.as_deref().is_some_and(deleted) {
            return;
        }
        let idles = matches!(
            self.running.as_deref(),
            Some(Running {
                job: Job::Idle(false),
                ..
            })
        );
        if idles && !self.modes.rev2 {
            return self.close(
                CloseReason::MailboxDeleted,
                Some("the selected mailbox was deleted"),
            );
        }
        let Some(selection) = &mut self.selected else {
            return;
        };
        selection.vanished_told = true;
        if self.modes.rev2 {
            let out = self.out.text();
            out.extend_from_slice(b"* LIST (\\NonExistent) \"/\" ");
            out.extend_from_slice(&on_wire(&selection.name, self.modes));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Tells at once what is new, where the client wants that: in IDLE, and between commands with NOTIFY (RFC 5465 5).
    pub(super) fn tell_selected(&mut self) {
        let full = match self.running.as_ref().map(|running| &running.job) {
            Some(Job::Idle(_)) if self.told_events().of_messages() => true,
            Some(_) => return,
            None => match self.selected_events() {
                Some(wanted) if wanted.events.of_messages() => !wanted.delayed,
                _ => return,
            },
        };
        if self.report.is_none() {
            self.begin_report(full);
        }
    }

    /// Closes the selected mailbox.
    pub(super) fn unselect(&mut self) {
        let Some(selection) = self.selected.take() else {
            return;
        };
        let report = self.report.take().and_then(|report| report.ask);
        self.forget_arrivals();
        let context = selection.contexts.open();
        for ask in [selection.watch, report, context].into_iter().flatten() {
            self.out.push(Step::Cancel(ask));
        }
        self.out.push(Step::Event(Event::Unselected));
    }
}
