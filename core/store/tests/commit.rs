//! The committer: order, atomicity, durability before publication, and what happens when it fails.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "tests"
)]

mod world;

use bytes::Bytes;
use mox_mailbox::{
    AccountId, BATCH_ROWS_MAX, Batch, MailboxId, Reads, Space, Stop, Touched, VALUE_MAX,
};
use mox_store::{
    Capacity, Committer, DiskSpace, GROUP_MAX, Kv, MemDisk, MemKv, QUEUE_MAX, Run, Store,
    StoreError, Topic,
};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use world::{Fuse, FusedDisk, FusedKv, options, poll_once, put, serve, settle, turn};

type Ready<T> = Poll<Result<T, StoreError<Stop>>>;

fn open() -> (Store, Committer) {
    open_on(MemKv::new())
}

fn open_on(kv: impl Kv + 'static) -> (Store, Committer) {
    Store::open(Box::new(kv), Arc::new(MemDisk::new()), options()).unwrap()
}

fn get(reads: &dyn Reads, key: &[u8]) -> Option<Bytes> {
    reads.get(Space::Rows, key).unwrap()
}

/// Adds one octet to the row `list`, and answers how many there are.
fn append(store: &Store, octet: u8) -> Run<usize, Stop> {
    store.run(move |reads| {
        let mut list = get(reads, b"list").unwrap_or_default().to_vec();
        list.push(octet);
        Ok((put(b"list", &list), list.len()))
    })
}

fn published(store: &Store, key: &[u8]) -> Option<Bytes> {
    get(&*store.published().view, key)
}

#[test]
fn ops_of_a_group_see_those_before_them_in_the_order_they_came() {
    let (store, mut committer) = open();
    let mut runs: Vec<_> = (b'a'..=b'e').map(|octet| append(&store, octet)).collect();
    for run in &mut runs {
        assert!(poll_once(run).is_pending());
    }
    assert!(turn(&mut committer));
    let lengths: Vec<_> = runs.iter_mut().map(poll_once).collect();
    assert_eq!(
        lengths,
        (1..=5).map(|n| Poll::Ready(Ok(n))).collect::<Vec<_>>()
    );
    assert_eq!(published(&store, b"list").unwrap(), "abcde");
    assert_eq!(store.published().number, 1);
    assert!(!turn(&mut committer));
}

#[test]
fn an_op_that_refuses_panics_or_wants_too_much_writes_nothing_and_harms_nobody() {
    let (store, mut committer) = open();
    let mut good: Vec<Run<usize, Stop>> = vec![append(&store, b'a')];
    let mut bad: Vec<Run<(), Stop>> = vec![
        store.run(|_| Err(Stop::NoSuchMailbox)),
        store.run(|_| -> Result<(Batch, ()), Stop> { panic!("an op") }),
        store.run(|_| {
            let rows = (0..=BATCH_ROWS_MAX).map(|n| (Space::Rows, format!("big{n}").into(), None));
            Ok((
                Batch {
                    writes: rows.collect(),
                    ..Batch::default()
                },
                (),
            ))
        }),
        store.run(|_| Ok((put(b"big", &vec![0; VALUE_MAX + 1]), ()))),
    ];
    good.push(append(&store, b'b'));
    assert!(poll_once(&mut good[0]).is_pending());
    for run in &mut bad {
        assert!(poll_once(run).is_pending());
    }
    assert!(poll_once(&mut good[1]).is_pending());
    turn(&mut committer);
    assert_eq!(
        good.iter_mut()
            .map(poll_once)
            .collect::<Vec<Ready<usize>>>(),
        [Poll::Ready(Ok(1)), Poll::Ready(Ok(2))]
    );
    assert_eq!(
        bad.iter_mut().map(poll_once).collect::<Vec<Ready<()>>>(),
        [
            Poll::Ready(Err(StoreError::Refused(Stop::NoSuchMailbox))),
            Poll::Ready(Err(StoreError::Panicked)),
            Poll::Ready(Err(StoreError::TooBig)),
            Poll::Ready(Err(StoreError::TooBig)),
        ]
    );
    assert_eq!(published(&store, b"list").unwrap(), "ab");
    assert_eq!(published(&store, b"big"), None);
    assert_eq!(store.failed(), None);
}

#[test]
fn a_batch_and_a_value_at_their_limits_are_taken() {
    let (store, mut committer) = open();
    let run: Run<(), Stop> = store.run(|_| {
        let mut batch = put(b"big", &vec![7; VALUE_MAX]);
        let rows = (1..BATCH_ROWS_MAX).map(|n| (Space::Rows, format!("r{n}").into(), None));
        batch.writes.extend(rows);
        Ok((batch, ()))
    });
    assert_eq!(settle(&mut committer, run), Ok(()));
    assert_eq!(published(&store, b"big").unwrap().len(), VALUE_MAX);
}

