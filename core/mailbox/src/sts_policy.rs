//! MTA-STS policies of other domains (RFC 8461), kept over restarts: who can keep us from asking must not be able to take a policy
//! away by waiting for one.

use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::known::{self, Known};
use crate::rows::utc;
use crate::{Batch, ReadError, Reads, Stop};

/// Domains whose policies are kept; beyond it those go that no delivery needed for longest.
pub const STS_POLICIES_MAX: u64 = 10_000;
/// Octets of all policies that are kept; one has 64 KiB at most.
pub const STS_POLICIES_OCTETS_MAX: u64 = 64 * 1024 * 1024;

/// A policy that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPolicy {
    /// id= of the record that announced it.
    pub id: String,
    /// As policies spell it.
    pub mode: String,
    /// Seconds.
    pub max_age: u32,
    /// Hosts, as policies spell them.
    pub mx: Vec<String>,
    /// When it ceases to hold.
    #[serde(with = "utc")]
    pub until: Utc,
    /// When somebody looked last whether it is still what the domain publishes, whatever came of that.
    #[serde(with = "utc")]
    pub looked: Utc,
    /// When a delivery needed it last.
    #[serde(with = "utc")]
    pub used: Utc,
}

impl Known for KeptPolicy {
    const KIND: u8 = 1;
    const ROWS_MAX: u64 = STS_POLICIES_MAX;
    const OCTETS_MAX: u64 = STS_POLICIES_OCTETS_MAX;

    fn used(&self) -> Utc {
        self.used
    }
}

/// The policy that is kept of a domain: its name in A-labels and lower case, without a final dot.
pub fn kept_policy(reads: &dyn Reads, domain: &str) -> Result<Option<KeptPolicy>, ReadError> {
    known::get(reads, domain)
}

/// Kept policies in the order of their domains, those behind `after`, at most `max`. What cannot be read is passed over.
pub fn kept_policies(
    reads: &dyn Reads,
    after: &str,
    max: usize,
) -> Result<Vec<(String, KeptPolicy)>, ReadError> {
    known::page(reads, after, max)
}

/// Keeps a policy in the place of the one before.
pub fn keep_policy(
    reads: &dyn Reads,
    domain: &str,
    policy: &KeptPolicy,
) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, policy.looked);
    let before: Option<KeptPolicy> = known::find(&edit, domain)?;
    put(&mut edit, domain, policy, before.as_ref())?;
    Ok((edit.finish()?, ()))
}

/// Keeps what came of looking again at a policy, unless another one was kept meanwhile; whether it did.
pub fn renew_policy(
    reads: &dyn Reads,
    domain: &str,
    seen: &KeptPolicy,
    policy: &KeptPolicy,
) -> Result<(Batch, bool), Stop> {
    let mut edit = Edit::new(reads, policy.looked);
    let before: Option<KeptPolicy> = known::find(&edit, domain)?;
    let is_seen = |before: &KeptPolicy| {
        (&before.id, before.until, before.looked) == (&seen.id, seen.until, seen.looked)
    };
    let renews = before.as_ref().is_some_and(is_seen);
    if renews {
        put(&mut edit, domain, policy, before.as_ref())?;
    }
    Ok((edit.finish()?, renews))
}

fn put(
    edit: &mut Edit<'_>,
    domain: &str,
    policy: &KeptPolicy,
    before: Option<&KeptPolicy>,
) -> Result<(), ReadError> {
    let used = before.map_or(policy.used, |before| before.used.max(policy.used));
    let row = KeptPolicy {
        used,
        ..policy.clone()
    };
    known::put(edit, domain, &row)
}

/// A delivery needed the policy of a domain.
pub fn policy_used(reads: &dyn Reads, domain: &str, now: Utc) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, now);
    let row: Option<KeptPolicy> = known::find(&edit, domain)?;
    if let Some(mut row) = row {
        row.used = now;
        known::put(&mut edit, domain, &row)?;
    }
    Ok((edit.finish()?, ()))
}

/// Forgets the policy of a domain, unless a delivery needed it since.
pub fn forget_policy(reads: &dyn Reads, domain: &str, used: Utc) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, used);
    let row: Option<KeptPolicy> = known::find(&edit, domain)?;
    if row.is_none_or(|row| row.used <= used) {
        known::take::<KeptPolicy>(&mut edit, domain)?;
    }
    Ok((edit.finish()?, ()))
}
