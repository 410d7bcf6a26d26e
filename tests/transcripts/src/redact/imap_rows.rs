//! What an IMAP server is told about messages and mailboxes, without what is private.

use mox_imap::server::{Answer, MailboxInfo, Refusal, Row};
use mox_mime::{Envelope, Inside, Mailbox, Part};
use std::sync::Arc;

use super::names::{is_entry_word, is_flag, is_message_date, is_word};
use super::words::{self, LineStart, Words};

pub(super) fn answer(answer: Answer, words: &Words) -> Answer {
    match answer {
        Answer::No(Refusal { code, text }) => Answer::No(Refusal {
            code,
            text: words.text(&text),
        }),
        Answer::Authenticated(user) => Answer::Authenticated(words.user(&user)),
        Answer::AuthenticatedWithout { user, without } => Answer::AuthenticatedWithout {
            user: words.user(&user),
            without,
        },
        Answer::Mailboxes(all) => {
            let info = |info: MailboxInfo| MailboxInfo {
                name: words.text(&info.name),
                ..info
            };
            Answer::Mailboxes(all.into_iter().map(info).collect())
        }
        Answer::Selected(mut selected) => {
            selected.keywords = keywords(selected.keywords, words);
            Answer::Selected(selected)
        }
        Answer::Annotations(all) => {
            let one = |(name, value): (String, bytes::Bytes)| {
                let mut octets = value.to_vec();
                words::fill_text(&mut octets);
                (annotation(&name, words), octets.into())
            };
            Answer::Annotations(all.into_iter().map(one).collect())
        }
        Answer::Changes(mut changes) => {
            changes.rows = rows(changes.rows, words);
            changes.keywords = keywords(changes.keywords, words);
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
            changed,
        } => Answer::Marked {
            rows: rows(page, words),
            others,
            modified,
            changed,
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
        row.more = row.more.map(|more| {
            let mut more = (*more).clone();
            more.preview = more.preview.map(|text| filler(&text));
            Arc::new(more)
        });
        row.header = row.header.map(|header| {
            let mut octets = header.to_vec();
            words::fill_header(&mut octets, words);
            octets.into()
        });
        row
    };
    rows.into_iter().map(row).collect()
}

/// Keywords that somebody thought of become other ones, as in commands.
fn keywords(keywords: Vec<String>, words: &Words) -> Vec<String> {
    let renamed = |keyword: String| {
        if is_flag(keyword.as_bytes()) {
            return keyword;
        }
        let mut octets = keyword.into_bytes();
        match octets.as_mut_slice() {
            [b'$', rest @ ..] => words.rename(rest),
            all => words.rename(all),
        }
        String::from_utf8_lossy(&octets).into_owned()
    };
    keywords.into_iter().map(renamed).collect()
}

/// The name of an annotation, as in commands.
fn annotation(name: &str, words: &Words) -> String {
    let part = |part: &str| {
        let mut octets = part.as_bytes().to_vec();
        if !is_entry_word(&octets) {
            words.rename(&mut octets);
        }
        String::from_utf8_lossy(&octets).into_owned()
    };
    name.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn filler(text: &str) -> String {
    let mut octets = text.as_bytes().to_vec();
    words::fill_text(&mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}

fn filled(octets: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    let mut octets = octets?.clone();
    words::fill_text(&mut octets);
    Some(octets)
}

fn envelope(envelope: &Envelope, words: &Words) -> Envelope {
    let all = |list: &[Mailbox]| list.iter().map(|m| mailbox(m, words)).collect();
    Envelope {
        date: match &envelope.date {
            Some(date) if is_message_date(date) => Some(date.clone()),
            other => filled(other.as_ref()),
        },
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
        host: mailbox.host.clone().map(|mut host| {
            words.host(&mut host);
            host
        }),
    }
}

/// Parameters whose names are known; of their values only a character set stays.
const PARAMS: [&str; 18] = [
    "access-type",
    "boundary",
    "charset",
    "creation-date",
    "delsp",
    "filename",
    "format",
    "micalg",
    "modification-date",
    "name",
    "protocol",
    "report-type",
    "read-date",
    "reply-type",
    "size",
    "start",
    "type",
    "x-mac-type",
];
const CHARSETS: [&str; 16] = [
    "us-ascii",
    "utf-8",
    "utf-7",
    "utf-16",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-15",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "koi8-r",
    "gb2312",
    "gb18030",
    "big5",
    "shift_jis",
    "iso-2022-jp",
];
const MEDIA: [&str; 11] = [
    "application",
    "audio",
    "example",
    "font",
    "haptics",
    "image",
    "message",
    "model",
    "multipart",
    "text",
    "video",
];
const SUBTYPES: [&str; 40] = [
    "alternative",
    "calendar",
    "csv",
    "css",
    "delivery-status",
    "digest",
    "disposition-notification",
    "encrypted",
    "enriched",
    "external-body",
    "form-data",
    "gif",
    "global",
    "global-headers",
    "html",
    "jpeg",
    "json",
    "markdown",
    "mixed",
    "mp4",
    "mpeg",
    "octet-stream",
    "ogg",
    "parallel",
    "partial",
    "pdf",
    "pgp-encrypted",
    "pgp-keys",
    "pgp-signature",
    "pkcs7-mime",
    "pkcs7-signature",
    "plain",
    "png",
    "related",
    "report",
    "rfc822",
    "rfc822-headers",
    "signed",
    "xml",
    "zip",
];
const ENCODINGS: [&str; 6] = [
    "7bit",
    "8bit",
    "binary",
    "base64",
    "quoted-printable",
    "x-uuencode",
];

/// A word of MIME stays when it is known.
fn known(octets: &mut [u8], known: &[&str]) {
    if !is_word(octets, known) {
        words::fill_text(octets);
    }
}

fn params(params: &mut [(Vec<u8>, Vec<u8>)]) {
    for (name, value) in params {
        match name.eq_ignore_ascii_case(b"charset") {
            true => known(value, &CHARSETS),
            false => words::fill_text(value),
        }
        known(name, &PARAMS);
    }
}

fn part(part: &Part, words: &Words) -> Part {
    let mut redacted = part.clone();
    known(&mut redacted.media, &MEDIA);
    known(&mut redacted.subtype, &SUBTYPES);
    known(&mut redacted.encoding, &ENCODINGS);
    params(&mut redacted.params);
    if let Some((kind, values)) = &mut redacted.disposition {
        known(kind, &["attachment", "inline", "form-data"]);
        params(values);
    }
    for language in &mut redacted.language {
        words::fill_text(language);
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
