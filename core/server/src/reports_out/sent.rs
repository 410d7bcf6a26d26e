//! What became of a report, for who administers the server.

use mox_mailbox::{ReportDone, day_begins};
use serde::{Deserialize, Serialize};

/// What became of the report of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSent {
    /// The domain that it is about.
    pub domain: String,
    /// When its day began, in seconds since 1970.
    pub day: i64,
    /// When it was put into the queue, or settled that there is none, in seconds since 1970.
    pub at: i64,
    /// What tells it from others; empty when there is none.
    pub report_id: String,
    /// Where it went.
    pub to: Vec<String>,
    /// Messages, or sessions, that were observed.
    pub count: u64,
    /// Why there is none, and who does not get it.
    pub text: String,
}

impl From<ReportDone> for ReportSent {
    fn from(done: ReportDone) -> Self {
        Self {
            day: day_begins(done.day).secs(),
            at: done.at.secs(),
            domain: done.domain,
            report_id: done.report_id,
            to: done.to,
            count: done.count,
            text: done.text,
        }
    }
}
