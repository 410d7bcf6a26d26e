//! What threads share, compiled against locks and atomics whose every interleaving a scheduler chooses.
//!
//! These are the production files, word for word; only `crate::lock` and `crate::sync` are others here. Everything else
//! that is shared in a node is behind one of them, or is a message in a channel.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    missing_debug_implementations,
    unreachable_pub,
    reason = "parts of other crates, seen from a test"
)]

/// In place of `mox_store`'s.
pub mod lock {
    use shuttle::sync::{Mutex, MutexGuard};

    #[derive(Debug, Default)]
    pub struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub const fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

/// In place of `mox_node`'s.
pub mod sync {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub use shuttle::sync::{Arc, Mutex, MutexGuard};
    pub use std::sync::PoisonError;
}

#[path = "../../../core/store/src/queue.rs"]
mod queue;
#[path = "../../../core/node/src/registry.rs"]
mod registry;
#[path = "../../../core/store/src/watch.rs"]
mod watch;

pub mod races;
