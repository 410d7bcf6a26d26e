//! What is stored of a message's structure: IMAP's ENVELOPE and BODYSTRUCTURE, with offsets.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// IMAP's ENVELOPE (RFC 3501 7.4.2): raw, unfolded header values, encoded words not decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Envelope {
    /// Date, as written.
    pub date: Option<Vec<u8>>,
    /// Subject.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from: Vec<Mailbox>,
    /// Sender; From when absent.
    pub sender: Vec<Mailbox>,
    /// Reply-To; From when absent.
    pub reply_to: Vec<Mailbox>,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Bcc.
    pub bcc: Vec<Mailbox>,
    /// In-Reply-To.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID.
    pub message_id: Option<Vec<u8>>,
}

/// One address of an envelope. A group begins with `host: None` and a mailbox, and ends with both `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mailbox {
    /// Display name.
    pub name: Option<Vec<u8>>,
    /// Source route.
    pub route: Option<Vec<u8>>,
    /// Local part, or group name.
    pub local: Option<Vec<u8>>,
    /// Domain.
    pub host: Option<Vec<u8>>,
}

/// Parameters of a field in order, names and values as written, without quotes.
pub type Params = Vec<(Vec<u8>, Vec<u8>)>;

/// One MIME part and all within it. Offsets count from the start of the bytes that were pushed to the walker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part {
    /// Start of the part's header.
    pub header: u64,
    /// Start of its body, behind the blank line.
    pub body: u64,
    /// End of its body.
    pub end: u64,
    /// Lines in the body.
    pub lines: u32,
    /// Media type, as written; `TEXT` when absent.
    pub media: Vec<u8>,
    /// Media subtype, as written; `PLAIN` when absent.
    pub subtype: Vec<u8>,
    /// Parameters of Content-Type in order.
    pub params: Params,
    /// Content-ID.
    pub id: Option<Vec<u8>>,
    /// Content-Description.
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding, as written; `7BIT` when absent.
    pub encoding: Vec<u8>,
    /// Content-MD5.
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition and its parameters.
    pub disposition: Option<(Vec<u8>, Params)>,
    /// Content-Language.
    pub language: Vec<Vec<u8>>,
    /// Content-Location.
    pub location: Option<Vec<u8>>,
    /// What is inside.
    pub inside: Inside,
}

/// What a part contains.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Inside {
    /// Just bytes.
    #[default]
    Leaf,
    /// multipart: its children.
    Multipart(Vec<Part>),
    /// message/rfc822 or message/global: the message's envelope and its own structure.
    Message(alloc::boxed::Box<(Envelope, Part)>),
}
