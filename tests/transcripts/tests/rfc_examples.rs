//! The example sessions of RFCs, spoken to the SMTP server: each reply is of the class the RFC shows.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

mod smtp_server;

use mox_transcripts::{Fact, Machine, Transcript};
use serde::Deserialize;
use smtp_server::SmtpServer;

/// Examples that cannot be spoken, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("rfc1652-02", "starts in the middle of a session"),
    ("rfc1870-02", "starts in the middle of a session"),
    ("rfc2034-02", "starts in the middle of a session"),
    ("rfc2920-02", "starts in the middle of a session"),
    ("rfc2920-04", "starts in the middle of a session"),
    (
        "rfc2920-06",
        "its server answers 354 to DATA without recipients; ours says 503, which the RFC allows, too",
    ),
    ("rfc3030-01", "its chunk is not the octets printed"),
    ("rfc3030-02", "BINARYMIME is not offered"),
    ("rfc3207-01", "the TLS handshake is prose"),
    ("rfc3207-02", "starts in the middle of a session"),
    ("rfc4954-01", "DIGEST-MD5 and GSSAPI are not offered"),
    ("rfc4954-02", "starts in the middle of a session"),
    ("rfc4954-03", "starts in the middle of a session"),
    ("rfc4954-04", "CRAM-MD5 is not offered"),
    ("rfc4954-05", "DIGEST-MD5 and GSSAPI are not offered"),
    ("rfc4954-06", "starts in the middle of a session"),
    ("rfc4954-07", "starts in the middle of a session"),
    ("rfc5321-01", "starts in the middle of a session"),
    ("rfc5321-02", "starts in the middle of a session"),
    ("rfc6710-01", "MT-PRIORITY and DELIVERBY are not offered"),
    ("rfc6710-02", "starts in the middle of a session"),
    ("rfc6710-03", "MT-PRIORITY and DELIVERBY are not offered"),
    ("rfc6710-04", "starts in the middle of a session"),
    ("rfc6710-05", "MT-PRIORITY and DELIVERBY are not offered"),
    ("rfc8689-01", "REQUIRETLS is not offered"),
    ("rfc8689-02", "REQUIRETLS is not offered"),
    ("rfc8689-03", "starts in the middle of a session"),
];

#[derive(Deserialize)]
struct Example {
    id: String,
    lines: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    who: String,
    text: String,
}

/// First digits of the replies in some lines; all but the last line of a reply are passed over.
fn classes<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<char> {
    let last = |line: &&str| line.get(..3).is_some_and(|c| c.parse::<u16>().is_ok());
    lines
        .filter(|line| last(line) && line.as_bytes().get(3) != Some(&b'-'))
        .filter_map(|line| line.chars().next())
        .collect()
}

fn speak(example: &Example) -> (Vec<char>, Vec<char>) {
    let said = |who: &'static str| {
        let lines = example.lines.iter().filter(move |line| line.who == who);
        lines
            .map(|line| line.text.as_str())
            .filter(|text| !text.starts_with('<'))
    };
    let expected = classes(said("S"));
    // The world refuses the recipients that the example's server refuses.
    let mut header = "machine: smtp-server\nconfig: (starttls: true)\n".to_string();
    for (command, class) in said("C").zip(expected.iter().skip(1)) {
        let Some(to) = command.strip_prefix("RCPT TO:<") else {
            continue;
        };
        let address = to.split('>').next().unwrap();
        match class {
            '4' => header.push_str(&format!("refuse: {address} 452 4.2.2 Full\n")),
            '5' => header.push_str(&format!("refuse: {address} 550 5.1.1 No such user\n")),
            _ => {}
        }
    }
    let mut server = SmtpServer::new(&Transcript::parse(&header).unwrap());
    for line in said("C") {
        server.feed(format!("{line}\r\n").as_bytes());
    }
    let mut output = Vec::new();
    for fact in server.take() {
        if let Fact::Sent(bytes) = fact {
            output.extend(bytes);
        }
    }
    let output = String::from_utf8(output).unwrap();
    (classes(output.lines()), expected)
}

#[test]
fn the_replies_are_of_the_class_the_rfcs_show() {
    let Some(vectors) = std::env::var_os("MAIL_VECTORS") else {
        use std::io::Write;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        std::fs::create_dir_all(folder).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let path = format!("{folder}/skipped.txt");
        let mut file = options.create(true).append(true).open(path).unwrap();
        file.write_all(b"the_replies_are_of_the_class_the_rfcs_show\n")
            .unwrap();
        return;
    };
    let path = std::path::Path::new(&vectors).join("smtp/rfc-transcripts-smtp.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let (mut spoken, mut left_out, mut wrong) = (0, 0, Vec::new());
    for line in text.lines() {
        let example: Example = serde_json::from_str(line).unwrap();
        if LEFT_OUT.iter().any(|(id, _)| *id == example.id) {
            left_out += 1;
            continue;
        }
        spoken += 1;
        let (got, expected) = speak(&example);
        if got != expected {
            wrong.push(format!(
                "{}: expected {expected:?}, got {got:?}",
                example.id
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(left_out, LEFT_OUT.len());
    assert!(spoken > 0);
}
