//! A TXT record of which a domain has one or none.

use mox_dns::{Answer, Failure, Record};

/// What a lookup of such a record came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxtLookup<R> {
    /// There is one.
    Record(R),
    /// The domain has none.
    None,
    /// There is more than one record, which counts as none.
    Several,
    /// The only record cannot be read, which counts as none, and why.
    Unreadable(&'static str),
    /// DNS did not tell; it may later.
    Unknown(Failure),
}

impl<R> TxtLookup<R> {
    /// The records of an answer that are of one kind, which has to be one. They are counted before any is parsed: a broken one
    /// beside a good one is still one too many.
    pub(crate) fn of(
        answer: &Answer,
        is_one: impl Fn(&[u8]) -> bool,
        parse: impl Fn(&[u8]) -> Result<R, &'static str>,
    ) -> Self {
        if let Some(failure) = answer.why().filter(|failure| failure.is_temporary()) {
            return Self::Unknown(failure);
        }
        let mut texts = answer.all().iter().filter_map(|record| match record {
            Record::Txt(text) if is_one(text) => Some(&**text),
            _ => None,
        });
        match (texts.next(), texts.next()) {
            (None, _) => Self::None,
            (Some(text), None) => parse(text).map_or_else(Self::Unreadable, Self::Record),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}
