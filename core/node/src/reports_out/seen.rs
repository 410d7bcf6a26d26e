//! What is observed for reports: of messages that arrive, of sessions with other servers.

use bytes::Bytes;
use mox_address::Path;
use mox_dns::{Facts as Answers, Name};
use mox_driver::Runtime;
use mox_machine::Utc;
use mox_mailbox::{Observation, QueueEntry, QueueMessage, REPORT_ID_BEGINS, Reporting};
use mox_server::Checked;
use mox_server::decision::{Facts, Judgement};
use mox_server::reports_out::{SeenSession, seen_of};
use mox_tls_policy::{TlsrptLookup, tlsrpt_lookup};

use crate::node::Inner;

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
    let seen = seen_of(facts, checked, recipients, &is_ours).into_iter();
    seen.filter(|seen| !settings.leaves_out_domain(&seen.domain))
        .map(|seen| Observation {
            kind: Reporting::Dmarc,
            at: Utc::from_secs(facts.at),
            domain: seen.domain,
            policy: Bytes::from(seen.policy),
            row: Bytes::from(seen.row),
        })
        .collect()
}

/// Whether the domain of an entry of the queue wants to be told how TLS went with its servers. Of the delivery of reports nothing is told.
pub(crate) async fn tls_wishes<R: Runtime>(
    node: &Inner<R>,
    entry: &QueueEntry,
    message: &QueueMessage,
) -> bool {
    let is_report = message.account.is_none() && message.extra.starts_with(REPORT_ID_BEGINS);
    let directory = node.directory();
    let settings = directory.outgoing_reports();
    let Some(name) = domain_of(entry).filter(|_| settings.tls && !is_report && node.judges())
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
