//! What other domains are to be told of their mail and of their servers' TLS: observed with each message, reported once a day.
//!
//! What was observed is opaque to the engine. The same observation again is a count. Queueing the report of a day and marking that
//! day as done are one operation, and nothing observed for a day that is done is kept: no day is reported twice, whatever clocks say.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::deliver::{Body, Delivered, Delivery, place};
use crate::edit::Edit;
use crate::key::{self, Key, Parts, Table};
use crate::queue::{ADDRESS_MAX, Fate, QueueMessage, TEXT_MAX, clipped};
use crate::queue_recipient::QueueRecipient;
use crate::rows::{Stored, octets, utc};
use crate::suppression::canonical;
use crate::{AccountId, Batch, ReadError, Reads, Space, Stop, scan};

/// Octets of one observation at most; a larger one is only counted as left out.
pub const OBSERVATION_MAX: usize = 4 * 1024;
/// Different observations of one domain and day at most; others are counted as left out.
pub const OBSERVATIONS_MAX: u32 = 1_000;
/// Domains of one day at most; nothing is observed of others.
pub const OBSERVED_DOMAINS_MAX: u32 = 2_000;
/// Octets of all that is observed of one domain on one day; what goes beyond them is counted as left out.
pub const OBSERVED_OCTETS_MAX: u64 = 1024 * 1024;
/// Octets of all that is observed on one day for one kind of report: beyond them nothing is observed of further domains, and what
/// is new of known ones is counted as left out.
pub const OBSERVED_DAY_OCTETS_MAX: u64 = 64 * 1024 * 1024;
/// Reports that are remembered as done, of each kind; beyond it the oldest ones are forgotten. More than a week of as many domains
/// as there can be.
pub const REPORTS_DONE_MAX: u64 = 20_000;
/// Permanent failures in a row after which an address gets no reports.
pub const REPORTS_FAILING_AFTER: u32 = 3;
/// For how long it gets none; then it is tried once more.
pub const REPORTS_FAILING_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// So long after the last one the failures of an address are forgotten: longer than until it was tried once more.
pub const REPORTS_FAILING_FORGOTTEN: Duration = Duration::from_secs(90 * 24 * 3600);
/// Addresses whose failures are counted, at most; beyond it those make room that failed longest ago.
pub const REPORTS_FAILING_MAX: usize = 5_000;
/// Addresses that are forgotten at once.
const FORGOTTEN_AT_ONCE: usize = 256;
/// What the id of a report in the queue begins with; ids of transactions do not.
pub const REPORT_ID_BEGINS: &[u8] = b"report-";

/// Seconds of a day.
const DAY: i64 = 86_400;
const STORE: AccountId = AccountId(0);
/// How many domains a day has.
const DAYS: u8 = 0;
const DOMAINS: u8 = 1;
const OBSERVATIONS: u8 = 2;
/// Which days are done.
const MARKS: u8 = 3;
/// What became of them, in order.
const DONE: u8 = 4;
const NUMBERS: u8 = 5;
/// Beside the kinds of reports.
const FAILING: u8 = 9;

/// What is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reporting {
    /// Results of DMARC (RFC 9990).
    Dmarc,
    /// Results of TLS (RFC 8460).
    Tls,
}

impl Reporting {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Dmarc, Self::Tls];

    fn key(self, part: u8) -> Key {
        let kind = match self {
            Self::Dmarc => 1,
            Self::Tls => 2,
        };
        Key::of(Table::Observed, STORE).bytes(&[kind, part])
    }

    fn of_day(self, part: u8, day: u32) -> Key {
        self.key(part).bytes(&day.to_be_bytes())
    }

    fn of_domain(self, part: u8, day: u32, domain: &str) -> Vec<u8> {
        self.of_day(part, day).bytes(domain.as_bytes()).done()
    }

    fn observation(self, day: u32, domain: &str, row: &[u8]) -> Vec<u8> {
        let mut key = self.of_domain(OBSERVATIONS, day, domain);
        // No name has a zero octet.
        key.push(0);
        key.extend_from_slice(blake3::hash(row).as_bytes().get(..16).unwrap_or_default());
        key
    }

    fn done(self, number: u64) -> Vec<u8> {
        self.key(DONE).bytes(&number.to_be_bytes()).done()
    }
}

