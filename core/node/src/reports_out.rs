//! Reports to other domains about their mail and about TLS with their servers: once a day what was observed is composed, signed and
//! put into the queue.
//!
//! The day of a domain is marked as done in the operation that queues its report: whatever ends the process, and however the clock is
//! put, a report is sent once. It is composed only after its day, at a moment of its own within some hours.

mod seen;

use bytes::Bytes;
use mox_address::{Domain, Host, LocalPart, Path};
use mox_dns::Facts;
use mox_driver::{Pool, Runtime};
use mox_machine::{Seed, Utc};
use mox_mailbox::{
    Delivery, Enqueue, Group, Observed, REPORT_ID_BEGINS, ReportDone, Reporting, day_begins, day_of,
};
use mox_server::reports_out::{
    Destination, Issue, Letter, OutgoingReports, Wanted, aggregate_report, dmarc_wanted, report_id,
    tls_report, tls_wanted,
};
use mox_server::{Directory, Signers, Submitted};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use seen::{Reported, of_message, of_sessions, tls_wishes};

use crate::composed::{self, NOBODY};
use crate::node::Inner;
use crate::tls;

/// Reports of a day are spread over so long after its end (RFC 8460 4.1).
const SPREAD: Duration = Duration::from_secs(4 * 3600);
/// After a failure it is tried again so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// Days after which nobody is asked any more where the report of one goes.
const DAYS_MAX: u32 = 3;
/// How long nothing is looked at: a clock that was put forward is noticed, and a changed configuration.
const RECHECK: Duration = Duration::from_secs(15 * 60);
/// Days of domains that are looked at in one round.
const ROUND_MAX: usize = 5_000;

/// Fields of TLS reports that are signed beside the usual ones.
const TLS_FIELDS: [&str; 2] = ["TLS-Report-Domain", "TLS-Report-Submitter"];

/// The day of a domain of which a report is due.
type Due = (Reporting, u32, String);

/// Runs until the process ends. After the server was told to stop it starts nothing new.
pub(crate) async fn service<R: Runtime>(node: Arc<Inner<R>>) {
    let seed = node.session_seed("reports to others");
    let mut again: BTreeMap<Due, Utc> = BTreeMap::new();
    loop {
        let waiting = waiting(&node).unwrap_or_else(|error| {
            tracing::error!(target: "reports", error, "what is to be reported cannot be read");
            Vec::new()
        });
        // They come in their order.
        again.retain(|due, _| waiting.binary_search(due).is_ok());
        let mut next = RECHECK;
        for due in waiting {
            let now = node.runtime.now().utc;
            let usual = time_of(&seed, &due);
            let at = again.get(&due).copied().unwrap_or(usual);
            if node.registry.is_stopping() {
                break;
            }
            if at > now {
                let micros = u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0);
                next = next.min(Duration::from_micros(micros));
                continue;
            }
            let (kind, day, domain) = &due;
            if let Err(why) = report(&node, *kind, *day, domain).await {
                tracing::info!(target: "reports", ?kind, day, domain, why, "a report is put off");
                again.insert(due, now + AGAIN_AFTER);
            }
        }
        tls::sleep(&node.runtime, next.max(Duration::from_secs(1))).await;
    }
}

/// What is of days that are over, the oldest first.
fn waiting<R: Runtime>(node: &Inner<R>) -> Result<Vec<Due>, String> {
    let published = node.store.published();
    let today = day_of(node.runtime.now().utc);
    let mut waiting = Vec::new();
    for kind in Reporting::ALL {
        let some = mox_mailbox::reports_waiting(&*published.view, kind, today, ROUND_MAX);
        let some = some.map_err(|e| e.to_string())?;
        waiting.extend(some.into_iter().map(|(day, domain)| (kind, day, domain)));
    }
    Ok(waiting)
}

/// When a report is composed: some time after the end of its day, another one for each.
fn time_of(seed: &Seed, (kind, day, domain): &Due) -> Utc {
    let own = seed.child(&format!("{kind:?} {domain}"), u64::from(*day));
    let spread = SPREAD.as_secs().max(1);
    day_begins(day.saturating_add(1)) + Duration::from_secs(own.rng().next_u64() % spread)
}

