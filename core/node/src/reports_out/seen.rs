//! What is observed for reports: of messages that arrive, of sessions with other servers.

use bytes::Bytes;
use mox_address::Path;
use mox_dns::{Facts as Answers, Name};
use mox_driver::Runtime;
use mox_machine::Utc;
use mox_mailbox::{Observation, QueueEntry, QueueMessage, Reporting, day_begins, day_of};
use mox_server::Checked;
use mox_server::decision::{Facts, Judgement};
use mox_server::reports_out::{SeenSession, registrable, seen_of};
use mox_tls_policy::{TlsrptLookup, tlsrpt_lookup};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::SETTLED_AFTER;
use crate::node::Inner;
use crate::sync::{Mutex, PoisonError};

/// How long before a day may be settled nothing is observed for it any more: what is observed is in the store by then.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5 * 60);

/// For which moment something counts that happened `at`: for the present one when the day of that may be settled already.
fn counted_at(at: Utc, now: Utc) -> Utc {
    let ends = day_begins(day_of(at).saturating_add(1));
    let closes = ends + SETTLED_AFTER.saturating_sub(WRITTEN_WITHIN);
    match now < closes {
        true => at,
        false => now,
    }
}

/// Of a message about which was decided.
pub(crate) fn of_message<R: Runtime>(
    node: &Inner<R>,
    facts: &Facts,
    checked: &Checked,
    recipients: &[Judgement],
) -> Vec<Observation> {
    let directory = node.directory();
    let settings = directory.outgoing_reports();
    if !settings.dmarc {
        return Vec::new();
    }
    let is_ours = |name: &str| {
        mox_address::Domain::parse(name, true).is_ok_and(|name| directory.has_domain(&name))
    };
    let came = Utc::from_secs(facts.at);
    let at = counted_at(came, node.runtime.now().utc);
    if at != came {
        tracing::info!(target: "reports", day = day_of(came), "a message that was judged long after its day counts for the present one");
    }
    let seen = seen_of(facts, checked, recipients, &is_ours).into_iter();
    seen.filter(|seen| !settings.leaves_out_domain(&seen.domain))
        .filter(|seen| {
            node.reported
                .admits(&seen.domain, at.secs().div_euclid(DAY))
        })
        .map(|seen| Observation {
            kind: Reporting::Dmarc,
            at,
            domain: seen.domain,
            policy: Bytes::from(seen.policy),
            row: Bytes::from(seen.row),
        })
        .collect()
}

/// Domains of one registered name that get aggregate reports of a day: whoever registered one can make any number of names below it.
const OF_ORGANIZATION_MAX: usize = 20;
/// Registered names that are told apart; of more none is reported to.
const ORGANIZATIONS_MAX: usize = 2_000;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// Which domains are reported to on the present day. A restart forgets, the store has a bound of its own.
#[derive(Debug, Default)]
pub(crate) struct Reported(Mutex<(i64, BTreeMap<String, BTreeSet<String>>)>);

impl Reported {
    /// Whether this domain may be one of those below its registered name. That is the public suffix list's and not the organizational
    /// domain of the verdict: whoever has a domain can publish `psd=n` at as many names below it as they like.
    pub(crate) fn admits(&self, domain: &str, day: i64) -> bool {
        // Nothing panics while it is held, so poison means nothing.
        let (of_day, known) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *of_day != day {
            *of_day = day;
            known.clear();
        }
        let organization = registrable(domain).unwrap_or_else(|| domain.to_owned());
        let is_full = known.len() >= ORGANIZATIONS_MAX;
        if is_full && !known.contains_key(&organization) {
            return false;
        }
        let domains = known.entry(organization).or_default();
        if domains.len() < OF_ORGANIZATION_MAX {
            domains.insert(domain.to_owned());
        }
        domains.contains(domain)
    }
}

/// Whether the domain of an entry of the queue wants to be told how TLS went with its servers. Of what this server sends by itself
/// nothing is told: reports, and receipts that a stranger can have us send anywhere.
pub(crate) async fn tls_wishes<R: Runtime>(
    node: &Inner<R>,
    entry: &QueueEntry,
    message: &QueueMessage,
) -> bool {
    let directory = node.directory();
    let settings = directory.outgoing_reports();
    let Some(name) =
        domain_of(entry).filter(|_| settings.tls && message.account.is_some() && node.judges())
    else {
        return false;
    };
    if settings.leaves_out_domain(name.to_string().trim_end_matches('.')) {
        return false;
    }
    let lookup = |facts: &Answers| tlsrpt_lookup(facts, &name);
    let (found, _) = node
        .resolver
        .inquire(&node.runtime, Answers::default(), lookup)
        .await;
    matches!(found, TlsrptLookup::Record(_))
}

/// Of the sessions of an attempt.
pub(crate) fn of_sessions(
    entry: &QueueEntry,
    sessions: &[SeenSession],
    at: Utc,
) -> Vec<Observation> {
    let Some(name) = domain_of(entry) else {
        return Vec::new();
    };
    let domain = name.to_string().trim_end_matches('.').to_ascii_lowercase();
    let observation = |session: &SeenSession| Observation {
        kind: Reporting::Tls,
        at,
        domain: domain.clone(),
        policy: Bytes::new(),
        row: Bytes::from(session.encode()),
    };
    sessions.iter().map(observation).collect()
}

/// The domain of its recipients, which are all at one.
fn domain_of(entry: &QueueEntry) -> Option<Name> {
    let first = entry.recipients.first()?;
    let path = Path::parse(&first.address, true).ok()?;
    let domain = path.domain()?.to_ascii().ok()?;
    Name::parse(domain.as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_observed_long_after_its_day_counts_for_the_present_one() {
        let midnight = day_begins(20_455);
        let last = Utc(midnight.0 - 1_000_000);
        let after = |secs| midnight + Duration::from_secs(secs);
        for (at, now, counted) in [
            (last, last, last),
            (last, after(599), last),
            (last, after(600), after(600)),
            (last, after(86_400), after(86_400)),
            (midnight, after(86_400), midnight),
            // The clock was put back.
            (after(50), last, after(50)),
        ] {
            assert_eq!(counted_at(at, now), counted, "{at:?} {now:?}");
        }
    }

    #[test]
    fn names_that_one_organization_makes_up_leave_room_for_others() {
        let reported = Reported::default();
        for n in 0..OF_ORGANIZATION_MAX {
            assert!(reported.admits(&format!("n{n}.evil.example"), 1));
        }
        assert!(!reported.admits("more.evil.example", 1));
        assert!(reported.admits("n0.evil.example", 1));
        assert!(reported.admits("honest.example", 1));
        // The next day begins anew.
        assert!(reported.admits("more.evil.example", 2));
    }
}
