//! Places of blocking work, bounded by class: the same for every runtime that has threads.

use async_lock::{Semaphore, SemaphoreGuardArc};
use core::future::Future;
use std::sync::Arc;

use crate::Pool;

/// Body files written, synced or read at once.
const BODIES: usize = 16;

/// How much blocking work of each class may run at once.
#[derive(Debug)]
pub struct Places {
    commit: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    compute: Arc<Semaphore>,
}

/// A place of one class, free again when this is dropped. It belongs into the work itself: work that has begun keeps its
/// place until it is finished, also when nobody waits for it any more.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "its drop is what counts")] SemaphoreGuardArc);

impl Places {
    /// Places for a machine of so many cores.
    pub fn new(cores: usize) -> Self {
        Self {
            commit: Arc::new(Semaphore::new(1)),
            bodies: Arc::new(Semaphore::new(BODIES)),
            compute: Arc::new(Semaphore::new(cores)),
        }
    }

    /// A place, as soon as its class has one.
    pub fn take(&self, class: Pool) -> impl Future<Output = Place> + Send + 'static {
        let places = match class {
            Pool::Commit => &self.commit,
            Pool::Bodies => &self.bodies,
            Pool::Compute => &self.compute,
        };
        let place = places.acquire_arc();
        async move { Place(place.await) }
    }
}
