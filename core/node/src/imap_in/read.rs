//! Asks answered from what is published: listings, figures, rows.

use core::ops::ControlFlow;
use mox_driver::{Pool, Runtime};
use mox_imap::server::{
    Answer, Ask, BoxId, Changes, MailboxInfo, More, Preview, Row, Selected, StatusFigures,
    SystemFlags, Want,
};
use mox_mailbox::{AccountId, MailboxId, ReadError, Reads, Status};
use mox_server::StoredStructure;
use mox_store::{Published, Store};
use mox_uids::{Uid, UidSet};
use std::sync::Arc;

use super::body::{self, Message, StoredHeader};
use super::{ImapHost, Response, mailbox_of, refusal, unreadable};

/// Octets of header blocks in one page of rows.
const HEADERS_PAGE: usize = 64 * 1024;

impl<R: Runtime> ImapHost<R> {
    pub(super) fn read(&mut self, ask: Ask) -> Response {
        let published = self.node.store.published();
        if let Ask::Rows {
            mailbox,
            uids,
            want,
            max,
        } = ask
        {
            let page = RowsPage {
                store: self.node.store.clone(),
                published,
                account: self.account(),
                mailbox: mailbox_of(mailbox),
                uids,
                want,
                max: usize::try_from(max).unwrap_or(usize::MAX),
            };
            return self.rows(page);
        }
        let answer = self.read_from(&*published.view, ask);
        Response::Now(answer.unwrap_or_else(unreadable))
    }

    pub(super) fn annotations(&self, mailbox: Option<&str>) -> Response {
        let published = self.node.store.published();
        let (view, account) = (&*published.view, self.account());
        let answer = || {
            let id = match mailbox {
                Some(name) => match mox_mailbox::mailbox_id(view, account, name)? {
                    Some(id) => Some(id),
                    None => return Ok(no_mailbox()),
                },
                None => None,
            };
            let all = mox_mailbox::annotations(view, account, id)?;
            Ok::<_, ReadError>(Answer::Annotations(all))
        };
        Response::Now(answer().unwrap_or_else(unreadable))
    }

    /// All mailboxes have one root, those that are not there too (RFC 9208 4.1.2).
    pub(super) fn quota(&self) -> Response {
        let published = self.node.store.published();
        let (view, account) = (&*published.view, self.account());
        let answer = || {
            Ok::<_, ReadError>(Answer::Quota {
                octets: mox_mailbox::usage(view, account)?.octets,
                most: mox_mailbox::quota(view, account)?,
            })
        };
        Response::Now(answer().unwrap_or_else(unreadable))
    }

    /// Rows are read in the same poll, unless a body must be opened and parsed for one of them.
    fn rows(&self, page: RowsPage) -> Response {
        match page.read(false) {
            Ok(Some(answer)) => Response::Now(answer),
            Ok(None) => {
                let work = move || match page.read(true) {
                    Ok(Some(answer)) => answer,
                    Ok(None) => refusal(Some("SERVERBUG"), "the rows cannot be read"),
                    Err(error) => unreadable(error),
                };
                let running = self.node.runtime.blocking(Pool::Compute, Box::new(work));
                Response::answer_later(running)
            }
            Err(error) => Response::Now(unreadable(error)),
        }
    }

