//! Policies that deliveries need are looked at again before they cease to hold (RFC 8461 10.2).
//!
//! Each has a time of its own, a day after the one before or, where it holds for less than four days, a quarter of that: so it is tried
//! more than once before the end, and no two domains are asked at the same moment for long.

use futures_lite::future::yield_now;
use mox_dns::Name;
use mox_driver::Runtime;
use mox_machine::Utc;
use mox_mailbox::{KeptPolicy, Reads};
use mox_tls_policy::{Entry, Refresh, refresh};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::rows::{entry_of, name_of, row_of};
use super::{lock, look_up};
use crate::all::all;
use crate::node::Inner;
use crate::tls;

/// How often it is looked which policies are due.
const ROUND_EVERY: Duration = Duration::from_secs(15 * 60);
/// A policy is looked at again after this at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Policies of one round; those that cease to hold first come first.
const ROUND_MAX: usize = 1_000;
/// Policies that are looked at side by side.
const AT_ONCE_MAX: usize = 4;
/// Between two of them, at most: they are spread over the round.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Rows read at a time.
const PAGE: usize = 100;

/// Runs until the process ends. After the server was told to stop it looks at nothing any more.
pub(crate) async fn service<R: Runtime>(node: Arc<Inner<R>>) {
    loop {
        let due = due(&node).await;
        let count = u32::try_from(due.len().div_ceil(AT_ONCE_MAX)).unwrap_or(u32::MAX);
        let pause = (ROUND_EVERY / count.max(1)).min(PAUSE_MAX);
        let waiting = Mutex::new(due);
        let workers = (0..AT_ONCE_MAX).map(|_| async {
            loop {
                let next = lock(&waiting).pop_front();
                let Some(next) = next.filter(|_| !node.registry.is_stopping()) else {
                    return;
                };
                tls::sleep(&node.runtime, pause).await;
                look_again(&node, &next).await;
            }
        });
        all(workers).await;
        tls::sleep(&node.runtime, ROUND_EVERY).await;
    }
}

/// When a policy is to be looked at again: each domain a little earlier than it must be, by its name.
fn due_at(domain: &str, policy: &KeptPolicy) -> Utc {
    let quarter = Duration::from_secs(u64::from(policy.max_age) / 4);
    let after = quarter.clamp(ROUND_EVERY, LOOK_EVERY);
    let own = blake3::hash(domain.as_bytes());
    let own = own.as_bytes().first().copied().unwrap_or_default();
    policy.looked + after - after / 8 * u32::from(own) / u32::from(u8::MAX)
}

/// Domains whose policies are due.
async fn due<R: Runtime>(node: &Inner<R>) -> VecDeque<String> {
    let now = node.runtime.now().utc;
    let mut due = Vec::new();
    let mut after = String::new();
    loop {
        let view = node.store.published();
        let page = mox_mailbox::kept_policies(&*view.view, &after, PAGE);
        drop(view);
        let page = page.unwrap_or_else(|error| {
            tracing::error!(target: "queue", %error, "the MTA-STS policies that are kept cannot be read");
            Vec::new()
        });
        let Some((last, _)) = page.last() else {
            break;
        };
        after.clone_from(last);
        let page = page.into_iter();
        // A clock that was set back lets none wait for long.
        let is_due =
            |domain: &str, row: &KeptPolicy| now >= due_at(domain, row) || row.looked > now;
        let page = page.filter(|(domain, row)| is_due(domain, row));
        // Those that hold no more keep none waiting that does.
        due.extend(page.map(|(domain, row)| (row.until <= now, row.until, domain)));
        yield_now().await;
    }
    due.sort_unstable();
    due.truncate(ROUND_MAX);
    due.into_iter().map(|(_, _, domain)| domain).collect()
}

/// Looks whether a policy is still what its domain publishes.
async fn look_again<R: Runtime>(node: &Inner<R>, domain: &str) {
    let Ok(name) = Name::parse(domain) else {
        return;
    };
    let Some(row) = super::rows::read(node, &name) else {
        return;
    };
    let now = || node.runtime.now().utc;
    let next = match entry_of(&row) {
        Some(entry) => {
            let (found, _) = look_up(node, &name).await;
            refresh(&entry, row.used, &found, now())
        }
        // No version of this program could use it.
        None => Refresh::Drop,
    };
    let looked = KeptPolicy {
        looked: now(),
        ..row.clone()
    };
    match next {
        Refresh::Drop => {
            tracing::info!(target: "queue", domain, "an MTA-STS policy is forgotten");
            let (domain, used) = (domain.to_owned(), row.used);
            let op = move |reads: &dyn Reads| mox_mailbox::forget_policy(reads, &domain, used);
            noted(node.store.run(op).await);
        }
        Refresh::Leave => renew(node, &name, row, looked).await,
        Refresh::Extend(entry) => {
            let until = entry.until;
            renew(node, &name, row, KeptPolicy { until, ..looked }).await;
        }
        Refresh::Fetch { id } => {
            // Whoever fetches it already keeps it too.
            let Ok(turn) = node.policies.begin(&name) else {
                return;
            };
            let new = match node.policies.fetch(node, &name).await {
                Ok(policy) => row_of(node, &Entry::new(policy, id, now())),
                Err(problem) => {
                    tracing::info!(target: "queue", domain, %problem, "an MTA-STS policy could not be fetched again; the one that is kept holds");
                    node.policies.rest(&name, now() + mox_tls_policy::BACKOFF);
                    None
                }
            };
            let used = row.used;
            let new = new.map_or(looked, |new| KeptPolicy { used, ..new });
            renew(node, &name, row, new).await;
            drop(turn);
        }
    }
}

/// Puts a row in the place of the one that was looked at.
async fn renew<R: Runtime>(node: &Inner<R>, domain: &Name, seen: KeptPolicy, new: KeptPolicy) {
    let name = name_of(domain);
    let op = move |reads: &dyn Reads| mox_mailbox::renew_policy(reads, &name, &seen, &new);
    noted(node.store.run(op).await);
}

fn noted<T>(done: Result<T, mox_store::StoreError>) {
    if let Err(error) = done {
        tracing::warn!(target: "queue", %error, "what came of looking at an MTA-STS policy could not be noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_is_looked_at_several_times_before_it_ceases_to_hold_and_no_less_than_daily() {
        let looked = Utc::from_secs(1_800_000_000);
        let policy = |max_age| KeptPolicy {
            id: "a".into(),
            mode: "enforce".into(),
            max_age,
            mx: Vec::new(),
            until: looked + Duration::from_secs(max_age.into()),
            looked,
            used: looked,
        };
        for (max_age, latest) in [
            (3_600, 900),
            (86_400, 21_600),
            (345_600, 86_400),
            (31_557_600, 86_400),
        ] {
            let earliest = latest * 7 / 8;
            for n in 0..200 {
                let at = due_at(&format!("d{n}.example"), &policy(max_age)).secs() - looked.secs();
                assert!((earliest - 1..=latest).contains(&at), "{max_age} {at}");
            }
        }
    }
}
