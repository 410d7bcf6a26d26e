//! What would become of a message: everything is done that a delivery does, up to MAIL or up to RCPT, by the same code.

use core::fmt;
use mox_address::Path;
use mox_dns::Facts;
use mox_driver::Runtime;
use mox_mailbox::{BodyId, BodyRef, QueueEntry, QueueMessage};
use mox_server::Found;
use mox_smtp::client::{Offer, Until};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::asked;
use super::attempt::{Delivering, deliver};
use crate::Node;
use crate::node::{Inner, StartError};
use crate::tls;
use crate::transports::transport_of;

/// How long a rehearsal may take in all.
const WHOLE: Duration = Duration::from_secs(600);

/// A rehearsal while it runs: how far it goes, and what came of it so far.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) until: Until,
    steps: Mutex<Vec<String>>,
}

impl Probe {
    /// Notes a step.
    pub(super) fn note(&self, step: impl fmt::Display) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push(step.to_string());
    }

    /// Notes what was asked of name servers, each question once.
    pub(super) fn asked(&self, facts: &Facts) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        for line in asked::lines(facts) {
            if !steps.contains(&line) {
                steps.push(line);
            }
        }
    }

    /// Notes what a server offers.
    pub(super) fn offer(&self, offer: &Offer) {
        let flags = [
            ("PIPELINING", offer.pipelining),
            ("8BITMIME", offer.eight_bit),
            ("SMTPUTF8", offer.utf8),
            ("STARTTLS", offer.start_tls),
            ("DSN", offer.dsn),
            ("REQUIRETLS", offer.require_tls),
        ];
        let known = flags.iter().filter(|(_, is)| *is).map(|(name, _)| *name);
        let mut all: Vec<String> = known.map(str::to_owned).collect();
        if offer.takes_size {
            let most = offer.size.map(|size| format!(" {size}"));
            all.push(format!("SIZE{}", most.unwrap_or_default()));
        }
        if !offer.mechanisms.is_empty() {
            all.push(format!("AUTH {}", offer.mechanisms.join(" ")));
        }
        self.note(format!("it offers: {}", all.join(", ")));
    }
}

/// What would become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// By which transport it would go.
    pub transport: String,
    /// What was done, in order.
    pub steps: Vec<String>,
    /// `delivered`, `temporary`, `permanent`, `nodomain` or `nohost`: what the first attempt would end with.
    pub outcome: String,
    /// Why.
    pub text: String,
}

impl<R: Runtime> Node<R> {
    /// Rehearses the delivery of a message of so many octets. It stops before MAIL, or with `to_rcpt` behind RCPT; DATA is never said.
    ///
    /// # Errors
    /// When one of these is no address, or the store cannot be read.
    pub async fn dry_run(
        &self,
        from: Option<&str>,
        to: &str,
        octets: u64,
        to_rcpt: bool,
    ) -> Result<DryRun, StartError> {
        let node = &self.inner;
        let usual = format!("postmaster@{}", node.config.hostname);
        let from = from.unwrap_or(&usual);
        let path = |text: &str| {
            let path = Path::parse(text, true);
            path.map_err(|_| StartError(format!("{text:?} is no address; write local-part@domain")))
        };
        let sender = match from {
            "" => None,
            from => Some(path(from)?),
        };
        let recipient = path(to)?;
        let account = match sender.as_ref().map(|from| node.directory().find(from)) {
            Some(Found::Account { account, .. }) => Some(account),
            _ => None,
        };
        let ours = node.directory().find(&recipient);
        let (entry, message) = self.rehearsed(from, &recipient, octets, account.as_deref());
        let transport = transport_of(node, &entry, Some(&message), account.as_deref());
        let probe = Arc::new(Probe {
            until: match to_rcpt {
                true => Until::Recipients,
                false => Until::Offer,
            },
            steps: Mutex::default(),
        });
        if let Found::Account { account, .. } = ours {
            return Ok(DryRun {
                transport: String::new(),
                steps: vec![format!("{to} is an address of account {account} here")],
                outcome: "delivered".into(),
                text: "to a mailbox here".into(),
            });
        }
        if let Found::Alias { members, .. } = ours {
            let members: Vec<String> = members.iter().map(|m| m.address.to_string()).collect();
            return Ok(DryRun {
                transport: String::new(),
                steps: vec![format!("{to} is an alias here for {}", members.join(", "))],
                outcome: "delivered".into(),
                text: "to mailboxes here".into(),
            });
        }
        probe.note(format!("by transport {transport}"));
        let seat = Arc::new(node.registry.enter_attempt());
        let (message, mut results) = (Arc::new(message), [None]);
        let run = async {
            let this = Delivering {
                seat: &seat,
                transport: &transport,
                next_hop: None,
                entry: &entry,
                message,
                steps: &Arc::default(),
                probe: Some(&probe),
            };
            deliver(node, this, None, &mut results).await;
            Ok(())
        };
        let run = tls::within(&node.runtime, WHOLE, run).await;
        let (outcome, text) = match (run, results) {
            (Ok(()), [Some(result)]) => {
                (format!("{:?}", result.outcome).to_lowercase(), result.text)
            }
            (Ok(()), [None]) => (
                "temporary".into(),
                "no mail server could be reached".to_owned(),
            ),
            (Err(error), _) => {
                let late = error.kind() == io::ErrorKind::TimedOut;
                let text = if late {
                    "it took too long".into()
                } else {
                    error.to_string()
                };
                ("temporary".to_owned(), text)
            }
        };
        let mut steps = probe.steps.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(DryRun {
            transport,
            steps: core::mem::take(&mut *steps),
            outcome,
            text,
        })
    }

    /// An entry that is in no queue.
    fn rehearsed(
        &self,
        from: &str,
        to: &Path,
        octets: u64,
        account: Option<&str>,
    ) -> (QueueEntry, QueueMessage) {
        let node: &Inner<R> = &self.inner;
        let now = node.runtime.now().utc;
        // As of a message that is in ASCII itself: domains go out in A-labels.
        let is_ascii = |path: &Path| path.local.as_str().is_ascii();
        let sender = Path::parse(from, true).ok();
        let utf8 = !is_ascii(to) || !sender.as_ref().is_none_or(is_ascii);
        let message = QueueMessage {
            id: 0,
            entries: 1,
            account: account.and_then(|account| node.account_id(account)),
            reverse_path: from.to_owned(),
            body: BodyRef {
                id: BodyId {
                    boot: 0,
                    counter: 0,
                },
                length: octets,
                blake3: [0; 32],
            },
            prefix: bytes::Bytes::new(),
            eight_bit: false,
            utf8,
            extra: bytes::Bytes::new(),
            created: now,
            dsn: String::new(),
            require_tls: false,
            tls_optional: false,
            ids: Vec::new(),
        };
        let entry = QueueEntry {
            id: 0,
            message: 0,
            recipients: vec![to.to_string().into()],
            next_attempt: now,
            hold: false,
            attempts_made: 0,
            attempts: Vec::new(),
            delay_told: false,
            created: now,
            release: None,
            transport: String::new(),
            ambiguous: 0,
            owner: None,
        };
        (entry, message)
    }
}
