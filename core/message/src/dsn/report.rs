//! The part for machines: message/delivery-status, RFC 3464 2, and message/global-delivery-status, RFC 6533 4.

use mox_address::{Enhanced, Path};

use super::{Diagnostic, Dsn, Kind, RECIPIENTS_MAX, Recipient, printable};
use crate::fold::Folded;
use crate::identity::date_rfc5322;
use crate::trace::with_a_labels;

/// The fields of the message, and behind an empty line each those of its recipients.
pub(super) fn fields(dsn: &Dsn<'_>, utf8: bool) -> String {
    let mut out = String::new();
    if let Some(id) = dsn.envelope_id {
        out += &field("Original-Envelope-Id", &printable(id, utf8));
    }
    let host = dsn
        .hostname
        .to_ascii()
        .unwrap_or_else(|_| dsn.hostname.clone());
    out += &field("Reporting-MTA", &format!("dns; {host}"));
    out += &date("Arrival-Date", dsn.arrived);
    for recipient in dsn.recipients.iter().take(RECIPIENTS_MAX) {
        out += "\r\n";
        out += &recipient_fields(dsn, recipient, utf8);
    }
    out
}

fn recipient_fields(dsn: &Dsn<'_>, recipient: &Recipient<'_>, utf8: bool) -> String {
    let mut out = String::new();
    if let Some(original) = recipient.original {
        out += &field("Original-Recipient", &printable(original, utf8));
    }
    out += &field("Final-Recipient", &typed_address(recipient.address, utf8));
    let action = match dsn.kind {
        Kind::Failed => "failed",
        Kind::Delayed { .. } => "delayed",
        Kind::Delivered => "delivered",
        Kind::Relayed => "relayed",
    };
    out += &field("Action", action);
    let status = status(dsn.kind, recipient);
    out += &field("Status", &status.to_string());
    if let Some(remote) = recipient.remote {
        let remote = printable(remote, utf8);
        // The address behind the name is a comment, which holds no parentheses.
        let remote = match remote.split_once(' ') {
            Some((name, rest)) => format!("{name} ({})", rest.replace(['(', ')', '\\'], "")),
            None => remote,
        };
        out += &field("Remote-MTA", &format!("dns; {remote}"));
    }
    out += &match recipient.diagnostic {
        Diagnostic::Reply(reply) => field(
            "Diagnostic-Code",
            &format!("smtp; {}", printable(reply, utf8)),
        ),
        Diagnostic::Local(words) => field(
            "Diagnostic-Code",
            &format!("x-mox; {}", printable(words, utf8)),
        ),
    };
    if let Some(at) = recipient.last_attempt {
        out += &date("Last-Attempt-Date", at);
    }
    if let Kind::Delayed { until } = dsn.kind {
        out += &date("Will-Retry-Until", until);
    }
    out
}

/// The status of a recipient. A status of another class would contradict the action, but for what is given up because its time is over:
/// that is a persistent transient failure (RFC 3463 2), told by the actual problem where somebody named it (3.5, X.4.7).
pub(super) fn status(kind: Kind, recipient: &Recipient<'_>) -> Enhanced {
    let is_expired = kind == Kind::Failed && recipient.is_expired();
    let class = if is_expired { 4 } else { kind.class() };
    match recipient.status {
        None | Some(Enhanced(_, 0, 0)) if is_expired => Enhanced(4, 4, 7),
        Some(Enhanced(_, subject, detail)) => Enhanced(class, subject, detail),
        None => Enhanced(class, 0, 0),
    }
}

fn field(name: &str, value: &str) -> String {
    Folded::new(name).words(value).finish()
}

fn date(name: &str, at: mox_machine::Utc) -> String {
    Folded::new(name).token(&date_rfc5322(at)).finish()
}

/// RFC 3464 2.3.2 and RFC 6533 3: `rfc822` for what is ASCII, `utf-8` for others; without UTF-8 in the form utf-8-addr-xtext.
fn typed_address(path: &Path, utf8: bool) -> String {
    let ascii = with_a_labels(path);
    if ascii.is_ascii() {
        return format!("rfc822; {ascii}");
    }
    if utf8 {
        return format!("utf-8; {ascii}");
    }
    let host = ascii.rsplit_once('@').map_or("", |(_, host)| host);
    let mut local = String::new();
    for c in path.local.to_string().chars() {
        match c {
            '\\' | '+' | '=' => local.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
            c if c.is_ascii_graphic() => local.push(c),
            c => local.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    format!("utf-8; {local}@{host}")
}
