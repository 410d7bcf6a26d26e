//! Checks against other people's data, read from `$MAIL_VECTORS`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests"
)]

use std::io::Write;
use std::path::PathBuf;

use mox_mime::{
    Date, Envelope, Inside, Limits, Mailbox, Part, Section, Structure, TransferDecoder, Walker,
    addresses, basic_charset, decode_params, decode_words, header, locate, part_at, parts,
};
use serde_json::Value as Json;

fn vectors(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("MAIL_VECTORS") {
        // Cargo runs tests in the package's folder; a relative path counts from the workspace.
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        return Some(PathBuf::from(workspace).join(folder));
    }
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
    std::fs::create_dir_all(target).unwrap();
    let mut file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(format!("{target}/skipped.txt"))
        .unwrap();
    // In one write, since other tests append too.
    file.write_all(format!("mox-mime {test}\n").as_bytes())
        .unwrap();
    None
}

fn json_lines(path: PathBuf) -> Vec<Json> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn walk(message: &[u8]) -> Structure {
    let mut walker = Walker::new(Limits::default());
    walker.push(message);
    walker.finish()
}

/// IMAP data, without the difference between atoms and strings.
#[derive(Debug, Clone, PartialEq)]
enum Data {
    Nil,
    Text(String),
    List(Vec<Self>),
    /// Of our own side only: not compared.
    Any,
}

impl Data {
    fn parse(text: &str) -> Self {
        let mut stack = vec![Vec::new()];
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '(' => stack.push(Vec::new()),
                ')' => {
                    let list = Self::List(stack.pop().unwrap());
                    stack.last_mut().unwrap().push(list);
                }
                '"' => {
                    let mut text = String::new();
                    loop {
                        match rest.next().unwrap() {
                            '"' => break,
                            '\\' => text.push(rest.next().unwrap()),
                            c => text.push(c),
                        }
                    }
                    stack.last_mut().unwrap().push(Self::Text(text));
                }
                c if c.is_whitespace() => {}
                c => {
                    let mut word = String::from(c);
                    while let Some(c) = rest.next_if(|c| c.is_alphanumeric()) {
                        word.push(c);
                    }
                    let data = if word == "NIL" {
                        Self::Nil
                    } else {
                        Self::Text(word)
                    };
                    stack.last_mut().unwrap().push(data);
                }
            }
        }
        assert_eq!(stack.len(), 1, "parentheses do not match");
        Self::List(stack.pop().unwrap())
    }

    fn text(bytes: &[u8]) -> Self {
        Self::Text(String::from_utf8_lossy(bytes).into_owned())
    }

    fn optional(bytes: Option<&Vec<u8>>) -> Self {
        bytes.map_or(Self::Nil, |b| Self::text(b))
    }

    fn list(items: Vec<Self>) -> Self {
        if items.is_empty() {
            Self::Nil
        } else {
            Self::List(items)
        }
    }

    /// Letter case is free in most of this, and free in the expectations.
    fn same(&self, expected: &Self, dialect: Dialect) -> bool {
        match (self, expected) {
            (Self::Any, _) => true,
            (Self::Text(a), Self::Text(b)) => a.eq_ignore_ascii_case(b),
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b, dialect))
            }
            // Stalwart writes NIL where a default of RFC 2045 and 2046 applies.
            (Self::Text(a), Self::Nil) => {
                dialect == Dialect::Stalwart && (a == "7BIT" || a == "RFC822")
            }
            (a, b) => a == b,
        }
    }
}

/// What the recorded servers do each in their way.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Dialect {
    Dovecot,
    /// Computes an MD5 of each part, does not count the lines of messages, and takes `unknown@localhost` for an
    /// address without a domain.
    Stalwart,
}

fn params(params: &[(Vec<u8>, Vec<u8>)]) -> Data {
    let decoded = decode_params(params, &basic_charset).into_iter();
    Data::list(
        decoded
            .flat_map(|(name, value)| [Data::Text(name), Data::Text(value)])
            .collect(),
    )
}

