//! Somebody who reads and sorts by IMAP, believes what the server says, and tells the judge.

mod resync;

use mox_driver::Runtime;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::imap::{self, Response, Untagged};
use super::view::{Known, Rules, View};
use super::{Client, RETRY, Wire, patiently, sleep, text};
use crate::names;
use crate::oracle::{Mail, Place};
use crate::plan::{Deed, FLAGS, MAILBOXES, To};

/// How often a deed is begun again after its connection broke before the deed was under way.
const TRIES: u32 = 2_000;

/// Does to mailboxes what its plan says.
pub(crate) struct Reader {
    who: Client,
    account: usize,
    /// The mailbox to work in.
    mailbox: usize,
}

/// A session with a mailbox selected.
struct Session {
    wire: Wire,
    view: View,
    tags: u32,
}

/// The end of a command.
#[derive(Debug)]
struct Done {
    ok: bool,
    /// Its text behind OK, NO or BAD.
    text: String,
}

impl Reader {
    pub(crate) const fn new(who: Client, account: usize) -> Self {
        Self {
            who,
            account,
            mailbox: 0,
        }
    }

    pub(crate) async fn run(mut self, deeds: Vec<Deed>) {
        let mut session = None;
        for (n, deed) in deeds.iter().enumerate() {
            match deed {
                Deed::Wait(ms) => sleep(&self.who.on, Duration::from_millis(*ms)).await,
                Deed::Drop => session = None,
                Deed::Resync => {
                    let Some(open) = self.opened(session.take()).await else {
                        return;
                    };
                    session = self.resync(open).await;
                }
                Deed::Select(mailbox) => {
                    self.mailbox = *mailbox;
                    session = None;
                }
                _ => {
                    let Some(open) = self.opened(session.take()).await else {
                        return;
                    };
                    session = self.attempt(open, deed, n).await;
                }
            }
        }
        self.goodbye(session).await;
    }

    /// The session, or a new one.
    async fn opened(&self, session: Option<Session>) -> Option<Session> {
        if session.is_some() {
            return session;
        }
        for _ in 0..TRIES {
            let began = self.who.on.now().mono;
            let opened = patiently(&self.who.on, self.open()).await;
            let took = self.who.on.now().mono.since(began);
            self.tell(took, opened.as_ref().err());
            match opened {
                Ok(session) => return Some(session),
                Err(_) => sleep(&self.who.on, RETRY).await,
            }
        }
        let who = names::user(self.who.server, self.account);
        self.who
            .stage
            .judge
            .wrong(format!("{who} could not log in in {TRIES} tries"));
        None
    }

    /// One deed; the session if it lived.
    async fn attempt(&self, mut session: Session, deed: &Deed, n: usize) -> Option<Session> {
        let began = self.who.on.now().mono;
        let done = patiently(&self.who.on, self.deed(&mut session, deed, n)).await;
        let mut took = self.who.on.now().mono.since(began);
        if let Deed::Idle(ms) = deed {
            took = took.saturating_sub(Duration::from_millis(*ms));
        }
        self.tell(took, done.as_ref().err());
        match done {
            Ok(()) => Some(session),
            Err(_) => {
                sleep(&self.who.on, RETRY).await;
                None
            }
        }
    }

    async fn goodbye(&self, session: Option<Session>) {
        if let Some(mut session) = session {
            let bye = async {
                self.command(&mut session, "LOGOUT", Rules::Any).await?;
                session.wire.close().await
            };
            let _ = patiently(&self.who.on, bye).await;
        }
    }

    fn tell(&self, took: Duration, failed: Option<&io::Error>) {
        let bench = &mut *self.who.stage.judge.bench();
        let who = format!("reader {}", self.who.number);
        let failed = failed.map(io::Error::to_string);
        bench
            .patience
            .session(&who, took, failed.as_deref(), &mut bench.wrong);
    }

    fn place(&self, mailbox: usize) -> Place {
        let mailbox = MAILBOXES.get(mailbox).copied().unwrap_or("INBOX");
        let account = names::account(self.account).to_owned();
        (self.who.server, account, mailbox.to_owned())
    }

    async fn open(&self) -> io::Result<Session> {
        let mut session = self.log_in().await?;
        self.must(&mut session, "ENABLE CONDSTORE", Rules::Any)
            .await?;
        let select = format!("SELECT {}", session.view.place.2);
        self.must(&mut session, &select, Rules::Any).await?;
        self.look(&mut session).await?;
        Ok(session)
    }

