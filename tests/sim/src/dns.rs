//! Name servers that speak packets, over UDP and TCP, rightly or not.

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use mox_dns::{Failure, MasterFile, Name, Question, Record, RecordType};
use mox_driver::{Bind, Runtime};
use mox_machine::{Rng, Seed};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::runtime::SimRuntime;
use crate::sim::Sim;
use crate::slot::lock;
use crate::stream::SimStream;

/// Where name servers listen.
const PORT: u16 = 53;
/// Octets of an answer over UDP at most, as questions here say in EDNS.
const DATAGRAM: usize = 1_232;
/// Octets of one TXT string.
const STRING: usize = 255;
/// How long an absence may be remembered, in seconds.
const NEGATIVE_TTL: u32 = 60;

/// How a name server errs. All `one_in` are 0 for never, 1 for always; a healed world knows none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsManner {
    /// The answer over UDP is cut off, though it would have fitted.
    pub truncated_one_in: u64,
    /// An answer with another id, and with wrong records, comes first.
    pub wrong_id_one_in: u64,
    /// Random octets come first.
    pub junk_one_in: u64,
    /// The question comes back in other letters (RFC 5452 and its 0x20); over TCP it does not.
    pub other_case_one_in: u64,
    /// The answer takes longer, up to [`slow`](Self::slow).
    pub slow_one_in: u64,
    /// How long slow answers take at most.
    pub slow: Duration,
    /// SERVFAIL.
    pub servfail_one_in: u64,
    /// No answer.
    pub lost_one_in: u64,
}

impl DnsManner {
    /// Right answers at once: names are resolved as if there was no network in between.
    pub fn direct() -> Self {
        Self::default()
    }

    /// Drawn from a seed: each fault is on in about half of the worlds.
    pub fn drawn(seed: &Seed) -> Self {
        let mut rng = seed.child("dns manner", 0).rng();
        let mut sometimes = |most| {
            if rng.one_in(2) {
                2 + rng.below(most)
            } else {
                0
            }
        };
        Self {
            truncated_one_in: sometimes(10),
            wrong_id_one_in: sometimes(10),
            junk_one_in: sometimes(10),
            other_case_one_in: sometimes(10),
            slow_one_in: sometimes(10),
            slow: Duration::from_secs(8),
            servfail_one_in: sometimes(20),
            lost_one_in: sometimes(10),
        }
    }
}

/// Serves what a master file says on port 53 of a computer, recursively: what is not in it does not exist. Gives the address to ask.
///
/// # Errors
/// When the port is taken.
pub fn name_server(on: &SimRuntime, zone: MasterFile, manner: DnsManner) -> io::Result<SocketAddr> {
    let address = SocketAddr::new(on.addresses()[0], PORT);
    let listener = on.listen(Bind::Addr(address))?;
    let server = Arc::new(NameServer {
        sim: on.sim().clone(),
        zone,
        manner,
        rng: Mutex::new(on.seed("name server").rng()),
    });
    let over_udp = server.clone();
    on.sim()
        .serve_udp(address, move |_, query| over_udp.over_udp(query));
    let runtime = on.clone();
    let accept = async move {
        loop {
            if let Ok((stream, _)) = runtime.accept(&listener).await {
                let server = server.clone();
                let session = async move { drop(server.over_tcp(stream).await) };
                runtime.spawn_session("name server session", Box::pin(session));
            }
        }
    };
    on.spawn_service("name server", Box::pin(accept));
    Ok(address)
}

struct NameServer {
    sim: Sim,
    zone: MasterFile,
    manner: DnsManner,
    rng: Mutex<Rng>,
}

impl NameServer {
    fn happens(&self, one_in: u64, fault: &'static str) -> bool {
        let odds = self.sim.odds(one_in);
        let happens = lock(&self.rng).one_in(odds);
        if happens {
            self.sim.fault(fault, 0);
        }
        happens
    }

