//! Records as they are stored.

use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::io::Read;

use super::super::{Facts, Recipient, Stage};
use super::older::{Recipient2, Recipient3, Recipient4, Recipient5, Record3, Record4};
use super::{Judgement, LeftOut, Record};

/// The version of the stored form. Those of versions 2 to 6 are read too; of another one not.
pub const RECORD_VERSION: u8 = 7;
/// The one before it, which differs in what was known of a message.
const SIXTH: u8 = 6;
/// Those before that, which differ in what was known of a recipient too.
const FIFTH: u8 = 5;
const FOURTH: u8 = 4;
/// Recipients of one record at most.
const RECIPIENTS_MAX: usize = 200;
/// Octets from which on a record is compressed: many recipients say the same again and again.
const PLAIN_MAX: usize = 8 * 1024;
/// Octets of a record before it is compressed, at most: [`RECIPIENTS_MAX`] recipients of whom all is known have half of it.
const EXPANDED_MAX: usize = 8 * 1024 * 1024;
/// Octets that are kept in the shortest records of what the other side called itself.
const HELLO_MAX: usize = 64;
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
    /// of the message. What is left is always small enough for a store.
    pub fn encode_within(&self, octets: usize) -> Vec<u8> {
        self.within(octets).1
    }

    /// The same, and as much of the record as that is.
    pub fn within(&self, octets: usize) -> (Cow<'_, Self>, Vec<u8>) {
        if self.recipients.len() <= RECIPIENTS_MAX {
            let encoded = self.encode();
            if encoded.len() <= octets {
                return (Cow::Borrowed(self), encoded);
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
                    member: recipient.member.clone(),
                    ..Recipient::new(recipient.address.clone(), recipient.standing)
                };
                judgement.decision.rules.clear();
                judgement.change = None;
            }
            let hello = &mut less.facts.connection.hello;
            hello.truncate(hello.floor_char_boundary(HELLO_MAX));
            encoded = less.encode();
        }
        (Cow::Owned(less), encoded)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is damaged, or of another version.
    pub fn decode(octets: &[u8]) -> Result<Self, RecordError> {
        Self::decode_with_size(octets).map(|(record, _)| record)
    }

    /// The same, and how many octets it has when it is not compressed.
    ///
    /// # Errors
    /// When it is damaged, or of another version.
    pub fn decode_with_size(octets: &[u8]) -> Result<(Self, usize), RecordError> {
        let (version, plain) = match octets {
            [
                version @ (RECORD_VERSION | SIXTH | FIFTH | FOURTH),
                PLAIN,
                rest @ ..,
            ] => (*version, Cow::Borrowed(rest)),
            [
                version @ (RECORD_VERSION | SIXTH | FIFTH | FOURTH),
                DEFLATED,
                rest @ ..,
            ] => (*version, Cow::Owned(expanded(rest)?)),
            [version @ (3 | 2), rest @ ..] => (*version, Cow::Borrowed(rest)),
            [] => return Err(RecordError("the record is empty".into())),
            [version, ..] => {
                return Err(RecordError(format!(
                    "the record has version {version}, which this program does not read"
                )));
            }
        };
        let record = match version {
            RECORD_VERSION => read(&plain),
            SIXTH => read::<Record4<Recipient>>(&plain).map(Self::from),
            FIFTH => read::<Record4<Recipient5>>(&plain).map(Self::from),
            FOURTH => read::<Record4<Recipient4>>(&plain).map(Self::from),
            3 => read::<Record3<Recipient3>>(&plain).map(Self::from),
            _ => read::<Record3<Recipient2>>(&plain).map(Self::from),
        };
        Ok((record?, plain.len()))
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
    // One more tells that there is more.
    let most = EXPANDED_MAX as u64 + 1;
    let read = DeflateDecoder::new(deflated)
        .take(most)
        .read_to_end(&mut plain);
    read.map_err(|e| RecordError(format!("the record is damaged: {e}")))?;
    if plain.len() > EXPANDED_MAX {
        return Err(RecordError(format!(
            "the record is damaged: it has more than {EXPANDED_MAX} octets when it is not compressed"
        )));
    }
    Ok(plain)
}

fn read<T: DeserializeOwned>(octets: &[u8]) -> Result<T, RecordError> {
    postcard::from_bytes(octets).map_err(|e| RecordError(format!("the record is damaged: {e}")))
}

impl<R> From<Record4<R>> for Record
where
    Judgement: From<super::older::Judgement3<R>>,
{
    fn from(old: Record4<R>) -> Self {
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
        let facts = Facts::from(old.facts);
        // A message is never judged without a question to name servers.
        let answers = facts.stage == Stage::Message && facts.has_resolver && old.dns.is_empty();
        Self {
            id: old.id,
            facts,
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
