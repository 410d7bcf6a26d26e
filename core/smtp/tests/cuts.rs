//! However a stream is cut, the same is said and done (R4); and it costs time linear in its length.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests"
)]

mod talk;

use bytes::BytesMut;
use mox_smtp::server::Mode;
use mox_smtp::wire::DotReader;
use proptest::prelude::*;
use std::time::{Duration, Instant};
use talk::{Store, config, server};

const WORDS: &[&str] = &[
    "EHLO c\r\n",
    "MAIL FROM:<a@b>\r\n",
    "RCPT TO:<a@b>\r\n",
    "RCPT TO:<a@b>\r\n",
    "RCPT TO:<a@b\r\n",
    "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n",
    "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n",
    "DATA\r\n",
    "DATA\r\nshort\r\n.\r\n",
    "DATA\r\n..a\r\nlonger than twenty octets\r\n.\r\n",
    "x\ny\r\n",
    "\0",
    "\r",
    "\n",
    ".\r\n",
    ".\n",
    "BDAT 4\r\nab\r\n",
    "BDAT 2\r\n\n.",
    "BDAT 3 LAST\r\nx\r\n",
    "BDAT 30\r\n012345678901234567890123456789",
    "BDAT 100\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "AUTH PLAIN AHVzZXIAZ29vZA==\r\n",
    "AUTH PLAIN\r\n",
    "FOO\r\n",
    "QUIT\r\n",
];

fn play(stream: &[u8], step: usize, eof: bool) -> (String, bool, Store) {
    let mut rules = config(Mode::Delivery);
    rules.max_size = 25;
    rules.mechanisms = vec!["PLAIN"];
    rules.auth_in_clear = true;
    rules.limits.recipients = 3;
    let mut talk = server(&rules);
    for piece in stream.chunks(step) {
        talk.feed(piece);
    }
    if eof {
        talk.eof();
    }
    let said = talk.said();
    (said, talk.closed, talk.world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_stream_means_the_same_however_it_is_cut(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..25),
        step in 1usize..20,
        eof in any::<bool>(),
    ) {
        let stream = ["EHLO c\r\n", &words.concat()].concat();
        let whole = play(stream.as_bytes(), stream.len(), eof);
        let cut = play(stream.as_bytes(), step, eof);
        prop_assert_eq!(whole.0, cut.0);
        prop_assert_eq!(whole.1, cut.1);
        prop_assert_eq!(whole.2.messages, cut.2.messages);
        prop_assert_eq!(whole.2.events, cut.2.events);
        prop_assert_eq!(whole.2.body, cut.2.body);
    }
}

/// How long a message of so many lines takes, fed in steps; and its longest and shortest piece.
fn time(line: &[u8], lines: usize, step: usize) -> (Duration, usize) {
    let mut rules = config(Mode::Delivery);
    rules.max_size = 100_000_000;
    let mut talk = server(&rules);
    talk.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    let body = line.repeat(lines);
    let start = Instant::now();
    for piece in body.chunks(step) {
        talk.feed(piece);
    }
    talk.feed(b".\r\n");
    let took = start.elapsed();
    assert!(talk.said().ends_with(" stored\r\n"));
    let pieces = &talk.world.pieces;
    let inner = &pieces[..pieces.len() - 1];
    assert!(
        inner.iter().all(|&n| n >= 4_096),
        "each piece is worth its ask"
    );
    (took, pieces.len())
}

#[test]
fn hostile_bodies_cost_linear_time_and_few_asks() {
    for (line, step) in [
        (&b"..\r\n"[..], 1),
        (b"..\r\n", 16_384),
        (b"\r\n", 1),
        (b"a", 1),
        (
            b"..xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
            65_536,
        ),
    ] {
        let text = if line == b"a" {
            [&line.repeat(998)[..], b"\r\n"].concat()
        } else {
            line.to_vec()
        };
        let lines = 1_000_000 / text.len();
        let (once, asks) = time(&text, lines, step);
        let (four, _) = time(&text, 4 * lines, step);
        assert!(asks <= 1_000_000 / 4_096 + 1, "{asks}");
        // Quadratic would be 16; the clock is not ours alone.
        assert!(
            four < once * 12 + Duration::from_millis(50),
            "{line:?}: {once:?}, {four:?}"
        );
    }
}

#[test]
#[ignore = "prints figures"]
fn throughput_of_the_framing() {
    let long = [&b"x".repeat(76)[..], b"\r\n"].concat();
    for (name, line) in [("lines of 78", &long[..]), ("`..` lines", b"..\r\n")] {
        let body = line.repeat(16_384 / line.len());
        let (rounds, mut took) = (2_000, Duration::ZERO);
        let mut reader = DotReader::default();
        let mut input = BytesMut::with_capacity(65_536);
        for _ in 0..rounds {
            input.extend_from_slice(&body);
            let start = Instant::now();
            let piece = reader.take(&mut input, 1 << 20);
            took += start.elapsed();
            assert!(piece.body.len() > 4_096);
        }
        let bytes = (rounds * body.len()) as f64;
        println!("{name}: {:.0} MB/s", bytes / 1e6 / took.as_secs_f64());
    }
}