fn mailboxes(list: &[Mailbox], dialect: Dialect) -> Data {
    let one = |m: &Mailbox| {
        let mut m = m.clone();
        if dialect == Dialect::Stalwart && m.host.as_ref().is_some_and(Vec::is_empty) {
            m.local = Some(b"unknown".to_vec());
            m.host = Some(b"localhost".to_vec());
        }
        let fields = [&m.name, &m.route, &m.local, &m.host];
        Data::List(fields.map(|f| Data::optional(f.as_ref())).to_vec())
    };
    Data::list(list.iter().map(one).collect())
}

fn envelope(e: &Envelope, dialect: Dialect) -> Data {
    let lists = [&e.from, &e.sender, &e.reply_to, &e.to, &e.cc, &e.bcc];
    let mut all = vec![
        Data::optional(e.date.as_ref()),
        Data::optional(e.subject.as_ref()),
    ];
    all.extend(lists.map(|l| mailboxes(l, dialect)));
    all.push(Data::optional(e.in_reply_to.as_ref()));
    all.push(Data::optional(e.message_id.as_ref()));
    Data::List(all)
}

fn structure(part: &Part, extended: bool, dialect: Dialect) -> Data {
    let number = |n: u64| Data::Text(n.to_string());
    let mut all = Vec::new();
    if let Inside::Multipart(children) = &part.inside {
        all.extend(children.iter().map(|c| structure(c, extended, dialect)));
        all.push(Data::text(&part.subtype));
        if extended {
            all.push(params(&part.params));
        }
    } else {
        all.extend([
            Data::text(&part.media),
            Data::text(&part.subtype),
            params(&part.params),
            Data::optional(part.id.as_ref()),
            Data::optional(part.description.as_ref()),
            Data::text(&part.encoding),
            number(part.end - part.body),
        ]);
        if let Inside::Message(message) = &part.inside {
            all.push(envelope(&message.0, dialect));
            all.push(structure(&message.1, extended, dialect));
            all.push(match dialect {
                Dialect::Dovecot => number(part.lines.into()),
                Dialect::Stalwart => Data::Any,
            });
        } else if part.media.eq_ignore_ascii_case(b"text") {
            all.push(number(part.lines.into()));
        }
        if extended {
            all.push(match (&part.md5, dialect) {
                (None, Dialect::Stalwart) => Data::Any,
                (md5, _) => Data::optional(md5.as_ref()),
            });
        }
    }
    if extended {
        let disposition = part.disposition.as_ref();
        all.push(disposition.map_or(Data::Nil, |(kind, p)| {
            Data::List(vec![Data::text(kind), params(p)])
        }));
        all.push(Data::list(
            part.language.iter().map(|l| Data::text(l)).collect(),
        ));
        all.push(Data::optional(part.location.as_ref()));
    }
    Data::List(all)
}

#[test]
fn body_bodystructure_and_envelope_are_what_other_servers_answer() {
    let Some(folder) = vectors("bodystructure-envelope") else {
        return;
    };
    let mut compared = 0;
    for row in json_lines(folder.join("imap/bodystructure-envelope.jsonl")) {
        let id = row["id"].as_str().unwrap();
        let text = row["message"].as_str().unwrap();
        let dialect = match id.starts_with("dovecot") {
            true => Dialect::Dovecot,
            false => Dialect::Stalwart,
        };
        // Dovecot's sizes count CRLF, Stalwart's the message as it is.
        let message: Vec<u8> = match dialect {
            Dialect::Dovecot => text.replace('\n', "\r\n").into_bytes(),
            Dialect::Stalwart => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap())
                .collect(),
        };
        let found = walk(&message);
        let mut expect = |ours: Data, expected: &str| {
            let expected = Data::parse(expected);
            assert!(
                ours.same(&expected, dialect),
                "{id}\n{ours:?}\n{expected:?}"
            );
            compared += 1;
        };
        if let Some(expected) = row["body"].as_str() {
            expect(structure(&found.part, false, dialect), expected);
        }
        if let Some(expected) = row["bodystructure"].as_str() {
            expect(structure(&found.part, true, dialect), expected);
        }
        if let Some(expected) = row["envelope"].as_str() {
            expect(envelope(&found.envelope, dialect), expected);
        }
        if let Some(responses) = row["responses"].as_str() {
            let (_, rest) = responses.split_once("BODYSTRUCTURE UTF8=ACCEPT (").unwrap();
            let (expected, sections) = rest.split_once("\n)\n").unwrap();
            expect(structure(&found.part, true, dialect), expected);
            compared += same_sections(id, &message, &found.part, sections.as_bytes());
        }
    }
    assert!(compared > 100, "{compared}");
}

