//! Reports to other domains about their mail and about TLS with their servers: once a day what was observed is composed, signed and
//! put into the queue.
//!
//! The day of a domain is marked as done in the operation that queues its report: whatever ends the process, and however the clock is
//! put, a report is sent once. It is composed only after its day, at a moment of its own within some hours. Some are worked at at
//! once, so that name servers that do not answer keep nobody else's back.

mod seen;

use bytes::Bytes;
use futures_channel::mpsc;
use futures_lite::{StreamExt, future};
use mox_address::{Domain, Host, LocalPart, Path};
use mox_dns::Facts;
use mox_driver::{Pool, Runtime};
use mox_machine::{Seed, Utc, fault};
use mox_mailbox::{
    Delivery, Enqueue, Group, Observed, REPORT_ID_BEGINS, ReportDone, Reporting, day_begins, day_of,
};
use mox_server::reports_out::{
    Destination, Issue, Letter, OutgoingReports, Wanted, aggregate_report, dmarc_wanted, report_id,
    tls_report, tls_wanted,
};
use mox_server::{Directory, Signers, Submitted};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use seen::{Reported, of_message, of_sessions, tls_wishes};

use crate::composed::{self, NOBODY};
use crate::node::Inner;
use crate::tls;

/// A day is settled no earlier than so long after its end: messages and attempts that began in it are observed by then.
const SETTLED_AFTER: Duration = Duration::from_secs(15 * 60);
/// Reports of a day are spread over so long from then on (RFC 8460 4.1).
const SPREAD: Duration = Duration::from_secs(4 * 3600);
/// After a failure it is tried again so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// A day of a domain is given up when it failed so often, which is a day after the first time. A restart forgets how often.
const TRIES_MAX: u32 = 24;
/// Days after which it is given up when it fails once more.
const DAYS_MAX: u32 = 3;
/// Days of domains that are worked at at once: name servers that do not answer take half a minute of one of these.
const AT_ONCE_MAX: usize = 16;
/// How long nothing is looked at: a clock that was put forward is noticed, and a changed configuration.
const RECHECK: Duration = Duration::from_secs(15 * 60);
/// Days of domains, of each kind, that are looked at in one round: all that can wait before they are given up.
const ROUND_MAX: usize = (DAYS_MAX as usize + 2) * mox_mailbox::OBSERVED_DOMAINS_MAX as usize;

/// Fields of TLS reports that are signed beside the usual ones.
const TLS_FIELDS: [&str; 2] = ["TLS-Report-Domain", "TLS-Report-Submitter"];

/// The day of a domain of which a report is due.
type Due = (Reporting, u32, String);

/// How often a day of a domain failed, and when it is tried again.
#[derive(Debug, Clone, Copy)]
struct Failed {
    tries: u32,
    at: Utc,
}

/// A day of a domain that is worked at: its place is given back when it is dropped, also by a panic.
struct Slot {
    due: Due,
    /// Why it has to wait.
    came: Result<(), String>,
    ended: mpsc::Sender<(Due, Result<(), String>)>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let came = core::mem::replace(&mut self.came, Ok(()));
        // A sender of its own always has room for one.
        let _ = self.ended.try_send((self.due.clone(), came));
    }
}

/// Runs until the process ends. After the server was told to stop it starts nothing new.
pub(crate) async fn service<R: Runtime>(node: Arc<Inner<R>>) {
    let seed = node.session_seed("reports to others");
    let (ended, mut endings) = mpsc::channel(AT_ONCE_MAX);
    let mut failed: BTreeMap<Due, Failed> = BTreeMap::new();
    let mut running: BTreeSet<Due> = BTreeSet::new();
    let mut ready: VecDeque<Due> = VecDeque::new();
    let mut look_at = node.runtime.now().mono;
    loop {
        let now = node.runtime.now();
        if now.mono >= look_at {
            let waiting = waiting(&node).unwrap_or_else(|error| {
                tracing::error!(target: "reports", error, "what is to be reported cannot be read");
                Vec::new()
            });
            // They come in their order.
            failed.retain(|due, _| waiting.binary_search(due).is_ok());
            let (now_due, next) = due_now(waiting, &seed, &failed, &running, now.utc);
            ready = now_due;
            look_at = now.mono + next.max(Duration::from_secs(1));
        }
        while running.len() < AT_ONCE_MAX
            && !node.registry.is_stopping()
            && let Some(due) = ready.pop_front()
        {
            running.insert(due.clone());
            let tries = failed.get(&due).map_or(0, |failed| failed.tries);
            let slot = Slot {
                due,
                came: Err("it was broken off".into()),
                ended: ended.clone(),
            };
            let task = work(node.clone(), slot, tries);
            node.runtime.spawn_session("report", Box::pin(task));
        }
        let rest = look_at.since(node.runtime.now().mono);
        let end = async { endings.next().await };
        let time = async {
            tls::sleep(&node.runtime, rest).await;
            None
        };
        let Some((due, came)) = future::or(end, time).await else {
            continue;
        };
        running.remove(&due);
        let Err(why) = came else {
            failed.remove(&due);
            continue;
        };
        let tries = failed.get(&due).map_or(0, |failed| failed.tries) + 1;
        let (kind, day, domain) = &due;
        let at = match tries < TRIES_MAX {
            true => {
                tracing::info!(target: "reports", ?kind, day, domain, tries, why, "a report is put off");
                node.runtime.now().utc + AGAIN_AFTER
            }
            // It could not even be given up.
            false => {
                tracing::error!(target: "reports", ?kind, day, domain, tries, why, "a report is left until the next start");
                Utc(i64::MAX)
            }
        };
        failed.insert(due, Failed { tries, at });
    }
}

