//! The end of a mail transaction: from the final dot to the 250 that promises.

use bytes::Bytes;
use mox_address::{Path, Reply};
use mox_driver::{Pool, Runtime};
use mox_machine::{Utc, mutant};
use mox_mailbox::{
    AccountId, Beside, Body, Dated, DatedSource, Delivery, Enqueue, Filed, Flags, MailboxId,
    NewDated, Stop, Target as MailboxTarget,
};
use mox_message::{Deliveries, received_count};
use mox_server::reports::{ReportKind, StoredReport};
use mox_server::{Arrived, Departing, Found, Letterhead, NoAuthor, StoredStructure, Submitted};
use mox_smtp::server::BodyKind;
use mox_smtp::wire::RcptDsn;
use mox_store::{BodyFacts, Spool, StoreError};
use mox_uids::Uid;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::departing::{check_author, sign};
use super::first_time::hold_back;
use super::groups::by_domain;
use super::judge::{Asked, Case, Judged, hash, judge};
use super::notified;
use super::receipt::Receipt;
use super::record;
use super::rejects::{self, Refused, known_by, known_by_content};
use super::replies::{mailbox_full, not_written, reply_to, unavailable};
use super::sending;
use super::summary::Summary;
use super::trace::{self, Stamp};
use super::transaction::{Arrival, Content, Local, Outcome, Transaction};
use crate::budget::Held;
use crate::node::Inner;

/// Received fields at most: more is a loop (RFC 5321 6.3).
pub(crate) const RECEIVED_MAX: usize = 100;

/// Mailboxes that are served by the operation that takes the message, at most. The others are recipients of the queue, which
/// delivers to them a moment later: an operation is bounded, and a message goes to as many as LIMITS says.
pub(crate) const MAILBOXES_AT_ONCE: usize = 100;
/// Octets those mailboxes may add to the operation in all.
const OCTETS_AT_ONCE: usize = 1024 * 1024;
/// Octets that a message adds to an operation beside its header and structure, for each mailbox: pages and small rows.
const OCTETS_BESIDE: usize = 8 * 1024;

/// How many mailboxes one operation serves with a message whose rows have so many octets: at least one.
pub(crate) fn mailboxes_at_once(octets: usize) -> usize {
    (OCTETS_AT_ONCE / (octets + OCTETS_BESIDE)).clamp(1, MAILBOXES_AT_ONCE)
}

/// A message that is complete and was looked at.
struct Ready {
    arrived: Arrived,
    spool: Spool,
    eight_bit: bool,
    /// Octets counted against the node's budget.
    held: Held,
    departing: Option<Departing>,
    judged: Option<Judged>,
}

impl Transaction {
    /// Whether the sender wants to be told that it is in this mailbox.
    fn wants_success(&self, local: &Local) -> bool {
        local.to.iter().any(|to| self.wants(to))
    }