/// Compares `BODY[..] {n}` and `BINARY.SIZE[..] n` answers, as far as RFC 3501 defines the section. How many those are.
fn same_sections(id: &str, message: &[u8], part: &Part, answers: &[u8]) -> usize {
    let mut compared = 0;
    let mut rest = answers;
    while let Some(end) = rest.iter().position(|c| *c == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).unwrap_or("");
        rest = &rest[end + 1..];
        let Some((item, section)) = line.split_once('[') else {
            continue;
        };
        let (section, figure) = section.rsplit_once(']').unwrap();
        let (partial, figure) = figure.split_once(' ').unwrap();
        let len: usize = figure.trim_matches(['{', '}']).parse().unwrap();
        let path: Vec<u32> = section.split('.').map_while(|n| n.parse().ok()).collect();
        let what = section.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if item == "BINARY.SIZE" {
            let leaf =
                part_at(part, &path).filter(|p| !path.is_empty() && p.inside == Inside::Leaf);
            if let Some(leaf) = leaf {
                let mut out = Vec::new();
                let mut decoder = TransferDecoder::new(&leaf.encoding).unwrap();
                decoder.push(&message[leaf.body as usize..leaf.end as usize], &mut out);
                decoder.finish(&mut out);
                assert_eq!(out.len(), len, "{id} {line}");
                compared += 1;
            }
            continue;
        }
        let expected = &rest[..len];
        rest = &rest[len..];
        if item == "BINARY" {
            continue;
        }
        let wanted = match what.split_once(" (").map_or(what, |(what, _)| what) {
            "" => Section::All,
            "TEXT" => Section::Text,
            "MIME" => Section::Mime,
            _ => Section::Header,
        };
        let Some(range) = locate(part, &path, wanted) else {
            continue;
        };
        let mut found = message[range.start as usize..range.end as usize].to_vec();
        if let Some((selector, names)) = what.split_once(" (") {
            let names: Vec<&str> = names.trim_end_matches(')').split(' ').collect();
            found = header::fields(&found, &names, selector == "HEADER.FIELDS.NOT");
        }
        if partial == "<10>" {
            found = found[10..found.len().min(35)].to_vec();
        }
        // The recorded server ends MIME and HEADER.FIELDS with one more line end.
        let filtered = wanted == Section::Mime || what.contains('(');
        let expected = match filtered && (partial.is_empty() || len < 25) {
            true => &expected[..len - 1],
            false => expected,
        };
        // It ends TEXT of a message within a message at the last boundary, without the epilogue.
        if wanted == Section::Text && expected.ends_with(b"--") {
            found.truncate(len);
        }
        // It also writes the names of fields in its own letter case, and MIME without fields that are not Content-*.
        let text = |bytes: &[u8]| {
            let content = |f: &header::Field<'_>| {
                let name = f.name.to_ascii_lowercase();
                wanted != Section::Mime || name.starts_with(b"content-")
            };
            let kept: Vec<&[u8]> = match wanted {
                Section::Mime => header::split(bytes)
                    .filter(content)
                    .map(|f| f.raw)
                    .collect(),
                _ => vec![bytes],
            };
            String::from_utf8_lossy(&kept.concat()).to_lowercase()
        };
        assert_eq!(text(&found), text(expected), "{id} {line}");
        compared += 1;
    }
    compared
}

