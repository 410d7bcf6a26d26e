//! Asks that change something: each is a job of one or more operations, answered when the last is durable.

use bytes::Bytes;
use mox_driver::Runtime;
use mox_imap::server::{Answer, Ask, BoxId, Flag, MailboxEdit, MarkHow, SystemFlags};
use mox_machine::mutant;
use mox_mailbox::{
    AccountId, Doomed, Flags, Limit, MailboxId, Mark, Progress, Renamed, SpecialUse, Stop,
};
use mox_store::{DiskSpace, Store, StoreError};
use mox_uids::{Uid, UidSet};
use std::sync::Arc;

use super::read::row;
use super::{ImapHost, Response, mailbox_of, refusal, refused};
use crate::node::Inner;

/// Messages a STORE is answered with at most; the session reads how the others are now by and by.
const MARKED_ROWS_MAX: usize = 4_096;

impl<R: Runtime> ImapHost<R> {
    /// The user's mailbox for copies of what was not taken.
    fn rejects(&self) -> Option<String> {
        let login = self.login.as_ref()?;
        let directory = self.node.directory();
        directory.incoming(&login.account).rejects_mailbox.clone()
    }

    pub(super) fn edit(&mut self, edit: MailboxEdit) -> Response {
        let (account, node, rejects) = (self.account(), self.node.clone(), self.rejects());
        let now = node.runtime.now().utc;
        Response::answer_later(async move {
            let store = &node.store;
            let result = match edit {
                MailboxEdit::Create { name, special_use } => {
                    let wanted = special_use.as_deref().map(SpecialUse::parse);
                    let Some(special_use) = wanted.map_or(Some(None), |w| w.map(Some)) else {
                        return refusal(Some("USEATTR"), "this special use is not known");
                    };
                    let op = move |reads: &dyn mox_mailbox::Reads| {
                        let subscribed = false;
                        mox_mailbox::create_subscribed(
                            reads,
                            account,
                            &name,
                            special_use,
                            subscribed,
                            now,
                        )
                    };
                    match store.run(op).await {
                        Ok(created) => return Answer::Created(BoxId(created.mailbox.0)),
                        Err(error) => Err(error),
                    }
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
                                rejects,
                                now,
                            };
                            copy_all(&node, copy).await.map(|_| ())
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

    pub(super) fn annotate(
        &self,
        mailbox: Option<String>,
        entries: Vec<(String, Option<Bytes>)>,
    ) -> Response {
        let (account, node) = (self.account(), self.node.clone());
        Response::answer_later(async move {
            let op = move |reads: &dyn mox_mailbox::Reads| {
                mox_mailbox::annotate(reads, account, mailbox.as_deref(), &entries)
            };
            match node.store.run(op).await {
                Ok(()) => Answer::Done,
                // RFC 5464 4.3.
                Err(StoreError::Refused(Stop::TooMany(Limit::Annotations))) => {
                    refusal(Some("METADATA TOOMANY"), "too many annotations")
                }
                Err(error) => Answer::No(refused(&error, "NONEXISTENT")),
            }
        })
    }

    pub(super) fn change(&mut self, ask: Ask) -> Response {
        let (account, node, rejects) = (self.account(), self.node.clone(), self.rejects());
        let now = node.runtime.now().utc;
        Response::answer_later(async move {
            let store = &node.store;
            let result = match ask {
                Ask::Mark {
                    mailbox,
                    uids,
                    how,
                    flags,
                    unchanged_since,
                    known,
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
                    mark_all(store, mark, known).await
                }
                Ask::Copy {
                    mailbox,
                    uids,
                    to,
                    remove,
                } => {
                    // To move is how many delete.
                    if !remove && store.space() == DiskSpace::Low {
                        return refusal(Some("LIMIT"), "not enough disk space, try again later");
                    }
                    let from = mailbox_of(mailbox);
                    let copy = mox_mailbox::Copy {
                        account,
                        from,
                        uids,
                        to,
                        remove,
                        rejects,
                        now,
                    };
                    copy_all(&node, copy).await
                }
                Ask::Expunge { mailbox, only } => {
                    expunge_all(store, account, mailbox, only, now).await
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

async fn mark_all(store: &Store, mark: Mark, known: u64) -> Result<Answer, StoreError<Stop>> {
    let (mut rows, mut others, mut modified) = (Vec::new(), UidSet::new(), UidSet::new());
    let (mut changed, mut from) = (Vec::new(), Uid(1));
    loop {
        let step = mark.clone();
        let marked = store
            .run(move |reads| mox_mailbox::mark(reads, &step, from))
            .await?;
        let room = MARKED_ROWS_MAX.saturating_sub(rows.len());
        let (told, rest) = marked.rows.split_at(room.min(marked.rows.len()));
        rows.extend(told.iter().map(row));
        others = others.union(&rest.iter().map(|row| row.uid).collect());
        modified = modified.union(&marked.modified);
        if marked.modseq > 0 {
            let ours = marked.changed.iter().filter(|(_, was)| *was <= known);
            changed.push((marked.modseq, ours.map(|(uid, _)| *uid).collect()));
        }
        match marked.next {
            Some(next) => from = next,
            None => {
                return Ok(Answer::Marked {
                    rows,
                    others,
                    modified,
                    changed,
                });
            }
        }
    }
}

/// Copies or moves. What takes one operation is one; a longer job ends whether or not its session stays, and a COPY
/// that cannot end is undone.
async fn copy_all<R: Runtime>(
    node: &Arc<Inner<R>>,
    copy: mox_mailbox::Copy,
) -> Result<Answer, StoreError<Stop>> {
    let copied = copy_step(&node.store, &copy, None).await?;
    let Some(cursor) = copied.next else {
        return Ok(Answer::Copied {
            validity: copied.validity,
            from: copied.from,
            to: copied.to,
        });
    };
    let (tell, told) = futures_channel::oneshot::channel();
    let store = node.store.clone();
    node.runtime.spawn_session("copy", {
        Box::pin(async move {
            let result = copy_rest(&store, copy, copied, cursor).await;
            // Nobody may wait for it any more.
            let _ = tell.send(result);
        })
    });
    told.await.unwrap_or(Err(StoreError::Panicked))
}

async fn copy_rest(
    store: &Store,
    copy: mox_mailbox::Copy,
    first: mox_mailbox::Copied,
    mut cursor: mox_mailbox::CopyCursor,
) -> Result<Answer, StoreError<Stop>> {
    let (mut from, mut to) = (first.from, first.to);
    loop {
        let copied = match copy_step(store, &copy, Some(cursor)).await {
            Ok(copied) => copied,
            Err(error) => {
                if let Some(unfinished) = cursor.unfinished()
                    && let Err(error) = undo_copy(store, unfinished, copy.now).await
                {
                    // The next start does it.
                    tracing::error!(target: "store", %error, "a COPY that failed could not be undone");
                }
                return Err(error);
            }
        };
        from = from.union(&copied.from);
        to = to.union(&copied.to);
        match copied.next {
            Some(next) => cursor = next,
            None => {
                return Ok(Answer::Copied {
                    validity: first.validity,
                    from,
                    to,
                });
            }
        }
    }
}

async fn copy_step(
    store: &Store,
    copy: &mox_mailbox::Copy,
    cursor: Option<mox_mailbox::CopyCursor>,
) -> Result<mox_mailbox::Copied, StoreError<Stop>> {
    let mut step = copy.clone();
    if mutant!(MoveInTwoOps) {
        step.remove = false;
    }
    let run = store.run(move |reads| mox_mailbox::copy(reads, &step, cursor));
    let copied = run.await?;
    if mutant!(MoveInTwoOps) && copy.remove {
        let (account, mailbox, now) = (copy.account, copy.from, copy.now);
        let moved = Doomed::These(copied.from.clone());
        let op = move |reads: &dyn mox_mailbox::Reads| {
            mox_mailbox::expunge(reads, account, mailbox, &moved, Uid(1), now)
        };
        store.run(op).await?;
    }
    Ok(copied)
}

/// Takes a COPY back that stopped half way.
pub(crate) async fn undo_copy(
    store: &Store,
    unfinished: mox_mailbox::Unfinished,
    now: mox_machine::Utc,
) -> Result<(), StoreError<Stop>> {
    loop {
        let run = store.run(move |reads| mox_mailbox::undo_copy(reads, unfinished, now));
        match run.await? {
            Progress::Done => return Ok(()),
            Progress::More(()) => {}
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
    let (mut uids, mut modseq, mut from) = (UidSet::new(), 0, Uid(1));
    loop {
        let doomed = doomed.clone();
        let op = move |reads: &dyn mox_mailbox::Reads| {
            mox_mailbox::expunge(reads, account, mailbox, &doomed, from, now)
        };
        let expunged = store.run(op).await?;
        uids = uids.union(&expunged.uids);
        modseq = expunged.modseq.max(modseq);
        match expunged.next {
            Some(next) => from = next,
            None => {
                return Ok(Answer::Expunged { uids, modseq });
            }
        }
    }
}
