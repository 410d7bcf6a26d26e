//! Header blocks, values and transfer encodings.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_mime::{
    Base64Decoder, Date, Limits, Mailbox, QuotedPrintableDecoder, TransferDecoder, addresses,
    basic_charset, decode_params, decode_words, envelope, header,
};
use proptest::prelude::*;

const BLOCK: &[u8] =
    b"From someone\r\nReceived: a\r\n\tb\r\nSubject : x\nRECEIVED:c\r\n\r\nbody: no\r\n";

#[test]
fn a_block_is_its_fields_and_the_blank_line() {
    let all: Vec<_> = header::split(BLOCK).collect();
    let names: Vec<&[u8]> = all.iter().map(|f| f.name).collect();
    assert_eq!(names, [&b""[..], b"Received", b"Subject", b"RECEIVED"]);
    let raw: Vec<u8> = all.iter().flat_map(|f| f.raw).copied().collect();
    assert_eq!(raw, &BLOCK[..header::len(BLOCK) - 2]);
    for field in all {
        assert!(BLOCK[field.start..].starts_with(field.raw));
    }
    assert_eq!(header::find(BLOCK, b"received"), Some(&b" a\r\n\tb"[..]));
    assert_eq!(header::find_all(BLOCK, b"Received").count(), 2);
    assert_eq!(header::find(BLOCK, b"body"), None);
    assert_eq!(header::find(BLOCK, b""), None);
    assert_eq!(header::unfold(b" a\r\n\tb \0"), "a\tb \u{fffd}".as_bytes());
    assert_eq!(header::len(b"a: b\n\nx"), 6);
    assert_eq!(header::len(b"a: b"), 4);
    assert_eq!(header::len(b"\r\nx"), 2);
    assert_eq!(header::len(b""), 0);
}

#[test]
fn header_fields_and_header_fields_not_share_a_block_between_them() {
    assert_eq!(
        header::fields(BLOCK, &["RECEIVED"], false),
        b"Received: a\r\n\tb\r\nRECEIVED:c\r\n\r\n"
    );
    assert_eq!(
        header::fields(BLOCK, &["received"], true),
        b"From someone\r\nSubject : x\n\r\n"
    );
    assert_eq!(header::fields(BLOCK, &["x"], false), b"\r\n");
    assert_eq!(
        header::fields(b"A: b\nC: d\n\n", &["a"], false),
        b"A: b\n\n"
    );
    assert_eq!(header::fields(b"A: b", &["a"], false), b"A: b\r\n\r\n");
    assert_eq!(header::fields(b"", &["a"], true), b"\r\n");
}

fn mailbox(name: &str, local: &str, host: &str) -> Mailbox {
    let some = |t: &str| Some(t.as_bytes().to_vec());
    Mailbox {
        name: some(name).filter(|n| !n.is_empty()),
        route: None,
        local: some(local),
        host: some(host),
    }
}

fn group(name: &str) -> Mailbox {
    Mailbox {
        local: Some(name.as_bytes().to_vec()),
        ..Mailbox::default()
    }
}

#[test]
fn addresses_are_read_as_rfc_5322_writes_them() {
    let read = |text: &str| addresses(text.as_bytes(), 100);
    assert_eq!(
        read("Joe Q. Public <john.q.public@example.com>, Mary Smith <@machine.tld:mary@example.net>, jdoe@test   .example")
            .iter()
            .map(|m| String::from_utf8_lossy(m.host.as_ref().unwrap()).into_owned())
            .collect::<Vec<_>>(),
        ["example.com", "example.net", "test.example"]
    );
    assert_eq!(
        read("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>"),
        [mailbox("Pete", "pete", "silly.test")]
    );
    assert_eq!(
        read(
            "A Group(Some people)\r\n :Chris Jones <c@public.example>,\r\n joe@where.test (John); (the end), x@y"
        ),
        [
            group("A Group"),
            mailbox("Chris Jones", "c", "public.example"),
            mailbox("John", "joe", "where.test"),
            Mailbox::default(),
            mailbox("the end", "", ""),
            mailbox("", "x", "y"),
        ]
    );
    assert_eq!(
        read("Undisclosed recipients:;"),
        [group("Undisclosed recipients"), Mailbox::default()]
    );
    assert_eq!(
        read("open: a@b"),
        [group("open"), mailbox("", "a", "b"), Mailbox::default()]
    );
    assert_eq!(
        read("\"a b\" . c @ [192.0.2.1]"),
        [mailbox("", "a b.c", "[192.0.2.1]")]
    );
    assert_eq!(read(" , ,"), []);
    assert_eq!(read(""), []);
}

