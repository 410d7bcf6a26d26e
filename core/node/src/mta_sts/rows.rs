//! Policies as rows of the store.

use mox_dns::Name;
use mox_driver::Runtime;
use mox_mailbox::{KeptPolicy, Reads};
use mox_tls_policy::{Entry, Kept, Mode, MxPattern, StsPolicy};

use crate::node::Inner;

/// A domain as the store names it.
pub(super) fn name_of(domain: &Name) -> String {
    let name = domain.to_string();
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The row of a domain. What cannot be read is none: the policy is fetched again, in its place.
pub(super) fn read<R: Runtime>(node: &Inner<R>, domain: &Name) -> Option<KeptPolicy> {
    let read = mox_mailbox::kept_policy(&*node.store.published().view, &name_of(domain));
    read.unwrap_or_else(|error| {
        tracing::warn!(target: "queue", %domain, %error, "the MTA-STS policy that was kept cannot be read");
        None
    })
}

/// What is in a row; `None` when that is no policy.
pub(super) fn entry_of(row: &KeptPolicy) -> Option<Entry> {
    let patterns = row.mx.iter().map(|pattern| MxPattern::parse(pattern));
    let policy = StsPolicy {
        mode: Mode::named(&row.mode)?,
        max_age: row.max_age,
        mx: patterns.collect::<Option<_>>()?,
        extensions: Vec::new(),
        defects: Vec::new(),
    };
    Some(Entry {
        kept: Kept::Policy {
            policy,
            id: row.id.clone(),
        },
        until: row.until,
        not_before: None,
    })
}

/// The row of a policy that somebody looks at now; `None` when there is none to be kept.
pub(super) fn row_of<R: Runtime>(node: &Inner<R>, entry: &Entry) -> Option<KeptPolicy> {
    let Kept::Policy { policy, id } = &entry.kept else {
        return None;
    };
    let now = node.runtime.now().utc;
    Some(KeptPolicy {
        id: id.clone(),
        mode: policy.mode.name().to_owned(),
        max_age: policy.max_age,
        mx: policy.mx.iter().map(ToString::to_string).collect(),
        until: entry.until,
        looked: now,
        used: now,
    })
}

/// Keeps a policy that a delivery needs.
pub(super) async fn keep<R: Runtime>(node: &Inner<R>, domain: &Name, entry: &Entry) {
    let Some(row) = row_of(node, entry) else {
        return;
    };
    let name = name_of(domain);
    let op = move |reads: &dyn Reads| mox_mailbox::keep_policy(reads, &name, &row);
    if let Err(error) = node.store.run(op).await {
        tracing::warn!(target: "queue", %domain, %error, "an MTA-STS policy could not be kept");
    }
}

/// Notes that a delivery needs the policy of a domain.
pub(super) async fn note_use<R: Runtime>(node: &Inner<R>, domain: &Name) {
    let (name, now) = (name_of(domain), node.runtime.now().utc);
    let op = move |reads: &dyn Reads| mox_mailbox::policy_used(reads, &name, now);
    if let Err(error) = node.store.run(op).await {
        tracing::warn!(target: "queue", %domain, %error, "that an MTA-STS policy was needed could not be noted");
    }
}
