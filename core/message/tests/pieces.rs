//! The texts of a message, and where each stands.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_message::{
    BODY_OCTETS_MAX, FIELD_OCTETS_MAX, FIELDS_MAX, LINK_OCTETS_MAX, PARTS_MAX, Place, pieces,
};
use proptest::prelude::*;

fn found(message: &[u8]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    pieces(message, &mut |place, text| {
        let place = match place {
            Place::Field(name) => name.to_owned(),
            Place::Text => "TEXT".into(),
            Place::Link => "LINK".into(),
            Place::Part => "PART".into(),
        };
        all.push((place, text.to_owned()));
    });
    all
}

const MESSAGE: &str = "Subject: =?utf-8?Q?B=C3=BCcher?=\n\
    \x20and more\n\
    CONTENT-TYPE: multipart/mixed; boundary=b\n\
    \n\
    --b\n\
    Content-Type: text/plain; charset=iso-8859-1\n\
    Content-Transfer-Encoding: quoted-printable\n\
    \n\
    caf=E9\n\
    --b\n\
    Content-Type: text/html\n\
    \n\
    <html><head><title>A title</title></head><body><table><tr><td>one</td><td>two</td></tr></table>\n\
    w<b>or</b>d<!-- <a href=\"http://hidden.example/\"> --><script>no()</script>\n\
    <a class=x href = 'http://a.example/?q=1&amp;r'>go</a><img src=http://i.example/i.gif alt=\"Buy &lt;now&gt;\">\n\
    --b\n\
    Content-Type: application/pdf; name=x.pdf\n\
    Content-Transfer-Encoding: base64\n\
    \n\
    AAAA\n\
    --b--\n";

#[test]
fn fields_texts_links_and_parts_are_told_decoded() {
    let expected = [
        ("subject", "B\u{fc}cher and more"),
        ("content-type", "multipart/mixed; boundary=b"),
        ("PART", "multipart/mixed encoding=7bit"),
        (
            "PART",
            "text/plain charset=iso-8859-1 encoding=quoted-printable",
        ),
        ("TEXT", "caf\u{e9}"),
        ("PART", "text/html charset=us-ascii encoding=7bit"),
        ("TEXT", "A title"),
        ("LINK", "http://a.example/?q=1&amp;r"),
        ("LINK", "http://i.example/i.gif"),
        ("TEXT", "Buy <now>"),
        ("TEXT", "one two word go"),
        ("PART", "application/pdf encoding=base64 file=x.pdf"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(place, text)| ((*place).to_owned(), (*text).to_owned()))
        .collect();
    let normal = |all: Vec<(String, String)>| -> Vec<(String, String)> {
        let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        all.into_iter().map(|(p, t)| (p, one_line(t))).collect()
    };
    assert_eq!(normal(found(MESSAGE.as_bytes())), expected);
    let crlf = MESSAGE.replace('\n', "\r\n");
    assert_eq!(normal(found(crlf.as_bytes())), expected);
}

#[test]
fn large_messages_are_looked_at_up_to_the_limits() {
    let long = format!("Subject: {}\n\n", "x".repeat(100_000));
    // The space behind the colon is one of them.
    assert_eq!(found(long.as_bytes())[0].1.len(), FIELD_OCTETS_MAX - 1);
    let many = format!("{}\n", "A: b\n".repeat(10_000));
    let fields = found(many.as_bytes());
    assert_eq!(fields.iter().filter(|(p, _)| p == "a").count(), FIELDS_MAX);
    let body = format!("\n{}", "word ".repeat(1_000_000));
    assert_eq!(found(body.as_bytes())[1].1.len(), BODY_OCTETS_MAX);
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\n\nx\n".repeat(500)
    );
    let told = found(parts.as_bytes());
    assert_eq!(told.iter().filter(|(p, _)| p == "PART").count(), PARTS_MAX);
    let link = format!(
        "Content-Type: text/html\n\n<a href=\"http://{}\">",
        "y".repeat(10_000)
    );
    let told = found(link.as_bytes());
    assert_eq!(told[2].1.len(), LINK_OCTETS_MAX);
}

proptest! {
    #[test]
    fn any_octets_are_a_message(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        found(&octets);
    }

    #[test]
    fn any_html_is_read(html in "[<>!a-z=\"'/ &;\u{e9}-]{0,200}") {
        found(format!("Content-Type: text/html\n\n{html}").as_bytes());
    }
}
