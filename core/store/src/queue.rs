//! The bounded queue in front of the committer: first come, first served, and who finds it full waits in line.

use mox_machine::mutant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::{Context, Poll, Waker};

use crate::lock::Lock;

/// A queue of at most `max` items. Closing it lets what is in it be taken, and nothing more in.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Lock<State<T>>,
    max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    taker: Option<Waker>,
    /// Who waits for room, in the order they came.
    waiting: BTreeMap<u64, Waker>,
    /// Who was given a free place and has not used it yet.
    admitted: BTreeSet<u64>,
    next_ticket: u64,
    closed: bool,
}

/// The place in line of one item that is to be pushed. To be given back with [`Queue::leave`] when it is not used.
pub(crate) type Ticket = Option<u64>;

/// What became of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Yes,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            state: Lock::new(State {
                items: VecDeque::new(),
                taker: None,
                waiting: BTreeMap::new(),
                admitted: BTreeSet::new(),
                next_ticket: 0,
                closed: false,
            }),
            max,
        }
    }

    /// Takes the item out of `item` once there is room for it.
    pub(crate) fn poll_push(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        item: &mut Option<T>,
    ) -> Poll<Pushed> {
        let mut state = self.state.lock();
        if state.closed {
            return Poll::Ready(Pushed::Closed);
        }
        let room = match *ticket {
            Some(mine) => state.admitted.remove(&mine),
            None => state.waiting.is_empty() && state.items.len() + state.admitted.len() < self.max,
        };
        if !room {
            let mine = *ticket.get_or_insert_with(|| {
                state.next_ticket += 1;
                state.next_ticket
            });
            state.waiting.insert(mine, cx.waker().clone());
            return Poll::Pending;
        }
        *ticket = None;
        state.items.extend(item.take());
        let taker = state.taker.take();
        drop(state);
        if let Some(taker) = taker
            && !mutant!(CommitterNotWoken)
        {
            taker.wake();
        }
        Poll::Ready(Pushed::Yes)
    }

    /// Pushes an item if there is room, past nobody.
    pub(crate) fn try_push(&self, item: T) -> bool {
        let mut state = self.state.lock();
        let room = state.waiting.is_empty() && state.items.len() + state.admitted.len() < self.max;
        if state.closed || !room {
            return false;
        }
        state.items.push_back(item);
        let taker = state.taker.take();
        drop(state);
        if let Some(taker) = taker {
            taker.wake();
        }
        true
    }

    /// Gives a place in line back.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let Some(mine) = ticket else { return };
        let mut state = self.state.lock();
        state.waiting.remove(&mine);
        state.admitted.remove(&mine);
        let woken = self.admit(&mut state);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Takes up to `max` items, as soon as there is one; `None` when it is closed and empty.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, max: usize) -> Poll<Option<Vec<T>>> {
        let mut state = self.state.lock();
        if state.items.is_empty() {
            if state.closed {
                return Poll::Ready(None);
            }
            state.taker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        Poll::Ready(Some(self.take(max)))
    }

    /// Takes up to `max` items, maybe none.
    pub(crate) fn take(&self, max: usize) -> Vec<T> {
        let mut state = self.state.lock();
        let count = max.min(state.items.len());
        let items = state.items.drain(..count).collect();
        let woken = self.admit(&mut state);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        items
    }

    /// Lets nothing more in; whoever waits for room is told.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        state.admitted.clear();
        let taker = state.taker.take();
        drop(state);
        waiting
            .into_values()
            .chain(taker)
            .for_each(|waker| waker.wake());
    }

    /// Gives free places to those who came first.
    fn admit(&self, state: &mut State<T>) -> Vec<Waker> {
        let mut woken = Vec::new();
        while state.items.len() + state.admitted.len() < self.max {
            let Some((ticket, waker)) = state.waiting.pop_first() else {
                break;
            };
            state.admitted.insert(ticket);
            if !mutant!(WaitingOpNotWoken) {
                woken.push(waker);
            }
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Pusher {
        woken: Arc<Count>,
        ticket: Ticket,
        item: Option<u32>,
    }

    impl Pusher {
        fn new(item: u32) -> Self {
            Self {
                woken: Arc::default(),
                ticket: None,
                item: Some(item),
            }
        }

        fn poll(&mut self, queue: &Queue<u32>) -> Poll<Pushed> {
            let waker = Waker::from(Arc::clone(&self.woken));
            queue.poll_push(
                &mut Context::from_waker(&waker),
                &mut self.ticket,
                &mut self.item,
            )
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_full_queue_admits_those_who_wait_in_their_order_and_no_newcomer_before_them() {
        let queue = Queue::new(2);
        let mut pushers: Vec<Pusher> = (0..5).map(Pusher::new).collect();
        let results: Vec<bool> = pushers
            .iter_mut()
            .map(|p| p.poll(&queue).is_ready())
            .collect();
        assert_eq!(results, [true, true, false, false, false]);
        assert_eq!(queue.take(1), [0]);
        assert_eq!(
            pushers.iter().map(Pusher::woken).collect::<Vec<_>>(),
            [0, 0, 1, 0, 0]
        );
        // The free place is promised: neither a newcomer nor the next in line gets it.
        assert!(Pusher::new(9).poll(&queue).is_pending());
        assert!(!queue.try_push(9));
        assert!(pushers[3].poll(&queue).is_pending());
        assert_eq!(pushers[2].poll(&queue), Poll::Ready(Pushed::Yes));
        assert_eq!(queue.take(9), [1, 2]);
    }

    #[test]
    fn a_place_given_to_one_who_left_goes_to_the_next() {
        let queue = Queue::new(1);
        let mut pushers: Vec<Pusher> = (0..3).map(Pusher::new).collect();
        for pusher in &mut pushers {
            let _ = pusher.poll(&queue);
        }
        assert_eq!(queue.take(1), [0]);
        queue.leave(pushers[1].ticket.take());
        assert_eq!(pushers[2].woken(), 1);
        assert_eq!(pushers[2].poll(&queue), Poll::Ready(Pushed::Yes));
        assert_eq!(queue.take(1), [2]);
        assert!(queue.try_push(7));
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_nothing() {
        let queue = Queue::new(1);
        let mut waiting = Pusher::new(2);
        assert_eq!(Pusher::new(1).poll(&queue), Poll::Ready(Pushed::Yes));
        assert!(waiting.poll(&queue).is_pending());
        queue.close();
        assert_eq!(waiting.woken(), 1);
        assert_eq!(waiting.poll(&queue), Poll::Ready(Pushed::Closed));
        let waker = Waker::from(Arc::new(Count::default()));
        let cx = &mut Context::from_waker(&waker);
        assert_eq!(queue.poll_take(cx, 9), Poll::Ready(Some(vec![1])));
        assert_eq!(queue.poll_take(cx, 9), Poll::Ready(None));
    }
}
