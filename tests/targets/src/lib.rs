//! What must hold for any input: one function for each parser and each machine, from octets to a panic or nothing.
//!
//! The same functions run under proptest with `cargo test -p mox-targets`, for a bounded time, and under libFuzzer
//! (`tests/fuzz`), for as long as one likes. [`TARGETS`] is the list.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "everything here is a test: what does not hold must end it"
)]

mod authentication;
mod dns;
mod driver;
mod formats;
mod imap;
mod machines;
mod mime;
mod proxy;
mod reports;
mod sasl;
mod scheduler;
mod session;
mod smtp;
mod source;

pub use source::Source;

/// A name and what to do with octets. It panics when something does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or when something does not hold.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(n, _)| *n == name);
    let (_, target) = found.unwrap_or_else(|| panic!("no target is called {name}"));
    target(data);
}

/// Everything there is.
pub const TARGETS: &[Target] = &[
    ("smtp_command", smtp::command),
    ("smtp_reply", smtp::reply),
    ("smtp_reply_value", smtp::reply_value),
    ("smtp_dots", smtp::dots),
    ("smtp_dots_hostile", smtp::dots_hostile),
    ("smtp_lines", smtp::lines),
    ("smtp_text", smtp::text),
    ("imap_frame", imap::frame),
    ("imap_command", imap::command),
    ("imap_strings", imap::strings),
    ("imap_names", imap::names),
    ("imap_responses", imap::responses),
    ("imap_sets", imap::sets),
    ("uid_sets", imap::uid_sets),
    ("proxy_header", proxy::header),
    ("dns_name", dns::name),
    ("dns_lookup", dns::lookup),
    ("spf_record", authentication::spf_record),
    ("dkim_records", authentication::dkim_records),
    ("dkim_body", authentication::dkim_body),
    ("dmarc_record", authentication::dmarc_record),
    ("master_file", authentication::master_file),
    ("message", authentication::message),
    ("sasl_server", sasl::server),
    ("sasl_exchange", sasl::exchange),
    ("mime_structure", mime::structure),
    ("mime_header", mime::header),
    ("mime_decoders", mime::decoders),
    ("tls_policies", reports::tls_policies),
    ("sts_answer", reports::sts_answer),
    ("aggregate_report", reports::aggregate_report),
    ("tls_report", reports::tls_report),
    ("scrub", reports::scrub),
    ("transcript", formats::transcript),
    ("config", formats::config),
    ("rows", formats::rows),
    ("smtp_server", machines::smtp_server),
    ("smtp_client", machines::smtp_client),
    ("imap_server", machines::imap_server),
    ("queue_scheduler", scheduler::scheduler),
    ("driver", driver::driver),
];
