//! The stub resolver against packets written by hand: no code of the resolver makes them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_dns::stub::{
    CHAIN_MAX, Cache, CacheLimits, Do, Lookup, RECORDS_MAX, ResolverConfig, TXT_MAX,
};
use mox_dns::{Answer, Failure, Name, Question, Record, RecordType};
use mox_machine::{Mono, Seed};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

fn q(text: &str, kind: RecordType) -> Question {
    Question::new(text, kind).unwrap()
}

fn at(secs: u64) -> Mono {
    Mono(secs * 1_000_000_000)
}

fn server(n: u8) -> SocketAddr {
    format!("192.0.2.{n}:53").parse().unwrap()
}

const LOCAL: &str = "127.0.0.1:53";

fn lookup(question: &Question, servers: &[SocketAddr]) -> Lookup {
    let config = ResolverConfig::of(servers.iter().copied());
    Lookup::new(question.clone(), &config, &Seed::from_number(1))
}

fn sent(lookup: &mut Lookup, now: Mono) -> (SocketAddr, bool, Vec<u8>) {
    match lookup.next(now) {
        Do::SendUdp { server, bytes } => (server, false, bytes.to_vec()),
        Do::SendTcp { server, bytes } => {
            assert_eq!(
                usize::from(bytes[0]) * 256 + usize::from(bytes[1]),
                bytes.len() - 2
            );
            (server, true, bytes[2..].to_vec())
        }
        other => panic!("{other:?}"),
    }
}

