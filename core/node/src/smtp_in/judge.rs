//! What becomes of a message from elsewhere: the checks by DNS, then the decision for each mailbox it is for.

use bytes::Bytes;
use mox_address::{Path, Reply};
use mox_dns::{MasterFile, Name};
use mox_driver::{Pool, Runtime};
use mox_mailbox::{AccountId, Kinship, Observation};
use mox_server::decision::{
    Connection, Facts, Judgement, LeftOut, Message, Reason, Recipient, Record, Stage, Verdict,
    author_local_part, decide, ties,
};
use mox_server::reports::{ReportKind, StoredReport};
use mox_server::{Arrived, Checks, Origin};
use mox_store::Spool;

use super::content::{Text, weigh};
use super::lists;
use super::recipients::{Headed, Known, known_of};
use super::record::{refusal, shown, with_a_labels};
use super::reports::{Suspect, look};
use super::trace::{Stamp, for_mailbox};
use crate::node::Inner;
use crate::reports_out::of_message;

/// Octets of name servers' answers that are kept in a record.
const DNS_MAX: usize = 96 * 1024;

/// Recipients judged without a thread of their own: more would keep others waiting.
const JUDGED_AT_ONCE: usize = 8;

/// A message to be judged.
pub(super) struct Case<'a> {
    /// How it came.
    pub(super) stamp: Stamp<'a>,
    /// The session is answered slowly.
    pub(super) slow: bool,
    pub(super) from: Option<&'a Path>,
    pub(super) origin: &'a Origin,
    pub(super) arrived: &'a Arrived,
    pub(super) spool: Spool,
    /// Lists that may be asked about the client.
    pub(super) lists: &'a [Name],
    /// Why it is a loop, whomever it is for.
    pub(super) loops: Option<&'static str>,
    /// The mailboxes it is for, each with the recipient, and the account's name.
    pub(super) mailboxes: Vec<Asked>,
}

/// A mailbox a message is for.
pub(super) struct Asked {
    pub(super) address: Path,
    /// The account's own address, where that one is an alias.
    pub(super) member: Option<String>,
    pub(super) account: String,
    pub(super) id: AccountId,
    pub(super) mailbox: String,
    /// Reports that are sent to its address.
    pub(super) reports: Vec<ReportKind>,
    /// Why the message is a loop for it.
    pub(super) loops: Option<&'static str>,
}

/// What was found.
pub(super) struct Judged {
    /// With one judgement for each mailbox, in their order.
    pub(super) record: Record,
    /// Authentication-Results and Received-SPF.
    pub(super) fields: String,
    /// The name of the peer's address.
    pub(super) reverse: Option<String>,
    /// Reports in it that are believed.
    pub(super) reports: Vec<StoredReport>,
    /// What is to be reported of it to other domains.
    pub(super) observations: Vec<Observation>,
    /// The domain that forwards the message to each mailbox, in their order.
    forwarders: Vec<Option<String>>,
}

impl Judged {
    /// The reply when nobody takes the message; `None` when somebody does. Whoever may try again for one may for all.
    pub(super) fn refusal(&self) -> Option<Reply> {
        let decisions = || self.record.recipients.iter().map(|r| &r.decision);
        if decisions().any(|decision| decision.verdict.is_taken()) {
            return None;
        }
        let chosen = decisions()
            .find(|decision| decision.verdict == Verdict::Defer)
            .or_else(|| decisions().next())?;
        Some(refusal(chosen, &self.record.id))
    }

    /// Nobody takes the message, and each refuses it for what it is.
    pub(super) fn is_unwanted(&self) -> bool {
        let mut decisions = self.record.recipients.iter().map(|r| &r.decision);
        decisions.all(|decision| decision.is_unwanted())
    }

    /// Where the message goes for the nth mailbox, once it is taken. Who would have refused it gets it as junk: the other side is told
    /// one thing for all, and nothing that was taken is lost.
    pub(super) fn place(&self, nth: usize) -> Option<String> {
        let judgement = self.record.recipients.get(nth)?;
        let decision = &judgement.decision;
        match decision.verdict {
            Verdict::Accept | Verdict::Junk => decision.mailbox.clone(),
            Verdict::Defer | Verdict::Refuse => {
                Some(judgement.recipient.settings.junk_mailbox.clone())
            }
        }
    }

