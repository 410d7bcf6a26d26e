//! How TLS went with a host, for the reports that its domain wants.

use mox_driver::Runtime;
use mox_server::reports_out::SeenSession;
use std::sync::{Mutex, PoisonError};

use super::policy::Went;
use super::route::Hop;
use crate::node::Inner;

/// Sessions with the addresses of one host that are remembered in an attempt, at most.
const SEEN_MAX: usize = 64;

/// Sessions with one host, in one attempt.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Vec<SeenSession>>);

impl Seen {
    fn add(&self, sessions: Vec<SeenSession>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SEEN_MAX.saturating_sub(seen.len());
        seen.extend(sessions.into_iter().take(room));
    }

    /// What was remembered since the last time.
    pub(super) fn take(&self) -> Vec<SeenSession> {
        core::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes how a session went under the policies of its host.
pub(super) fn note<R: Runtime>(node: &Inner<R>, hop: &Hop, went: &Went<'_>) {
    let Some(policy) = &hop.policy else {
        return;
    };
    if node.directory().outgoing_reports().tls {
        let authorities = &node.config.mta_sts.authorities;
        let sessions = policy.sessions(went, authorities, hop.address.ip());
        policy.seen.add(sessions);
    }
}

/// All that was noted of these hops.
pub(super) fn noted(hops: &[Hop]) -> Vec<SeenSession> {
    let policies = hops.iter().filter_map(|hop| hop.policy.as_ref());
    policies.flat_map(|policy| policy.seen.take()).collect()
}
