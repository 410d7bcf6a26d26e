//! The first message of an author waits a little.

use mox_driver::Runtime;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::node::Inner;
use crate::tls::sleep;

/// Messages that are held back at once, at most.
const HELD_BACK_MAX: usize = 100;

/// Who sends junk for the first time has better things to do than to wait; mail servers have not. A stop does not wait, and nobody
/// does behind many who do: what they sent takes memory.
pub(super) async fn hold_back<R: Runtime>(node: &Inner<R>) {
    let mut left = node.config.receiving.first_time_delay;
    let place = HeldBack(&node.held_back);
    if place.0.fetch_add(1, Ordering::Relaxed) >= HELD_BACK_MAX {
        return;
    }
    while !left.is_zero() && !node.registry.is_stopping() {
        let some = left.min(Duration::from_secs(1));
        sleep(&node.runtime, some).await;
        left -= some;
    }
}

/// One of them.
struct HeldBack<'a>(&'a AtomicUsize);

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
