//! The one ordered queue of what leaves a machine.

use alloc::collections::VecDeque;
use bytes::{Bytes, BytesMut};
use mox_machine::{AskId, Step};

/// Steps in the order they became true; adjacent text leaves as one `Send`.
#[derive(Debug)]
pub(crate) struct Output<A, E> {
    steps: VecDeque<Step<A, E>>,
    text: BytesMut,
    queued: usize,
}

impl<A, E> Default for Output<A, E> {
    fn default() -> Self {
        Self {
            steps: VecDeque::new(),
            text: BytesMut::new(),
            queued: 0,
        }
    }
}

impl<A, E> Output<A, E> {
    /// Where text for the peer is appended.
    pub(crate) fn text(&mut self) -> &mut BytesMut {
        &mut self.text
    }

    pub(crate) fn push(&mut self, step: Step<A, E>) {
        self.seal();
        self.steps.push_back(step);
    }

    /// What is appended from here on is a `Send` of its own.
    pub(crate) fn seal(&mut self) {
        if !self.text.is_empty() {
            let bytes = self.text.split().freeze();
            self.queued += bytes.len();
            self.steps.push_back(Step::Send(bytes));
        }
    }

    pub(crate) fn event(&mut self, event: E) {
        self.push(Step::Event(event));
    }

    /// Octets for the peer that nobody took yet.
    pub(crate) fn backlog(&self) -> usize {
        self.queued + self.text.len()
    }

    /// Takes back the newest steps while they match.
    pub(crate) fn take_back(&mut self, matches: impl Fn(&Step<A, E>) -> bool) -> bool {
        self.seal();
        if !self.steps.back().is_some_and(matches) {
            return false;
        }
        if let Some(Step::Send(bytes)) = self.steps.pop_back() {
            self.queued -= bytes.len();
        }
        true
    }

    /// Withdraws an ask that nobody has seen yet; false when it is gone, so that it must be cancelled.
    pub(crate) fn withdraw(&mut self, id: AskId) -> bool {
        let before = self.steps.len();
        self.steps
            .retain(|step| !matches!(step, Step::Ask(asked, _) if *asked == id));
        self.steps.len() < before
    }

    pub(crate) fn poll(&mut self) -> Option<Step<A, E>> {
        if let Some(step) = self.steps.pop_front() {
            if let Step::Send(bytes) = &step {
                self.queued -= bytes.len();
            }
            return Some(step);
        }
        if self.text.is_empty() {
            // Nothing waits: give the memory back.
            self.steps = VecDeque::new();
            self.text = BytesMut::new();
            return None;
        }
        Some(Step::Send(self.text.split().freeze()))
    }
}

/// As much of a word as a log needs: upper case, short, printable.
pub(crate) fn shown_verb(verb: &[u8]) -> Bytes {
    verb.iter()
        .take(16)
        .map(|b| {
            if b.is_ascii_graphic() {
                b.to_ascii_uppercase()
            } else {
                b'?'
            }
        })
        .collect()
}
