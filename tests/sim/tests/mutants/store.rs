//! The store alone, over rows and files that look back at it.

use bytes::Bytes;
use core::task::{Context, Waker};
use mox_driver::{Pool, Runtime};
use mox_machine::{Seed, Utc};
use mox_mailbox::{AccountId, Batch, MailboxId, Reads, Space, Stop};
use mox_sim::{Knobs, Sim};
use mox_store::{
    BodyFacts, Committer, Kv, MemDisk, MemKv, Options, QUEUE_MAX, SHARDS, Spooled, Store,
    StoreError, Topic,
};
use mox_uids::Uid;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn options() -> Options {
    Options {
        low_percent: 0,
        low_octets: 0,
        // Everything that has a row of this name is referred to.
        referenced: |reads, id| Ok(reads.get(Space::Rows, &id.counter.to_be_bytes())?.is_some()),
    }
}

fn open(kv: Box<dyn Kv>, disk: &MemDisk) -> (Store, Committer) {
    Store::open(kv, Arc::new(disk.clone()), options()).unwrap()
}

fn put(key: &[u8]) -> Batch {
    Batch {
        writes: vec![(Space::Rows, key.to_vec(), Some(Bytes::from_static(b"x")))],
        ..Batch::default()
    }
}

fn key(seed: u64) -> Vec<u8> {
    let mut key = b"row".to_vec();
    key.extend(seed.to_be_bytes());
    key
}

/// Polls once.
fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        core::task::Poll::Ready(value) => Some(value),
        core::task::Poll::Pending => None,
    }
}

/// Runs what is queued, in one group.
fn turn(committer: &mut Committer) {
    let group = poll(&mut Box::pin(committer.collect())).flatten();
    if let Some(group) = group {
        committer.turn(group);
    }
}

type Hook = Arc<Mutex<Option<Box<dyn FnMut() + Send>>>>;

/// Rows that call somebody while they are synced.
struct Watched {
    rows: MemKv,
    while_syncing: Hook,
    fails: bool,
}

impl Kv for Watched {
    fn reads(&self) -> &dyn Reads {
        self.rows.reads()
    }
    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        self.rows.commit(batch)
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut hook = self.while_syncing.lock().unwrap();
        if let Some(hook) = &mut *hook {
            hook();
            if self.fails {
                return Err(io::Error::other("the disk failed to sync"));
            }
        }
        self.rows.sync()
    }
    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        self.rows.snapshot()
    }
    fn rotate(&mut self) -> io::Result<()> {
        self.rows.rotate()
    }
    fn close(self: Box<Self>) -> io::Result<()> {
        Box::new(self.rows).close()
    }
}

/// S4: while the disk works on a group, nobody has an answer and nobody sees its rows.
pub fn nothing_is_said_before_the_sync(seed: u64) -> Vec<String> {
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook = Hook::default();
    let rows = Watched {
        rows: MemKv::new(),
        while_syncing: Arc::clone(&hook),
        fails: false,
    };
    let (store, mut committer) = open(Box::new(rows), &MemDisk::new());
    let name = key(seed);
    let op = name.clone();
    let mut run = Box::pin(store.run(move |_| Ok::<_, Stop>((put(&op), ()))));
    assert!(poll(&mut run).is_none());
    let (seen, found) = (store.clone(), Arc::clone(&wrong));
    *hook.lock().unwrap() = Some(Box::new(move || {
        let mut wrong = found.lock().unwrap();
        if poll(&mut run).is_some() {
            wrong.push("S4: an op was answered before it was durable".to_owned());
        }
        let view = &seen.published().view;
        if view.get(Space::Rows, &name).unwrap().is_some() {
            wrong.push("S4: rows were published before they were durable".to_owned());
        }
    }));
    turn(&mut committer);
    drop(hook.lock().unwrap().take());
    wrong.lock().unwrap().clone()
}

/// S2: while the disk works on a group, the files it lets go of are still there.
pub fn nothing_goes_before_the_sync(seed: u64) -> Vec<String> {
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook = Hook::default();
    let rows = Watched {
        rows: MemKv::new(),
        while_syncing: Arc::clone(&hook),
        fails: false,
    };
    let disk = MemDisk::new();
    let (store, mut committer) = open(Box::new(rows), &disk);
    let spooled = spooled(&store, 20_000 + seed as usize);
    let body = spooled.body().stored();
    let name = body.id.counter.to_be_bytes();
    let run = |committer: &mut Committer, batch: Batch| {
        let mut run = Box::pin(store.run(move |_| Ok::<_, Stop>((batch, ()))));
        assert!(poll(&mut run).is_none());
        turn(committer);
    };
    run(&mut committer, put(&name));
    drop(spooled);
    let (seen, found) = (store.clone(), Arc::clone(&wrong));
    *hook.lock().unwrap() = Some(Box::new(move || {
        let view = Arc::clone(&seen.published().view);
        if seen.read_body(&*view, &body, 0..1).is_err() {
            let what = "S2: a body went before the commit that let go of it was durable";
            found.lock().unwrap().push(what.to_owned());
        }
    }));
    let remove = Batch {
        writes: vec![(Space::Rows, name.to_vec(), None)],
        unlink: vec![body.id],
        ..Batch::default()
    };
    run(&mut committer, remove);
    drop(hook.lock().unwrap().take());
    let view = Arc::clone(&store.published().view);
    let mut found = core::mem::take(&mut *wrong.lock().unwrap());
    if store.read_body(&*view, &body, 0..1).is_ok() {
        found.push("S2: a body that nothing refers to stays".to_owned());
    }
    found
}

