//! Messages, header fields, encodings.

use mox_mime::{
    Date, Inside, Limits, Part, Structure, TransferDecoder, Walker, addresses, basic_charset,
    decode_words, header as fields, parts,
};

use crate::source::{Source, cut};

pub const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"Content-Type: ",
    b"multipart/mixed",
    b"multipart/digest",
    b"; boundary=b",
    b"; boundary=\"b c\"",
    b"--b\r\n",
    b"--b--\r\n",
    b"--b c\r\n",
    b"message/rfc822",
    b"text/plain; charset=utf-8",
    b"Content-Transfer-Encoding: base64\r\n",
    b"quoted-printable",
    b"Subject: ",
    b"=?utf-8?q?a=20b?=",
    b"=?utf-8?b?w6k=?=",
    b"=?x?",
    b" ",
    b"\t",
    b"From: ",
    b"To: ",
    b"a@b.example",
    b"<",
    b">",
    b"\"",
    b"\\",
    b"(",
    b")",
    b",",
    b";",
    b":",
    b"group: ",
    b"=",
    b"Date: ",
    b"Fri, 2 Jan 2026 03:04:05 +0000",
    b"; filename*0*=utf-8''a%20b",
    b"; filename*1=c",
    b"\0",
    b"\xff",
    b"Content-Disposition: attachment",
    b"word",
    b"Content-ID: <x@y>",
];

fn walk(pieces: &[&[u8]], limits: Limits) -> Structure {
    let mut walker = Walker::new(limits);
    pieces.iter().for_each(|piece| walker.push(piece));
    walker.finish()
}

/// A message has the same structure however it is cut, and every part lies inside its parent.
pub fn structure(data: &[u8]) {
    let mut source = Source::new(data);
    let mut limits = Limits::default();
    if source.one_in(2) {
        (limits.depth, limits.parts, limits.value) = (3, 6, 40);
        (limits.header, limits.fields, limits.kept) = (200, 8, 2_000);
    }
    let message = source.input(WORDS);
    let whole = walk(&[&message], limits);
    assert_eq!(walk(&cut(&message, &mut source), limits), whole);
    // What is a message itself, or a multipart without parts, still has its one part.
    assert!(parts(&whole.part).count() <= limits.parts + limits.depth + 1);
    inside(&whole.part, 0, message.len() as u64);
}

fn inside(part: &Part, from: u64, to: u64) {
    assert!(
        from <= part.header && part.header <= part.body && part.body <= part.end && part.end <= to,
        "{part:?}"
    );
    match &part.inside {
        Inside::Leaf => {}
        Inside::Multipart(children) => {
            let mut from = part.body;
            for child in children {
                inside(child, from, part.end);
                from = child.end;
            }
        }
        Inside::Message(message) => inside(&message.1, part.body, part.end),
    }
}

/// Header fields, words, addresses and dates of any text.
pub fn header(data: &[u8]) {
    let mut source = Source::new(data);
    let block = source.input(WORDS);
    let charsets = &|charset: &str, octets: &[u8]| basic_charset(charset, octets);
    for field in fields::split(&block) {
        let plain = fields::unfold(field.value);
        assert_eq!(fields::unfold(&plain), plain, "unfolded is unfolded");
        let _ = decode_words(field.value, charsets);
        let found = addresses(field.value, 10);
        assert!(found.len() <= 10);
        if let Some(date) = Date::parse(field.value) {
            let _ = date.unix();
        }
    }
    let end = fields::len(&block);
    assert!(end <= block.len());
    let _ = decode_words(&block, charsets);
    let _ = addresses(&block, 100);
    let _ = Date::parse(&block);
}

/// Encodings are undone in the same way however they are cut, and never give more than they get.
pub fn decoders(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"=", b"=20", b"=\r\n", b"AAAA", b"w6k=", b"==", b"\r\n", b" ", b"a", b"=3", b"=C3=A9",
        b"\t\r\n", b"-",
    ];
    let mut source = Source::new(data);
    let text = source.input(WORDS);
    let pieces = cut(&text, &mut source);
    for encoding in ["base64", "quoted-printable", "7bit"] {
        let decode = |pieces: &[&[u8]]| {
            let mut decoder = TransferDecoder::new(encoding.as_bytes()).unwrap();
            let mut decoded = Vec::new();
            pieces
                .iter()
                .for_each(|piece| decoder.push(piece, &mut decoded));
            decoder.finish(&mut decoded);
            decoded
        };
        let whole = decode(&[&text]);
        assert!(whole.len() <= text.len(), "{encoding}");
        assert_eq!(decode(&pieces), whole, "{encoding}");
    }
}
