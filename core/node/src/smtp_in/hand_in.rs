//! Messages that are handed over on this machine, in files: taken as if they had been submitted, each once.

use bytes::Bytes;
use mox_address::{Path, Reply};
use mox_driver::Runtime;
use mox_mailbox::AccountId;
use mox_server::{Envelope, Found, Member};
use mox_smtp::server::MailParams;
use mox_smtp::wire::{MailDsn, RcptDsn};
use mox_store::DiskSpace;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::MAILBOXES_MAX;
use super::transaction::{Arrival, Outcome, Target, Transaction};
use crate::auth::Login;
use crate::config::{Outgoing, Service};
use crate::node::{Inner, Node};

/// A message on its way in. Dropped before its end, nothing of it is left.
pub struct HandIn<R: Runtime> {
    node: Arc<Inner<R>>,
    transaction: Box<Transaction>,
    arrival: Arrival,
}

impl<R: Runtime> core::fmt::Debug for HandIn<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HandIn").finish_non_exhaustive()
    }
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// It may be taken later; why not now.
    Later(String),
    /// It never will be.
    Never(String),
}

impl From<Reply> for NotTaken {
    fn from(reply: Reply) -> Self {
        match reply.is_permanent() {
            true => Self::Never(reply.to_string()),
            false => Self::Later(reply.to_string()),
        }
    }
}

impl<R: Runtime> Node<R> {
    /// Begins to take the message in the file of this number. Its sender is believed: whoever may write such files may speak for
    /// anybody here. Who cannot be delivered to is told to the sender later, as of any message.
    ///
    /// # Errors
    /// When an account cannot be reached, or the disk is full.
    pub fn hand_in(&self, file: [u8; 16], envelope: Envelope) -> Result<HandIn<R>, NotTaken> {
        let node = self.inner.clone();
        if node.store.space() == DiskSpace::Low {
            return Err(NotTaken::Later("not enough disk space".into()));
        }
        let Envelope {
            from,
            to,
            utf8,
            dsn,
            rcpt_dsn,
        } = envelope;
        let login = owner(&node, from.as_ref())?;
        let params = MailParams {
            utf8,
            dsn: MailDsn::parse(&dsn),
            ..MailParams::default()
        };
        let id = node.transaction_id();
        let mut transaction = Box::new(Transaction::new(id, from, params, false));
        let wishes = RcptDsn::parse(&rcpt_dsn);
        for to in to {
            let target = target(&node, &to)?;
            // Who is one too many is found again when the queue gets there.
            let target = match transaction.mailboxes_with(&target) > MAILBOXES_MAX {
                true => Target::Remote,
                false => target,
            };
            transaction.add(to, wishes.clone(), target);
        }
        let arrival = Arrival {
            service: Service::Submission,
            peer: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0),
            tls: None,
            hello: None,
            lists: Vec::new(),
            login: Some(login),
            slow: false,
            file: Some(file),
        };
        Ok(HandIn {
            node,
            transaction,
            arrival,
        })
    }

    /// The files whose messages were taken and that are not [forgotten](Self::forget_file), some of them.
    ///
    /// # Errors
    /// When the store cannot be read; why.
    pub fn taken_files(&self, max: usize) -> Result<Vec<[u8; 16]>, String> {
        let published = self.inner.store.published();
        mox_mailbox::taken(&*published.view, max).map_err(|e| e.to_string())
    }

    /// The file of a message that was taken is gone, and that is durable.
    ///
    /// # Errors
    /// When the store takes no more operations; why.
    pub async fn forget_file(&self, file: [u8; 16]) -> Result<(), String> {
        let op = move |reads: &dyn mox_mailbox::Reads| mox_mailbox::forget_taken(reads, &file);
        let forgotten = self.inner.store.run(op).await;
        forgotten.map_err(|e| e.to_string())
    }
}

impl<R: Runtime> HandIn<R> {
    /// The next piece: lines end in CRLF.
    ///
    /// # Errors
    /// When it cannot be kept; then nothing of the message is.
    pub async fn push(mut self, piece: Bytes) -> Result<Self, NotTaken> {
        let is_due = self.transaction.push(&self.node, piece)?;
        if is_due {
            let (transaction, written) = self.transaction.write(&self.node).await;
            written?;
            self.transaction = transaction;
        }
        Ok(self)
    }

    /// Makes the message durable for all its recipients, unless the one in this file was taken before.
    ///
    /// # Errors
    /// When it is for none of them.
    pub async fn commit(self) -> Result<(), NotTaken> {
        match self.transaction.commit(self.node, self.arrival).await {
            Outcome::Stored { .. } => Ok(()),
            Outcome::Refused(reply) | Outcome::Unwanted(reply) => Err(reply.into()),
        }
    }
}

/// Who is told what becomes of a message: the account of its sender, else the postmaster's.
fn owner<R: Runtime>(node: &Inner<R>, from: Option<&Path>) -> Result<Login, NotTaken> {
    let directory = node.directory();
    let account_of = |path: &Path| match directory.find(path) {
        Found::Account { account, .. } => Some(account),
        // Of those who may send with it, the one who is named first.
        Found::Alias {
            members,
            members_may_send: true,
            ..
        } => members.into_iter().next().map(|member| member.account),
        Found::Alias { .. } | Found::UnknownLocalPart | Found::NotOurs => None,
    };
    let postmaster = || {
        let address = format!("postmaster@{}", node.config.hostname);
        let path = Path::parse(&address, true).ok()?;
        match directory.find(&path) {
            // Whoever may send with it: nobody sends here, somebody is told.
            Found::Alias { members, .. } => members.into_iter().next().map(|m| m.account),
            _ => account_of(&path),
        }
    };
    let account = from.and_then(account_of).or_else(postmaster);
    let found = account.and_then(|account| Some((node.account_id(&account)?, account)));
    let (id, account) = found.ok_or_else(unreachable)?;
    Ok(Login {
        user: account.clone(),
        account,
        id,
    })
}

/// Whoever has a mailbox here gets the message once, by whatever names. All go by the queue, which finds out where there is
/// nobody, tells the sender, and asks for no quota: no recipient keeps the message from others.
fn target<R: Runtime>(node: &Inner<R>, to: &Path) -> Result<Target, NotTaken> {
    let members = |members: Vec<Member>| -> Option<Vec<(AccountId, Member)>> {
        let id = |member: Member| Some((node.account_id(&member.account)?, member));
        members.into_iter().map(id).collect()
    };
    match (node.directory().find(to), &node.config.outgoing) {
        (Found::NotOurs, Outgoing::Sink(name)) => Ok(Target::Local {
            account: node.account_id(name).ok_or_else(unreachable)?,
            name: name.clone(),
            mailbox: mox_mailbox::INBOX.into(),
        }),
        (
            Found::Account {
                account: name,
                mailbox,
                ..
            },
            _,
        ) => Ok(match node.account_id(&name) {
            Some(account) => Target::Local {
                account,
                name,
                mailbox: mailbox.unwrap_or_else(|| mox_mailbox::INBOX.into()),
            },
            None => Target::Remote,
        }),
        (Found::Alias { members: all, .. }, _) => {
            Ok(members(all).map_or(Target::Remote, Target::Members))
        }
        _ => Ok(Target::Remote),
    }
}

fn unreachable() -> NotTaken {
    NotTaken::Later("an account cannot be reached now".into())
}
