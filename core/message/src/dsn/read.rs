//! Notifications of other servers, read (RFC 3464, 6533). Where they keep to no rule, what can be understood counts.

use mox_address::Enhanced;
use mox_mime::{Inside, Limits, Part, TransferDecoder, Walker, header};

use super::RECIPIENTS_MAX;

/// Octets of a part that are looked at.
const PART_MAX: usize = 256 * 1024;
/// Octets of a field's value that are kept.
const VALUE_MAX: usize = 1_000;

/// What a notification says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notification {
    /// Original-Envelope-Id: the ENVID of our MAIL command, which is not encoded here (RFC 3461 6.3).
    pub envelope_id: Option<String>,
    /// Reporting-MTA, without its type.
    pub reporting_mta: Option<String>,
    /// Message-ID of the message that is returned, or of its header, with its angle brackets.
    pub message_id: Option<String>,
    /// Whom it is about; at most [`RECIPIENTS_MAX`].
    pub recipients: Vec<Reported>,
}

/// What a notification says of one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// Original-Recipient, without its type.
    pub original: Option<String>,
    /// Final-Recipient, without its type.
    pub recipient: String,
    /// Action; `None` when it is none of those that there are.
    pub action: Option<Action>,
    /// Status.
    pub status: Option<Enhanced>,
    /// Remote-MTA, without its type.
    pub remote: Option<String>,
    /// Diagnostic-Code, without its type: what a server said.
    pub diagnostic: Option<String>,
}

/// What became of a recipient (RFC 3464 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Given up.
    Failed,
    /// It takes longer.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// With a server that does not tell.
    Relayed,
    /// Handed to several others.
    Expanded,
}

impl Action {
    /// As it stands in the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }

    fn parse(value: &str) -> Option<Self> {
        let all = [
            Self::Failed,
            Self::Delayed,
            Self::Delivered,
            Self::Relayed,
            Self::Expanded,
        ];
        let word = value.split([' ', '\t', '(']).next()?;
        all.into_iter()
            .find(|action| word.eq_ignore_ascii_case(action.as_str()))
    }
}

impl Notification {
    /// Reads a message; `None` when it has no part that tells of deliveries.
    pub fn read(message: &[u8]) -> Option<Self> {
        let mut walker = Walker::new(Limits::default());
        walker.push(message);
        let structure = walker.finish();
        let mut outer = Vec::new();
        outside(&structure.part, &mut outer);
        if let Some(read) = Self::of_parts(message, &outer) {
            return Some(read);
        }
        // Somebody may have wrapped the whole notification: what is beside the part that tells counts, and not what a message
        // that is returned has inside.
        let wrapped = wrapped(&structure.part)?;
        let mut beside = Vec::new();
        outside(wrapped, &mut beside);
        Self::of_parts(message, &beside)
    }

    fn of_parts(message: &[u8], parts: &[&Part]) -> Option<Self> {
        let mut read = Self::default();
        for part in parts.iter().filter(|part| is_status(part)) {
            read.add_fields(&decoded(message, part)?);
        }
        if read.recipients.is_empty() {
            return None;
        }
        read.message_id = parts
            .iter()
            .rev()
            .filter(|part| is_returned(part))
            .find_map(|part| {
                let header = decoded(message, part)?;
                let id = header::find(&header, b"Message-ID")?;
                Some(text(&header::unfold(id))).filter(|id| !id.is_empty())
            });
        Some(read)
    }

    /// Reads the groups of fields of a message/delivery-status: first of the message, then one for each recipient.
    fn add_fields(&mut self, body: &[u8]) {
        let mut rest = body;
        while !rest.is_empty() {
            let (group, behind) = rest.split_at(header::len(rest).max(1).min(rest.len()));
            rest = behind;
            let find =
                |name: &[u8]| header::find(group, name).map(|value| text(&header::unfold(value)));
            let typed = |name: &[u8]| find(name).map(|value| without_type(&value));
            if let Some(id) = find(b"Original-Envelope-Id") {
                self.envelope_id = Some(id);
            }
            if let Some(mta) = typed(b"Reporting-MTA") {
                self.reporting_mta = Some(mta);
            }
            let original = find(b"Original-Recipient").map(|to| typed_address(&to));
            let Some(recipient) = find(b"Final-Recipient")
                .map(|to| typed_address(&to))
                .filter(|to| !to.is_empty())
                .or_else(|| original.clone())
            else {
                continue;
            };
            if self.recipients.len() >= RECIPIENTS_MAX {
                break;
            }
            self.recipients.push(Reported {
                recipient,
                original,
                action: find(b"Action").as_deref().and_then(Action::parse),
                status: find(b"Status").as_deref().and_then(status),
                remote: typed(b"Remote-MTA"),
                diagnostic: typed(b"Diagnostic-Code"),
            });
        }
    }
}

