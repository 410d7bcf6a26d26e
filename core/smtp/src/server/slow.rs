//! Replies to who wastes our time: a few of their octets one by one, each after a pause.
//!
//! Whoever guesses passwords or brings what nobody takes waits for replies, as with any server, and is kept from doing more of it
//! meanwhile. What is written so is bounded for each reply, and in number for each transaction, so that one of many recipients comes to its end
//! in time: a session must not cost us more than it costs the other side, and one
//! that turns out to be worth the haste (who logs in, or brings a message that is taken) is answered at once again.

use bytes::{Bytes, BytesMut};
use mox_machine::{Mono, Now};

use super::Limits;

/// Whether replies are slow, and the one that is being written.
#[derive(Debug, Default)]
pub(super) struct Slow {
    pub(super) on: bool,
    /// Replies written so since the last transaction began.
    count: usize,
    reply: Option<Written>,
}

/// A reply that is being written.
#[derive(Debug)]
struct Written {
    rest: Bytes,
    /// Octets that are still to come one by one.
    singly: usize,
    /// When the next one leaves.
    next: Mono,
}

/// How far the reply is whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is not written slowly.
    Fast,
    /// It is being written.
    Writing,
    /// All of it has been.
    Written,
}

impl Slow {
    /// Whether the next reply is one of those that are.
    pub(super) fn is_next(&self, limits: &Limits) -> bool {
        self.on && !limits.slow.is_zero() && self.count < limits.slow_replies
    }

    /// A transaction begins.
    pub(super) fn anew(&mut self) {
        self.count = 0;
    }

    /// Begins with a reply, which is encoded already.
    pub(super) fn begin(&mut self, reply: BytesMut, now: Now, limits: &Limits) {
        self.count += 1;
        self.reply = Some(Written {
            rest: reply.freeze(),
            singly: limits.slow_octets,
            next: now.mono + limits.slow,
        });
    }

    /// How far it is; one that has been written is forgotten.
    pub(super) fn progress(&mut self) -> Progress {
        match &self.reply {
            None => Progress::Fast,
            Some(written) if !written.rest.is_empty() => Progress::Writing,
            Some(_) => {
                self.reply = None;
                Progress::Written
            }
        }
    }

    /// When the next octet leaves, while a reply is being written.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let written = self.reply.as_ref()?;
        (!written.rest.is_empty()).then_some(written.next)
    }

    /// The octets that are due.
    pub(super) fn due(&mut self, now: Now, limits: &Limits) -> Bytes {
        let Some(written) = &mut self.reply else {
            return Bytes::new();
        };
        let mut count = 0;
        while written.next <= now.mono && count < written.rest.len() {
            written.next = written.next + limits.slow;
            if written.singly == 0 {
                count = written.rest.len();
            } else {
                written.singly -= 1;
                count += 1;
            }
        }
        written.rest.split_to(count)
    }

    /// All of the rest, at once.
    pub(super) fn hurry(&mut self) -> Bytes {
        self.reply
            .as_mut()
            .map_or_else(Bytes::new, |written| core::mem::take(&mut written.rest))
    }
}
