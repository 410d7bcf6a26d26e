//! A store in memory with a clock, as the committer would run it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use mox_machine::{Secret, Utc};
use mox_mailbox::*;
use mox_uids::{Uid, UidSet};

pub const START: i64 = 1_800_000_000;
pub const DAY: i64 = 86_400;

pub struct Engine {
    pub rows: MemRows,
    pub now: Utc,
    pub bodies: u64,
    /// Body files that exist.
    pub files: BTreeMap<BodyId, BodyRef>,
    pub unlinked: usize,
    /// Of the last operation.
    pub last: Batch,
}

impl Engine {
    pub fn new() -> Self {
        let mut engine = Self {
            rows: MemRows::new(),
            now: Utc::from_secs(START),
            bodies: 0,
            files: BTreeMap::new(),
            unlinked: 0,
            last: Batch::default(),
        };
        engine.run(|reads| initialise(reads)).unwrap();
        engine
    }

    /// With the account "mox".
    pub fn with_account() -> (Self, AccountId) {
        let mut engine = Self::new();
        let account = engine.account("mox", None).unwrap();
        (engine, account)
    }

    pub fn account(&mut self, name: &str, quota: Option<u64>) -> Result<AccountId, Stop> {
        let (now, credentials) = (self.now, Secret::new(Bytes::from_static(b"keys")));
        self.run(|reads| create_account(reads, name, &credentials, quota, now))
    }

    /// Runs an operation and applies its batch, which must be within the limits.
    pub fn run<T>(
        &mut self,
        op: impl FnOnce(&dyn Reads) -> Result<(Batch, T), Stop>,
    ) -> Result<T, Stop> {
        let (batch, answer) = op(&self.rows)?;
        assert!(
            batch.writes.len() <= BATCH_ROWS_MAX,
            "{} rows",
            batch.writes.len()
        );
        let value = |v: &Option<Bytes>| v.as_ref().map_or(0, Bytes::len);
        let octets: usize = batch
            .writes
            .iter()
            .map(|(_, k, v)| k.len() + value(v))
            .sum();
        assert!(octets <= BATCH_BYTES_MAX, "{octets} octets");
        assert!(batch.writes.iter().all(|(_, _, v)| value(v) <= VALUE_MAX));
        self.rows.apply(&batch);
        for id in &self.rows.unlinked()[self.unlinked..] {
            assert!(self.files.remove(id).is_some(), "unlinked twice: {id:?}");
        }
        self.unlinked = self.rows.unlinked().len();
        self.last = batch;
        Ok(answer)
    }

    pub fn findings(&self) -> Vec<String> {
        let mut named = 0;
        let found = verify(&self.rows, true, &mut |body| {
            named += 1;
            match self.files.get(&body.id) {
                Some(file) if file == body => Ok(()),
                _ => Err("the file is not there".into()),
            }
        });
        let mut found: Vec<_> = found.into_iter().map(|f| f.0).collect();
        if found.is_empty() && named != self.files.len() {
            found.push(format!(
                "{} files, {named} of them referred to",
                self.files.len()
            ));
        }
        found
    }

    #[track_caller]
    pub fn check(&self) {
        assert_eq!(self.findings(), Vec::<String>::new());
    }

    /// A body of `length` octets, unlike all others; a file when it is large.
    pub fn body(&mut self, length: usize) -> NewBody {
        self.bodies += 1;
        let mut octets = format!("Subject: {}\r\n\r\n", self.bodies).into_bytes();
        octets.resize(length, b'x');
        let new = NewBody {
            id: BodyId {
                boot: 1,
                counter: self.bodies,
            },
            length: length as u64,
            blake3: *blake3::hash(&octets).as_bytes(),
            inline: (length <= INLINE_BODY_MAX).then(|| octets.into()),
        };
        if new.inline.is_none() {
            self.files.insert(new.id, new.stored());
        }
        new
    }

    pub fn delivery(&mut self, length: usize, targets: Vec<Target>) -> Delivery {
        Delivery {
            body: Body::New(self.body(length)),
            structure: Bytes::from_static(b"structure"),
            header: Bytes::from_static(b"Subject: x\r\n\r\n"),
            targets,
            queue: None,
            now: self.now,
        }
    }

    /// Delivers a message of 100 octets.
    pub fn put(&mut self, account: AccountId, mailbox: &str) -> Placed {
        self.put_with(account, mailbox, Flags::NONE, &[])
    }

    pub fn put_with(
        &mut self,
        account: AccountId,
        mailbox: &str,
        flags: Flags,
        keywords: &[&str],
    ) -> Placed {
        let target = Target {
            flags,
            keywords: keywords.iter().map(|&k| k.to_owned()).collect(),
            ..target(account, mailbox)
        };
        let delivery = self.delivery(100, vec![target]);
        self.run(|reads| deliver(reads, &delivery)).unwrap().placed[0]
    }

    pub fn id(&self, account: AccountId, name: &str) -> MailboxId {
        mailbox_id(&self.rows, account, name).unwrap().unwrap()
    }

    pub fn status(&self, account: AccountId, name: &str) -> Status {
        status(&self.rows, account, self.id(account, name))
            .unwrap()
            .unwrap()
    }

    pub fn select(&self, account: AccountId, name: &str) -> Selected {
        select(&self.rows, account, self.id(account, name))
            .unwrap()
            .unwrap()
    }