#[test]
fn a_group_that_writes_nothing_publishes_nothing() {
    let (store, mut committer) = open();
    let run: Run<(), Stop> = store.run(|_| Err(Stop::Inbox));
    assert_eq!(
        settle(&mut committer, run),
        Err(StoreError::Refused(Stop::Inbox))
    );
    let run: Run<u8, Stop> = store.run(|_| Ok((Batch::default(), 5)));
    assert_eq!(settle(&mut committer, run), Ok(5));
    assert_eq!(store.published().number, 0);
}

/// Lets the sync look at the world at the moment it has returned.
struct Watched {
    kv: MemKv,
    at_sync: Arc<dyn Fn(&MemKv) + Send + Sync>,
    syncs: Arc<AtomicUsize>,
}

impl Kv for Watched {
    fn reads(&self) -> &dyn Reads {
        self.kv.reads()
    }
    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        self.kv.commit(batch)
    }
    fn sync(&mut self) -> io::Result<()> {
        (self.at_sync)(&self.kv);
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.kv.sync()
    }
    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        assert_eq!(self.kv.unsynced(), 0, "a snapshot of what is not durable");
        self.kv.snapshot()
    }
    fn rotate(&mut self) -> io::Result<()> {
        self.kv.rotate()
    }
    fn close(mut self: Box<Self>) -> io::Result<()> {
        self.kv.sync()
    }
}

#[test]
fn nothing_is_published_or_answered_before_the_one_sync_of_its_group() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handle: Arc<Mutex<Option<Store>>> = Arc::default();
    let syncs = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(AtomicBool::new(false));
    let at_sync = {
        let (seen, handle, answered) = (seen.clone(), handle.clone(), answered.clone());
        move |kv: &MemKv| {
            if let Some(store) = &*handle.lock().unwrap() {
                let visible = published(store, b"list");
                let latest = get(kv.reads(), b"list");
                let watch = answered.load(Ordering::SeqCst);
                seen.lock().unwrap().push((visible, latest, watch));
            }
        }
    };
    let kv = Watched {
        kv: MemKv::new(),
        at_sync: Arc::new(at_sync),
        syncs: syncs.clone(),
    };
    let (store, mut committer) = open_on(kv);
    *handle.lock().unwrap() = Some(store.clone());
    let before = syncs.load(Ordering::SeqCst);
    struct Flag(Arc<AtomicBool>);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let waker = Waker::from(Arc::new(Flag(answered.clone())));
    let mut runs: Vec<_> = (b'a'..=b'c').map(|octet| append(&store, octet)).collect();
    for run in &mut runs {
        let polled = std::pin::Pin::new(run).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    turn(&mut committer);
    assert_eq!(syncs.load(Ordering::SeqCst) - before, 1);
    assert!(answered.load(Ordering::SeqCst));
    let seen = seen.lock().unwrap();
    assert_eq!(*seen, [(None, Some(Bytes::from("abc")), false)]);
    assert_eq!(published(&store, b"list").unwrap(), "abc");
    handle.lock().unwrap().take();
}

#[test]
fn a_group_takes_what_comes_meanwhile_but_no_more_than_its_limit() {
    let (store, mut committer) = open();
    let mut runs: Vec<_> = (0..300).map(|_| append(&store, b'x')).collect();
    for run in &mut runs {
        assert!(poll_once(run).is_pending());
    }
    turn(&mut committer);
    let done = runs.iter_mut().filter_map(|run| match poll_once(run) {
        Poll::Ready(answer) => Some(answer.unwrap()),
        Poll::Pending => None,
    });
    assert_eq!(done.max(), Some(GROUP_MAX));
    assert_eq!(store.published().number, 1);
    // The rest of one group, and an op that is queued while it runs.
    let late: Arc<Mutex<Option<Run<usize, Stop>>>> = Arc::default();
    let (place, other) = (late.clone(), store.clone());
    let mut nested: Run<(), Stop> = store.run(move |_| {
        let mut run = append(&other, b'z');
        assert!(poll_once(&mut run).is_pending());
        *place.lock().unwrap() = Some(run);
        Ok((Batch::default(), ()))
    });
    assert!(poll_once(&mut nested).is_pending());
    turn(&mut committer);
    assert_eq!(store.published().number, 2);
    let mut late = late.lock().unwrap().take().unwrap();
    assert_eq!(poll_once(&mut late), Poll::Ready(Ok(301)));
}

