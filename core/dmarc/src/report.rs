//! What an evaluation came to.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::{Policy, Record};

/// The outcome of an evaluation (RFC 8601, RFC 9989 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Nobody published a policy.
    None,
    /// The author's domain vouches for the message.
    Pass,
    /// It does not.
    Fail,
    /// DNS did not tell; it may later.
    TempError,
    /// The message has no author whose domain could be asked.
    PermError,
}

impl Verdict {
    /// As header fields spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the domain wants done with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    /// Nothing.
    None,
    /// It is suspicious.
    Quarantine,
    /// It should be refused.
    Reject,
}

impl Disposition {
    /// As reports spell it (RFC 9990).
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

impl From<Policy> for Disposition {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::None => Self::None,
            Policy::Quarantine => Self::Quarantine,
            Policy::Reject => Self::Reject,
        }
    }
}

/// The outcome for a message, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The outcome: with several authors the worst.
    pub verdict: Verdict,
    /// The strictest wish of the authors the message fails for.
    pub disposition: Disposition,
    /// What is wrong.
    pub problem: Option<&'static str>,
    /// Each author's domain with its outcome.
    pub authors: Vec<Author>,
    /// Seconds for which the outcome holds: the smallest TTL of its facts.
    pub ttl: u32,
    /// All facts were vouched for by DNSSEC.
    pub authentic: bool,
}

impl Report {
    /// The strictest wish of the authors of whom it is not known yet whether the message passes for them: what may be due once
    /// name servers answer.
    pub fn pending(&self) -> Disposition {
        let pending = self
            .authors
            .iter()
            .filter(|a| a.verdict == Verdict::TempError);
        let wishes = pending.map(|author| {
            let testing = author.record.as_ref().is_some_and(|r| r.testing);
            Disposition::from(author.policy.applied(testing))
        });
        wishes.max().unwrap_or(Disposition::None)
    }
}

/// The outcome for one author's domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The domain in From.
    pub domain: String,
    /// Its organizational domain; empty when that was not needed.
    pub organizational: String,
    /// Whose record holds.
    pub policy_domain: Option<String>,
    /// The record.
    pub record: Option<Record>,
    /// What the record says of this domain, before t= makes it milder.
    pub policy: Policy,
    /// The outcome.
    pub verdict: Verdict,
    /// What the domain wants done.
    pub disposition: Disposition,
    /// SPF passed for an aligned domain.
    pub spf_aligned: bool,
    /// Place of the first signature that passed for an aligned domain.
    pub dkim_aligned: Option<usize>,
}