#[test]
fn header_values_are_what_other_parsers_read() {
    let Some(folder) = vectors("header-vectors") else {
        return;
    };
    for row in json_lines(folder.join("mime/header-vectors.jsonl")) {
        let input = row["input"].as_str().unwrap();
        match row["kind"].as_str().unwrap() {
            "rfc2047-decode" => {
                let output = row["output"].as_str().unwrap();
                assert_eq!(
                    decode_words(input.as_bytes(), &basic_charset),
                    output,
                    "{input:?}"
                );
            }
            "address" => {
                let expected = row["written"].as_str().unwrap_or(input);
                let written: Vec<String> = addresses(input.as_bytes(), 100)
                    .iter()
                    .map(write_mailbox)
                    .collect();
                assert_eq!(written.join(", "), expected, "{input:?}");
            }
            "date" => {
                let date = Date::parse(input.as_bytes()).unwrap();
                // The expectation -1 stands for one second before the epoch.
                assert_eq!(Some(date.unix()), row["epoch"].as_i64(), "{input:?}");
                assert_eq!(
                    Some(i64::from(date.zone)),
                    row["tz_minutes"].as_i64(),
                    "{input:?}"
                );
            }
            "rfc2231-params" => {
                let mut message = b"Content-Type: a/b".to_vec();
                message.extend(input.chars().map(|c| u8::try_from(u32::from(c)).unwrap()));
                let decoded = decode_params(&walk(&message).part.params, &basic_charset);
                let expected = row["output"].as_object().unwrap();
                assert_eq!(decoded.len(), expected.len());
                for (name, value) in decoded {
                    // The expectation is put together, but still has charset, language and percents.
                    let value = match expected.get(&format!("{name}*")) {
                        None => (expected[&name].as_str().unwrap().to_owned(), value),
                        Some(e) => {
                            let text = e.as_str().unwrap().rsplit_once('\'').unwrap().1;
                            (text.replace("%25", "%"), value)
                        }
                    };
                    assert_eq!(value.0, value.1, "{name}");
                }
            }
            kind => panic!("unknown kind {kind}"),
        }
    }
}

fn write_mailbox(m: &Mailbox) -> String {
    let text = |v: &Option<Vec<u8>>| String::from_utf8(v.clone().unwrap_or_default()).unwrap();
    let (name, route, local, host) = (text(&m.name), text(&m.route), text(&m.local), text(&m.host));
    let atom = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
    };
    let quoted = |s: &str| format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\""));
    let mut inner = String::new();
    if !route.is_empty() {
        inner = format!("{route}:");
    }
    if atom(&local) {
        inner += &local;
    } else if !host.is_empty() || !route.is_empty() || !local.is_empty() {
        inner += &quoted(&local);
    }
    if !host.is_empty() {
        inner += &format!("@{host}");
    }
    let name = match name.as_str() {
        "" => name,
        n if atom(n) => name,
        n => quoted(n),
    };
    match (name.as_str(), inner.as_str()) {
        ("", "") => String::new(),
        ("", _) => format!("<{inner}>"),
        (_, "") => name,
        _ => format!("{name} <{inner}>"),
    }
}

