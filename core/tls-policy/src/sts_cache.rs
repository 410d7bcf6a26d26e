//! How long a policy is kept, and when it is looked at again: RFC 8461 sections 3.3, 5.1 and 10.2.
//!
//! Nothing is asked or stored here. Before a delivery [`plan`] says whether the record is to be looked up, [`after_lookup`]
//! whether the policy is to be fetched, [`after_fetch`] what holds; each is told what is stored and says what to store.

use alloc::string::String;
use core::time::Duration;
use mox_dns::Failure;
use mox_machine::Utc;

use crate::{Mode, PolicyError, StsLookup, StsPolicy};

/// A domain whose policy could not be fetched is not asked for it again for this long, whether or not there is one that holds.
pub const BACKOFF: Duration = Duration::from_secs(5 * 60);
/// Policies that no delivery needed for this long are not kept fresh any more.
pub const UNUSED_MAX: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// What is stored for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A policy, or the memory of a fetch that failed.
    pub kept: Kept,
    /// When it ceases to hold.
    pub until: Utc,
    /// Fetching a newer policy failed: nobody tries again before this.
    pub not_before: Option<Utc>,
}

/// What an [`Entry`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A policy and the id of its record.
    Policy {
        /// The policy.
        policy: StsPolicy,
        /// id= of the record that announced it.
        id: String,
    },
    /// The policy could not be fetched.
    Backoff,
}

impl Entry {
    /// A policy that was fetched now.
    pub fn new(policy: StsPolicy, id: String, now: Utc) -> Self {
        Self {
            until: until(&policy, now),
            kept: Kept::Policy { policy, id },
            not_before: None,
        }
    }

    /// The memory of a fetch that failed, where no policy holds.
    pub fn backoff(until: Utc) -> Self {
        Self {
            kept: Kept::Backoff,
            until,
            not_before: None,
        }
    }

    /// The policy, while it holds.
    pub fn policy(&self, now: Utc) -> Option<&StsPolicy> {
        match &self.kept {
            Kept::Policy { policy, .. } if now < self.until => Some(policy),
            Kept::Policy { .. } | Kept::Backoff => None,
        }
    }

    /// Whether it holds now.
    pub fn holds(&self, now: Utc) -> bool {
        // A clock that was set back does not make an entry hold longer than it ever could.
        let longest = match &self.kept {
            Kept::Policy { policy, .. } => until(policy, now),
            Kept::Backoff => now + BACKOFF,
        };
        now < self.until && self.until <= longest
    }

    /// A fetch failed a short while ago.
    fn rests(&self, now: Utc) -> bool {
        self.not_before
            .is_some_and(|at| now < at && at <= now + BACKOFF)
    }
}

fn until(policy: &StsPolicy, now: Utc) -> Utc {
    now + Duration::from_secs(policy.max_age.into())
}

/// The policy that holds for a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The policy; `None` when the domain has none that could be had. One of mode none is none.
    pub policy: Option<StsPolicy>,
    /// It was confirmed just now. One that was not still holds: whoever can keep us from asking must not be able to take the
    /// policy away (RFC 8461 10.2).
    pub fresh: bool,
    /// Why there is none, or why it was not confirmed.
    pub problem: Option<FetchError>,
}

impl Applied {
    fn none(problem: Option<FetchError>) -> Self {
        Self {
            policy: None,
            fresh: true,
            problem,
        }
    }

    fn of(policy: &StsPolicy, problem: Option<FetchError>) -> Self {
        Self {
            policy: (policy.mode != Mode::None).then(|| policy.clone()),
            fresh: problem.is_none(),
            problem,
        }
    }
}

/// Why there is no policy, or no new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// There is no record, or none that can be used, and why.
    Record(&'static str),
    /// DNS did not tell.
    Dns(Failure),
    /// The server does not have a policy (404), or there is no such host.
    NoPolicy,
    /// It could not be fetched.
    Fetch(String),
    /// What was fetched is no policy.
    Policy(PolicyError),
    /// A fetch failed a short while ago.
    Backoff,
}

impl core::fmt::Display for FetchError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Record(why) => f.write_str(why),
            Self::Dns(failure) => write!(f, "{failure}"),
            Self::NoPolicy => f.write_str("the server has no policy"),
            Self::Fetch(why) => write!(f, "the policy could not be fetched: {why}"),
            Self::Policy(why) => write!(f, "the policy cannot be read: {why}"),
            Self::Backoff => f.write_str("the policy could not be fetched a short while ago"),
        }
    }
}

/// What to do before a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: this holds.
    Use(Applied),
    /// Look up the record, then [`after_lookup`].
    LookUp,
}

