//! The records of decisions about mail that arrives.

use bytes::Bytes;
use mox_address::{Path, Reply};
use mox_driver::Runtime;
use mox_machine::Utc;
use mox_mailbox::{DECISION_MAX, DecisionBudget, NewDecision, Observation};
use mox_server::decision::{
    Connection, Decision, Facts, Judgement, LeftOut, Recipient, Record, Stage,
};
use mox_server::limiter::RecordShare;
use std::net::IpAddr;

use crate::node::Inner;

/// What the other side is told when its message or recipient is not taken.
pub(super) fn refusal(decision: &Decision, id: &str) -> Reply {
    let (code, subject, detail) = decision.code;
    let text = format!("{} (id {id})", decision.text);
    Reply::new(code, subject, detail, text)
}

/// For how much there is room.
pub(super) fn budget<R: Runtime>(node: &Inner<R>) -> DecisionBudget {
    DecisionBudget::of(node.config.receiving.records_octets)
}

/// Room that a record takes of the share of who brought what it is about.
pub(super) struct Room {
    peer: IpAddr,
    /// The share and the octets; `None` when it is in no share.
    taken: Option<(RecordShare, u64)>,
}

impl Room {
    /// The record did not come about.
    pub(super) fn give_back<R: Runtime>(self, node: &Inner<R>) {
        if let Some((share, octets)) = self.taken {
            let now = node.runtime.now();
            node.limiters
                .give_back_record_room(self.peer, share, octets, now);
        }
    }
}

/// A record as the store keeps it. Who filled its share with others has short ones, and who filled that too has them apart. What it
/// takes of a share is to be given back when it is not kept.
pub(super) fn entry<R: Runtime>(
    node: &Inner<R>,
    record: &Record,
    observations: Vec<Observation>,
) -> (NewDecision, Room) {
    let (peer, now) = (record.facts.connection.ip, node.runtime.now());
    let cut = |octets: usize| {
        let (less, encoded) = record.within(octets.min(DECISION_MAX));
        let new = NewDecision {
            keys: less.keys(),
            record: Bytes::from(encoded),
            at: Utc::from_secs(record.facts.at),
            is_spare: false,
            observations: Vec::new(),
        };
        let weight = new.weight();
        (new, weight)
    };
    let take = |share, octets| (node.limiters).take_record_room(peer, share, octets, now);
    let (mut new, taken) = RecordShare::find(cut, take);
    new.is_spare = taken.is_none();
    new.observations = observations;
    (new, Room { peer, taken })
}

/// Keeps a record of what was not taken, whatever it was that kept it out. That it cannot be kept changes nothing for the other side.
pub(super) async fn keep<R: Runtime>(node: &Inner<R>, record: &Record) {
    keep_with(node, record, Vec::new()).await;
}

/// The same, with what is to be reported of the message to other domains.
pub(super) async fn keep_with<R: Runtime>(
    node: &Inner<R>,
    record: &Record,
    observations: Vec<Observation>,
) {
    let (entry, room) = entry(node, record, observations);
    let budget = budget(node);
    let op = move |reads: &dyn mox_mailbox::Reads| {
        mox_mailbox::keep_decisions(reads, std::slice::from_ref(&entry), budget)
    };
    match node.store.run(op).await {
        Ok(damaged) => tell_of_damage(damaged),
        Err(error) => {
            room.give_back(node);
            tracing::warn!(target: "store", id = record.id, %error, "the record of a decision was not kept");
        }
    }
}

/// Rows of what is only remembered could not be read: mail goes on without them.
pub(super) fn tell_of_damage(rows: usize) {
    if rows > 0 {
        tracing::error!(target: "store", rows, "damaged rows of what is remembered of mail were passed over");
    }
}

/// What is known of a transaction before there is a message.
pub(super) struct Beginning {
    pub(super) id: String,
    pub(super) connection: Connection,
    pub(super) now: Utc,
}

impl Beginning {
    /// As facts of a decision.
    pub(super) fn facts(&self, stage: Stage, from: Option<&Path>) -> Facts {
        Facts {
            stage,
            at: self.now.secs(),
            connection: self.connection.clone(),
            sender: from.map(with_a_labels).unwrap_or_default(),
            sender_unreachable: None,
            has_resolver: true,
            message: None,
        }
    }

    /// A record of what is taken for none of these, and the reply: this one, or what was decided.
    pub(super) fn refuse(
        self,
        facts: Facts,
        recipients: Vec<Recipient>,
        reply: Option<&Reply>,
    ) -> Option<(Record, Reply)> {
        let judged = recipients.into_iter();
        let recipients: Vec<_> = judged.map(|to| Judgement::of(&facts, to)).collect();
        let decision = recipients.first().map(|judged| &judged.decision)?;
        let reply = match reply {
            Some(reply) => reply.clone(),
            None => refusal(decision, &self.id),
        };
        let record = Record {
            id: self.id,
            facts,
            recipients,
            reply: reply.to_string(),
            dns: String::new(),
            left_out: LeftOut::default(),
        };
        Some((record, reply))
    }

    /// Decides; a record and the reply of what is not taken.
    pub(super) fn decide(
        self,
        facts: Facts,
        recipient: Recipient,
        dns: String,
    ) -> Option<(Record, Reply)> {
        let judgement = Judgement::of(&facts, recipient);
        if judgement.decision.verdict.is_taken() {
            return None;
        }
        let reply = refusal(&judgement.decision, &self.id);
        let record = Record {
            id: self.id,
            facts,
            recipients: vec![judgement],
            reply: reply.to_string(),
            dns,
            left_out: LeftOut::default(),
        };
        Some((record, reply))
    }
}

/// The address with its domain in A-labels, as DNS knows it.
pub(super) fn with_a_labels(path: &Path) -> String {
    match path.domain().and_then(|domain| domain.to_ascii().ok()) {
        Some(domain) => format!("{}@{domain}", path.local),
        None => path.to_string(),
    }
}

/// What a peer calls itself, as far as it is kept.
pub(super) fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name.get(..300).unwrap_or(name));
    name.chars().filter(|c| !c.is_control()).collect()
}