/// The files of a tar archive.
fn untar(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut long_name = None;
    while bytes.len() > 512 && bytes[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            let field = &bytes[range];
            let end = field.iter().position(|c| *c == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        let size = usize::from_str_radix(text(124..136).trim(), 8).unwrap();
        let kind = bytes[156];
        let prefix = text(345..500);
        let name = match prefix.as_str() {
            "" => text(0..100),
            p => format!("{p}/{}", text(0..100)),
        };
        let content = &bytes[512..512 + size];
        match kind {
            b'L' => {
                let name = String::from_utf8_lossy(content);
                long_name = Some(name.trim_end_matches('\0').to_owned());
            }
            b'0' | 0 => files.push((long_name.take().unwrap_or(name), content.to_vec())),
            _ => {}
        }
        bytes = &bytes[512 + size.next_multiple_of(512)..];
    }
    files
}

/// A tree of media types as Python's email package sees it: what stands inside a message/* part other than
/// message/rfc822 is a view of its own.
fn without_foreign_views(tree: &Json) -> Json {
    let Json::Array(items) = tree else {
        return tree.clone();
    };
    let kind = items[0].as_str().unwrap();
    if kind.starts_with("message/") && kind != "message/rfc822" && kind != "message/global" {
        return items[0].clone();
    }
    Json::Array(items.iter().map(without_foreign_views).collect())
}

fn tree(part: &Part) -> Json {
    let text = [&part.media[..], b"/", &part.subtype].concat();
    let kind = Json::String(String::from_utf8_lossy(&text).to_lowercase());
    match &part.inside {
        Inside::Leaf => kind,
        Inside::Multipart(children) => {
            let mut all = vec![kind];
            all.extend(children.iter().map(tree));
            Json::Array(all)
        }
        Inside::Message(message) => Json::Array(vec![kind, tree(&message.1)]),
    }
}

fn assert_in_bounds(name: &str, part: &Part, bounds: std::ops::Range<u64>) {
    assert!(
        bounds.start <= part.header
            && part.header <= part.body
            && part.body <= part.end
            && part.end <= bounds.end,
        "{name}: {bounds:?} {part:?}"
    );
    let mut start = part.body;
    match &part.inside {
        Inside::Leaf => {}
        Inside::Message(message) => assert_in_bounds(name, &message.1, part.body..part.end),
        Inside::Multipart(children) => {
            assert!(!children.is_empty(), "{name}");
            for child in children {
                assert_in_bounds(name, child, start..part.end);
                start = child.end;
            }
        }
    }
}

#[test]
fn five_hundred_messages_have_one_structure_however_they_are_cut() {
    let Some(folder) = vectors("mime messages") else {
        return;
    };
    let unpacked = std::process::Command::new("zstd")
        .arg("-dc")
        .arg(folder.join("mime/messages-open.tar.zst"))
        .output()
        .expect("the zstd command is installed");
    assert!(unpacked.status.success());
    let files = untar(&unpacked.stdout);
    let manifest = json_lines(folder.join("mime/manifest.jsonl"));
    let (mut seen, mut agree, mut differ) = (0, 0, Vec::new());
    let mut random = 1u64;
    for row in manifest {
        let name = row["file"].as_str().unwrap();
        let Some((_, message)) = files.iter().find(|(n, _)| n.ends_with(name)) else {
            continue;
        };
        seen += 1;
        let whole = walk(message);
        assert_eq!(whole.len, message.len() as u64);
        assert_in_bounds(name, &whole.part, 0..whole.len);
        assert_eq!(whole.header, message[..whole.header_len as usize], "{name}");
        for part in parts(&whole.part) {
            let body = &message[part.body as usize..part.end as usize];
            let lines = body.iter().filter(|c| **c == b'\n').count();
            assert_eq!(part.lines as usize, lines, "{name} {part:?}");
        }
        let mut walker = Walker::new(Limits::default());
        for byte in message {
            walker.push(std::slice::from_ref(byte));
        }
        assert_eq!(walker.finish(), whole, "{name} byte by byte");
        let mut walker = Walker::new(Limits::default());
        let mut rest = message.as_slice();
        while !rest.is_empty() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (piece, tail) = rest.split_at(((random >> 33) as usize % 200).min(rest.len()));
            walker.push(piece);
            rest = tail;
        }
        assert_eq!(walker.finish(), whole, "{name} in pieces");

        let crlf: Vec<u8> = String::from_utf8_lossy(message)
            .replace("\r\n", "\n")
            .replace('\n', "\r\n")
            .into_bytes();
        assert_eq!(
            tree(&walk(&crlf).part),
            tree(&whole.part),
            "{name} with CRLF"
        );

        let sound = row["python_defects"].as_array().is_some_and(Vec::is_empty);
        if sound {
            let theirs = without_foreign_views(&row["python_structure"]);
            let ours = tree(&whole.part);
            if ours == theirs {
                agree += 1;
            } else {
                differ.push(format!("{name}\n  ours   {ours}\n  theirs {theirs}"));
            }
        }
    }
    assert_eq!(seen, 528);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(agree > 400, "{agree}");
}