/// The day of a moment, counted from 1970 in UTC.
pub fn day_of(at: Utc) -> u32 {
    u32::try_from(at.secs().div_euclid(DAY)).unwrap_or(0)
}

/// The moment at which a day begins.
pub fn day_begins(day: u32) -> Utc {
    Utc::from_secs(i64::from(day) * DAY)
}

/// Something observed, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// For which kind of report.
    pub kind: Reporting,
    /// When.
    pub at: Utc,
    /// Whom it is reported to: a domain in A-labels, in lower case.
    pub domain: String,
    /// What the domain publishes, as far as a report says it; the last one counts. At most [`OBSERVATION_MAX`] octets.
    pub policy: Bytes,
    /// What was observed, at most [`OBSERVATION_MAX`] octets.
    pub row: Bytes,
}

/// Domains of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayRow {
    domains: u32,
    /// Of all of them together.
    octets: u64,
}

/// What was observed of a domain on a day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DomainRow {
    observations: u32,
    left_out: u64,
    #[serde(with = "octets")]
    policy: Bytes,
    /// Of the policy and of all observations.
    octets: u64,
}

/// As it was before octets were counted: of that day they are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayRowV1 {
    domains: u32,
}

impl From<DayRowV1> for DayRow {
    fn from(row: DayRowV1) -> Self {
        Self {
            domains: row.domains,
            octets: 0,
        }
    }
}

/// As it was before octets were counted: of that day they are not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DomainRowV1 {
    observations: u32,
    left_out: u64,
    #[serde(with = "octets")]
    policy: Bytes,
}

impl From<DomainRowV1> for DomainRow {
    fn from(row: DomainRowV1) -> Self {
        Self {
            observations: row.observations,
            left_out: row.left_out,
            policy: row.policy,
            octets: 0,
        }
    }
}

/// A domain on a day, with what there is room for.
struct Room {
    day: DayRow,
    domain: DomainRow,
}

impl Room {
    /// Takes so many octets, if they fit both in.
    fn take(&mut self, octets: usize) -> bool {
        let octets = octets as u64;
        let of_domain = self.domain.octets.saturating_add(octets);
        let of_day = self.day.octets.saturating_add(octets);
        let fits = of_domain <= OBSERVED_OCTETS_MAX && of_day <= OBSERVED_DAY_OCTETS_MAX;
        if fits {
            (self.domain.octets, self.day.octets) = (of_domain, of_day);
        }
        fits
    }

    /// The policy is another one, if that fits in.
    fn set_policy(&mut self, policy: &Bytes) -> bool {
        let before = self.domain.policy.len();
        let fits = policy.len() <= OBSERVATION_MAX
            && match policy.len().checked_sub(before) {
                Some(more) => self.take(more),
                None => {
                    let less = (before - policy.len()) as u64;
                    self.domain.octets = self.domain.octets.saturating_sub(less);
                    self.day.octets = self.day.octets.saturating_sub(less);
                    true
                }
            };
        if fits {
            self.domain.policy = policy.clone();
        }
        fits
    }
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObservationRow {
    count: u64,
    #[serde(with = "octets")]
    row: Bytes,
}

/// Which reports are remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoneNumbers {
    first: u64,
    next: u64,
}

/// An address that reports cannot be delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailingRow {
    failures: u32,
    #[serde(with = "utc")]
    last: Utc,
}

impl FailingRow {
    fn is_forgotten(&self, now: Utc) -> bool {
        now > self.last + REPORTS_FAILING_FORGOTTEN
    }
}

