//! Small pieces that several tests build on.

use bytes::Bytes;
use mox_machine::Utc;
use mox_mailbox::{
    AccountId, Batch, BodyHeader, BodyId, BodyRef, INLINE_BODY_MAX, MailboxId, ReadError, Reads,
    Space,
};
use mox_store::{BodyFacts, Capacity, Committer, Disk, Kv, Options, Run, Store};
use mox_uids::Uid;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// Polls a future once, with a waker that does nothing.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs what is queued, as one group; false when there is nothing.
pub fn turn(committer: &mut Committer) -> bool {
    let group = poll_once(&mut Box::pin(committer.collect()));
    let Poll::Ready(Some(group)) = group else {
        return false;
    };
    committer.turn(group);
    true
}

/// Queues an op, runs the group, and takes the answer.
pub fn settle<T, E>(
    committer: &mut Committer,
    mut run: Run<T, E>,
) -> Result<T, mox_store::StoreError<E>> {
    if let Poll::Ready(answer) = poll_once(&mut run) {
        return answer;
    }
    turn(committer);
    match poll_once(&mut run) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the op was not answered"),
    }
}

/// Runs a committer on a thread of its own until the store is closed.
pub fn serve(mut committer: Committer) -> std::thread::JoinHandle<Committer> {
    std::thread::spawn(move || {
        while let Some(group) = futures_lite::future::block_on(committer.collect()) {
            committer.turn(group);
        }
        committer
    })
}

pub fn put(key: &[u8], value: &[u8]) -> Batch {
    Batch {
        writes: vec![(
            Space::Rows,
            key.to_vec(),
            Some(Bytes::copy_from_slice(value)),
        )],
        ..Batch::default()
    }
}

/// In these tests a row of the store's own table, `R` and the body's number, refers to it.
pub fn reference(id: BodyId) -> Vec<u8> {
    [b"\0R".as_slice(), &body_key(id)].concat()
}

pub fn body_key(id: BodyId) -> Vec<u8> {
    [&id.boot.to_be_bytes()[..], &id.counter.to_be_bytes()[..]].concat()
}

pub fn referenced(view: &dyn Reads, id: BodyId) -> Result<bool, ReadError> {
    Ok(view.get(Space::Rows, &reference(id))?.is_some())
}

pub fn options() -> Options {
    Options {
        referenced,
        low_percent: 5,
        low_octets: 1 << 30,
    }
}

pub fn facts() -> BodyFacts {
    BodyFacts {
        account: AccountId(1),
        mailbox: MailboxId(2),
        uid: Uid(0),
        date: Utc(3),
    }
}

/// Octets that no compression and no shift leaves as they are.
pub fn content(length: usize) -> Bytes {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Spools a body and stores it with one reference, the way a delivery does.
pub fn deliver(store: &Store, body: Bytes) -> io::Result<Run<BodyRef, mox_mailbox::Stop>> {
    let mut spool = store.spool();
    for piece in body.chunks(60_000) {
        if spool.push(Bytes::copy_from_slice(piece)) {
            spool.write()?;
        }
    }
    let spooled = spool.finish(facts())?;
    Ok(store.run(move |_| {
        let body = spooled.body().stored();
        let mut batch = put(&reference(body.id), &[]);
        if let Some(octets) = &spooled.body().inline {
            let header = BodyHeader {
                body,
                account: AccountId(1),
                mailbox: MailboxId(2),
                uid: Uid(7),
                date: Utc(3),
            };
            let row = [&header.encode()[..], octets].concat();
            batch
                .writes
                .push((Space::Bodies, body_key(body.id), Some(row.into())));
        }
        Ok((batch, body))
    }))
}

/// Removes the reference to a body, and the body.
pub fn remove(store: &Store, body: BodyRef) -> Run<(), mox_mailbox::Stop> {
    store.run(move |_| {
        let mut batch = Batch::default();
        batch.writes.push((Space::Rows, reference(body.id), None));
        if body.length <= INLINE_BODY_MAX as u64 {
            batch.writes.push((Space::Bodies, body_key(body.id), None));
        } else {
            batch.unlink.push(body.id);
        }
        Ok((batch, ()))
    })
}

/// Everything of a body.
pub fn whole(store: &Store, body: &BodyRef) -> io::Result<Bytes> {
    let published = store.published();
    store.read_body(&*published.view, body, 0..u64::MAX)
}

/// Names of all body files.
pub fn files(disk: &dyn Disk) -> Vec<String> {
    let dirs = disk.list("body").unwrap_or_default();
    dirs.iter()
        .flat_map(|dir| disk.list(&format!("body/{dir}")).unwrap())
        .collect()
}

/// Lets a number of calls through, then fails every one: the machine died in between.
#[derive(Clone)]
pub struct Fuse(pub Arc<AtomicU64>);

impl Fuse {
    pub fn new(calls: u64) -> Self {
        Self(Arc::new(AtomicU64::new(calls)))
    }

    pub fn burn(&self) -> io::Result<()> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map(drop).map_err(|_| io::Error::other("fuse"))
    }
}

pub struct FusedDisk<D>(pub D, pub Fuse);

impl<D: Disk> Disk for FusedDisk<D> {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.1.burn()?;
        self.0.create_dir(name)
    }
    fn create(&self, name: &str) -> io::Result<()> {
        self.1.burn()?;
        self.0.create(name)
    }
    fn write_at(&self, name: &str, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        self.1.burn()?;
        self.0.write_at(name, offset, parts)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.1.burn()?;
        self.0.sync(name)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.1.burn()?;
        self.0.sync_dir(dir)
    }
    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.1.burn()?;
        self.0.link(from, to)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.1.burn()?;
        self.0.rename(from, to)
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        self.1.burn()?;
        self.0.unlink(name)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        self.0.read_at(name, offset, length)
    }
    fn length(&self, name: &str) -> io::Result<u64> {
        self.0.length(name)
    }
    fn capacity(&self) -> io::Result<Capacity> {
        self.0.capacity()
    }
}

pub struct FusedKv<K>(pub K, pub Fuse);

impl<K: Kv> Kv for FusedKv<K> {
    fn reads(&self) -> &dyn Reads {
        self.0.reads()
    }
    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        self.1.burn()?;
        self.0.commit(batch)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.1.burn()?;
        self.0.sync()
    }
    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        self.0.snapshot()
    }
    fn rotate(&mut self) -> io::Result<()> {
        self.1.burn()?;
        self.0.rotate()
    }
    fn close(mut self: Box<Self>) -> io::Result<()> {
        self.1.burn()?;
        self.0.sync()
    }
}

/// A fresh directory below the target directory, removed when dropped.
pub struct TempDir(pub std::path::PathBuf);

impl TempDir {
    pub fn new(name: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
