//! Rows that are read and written whole: a version octet, then postcard.

use bytes::Bytes;
use mox_machine::Utc;
use mox_uids::UidSet;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::varint::Input;
use crate::{AccountId, BodyRef, MailboxId, ReadError, SpecialUse, chunk, queue_rows};

/// A kind of row. A later version of a kind gets a number of its own and keeps reading the earlier ones.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    const VERSION: u8;
    const NAME: &'static str;

    fn encode(&self) -> Bytes {
        encode(Self::VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        decode(Self::VERSION, Self::NAME, bytes)
    }
}

fn encode(version: u8, row: &impl Serialize) -> Bytes {
    postcard::to_extend(row, vec![version])
        .expect("a vector takes everything, and no row has a part of unknown length")
        .into()
}

fn decode<'a, T: Deserialize<'a>>(
    version: u8,
    name: &'static str,
    bytes: &'a [u8],
) -> Result<T, ReadError> {
    match bytes.split_first() {
        Some((&found, rest)) if found == version => postcard::from_bytes(rest)
            .map_err(|e| ReadError(format!("a row of {name} is damaged: {e}"))),
        Some((found, _)) => Err(ReadError(format!(
            "a row of {name} has version {found}, which is not known"
        ))),
        None => Err(ReadError(format!("a row of {name} is empty"))),
    }
}

macro_rules! stored {
    ($($row:ty: $version:literal $name:literal;)*) => {$(
        impl Stored for $row {
            const VERSION: u8 = $version;
            const NAME: &'static str = $name;
        }
    )*};
}

stored! {
    Numbers: 1 "numbers";
    AccountRow: 1 "accounts";
    Usage: 1 "usage";
    NameRow: 1 "mailbox names";
    MailboxRow: 1 "mailboxes";
    Keywords: 1 "keywords";
    crate::Suppression: 1 "suppressions";
    crate::suppression::SuppressionCount: 1 "how many suppressions there are";
    crate::sent::SentRow: 1 "what was sent";
    crate::sent_hours::SentHours: 1 "what was sent within a day";
    crate::Transcript: 1 "what was done in attempts";
    crate::decision::Kept: 1 "what decisions are kept";
    crate::decision::DecisionRow: 1 "decisions";
    crate::reputation::PastRow: 1 "what earlier messages were like";
    crate::ReportDone: 1 "reports that were sent";
    crate::reports_out::ObservationRow: 1 "what is to be reported";
    crate::reports_out::DoneNumbers: 1 "which reports are remembered";
    crate::KeptPolicy: 1 "policies of other domains";
    crate::TlsHost: 1 "TLS with other hosts";
    crate::known::KnownCount: 1 "how many domains or hosts are known";
    crate::reports_out::FailingRow: 1 "addresses that reports cannot be sent to";
}

/// Rows that had other versions before this.
macro_rules! stored_again {
    ($($row:ty: $version:literal $name:literal $(, $before:ty: $older:literal)+;)*) => {$(
        impl Stored for $row {
            const VERSION: u8 = $version;
            const NAME: &'static str = $name;

            fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
                match bytes.first() {
                    $(Some(&$older) => decode::<$before>($older, $name, bytes).map(Self::from),)+
                    _ => decode(Self::VERSION, Self::NAME, bytes),
                }
            }
        }
    )*};
}

stored_again! {
    crate::QueueMessage: 3 "queued messages", queue_rows::QueueMessageV2: 2, queue_rows::QueueMessageV1: 1;
    crate::QueueEntry: 5 "the queue", queue_rows::QueueEntryV4: 4, queue_rows::QueueEntryV3: 3, queue_rows::QueueEntryV2: 2, queue_rows::QueueEntryV1: 1;
    crate::Retired: 4 "retired queue entries", queue_rows::RetiredV3: 3, queue_rows::RetiredV2: 2, queue_rows::RetiredV1: 1;
    crate::reports_out::DayRow: 2 "days to be reported", crate::reports_out::DayRowV1: 1;
    crate::reports_out::DomainRow: 2 "domains to be reported to", crate::reports_out::DomainRowV1: 1;
}

/// Counters of the whole store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) next_account: u32,
    pub(crate) next_queue: u64,
    /// The largest UIDVALIDITY ever given: larger than under any earlier use of any name.
    pub(crate) last_validity: u32,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    pub(crate) name: String,
    pub(crate) credentials: Vec<u8>,
    /// Octets of messages at most.
    pub(crate) quota: Option<u64>,
    #[serde(with = "utc")]
    pub(crate) created: Utc,
    pub(crate) next_mailbox: u32,
    /// Rows in the table of mailbox names.
    pub(crate) names: u32,
    /// The account was removed; its rows wait to be purged.
    pub(crate) removed: bool,
}