/// The address that reports come from, and its domain in A-labels: that of the settings, or postmaster at a domain that signs, if it can
/// be that of this host or one above it.
fn sender(
    settings: &OutgoingReports,
    directory: &Directory,
    signers: &Signers,
    hostname: &Domain,
) -> Option<(Path, Domain)> {
    if let Some(from) = &settings.from {
        let domain = from.domain()?.to_ascii().ok()?;
        return signers.has(&domain).then(|| (from.clone(), domain));
    }
    let host = hostname.to_ascii().ok()?;
    let is_above = |domain: &&Domain| {
        let rest = host.as_str().strip_suffix(domain.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let signing = || directory.domains().filter(|domain| signers.has(domain));
    let near = signing().filter(is_above);
    let near = near.max_by_key(|domain| domain.as_str().len());
    let domain = near.or_else(|| signing().next())?.clone();
    let from = Path {
        local: LocalPart::parse("postmaster", false).ok()?,
        host: Host::Domain(domain.clone()),
    };
    Some((from, domain))
}

/// Reports a day to a domain, or settles that nothing is reported.
///
/// # Errors
/// Why that has to wait.
async fn report<R: Runtime>(
    node: &Arc<Inner<R>>,
    kind: Reporting,
    day: u32,
    domain: &str,
) -> Result<(), String> {
    let observed = mox_mailbox::observed(&*node.store.published().view, kind, day, domain);
    let Some(observed) = observed.map_err(|e| e.to_string())? else {
        return Ok(());
    };
    let directory = node.directory();
    let settings = directory.outgoing_reports();
    let count = observed.rows.iter().map(|(count, _)| *count);
    let mut done = ReportDone {
        domain: domain.to_owned(),
        day,
        at: node.runtime.now().utc,
        report_id: String::new(),
        to: Vec::new(),
        count: count.fold(observed.left_out, u64::saturating_add),
        text: String::new(),
    };
    let is_on = match kind {
        Reporting::Dmarc => settings.dmarc,
        Reporting::Tls => settings.tls,
    };
    let is_ours = Domain::parse(domain, true).is_ok_and(|domain| directory.has_domain(&domain));
    let signers = node.signers();
    let sender = sender(settings, &directory, &signers, &node.config.hostname);
    let (from, submitter) = match sender {
        Some(sender) if is_on && !is_ours && !settings.leaves_out_domain(domain) => sender,
        sender => {
            done.text = match () {
                () if !is_on => "such reports are switched off",
                () if is_ours => "it is a domain of this server",
                () if sender.is_none() => "no domain of this server signs reports",
                () => "the domain wants no reports (opt_out)",
            }
            .into();
            return settle(node, kind, None, done).await;
        }
    };
    let wanted = |facts: &Facts| match kind {
        Reporting::Dmarc => dmarc_wanted(facts, domain),
        Reporting::Tls => tls_wanted(facts, domain),
    };
    let (wanted, _) = node
        .resolver
        .inquire(&node.runtime, Facts::default(), wanted)
        .await;
    let is_late = day_of(node.runtime.now().utc) > day.saturating_add(DAYS_MAX);
    let destinations = match wanted {
        Wanted::At(destinations) => destinations,
        Wanted::Unknown if !is_late => return Err("name servers do not tell where it goes".into()),
        Wanted::Unknown => {
            done.text = "name servers did not tell where it goes".into();
            return settle(node, kind, None, done).await;
        }
        Wanted::Nothing(why) => {
            done.text = why;
            return settle(node, kind, None, done).await;
        }
    };
    let id = report_id(kind, submitter.as_str(), domain, day);
    let from = from.to_string();
    let issue = Issue {
        submitter: submitter.as_str(),
        from: &from,
        domain,
        day,
        id: &id,
    };
    let letter = write(node, kind, &issue, observed).await;
    let (to, left_out) = admitted(node, settings, destinations, letter.octets());
    done.text = left_out.join("; ");
    if to.is_empty() {
        return settle(node, kind, None, done).await;
    }
    let now = node.runtime.now().utc;
    let text = letter.compose(&issue, &to, &node.session_seed("report"), now);
    done.at = now;
    done.report_id = id.clone();
    done.to = to.iter().map(Path::to_string).collect();
    queue(node, kind, signers, text, &to, done).await
}

/// The report itself, made on a pool: there may be a thousand rows.
async fn write<R: Runtime>(
    node: &Inner<R>,
    kind: Reporting,
    issue: &Issue<'_>,
    observed: Observed,
) -> Letter {
    let owned = [issue.submitter, issue.from, issue.domain, issue.id].map(str::to_owned);
    let day = issue.day;
    let work = move || {
        let [submitter, from, domain, id] = &owned;
        let issue = Issue {
            submitter,
            from,
            domain,
            day,
            id,
        };
        let text = match kind {
            Reporting::Dmarc => aggregate_report(&issue, &observed).to_xml(),
            Reporting::Tls => tls_report(&issue, &observed).to_json(),
        };
        Letter::new(kind, &issue, &text)
    };
    node.runtime.blocking(Pool::Compute, Box::new(work)).await
}

/// Who gets a report of so many octets, and who does not and why.
fn admitted<R: Runtime>(
    node: &Inner<R>,
    settings: &OutgoingReports,
    destinations: Vec<Destination>,
    octets: u64,
) -> (Vec<Path>, Vec<String>) {
    let published = node.store.published();
    let now = node.runtime.now().utc;
    let (mut to, mut left_out): (Vec<Path>, _) = (Vec::new(), Vec::new());
    for Destination { to: address, max } in destinations {
        let text = address.to_string();
        // That it cannot be known keeps nobody's report back.
        let fails = mox_mailbox::report_address_fails(&*published.view, &text, now);
        let why = match () {
            () if settings.leaves_out_address(&address) => "wants no reports (opt_out)",
            () if max.is_some_and(|max| octets > max) => "takes none of this size",
            () if fails.unwrap_or(false) => "failed again and again",
            () if !address.local.as_str().is_ascii() => "is not ASCII",
            () => {
                let host = address.domain().and_then(|domain| domain.to_ascii().ok());
                let address = Path {
                    host: host.map_or_else(|| address.host.clone(), Host::Domain),
                    ..address
                };
                if !to.contains(&address) {
                    to.push(address);
                }
                continue;
            }
        };
        left_out.push(format!("{text} {why}"));
    }
    (to, left_out)
}

/// Nothing is sent, or what is in `report`.
async fn settle<R: Runtime>(
    node: &Inner<R>,
    kind: Reporting,
    report: Option<(Delivery, mox_store::Spooled)>,
    done: ReportDone,
) -> Result<(), String> {
    let shown = done.clone();
    let op = move |reads: &dyn mox_mailbox::Reads| {
        let (report, held) =
            report.map_or((None, None), |(report, held)| (Some(report), Some(held)));
        let settled = mox_mailbox::settle_report(reads, kind, report.as_ref(), &done);
        // It lives to the end of the op: until then nothing removes the body's file.
        drop(held);
        settled
    };
    let settled = node.store.run(op).await.map_err(|e| e.to_string())?;
    if settled.is_some() {
        let ReportDone {
            domain,
            day,
            to,
            text,
            count,
            report_id,
            ..
        } = &shown;
        let to = to.join(" ");
        tracing::info!(target: "reports", ?kind, domain, day, count, report_id, to, text, "a day is reported");
    }
    Ok(())
}

/// Signs a report and puts it into the queue, from the null sender, so that nobody is told when it does not arrive.
async fn queue<R: Runtime>(
    node: &Arc<Inner<R>>,
    kind: Reporting,
    signers: Arc<Signers>,
    text: String,
    to: &[Path],
    done: ReportDone,
) -> Result<(), String> {
    let now = done.at;
    let body = Bytes::from(text);
    // RFC 8460 5.3.
    let signers = match kind {
        Reporting::Dmarc => signers,
        Reporting::Tls => Arc::new(signers.and_fields(&TLS_FIELDS)),
    };
    let mut submitted = Submitted::new(signers);
    submitted.push(&body);
    let departing = submitted.finish();
    let sign = Box::new(move || departing.sign("", now, now));
    let signature = node.runtime.blocking(Pool::Compute, sign).await;
    let signature = signature.map_err(|e| format!("it cannot be signed: {e}"))?;
    let written = composed::write(node, NOBODY, body, now).await;
    let (mut delivery, spooled) = written.map_err(|e| e.to_string())?;
    let mut by_domain: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for to in to {
        let of = by_domain.entry(to.host.to_string()).or_default();
        of.push(to.to_string());
    }
    let id = [REPORT_ID_BEGINS, node.transaction_id().as_bytes()].concat();
    delivery.queue = Some(Enqueue {
        account: None,
        reverse_path: String::new(),
        prefix: Bytes::from(signature),
        eight_bit: false,
        utf8: false,
        extra: Bytes::from(id),
        groups: by_domain
            .into_values()
            .map(|to| Group {
                recipients: to.into_iter().map(Into::into).collect(),
                next_attempt: now,
                hold: false,
                release: None,
            })
            .collect(),
        dsn: String::new(),
        require_tls: false,
        // RFC 8460 5.3: what it is about must not keep it back.
        tls_optional: kind == Reporting::Tls,
        ids: Vec::new(),
    });
    settle(node, kind, Some((delivery, spooled)), done).await
}
