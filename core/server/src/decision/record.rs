//! What is kept of a decision: the facts and the verdicts, enough to make it again.

mod facts6;
mod keys;
mod older;
mod stored;

use serde::{Deserialize, Serialize};

use super::change::{Change, smallest_change};
use super::decide::{Decision, decide};
use super::facts::{Facts, Recipient};
pub use keys::lookups;
pub use stored::{RECORD_VERSION, RecordError};

/// One transaction, as far as something was decided in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The id that the other side was told.
    pub id: String,
    /// What was known.
    pub facts: Facts,
    /// Each recipient that was decided about.
    pub recipients: Vec<Judgement>,
    /// The reply.
    pub reply: String,
    /// What name servers answered, as a master file; empty when nothing was asked or it was too much.
    pub dns: String,
    /// What there was no room for.
    #[serde(default)]
    pub left_out: LeftOut,
}

/// What there was no room for in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeftOut {
    /// The answers of name servers: what was checked by them cannot be checked again.
    pub answers: bool,
    /// So many more recipients.
    pub recipients: usize,
    /// The facts of the message and the rules: nothing can be decided again.
    pub message: bool,
}

/// One recipient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What was known of it.
    pub recipient: Recipient,
    /// What was decided.
    pub decision: Decision,
    /// The smallest change that would have turned it.
    pub change: Option<Change>,
    /// The mailbox the message went to; `None` when it was not taken.
    pub placed: Option<String>,
}

impl Judgement {
    /// Decides.
    pub fn of(facts: &Facts, recipient: Recipient) -> Self {
        Self {
            decision: decide(facts, &recipient),
            change: smallest_change(facts, &recipient),
            placed: None,
            recipient,
        }
    }
}

impl Record {
    /// What an account may know of it: what was decided for it, and nothing of others. `None` when it is not about the account. Whether
    /// it is about something is to be asked of that: by what others are found it is nobody's business.
    pub fn for_account(mut self, account: &str) -> Option<Self> {
        let is_theirs = |j: &Judgement| j.recipient.account.as_deref() == Some(account);
        let all = self.recipients.len() + core::mem::take(&mut self.left_out.recipients);
        self.recipients.retain(is_theirs);
        if self.recipients.len() < all {
            // One reply goes for all. What it says may be what was decided for another.
            let mut words = self.reply.split_whitespace();
            let codes = words.by_ref().take(2).collect::<Vec<_>>().join(" ");
            self.reply = match words.next() {
                Some(_) => format!("{codes} (id {})", self.id),
                None => codes,
            };
        }
        (!self.recipients.is_empty()).then_some(self)
    }

    /// The same, decided again from the facts, where they are there.
    pub fn recompute(&self) -> Self {
        if self.left_out.message {
            return self.clone();
        }
        let again = |judgement: &Judgement| Judgement {
            placed: judgement.placed.clone(),
            ..Judgement::of(&self.facts, judgement.recipient.clone())
        };
        Self {
            recipients: self.recipients.iter().map(again).collect(),
            ..self.clone()
        }
    }
}