/// What the messages of an account amount to, without expunged ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// RFC822.SIZE of all, added up.
    pub octets: u64,
    /// How many.
    pub messages: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRow {
    /// `None` for a subscription to what does not exist.
    pub(crate) mailbox: Option<MailboxId>,
    pub(crate) subscribed: bool,
    pub(crate) special_use: Option<SpecialUse>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MailboxRow {
    pub(crate) name: String,
    pub(crate) validity: u32,
    pub(crate) next: u32,
    pub(crate) modseq: u64,
    pub(crate) messages: u32,
    pub(crate) unseen: u32,
    pub(crate) deleted: u32,
    pub(crate) size: u64,
    /// When the list of keywords last grew.
    pub(crate) keywords_modseq: u64,
    /// Change rows up to here may be trimmed.
    pub(crate) changes_from: u64,
    /// Gone rows up to here may be purged.
    pub(crate) gone_from: u64,
    /// The mailbox was deleted; its rows wait to be purged.
    pub(crate) removed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Keywords(pub(crate) Vec<String>);

/// What is fixed about a message, borrowed from its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MetaRow<'a> {
    pub(crate) body: BodyRef,
    pub(crate) size: u64,
    #[serde(with = "utc")]
    pub(crate) date: Utc,
    #[serde(with = "utc")]
    pub(crate) saved: Utc,
    pub(crate) prefix: &'a [u8],
    /// `None` when it did not fit.
    pub(crate) structure: Option<&'a [u8]>,
    pub(crate) origin: &'a [u8],
    /// What was said of it before it came into a mailbox for junk. Rows without it are of version 1, as they always were.
    #[serde(skip)]
    pub(crate) said: Option<Said>,
}

/// Which of the keywords of the junk filter a message had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Said {
    pub(crate) junk: bool,
    pub(crate) not_junk: bool,
}

impl<'a> MetaRow<'a> {
    const VERSION: u8 = 1;
    /// With an octet behind it that says what was said before.
    const VERSION_SAID: u8 = 2;
    const NAME: &'static str = "message facts";

    pub(crate) fn encode(&self) -> Bytes {
        let Some(Said { junk, not_junk }) = self.said else {
            return encode(Self::VERSION, self);
        };
        let mut row = encode(Self::VERSION_SAID, self).to_vec();
        row.push(u8::from(junk) | u8::from(not_junk) << 1);
        row.into()
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, ReadError> {
        match bytes {
            [Self::VERSION_SAID, .., said] => {
                let row = bytes.get(..bytes.len() - 1).unwrap_or_default();
                Ok(Self {
                    said: Some(Said {
                        junk: said & 1 != 0,
                        not_junk: said & 2 != 0,
                    }),
                    ..decode(Self::VERSION_SAID, Self::NAME, row)?
                })
            }
            _ => decode(Self::VERSION, Self::NAME, bytes),
        }
    }
}

/// One expunge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoneRow {
    /// When its bodies may go, in seconds since 1970.
    pub(crate) due: u64,
    pub(crate) uids: UidSet,
    /// Those whose rows and references are still there.
    pub(crate) held: UidSet,
}

impl GoneRow {
    const VERSION: u8 = 1;

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![Self::VERSION];
        crate::varint::put(&mut out, self.due);
        chunk::encode_set(&mut out, &self.uids);
        chunk::encode_set(&mut out, &self.held);
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut input = Input::new(bytes, "gone");
        input.version(Self::VERSION)?;
        let row = Self {
            due: input.number()?,
            uids: chunk::decode_set(&mut input)?,
            held: chunk::decode_set(&mut input)?,
        };
        input.end()?;
        Ok(row)
    }
}

const CHANGE_VERSION: u8 = 1;

/// The messages one operation added or changed.
pub(crate) fn encode_change(uids: &UidSet) -> Bytes {
    let mut out = vec![CHANGE_VERSION];
    chunk::encode_set(&mut out, uids);
    out.into()
}

pub(crate) fn decode_change(bytes: &[u8]) -> Result<UidSet, ReadError> {
    let mut input = Input::new(bytes, "change");
    input.version(CHANGE_VERSION)?;
    let uids = chunk::decode_set(&mut input)?;
    input.end()?;
    Ok(uids)
}

const HEADER_VERSION: u8 = 1;
/// Octets before those of the header section in its row.
pub(crate) const HEADER_OVERHEAD: usize = 2;

pub(crate) fn encode_header(bytes: &[u8], cut: bool) -> Bytes {
    let mut out = Vec::with_capacity(HEADER_OVERHEAD + bytes.len());
    out.extend_from_slice(&[HEADER_VERSION, u8::from(cut)]);
    out.extend_from_slice(bytes);
    out.into()
}

/// The octets, and whether they were cut.
pub(crate) fn decode_header(row: &Bytes) -> Result<(Bytes, bool), ReadError> {
    let mut input = Input::new(row, "header");
    input.version(HEADER_VERSION)?;
    let cut = input.byte()? != 0;
    Ok((row.slice(HEADER_OVERHEAD..), cut))
}

pub(crate) fn encode_account_id(id: AccountId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

pub(crate) fn decode_account_id(bytes: &[u8]) -> Result<AccountId, ReadError> {
    let bytes: [u8; 4] = bytes
        .try_into()
        .map_err(|_| ReadError("a row of account names is damaged".into()))?;
    Ok(AccountId(u32::from_be_bytes(bytes)))
}

/// Serde for times.
pub(crate) mod utc {
    use mox_machine::Utc;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(at: &Utc, to: S) -> Result<S::Ok, S::Error> {
        at.0.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Utc, D::Error> {
        i64::deserialize(from).map(Utc)
    }
}

/// Serde for times that may not have come.
pub(crate) mod utc_option {
    use mox_machine::Utc;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(at: &Option<Utc>, to: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.0).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Utc>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(Utc))
    }
}

/// Serde for octets.
pub(crate) mod octets {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        bytes[..].serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        Vec::<u8>::deserialize(from).map(Bytes::from)
    }
}
