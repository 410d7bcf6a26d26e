//! Reports of other servers in mail that arrives at an address for such.

use mox_driver::{Pool, Runtime};
use mox_mailbox::AccountId;
use mox_mime::{Inside, Part};
use mox_server::decision::{Facts, Recipient};
use mox_server::reports::{
    MESSAGE_MAX, ReportKind, ReportOrigin, StoredReport, may_be_believed, rank, receive,
};
use mox_store::Spool;

use crate::node::Inner;

/// A message in which reports are looked for.
pub(super) struct Suspect<'a> {
    pub(super) transaction: &'a str,
    pub(super) part: &'a Part,
    pub(super) size: u64,
    /// Domains of signatures that vouch for a TLS report.
    pub(super) tls_signers: Vec<String>,
}

/// Gives each recipient that is an address for reports what was found, and says what is to be kept when the message is taken.
/// Reading a report may take a second: it is done on a pool, and only where the message has a part that can be one.
pub(super) async fn look<R: Runtime>(
    node: &Inner<R>,
    facts: &Facts,
    recipients: &mut [(Recipient, Option<AccountId>)],
    kinds: &[Vec<ReportKind>],
    (suspect, spool): (Suspect<'_>, Spool),
) -> (Spool, Vec<StoredReport>) {
    let wanted = [ReportKind::Dmarc, ReportKind::Tls];
    let wanted = wanted
        .into_iter()
        .filter(|kind| kinds.iter().any(|kinds| kinds.contains(kind)))
        .filter(|kind| may_hold(suspect.part, *kind));
    let wanted: Vec<ReportKind> = wanted.collect();
    let Some(message) = facts.message.clone() else {
        return (spool, Vec::new());
    };
    if wanted.is_empty() {
        return (spool, Vec::new());
    }
    let directory = node.directory();
    let (transaction, received) = (suspect.transaction.to_owned(), facts.at);
    let (size, tls_signers) = (suspect.size, suspect.tls_signers);
    let read = move || {
        let origin = ReportOrigin {
            transaction: &transaction,
            received,
            message: &message,
            tls_signers: &tls_signers,
        };
        let is_ours = |name: &str| {
            mox_address::Domain::parse(name, true).is_ok_and(|domain| directory.has_domain(&domain))
        };
        // Of a stranger's mail nothing is read here, however large it is.
        let believed = wanted.iter().any(|kind| may_be_believed(*kind, &origin));
        let octets = match size <= MESSAGE_MAX {
            _ if !believed => Err(String::new()),
            true => spool.read(0..size).map_err(|e| e.to_string()),
            false => Err("it is too large".into()),
        };
        let octets = octets.as_ref().map(|octets| &octets[..]);
        let found: Vec<_> = wanted
            .into_iter()
            .map(|kind| receive(kind, octets.map_err(String::as_str), &origin, &is_ours))
            .collect();
        (spool, found)
    };
    let (spool, found) = node.runtime.blocking(Pool::Compute, Box::new(read)).await;
    for ((recipient, _), kinds) in recipients.iter_mut().zip(kinds) {
        let of_kind = found.iter().map(|(found, _)| found);
        let of_kind = of_kind.filter(|found| kinds.contains(&found.kind));
        // One that is believed, or the one of which most can be said.
        recipient.report = of_kind.min_by_key(|found| rank(found)).cloned();
    }
    let stored = found.into_iter().filter_map(|(_, stored)| stored);
    (spool, stored.collect())
}

/// Whether a part is of a type that reports of a kind are sent as: no other mail is read again. Senders name the types in many
/// ways.
fn may_hold(part: &Part, kind: ReportKind) -> bool {
    match &part.inside {
        Inside::Multipart(parts) => parts.iter().any(|part| may_hold(part, kind)),
        Inside::Message(_) => false,
        Inside::Leaf => {
            let media = part.media.to_ascii_lowercase();
            let subtype = part.subtype.to_ascii_lowercase();
            match (&media[..], &subtype[..]) {
                (b"application", b"xml" | b"zip") | (b"text", b"xml") => kind == ReportKind::Dmarc,
                (b"application", subtype) if subtype.starts_with(b"tlsrpt+") => {
                    kind == ReportKind::Tls
                }
                (b"application", _) => true,
                _ => false,
            }
        }
    }
}
