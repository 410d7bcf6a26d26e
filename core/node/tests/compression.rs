//! COMPRESS=DEFLATE, as a client sees it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]
#![expect(clippy::disallowed_types, reason = "the other side of a socket")]

mod world;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use futures_lite::future::block_on;
use mox_machine::Seed;
use mox_node::{Offers, Service};
use mox_sasl::{Credentials, Iterations};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use world::{Client, Server, World};

fn server(compress: bool) -> Server {
    let mut world = World::new(0);
    world.offers = Offers {
        imap_compress: compress,
        ..Offers::default()
    };
    let server = world.start();
    let user = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
    let row = mox_server::encode_credentials(&user);
    block_on(server.node.set_credentials("mox", row)).unwrap();
    server
}

fn logged_in(server: &Server) -> (Client, String) {
    let mut client = server.connect(Service::Imap);
    client.line();
    client.send("l LOGIN mox@localhost secret\r\n");
    let line = client.line();
    (client, line)
}

/// A client whose stream is compressed.
struct Squeezed {
    into: DeflateEncoder<TcpStream>,
    from: BufReader<DeflateDecoder<TcpStream>>,
}

impl Squeezed {
    fn begin(mut client: Client) -> Self {
        client.send("c COMPRESS DEFLATE\r\n");
        assert_eq!(client.line(), "c OK COMPRESS completed");
        let stream = client.into_stream();
        Self {
            into: DeflateEncoder::new(stream.try_clone().unwrap(), Compression::default()),
            // A decoder asks for more before it gives out all it has, so there is always room for all.
            from: BufReader::with_capacity(1024 * 1024, DeflateDecoder::new(stream)),
        }
    }

    fn send(&mut self, text: &[u8]) {
        self.into.write_all(text).unwrap();
        self.into.flush().unwrap();
    }

    /// Lines up to the tagged one.
    fn answer(&mut self, tag: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.from.read_line(&mut line).unwrap(), 0, "{lines:?}");
            lines.push(line.trim_end().to_owned());
            if line.starts_with(tag) {
                return lines;
            }
        }
    }
}

#[test]
fn a_compressed_session_reads_and_writes_like_any_other() {
    let server = server(true);
    let (client, login) = logged_in(&server);
    assert!(login.contains(" COMPRESS=DEFLATE]"), "{login}");
    let mut client = Squeezed::begin(client);
    client.send(b"d COMPRESS DEFLATE\r\n");
    let active = "d NO [COMPRESSIONACTIVE] it is compressed already";
    assert_eq!(client.answer("d "), [active]);
    let text = format!(
        "Subject: long\r\n\r\n{}",
        "the same again\r\n".repeat(20_000)
    );
    client.send(format!("e APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()).as_bytes());
    let appended = client.answer("e ");
    assert!(
        appended.last().unwrap().starts_with("e OK [APPENDUID "),
        "{appended:?}"
    );
    client.send(b"f SELECT INBOX\r\ng FETCH 1 (RFC822.SIZE BODY.PEEK[])\r\n");
    client.answer("f ");
    let mut head = String::new();
    client.from.read_line(&mut head).unwrap();
    let size = text.len();
    assert_eq!(
        head,
        format!("* 1 FETCH (RFC822.SIZE {size} BODY[] {{{size}}}\r\n")
    );
    let mut body = vec![0; size];
    client.from.read_exact(&mut body).unwrap();
    assert_eq!(body, text.as_bytes());
    assert_eq!(client.answer("g "), [")", "g OK FETCH completed"]);
    client.send(b"h LOGOUT\r\n");
    assert_eq!(
        client.answer("h "),
        ["* BYE logging out", "h OK LOGOUT completed"]
    );
    // 320,000 octets both ways.
    let decoder = client.from.get_ref();
    assert!(decoder.total_in() < 20_000 && client.into.total_out() < 20_000);
    server.stop();
}

#[test]
fn who_has_no_room_left_goes_on_without_compression() {
    let server = server(true);
    let places = mox_node::COMPRESSION_MAX / (400 * 1024);
    let mut squeezed: Vec<Squeezed> = Vec::new();
    for _ in 0..places {
        squeezed.push(Squeezed::begin(logged_in(&server).0));
    }
    let (mut late, _) = logged_in(&server);
    late.send("c COMPRESS DEFLATE\r\nd NOOP\r\n");
    // Sent ahead of the answer it is refused in any case.
    assert_eq!(late.line(), "c BAD data after COMPRESS");
    assert_eq!(late.line(), "d OK NOOP completed");
    late.send("e COMPRESS DEFLATE\r\n");
    assert_eq!(late.line(), "e NO [LIMIT] too many streams are compressed");
    let mut left = squeezed.pop().unwrap();
    left.send(b"z LOGOUT\r\n");
    left.answer("z ");
    world::wait_for("a place", || {
        late.send("f COMPRESS DEFLATE\r\n");
        late.line() == "f OK COMPRESS completed"
    });
    server.stop();
}

#[test]
fn a_bomb_ends_its_session_and_no_other() {
    let server = server(true);
    let (mut other, _) = logged_in(&server);
    let mut client = Squeezed::begin(logged_in(&server).0);
    // An APPEND that the size limit would allow.
    client.send(b"a APPEND INBOX {90000000+}\r\n");
    let zeros = vec![b' '; 1024 * 1024];
    let mut sent = 0;
    for _ in 0..90 {
        if client
            .into
            .write_all(&zeros)
            .and_then(|()| client.into.flush())
            .is_err()
        {
            break;
        }
        sent += 1;
    }
    let mut rest = String::new();
    // It is ended, and does not hang: reading would be for 60 seconds then.
    match client.from.read_to_string(&mut rest) {
        Ok(_) => assert_eq!(rest, ""),
        Err(error) => assert!(
            !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        ),
    }
    assert!(sent < 90, "{sent}");
    other.send("b STATUS INBOX (MESSAGES)\r\n");
    assert_eq!(other.line(), "* STATUS INBOX (MESSAGES 0)");
    server.stop();
}

#[test]
fn it_is_neither_offered_nor_done_unless_configured() {
    let server = server(false);
    let (mut client, login) = logged_in(&server);
    assert!(!login.contains("COMPRESS"), "{login}");
    client.send("c COMPRESS DEFLATE\r\n");
    assert_eq!(client.line(), "c BAD there is no such command");
    server.stop();
}
