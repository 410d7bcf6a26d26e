//! The example sessions of RFCs, spoken to the SMTP server: each reply is of the class the RFC shows.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_transcripts::world::SmtpServer;
use mox_transcripts::{Fact, Machine, Transcript};
use serde::Deserialize;

/// Examples that cannot be spoken, and the extension that is missing for them.
const LEFT_OUT: &[(&str, &str)] = &[
    ("rfc3030-02", "BINARYMIME is not offered"),
    (
        "rfc4954-04",
        "the digest answers a challenge of its own server",
    ),
    ("rfc4954-05", "this client has no certificate"),
    ("rfc6710-01", "the exchange of SCRAM-SHA-1 is not printed"),
    (
        "rfc6710-02",
        "MT-PRIORITY, DELIVERBY and DSN are not offered",
    ),
    ("rfc6710-03", "the exchange of SCRAM-SHA-1 is not printed"),
    ("rfc6710-04", "DELIVERBY and DSN are not offered"),
    (
        "rfc6710-05",
        "MT-PRIORITY, DELIVERBY and DSN are not offered",
    ),
    ("rfc8689-02", "REQUIRETLS is not offered"),
    ("rfc8689-03", "goes on with rfc8689-02"),
];

/// Examples that begin in the middle of a session, and the lines that come before theirs: how many (all without a number) of
/// which example.
const AFTER: &[(&str, &str, usize)] = &[
    ("rfc1652-02", "rfc1652-01", usize::MAX),
    ("rfc1870-02", "rfc1870-01", usize::MAX),
    ("rfc2034-02", "rfc2034-01", usize::MAX),
    ("rfc2920-02", "rfc2920-01", usize::MAX),
    ("rfc2920-04", "rfc2920-03", usize::MAX),
    ("rfc3207-02", "rfc3207-01", usize::MAX),
    // Its client has a TLS layer, as in the example before.
    ("rfc4954-02", "rfc4954-01", 8),
    ("rfc4954-03", "rfc4954-02", usize::MAX),
    // RFC 4954 5: AUTH= is a parameter for authenticated clients.
    ("rfc4954-06", "rfc4954-01", usize::MAX),
    ("rfc4954-07", "rfc4954-01", usize::MAX),
    // EXPN may be given any time (RFC 5321 4.1.4); a server that was greeted has no reason to differ.
    ("rfc5321-01", "rfc5321-04", 6),
    ("rfc5321-02", "rfc5321-04", 6),
];

/// Ends with a command whose reply is printed in the next example, and is spoken with that.
const GOES_ON: &str = "rfc4954-02";

/// Replies of another class than printed, by their place in the example: the RFC allows both.
const OTHERWISE: &[(&str, usize, char, &str)] = &[
    (
        "rfc2920-06",
        5,
        '5',
        "503 to DATA without recipients, as in rfc2920-05 and RFC 5321 3.3, instead of 354",
    ),
    (
        "rfc5321-02",
        2,
        '2',
        "252 to every EXPN (RFC 5321 4.3.2): whether there is such a list is not told",
    ),
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

impl Example {
    /// The lines of a whole session: those that come before, then its own.
    fn session<'a>(&'a self, all: &'a [Self]) -> Vec<&'a Said> {
        let before = AFTER.iter().find(|(id, _, _)| *id == self.id);
        let mut lines = match before {
            Some((_, before, count)) => {
                let before = all.iter().find(|other| other.id == *before).unwrap();
                let mut lines = before.session(all);
                lines.truncate(*count);
                lines
            }
            None => Vec::new(),
        };
        lines.extend(&self.lines);
        lines
    }
}

/// A line with its notes about what is not sent taken off: `<CR><LF>`, and prose on lines of its own.
fn text(line: &Said) -> &str {
    let first = line.text.lines().next().unwrap_or_default();
    first.trim_end_matches("<CR><LF>")
}

/// The class of each reply that is printed, `?` where it is told in words.
fn expected(lines: &[&Said]) -> Vec<char> {
    let mut classes = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.who != "S" || line.text.starts_with('<') {
            continue;
        }
        let (text, follower) = (text(line), lines.get(at + 1));
        // A last line with a hyphen is a slip of the RFC.
        if text.as_bytes().get(3) == Some(&b'-') && follower.is_some_and(|f| f.who == "S") {
            continue;
        }
        let is_code = text.get(..3).is_some_and(|c| c.parse::<u16>().is_ok());
        classes.push(if is_code {
            text.chars().next().unwrap()
        } else {
            '?'
        });
    }
    classes
}