    /// The address under which the queue delivers to a mailbox: of several ones that about which the sender wants to be told.
    fn queued_as<'l>(&self, local: &'l Local) -> Option<&'l Path> {
        let wanted = local.to.iter().find(|to| self.wants(to));
        let to = wanted.or_else(|| local.to.first())?;
        // Behind an alias are others too.
        local
            .own
            .as_ref()
            .filter(|_| local.aliases.contains(to))
            .or(Some(to))
    }

    fn wants(&self, to: &Path) -> bool {
        self.dsn.get(to).is_some_and(RcptDsn::wants_success)
    }

    /// Whether it can only go to servers with SMTPUTF8. Many programs say SMTPUTF8 wherever it is offered; which recipients need it is
    /// seen when they are tried.
    fn needs_utf8(&self, arrived: &Arrived, before: &[u8]) -> bool {
        let from = self.from.as_ref();
        self.params.utf8
            && !(arrived.header_whole
                && arrived.header.is_ascii()
                && before.is_ascii()
                && from.is_none_or(|from| from.local.as_str().is_ascii()))
    }

    /// What is to be told to a sender elsewhere, once the message is in these mailboxes here.
    fn receipt(&self, at_once: &[usize], now: Utc, header: &Bytes) -> Option<Receipt> {
        let local = at_once.iter().filter_map(|nth| self.local.get(*nth));
        let all = local.flat_map(|local| &local.to);
        let wanted = all.filter_map(|to| Some((to.clone(), self.dsn.get(to)?.clone())));
        // An alias leads to several mailboxes.
        let mut told = BTreeSet::new();
        let recipients: Vec<(Path, RcptDsn)> = wanted
            .filter(|(_, dsn)| dsn.wants_success())
            .filter(|(to, _)| told.insert(to.clone()))
            .collect();
        (!recipients.is_empty()).then_some(())?;
        Some(Receipt {
            to: self.from.clone()?,
            envelope_id: self.params.dsn.decoded_envelope_id(),
            recipients,
            header: header.clone(),
            utf8: self.params.utf8,
            arrived: now,
        })
    }

    /// Makes the message durable for all its recipients, or for none.
    pub(super) async fn commit<R: Runtime>(
        self: Box<Self>,
        node: Arc<Inner<R>>,
        arrival: Arrival,
    ) -> Outcome {
        let summary = Summary::of(&self, &arrival);
        let outcome = match self.store(&node, &arrival).await {
            Ok(id) => Outcome::Stored { id },
            Err(outcome) => outcome,
        };
        summary.log(&outcome);
        outcome
    }

    /// How it came, without what only checks can tell.
    fn stamp<'a, R: Runtime>(&'a self, node: &'a Inner<R>, arrival: &'a Arrival) -> Stamp<'a> {
        Stamp {
            id: &self.id,
            hostname: &node.config.hostname,
            service: arrival.service,
            peer: arrival.peer.ip(),
            hello: arrival.hello.as_ref(),
            tls: arrival.tls.as_ref(),
            authenticated: arrival.login.is_some() && arrival.file.is_none(),
            utf8: self.params.utf8,
            now: node.runtime.now().utc,
            reverse: None,
            results: "",
        }
    }

    /// What becomes of a message from elsewhere.
    async fn judge<R: Runtime>(
        &self,
        node: &Inner<R>,
        arrival: &Arrival,
        letterhead: Letterhead,
        (arrived, spool): (&Arrived, Spool),
    ) -> (Judged, Spool) {
        let origin = letterhead.finish();
        let directory = node.directory();
        let deliveries = Deliveries::of(&arrived.header);
        let asked = |local: &Local| {
            let address = local.to.first()?;
            let own = local
                .own
                .as_ref()
                .filter(|_| local.aliases.contains(address));
            Some(Asked {
                address: address.clone(),
                member: own.map(Path::to_string),
                account: local.name.clone(),
                id: local.account,
                mailbox: local.mailbox.clone(),
                reports: (local.to.iter())
                    .flat_map(|to| directory.reports_at(to))
                    .collect(),
                loops: deliveries.name_any(&local.to).then_some(DELIVERED_BEFORE),
            })
        };
        let case = Case {
            stamp: self.stamp(node, arrival),
            slow: arrival.slow,
            from: self.from.as_ref(),
            origin: &origin,
            arrived,
            spool,
            lists: &arrival.lists,
            loops: has_too_many_hops(arrived).then_some(TOO_MANY_HOPS),
            mailboxes: self.local.iter().filter_map(asked).collect(),
        };
        judge(node, case).await
    }

    async fn store<R: Runtime>(
        mut self: Box<Self>,
        node: &Arc<Inner<R>>,
        arrival: &Arrival,
    ) -> Result<String, Outcome> {
        let content = match self.content.take() {
            Some(content) => content,
            // A message without a single octet never had a piece.
            None => {
                self.push(node, Bytes::new())?;
                self.content.take().ok_or_else(unavailable)?
            }
        };
        let Content {
            letterhead,
            scrub,
            submitted,
            mut intake,
            mut spool,
            eight_bit,
            held,
        } = content;
        if let Some(mut scrub) = scrub {
            let mut left = Vec::new();
            scrub.finish(&mut left);
            for piece in left {
                intake.push(&piece);
                spool.push(piece);
            }
            if scrub.removed() > 0 {
                let removed = scrub.removed();
                tracing::info!(target: "transaction", id = self.id, removed, "took out fields that claim to be ours");
            }
        }
        let arrived = intake.finish();
        let departing = submitted.map(Submitted::finish);
        if let Some(departing) = departing.as_ref().filter(|_| arrival.file.is_none()) {
            // What stands before its first field ends the header: nothing of it can be read then.
            if arrived.headless {
                return Err(NoAuthor::From.reply().into());
            }
            check_author(node, arrival, departing)?;
        }
        // What programs send again on purpose is no loop.
        let here: &[Local] = match arrival.file {
            Some(_) => &[],
            None => &self.local,
        };
        let judged = match letterhead {
            Some(letterhead) => {
                let message = (&arrived, spool);
                let (judged, back) = self.judge(node, arrival, letterhead, message).await;
                spool = back;
                Some(judged)
            }
            None => match loops(&arrived, here) {
                Some(why) => return Err(Reply::new(550, 4, 6, why).into()),
                None => None,
            },
        };
        if let Some(reply) = judged.as_ref().and_then(Judged::refusal) {
            let is_unwanted = judged.as_ref().is_some_and(Judged::is_unwanted);
            if let Some(mut judged) = judged {
                judged.record.reply = reply.to_string();
                let reverse = judged.reverse.clone();
                let results = judged.fields.clone();
                let recipients = self.local.iter();
                let refused = Refused {
                    recipients: recipients
                        .filter_map(|local| Some((local.account, local.to.first()?)))
                        .collect(),
                    from: self.from.as_ref(),
                    stamp: Stamp {
                        reverse: reverse.as_deref(),
                        results: &results,
                        ..self.stamp(node, arrival)
                    },
                    arrived: &arrived,
                    spool,
                    judged,
                };
                rejects::keep(node, refused).await;
            }
            return Err(match is_unwanted {
                true => Outcome::Unwanted(reply),
                false => Outcome::Refused(reply),
            });
        }

        if judged.as_ref().is_some_and(Judged::is_first_time) {
            hold_back(node).await;
        }
        let record = judged.as_ref().map(|judged| judged.record.clone());
        let ready = Ready {
            arrived,
            spool,
            eight_bit,
            held,
            departing,
            judged,
        };
        match (self.serve(node, arrival, ready).await, record) {
            // What was decided did not come about: that is on record too.
            (Err(reply), Some(mut record)) => {
                let reply = Reply {
                    text: format!("{} (id {})", reply.text, record.id).into(),
                    ..reply
                };
                record.reply = reply.to_string();
                record::keep(node, &record).await;
                Err(reply.into())
            }
            (served, _) => Ok(served?),
        }
    }

    /// Puts a message that is taken where it goes: into mailboxes and the queue, in one operation.
    async fn serve<R: Runtime>(
        self: Box<Self>,
        node: &Arc<Inner<R>>,
        arrival: &Arrival,
        ready: Ready,
    ) -> Result<String, Reply> {
        let Ready {
            arrived,
            spool,
            eight_bit,
            held,
            departing,
            mut judged,
        } = ready;
        let now = node.runtime.now().utc;
        let stamp = Stamp {
            now,
            reverse: judged.as_ref().and_then(|judged| judged.reverse.as_deref()),
            results: judged.as_ref().map_or("", |judged| &judged.fields),
            ..self.stamp(node, arrival)
        };
        let added = match &departing {
            Some(departing) => {
                let seed = node.session_seed("message-id");
                trace::missing_fields(departing.header(), &stamp, &seed)
            }
            None => String::new(),
        };
        let structure = StoredStructure::encode(&arrived.structure);
        // An alias is one recipient: whoever sends to it cannot split it, and it has no more members than this.
        let named: BTreeSet<&Path> = self.local.iter().filter_map(|l| l.to.first()).collect();
        let at_once = match named.len() {
            1 => MAILBOXES_AT_ONCE,
            _ => mailboxes_at_once(arrived.header.len() + structure.len()),
        };
        let places: Vec<Option<String>> = match &judged {
            Some(judged) => (0..self.local.len()).map(|nth| judged.place(nth)).collect(),
            None => Vec::new(),
        };
        let mut order: Vec<usize> = (0..self.local.len()).collect();
        // Whoever submits is told of a delivery by the queue, which also holds back what is to come later.
        let is_queued = |nth: &usize| {
            let local = self.local.get(*nth);
            let is_wanted = local.is_some_and(|local| self.wants_success(local));
            let by_queue = is_wanted || self.params.release.is_some();
            judged.is_none()
                && (by_queue || local.is_some_and(|local| is_handed(node, arrival, local)))
        };
        order.sort_by_key(|nth| is_queued(nth));
        let others = order.iter().filter(|nth| !is_queued(nth)).count();
        let (at_once, later) = order.split_at(at_once.min(others));
        // Of several mailboxes each had room when its recipient was taken (of an alias, that of a member): one that is full by now does
        // not keep the others from the message, here and elsewhere. What is handed over is not refused at all.
        let promised = self.local.len() + self.remote.len() > 1 || arrival.file.is_some();
        if !promised && !later.is_empty() {
            has_room(node, &self.local, arrived.size)?;
        }
        let targets = at_once
            .iter()
            .filter_map(|nth| {
                let local = self.local.get(*nth)?;
                Some((*nth, local.to.first()?, local))
            })
            .map(|(nth, to, local)| MailboxTarget {
                account: local.account,
                mailbox: places
                    .get(nth)
                    .cloned()
                    .flatten()
                    .unwrap_or_else(|| local.mailbox.clone()),
                create: true,
                prefix: prefix(
                    judged
                        .as_ref()
                        .map_or_else(String::new, |judged| judged.field(nth))
                        + &trace::for_mailbox(&stamp, self.from.as_ref(), to),
                    &added,
                    arrived.headless,
                ),
                flags: match judged.as_ref().is_some_and(|judged| judged.is_report(nth)) {
                    true => Flags::SEEN,
                    false => Flags::NONE,
                },
                keywords: Vec::new(),
                date: now,
                origin: judged
                    .as_ref()
                    .map_or_else(Bytes::new, |judged| judged.kinship(nth)),
            })
            .collect::<Vec<_>>();
        let queued = later.iter().filter_map(|nth| {
            let local = self.local.get(*nth)?;
            let filed = judged.as_ref().map(|judged| Filed {
                account: local.account,
                seen: judged.is_report(*nth),
                mailbox: (places.get(*nth).cloned().flatten())
                    .unwrap_or_else(|| local.mailbox.clone()),
                fields: judged.field(*nth),
                origin: judged.kinship(*nth),
            });
            Some((self.queued_as(local)?, filed))
        });
        let remote = self.remote.iter().map(|to| (to, None));
        let queued: Vec<(&Path, Option<Filed>)> = queued.chain(remote).collect();
        // What stays here needs no proof of where it comes from.
        let signatures = match departing {
            Some(departing) if !self.remote.is_empty() && !arrived.headless => {
                let leaves = self.params.release.map_or(now, |release| release.max(now));
                sign(node, departing, added.clone(), now, leaves).await?
            }
            _ => String::new(),
        };
        let traced = signatures + &trace::for_queue(&stamp, queued.iter().map(|(to, _)| *to));
        let before = prefix(traced, &added, arrived.headless);
        let queue = (!queued.is_empty()).then(|| Enqueue {
            account: arrival.login.as_ref().map(|login| login.id),
            reverse_path: self.from.as_ref().map(Path::to_string).unwrap_or_default(),
            utf8: self.needs_utf8(&arrived, &before),
            prefix: before,
            eight_bit: eight_bit || self.params.body == Some(BodyKind::EightBit),
            extra: Bytes::from(self.id.clone()),
            groups: by_domain(&queued, &self.wishes(), now, self.params.release),
            dsn: self.params.dsn.to_string(),
            require_tls: self.params.require_tls,
            tls_optional: !self.params.require_tls && is_tls_optional(&arrived.header),
            ids: notified::ids(&added, &arrived.header, &self.params.dsn),
        });
        let facts = BodyFacts {
            account: targets
                .first()
                .map(|t| t.account)
                .or_else(|| arrival.login.as_ref().map(|login| login.id))
                .unwrap_or(AccountId(0)),
            mailbox: MailboxId(0),
            uid: Uid(0),
            date: now,
        };
        let spooled = match spool.is_inline() {
            true => spool.finish(facts),
            false => {
                node.runtime
                    .blocking(Pool::Bodies, Box::new(move || spool.finish(facts)))
                    .await
            }
        };
        drop(held);
        let spooled = spooled.map_err(|error| {
            tracing::error!(target: "store", %error, "a message body could not be finished");
            not_written(&error)
        })?;
        let receipt = judged
            .as_ref()
            .filter(|judged| judged.is_senders())
            .and_then(|_| self.receipt(at_once, now, &arrived.header));
        let tells = self.from.is_none() && notified::may_be_one(&arrived.structure.part);
        let tells = tells.then(|| spooled.body().stored());
        let header = arrived.header;
        let body = spooled.body().clone();
        let spooled = match mutant!(BodyLetGoEarly) {
            true => {
                drop(spooled);
                let turn = Box::new(|| ());
                node.runtime.blocking(Pool::Bodies, turn).await;
                None
            }
            false => Some(spooled),
        };
        let wrote = arrival.login.as_ref().map(|login| {
            let recipients = self.local.iter().flat_map(|l| &l.to).chain(&self.remote);
            let ties = recipients.map(record::with_a_labels);
            let ties: Vec<_> = ties
                .map(|to| mox_server::decision::written_to(&to).into_iter())
                .collect();
            (login.id, hashes(ties))
        });
        let known_by = judged.as_ref().map(|judged| {
            let mut known_by = known_by(&judged.record);
            known_by.push(known_by_content(&body));
            known_by
        });
        let known_by = known_by.unwrap_or_default();
        let directory = node.directory();
        let keeps = |local: &&Local| directory.incoming(&local.name).keep_rejects;
        let keeping = self.local.iter().filter(keeps).map(|l| l.account).collect();
        let reports = judged
            .as_mut()
            .map(|judged| core::mem::take(&mut judged.reports));
        let limited = match (arrival.file, &arrival.login, self.remote.is_empty()) {
            (None, Some(login), false) => Some((login, self.new_remote)),
            _ => None,
        };
        if let Some((login, new)) = limited {
            sending::take(node, (login, arrival.peer.ip()), new)?;
        }
        let decision = judged.map(|mut judged| {
            for (judgement, place) in judged.record.recipients.iter_mut().zip(&places) {
                judgement.placed.clone_from(place);
            }
            judged.record.reply = "250".into();
            record::entry(node, &judged.record, judged.observations)
        });
        let (decision, room) = decision.unzip();
        let counts = limited.filter(|(login, _)| sending::is_limited(node, login));
        let beside = Beside {
            counts: counts.map(|(login, new)| (login.id, new)),
            decision: decision.map(|decision| (decision, record::budget(node))),
            wrote,
            file: arrival.file,
            known_by,
            keeping,
            dated: reports.unwrap_or_default().iter().map(dated).collect(),
            promised,
            later: later
                .iter()
                .filter_map(|nth| self.local.get(*nth).map(|local| local.account))
                .collect(),
        };
        let delivered = node.store.run(move |reads| {
            let delivery = Delivery {
                body: Body::New(body),
                structure,
                header,
                targets,
                queue,
                now,
            };
            // `spooled` lives to the end of the op: until then nothing removes the body's file.
            let result = mox_mailbox::deliver_beside(reads, &delivery, &beside);
            drop(spooled);
            result
        });
        if mutant!(AcceptedBeforeCommit) {
            let later = Box::pin(async move { drop(delivered.await) });
            node.runtime.spawn_session("commit", later);
            return Ok(self.id);
        }
        match delivered.await {
            Ok(delivered) => {
                record::tell_of_damage(delivered.damaged);
                if let Some(receipt) = receipt {
                    receipt.send(node).await;
                }
                if let Some(body) = tells {
                    let accounts = self.local.iter().map(|local| local.account).collect();
                    let note = notified::note(node.clone(), accounts, body, now);
                    node.runtime.spawn_session("notification", Box::pin(note));
                }
                Ok(self.id)
            }
            // Somebody was interrupted behind that operation.
            Err(StoreError::Refused(Stop::Taken)) => Ok(self.id),
            Err(error) => {
                if let Some(room) = room {
                    room.give_back(node);
                }
                if let Some((login, new)) = limited {
                    sending::give_back(node, login, new);
                }
                Err(reply_to(&error))
            }
        }
    }
}

