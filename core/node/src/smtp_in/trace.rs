//! The fields a server writes before a message (RFC 5321 4.4, RFC 9228, RFC 6409 8).

use bytes::Bytes;
use mox_address::{Domain, Path};
use mox_machine::{Seed, TlsFacts, Utc};
use mox_message::{Protocol, Received, ReceivedFrom};
use std::net::IpAddr;

use crate::config::Service;

/// What the fields of one message say.
pub(super) struct Stamp<'a> {
    pub(super) id: &'a str,
    pub(super) hostname: &'a Domain,
    pub(super) service: Service,
    pub(super) peer: IpAddr,
    pub(super) hello: Option<&'a (Bytes, bool)>,
    pub(super) tls: Option<&'a TlsFacts>,
    pub(super) authenticated: bool,
    pub(super) utf8: bool,
    pub(super) now: Utc,
    /// The name of the peer's address.
    pub(super) reverse: Option<&'a str>,
    /// What the checks of the message came to, as fields.
    pub(super) results: &'a str,
}

/// Before a message in a mailbox: it goes no further.
pub(super) fn for_mailbox(stamp: &Stamp<'_>, from: Option<&Path>, to: &Path) -> String {
    let mut text = mox_message::return_path(from);
    text.push_str(stamp.results);
    text.push_str(&mox_message::delivered_to(to));
    text.push_str(&received(stamp, Some(to)));
    text
}

/// Before a message that goes on. With several recipients none is named: they need not know of each other.
pub(super) fn for_queue<'a>(stamp: &Stamp<'_>, to: impl IntoIterator<Item = &'a Path>) -> String {
    let mut to = to.into_iter();
    let only = match (to.next(), to.next()) {
        (one, None) => one,
        _ => None,
    };
    stamp.results.to_owned() + &received(stamp, only)
}

/// Date and Message-ID, when a submitted message has none (RFC 6409 8.1, 8.3).
pub(super) fn missing_fields(header: &[u8], stamp: &Stamp<'_>, seed: &Seed) -> String {
    let mut text = String::new();
    if mox_mime::header::find(header, b"Message-ID").is_none() {
        text.push_str(&format!(
            "Message-ID: {}\r\n",
            mox_message::message_id(seed, stamp.hostname)
        ));
    }
    if mox_mime::header::find(header, b"Date").is_none() {
        text.push_str(&format!(
            "Date: {}\r\n",
            mox_message::date_rfc5322(stamp.now)
        ));
    }
    text
}

fn received(stamp: &Stamp<'_>, recipient: Option<&Path>) -> String {
    let hello = stamp.hello.map(|(name, _)| String::from_utf8_lossy(name));
    let from = match stamp.service {
        // The address of a user at home is nobody's business.
        Service::Submission | Service::Submissions => ReceivedFrom::Submission,
        _ => ReceivedFrom::Peer {
            hello: hello.as_deref().unwrap_or_default(),
            reverse: stamp.reverse,
            ip: stamp.peer,
        },
    };
    let received = Received {
        from,
        by: stamp.hostname,
        by_ip: None,
        protocol: Protocol {
            extended: stamp.hello.is_some_and(|(_, extended)| *extended),
            utf8: stamp.utf8,
            authenticated: stamp.authenticated,
        },
        tls: stamp.tls,
        id: stamp.id,
        recipient,
        date: stamp.now,
    };
    received.write()
}
