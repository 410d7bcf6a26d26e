//! Answers to an IMAP server as RON on one line.

use bytes::Bytes;
use mox_imap::server::{
    Answer, BoxId, Changes, MailboxInfo, More, Refusal, Row, Selected, StatusFigures, SystemFlags,
    ThreadNode,
};
use mox_machine::Utc;
use mox_uids::{Uid, UidSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::message::{EnvelopeText, Octets, PartText};
use crate::spelled::SECRET;

/// Every code a server may put before a refusal: those of RFC 5530 and of the extensions.
const CODES: [&str; 27] = [
    "ALREADYEXISTS",
    "AUTHENTICATIONFAILED",
    "AUTHORIZATIONFAILED",
    "BADCHARSET",
    "CANNOT",
    "CLIENTBUG",
    "CONTACTADMIN",
    "CORRUPTION",
    "EXPIRED",
    "EXPUNGEISSUED",
    "HASCHILDREN",
    "INUSE",
    "LIMIT",
    "METADATA TOOMANY",
    "NONEXISTENT",
    "NOPERM",
    "NOTSAVED",
    "OVERQUOTA",
    "PRIVACYREQUIRED",
    "READ-ONLY",
    "SERVERBUG",
    "TOOBIG",
    "TRYCREATE",
    "UNAVAILABLE",
    "UNKNOWN-CTE",
    "USEATTR",
    "BADURL",
];

/// [`Answer`] as it is written. Sets are texts like `1:3,5`, octets texts with escapes, times microseconds.
#[derive(Debug, Serialize, Deserialize)]
enum Text {
    Accept,
    Done,
    No {
        code: Option<String>,
        text: String,
    },
    Challenge(Octets),
    Authenticated(String),
    AuthenticatedWithout {
        user: String,
        without: Vec<String>,
    },
    Mailboxes(Vec<InfoText>),
    Status {
        #[serde(default)]
        mailbox: u32,
        messages: u32,
        #[serde(default)]
        recent: u32,
        #[serde(default)]
        deleted_size: u64,
        unseen: u32,
        deleted: u32,
        size: u64,
        next: u32,
        validity: u32,
        modseq: u64,
    },
    Selected {
        mailbox: u32,
        validity: u32,
        next: u32,
        modseq: u64,
        first_unseen: Option<u32>,
        uids: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        recent: String,
        keywords: Vec<String>,
        writable: bool,
    },
    Modseq(u64),
    Gone,
    Created(u32),
    Vanished(String),
    Changes {
        rows: Vec<RowText>,
        gone: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        recent: String,
        upto: u64,
        more: bool,
        next: u32,
        keywords: Vec<String>,
    },
    Rows {
        rows: Vec<RowText>,
        next: Option<u32>,
    },
    Piece {
        total: u64,
        bytes: Octets,
    },
    Missing,
    Marked {
        rows: Vec<RowText>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        others: String,
        modified: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<(u64, String)>,
    },
    Copied {
        validity: u32,
        from: String,
        to: String,
    },
    Expunged {
        uids: String,
        modseq: u64,
    },
    Found {
        uids: String,
        modseq: Option<u64>,
    },
    Quota {
        octets: u64,
        most: Option<u64>,
    },
    Annotations(Vec<(String, Octets)>),
    Sorted {
        uids: Vec<u32>,
        modseq: Option<u64>,
    },
    /// Nodes with the number of those right below.
    Threads(Vec<(Option<u32>, u32)>),
    Appended {
        validity: u32,
        uids: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct InfoText {
    name: String,
    subscribed: bool,
    exists: bool,
    special_use: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RowText {
    uid: u32,
    modseq: u64,
    size: u64,
    flags: u8,
    keywords: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    date: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envelope: Option<EnvelopeText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    structure: Option<PartText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<Octets>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    more: Option<MoreText>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MoreText {
    saved: Option<i64>,
    email: Option<[u8; 16]>,
    preview: Option<String>,
}

pub(super) fn write(answer: &Answer) -> String {
    // Nothing in it can fail to be written.
    ron::to_string(&text(answer)).unwrap_or_default()
}

pub(super) fn read(line: &str) -> Option<Answer> {
    answer(ron::from_str(line).ok()?)
}

fn text(answer: &Answer) -> Text {
    match answer {
        Answer::Accept => Text::Accept,
        Answer::Done => Text::Done,
        Answer::No(Refusal { code, text }) => Text::No {
            code: code.map(Into::into),
            text: text.clone(),
        },
        Answer::Challenge(octets) if octets.is_empty() => Text::Challenge(Octets(Vec::new())),
        Answer::Challenge(_) => Text::Challenge(Octets(SECRET.into())),
        Answer::Authenticated(user) => Text::Authenticated(user.clone()),
        Answer::AuthenticatedWithout { user, without } => Text::AuthenticatedWithout {
            user: user.clone(),
            without: without.clone(),
        },
        Answer::Mailboxes(all) => Text::Mailboxes(
            all.iter()
                .map(|info| InfoText {
                    name: info.name.clone(),
                    subscribed: info.subscribed,
                    exists: info.exists,
                    special_use: info.special_use.clone(),
                })
                .collect(),
        ),
        Answer::Status(figures) => Text::Status {
            mailbox: figures.mailbox.0,
            recent: figures.recent,
            deleted_size: figures.deleted_size,
            messages: figures.messages,
            unseen: figures.unseen,
            deleted: figures.deleted,
            size: figures.size,
            next: figures.next,
            validity: figures.validity,
            modseq: figures.modseq,
        },
        Answer::Selected(selected) => Text::Selected {
            mailbox: selected.mailbox.0,
            validity: selected.validity,
            next: selected.next,
            modseq: selected.modseq,
            first_unseen: selected.first_unseen.map(|uid| uid.0),
            uids: selected.uids.to_string(),
            recent: selected.recent.to_string(),
            keywords: selected.keywords.clone(),
            writable: selected.writable,
        },
        Answer::Modseq(modseq) => Text::Modseq(*modseq),
        Answer::Gone => Text::Gone,
        Answer::Created(mailbox) => Text::Created(mailbox.0),
        Answer::Vanished(uids) => Text::Vanished(uids.to_string()),
        Answer::Changes(changes) => Text::Changes {
            rows: rows(&changes.rows),
            gone: changes.gone.to_string(),
            recent: changes.recent.to_string(),
            upto: changes.upto,
            more: changes.more,
            next: changes.next,
            keywords: changes.keywords.clone(),
        },
        Answer::Rows { rows: page, next } => Text::Rows {
            rows: rows(page),
            next: next.map(|uid| uid.0),
        },
        Answer::Piece { total, bytes } => Text::Piece {
            total: *total,
            bytes: Octets(bytes.to_vec()),
        },
        Answer::Missing => Text::Missing,
        Answer::Marked {
            rows: page,
            others,
            modified,
            changed,
        } => Text::Marked {
            rows: rows(page),
            others: others.to_string(),
            modified: modified.to_string(),
            changed: changed
                .iter()
                .map(|(modseq, uids)| (*modseq, uids.to_string()))
                .collect(),
        },
        Answer::Copied { validity, from, to } => Text::Copied {
            validity: *validity,
            from: from.to_string(),
            to: to.to_string(),
        },
        Answer::Expunged { uids, modseq } => Text::Expunged {
            uids: uids.to_string(),
            modseq: *modseq,
        },
        Answer::Found { uids, modseq } => Text::Found {
            uids: uids.to_string(),
            modseq: *modseq,
        },
        Answer::Quota { octets, most } => Text::Quota {
            octets: *octets,
            most: *most,
        },
        Answer::Annotations(all) => Text::Annotations(
            all.iter()
                .map(|(name, value)| (name.clone(), Octets(value.to_vec())))
                .collect(),
        ),
        Answer::Sorted { uids, modseq } => Text::Sorted {
            uids: uids.iter().map(|uid| uid.0).collect(),
            modseq: *modseq,
        },
        Answer::Threads(nodes) => {
            let node = |node: &ThreadNode| (node.uid.map(|uid| uid.0), node.children);
            Text::Threads(nodes.iter().map(node).collect())
        }
        Answer::Appended { validity, uids } => Text::Appended {
            validity: *validity,
            uids: uids.to_string(),
        },
    }
}

fn answer(text: Text) -> Option<Answer> {
    Some(match text {
        Text::Accept => Answer::Accept,
        Text::Done => Answer::Done,
        Text::No { code, text } => Answer::No(Refusal {
            code: match code {
                Some(code) => Some(CODES.into_iter().find(|c| *c == code)?),
                None => None,
            },
            text,
        }),
        Text::Challenge(octets) => Answer::Challenge(octets.0.into()),
        Text::Authenticated(user) => Answer::Authenticated(user),
        Text::AuthenticatedWithout { user, without } => {
            Answer::AuthenticatedWithout { user, without }
        }
        Text::Mailboxes(all) => Answer::Mailboxes(
            all.into_iter()
                .map(|info| MailboxInfo {
                    name: info.name,
                    subscribed: info.subscribed,
                    exists: info.exists,
                    special_use: info.special_use,
                })
                .collect(),
        ),
        Text::Status {
            mailbox,
            recent,
            deleted_size,
            messages,
            unseen,
            deleted,
            size,
            next,
            validity,
            modseq,
        } => Answer::Status(StatusFigures {
            mailbox: BoxId(mailbox),
            recent,
            deleted_size,
            messages,
            unseen,
            deleted,
            size,
            next,
            validity,
            modseq,
        }),
        Text::Selected {
            mailbox,
            validity,
            next,
            modseq,
            first_unseen,
            uids,
            recent,
            keywords,
            writable,
        } => Answer::Selected(Selected {
            mailbox: BoxId(mailbox),
            validity,
            next,
            modseq,
            first_unseen: first_unseen.map(Uid),
            uids: Arc::new(set_back(&uids)?),
            recent: set_back(&recent)?,
            keywords,
            writable,
        }),
        Text::Modseq(modseq) => Answer::Modseq(modseq),
        Text::Gone => Answer::Gone,
        Text::Created(mailbox) => Answer::Created(BoxId(mailbox)),
        Text::Vanished(uids) => Answer::Vanished(set_back(&uids)?),
        Text::Changes {
            rows,
            gone,
            recent,
            upto,
            more,
            next,
            keywords,
        } => Answer::Changes(Changes {
            rows: rows_back(rows),
            gone: set_back(&gone)?,
            recent: set_back(&recent)?,
            upto,
            more,
            next,
            keywords,
        }),
        Text::Rows { rows, next } => Answer::Rows {
            rows: rows_back(rows),
            next: next.map(Uid),
        },
        Text::Piece { total, bytes } => Answer::Piece {
            total,
            bytes: Bytes::from(bytes.0),
        },
        Text::Missing => Answer::Missing,
        Text::Marked {
            rows,
            others,
            modified,
            changed,
        } => Answer::Marked {
            rows: rows_back(rows),
            others: set_back(&others)?,
            modified: set_back(&modified)?,
            changed: changed
                .into_iter()
                .map(|(modseq, uids)| Some((modseq, set_back(&uids)?)))
                .collect::<Option<_>>()?,
        },
        Text::Copied { validity, from, to } => Answer::Copied {
            validity,
            from: set_back(&from)?,
            to: set_back(&to)?,
        },
        Text::Expunged { uids, modseq } => Answer::Expunged {
            uids: set_back(&uids)?,
            modseq,
        },
        Text::Found { uids, modseq } => Answer::Found {
            uids: set_back(&uids)?,
            modseq,
        },
        Text::Quota { octets, most } => Answer::Quota { octets, most },
        Text::Annotations(all) => Answer::Annotations(
            all.into_iter()
                .map(|(name, value)| (name, value.0.into()))
                .collect(),
        ),
        Text::Sorted { uids, modseq } => Answer::Sorted {
            uids: uids.into_iter().map(Uid).collect(),
            modseq,
        },
        Text::Threads(nodes) => {
            let node = |(uid, children): (Option<u32>, u32)| ThreadNode {
                uid: uid.map(Uid),
                children,
            };
            Answer::Threads(nodes.into_iter().map(node).collect())
        }
        Text::Appended { validity, uids } => Answer::Appended {
            validity,
            uids: set_back(&uids)?,
        },
    })
}

fn rows(rows: &[Row]) -> Vec<RowText> {
    rows.iter()
        .map(|row| RowText {
            uid: row.uid.0,
            modseq: row.modseq,
            size: row.size,
            flags: row.flags.0,
            keywords: row.keywords,
            date: row.date.map(|date| date.0),
            envelope: row.envelope.as_deref().map(Into::into),
            structure: row.structure.as_deref().map(Into::into),
            header: row.header.as_ref().map(|h| Octets(h.to_vec())),
            more: row.more.as_deref().map(|more| MoreText {
                saved: more.saved.map(|at| at.0),
                email: more.email,
                preview: more.preview.clone(),
            }),
        })
        .collect()
}

fn rows_back(rows: Vec<RowText>) -> Vec<Row> {
    let row = |row: RowText| Row {
        uid: Uid(row.uid),
        modseq: row.modseq,
        size: row.size,
        flags: SystemFlags(row.flags),
        keywords: row.keywords,
        date: row.date.map(Utc),
        envelope: row.envelope.map(|e| Arc::new(e.into())),
        structure: row.structure.map(|s| Arc::new(s.into())),
        header: row.header.map(|h| h.0.into()),
        more: row.more.map(|more| {
            Arc::new(More {
                saved: more.saved.map(Utc),
                email: more.email,
                preview: more.preview,
            })
        }),
    };
    rows.into_iter().map(row).collect()
}

fn set_back(text: &str) -> Option<UidSet> {
    let run = |run: &str| {
        let (first, last) = run.split_once(':').unwrap_or((run, run));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        (first > 0 && first <= last).then_some(first..=last)
    };
    let runs = text.split(',').filter(|run| !run.is_empty()).map(run);
    Some(UidSet::from_runs(runs.collect::<Option<Vec<_>>>()?))
}
