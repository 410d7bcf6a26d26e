//! What was found, sorted or in threads.

use core::ops::ControlFlow;
use mox_imap::server::{Answer, SortField, SortKey, Threading};
use mox_machine::Utc;
use mox_mailbox::Row;
use mox_message::text::header_text;
use mox_mime::{Date, Envelope};
use mox_server::sort::{SortValue, Sorted, first_display, first_mailbox, needs_envelope, sort};
use mox_server::thread::{REFERENCES_MAX, Threaded, ordered_subject, references};
use mox_server::{StoredStructure, base_subject};
use mox_uids::{Uid, UidSet};
use std::collections::BTreeMap;
use std::io;

use super::body::{Message, structure};
use super::search::Search;
use super::unreadable;

/// How results are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// As a set.
    Set,
    /// In an order.
    Sorted(Vec<SortKey>),
    /// In threads.
    Threads(Threading),
}

impl Search {
    /// The messages that were found, in that shape.
    pub(super) fn shape(&self, uids: &UidSet, modseq: Option<u64>, shape: &Shape) -> Answer {
        let shaped = match shape {
            Shape::Set => Ok(Answer::Found {
                uids: uids.clone(),
                modseq,
            }),
            Shape::Sorted(order) => self
                .sorted(uids, order)
                .map(|uids| Answer::Sorted { uids, modseq }),
            Shape::Threads(algorithm) => self.threads(uids, *algorithm),
        };
        shaped.unwrap_or_else(unreadable)
    }

    fn rows(&self, uids: &UidSet) -> io::Result<Vec<Row>> {
        let (view, first) = (&*self.published.view, uids.first().unwrap_or(Uid(1)));
        let (account, mailbox) = (self.account, self.mailbox);
        let page = mox_mailbox::rows(view, account, mailbox, uids, first, usize::MAX);
        page.map(|page| page.rows).map_err(io::Error::other)
    }

    /// Visits the envelopes of messages.
    fn envelopes(
        &self,
        uids: &UidSet,
        visit: &mut dyn FnMut(Uid, &Message, Envelope),
    ) -> io::Result<()> {
        let view = &*self.published.view;
        let (account, mailbox) = (self.account, self.mailbox);
        let each = &mut |uid: Uid, meta: mox_mailbox::Meta| {
            let stored = meta.structure.as_deref();
            let envelope = match stored.and_then(StoredStructure::decode_envelope) {
                Some(envelope) => Some(envelope),
                None => structure(&self.store, view, &meta).map(|whole| whole.envelope),
            };
            let message = Message {
                account,
                mailbox,
                uid,
                meta,
            };
            visit(uid, &message, envelope.unwrap_or_default());
            ControlFlow::Continue(())
        };
        mox_mailbox::metas(view, account, mailbox, uids, each).map_err(io::Error::other)
    }

    fn sorted(&self, uids: &UidSet, order: &[SortKey]) -> io::Result<Vec<Uid>> {
        let rows = self.rows(uids)?;
        let mut messages: Vec<Sorted> = Vec::with_capacity(rows.len());
        if order.iter().any(|key| needs_envelope(key.field)) {
            let by_uid: BTreeMap<Uid, &Row> = rows.iter().map(|row| (row.uid, row)).collect();
            self.envelopes(uids, &mut |uid, _, envelope| {
                if let Some(row) = by_uid.get(&uid) {
                    messages.push(values(row, &envelope, order));
                }
            })?;
        } else {
            let none = Envelope::default();
            messages.extend(rows.iter().map(|row| values(row, &none, order)));
        }
        sort(&mut messages, order);
        Ok(messages.into_iter().map(|message| message.uid).collect())
    }

