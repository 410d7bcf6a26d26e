//! Getting messages out of a store that is damaged (S9): whatever rows still say, and every body that is there.

use bytes::Bytes;
use mox_machine::Utc;
use mox_mailbox::{
    AccountId, BodyHeader, BodyId, MailboxId, ReadError, Reads, Space, account_by_id, accounts,
};
use mox_uids::{Uid, UidSet};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::ControlFlow;

use crate::bodies::{BodyFault, FoundBody, Place, each_file, each_row};
use crate::body::file_of;
use crate::{Disk, read_body};

/// Octets of a body read at a time.
const PIECE: u64 = 1 << 20;
/// Messages looked at in one go.
const PAGE: usize = 500;
/// Accounts read in one go.
const ACCOUNTS: usize = 500;

/// A message that was found, or only its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Whose: of the rows, else of the body's own header.
    pub account: AccountId,
    /// Its name, if any row says so.
    pub account_name: Option<String>,
    /// Where it is, or was put first; 0 when that is not known.
    pub mailbox: MailboxId,
    /// Its name, if any row says so.
    pub mailbox_name: Option<String>,
    /// Its UID; 0 when that is not known.
    pub uid: Uid,
    /// Its internal date.
    pub date: Utc,
    /// Rows say that this message is in this mailbox. Otherwise it is a body of its own: expunged not long ago, queued,
    /// of a delivery that was never acknowledged, or one whose rows are lost.
    pub listed: bool,
    /// The number of its body; `None` when not even that can be told.
    pub body: Option<BodyId>,
    /// What is wrong with its octets, if anything: they are given as they are.
    pub fault: Option<BodyFault>,
}

/// The octets of a message, in order.
pub trait Octets {
    /// The next piece; empty at the end.
    ///
    /// # Errors
    /// What the disk or the rows said.
    fn next(&mut self) -> io::Result<Bytes>;
}

impl fmt::Debug for dyn Octets + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Octets")
    }
}

/// Takes a message; an error of its own ends the salvage.
pub type Take<'t> = &'t mut dyn FnMut(&Salvaged, &mut dyn Octets) -> io::Result<()>;

/// Gives every message there is: those that rows list, then every body that was not among them, in rows and in files.
/// Returns what could not be read. Changes nothing. Blocks, long.
///
/// # Errors
/// Those of `take`.
pub fn salvage(
    view: Option<&dyn Reads>,
    disk: &dyn Disk,
    take: Take<'_>,
) -> io::Result<Vec<String>> {
    let mut salvage = Salvage {
        disk,
        take,
        done: BTreeSet::new(),
        names: BTreeMap::new(),
        mailboxes: BTreeMap::new(),
        notes: Vec::new(),
    };
    if let Some(view) = view {
        salvage.listed(view)?;
        let mut found = Vec::new();
        let read = each_row(view, &mut |body| found.push(body));
        if let Err(e) = read {
            salvage.notes.push(format!("small bodies: {e}"));
        }
        for body in found {
            salvage.unlisted(Some(view), body)?;
        }
    }
    let mut found = Vec::new();
    if let Err(e) = each_file(disk, &mut |body| found.push(body)) {
        salvage.notes.push(format!("body files: {e}"));
    }
    for body in found {
        salvage.unlisted(view, body)?;
    }
    Ok(salvage.notes)
}

struct Salvage<'s> {
    disk: &'s dyn Disk,
    take: Take<'s>,
    /// Bodies that were given whole.
    done: BTreeSet<BodyId>,
    names: BTreeMap<AccountId, String>,
    mailboxes: BTreeMap<(AccountId, MailboxId), String>,
    notes: Vec<String>,
}

