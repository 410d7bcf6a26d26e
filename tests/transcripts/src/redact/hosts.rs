//! Names and addresses of hosts. Addresses become others of the same length: ones that are set aside for documentation
//! (RFC 5737, RFC 9637), where there are any so long.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::names::is_host;
use super::{Class, Span};

/// Ends of names that mean something in one network only.
const PRIVATE: [&str; 12] = [
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "private",
    "router",
    "workgroup",
];

/// A domain or an address literal that begins at `start`: names stay.
pub(super) fn spans(start: usize, text: &[u8]) -> Vec<Span> {
    if let Some((range, ip)) = address(text) {
        let range = start + range.start..start + range.end;
        return match is_nobodys(ip) {
            true => Vec::new(),
            false => vec![(range, Class::Network)],
        };
    }
    match text.is_empty() || is_host(text) {
        true => Vec::new(),
        false => vec![(start..start + text.len(), Class::Words)],
    }
}

/// What a client calls itself: a name that is none in the DNS is what somebody calls their computer.
pub(super) fn hello(start: usize, text: &[u8]) -> Vec<Span> {
    let found = spans(start, text);
    let is_name = found.is_empty() && address(text).is_none() && is_host(text);
    let lower = text.to_ascii_lowercase();
    if !is_name || matches!(&lower[..], b"localhost" | b"localhost.localdomain") {
        return found;
    }
    let private = PRIVATE.iter().find_map(|end| {
        let name = lower.strip_suffix(end.as_bytes())?;
        name.strip_suffix(b".").map(<[u8]>::len)
    });
    let alone = (!text.contains(&b'.')).then_some(text.len());
    match private.or(alone) {
        Some(length) => vec![(start..start + length, Class::Local)],
        None => found,
    }
}

/// Where the address is in `[192.0.2.1]`, `[IPv6:2001:db8::1]` or `192.0.2.1`.
pub(super) fn address(text: &[u8]) -> Option<(Range<usize>, IpAddr)> {
    const TAG: &[u8] = b"IPv6:";
    let (mut start, mut end) = (0, text.len());
    if let [b'[', inner @ .., b']'] = text {
        (start, end) = (1, end - 1);
        if inner
            .get(..TAG.len())
            .is_some_and(|tag| tag.eq_ignore_ascii_case(TAG))
        {
            start += TAG.len();
        }
    }
    let octets = text.get(start..end)?;
    let ip = str::from_utf8(octets).ok()?.parse().ok()?;
    Some((start..end, ip))
}

/// It says nothing about anybody: the computer itself, or set aside already.
fn is_nobodys(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_documentation(),
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            let is_documentation = (a, b) == (0x2001, 0xdb8) || (a == 0x3fff && b < 0x1000);
            ip.is_loopback() || ip.is_unspecified() || is_documentation
        }
    }
}

/// Another address as long as this one, chosen by `random`; `None` when no text that long is an address.
pub(super) fn other(text: &str, random: impl FnMut() -> u8) -> Option<String> {
    let other = match text.contains(':') {
        false => v4(text.len(), random),
        true => v6(text.len(), random),
    }?;
    // Whatever comes of it is an address as the other was.
    let same_kind = match text.contains(':') {
        false => other.parse::<Ipv4Addr>().is_ok(),
        true => other.parse::<Ipv6Addr>().is_ok(),
    };
    (same_kind && other.len() == text.len()).then_some(other)
}

fn v4(length: usize, mut random: impl FnMut() -> u8) -> Option<String> {
    let random = random();
    let (one, two, three) = (random % 10, 10 + random % 90, 100 + random % 155);
    Some(match length {
        9 => format!("192.0.2.{one}"),
        10 => format!("192.0.2.{two}"),
        11 => format!("192.0.2.{three}"),
        12 => format!("203.0.113.{two}"),
        13 => format!("203.0.113.{three}"),
        14 => format!("198.51.100.{three}"),
        // None that long is set aside for documentation.
        7 => "0.0.0.0".into(),
        8 => format!("10.0.0.{one}"),
        15 => format!("192.168.100.{three}"),
        _ => return None,
    })
}

