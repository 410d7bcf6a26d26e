//! The part for people.

use super::advice::advice;
use super::report;
use super::{Diagnostic, Dsn, Kind, OriginalHeader, RECIPIENTS_MAX, Recipient, printable, shown};
use crate::identity::date_rfc5322;

/// Columns of a line.
const COLUMNS: usize = 76;
/// Octets of a word that cannot be broken before it is cut.
const WORD_MAX: usize = 900;

/// What happened, to whom, why, and what happens next.
pub(super) fn text(dsn: &Dsn<'_>, original: &OriginalHeader, utf8: bool) -> String {
    let mut out = String::new();
    let host = dsn
        .hostname
        .to_ascii()
        .unwrap_or_else(|_| dsn.hostname.clone());
    paragraph(&mut out, "", &format!("This is the mail server {host}."));
    let (one, many) = match dsn.kind {
        Kind::Failed => (
            "Your message could not be delivered to the address below. This is final: it will not be tried again.",
            "Your message could not be delivered to the addresses below. This is final: it will not be tried again.",
        ),
        Kind::Delayed { .. } => (
            "Your message could not be delivered to the address below yet. There is nothing you need to do.",
            "Your message could not be delivered to the addresses below yet. There is nothing you need to do.",
        ),
        Kind::Delivered => (
            "Your message was delivered to the mailbox of the address below. You asked to be told.",
            "Your message was delivered to the mailboxes of the addresses below. You asked to be told.",
        ),
        Kind::Relayed => (
            "Your message was handed to the server for the address below, which will not tell you when it is delivered. You asked to be told.",
            "Your message was handed to the server for the addresses below, which will not tell you when it is delivered. You asked to be told.",
        ),
    };
    let several = dsn.recipients.len() > 1;
    paragraph(&mut out, "", if several { many } else { one });
    if let Kind::Delayed { until } = dsn.kind {
        let until = date_rfc5322(until);
        let next = format!(
            "It will be tried again until {until}. If it still fails then, you will be told."
        );
        paragraph(&mut out, "", &next);
    }
    for recipient in dsn.recipients.iter().take(RECIPIENTS_MAX) {
        wrap(
            &mut out,
            "  ",
            &printable(&shown(recipient.address, utf8), utf8),
        );
        paragraph(&mut out, "    ", &reason(recipient, utf8));
        if dsn.kind == Kind::Failed {
            after_failure(&mut out, recipient);
        }
    }
    let more = dsn.recipients.len().saturating_sub(RECIPIENTS_MAX);
    if more > 0 {
        paragraph(&mut out, "  ", &format!("... and {more} more"));
    }
    out.push_str("Your message:\r\n");
    let about = [
        ("Subject", original.subject.as_deref()),
        ("Date", original.date.as_deref()),
        ("Message-ID", original.message_id.as_deref()),
    ];
    for (name, value) in about {
        let value = value.map(|v| printable(v, utf8)).filter(|v| !v.is_empty());
        if let Some(value) = value {
            let value: String = value.chars().take(500).collect();
            wrap(&mut out, "  ", &format!("{name}: {value}"));
        }
    }
    let arrived = date_rfc5322(dsn.arrived);
    paragraph(&mut out, "  ", &format!("Received here: {arrived}"));
    wrap(
        &mut out,
        "",
        "Details for mail administrators and the header of your message are attached.",
    );
    out
}

/// How long it was tried, whether it may have arrived, and what to do.
fn after_failure(out: &mut String, recipient: &Recipient<'_>) {
    if let Some(tried) = recipient.tried.filter(|t| t.times > 1 || t.is_expired) {
        let times = match tried.times {
            0 | 1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let since = date_rfc5322(tried.since);
        let why = match tried.is_expired {
            true => ", and nobody refused it for good: its time is over",
            false => "",
        };
        let text = format!("It was tried {times} since {since}{why}.");
        paragraph(out, "    ", &text);
    }
    if recipient.maybe_delivered {
        let text = "It may have been delivered all the same: the connection broke when the message had been sent, before the server said whether it has it.";
        paragraph(out, "    ", text);
    }
    let status = report::status(Kind::Failed, recipient);
    if let Some(advice) = advice(status, recipient.is_expired(), recipient.remote.is_none()) {
        paragraph(out, "    ", advice);
    }
}

fn reason(recipient: &Recipient<'_>, utf8: bool) -> String {
    let remote = recipient
        .remote
        .map(|r| printable(r, utf8))
        .filter(|r| !r.is_empty());
    match (recipient.diagnostic, remote) {
        (Diagnostic::Reply(words), Some(remote)) => {
            format!("The server {remote} answered: {}", printable(words, utf8))
        }
        (Diagnostic::Reply(words), None) => {
            format!("The server there answered: {}", printable(words, utf8))
        }
        (Diagnostic::Local(words), Some(remote)) => {
            format!("{} (server: {remote})", printable(words, utf8))
        }
        (Diagnostic::Local(words), None) => printable(words, utf8),
    }
}

/// Lines of text and an empty one.
fn paragraph(out: &mut String, indent: &str, text: &str) {
    wrap(out, indent, text);
    out.push_str("\r\n");
}

fn wrap(out: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    for word in text.split_ascii_whitespace() {
        let word: String = word.chars().take(WORD_MAX / 4).collect();
        let columns = word.chars().count();
        if column > 0 && column + 1 + columns > COLUMNS {
            out.push_str("\r\n");
            column = 0;
        }
        if column == 0 {
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(&word);
        column += columns;
    }
    out.push_str("\r\n");
}
