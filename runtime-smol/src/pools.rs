//! Blocking work, bounded by class.

use mox_driver::{Fut, Pool};
use smol::lock::Semaphore;
use std::sync::Arc;

/// Body files written, synced or read at once.
const BODIES: usize = 16;

#[derive(Debug)]
pub(crate) struct Pools {
    commit: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    compute: Arc<Semaphore>,
}

impl Pools {
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            commit: Arc::new(Semaphore::new(1)),
            bodies: Arc::new(Semaphore::new(BODIES)),
            compute: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Runs `work` when its class has a place. Work that has begun is finished, and keeps its place until then, even
    /// if the future is dropped; work that has not begun is dropped with it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        class: Pool,
        work: Box<dyn FnOnce() -> T + Send>,
    ) -> Fut<T> {
        let places = match class {
            Pool::Commit => &self.commit,
            Pool::Bodies => &self.bodies,
            Pool::Compute => &self.compute,
        };
        let places = places.clone();
        Box::pin(async move {
            let place = places.acquire_arc().await;
            blocking::unblock(move || {
                let _place = place;
                work()
            })
            .await
        })
    }
}
