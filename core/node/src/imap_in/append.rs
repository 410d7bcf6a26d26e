//! APPEND and REPLACE: messages from a client into one mailbox, all or none of them.

use bytes::Bytes;
use core::ops::Range;
use mox_driver::{Pool, Runtime};
use mox_imap::server::{Answer, Ask, BodyPart, Refusal};
use mox_machine::Utc;
use mox_mailbox::{AccountId, Body, Delivery, Flags, MailboxId, Target};
use mox_server::{Arrived, Intake, StoredStructure};
use mox_store::{BodyFacts, DiskSpace, Published, Spool, Spooled, Store};
use mox_uids::Uid;
use std::sync::Arc;

use super::body::Message;
use super::change::split;
use super::{Done, ImapHost, Response, mailbox_of, refusal, refused, unreadable};
use crate::budget::Held;
use crate::node::Inner;

/// Octets of a part that are read at a time.
const PIECE: u64 = 64 * 1024;

/// The open APPEND.
pub(crate) struct Append {
    name: String,
    /// Messages that are complete.
    done: Vec<Complete>,
    open: Open,
    /// Octets of the present message counted against the node's budget.
    held: Held,
    /// Those of complete ones that stay in memory until all are stored.
    kept: Held,
    /// Octets of the present message at most, and so far.
    most: u64,
    octets: u64,
}

/// The message that is being read.
struct Open {
    flags: Flags,
    keywords: Vec<String>,
    date: Option<Utc>,
    intake: Intake,
    spool: Spool,
}

/// A message whose octets are where they will stay.
struct Complete {
    flags: Flags,
    keywords: Vec<String>,
    date: Utc,
    arrived: Arrived,
    spooled: Spooled,
}

impl Complete {
    /// Octets of it in memory: its header, and its body if that is a row.
    fn in_memory(&self) -> usize {
        let body = self.spooled.body().inline.as_ref();
        self.arrived.header.len() + body.map_or(0, Bytes::len)
    }
}

impl Append {
    /// Takes octets; false when the spool is to be written.
    fn push(&mut self, piece: Bytes) -> Result<bool, Refusal> {
        self.octets = self.octets.saturating_add(piece.len() as u64);
        if self.octets > self.most {
            return Err(refuse("TOOBIG", "the message is too large"));
        }
        if !self.held.take(piece.len()) {
            // What it held goes with it; the machine reads on to its end.
            return Err(too_many());
        }
        self.open.intake.push(&piece);
        Ok(!self.open.spool.push(piece))
    }

    fn write(&mut self) -> Result<(), Refusal> {
        let written = self.open.spool.write();
        self.held.give_back();
        written.map_err(|error| cannot_store(&error))
    }
}

impl<R: Runtime> ImapHost<R> {
    pub(super) fn append(&mut self, ask: Ask) -> Response {
        match ask {
            Ask::Append {
                name,
                flags,
                date,
                size,
                ..
            } => {
                if let Some(answer) = self.refuses(&name, size) {
                    self.append = None;
                    return Response::Now(answer);
                }
                let (flags, keywords) = split(flags);
                let open = Open {
                    flags,
                    keywords,
                    date,
                    intake: Intake::new(),
                    spool: self.node.store.spool(),
                };
                let Some(before) = self.append.take() else {
                    self.append = Some(Box::new(Append {
                        name,
                        done: Vec::new(),
                        open,
                        held: Held::nothing(&self.node.bodies_in_flight),
                        kept: Held::nothing(&self.node.bodies_in_flight),
                        most: self.config.max_size,
                        octets: 0,
                    }));
                    return Response::Now(Answer::Accept);
                };
                let (node, account) = (self.node.clone(), self.account());
                Response::later(async move {
                    let mut append = before;
                    let complete = core::mem::replace(&mut append.open, open);
                    append.octets = 0;
                    let result = match finish(&node, account, complete).await {
                        Ok(complete) => {
                            append.held.give_back();
                            let fits = append.kept.take(complete.in_memory());
                            append.done.push(complete);
                            if fits { Ok(()) } else { Err(too_many()) }
                        }
                        Err(refusal) => Err(refusal),
                    };
                    Done::Written(append, result)
                })
            }
            Ask::Piece(piece) => {
                let Some(mut append) = self.append.take() else {
                    return not_open();
                };
                match append.push(piece) {
                    Ok(true) => {
                        self.append = Some(append);
                        return Response::Now(Answer::Accept);
                    }
                    Ok(false) => {}
                    Err(refusal) => return Response::Now(Answer::No(refusal)),
                }
                let work = move || {
                    let result = append.write();
                    Done::Written(append, result)
                };
                let running = self.node.runtime.blocking(Pool::Bodies, Box::new(work));
                Response::Later(running)
            }
            Ask::Insert {
                name,
                validity,
                uid,
                part,
                range,
            } => self.insert(&name, validity, uid, part, range),
            Ask::Commit { replace } => match self.append.take() {
                Some(append) => {
                    let account = self.account();
                    let replaced =
                        replace.map(|(mailbox, uid)| (account, mailbox_of(mailbox), uid));
                    self.store_append(*append, replaced)
                }
                None => not_open(),
            },
            _ => not_open(),
        }
    }

