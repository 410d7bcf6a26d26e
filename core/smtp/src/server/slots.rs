//! One slot for each command whose reply is not out yet, released in order (RFC 2920 3.2).

use alloc::vec::Vec;
use bytes::Bytes;
use mox_address::Reply;
use mox_machine::AskId;

use super::CloseReason;

/// A command that was taken.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its verb, for [`Event::Refused`](super::Event::Refused).
    pub(super) verb: Bytes,
    pub(super) kind: Kind,
    pub(super) state: State,
    /// Replies behind it are written slowly.
    pub(super) slows: bool,
    /// The session ends after its reply.
    pub(super) close: Option<CloseReason>,
}

/// What an answer to a slot's ask means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It needs no answer.
    Plain,
    Hello {
        extended: bool,
    },
    Sasl,
    Sender,
    Recipient,
    /// A BDAT chunk that is not the last: its pieces are waited for.
    Chunk {
        size: u64,
    },
    /// The whole message: its pieces first, then the commit.
    Message,
}

#[derive(Debug)]
pub(super) enum State {
    /// Waits for this answer.
    Asked(AskId),
    /// Waits for the answers to pieces of the message.
    Pieces,
    /// The reply is known.
    Ready(Reply),
    /// LMTP: one for each recipient.
    Each(Vec<Reply>),
}

impl Slot {
    pub(super) fn ready(verb: Bytes, reply: Reply) -> Self {
        Self {
            verb,
            kind: Kind::Plain,
            state: State::Ready(reply),
            slows: false,
            close: None,
        }
    }

    pub(super) fn asked(verb: Bytes, kind: Kind, id: AskId) -> Self {
        Self {
            verb,
            kind,
            state: State::Asked(id),
            slows: false,
            close: None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_) | State::Each(_))
    }
    /// Its replies, when they are known.
    pub(super) fn replies(&self) -> &[Reply] {
        match &self.state {
            State::Ready(reply) => core::slice::from_ref(reply),
            State::Each(replies) => replies,
            State::Asked(_) | State::Pieces => &[],
        }
    }
}