fn finished(lookup: &mut Lookup, now: Mono) -> Answer {
    match lookup.next(now) {
        Do::Finished(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// A name on the wire.
fn wire(name: &str) -> Vec<u8> {
    let name = Name::parse(name).unwrap();
    let mut out = Vec::new();
    for label in name.labels() {
        out.push(label.len() as u8);
        out.extend(label);
    }
    out.push(0);
    out
}

fn record(name: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = name.to_vec();
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out.extend(ttl.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

/// Bits of the second header word.
const RESPONSE: u16 = 0x8180;
const AD: u16 = 0x0020;
const TC: u16 = 0x0200;
/// The question's name, by compression.
const QNAME: [u8; 2] = [0xc0, 12];

/// A response to `query`: its id and question, flags, and the records of three sections.
fn respond(query: &[u8], flags: u16, sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
    let question = 12 + query[12..].iter().position(|b| *b == 0).unwrap() + 5;
    let mut out = query[..2].to_vec();
    out.extend(flags.to_be_bytes());
    out.extend([0, 1]);
    for section in sections {
        out.extend((section.len() as u16).to_be_bytes());
    }
    out.extend(&query[12..question]);
    for record in sections.concat() {
        out.extend(record);
    }
    out
}

fn soa(name: &[u8], ttl: u32, minimum: u32) -> Vec<u8> {
    let mut data = [wire("ns.example"), wire("hostmaster.example")].concat();
    for n in [7, 1, 1, 1, minimum] {
        data.extend(n.to_be_bytes());
    }
    record(name, 6, ttl, &data)
}

/// The answer to `question` when the only server, a trusted one, says this.
fn answer_to(question: &Question, flags: u16, sections: [&[Vec<u8>]; 3]) -> Answer {
    let mut lookup = lookup(question, &[LOCAL.parse().unwrap()]);
    let (server, _, query) = sent(&mut lookup, at(0));
    lookup.datagram(at(0), server, &respond(&query, flags, sections));
    finished(&mut lookup, at(0))
}

#[test]
fn a_query_is_the_known_packet() {
    let (_, tcp, bytes) = sent(&mut lookup(&q("Ab.c", RecordType::Mx), &[server(1)]), at(0));
    assert!(!tcp);
    assert_eq!(
        bytes[2..].to_ascii_lowercase(),
        [
            0x01, 0x20, // recursion desired, authentic data
            0, 1, 0, 0, 0, 0, 0, 1, // one question, one additional record
            2, b'a', b'b', 1, b'c', 0, 0, 15, 0, 1, // ab.c. MX IN
            0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0, // EDNS, 1232 octets
        ]
    );
}

#[test]
fn ids_and_letter_case_are_random_and_come_from_the_seed_alone() {
    let question = q("a-name-with-many-letters.example.org", RecordType::A);
    let config = ResolverConfig::of([server(1)]);
    let packet = |seed| {
        sent(
            &mut Lookup::new(question.clone(), &config, &Seed::from_number(seed)),
            at(0),
        )
        .2
    };
    assert_eq!(packet(1), packet(1));
    let ids: std::collections::BTreeSet<_> = (0..200).map(|n| packet(n)[..2].to_vec()).collect();
    assert!(ids.len() > 190);
    let upper = packet(1)[12..]
        .iter()
        .filter(|b| b.is_ascii_uppercase())
        .count();
    assert!((5..28).contains(&upper), "{upper}");
}

#[test]
fn a_known_response_with_compressed_names_is_read() {
    let mut lookup = lookup(&q("example.org", RecordType::Mx), &[LOCAL.parse().unwrap()]);
    let (server, _, query) = sent(&mut lookup, at(0));
    let mut packet = query[..2].to_vec();
    packet.extend([0x81, 0xa0, 0, 1, 0, 2, 0, 0, 0, 0]);
    packet.extend(&query[12..29]);
    packet.extend([
        0xc0, 12, 0, 15, 0, 1, 0, 0, 1, 0x2c, 0, 8, 0, 10, 3, b'M', b'x', b'1', 0xc0, 12,
    ]);
    packet.extend([
        0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 6, 0, 20, 1, b'b', 0xc0, 20,
    ]);
    lookup.datagram(at(0), server, &packet);
    let expected = vec![
        Record::Mx {
            preference: 10,
            exchange: Name::parse("mx1.example.org").unwrap(),
        },
        Record::Mx {
            preference: 20,
            exchange: Name::parse("b.org").unwrap(),
        },
    ];
    let answer = finished(&mut lookup, at(0));
    assert_eq!(answer, Answer::records(expected, 60).authentic());
    assert_eq!(finished(&mut lookup, at(9)), answer, "and it says so again");
}

#[test]
fn every_record_type_is_read() {
    let text = [&[3][..], b"v=s", &[2], b"\xff1", &[0]].concat();
    let cases = [
        (
            RecordType::A,
            1,
            vec![192, 0, 2, 1],
            Record::A("192.0.2.1".parse().unwrap()),
        ),
        (
            RecordType::Aaaa,
            28,
            [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1]].concat(),
            Record::Aaaa("2001:db8::1".parse().unwrap()),
        ),
        (
            RecordType::Txt,
            16,
            text,
            Record::Txt((&b"v=s\xff1"[..]).into()),
        ),
        (
            RecordType::Ptr,
            12,
            wire("h.x"),
            Record::Ptr(Name::parse("h.x").unwrap()),
        ),
        (
            RecordType::Ns,
            2,
            wire("h.x"),
            Record::Ns(Name::parse("h.x").unwrap()),
        ),
        (
            RecordType::Cname,
            5,
            wire(r"h\.\000.x"),
            Record::Cname(Name::parse(r"h\.\000.x").unwrap()),
        ),
        (
            RecordType::Tlsa,
            52,
            vec![3, 1, 1, 9, 8, 7],
            Record::Tlsa {
                usage: 3,
                selector: 1,
                matching: 1,
                data: vec![9, 8, 7].into(),
            },
        ),
        (
            RecordType::Mx,
            15,
            vec![0, 0, 0],
            Record::Mx {
                preference: 0,
                exchange: Name::root(),
            },
        ),
    ];
    for (kind, code, data, expected) in cases {
        let answer = answer_to(
            &q("x.example", kind),
            RESPONSE,
            [&[record(&QNAME, code, 9, &data)], &[], &[]],
        );
        assert_eq!(answer, Answer::records(vec![expected], 9), "{kind}");
        assert_eq!(kind.code(), code);
    }
    let answer = answer_to(
        &q("x", RecordType::Soa),
        RESPONSE,
        [&[soa(&QNAME, 9, 8)], &[], &[]],
    );
    let expected = Record::Soa {
        primary: Name::parse("ns.example").unwrap(),
        serial: 7,
        minimum: 8,
    };
    assert_eq!(answer.all(), [expected]);
}

#[test]
fn a_cname_chain_is_followed_in_any_order_and_its_end_is_told() {
    let records = [
        record(&wire("z.example"), 1, 300, &[192, 0, 2, 7]),
        record(&wire("y.example"), 5, 40, &wire("Z.example")),
        record(&QNAME, 5, 200, &wire("y.example")),
        record(&wire("other.example"), 1, 1, &[192, 0, 2, 66]),
    ];
    let answer = answer_to(
        &q("x.example", RecordType::A),
        RESPONSE | AD,
        [&records, &[], &[]],
    );
    let mut expected =
        Answer::records(vec![Record::A("192.0.2.7".parse().unwrap())], 40).authentic();
    expected.canonical = Some(Name::parse("z.example").unwrap());
    assert_eq!(answer, expected);

    // A loop, and a chain that is too long.
    let round = [
        record(&QNAME, 5, 9, &wire("y")),
        record(&wire("y"), 5, 9, &wire("x.example")),
    ];
    let answer = answer_to(&q("x.example", RecordType::A), RESPONSE, [&round, &[], &[]]);
    assert_eq!(answer.why(), Some(Failure::ServFail));
    for (length, expected) in [(CHAIN_MAX, None), (CHAIN_MAX + 1, Some(Failure::ServFail))] {
        let mut records: Vec<_> = (0..length)
            .map(|n| record(&wire(&format!("n{n}")), 5, 9, &wire(&format!("n{}", n + 1))))
            .collect();
        records.push(record(&wire(&format!("n{length}")), 1, 9, &[1, 2, 3, 4]));
        let answer = answer_to(&q("n0", RecordType::A), RESPONSE, [&records, &[], &[]]);
        assert_eq!(answer.why(), expected, "{length}");
    }
    // A chain into nothing.
    let dead = [record(&QNAME, 5, 9, &wire("gone"))];
    let answer = answer_to(
        &q("x", RecordType::A),
        RESPONSE | 3,
        [&dead, &[soa(&wire("."), 50, 60)], &[]],
    );
    assert_eq!((answer.why(), answer.ttl), (Some(Failure::NoDomain), 9));
}

#[test]
fn absences_are_remembered_as_long_as_the_soa_says() {
    let question = q("x.example", RecordType::Txt);
    for (flags, soa, failure, ttl) in [
        (
            RESPONSE | 3,
            Some(soa(&wire("example"), 600, 120)),
            Failure::NoDomain,
            120,
        ),
        (
            RESPONSE | 3,
            Some(soa(&wire("example"), 60, 120)),
            Failure::NoDomain,
            60,
        ),
        (
            RESPONSE,
            Some(soa(&wire("example"), 90_000, 90_000)),
            Failure::NoData,
            3_600,
        ),
        (RESPONSE, None, Failure::NoData, 0),
    ] {
        let authority: Vec<_> = soa.into_iter().collect();
        let answer = answer_to(&question, flags | AD, [&[], &authority, &[]]);
        assert_eq!(answer, Answer::failure(failure, ttl).authentic());
    }
}

#[test]
fn strange_ttls_long_texts_and_very_many_records_are_bounded() {
    let question = q("x", RecordType::Txt);
    let ttl = |ttl| {
        let text = record(&QNAME, 16, ttl, &[1, b'x']);
        answer_to(&question, RESPONSE, [&[text], &[], &[]]).ttl
    };
    assert_eq!([ttl(0x8000_0000), ttl(0x7fff_ffff), ttl(5)], [0, 86_400, 5]);
    // That there is a record, and that it is too long, must not look as if there were none.
    let long = |n: usize| {
        let text = [&[255][..], &[b'x'; 255]].concat().repeat(n);
        let records = [record(&QNAME, 16, 1, &text)];
        match answer_to(&question, RESPONSE, [&records, &[], &[]]).all() {
            [Record::Txt(text)] => text.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        [TXT_MAX / 255, TXT_MAX / 255 + 1, 250].map(long),
        [TXT_MAX / 255 * 255, TXT_MAX + 1, TXT_MAX + 1]
    );
    let many: Vec<_> = (0..2_000)
        .map(|_| record(&QNAME, 16, 1, &[1, b'x']))
        .collect();
    assert_eq!(
        answer_to(&question, RESPONSE, [&many, &[], &[]])
            .all()
            .len(),
        RECORDS_MAX
    );
}

#[test]
fn junk_is_passed_over_until_the_real_answer_comes() {
    let question = q("long-enough-name.example", RecordType::A);
    let mut lookup = lookup(&question, &[server(1)]);
    let (from, _, query) = sent(&mut lookup, at(0));
    let ours = [record(&QNAME, 1, 60, &[192, 0, 2, 1])];
    let forged = [record(&QNAME, 1, 60, &[6, 6, 6, 6])];
    let good = respond(&query, RESPONSE, [&ours, &[], &[]]);
    let evil = respond(&query, RESPONSE, [&forged, &[], &[]]);

    lookup.datagram(at(1), server(2), &evil);
    lookup.datagram(at(1), SocketAddr::new(from.ip(), 54), &evil);
    let mut other_id = evil.clone();
    other_id[0] ^= 1;
    lookup.datagram(at(1), from, &other_id);
    let mut other_name = evil.clone();
    other_name[14] = b'_';
    lookup.datagram(at(1), from, &other_name);
    let mut other_type = evil.clone();
    other_type[12 + 26 + 1] = 28;
    lookup.datagram(at(1), from, &other_type);
    // A query, not a response; a response to an update; half a packet; no packet.
    let mut query_bit = evil.clone();
    query_bit[2] &= 0x7f;
    lookup.datagram(at(1), from, &query_bit);
    let mut opcode = evil.clone();
    opcode[2] |= 5 << 3;
    lookup.datagram(at(1), from, &opcode);
    for cut in 0..evil.len() {
        lookup.datagram(at(1), from, &evil[..cut]);
    }
    lookup.tcp(at(1), &evil);
    assert_eq!(lookup.next(at(1)), Do::WaitUntil(at(5)));
    lookup.datagram(at(2), from, &good);
    assert_eq!(
        finished(&mut lookup, at(2)),
        Answer::records(vec![Record::A("192.0.2.1".parse().unwrap())], 60)
    );
    lookup.datagram(at(3), from, &evil);
    assert_eq!(
        finished(&mut lookup, at(3)).all(),
        [Record::A("192.0.2.1".parse().unwrap())]
    );
}

#[test]
fn an_answer_in_other_letters_or_cut_off_is_asked_for_again_over_tcp() {
    let question = q("long-enough-name.example", RecordType::A);
    let good = [record(&QNAME, 1, 60, &[192, 0, 2, 1])];
    for truncated in [true, false] {
        let mut lookup = lookup(&question, &[server(1)]);
        let (from, _, query) = sent(&mut lookup, at(0));
        let mut first = respond(
            &query,
            if truncated { RESPONSE | TC } else { RESPONSE },
            [&good, &[], &[]],
        );
        if !truncated {
            first[12..30].make_ascii_lowercase();
        }
        lookup.datagram(at(1), from, &first);
        let (to, tcp, query) = sent(&mut lookup, at(1));
        assert_eq!((to, tcp), (from, true));
        assert_eq!(
            lookup.next(at(2)),
            Do::WaitUntil(at(6)),
            "a new time for TCP"
        );
        lookup.datagram(at(2), from, &first);
        lookup.tcp(at(3), &respond(&query, RESPONSE, [&good, &[], &[]]));
        assert_eq!(finished(&mut lookup, at(3)).why(), None);
    }
}

#[test]
fn servers_are_asked_in_turn_until_the_attempts_are_over() {
    let mut lookup = lookup(&q("x", RecordType::A), &[server(1), server(2)]);
    // Silence, a refused connection, SERVFAIL, TCP that breaks.
    assert_eq!(sent(&mut lookup, at(0)).0, server(1));
    assert_eq!(lookup.next(at(4)), Do::WaitUntil(at(5)));
    assert_eq!(sent(&mut lookup, at(5)).0, server(2));
    lookup.failed(at(6));
    let (to, _, query) = sent(&mut lookup, at(6));
    assert_eq!(to, server(1));
    lookup.datagram(at(7), to, &respond(&query, RESPONSE | 2, [&[], &[], &[]]));
    let (to, _, query) = sent(&mut lookup, at(7));
    assert_eq!(to, server(2));
    lookup.datagram(at(7), to, &respond(&query, RESPONSE | TC, [&[], &[], &[]]));
    assert!(sent(&mut lookup, at(7)).1);
    lookup.tcp(at(8), b"nonsense");
    assert_eq!(
        finished(&mut lookup, at(8)),
        Answer::failure(Failure::ServFail, 5)
    );
    lookup.failed(at(9));
    assert_eq!(finished(&mut lookup, at(9)).why(), Some(Failure::ServFail));
}

#[test]
fn silence_everywhere_is_a_timeout_and_so_is_a_configuration_without_servers() {
    let mut silent = lookup(&q("x", RecordType::A), &[server(1)]);
    sent(&mut silent, at(0));
    sent(&mut silent, at(5));
    assert_eq!(
        finished(&mut silent, at(10)),
        Answer::failure(Failure::Timeout, 0)
    );
    let mut none = lookup(&q("x", RecordType::A), &[]);
    assert_eq!(finished(&mut none, at(0)).why(), Some(Failure::Timeout));
}

#[test]
fn a_server_without_edns_is_asked_again_without_it() {
    let mut lookup = lookup(&q("x", RecordType::A), &[server(1)]);
    let (from, _, query) = sent(&mut lookup, at(0));
    // Only the header, as old servers do.
    let bare = [&query[..2], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    lookup.datagram(at(0), from, &bare);
    let (to, tcp, plain) = sent(&mut lookup, at(0));
    assert_eq!((to, tcp, plain.len()), (from, false, query.len() - 11));
    let good = [record(&QNAME, 1, 60, &[192, 0, 2, 1])];
    lookup.datagram(at(0), from, &respond(&plain, RESPONSE, [&good, &[], &[]]));
    assert_eq!(finished(&mut lookup, at(0)).why(), None);
}

#[test]
fn failed_validation_is_told_apart_from_other_failures() {
    let mut lookup = lookup(&q("x", RecordType::A), &[server(1)]);
    for _ in 0..2 {
        let (from, _, query) = sent(&mut lookup, at(0));
        // SERVFAIL with the extended error 7, signature expired.
        let edns = [
            &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6][..],
            &[0, 15, 0, 2, 0, 7],
        ]
        .concat();
        lookup.datagram(
            at(0),
            from,
            &respond(&query, RESPONSE | 2, [&[], &[], &[edns]]),
        );
    }
    assert_eq!(finished(&mut lookup, at(0)).why(), Some(Failure::Bogus));
}

#[test]
fn authenticity_is_believed_from_loopback_or_when_configured() {
    let good = [record(&QNAME, 1, 60, &[192, 0, 2, 1])];
    for (server, trust_ad, authentic) in [
        (server(1), false, false),
        (server(1), true, true),
        (LOCAL.parse().unwrap(), false, true),
        ("[::1]:5353".parse().unwrap(), false, true),
    ] {
        let config = ResolverConfig {
            trust_ad,
            ..ResolverConfig::of([server])
        };
        let mut lookup = Lookup::new(q("x", RecordType::A), &config, &Seed::from_number(1));
        let (from, _, query) = sent(&mut lookup, at(0));
        lookup.datagram(
            at(0),
            from,
            &respond(&query, RESPONSE | AD, [&good, &[], &[]]),
        );
        assert_eq!(
            finished(&mut lookup, at(0)).authentic,
            authentic,
            "{server}"
        );
    }
}

#[test]
fn resolv_conf_is_read_as_the_c_library_does() {
    let config = ResolverConfig::parse_resolv_conf(
        "# a comment\n; another\nsearch example.org\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # x\n\
         nameserver fe80::1%2\nnameserver 192.0.2.4\nnameserver nonsense\noptions timeout:99 attempts:0 ndots:2 trust-ad\n",
    );
    let servers: Vec<String> = config.servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        servers,
        ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53"]
    );
    assert_eq!(
        (config.timeout, config.attempts, config.trust_ad),
        (Duration::from_secs(30), 1, true)
    );
    let empty = ResolverConfig::parse_resolv_conf("nameserver \noptions\n\0\u{ff}");
    assert_eq!(empty, ResolverConfig::default());
}

#[test]
fn the_cache_counts_ttls_down_and_stays_within_its_bounds() {
    let mut cache = Cache::new(CacheLimits {
        answers: 3,
        bytes: 100_000,
    });
    let answer = |ttl| Answer::failure(Failure::NoDomain, ttl);
    let key = |n: u32| q(&format!("n{n}"), RecordType::A);
    cache.put(&key(1), answer(100), at(0));
    assert_eq!(cache.get(&key(1), at(40)), Some(answer(60)));
    assert_eq!(cache.get(&key(1), at(100)), None);
    assert_eq!(cache.get(&q("n1", RecordType::Aaaa), at(0)), None);
    cache.put(&key(2), answer(0), at(0));
    assert_eq!(cache.get(&key(2), at(0)), None);
    // The fourth pushes out what expires first.
    for (n, ttl) in [(2, 50), (3, 70), (4, 90)] {
        cache.put(&key(n), answer(ttl), at(0));
    }
    let held = |cache: &Cache, now| {
        (1..6)
            .filter(|n| cache.get(&key(*n), now).is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(held(&cache, at(0)), [1, 3, 4]);
    // What has expired goes before anything is pushed out.
    cache.put(&key(5), answer(10), at(95));
    assert_eq!((held(&cache, at(95)), cache.len()), (vec![1, 5], 2));
    // A new answer replaces the old one; one without TTL makes it forgotten.
    cache.put(&key(1), answer(1_000), at(95));
    assert_eq!(cache.get(&key(1), at(95)), Some(answer(1_000)));
    cache.put(&key(1), answer(0), at(95));
    assert_eq!(held(&cache, at(95)), [5]);
    // Octets count as well.
    let big = || Answer::records(vec![Record::Txt(vec![0; 60_000].into())], 9);
    cache.put(&key(1), big(), at(96));
    cache.put(&key(2), big(), at(96));
    assert_eq!(held(&cache, at(96)), [2, 5]);
    cache.put(
        &key(3),
        Answer::records(vec![Record::Txt(vec![0; 200_000].into())], 9),
        at(96),
    );
    assert_eq!(held(&cache, at(96)), [2, 5], "too big for the whole cache");
}

proptest! {
    #[test]
    fn no_packet_whatever_breaks_a_lookup(
        tail in prop::collection::vec(any::<u8>(), 0..200),
        flips in prop::collection::vec((2..120usize, any::<u8>()), 0..8),
        from_good in any::<bool>(),
    ) {
        let mut lookup = lookup(&q("x.example", RecordType::A), &[server(1)]);
        let (from, _, query) = sent(&mut lookup, at(0));
        let records = [
            record(&QNAME, 5, 9, &wire("y.example")),
            record(&wire("y.example"), 1, 9, &[1, 2, 3, 4]),
            record(&wire("y.example"), 16, 9, &[1, b'x']),
        ];
        let mut packet = if from_good {
            respond(&query, RESPONSE, [&records, &[soa(&QNAME, 1, 1)], &[]])
        } else {
            [&query[..2], &tail].concat()
        };
        for (position, value) in flips {
            if let Some(octet) = packet.get_mut(position) {
                *octet = value;
            }
        }
        lookup.datagram(at(0), from, &packet);
        if let Do::SendTcp { .. } = lookup.next(at(0)) {
            lookup.tcp(at(0), &packet);
        }
        // Whatever it was, the lookup comes to its end.
        let mut secs = 0;
        while !matches!(lookup.next(at(secs)), Do::Finished(_)) {
            secs += 1;
            prop_assert!(secs < 100);
        }
    }
}
