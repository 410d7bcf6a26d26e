//! One mail transaction as it comes in: recipients, and the pieces of the message.

use bytes::Bytes;
use mox_address::{Path, Reply};
use mox_dns::Name;
use mox_driver::{Fut, Pool, Runtime};
use mox_machine::TlsFacts;
use mox_mailbox::AccountId;
use mox_server::{Intake, Letterhead, Member, Scrub, Submitted};
use mox_smtp::server::MailParams;
use mox_smtp::wire::RcptDsn;
use mox_store::Spool;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::replies::not_written;
use crate::auth::Login;
use crate::budget::Held;
use crate::config::Service;
use crate::node::Inner;

/// A transaction whose MAIL was accepted.
pub(crate) struct Transaction {
    pub(super) id: String,
    pub(super) from: Option<Path>,
    pub(super) params: MailParams,
    /// It comes from elsewhere: what claims to be our own results in it is none of ours.
    foreign: bool,
    pub(super) local: Vec<Local>,
    pub(super) remote: Vec<Path>,
    /// What the sender wants to be told about recipients, where that is not as usual.
    pub(super) dsn: BTreeMap<Path, RcptDsn>,
    /// What members of aliases have from those, for the queue alone: what is told to senders names no member.
    inherited: BTreeMap<Path, RcptDsn>,
    /// Those of them to whom the sender never wrote, as far as that is limited.
    pub(super) new_remote: u32,
    pub(super) content: Option<Content>,
}

/// A mailbox of ours that the message goes to.
pub(super) struct Local {
    /// The recipients that lead to it; the first is the one the message is for.
    pub(super) to: Vec<Path>,
    pub(super) account: AccountId,
    pub(super) name: String,
    pub(super) mailbox: String,
    /// The account's own address, where aliases lead to it: the queue delivers to that, so that no other member gets the message twice.
    pub(super) own: Option<Path>,
    /// Those of the recipients that are aliases.
    pub(super) aliases: BTreeSet<Path>,
}

/// Where a recipient leads.
pub(super) enum Target {
    /// A mailbox of ours.
    Local {
        account: AccountId,
        name: String,
        mailbox: String,
    },
    /// The inbox of each member of an alias.
    Members(Vec<(AccountId, Member)>),
    /// The queue.
    Remote,
}

/// What is known of the connection when the message is complete.
pub(super) struct Arrival {
    pub(super) service: Service,
    pub(super) peer: SocketAddr,
    pub(super) tls: Option<TlsFacts>,
    pub(super) hello: Option<(Bytes, bool)>,
    /// Lists that may be asked about the peer.
    pub(super) lists: Vec<Name>,
    /// Whose it is.
    pub(super) login: Option<Login>,
    /// The session is answered slowly.
    pub(super) slow: bool,
    /// It was handed over on this machine in the file of this number, by somebody who may speak for anybody.
    pub(super) file: Option<[u8; 16]>,
}

/// How a transaction ended.
pub(crate) enum Outcome {
    Stored {
        id: String,
    },
    Refused(Reply),
    /// For what it is: whoever brings it brings what nobody wants.
    Unwanted(Reply),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Refused(reply)
    }
}

/// The message as far as it came.
pub(super) struct Content {
    /// Sees the message as it was sent, where name servers can be asked what that is worth.
    pub(super) letterhead: Option<Letterhead>,
    pub(super) scrub: Option<Scrub>,
    /// Sees a message of our own users, to tell its author and to sign it.
    pub(super) submitted: Option<Submitted>,
    pub(super) intake: Intake,
    pub(super) spool: Spool,
    pub(super) eight_bit: bool,
    /// Octets counted against the node's budget.
    pub(super) held: Held,
}

impl Local {
    fn lead(&mut self, to: Path, own: Option<Path>) {
        if let Some(own) = own {
            self.aliases.insert(to.clone());
            self.own.get_or_insert(own);
        }
        if !self.to.contains(&to) {
            self.to.push(to);
        }
    }
}

/// ORCPT for who gets a message under another address; `None` for an address that would have to be encoded.
fn original(to: &Path) -> Option<Box<str>> {
    let text = to.to_string();
    let is_plain = |b: u8| b.is_ascii_graphic() && !b"+=".contains(&b);
    text.bytes()
        .all(is_plain)
        .then(|| format!("rfc822;{text}").into())
}

impl Transaction {
    pub(super) fn new(id: String, from: Option<Path>, params: MailParams, foreign: bool) -> Self {
        Self {
            id,
            from,
            params,
            foreign,
            local: Vec::new(),
            remote: Vec::new(),
            dsn: BTreeMap::new(),
            inherited: BTreeMap::new(),
            new_remote: 0,
            content: None,
        }
    }

    /// The reverse-path.
    pub(super) const fn sender(&self) -> Option<&Path> {
        self.from.as_ref()
    }

    /// Whether this recipient was named already.
    pub(super) fn names(&self, to: &Path) -> bool {
        self.remote.contains(to) || self.local.iter().any(|local| local.to.contains(to))
    }

