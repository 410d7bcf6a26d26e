//! Waiting for several things at once.

use core::future::{Future, poll_fn};
use core::task::Poll;
use mox_store::GROUP_MAX;

/// Futures that run side by side, at most: as many operations as the committer makes durable at once.
const AT_ONCE: usize = GROUP_MAX;

/// What futures come to that do not depend on each other, in their order. Of more than a group of them the later ones
/// begin when those before are done.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    at_once(AT_ONCE, futures).await
}

/// The same with no more than so many of them side by side.
pub(crate) async fn at_once<F: Future>(
    most: usize,
    futures: impl IntoIterator<Item = F>,
) -> Vec<F::Output> {
    let mut futures = futures.into_iter();
    let mut results = Vec::new();
    loop {
        let group = futures.by_ref().take(most.max(1));
        let mut running: Vec<_> = group.map(|future| (Box::pin(future), None)).collect();
        if running.is_empty() {
            return results;
        }
        poll_fn(|cx| {
            let mut open = false;
            for (future, result) in &mut running {
                if result.is_none() {
                    match future.as_mut().poll(cx) {
                        Poll::Ready(value) => *result = Some(value),
                        Poll::Pending => open = true,
                    }
                }
            }
            match open {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
        results.extend(running.into_iter().filter_map(|(_, result)| result));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use futures_lite::future::{block_on, yield_now};

    #[test]
    fn all_are_done_in_order_and_no_more_than_a_group_of_them_at_once() {
        for group in [4, AT_ONCE] {
            let (running, most) = (Cell::new(0), Cell::new(0));
            let (running, most) = (&running, &most);
            let futures = (0..2 * group + 1).map(|n| async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                // The later ones of a group are done first.
                for _ in 0..group - n % group {
                    yield_now().await;
                }
                running.set(running.get() - 1);
                n
            });
            let done = match group {
                AT_ONCE => block_on(all(futures)),
                group => block_on(at_once(group, futures)),
            };
            assert_eq!(done, Vec::from_iter(0..2 * group + 1));
            assert_eq!(most.get(), group);
        }
    }
}
