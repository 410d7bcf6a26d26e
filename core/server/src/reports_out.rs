//! What other domains are told of their mail and of their servers' TLS: what of a message or session is kept for that, where reports
//! go, and the reports themselves. Everything here is a function of what was recorded and of answers of DNS.

mod destinations;
mod dmarc;
mod letter;
mod sent;
mod settings;
mod tls;

pub use destinations::{DESTINATIONS_MAX, Destination, Wanted, dmarc_wanted, tls_wanted};
pub use dmarc::{SeenMessage, aggregate_report, seen_of};
pub use letter::Letter;
pub use mox_dmarc::registrable;
pub use sent::ReportSent;
pub use settings::{OPT_OUT_MAX, OptOut, OutgoingReports};
pub use tls::{SeenSession, tls_report};

use mox_mailbox::Reporting;
use serde::{Serialize, de::DeserializeOwned};

/// Octets kept of a text that somebody else wrote.
const TEXT_MAX: usize = 255;
/// The version of the stored forms.
const VERSION: u8 = 1;

/// Who reports, of which day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue<'a> {
    /// Our domain, in A-labels: the one that signs reports.
    pub submitter: &'a str,
    /// Our address.
    pub from: &'a str,
    /// The domain reported to.
    pub domain: &'a str,
    /// The day, counted from 1970 in UTC.
    pub day: u32,
    /// What tells the report from all others.
    pub id: &'a str,
}

impl Issue<'_> {
    /// Seconds since 1970 when the day begins, and when its last second does.
    fn period(&self) -> (u64, u64) {
        let begin = u64::from(self.day) * 86_400;
        (begin, begin + 86_399)
    }
}

/// What tells a report from all others: the same for the same day, so that who gets one twice can see it.
pub fn report_id(kind: Reporting, submitter: &str, domain: &str, day: u32) -> String {
    let kind = match kind {
        Reporting::Dmarc => "dmarc",
        Reporting::Tls => "tls",
    };
    let hash = blake3::hash(format!("{kind} {submitter} {domain} {day}").as_bytes());
    let hash = hash.to_hex();
    format!(
        "{kind}.{day}.{}@{submitter}",
        hash.get(..16).unwrap_or_default()
    )
}

fn encode(row: &impl Serialize) -> Vec<u8> {
    // A vector takes everything, and no part has an unknown length.
    postcard::to_extend(row, vec![VERSION]).unwrap_or_default()
}

/// `None` when it is damaged or of another version.
fn decode<T: DeserializeOwned>(octets: &[u8]) -> Option<T> {
    match octets.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

/// A text as far as it is kept, without what no report may have in it.
fn cut(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control()).collect();
    let end = kept.floor_char_boundary(TEXT_MAX);
    kept.get(..end).unwrap_or_default().to_owned()
}