    pub fn all(&self, account: AccountId, mailbox: MailboxId) -> Vec<Row> {
        let all = UidSet::from_runs([1..=u32::MAX]);
        let found = rows(&self.rows, account, mailbox, &all, Uid(1), usize::MAX).unwrap();
        assert_eq!(found.next, None);
        found.rows
    }

    pub fn names(&self, account: AccountId) -> Vec<String> {
        let all = mailboxes(&self.rows, account).unwrap();
        all.into_iter()
            .filter(|m| m.mailbox.is_some())
            .map(|m| m.name)
            .collect()
    }

    pub fn create(&mut self, account: AccountId, name: &str) -> Result<Created, Stop> {
        let now = self.now;
        self.run(|reads| create_mailbox(reads, account, name, None, now))
    }

    pub fn delete(&mut self, account: AccountId, name: &str) -> Result<MailboxId, Stop> {
        let now = self.now;
        self.run(|reads| delete_mailbox(reads, account, name, now))
    }

    pub fn rename(&mut self, account: AccountId, from: &str, to: &str) -> Result<Renamed, Stop> {
        let now = self.now;
        self.run(|reads| rename_mailbox(reads, account, from, to, now))
    }

    /// Runs all steps of a flag change.
    pub fn mark(&mut self, job: &Mark) -> Result<(Vec<Row>, UidSet), Stop> {
        let (mut rows, mut modified, mut from) = (Vec::new(), UidSet::new(), Some(Uid(1)));
        while let Some(at) = from {
            let step = self.run(|reads| mark(reads, job, at))?;
            rows.extend(step.rows);
            modified = modified.union(&step.modified);
            from = step.next;
        }
        Ok((rows, modified))
    }

    /// Runs all steps of an expunge; what went, and how many steps it took.
    pub fn expunge(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        doomed: &Doomed,
    ) -> Result<(UidSet, usize), Stop> {
        let (now, mut uids, mut from, mut steps) = (self.now, UidSet::new(), Some(Uid(1)), 0);
        while let Some(at) = from {
            let step = self.run(|reads| expunge(reads, account, mailbox, doomed, at, now))?;
            uids = uids.union(&step.uids);
            (from, steps) = (step.next, steps + 1);
        }
        Ok((uids, steps))
    }

    /// Runs all steps of a copy; originals, copies, and how many steps it took.
    pub fn copy(&mut self, job: &Copy) -> Result<(UidSet, UidSet, usize), Stop> {
        let (mut from, mut to, mut cursor, mut steps) = (UidSet::new(), UidSet::new(), None, 0);
        loop {
            let step = self.run(|reads| copy(reads, job, cursor))?;
            assert_eq!(step.from.len(), step.to.len());
            (from, to, steps) = (from.union(&step.from), to.union(&step.to), steps + 1);
            assert!(steps < 1_000, "a copy that does not end");
            cursor = step.next;
            if cursor.is_none() {
                return Ok((from, to, steps));
            }
        }
    }

    /// Purges all that is due; how many steps it took.
    pub fn purge(&mut self) -> usize {
        let now = self.now;
        (0..)
            .find(|_| self.run(|reads| purge(reads, now)) == Ok(Progress::Done))
            .unwrap()
    }

    pub fn later(&mut self, secs: i64) {
        self.now = Utc::from_secs(self.now.secs() + secs);
    }
}

pub fn target(account: AccountId, mailbox: &str) -> Target {
    Target {
        account,
        mailbox: mailbox.into(),
        create: true,
        prefix: Bytes::from_static(b"Delivered-To: x\r\n"),
        flags: Flags::NONE,
        keywords: Vec::new(),
        date: Utc::from_secs(START),
        origin: Bytes::from_static(b"origin"),
    }
}

pub fn set(text: &str) -> UidSet {
    let number = |n: &str| n.parse::<u32>().unwrap();
    UidSet::from_runs(text.split(',').filter(|run| !run.is_empty()).map(|run| {
        match run.split_once(':') {
            Some((first, last)) => number(first)..=number(last),
            None => number(run)..=number(run),
        }
    }))
}

/// Tells everything that changed after `since`, `max` rows at a time, to a reader that knew `state`.
pub fn catch_up<T>(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    since: u64,
    max: usize,
    state: &mut BTreeMap<u32, T>,
    of: impl Fn(&Row) -> T,
) -> u64 {
    let mut since = since;
    loop {
        let step = changes(reads, account, mailbox, since, max)
            .unwrap()
            .unwrap();
        assert!(step.upto >= since);
        let told: Vec<_> = step.rows.iter().map(|row| (row.modseq, row.uid)).collect();
        assert!(told.is_sorted(), "{told:?}");
        assert!(
            told.iter()
                .all(|(modseq, _)| (since + 1..=step.upto).contains(modseq))
        );
        for row in &step.rows {
            state.insert(row.uid.0, of(row));
        }
        state.retain(|&uid, _| !step.gone.contains(Uid(uid)));
        since = step.upto;
        if !step.more {
            return since;
        }
    }
}

/// Counts the rows that are read.
pub struct Counted<'r> {
    rows: &'r dyn Reads,
    pub read: Cell<usize>,
}

impl<'r> Counted<'r> {
    pub fn new(rows: &'r dyn Reads) -> Self {
        let read = Cell::new(0);
        Self { rows, read }
    }
}

impl Reads for Counted<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.read.set(self.read.get() + 1);
        self.rows.get(space, key)
    }
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.rows.scan(space, from, to, &mut |key, value| {
            self.read.set(self.read.get() + 1);
            visit(key, value)
        })
    }
    fn scan_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.rows.scan_back(space, from, to, visit)
    }
}
