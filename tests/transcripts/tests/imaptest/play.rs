//! Plays a script against a server, over any runtime's sockets.

use crate::matching::{Variables, matches};
use crate::script::{Group, Message, Script, State};
use crate::value::{Value, parse};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use mox_driver::{Runtime, Timer};
use std::net::SocketAddr;
use std::time::Duration;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
const MAILBOX: &str = "imaptest";

/// Where a server is, and who may log in.
#[derive(Debug, Clone)]
pub struct Place<R> {
    pub runtime: R,
    pub address: SocketAddr,
    pub user: &'static str,
    pub password: &'static str,
    /// Literals are announced with `{n+}`.
    pub literal_plus: bool,
}

pub struct Connection<R: Runtime> {
    place: Place<R>,
    stream: R::Stream,
    heard: Vec<u8>,
    tags: u32,
    number: usize,
    /// Messages in the selected mailbox.
    messages: u32,
    capabilities: Vec<String>,
}

/// Plays it; why it failed, if it did.
pub async fn play<R: Runtime>(place: Place<R>, script: &Script) -> Result<(), String> {
    let mut connections = Vec::new();
    for number in 1..=script.connections {
        let mut connection = Connection::open(place.clone(), number).await?;
        let login = format!("LOGIN {} \"{}\"", place.user, place.password);
        connection.must(&login).await?;
        connection.must("CAPABILITY").await?;
        connections.push(connection);
    }
    let offered = &connections[0].capabilities;
    if let Some(missing) = script.capabilities.iter().find(|c| !offered.contains(c)) {
        return Err(format!("skipped: {missing} is not offered"));
    }
    let mut source = script.mbox.iter().cycle();
    let first = &mut connections[0];
    if script.state >= State::Created {
        first.must(&format!("CREATE {MAILBOX}")).await?;
    }
    if script.state >= State::Appended {
        let count = script.messages.unwrap_or(script.mbox.len());
        for message in source.by_ref().take(count) {
            let command = append(MAILBOX, Some(&message.date), message);
            first.must(&command).await?;
        }
    }
    if script.state == State::Selected {
        for connection in &mut connections {
            connection.must(&format!("SELECT {MAILBOX}")).await?;
        }
    }
    let mut vars = Variables::default();
    vars.set("mailbox", MAILBOX);
    vars.set("mailbox_url", MAILBOX);
    vars.set("user", place.user);
    vars.set("password", place.password);
    for group in &script.groups {
        let connection = &mut connections[group.connection];
        let played = run(connection, group, script, &mut vars, &mut source).await;
        played.map_err(|why| format!("line {}: {why}", group.commands[0].line))?;
    }
    connections[0].must("LOGOUT").await
}

/// The command that appends a message; with the date of its envelope, if wanted.
fn append(arguments: &str, date: Option<&str>, message: &Message) -> String {
    let text = str::from_utf8(&message.text).unwrap();
    let date = date.map_or(String::new(), |date| format!(" \"{date}\""));
    format!("APPEND {arguments}{date} {{{}}}\r\n{text}", text.len())
}

