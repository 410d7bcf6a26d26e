//! The header that a proxy sends before what its client says.

use mox_proxy::{HEADER_MAX, Parsed, Source as Speaker, parse};

use crate::source::Source;

const WORDS: &[&[u8]] = &[
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x20",
    b"\x21",
    b"\x11",
    b"\x00",
    b"\x00\x0c",
    b"\x00\x24",
    b"\x0f\xf0",
    b"\xc6\x33\x64\x07\xc0\x00\x02\x01\x9c\x40\x00\x19",
    b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07",
    b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x07",
    b"\x04\x00\x01x",
    b"PROXY TCP4 ",
];

/// Whoever reads as many octets as he is told comes to an end, within the limit, and has read nothing of what the client says; what
/// was wrong once stays so, and a client is never one of IPv4 in the dress of IPv6.
pub fn header(data: &[u8]) {
    let input = Source::new(data).input(WORDS);
    let (mut read, mut asked) = (0, 0);
    let end = loop {
        match parse(&input[..read]) {
            Parsed::Incomplete { more } => {
                assert!(more > 0 && read + more <= HEADER_MAX);
                asked += 1;
                if read + more > input.len() {
                    break None;
                }
                read += more;
            }
            end => break Some(end),
        }
    };
    // The start, then the rest: no client can have somebody read it octet by octet.
    assert!(asked <= 2, "it was asked for {asked} times");
    match end {
        None => {}
        Some(Parsed::Malformed(why)) => {
            for longer in read..=input.len() {
                assert_eq!(parse(&input[..longer]), Parsed::Malformed(why));
            }
        }
        Some(Parsed::Header(speaker)) => {
            if let Speaker::Client(client) = speaker {
                assert_eq!(client.ip(), client.ip().to_canonical());
            }
            for shorter in 0..read {
                let parsed = parse(&input[..shorter]);
                assert!(matches!(parsed, Parsed::Incomplete { .. }), "{parsed:?}");
            }
            if read < input.len() {
                assert!(matches!(parse(&input[..=read]), Parsed::Malformed(_)));
            }
        }
        Some(Parsed::Incomplete { .. }) => unreachable!("the loop goes on"),
    }
}