#[test]
fn addresses_nobody_should_write_are_read_all_the_same() {
    let read = |text: &str| addresses(text.as_bytes(), 100);
    assert_eq!(
        read("a@b <a@b>, c@d"),
        [mailbox("a@b", "a", "b"), mailbox("", "c", "d")]
    );
    // Each takes those before it for a name; that is said once, at the end.
    let brackets = "<".repeat(1 << 20);
    assert_eq!(read(&brackets), [mailbox(&brackets[1..], "", "")]);
    // An entry of more words than there may be cannot be read; those behind it can.
    let words = "\"a\" ".repeat(3_000);
    for entry in [format!("{words}@d"), format!("<{words}@d>")] {
        let read = read(&format!("{entry}, c@d"));
        assert_eq!(read, [mailbox("", "", ""), mailbox("", "c", "d")]);
    }
    assert_eq!(
        read("John Doe john@doe.test"),
        [mailbox("John Doe", "john", "doe.test")]
    );
    assert_eq!(
        read("a@b; c@d"),
        [mailbox("", "a", "b"), mailbox("", "c", "d")]
    );
    assert_eq!(
        read("=?utf-8?Q?Doe,_J=C3=A4ne?= <j@d>"),
        [mailbox("=?utf-8?Q?Doe,_J=C3=A4ne?=", "j", "d")]
    );
    assert_eq!(read("Jürgen <j@d>"), [mailbox("Jürgen", "j", "d")]);
    assert_eq!(
        read("x <a@b, y <c@d>"),
        [mailbox("x", "a", "b"), mailbox("y", "c", "d")]
    );
    assert_eq!(read("<a@b"), [mailbox("", "a", "b")]);
    assert_eq!(read("someone"), [mailbox("", "someone", "")]);
    assert_eq!(read("<>"), [mailbox("", "", "")]);
    assert_eq!(
        addresses(b"g: a@b, c@d;", 2),
        [group("g"), Mailbox::default()]
    );
    assert_eq!(
        addresses(b"a@b, g: c@d;", 2),
        [mailbox("", "a", "b"), mailbox("g", "c", "d")]
    );
}

#[test]
fn an_envelope_fills_sender_and_reply_to_from_from() {
    let found = envelope(
        b"FROM: a@b\r\nfrom: second@b\r\nSender:\r\nTo: c@d\r\nTo: e@f\r\nsubject:\r\n =?x?=\r\nMessage-Id: <1>\r\n\
          In-Reply-To:\r\n\r\nDate: not here\r\n",
        &Limits::default(),
    );
    assert_eq!(found.from, [mailbox("", "a", "b")]);
    assert_eq!((&found.sender, &found.reply_to), (&found.from, &found.from));
    assert_eq!(found.to.len(), 2);
    assert_eq!(found.subject.unwrap(), b"=?x?=");
    assert_eq!(found.message_id.unwrap(), b"<1>");
    assert_eq!(found.in_reply_to.unwrap(), b"");
    assert_eq!((found.date, found.cc, found.bcc), (None, vec![], vec![]));
}

