//! APPEND: a message from a client, into one mailbox.

use bytes::Bytes;
use mox_driver::{Pool, Runtime};
use mox_imap::server::{Answer, Ask, Refusal};
use mox_machine::Utc;
use mox_mailbox::{Body, Delivery, Flags, MailboxId, Target};
use mox_server::{Intake, StoredStructure};
use mox_store::{BodyFacts, DiskSpace, Spool};
use mox_uids::Uid;

use super::change::split;
use super::{Done, ImapHost, Response, refusal, refused};
use crate::budget::Held;

/// An open APPEND.
pub(crate) struct Append {
    name: String,
    flags: Flags,
    keywords: Vec<String>,
    date: Option<Utc>,
    intake: Intake,
    spool: Spool,
    /// Octets counted against the node's budget.
    held: Held,
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
                let published = self.node.store.published();
                let (view, account) = (&*published.view, self.account());
                if self.node.store.space() == DiskSpace::Low {
                    return Response::no(Some("LIMIT"), "not enough disk space, try again later");
                }
                match mox_mailbox::mailbox_id(view, account, &name) {
                    Ok(Some(_)) => {}
                    Ok(None) => return Response::no(Some("TRYCREATE"), "no such mailbox"),
                    Err(error) => return Response::Now(super::unreadable(error)),
                }
                if let Ok(false) = mox_mailbox::has_room(view, account, size) {
                    return Response::no(Some("OVERQUOTA"), "the account is over its quota");
                }
                let (flags, keywords) = split(flags);
                let spool = self.node.store.spool();
                let intake = Intake::new();
                let append = Append {
                    name,
                    flags,
                    keywords,
                    date,
                    intake,
                    spool,
                    held: Held::nothing(&self.node.bodies_in_flight),
                };
                self.append = Some(Box::new(append));
                Response::Now(Answer::Accept)
            }
            Ask::Piece(piece) => {
                let Some(mut append) = self.append.take() else {
                    return not_open();
                };
                if !append.held.take(piece.len()) {
                    // What it held goes with it; the machine reads on to its end.
                    return Response::no(
                        Some("LIMIT"),
                        "too many messages at once, try again later",
                    );
                }
                append.intake.push(&piece);
                if !append.spool.push(piece) {
                    self.append = Some(append);
                    return Response::Now(Answer::Accept);
                }
                let work = move || {
                    let result = append.spool.write().map_err(|error| cannot_store(&error));
                    append.held.give_back();
                    Done::Written(append, result)
                };
                let running = self.node.runtime.blocking(Pool::Bodies, Box::new(work));
                Response::Later(running)
            }
            _ => match self.append.take() {
                Some(append) => self.store_append(*append),
                None => not_open(),
            },
        }
    }

    fn store_append(&mut self, append: Append) -> Response {
        let (account, node) = (self.account(), self.node.clone());
        Response::answer_later(async move {
            let Append {
                name,
                flags,
                keywords,
                date,
                intake,
                spool,
                held,
            } = append;
            let now = node.runtime.now().utc;
            let date = date.unwrap_or(now);
            let arrived = intake.finish();
            let facts = BodyFacts {
                account,
                mailbox: MailboxId(0),
                uid: Uid(0),
                date,
            };
            let spooled = match spool.is_inline() {
                true => spool.finish(facts),
                false => {
                    let work = Box::new(move || spool.finish(facts));
                    node.runtime.blocking(Pool::Bodies, work).await
                }
            };
            drop(held);
            let spooled = match spooled {
                Ok(spooled) => spooled,
                Err(error) => return Answer::No(cannot_store(&error)),
            };
            let delivered = node.store.run(move |reads| {
                let delivery = Delivery {
                    body: Body::New(spooled.body().clone()),
                    structure: StoredStructure::encode(&arrived.structure),
                    header: arrived.header,
                    targets: vec![Target {
                        account,
                        mailbox: name,
                        create: false,
                        prefix: Bytes::new(),
                        flags,
                        keywords,
                        date,
                        origin: Bytes::new(),
                    }],
                    queue: None,
                    now,
                };
                let result = mox_mailbox::deliver(reads, &delivery);
                drop(spooled);
                result
            });
            match delivered.await {
                Ok(delivered) => match delivered.placed.first() {
                    Some(placed) => Answer::Appended {
                        validity: placed.validity,
                        uid: placed.uid,
                    },
                    None => refusal(Some("SERVERBUG"), "the message went nowhere"),
                },
                Err(error) => Answer::No(refused(&error, "TRYCREATE")),
            }
        })
    }
}

fn not_open() -> Response {
    Response::no(Some("SERVERBUG"), "no APPEND is open")
}

fn cannot_store(error: &std::io::Error) -> Refusal {
    tracing::error!(target: "store", %error, "an appended message could not be written");
    Refusal {
        code: Some("UNAVAILABLE"),
        text: "the message cannot be stored now".into(),
    }
}
