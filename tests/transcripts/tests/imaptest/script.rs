//! The scripts of imaptest: a header, then groups of commands and what must, or must not, be answered.

use crate::value::{Value, parse};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Auth,
    Created,
    Appended,
    Selected,
}

#[derive(Debug)]
pub struct Script {
    pub name: String,
    pub capabilities: Vec<String>,
    pub connections: usize,
    /// `None`: as many as there are.
    pub messages: Option<usize>,
    pub state: State,
    pub ignore_extra: bool,
    pub groups: Vec<Group>,
    pub mbox: Vec<Message>,
}

/// Commands that are sent together, and all that is expected until the last of them is answered.
#[derive(Debug, Default)]
pub struct Group {
    pub connection: usize,
    pub commands: Vec<Command>,
    pub untagged: Vec<Untagged>,
}

#[derive(Debug)]
pub struct Command {
    pub line: usize,
    tag: u32,
    pub reply: Option<Vec<Value>>,
    /// Literals in place, with synchronising announcements.
    pub text: Vec<u8>,
}

#[derive(Debug)]
pub struct Untagged {
    /// Must come; otherwise it must not.
    pub exists: bool,
    pub values: Vec<Value>,
}

/// A message with CRLF line ends, and the date of its envelope line as INTERNALDATE has it.
#[derive(Debug, Clone)]
pub struct Message {
    pub date: String,
    pub text: Vec<u8>,
}

/// Reads a script, with the messages it appends.
pub fn read(name: &str, text: &[u8], mbox: &[u8]) -> Script {
    let mut script = Script {
        name: name.into(),
        capabilities: Vec::new(),
        connections: 1,
        messages: None,
        state: State::Selected,
        ignore_extra: true,
        groups: Vec::new(),
        mbox: messages(mbox),
    };
    let mut header = true;
    for (at, line) in joined(text) {
        if line.is_empty() {
            header = false;
        } else if line.starts_with(b"#") {
        } else if header {
            setting(&mut script, str::from_utf8(&line).unwrap());
        } else {
            body(&mut script, at, &line);
        }
    }
    let answered = |group: &Group| group.commands.iter().all(|c| c.reply.is_some());
    assert!(
        script.groups.iter().all(answered),
        "{name}: a command without a reply"
    );
    script
}

/// Logical lines with their numbers: `{{{` to `}}}` become literals.
fn joined(text: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut lines = Vec::new();
    let mut whole: Option<(usize, Vec<u8>)> = None;
    // The literal that is open: its octets, and whether line ends are taken as they are.
    let mut open: Option<(Vec<u8>, bool)> = None;
    for (at, line) in (1..).zip(
        text.strip_suffix(b"\n")
            .unwrap_or(text)
            .split(|b| *b == b'\n'),
    ) {
        let mut rest = line.to_vec();
        if let Some((octets, raw)) = &mut open {
            if !line.starts_with(b"}}}") {
                octets.extend_from_slice(line);
                octets.extend_from_slice(if *raw { b"\n" } else { b"\r\n" });
                continue;
            }
            // The last line end belongs to the script.
            octets.truncate(octets.len() - if *raw { 1 } else { 2 });
            let (_, whole) = whole.as_mut().unwrap();
            whole.extend_from_slice(format!("{{{}}}\r\n", octets.len()).as_bytes());
            whole.extend_from_slice(octets);
            open = None;
            rest.drain(..3);
        }
        let (first, mut so_far) = whole.take().unwrap_or((at, Vec::new()));
        match rest.strip_suffix(b"{{{") {
            Some(before) => {
                so_far.extend_from_slice(before);
                open = Some((Vec::new(), before.ends_with(b"~")));
                whole = Some((first, so_far));
            }
            None => {
                so_far.extend_from_slice(&rest);
                lines.push((first, so_far));
            }
        }
    }
    assert!(open.is_none(), "a literal is not closed");
    lines
}

fn setting(script: &mut Script, line: &str) {
    let (key, value) = line.split_once(':').unwrap();
    let value = value.trim();
    match key.trim() {
        "capabilities" => script.capabilities = value.split(' ').map(Into::into).collect(),
        "connections" => script.connections = value.parse().unwrap(),
        "messages" => script.messages = (value != "all").then(|| value.parse().unwrap()),
        "ignore_extra_untagged" => script.ignore_extra = value.starts_with('y'),
        "state" => {
            script.state = match value {
                "auth" => State::Auth,
                "created" => State::Created,
                "appended" => State::Appended,
                "selected" => State::Selected,
                other => panic!("state {other}"),
            }
        }
        other => panic!("there is no setting {other}"),
    }
}

