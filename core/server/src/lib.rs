//! Pure decisions of a mail server: configuration, whose an address is, what a message is.

mod authentication;
pub mod backtest;
pub mod config;
mod credentials;
pub mod decision;
mod dns_records;
mod handed;
mod head;
mod intake;
pub mod junk;
mod letterhead;
pub mod limiter;
mod lookup;
mod prefix;
pub mod reports;
pub mod reports_out;
pub mod routes;
pub mod ruleset;
mod scrub;
pub mod search;
mod sending_limits;
pub mod sort;
mod structure;
mod subject;
mod subject_token;
mod submitted;
pub mod thread;
mod transaction_id;
mod verdicts;

pub use authentication::{Checked, Checks, sender, signer};
pub use credentials::{decode_credentials, encode_credentials};
pub use dns_records::{DnsData, DnsRecord, Need, Presence, dns_records};
pub use handed::{Envelope, HANDED_TO_MAX, Handing, Wish, Wrong};
pub use intake::{Arrived, HEADER_KEPT_MAX, Intake};
pub use letterhead::{Author, LETTERHEAD_MAX, Letterhead, Origin, authors};
pub use lookup::{
    AddressError, Directory, DomainRules, Found, Member, Postmaster, ReportAddresses,
};
pub use scrub::Scrub;
pub use sending_limits::{LimitReached, SendLimits, SentCounts};
pub use structure::{STRUCTURE_DEPTH_MAX, StoredStructure};
pub use subject::{BaseSubject, base_subject, casemapped};
pub use subject_token::{check_subject_token, subject_token};
pub use submitted::{Departing, NoAuthor, SUBMITTED_HEADER_MAX, Signers, Submitted};
pub use transaction_id::TransactionIds;
pub use verdicts::{Verdicts, results};