/// First digits of the replies in what a server sent.
fn classes(output: &str) -> Vec<char> {
    let last = |line: &&str| line.as_bytes().get(3) != Some(&b'-');
    let mut first = output.lines().filter(last).map(|line| line.chars().next());
    first.by_ref().map(Option::unwrap).collect()
}

fn speak(example: &Example, all: &[Example]) -> (Vec<char>, Vec<char>) {
    let lines = example.session(all);
    let mut expected = expected(&lines);
    // The world refuses the recipients that the example's server refuses, and lets its user in.
    let mut header =
        "machine: smtp-server\nconfig: (starttls: true, auth: true)\nuser: test 1234\n".to_string();
    let spoken: Vec<&Said> = lines
        .into_iter()
        .filter(|line| line.who == "C" && !line.text.starts_with("<open"))
        .collect();
    let commands = spoken.iter().filter(|line| !line.text.starts_with('<'));
    for (command, class) in commands.zip(expected.iter().skip(1)) {
        let Some(to) = text(command).strip_prefix("RCPT TO:<") else {
            continue;
        };
        let address = to.split('>').next().unwrap();
        match class {
            '4' => header.push_str(&format!("refuse: {address} 452 4.2.2 Full\n")),
            '5' => header.push_str(&format!("refuse: {address} 550 5.1.1 No such user\n")),
            _ => {}
        }
    }
    let mut server = SmtpServer::new(&Transcript::parse(&header).unwrap()).unwrap();
    for line in spoken {
        match line.text.as_str() {
            tls if tls.starts_with("<start") => assert!(server.transport("tls"), "{}", example.id),
            _ => server.feed(format!("{}\r\n", text(line)).as_bytes()),
        }
        // In some examples the handshake is a remark behind the command.
        if line.text == "STARTTLS" && lines_mention_tls(example, all) {
            assert!(server.transport("tls"), "{}", example.id);
        }
    }
    let mut output = Vec::new();
    for fact in server.take() {
        if let Fact::Sent(bytes) = fact {
            output.extend(bytes);
        }
    }
    for (id, at, class, _) in OTHERWISE {
        if *id == example.id {
            assert_ne!(expected[*at], *class, "{id}: printed like that after all");
            expected[*at] = *class;
        }
    }
    let got = classes(&String::from_utf8(output).unwrap());
    for (class, got) in expected.iter_mut().zip(&got) {
        if *class == '?' {
            *class = *got;
        }
    }
    (got, expected)
}

/// Whether the handshake is told in a remark among the server's lines.
fn lines_mention_tls(example: &Example, all: &[Example]) -> bool {
    let lines = example.session(all);
    lines
        .iter()
        .any(|line| line.text.contains("... TLS negotiation proceeds"))
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
    let all: Vec<Example> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is_left_out = |example: &&Example| LEFT_OUT.iter().any(|(id, _)| *id == example.id);
    assert_eq!(all.iter().filter(is_left_out).count(), LEFT_OUT.len());
    let mut wrong = Vec::new();
    let is_spoken = |example: &&Example| !is_left_out(example) && example.id != GOES_ON;
    for example in all.iter().filter(is_spoken) {
        let (got, expected) = speak(example, &all);
        if got != expected {
            wrong.push(format!(
                "{}: expected {expected:?}, got {got:?}",
                example.id
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(all.len() > LEFT_OUT.len());
}
