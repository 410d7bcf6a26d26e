//! Signals that end the server in order.

use std::io;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;

/// SIGTERM and SIGINT, caught from the moment this exists.
#[derive(Debug)]
pub struct Termination(Signals);

impl Termination {
    /// From now on these signals do not kill the process.
    pub fn watch() -> io::Result<Self> {
        Signals::new([Signal::Term, Signal::Int]).map(Self)
    }

    /// Waits for one of them, and says in the log that the server stops.
    pub async fn stopping(&mut self) {
        let signal = self.next().await;
        tracing::info!(target: "process", signal, "stopping");
    }

    /// The next of them: its name, for the log. A second one may be waited for, by whoever wants to end at once.
    pub async fn next(&mut self) -> &'static str {
        loop {
            match self.0.next().await {
                Some(Ok(Signal::Int)) => return "SIGINT",
                Some(Ok(_)) => return "SIGTERM",
                // The stream has no end and its errors are transient reads of its own pipe.
                Some(Err(_)) | None => {}
            }
        }
    }
}
