//! Text out of headers and parts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_message::text::{charset_text, file_name, header_text, is_text, part_text};
use mox_mime::{Inside, Limits, Part, Walker, parts};
use proptest::prelude::*;

fn walk(message: &[u8]) -> Part {
    let mut walker = Walker::new(Limits::default());
    walker.push(message);
    walker.finish().part
}

/// The text of the whole message, part by part.
fn texts(message: &[u8]) -> Vec<String> {
    let root = walk(message);
    let leaves = parts(&root).filter(|p| p.inside == Inside::Leaf);
    leaves
        .map(|p| part_text(p, &message[p.body as usize..p.end as usize]))
        .collect()
}

#[test]
fn header_values_of_any_charset_are_text() {
    assert_eq!(
        header_text(b" =?koi8-r?B?8NLJ18XU?=,\r\n =?Shift_JIS?B?g26DjQ==?="),
        "Привет, ハロ"
    );
    assert_eq!(header_text(b"=?iso-2022-jp?B?GyRCJCIbKEI=?="), "あ");
    assert_eq!(
        header_text(b"=?gb2312?B?xOO6ww==?= =?big5?B?p0E=?="),
        "你好你"
    );
    assert_eq!(header_text(b"=?x-unknown?Q?gr=C3=BC=C3=9Fe?="), "grüße");
    assert_eq!(header_text("grüße".as_bytes()), "grüße");
    assert_eq!(header_text(b"\x80 Euro"), "\u{80} Euro");
}

#[test]
fn parts_are_text_without_encoding_charset_and_tags() {
    let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        gr=FC=\r\n=DFe\r\n\
        --b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        PGh0bWw+PGhlYWQ+PHRpdGxlPng8L3RpdGxlPjwvaGVhZD48cD5ncsO8JnN6bGlnO2U8YnI+PGI+Ym9sZDwvYj48L3A+PC9odG1sPg==\r\n\
        --b\r\n\r\nplain \xfc\r\n\
        --b\r\nContent-Type: text/plain; charset=x-none\r\nContent-Transfer-Encoding: x-none\r\n\r\n=41\r\n\
        --b\r\nContent-Type: image/png\r\n\r\nnothing\r\n\
        --b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n\
        --b\r\nContent-Type: text/plain; charset*=us-ascii''windows-1251\r\n\r\n\xcc\xe8\xf0\r\n\
        --b--\r\n";
    let found = texts(message);
    let expected = [
        "grüße",
        "grüße\nbold",
        "plain ü",
        "=41",
        "",
        "Action: failed",
        "Мир",
    ];
    let trimmed: Vec<&str> = found.iter().map(|t| t.trim()).collect();
    assert_eq!(trimmed, expected);
}

#[test]
fn only_leaves_are_text() {
    let root = walk(b"Content-Type: message/rfc822\n\nSubject: x\n\ninner");
    assert!(!is_text(&root));
    assert_eq!(part_text(&root, b"Subject: x\n\ninner"), "");
    assert!(parts(&root).last().is_some_and(is_text));
}

#[test]
fn a_file_name_is_found_in_either_field() {
    let name = |fields: &str| file_name(&walk(format!("{fields}\n\n").as_bytes()));
    assert_eq!(
        name("Content-Type: a/b; name=x\nContent-Disposition: attachment; filename*=utf-8''%e2%98%95.txt").as_deref(),
        Some("☕.txt")
    );
    assert_eq!(
        name("Content-Type: a/b; name=\"=?koi8-r?B?8NI=?=\"").as_deref(),
        Some("Пр")
    );
    assert_eq!(name("Content-Disposition: attachment"), None);
}

const CHARSETS: [&str; 24] = [
    "utf-7",
    "utf-16",
    "utf-16le",
    "utf-16be",
    "iso-2022-jp",
    "iso-2022-kr",
    "big5",
    "gb18030",
    "gbk",
    "euc-jp",
    "euc-kr",
    "shift_jis",
    "koi8-r",
    "windows-1251",
    "windows-1252",
    "iso-8859-8",
    "macintosh",
    "ibm850",
    "tis-620",
    "hz-gb-2312",
    "windows-874",
    "utf-8",
    "us-ascii",
    "iso-8859-16",
];

proptest! {
    #[test]
    fn any_octets_in_any_charset_are_some_text(octets in prop::collection::vec(any::<u8>(), 0..200), name in ".{0,60}") {
        for charset in CHARSETS {
            charset_text(charset, &octets);
        }
        charset_text(&name, &octets);
        let head = String::from_utf8_lossy(&octets);
        header_text(head.as_bytes());
    }

    #[test]
    fn any_html_is_some_text(html in "(<|>|/|!|-|--|&|;|#|x41|amp|br|p|head|style|script|template|é|\u{1f600}| |\n|\"|=|a){0,80}") {
        let message = format!("Content-Type: text/html; charset=utf-8\n\n{html}");
        prop_assert_eq!(texts(message.as_bytes()).len(), 1);
    }
}

#[test]
#[expect(clippy::disallowed_types, reason = "the test measures time")]
fn hostile_text_takes_linear_time() {
    for unit in [
        "<",
        "&",
        "&#",
        "<!--",
        "<a ",
        "=?a?q?",
        "=?utf-8?b?",
        "é;",
        "+A",
        "</",
    ] {
        let time = |n: usize| {
            let html = unit.repeat(n);
            let message =
                format!("Subject: {html}\nContent-Type: text/html; charset=utf-8\n\n{html}");
            let start = std::time::Instant::now();
            texts(message.as_bytes());
            header_text(html.as_bytes());
            charset_text("utf-7", html.as_bytes());
            start.elapsed()
        };
        let (short, long) = (time(50_000), time(200_000));
        let most = short * 12 + std::time::Duration::from_millis(100);
        assert!(
            long < most,
            "{unit}: {short:?} for a quarter, {long:?} for all"
        );
    }
}
