//! Telling a sender elsewhere that a message is in its mailbox, as it asked (RFC 3461 5.2.3).

use bytes::Bytes;
use mox_address::{Enhanced, Path};
use mox_driver::{Pool, Runtime};
use mox_machine::Utc;
use mox_mailbox::{Enqueue, Group};
use mox_message::dsn::{Diagnostic, Dsn, Kind, Recipient};
use mox_server::Submitted;
use mox_smtp::wire::RcptDsn;
use std::sync::Arc;

use crate::composed::{self, NOBODY};
use crate::node::Inner;

/// A notification that is due once the message is durable. It travels by the queue, from the null sender, so that nobody is told
/// when it does not arrive.
pub(super) struct Receipt {
    pub(super) to: Path,
    pub(super) envelope_id: Option<String>,
    pub(super) recipients: Vec<(Path, RcptDsn)>,
    pub(super) header: Bytes,
    pub(super) utf8: bool,
    pub(super) arrived: Utc,
}

impl Receipt {
    /// Puts it into the queue. The message is delivered whatever becomes of this.
    pub(super) async fn send<R: Runtime>(self, node: &Arc<Inner<R>>) {
        if let Err(error) = self.enqueue(node).await {
            tracing::error!(target: "queue", error, "a sender could not be told of a delivery");
        }
    }

    async fn enqueue<R: Runtime>(self, node: &Arc<Inner<R>>) -> Result<(), String> {
        let now = node.runtime.now().utc;
        let originals: Vec<Option<String>> = (self.recipients.iter())
            .map(|(_, dsn)| dsn.decoded_original())
            .collect();
        let recipients: Vec<Recipient<'_>> = (self.recipients.iter().zip(&originals))
            .map(|((address, _), original)| Recipient {
                address,
                original: original.as_deref(),
                status: Some(Enhanced(2, 1, 5)),
                remote: None,
                diagnostic: Diagnostic::Local("to a mailbox here"),
                last_attempt: Some(now),
                tried: None,
                maybe_delivered: false,
            })
            .collect();
        let composed = Dsn {
            kind: Kind::Delivered,
            hostname: &node.config.hostname,
            to: &self.to,
            seed: &node.session_seed("dsn"),
            date: now,
            arrived: self.arrived,
            envelope_id: self.envelope_id.as_deref(),
            recipients: &recipients,
            header: &self.header,
            whole: None,
            utf8: self.utf8,
        }
        .compose()
        .map_err(|e| e.to_string())?;
        let body = Bytes::from(composed.message);
        // From is the postmaster of this host.
        let signers = node.signers().and_host(&node.config.hostname);
        let mut submitted = Submitted::new(Arc::new(signers));
        submitted.push(&body);
        let departing = submitted.finish();
        let sign = Box::new(move || departing.sign("", now, now));
        let signature = node.runtime.blocking(Pool::Compute, sign).await;
        let signature = signature.map_err(|e| format!("it cannot be signed: {e}"))?;
        let eight_bit = !body.is_ascii();
        let written = composed::write(node, NOBODY, body, now).await;
        let (mut delivery, spooled) = written.map_err(|e| e.to_string())?;
        delivery.queue = Some(Enqueue {
            account: None,
            reverse_path: String::new(),
            prefix: Bytes::from(signature),
            eight_bit,
            utf8: composed.utf8,
            extra: Bytes::from(node.transaction_id()),
            groups: vec![Group {
                recipients: vec![self.to.to_string().into()],
                next_attempt: now,
                hold: false,
                release: None,
            }],
            dsn: String::new(),
            require_tls: false,
            tls_optional: false,
            ids: Vec::new(),
        });
        let op = move |reads: &dyn mox_mailbox::Reads| {
            let result = mox_mailbox::deliver(reads, &delivery);
            drop(spooled);
            result
        };
        let queued = node.store.run(op).await;
        queued.map(|_| ()).map_err(|e| e.to_string())
    }
}