    /// Why nothing can be appended there now.
    fn refuses(&self, name: &str, size: u64) -> Option<Answer> {
        let published = self.node.store.published();
        let (view, account) = (&*published.view, self.account());
        if self.node.store.space() == DiskSpace::Low {
            let text = "not enough disk space, try again later";
            return Some(refusal(Some("LIMIT"), text));
        }
        match mox_mailbox::mailbox_id(view, account, name) {
            Ok(Some(_)) => {}
            Ok(None) => return Some(refusal(Some("TRYCREATE"), "no such mailbox")),
            Err(error) => return Some(unreadable(error)),
        }
        match mox_mailbox::has_room(view, account, size) {
            Ok(false) => Some(refusal(Some("OVERQUOTA"), "the account is over its quota")),
            _ => None,
        }
    }

    /// A part of a stored message becomes the next octets of the open one.
    fn insert(
        &mut self,
        name: &str,
        validity: Option<u32>,
        uid: Uid,
        part: BodyPart,
        range: Range<u64>,
    ) -> Response {
        let Some(mut append) = self.append.take() else {
            return not_open();
        };
        let published = self.node.store.published();
        let account = self.account();
        let found = find(&published, account, name, validity, uid);
        let message = match found {
            Ok(Some(message)) => message,
            Ok(None) => return Response::Now(Answer::Missing),
            Err(error) => return Response::Now(unreadable(error)),
        };
        let store = self.node.store.clone();
        let work = move || {
            let result = copy_part(&mut append, &store, &published, &message, &part, range);
            match result {
                Ok(true) => Done::Written(append, Ok(())),
                Ok(false) => Done::Answer(Answer::Missing),
                Err(refusal) => Done::Written(append, Err(refusal)),
            }
        };
        let running = self.node.runtime.blocking(Pool::Bodies, Box::new(work));
        Response::Later(running)
    }

    fn store_append(
        &mut self,
        append: Append,
        replaced: Option<(AccountId, MailboxId, Uid)>,
    ) -> Response {
        let (account, node) = (self.account(), self.node.clone());
        Response::answer_later(async move {
            let Append {
                name,
                mut done,
                open,
                held,
                kept,
                ..
            } = append;
            let now = node.runtime.now().utc;
            match finish(&node, account, open).await {
                Ok(complete) => done.push(complete),
                Err(refusal) => return Answer::No(refusal),
            }
            drop(held);
            let delivered = node.store.run(move |reads| {
                let delivery = |message: &Complete| Delivery {
                    body: Body::New(message.spooled.body().clone()),
                    structure: StoredStructure::encode(&message.arrived.structure),
                    header: message.arrived.header.clone(),
                    targets: vec![Target {
                        account,
                        mailbox: name.clone(),
                        create: false,
                        prefix: Bytes::new(),
                        flags: message.flags,
                        keywords: message.keywords.clone(),
                        date: message.date,
                        origin: Bytes::new(),
                    }],
                    queue: None,
                    now,
                };
                let deliveries: Vec<Delivery> = done.iter().map(delivery).collect();
                let result = mox_mailbox::append(reads, &deliveries, replaced, now);
                drop((done, kept));
                result
            });
            match delivered.await {
                Ok(placed) => match placed.first() {
                    Some(first) => Answer::Appended {
                        validity: first.validity,
                        uids: placed.iter().map(|placed| placed.uid).collect(),
                    },
                    None => refusal(Some("SERVERBUG"), "the message went nowhere"),
                },
                Err(error) => Answer::No(refused(&error, "TRYCREATE")),
            }
        })
    }
}

