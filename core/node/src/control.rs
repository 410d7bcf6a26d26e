//! What an administrator may ask of a running node.

use bytes::Bytes;
use mox_driver::Runtime;
use mox_machine::{Secret, Utc};
use mox_mailbox::{Dated, Reporting};
use mox_server::decision::{Record, lookups};
use mox_server::limiter::RefusedMinute;
use mox_server::reports::{ReportKind, StoredReport};
use mox_server::reports_out::ReportSent;
use mox_store::StoreError;

use crate::Node;
use crate::all::all;
use crate::node::StartError;

/// No server of this kind made an id before 2026. The time of one that is another's is anywhere in five hundred years, so that
/// hardly any passes for one of ours.
const EARLIEST: i64 = 1_767_225_600;

/// Records that are looked at for those of one account: most may be about others.
const OWN_READ_MAX: usize = 1_000;

/// Octets of the records that are looked at for one answer, without compression, at most; the last one may go beyond it.
const LOOKED_AT_MAX: usize = 64 << 20;

/// What is known of something.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explained {
    /// The records, the newest first.
    pub records: Vec<Record>,
    /// There may be more: with them it would be too much.
    pub is_cut: bool,
}

impl<R: Runtime> Node<R> {
    /// The records of decisions about mail that arrived, the newest first and at most `max`: those that are about this id,
    /// Message-ID, sender or recipient.
    pub fn explain(&self, what: &str, max: usize) -> Result<Vec<Record>, StartError> {
        let explained = self.explained(None, what, (max, usize::MAX))?;
        Ok(explained.records)
    }

    /// The same for an account: of its own mail, with what was decided for it alone.
    pub fn explain_to(
        &self,
        account: &str,
        what: &str,
        max: usize,
    ) -> Result<Vec<Record>, StartError> {
        let explained = self.explained(Some(account), what, (max, usize::MAX))?;
        Ok(explained.records)
    }

    /// As much of each record as an account may know, or all of it: so many at most, and of so many octets in all without
    /// compression, of which the first one may have more. Of an account nobody learns here which it has: who asks must be known to
    /// be its user, or the administrator.
    pub fn explained(
        &self,
        account: Option<&str>,
        what: &str,
        (max, octets_max): (usize, usize),
    ) -> Result<Explained, StartError> {
        let published = self.inner.store.published();
        let read = |octets: &Bytes| match Record::decode_with_size(octets) {
            Ok(read) => Some(read),
            // One of an earlier program keeps nobody from the others.
            Err(error) => {
                tracing::warn!(target: "store", %error, "a record of a decision is passed over");
                None
            }
        };
        let known = |record: Record| match account {
            Some(account) => record.for_account(account),
            None => Some(record),
        };
        let mut explained = Explained::default();
        let (mut looked_at, mut octets) = (0, 0);
        for (nth, key) in lookups(what).iter().enumerate() {
            let room = max.saturating_sub(explained.records.len());
            let read_max = account.map_or(room, |_| OWN_READ_MAX);
            let found = mox_mailbox::decisions(&*published.view, key, read_max);
            let found = found.map_err(|e| StartError(e.to_string()))?;
            for (record, size) in found.iter().filter_map(read) {
                looked_at += size;
                // What an account does not know of a record must not find it either.
                let record = known(record).filter(|record| record.is_about(what));
                let records = &mut explained.records;
                if let Some(record) = record
                    && records.len() < max
                    && !records.iter().any(|known| known.id == record.id)
                {
                    octets += size;
                    if octets > octets_max && !records.is_empty() {
                        explained.is_cut = true;
                        return Ok(explained);
                    }
                    records.push(record);
                }
                if looked_at > LOOKED_AT_MAX {
                    explained.is_cut = explained.records.len() < max;
                    return Ok(explained);
                }
            }
            // First comes the id: that is one transaction's, whatever addresses and identifiers others make of it.
            if explained.records.len() >= max || (nth == 0 && !explained.records.is_empty()) {
                break;
            }
        }
        Ok(explained)
    }

    /// False for a server that takes everything because it has no name servers: nothing is judged, nothing recorded.
    pub fn judges(&self) -> bool {
        self.inner.judges()
    }

    /// When a transaction was, by the id that stands in its Received field and in the log; `None` for an id that this server did not
    /// make, as far as that shows.
    pub fn transaction_time(&self, id: &str) -> Option<Utc> {
        let second = self.inner.authority.transaction_ids().second(id)?;
        let now = self.inner.runtime.now().utc.secs();
        (EARLIEST <= second && second <= now).then(|| Utc::from_secs(second))
    }

    /// What limiters refused, by the minute, the newest first and at most `max` of them.
    pub fn refused(&self, max: usize) -> Result<Vec<RefusedMinute>, StartError> {
        let published = self.inner.store.published();
        let mut minutes = self.inner.limiters.waiting();
        let found = mox_mailbox::dated(&*published.view, Dated::Refused, max, &|_| true);
        let found = found.map_err(|e| StartError(e.to_string()))?;
        minutes.extend(found.iter().filter_map(|row| RefusedMinute::decode(row)));
        minutes.truncate(max);
        Ok(minutes)
    }