impl Salvage<'_> {
    /// Messages that rows list.
    fn listed(&mut self, view: &dyn Reads) -> io::Result<()> {
        let mut from = String::new();
        loop {
            let page = match accounts(view, &from, ACCOUNTS) {
                Ok(page) => page,
                Err(e) => {
                    self.notes.push(format!("accounts: {e}"));
                    return Ok(());
                }
            };
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            from = format!("{last}\0");
            for (name, id) in page {
                if let Err(e) = account_by_id(view, id) {
                    self.notes.push(format!("account {name}: {e}"));
                }
                self.names.insert(id, name);
                self.account(view, id)?;
            }
        }
    }

    fn account(&mut self, view: &dyn Reads, account: AccountId) -> io::Result<()> {
        let mailboxes = match mox_mailbox::mailboxes(view, account) {
            Ok(mailboxes) => mailboxes,
            Err(e) => {
                self.notes.push(format!("account {}: {e}", account.0));
                return Ok(());
            }
        };
        for entry in mailboxes {
            let Some(mailbox) = entry.mailbox else {
                continue;
            };
            self.mailboxes.insert((account, mailbox), entry.name);
            let mut from = Some(Uid(1));
            while let Some(at) = from {
                match self.page(view, account, mailbox, at) {
                    Ok(next) => from = next?,
                    Err(e) => {
                        let what = format!("account {} mailbox {}: {e}", account.0, mailbox.0);
                        self.notes.push(what);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Some messages of a mailbox; where to go on. The outer error is one of rows, the inner one of `take`.
    fn page(
        &mut self,
        view: &dyn Reads,
        account: AccountId,
        mailbox: MailboxId,
        from: Uid,
    ) -> Result<io::Result<Option<Uid>>, ReadError> {
        let all = UidSet::from_runs([from.0..=u32::MAX]);
        let rows = mox_mailbox::rows(view, account, mailbox, &all, from, PAGE)?;
        let uids: UidSet = rows.rows.iter().map(|row| row.uid).collect();
        let mut failed = None;
        let (mut given, mut found) = (Vec::new(), Vec::new());
        mox_mailbox::metas(view, account, mailbox, &uids, &mut |uid, meta| {
            found.push((uid, meta));
            ControlFlow::Continue(())
        })?;
        for (uid, meta) in found {
            given.push(uid);
            let mut octets = Whole {
                view,
                disk: self.disk,
                prefix: Some(meta.prefix),
                body: meta.body,
                at: 0,
            };
            // One whose body is gone or damaged is not listed: what there is comes with the bodies.
            let mut hasher = blake3::Hasher::new();
            if !octets.body_is_whole(&mut hasher) {
                let what = format!(
                    "account {} mailbox {} message {uid}: its body is missing or damaged",
                    account.0, mailbox.0
                );
                self.notes.push(what);
                continue;
            }
            let salvaged = Salvaged {
                account,
                account_name: self.names.get(&account).cloned(),
                mailbox,
                mailbox_name: self.mailboxes.get(&(account, mailbox)).cloned(),
                uid,
                date: meta.date,
                listed: true,
                body: Some(meta.body.id),
                fault: None,
            };
            if let Err(e) = (self.take)(&salvaged, &mut octets) {
                failed = Some(e);
                break;
            }
            self.done.insert(meta.body.id);
        }
        let missing = uids.difference(&given.into_iter().collect());
        if failed.is_none() && !missing.is_empty() {
            let of = format!("account {} mailbox {}", account.0, mailbox.0);
            self.notes.push(format!("{of}: no facts about {missing}"));
        }
        Ok(failed.map_or(Ok(rows.next), Err))
    }

    /// A body that was found by itself.
    fn unlisted(&mut self, view: Option<&dyn Reads>, found: FoundBody) -> io::Result<()> {
        let id = match &found.place {
            Place::Row(id) => Some(*id),
            Place::File(name) => body_in(name),
        };
        if id.is_some_and(|id| self.done.contains(&id)) {
            return Ok(());
        }
        let whole = found.state.is_ok();
        let (header, fault) = match found.state {
            Ok(header) => (Some(header), None),
            Err(fault) => (self.header(view, &found.place), Some(fault)),
        };
        let account = header.map_or(AccountId(0), |header| header.account);
        let mailbox = header.map_or(MailboxId(0), |header| header.mailbox);
        let salvaged = Salvaged {
            account,
            account_name: self.names.get(&account).cloned(),
            mailbox,
            mailbox_name: self.mailboxes.get(&(account, mailbox)).cloned(),
            uid: header.map_or(Uid(0), |header| header.uid),
            date: header.map_or_else(Utc::default, |header| header.date),
            listed: false,
            body: id,
            fault,
        };
        let mut octets = Raw {
            view,
            disk: self.disk,
            place: found.place,
            at: BodyHeader::LEN as u64,
        };
        (self.take)(&salvaged, &mut octets)?;
        if let (true, Some(id)) = (whole, id) {
            self.done.insert(id);
        }
        Ok(())
    }

    /// The header of a body that is damaged elsewhere.
    fn header(&self, view: Option<&dyn Reads>, place: &Place) -> Option<BodyHeader> {
        let octets = match place {
            Place::File(name) => self.disk.read_at(name, 0, BodyHeader::LEN).ok()?,
            Place::Row(id) => row_of(view, *id).ok()?,
        };
        BodyHeader::decode(&octets).ok()
    }
}

/// The body whose file this is.
fn body_in(name: &str) -> Option<BodyId> {
    let (dir, name) = name.rsplit_once('/')?;
    let shard = u8::from_str_radix(dir.rsplit_once('/')?.1, 16).ok()?;
    let id = crate::body::body_of(shard, name)?;
    (file_of(id) == format!("{dir}/{name}")).then_some(id)
}

fn row_of(view: Option<&dyn Reads>, id: BodyId) -> io::Result<Bytes> {
    let view = view.ok_or(io::ErrorKind::NotFound)?;
    let row = view.get(Space::Bodies, &mox_mailbox::body_key(id));
    row.map_err(io::Error::other)?
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A message: what stands before it for this recipient, then its body.
struct Whole<'w> {
    view: &'w dyn Reads,
    disk: &'w dyn Disk,
    prefix: Option<Bytes>,
    body: mox_mailbox::BodyRef,
    at: u64,
}

impl Whole<'_> {
    /// Whether its body can be read to the end and is what it was; starts at its beginning afterwards.
    fn body_is_whole(&mut self, hasher: &mut blake3::Hasher) -> bool {
        let mut at = 0;
        while at < self.body.length {
            let range = at..at.saturating_add(PIECE);
            let Ok(piece) = read_body(self.disk, self.view, &self.body, range) else {
                return false;
            };
            hasher.update(&piece);
            at += piece.len() as u64;
        }
        hasher.finalize().as_bytes() == &self.body.blake3
    }
}

impl Octets for Whole<'_> {
    fn next(&mut self) -> io::Result<Bytes> {
        if let Some(prefix) = self.prefix.take().filter(|prefix| !prefix.is_empty()) {
            return Ok(prefix);
        }
        let range = self.at..self.at.saturating_add(PIECE);
        let piece = read_body(self.disk, self.view, &self.body, range)?;
        self.at += piece.len() as u64;
        Ok(piece)
    }
}

/// A body as it is, behind its header.
struct Raw<'r> {
    view: Option<&'r dyn Reads>,
    disk: &'r dyn Disk,
    place: Place,
    at: u64,
}

impl Octets for Raw<'_> {
    fn next(&mut self) -> io::Result<Bytes> {
        let piece = match &self.place {
            Place::File(name) => {
                let length = self.disk.length(name)?.saturating_sub(self.at).min(PIECE);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                self.disk.read_at(name, self.at, length)?
            }
            Place::Row(id) => {
                let row = row_of(self.view, *id)?;
                let at = usize::try_from(self.at)
                    .unwrap_or(usize::MAX)
                    .min(row.len());
                row.slice(at..)
            }
        };
        self.at += piece.len() as u64;
        Ok(piece)
    }
}
