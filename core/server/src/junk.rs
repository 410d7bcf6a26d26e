//! What the junk filter learns from in a message: its texts as `mox-message` decodes them, its words as `mox-junk` makes
//! them.

use core::ops::Range;

use mox_junk::{Counts, Extractor, Limits};
pub use mox_junk::{Deciding, Judgement, Parameters, Words};
use mox_mailbox::{AccountId, ReadError, Reads, junk_learned, junk_word};
use mox_message::Place;
use mox_mime::{Part, Structure};

/// The words of a message, whose lines end in CRLF or LF.
pub fn words(message: &[u8]) -> Words {
    let mut extractor = Extractor::new(Limits::default());
    mox_message::pieces(message, &mut |place, text| {
        extractor.push(junk_place(place), text);
    });
    extractor.finish()
}

/// [`words`] of a message whose structure is known.
pub fn words_of(message: &[u8], structure: &Structure) -> Words {
    let mut extractor = Extractor::new(Limits::default());
    mox_message::pieces_of(message, structure, &mut |place, text| {
        extractor.push(junk_place(place), text);
    });
    extractor.finish()
}

/// [`words`] of a message that is not in memory, chosen by the server's `key`: its header, what stands before it included, its
/// outermost part, and what `read` gives of the octets of its body.
///
/// # Errors
/// Those of `read`.
pub fn words_read<E, B: AsRef<[u8]>>(
    key: u64,
    header: &[u8],
    part: &Part,
    read: &mut dyn FnMut(Range<u64>) -> Result<B, E>,
) -> Result<Words, E> {
    let mut extractor = Extractor::keyed(Limits::default(), key);
    mox_message::pieces_read(header, part, read, &mut |place, text| {
        extractor.push(junk_place(place), text);
    })?;
    Ok(extractor.finish())
}

fn junk_place(place: Place<'_>) -> mox_junk::Place<'_> {
    match place {
        Place::Field(name) => mox_junk::Place::Field(name),
        Place::Text => mox_junk::Place::Text,
        Place::Link => mox_junk::Place::Link,
        Place::Part => mox_junk::Place::Part,
    }
}

/// What an account's filter says of a message, and which words decided. Read from any consistent view of the store.
///
/// Nothing a message holds makes this fail; a filter that learned too little says so
/// ([`Judgement::is_significant`](mox_junk::Judgement::is_significant)).
pub fn judge(
    reads: &dyn Reads,
    account: AccountId,
    words: &Words,
    parameters: &Parameters,
) -> Result<Judgement, ReadError> {
    let learned = junk_learned(reads, account)?;
    let mut failed = None;
    let judgement = mox_junk::judge(words, learned, parameters, |word| {
        junk_word(reads, account, word).unwrap_or_else(|error| {
            failed = Some(error);
            Counts::default()
        })
    });
    failed.map_or(Ok(judgement), Err)
}