/// A large body that no row refers to yet.
fn spooled(store: &Store, octets: usize) -> Spooled {
    let mut spool = store.spool();
    spool.push(Bytes::from(vec![b'x'; octets]));
    spool.finish(FACTS).unwrap()
}

const FACTS: BodyFacts = BodyFacts {
    account: AccountId(1),
    mailbox: MailboxId(1),
    uid: Uid(0),
    date: Utc(0),
};

/// S10: an op whose sync failed is not answered as done.
pub fn a_failed_sync_promises_nothing(seed: u64) -> Vec<String> {
    let hook = Hook::default();
    let rows = Watched {
        rows: MemKv::new(),
        while_syncing: Arc::clone(&hook),
        fails: true,
    };
    let (store, mut committer) = open(Box::new(rows), &MemDisk::new());
    *hook.lock().unwrap() = Some(Box::new(|| {}));
    let name = key(seed);
    let mut run = Box::pin(store.run(move |_| Ok::<_, Stop>((put(&name), ()))));
    assert!(poll(&mut run).is_none());
    turn(&mut committer);
    match poll(&mut run) {
        Some(Err(StoreError::Dead)) => Vec::new(),
        other => vec![format!(
            "S10: after a failed sync an op was answered {other:?}"
        )],
    }
}

/// Rows as a journal on a disk with a cache: what a process wrote and did not sync is there for the next one, and
/// durable only once that one has written it anew.
#[derive(Clone, Default)]
struct Cached(Arc<Mutex<Journals>>);

#[derive(Default)]
struct Journals {
    /// Batches, the process that wrote each, and whether it is on the disk.
    batches: Vec<(Batch, u32, bool)>,
    process: u32,
    breaks: bool,
}

struct CachedKv {
    rows: MemKv,
    journals: Cached,
}

impl Cached {
    /// What a process that starts now finds.
    fn reopened(&self) -> Box<CachedKv> {
        let mut journals = self.0.lock().unwrap();
        journals.process += 1;
        journals.breaks = false;
        let mut rows = MemKv::new();
        for (batch, ..) in &journals.batches {
            rows.commit(batch).unwrap();
        }
        drop(journals);
        Box::new(CachedKv {
            rows,
            journals: self.clone(),
        })
    }

    fn lose_power(&self) {
        self.0
            .lock()
            .unwrap()
            .batches
            .retain(|(.., durable)| *durable);
    }
}

impl Kv for CachedKv {
    fn reads(&self) -> &dyn Reads {
        self.rows.reads()
    }
    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        let mut journals = self.journals.0.lock().unwrap();
        let process = journals.process;
        journals.batches.push((batch.clone(), process, false));
        drop(journals);
        self.rows.commit(batch)
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut journals = self.journals.0.lock().unwrap();
        if journals.breaks {
            return Err(io::Error::other("killed"));
        }
        let process = journals.process;
        let own = journals.batches.iter_mut().filter(|b| b.1 == process);
        own.for_each(|batch| batch.2 = true);
        Ok(())
    }
    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        self.rows.snapshot()
    }
    fn rotate(&mut self) -> io::Result<()> {
        let mut journals = self.journals.0.lock().unwrap();
        journals.batches.iter_mut().for_each(|batch| batch.2 = true);
        Ok(())
    }
    fn close(mut self: Box<Self>) -> io::Result<()> {
        self.rotate()
    }
}

/// S5: what the next process shows after a kill is there after a loss of power too.
pub fn what_was_recovered_stays(seed: u64) -> Vec<String> {
    let (journals, disk) = (Cached::default(), MemDisk::new());
    let (store, mut committer) = open(journals.reopened(), &disk);
    let name = key(seed);
    let op = name.clone();
    let mut run = Box::pin(store.run(move |_| Ok::<_, Stop>((put(&op), ()))));
    assert!(poll(&mut run).is_none());
    // Killed between the write and the sync.
    journals.0.lock().unwrap().breaks = true;
    turn(&mut committer);
    drop((store, committer));
    let there = |store: &Store| {
        let view = &store.published().view;
        view.get(Space::Rows, &name).unwrap().is_some()
    };
    let (store, committer) = open(journals.reopened(), &disk);
    let seen = there(&store);
    drop((store, committer));
    journals.lose_power();
    match Store::open(journals.reopened(), Arc::new(disk), options()) {
        Ok((store, _)) if seen && !there(&store) => {
            vec!["S5: a row that was seen after a kill is gone after a loss of power".to_owned()]
        }
        Ok(_) => Vec::new(),
        Err(error) => vec![format!("S5: {error}")],
    }
}

