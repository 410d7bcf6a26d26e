//! A small world for one or more sessions: accounts, mailboxes, messages, in memory.

use bytes::{Bytes, BytesMut};
use mox_imap::server::*;
use mox_imap::{SearchKey, Server};
use mox_machine::{AskId, Mono, Now, Recorded, Seed, Session, Step, Tape, TlsFacts, Utc};
use mox_mime::{Envelope, Part};
use mox_uids::{Uid, UidSet};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const PASSWORD: &str = "hunter2 \"x\\";

#[derive(Debug, Clone)]
pub struct Message {
    pub flags: u8,
    pub keywords: u64,
    pub modseq: u64,
    pub date: Utc,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub struct Mailbox {
    pub id: u32,
    pub next: u32,
    pub modseq: u64,
    pub keywords: Vec<String>,
    pub messages: BTreeMap<u32, Message>,
    pub gone: Vec<(u64, u32)>,
    /// Those that no session was told of.
    pub recent: UidSet,
    pub special_use: Option<String>,
}

/// What all sessions share.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub mailboxes: BTreeMap<String, Mailbox>,
    pub subscriptions: Vec<String>,
    pub boxes: u32,
    pub annotations: BTreeMap<(Option<String>, String), Bytes>,
    /// There is no quota.
    pub unlimited: bool,
    /// Rows with which a STORE is answered at most.
    pub told_max: Option<usize>,
    /// All mailboxes as they were whenever somebody looked.
    pictures: Vec<String>,
}

pub const FIRST: &str =
    "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: one\r\n two\r\n\r\nHello.\r\n";

impl World {
    pub fn new() -> Self {
        let mut world = Self::default();
        world.create("INBOX", None);
        for n in 1..=3u32 {
            let text = if n == 1 {
                FIRST.to_string()
            } else {
                format!("Subject: m{n}\r\n\r\nbody {n}\r\n")
            };
            world.deliver("INBOX", text.into_bytes(), 0);
        }
        world
    }

    pub fn create(&mut self, name: &str, special_use: Option<String>) {
        self.boxes += 1;
        let mailbox = Mailbox {
            id: self.boxes,
            next: 1,
            modseq: 1,
            special_use,
            ..Mailbox::default()
        };
        self.mailboxes.insert(name.into(), mailbox);
    }

    pub fn deliver(&mut self, name: &str, bytes: Vec<u8>, flags: u8) -> u32 {
        let mailbox = self.mailboxes.get_mut(name).unwrap();
        let uid = mailbox.next;
        mailbox.next += 1;
        mailbox.modseq += 1;
        let date = Utc::from_secs(1_767_323_045);
        mailbox.messages.insert(
            uid,
            Message {
                flags,
                keywords: 0,
                modseq: mailbox.modseq,
                date,
                bytes,
            },
        );
        uid
    }

    /// A message that no session was told of; false when there is no such mailbox.
    pub fn arrive(&mut self, name: &str) -> bool {
        let uid = self.deliver(name, b"Subject: new\r\n\r\nnew\r\n".to_vec(), 0);
        let Some(mailbox) = self.mailboxes.get_mut(name) else {
            return false;
        };
        mailbox.recent.insert(Uid(uid));
        true
    }

    /// Takes a message away; false when there is none.
    pub fn expunge(&mut self, name: &str, uid: u32) -> bool {
        let Some(mailbox) = self.mailboxes.get_mut(name) else {
            return false;
        };
        if mailbox.messages.remove(&uid).is_none() {
            return false;
        }
        mailbox.modseq += 1;
        mailbox.gone.push((mailbox.modseq, uid));
        true
    }

    /// Gives a message these flags; false when there is none.
    pub fn flag(&mut self, name: &str, uid: u32, flags: u8) -> bool {
        let Some(mailbox) = self.mailboxes.get_mut(name) else {
            return false;
        };
        let Some(message) = mailbox.messages.get_mut(&uid) else {
            return false;
        };
        mailbox.modseq += 1;
        (message.flags, message.modseq) = (flags, mailbox.modseq);
        true
    }

