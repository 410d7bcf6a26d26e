//! Notifications of other servers about what was sent from here: noted with the message that they report.
//!
//! Whoever knows the ids of a message could have written one: it is noted where people look, counts as one failure of an
//! address of that message, however many there are, and changes nothing else.

use futures_lite::future;
use mox_driver::{Pool, Runtime};
use mox_machine::Utc;
use mox_mailbox::{AccountId, BodyRef, Notified, Reads, Telling};
use mox_message::dsn::{Action, Notification, Reported};
use mox_mime::Part;
use mox_smtp::wire::{MailDsn, xtext_decode};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::node::Inner;
use crate::suppressing::is_about_the_address;
use crate::tls;

/// Octets of a notification that are read.
const READ_MAX: u64 = 1024 * 1024;

/// Notifications that wait for attempts to end, at most; one more is looked at once, at once.
const WAITING_MAX: usize = 64;
/// How long one waits: longer than an attempt takes.
const WAITED_MAX: Duration = Duration::from_secs(2_400);
/// How often it looks whether they have ended.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What notifications may name a message by: its Message-ID, which may be in the fields that we added, and the ENVID of its sender.
pub(super) fn ids(added: &str, header: &[u8], dsn: &MailDsn) -> Vec<String> {
    let own = mox_mime::header::find(added.as_bytes(), b"Message-ID");
    let own = own.or_else(|| mox_mime::header::find(header, b"Message-ID"));
    let own = own.map(|id| message_id(&String::from_utf8_lossy(id)));
    let envelope = dsn.decoded_envelope_id();
    own.into_iter()
        .chain(envelope.map(|id| envelope_id(&id)))
        .collect()
}

/// What names a message by its Message-ID.
fn message_id(id: &str) -> String {
    format!("m{}", id.trim().trim_matches(['<', '>']))
}

/// What names a message by the ENVID that its sender gave.
fn envelope_id(id: &str) -> String {
    format!("e{id}")
}

/// It may be a notification: no other message is read again.
pub(super) fn may_be_one(part: &Part) -> bool {
    mox_mime::parts(part).any(|part| {
        let subtype = part.subtype.to_ascii_lowercase();
        part.media.eq_ignore_ascii_case(b"message")
            && matches!(&subtype[..], b"delivery-status" | b"global-delivery-status")
    })
}

/// Notes what a message that was delivered to these accounts tells.
pub(super) async fn note<R: Runtime>(
    node: Arc<Inner<R>>,
    accounts: BTreeSet<AccountId>,
    body: BodyRef,
    now: Utc,
) {
    let (store, published) = (node.store.clone(), node.store.published());
    let read = move || {
        let octets = store.read_body(&*published.view, &body, 0..body.length.min(READ_MAX));
        Notification::read(&octets.ok()?)
    };
    let read = node.runtime.blocking(Pool::Bodies, Box::new(read)).await;
    let Some(notification) = read else { return };
    let ids = notification.message_id.iter().map(|id| message_id(id));
    let envelope = notification.envelope_id.as_deref().map(forms);
    let ids = ids.chain(envelope.iter().flatten().map(|id| envelope_id(id)));
    let ids: Vec<String> = ids.collect();
    let from = notification.reporting_mta.clone().unwrap_or_default();
    let told = notification.recipients.into_iter();
    let told: Vec<Telling> = told
        .filter_map(|reported| telling(reported, &from, now))
        .collect();
    let mut unknown = BTreeSet::new();
    for account in accounts {
        if put(&node, account, &ids, &told, &from, now).await == Some(0) {
            unknown.insert(account);
        }
    }
    if unknown.is_empty() {
        return;
    }
    // A server may report faster than the attempt ends in which it took the message: until then nobody knows what was sent.
    wait_for(&node, node.attempts.all()).await;
    for account in unknown {
        if put(&node, account, &ids, &told, &from, now).await == Some(0) {
            tracing::info!(target: "queue", from, "another server tells of a message that nobody here sent lately");
        }
    }
}

/// Notes what another server told an account; about how many recipients that is.
async fn put<R: Runtime>(
    node: &Arc<Inner<R>>,
    account: AccountId,
    ids: &[String],
    told: &[Telling],
    from: &str,
    now: Utc,
) -> Option<usize> {
    let (ids, told) = (ids.to_vec(), told.to_vec());
    let op = move |reads: &dyn Reads| mox_mailbox::queue_notified(reads, account, &ids, &told, now);
    match node.store.run(op).await {
        Ok(0) => Some(0),
        Ok(recipients) => {
            tracing::info!(target: "queue", recipients, from, "another server told what became of a message");
            Some(recipients)
        }
        Err(error) => {
            tracing::warn!(target: "queue", %error, "what another server told could not be noted");
            None
        }
    }
}

/// Waits until none of these attempts runs any more, as far as there is room and time for that, and the server does not stop.
async fn wait_for<R: Runtime>(node: &Arc<Inner<R>>, attempts: BTreeSet<u64>) {
    if attempts.is_empty() {
        return;
    }
    let waiting = &node.notifications_waiting;
    let _place = Place(waiting);
    if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
        tracing::info!(target: "queue", "too many notifications wait for attempts to end: one is looked at now");
        return;
    }
    let until = node.runtime.now().mono + WAITED_MAX;
    let mut seat = node.registry.enter();
    while attempts.iter().any(|id| node.attempts.has(*id)) {
        if node.registry.is_stopping() || node.runtime.now().mono >= until {
            return;
        }
        let stop = core::future::poll_fn(|cx| seat.poll_stopping(cx));
        future::or(stop, tls::sleep(&node.runtime, LOOK_EVERY)).await;
    }
}

/// A place among the notifications that wait.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a server returns of what our commands said: it is not encoded there (RFC 3461 6.3), which not all of them know.
fn forms(value: &str) -> Vec<String> {
    let decoded = xtext_decode(value.as_bytes());
    let decoded = decoded.and_then(|octets| String::from_utf8(octets).ok());
    let decoded = decoded.filter(|decoded| decoded != value);
    core::iter::once(value.to_owned()).chain(decoded).collect()
}

fn telling(reported: Reported, from: &str, at: Utc) -> Option<Telling> {
    let action = reported.action?;
    Some(Telling {
        unknown: action == Action::Failed && reported.status.is_some_and(is_about_the_address),
        note: Notified {
            at,
            recipient: reported.recipient,
            about: String::new(),
            action: action.as_str().to_owned(),
            status: reported.status.map(|s| s.to_string()).unwrap_or_default(),
            from: from.to_owned(),
            text: reported.diagnostic.unwrap_or_default(),
        },
        original: reported.original.as_deref().map(forms).unwrap_or_default(),
    })
}