fn v6(length: usize, mut random: impl FnMut() -> u8) -> Option<String> {
    let mut digits = |count: usize| -> String {
        (0..count)
            .map(|_| char::from_digit(1 + u32::from(random() % 15), 16).unwrap_or('1'))
            .collect()
    };
    // So many groups of four digits at most, as equal as they can be.
    let mut groups = |count: usize, total: usize| -> Vec<String> {
        let (each, longer) = (total / count, total % count);
        (0..count)
            .map(|place| digits(each + usize::from(place < longer)))
            .collect()
    };
    Some(match length {
        2 => "::".into(),
        // None that short is set aside for documentation.
        3..=5 => format!("::{}", groups(1, length - 2).concat()),
        6 => "3fff::".into(),
        7..=30 => {
            let rest = length - 6;
            let count = (rest + 1).div_ceil(5);
            format!("3fff::{}", groups(count, rest + 1 - count).join(":"))
        }
        31..=39 => {
            let groups = groups(7, length - 11).join(":");
            // 3fff::/20
            let rest = groups.get(1..).unwrap_or_default();
            format!("3fff:0{rest}")
        }
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_one_of_documentation_of_the_same_length() {
        let mut seed = 7u8;
        let mut random = || {
            seed = seed.wrapping_mul(29).wrapping_add(17);
            seed
        };
        for text in [
            "10.1.2.33",
            "10.11.2.33",
            "10.11.22.33",
            "100.11.22.33",
            "192.168.1.155",
            "192.168.11.155",
            "fd00::",
            "fe80::1",
            "fe80::abcd",
            "2a00:1450:4001::8",
            "2a00:1450:4001:812::200e",
            "2a00:1450:4001:812:1:2:3:200e",
            "2a00:1450:4001:0812:0001:0002:0003:200",
            "2a00:1450:4001:0812:0001:0002:0003:200e",
        ] {
            let ip: IpAddr = text.parse().unwrap();
            assert!(!is_nobodys(ip), "{text}");
            for _ in 0..300 {
                let other = other(text, &mut random).unwrap();
                let ip: IpAddr = other.parse().unwrap();
                assert!(
                    is_nobodys(ip) && other.len() == text.len(),
                    "{text} {other}"
                );
            }
        }
        // These are of nobody's network, if not of documentation.
        for text in ["8.8.8.8", "10.1.2.3", "192.168.121.155", "1::", "fd::1"] {
            let other = other(text, &mut random).unwrap();
            assert!(other.len() == text.len() && other != text, "{text} {other}");
        }
        for length in 2..=39 {
            let text = v6(length, &mut random).unwrap();
            assert_eq!(text.len(), length);
            assert!(text.parse::<Ipv6Addr>().is_ok(), "{text}");
        }
    }

    #[test]
    fn of_hosts_only_addresses_and_what_people_call_their_computers_is_private() {
        let of = |text: &str| -> Vec<(String, Class)> {
            let found = hello(3, text.as_bytes()).into_iter();
            found
                .map(|(range, class)| (text[range.start - 3..range.end - 3].to_owned(), class))
                .collect()
        };
        use Class::{Local, Network, Words};
        for (text, found, class) in [
            ("[192.168.1.5]", "192.168.1.5", Network),
            ("192.168.1.5", "192.168.1.5", Network),
            ("[ipv6:fe80::1]", "fe80::1", Network),
            ("[fe80::1]", "fe80::1", Network),
            ("anns-phone", "anns-phone", Local),
            ("Anns-Phone.local", "Anns-Phone", Local),
            ("pc.ann.HOME.arpa", "pc.ann", Local),
            ("I am ann", "I am ann", Words),
        ] {
            assert_eq!(of(text), [(found.to_owned(), class)], "{text}");
        }
        for text in [
            "mx.example.org",
            "localhost",
            "[127.0.0.1]",
            "[IPv6:::1]",
            "[203.0.113.9]",
            "[IPv6:2001:db8::5]",
            "",
        ] {
            assert_eq!(of(text), [], "{text}");
        }
        assert_eq!(spans(0, b"anns-phone"), []);
    }
}
