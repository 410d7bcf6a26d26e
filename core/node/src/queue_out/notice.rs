//! Telling a sender what became of a message: a delivery status notification in the sender's own Inbox.

use bytes::Bytes;
use mox_address::{Enhanced, Path};
use mox_driver::{Pool, Runtime};
use mox_machine::{Utc, fault, mutant};
use mox_mailbox::{AccountId, Delivery, Flags, QueueMessage, QueueRecipient, Target};
use mox_message::dsn::{self, Diagnostic, Dsn, Recipient};
use mox_smtp::wire::{MailDsn, RcptDsn, Return};
use mox_store::Spooled;
use std::sync::Arc;

use super::attempt::Result;
use crate::composed;
use crate::node::Inner;
use crate::postmaster::Postmaster;

/// Octets of a message that is returned whole, at most; of a larger one its header is.
const WHOLE_MAX: u64 = 1024 * 1024;

/// What a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Failed,
    Delayed {
        /// It is given up after this.
        until: Utc,
    },
    /// It is in the mailbox.
    Delivered,
    /// It is with a server that does not tell what becomes of it.
    Relayed,
}

/// Whom a notification may be about.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) address: String,
    dsn: RcptDsn,
    result: Result,
    /// How long it was tried.
    tried: Option<Tried>,
    /// It may have the message all the same.
    maybe: bool,
}

/// How long a recipient was tried that is given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tried {
    pub(super) times: u32,
    pub(super) since: Utc,
    /// It is given up because its time is over.
    pub(super) is_expired: bool,
}

impl Told {
    pub(super) fn new(to: &QueueRecipient, result: &Result) -> Self {
        Self {
            address: to.address.clone(),
            dsn: RcptDsn::parse(&to.dsn),
            result: result.clone(),
            tried: None,
            maybe: result.ambiguous || to.ambiguous() > 0,
        }
    }

    /// The same, after it was tried for so long.
    pub(super) fn tried(self, tried: Tried) -> Self {
        Self {
            tried: Some(tried),
            ..self
        }
    }

    /// Whether the sender wants to know (RFC 3461 5.2).
    pub(super) fn is_wanted(&self, kind: Kind) -> bool {
        match kind {
            Kind::Failed => self.dsn.wants_failure(),
            Kind::Delayed { .. } => self.dsn.wants_delay(),
            Kind::Delivered | Kind::Relayed => self.dsn.wants_success(),
        }
    }
}

/// Stands before what another server said when it took a message, where the sender asked to be told that and could not be.
pub const UNTOLD: &str = "(its sender could not be told) ";

/// A notification could not be written. Whoever it is about is not to be given up before somebody was told.
#[derive(Debug)]
pub(super) struct NotWritten;

/// A notification about those of these recipients about whom the sender wants to know, ready to be delivered, with its body held.
/// `None` when nobody is to be told: the null sender (RFC 5321 4.5.5), or a sender whose account was removed since. Of a stranger's
/// message that is given up the postmaster is told.
pub(super) async fn compose<R: Runtime>(
    node: &Arc<Inner<R>>,
    message: &QueueMessage,
    kind: Kind,
    told: &[Told],
) -> core::result::Result<Option<(Delivery, Spooled)>, NotWritten> {
    let told: Vec<Told> = told
        .iter()
        .filter(|told| told.is_wanted(kind))
        .cloned()
        .collect();
    let account = message.account.filter(|account| {
        // What cannot be read now is not gone.
        let found = mox_mailbox::account_by_id(&*node.store.published().view, *account);
        !matches!(found, Ok(None))
    });
    // RFC 5321 6.1: what was taken from a stranger is not dropped without a word. Who it says that it is from may not be.
    let is_strangers = message.account.is_none() && !message.reverse_path.is_empty();
    let is_given_up = kind == Kind::Failed && !told.is_empty();
    let postmaster = (is_strangers && is_given_up).then(|| Postmaster::of(node));
    let postmaster = postmaster.flatten();
    let reader = postmaster.as_ref().and_then(|them| them.readers.first());
    let Some(account) = account.or_else(|| reader.map(|(account, _)| *account)) else {
        if is_given_up {
            tracing::warn!(
                target: "queue",
                id = String::from_utf8_lossy(&message.extra).as_ref(),
                from = message.reverse_path,
                recipients = told.len(),
                "a message is given up, and its sender, who has no account here, is not told"
            );
        }
        return Ok(None);
    };
    let to_null = message.reverse_path.is_empty() && !mutant!(NullSenderTold);
    let now = node.runtime.now().utc;
    let is_untold = kind == Kind::Failed
        && now >= node.config.plan.expires(message.created)
        && mutant!(ExpiredUntold);
    if told.is_empty() || to_null || is_untold {
        return Ok(None);
    }
    let sender = match message.reverse_path.as_str() {
        "" if mutant!(NullSenderTold) => {
            Path::parse(&format!("postmaster@{}", node.config.hostname), true)
        }
        path => Path::parse(path, true),
    };
    let Ok(sender) = sender else {
        return Ok(None);
    };
    if fault!("node notice not written") {
        return Err(NotWritten);
    }
    // The header of the message may have to be read from a file.
    let text = {
        let (here, message, sender) = (node.clone(), message.clone(), sender.clone());
        let work = move || write(&here, &message, kind, &told, &sender);
        node.runtime.blocking(Pool::Bodies, Box::new(work)).await
    };
    let body = Bytes::from(text.ok_or(NotWritten)?);
    let (mut delivery, spooled) = match composed::write(node, account, body, now).await {
        Ok(written) => written,
        Err(error) => {
            tracing::error!(target: "queue", %error, "a notification could not be written");
            return Err(NotWritten);
        }
    };
    let (path, readers) = match postmaster {
        Some(Postmaster { path, readers }) => (path, readers),
        None => (sender, vec![(account, mox_mailbox::INBOX.into())]),
    };
    let readers = readers.into_iter();
    delivery.targets = readers.map(|reader| target(reader, &path, now)).collect();
    Ok(Some((delivery, spooled)))
}