/// Those whose time has come, with the ones that failed least first, and how long there is none more.
fn due_now(
    waiting: Vec<Due>,
    seed: &Seed,
    failed: &BTreeMap<Due, Failed>,
    running: &BTreeSet<Due>,
    now: Utc,
) -> (VecDeque<Due>, Duration) {
    let (mut found, mut next) = (Vec::new(), RECHECK);
    for due in waiting.into_iter().filter(|due| !running.contains(due)) {
        let failed = failed.get(&due);
        let at = failed.map_or_else(|| time_of(seed, &due), |failed| failed.at);
        if at > now {
            let micros = u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0);
            next = next.min(Duration::from_micros(micros));
            continue;
        }
        found.push((failed.map_or(0, |failed| failed.tries), due));
    }
    found.sort();
    (found.into_iter().map(|(_, due)| due).collect(), next)
}

/// Reports a day to a domain, or gives that up when it failed too often.
async fn work<R: Runtime>(node: Arc<Inner<R>>, mut slot: Slot, tries: u32) {
    let (kind, day, domain) = slot.due.clone();
    let came = report(&node, kind, day, &domain).await;
    let tries = tries.saturating_add(1);
    let is_late = day_of(node.runtime.now().utc) > day.saturating_add(DAYS_MAX);
    slot.came = match came {
        Err(why) if tries >= TRIES_MAX || is_late => {
            tracing::warn!(target: "reports", ?kind, day, domain, tries, why, "a report is given up");
            let observed = mox_mailbox::observed(&*node.store.published().view, kind, day, &domain);
            let done = ReportDone {
                domain,
                day,
                at: node.runtime.now().utc,
                report_id: String::new(),
                to: Vec::new(),
                count: observed
                    .ok()
                    .flatten()
                    .map_or(0, |observed| count(&observed)),
                text: format!("given up after {tries} tries: {why}"),
            };
            settle(&node, kind, None, done).await
        }
        came => came,
    };
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
    let spread = Duration::from_secs(own.rng().next_u64() % spread);
    day_begins(day.saturating_add(1)) + SETTLED_AFTER + spread
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
        // It stands in header fields, which have no U-labels without SMTPUTF8.
        let from = Path {
            host: Host::Domain(domain.clone()),
            ..from.clone()
        };
        return signers.has(&domain).then_some((from, domain));
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
    let mut done = ReportDone {
        domain: domain.to_owned(),
        day,
        at: node.runtime.now().utc,
        report_id: String::new(),
        to: Vec::new(),
        count: count(&observed),
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
    let destinations = match wanted {
        Wanted::At(destinations) => destinations,
        Wanted::Unknown => return Err("name servers do not tell where it goes".into()),
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

/// Messages, or sessions, that were observed.
fn count(observed: &Observed) -> u64 {
    let counts = observed.rows.iter().map(|(count, _)| *count);
    counts.fold(observed.left_out, u64::saturating_add)
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
    if fault!("node report not queued") {
        return Err("it could not be queued".into());
    }
    settle(node, kind, Some((delivery, spooled)), done).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 20_454;

    fn due(n: u32) -> Due {
        (Reporting::Dmarc, DAY, format!("d{n:04}.example"))
    }

    #[test]
    fn no_day_is_settled_in_the_first_minutes_of_the_next_one() {
        let seed = Seed::from_number(1);
        let ends = day_begins(DAY + 1);
        let first = ends + Duration::from_secs(15 * 60);
        let last = first + Duration::from_secs(4 * 3600);
        for n in 0..2_000 {
            let at = time_of(&seed, &due(n));
            assert!((first..last).contains(&at), "{n} {at:?}");
        }
    }

    #[test]
    fn what_failed_comes_behind_what_was_not_tried_and_what_runs_does_not_come() {
        let seed = Seed::from_number(1);
        let now = day_begins(DAY + 2);
        let later = now + Duration::from_secs(60);
        let failed = BTreeMap::from([
            (due(0), Failed { tries: 3, at: now }),
            (due(1), Failed { tries: 1, at: now }),
            (
                due(2),
                Failed {
                    tries: 1,
                    at: later,
                },
            ),
        ]);
        let running = BTreeSet::from([due(3)]);
        let waiting = (0..6).map(due).collect();
        let (ready, next) = due_now(waiting, &seed, &failed, &running, now);
        assert_eq!(ready, [due(4), due(5), due(1), due(0)]);
        assert_eq!(next, Duration::from_secs(60));
    }

    #[test]
    fn reports_come_from_an_address_in_a_labels() {
        let domain = Domain::parse("xn--bcher-kva.example", false).unwrap();
        let key = mox_dkim::Ed25519Key::from_seed(&[7; 32]).unwrap();
        let selector = mox_dkim::Selector::new("xn--bcher-kva.example", "one", Arc::new(key));
        let mut signers = Signers::default();
        signers.add(domain.clone(), vec![selector]);
        let settings = OutgoingReports {
            from: Some(Path::parse("reports@b\u{fc}cher.example", true).unwrap()),
            ..OutgoingReports::usual()
        };
        let host = Domain::parse("mx.b\u{fc}cher.example", true).unwrap();
        let (from, of) = sender(&settings, &Directory::local(0), &signers, &host).unwrap();
        assert_eq!(from.to_string(), "reports@xn--bcher-kva.example");
        assert_eq!(of, domain);
    }
}