async fn run<R: Runtime>(
    connection: &mut Connection<R>,
    group: &Group,
    script: &Script,
    vars: &mut Variables,
    source: &mut impl Iterator<Item = &Message>,
) -> Result<(), String> {
    vars.numbers = (1..=connection.messages).collect();
    let mut open = Vec::new();
    let mut found = vec![false; group.untagged.len()];
    let mut extra = Vec::new();
    let mut heard = Vec::new();
    for command in &group.commands {
        let mut text = vars.expand(&command.text);
        if let Some(arguments) = without_message(&text) {
            let message = source.next().expect("a message");
            let date = arguments.is_empty().then_some(&*message.date);
            let arguments = if arguments.is_empty() {
                MAILBOX
            } else {
                &arguments
            };
            text = append(arguments, date, message).into_bytes();
        }
        let tag = connection.tag();
        heard.extend(connection.send(&tag, &text).await?);
        open.push((tag, command));
    }
    vars.set("tag", open[0].0.clone());
    while !open.is_empty() {
        let line = match heard.is_empty() {
            true => connection.line().await?,
            false => heard.remove(0),
        };
        let shown = || String::from_utf8_lossy(&line).into_owned();
        if let Some(untagged) = line.strip_prefix(b"* ") {
            let values = parse(untagged);
            connection.note(&values);
            let mut known = false;
            for (expected, found) in group.untagged.iter().zip(&mut found) {
                if *found {
                    continue;
                }
                if matches(vars, &expected.values, &values, has_text(&values)) {
                    if !expected.exists {
                        return Err(format!("this must not come: {}", shown()));
                    }
                    (*found, known) = (true, true);
                }
            }
            if !known {
                extra.push(shown());
            }
            if let [Value::Text(number), Value::Text(word), ..] = &values[..]
                && word.eq_ignore_ascii_case(b"EXPUNGE")
            {
                vars.expunged(str::from_utf8(number).unwrap().parse().unwrap());
            }
            continue;
        }
        if line.starts_with(b"+") {
            continue;
        }
        let at = open
            .iter()
            .position(|(tag, _)| line.starts_with(format!("{tag} ").as_bytes()));
        let (tag, command) =
            open.remove(at.ok_or_else(|| format!("nobody asked for {}", shown()))?);
        let values = parse(&line[tag.len() + 1..]);
        let reply = command.reply.as_deref().unwrap_or_default();
        if !matches(vars, reply, &values, true) {
            return Err(format!("expected {reply:?}, got {}", shown()));
        }
    }
    let missing = group
        .untagged
        .iter()
        .zip(&found)
        .find(|(e, found)| e.exists && !**found);
    if let Some((expected, _)) = missing {
        let shown = show(&expected.values);
        return Err(format!("this did not come: {shown}\nbut this: {extra:#?}"));
    }
    match script.ignore_extra || extra.is_empty() {
        true => Ok(()),
        false => Err(format!("nobody expected {extra:?}")),
    }
}

