//! Packets: made from questions, judged as answers.

use alloc::vec::Vec;
use bytes::Bytes;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{self, DNSClass, RData};
use mox_machine::Rng;

use crate::{Answer, Failure, Name, Question, Record};

/// CNAMEs that are followed within one answer.
pub const CHAIN_MAX: usize = crate::master::CNAMES_MAX;
/// Records of one answer that are kept.
pub const RECORDS_MAX: usize = 512;
/// Octets of a TXT record that are kept; of a longer one it is one more, so that it shows.
pub const TXT_MAX: usize = 8 * 1024;
/// The longest time an answer is remembered, in seconds: a day.
const TTL_MAX: u32 = 86_400;
/// The longest time an absence is remembered, in seconds (RFC 2308 5 recommends one to three hours).
const NEGATIVE_TTL_MAX: u32 = 3_600;
/// How long a server's failure is remembered, in seconds (RFC 2308 7.1 allows five minutes).
pub(super) const FAILURE_TTL: u32 = 5;
/// What we take over UDP, in octets: fits into one packet everywhere.
const UDP_PAYLOAD: u16 = 1_232;

/// One query as it was sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    id: u16,
    /// With the case of its letters as it was sent.
    name: rr::Name,
    kind: rr::RecordType,
    pub(super) bytes: Bytes,
}

/// What a packet turned out to be.
#[derive(Debug)]
pub(super) enum Judged {
    /// Not the answer to this query: keep waiting.
    Junk,
    /// The answer, but its question has other letters: a guess, or a server that does not keep case.
    OtherCase,
    /// Cut off: ask over TCP.
    Truncated,
    /// The server does not understand EDNS.
    NoEdns,
    /// The server cannot answer.
    Failed(Failure),
    Answer(Answer),
}

impl Sent {
    /// Makes a query. `mixed_case` puts random case into the name (0x20), which an answer must repeat.
    pub(super) fn new(question: &Question, rng: &mut Rng, mixed_case: bool, edns: bool) -> Self {
        let id = rng.below(1 << 16) as u16;
        let mut letter = |b: &u8| {
            if mixed_case && rng.one_in(2) {
                b.to_ascii_uppercase()
            } else {
                *b
            }
        };
        let labels: Vec<Vec<u8>> = question
            .name()
            .labels()
            .map(|label| label.iter().map(&mut letter).collect())
            .collect();
        let name = rr::Name::from_labels(labels).expect("our names obey the same limits");
        let kind = rr::RecordType::from(question.kind().code());
        let mut query = Query::new();
        query
            .set_name(name.clone())
            .set_query_type(kind)
            .set_query_class(DNSClass::IN);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        // RFC 6840 5.7: tell us whether it is authentic, without the signatures.
        message.metadata.authentic_data = true;
        message.add_query(query);
        if edns {
            let mut options = Edns::new();
            options.set_max_payload(UDP_PAYLOAD).set_version(0);
            message.set_edns(options);
        }
        let bytes = message.to_vec().expect("a query fits into a packet");
        Self {
            id,
            name,
            kind,
            bytes: Bytes::from(bytes),
        }
    }

    /// Judges a packet. `trusted` believes its AD bit.
    pub(super) fn judge(&self, packet: &[u8], trusted: bool) -> Judged {
        // Most forgeries end here, without parsing.
        if packet.get(..2) != Some(&self.id.to_be_bytes()) {
            return Judged::Junk;
        }
        let Ok(message) = Message::from_vec(packet) else {
            return Judged::Junk;
        };
        if message.metadata.message_type != MessageType::Response
            || message.metadata.op_code != OpCode::Query
        {
            return Judged::Junk;
        }
        let code = message.metadata.response_code;
        match &message.queries[..] {
            [query]
                if query.query_type() == self.kind
                    && query.query_class() == DNSClass::IN
                    && *query.name() == self.name =>
            {
                if !query.name().eq_case(&self.name) {
                    return Judged::OtherCase;
                }
            }
            // RFC 6891 7: a server without EDNS may send the bare header.
            [] if matches!(code, ResponseCode::FormErr | ResponseCode::NotImp) => {
                return Judged::NoEdns;
            }
            _ => return Judged::Junk,
        }
        if message.metadata.truncation {
            return Judged::Truncated;
        }
        match code {
            ResponseCode::NoError | ResponseCode::NXDomain => {
                Judged::Answer(self.answer(&message, trusted))
            }
            ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS => Judged::NoEdns,
            _ if is_bogus(&message) => Judged::Failed(Failure::Bogus),
            _ => Judged::Failed(Failure::ServFail),
        }
    }