/// The message that a URL names.
fn find(
    published: &Published,
    account: AccountId,
    name: &str,
    validity: Option<u32>,
    uid: Uid,
) -> Result<Option<Message>, mox_mailbox::ReadError> {
    let view = &*published.view;
    let Some(mailbox) = mox_mailbox::mailbox_id(view, account, name)? else {
        return Ok(None);
    };
    let status = mox_mailbox::status(view, account, mailbox)?;
    let fits = status.is_some_and(|s| validity.is_none_or(|wanted| wanted == s.validity));
    let one = mox_uids::UidSet::from_runs([uid.0..=uid.0]);
    // What is expunged can be read for a while, but not named.
    if !fits
        || mox_mailbox::rows(view, account, mailbox, &one, uid, 1)?
            .rows
            .is_empty()
    {
        return Ok(None);
    }
    let meta = mox_mailbox::meta(view, account, mailbox, uid)?;
    Ok(meta.map(|meta| Message {
        account,
        mailbox,
        uid,
        meta,
    }))
}

/// False when there is no such part.
fn copy_part(
    append: &mut Append,
    store: &Store,
    published: &Published,
    message: &Message,
    part: &BodyPart,
    range: Range<u64>,
) -> Result<bool, Refusal> {
    let mut at = range.start;
    loop {
        let to = range.end.min(at.saturating_add(PIECE));
        let (answer, made) = message.answer(store, &*published.view, part, &(at..to));
        if let Some(octets) = made {
            // All of it at once: it would be made again for each piece.
            let end = usize::try_from(range.end).unwrap_or(usize::MAX);
            let start = usize::try_from(range.start).unwrap_or(usize::MAX);
            let end = end.min(octets.len());
            if !append.push(octets.slice(start.min(end)..end))? {
                append.write()?;
            }
            return Ok(true);
        }
        match answer {
            Answer::Piece { total, bytes } => {
                at = at.saturating_add(bytes.len() as u64);
                let done = bytes.is_empty() || at >= total.min(range.end);
                if !append.push(bytes)? {
                    append.write()?;
                }
                if done {
                    return Ok(true);
                }
            }
            Answer::No(refusal) => return Err(refusal),
            _ => return Ok(false),
        }
    }
}

/// The octets of a message go where they will stay.
async fn finish<R: Runtime>(
    node: &Arc<Inner<R>>,
    account: AccountId,
    open: Open,
) -> Result<Complete, Refusal> {
    let Open {
        flags,
        keywords,
        date,
        intake,
        spool,
    } = open;
    let date = date.unwrap_or_else(|| node.runtime.now().utc);
    let facts = BodyFacts {
        account,
        mailbox: MailboxId(0),
        uid: Uid(0),
        date,
    };
    let is_light = spool.is_inline();
    let work = move || {
        let spooled = spool.finish(facts)?;
        Ok((intake.finish(), spooled))
    };
    let finished = match is_light {
        true => work(),
        false => node.runtime.blocking(Pool::Bodies, Box::new(work)).await,
    };
    let (arrived, spooled) = finished.map_err(|error: std::io::Error| cannot_store(&error))?;
    Ok(Complete {
        flags,
        keywords,
        date,
        arrived,
        spooled,
    })
}

fn too_many() -> Refusal {
    refuse("LIMIT", "too many messages at once, try again later")
}

fn not_open() -> Response {
    Response::no(Some("SERVERBUG"), "no APPEND is open")
}

fn refuse(code: &'static str, text: &str) -> Refusal {
    Refusal {
        code: Some(code),
        text: text.into(),
    }
}

fn cannot_store(error: &std::io::Error) -> Refusal {
    tracing::error!(target: "store", %error, "an appended message could not be written");
    Refusal {
        code: Some("UNAVAILABLE"),
        text: "the message cannot be stored now".into(),
    }
}