    fn threads(&self, uids: &UidSet, algorithm: Threading) -> io::Result<Answer> {
        let rows = self.rows(uids)?;
        let by_uid: BTreeMap<Uid, &Row> = rows.iter().map(|row| (row.uid, row)).collect();
        let by_references = algorithm == Threading::References;
        let view = &*self.published.view;
        let mut messages = Vec::with_capacity(rows.len());
        self.envelopes(uids, &mut |uid, message, envelope| {
            let Some(row) = by_uid.get(&uid) else {
                return;
            };
            let named = match by_references {
                true => message.header(&self.store, view).map(|header| {
                    let field = mox_mime::header::find(&header, b"References");
                    let ids = field.map(message_ids).unwrap_or_default();
                    // RFC 5256 3, REFERENCES: the first identifier of In-Reply-To stands in for it.
                    let reply = mox_mime::header::find(&header, b"In-Reply-To");
                    let reply = || reply.map(message_ids).unwrap_or_default();
                    let first = |ids: Vec<Vec<u8>>| ids.into_iter().take(1).collect();
                    if ids.is_empty() { first(reply()) } else { ids }
                }),
                false => None,
            };
            let id = envelope.message_id.as_deref().map(message_ids);
            messages.push(Threaded {
                uid,
                sent: sent(&envelope, row),
                subject: base_subject(&header_text(
                    envelope.subject.as_deref().unwrap_or_default(),
                )),
                id: id
                    .and_then(|ids| ids.into_iter().next())
                    .unwrap_or_default(),
                references: named.unwrap_or_default(),
            });
        })?;
        messages.sort_by_key(|message| message.uid);
        Ok(Answer::Threads(match algorithm {
            Threading::OrderedSubject => ordered_subject(&messages),
            Threading::References => references(&messages),
        }))
    }
}

fn values(row: &Row, envelope: &Envelope, order: &[SortKey]) -> Sorted {
    let value = |key: &SortKey| match key.field {
        SortField::Arrival => SortValue::Number(row.date.secs()),
        SortField::Size => SortValue::Number(i64::try_from(row.size).unwrap_or(i64::MAX)),
        SortField::Date => SortValue::Number(sent(envelope, row).secs()),
        SortField::From => SortValue::Text(first_mailbox(&envelope.from)),
        SortField::To => SortValue::Text(first_mailbox(&envelope.to)),
        SortField::Cc => SortValue::Text(first_mailbox(&envelope.cc)),
        SortField::DisplayFrom => SortValue::Text(first_display(&envelope.from, header_text)),
        SortField::DisplayTo => SortValue::Text(first_display(&envelope.to, header_text)),
        SortField::Subject => {
            let subject = header_text(envelope.subject.as_deref().unwrap_or_default());
            SortValue::Text(base_subject(&subject).text)
        }
    };
    Sorted {
        uid: row.uid,
        values: order.iter().map(value).collect(),
    }
}

/// The sent date in UTC, or the internal date (RFC 5256 2.2).
fn sent(envelope: &Envelope, row: &Row) -> Utc {
    let date = envelope.date.as_deref().and_then(Date::parse);
    date.map_or(row.date, |date| Utc::from_secs(date.unix()))
}

/// The identifiers in a field, without their angle brackets, quotes undone; the last [`REFERENCES_MAX`].
fn message_ids(value: &[u8]) -> Vec<Vec<u8>> {
    let mut ids = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.iter().position(|b| *b == b'<') {
        let inside = rest.get(start + 1..).unwrap_or_default();
        let Some(end) = inside.iter().position(|b| *b == b'>') else {
            break;
        };
        let (id, after) = inside.split_at_checked(end).unwrap_or_default();
        let plain = id
            .iter()
            .filter(|b| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\\'));
        ids.push(plain.copied().collect());
        rest = after;
    }
    let skipped = ids.len().saturating_sub(REFERENCES_MAX);
    ids.split_off(skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_found_in_their_brackets() {
        let ids = message_ids(b" <a@b>\r\n\t(x) <\"c d\"@e> <f");
        assert_eq!(ids, [b"a@b".to_vec(), b"cd@e".to_vec()]);
        assert_eq!(message_ids(&b"<x>".repeat(500)).len(), REFERENCES_MAX);
    }
}
