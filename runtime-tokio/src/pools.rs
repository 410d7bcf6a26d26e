//! Blocking work, bounded by class.

use mox_driver::{Fut, Pool};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

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
        tokio: Handle,
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
            let place = places.acquire_owned().await;
            let done = tokio.spawn_blocking(move || {
                let _place = place;
                work()
            });
            match done.await.map_err(JoinError::try_into_panic) {
                Ok(value) => value,
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // tokio is shutting down, and drops this future too.
                Err(Err(_)) => core::future::pending().await,
            }
        })
    }
}
