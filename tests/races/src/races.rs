//! Thousands of schedules of a few threads each. A wakeup that is lost is a deadlock, which ends a schedule.

use core::future::poll_fn;
use shuttle::future::block_on;
use shuttle::thread;
use std::sync::Arc;

use crate::queue::{Pushed, Queue, Ticket};
use crate::registry::{Gate, Registry};
use crate::watch::{Topic, Watchers};

/// Schedules of each test.
const SCHEDULES: usize = 5_000;

async fn push(queue: &Queue<u32>, item: u32) -> Pushed {
    let (mut ticket, mut item): (Ticket, _) = (None, Some(item));
    poll_fn(|cx| queue.poll_push(cx, &mut ticket, &mut item)).await
}

pub fn what_is_pushed_is_taken_once_and_in_the_order_of_its_pusher() {
    shuttle::check_random(
        || {
            let queue = Arc::new(Queue::new(2));
            let pushers: Vec<_> = (0..3u32)
                .map(|pusher| {
                    let queue = queue.clone();
                    thread::spawn(move || {
                        for n in 0..3 {
                            assert_eq!(block_on(push(&queue, pusher * 10 + n)), Pushed::Yes);
                        }
                    })
                })
                .collect();
            let mut taken = Vec::new();
            while taken.len() < 9 {
                let group = block_on(poll_fn(|cx| queue.poll_take(cx, 2))).expect("open");
                assert!(group.len() <= 2);
                taken.extend(group);
            }
            for pusher in pushers {
                pusher.join().unwrap();
            }
            for pusher in 0..3 {
                let own: Vec<u32> = taken.iter().copied().filter(|n| n / 10 == pusher).collect();
                assert_eq!(own, [pusher * 10, pusher * 10 + 1, pusher * 10 + 2]);
            }
        },
        SCHEDULES,
    );
}

pub fn who_leaves_the_line_keeps_nobody_waiting() {
    shuttle::check_random(
        || {
            let queue = Arc::new(Queue::new(1));
            let leaving = {
                let queue = queue.clone();
                thread::spawn(move || {
                    // Polled once, given up then: as a session that is dropped.
                    let (mut ticket, mut item): (Ticket, _) = (None, Some(99));
                    let once = poll_fn(|cx| {
                        let _ = queue.poll_push(cx, &mut ticket, &mut item);
                        core::task::Poll::Ready(())
                    });
                    block_on(once);
                    queue.leave(ticket.take());
                })
            };
            let staying: Vec<_> = (0..2)
                .map(|n| {
                    let queue = queue.clone();
                    thread::spawn(move || block_on(push(&queue, n)))
                })
                .collect();
            let mut taken = Vec::new();
            while taken.iter().filter(|n| **n != 99).count() < 2 {
                taken.extend(block_on(poll_fn(|cx| queue.poll_take(cx, 9))).expect("open"));
            }
            leaving.join().unwrap();
            for pusher in staying {
                assert_eq!(pusher.join().unwrap(), Pushed::Yes);
            }
        },
        SCHEDULES,
    );
}

pub fn a_closed_queue_lets_everybody_go_and_loses_nothing_it_took() {
    shuttle::check_random(
        || {
            let queue = Arc::new(Queue::new(1));
            let pushers: Vec<_> = (0..3)
                .map(|n| {
                    let queue = queue.clone();
                    thread::spawn(move || block_on(push(&queue, n)))
                })
                .collect();
            let closing = {
                let queue = queue.clone();
                thread::spawn(move || queue.close())
            };
            let mut taken = 0;
            while let Some(group) = block_on(poll_fn(|cx| queue.poll_take(cx, 9))) {
                taken += group.len();
            }
            closing.join().unwrap();
            let results = pushers.into_iter().map(|p| p.join().unwrap());
            assert_eq!(
                results.filter(|pushed| *pushed == Pushed::Yes).count(),
                taken
            );
        },
        SCHEDULES,
    );
}

pub fn a_watch_sees_the_newest_number_however_often_it_was_raised() {
    shuttle::check_random(
        || {
            let watchers = Arc::new(Watchers::default());
            let watching: Vec<_> = (0..2)
                .map(|_| {
                    let mut watch = watchers.watch(Topic::Queue);
                    thread::spawn(move || {
                        let mut seen = 0;
                        while seen < 3 {
                            let newer = block_on(watch.changed(seen));
                            assert!(newer > seen);
                            seen = newer;
                        }
                    })
                })
                .collect();
            let raising = {
                let watchers = watchers.clone();
                thread::spawn(move || (1..=3).for_each(|n| watchers.raise([(Topic::Queue, n)])))
            };
            raising.join().unwrap();
            for watching in watching {
                watching.join().unwrap();
            }
        },
        SCHEDULES,
    );
}

pub fn every_session_hears_that_the_server_stops_and_the_last_one_ends_the_wait() {
    shuttle::check_random(
        || {
            let registry = Arc::new(Registry::default());
            let sessions: Vec<_> = (0..3)
                .map(|n| {
                    let mut seat = registry.enter();
                    thread::spawn(move || {
                        // The first leaves by itself.
                        if n > 0 {
                            block_on(poll_fn(|cx| seat.poll_stopping(cx)));
                        }
                        drop(seat);
                    })
                })
                .collect();
            let service = {
                let registry = registry.clone();
                thread::spawn(move || block_on(poll_fn(|cx| registry.poll_stopping(cx))))
            };
            let stopping = {
                let registry = registry.clone();
                thread::spawn(move || registry.stop())
            };
            block_on(poll_fn(|cx| registry.poll_empty(cx)));
            assert_eq!(registry.len(), 0);
            stopping.join().unwrap();
            service.join().unwrap();
            for session in sessions {
                session.join().unwrap();
            }
        },
        SCHEDULES,
    );
}

pub fn whoever_waits_at_a_gate_goes_through_when_it_opens() {
    shuttle::check_random(
        || {
            let gate = Arc::new(Gate::default());
            let waiting: Vec<_> = (0..3)
                .map(|_| {
                    let gate = gate.clone();
                    thread::spawn(move || block_on(poll_fn(|cx| gate.poll(cx))))
                })
                .collect();
            gate.open();
            for waiting in waiting {
                waiting.join().unwrap();
            }
        },
        SCHEDULES,
    );
}