    /// Reports of other servers, the newest first and at most `max`: about a domain, or about all.
    pub fn reports(
        &self,
        kind: ReportKind,
        domain: Option<&str>,
        max: usize,
    ) -> Result<Vec<StoredReport>, StartError> {
        let published = self.inner.store.published();
        let rows = match kind {
            ReportKind::Dmarc => Dated::DmarcReport,
            ReportKind::Tls => Dated::TlsReport,
        };
        let wanted = |row: &[u8]| {
            let about = |report: &StoredReport| domain.is_none_or(|name| report.is_about(name));
            StoredReport::decode(row).is_some_and(|report| about(&report))
        };
        let found = mox_mailbox::dated(&*published.view, rows, max, &wanted);
        let found = found.map_err(|e| StartError(e.to_string()))?;
        Ok(found
            .iter()
            .filter_map(|row| StoredReport::decode(row))
            .collect())
    }

    /// What became of the reports to other domains, the last one first and at most `max`: to a domain, or to all.
    pub fn reports_sent(
        &self,
        kind: ReportKind,
        domain: Option<&str>,
        max: usize,
    ) -> Result<Vec<ReportSent>, StartError> {
        let published = self.inner.store.published();
        let kind = match kind {
            ReportKind::Dmarc => Reporting::Dmarc,
            ReportKind::Tls => Reporting::Tls,
        };
        let found = mox_mailbox::reports_done(&*published.view, kind, domain, max);
        let found = found.map_err(|e| StartError(e.to_string()))?;
        Ok(found.into_iter().map(ReportSent::from).collect())
    }

    /// Has the junk filter of an account forget all, and learn again from its messages: it begins soon, and goes on in the
    /// background, after a stop too. Of all accounts when none is named; how many.
    pub async fn relearn_junk(&self, account: Option<&str>) -> Result<usize, StartError> {
        let ids = match account {
            None => self.inner.account_ids(),
            Some(name) => match self.inner.account_id(name) {
                Some(id) => vec![id],
                None => return Err(StartError(format!("there is no account {name:?}"))),
            },
        };
        let op = |id| {
            let op = move |reads: &dyn mox_mailbox::Reads| mox_mailbox::junk_relearn(reads, id);
            self.inner.store.run(op)
        };
        let done = all(ids.into_iter().map(op)).await;
        for done in &done {
            let done: &Result<(), StoreError> = done;
            done.as_ref().map_err(|e| StartError(e.to_string()))?;
        }
        Ok(done.len())
    }

    /// The accounts whose junk filters forget or learn just now, or wait to: of one account, or of all.
    pub fn relearning_junk(&self, account: Option<&str>) -> Result<Vec<String>, StartError> {
        if let Some(name) = account
            && self.inner.account_id(name).is_none()
        {
            return Err(StartError(format!("there is no account {name:?}")));
        }
        let published = self.inner.store.published();
        let waiting = mox_mailbox::junk_accounts(&*published.view);
        let waiting = waiting.map_err(|e| StartError(e.to_string()))?;
        let mut names = self.inner.directory().accounts();
        names.retain(|name| {
            account.is_none_or(|wanted| wanted == name)
                && (self.inner.account_id(name)).is_some_and(|id| waiting.contains(&id))
        });
        Ok(names)
    }

    /// Replaces the credentials of an account, as [`mox_server::encode_credentials`] writes them.
    pub async fn set_credentials(
        &self,
        account: &str,
        credentials: Secret<Bytes>,
    ) -> Result<(), StartError> {
        self.set_same_credentials([account], credentials).await
    }

    /// The same for several accounts at once.
    pub async fn set_same_credentials(
        &self,
        accounts: impl IntoIterator<Item = &str>,
        credentials: Secret<Bytes>,
    ) -> Result<(), StartError> {
        let mut ops = Vec::new();
        for account in accounts {
            let Some(id) = self.inner.account_id(account) else {
                return Err(StartError(format!("there is no account {account:?}")));
            };
            let credentials = credentials.clone();
            let op = move |reads: &dyn mox_mailbox::Reads| {
                mox_mailbox::set_credentials(reads, id, &credentials)
            };
            ops.push(self.inner.store.run(op));
        }
        let done: Result<(), StoreError> = all(ops).await.into_iter().collect();
        done.map_err(|e| StartError(e.to_string()))
    }

    /// The accounts of the directory that have no password yet: nobody can log in to them.
    pub fn without_password(&self) -> Result<Vec<String>, StartError> {
        let published = self.inner.store.published();
        let mut found = Vec::new();
        for name in self.inner.directory().accounts() {
            let row = mox_mailbox::account(&*published.view, &name)
                .map_err(|e| StartError(e.to_string()))?;
            if row.is_none_or(|row| row.credentials.expose().is_empty()) {
                found.push(name);
            }
        }
        Ok(found)
    }
}