#[test]
fn dates_are_read_in_the_forms_that_are_seen() {
    let unix = |text: &str| Date::parse(text.as_bytes()).map(|d| d.unix());
    for same in [
        "Fri, 21 Nov 1997 09:55:06 -0600",
        " 21 Nov 1997 09:55:06 -0600 (CST)",
        "Fri,21 Nov 97 09:55:06 CST",
        "Fri (or so), 21 (the) November 1997 15:55:06 GMT",
        "Fri Nov 21 15:55:06 1997",
        "21-Nov-1997 09:55:06 -0600",
        "Fri,\r\n 21 Nov\r\n 1997 15.55.06 +0000",
        "Sat, 21 Nov 097 15:55:06 X",
    ] {
        assert_eq!(unix(same), Some(880_127_706), "{same}");
    }
    assert_eq!(unix("1 Jan 70 00:00 UT"), Some(0));
    assert_eq!(unix("1 Jan 49 00:00 UT"), Some(2_493_072_000));
    assert_eq!(unix("29 Feb 2000 00:00:60 +0000"), Some(951_782_459));
    let date = Date::parse(b"31 Dec 2024 23:00 -0130").unwrap();
    assert_eq!(
        (date.year, date.month, date.day, date.hour, date.zone),
        (2024, 12, 31, 23, -90)
    );
    for wrong in [
        "",
        "x",
        "Fri",
        "29 Feb 1999 00:00",
        "0 Jan 2000 00:00",
        "32 Jan 2000 00:00",
        "1 Foo 2000 00:00",
        "1 Jan 2000 24:00",
        "1 Jan 2000 00:60",
        "1 Jan 2000 00",
        "1 Jan 2000",
        "1 Jan 20000 00:00",
        "2000-01-01T00:00:00Z",
    ] {
        assert_eq!(unix(wrong), None, "{wrong}");
    }
}

#[test]
fn encoded_words_become_text() {
    let read = |text: &str| decode_words(text.as_bytes(), &basic_charset);
    assert_eq!(
        read("Re: =?UTF-8*en?Q?gr=C3=BC=C3=9Fe?= an =?iso-8859-1?b?5Pb8?="),
        "Re: grüße an äöü"
    );
    assert_eq!(read("=?utf-8?q?=C3?= =?utf-8?q?=A4?="), "ä");
    assert_eq!(read("=?utf-8?q?a?= b =?utf-8?q?c?="), "a b c");
    assert_eq!(read("=?utf-8?q?a?=  =?utf-8?q"), "a  =?utf-8?q");
    assert_eq!(
        read("=?utf-8?x?a?= =?= =??q?a?= =?a"),
        "=?utf-8?x?a?= =?= =??q?a?= =?a"
    );
    assert_eq!(read("=?utf-8?q?a=zz=4?="), "a=zz=4");
    assert_eq!(read("grüße"), "grüße");
    assert_eq!(decode_words(b"gr\xfc\xdfe", &basic_charset), "grüße");
    let shout = |charset: &str, octets: &[u8]| {
        (charset == "loud").then(|| String::from_utf8_lossy(octets).to_uppercase())
    };
    assert_eq!(
        decode_words(b"=?LOUD?q?a_b?= =?latin1?q?c?=", &shout),
        "A Bc"
    );
}

#[test]
fn parameters_in_sections_are_put_together_in_order() {
    let read = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let raw: Vec<_> = pairs
            .iter()
            .map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()))
            .collect();
        decode_params(&raw, &basic_charset)
    };
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    assert_eq!(
        read(&[
            ("Charset", "utf-8"),
            ("name*1", "b"),
            ("NAME*0*", "UTF-8''%C3%A4%"),
            ("name*3", "lost"),
            ("name", "plain")
        ]),
        [pair("charset", "utf-8"), pair("name", "ä%b")]
    );
    assert_eq!(read(&[("name", "=?utf-8?q?=C3=A4?=")]), [pair("name", "ä")]);
    assert_eq!(
        read(&[("a*", "''x%41"), ("b*x", "y")]),
        [pair("a", "xA"), pair("b*x", "y")]
    );
    assert_eq!(read(&[("f*", "iso-8859-1'de'%E4")]), [pair("f", "ä")]);
}

fn decode(mut decoder: TransferDecoder, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut out);
    }
    decoder.finish(&mut out);
    out
}

#[test]
fn base64_is_undone_and_noise_passed_over() {
    let read = |text: &str| {
        decode(
            TransferDecoder::Base64(Base64Decoder::new()),
            &[text.as_bytes()],
        )
    };
    assert_eq!(read("SGVs\r\nbG8="), b"Hello");
    assert_eq!(read("SGVsbG8"), b"Hello");
    assert_eq!(read("SGV*sbG8=\r\nSGk="), b"HelloHi");
    assert_eq!(read("+/+/"), [0xfb, 0xff, 0xbf]);
    assert_eq!(read("A"), b"");
    assert_eq!(read("===="), b"");
}