#[test]
fn a_full_queue_makes_ops_wait_and_a_waiter_that_gives_up_is_forgotten() {
    let (store, mut committer) = open();
    let mut queued: Vec<_> = (0..QUEUE_MAX).map(|_| append(&store, b'x')).collect();
    for run in &mut queued {
        assert!(poll_once(run).is_pending());
    }
    let mut outside: Vec<_> = (0..3).map(|_| append(&store, b'y')).collect();
    for run in &mut outside {
        assert!(poll_once(run).is_pending());
    }
    drop(outside.remove(1));
    while turn(&mut committer) {}
    assert_eq!(published(&store, b"list").unwrap().len(), QUEUE_MAX);
    for run in &mut outside {
        assert!(poll_once(run).is_pending());
    }
    while turn(&mut committer) {}
    assert_eq!(
        outside.iter_mut().map(poll_once).collect::<Vec<_>>(),
        [Poll::Ready(Ok(1_025)), Poll::Ready(Ok(1_026))]
    );
}

#[test]
fn an_op_whose_waiter_left_is_done_all_the_same() {
    let (store, mut committer) = open();
    let mut run = append(&store, b'a');
    assert!(poll_once(&mut run).is_pending());
    drop(run);
    drop(append(&store, b'b'));
    turn(&mut committer);
    assert_eq!(published(&store, b"list").unwrap(), "a");
}

#[test]
fn a_failing_commit_or_sync_ends_the_store_and_nothing_is_answered_done() {
    // Opening takes one commit and one sync; a group of two ops three commits and one sync.
    for allowed in 0..4 {
        let kv = MemKv::new();
        let fuse = Fuse::new(u64::MAX);
        let (store, mut committer) = open_on(FusedKv(kv.clone(), fuse.clone()));
        fuse.0.store(allowed, Ordering::SeqCst);
        let mut runs = [append(&store, b'a'), append(&store, b'b')];
        let mut refused: Run<(), Stop> = store.run(|_| Err(Stop::Inbox));
        for run in &mut runs {
            assert!(poll_once(run).is_pending());
        }
        assert!(poll_once(&mut refused).is_pending());
        turn(&mut committer);
        for run in &mut runs {
            assert_eq!(poll_once(run), Poll::Ready(Err(StoreError::Dead)));
        }
        assert_eq!(poll_once(&mut refused), Poll::Ready(Err(StoreError::Dead)));
        let why = store.failed().unwrap();
        assert!(why.contains("fuse"), "{why}");
        assert_eq!(published(&store, b"list"), None);
        assert_eq!(store.published().number, 0);
        // Nothing gets in any more, and the service ends.
        fuse.0.store(u64::MAX, Ordering::SeqCst);
        let mut late = append(&store, b'c');
        assert_eq!(poll_once(&mut late), Poll::Ready(Err(StoreError::Dead)));
        assert!(matches!(
            poll_once(&mut Box::pin(committer.collect())),
            Poll::Ready(None)
        ));
        assert!(committer.close().is_err());
    }
}

#[test]
fn whoever_waits_hears_when_the_committer_is_gone() {
    let (store, committer) = open();
    let mut queued = append(&store, b'a');
    assert!(poll_once(&mut queued).is_pending());
    drop(committer);
    assert_eq!(poll_once(&mut queued), Poll::Ready(Err(StoreError::Dead)));
    assert!(store.failed().is_some());
}

#[test]
fn a_high_water_mark_that_cannot_be_written_ends_the_store() {
    let fuse = Fuse::new(u64::MAX);
    let disk = FusedDisk(MemDisk::new(), fuse.clone());
    let (store, mut committer) =
        Store::open(Box::new(MemKv::new()), Arc::new(disk), options()).unwrap();
    let run = append(&store, b'a');
    assert_eq!(settle(&mut committer, run), Ok(1));
    fuse.0.store(1, Ordering::SeqCst);
    store.upkeep().unwrap_err();
    assert!(store.failed().is_some());
    assert_eq!(
        poll_once(&mut append(&store, b'b')),
        Poll::Ready(Err(StoreError::Dead))
    );
}

#[test]
fn a_closed_store_finishes_what_it_has() {
    let (store, committer) = open();
    let mut first = append(&store, b'a');
    assert!(poll_once(&mut first).is_pending());
    store.close();
    assert_eq!(
        poll_once(&mut append(&store, b'b')),
        Poll::Ready(Err(StoreError::Dead))
    );
    let committer = serve(committer).join().unwrap();
    assert_eq!(poll_once(&mut first), Poll::Ready(Ok(1)));
    committer.close().unwrap();
    assert_eq!(store.failed(), None);
}