    async fn log_in(&self) -> io::Result<Session> {
        let mut wire = self.who.connect(143, Some(993)).await?;
        Response::read(&mut wire).await?;
        if self.who.starts_tls(&wire) {
            wire.say("s STARTTLS\r\n").await?;
            let reply = Response::read(&mut wire).await?;
            if !reply.text.starts_with("s OK") {
                return Err(io::Error::other(reply.text));
            }
            wire = self.who.secure(wire).await?;
        }
        let mut session = Session {
            wire,
            view: View {
                place: self.place(self.mailbox),
                ..View::default()
            },
            tags: 0,
        };
        let user = names::user(self.who.server, self.account);
        let login = format!("LOGIN {user} \"{}\"", names::PASSWORD);
        self.must(&mut session, &login, Rules::Any).await?;
        Ok(session)
    }

    async fn deed(&self, session: &mut Session, deed: &Deed, n: usize) -> io::Result<()> {
        match deed {
            Deed::Append(mailbox, lines) => self.append(session, *mailbox, *lines, n).await?,
            Deed::Idle(ms) => self.idle(session, *ms).await?,
            Deed::Sync => self.sync(session).await?,
            Deed::Flag { nth, flag, set } => {
                if let Some((uid, _)) = self.chosen(session, *nth) {
                    let sign = if *set { '+' } else { '-' };
                    let flag = FLAGS.get(*flag).copied().unwrap_or("\\Seen");
                    let store = format!("UID STORE {uid} {sign}FLAGS ({flag})");
                    self.must(session, &store, Rules::Any).await?;
                }
            }
            Deed::FlagNumber { nth, flag, set } => {
                if let Some((uid, _)) = self.chosen(session, *nth) {
                    let mut messages = session.view.messages.iter();
                    let number = 1 + messages.position(|m| m.uid == Some(uid)).unwrap_or(0);
                    let sign = if *set { '+' } else { '-' };
                    let flag = FLAGS.get(*flag).copied().unwrap_or("\\Seen");
                    let store = format!("STORE {number} {sign}FLAGS ({flag})");
                    let done = self.command(session, &store, Rules::NoExpunge).await?;
                    // What was expunged meanwhile is told with the next command.
                    if !done.ok && !done.text.contains("EXPUNGEISSUED") {
                        return Err(io::Error::other(format!("{store}: {}", done.text)));
                    }
                }
            }
            Deed::Fetch(nth) => {
                if let Some((uid, subject)) = self.chosen(session, *nth) {
                    self.fetch(session, uid, &subject).await?;
                }
            }
            Deed::Copy(nth, to) => self.copy(session, *nth, *to, false).await?,
            Deed::Move(nth, to) => self.copy(session, *nth, *to, true).await?,
            Deed::Delete(nth) => {
                if let Some((uid, _)) = self.chosen(session, *nth) {
                    self.delete(session, uid).await?;
                }
            }
            Deed::Wait(_) | Deed::Select(_) | Deed::Drop | Deed::Resync => {}
        }
        self.look(session).await
    }

    /// The message a deed is about, with its mark; none when there is none with a mark.
    fn chosen(&self, session: &Session, nth: u32) -> Option<(u32, String)> {
        let bench = self.who.stage.judge.bench();
        let view = &session.view;
        let marked: Vec<(u32, String)> = view
            .messages
            .iter()
            .filter_map(|known| {
                let uid = known.uid?;
                let subject = bench.boxes.subject(&view.place, uid)?;
                bench
                    .ledger
                    .mails
                    .contains_key(subject)
                    .then(|| (uid, subject.to_owned()))
            })
            .collect();
        let at = (nth as usize).checked_rem(marked.len())?;
        marked.get(at).cloned()
    }

    /// Learns what is not known yet of the messages.
    async fn look(&self, session: &mut Session) -> io::Result<()> {
        let new = |known: &Known| known.uid.is_none() || known.modseq == 0;
        let Some(first) = session.view.messages.iter().position(new) else {
            return Ok(());
        };
        let fetch = format!(
            "FETCH {}:* (UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
            first + 1
        );
        let done = self.command(session, &fetch, Rules::NoExpunge).await?;
        // What was expunged meanwhile is told with the next command.
        if !done.ok && !done.text.contains("EXPUNGEISSUED") {
            return Err(io::Error::other(format!("{fetch}: {}", done.text)));
        }
        let bench = &mut *self.who.stage.judge.bench();
        for (uid, header) in core::mem::take(&mut session.view.bodies) {
            let subject = header.trim().strip_prefix("Subject: ").unwrap_or_default();
            bench
                .boxes
                .saw_subject(&session.view.place, uid, subject, &mut bench.wrong);
        }
        Ok(())
    }