/// A report as the store keeps it. Who sends the same one again, or many on one day, fills nothing with them.
fn dated(report: &StoredReport) -> NewDated {
    NewDated {
        kind: match report.kind() {
            ReportKind::Dmarc => Dated::DmarcReport,
            ReportKind::Tls => Dated::TlsReport,
        },
        at: Utc::from_secs(report.received),
        row: Bytes::from(report.encode()),
        source: Some(DatedSource {
            of: hash(&report.source()),
            id: hash(&format!("{:?}", (&report.organization, &report.report_id))),
        }),
    }
}

/// `TLS-Required: No`, RFC 8689 4: it is to arrive, whatever policies demand.
fn is_tls_optional(header: &[u8]) -> bool {
    let value = mox_mime::header::find(header, b"TLS-Required");
    value.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"no"))
}

/// Hashes of what is remembered of recipients, each once: first all addresses, which limits count, then domains.
fn hashes(mut ties: Vec<impl Iterator<Item = String>>) -> Vec<u64> {
    let addresses: Vec<String> = ties.iter_mut().filter_map(Iterator::next).collect();
    let mut seen = BTreeSet::new();
    let all = addresses.into_iter().chain(ties.into_iter().flatten());
    all.map(|tie| hash(&tie))
        .filter(|hash| seen.insert(*hash))
        .collect()
}

