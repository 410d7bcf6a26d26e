//! Words that protocols and messages are made of: they say nothing about anybody. Whatever is not here may.

const FIELDS: [&str; 44] = [
    "archived-at",
    "authentication-results",
    "auto-submitted",
    "bcc",
    "cc",
    "comments",
    "content-description",
    "content-disposition",
    "content-id",
    "content-language",
    "content-location",
    "content-transfer-encoding",
    "content-type",
    "date",
    "delivered-to",
    "disposition-notification-to",
    "dkim-signature",
    "errors-to",
    "from",
    "importance",
    "in-reply-to",
    "keywords",
    "list-archive",
    "list-help",
    "list-id",
    "list-owner",
    "list-post",
    "list-subscribe",
    "list-unsubscribe",
    "mail-followup-to",
    "message-id",
    "mime-version",
    "organization",
    "precedence",
    "priority",
    "received",
    "references",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
    "user-agent",
    "x-mailer",
];

const FLAGS: [&str; 18] = [
    "\\seen",
    "\\answered",
    "\\flagged",
    "\\deleted",
    "\\draft",
    "\\recent",
    "\\*",
    "$forwarded",
    "$mdnsent",
    "$junk",
    "$notjunk",
    "$phishing",
    "$important",
    "$submitted",
    "$submitpending",
    "junk",
    "nonjunk",
    "notjunk",
];

const MECHANISMS: [&str; 16] = [
    "anonymous",
    "cram-md5",
    "digest-md5",
    "external",
    "gssapi",
    "kerberos_v4",
    "login",
    "ntlm",
    "oauthbearer",
    "plain",
    "scram-sha-1",
    "scram-sha-1-plus",
    "scram-sha-256",
    "scram-sha-256-plus",
    "scram-sha-512",
    "xoauth2",
];

/// What names of annotations are made of (RFC 5464, and those that were registered).
const ENTRY_WORDS: [&str; 14] = [
    "",
    "private",
    "shared",
    "admin",
    "comment",
    "filters",
    "values",
    "vendor",
    "specialuse",
    "mailbox",
    "server",
    "check",
    "checkperiod",
    "sort",
];

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

fn is_among(word: &[u8], known: &[&str]) -> bool {
    known
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(word))
}

/// The name of a header field.
pub(super) fn is_field(word: &[u8]) -> bool {
    is_among(word, &FIELDS)
}

/// A flag of messages.
pub(super) fn is_flag(word: &[u8]) -> bool {
    is_among(word, &FLAGS)
}

/// A mechanism of SASL.
pub(super) fn is_mechanism(word: &[u8]) -> bool {
    is_among(word, &MECHANISMS)
}

/// A part of the name of an annotation, between slashes.
pub(super) fn is_entry_word(word: &[u8]) -> bool {
    is_among(word, &ENTRY_WORDS)
}

/// One of these words, in any case.
pub(super) fn is_word(word: &[u8], known: &[&str]) -> bool {
    is_among(word, known)
}

/// A domain or an address literal, as far as its letters tell.
pub(super) fn is_host(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(b) || !b.is_ascii())
}

/// A set of messages: `1:3,5`, `*`, `$`.
pub(super) fn is_set(word: &[u8]) -> bool {
    word == b"$" || (!word.is_empty() && word.iter().all(|b| b"0123456789:,*".contains(b)))
}

/// Positions, which may be counted from the end: `-1:-100`.
pub(super) fn is_span(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|b| b.is_ascii_digit() || b":-".contains(b))
}

/// A day, `1-Feb-2026`, or a moment, ` 1-Feb-2026 12:00:00 +0000`.
pub(super) fn is_date(text: &[u8]) -> bool {
    let mut parts = text.split(|b| b" -:+".contains(b));
    parts.clone().any(|part| is_among(part, &MONTHS))
        && parts.all(|part| part.iter().all(u8::is_ascii_digit) || is_among(part, &MONTHS))
}

/// The date of a message, in the ways it is usually written.
pub(super) fn is_message_date(text: &[u8]) -> bool {
    const WORDS: [&str; 18] = [
        "mon", "tue", "wed", "thu", "fri", "sat", "sun", "gmt", "utc", "ut", "z", "est", "edt",
        "cst", "cdt", "mst", "pst", "pdt",
    ];
    text.split(|b| b" \t,-:+()".contains(b)).all(|part| {
        part.iter().all(u8::is_ascii_digit) || is_among(part, &MONTHS) || is_among(part, &WORDS)
    })
}