fn touch(store: &Store, mailbox: u32, modseq: u64) -> Run<(), Stop> {
    store.run(move |_| {
        let mut batch = put(b"k", b"v");
        batch.touched = vec![
            Touched::Mailbox {
                account: AccountId(1),
                mailbox: MailboxId(mailbox),
                modseq,
            },
            Touched::Queue,
        ];
        Ok((batch, ()))
    })
}

#[test]
fn a_watcher_is_woken_once_with_the_newest_number() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (store, mut committer) = open();
    let topic = |mailbox| Topic::Mailbox {
        account: AccountId(1),
        mailbox: MailboxId(mailbox),
    };
    let woken = Arc::new(Count::default());
    let waker = Waker::from(woken.clone());
    let cx = &mut Context::from_waker(&waker);
    let mut watch = store.watch(topic(5), |_| 7);
    assert_eq!(watch.poll_changed(cx, 3), Poll::Ready(7));
    assert_eq!(watch.poll_changed(cx, 7), Poll::Pending);
    let mut other = store.watch(topic(6), |_| 0);
    let mut queue = store.watch(Topic::Queue, |published| published.number);
    let mut any = store.watch(Topic::Commit, |published| published.number);
    assert_eq!(other.poll_changed(cx, 0), Poll::Pending);
    let mut runs = [
        touch(&store, 5, 8),
        touch(&store, 5, 10),
        touch(&store, 5, 9),
    ];
    for run in &mut runs {
        assert!(poll_once(run).is_pending());
    }
    turn(&mut committer);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(watch.poll_changed(cx, 7), Poll::Ready(10));
    assert_eq!(watch.poll_changed(cx, 10), Poll::Pending);
    assert_eq!(other.poll_changed(cx, 0), Poll::Pending);
    assert_eq!(queue.poll_changed(cx, 0), Poll::Ready(1));
    assert_eq!(any.poll_changed(cx, 0), Poll::Ready(1));
    // Two watch one mailbox; one goes.
    let second = store.watch(topic(5), |_| 10);
    drop(watch);
    drop(second);
    let run = touch(&store, 5, u64::MAX);
    settle(&mut committer, run).unwrap();
    let mut deleted = store.watch(topic(5), |_| 0);
    // What was raised before anybody watched is what `newest` is for.
    assert_eq!(deleted.poll_changed(cx, 0), Poll::Pending);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_nearly_full_disk_is_seen_at_the_next_group() {
    let disk = MemDisk::new();
    let (store, mut committer) =
        Store::open(Box::new(MemKv::new()), Arc::new(disk.clone()), options()).unwrap();
    let gib = 1 << 30;
    let mut after = |free, total| {
        disk.set_capacity(Capacity { free, total });
        let run = append(&store, b'a');
        settle(&mut committer, run).unwrap();
        store.space()
    };
    assert_eq!(after(5 * gib, 100 * gib), DiskSpace::Enough);
    assert_eq!(after(5 * gib - 1, 100 * gib), DiskSpace::Low);
    assert_eq!(after(gib, 2 * gib), DiskSpace::Enough);
    assert_eq!(after(gib - 1, 2 * gib), DiskSpace::Low);
    disk.set_capacity(Capacity {
        free: gib,
        total: gib,
    });
    store.upkeep().unwrap();
    assert_eq!(store.space(), DiskSpace::Enough);
}

#[test]
fn with_hardly_any_room_bodies_are_refused_and_rows_go_on() {
    let disk = MemDisk::new();
    let (store, mut committer) =
        Store::open(Box::new(MemKv::new()), Arc::new(disk.clone()), options()).unwrap();
    let (gib, half) = (1 << 30, 1 << 29);
    let set = |free| {
        disk.set_capacity(Capacity {
            free,
            total: 2 * gib,
        })
    };
    let mut begun = store.spool();
    begun.push(world::content(200_000));
    begun.write().unwrap();
    begun.push(world::content(200_000));
    let small = world::deliver(&store, world::content(100)).unwrap();
    set(half);
    // What is coming in may use half of what new mail may not.
    settle(&mut committer, small).unwrap();
    assert_eq!(store.space(), DiskSpace::Low);
    begun.write().unwrap();
    let small = world::deliver(&store, world::content(100)).unwrap();
    begun.push(world::content(200_000));
    set(half - 1);
    let refused = settle(&mut committer, small);
    assert_eq!(refused, Err(StoreError::NoRoom));
    let full = io::ErrorKind::StorageFull;
    assert_eq!(begun.write().unwrap_err().kind(), full);
    assert!(world::deliver(&store, world::content(20_000)).is_err());
    let run = append(&store, b'a');
    settle(&mut committer, run).unwrap();
    assert_eq!(store.failed(), None);
    set(gib);
    let small = world::deliver(&store, world::content(100)).unwrap();
    settle(&mut committer, small).unwrap();
}