/// What to do first, given what is stored.
pub fn plan(stored: Option<&Entry>, now: Utc) -> Plan {
    match stored {
        Some(entry) if entry.kept == Kept::Backoff && entry.holds(now) => Plan::Use(Applied {
            fresh: false,
            ..Applied::none(Some(FetchError::Backoff))
        }),
        _ => Plan::LookUp,
    }
}

/// What to do once the record was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing more: this holds.
    Use(Applied),
    /// Fetch the policy, then [`after_fetch`] with this id.
    Fetch {
        /// id= of the record.
        id: String,
    },
    /// Nothing is known: the delivery waits.
    Defer(Failure),
}

/// What to do once the record was looked up.
pub fn after_lookup(stored: Option<&Entry>, lookup: &StsLookup, now: Utc) -> Next {
    let stored = stored.filter(|entry| entry.holds(now));
    let held = stored.and_then(|entry| match &entry.kept {
        Kept::Policy { policy, id } => Some((policy, id)),
        Kept::Backoff => None,
    });
    let rests = stored.is_some_and(|entry| entry.rests(now));
    match (lookup, held) {
        (StsLookup::Record(record), Some((policy, id))) if *id == record.id => {
            Next::Use(Applied::of(policy, None))
        }
        // Otherwise each delivery would wait for the same server that does not answer.
        (StsLookup::Record(_), Some((policy, _))) if rests => {
            Next::Use(Applied::of(policy, Some(FetchError::Backoff)))
        }
        (StsLookup::Record(record), _) => Next::Fetch {
            id: record.id.clone(),
        },
        (StsLookup::Unknown(failure), None) => Next::Defer(*failure),
        (lookup, held) => {
            let problem = Some(no_record(lookup));
            Next::Use(match held {
                Some((policy, _)) => Applied::of(policy, problem),
                None => Applied::none(problem),
            })
        }
    }
}

fn no_record(lookup: &StsLookup) -> FetchError {
    match lookup {
        StsLookup::Record(_) => FetchError::NoPolicy,
        StsLookup::None => FetchError::Record("the domain has no record"),
        StsLookup::Several => FetchError::Record("the domain has more than one record"),
        StsLookup::Unreadable(why) => FetchError::Record(why),
        StsLookup::Unknown(failure) => FetchError::Dns(*failure),
    }
}

/// What holds once the policy was fetched or could not be, and what to store in place of what was there.
pub fn after_fetch(
    stored: Option<&Entry>,
    id: &str,
    fetched: Result<StsPolicy, FetchError>,
    now: Utc,
) -> (Applied, Entry) {
    match fetched {
        Ok(policy) => {
            let applied = Applied::of(&policy, None);
            (applied, Entry::new(policy, id.into(), now))
        }
        Err(problem) => match stored.filter(|entry| entry.holds(now)) {
            Some(
                entry @ Entry {
                    kept: Kept::Policy { policy, .. },
                    ..
                },
            ) => {
                let rests = Entry {
                    not_before: Some(now + BACKOFF),
                    ..entry.clone()
                };
                (Applied::of(policy, Some(problem)), rests)
            }
            _ => (Applied::none(Some(problem)), Entry::backoff(now + BACKOFF)),
        },
    }
}

/// What a daily round does with an entry (RFC 8461 10.2: fetching before it is needed keeps an attacker who is there only
/// then from taking the policy away).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refresh {
    /// Nothing.
    Leave,
    /// Store this: it holds longer now.
    Extend(Entry),
    /// Fetch the policy again.
    Fetch {
        /// id= of the record.
        id: String,
    },
    /// Forget it.
    Drop,
}

/// What to do with an entry that was last needed by a delivery at `used`, now that its record was looked up.
pub fn refresh(entry: &Entry, used: Utc, lookup: &StsLookup, now: Utc) -> Refresh {
    let Kept::Policy { policy, id } = &entry.kept else {
        return match entry.holds(now) {
            true => Refresh::Leave,
            false => Refresh::Drop,
        };
    };
    if now >= used + UNUSED_MAX {
        return Refresh::Drop;
    }
    match lookup {
        StsLookup::Record(record) if record.id == *id && entry.holds(now) => {
            Refresh::Extend(Entry::new(policy.clone(), id.clone(), now))
        }
        StsLookup::Record(record) => Refresh::Fetch {
            id: record.id.clone(),
        },
        // RFC 8461 8.3: a domain that gave MTA-STS up leaves mode none for a while and then nothing.
        _ if policy.mode == Mode::None => match lookup {
            StsLookup::Unknown(_) => Refresh::Leave,
            _ => Refresh::Drop,
        },
        _ if !entry.holds(now) => Refresh::Drop,
        // The record may be kept from us: the policy itself tells.
        _ => Refresh::Fetch { id: id.clone() },
    }
}