const TOO_MANY_HOPS: &str = "too many hops: this message loops";
const DELIVERED_BEFORE: &str = "this message was already delivered here: it loops";

/// RFC 5321 6.3.
fn has_too_many_hops(arrived: &Arrived) -> bool {
    received_count(&arrived.header) > RECEIVED_MAX
}

/// Why a message loops for somebody: too many hops, or a recipient it was already delivered to.
fn loops(arrived: &Arrived, local: &[Local]) -> Option<&'static str> {
    let recipients = local.iter().flat_map(|local| &local.to);
    match Deliveries::of(&arrived.header).name_any(recipients) {
        _ if has_too_many_hops(arrived) => Some(TOO_MANY_HOPS),
        true => Some(DELIVERED_BEFORE),
        false => None,
    }
}

/// What is handed over on this machine goes by the queue; not where all mail for others ends in a mailbox here, which the queue does
/// not know of.
fn is_handed<R: Runtime>(node: &Inner<R>, arrival: &Arrival, local: &Local) -> bool {
    let directory = node.directory();
    let is_ours = |to: &Path| directory.find(to) != Found::NotOurs;
    arrival.file.is_some() && local.to.first().is_some_and(is_ours)
}

/// Whether there is room in the mailboxes. What the queue delivers is a promise then, which quotas do not break.
fn has_room<R: Runtime>(node: &Inner<R>, mailboxes: &[Local], octets: u64) -> Result<(), Reply> {
    let published = node.store.published();
    for local in mailboxes {
        match mox_mailbox::has_room(&*published.view, local.account, octets) {
            Ok(true) => {}
            Ok(false) => return Err(mailbox_full()),
            Err(error) => {
                tracing::error!(target: "store", %error, "a quota cannot be read");
                return Err(unavailable());
            }
        }
    }
    Ok(())
}

