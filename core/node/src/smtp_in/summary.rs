//! The one log line of a transaction.

use mox_address::Path;
use std::net::SocketAddr;

use super::transaction::{Arrival, Outcome, Transaction};

/// What the one log line of a transaction says.
pub(super) struct Summary {
    id: String,
    service: &'static str,
    peer: SocketAddr,
    from: String,
    to: usize,
    size: u64,
}

impl Summary {
    pub(super) fn of(transaction: &Transaction, arrival: &Arrival) -> Self {
        Self {
            id: transaction.id.clone(),
            service: arrival.service.name(),
            peer: arrival.peer,
            from: transaction
                .from
                .as_ref()
                .map(Path::to_string)
                .unwrap_or_default(),
            to: transaction.local.iter().map(|l| l.to.len()).sum::<usize>()
                + transaction.remote.len(),
            size: transaction.content.as_ref().map_or(0, |c| c.intake.size()),
        }
    }

    pub(super) fn log(self, outcome: &Outcome) {
        let Self {
            id,
            service,
            peer,
            from,
            to,
            size,
        } = self;
        match outcome {
            Outcome::Stored { .. } => {
                tracing::info!(target: "transaction", id, service, %peer, from, to, size, "accepted");
            }
            Outcome::Refused(reply) | Outcome::Unwanted(reply) => {
                tracing::info!(target: "transaction", id, service, %peer, from, to, size, %reply, "refused");
            }
        }
    }
}