#[test]
fn quoted_printable_is_undone_and_what_is_wrong_stays() {
    let qp = || TransferDecoder::QuotedPrintable(QuotedPrintableDecoder::new());
    let read = |text: &str| String::from_utf8(decode(qp(), &[text.as_bytes()])).unwrap();
    assert_eq!(read("a=3Db=c3=A4 \t\r\nc \n"), "a=bä\r\nc\n");
    assert_eq!(
        read("soft=\r\n break= \t\r\n and=\nmore="),
        "soft break andmore"
    );
    assert_eq!(read("a=zz =4 =4x = b="), "a=zz =4 =4x = b");
    assert_eq!(read("a\rb \r\r\n"), "a\rb\r\n");
    assert_eq!(read("=3"), "=3");
    assert_eq!(read("end  "), "end");
    let spaces = "x".to_owned() + &" ".repeat(5_000) + "y";
    assert_eq!(read(&spaces), spaces);
}

#[test]
fn an_unknown_transfer_encoding_has_no_decoder() {
    assert!(TransferDecoder::new(b"x-uuencode").is_none());
    assert!(matches!(
        TransferDecoder::new(b"Base64 "),
        Some(TransferDecoder::Base64(_))
    ));
    assert_eq!(
        decode(TransferDecoder::new(b"8BIT").unwrap(), &[b"a=\r\n"]),
        b"a=\r\n"
    );
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "=",
        "==",
        "=3D",
        "=\r\n",
        "=\n",
        " ",
        "\t",
        "\r",
        "\n",
        "\r\n",
        "A",
        "a",
        "4",
        "é",
        "SGVs",
        "?",
        "=?",
        "?=",
        "=?utf-8?q?",
        "utf-8",
        "<",
        ">",
        "@",
        ",",
        ";",
        ":",
        "(",
        ")",
        "\"",
        "\\",
        ".",
        "[",
        "]",
        "\0",
        "*",
        "'",
        "%41",
        "Jan",
        "2000",
        "+0100",
        "-",
        "12:30",
    ]);
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn decoders_do_not_depend_on_cuts(text in text(), at in 0usize..200) {
        let at = at.min(text.len());
        for encoding in ["base64", "quoted-printable", "7bit"] {
            let decoder = || TransferDecoder::new(encoding.as_bytes()).unwrap();
            let whole = decode(decoder(), &[&text]);
            prop_assert_eq!(decode(decoder(), &[&text[..at], &text[at..]]), whole.clone());
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(decode(decoder(), &bytes), whole);
        }
    }

    #[test]
    fn base64_and_its_decoder_are_inverse(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = Vec::new();
        for group in octets.chunks(3) {
            let bits = group.iter().chain(&[0, 0]).take(3).fold(0u32, |b, o| b << 8 | u32::from(*o));
            for i in 0..=group.len() {
                text.push(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]);
            }
        }
        prop_assert_eq!(decode(TransferDecoder::new(b"base64").unwrap(), &[&text]), octets);
    }

    #[test]
    fn no_value_is_too_broken_for_a_parser(text in text()) {
        decode_words(&text, &basic_charset);
        Date::parse(&text);
        prop_assert!(addresses(&text, 5).len() <= 5);
        decode_params(&[(text.clone(), text.clone())], &basic_charset);
        let fields: Vec<u8> = header::split(&text).flat_map(|f| f.raw).copied().collect();
        prop_assert!(text.starts_with(&fields));
        let all: &[&str] = &[];
        prop_assert!(header::fields(&text, all, true).starts_with(&fields));
    }

    #[test]
    fn plain_addresses_are_read_back(list in prop::collection::vec(("[A-Z][a-z ]{0,8}[a-z]", "[a-z]{1,8}", "[a-z]{1,8}\\.example"), 0..20)) {
        let text: Vec<String> = list.iter().map(|(n, l, h)| format!("\"{n}\" <{l}@{h}>")).collect();
        let expected: Vec<Mailbox> = list.iter().map(|(n, l, h)| mailbox(n, l, h)).collect();
        prop_assert_eq!(addresses(text.join(",\r\n ").as_bytes(), 100), expected);
    }
}
