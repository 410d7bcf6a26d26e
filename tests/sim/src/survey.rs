//! What a store holds, read from its rows: before it is opened, while it is in use, or after a crash.

use core::ops::ControlFlow;
use mox_machine::Utc;
use mox_mailbox::{BodyRef, Fate, ReadError, Reads};
use mox_node::UNTOLD;
use mox_server::decision::{Record, lookups};
use mox_uids::{Uid, UidSet};
use std::collections::BTreeMap;

/// Everything in a store that an oracle asks about.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// By account and mailbox.
    pub(crate) mailboxes: BTreeMap<(String, String), BoxFigures>,
    /// Every message in every mailbox.
    pub(crate) messages: Vec<Found>,
    /// Recipients that wait in the queue: reverse path, address.
    pub(crate) queued: Vec<(String, String)>,
    /// Recipients that left it.
    pub(crate) retired: Vec<Left>,
}

/// A recipient that left the queue.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    /// The reverse path of its message.
    pub(crate) from: String,
    /// Its address.
    pub(crate) to: String,
    /// The next host took the message; otherwise it was given up.
    pub(crate) taken: bool,
    /// The server says that the sender, who asked to be told that it was taken, could not be.
    pub(crate) is_untold: bool,
    /// It left when the message had been tried for as long as any is.
    pub(crate) is_of_age: bool,
    /// The operation it left by: the entry, and when.
    pub(crate) operation: (u64, Utc),
}

/// The figures of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BoxFigures {
    pub(crate) validity: u32,
    pub(crate) next: u32,
    pub(crate) modseq: u64,
}

/// A message in a mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) account: String,
    pub(crate) mailbox: String,
    pub(crate) uid: u32,
    pub(crate) modseq: u64,
    /// As IMAP shows them, sorted.
    pub(crate) flags: String,
    /// Its Subject.
    pub(crate) subject: String,
    /// Its To.
    pub(crate) to: String,
    pub(crate) body: BodyRef,
    /// The id of the decision about it, where it was judged: copies of what was not taken are too.
    pub(crate) decision: String,
    /// The store has the record of that.
    pub(crate) is_recorded: bool,
}

impl Survey {
    /// Reads rows.
    pub(crate) fn of(reads: &dyn Reads) -> Result<Self, ReadError> {
        let mut survey = Self::default();
        for (account, id) in mox_mailbox::accounts(reads, "", usize::MAX)? {
            for entry in mox_mailbox::mailboxes(reads, id)? {
                let Some(mailbox) = entry.mailbox else {
                    continue;
                };
                let Some(selected) = mox_mailbox::select(reads, id, mailbox)? else {
                    continue;
                };
                // As IMAP names it.
                let name = match entry.name.as_str() {
                    mox_mailbox::INBOX => "INBOX".to_owned(),
                    other => other.to_owned(),
                };
                let figures = BoxFigures {
                    validity: selected.status.validity,
                    next: selected.status.next,
                    modseq: selected.status.modseq,
                };
                let place = (account.clone(), name);
                survey.mailboxes.insert(place.clone(), figures);
                if !selected.uids.is_empty() {
                    survey.messages(reads, (id, mailbox), &place, &selected)?;
                }
            }
        }
        survey.queue(reads)?;
        Ok(survey)
    }

