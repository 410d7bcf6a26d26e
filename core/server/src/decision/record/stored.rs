//! Records as they are stored.

use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use serde::de::DeserializeOwned;
use std::io::Read;

use super::super::{Recipient, Stage};
use super::older::{Recipient2, Recipient3, Record3, Record4};
use super::{Judgement, LeftOut, Record};

/// The version of the stored form. Those of versions 2 to 4 are read too; of another one not.
pub const RECORD_VERSION: u8 = 5;
/// That before it, which differs in what was known of a recipient.
const FOURTH: u8 = 4;
/// Recipients of one record at most.
const RECIPIENTS_MAX: usize = 200;
/// Octets from which on a record is compressed: many recipients say the same again and again.
const PLAIN_MAX: usize = 8 * 1024;
/// Octets of a record before it is compressed, at most: [`RECIPIENTS_MAX`] recipients of whom all is known have half of it.
const EXPANDED_MAX: usize = 8 * 1024 * 1024;
const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;

/// A stored record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError(pub String);

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

impl Record {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        // A vector takes everything, and no part has an unknown length.
        let octets = postcard::to_extend(self, vec![RECORD_VERSION, PLAIN]).unwrap_or_default();
        let (_, plain) = octets.split_at_checked(2).unwrap_or_default();
        if plain.len() <= PLAIN_MAX {
            return octets;
        }
        let mut deflated = vec![RECORD_VERSION, DEFLATED];
        // Reading from memory into memory fails never.
        let _ = DeflateEncoder::new(plain, Compression::fast()).read_to_end(&mut deflated);
        deflated
    }

    /// The stored form in so many octets at most: the answers of name servers go first, then recipients, at last what was known
    /// of the message. What is left is always small enough.
    pub fn encode_within(&self, octets: usize) -> Vec<u8> {
        if self.recipients.len() <= RECIPIENTS_MAX {
            let encoded = self.encode();
            if encoded.len() <= octets {
                return encoded;
            }
        }
        let mut less = self.clone();
        let drop_to = |less: &mut Self, count: usize| {
            let before = less.recipients.len();
            less.recipients.truncate(count);
            less.left_out.recipients += before - less.recipients.len();
        };
        drop_to(&mut less, RECIPIENTS_MAX);
        let mut encoded = less.encode();
        if encoded.len() > octets && !less.dns.is_empty() {
            less.dns.clear();
            less.left_out.answers = true;
            encoded = less.encode();
        }
        while encoded.len() > octets && less.recipients.len() > 1 {
            let half = less.recipients.len() / 2;
            drop_to(&mut less, half);
            encoded = less.encode();
        }
        if encoded.len() > octets {
            less.facts.message = None;
            less.left_out.message = true;
            for judgement in &mut less.recipients {
                let recipient = &judgement.recipient;
                judgement.recipient = Recipient {
                    account: recipient.account.clone(),
                    ..Recipient::new(recipient.address.clone(), recipient.standing)
                };
                judgement.decision.rules.clear();
                judgement.change = None;
            }
            encoded = less.encode();
        }
        encoded
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is damaged, or of another version.
    pub fn decode(octets: &[u8]) -> Result<Self, RecordError> {
        match octets {
            [RECORD_VERSION, PLAIN, rest @ ..] => read(rest),
            [RECORD_VERSION, DEFLATED, rest @ ..] => read(&expanded(rest)?),
            [FOURTH, PLAIN, rest @ ..] => read::<Record4>(rest).map(Self::from),
            [FOURTH, DEFLATED, rest @ ..] => read::<Record4>(&expanded(rest)?).map(Self::from),
            [3, rest @ ..] => read::<Record3<Recipient3>>(rest).map(Self::from),
            [2, rest @ ..] => read::<Record3<Recipient2>>(rest).map(Self::from),
            [] => Err(RecordError("the record is empty".into())),
            [version, ..] => Err(RecordError(format!(
                "the record has version {version}, which this program does not read"
            ))),
        }
    }

    /// What cannot be told from it any more, in words; `None` when all is there.
    pub fn lacks(&self) -> Option<String> {
        let LeftOut {
            answers,
            recipients,
            message,
        } = self.left_out;
        let mut lacks = Vec::new();
        if message {
            lacks.push("what was known of the message: nothing was decided again".to_owned());
        } else if answers {
            let what = "the answers of name servers: SPF, iprev and DMARC were not evaluated again";
            lacks.push(what.to_owned());
        }
        if recipients > 0 {
            lacks.push(format!("{recipients} more recipients"));
        }
        (!lacks.is_empty()).then(|| lacks.join(", and "))
    }
}

fn expanded(deflated: &[u8]) -> Result<Vec<u8>, RecordError> {
    let mut plain = Vec::new();
    let most = EXPANDED_MAX as u64;
    let read = DeflateDecoder::new(deflated)
        .take(most)
        .read_to_end(&mut plain);
    read.map_err(|e| RecordError(format!("the record is damaged: {e}")))?;
    Ok(plain)
}

fn read<T: DeserializeOwned>(octets: &[u8]) -> Result<T, RecordError> {
    postcard::from_bytes(octets).map_err(|e| RecordError(format!("the record is damaged: {e}")))
}

impl From<Record4> for Record {
    fn from(old: Record4) -> Self {
        Self {
            left_out: old.left_out,
            ..Self::from(old.of_version_3)
        }
    }
}

impl<R> From<Record3<R>> for Record
where
    Judgement: From<super::older::Judgement3<R>>,
{
    fn from(old: Record3<R>) -> Self {
        // A message is never judged without a question to name servers.
        let answers =
            old.facts.stage == Stage::Message && old.facts.has_resolver && old.dns.is_empty();
        Self {
            id: old.id,
            facts: old.facts,
            recipients: old.recipients.into_iter().map(Judgement::from).collect(),
            reply: old.reply,
            dns: old.dns,
            left_out: LeftOut {
                answers,
                ..LeftOut::default()
            },
        }
    }
}
