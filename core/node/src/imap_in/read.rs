//! Asks answered from what is published: listings, figures, rows.

use core::ops::ControlFlow;
use mox_driver::Runtime;
use mox_imap::server::{
    Answer, Ask, BoxId, Changes, MailboxInfo, Row, Selected, StatusFigures, SystemFlags, Want,
};
use mox_mailbox::{ReadError, Reads, Status};
use mox_server::StoredStructure;
use mox_uids::{Uid, UidSet};
use std::sync::Arc;

use super::body::{self, Message};
use super::{ImapHost, Response, mailbox_of, refusal, unreadable};

/// Octets of header blocks in one page of rows.
const HEADERS_PAGE: usize = 64 * 1024;

impl<R: Runtime> ImapHost<R> {
    pub(super) fn read(&mut self, ask: Ask) -> Response {
        let published = self.node.store.published();
        let answer = self.read_from(&*published.view, ask);
        Response::Now(answer.unwrap_or_else(unreadable))
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
            Ask::Status { name } => {
                let id = mox_mailbox::mailbox_id(view, account, &name)?;
                let status = match id {
                    Some(id) => mox_mailbox::status(view, account, id)?,
                    None => None,
                };
                match status {
                    Some(status) => Answer::Status(figures(&status)),
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
                Answer::Selected(Selected {
                    mailbox: BoxId(id.0),
                    validity: selected.status.validity,
                    next: selected.status.next,
                    modseq: selected.status.modseq,
                    first_unseen: selected.first_unseen,
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
                Answer::Changes(Changes {
                    rows: changes.rows.iter().map(row).collect(),
                    gone: changes.gone,
                    upto: changes.upto,
                    more: changes.more,
                    next: changes.next,
                    keywords,
                })
            }
            Ask::Rows {
                mailbox,
                uids,
                want,
                max,
            } => self.rows(view, mailbox, &uids, want, max)?,
            _ => refusal(Some("SERVERBUG"), "not a question about what is stored"),
        })
    }

    fn rows(
        &self,
        view: &dyn Reads,
        mailbox: BoxId,
        uids: &UidSet,
        want: Want,
        max: u32,
    ) -> Result<Answer, ReadError> {
        let (account, id) = (self.account(), mailbox_of(mailbox));
        let first = uids.first().unwrap_or(Uid(1));
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let page = mox_mailbox::rows(view, account, id, uids, first, max)?;
        let mut next = page.next;
        let mut rows: Vec<Row> = page.rows.iter().map(row).collect();
        if want.date {
            for (row, stored) in rows.iter_mut().zip(&page.rows) {
                row.date = Some(stored.date);
            }
        }
        let there: UidSet = rows.iter().map(|row| row.uid).collect();
        if want.envelope || want.structure || want.header {
            let mut octets = 0;
            let mut at = 0;
            mox_mailbox::metas(view, account, id, &there, &mut |uid, meta| {
                while rows.get(at).is_some_and(|row| row.uid < uid) {
                    at += 1;
                }
                if let Some(row) = rows.get_mut(at).filter(|row| row.uid == uid) {
                    let mut stored = None;
                    if want.structure {
                        stored = body::structure(&self.node.store, view, &meta);
                        row.structure = stored.clone().map(|s| Arc::new(s.part));
                    }
                    if want.envelope {
                        row.envelope = match stored {
                            Some(stored) => Some(Arc::new(stored.envelope)),
                            None => (meta.structure.as_deref())
                                .and_then(StoredStructure::decode_envelope)
                                .or_else(|| {
                                    body::structure(&self.node.store, view, &meta)
                                        .map(|s| s.envelope)
                                })
                                .map(Arc::new),
                        };
                    }
                    if want.header {
                        let message = Message {
                            account,
                            mailbox: id,
                            uid,
                            meta,
                        };
                        row.header = message.header(&self.node.store, view);
                        octets += row.header.as_ref().map_or(0, |h| h.len());
                    }
                }
                match octets < HEADERS_PAGE {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            // The page ended early: the rest comes with the next one.
            if octets >= HEADERS_PAGE && at + 1 < rows.len() {
                next = rows.get(at + 1).map(|row| row.uid);
                rows.truncate(at + 1);
            }
        }
        Ok(Answer::Rows { rows, next })
    }
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
    }
}

fn figures(status: &Status) -> StatusFigures {
    StatusFigures {
        messages: status.messages,
        unseen: status.unseen,
        deleted: status.deleted,
        size: status.size,
        next: status.next,
        validity: status.validity,
        modseq: status.modseq,
    }
}

fn no_mailbox() -> Answer {
    refusal(Some("NONEXISTENT"), "no such mailbox")
}