    /// Gives a mailbox another name; false when there is none.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let mailbox = self.mailboxes.remove(from);
        mailbox.is_some_and(|mailbox| self.mailboxes.insert(to.into(), mailbox).is_none())
    }

    /// How many different pictures of all mailboxes there were, as far as anybody looked.
    pub fn number(&mut self) -> u64 {
        let mailboxes = self
            .mailboxes
            .iter()
            .map(|(name, m)| (name, m.id, m.modseq));
        let picture = format!(
            "{:?} {:?} {:?}",
            mailboxes.collect::<Vec<_>>(),
            self.subscriptions,
            self.annotations
        );
        if self.pictures.last() != Some(&picture) {
            self.pictures.push(picture);
        }
        self.pictures.len() as u64
    }

    fn by_id(&mut self, id: BoxId) -> Option<&mut Mailbox> {
        self.mailboxes.values_mut().find(|m| m.id == id.0)
    }
}

/// One session and its side of the world.
pub struct Client {
    pub session: Recorded<Server>,
    pub now: Now,
    pub input: BytesMut,
    pub output: Vec<u8>,
    pub events: Vec<Event>,
    pub asks: Vec<String>,
    pub closed: bool,
    pub upgrade: bool,
    /// Compression was asked for. Here nothing is compressed.
    pub compress: bool,
    /// Answers every APPEND with this.
    pub refuse_append: Option<Refusal>,
    /// Page size of Rows, to have several.
    pub page: usize,
    /// What `Watch` is to answer comes later than what else is asked.
    pub slow_watch: bool,
    /// What another session does just before this one is answered what changed.
    pub before_changes: Option<fn(&mut World)>,
    /// Answers the open Observe with a refusal while a body is asked for.
    pub refuse_observe: bool,
    watch: Option<(AskId, BoxId, u64)>,
    observe: Option<(AskId, u64)>,
    append: Vec<(String, Vec<Flag>, Vec<u8>)>,
}

impl Client {
    pub fn with(config: Config) -> Self {
        Self::recorded(config, None)
    }

    /// The same with a tape beside it.
    pub fn recorded(config: Config, tape: Option<Tape<Server>>) -> Self {
        Self {
            session: Recorded::new(Server::new(config, Seed::from_number(1)), tape),
            now: Now {
                mono: Mono(1_000_000_000),
                utc: Utc::from_secs(1_767_323_045),
            },
            input: BytesMut::new(),
            output: Vec::new(),
            events: Vec::new(),
            asks: Vec::new(),
            closed: false,
            upgrade: false,
            compress: false,
            refuse_append: None,
            page: 2,
            slow_watch: false,
            before_changes: None,
            refuse_observe: false,
            watch: None,
            observe: None,
            append: Vec::new(),
        }
    }

    pub fn new() -> Self {
        Self::with(Config {
            clear_auth: true,
            ..Config::default()
        })
    }