/// S6: the sweeper leaves a body alone that is still coming in.
pub fn a_body_in_flight_stays(seed: u64) -> Vec<String> {
    let disk = MemDisk::new();
    let (store, mut committer) = open(Box::new(MemKv::new()), &disk);
    let mut spool = store.spool();
    let octets = Bytes::from(vec![b'x'; 200_000 + seed as usize]);
    spool.push(octets.clone());
    spool.write().unwrap();
    let sweep = || {
        for shard in 0..SHARDS {
            store.sweep(shard as u8).unwrap();
        }
    };
    sweep();
    let Ok(spooled) = spool.finish(FACTS) else {
        return vec!["S6: the file of a body in flight is gone".to_owned()];
    };
    sweep();
    let body = spooled.body().stored();
    let mut run = Box::pin(store.run(move |_| {
        let batch = put(&spooled.body().id.counter.to_be_bytes());
        drop(spooled);
        Ok::<_, Stop>((batch, ()))
    }));
    assert!(poll(&mut run).is_none());
    turn(&mut committer);
    sweep();
    let view = &store.published().view;
    match store.read_body(&**view, &body, 0..body.length) {
        Ok(read) if read == octets => Vec::new(),
        other => vec![format!("S6: the body is {:?}", other.map(|b| b.len()))],
    }
}

/// More ops at once than the queue holds: all of them are done.
pub fn everybody_gets_into_the_queue(seed: u64) -> Vec<String> {
    let sim = Sim::new(seed, Knobs::fault_free());
    let computer = sim.computer("server", [10, 0, 0, 1]);
    let done = Arc::new(AtomicUsize::new(0));
    let (count, counted) = (QUEUE_MAX + 100, Arc::clone(&done));
    sim.run(async move {
        let (store, mut committer) = open(Box::new(MemKv::new()), &MemDisk::new());
        for n in 0..count as u64 {
            let (store, done) = (store.clone(), Arc::clone(&counted));
            let task = Box::pin(async move {
                let run = store.run(move |_| Ok::<_, Stop>((put(&key(n)), ())));
                run.await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            });
            computer.spawn_session("op", task);
        }
        // They have all queued up before the committer begins.
        crate::house::sleep(&computer, core::time::Duration::from_secs(1)).await;
        while counted.load(Ordering::Relaxed) < count {
            let Some(group) = committer.collect().await else {
                return;
            };
            let turn = Box::new(move || {
                committer.turn(group);
                committer
            });
            committer = computer.blocking(Pool::Commit, turn).await;
            crate::house::sleep(&computer, core::time::Duration::from_millis(1)).await;
        }
    });
    match done.load(Ordering::Relaxed) {
        all if all == count => Vec::new(),
        some => vec![format!("{some} of {count} ops were done")],
    }
}

/// An op that comes to an idle committer wakes it.
pub fn an_idle_committer_wakes(seed: u64) -> Vec<String> {
    let sim = Sim::new(seed, Knobs::fault_free());
    let computer = sim.computer("server", [10, 0, 0, 1]);
    let pause = core::time::Duration::from_millis(1 + seed % 50);
    sim.run(async move {
        let (store, mut committer) = open(Box::new(MemKv::new()), &MemDisk::new());
        let on = computer.clone();
        let op = Box::pin(async move {
            crate::house::sleep(&on, pause).await;
            let name = key(1);
            let run = store.run(move |_| Ok::<_, Stop>((put(&name), ())));
            run.await.unwrap();
        });
        computer.spawn_session("op", op);
        // Where nothing is woken the world says so: nobody can run.
        let group = committer.collect().await;
        committer.turn(group.unwrap());
    });
    Vec::new()
}

/// Who watches a topic is woken by a commit that touches it.
pub fn a_change_wakes_who_watches(seed: u64) -> Vec<String> {
    let sim = Sim::new(seed, Knobs::fault_free());
    let computer = sim.computer("server", [10, 0, 0, 1]);
    let mut rng = Seed::from_number(seed).child("watch", 0).rng();
    let pause = core::time::Duration::from_micros(rng.below(5_000_000));
    sim.run(async move {
        let (store, mut committer) = open(Box::new(MemKv::new()), &MemDisk::new());
        let mut watch = store.watch(Topic::Commit, |published| published.number);
        let known = store.published().number;
        let writer = async {
            crate::house::sleep(&computer, pause).await;
            let name = key(1);
            let mut run = Box::pin(store.run(move |_| Ok::<_, Stop>((put(&name), ()))));
            assert!(poll(&mut run).is_none());
            turn(&mut committer);
        };
        // Where nothing is woken the world says so: nobody can run.
        futures_lite::future::zip(watch.changed(known), writer).await;
    });
    Vec::new()
}
