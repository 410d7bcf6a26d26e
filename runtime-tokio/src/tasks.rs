//! Sessions, services and blocking work as tasks of tokio.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use futures_lite::FutureExt;
use mox_driver::{Fut, Place};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::task::JoinError;

/// The exit code when a service panicked or ended: the supervisor starts the process again (sysexits: software error).
const SOFTWARE_ERROR: i32 = 70;

#[derive(Debug, Default)]
pub(crate) struct Tasks {
    panics: AtomicU64,
    stopping: AtomicBool,
}

impl Tasks {
    /// A session whose panic ends nothing but itself.
    pub(crate) fn spawn_session(self: &Arc<Self>, on: &Handle, name: &'static str, task: Fut<()>) {
        let tasks = self.clone();
        on.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tasks.panics.fetch_add(1, Ordering::Relaxed);
                let panic = message(&*panic);
                tracing::error!(session = name, panic, "a session panicked");
            }
        });
    }

    /// A service that must not end before the server stops.
    pub(crate) fn spawn_service(self: &Arc<Self>, on: &Handle, name: &'static str, task: Fut<()>) {
        let tasks = self.clone();
        on.spawn(async move {
            match AssertUnwindSafe(task).catch_unwind().await {
                Ok(()) if tasks.stopping.load(Ordering::SeqCst) => return,
                Ok(()) => tracing::error!(service = name, "a service ended"),
                Err(panic) => {
                    let panic = message(&*panic);
                    tracing::error!(service = name, panic, "a service panicked");
                }
            }
            // Mail would just stop: better to be started again.
            std::process::exit(SOFTWARE_ERROR)
        });
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }
}

/// Runs work in its place, which it keeps until it is finished, also when nobody waits for it any more.
pub(crate) async fn blocking<T: Send + 'static>(
    on: &Handle,
    place: Place,
    work: Box<dyn FnOnce() -> T + Send>,
) -> T {
    let done = on.spawn_blocking(move || {
        let _place = place;
        work()
    });
    match done.await.map_err(JoinError::try_into_panic) {
        Ok(value) => value,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // tokio is shutting down, and drops this future too.
        Err(Err(_)) => core::future::pending().await,
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
