//! Notifications of other servers about what was sent from here: noted with the message that they report.
//!
//! Whoever knows the ids of a message could have written one: it is noted where people look, counts as one failure of an
//! address, and changes nothing else.

use mox_driver::{Pool, Runtime};
use mox_machine::Utc;
use mox_mailbox::{AccountId, BodyRef, Notified, Reads, Telling};
use mox_message::dsn::{Action, Notification, Reported};
use mox_mime::Part;
use mox_smtp::wire::MailDsn;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::node::Inner;

/// Octets of a notification that are read.
const READ_MAX: u64 = 1024 * 1024;

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
    let ids = ids.chain(notification.envelope_id.iter().map(|id| envelope_id(id)));
    let ids: Vec<String> = ids.collect();
    let from = notification.reporting_mta.clone().unwrap_or_default();
    let told = notification.recipients.into_iter();
    let told: Vec<Telling> = told
        .filter_map(|reported| telling(reported, &from, now))
        .collect();
    for account in accounts {
        let (ids, told) = (ids.clone(), told.clone());
        let op =
            move |reads: &dyn Reads| mox_mailbox::queue_notified(reads, account, &ids, &told, now);
        match node.store.run(op).await {
            Ok(0) => {}
            Ok(recipients) => {
                tracing::info!(target: "queue", recipients, from, "another server told what became of a message");
            }
            Err(error) => {
                tracing::warn!(target: "queue", %error, "what another server told could not be noted");
            }
        }
    }
}

fn telling(reported: Reported, from: &str, at: Utc) -> Option<Telling> {
    let action = reported.action?;
    let is_unknown = |status: mox_address::Enhanced| {
        let mox_address::Enhanced(class, subject, detail) = status;
        class == 5 && (subject == 1 || (subject, detail) == (2, 1))
    };
    Some(Telling {
        unknown: action == Action::Failed && reported.status.is_some_and(is_unknown),
        note: Notified {
            at,
            recipient: reported.recipient,
            action: action.as_str().to_owned(),
            status: reported.status.map(|s| s.to_string()).unwrap_or_default(),
            from: from.to_owned(),
            text: reported.diagnostic.unwrap_or_default(),
        },
        original: reported.original,
    })
}
