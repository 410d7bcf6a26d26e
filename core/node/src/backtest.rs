//! Judging again what an account has.

use bytes::Bytes;
use mox_driver::Runtime;
use mox_mailbox::{AccountId, MailboxId, ReadError, Reads, Row};
use mox_server::Directory;
use mox_server::backtest::{Backtest, BacktestReport, Stored, decided, is_received};
use mox_server::decision::{Record, lookups};
use mox_server::junk::words_read;
use mox_uids::Uid;
use std::io;

use crate::Node;
use crate::node::StartError;
use crate::reread::outline;

/// Messages that are judged, the newest ones.
const MESSAGES_MAX: usize = 20_000;
/// Messages that are read from a mailbox at a time.
const PAGE: usize = 500;

/// A message of the account.
struct Place {
    date: i64,
    mailbox: usize,
    uid: Uid,
}

impl<R: Runtime> Node<R> {
    /// Judges all mail of an account again, in the order it came, as the directory in force or another one wants it. Blocks, for
    /// about a millisecond a message.
    pub fn backtest(
        &self,
        account: &str,
        proposed: Option<&Directory>,
    ) -> Result<BacktestReport, StartError> {
        let Some(id) = self.inner.account_id(account) else {
            return Err(StartError(format!("there is no account {account:?}")));
        };
        let current = self.inner.directory();
        let mut backtest = Backtest::new(proposed.unwrap_or(&current), account);
        let published = self.inner.store.published();
        let view = &*published.view;
        let failed = |e: ReadError| StartError(e.to_string());
        let mailboxes = mox_mailbox::mailboxes(view, id).map_err(failed)?;
        let mut places = Vec::new();
        for (nth, entry) in mailboxes.iter().enumerate() {
            let Some(mailbox) = entry.mailbox else {
                continue;
            };
            let all = rows(view, id, mailbox).map_err(failed)?;
            places.extend(all.into_iter().map(|row| Place {
                date: row.date.secs(),
                mailbox: nth,
                uid: row.uid,
            }));
        }
        places.sort_by_key(|place| (place.date, place.mailbox, place.uid));
        let old = places.len().saturating_sub(MESSAGES_MAX);
        backtest.left_out(old as u64);
        for place in places.drain(..).skip(old) {
            let Some(entry) = mailboxes.get(place.mailbox) else {
                continue;
            };
            let Some(mailbox) = entry.mailbox else {
                continue;
            };
            let judged = self.judge_again(
                &mut backtest,
                view,
                (id, mailbox, &entry.name),
                (place.uid, place.date),
            );
            if let Err(error) = judged {
                tracing::warn!(target: "junk", account, mailbox = entry.name, uid = place.uid.0, %error, "a message is not judged again");
                backtest.unreadable();
            }
        }
        Ok(backtest.finish())
    }

    fn judge_again(
        &self,
        backtest: &mut Backtest<'_>,
        view: &dyn Reads,
        (account, mailbox, name): (AccountId, MailboxId, &str),
        (uid, date): (Uid, i64),
    ) -> io::Result<()> {
        let store = &self.inner.store;
        let Some(meta) =
            mox_mailbox::meta(view, account, mailbox, uid).map_err(io::Error::other)?
        else {
            return Ok(());
        };
        let (part, header) = outline(store, view, (account, mailbox, uid), &meta)?;
        let mut read = |range| store.read_body(view, &meta.body, range);
        let words = words_read::<io::Error, Bytes>(
            self.inner.authority.words_key(),
            &header,
            &part,
            &mut read,
        )?;
        let marked = mox_mailbox::junk_class(view, account, mailbox, uid);
        let decided = decided(&meta.prefix);
        let record = match &decided {
            Some((id, _)) => record(view, id).map_err(io::Error::other)?,
            None => None,
        };
        backtest.push(&Stored {
            mailbox: name,
            uid: uid.0,
            date,
            received: is_received(&meta.prefix),
            marked: marked.map_err(io::Error::other)?,
            decided,
            record: record.as_ref(),
            header: &header,
            words: &words,
        });
        Ok(())
    }
}

fn record(view: &dyn Reads, id: &str) -> Result<Option<Record>, ReadError> {
    for key in lookups(id) {
        let found = mox_mailbox::decisions(view, &key, 4)?;
        let mut records = found
            .iter()
            .filter_map(|octets| Record::decode(octets).ok());
        let found = records.find(|record| record.id == id);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// All messages of a mailbox.
fn rows(view: &dyn Reads, account: AccountId, mailbox: MailboxId) -> Result<Vec<Row>, ReadError> {
    let Some(selected) = mox_mailbox::select(view, account, mailbox)? else {
        return Ok(Vec::new());
    };
    let (mut all, mut from) = (Vec::new(), Some(Uid(1)));
    while let Some(uid) = from {
        let page = mox_mailbox::rows(view, account, mailbox, &selected.uids, uid, PAGE)?;
        all.extend(page.rows);
        from = page.next;
    }
    Ok(all)
}
