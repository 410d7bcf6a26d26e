//! Messages of other people go through the whole server: stored, listed, fetched back octet by octet, every part of them by
//! the numbers that BODYSTRUCTURE gives.

use crate::play::{Connection, Place};
use crate::value::{Value, parse};
use crate::{servers, unpacked, vectors};
use mox_driver::Runtime;
use mox_mime::{Part, Section, locate};
use mox_server::Intake;
use std::sync::Arc;

/// Line ends as they are sent.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 100);
    for &byte in text {
        if byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

async fn through<R: Runtime>(
    place: Place<R>,
    messages: Arc<Vec<(String, Vec<u8>)>>,
) -> Result<(), String> {
    let mut connection = Connection::open(place.clone(), 1).await?;
    let login = format!("LOGIN {} \"{}\"", place.user, place.password);
    connection.ask(login.as_bytes()).await?;
    connection.ask(b"CREATE all").await?;
    connection.ask(b"SELECT all").await?;
    for (at, (name, message)) in (1..).zip(messages.iter()) {
        let tilde = if message.contains(&0) { "~" } else { "" };
        let mut command = format!("APPEND all {tilde}{{{}}}\r\n", message.len()).into_bytes();
        command.extend_from_slice(message);
        connection.ask(&command).await?;
        let one = one(&mut connection, at, message).await;
        one.map_err(|why| format!("{name}: {why}"))?;
    }
    // Listed as clients do it, all at once.
    let all = "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)";
    let listed = connection.ask(all.as_bytes()).await?;
    match listed.len() == messages.len() {
        true => Ok(()),
        false => Err(format!("{} were listed", listed.len())),
    }
}

async fn one<R: Runtime>(
    connection: &mut Connection<R>,
    at: u32,
    message: &[u8],
) -> Result<(), String> {
    let mut intake = Intake::new();
    intake.push(message);
    let structure = intake.finish().structure.part;
    // What has a NUL cannot be shown but by BINARY.
    let body = if message.contains(&0) {
        "BINARY.PEEK"
    } else {
        "BODY.PEEK"
    };
    let command = format!("FETCH {at} (RFC822.SIZE {body}[] BODYSTRUCTURE)");
    let fetched = items(connection, &command).await?;
    let [_, size, _, whole, _, shown] = &fetched[..] else {
        return Err(format!("{fetched:?}"));
    };
    if size.text() != Some(message.len().to_string().as_bytes()) {
        return Err(format!("its size is {size:?} instead of {}", message.len()));
    }
    if whole.text() != Some(message) {
        return Err("it came back otherwise".into());
    }
    let Value::List(shown) = shown else {
        return Err(format!("{shown:?}"));
    };
    let mut paths = Vec::new();
    numbers(shown, &[], &mut paths);
    for path in paths {
        part(connection, at, message, &structure, &path).await?;
    }
    Ok(())
}

/// A part by its numbers, and its MIME header, are what the structure says.
async fn part<R: Runtime>(
    connection: &mut Connection<R>,
    at: u32,
    message: &[u8],
    structure: &Part,
    path: &[u32],
) -> Result<(), String> {
    let dotted: Vec<String> = path.iter().map(u32::to_string).collect();
    let dotted = dotted.join(".");
    for (suffix, section) in [("", Section::All), (".MIME", Section::Mime)] {
        let command = format!("FETCH {at} BODY.PEEK[{dotted}{suffix}]");
        let fetched = items(connection, &command).await?;
        // Shown in base64: see there.
        if message.contains(&0) {
            match fetched.last() {
                Some(Value::Text(_)) => continue,
                other => return Err(format!("part {dotted}{suffix} is {other:?}")),
            }
        }
        let range = locate(structure, path, section);
        let range = range.ok_or_else(|| format!("there is no part {dotted}{suffix}"))?;
        let expected = &message[range.start as usize..range.end as usize];
        if fetched.last().and_then(Value::text) != Some(expected) {
            let (expected, got) = (expected.escape_ascii(), fetched.last());
            return Err(format!(
                "part {dotted}{suffix} is {got:?} instead of {expected}"
            ));
        }
    }
    Ok(())
}

async fn items<R: Runtime>(
    connection: &mut Connection<R>,
    command: &str,
) -> Result<Vec<Value>, String> {
    let responses = connection.ask(command.as_bytes()).await?;
    let fetch = |response: &Vec<u8>| match &parse(response)[..] {
        [_, Value::Text(word), Value::List(items)] if word == b"FETCH" => Some(items.clone()),
        _ => None,
    };
    let found = responses.iter().find_map(fetch);
    found.ok_or_else(|| format!("no answer to {command}"))
}

/// The part numbers that a structure gives (RFC 3501 6.4.5).
fn numbers(body: &[Value], path: &[u32], out: &mut Vec<Vec<u32>>) {
    let below = |n: u32| [path, &[n]].concat();
    if let Some(Value::List(_)) = body.first() {
        for (n, child) in (1..).zip(body.iter().map_while(|v| match v {
            Value::List(child) => Some(child),
            _ => None,
        })) {
            let child_path = below(n);
            out.push(child_path.clone());
            inside(child, &child_path, out);
        }
        return;
    }
    // What is no multipart has one part.
    let only = below(1);
    out.push(only.clone());
    inside(body, &only, out);
}

/// The parts within a part that has its number.
fn inside(body: &[Value], path: &[u32], out: &mut Vec<Vec<u32>>) {
    match body {
        [Value::List(_), ..] => numbers(body, path, out),
        [Value::Text(media), Value::Text(subtype), ..]
            if media.eq_ignore_ascii_case(b"message")
                && (subtype.eq_ignore_ascii_case(b"rfc822")
                    || subtype.eq_ignore_ascii_case(b"global")) =>
        {
            if let Some(Value::List(inner)) = body.get(8) {
                numbers(inner, path, out);
            }
        }
        _ => {}
    }
}

#[test]
fn five_hundred_messages_come_back_as_they_were_stored() {
    let test = "five_hundred_messages_come_back_as_they_were_stored";
    let Some(vectors) = vectors(test) else {
        return;
    };
    let manifest = std::fs::read_to_string(vectors.join("mime/manifest.jsonl")).unwrap();
    let files = unpacked(&vectors, "mime/messages-open.tar.zst", test);
    let mut messages = Vec::new();
    for line in manifest.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = row["file"].as_str().unwrap();
        if let Some((_, text)) = files.iter().find(|(path, _)| path.ends_with(name)) {
            messages.push((name.to_owned(), with_crlf(text)));
        }
    }
    assert_eq!(messages.len(), 528);
    let messages = Arc::new(messages);
    let went = servers::in_simulator(|place| through(place, messages));
    assert_eq!(went, Ok(()));
}
