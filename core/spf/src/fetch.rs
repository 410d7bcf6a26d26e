//! The one SPF record of a domain: RFC 7208 sections 4.3 to 4.5.

use mox_dns::{Answer, Facts, Missing, Name, Question, RecordType};

use crate::Verdict;
use crate::record::is_spf;

/// Octets of a record at most; a longer one is not read.
pub const RECORD_MAX: usize = 8 * 1024;

/// What a domain publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched<'a> {
    /// Its record, well-formed or not; ASCII.
    Record(&'a str),
    /// None that could be used, what that comes to, and why.
    Nothing(Verdict, &'static str),
}

/// The SPF record of a domain.
///
/// # Errors
/// When its TXT records are not known yet.
pub fn fetch<'a>(facts: &'a Facts, domain: &Name) -> Result<Fetched<'a>, Missing> {
    let answer = facts.need(&Question::of(domain.clone(), RecordType::Txt))?;
    Ok(select(answer))
}

fn select(answer: &Answer) -> Fetched<'_> {
    use Fetched::{Nothing, Record};
    if answer.why().is_some_and(mox_dns::Failure::is_temporary) {
        return Nothing(Verdict::TempError, "DNS did not answer");
    }
    // Counted before any is parsed: a broken one beside a good one is still one too many.
    let mut texts = answer.all().iter().filter_map(|record| match record {
        mox_dns::Record::Txt(text) if is_spf(text) => Some(text),
        _ => None,
    });
    let Some(text) = texts.next() else {
        return Nothing(Verdict::None, "no SPF record");
    };
    if texts.next().is_some() {
        return Nothing(Verdict::PermError, "more than one SPF record");
    }
    if text.len() > RECORD_MAX {
        return Nothing(Verdict::PermError, "the SPF record is too long");
    }
    match core::str::from_utf8(text) {
        Ok(text) if text.is_ascii() => Record(text),
        _ => Nothing(Verdict::PermError, "the SPF record is not ASCII"),
    }
}