/// A part and all within it, but what a returned message has inside: that may be a notification itself.
fn outside<'a>(part: &'a Part, found: &mut Vec<&'a Part>) {
    found.push(part);
    if let Inside::Multipart(children) = &part.inside {
        children.iter().for_each(|child| outside(child, found));
    }
}

/// What encloses the first part that tells of deliveries, wherever that is: that part itself where nothing but a message does.
fn wrapped(part: &Part) -> Option<&Part> {
    match &part.inside {
        _ if is_status(part) => Some(part),
        Inside::Multipart(children) if children.iter().any(is_status) => Some(part),
        Inside::Multipart(children) => children.iter().find_map(wrapped),
        Inside::Message(inner) => wrapped(&inner.1),
        _ => None,
    }
}

/// A part that tells of deliveries.
fn is_status(part: &Part) -> bool {
    let is = |subtype: &[u8]| part.subtype.eq_ignore_ascii_case(subtype);
    part.media.eq_ignore_ascii_case(b"message")
        && (is(b"delivery-status") || is(b"global-delivery-status"))
}

/// A part with the message that it is about, or its header.
fn is_returned(part: &Part) -> bool {
    let is = |media: &[u8], subtype: &[u8]| {
        part.media.eq_ignore_ascii_case(media) && part.subtype.eq_ignore_ascii_case(subtype)
    };
    is(b"message", b"rfc822")
        || is(b"text", b"rfc822-headers")
        || is(b"message", b"rfc822-headers")
        || is(b"message", b"global")
        || is(b"message", b"global-headers")
}

fn decoded(message: &[u8], part: &Part) -> Option<Vec<u8>> {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let body = message.get(place(part.body)..place(part.end).min(message.len()))?;
    let body = body.get(..PART_MAX).unwrap_or(body);
    let mut out = Vec::new();
    match TransferDecoder::new(&part.encoding) {
        Some(mut decoder) => {
            decoder.push(body, &mut out);
            decoder.finish(&mut out);
        }
        None => out.extend_from_slice(body),
    }
    Some(out)
}

/// A value as text, cut where it is too long.
fn text(value: &[u8]) -> String {
    let value = value.get(..VALUE_MAX).unwrap_or(value);
    String::from_utf8_lossy(value).trim().to_owned()
}

/// `dns; mx.example` is a type and a value (RFC 3464 2.1.2), with white space and comments where one likes. Who leaves the type
/// out is understood too.
fn type_and_value(value: &str) -> (&str, &str) {
    match value.split_once(';') {
        Some((kind, rest)) if !kind.trim().contains(['@', '<', ' ']) => (kind.trim(), rest.trim()),
        _ => ("", value.trim()),
    }
}

fn without_type(value: &str) -> String {
    type_and_value(value).1.to_owned()
}

/// An address of the type that stands before it (RFC 3464 2.3.1, RFC 6533 3).
fn typed_address(value: &str) -> String {
    let (kind, value) = type_and_value(value);
    let address = address(value);
    match kind.eq_ignore_ascii_case("utf-8") {
        true => from_unicode_xtext(&address),
        false => address,
    }
}

/// RFC 6533 3: `\x{41}` is the character of that number. What is none of that stays as it is.
fn from_unicode_xtext(value: &str) -> String {
    /// Hexadecimal digits of the greatest one.
    const DIGITS_MAX: usize = 6;
    let mut out = String::new();
    let mut pieces = value.split("\\x{");
    out += pieces.next().unwrap_or_default();
    for piece in pieces {
        let decoded = piece.split_once('}').and_then(|(digits, rest)| {
            let is_number = (1..=DIGITS_MAX).contains(&digits.len())
                && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let number = is_number.then(|| u32::from_str_radix(digits, 16).ok())??;
            // What ends a line or is seen by nobody is in no address.
            let c = char::from_u32(number).filter(|c| !c.is_control())?;
            Some((c, rest))
        });
        match decoded {
            Some((c, rest)) => {
                out.push(c);
                out += rest;
            }
            None => {
                out += "\\x{";
                out += piece;
            }
        }
    }
    out
}

/// An address without what may stand around it.
fn address(value: &str) -> String {
    let inner = value
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or(value, |(inner, _)| inner);
    inner.trim().to_owned()
}

/// RFC 3463, with whatever stands behind it.
fn status(value: &str) -> Option<Enhanced> {
    let word = value.split([' ', '\t', '(']).next()?;
    let mut numbers = word.split('.');
    let class = numbers.next()?.parse().ok()?;
    let (subject, detail) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(Enhanced(class, subject, detail))
}