    /// Whether it comes from who its reverse-path says, as SPF tells: who forged it would have others told.
    pub(super) fn is_senders(&self) -> bool {
        let message = self.record.facts.message.as_ref();
        message.is_some_and(|message| message.spf.result == "pass")
    }

    /// What the message has in common with others, for the nth mailbox.
    pub(super) fn kinship(&self, nth: usize) -> Bytes {
        let Some(judgement) = self.record.recipients.get(nth) else {
            return Bytes::new();
        };
        let facts = &self.record.facts;
        let recipient = &judgement.recipient;
        let forwarder = self.forwarders.get(nth).and_then(Option::as_deref);
        let ties = ties(facts, &recipient.mailbox, forwarder);
        let [a, b, c, d, ..] = hash(&author_local_part(facts)).to_be_bytes();
        Kinship {
            hashes: ties.iter().map(|tie| hash(tie)).collect(),
            local_part: u32::from_be_bytes([a, b, c, d]),
        }
        .encode()
    }

    /// Nothing is known of the sender, and nothing speaks against the message.
    pub(super) fn is_first_time(&self) -> bool {
        let mut decisions = self.record.recipients.iter().map(|r| &r.decision);
        decisions.any(|decision| decision.reason == Reason::NoBadSignals)
    }

    /// The nth mailbox has nothing to read in it: it is a report, which is listed elsewhere.
    pub(super) fn is_report(&self, nth: usize) -> bool {
        let judgement = self.record.recipients.get(nth);
        let report = judgement.and_then(|judgement| judgement.recipient.report.as_ref());
        report.is_some_and(|report| report.problem.is_none())
    }

    /// The decision in short, as a header field.
    pub(super) fn field(&self, nth: usize) -> String {
        let Some(judgement) = self.record.recipients.get(nth) else {
            return String::new();
        };
        let decision = &judgement.decision;
        format!(
            "X-Mox-Decision: {}; {}; {}\r\n",
            self.record.id,
            decision.verdict.name(),
            decision.reason.name()
        )
    }
}

