//! What an IMAP server is told about messages and mailboxes, without what is private.

use mox_imap::server::{Answer, MailboxInfo, Refusal, Row};
use mox_mime::{Envelope, Inside, Mailbox, Part};
use std::sync::Arc;

use super::words::{self, LineStart, Words};

pub(super) fn answer(answer: Answer, words: &Words) -> Answer {
    match answer {
        Answer::No(Refusal { code, text }) => Answer::No(Refusal {
            code,
            text: words.text(&text),
        }),
        Answer::Authenticated(user) => Answer::Authenticated(words.user(&user)),
        Answer::Mailboxes(all) => {
            let info = |info: MailboxInfo| MailboxInfo {
                name: words.text(&info.name),
                ..info
            };
            Answer::Mailboxes(all.into_iter().map(info).collect())
        }
        Answer::Changes(mut changes) => {
            changes.rows = rows(changes.rows, words);
            Answer::Changes(changes)
        }
        Answer::Rows { rows: page, next } => Answer::Rows {
            rows: rows(page, words),
            next,
        },
        Answer::Marked {
            rows: page,
            others,
            modified,
            modseq,
        } => Answer::Marked {
            rows: rows(page, words),
            others,
            modified,
            modseq,
        },
        Answer::Piece { total, bytes } => {
            let mut octets = bytes.to_vec();
            words::fill(&mut octets, &mut LineStart::Inside);
            Answer::Piece {
                total,
                bytes: octets.into(),
            }
        }
        other => other,
    }
}

fn rows(rows: Vec<Row>, words: &Words) -> Vec<Row> {
    let row = |mut row: Row| {
        row.envelope = row.envelope.map(|e| Arc::new(envelope(&e, words)));
        row.structure = row.structure.map(|s| Arc::new(part(&s, words)));
        row.header = row.header.map(|header| {
            let mut octets = header.to_vec();
            words::fill_header(&mut octets);
            octets.into()
        });
        row
    };
    rows.into_iter().map(row).collect()
}

fn filled(octets: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    let mut octets = octets?.clone();
    words::fill_text(&mut octets);
    Some(octets)
}

fn envelope(envelope: &Envelope, words: &Words) -> Envelope {
    let all = |list: &[Mailbox]| list.iter().map(|m| mailbox(m, words)).collect();
    Envelope {
        date: envelope.date.clone(),
        subject: filled(envelope.subject.as_ref()),
        from: all(&envelope.from),
        sender: all(&envelope.sender),
        reply_to: all(&envelope.reply_to),
        to: all(&envelope.to),
        cc: all(&envelope.cc),
        bcc: all(&envelope.bcc),
        in_reply_to: filled(envelope.in_reply_to.as_ref()),
        message_id: filled(envelope.message_id.as_ref()),
    }
}

fn mailbox(mailbox: &Mailbox, words: &Words) -> Mailbox {
    let local = mailbox.local.clone().map(|mut local| {
        words.rename(&mut local);
        local
    });
    Mailbox {
        name: filled(mailbox.name.as_ref()),
        route: filled(mailbox.route.as_ref()),
        local,
        host: mailbox.host.clone(),
    }
}

fn part(part: &Part, words: &Words) -> Part {
    let mut redacted = part.clone();
    for (name, value) in &mut redacted.params {
        if !name.eq_ignore_ascii_case(b"charset") {
            words::fill_text(value);
        }
    }
    if let Some((_, params)) = &mut redacted.disposition {
        for (_, value) in params {
            words::fill_text(value);
        }
    }
    redacted.id = filled(part.id.as_ref());
    redacted.description = filled(part.description.as_ref());
    redacted.md5 = filled(part.md5.as_ref());
    redacted.location = filled(part.location.as_ref());
    redacted.inside = match &part.inside {
        Inside::Leaf => Inside::Leaf,
        Inside::Multipart(parts) => {
            Inside::Multipart(parts.iter().map(|p| self::part(p, words)).collect())
        }
        Inside::Message(message) => {
            let (inner, body) = &**message;
            Inside::Message(Box::new((envelope(inner, words), self::part(body, words))))
        }
    };
    redacted
}