fn target((account, mailbox): (AccountId, String), to: &Path, now: Utc) -> Target {
    let prefix = mox_message::return_path(None) + &mox_message::delivered_to(to);
    Target {
        account,
        mailbox,
        create: true,
        prefix: Bytes::from(prefix),
        flags: Flags::NONE,
        keywords: Vec::new(),
        date: now,
        origin: Bytes::new(),
    }
}

fn write<R: Runtime>(
    node: &Arc<Inner<R>>,
    message: &QueueMessage,
    kind: Kind,
    told: &[Told],
    sender: &Path,
) -> Option<Vec<u8>> {
    let now = node.runtime.now().utc;
    let addresses = told.iter().filter_map(|told| {
        let address = Path::parse(&told.address, true).ok()?;
        Some((address, told.dsn.decoded_original(), told))
    });
    let addresses: Vec<(Path, Option<String>, &Told)> = addresses.collect();
    let recipients: Vec<Recipient<'_>> = addresses
        .iter()
        .map(|(address, original, told)| Recipient {
            address,
            original: original.as_deref(),
            status: status(&told.result.status, kind),
            remote: told.result.host.as_deref(),
            diagnostic: match told.result.from_peer {
                true => Diagnostic::Reply(&told.result.text),
                false => Diagnostic::Local(&told.result.text),
            },
            last_attempt: Some(now),
            tried: told.tried.map(|tried| dsn::Tried {
                times: tried.times,
                since: tried.since,
                is_expired: tried.is_expired,
            }),
            maybe_delivered: told.maybe && kind == Kind::Failed,
        })
        .collect();
    let published = node.store.published();
    let wishes = MailDsn::parse(&message.dsn);
    // RFC 3461 4.3: it is about failures only. RFC 8689 5: what was to travel in secret does not come back whole.
    let returned = kind == Kind::Failed && wishes.ret == Some(Return::Full) && !message.require_tls;
    let (returned, length) = match returned && message.size() <= WHOLE_MAX {
        true => (true, message.body.length),
        false => (false, u64::try_from(dsn::HEADER_MAX).unwrap_or(u64::MAX)),
    };
    let mut whole = message.prefix.to_vec();
    let body = node
        .store
        .read_body(&*published.view, &message.body, 0..length);
    let body = body.unwrap_or_default();
    let header = whole.len() + mox_mime::header::len(&body);
    whole.extend_from_slice(&body);
    let envelope_id = wishes.decoded_envelope_id();
    let composed = Dsn {
        kind: match kind {
            Kind::Failed => dsn::Kind::Failed,
            Kind::Delayed { until } => dsn::Kind::Delayed { until },
            Kind::Delivered => dsn::Kind::Delivered,
            Kind::Relayed => dsn::Kind::Relayed,
        },
        hostname: &node.config.hostname,
        to: sender,
        seed: &node.session_seed("dsn"),
        date: now,
        arrived: message.created,
        envelope_id: envelope_id.as_deref(),
        recipients: &recipients,
        header: whole.get(..header).unwrap_or_default(),
        whole: returned.then_some(&whole[..]),
        // Who has given an address that is not ASCII can read it.
        utf8: message.utf8
            || !addresses
                .iter()
                .all(|(path, ..)| path.local.as_str().is_ascii()),
    }
    .compose();
    composed.ok().map(|composed| composed.message)
}

/// The status of a recipient, its class that of the notification: what was temporary for days is final now.
fn status(text: &str, kind: Kind) -> Option<Enhanced> {
    let mut numbers = text.split('.');
    numbers.next()?;
    let (subject, detail) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let class = match kind {
        Kind::Failed => 5,
        Kind::Delayed { .. } => 4,
        Kind::Delivered | Kind::Relayed => 2,
    };
    Some(Enhanced(class, subject, detail))
}
