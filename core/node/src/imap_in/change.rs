//! Asks that change something: each is a job of one or more operations, answered when the last is durable.

use mox_driver::Runtime;
use mox_imap::server::{Answer, Ask, BoxId, Flag, MailboxEdit, MarkHow, SystemFlags};
use mox_machine::mutant;
use mox_mailbox::{AccountId, Doomed, Flags, MailboxId, Mark, Renamed, SpecialUse, Stop};
use mox_store::{Store, StoreError};
use mox_uids::{Uid, UidSet};

use super::read::row;
use super::{ImapHost, Response, mailbox_of, refusal, refused};

impl<R: Runtime> ImapHost<R> {
    pub(super) fn edit(&mut self, edit: MailboxEdit) -> Response {
        let (account, store) = (self.account(), self.node.store.clone());
        let now = self.node.runtime.now().utc;
        Response::answer_later(async move {
            let result = match edit {
                MailboxEdit::Create { name, special_use } => {
                    let wanted = special_use.as_deref().map(SpecialUse::parse);
                    let Some(special_use) = wanted.map_or(Some(None), |w| w.map(Some)) else {
                        return refusal(Some("USEATTR"), "this special use is not known");
                    };
                    let op = move |reads: &dyn mox_mailbox::Reads| {
                        mox_mailbox::create_mailbox(reads, account, &name, special_use, now)
                    };
                    store.run(op).await.map(|_| ())
                }
                MailboxEdit::Delete { name } => {
                    let op = move |reads: &dyn mox_mailbox::Reads| {
                        mox_mailbox::delete_mailbox(reads, account, &name, now)
                    };
                    store.run(op).await.map(|_| ())
                }
                MailboxEdit::Rename { from, to } => {
                    let op = move |reads: &dyn mox_mailbox::Reads| {
                        mox_mailbox::rename_mailbox(reads, account, &from, &to, now)
                    };
                    match store.run(op).await {
                        Ok(Renamed::MoveMessages { from, to }) => {
                            // RFC 3501 6.3.5: INBOX stays, its messages move.
                            let uids = UidSet::from_runs([1..=u32::MAX]);
                            let copy = mox_mailbox::Copy {
                                account,
                                from,
                                uids,
                                to,
                                remove: true,
                                now,
                            };
                            copy_all(&store, copy).await.map(|_| ())
                        }
                        other => other.map(|_| ()),
                    }
                }
                MailboxEdit::Subscribe { name, on } => {
                    let op = move |reads: &dyn mox_mailbox::Reads| {
                        mox_mailbox::subscribe(reads, account, &name, on)
                    };
                    store.run(op).await.map(|_| ())
                }
            };
            match result {
                Ok(()) => Answer::Done,
                Err(error) => Answer::No(refused(&error, "NONEXISTENT")),
            }
        })
    }

    pub(super) fn change(&mut self, ask: Ask) -> Response {
        let (account, store) = (self.account(), self.node.store.clone());
        let now = self.node.runtime.now().utc;
        Response::answer_later(async move {
            let result = match ask {
                Ask::Mark {
                    mailbox,
                    uids,
                    how,
                    flags,
                    unchanged_since,
                } => {
                    let (flags, keywords) = split(flags);
                    let how = match how {
                        MarkHow::Set => mox_mailbox::MarkHow::Set,
                        MarkHow::Add => mox_mailbox::MarkHow::Add,
                        MarkHow::Remove => mox_mailbox::MarkHow::Remove,
                    };
                    let mailbox = mailbox_of(mailbox);
                    let mark = Mark {
                        account,
                        mailbox,
                        uids,
                        how,
                        flags,
                        keywords,
                        unchanged_since,
                    };
                    mark_all(&store, mark).await
                }
                Ask::Copy {
                    mailbox,
                    uids,
                    to,
                    remove,
                } => {
                    let from = mailbox_of(mailbox);
                    let copy = mox_mailbox::Copy {
                        account,
                        from,
                        uids,
                        to,
                        remove,
                        now,
                    };
                    copy_all(&store, copy).await
                }
                Ask::Expunge { mailbox, only } => {
                    expunge_all(&store, account, mailbox, only, now).await
                }
                _ => return refusal(Some("SERVERBUG"), "not a change"),
            };
            result.unwrap_or_else(|error| Answer::No(refused(&error, "TRYCREATE")))
        })
    }
}

/// System flags as bits, and keywords.
pub(super) fn split(flags: Vec<Flag>) -> (Flags, Vec<String>) {
    let (mut system, mut keywords) = (SystemFlags(0), Vec::new());
    for flag in flags {
        match flag {
            Flag::System(flag) => system.0 |= flag.0,
            Flag::Keyword(keyword) => keywords.push(keyword),
        }
    }
    (Flags(system.0), keywords)
}

async fn mark_all(store: &Store, mark: Mark) -> Result<Answer, StoreError<Stop>> {
    let (mut rows, mut modified, mut from) = (Vec::new(), UidSet::new(), Uid(1));
    loop {
        let step = mark.clone();
        let marked = store
            .run(move |reads| mox_mailbox::mark(reads, &step, from))
            .await?;
        rows.extend(marked.rows.iter().map(row));
        modified = modified.union(&marked.modified);
        match marked.next {
            Some(next) => from = next,
            None => {
                return Ok(Answer::Marked {
                    rows,
                    modified,
                    modseq: marked.modseq,
                });
            }
        }
    }
}

async fn copy_all(store: &Store, copy: mox_mailbox::Copy) -> Result<Answer, StoreError<Stop>> {
    let (mut from, mut to, mut cursor) = (UidSet::new(), UidSet::new(), None);
    loop {
        let mut step = copy.clone();
        if mutant!(MoveInTwoOps) {
            step.remove = false;
        }
        let copied = store
            .run(move |reads| mox_mailbox::copy(reads, &step, cursor))
            .await?;
        if mutant!(MoveInTwoOps) && copy.remove {
            let (account, mailbox, now) = (copy.account, copy.from, copy.now);
            let moved = Doomed::These(copied.from.clone());
            let op = move |reads: &dyn mox_mailbox::Reads| {
                mox_mailbox::expunge(reads, account, mailbox, &moved, Uid(1), now)
            };
            store.run(op).await?;
        }
        from = from.union(&copied.from);
        to = to.union(&copied.to);
        match copied.next {
            Some(next) => cursor = Some(next),
            None => {
                return Ok(Answer::Copied {
                    validity: copied.validity,
                    from,
                    to,
                });
            }
        }
    }
}

async fn expunge_all(
    store: &Store,
    account: AccountId,
    mailbox: BoxId,
    only: Option<UidSet>,
    now: mox_machine::Utc,
) -> Result<Answer, StoreError<Stop>> {
    let mailbox: MailboxId = mailbox_of(mailbox);
    let doomed = only.map_or(Doomed::Deleted, Doomed::DeletedOf);
    let (mut uids, mut from) = (UidSet::new(), Uid(1));
    loop {
        let doomed = doomed.clone();
        let op = move |reads: &dyn mox_mailbox::Reads| {
            mox_mailbox::expunge(reads, account, mailbox, &doomed, from, now)
        };
        let expunged = store.run(op).await?;
        uids = uids.union(&expunged.uids);
        match expunged.next {
            Some(next) => from = next,
            None => {
                return Ok(Answer::Expunged {
                    uids,
                    modseq: expunged.modseq,
                });
            }
        }
    }
}