    fn read_from(&mut self, view: &dyn Reads, ask: Ask) -> Result<Answer, ReadError> {
        let account = self.account();
        Ok(match ask {
            Ask::Mailboxes => {
                let entries = mox_mailbox::mailboxes(view, account)?;
                let info = entries.into_iter().map(|entry| MailboxInfo {
                    exists: entry.mailbox.is_some(),
                    name: entry.name,
                    subscribed: entry.subscribed,
                    special_use: entry.special_use.map(|s| s.as_str().into()),
                });
                Answer::Mailboxes(info.collect())
            }
            Ask::Status { name, deleted_size } => {
                let id = mox_mailbox::mailbox_id(view, account, &name)?;
                let status = match id {
                    Some(id) => mox_mailbox::status(view, account, id)?,
                    None => None,
                };
                match status {
                    Some(status) => {
                        let at = (account, status.mailbox);
                        let from = self.node.told.from(view, at)?;
                        let recent = match from.0 < status.next {
                            true => mox_mailbox::messages_from(view, account, at.1, from)?.len(),
                            false => 0,
                        };
                        let deleted = match deleted_size && status.deleted > 0 {
                            false => 0,
                            true => mox_mailbox::deleted_octets(view, account, at.1)?,
                        };
                        Answer::Status(figures(&status, recent, deleted))
                    }
                    None => no_mailbox(),
                }
            }
            Ask::Select { name, read_only } => {
                let Some(id) = mox_mailbox::mailbox_id(view, account, &name)? else {
                    return Ok(no_mailbox());
                };
                let Some(selected) = mox_mailbox::select(view, account, id)? else {
                    return Ok(no_mailbox());
                };
                self.keywords_seen = selected.status.modseq;
                let next = selected.status.next;
                let recent = self.node.told.take(view, (account, id), next, !read_only)?;
                self.claims = (!read_only).then_some(id);
                Answer::Selected(Selected {
                    mailbox: BoxId(id.0),
                    validity: selected.status.validity,
                    next: selected.status.next,
                    modseq: selected.status.modseq,
                    first_unseen: selected.first_unseen,
                    recent: recent.intersection(&selected.uids),
                    uids: selected.uids,
                    keywords: selected.keywords,
                    writable: !read_only,
                })
            }
            Ask::Changes {
                mailbox,
                since,
                max,
            } => {
                let id = mailbox_of(mailbox);
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                let Some(changes) = mox_mailbox::changes(view, account, id, since, max)? else {
                    return Ok(Answer::Gone);
                };
                let keywords = match changes.keywords_modseq > self.keywords_seen {
                    true => mox_mailbox::mailbox_keywords(view, account, id)?,
                    false => Vec::new(),
                };
                self.keywords_seen = self.keywords_seen.max(changes.keywords_modseq);
                // Claimed with the last page, which is the one that they are told with.
                let recent = match self.claims == Some(id) && !changes.more {
                    true => self
                        .node
                        .told
                        .take(view, (account, id), changes.next, true)?,
                    false => UidSet::new(),
                };
                Answer::Changes(Changes {
                    rows: changes.rows.iter().map(row).collect(),
                    gone: changes.gone,
                    recent,
                    upto: changes.upto,
                    more: changes.more,
                    next: changes.next,
                    keywords,
                })
            }
            Ask::Vanished { mailbox, since } => {
                match mox_mailbox::vanished(view, account, mailbox_of(mailbox), since)? {
                    Some(uids) => Answer::Vanished(uids),
                    None => Answer::Gone,
                }
            }
            _ => refusal(Some("SERVERBUG"), "not a question about what is stored"),
        })
    }
}

/// One page of rows to be read.
struct RowsPage {
    store: Store,
    published: Arc<Published>,
    account: AccountId,
    mailbox: MailboxId,
    uids: UidSet,
    want: Want,
    max: usize,
}

