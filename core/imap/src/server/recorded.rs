//! What a tape keeps of an IMAP server's asks, answers and events.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use mox_machine::{Recordable, Secret};
use mox_mime::{Envelope, Inside, Mailbox, Params, Part};
use mox_uids::{Uid, UidSet};

use super::{
    Answer, Ask, BodyPart, BodyWhat, Event, Flag, MailboxEdit, MailboxInfo, More, Row, Selected,
    Server, SortKey, ThreadNode,
};
use crate::search::SearchKey;

impl Recordable for Server {
    fn piece(ask: &Ask) -> Option<usize> {
        match ask {
            Ask::Piece(piece) => Some(piece.len()),
            _ => None,
        }
    }

    fn ask_weight(ask: &Ask) -> usize {
        match ask {
            Ask::Sasl { mechanism, .. } => mechanism.len(),
            Ask::Status { name, .. } | Ask::Select { name, .. } => name.len(),
            Ask::Quota { mailbox } | Ask::Annotations { mailbox } => {
                mailbox.as_ref().map_or(0, String::len)
            }
            Ask::Annotate { mailbox, entries } => {
                let entry = |(name, value): &(String, Option<Bytes>)| {
                    size_of::<(String, Option<Bytes>)>()
                        + name.len()
                        + value.as_ref().map_or(0, Bytes::len)
                };
                mailbox.as_ref().map_or(0, String::len) + entries.iter().map(entry).sum::<usize>()
            }
            Ask::Edit(edit) => edited(edit),
            Ask::Rows { uids, .. } => uids.weight(),
            Ask::Body { part, .. } => named(part),
            Ask::Mark { uids, flags, .. } => uids.weight() + flagged(flags),
            Ask::Copy { uids, to, .. } => uids.weight() + to.len(),
            Ask::Expunge { only, .. } => only.as_ref().map_or(0, UidSet::weight),
            Ask::Search { among, key, .. } | Ask::Thread { among, key, .. } => {
                among.weight() + searched(key)
            }
            Ask::Sort {
                among, key, order, ..
            } => among.weight() + searched(key) + order.len() * size_of::<SortKey>(),
            Ask::Append { name, flags, .. } => name.len() + flagged(flags),
            Ask::Piece(piece) => piece.len(),
            Ask::Insert { name, part, .. } => name.len() + named(part),
            Ask::Login { .. }
            | Ask::Mailboxes
            | Ask::Watch { .. }
            | Ask::Observe { .. }
            | Ask::Changes { .. }
            | Ask::Vanished { .. }
            | Ask::Commit { .. }
            | Ask::Compress
            | Ask::Unauthenticate => 0,
        }
    }

    fn answer_weight(answer: &Answer) -> usize {
        match answer {
            Answer::Rows { rows, .. } => listed(rows),
            Answer::Marked {
                rows,
                others,
                modified,
                changed,
            } => {
                let changed = changed.iter().map(|(_, uids)| uids.weight());
                listed(rows) + others.weight() + modified.weight() + changed.sum::<usize>()
            }
            Answer::Changes(changes) => {
                listed(&changes.rows)
                    + changes.gone.weight()
                    + changes.recent.weight()
                    + names(&changes.keywords)
            }
            Answer::Selected(Selected {
                uids,
                recent,
                keywords,
                ..
            }) => uids.weight() + recent.weight() + names(keywords),
            Answer::Copied { from, to, .. } => from.weight() + to.weight(),
            Answer::Expunged { uids, .. }
            | Answer::Found { uids, .. }
            | Answer::Vanished(uids)
            | Answer::Appended { uids, .. } => uids.weight(),
            Answer::Piece { bytes, .. } | Answer::Challenge(bytes) => bytes.len(),
            Answer::Sorted { uids, .. } => uids.len() * size_of::<Uid>(),
            Answer::Threads(nodes) => nodes.len() * size_of::<ThreadNode>(),
            Answer::Annotations(all) => {
                let one = |(name, value): &(String, Bytes)| {
                    size_of::<(String, Bytes)>() + name.len() + value.len()
                };
                all.iter().map(one).sum()
            }
            Answer::Mailboxes(all) => all.iter().map(mailbox_info).sum(),
            Answer::No(refusal) => refusal.text.len(),
            Answer::Authenticated(user) => user.len(),
            Answer::AuthenticatedWithout { user, without } => {
                let one = |name: &String| size_of::<String>() + name.len();
                user.len() + without.iter().map(one).sum::<usize>()
            }
            Answer::Accept
            | Answer::Done
            | Answer::Status(_)
            | Answer::Modseq(_)
            | Answer::Gone
            | Answer::Created(_)
            | Answer::Quota { .. }
            | Answer::Missing => 0,
        }
    }

