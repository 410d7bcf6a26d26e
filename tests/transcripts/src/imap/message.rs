//! Envelopes and structures as RON in which octets are text with escapes.

use mox_mime::{Envelope, Inside, Mailbox, Part};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::escape::{escape, unescape};

/// Octets, written as text with escapes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Octets(pub(super) Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unescape(&text).map(Self).map_err(de::Error::custom)
    }
}

type Params = Vec<(Octets, Octets)>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "Envelope")]
pub(super) struct EnvelopeText {
    date: Option<Octets>,
    subject: Option<Octets>,
    from: Vec<MailboxText>,
    sender: Vec<MailboxText>,
    reply_to: Vec<MailboxText>,
    to: Vec<MailboxText>,
    cc: Vec<MailboxText>,
    bcc: Vec<MailboxText>,
    in_reply_to: Option<Octets>,
    message_id: Option<Octets>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "Mailbox")]
struct MailboxText {
    name: Option<Octets>,
    route: Option<Octets>,
    local: Option<Octets>,
    host: Option<Octets>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "Part")]
pub(super) struct PartText {
    header: u64,
    body: u64,
    end: u64,
    lines: u32,
    media: Octets,
    subtype: Octets,
    params: Params,
    id: Option<Octets>,
    description: Option<Octets>,
    encoding: Octets,
    md5: Option<Octets>,
    disposition: Option<(Octets, Params)>,
    language: Vec<Octets>,
    location: Option<Octets>,
    inside: InsideText,
}

#[derive(Debug, Serialize, Deserialize)]
enum InsideText {
    Leaf,
    Multipart(Vec<PartText>),
    Message(Box<(EnvelopeText, PartText)>),
}

fn octets(bytes: &[u8]) -> Octets {
    Octets(bytes.to_vec())
}

fn maybe(bytes: Option<&Vec<u8>>) -> Option<Octets> {
    bytes.map(|b| octets(b))
}

fn back(octets: Option<Octets>) -> Option<Vec<u8>> {
    octets.map(|o| o.0)
}

fn params(params: &[(Vec<u8>, Vec<u8>)]) -> Params {
    let pair = |(name, value): &(Vec<u8>, Vec<u8>)| (octets(name), octets(value));
    params.iter().map(pair).collect()
}

fn params_back(params: Params) -> Vec<(Vec<u8>, Vec<u8>)> {
    params.into_iter().map(|(n, v)| (n.0, v.0)).collect()
}

impl From<&Mailbox> for MailboxText {
    fn from(mailbox: &Mailbox) -> Self {
        Self {
            name: maybe(mailbox.name.as_ref()),
            route: maybe(mailbox.route.as_ref()),
            local: maybe(mailbox.local.as_ref()),
            host: maybe(mailbox.host.as_ref()),
        }
    }
}

impl From<MailboxText> for Mailbox {
    fn from(text: MailboxText) -> Self {
        Self {
            name: back(text.name),
            route: back(text.route),
            local: back(text.local),
            host: back(text.host),
        }
    }
}

impl From<&Envelope> for EnvelopeText {
    fn from(envelope: &Envelope) -> Self {
        let all = |list: &[Mailbox]| list.iter().map(MailboxText::from).collect();
        Self {
            date: maybe(envelope.date.as_ref()),
            subject: maybe(envelope.subject.as_ref()),
            from: all(&envelope.from),
            sender: all(&envelope.sender),
            reply_to: all(&envelope.reply_to),
            to: all(&envelope.to),
            cc: all(&envelope.cc),
            bcc: all(&envelope.bcc),
            in_reply_to: maybe(envelope.in_reply_to.as_ref()),
            message_id: maybe(envelope.message_id.as_ref()),
        }
    }
}

impl From<EnvelopeText> for Envelope {
    fn from(text: EnvelopeText) -> Self {
        let all = |list: Vec<MailboxText>| list.into_iter().map(Mailbox::from).collect();
        Self {
            date: back(text.date),
            subject: back(text.subject),
            from: all(text.from),
            sender: all(text.sender),
            reply_to: all(text.reply_to),
            to: all(text.to),
            cc: all(text.cc),
            bcc: all(text.bcc),
            in_reply_to: back(text.in_reply_to),
            message_id: back(text.message_id),
        }
    }
}

impl From<&Part> for PartText {
    fn from(part: &Part) -> Self {
        Self {
            header: part.header,
            body: part.body,
            end: part.end,
            lines: part.lines,
            media: octets(&part.media),
            subtype: octets(&part.subtype),
            params: params(&part.params),
            id: maybe(part.id.as_ref()),
            description: maybe(part.description.as_ref()),
            encoding: octets(&part.encoding),
            md5: maybe(part.md5.as_ref()),
            disposition: part
                .disposition
                .as_ref()
                .map(|(kind, values)| (octets(kind), params(values))),
            language: part.language.iter().map(|l| octets(l)).collect(),
            location: maybe(part.location.as_ref()),
            inside: match &part.inside {
                Inside::Leaf => InsideText::Leaf,
                Inside::Multipart(parts) => {
                    InsideText::Multipart(parts.iter().map(Self::from).collect())
                }
                Inside::Message(message) => {
                    let (envelope, part) = &**message;
                    InsideText::Message(Box::new((envelope.into(), part.into())))
                }
            },
        }
    }
}

impl From<PartText> for Part {
    fn from(text: PartText) -> Self {
        Self {
            header: text.header,
            body: text.body,
            end: text.end,
            lines: text.lines,
            media: text.media.0,
            subtype: text.subtype.0,
            params: params_back(text.params),
            id: back(text.id),
            description: back(text.description),
            encoding: text.encoding.0,
            md5: back(text.md5),
            disposition: text
                .disposition
                .map(|(kind, values)| (kind.0, params_back(values))),
            language: text.language.into_iter().map(|l| l.0).collect(),
            location: back(text.location),
            inside: match text.inside {
                InsideText::Leaf => Inside::Leaf,
                InsideText::Multipart(parts) => {
                    Inside::Multipart(parts.into_iter().map(Self::from).collect())
                }
                InsideText::Message(message) => {
                    let (envelope, part) = *message;
                    Inside::Message(Box::new((envelope.into(), part.into())))
                }
            },
        }
    }
}