    fn over_udp(&self, bytes: &[u8]) -> Vec<(Duration, Vec<u8>)> {
        let Some(query) = Query::parse(bytes) else {
            return Vec::new();
        };
        if self.happens(self.manner.lost_one_in, "answer lost") {
            return Vec::new();
        }
        let Some(mut answer) = self.answer(&query) else {
            return Vec::new();
        };
        let mut answers = Vec::new();
        if self.happens(self.manner.junk_one_in, "answer junk") {
            let mut junk = vec![0; 40];
            lock(&self.rng).fill(&mut junk);
            answers.push((Duration::ZERO, junk));
        }
        if self.happens(self.manner.wrong_id_one_in, "answer wrong id") {
            // NXDOMAIN: whoever believes it sends the mail back.
            let mut forged = query.respond(Code::NoDomain, &[], &[]);
            if let Some(id) = forged.first_mut() {
                *id ^= 0x55;
            }
            answers.push((Duration::ZERO, forged));
        }
        if self.happens(self.manner.other_case_one_in, "answer other case") {
            let name = answer.get_mut(12..12 + query.name_length);
            name.into_iter().flatten().for_each(|byte| {
                byte.make_ascii_lowercase();
            });
        }
        let cut = self.happens(self.manner.truncated_one_in, "answer truncated");
        if cut || answer.len() > DATAGRAM {
            answer = query.truncated();
        }
        let mut after = Duration::ZERO;
        if self.happens(self.manner.slow_one_in, "answer slow") {
            let most = u64::try_from(self.manner.slow.as_millis()).unwrap_or(u64::MAX);
            after = Duration::from_millis(lock(&self.rng).below(most));
        }
        answers.push((after, answer));
        answers
    }

    async fn over_tcp(&self, mut stream: SimStream) -> io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length).await?;
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes).await?;
            let answer = Query::parse(&bytes).and_then(|query| self.answer(&query));
            let Some(answer) = answer else { return Ok(()) };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream.write_all(&length.to_be_bytes()).await?;
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
    }

    /// The answer; `None` if none is given.
    fn answer(&self, query: &Query) -> Option<Vec<u8>> {
        if self.happens(self.manner.servfail_one_in, "answer servfail") {
            return Some(query.respond(Code::ServFail, &[], &[]));
        }
        let kinds = RecordType::ALL;
        let kind = kinds.into_iter().find(|kind| kind.code() == query.kind);
        let Some(kind) = kind else {
            return Some(query.respond(Code::NoError, &[], &absence()));
        };
        let question = Question::new(&query.name, kind).ok()?;
        let answer = self.zone.answer(&question);
        let ttl = answer.ttl;
        let mut owner = wire(question.name());
        let mut answers = Vec::new();
        if let Some(canonical) = &answer.canonical {
            let target = wire(canonical);
            answers.push(Resource {
                owner,
                kind: RecordType::Cname,
                ttl,
                data: target.clone(),
            });
            owner = target;
        }
        // An alias that leads nowhere is an alias none the less.
        let (code, records) = match &answer.result {
            Ok(records) => (Code::NoError, &records[..]),
            Err(Failure::NoData) => (Code::NoError, &[][..]),
            Err(Failure::NoDomain) => (Code::NoDomain, &[][..]),
            Err(Failure::Timeout) => return None,
            Err(Failure::Bogus) => return Some(query.bogus()),
            Err(_) => return Some(query.respond(Code::ServFail, &[], &[])),
        };
        answers.extend(records.iter().map(|record| Resource {
            owner: owner.clone(),
            kind,
            ttl,
            data: data(record),
        }));
        let authority = if records.is_empty() {
            absence()
        } else {
            Vec::new()
        };
        Some(query.respond(code, &answers, &authority))
    }
}

/// A record on the wire.
struct Resource {
    owner: Vec<u8>,
    kind: RecordType,
    ttl: u32,
    data: Vec<u8>,
}