/// The trace fields, what was missing in the header, and a blank line when there is no header to end.
pub(super) fn prefix(trace: String, added: &str, headless: bool) -> Bytes {
    let mut text = trace + added;
    if headless {
        text.push_str("\r\n");
    }
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp_in::transaction::Target;
    use mox_server::Member;
    use mox_smtp::server::MailParams;
    use mox_smtp::wire::Notify;

    fn path(text: &str) -> Path {
        Path::parse(text, false).unwrap()
    }

    /// To ann by two addresses and to bob; the sender wants to know of the second address of ann, and of bob.
    fn transaction() -> Transaction {
        let from = Some(path("me@far.example"));
        let mut transaction = Transaction::new("id".into(), from, MailParams::default(), true);
        let usual = RcptDsn::default();
        let told = RcptDsn {
            notify: Some(Notify {
                success: true,
                ..Notify::default()
            }),
            original: None,
        };
        for (to, dsn, account) in [
            ("ann@here.example", &usual, 1),
            ("anna@here.example", &told, 1),
            ("bob@here.example", &told, 2),
        ] {
            let target = Target::Local {
                account: AccountId(account),
                name: format!("account {account}"),
                mailbox: "INBOX".into(),
            };
            transaction.add(path(to), dsn.clone(), target);
        }
        transaction
    }

    #[test]
    fn of_several_addresses_of_a_mailbox_the_queue_has_the_one_to_be_told_of() {
        let transaction = transaction();
        let queued = transaction.local.iter();
        let queued: Vec<&Path> = queued.filter_map(|l| transaction.queued_as(l)).collect();
        assert_eq!(
            queued,
            [&path("anna@here.example"), &path("bob@here.example")]
        );
    }

    #[test]
    fn behind_an_alias_the_queue_has_the_members_and_the_sender_is_told_once() {
        let from = Some(path("me@far.example"));
        let mut transaction = Transaction::new("id".into(), from, MailParams::default(), true);
        let told = RcptDsn {
            notify: Some(Notify {
                success: true,
                ..Notify::default()
            }),
            original: None,
        };
        let member = |account: u32, address: &str| {
            let member = Member {
                account: format!("account {account}"),
                address: path(address),
            };
            (AccountId(account), member)
        };
        let members = vec![member(1, "ann@here.example"), member(2, "bob@here.example")];
        let alias = path("sales@here.example");
        transaction.add(alias.clone(), told, Target::Members(members));
        let ann = Target::Local {
            account: AccountId(1),
            name: "account 1".into(),
            mailbox: "INBOX".into(),
        };
        transaction.add(path("anna@here.example"), RcptDsn::default(), ann);
        assert_eq!(transaction.local.len(), 2);
        let queued = transaction.local.iter();
        let queued: Vec<&Path> = queued.filter_map(|l| transaction.queued_as(l)).collect();
        assert_eq!(
            queued,
            [&path("ann@here.example"), &path("bob@here.example")]
        );
        let wished = &transaction.wishes()[&path("bob@here.example")];
        assert_eq!(
            wished.original.as_deref(),
            Some("rfc822;sales@here.example")
        );
        let receipt = transaction.receipt(&[0, 1], Utc(0), &Bytes::new()).unwrap();
        let told: Vec<Path> = receipt.recipients.into_iter().map(|(to, _)| to).collect();
        assert_eq!(told, std::slice::from_ref(&alias));

        // Named by the own address too, bob has what is wanted for that, and nobody is told that he is a member.
        let bob = Target::Local {
            account: AccountId(2),
            name: "account 2".into(),
            mailbox: "INBOX".into(),
        };
        transaction.add(path("bob@here.example"), RcptDsn::default(), bob);
        assert_eq!(transaction.wishes().get(&path("bob@here.example")), None);
        let receipt = transaction.receipt(&[0, 1], Utc(0), &Bytes::new()).unwrap();
        let told: Vec<Path> = receipt.recipients.into_iter().map(|(to, _)| to).collect();
        assert_eq!(told, [alias]);
    }

    #[test]
    fn mailboxes_count_once_whatever_leads_to_them() {
        let transaction = transaction();
        let local = |account| Target::Local {
            account: AccountId(account),
            name: format!("account {account}"),
            mailbox: "INBOX".into(),
        };
        let members = |accounts: &[u32]| {
            let member = |account: &u32| {
                let member = Member {
                    account: format!("account {account}"),
                    address: path("x@here.example"),
                };
                (AccountId(*account), member)
            };
            Target::Members(accounts.iter().map(member).collect())
        };
        for (target, expected) in [
            (Target::Remote, 2),
            (local(1), 2),
            (local(3), 3),
            (members(&[1, 2]), 2),
            (members(&[2, 3, 3, 4]), 4),
        ] {
            assert_eq!(transaction.mailboxes_with(&target), expected);
        }
    }

    #[test]
    fn a_delivery_is_told_only_of_mailboxes_that_have_the_message() {
        let transaction = transaction();
        let told = |at_once: &[usize]| {
            let receipt = transaction.receipt(at_once, Utc(0), &Bytes::new());
            receipt.map(|receipt| {
                receipt
                    .recipients
                    .into_iter()
                    .map(|(to, _)| to)
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(told(&[0]), Some(vec![path("anna@here.example")]));
        assert_eq!(told(&[1]), Some(vec![path("bob@here.example")]));
        assert_eq!(told(&[]), None);
    }
}
