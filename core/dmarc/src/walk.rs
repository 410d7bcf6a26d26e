//! The tree walk that finds records and organizational domains: RFC 9989 section 4.10.

use alloc::vec::Vec;
use mox_dns::{Answer, Facts, Missing, Name, Question, RecordType};

use crate::record::{Psd, Record};

/// Questions of one walk at most.
pub const WALK_MAX: usize = 8;

/// What a walk from a domain up to the root found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Where it began.
    pub start: Name,
    /// The records, longest name first, up to the first with psd=y or psd=n.
    pub records: Vec<(Name, Record)>,
    /// DNS did not answer for this name: what is above or there is not known.
    pub failed: Option<Name>,
    /// The records above that name, longest name first: what may hold.
    pub above: Vec<(Name, Record)>,
}

/// Walks up from a domain, at most [`WALK_MAX`] questions.
///
/// # Errors
/// The questions whose answers `facts` lacks, all at once.
pub fn walk(facts: &Facts, start: &Name) -> Result<Walk, Missing> {
    let (targets, questions): (Vec<Name>, Vec<Question>) = targets(start).into_iter().unzip();
    let answers = facts.all(&questions)?;
    let mut walk = Walk {
        start: start.clone(),
        records: Vec::new(),
        failed: None,
        above: Vec::new(),
    };
    for (name, answer) in targets.into_iter().zip(answers) {
        match record(answer) {
            Found::Failed => {
                walk.failed.get_or_insert(name);
            }
            Found::Nothing => {}
            Found::Record(record) => {
                let is_end = record.psd != Psd::Unknown;
                match walk.failed {
                    None => walk.records.push((name, record)),
                    Some(_) => walk.above.push((name, record)),
                }
                if is_end {
                    break;
                }
            }
        }
    }
    Ok(walk)
}

/// Whether a domain has the organizational domain of the start of a walk (RFC 9989 4.10.2); `None` when DNS did not tell. Only a
/// name within it can have the same one: about others nothing is asked.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn is_of_organization(
    facts: &Facts,
    own: &Walk,
    domain: &Name,
) -> Result<Option<bool>, Missing> {
    let organizational = own.organizational();
    // Where a name above did not answer, the organizational domain may be there.
    if !domain.is_within(own.failed.as_ref().unwrap_or(&organizational)) {
        return Ok(Some(false));
    }
    if *domain == own.start {
        return Ok(Some(true));
    }
    same_organization(facts, own, &organizational, domain)
}

/// Whether a name within the organizational domain of `own` has the same one; `None` when DNS did not tell.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub(crate) fn same_organization(
    facts: &Facts,
    own: &Walk,
    organizational: &Name,
    domain: &Name,
) -> Result<Option<bool>, Missing> {
    if own.failed.is_some() || own.records.iter().any(|(_, r)| r.psd == Psd::Yes) {
        let other = walk(facts, domain)?;
        let is_known = other.failed.is_none() && own.failed.is_none();
        return Ok(is_known.then(|| other.organizational() == *organizational));
    }
    // What stands there and above is known: only what is between can end the walk earlier.
    let between = targets(domain)
        .into_iter()
        .filter(|(name, _)| name != organizational && name.is_within(organizational));
    let questions: Vec<Question> = between.map(|(_, question)| question).collect();
    for answer in facts.all(&questions)? {
        match record(answer) {
            Found::Failed => return Ok(None),
            Found::Record(record) if record.psd != Psd::Unknown => return Ok(Some(false)),
            Found::Record(_) | Found::Nothing => {}
        }
    }
    Ok(Some(true))
}

impl Walk {
    /// The organizational domain of the start (RFC 9989 4.10.2).
    pub fn organizational(&self) -> Name {
        for (name, record) in &self.records {
            match record.psd {
                Psd::No => return name.clone(),
                Psd::Yes if *name != self.start => return self.below(name),
                Psd::Yes | Psd::Unknown => {}
            }
        }
        let shortest = self.records.last().map(|(name, _)| name);
        shortest.unwrap_or(&self.start).clone()
    }

    /// The name one label below an ancestor of the start.
    fn below(&self, ancestor: &Name) -> Name {
        let labels: Vec<&[u8]> = self.start.labels().collect();
        let first = labels.len().saturating_sub(ancestor.labels().count() + 1);
        Name::from_labels(labels.into_iter().skip(first)).unwrap_or_else(|_| self.start.clone())
    }

    /// The record that holds for the start, and whose it is (RFC 9989 4.10.1): its own, else that of the organizational
    /// domain, else that of the public suffix domain above.
    pub fn policy(&self) -> Option<(&Name, &Record)> {
        let own = self.records.iter().find(|(name, _)| *name == self.start);
        let organizational = self.organizational();
        let found = own
            .or_else(|| {
                self.records
                    .iter()
                    .find(|(name, _)| *name == organizational)
            })
            .or_else(|| {
                self.records
                    .iter()
                    .find(|(_, record)| record.psd == Psd::Yes)
            });
        found.map(|(name, record)| (name, record))
    }
}

/// The names that are asked, each with its question: the start, then its ancestors of at most seven labels, without the root.
/// A name too long for one more label has no record of its own.
fn targets(start: &Name) -> Vec<(Name, Question)> {
    let all = start.labels().count();
    let (mut targets, mut left) = (Vec::with_capacity(all.min(WALK_MAX)), all);
    let mut next = Some(start.clone());
    while let Some(name) = next.filter(|_| left > 0) {
        next = name.parent();
        if (left < WALK_MAX || left == all)
            && let Ok(owner) = name.child("_dmarc")
        {
            targets.push((name, Question::of(owner, RecordType::Txt)));
        }
        left -= 1;
    }
    targets
}

/// What a walk from there asks, one question for each target.
pub(crate) fn questions(start: &Name) -> Vec<Question> {
    targets(start)
        .into_iter()
        .map(|(_, question)| question)
        .collect()
}

enum Found {
    Record(Record),
    Nothing,
    Failed,
}

/// The one record of an answer: several are none.
fn record(answer: &Answer) -> Found {
    if answer.why().is_some_and(mox_dns::Failure::is_temporary) {
        return Found::Failed;
    }
    let texts = answer.all().iter().filter_map(|record| match record {
        mox_dns::Record::Txt(text) if Record::is_record(text) => Some(text),
        _ => None,
    });
    let texts: Vec<_> = texts.take(2).collect();
    match texts.as_slice() {
        // Also one that cannot be applied says where the organizational domain is.
        [text] => Record::parse(text).map_or(Found::Nothing, Found::Record),
        _ => Found::Nothing,
    }
}
