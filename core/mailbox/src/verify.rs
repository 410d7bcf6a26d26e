//! Whether all rows agree (S13): counters equal scans, indexes equal what they index, every reference has its body and
//! every body a reference.

use std::collections::BTreeSet;

use core::fmt;
use core::ops::ControlFlow;
use mox_uids::Uid;

use crate::account::{SCHEMA, SCHEMA_OLDEST, account_row, schema};
use crate::annotation;
use crate::junk::verify_junk;
use crate::key::{self, Parts, Referrer, Table};
use crate::name::{mailbox_name, parents};
use crate::rows::{AccountRow, MailboxRow, MetaRow, NameRow, Numbers, Stored, Usage};
use crate::verify_mailbox::Sums;
use crate::{
    AccountId, BodyHeader, BodyId, BodyRef, KeptPolicy, MailboxId, QueueEntry, QueueMessage,
    ReadError, Reads, Space, TlsHost, is_referenced, known, queue, rows, scan, usage,
};

/// Findings reported at most; more say nothing new.
pub const FINDINGS_MAX: usize = 1_000;

/// Tells whether a body that is a file is there with the right length and, if wanted, hash; says what is wrong with it.
pub type BodyCheck<'c> = &'c mut dyn FnMut(&BodyRef) -> Result<(), String>;

/// Something that should not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding(pub String);

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks everything; nothing found is the only good result. With `full` the octets of small bodies are hashed.
pub fn verify(reads: &dyn Reads, full: bool, body_check: BodyCheck<'_>) -> Vec<Finding> {
    let mut v = Verify {
        reads,
        findings: Vec::new(),
        dues: BTreeSet::new(),
    };
    let Some(numbers) = v.part("the counters", Verify::numbers).flatten() else {
        return v.findings;
    };
    v.part("the table of what is due", Verify::read_dues);
    for (id, row) in v
        .part("the table of accounts", Verify::accounts)
        .unwrap_or_default()
    {
        let what = format!("account {}", id.0);
        v.part(&what, |v| v.account(id, &row, &numbers));
        v.part(&what, |v| verify_junk(v, id));
    }
    v.part("the table of account names", Verify::account_names);
    v.part("the tables of mailboxes", Verify::orphans);
    v.part("the references", |v| v.references(full, body_check));
    v.part("the bodies", Verify::bodies);
    v.part("the queue", |v| v.queue(&numbers));
    v.part("policies of other domains", known::verify::<KeptPolicy>);
    v.part("TLS with other hosts", known::verify::<TlsHost>);
    v.findings
}

/// What a row in the table of what is due names.
pub(crate) type Due = (AccountId, MailboxId, u64);

pub(crate) struct Verify<'v> {
    pub(crate) reads: &'v dyn Reads,
    findings: Vec<Finding>,
    pub(crate) dues: BTreeSet<Due>,
}

