//! Delivery status notifications, RFC 3464 in a multipart/report of RFC 6522, and their internationalised form, RFC 6533.

mod advice;
mod human;
mod read;
mod report;

pub use read::{Action, Notification, Reported};

use std::fmt;

use mox_address::{Domain, Enhanced, Path};
use mox_machine::{Seed, Utc};
use mox_mime::header;

use crate::fold::Folded;
use crate::identity::{date_rfc5322, message_id, token};
use crate::trace::with_a_labels;

/// Octets of the original header that are returned; beyond, whole fields are left out.
pub const HEADER_MAX: usize = 32 * 1024;
/// Characters of a peer's words that are quoted.
pub const DIAGNOSTIC_MAX: usize = 2_000;
/// Recipients one notification tells of; the others are left out.
pub const RECIPIENTS_MAX: usize = 1_000;

/// What a notification is made of.
#[derive(Debug, Clone)]
pub struct Dsn<'a> {
    /// What happened to the recipients.
    pub kind: Kind,
    /// This host: Reporting-MTA, and the domain of the postmaster who signs.
    pub hostname: &'a Domain,
    /// The sender of the original message, to whom the notification goes.
    pub to: &'a Path,
    /// Message-ID and boundary follow from it: no two notifications may share one.
    pub seed: &'a Seed,
    /// When the notification is written.
    pub date: Utc,
    /// When the original message came here.
    pub arrived: Utc,
    /// ENVID of the original MAIL command (RFC 3461 4.4), decoded.
    pub envelope_id: Option<&'a str>,
    /// Whom it is about; at least one, at most [`RECIPIENTS_MAX`].
    pub recipients: &'a [Recipient<'a>],
    /// The header block of the original message, as far as it is at hand. CRLF, LF or both.
    pub header: &'a [u8],
    /// All of the original message, lines with CRLF, where it is to be returned (RFC 3461 4.3). Only its header is, when it does
    /// not fit into a message.
    pub whole: Option<&'a [u8]>,
    /// The original transaction used SMTPUTF8: the notification may be UTF-8 where it needs to be.
    pub utf8: bool,
}

/// What happened to all recipients of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Given up.
    Failed,
    /// Not delivered yet; attempts go on.
    Delayed {
        /// Given up after this.
        until: Utc,
    },
    /// In the mailbox (RFC 3461 5.2.3).
    Delivered,
    /// With a server that does not tell what becomes of it (RFC 3461 5.2.2).
    Relayed,
}

impl Kind {
    /// The class of every status in it.
    const fn class(self) -> u8 {
        match self {
            Self::Failed => 5,
            Self::Delayed { .. } => 4,
            Self::Delivered | Self::Relayed => 2,
        }
    }
}

/// One recipient of the original message.
#[derive(Debug, Clone)]
pub struct Recipient<'a> {
    /// The address it was tried at.
    pub address: &'a Path,
    /// ORCPT of the original RCPT command (RFC 3461 4.2), with its address type, decoded.
    pub original: Option<&'a str>,
    /// The status; `None` where nobody gave one: 5.0.0, 4.0.0 or 2.0.0.
    pub status: Option<Enhanced>,
    /// Who said no, for people and as Remote-MTA: `mx.example.org [192.0.2.1]`, name first. `None` when no peer was reached.
    pub remote: Option<&'a str>,
    /// Why.
    pub diagnostic: Diagnostic<'a>,
    /// When the last attempt was made.
    pub last_attempt: Option<Utc>,
    /// How long it was tried before it was given up, where that is of interest.
    pub tried: Option<Tried>,
    /// An answer to the end of the message was lost: it may have been delivered all the same.
    pub maybe_delivered: bool,
}

impl Recipient<'_> {
    /// It is given up because its time is over.
    fn is_expired(&self) -> bool {
        self.tried.is_some_and(|tried| tried.is_expired)
    }
}

/// How long a recipient was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// How often.
    pub times: u32,
    /// Since when.
    pub since: Utc,
    /// Nobody refused the message for good: it is given up because its time is over.
    pub is_expired: bool,
}