    /// Logged in, with INBOX selected, and nothing in the output.
    pub fn selected(world: &mut World) -> Self {
        let mut client = Self::new();
        client.say(world, "l AUTHENTICATE PLAIN AHUAcA==\r\ns SELECT INBOX\r\n");
        assert!(
            client
                .text()
                .ends_with("s OK [READ-WRITE] SELECT completed\r\n"),
            "{}",
            client.text()
        );
        client.output.clear();
        client
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Sends bytes and returns what came since the last call.
    pub fn say(&mut self, world: &mut World, bytes: impl AsRef<[u8]>) -> String {
        let from = self.output.len();
        self.input.extend_from_slice(bytes.as_ref());
        self.run(world);
        String::from_utf8_lossy(&self.output[from..]).into_owned()
    }

    /// Sends bytes in pieces.
    pub fn feed(
        &mut self,
        world: &mut World,
        pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> String {
        let from = self.output.len();
        for piece in pieces {
            self.input.extend_from_slice(piece.as_ref());
            self.run(world);
        }
        String::from_utf8_lossy(&self.output[from..]).into_owned()
    }

    pub fn run(&mut self, world: &mut World) {
        let mut answers = Vec::new();
        loop {
            // As a driver does it: what is known is told, then more is read, then the session is asked what it wants.
            let mut moved = !answers.is_empty();
            for (id, answer) in answers.drain(..) {
                self.session.answer(self.now, id, answer);
            }
            if !self.slow_watch
                && let Some((id, answer)) = self.watched(world)
            {
                self.session.answer(self.now, id, answer);
                moved = true;
            }
            if let Some((id, answer)) = self.observed(world) {
                self.session.answer(self.now, id, answer);
                moved = true;
            }
            let before = self.input.len();
            let wanted = self.session.wants_read();
            self.session.recv(self.now, &mut self.input);
            assert!(
                wanted || self.input.len() == before,
                "read without wanting to"
            );
            moved |= self.input.len() != before;
            while let Some(step) = self.session.poll() {
                moved = true;
                assert!(!self.closed, "{step:?} after the close");
                match step {
                    Step::Send(bytes) => self.output.extend_from_slice(&bytes),
                    Step::Event(event) => {
                        if event == Event::AppendDropped {
                            self.append.clear();
                        }
                        self.events.push(event);
                    }
                    Step::Close => self.closed = true,
                    Step::StartTls => self.upgrade = true,
                    Step::Compress => self.compress = true,
                    Step::Cancel(id) => {
                        answers.retain(|(open, _)| *open != id);
                        self.cancel(id);
                    }
                    Step::Ask(id, ask) => {
                        let shown = format!("{ask:?}");
                        assert!(!shown.contains("hunter2"), "{shown}");
                        self.asks
                            .push(shown.split([' ', '(', '{']).next().unwrap().into());
                        if let Some(answer) = self.answer(world, id, ask) {
                            answers.push((id, answer));
                        }
                    }
                }
            }
            assert!(self.session.poll().is_none());
            if !moved {
                return;
            }
        }
    }

    pub fn secure(&mut self) {
        self.upgrade = false;
        self.session.secured(self.now, TlsFacts::default());
    }

    fn row(uid: u32, message: &Message, want: Want) -> Row {
        let end = message
            .bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map_or(message.bytes.len(), |at| at + 4);
        let part = Part {
            media: b"text".to_vec(),
            subtype: b"plain".to_vec(),
            encoding: b"7bit".to_vec(),
            body: end as u64,
            end: message.bytes.len() as u64,
            lines: message.bytes[end..].iter().filter(|&&b| b == b'\n').count() as u32,
            ..Part::default()
        };
        let envelope = Envelope {
            subject: Some(b"one two".to_vec()),
            ..Envelope::default()
        };
        Row {
            uid: Uid(uid),
            modseq: message.modseq,
            size: message.bytes.len() as u64,
            flags: SystemFlags(message.flags),
            keywords: message.keywords,
            date: want.date.then_some(message.date),
            envelope: want.envelope.then(|| Arc::new(envelope)),
            structure: want.structure.then(|| Arc::new(part)),
            header: want
                .header
                .then(|| Bytes::copy_from_slice(&message.bytes[..end])),
            more: (want.identity || want.preview.is_some())
                .then(|| Arc::new(Self::more(uid, message, want))),
        }
    }

    fn more(uid: u32, message: &Message, want: Want) -> More {
        let text = String::from_utf8_lossy(&message.bytes);
        let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
        More {
            saved: want.identity.then_some(message.date),
            email: want.identity.then_some([uid as u8; 16]),
            preview: (want.preview == Some(Preview::Eager)).then(|| body.trim().to_string()),
        }
    }

    /// The answer to the open watch, once there is one.
    pub fn watched(&mut self, world: &mut World) -> Option<(AskId, Answer)> {
        let (id, mailbox, since) = self.watch?;
        let answer = match world.by_id(mailbox) {
            None => Answer::Gone,
            Some(mailbox) if mailbox.modseq > since => Answer::Modseq(mailbox.modseq),
            Some(_) => return None,
        };
        self.watch = None;
        Some((id, answer))
    }

    /// The answer to the open Observe, once there is one.
    pub fn observed(&mut self, world: &mut World) -> Option<(AskId, Answer)> {
        let (id, since) = self.observe?;
        let number = world.number();
        (number > since).then(|| {
            self.observe = None;
            (id, Answer::Modseq(number))
        })
    }

    pub fn cancel(&mut self, id: AskId) {
        if self.observe.is_some_and(|(observe, _)| observe == id) {
            self.observe = None;
        }
        if self.watch.is_some_and(|(watch, ..)| watch == id) {
            self.watch = None;
        }
    }

    pub fn answer(&mut self, world: &mut World, id: AskId, ask: Ask) -> Option<Answer> {
        let no = |code, text: &str| {
            Answer::No(Refusal {
                code,
                text: text.into(),
            })
        };
        Some(match ask {
            Ask::Login { user, password } => {
                if password.expose() == PASSWORD {
                    Answer::Authenticated(String::from_utf8_lossy(&user).into_owned())
                } else {
                    no(Some("AUTHENTICATIONFAILED"), "wrong\r\n* BYE injected")
                }
            }
            Ask::Sasl {
                mechanism,
                response,
                ..
            } => sasl(&mechanism, response.as_ref().map(|r| &r.expose()[..])),
            Ask::Mailboxes => {
                let mut list: Vec<_> = world
                    .mailboxes
                    .iter()
                    .map(|(name, mailbox)| MailboxInfo {
                        name: name.clone(),
                        subscribed: world.subscriptions.contains(name),
                        exists: true,
                        special_use: mailbox.special_use.clone(),
                    })
                    .collect();
                for name in &world.subscriptions {
                    if !world.mailboxes.contains_key(name) {
                        list.push(MailboxInfo {
                            name: name.clone(),
                            subscribed: true,
                            exists: false,
                            special_use: None,
                        });
                    }
                }
                list.sort_by(|a, b| a.name.cmp(&b.name));
                Answer::Mailboxes(list)
            }
            Ask::Status { name, .. } => match world.mailboxes.get(&name) {
                None => no(Some("NONEXISTENT"), "no such mailbox"),
                Some(mailbox) => Answer::Status(StatusFigures {
                    mailbox: BoxId(mailbox.id),
                    recent: mailbox.recent.len(),
                    deleted_size: mailbox
                        .messages
                        .values()
                        .filter(|m| m.flags & 8 != 0)
                        .map(|m| m.bytes.len() as u64)
                        .sum(),
                    messages: mailbox.messages.len() as u32,
                    unseen: mailbox
                        .messages
                        .values()
                        .filter(|m| m.flags & 1 == 0)
                        .count() as u32,
                    deleted: mailbox
                        .messages
                        .values()
                        .filter(|m| m.flags & 8 != 0)
                        .count() as u32,
                    size: mailbox
                        .messages
                        .values()
                        .map(|m| m.bytes.len() as u64)
                        .sum(),
                    next: mailbox.next,
                    validity: 7,
                    modseq: mailbox.modseq,
                }),
            },
            Ask::Edit(edit) => match edit {
                MailboxEdit::Create { name, special_use } => {
                    if world.mailboxes.contains_key(&name) {
                        return Some(no(Some("ALREADYEXISTS"), "it exists"));
                    }
                    world.create(&name, special_use);
                    Answer::Created(BoxId(world.boxes))
                }
                MailboxEdit::Delete { name } => match world.mailboxes.remove(&name) {
                    Some(_) => Answer::Done,
                    None => no(Some("NONEXISTENT"), "no such mailbox"),
                },
                MailboxEdit::Rename { from, to } => {
                    assert!(world.rename(&from, &to));
                    Answer::Done
                }
                MailboxEdit::Subscribe { name, on } => {
                    world.subscriptions.retain(|n| *n != name);
                    if on {
                        world.subscriptions.push(name);
                    }
                    Answer::Done
                }
            },
            Ask::Observe { since } => {
                self.observe = Some((id, since));
                return None;
            }
            Ask::Compress => Answer::Accept,
            Ask::Unauthenticate => Answer::Done,
            Ask::Vanished { mailbox, since } => {
                let gone = &world.by_id(mailbox).unwrap().gone;
                let gone = gone.iter().filter(|(modseq, _)| *modseq > since);
                Answer::Vanished(gone.map(|(_, uid)| Uid(*uid)).collect())
            }
            Ask::Select { name, read_only } => match world.mailboxes.get_mut(&name) {
                None => no(Some("NONEXISTENT"), "no such mailbox"),
                Some(mailbox) => Answer::Selected(Selected {
                    recent: match read_only {
                        true => mailbox.recent.clone(),
                        false => std::mem::take(&mut mailbox.recent),
                    },
                    mailbox: BoxId(mailbox.id),
                    validity: 7,
                    next: mailbox.next,
                    modseq: mailbox.modseq,
                    first_unseen: mailbox
                        .messages
                        .iter()
                        .find(|(_, m)| m.flags & 1 == 0)
                        .map(|(u, _)| Uid(*u)),
                    uids: Arc::new(mailbox.messages.keys().map(|u| Uid(*u)).collect()),
                    keywords: mailbox.keywords.clone(),
                    writable: true,
                }),
            },
            Ask::Watch { mailbox, since } => {
                assert!(self.watch.is_none(), "two watches");
                self.watch = Some((id, mailbox, since));
                return None;
            }
            Ask::Changes {
                mailbox,
                since,
                max: _,
            } => {
                if let Some(other) = self.before_changes.take() {
                    other(world);
                }
                let Some(mailbox) = world.by_id(mailbox) else {
                    return Some(Answer::Gone);
                };
                let mut rows: Vec<_> = mailbox
                    .messages
                    .iter()
                    .filter(|(_, m)| m.modseq > since)
                    .map(|(uid, m)| Self::row(*uid, m, Want::default()))
                    .collect();
                rows.sort_by_key(|row| row.modseq);
                // One modification sequence a page.
                let first = rows.first().map_or(0, |row| row.modseq);
                let more = rows.iter().any(|row| row.modseq > first);
                rows.retain(|row| row.modseq == first);
                let upto = if more { rows[0].modseq } else { mailbox.modseq };
                Answer::Changes(Changes {
                    rows,
                    gone: mailbox
                        .gone
                        .iter()
                        .filter(|(m, _)| *m > since && *m <= upto)
                        .map(|(_, u)| Uid(*u))
                        .collect(),
                    upto,
                    more,
                    next: mailbox.next,
                    keywords: mailbox.keywords.clone(),
                    recent: std::mem::take(&mut mailbox.recent),
                })
            }
            Ask::Rows {
                mailbox,
                uids,
                want,
                max,
            } => {
                let mailbox = world.by_id(mailbox)?;
                let wanted: Vec<_> = uids.iter().collect();
                let page = self.page.min(max as usize);
                Answer::Rows {
                    rows: wanted
                        .iter()
                        .take(page)
                        .filter_map(|u| Some(Self::row(u.0, mailbox.messages.get(&u.0)?, want)))
                        .collect(),
                    next: wanted.get(page).copied(),
                }
            }
            Ask::Body {
                mailbox,
                uid,
                part,
                range,
            } => {
                assert!(range.end - range.start <= 64 * 1024);
                if let Some((id, _)) = self.observe.take_if(|_| self.refuse_observe) {
                    self.session.answer(self.now, id, no(None, "not now"));
                }
                let Some(message) = world.by_id(mailbox)?.messages.get(&uid.0) else {
                    return Some(Answer::Missing);
                };
                let end = message
                    .bytes
                    .windows(4)
                    .position(|w| w == b"\r\n\r\n")
                    .unwrap()
                    + 4;
                let whole = match (&part.path[..], &part.what) {
                    ([], BodyWhat::All) => &message.bytes[..],
                    ([], BodyWhat::Text) | ([1], BodyWhat::All) => &message.bytes[end..],
                    _ => return Some(Answer::Missing),
                };
                let total = whole.len() as u64;
                let bytes = &whole[range.start.min(total) as usize..range.end.min(total) as usize];
                Answer::Piece {
                    total,
                    bytes: Bytes::copy_from_slice(bytes),
                }
            }
            Ask::Mark {
                mailbox,
                uids,
                how,
                flags,
                unchanged_since,
                known,
            } => {
                let told_max = world.told_max.unwrap_or(usize::MAX);
                let mailbox = world.by_id(mailbox).unwrap();
                let (mut system, mut bits) = (0, 0u64);
                for flag in flags {
                    match flag {
                        Flag::System(f) => system |= f.0,
                        Flag::Keyword(k) => {
                            let known = mailbox
                                .keywords
                                .iter()
                                .position(|n| n.eq_ignore_ascii_case(&k));
                            let at = known.unwrap_or_else(|| {
                                mailbox.keywords.push(k);
                                mailbox.keywords.len() - 1
                            });
                            bits |= 1 << at;
                        }
                    }
                }
                let modseq = mailbox.modseq + 1;
                let (mut rows, mut modified, mut ours) = (Vec::new(), UidSet::new(), UidSet::new());
                for uid in uids.iter() {
                    let Some(message) = mailbox.messages.get_mut(&uid.0) else {
                        continue;
                    };
                    if unchanged_since.is_some_and(|since| message.modseq > since) {
                        modified.insert(uid);
                        continue;
                    }
                    let before = (message.flags, message.keywords);
                    (message.flags, message.keywords) = match how {
                        MarkHow::Set => (system, bits),
                        MarkHow::Add => (message.flags | system, message.keywords | bits),
                        MarkHow::Remove => (message.flags & !system, message.keywords & !bits),
                    };
                    if before != (message.flags, message.keywords) {
                        if message.modseq <= known {
                            ours.insert(uid);
                        }
                        message.modseq = modseq;
                        rows.push(Self::row(uid.0, message, Want::default()));
                    }
                }
                let changed = !rows.is_empty();
                if changed {
                    mailbox.modseq = modseq;
                }
                let untold = rows.split_off(rows.len().min(told_max));
                Answer::Marked {
                    rows,
                    others: untold.iter().map(|row| row.uid).collect(),
                    modified,
                    changed: changed.then_some((modseq, ours)).into_iter().collect(),
                }
            }
            Ask::Copy {
                mailbox,
                uids,
                to,
                remove,
            } => {
                if !world.mailboxes.contains_key(&to) {
                    return Some(no(Some("TRYCREATE"), "no such mailbox"));
                }
                let source = world.by_id(mailbox).unwrap();
                let name = to.clone();
                let mut taken = Vec::new();
                for uid in uids.iter() {
                    if let Some(message) = source.messages.get(&uid.0).cloned() {
                        taken.push((uid, message));
                    }
                }
                if remove && !taken.is_empty() {
                    source.modseq += 1;
                    for (uid, _) in &taken {
                        source.messages.remove(&uid.0);
                        source.gone.push((source.modseq, uid.0));
                    }
                }
                let from = taken.iter().map(|(uid, _)| *uid).collect();
                let to = taken
                    .into_iter()
                    .map(|(_, m)| Uid(world.deliver(&name, m.bytes, m.flags)))
                    .collect();
                Answer::Copied {
                    validity: 7,
                    from,
                    to,
                }
            }
            Ask::Expunge { mailbox, only } => {
                let mailbox = world.by_id(mailbox).unwrap();
                let doomed: Vec<_> = mailbox
                    .messages
                    .iter()
                    .filter(|(uid, m)| {
                        m.flags & 8 != 0 && only.as_ref().is_none_or(|o| o.contains(Uid(**uid)))
                    })
                    .map(|(uid, _)| *uid)
                    .collect();
                mailbox.modseq += u64::from(!doomed.is_empty());
                for uid in &doomed {
                    mailbox.messages.remove(uid);
                    mailbox.gone.push((mailbox.modseq, *uid));
                }
                Answer::Expunged {
                    modseq: if doomed.is_empty() { 0 } else { mailbox.modseq },
                    uids: doomed.into_iter().map(Uid).collect(),
                }
            }
            Ask::Search {
                mailbox,
                among,
                key,
            } => {
                let mailbox = world.by_id(mailbox).unwrap();
                let found = mailbox
                    .messages
                    .iter()
                    .filter(|(u, m)| among.contains(Uid(**u)) && matches(&key, **u, m));
                Answer::Found {
                    uids: found.map(|(u, _)| Uid(*u)).collect(),
                    modseq: Some(mailbox.modseq),
                }
            }
            Ask::Annotations { mailbox } => {
                if mailbox
                    .as_ref()
                    .is_some_and(|name| !world.mailboxes.contains_key(name))
                {
                    return Some(no(Some("NONEXISTENT"), "no such mailbox"));
                }
                let all = world
                    .annotations
                    .iter()
                    .filter(|((at, _), _)| *at == mailbox);
                Answer::Annotations(
                    all.map(|((_, name), value)| (name.clone(), value.clone()))
                        .collect(),
                )
            }
            Ask::Annotate { mailbox, entries } => {
                if mailbox
                    .as_ref()
                    .is_some_and(|name| !world.mailboxes.contains_key(name))
                {
                    return Some(no(Some("NONEXISTENT"), "no such mailbox"));
                }
                for (name, value) in entries {
                    let key = (mailbox.clone(), name);
                    match value {
                        Some(value) => world.annotations.insert(key, value),
                        None => world.annotations.remove(&key),
                    };
                }
                Answer::Done
            }
            Ask::Quota { .. } => {
                let all = world.mailboxes.values().flat_map(|m| m.messages.values());
                Answer::Quota {
                    octets: all.map(|m| m.bytes.len() as u64).sum(),
                    most: (!world.unlimited).then_some(10_240),
                }
            }
            Ask::Sort {
                mailbox,
                among,
                key,
                order,
            } => {
                let mailbox = world.by_id(mailbox).unwrap();
                let found = mailbox.messages.iter();
                let found =
                    found.filter(|(u, m)| among.contains(Uid(**u)) && matches(&key, **u, m));
                let mut found: Vec<_> = found.map(|(u, m)| (m.bytes.len(), Uid(*u))).collect();
                // Its world knows SIZE alone.
                assert!(order.iter().all(|key| key.field == SortField::Size));
                found.sort_by_key(|(size, uid)| match order[0].reverse {
                    true => (usize::MAX - size, *uid),
                    false => (*size, *uid),
                });
                Answer::Sorted {
                    uids: found.into_iter().map(|(_, uid)| uid).collect(),
                    modseq: None,
                }
            }
            Ask::Thread { among, .. } => {
                let node = |uid, children| ThreadNode { uid, children };
                let mut nodes = Vec::new();
                let mut uids = among.iter();
                // The first begins a thread with two answers, the others are under one that is not there.
                let first: Vec<Uid> = uids.by_ref().take(3).collect();
                let rest: Vec<Uid> = uids.collect();
                for (at, uid) in first.iter().enumerate() {
                    let below = if at == 0 { first.len() as u32 - 1 } else { 0 };
                    nodes.push(node(Some(*uid), below));
                }
                if !rest.is_empty() {
                    nodes.push(node(None, rest.len() as u32));
                    nodes.extend(rest.iter().map(|uid| node(Some(*uid), 0)));
                }
                Answer::Threads(nodes)
            }
            Ask::Append { name, flags, .. } => {
                if let Some(refusal) = self.refuse_append.clone() {
                    return Some(Answer::No(refusal));
                }
                if !world.mailboxes.contains_key(&name) {
                    return Some(no(Some("TRYCREATE"), "no such mailbox"));
                }
                self.append.push((name, flags, Vec::new()));
                Answer::Accept
            }
            Ask::Piece(bytes) => {
                let (_, _, message) = self.append.last_mut().expect("an open APPEND");
                message.extend_from_slice(&bytes);
                Answer::Accept
            }
            Ask::Insert {
                name,
                validity,
                uid,
                part,
                range,
            } => {
                let mailbox = world.mailboxes.get(&name);
                let message = mailbox.and_then(|mailbox| mailbox.messages.get(&uid.0));
                let Some(message) = message.filter(|_| validity.is_none_or(|v| v == 7)) else {
                    return Some(Answer::Missing);
                };
                let end = message
                    .bytes
                    .windows(4)
                    .position(|w| w == b"\r\n\r\n")
                    .unwrap()
                    + 4;
                let whole = match (&part.path[..], &part.what) {
                    ([], BodyWhat::All) => &message.bytes[..],
                    ([], BodyWhat::Header) => &message.bytes[..end],
                    ([], BodyWhat::Text) | ([1], BodyWhat::All) => &message.bytes[end..],
                    _ => return Some(Answer::Missing),
                };
                let total = whole.len() as u64;
                let cut = &whole[range.start.min(total) as usize..range.end.min(total) as usize];
                let (_, _, open) = self.append.last_mut().expect("an open APPEND");
                open.extend_from_slice(cut);
                Answer::Accept
            }
            Ask::Commit { replace } => {
                let messages = std::mem::take(&mut self.append);
                assert!(!messages.is_empty(), "an open APPEND");
                let mut uids = UidSet::new();
                for (name, flags, bytes) in messages {
                    let bits = flags.iter().fold(0, |bits, f| {
                        if let Flag::System(f) = f {
                            bits | f.0
                        } else {
                            bits
                        }
                    });
                    uids.insert(Uid(world.deliver(&name, bytes, bits)));
                }
                if let Some((mailbox, uid)) = replace {
                    let mailbox = world.by_id(mailbox).unwrap();
                    mailbox.modseq += 1;
                    mailbox.messages.remove(&uid.0);
                    mailbox.gone.push((mailbox.modseq, uid.0));
                }
                Answer::Appended { validity: 7, uids }
            }
        })
    }
}

fn matches(key: &SearchKey, uid: u32, message: &Message) -> bool {
    match key {
        SearchKey::All => true,
        SearchKey::And(keys) => keys.iter().all(|key| matches(key, uid, message)),
        SearchKey::Or(a, b) => matches(a, uid, message) || matches(b, uid, message),
        SearchKey::Not(key) => !matches(key, uid, message),
        SearchKey::Uids(uids) => uids.contains(Uid(uid)),
        SearchKey::Flags(flags) => SystemFlags(message.flags).contains(*flags),
        SearchKey::Text(text) => String::from_utf8_lossy(&message.bytes).contains(text),
        SearchKey::Larger(n) => message.bytes.len() as u64 > *n,
        SearchKey::Smaller(n) => (message.bytes.len() as u64) < *n,
        _ => false,
    }
}

/// What a server says in the exchanges that the RFCs of the mechanisms print; with PLAIN there is one password.
fn sasl(mechanism: &[u8], response: Option<&[u8]>) -> Answer {
    let challenge = |text: &'static str| Answer::Challenge(Bytes::from_static(text.as_bytes()));
    let Some(response) = response else {
        return match mechanism {
            b"CRAM-MD5" => challenge("<1896.697170952@postoffice.reston.mci.net>"),
            b"LOGIN" => challenge("Username:"),
            _ => challenge(""),
        };
    };
    match (mechanism, response) {
        // Somebody for whom something is off.
        (b"PLAIN", b"\0w\0p") => Answer::AuthenticatedWithout {
            user: "w".into(),
            without: ["idle", "MOVE", "WITHIN"].map(Into::into).into(),
        },
        (b"LOGIN", b"u") => challenge("Password:"),
        // RFC 5802 5
        (b"SCRAM-SHA-1", b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL") => challenge(
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        ),
        (
            b"SCRAM-SHA-1",
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        ) => challenge("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="),
        (b"PLAIN", b"\0u\0p")
        | (b"LOGIN", b"p")
        | (b"SCRAM-SHA-1" | b"EXTERNAL", b"")
        // RFC 2195 2
        | (b"CRAM-MD5", b"tim b913a602c7eda7a495b4e6e7334d3890") => Answer::Authenticated("u".into()),
        _ => Answer::No(Refusal {
            code: Some("AUTHENTICATIONFAILED"),
            text: "wrong".into(),
        }),
    }
}
