//! What is done in an attempt, as an administrator reads it behind it.

use core::fmt;
use mox_address::Reply;
use mox_mailbox::{STEP_MAX, STEPS_MAX};
use std::collections::VecDeque;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// The steps of an attempt while it runs: the last ones.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<(VecDeque<String>, u32)>);

impl Steps {
    /// Notes a step.
    pub(super) fn note(&self, step: impl fmt::Display) {
        let step: String = step.to_string().chars().take(STEP_MAX).collect();
        let mut noted = self.lock();
        if noted.0.len() >= STEPS_MAX {
            noted.0.pop_front();
            noted.1 = noted.1.saturating_add(1);
        }
        noted.0.push_back(step);
    }

    /// Notes a command and what was said to it.
    pub(super) fn exchanged(&self, command: &str, reply: Option<&Reply>) {
        match (command, reply) {
            ("", Some(reply)) => self.note(format_args!("it says: {reply}")),
            ("", None) => self.note("it says nothing"),
            (command, Some(reply)) => self.note(format_args!("{command}: {reply}")),
            (command, None) => self.note(format_args!("{command}: no answer")),
        }
    }

    /// All of them.
    pub(super) fn take(&self) -> mox_mailbox::Steps {
        let (lines, left_out) = core::mem::take(&mut *self.lock());
        mox_mailbox::Steps {
            lines: lines.into(),
            left_out,
        }
    }

    fn lock(&self) -> MutexGuard<'_, (VecDeque<String>, u32)> {
        // Nothing panics while it is held, so poison means nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_steps_are_kept_and_the_others_counted() {
        let steps = Steps::default();
        for nth in 0..STEPS_MAX + 2 {
            steps.note(nth);
        }
        steps.note("x".repeat(2 * STEP_MAX));
        let kept = steps.take();
        assert_eq!((kept.lines.len(), kept.left_out), (STEPS_MAX, 3));
        assert_eq!(kept.lines[0], "3");
        assert_eq!(kept.lines[STEPS_MAX - 1].len(), STEP_MAX);
    }
}
