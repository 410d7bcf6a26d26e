//! Whoever answers a session's asks.

use core::task::{Context, Poll};
use mox_machine::{AskId, Session};

/// The world of one session: takes its asks and events, gives its answers.
pub trait Host<S: Session> {
    /// The session asks.
    fn ask(&mut self, id: AskId, ask: S::Ask);
    /// The session does not want this answer any more.
    fn cancel(&mut self, id: AskId);
    /// The session tells a fact.
    fn event(&mut self, event: S::Event);
    /// The next answer, in any order. Called after every `ask` in the same poll, so what is known at once is
    /// answered without a wakeup.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, S::Answer)>;
    /// Ready, from then on, when the process is stopping: the session is told once to say goodbye.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }
}