/// What became of the report of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportDone {
    /// The domain.
    pub domain: String,
    /// The day, counted from 1970 in UTC.
    pub day: u32,
    /// When that was.
    #[serde(with = "utc")]
    pub at: Utc,
    /// What tells the report from others; empty when there was none.
    pub report_id: String,
    /// Where it went; nowhere when there was none.
    pub to: Vec<String>,
    /// Messages, or sessions, that it tells of.
    pub count: u64,
    /// Why there was none, and who did not get it; for people.
    pub text: String,
}

/// All that was observed of a domain on a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// What the domain publishes, as it was seen last.
    pub policy: Bytes,
    /// How often each thing was observed.
    pub rows: Vec<(u64, Bytes)>,
    /// How many observations there was no room for.
    pub left_out: u64,
}

/// Keeps observations that come with nothing else.
pub fn observe(reads: &dyn Reads, all: &[Observation]) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    for one in all {
        keep(&mut edit, one)?;
    }
    Ok((edit.finish()?, ()))
}

/// How many could not be kept for a row that cannot be read: what is told to other domains keeps no mail out.
pub(crate) fn keep_all(edit: &mut Edit<'_>, all: &[Observation]) -> usize {
    all.iter().filter(|one| keep(edit, one).is_err()).count()
}

fn keep(edit: &mut Edit<'_>, new: &Observation) -> Result<(), Stop> {
    let (kind, day, domain) = (new.kind, day_of(new.at), new.domain.as_str());
    let is_name = (1..=255).contains(&domain.len()) && domain.bytes().all(|b| b.is_ascii_graphic());
    if !is_name || edit.get(&kind.of_domain(MARKS, day, domain))?.is_some() {
        return Ok(());
    }
    let (day_key, domain_key) = (
        kind.of_day(DAYS, day).done(),
        kind.of_domain(DOMAINS, day, domain),
    );
    let before: (Option<DayRow>, Option<DomainRow>) = (edit.row(&day_key)?, edit.row(&domain_key)?);
    let mut room = Room {
        day: before.0.unwrap_or_default(),
        domain: before.1.clone().unwrap_or_default(),
    };
    let has_policy = room.set_policy(&new.policy);
    let key = kind.observation(day, domain, &new.row);
    let known: Option<ObservationRow> = edit.row(&key)?;
    let has_room = known.is_none()
        && new.row.len() <= OBSERVATION_MAX
        && room.domain.observations < OBSERVATIONS_MAX
        && room.take(new.row.len());
    if before.1.is_none() {
        // A domain of which there is nothing but that something was left out has no report.
        let is_empty = !has_policy || (!has_room && new.row.len() <= OBSERVATION_MAX);
        if room.day.domains >= OBSERVED_DOMAINS_MAX || is_empty {
            return Ok(());
        }
        room.day.domains += 1;
    }
    match known {
        Some(known) => {
            let row = ObservationRow {
                count: known.count.saturating_add(1),
                ..known
            };
            edit.put(key, row.encode());
        }
        None if has_room => {
            room.domain.observations += 1;
            let row = ObservationRow {
                count: 1,
                row: new.row.clone(),
            };
            edit.put(key, row.encode());
        }
        None => room.domain.left_out = room.domain.left_out.saturating_add(1),
    }
    if before.1.as_ref() != Some(&room.domain) {
        edit.put(domain_key, room.domain.encode());
    }
    if before.0 != Some(room.day) {
        edit.put(day_key, room.day.encode());
    }
    Ok(())
}

