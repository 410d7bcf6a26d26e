//! What was known of a message, as versions 2 to 6 of records have it: without selectors and algorithms of signatures, what decided in
//! SPF, which checks count for DMARC, and whether a session was slow.

use serde::Deserialize;
use std::net::IpAddr;

use super::super::facts::{
    Authenticated, Connection, DmarcFacts, Facts, Listing, Message, Method, Signature, Stage,
};

#[derive(Deserialize)]
pub(super) struct Facts6 {
    stage: Stage,
    at: i64,
    connection: Connection6,
    sender: String,
    sender_unreachable: Option<String>,
    has_resolver: bool,
    message: Option<Message6>,
}

#[derive(Deserialize)]
struct Connection6 {
    ip: IpAddr,
    hello: String,
    tls: bool,
}

#[derive(Deserialize)]
struct Message6 {
    authors: Vec<String>,
    author_domains: Vec<String>,
    message_id: Option<String>,
    size: u64,
    loops: Option<String>,
    iprev: Method6,
    spf: Method6,
    helo: Method6,
    dkim: Vec<Signature6>,
    dmarc: Dmarc6,
    author: Authenticated,
    listings: Vec<Listing>,
}

#[derive(Deserialize)]
struct Method6 {
    result: String,
    subject: String,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Signature6 {
    domain: String,
    result: String,
    vouches: bool,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Dmarc6 {
    result: String,
    disposition: String,
    policy_domain: Option<String>,
    problem: Option<String>,
}

impl From<Facts6> for Facts {
    fn from(old: Facts6) -> Self {
        Self {
            stage: old.stage,
            at: old.at,
            connection: Connection {
                ip: old.connection.ip,
                hello: old.connection.hello,
                tls: old.connection.tls,
                slow: false,
            },
            sender: old.sender,
            sender_unreachable: old.sender_unreachable,
            has_resolver: old.has_resolver,
            message: old.message.map(Message::from),
        }
    }
}

impl From<Message6> for Message {
    fn from(old: Message6) -> Self {
        Self {
            authors: old.authors,
            author_domains: old.author_domains,
            message_id: old.message_id,
            size: old.size,
            loops: old.loops,
            iprev: old.iprev.into(),
            spf: old.spf.into(),
            helo: old.helo.into(),
            dkim: old.dkim.into_iter().map(Signature::from).collect(),
            dmarc: old.dmarc.into(),
            author: old.author,
            listings: old.listings,
        }
    }
}

impl From<Method6> for Method {
    fn from(old: Method6) -> Self {
        Self {
            result: old.result,
            subject: old.subject,
            problem: old.problem,
            mechanism: None,
        }
    }
}

impl From<Signature6> for Signature {
    fn from(old: Signature6) -> Self {
        Self {
            domain: old.domain,
            result: old.result,
            vouches: old.vouches,
            problem: old.problem,
            selector: None,
            algorithm: None,
        }
    }
}

impl From<Dmarc6> for DmarcFacts {
    fn from(old: Dmarc6) -> Self {
        Self {
            result: old.result,
            disposition: old.disposition,
            policy_domain: old.policy_domain,
            problem: old.problem,
            alignment: None,
        }
    }
}