    fn event_weight(event: &Event) -> usize {
        match event {
            Event::Authenticated(user) => user.len(),
            Event::Completed { .. }
            | Event::Unselected
            | Event::AppendDropped
            | Event::Closed(_) => 0,
        }
    }

    /// Without what the client said to prove who it is.
    fn keep_ask(ask: &Ask) -> Ask {
        match ask {
            Ask::Sasl {
                mechanism,
                response,
                first,
            } => Ask::Sasl {
                mechanism: Bytes::copy_from_slice(mechanism),
                response: response.as_ref().map(|_| Secret::new(Bytes::new())),
                first: *first,
            },
            Ask::Login { .. } => Ask::Login {
                user: Bytes::new(),
                password: Secret::new(Bytes::new()),
            },
            Ask::Body {
                mailbox,
                uid,
                part,
                range,
            } => Ask::Body {
                mailbox: *mailbox,
                uid: *uid,
                part: keep_part(part),
                range: range.clone(),
            },
            Ask::Insert {
                name,
                validity,
                uid,
                part,
                range,
            } => Ask::Insert {
                name: name.clone(),
                validity: *validity,
                uid: *uid,
                part: keep_part(part),
                range: range.clone(),
            },
            Ask::Piece(piece) => Ask::Piece(Bytes::copy_from_slice(piece)),
            Ask::Annotate { mailbox, entries } => {
                let value = |value: &Bytes| Bytes::copy_from_slice(value);
                let entry = |(name, octets): &(String, Option<Bytes>)| {
                    (name.clone(), octets.as_ref().map(value))
                };
                Ask::Annotate {
                    mailbox: mailbox.clone(),
                    entries: entries.iter().map(entry).collect(),
                }
            }
            Ask::Sort {
                mailbox,
                among,
                key,
                order,
            } => Ask::Sort {
                mailbox: *mailbox,
                among: among.clone(),
                key: Arc::new(keep_key(key)),
                order: order.clone(),
            },
            Ask::Thread {
                mailbox,
                among,
                key,
                algorithm,
            } => Ask::Thread {
                mailbox: *mailbox,
                among: among.clone(),
                key: Arc::new(keep_key(key)),
                algorithm: *algorithm,
            },
            Ask::Search {
                mailbox,
                among,
                key,
            } => Ask::Search {
                mailbox: *mailbox,
                among: among.clone(),
                key: Arc::new(keep_key(key)),
            },
            other => other.clone(),
        }
    }

    fn keep_answer(answer: &Answer) -> Answer {
        match answer {
            Answer::Challenge(octets) => Answer::Challenge(Bytes::copy_from_slice(octets)),
            Answer::Piece { total, bytes } => Answer::Piece {
                total: *total,
                bytes: Bytes::copy_from_slice(bytes),
            },
            Answer::Rows { rows, next } => Answer::Rows {
                rows: keep_rows(rows),
                next: *next,
            },
            other => other.clone(),
        }
    }
}

/// Headers are cut out of larger buffers; envelopes and structures stay shared.
fn keep_rows(rows: &[Row]) -> Vec<Row> {
    let kept = |row: &Row| Row {
        header: row.header.as_deref().map(Bytes::copy_from_slice),
        ..row.clone()
    };
    rows.iter().map(kept).collect()
}

fn keep_part(part: &BodyPart) -> BodyPart {
    BodyPart {
        path: part.path.clone(),
        what: keep_what(&part.what),
    }
}