impl RowsPage {
    /// `None` when a body must be opened for one of the rows, and that is not `allowed` here.
    fn read(&self, allowed: bool) -> Result<Option<Answer>, ReadError> {
        let (account, id, want) = (self.account, self.mailbox, self.want);
        let (store, view) = (&self.store, &*self.published.view);
        let first = self.uids.first().unwrap_or(Uid(1));
        let page = mox_mailbox::rows(view, account, id, &self.uids, first, self.max)?;
        let mut next = page.next;
        let mut rows: Vec<Row> = page.rows.iter().map(row).collect();
        if want.date {
            for (row, stored) in rows.iter_mut().zip(&page.rows) {
                row.date = Some(stored.date);
            }
        }
        let plain = Want {
            date: want.date,
            ..Want::default()
        };
        if want == plain {
            return Ok(Some(Answer::Rows { rows, next }));
        }
        let there: UidSet = rows.iter().map(|row| row.uid).collect();
        let (mut octets, mut at) = (0, 0);
        let (mut is_whole, mut refused) = (true, false);
        mox_mailbox::metas(view, account, id, &there, &mut |uid, meta| {
            while rows.get(at).is_some_and(|row| row.uid < uid) {
                at += 1;
            }
            let Some(row) = rows.get_mut(at).filter(|row| row.uid == uid) else {
                return ControlFlow::Continue(());
            };
            let message = Message {
                account,
                mailbox: id,
                uid,
                meta,
            };
            let Some(opened) = fill(row, &message, want, store, view, allowed) else {
                refused = true;
                return ControlFlow::Break(());
            };
            octets += row.header.as_ref().map_or(0, |h| h.len());
            // Looking through a body is dear: one such message ends a page.
            is_whole = octets < HEADERS_PAGE && !opened;
            match is_whole {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        if refused {
            return Ok(None);
        }
        // The page ended early: the rest comes with the next one.
        if !is_whole && at + 1 < rows.len() {
            next = rows.get(at + 1).map(|row| row.uid);
            rows.truncate(at + 1);
        }
        Ok(Some(Answer::Rows { rows, next }))
    }
}

/// The columns of a row that stand beside the message, or in its body when they were too large for that. Whether the body was
/// opened; `None` when it had to be, and that is not `allowed`.
fn fill(
    row: &mut Row,
    message: &Message,
    want: Want,
    store: &Store,
    view: &dyn Reads,
    allowed: bool,
) -> Option<bool> {
    let stored = message.meta.structure.as_deref();
    let lazy = want.preview == Some(Preview::Lazy);
    let at_hand = message.meta.body.is_inline() && stored.is_some();
    let preview = want.preview.is_some() && (at_hand || !lazy);
    // A preview of what is not at hand opens the body.
    let mut opened = stored.is_none() && (want.envelope || want.structure) || (preview && !at_hand);
    if opened && !allowed {
        return None;
    }
    let whole = match opened || want.structure || preview {
        true => body::structure(store, view, &message.meta),
        false => None,
    };
    if want.envelope {
        let envelope = match &whole {
            Some(whole) => Some(whole.envelope.clone()),
            None => stored.and_then(StoredStructure::decode_envelope),
        };
        row.envelope = envelope.map(Arc::new);
    }
    if want.identity || want.preview.is_some() {
        let shown = whole.as_ref().filter(|_| preview);
        let more = More {
            saved: want.identity.then_some(message.meta.saved),
            email: want.identity.then(|| message.email_id()),
            preview: shown.map(|whole| message.preview(store, view, &whole.part)),
        };
        row.more = Some(Arc::new(more));
    }
    if want.structure
        && let Some(whole) = whole
    {
        let binary = body::has_binary(&whole.part);
        if binary && !allowed {
            return None;
        }
        opened |= binary;
        let shown = message.without_nul(store, view, &whole.part);
        let shown = shown.ok().flatten().map_or(whole.part, |(_, shown)| shown);
        row.structure = Some(Arc::new(shown));
    }
    if want.header {
        row.header = match message.stored_header(view) {
            Some(StoredHeader::Whole(header)) => Some(header),
            Some(StoredHeader::Cut) if !allowed => return None,
            Some(StoredHeader::Cut) => {
                opened = true;
                message.header_in_body(store, view)
            }
            None => None,
        };
    }
    Some(opened)
}

/// A row as IMAP sees it.
pub(super) fn row(stored: &mox_mailbox::Row) -> Row {
    Row {
        uid: stored.uid,
        modseq: stored.modseq,
        size: stored.size,
        flags: SystemFlags(stored.flags.0),
        keywords: stored.keywords,
        date: None,
        envelope: None,
        structure: None,
        header: None,
        more: None,
    }
}

fn figures(status: &Status, recent: u32, deleted_size: u64) -> StatusFigures {
    StatusFigures {
        mailbox: BoxId(status.mailbox.0),
        recent,
        messages: status.messages,
        unseen: status.unseen,
        deleted: status.deleted,
        size: status.size,
        deleted_size,
        next: status.next,
        validity: status.validity,
        modseq: status.modseq,
    }
}

fn no_mailbox() -> Answer {
    refusal(Some("NONEXISTENT"), "no such mailbox")
}

#[cfg(test)]
mod tests;
