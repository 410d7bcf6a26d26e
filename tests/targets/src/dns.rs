//! Names, and answers through the stub.

use core::time::Duration;
use mox_dns::stub::{Do, Lookup, ResolverConfig};
use mox_dns::{Name, Question, RecordType};
use mox_machine::{Mono, Seed};
use std::net::SocketAddr;

use crate::source::Source;

/// A name that was read is written so that it is read as the same; labels of any octets too.
pub fn name(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"a", b".", b"\\.", b"\\", b"\\000", b"\\255", b"example", b"ORG", b"-", b"_dmarc",
        b"\xff", b"xn--",
    ];
    let mut source = Source::new(data);
    let text = source.clone().input(WORDS);
    if let Ok(name) = Name::parse(&text) {
        let written = name.to_string();
        assert_eq!(Name::parse(&written), Ok(name.clone()), "{written}");
        assert!(name.wire_len() <= 255);
        if let Some(parent) = name.parent() {
            assert!(name.is_within(&parent));
        }
        if let Some(domain) = name.to_domain() {
            assert_eq!(Name::from_domain(&domain), Ok(name));
        }
    }
    let mut labels = Vec::new();
    while !source.is_empty() && labels.len() < 40 {
        labels.push(source.octets(64));
    }
    if let Ok(name) = Name::from_labels(labels.iter().copied()) {
        assert!(
            name.labels()
                .map(<[u8]>::to_ascii_lowercase)
                .eq(labels.iter().map(|l| l.to_ascii_lowercase()))
        );
        assert_eq!(Name::parse(name.to_string()), Ok(name));
    }
}

const KINDS: [RecordType; 4] = [
    RecordType::A,
    RecordType::Mx,
    RecordType::Txt,
    RecordType::Aaaa,
];

/// Whatever servers send, a lookup ends, after a number of steps that depends on its configuration only.
pub fn lookup(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"\x00\x01",
        b"\x00\x0f",
        b"\x00\x10",
        b"\xc0\x0c",
        b"\xc0\x00",
        b"\x00",
        b"\x01a",
        b"\x00\x00\x00\x3c",
        b"\x00\x04",
        b"\x7f\x00\x00\x01",
        b"\x00\x05",
        b"\x03org",
        b"\x00\x06",
        b"\x00\x29",
        b"\xff",
        b"\x00\x09\x00\x0a\x04mail\xc0\x0c",
    ];
    let mut source = Source::new(data);
    let servers: [SocketAddr; 2] = [([127, 0, 0, 1], 53).into(), ([192, 0, 2, 1], 53).into()];
    let config = ResolverConfig {
        attempts: 2,
        ..ResolverConfig::of(servers)
    };
    let question = Question::of(Name::parse("example.org").unwrap(), source.pick(&KINDS));
    let mut lookup = Lookup::new(question, &config, &Seed::from_number(source.number()));
    let mut now = Mono(1);
    let (mut sends, mut query, mut tcp, mut to) = (0, Vec::new(), false, servers[0]);
    for _ in 0..2_000 {
        match lookup.next(now) {
            Do::Finished(answer) => {
                assert_eq!(
                    lookup.next(now + Duration::from_secs(3_600)),
                    Do::Finished(answer),
                    "for good"
                );
                return;
            }
            Do::SendUdp { server, bytes } => {
                (query, tcp, to) = (bytes.to_vec(), false, server);
                sends += 1;
            }
            Do::SendTcp { server, bytes } => {
                (query, tcp, to) = (bytes[2..].to_vec(), true, server);
                sends += 1;
            }
            Do::WaitUntil(at) => {
                assert!(at > now, "R3");
                match source.octet() % 8 {
                    0 => now = at,
                    1 => lookup.failed(now),
                    // Somebody else's packet, or one over the other transport.
                    2 => {
                        lookup.datagram(now, ([203, 0, 113, 1], 53).into(), &query);
                        lookup.tcp(now, source.octets(20));
                    }
                    _ if source.is_empty() => now = at,
                    _ => {
                        let response = response(&query, &mut source, WORDS);
                        match tcp {
                            true => lookup.tcp(now, &response),
                            false => lookup.datagram(now, to, &response),
                        }
                    }
                }
            }
        }
        assert!(
            sends <= 2 * 2 * 3,
            "each server is asked a bounded number of times"
        );
    }
    panic!("it does not end");
}

/// The query as an answer, with some of it changed.
fn response(query: &[u8], source: &mut Source<'_>, words: &[&[u8]]) -> Vec<u8> {
    let mut response = query.to_vec();
    let flags = [source.octet(), source.octet()];
    response[2] = 0x80 | flags[0] & 0x07 | query[2] & 0x01;
    response[3] = flags[1];
    if !source.one_in(4) {
        response[3] &= 0xf0;
    }
    response[7] = source.octet() % 4;
    response[9] = source.octet() % 3;
    if source.one_in(8) {
        let at = source.below(response.len());
        response[at] ^= source.octet();
    }
    // Without the query's EDNS record, so that answers come right behind the question.
    if source.one_in(2) && response.len() > 11 {
        response[11] = 0;
        response.truncate(response.len() - 11);
    }
    response.extend(source.text(words));
    response
}