/// Why a recipient has not got the message, or what was said when it was taken. Control characters are taken out, and it is cut at [`DIAGNOSTIC_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnostic<'a> {
    /// The reply of the remote server on one line, codes included: `550 5.1.1 no such user`.
    Reply(&'a str),
    /// Our own words.
    Local(&'a str),
}

/// A notification, complete from its first header field to its last line end. It goes out with the null sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The message. All lines end with CRLF and have at most 998 octets; without `utf8` all is 7 bit, but for a message that is
    /// returned whole.
    pub message: Vec<u8>,
    /// Its Message-ID, with brackets.
    pub message_id: String,
    /// Sending it takes SMTPUTF8 and 8BITMIME.
    pub utf8: bool,
}

/// A notification about no recipient, which RFC 3464 2.1 does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRecipients;

impl fmt::Display for NoRecipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a delivery status notification is about at least one recipient")
    }
}

impl std::error::Error for NoRecipients {}

impl Dsn<'_> {
    /// Writes the notification.
    ///
    /// It is in UTF-8 (RFC 6533) only where `utf8` allows it and an address or a header field needs it. Otherwise
    /// addresses are written in the 7-bit form of RFC 6533 3, and a header that is not 7 bit is encoded in base64.
    pub fn compose(&self) -> Result<Composed, NoRecipients> {
        if self.recipients.is_empty() {
            return Err(NoRecipients);
        }
        let original = OriginalHeader::new(self.header);
        let utf8 = self.utf8 && self.needs_utf8(&original);
        let message_id = message_id(&self.seed.child("message-id", 0), self.hostname);
        // With `=_`, which neither base64 nor quoted-printable can produce (RFC 2045 6.7).
        let boundary = format!("=_{}", token(&self.seed.child("boundary", 0)));

        let whole = self.whole.and_then(|whole| whole_part(whole, utf8));
        let mut out = self
            .top(&message_id, &boundary, &original, utf8)
            .into_bytes();
        let mut octets = |kind: &str, encoding: &str, body: &[u8]| {
            let head = format!(
                "--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        };
        let mut part =
            |kind: &str, encoding: &str, body: &str| octets(kind, encoding, body.as_bytes());
        let plain = if utf8 { "8BIT" } else { "7BIT" };
        let text = human::text(self, &original, utf8);
        match utf8 {
            true => part("text/plain; charset=utf-8", plain, &text),
            false => part("text/plain; charset=us-ascii", plain, &text),
        }
        let status = report::fields(self, utf8);
        match utf8 {
            true => part("message/global-delivery-status", plain, &status),
            false => part("message/delivery-status", plain, &status),
        }
        let fields = &original.fields;
        match (utf8, fields.as_str()) {
            _ if whole.is_some() => {}
            (true, Some(text)) => part("message/global-headers", plain, text),
            (false, Some(text)) if text.is_ascii() => part("text/rfc822-headers", plain, text),
            _ => part(fields.encoded_type(), "BASE64", &fields.base64()),
        }
        if let (Some((kind, encoding)), Some(whole)) = (whole, self.whole) {
            octets(kind, encoding, whole);
        }
        out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Ok(Composed {
            message: out,
            message_id,
            utf8,
        })
    }

    fn needs_utf8(&self, original: &OriginalHeader) -> bool {
        let addresses = self.recipients.iter().map(|r| r.address);
        let ascii = |path: &Path| with_a_labels(path).is_ascii();
        !addresses.chain([self.to]).all(ascii)
            || original.fields.as_str().is_some_and(|f| !f.is_ascii())
    }

    fn top(&self, id: &str, boundary: &str, original: &OriginalHeader, utf8: bool) -> String {
        let host = self
            .hostname
            .to_ascii()
            .unwrap_or_else(|_| self.hostname.clone());
        let mut out = Folded::new("From")
            .words("Mail Delivery System")
            .token(&format!("<postmaster@{host}>"))
            .finish();
        let to = format!("<{}>", with_a_labels(self.to));
        out += &Folded::new("To").token(&printable(&to, utf8)).finish();
        out += &Folded::new("Subject").words(&self.subject(utf8)).finish();
        out += &Folded::new("Date").token(&date_rfc5322(self.date)).finish();
        out += &Folded::new("Message-ID").token(id).finish();
        if let Some(id) = &original.message_id {
            out += &Folded::new("In-Reply-To").token(id).finish();
            out += &Folded::new("References").token(id).finish();
        }
        // RFC 3834 5: nobody answers this automatically.
        out += "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n";
        out += &Folded::new("Content-Type")
            .token("multipart/report;")
            .token("report-type=delivery-status;")
            .token(&format!("boundary=\"{boundary}\""))
            .finish();
        out + "\r\n"
    }

    fn subject(&self, utf8: bool) -> String {
        let what = match self.kind {
            Kind::Failed => "Mail could not be delivered",
            Kind::Delayed { .. } => "Mail is delayed",
            Kind::Delivered => "Mail was delivered",
            Kind::Relayed => "Mail was handed on",
        };
        let address = match self.recipients {
            [one] => shown(one.address, utf8),
            _ => return what.to_owned(),
        };
        // The 7-bit form of an address is no address to people.
        match utf8 || address.is_ascii() {
            true => format!("{what} to {address}"),
            false => what.to_owned(),
        }
    }
}

/// The type and the encoding of a message that is returned whole; `None` when it cannot be a part of another one.
fn whole_part(whole: &[u8], utf8: bool) -> Option<(&'static str, &'static str)> {
    let fits = |line: &[u8]| line.len() <= 998 && !line.iter().any(|b| b"\r\0".contains(b));
    let mut lines = whole.split(|&b| b == b'\n');
    if !lines.all(|line| fits(line.strip_suffix(b"\r").unwrap_or(line))) {
        return None;
    }
    let header = whole.get(..header::len(whole)).unwrap_or(whole);
    let kind = match header.is_ascii() {
        true => "message/rfc822",
        // RFC 6532 3.7.
        false if utf8 && std::str::from_utf8(whole).is_ok() => "message/global",
        false => return None,
    };
    Some((kind, if whole.is_ascii() { "7BIT" } else { "8BIT" }))
}

/// What is taken of the original header.
struct OriginalHeader {
    fields: Returned,
    /// A sane Message-ID, with brackets.
    message_id: Option<String>,
    /// Decoded, for people.
    subject: Option<String>,
    /// As written.
    date: Option<String>,
}

/// The original fields with CRLF, without the blank line.
struct Returned(Vec<u8>);

impl OriginalHeader {
    fn new(block: &[u8]) -> Self {
        let mut fields = Vec::new();
        for field in header::split(block) {
            if fields.len() + field.raw.len() > HEADER_MAX {
                break;
            }
            for line in field.raw.split_inclusive(|c| *c == b'\n') {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                fields.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                fields.extend_from_slice(b"\r\n");
            }
        }
        let text = |name: &[u8]| header::find(block, name).map(crate::text::header_text);
        let sane = |id: &String| {
            let inner = id.strip_prefix('<').and_then(|i| i.strip_suffix('>'));
            id.len() <= 250
                && id.bytes().all(|c| c.is_ascii_graphic())
                && inner.is_some_and(|i| !i.contains(['<', '>']))
        };
        Self {
            fields: Returned(fields),
            message_id: text(b"Message-ID").filter(sane),
            subject: text(b"Subject"),
            date: text(b"Date"),
        }
    }
}

impl Returned {
    /// The fields, when they can stand in a message without being encoded.
    fn as_str(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let fits = |line: &str| line.len() <= 998 && !line.contains(['\r', '\0']);
        text.split("\r\n").all(fits).then_some(text)
    }

    fn encoded_type(&self) -> &'static str {
        match std::str::from_utf8(&self.0) {
            Ok(text) if text.is_ascii() => "text/rfc822-headers; charset=us-ascii",
            Ok(_) => "text/rfc822-headers; charset=utf-8",
            // RFC 1428 3: 8-bit text that came without a label.
            Err(_) => "text/rfc822-headers; charset=unknown-8bit",
        }
    }

    fn base64(&self) -> String {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        // 57 octets are 76 characters (RFC 2045 6.8).
        let lines = self.0.chunks(57).map(|c| STANDARD.encode(c) + "\r\n");
        lines.collect()
    }
}

/// An address for people: U-labels where UTF-8 is allowed.
fn shown(path: &Path, utf8: bool) -> String {
    match path.domain().filter(|_| utf8) {
        Some(domain) => format!("{}@{}", path.local, domain.to_unicode()),
        None => with_a_labels(path),
    }
}

/// Other people's words on one line: no control characters, no white space but single spaces, ASCII unless `utf8` (what
/// is not is written `\x{hex}`, as RFC 6533 3 does in addresses), cut at [`DIAGNOSTIC_MAX`] characters.
fn printable(text: &str, utf8: bool) -> String {
    let mut out = String::new();
    for c in text.chars().take(DIAGNOSTIC_MAX) {
        match c {
            c if c.is_control() || c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if c.is_ascii() || utf8 => out.push(c),
            c => out.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    out.trim().to_owned()
}