    async fn fetch(&self, session: &mut Session, uid: u32, subject: &str) -> io::Result<()> {
        let fetch = format!("UID FETCH {uid} (FLAGS MODSEQ BODY.PEEK[])");
        self.must(session, &fetch, Rules::Any).await?;
        let bench = &mut *self.who.stage.judge.bench();
        for (uid, body) in core::mem::take(&mut session.view.bodies) {
            let Some(mail) = bench.ledger.mails.get(subject) else {
                continue;
            };
            let place = &session.view.place;
            bench.wrong.expect(body.ends_with(&mail.text), || {
                format!("UID {uid} of {place:?} is not {subject} as it was sent")
            });
        }
        Ok(())
    }

    async fn append(
        &self,
        session: &mut Session,
        mailbox: usize,
        lines: u32,
        n: usize,
    ) -> io::Result<()> {
        let mark = format!("a{}x{n}e", self.who.number);
        let own = To::Account(self.who.server, self.account);
        let user = names::user(self.who.server, self.account);
        let text = text(&mark, &user, &user, lines);
        let mail = Mail {
            server: self.who.server,
            sender: None,
            text: text.clone(),
            to: BTreeMap::from([(own, Default::default())]),
            settled: BTreeMap::new(),
            notify: Default::default(),
            of_age: Default::default(),
            given_up: Default::default(),
            handed_on: Default::default(),
        };
        self.who.stage.judge.bench().ledger.enter(&mark, mail);
        let place = self.place(mailbox);
        let append = format!("APPEND {} {{{}+}}\r\n{text}", place.2, text.len());
        let failures = {
            let bench = &mut *self.who.stage.judge.bench();
            // Until there is an answer, which may never come.
            bench.ledger.ambiguous(&mark, &[own]);
            bench.wires.failures()
        };
        let done = self.command(session, &append, Rules::Any).await?;
        let bench = &mut *self.who.stage.judge.bench();
        if done.ok || bench.wires.failures() == failures {
            // A store that fails cannot know what it kept.
            bench.ledger.decided(&mark, &[own]);
        }
        match done.ok {
            true => {
                bench.ledger.taken(&mark, &[own], &mut bench.wrong);
                let code = imap::code(&done.text).filter(|(name, _)| name == "APPENDUID");
                let uid = code.and_then(|(_, numbers)| {
                    let (validity, uid) = numbers.split_once(' ')?;
                    Some((validity.parse().ok()?, uid.parse().ok()?))
                });
                match uid {
                    Some((validity, uid)) => {
                        bench.boxes.saw_validity(&place, validity, &mut bench.wrong);
                        bench
                            .boxes
                            .saw_subject(&place, uid, &mark, &mut bench.wrong);
                    }
                    None => bench
                        .wrong
                        .found(format!("APPEND without APPENDUID: {}", done.text)),
                }
                Ok(())
            }
            false => Err(io::Error::other(format!("APPEND: {}", done.text))),
        }
    }