    /// What is wanted for whom the queue delivers to. Who was named by an own address has what was wanted for that.
    pub(super) fn wishes(&self) -> BTreeMap<Path, RcptDsn> {
        let mut wishes = self.inherited.clone();
        wishes.retain(|to, _| !self.names(to));
        wishes.extend(self.dsn.clone());
        wishes
    }

    pub(super) fn has_recipients(&self) -> bool {
        !self.local.is_empty() || !self.remote.is_empty()
    }

    /// How many mailboxes here the message goes to, when it goes there too.
    pub(super) fn mailboxes_with(&self, target: &Target) -> usize {
        let is_new = |account: AccountId, mailbox: &str| {
            let mut local = self.local.iter();
            !local.any(|local| local.account == account && local.mailbox == mailbox)
        };
        let new: BTreeSet<AccountId> = match target {
            Target::Local {
                account, mailbox, ..
            } => [*account]
                .into_iter()
                .filter(|account| is_new(*account, mailbox))
                .collect(),
            Target::Members(members) => members
                .iter()
                .map(|(account, _)| *account)
                .filter(|account| is_new(*account, mox_mailbox::INBOX))
                .collect(),
            Target::Remote => BTreeSet::new(),
        };
        self.local.len() + new.len()
    }

    /// One more recipient. How many there may be is the machine's to say.
    pub(super) fn add(&mut self, to: Path, dsn: RcptDsn, target: Target) {
        if dsn != RcptDsn::default() {
            self.dsn.entry(to.clone()).or_insert(dsn);
        }
        match target {
            Target::Local {
                account,
                name,
                mailbox,
            } => self.lead(to, (account, name, mailbox), None),
            Target::Members(members) => {
                for (account, member) in members {
                    // What is wanted for an alias is wanted for each of its members (RFC 3461 5.2.7.2).
                    if let Some(wanted) = self.dsn.get(&to).cloned() {
                        let original = wanted.original.or_else(|| original(&to));
                        let wanted = RcptDsn { original, ..wanted };
                        let inherited = self.inherited.entry(member.address.clone());
                        inherited.or_insert(wanted);
                    }
                    let inbox = (account, member.account, mox_mailbox::INBOX.into());
                    self.lead(to.clone(), inbox, Some(member.address));
                }
            }
            Target::Remote => {
                if !self.remote.contains(&to) {
                    self.remote.push(to);
                }
            }
        }
    }

    /// One copy per mailbox, whatever addresses lead to it. `own` is the account's own address, where an alias leads to it.
    fn lead(
        &mut self,
        to: Path,
        (account, name, mailbox): (AccountId, String, String),
        own: Option<Path>,
    ) {
        let known = |local: &&mut Local| local.account == account && local.mailbox == mailbox;
        match self.local.iter_mut().find(known) {
            Some(local) => local.lead(to, own),
            None => {
                let mut local = Local {
                    to: Vec::new(),
                    account,
                    name,
                    mailbox,
                    own: None,
                    aliases: BTreeSet::new(),
                };
                local.lead(to, own);
                self.local.push(local);
            }
        }
    }

    /// The next piece of the message. True when [`write`](Self::write) is due before the next one.
    pub(super) fn push<R: Runtime>(
        &mut self,
        node: &Inner<R>,
        piece: Bytes,
    ) -> Result<bool, Reply> {
        let foreign = self.foreign;
        let judges = foreign && node.judges();
        let content = self.content.get_or_insert_with(|| Content {
            letterhead: judges.then(Letterhead::default),
            scrub: foreign.then(|| Scrub::new(&node.config.hostname)),
            submitted: (!foreign).then(|| Submitted::new(node.signers())),
            intake: Intake::new(),
            spool: node.store.spool(),
            eight_bit: false,
            held: Held::nothing(&node.bodies_in_flight),
        });
        if !content.held.take(piece.len()) {
            return Err(Reply::new(
                452,
                3,
                1,
                "too many messages at once, try again later",
            ));
        }
        content.eight_bit = content.eight_bit || !piece.is_ascii();
        if let Some(letterhead) = &mut content.letterhead {
            letterhead.push(&piece);
        }
        if let Some(submitted) = &mut content.submitted {
            submitted.push(&piece);
        }
        let Some(scrub) = &mut content.scrub else {
            content.intake.push(&piece);
            return Ok(content.spool.push(piece));
        };
        let mut left = Vec::new();
        scrub.push(&piece, &mut left);
        let mut is_due = false;
        for piece in left {
            content.intake.push(&piece);
            is_due = content.spool.push(piece);
        }
        Ok(is_due)
    }

    /// Writes what waits to the body's file.
    pub(super) fn write<R: Runtime>(
        mut self: Box<Self>,
        node: &Arc<Inner<R>>,
    ) -> Fut<(Box<Self>, Result<(), Reply>)> {
        let work = move || {
            let Some(content) = &mut self.content else {
                return (self, Ok(()));
            };
            let result = content.spool.write();
            content.held.give_back();
            let result = result.map_err(|error| {
                tracing::error!(target: "store", %error, "a message body could not be written");
                not_written(&error)
            });
            (self, result)
        };
        node.runtime.blocking(Pool::Bodies, Box::new(work))
    }
}