impl Verify<'_> {
    pub(crate) fn found(&mut self, text: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding(text));
        }
    }

    pub(crate) fn expect(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.found(text());
        }
    }

    /// Runs one part; what cannot be read is a finding.
    fn part<T>(
        &mut self,
        what: &str,
        check: impl FnOnce(&mut Self) -> Result<T, ReadError>,
    ) -> Option<T> {
        match check(self) {
            Ok(done) => Some(done),
            Err(e) => {
                self.found(format!("{what}: {}", e.0));
                None
            }
        }
    }

    /// The rows of a table, or those of them whose keys begin with `prefix`.
    pub(crate) fn each<T>(
        &self,
        prefix: &[u8],
        mut read: impl FnMut(&[u8], bytes::Bytes) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let mut all = Vec::new();
        scan::prefix(self.reads, prefix, &mut |key, value| {
            all.push(read(key, value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    pub(crate) fn has(&self, key: &[u8]) -> Result<bool, ReadError> {
        Ok(self.reads.get(Space::Rows, key)?.is_some())
    }

    /// The counters; `None` when the store is empty.
    fn numbers(&mut self) -> Result<Option<Numbers>, ReadError> {
        let Some(found) = schema(self.reads)? else {
            let rest = self.first_key(&[Table::Numbers as u8], &[u8::MAX])?;
            self.expect(rest.is_none(), || {
                "there are rows but no schema number".into()
            });
            return Ok(None);
        };
        self.expect((SCHEMA_OLDEST..=SCHEMA).contains(&found), || {
            format!("the schema is {found}, not {SCHEMA}")
        });
        let row = self.reads.get(Space::Rows, &key::numbers())?;
        let row = row.ok_or_else(|| ReadError("they are missing".into()))?;
        Numbers::decode(&row).map(Some)
    }

    fn first_key(&self, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let mut first = None;
        self.reads.scan(Space::Rows, from, to, &mut |key, _| {
            first = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    fn read_dues(&mut self) -> Result<(), ReadError> {
        let dues = self.each(&key::dues(), |key, _| {
            let mut parts = Parts::of(key);
            let mut read = || {
                let _secs = parts.u64()?;
                Some((
                    AccountId(parts.u32()?),
                    MailboxId(parts.u32()?),
                    parts.u64()?,
                ))
            };
            read().ok_or_else(|| scan::bad_key("what is due"))
        })?;
        self.dues = dues.into_iter().collect();
        Ok(())
    }

    fn accounts(&mut self) -> Result<Vec<(AccountId, AccountRow)>, ReadError> {
        self.each(&[Table::Account as u8], |key, value| {
            let id = key::account_of(key).ok_or_else(|| scan::bad_key("accounts"))?;
            Ok((id, AccountRow::decode(&value)?))
        })
    }

    fn account_names(&mut self) -> Result<(), ReadError> {
        let names = self.each(&key::account_names(), |key, value| {
            let name = String::from_utf8_lossy(Parts::of(key).rest()).into_owned();
            Ok((name, rows::decode_account_id(&value)?))
        })?;
        for (name, id) in names {
            let row = account_row(self.reads, id)?;
            let agrees = row.is_some_and(|row| row.name == name && !row.removed);
            self.expect(agrees, || {
                format!(
                    "account name {name} names account {}, which has another",
                    id.0
                )
            });
        }
        Ok(())
    }

    fn account(
        &mut self,
        id: AccountId,
        row: &AccountRow,
        numbers: &Numbers,
    ) -> Result<(), ReadError> {
        let of = format!("account {}", id.0);
        self.expect(id.0 < numbers.next_account && id.0 > 0, || {
            format!("{of} has a number that was not given yet")
        });
        let mailboxes = self.each(&key::in_account(Table::Mailbox, id), |key, value| {
            let n = Parts::of(key)
                .u32()
                .ok_or_else(|| scan::bad_key("mailboxes"))?;
            Ok((MailboxId(n), MailboxRow::decode(&value)?))
        })?;
        if row.removed {
            let due = self.dues.contains(&(id, MailboxId(0), key::WHOLE));
            self.expect(due, || {
                format!("{of} is removed, but nothing will purge it")
            });
            for (mailbox, _) in &mailboxes {
                let what = format!("{of} mailbox {}", mailbox.0);
                self.part(&what, |v| v.metas(id, *mailbox, None));
            }
            return Ok(());
        }
        let index = self.reads.get(Space::Rows, &key::account_name(&row.name))?;
        let indexed = index.is_some_and(|i| rows::decode_account_id(&i) == Ok(id));
        self.expect(indexed, || {
            format!("{of} is not found by its name {}", row.name)
        });
        self.names(id, row, &mailboxes)?;
        let mut sum = Usage::default();
        for (mailbox, open) in &mailboxes {
            self.expect(mailbox.0 < row.next_mailbox, || {
                format!("{of} has mailbox {}, a number not given yet", mailbox.0)
            });
            self.expect(open.validity <= numbers.last_validity, || {
                format!("{of} mailbox {} has a UIDVALIDITY not given yet", mailbox.0)
            });
            let what = format!("{of} mailbox {}", mailbox.0);
            let sums = self.part(&what, |v| v.mailbox(id, *mailbox, open));
            if let Some(Sums { octets, messages }) = sums {
                sum.octets += octets;
                sum.messages += messages;
            }
        }
        let counted = usage(self.reads, id)?;
        self.expect(counted == sum, || {
            format!("{of} has {sum:?}, but is said to have {counted:?}")
        });
        Ok(())
    }

    /// The table of names against that of mailboxes.
    fn names(
        &mut self,
        id: AccountId,
        row: &AccountRow,
        mailboxes: &[(MailboxId, MailboxRow)],
    ) -> Result<(), ReadError> {
        let of = format!("account {}", id.0);
        let names = self.each(&key::in_account(Table::MailboxName, id), |key, value| {
            let name = String::from_utf8_lossy(Parts::of(key).rest()).into_owned();
            Ok((name, NameRow::decode(&value)?))
        })?;
        self.expect(names.len() == row.names as usize, || {
            format!(
                "{of} has {} names, but is said to have {}",
                names.len(),
                row.names
            )
        });
        let there = |name: &str| {
            names
                .binary_search_by(|(n, _)| n.as_str().cmp(name))
                .is_ok_and(|at| names.get(at).is_some_and(|(_, row)| row.mailbox.is_some()))
        };
        let mut uses = BTreeSet::new();
        for (name, row) in &names {
            let canonical = mailbox_name(name).is_ok_and(|canonical| canonical == *name);
            self.expect(canonical, || {
                format!("{of} has the name {name:?}, which is no name")
            });
            self.expect(row.mailbox.is_some() || row.subscribed, || {
                format!("{of} name {name} stands for nothing")
            });
            let Some(mailbox) = row.mailbox else { continue };
            let found = mailboxes.binary_search_by_key(&mailbox, |(m, _)| *m).ok();
            let found = found.and_then(|at| mailboxes.get(at));
            let agrees = found.is_some_and(|(_, row)| row.name == *name && !row.removed);
            self.expect(agrees, || {
                format!(
                    "{of} name {name} names mailbox {}, which has another",
                    mailbox.0
                )
            });
            let orphan = parents(name).any(|parent| !there(parent));
            self.expect(!orphan, || format!("{of} mailbox {name} has none above it"));
            if let Some(special_use) = row.special_use {
                self.expect(uses.insert(special_use), || {
                    format!("{of} has two mailboxes for {}", special_use.as_str())
                });
            }
        }
        for (mailbox, row) in mailboxes.iter().filter(|(_, row)| !row.removed) {
            let at = names.binary_search_by(|(name, _)| name.cmp(&row.name)).ok();
            let named = at
                .and_then(|at| names.get(at))
                .and_then(|(_, row)| row.mailbox);
            self.expect(named == Some(*mailbox), || {
                format!("{of} mailbox {} is not found by its name", mailbox.0)
            });
        }
        self.expect(there(crate::INBOX), || format!("{of} has no INBOX"));
        Ok(())
    }

    /// Rows of accounts and mailboxes that are not there.
    fn orphans(&mut self) -> Result<(), ReadError> {
        for table in key::ACCOUNT_TABLES {
            let end = [table as u8 + 1];
            let mut from = vec![table as u8];
            while let Some(key) = self.first_key(&from, &end)? {
                let account = key::account_of(&key).ok_or_else(|| scan::bad_key("accounts"))?;
                let there = self.has(&key::account(account))?;
                self.expect(there, || {
                    format!(
                        "there are {table:?} rows of account {}, which is not there",
                        account.0
                    )
                });
                from = key::behind(&key::in_account(table, account));
            }
        }
        let tables = [Table::Meta, Table::Header]
            .into_iter()
            .chain(key::MAILBOX_TABLES);
        for table in tables {
            let end = [table as u8 + 1];
            let mut from = vec![table as u8];
            while let Some(key) = self.first_key(&from, &end)? {
                let mailbox = Parts::of(&key).u32().map(MailboxId);
                let at = key::account_of(&key).zip(mailbox);
                let (account, mailbox) = at.ok_or_else(|| scan::bad_key("messages"))?;
                // Annotations of the account itself stand beside those of its mailboxes.
                let is_accounts = table == Table::Annotation && mailbox == annotation::ACCOUNT;
                let there =
                    is_accounts || self.has(&key::in_mailbox(Table::Mailbox, account, mailbox))?;
                self.expect(there, || {
                    format!(
                        "account {} has {table:?} rows of mailbox {}, which is not there",
                        account.0, mailbox.0
                    )
                });
                from = key::behind(&key::in_mailbox(table, account, mailbox));
            }
        }
        Ok(())
    }

    /// Every reference against who refers, and every body referred to.
    fn references(&mut self, full: bool, body_check: BodyCheck<'_>) -> Result<(), ReadError> {
        let references = self.each(&[Table::Ref as u8], |key, _| {
            let mut parts = Parts::of(key);
            let read = parts.body().zip(parts.referrer());
            read.ok_or_else(|| scan::bad_key("references"))
        })?;
        let mut checked = None;
        for (id, by) in references {
            let body = match by {
                Referrer::Message(account, mailbox, uid) => {
                    let key = key::at(Table::Meta, account, mailbox, uid.0);
                    let row = self.reads.get(Space::Rows, &key)?;
                    row.map(|row| Ok(MetaRow::decode(&row)?.body)).transpose()?
                }
                Referrer::Queue(id) => crate::queue_message(self.reads, id)?.map(|m| m.body),
            };
            let Some(body) = body.filter(|body| body.id == id) else {
                self.found(format!(
                    "body {} is referred to by {by:?}, which does not",
                    named(id)
                ));
                continue;
            };
            if checked.replace(body) == Some(body) {
                continue;
            }
            let state = match body.is_inline() {
                true => self.inline(&body, full)?,
                false => body_check(&body),
            };
            if let Err(why) = state {
                self.found(format!("body {}: {why}", named(id)));
            }
        }
        Ok(())
    }

    fn inline(&self, body: &BodyRef, full: bool) -> Result<Result<(), String>, ReadError> {
        let row = self.reads.get(Space::Bodies, &key::body_key(body.id))?;
        let Some(row) = row else {
            return Ok(Err("is missing".into()));
        };
        Ok(match BodyHeader::decode(&row) {
            Err(e) => Err(e.to_string()),
            Ok(header) if header.body != *body => {
                Err("its header says other than what refers to it".into())
            }
            Ok(_) => {
                let octets = row.get(BodyHeader::LEN..).unwrap_or_default();
                if octets.len() as u64 != body.length {
                    Err(format!(
                        "has {} octets instead of {}",
                        octets.len(),
                        body.length
                    ))
                } else if full && blake3::hash(octets).as_bytes() != &body.blake3 {
                    Err("its octets were changed".into())
                } else {
                    Ok(())
                }
            }
        })
    }

    /// Every body row has a reference.
    fn bodies(&mut self) -> Result<(), ReadError> {
        let mut found = Vec::new();
        let reads = self.reads;
        scan::range(reads, Space::Bodies, &[], &[u8::MAX; 13], &mut |key, _| {
            // Other keys belong to whatever keeps the store.
            if let Some(id) = Parts::whole(key).body().filter(|_| key.len() == 12)
                && !is_referenced(reads, id)?
            {
                found.push(id);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for id in found {
            self.found(format!("body {} has no reference", named(id)));
        }
        Ok(())
    }

    fn queue(&mut self, numbers: &Numbers) -> Result<(), ReadError> {
        let entries: Vec<QueueEntry> = queue(self.reads, 0, usize::MAX)?;
        let prefix = key::queue_all(Table::QueueMessage);
        let messages: Vec<QueueMessage> =
            self.each(&prefix, |_, value| QueueMessage::decode(&value))?;
        let of = |entry: &QueueEntry| {
            let at = messages.binary_search_by_key(&entry.message, |m| m.id).ok();
            at.and_then(|at| messages.get(at))
        };
        for entry in &entries {
            let id = entry.id;
            let belongs =
                of(entry).is_some_and(|m| (m.id..m.id + u64::from(m.entries)).contains(&id));
            self.expect(belongs, || format!("queue entry {id} has no message"));
            self.expect(id < numbers.next_queue, || {
                format!("queue entry {id} has a number not given yet")
            });
            self.expect(!entry.recipients.is_empty(), || {
                format!("queue entry {id} has no recipient")
            });
        }
        let with_entries: BTreeSet<u64> = entries.iter().map(|entry| entry.message).collect();
        for message in &messages {
            let id = message.id;
            self.expect(with_entries.contains(&id), || {
                format!("queued message {id} has no entry")
            });
            let by = key::reference(message.body.id, Referrer::Queue(id));
            let referred = self.has(&by)?;
            self.expect(referred, || {
                format!("queued message {id} does not refer to its body")
            });
        }
        Ok(())
    }
}

pub(crate) fn named(id: BodyId) -> String {
    format!("{}-{}", id.boot, id.counter)
}

/// A UID in words.
pub(crate) fn message(account: AccountId, mailbox: MailboxId, uid: Uid) -> String {
    format!("account {} mailbox {} message {uid}", account.0, mailbox.0)
}