fn keep_what(what: &BodyWhat) -> BodyWhat {
    let all = |names: &[Bytes]| names.iter().map(|n| Bytes::copy_from_slice(n)).collect();
    match what {
        BodyWhat::Fields(names) => BodyWhat::Fields(all(names)),
        BodyWhat::NotFields(names) => BodyWhat::NotFields(all(names)),
        other => other.clone(),
    }
}

fn keep_key(key: &SearchKey) -> SearchKey {
    match key {
        SearchKey::Header { name, text } => SearchKey::Header {
            name: Bytes::copy_from_slice(name),
            text: text.clone(),
        },
        SearchKey::And(keys) => SearchKey::And(keys.iter().map(keep_key).collect()),
        SearchKey::Or(one, other) => {
            SearchKey::Or(Box::new(keep_key(one)), Box::new(keep_key(other)))
        }
        SearchKey::Not(key) => SearchKey::Not(Box::new(keep_key(key))),
        other => other.clone(),
    }
}

fn names(names: &[String]) -> usize {
    names.iter().map(|n| size_of::<String>() + n.len()).sum()
}

fn what(what: &BodyWhat) -> usize {
    match what {
        BodyWhat::Fields(names) | BodyWhat::NotFields(names) => {
            names.iter().map(|n| size_of::<Bytes>() + n.len()).sum()
        }
        _ => 0,
    }
}

fn named(part: &BodyPart) -> usize {
    part.path.len() * size_of::<u32>() + what(&part.what)
}

fn flagged(flags: &[Flag]) -> usize {
    let flag = |flag: &Flag| match flag {
        Flag::System(_) => size_of::<Flag>(),
        Flag::Keyword(word) => size_of::<Flag>() + word.len(),
    };
    flags.iter().map(flag).sum()
}

fn edited(edit: &MailboxEdit) -> usize {
    match edit {
        MailboxEdit::Create { name, special_use } => {
            name.len() + special_use.as_ref().map_or(0, String::len)
        }
        MailboxEdit::Delete { name } | MailboxEdit::Subscribe { name, .. } => name.len(),
        MailboxEdit::Rename { from, to } => from.len() + to.len(),
    }
}

fn mailbox_info(info: &MailboxInfo) -> usize {
    size_of::<MailboxInfo>() + info.name.len() + info.special_use.as_ref().map_or(0, String::len)
}

/// Nesting was limited when it was parsed.
fn searched(key: &SearchKey) -> usize {
    let within = match key {
        SearchKey::And(keys) => keys.iter().map(searched).sum(),
        SearchKey::Or(one, other) => searched(one) + searched(other),
        SearchKey::Not(key) => searched(key),
        SearchKey::Uids(uids) => uids.weight(),
        SearchKey::Header { name, text } => name.len() + text.len(),
        SearchKey::Keyword(text)
        | SearchKey::Body(text)
        | SearchKey::Text(text)
        | SearchKey::EmailId(text) => text.len(),
        _ => 0,
    };
    size_of::<SearchKey>() + within
}

/// What is shared with the store's cache counts as well: a tape may outlive its place there.
fn listed(rows: &[Row]) -> usize {
    let row = |row: &Row| {
        size_of::<Row>()
            + row.header.as_ref().map_or(0, Bytes::len)
            + row.envelope.as_deref().map_or(0, enveloped)
            + row.structure.as_deref().map_or(0, structured)
            + row.more.as_deref().map_or(0, more)
    };
    rows.iter().map(row).sum()
}

fn more(more: &More) -> usize {
    size_of::<More>() + more.preview.as_ref().map_or(0, String::len)
}

fn octets(octets: Option<&Vec<u8>>) -> usize {
    octets.map_or(0, Vec::len)
}

fn params(params: &Params) -> usize {
    let pair = |(name, value): &(Vec<u8>, Vec<u8>)| {
        size_of::<(Vec<u8>, Vec<u8>)>() + name.len() + value.len()
    };
    params.iter().map(pair).sum()
}

fn enveloped(envelope: &Envelope) -> usize {
    let mailbox = |mailbox: &Mailbox| {
        let parts = [&mailbox.name, &mailbox.route, &mailbox.local, &mailbox.host];
        size_of::<Mailbox>() + parts.map(|p| octets(p.as_ref())).iter().sum::<usize>()
    };
    let lists = [
        &envelope.from,
        &envelope.sender,
        &envelope.reply_to,
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ];
    let texts = [
        &envelope.date,
        &envelope.subject,
        &envelope.in_reply_to,
        &envelope.message_id,
    ];
    size_of::<Envelope>()
        + lists.into_iter().flatten().map(mailbox).sum::<usize>()
        + texts.map(|t| octets(t.as_ref())).iter().sum::<usize>()
}

