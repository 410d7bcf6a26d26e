//! Command lines and smuggling sequences that other projects test with; read from `MAIL_VECTORS`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

mod talk;

use mox_address::Domain;
use mox_machine::{Now, Session};
use mox_smtp::server::{Mode, Server};
use mox_smtp::wire::{DotReader, DotWriter, split_verb};
use serde_json::Value;
use std::io::Write;
use talk::{Store, Talk, config, server};

/// The lines of a file of the vectors; none, and the test noted as skipped, where there are no vectors.
fn vectors(test: &str, file: &str) -> Vec<Value> {
    let Ok(folder) = std::env::var("MAIL_VECTORS") else {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        std::fs::create_dir_all(target).unwrap();
        let mut skipped = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(format!("{target}/skipped.txt"))
            .unwrap();
        writeln!(skipped, "mox-smtp {test}").unwrap();
        return Vec::new();
    };
    let text = std::fs::read_to_string(format!("{folder}/smtp/{file}")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn ready(mode: Mode) -> Talk<Server, Store> {
    let mut rules = config(mode);
    rules.max_size = 1_000_000;
    rules.mechanisms = vec!["PLAIN"];
    rules.auth_in_clear = true;
    let mut talk = server(&rules);
    talk.feed(if mode == Mode::Lmtp {
        b"LHLO c\r\n"
    } else {
        b"EHLO c\r\n"
    });
    talk.said();
    talk
}

/// An extension we do not offer makes a command an error whatever else it holds.
fn is_offered(command: &str) -> bool {
    let (verb, rest) = split_verb(command.as_bytes());
    let verbs = [
        "LHLO", "EHLO", "HELO", "VRFY", "EXPN", "NOOP", "HELP", "BDAT", "AUTH", "MAIL", "RCPT",
    ];
    let verb = String::from_utf8_lossy(verb).into_owned();
    let known = match verb.as_str() {
        "MAIL" => &["SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"][..],
        "RCPT" => &["NOTIFY", "ORCPT"],
        _ => &[],
    };
    let rest = String::from_utf8_lossy(rest).into_owned();
    let params = match rest.rsplit_once('>') {
        Some((_, params)) if verb == "MAIL" || verb == "RCPT" => params,
        _ => "",
    };
    verbs.contains(&verb.as_str())
        && params.split_whitespace().all(|param| {
            let (keyword, value) = param.split_once('=').unwrap_or((param, ""));
            known.contains(&keyword) && value != "BINARYMIME"
        })
}

#[test]
fn command_lines_are_taken_or_refused_as_elsewhere() {
    let mut count = 0;
    for vector in vectors(
        "command_lines_are_taken_or_refused_as_elsewhere",
        "smtp-commands.jsonl",
    ) {
        let command = vector["command"].as_str().unwrap();
        // Whose parameters are looked at: nobody has no address.
        let command = &command.replace("TO:<> ", "TO:<b@mx.example> ");
        let lmtp = command.starts_with("LHLO");
        let mut talk = ready(if lmtp { Mode::Lmtp } else { Mode::Delivery });
        if command.starts_with("RCPT") {
            talk.feed(b"MAIL FROM:<a@b>\r\n");
            talk.said();
        }
        talk.feed(format!("{command}\r\n").as_bytes());
        let reply = talk.said();
        let valid = vector["valid"].as_bool().unwrap() && is_offered(command);
        assert_eq!(reply.starts_with('2'), valid, "{command}: {reply}");
        assert!(valid || reply.starts_with('5'), "{command}: {reply}");
        count += 1;
    }
    println!("{count} command lines");
}

#[test]
fn no_smuggled_message_is_ever_taken() {
    for vector in vectors(
        "no_smuggled_message_is_ever_taken",
        "smuggling-sequences.jsonl",
    ) {
        let sequence = unhex(vector["hex"].as_str().unwrap());
        let evil = b"MAIL FROM:<evil@x>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nevil\r\n";
        let message = [
            &b"Subject: x\r\n\r\nbody"[..],
            &sequence,
            evil,
            b"\r\n.\r\n",
        ]
        .concat();
        let clean = [&b"Subject: x\r\n\r\nbody\r\n"[..], evil, b"\r\n.\r\n"].concat();
        for chunk in [1, 2, 3, usize::MAX] {
            let mut talk = ready(Mode::Delivery);
            talk.feed(b"MAIL FROM:<a@b>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n");
            talk.said();
            message
                .chunks(chunk.min(message.len()))
                .for_each(|piece| talk.feed(piece));
            assert!(talk.world.messages.is_empty(), "{sequence:?}");
            assert!(talk.said().starts_with('5'), "{sequence:?}");
        }
        let mut talk = ready(Mode::Delivery);
        talk.feed(b"MAIL FROM:<a@b>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n");
        talk.said();
        talk.feed(&clean);
        assert_eq!(talk.world.messages.len(), 1);
        assert!(talk.world.messages[0].1 == clean[..clean.len() - 3]);

        // What our client would have to send holds no such end either.
        let mut out = bytes::BytesMut::new();
        let sent =
            DotWriter::default().push(&[b"body", &sequence[..], b"x\r\n"].concat(), &mut out);
        assert!(sent.is_err(), "{sequence:?}");
        let mut input = out.clone();
        assert!(!DotReader::default().take(&mut input, 1 << 20).end);
    }
}

/// Other servers' dialogues as input: whatever comes, each reply is well formed and nothing hangs or panics.
#[test]
fn the_dialogues_of_others_are_survived() {
    for vector in vectors("the_dialogues_of_others_are_survived", "exim-dialogs.jsonl") {
        let mut rules = config(Mode::Delivery);
        rules.hostname = Domain::parse("mx.example", false).unwrap();
        let mut talk = Talk::new(Server::new(rules, Now::default()), Store::default());
        for step in vector["steps"].as_array().unwrap() {
            if let Some(line) = step["send"].as_str() {
                talk.feed(format!("{line}\r\n").as_bytes());
            } else if let Some(raw) = step["send_raw"].as_str() {
                talk.feed(raw.as_bytes());
            }
            if talk.upgrading {
                talk.tls();
            }
        }
        talk.eof();
        assert!(talk.closed && !talk.session.wants_read());
        for line in talk.said().lines() {
            let (code, rest) = line.split_at(3);
            assert!(code.bytes().all(|b| b.is_ascii_digit()), "{line}");
            assert!(rest.starts_with([' ', '-']) && line.len() <= 510, "{line}");
        }
    }
}