fn show(values: &[Value]) -> String {
    let shown = values.iter().map(|value| match value {
        Value::Nil => "NIL".into(),
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::List(values) => format!("({})", show(values)),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The arguments of an APPEND that has no message of its own.
fn without_message(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let (word, arguments) = text.split_once(' ').unwrap_or((text, ""));
    let own = arguments.contains("}\r\n") || arguments.contains(" catenate");
    (word.eq_ignore_ascii_case("append") && !own).then(|| arguments.to_owned())
}

/// A status response: what stands behind its code is for people.
fn has_text(values: &[Value]) -> bool {
    let first = values
        .first()
        .and_then(Value::text)
        .unwrap_or_default()
        .to_ascii_lowercase();
    matches!(&first[..], b"ok" | b"no" | b"bad" | b"bye")
}

impl<R: Runtime> Connection<R> {
    pub async fn open(place: Place<R>, number: usize) -> Result<Self, String> {
        let stream = place.runtime.connect(place.address, None).await;
        let mut connection = Self {
            stream: stream.map_err(|e| e.to_string())?,
            place,
            heard: Vec::new(),
            tags: 0,
            number,
            messages: 0,
            capabilities: Vec::new(),
        };
        connection.line().await?;
        Ok(connection)
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("{}.{}", self.number, self.tags)
    }

    /// Runs a command that belongs to no script.
    async fn must(&mut self, command: &str) -> Result<(), String> {
        self.ask(command.as_bytes()).await.map(drop)
    }

    /// Runs a command; the untagged responses to it, without the star.
    pub async fn ask(&mut self, command: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let tag = self.tag();
        let mut heard = self.send(&tag, command).await?;
        let mut untagged = Vec::new();
        loop {
            let line = match heard.is_empty() {
                true => self.line().await?,
                false => heard.remove(0),
            };
            if let Some(response) = line.strip_prefix(b"* ") {
                self.note(&parse(response));
                untagged.push(response.to_vec());
            } else if line.starts_with(format!("{tag} OK").as_bytes()) {
                return Ok(untagged);
            } else if !line.starts_with(b"+") {
                let command = command.get(..200).unwrap_or(command).escape_ascii();
                return Err(format!("{command}: {}", String::from_utf8_lossy(&line)));
            }
        }
    }

    /// Sends a command, waiting where a literal waits. What came meanwhile is given back.
    async fn send(&mut self, tag: &str, text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut heard = Vec::new();
        let mut whole = format!("{tag} ").into_bytes();
        whole.extend_from_slice(text);
        whole.extend_from_slice(b"\r\n");
        let mut rest = &whole[..];
        while let Some((head, octets)) = announced(rest) {
            let (line, after) = rest.split_at(head);
            let (literal, after) = after.split_at(octets);
            rest = after;
            if self.place.literal_plus {
                let mut line = line[..line.len() - 3].to_vec();
                line.extend_from_slice(b"+}\r\n");
                self.write(&line).await?;
            } else {
                self.write(line).await?;
                loop {
                    let line = self.line().await?;
                    let goes_on = line.starts_with(b"+");
                    let is_over = line.starts_with(format!("{tag} ").as_bytes());
                    heard.push(line);
                    if is_over {
                        return Ok(heard);
                    }
                    if goes_on {
                        break;
                    }
                }
            }
            self.write(literal).await?;
        }
        self.write(rest).await?;
        Ok(heard)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|e| e.to_string())
    }

    /// The next response without its last CRLF, literals in place.
    async fn line(&mut self) -> Result<Vec<u8>, String> {
        let mut length = 0;
        loop {
            let fresh = self.heard.get(length..).unwrap_or_default();
            if let Some(at) = fresh.windows(2).position(|two| two == b"\r\n") {
                let line = &fresh[..at + 2];
                match announced(line).map(|(_, octets)| octets) {
                    Some(octets) => length += at + 2 + octets,
                    None => {
                        let mut line: Vec<u8> = self.heard.drain(..length + at + 2).collect();
                        line.truncate(line.len() - 2);
                        return Ok(line);
                    }
                }
                continue;
            }
            self.hear().await?;
        }
    }

    async fn hear(&mut self) -> Result<(), String> {
        let mut timer = self.place.runtime.timer();
        timer.arm(Some(self.place.runtime.now().mono + PATIENCE));
        let mut piece = [0; 8_192];
        let reading = async {
            self.stream
                .read(&mut piece)
                .await
                .map_err(|e| e.to_string())
        };
        let waiting = async {
            future::poll_fn(|cx| timer.poll_fired(cx)).await;
            Err("nothing came in time".to_owned())
        };
        match future::or(reading, waiting).await? {
            0 => Err(format!(
                "closed after {:?}",
                String::from_utf8_lossy(&self.heard)
            )),
            got => {
                self.heard.extend_from_slice(&piece[..got]);
                Ok(())
            }
        }
    }

    /// Keeps count of the messages.
    fn note(&mut self, values: &[Value]) {
        match values {
            [Value::Text(word), rest @ ..] if word.eq_ignore_ascii_case(b"CAPABILITY") => {
                let words = rest.iter().filter_map(Value::text);
                self.capabilities = words
                    .map(|w| String::from_utf8_lossy(w).into_owned())
                    .collect();
            }
            [Value::Text(number), Value::Text(word), ..] => {
                let number = str::from_utf8(number).ok().and_then(|n| n.parse().ok());
                match (&word.to_ascii_uppercase()[..], number) {
                    (b"EXISTS", Some(number)) => self.messages = number,
                    (b"EXPUNGE", Some(_)) => self.messages -= 1,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// The first literal that is announced: where the announcement ends, and the octets that follow.
fn announced(text: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let end = from
            + text[from..]
                .windows(3)
                .position(|three| three == b"}\r\n")?;
        let open = text[..end].iter().rposition(|b| *b == b'{')?;
        if let Some(octets) = str::from_utf8(&text[open + 1..end])
            .ok()
            .and_then(|n| n.parse().ok())
        {
            return Some((end + 3, octets));
        }
        from = end + 1;
    }
}
