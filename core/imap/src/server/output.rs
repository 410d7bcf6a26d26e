//! The one ordered queue of a session's effects.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use mox_machine::Step;

use super::{Ask, Event};

/// Pieces smaller than this are copied into the text around them.
const COPY_MAX: usize = 4 * 1024;

#[derive(Debug, Default)]
pub(super) struct Output {
    steps: VecDeque<Step<Ask, Event>>,
    /// Bytes behind the last step.
    text: Vec<u8>,
    /// Octets in `steps`.
    queued: usize,
}

impl Output {
    /// Where responses are written.
    pub(super) const fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// A response of ASCII text, without its CRLF.
    pub(super) fn line(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.text.extend_from_slice(b"\r\n");
    }

    /// Bytes of a message.
    pub(super) fn bytes(&mut self, bytes: Bytes) {
        if bytes.len() < COPY_MAX {
            self.text.extend_from_slice(&bytes);
        } else {
            self.flush();
            self.queued += bytes.len();
            self.steps.push_back(Step::Send(bytes));
        }
    }

    pub(super) fn push(&mut self, step: Step<Ask, Event>) {
        self.flush();
        self.steps.push_back(step);
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.queued += self.text.len();
            let text = core::mem::take(&mut self.text);
            self.steps.push_back(Step::Send(text.into()));
        }
    }

    /// Octets not taken yet.
    pub(super) fn octets(&self) -> usize {
        self.queued + self.text.len()
    }

    pub(super) fn pop(&mut self) -> Option<Step<Ask, Event>> {
        match self.steps.pop_front() {
            Some(step) => {
                if let Step::Send(bytes) = &step {
                    self.queued -= bytes.len();
                }
                Some(step)
            }
            None if self.text.is_empty() => {
                // An idle session keeps no buffer.
                self.steps = VecDeque::new();
                None
            }
            None => Some(Step::Send(core::mem::take(&mut self.text).into())),
        }
    }
}