/// Asks name servers, for as long as an inquiry may take, and decides. It always comes to an end: what is not answered in time
/// counts as a failure of DNS, which refuses nothing.
pub(super) async fn judge<R: Runtime>(node: &Inner<R>, case: Case<'_>) -> (Judged, Spool) {
    let (now, peer) = (case.stamp.now, case.stamp.peer);
    let helo = case.stamp.hello.map(|(name, _)| &name[..]);
    let helo = helo.unwrap_or_default();
    let sender = case.from.map(with_a_labels).unwrap_or_default();
    let receiver = node.config.hostname.to_ascii();
    let receiver = receiver.as_ref().unwrap_or(&node.config.hostname);
    let authors: Vec<&[u8]> = case.origin.authors.iter().map(|a| &a.domain[..]).collect();
    let checks = Checks {
        ip: peer,
        helo,
        mail_from: sender.as_bytes(),
        receiver: receiver.as_str(),
        authors: &authors,
        signatures: case.origin.signatures.as_ref(),
        time: now.secs(),
    };
    let inquiry = node
        .resolver
        .inquire(&node.runtime, mox_dns::Facts::default(), |facts| {
            checks.run(facts)
        });
    let (checked, answers) = inquiry.await;
    let iprev = &checked.iprev;
    let reverse = iprev.name.as_ref().or_else(|| iprev.names.first());
    let reverse = reverse.map(ToString::to_string);
    let mut message = Message::of(case.origin, &checked, case.arrived.size);
    message.loops = case.loops.map(str::to_owned);
    let mut facts = Facts {
        stage: Stage::Message,
        at: now.secs(),
        connection: Connection {
            ip: peer.to_canonical(),
            hello: shown(helo),
            tls: case.stamp.tls.is_some(),
            slow: case.slow,
        },
        sender: sender.clone(),
        sender_unreachable: None,
        has_resolver: true,
        message: Some(message),
    };
    // As it will stand before the message when somebody looks for its words again, but for the recipient.
    let fields = checks.fields(&checked);
    let stamp = Stamp {
        reverse: reverse.as_deref(),
        results: &fields,
        ..case.stamp
    };
    let before = |to: &Path| for_mailbox(&stamp, case.from, to);
    let first = case.mailboxes.first();
    let header = first.map_or_else(String::new, |asked| before(&asked.address));
    let header = [header.as_bytes(), &case.arrived.header[..]].concat();
    let kinds: Vec<_> = case.mailboxes.iter().map(|m| m.reports.clone()).collect();
    let message = Headed {
        id: stamp.id,
        before: &before,
        header: &case.arrived.header,
    };
    let Known {
        mut recipients,
        forwarders,
    } = known_of(node, &facts, case.mailboxes, message).await;
    let suspect = Suspect {
        transaction: stamp.id,
        part: &case.arrived.structure.part,
        size: case.arrived.size,
        tls_signers: match kinds.iter().any(|kinds| kinds.contains(&ReportKind::Tls)) {
            true => checks.tls_report_signers(&answers),
            false => Vec::new(),
        },
    };
    let looked = look(node, &facts, &mut recipients, &kinds, (suspect, case.spool));
    let (spool, reports) = looked.await;
    let text = Text {
        header,
        part: case.arrived.structure.part.clone(),
        spool,
    };
    let asking = recipients
        .iter_mut()
        .map(|(recipient, id)| (recipient, *id));
    let spool = weigh(node, &facts, asking, text).await;
    let asks = |(recipient, _): &(Recipient, _)| decide(&facts, recipient).asks_for_lists();
    if !case.lists.is_empty() && recipients.iter().any(asks) {
        let listings = lists::ask(node, case.lists, peer).await;
        if let Some(message) = &mut facts.message {
            message.listings = listings;
        }
    }
    let (facts, recipients) = match recipients.len() {
        0..=JUDGED_AT_ONCE => {
            let judged = judgements(&facts, recipients);
            (facts, judged)
        }
        _ => {
            let work = move || {
                let judged = judgements(&facts, recipients);
                (facts, judged)
            };
            node.runtime.blocking(Pool::Compute, Box::new(work)).await
        }
    };
    let observations = of_message(node, &facts, &checked, &recipients);
    let mut dns = MasterFile::of_facts(answers.demanded()).to_string();
    let left_out = LeftOut {
        answers: dns.len() > DNS_MAX,
        ..LeftOut::default()
    };
    if left_out.answers {
        dns.clear();
    }
    let judged = Judged {
        record: Record {
            id: stamp.id.to_owned(),
            facts,
            recipients,
            reply: String::new(),
            dns,
            left_out,
        },
        fields,
        reverse,
        reports,
        observations,
        forwarders,
    };
    (judged, spool)
}

/// Judges each recipient. A token opens a mailbox: where none is given, none is kept. It is given only in a reply that refuses, and
/// that is the first's.
fn judgements(facts: &Facts, recipients: Vec<(Recipient, Option<AccountId>)>) -> Vec<Judgement> {
    let all_refuse = recipients
        .iter()
        .all(|(recipient, _)| decide(facts, recipient).verdict == Verdict::Refuse);
    let judged = recipients.into_iter().enumerate();
    let judged = judged.map(|(nth, (mut recipient, _))| {
        let given = |recipient: &Recipient| {
            nth == 0 && all_refuse && decide(facts, recipient).reason == Reason::GiveSubjectpass
        };
        if recipient.offer.is_some() && !given(&recipient) {
            recipient.offer = None;
        }
        Judgement::of(facts, recipient)
    });
    judged.collect()
}

/// Of what messages have in common.
pub(super) fn hash(tie: &str) -> u64 {
    let hash = blake3::hash(tie.as_bytes());
    let start = hash.as_bytes().first_chunk().copied();
    u64::from_be_bytes(start.unwrap_or_default())
}