fn body(script: &mut Script, at: usize, line: &[u8]) {
    let pending = script
        .groups
        .last()
        .is_some_and(|g| g.commands.iter().any(|c| c.reply.is_none()));
    if let Some(expected) = line
        .strip_prefix(b"* ")
        .or_else(|| line.strip_prefix(b"! "))
    {
        let group = script.groups.last_mut().expect("a command comes first");
        group.untagged.push(Untagged {
            exists: line.starts_with(b"*"),
            values: with_defaults(parse(expected)),
        });
        return;
    }
    let (mut connection, mut rest) = (1, line);
    if script.connections > 1 {
        let space = line.iter().position(|b| *b == b' ').unwrap();
        // A reply need not repeat it.
        if let Ok(number) = str::from_utf8(&line[..space]).unwrap().parse() {
            (connection, rest) = (number, &line[space + 1..]);
        }
    }
    let (tag, status, text) = beginning(rest);
    if pending && let Some(status) = status {
        let group = script.groups.last_mut().unwrap();
        let command = group
            .commands
            .iter_mut()
            .find(|c| c.tag == tag && c.reply.is_none());
        let mut reply = vec![Value::Text(status.into())];
        reply.extend(parse(text));
        command.expect("the tag of a command").reply = Some(reply);
        return;
    }
    if !pending {
        script.groups.push(Group {
            connection: connection - 1,
            ..Group::default()
        });
    }
    script.groups.last_mut().unwrap().commands.push(Command {
        line: at,
        tag,
        reply: status.map(|status| vec![Value::Text(status.into())]),
        text: text.to_vec(),
    });
}

/// `tag2 ok rest`: the tag's number (0 without one), the status, the rest.
fn beginning(line: &[u8]) -> (u32, Option<&'static str>, &[u8]) {
    let word = |line: &'_ [u8]| line.split(|b| *b == b' ').next().unwrap().to_vec();
    let after = |line: &'_ [u8], n: usize| n + usize::from(line.get(n) == Some(&b' '));
    let first = word(line);
    let digits = first
        .strip_prefix(b"tag")
        .and_then(|n| str::from_utf8(n).ok()?.parse().ok());
    let (tag, rest) = match digits {
        Some(tag) => (tag, &line[after(line, first.len())..]),
        None => (0, line),
    };
    let second = word(rest).to_ascii_lowercase();
    let status = match &second[..] {
        b"ok" => Some("ok"),
        b"no" => Some("no"),
        b"bad" => Some("bad"),
        // Any.
        b"\"\"" => Some(""),
        _ => None,
    };
    let rest = match status {
        Some(_) => &rest[after(rest, second.len())..],
        None => rest,
    };
    (tag, status, rest)
}

/// What lists mean that do not say it: the order of flags and of pairs is free.
fn with_defaults(mut values: Vec<Value>) -> Vec<Value> {
    let word = |value: Option<&Value>| value.and_then(Value::text).map(<[u8]>::to_ascii_lowercase);
    let numbered = word(values.first()).is_some_and(|w| w[0] == b'$' || w[0].is_ascii_digit());
    let name = word(values.get(usize::from(numbered))).unwrap_or_default();
    let at = match &name[..] {
        b"list" | b"lsub" => 1,
        b"fetch" | b"status" => 2,
        _ => return values,
    };
    let Some(Value::List(list)) = values.get_mut(at) else {
        return values;
    };
    if name == b"fetch" {
        let mut flags = false;
        for value in list.iter_mut() {
            if let (true, Value::List(inner)) = (flags, &mut *value) {
                directives(inner, &["$!unordered", "$!noextra", "$!ignore=\\recent"]);
            }
            flags = word(Some(value)).is_some_and(|w| w == b"flags");
        }
    }
    let pairs = at == 2;
    directives(
        list,
        if pairs {
            &["$!unordered=2"]
        } else {
            &["$!unordered"]
        },
    );
    values
}

fn directives(list: &mut Vec<Value>, defaults: &[&str]) {
    let has = list
        .first()
        .and_then(Value::text)
        .is_some_and(|w| w.starts_with(b"$!"));
    if !has {
        let defaults = defaults.iter().map(|d| Value::Text(d.as_bytes().to_vec()));
        list.splice(..0, defaults);
    }
}

/// The messages of an mbox file. The empty line before an envelope line belongs to the message before it.
fn messages(mbox: &[u8]) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for line in mbox
        .strip_suffix(b"\n")
        .unwrap_or(mbox)
        .split(|b| *b == b'\n')
    {
        if let Some(envelope) = line.strip_prefix(b"From ") {
            messages.push(Message {
                date: date(str::from_utf8(envelope).unwrap()),
                text: Vec::new(),
            });
        } else {
            let text = &mut messages.last_mut().expect("an envelope line").text;
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
        }
    }
    messages
}

/// `user@domain  Fri Feb 22 17:06:23 2008 +0200` as ` 22-Feb-2008 17:06:23 +0200`.
fn date(envelope: &str) -> String {
    let words: Vec<&str> = envelope.split_whitespace().collect();
    let [_, _, month, day, time, year, zone @ ..] = &words[..] else {
        panic!("{envelope}");
    };
    let zone = zone.first().unwrap_or(&"+0000");
    format!("{day:>2}-{month}-{year} {time} {zone}")
}
