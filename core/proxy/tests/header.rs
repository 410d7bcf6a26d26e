//! Headers of the PROXY protocol: what real proxies send, what is none, and any cut of them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use core::net::SocketAddr;
use mox_proxy::{HEADER_MAX, Malformed, Parsed, START, Source, parse};
use proptest::prelude::*;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header with this command, family and rest.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

/// What a proxy writes of a client, with something behind the addresses.
fn of(client: SocketAddr, behind: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    let family = match client.ip() {
        std::net::IpAddr::V4(ip) => {
            rest.extend(ip.octets());
            rest.extend([192, 0, 2, 1]);
            0x11
        }
        std::net::IpAddr::V6(ip) => {
            rest.extend(ip.octets());
            rest.extend([0; 16]);
            0x21
        }
    };
    rest.extend(client.port().to_be_bytes());
    rest.extend(25u16.to_be_bytes());
    rest.extend(behind);
    header(0x21, family, &rest)
}

#[test]
fn the_client_of_a_proxy_is_known_by_either_family_and_whatever_stands_behind_it() {
    for client in ["198.51.100.7:40000", "[2001:db8::7]:40000"] {
        let client: SocketAddr = client.parse().unwrap();
        for behind in [&b""[..], b"\x04\x00\x01x", &[0xff; 300]] {
            assert_eq!(
                parse(&of(client, behind)),
                Parsed::Header(Source::Client(client))
            );
        }
    }
    // An IPv4 address in that of IPv6 is one of IPv4: limiters and SPF count them as the same.
    let mapped = "[::ffff:198.51.100.7]:1".parse().unwrap();
    let plain = "198.51.100.7:1".parse().unwrap();
    assert_eq!(
        parse(&of(mapped, b"")),
        Parsed::Header(Source::Client(plain))
    );
}

#[test]
fn a_proxy_may_speak_for_itself_whatever_it_says_of_addresses() {
    for (family, rest) in [
        (0x00, &b""[..]),
        (0x11, &[1; 12]),
        (0x31, &[0; 216]),
        (0xff, b"x"),
    ] {
        assert_eq!(
            parse(&header(0x20, family, rest)),
            Parsed::Header(Source::Proxy)
        );
    }
}

#[test]
fn what_is_no_header_or_tells_no_client_is_malformed() {
    let all = [
        (
            b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 25\r\n".to_vec(),
            Malformed::Signature,
        ),
        (b"EHLO x\r\n".to_vec(), Malformed::Signature),
        (header(0x11, 0x11, &[0; 12]), Malformed::Version),
        (header(0x31, 0x11, &[0; 12]), Malformed::Version),
        (header(0x22, 0x11, &[0; 12]), Malformed::Command),
        // UNSPEC, datagrams, UNIX.
        (header(0x21, 0x00, b""), Malformed::Family),
        (header(0x21, 0x12, &[0; 12]), Malformed::Family),
        (header(0x21, 0x22, &[0; 36]), Malformed::Family),
        (header(0x21, 0x31, &[0; 216]), Malformed::Family),
        (header(0x21, 0x11, &[0; 11]), Malformed::Short),
        (header(0x21, 0x21, &[0; 35]), Malformed::Short),
        (
            header(0x20, 0x00, &[0; HEADER_MAX - START + 1]),
            Malformed::Long,
        ),
        (
            [header(0x20, 0x00, b""), b"E".to_vec()].concat(),
            Malformed::Trailing,
        ),
    ];
    for (octets, why) in all {
        assert_eq!(parse(&octets), Parsed::Malformed(why), "{octets:?}");
    }
    assert_eq!(
        parse(&header(0x20, 0x00, &[0; HEADER_MAX - START])),
        Parsed::Header(Source::Proxy)
    );
}

proptest! {
    /// Whoever reads as many octets as he is told reads the header, and nothing behind it.
    #[test]
    fn at_every_cut_it_is_told_how_much_is_missing(
        v4 in any::<bool>(), a in any::<u128>(), port in any::<u16>(), behind in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let ip = match v4 {
            true => core::net::Ipv4Addr::from_bits((a >> 96) as u32).into(),
            false => core::net::IpAddr::from(core::net::Ipv6Addr::from_bits(a)).to_canonical(),
        };
        let client = SocketAddr::new(ip, port);
        let whole = of(client, &behind);
        for cut in 0..whole.len() {
            let Parsed::Incomplete { more } = parse(&whole[..cut]) else {
                panic!("a header that is cut at {cut} is {:?}", parse(&whole[..cut]));
            };
            prop_assert!(more > 0 && cut + more <= whole.len());
        }
        prop_assert_eq!(parse(&whole), Parsed::Header(Source::Client(client)));
    }

    /// What was malformed stays so, whatever follows; reading ends.
    #[test]
    fn any_octets_come_to_an_end(octets in proptest::collection::vec(any::<u8>(), 0..64), like in 0usize..17) {
        let mut octets = octets;
        for (at, octet) in octets.iter_mut().enumerate().take(like) {
            *octet = *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".get(at).unwrap_or(octet);
        }
        let mut was = None;
        for cut in 0..=octets.len() {
            let now = parse(&octets[..cut]);
            if let Some(Parsed::Malformed(why)) = was {
                prop_assert_eq!(now, Parsed::Malformed(why));
            }
            if let Parsed::Incomplete { more } = now {
                prop_assert!(more > 0 && cut + more <= HEADER_MAX);
            }
            was = Some(now);
        }
    }
}