/// Days of domains before `day` of which something is to be reported, the oldest first; at most `max`.
pub fn reports_waiting(
    reads: &dyn Reads,
    kind: Reporting,
    day: u32,
    max: usize,
) -> Result<Vec<(u32, String)>, ReadError> {
    let mut found = Vec::new();
    let (from, to) = (kind.key(DOMAINS).done(), kind.of_day(DOMAINS, day).done());
    scan::range(reads, Space::Rows, &from, &to, &mut |key, _| {
        let mut parts = Parts::of(key);
        let (_, day) = (parts.u8().zip(parts.u8()), parts.u32());
        let domain = String::from_utf8(parts.rest().to_vec()).ok();
        let found_one = day.zip(domain);
        found.push(found_one.ok_or_else(|| scan::bad_key("what is to be reported"))?);
        Ok(match found.len() < max {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(found)
}

/// What was observed of a domain on a day; `None` when that was nothing, or the day is done.
pub fn observed(
    reads: &dyn Reads,
    kind: Reporting,
    day: u32,
    domain: &str,
) -> Result<Option<Observed>, ReadError> {
    let Some(row) = reads.get(Space::Rows, &kind.of_domain(DOMAINS, day, domain))? else {
        return Ok(None);
    };
    let row = DomainRow::decode(&row)?;
    let mut rows = Vec::new();
    scan::prefix(reads, &observations_of(kind, day, domain), &mut |_, row| {
        let row = ObservationRow::decode(&row)?;
        rows.push((row.count, row.row));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Some(Observed {
        policy: row.policy,
        rows,
        left_out: row.left_out,
    }))
}

fn observations_of(kind: Reporting, day: u32, domain: &str) -> Vec<u8> {
    let mut key = kind.of_domain(OBSERVATIONS, day, domain);
    key.push(0);
    key
}

/// The day of a domain is done: its report goes into the queue, if there is one, what was observed goes, and nothing more is observed
/// for that day. `None` when it was done already: then nothing is queued.
pub fn settle_report(
    reads: &dyn Reads,
    kind: Reporting,
    report: Option<&Delivery>,
    done: &ReportDone,
) -> Result<(Batch, Option<Delivered>), Stop> {
    let mut edit = Edit::new(reads, done.at);
    let (day, domain) = (done.day, done.domain.as_str());
    let mark = kind.of_domain(MARKS, day, domain);
    let domain_key = kind.of_domain(DOMAINS, day, domain);
    if edit.get(&mark)?.is_some() || edit.get(&domain_key)?.is_none() {
        if let Some(Body::New(new)) = report.map(|report| &report.body) {
            edit.drop_body(&new.stored());
        }
        return Ok((edit.finish()?, None));
    }
    let delivered = match report {
        Some(report) => place(&mut edit, report)?,
        None => Delivered::default(),
    };
    let of_domain: DomainRow = edit.row(&domain_key)?.unwrap_or_default();
    edit.remove(domain_key);
    let from = observations_of(kind, day, domain);
    let most = usize::try_from(OBSERVATIONS_MAX).unwrap_or(usize::MAX);
    for key in edit.keys(&from, &key::behind(&from), most)? {
        edit.remove(key);
    }
    let day_key = kind.of_day(DAYS, day).done();
    let mut row: DayRow = edit.row(&day_key)?.unwrap_or_default();
    row.domains = row.domains.saturating_sub(1);
    row.octets = row.octets.saturating_sub(of_domain.octets);
    match row.domains {
        0 => edit.remove(day_key),
        _ => edit.put(day_key, row.encode()),
    }
    remember(&mut edit, kind, mark, done)?;
    Ok((edit.finish()?, Some(delivered)))
}

/// Marks a day as done, and forgets the oldest one where there are too many.
fn remember(
    edit: &mut Edit<'_>,
    kind: Reporting,
    mark: Vec<u8>,
    done: &ReportDone,
) -> Result<(), Stop> {
    let numbers_key = kind.key(NUMBERS).done();
    let mut numbers: DoneNumbers = edit.row(&numbers_key)?.unwrap_or_default();
    let kept = ReportDone {
        text: clipped(&done.text, TEXT_MAX),
        ..done.clone()
    };
    edit.put(mark, Bytes::new());
    edit.put(kind.done(numbers.next), kept.encode());
    numbers.next = numbers.next.saturating_add(1);
    if numbers.next.saturating_sub(numbers.first) > REPORTS_DONE_MAX {
        let oldest = kind.done(numbers.first);
        if let Some(row) = edit.row::<ReportDone>(&oldest)? {
            edit.remove(kind.of_domain(MARKS, row.day, &row.domain));
        }
        edit.remove(oldest);
        numbers.first += 1;
    }
    edit.put(numbers_key, numbers.encode());
    Ok(())
}

/// What became of reports, the last one first and at most `max`: of a domain, or of all.
pub fn reports_done(
    reads: &dyn Reads,
    kind: Reporting,
    domain: Option<&str>,
    max: usize,
) -> Result<Vec<ReportDone>, ReadError> {
    let from = kind.key(DONE).done();
    let (mut found, mut failed) = (Vec::new(), None);
    reads.scan_back(Space::Rows, &from, &key::behind(&from), &mut |_, row| {
        match ReportDone::decode(&row) {
            Ok(row) if found.len() < max => {
                let is_wanted = domain.is_none_or(|name| row.domain.eq_ignore_ascii_case(name));
                found.extend(Some(row).filter(|_| is_wanted));
            }
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
        match found.len() < max && failed.is_none() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    failed.map_or(Ok(found), Err)
}

/// Records and the queue write the same domain in U-labels and in A-labels.
fn failing_key(address: &str) -> Vec<u8> {
    let address = canonical(address);
    let key = Key::of(Table::Observed, STORE).bytes(&[FAILING]);
    key.bytes(address.as_bytes()).done()
}

/// Whether reports to an address failed so often that it gets none for now.
pub fn report_address_fails(reads: &dyn Reads, address: &str, now: Utc) -> Result<bool, ReadError> {
    let row = reads.get(Space::Rows, &failing_key(address))?;
    let row = row.map(|row| FailingRow::decode(&row)).transpose()?;
    Ok(row.is_some_and(|row| {
        row.failures >= REPORTS_FAILING_AFTER && now <= row.last + REPORTS_FAILING_FOR
    }))
}

/// Recipients of a message of the server itself left the queue: of a report, who failed is noted. Nobody is told, so nobody else
/// would know.
pub(crate) fn left_queue(
    edit: &mut Edit<'_>,
    message: &QueueMessage,
    done: &[(QueueRecipient, Fate)],
) -> Result<(), Stop> {
    if message.account.is_some() || !message.extra.starts_with(REPORT_ID_BEGINS) {
        return Ok(());
    }
    for (to, fate) in done
        .iter()
        .filter(|(to, _)| to.address.len() <= ADDRESS_MAX)
    {
        let key = failing_key(&to.address);
        let before: Option<FailingRow> = edit.row(&key)?;
        match fate {
            Fate::Delivered(_) if before.is_some() => edit.remove(key),
            Fate::Failed(_) => {
                if before.is_none() {
                    make_room_for_failing(edit)?;
                }
                let before = before.filter(|before| !before.is_forgotten(edit.now));
                let failures = before.map_or(0, |before| before.failures);
                let row = FailingRow {
                    failures: failures.saturating_add(1),
                    last: edit.now,
                };
                edit.put(key, row.encode());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Forgets addresses that failed long ago, and where there is no room for another one those that failed longest ago.
fn make_room_for_failing(edit: &mut Edit<'_>) -> Result<(), Stop> {
    let from = Key::of(Table::Observed, STORE).bytes(&[FAILING]).done();
    let mut rows: Vec<(Utc, Vec<u8>, bool)> = Vec::new();
    let now = edit.now;
    let to = key::behind(&from);
    scan::range(edit.reads(), Space::Rows, &from, &to, &mut |key, row| {
        let row = FailingRow::decode(&row)?;
        rows.push((row.last, key.to_vec(), row.is_forgotten(now)));
        Ok(ControlFlow::Continue(()))
    })?;
    rows.sort_unstable();
    let too_many = (rows.len() + 1).saturating_sub(REPORTS_FAILING_MAX);
    let mut rows = rows.into_iter().enumerate().take(FORGOTTEN_AT_ONCE);
    while let Some((nth, (_, key, is_forgotten))) = rows.next()
        && (is_forgotten || nth < too_many)
    {
        edit.remove(key);
    }
    Ok(())
}