/// Nesting was limited when the message came.
fn structured(part: &Part) -> usize {
    let texts = [&part.id, &part.description, &part.md5, &part.location];
    let disposition = |(kind, values): &(Vec<u8>, Params)| kind.len() + params(values);
    let inside = match &part.inside {
        Inside::Leaf => 0,
        Inside::Multipart(parts) => parts.iter().map(structured).sum(),
        Inside::Message(message) => {
            let (envelope, part) = &**message;
            enveloped(envelope) + structured(part)
        }
    };
    size_of::<Part>()
        + part.media.len()
        + part.subtype.len()
        + part.encoding.len()
        + params(&part.params)
        + texts.map(|t| octets(t.as_ref())).iter().sum::<usize>()
        + part.disposition.as_ref().map_or(0, disposition)
        + part
            .language
            .iter()
            .map(|l| size_of::<Vec<u8>>() + l.len())
            .sum::<usize>()
        + inside
}

#[cfg(test)]
#[allow(clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::server::{BoxId, Want};

    #[test]
    fn sets_of_messages_weigh_what_they_hold() {
        let runs = 1_000;
        let uids = || UidSet::from_runs((1..=runs).map(|n| 2 * n..=2 * n));
        let asked = Ask::Rows {
            mailbox: BoxId(1),
            uids: uids(),
            want: Want::default(),
            max: 500,
        };
        let search = Ask::Search {
            mailbox: BoxId(1),
            among: Arc::new(uids()),
            key: Arc::new(SearchKey::Not(Box::new(SearchKey::Uids(uids())))),
        };
        let selected = Answer::Selected(Selected {
            mailbox: BoxId(1),
            validity: 1,
            next: 2_001,
            modseq: 1,
            first_unseen: None,
            uids: Arc::new(uids()),
            recent: uids(),
            keywords: Vec::new(),
            writable: true,
        });
        let copied = Answer::Copied {
            validity: 1,
            from: uids(),
            to: uids(),
        };
        // A run is at least its first and its last.
        let one = 8 * runs as usize;
        assert!(Server::ask_weight(&asked) >= one);
        assert!(Server::ask_weight(&search) >= 2 * one);
        assert!(Server::answer_weight(&selected) >= 2 * one);
        assert!(Server::answer_weight(&copied) >= 2 * one);
    }

    #[test]
    fn what_is_kept_holds_no_buffer_of_others_and_no_password() {
        let buffer = Bytes::from_static(&[b'x'; 10_000]);
        let answer = Answer::Piece {
            total: 10_000,
            bytes: buffer.slice(..3),
        };
        let Answer::Piece { total, bytes } = Server::keep_answer(&answer) else {
            panic!("another answer");
        };
        assert_eq!((total, &bytes[..]), (10_000, &b"xxx"[..]));
        assert_ne!(bytes.as_ptr(), buffer.as_ptr());
        let row = Row {
            uid: Uid(1),
            modseq: 1,
            size: 1,
            flags: crate::server::SystemFlags(0),
            keywords: 0,
            date: None,
            envelope: None,
            structure: None,
            header: Some(buffer.slice(..3)),
            more: None,
        };
        let rows = Answer::Rows {
            rows: alloc::vec![row],
            next: None,
        };
        let Answer::Rows { rows, .. } = Server::keep_answer(&rows) else {
            panic!("another answer");
        };
        let header = rows.first().and_then(|row| row.header.clone());
        assert_ne!(header.map(|h| h.as_ptr()), Some(buffer.as_ptr()));
        let login = Ask::Login {
            user: buffer.slice(..3),
            password: Secret::new(buffer.slice(..3)),
        };
        let Ask::Login { user, password } = Server::keep_ask(&login) else {
            panic!("another ask");
        };
        assert!(user.is_empty() && password.expose().is_empty());
    }
}