    fn messages(
        &mut self,
        reads: &dyn Reads,
        (account, mailbox): (mox_mailbox::AccountId, mox_mailbox::MailboxId),
        place: &(String, String),
        selected: &mox_mailbox::Selected,
    ) -> Result<(), ReadError> {
        let uids: &UidSet = &selected.uids;
        let mut subjects = BTreeMap::new();
        mox_mailbox::headers(reads, account, mailbox, uids, &mut |uid, header| {
            let text = String::from_utf8_lossy(&header.octets).into_owned();
            subjects.insert(uid, (field(&text, "Subject: "), field(&text, "To: ")));
            ControlFlow::Continue(())
        })?;
        let mut bodies = BTreeMap::new();
        mox_mailbox::metas(reads, account, mailbox, uids, &mut |uid, meta| {
            let decision = field(&String::from_utf8_lossy(&meta.prefix), "X-Mox-Decision: ");
            let id = decision.split(';').next().unwrap_or_default().to_owned();
            bodies.insert(uid, (meta.body, id));
            ControlFlow::Continue(())
        })?;
        let rows = mox_mailbox::rows(reads, account, mailbox, uids, Uid(1), usize::MAX)?;
        for row in rows.rows {
            let missing = || ReadError(format!("message {} of {place:?} is incomplete", row.uid.0));
            let (subject, to) = subjects.remove(&row.uid).ok_or_else(missing)?;
            let (body, decision) = bodies.remove(&row.uid).ok_or_else(missing)?;
            let is_recorded = !decision.is_empty() && has_record(reads, &decision)?;
            self.messages.push(Found {
                account: place.0.clone(),
                mailbox: place.1.clone(),
                uid: row.uid.0,
                modseq: row.modseq,
                flags: flags(row.flags, row.keywords, &selected.keywords),
                subject,
                to,
                body,
                decision,
                is_recorded,
            });
        }
        Ok(())
    }

    fn queue(&mut self, reads: &dyn Reads) -> Result<(), ReadError> {
        for entry in mox_mailbox::queue(reads, 0, usize::MAX)? {
            let message = mox_mailbox::queue_message(reads, entry.message)?;
            let from = message.map(|m| m.reverse_path).unwrap_or_default();
            let waiting = entry.recipients.into_iter();
            self.queued
                .extend(waiting.map(|to| (from.clone(), to.address)));
        }
        let plan = mox_queue::Plan::default();
        let retired = mox_mailbox::retired(reads, Utc(0), usize::MAX)?;
        for retired in retired {
            let operation = (retired.entry, retired.retired);
            let is_of_age = retired.attempts_made >= plan.attempts_min
                && retired.retired >= plan.expires(retired.created);
            for (to, fate) in retired.recipients {
                self.retired.push(Left {
                    from: retired.reverse_path.clone(),
                    to,
                    taken: matches!(fate, Fate::Delivered(_)),
                    is_untold: matches!(&fate, Fate::Delivered(text) if text.starts_with(UNTOLD)),
                    is_of_age,
                    operation,
                });
            }
        }
        Ok(())
    }
}

/// The value of a header field that is not folded.
/// Whether there is a record with this id.
fn has_record(reads: &dyn Reads, id: &str) -> Result<bool, ReadError> {
    for key in lookups(id) {
        for octets in mox_mailbox::decisions(reads, &key, 2)? {
            let record = Record::decode(&octets).map_err(|e| ReadError(e.to_string()))?;
            if record.id == id {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn field(header: &str, name: &str) -> String {
    let line = header
        .split("\r\n")
        .find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}

/// Flags as IMAP shows them, in order of their names.
fn flags(flags: mox_mailbox::Flags, keywords: u64, names: &[String]) -> String {
    use mox_mailbox::Flags;
    let system = [
        (Flags::SEEN, "\\Seen"),
        (Flags::ANSWERED, "\\Answered"),
        (Flags::FLAGGED, "\\Flagged"),
        (Flags::DELETED, "\\Deleted"),
        (Flags::DRAFT, "\\Draft"),
    ];
    let system = system
        .into_iter()
        .filter(|(flag, _)| (flags & *flag) == *flag)
        .map(|(_, name)| name);
    let own = names
        .iter()
        .enumerate()
        .filter(|(bit, _)| keywords >> bit & 1 == 1)
        .map(|(_, name)| name.as_str());
    sorted(system.chain(own))
}

/// Names in order, without \Recent.
pub(crate) fn sorted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<&str> = names.filter(|name| *name != "\\Recent").collect();
    names.sort_unstable();
    names.join(" ")
}