/// A name on the wire (RFC 1035 3.1).
fn wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.labels() {
        wire.push(u8::try_from(label.len()).unwrap_or(0));
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

/// The data of a record on the wire.
fn data(record: &Record) -> Vec<u8> {
    match record {
        Record::A(ip) => ip.octets().to_vec(),
        Record::Aaaa(ip) => ip.octets().to_vec(),
        Record::Mx {
            preference,
            exchange,
        } => [&preference.to_be_bytes()[..], &wire(exchange)].concat(),
        Record::Txt(text) => {
            let strings = text.chunks(STRING);
            let lengths =
                strings.map(|part| [&[u8::try_from(part.len()).unwrap_or(0)], part].concat());
            lengths.collect::<Vec<_>>().concat()
        }
        Record::Cname(name) | Record::Ptr(name) | Record::Ns(name) => wire(name),
        Record::Tlsa {
            usage,
            selector,
            matching,
            data,
        } => [&[*usage, *selector, *matching], &data[..]].concat(),
        Record::Soa {
            primary,
            serial,
            minimum,
        } => {
            let mut out = wire(primary);
            out.push(0);
            for number in [*serial, 3_600, 600, 86_400, *minimum] {
                out.extend(number.to_be_bytes());
            }
            out
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Code {
    NoError = 0,
    ServFail = 2,
    NoDomain = 3,
}

/// The SOA record that says how long an absence may be remembered (RFC 2308).
fn absence() -> Vec<Resource> {
    let soa = Record::Soa {
        primary: Name::root(),
        serial: 1,
        minimum: NEGATIVE_TTL,
    };
    vec![Resource {
        owner: wire(&Name::root()),
        kind: RecordType::Soa,
        ttl: NEGATIVE_TTL,
        data: data(&soa),
    }]
}

/// A question as it came.
struct Query {
    id: [u8; 2],
    /// The question section.
    question: Vec<u8>,
    /// Octets of its name.
    name_length: usize,
    name: String,
    kind: u16,
}

impl Query {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let id = *bytes.first_chunk()?;
        let mut name = String::new();
        let mut at = 12;
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            let label = bytes.get(at..at + length)?;
            name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
            name.push('.');
            at += length;
        }
        if name.is_empty() {
            name.push('.');
        }
        let [high, low] = *bytes.get(at..)?.first_chunk()?;
        Some(Self {
            id,
            question: bytes.get(12..at + 4)?.to_vec(),
            name_length: at - 12,
            name,
            kind: u16::from_be_bytes([high, low]),
        })
    }

    fn head(&self, flags: u16, counts: [usize; 3]) -> Vec<u8> {
        let mut out = self.id.to_vec();
        out.extend(flags.to_be_bytes());
        out.extend([0, 1]);
        for count in counts {
            out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
        }
        out.extend(&self.question);
        out
    }

    fn respond(&self, code: Code, answers: &[Resource], authority: &[Resource]) -> Vec<u8> {
        /// Response, recursion desired and available.
        const FLAGS: u16 = 0x8180;
        let mut out = self.head(FLAGS | code as u16, [answers.len(), authority.len(), 0]);
        for record in answers.iter().chain(authority) {
            out.extend(&record.owner);
            out.extend(record.kind.code().to_be_bytes());
            out.extend([0, 1]);
            out.extend(record.ttl.to_be_bytes());
            let length = u16::try_from(record.data.len()).unwrap_or(u16::MAX);
            out.extend(length.to_be_bytes());
            out.extend(&record.data);
        }
        out
    }

    fn truncated(&self) -> Vec<u8> {
        self.head(0x8380, [0; 3])
    }

    /// SERVFAIL with the extended error "DNSSEC Bogus".
    fn bogus(&self) -> Vec<u8> {
        let mut out = self.head(0x8182, [0, 0, 1]);
        out.extend([0, 0, 41]);
        out.extend(1_232u16.to_be_bytes());
        out.extend([0; 4]);
        out.extend([0, 6, 0, 15, 0, 2, 0, 6]);
        out
    }
}