    async fn delete(&self, session: &mut Session, uid: u32) -> io::Result<()> {
        let place = session.view.place.clone();
        let failures = {
            let bench = &mut *self.who.stage.judge.bench();
            bench.boxes.doom(&place, uid);
            bench.wires.failures()
        };
        let store = format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)");
        let done = self.command(session, &store, Rules::Any).await?;
        if !done.ok {
            let bench = &mut *self.who.stage.judge.bench();
            if bench.wires.failures() == failures {
                bench.boxes.spare(&place, uid);
            }
            return Err(io::Error::other(format!("{store}: {}", done.text)));
        }
        self.must(session, &format!("UID EXPUNGE {uid}"), Rules::Any)
            .await
    }

    async fn copy(
        &self,
        session: &mut Session,
        nth: u32,
        to: usize,
        is_move: bool,
    ) -> io::Result<()> {
        let Some((uid, subject)) = self.chosen(session, nth) else {
            return Ok(());
        };
        let from = session.view.place.clone();
        let place = self.place(to);
        let failures = {
            let bench = &mut *self.who.stage.judge.bench();
            match is_move {
                true => bench.boxes.leaves(&from, uid),
                false => bench.boxes.copy(&place, &subject),
            }
            bench.wires.failures()
        };
        let verb = if is_move { "MOVE" } else { "COPY" };
        let mut copied = None;
        let command = format!("UID {verb} {uid} {}", place.2);
        let done = self
            .hearing(session, &command, Rules::Any, |name, argument| {
                if name == "COPYUID" {
                    copied = Some(argument.to_owned());
                }
            })
            .await?;
        if !done.ok {
            let bench = &mut *self.who.stage.judge.bench();
            // A store that fails cannot know what it kept.
            match is_move {
                _ if bench.wires.failures() != failures => {}
                true => bench.boxes.stays(&from, uid),
                false => bench.boxes.no_copy(&place, &subject),
            }
            return Err(io::Error::other(format!("{verb}: {}", done.text)));
        }
        let told = imap::code(&done.text).filter(|(name, _)| name == "COPYUID");
        if let Some(argument) = told.map(|(_, argument)| argument).or(copied) {
            let words: Vec<&str> = argument.split(' ').collect();
            let bench = &mut *self.who.stage.judge.bench();
            if let [validity, _, to] = words.as_slice() {
                let validity = validity.parse().unwrap_or(0);
                bench.boxes.saw_validity(&place, validity, &mut bench.wrong);
                for uid in imap::uids(to) {
                    bench
                        .boxes
                        .saw_subject(&place, uid, &subject, &mut bench.wrong);
                }
            }
        }
        Ok(())
    }

    async fn idle(&self, session: &mut Session, ms: u64) -> io::Result<()> {
        let asked = self.who.stage.judge.bench().boxes.now();
        session.tags += 1;
        let tag = format!("t{}", session.tags);
        session.wire.say(&format!("{tag} IDLE\r\n")).await?;
        let pause = async {
            sleep(&self.who.on, Duration::from_millis(ms)).await;
            Ok(None)
        };
        let mut pause = Box::pin(pause);
        loop {
            let next = async { Response::read(&mut session.wire).await.map(Some) };
            // A line cut in two by the end of the pause would be lost: the next read begins with what was heard.
            match futures_lite::future::or(next, &mut pause).await? {
                Some(response) => self.take_in(session, &response, Rules::Any, asked),
                None => break,
            }
        }
        session.wire.say("DONE\r\n").await?;
        loop {
            let response = Response::read(&mut session.wire).await?;
            if response.text.starts_with(&tag) {
                return Ok(());
            }
            self.take_in(session, &response, Rules::Any, asked);
        }
    }

    /// NOOP; afterwards the session must know everything that was published when it asked.
    async fn sync(&self, session: &mut Session) -> io::Result<()> {
        let before = self.who.stage.highest(&session.view.place);
        self.must(session, "NOOP", Rules::Any).await?;
        self.look(session).await?;
        let known = session.view.messages.clone();
        self.must(session, "UID FETCH 1:* (FLAGS MODSEQ)", Rules::Any)
            .await?;
        if before.is_none() || self.who.stage.highest(&session.view.place) != before {
            return Ok(());
        }
        let bench = &mut *self.who.stage.judge.bench();
        let place = &session.view.place;
        let now = &session.view.messages;
        bench.wrong.expect(known == *now, || {
            format!("a session believed of {place:?} {known:?} after NOOP; it holds {now:?}")
        });
        Ok(())
    }

    /// A command that has to succeed.
    async fn must(&self, session: &mut Session, command: &str, rules: Rules) -> io::Result<()> {
        let done = self.command(session, command, rules).await?;
        match done.ok {
            true => Ok(()),
            false => Err(io::Error::other(format!("{command}: {}", done.text))),
        }
    }

    async fn command(
        &self,
        session: &mut Session,
        command: &str,
        rules: Rules,
    ) -> io::Result<Done> {
        self.hearing(session, command, rules, |_, _| {}).await
    }

    async fn hearing(
        &self,
        session: &mut Session,
        command: &str,
        rules: Rules,
        mut heard: impl FnMut(&str, &str),
    ) -> io::Result<Done> {
        let asked = self.who.stage.judge.bench().boxes.now();
        session.tags += 1;
        let tag = format!("t{} ", session.tags);
        session.wire.say(&format!("{tag}{command}\r\n")).await?;
        loop {
            let response = Response::read(&mut session.wire).await?;
            if let Some(end) = response.text.strip_prefix(&tag) {
                let (word, text) = end.split_once(' ').unwrap_or((end, ""));
                let done = Done {
                    ok: word == "OK",
                    text: text.to_owned(),
                };
                if let Some((name, argument)) = imap::code(text) {
                    let said = Untagged::Code(name, argument);
                    self.hear(session, said, rules, asked);
                }
                return Ok(done);
            }
            if let Some(Untagged::Code(name, argument)) = response.untagged() {
                heard(&name, &argument);
            }
            self.take_in(session, &response, rules, asked);
        }
    }

    fn take_in(&self, session: &mut Session, response: &Response, rules: Rules, asked: u64) {
        match response.untagged() {
            Some(said) => self.hear(session, said, rules, asked),
            None if response.text.starts_with('+') => {}
            None => self
                .who
                .stage
                .judge
                .wrong(format!("an IMAP server said {:?} unasked", response.text)),
        }
    }

    fn hear(&self, session: &mut Session, said: Untagged, rules: Rules, asked: u64) {
        session
            .view
            .hear(said, rules, asked, &mut self.who.stage.judge.bench());
    }
}
