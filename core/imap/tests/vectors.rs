//! Command lines of other people: every one parses, or is named here with the reason.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

#[allow(
    dead_code,
    unreachable_pub,
    clippy::new_without_default,
    reason = "shared with the dialogues"
)]
mod model;

use model::{Client, World};
use mox_imap::wire::{AppendReader, Command, Head, Known, Malformed, ParseLimits, Verb};
use mox_uids::UidSet;
use std::io::Write as _;

/// The lines of a file of the vectors; `None`, and a note, where they are not there.
fn lines(test: &str, file: &str) -> Option<Vec<serde_json::Value>> {
    let Some(folder) = std::env::var_os("MAIL_VECTORS") else {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        std::fs::create_dir_all(target).unwrap();
        let path = format!("{target}/skipped.txt");
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        writeln!(file, "mox-imap {test}").unwrap();
        return None;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&folder).join(file)).unwrap();
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn parse(line: &[u8]) -> Result<(), Malformed> {
    let head = Head::parse(line);
    let Some(verb) = head.verb else {
        return Err(Malformed::Syntax("there is no such command"));
    };
    let limits = ParseLimits::default();
    let uids = UidSet::from_runs([1..=1_000]);
    let known = Known {
        uids: &uids,
        ..Known::NOTHING
    };
    if verb.brings_message() {
        let mut reader = AppendReader::new(verb != Verb::Append);
        let args = head.args.unwrap_or_default();
        return reader.read(args, &known, &limits).map(drop);
    }
    Command::parse(verb, head.args, &known, &limits).map(drop)
}

#[test]
fn the_command_lines_of_another_codec_parse() {
    let Some(lines) = lines(
        "the_command_lines_of_another_codec_parse",
        "imap/imap-codec-lines.jsonl",
    ) else {
        return;
    };
    let mut seen = 0;
    for line in lines.iter().filter(|line| line["kind"] == "command") {
        seen += 1;
        let text = line["text"].as_str().unwrap();
        let parsed = parse(text.strip_suffix("\r\n").unwrap().as_bytes());
        assert_eq!(
            parsed.is_ok(),
            line["valid"].as_bool().unwrap(),
            "{text} {parsed:?}"
        );
    }
    assert_eq!(seen, 41);
}

/// The RFCs whose extensions are offered.
const OFFERED: [u64; 37] = [
    2088, 2177, 2342, 2971, 3348, 3501, 3502, 3691, 4315, 4469, 4551, 4731, 4959, 5032, 5161, 5162,
    5182, 5256, 5258, 5267, 5464, 5530, 5819, 6154, 6851, 7162, 7377, 7888, 7889, 8438, 8474, 8508,
    8514, 8970, 9051, 9208, 9394,
];

/// Examples that must not parse, and why.
fn excused(id: &str) -> Option<&'static str> {
    match id {
        "rfc5819-02" => Some("a misprint: no space between two arguments"),
        "rfc5182-05" | "rfc9051-86" => Some("the charset KOI8-R is not known: BADCHARSET"),
        "rfc5267-04" | "rfc5267-05" => Some("a misprint: SORT without its criteria"),
        "rfc5464-06" => Some("what follows the literal is on the next line, and not here"),
        "rfc5464-11" | "rfc5464-12" => {
            Some("a misprint: several entries without the parentheses of section 5")
        }
        "rfc7377-01" => Some("the search program is on the next line, and not here"),
        "rfc9394-07" => Some("broken within a list for the width of the page"),
        _ => None,
    }
}

fn brings_message(line: &str) -> bool {
    Head::parse(line.as_bytes())
        .verb
        .is_some_and(Verb::brings_message)
}

#[test]
fn the_examples_of_the_rfcs_offered_parse() {
    let Some(examples) = lines(
        "the_examples_of_the_rfcs_offered_parse",
        "imap/rfc-transcripts-imap.jsonl",
    ) else {
        return;
    };
    let (mut good, mut excuses, mut refused) = (0, 0, Vec::new());
    for example in &examples {
        if !OFFERED.contains(&example["rfc"].as_u64().unwrap()) {
            continue;
        }
        for line in example["lines"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| line["who"] == "C")
        {
            let text = line["text"].as_str().unwrap();
            // Lines without a tag and a known name are literals, SASL responses and DONE.
            if Head::parse(text.as_bytes()).verb.is_none() {
                continue;
            }
            // Examples are folded, and end where their literal begins.
            let text = text.split("\n(note").next().unwrap();
            let folded = text.replace(",\n", ",").replace('\n', " ");
            let (line, announced) = match folded
                .strip_suffix('}')
                .and_then(|line| line.rsplit_once('{'))
            {
                Some((line, _)) if !brings_message(text) => (format!("{line}x"), true),
                _ if folded.ends_with('}') => (format!("{folded}\r\n"), true),
                _ => (folded.clone(), false),
            };
            match parse(line.as_bytes()) {
                Ok(()) => good += 1,
                // What the literal announced would have completed.
                Err(Malformed::Syntax("a space was expected")) if announced => good += 1,
                Err(_) if excused(example["id"].as_str().unwrap()).is_some() => excuses += 1,
                Err(why) => refused.push(format!("{}: {text}: {why:?}", example["id"])),
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert_eq!(excuses, 10);
    assert!(good > 300, "{good}");
}

#[test]
fn the_examples_of_other_rfcs_are_refused_and_leave_the_session_usable() {
    let Some(examples) = lines(
        "the_examples_of_other_rfcs_are_refused_and_leave_the_session_usable",
        "imap/rfc-transcripts-imap.jsonl",
    ) else {
        return;
    };
    let mut refused = 0;
    for example in &examples {
        if OFFERED.contains(&example["rfc"].as_u64().unwrap()) {
            continue;
        }
        for line in example["lines"].as_array().unwrap() {
            let text = line["text"].as_str().unwrap().replace('\n', " ");
            let head = Head::parse(text.as_bytes());
            let Some(tag) = head.tag.filter(|_| line["who"] == "C") else {
                continue;
            };
            let tag = String::from_utf8_lossy(tag).into_owned();
            // What is not of the extension is obeyed, and may wait for a literal.
            let waits = head.verb.is_some() && text.ends_with('}');
            if waits || parse(text.as_bytes()).is_ok() {
                continue;
            }
            let mut world = World::new();
            let mut client = Client::selected(&mut world);
            let output = client.say(&mut world, format!("{text}\r\n"));
            let answered = ["BAD", "NO"]
                .iter()
                .any(|no| output.contains(&format!("{tag} {no} ")));
            assert!(answered, "{}: {text}: {output}", example["id"]);
            let output = client.say(&mut world, "zz NOOP\r\n");
            assert!(
                output.ends_with("zz OK NOOP completed\r\n"),
                "{}: {text}: {output}",
                example["id"]
            );
            refused += 1;
        }
    }
    assert!(refused > 50, "{refused}");
}