    fn answer(&self, message: &Message, trusted: bool) -> Answer {
        let mut owner = &self.name;
        let mut ttl = TTL_MAX;
        let mut chain = 0;
        if self.kind != rr::RecordType::CNAME {
            // The recursive server has put the whole chain here, in any order.
            while let Some((target, its_ttl)) = alias(message, owner) {
                chain += 1;
                if chain > CHAIN_MAX {
                    return Answer::failure(Failure::ServFail, FAILURE_TTL);
                }
                ttl = ttl.min(its_ttl);
                owner = target;
            }
        }
        let records: Vec<Record> = message
            .answers
            .iter()
            .filter(|r| {
                r.record_type() == self.kind && r.dns_class == DNSClass::IN && r.name == *owner
            })
            .take(RECORDS_MAX)
            .filter_map(|r| {
                ttl = ttl.min(sane_ttl(r.ttl));
                record(&r.data)
            })
            .collect();
        let nothing = if message.metadata.response_code == ResponseCode::NXDomain {
            Failure::NoDomain
        } else {
            Failure::NoData
        };
        let mut answer = if records.is_empty() {
            Answer::failure(nothing, ttl.min(negative_ttl(message)))
        } else {
            Answer::records(records, ttl)
        };
        answer.authentic = trusted && message.metadata.authentic_data;
        answer.canonical = if chain > 0 { name(owner) } else { None };
        answer
    }
}

fn alias<'a>(message: &'a Message, owner: &rr::Name) -> Option<(&'a rr::Name, u32)> {
    message.answers.iter().find_map(|r| match &r.data {
        RData::CNAME(target) if r.dns_class == DNSClass::IN && r.name == *owner => {
            Some((&target.0, sane_ttl(r.ttl)))
        }
        _ => None,
    })
}

/// RFC 2181 8: with the top bit set it is zero.
fn sane_ttl(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 {
        0
    } else {
        ttl.min(TTL_MAX)
    }
}

/// RFC 2308 5: the smaller of the SOA record's own TTL and its minimum field; without SOA it is not to be remembered.
fn negative_ttl(message: &Message) -> u32 {
    message
        .authorities
        .iter()
        .find_map(|r| match &r.data {
            RData::SOA(soa) => Some(sane_ttl(r.ttl).min(sane_ttl(soa.minimum))),
            _ => None,
        })
        .map_or(0, |ttl| ttl.min(NEGATIVE_TTL_MAX))
}

/// RFC 8914: the extended errors that mean failed validation.
fn is_bogus(message: &Message) -> bool {
    /// The option's code.
    const EXTENDED_ERROR: u16 = 15;
    let Some(edns) = &message.edns else {
        return false;
    };
    let code = match edns.option(EdnsCode::from(EXTENDED_ERROR)) {
        Some(EdnsOption::Unknown(_, data)) => match data.first_chunk() {
            Some(code) => u16::from_be_bytes(*code),
            None => return false,
        },
        _ => return false,
    };
    // DNSSEC Bogus, Signature Expired, Not Yet Valid, DNSKEY, RRSIGs, Zone Key Bit, NSEC Missing.
    (6..=12).contains(&code)
}

fn record(data: &RData) -> Option<Record> {
    Some(match data {
        RData::A(ip) => Record::A(ip.0),
        RData::AAAA(ip) => Record::Aaaa(ip.0),
        RData::MX(mx) => Record::Mx {
            preference: mx.preference,
            exchange: name(&mx.exchange)?,
        },
        RData::TXT(txt) => {
            let mut text = txt.txt_data.concat();
            text.truncate(TXT_MAX + 1);
            Record::Txt(Bytes::from(text))
        }
        RData::CNAME(target) => Record::Cname(name(&target.0)?),
        RData::PTR(target) => Record::Ptr(name(&target.0)?),
        RData::NS(target) => Record::Ns(name(&target.0)?),
        RData::TLSA(tlsa) => Record::Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: Bytes::copy_from_slice(&tlsa.cert_data),
        },
        RData::SOA(soa) => Record::Soa {
            primary: name(&soa.mname)?,
            serial: soa.serial,
            minimum: soa.minimum,
        },
        _ => return None,
    })
}

fn name(name: &rr::Name) -> Option<Name> {
    Name::from_labels(name.iter()).ok()
}
