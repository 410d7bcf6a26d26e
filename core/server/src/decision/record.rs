//! What is kept of a decision: the facts and the verdicts, enough to make it again.

mod older;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::change::{Change, smallest_change};
use super::decide::{Decision, decide};
use super::facts::{Facts, Recipient};

/// The version of the stored form. One of version 2 is read too; of another one not.
pub const RECORD_VERSION: u8 = 3;

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

/// A stored record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError(pub String);

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

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
    /// The same, decided again from the facts.
    pub fn recompute(&self) -> Self {
        let again = |judgement: &Judgement| Judgement {
            placed: judgement.placed.clone(),
            ..Judgement::of(&self.facts, judgement.recipient.clone())
        };
        Self {
            recipients: self.recipients.iter().map(again).collect(),
            ..self.clone()
        }
    }

    /// What it is found by: its id, the identifier of the message, the sender, the recipients.
    pub fn keys(&self) -> Vec<String> {
        let message_id = self
            .facts
            .message
            .as_ref()
            .and_then(|m| m.message_id.as_deref());
        let recipients = self.recipients.iter().map(|r| r.recipient.address.as_str());
        [self.id.as_str(), &self.facts.sender]
            .into_iter()
            .chain(message_id)
            .chain(recipients)
            .map(key)
            .filter(|key| !key.is_empty())
            .collect()
    }

    /// Whether it is found by this: with brackets or without, in any case.
    pub fn is_about(&self, what: &str) -> bool {
        self.keys().contains(&key(what))
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        // A vector takes everything, and no part has an unknown length.
        postcard::to_extend(self, vec![RECORD_VERSION]).unwrap_or_default()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is damaged, or of another version.
    pub fn decode(octets: &[u8]) -> Result<Self, RecordError> {
        fn read<T: DeserializeOwned>(octets: &[u8]) -> Result<T, RecordError> {
            postcard::from_bytes(octets)
                .map_err(|e| RecordError(format!("the record is damaged: {e}")))
        }
        match octets.split_first() {
            Some((&RECORD_VERSION, rest)) => read(rest),
            Some((2, rest)) => read::<older::Record2>(rest).map(Self::from),
            Some((version, _)) => Err(RecordError(format!(
                "the record has version {version}, which this program does not read"
            ))),
            None => Err(RecordError("the record is empty".into())),
        }
    }
}

/// The form in which what a record is found by is compared: without the brackets of addresses and identifiers, in lower case.
pub fn key(text: &str) -> String {
    text.trim()
        .trim_start_matches('<')
        .trim_end_matches('>')
        .to_lowercase()
}
