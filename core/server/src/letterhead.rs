//! Who a message says it comes from: its authors, and the signatures that are to prove it.

use mox_address::Domain;
use mox_dkim::{Hashed, Limits, Verifier};
use mox_dmarc::AUTHORS_MAX;
use mox_mime::header;

use crate::head::{Head, Whole};

/// Octets of a header that are looked at. Nobody is the author of a message with a longer one.
pub const LETTERHEAD_MAX: usize = 128 * 1024;
/// Addresses of a header's From fields that are read.
const ENTRIES_MAX: usize = 4 * AUTHORS_MAX;
/// Octets of a domain at most (RFC 1035 2.3.4): a longer one cannot be looked up.
const DOMAIN_MAX: usize = 255;
/// Octets of a Message-ID, a Subject or an author's address that are kept.
const TEXT_MAX: usize = 500;

/// Takes a message in pieces, as it was sent: nothing may be taken out or added before, or signatures break. It keeps the
/// header until that is complete, then hashes of the body where there are signatures, and nothing of the body where there are none.
#[derive(Debug, Default)]
pub struct Letterhead {
    head: Head,
    read: Read,
    body: Body,
}

/// What a header says.
#[derive(Debug, Default)]
struct Read {
    authors: Vec<Author>,
    message_id: Option<String>,
    subject: Option<String>,
}

#[derive(Debug, Default)]
enum Body {
    /// The header is not complete.
    #[default]
    Before,
    /// Nobody signed it.
    Unsigned,
    Signed(Box<Verifier>),
}

/// What a [`Letterhead`] found.
#[derive(Debug)]
pub struct Origin {
    /// In the order of From fields and of the addresses in them. Too long a header has none. Of more than [`AUTHORS_MAX`] only
    /// those of other domains: what DMARC makes of them all comes of these too.
    pub authors: Vec<Author>,
    /// The identifier in Message-ID, brackets included.
    pub message_id: Option<String>,
    /// The unfolded value of Subject, as written.
    pub subject: Option<String>,
    /// Signatures that only lack their keys; `None` when there is none.
    pub signatures: Option<Hashed>,
}

/// One address in a From field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// As written; empty for a field in which there is no address.
    pub address: String,
    /// The domain, in A-labels; empty when there is none.
    pub domain: Vec<u8>,
}

impl Letterhead {
    /// The next piece.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.body {
            Body::Unsigned => {}
            Body::Signed(verifier) => verifier.push(piece),
            Body::Before => {
                if let Some(whole) = self.head.push(piece, LETTERHEAD_MAX) {
                    self.begin_body(&whole);
                    self.push(whole.behind);
                }
            }
        }
    }

    /// The header is complete: what is needed of it is read, and it is let go.
    fn begin_body(&mut self, whole: &Whole<'_>) {
        self.read = Read::of(&whole.header);
        self.body = match header::find(&whole.header, b"dkim-signature") {
            None => Body::Unsigned,
            Some(_) => {
                let mut verifier = Verifier::new(&whole.header, &Limits::default());
                verifier.push(&whole.begun);
                Body::Signed(Box::new(verifier))
            }
        };
    }

    /// The message is complete.
    pub fn finish(mut self) -> Origin {
        if matches!(self.body, Body::Before) {
            let whole = self.head.take();
            self.begin_body(&whole);
        }
        Origin {
            authors: self.read.authors,
            message_id: self.read.message_id,
            subject: self.read.subject,
            signatures: match self.body {
                Body::Signed(verifier) => Some(verifier.finish()),
                Body::Before | Body::Unsigned => None,
            },
        }
    }
}

impl Read {
    fn of(block: &[u8]) -> Self {
        let text = |name: &[u8]| {
            let value = header::find(block, name).map(header::unfold)?;
            let value = String::from_utf8_lossy(&value).trim().to_owned();
            (!value.is_empty()).then(|| cut(value))
        };
        Self {
            authors: match block.len() > LETTERHEAD_MAX {
                true => Vec::new(),
                false => kept(authors(block)),
            },
            message_id: text(b"message-id"),
            subject: text(b"subject"),
        }
    }
}

/// The authors of a header: each address in each From field. One without a domain stands for an address without, for a field
/// without addresses or with an address in doubt, and for those of too many: who cannot be read must not be passed over.
pub fn authors(block: &[u8]) -> Vec<Author> {
    let mut authors = Vec::new();
    for field in header::find_all(block, b"from") {
        let before = authors.len();
        // A group's begin and end are entries without a host.
        let (entries, in_doubt) = mox_mime::addresses_and_doubt(field, ENTRIES_MAX + 1);
        let is_cut = entries.len() > ENTRIES_MAX;
        for entry in entries {
            let Some(host) = entry.host else { continue };
            let local = entry.local.unwrap_or_default();
            let address = [&local[..], b"@", &host].concat();
            authors.push(Author {
                address: cut(String::from_utf8_lossy(&address).into_owned()),
                domain: a_labels(host),
            });
        }
        let too_many = authors.len() > ENTRIES_MAX;
        // Whoever stands behind the last that is read is an author too, and whom another reader finds.
        if is_cut || too_many || in_doubt || authors.len() == before {
            authors.push(Author {
                address: String::new(),
                domain: Vec::new(),
            });
        }
        if too_many {
            break;
        }
    }
    authors
}

/// The first authors, and of the others those of domains that are not among them yet, as many as are too many.
fn kept(authors: Vec<Author>) -> Vec<Author> {
    let mut kept: Vec<Author> = Vec::new();
    for author in authors {
        let bare = |author: &Author| {
            let domain = author.domain.to_ascii_lowercase();
            domain
                .strip_suffix(b".")
                .map(<[u8]>::to_vec)
                .unwrap_or(domain)
        };
        let is_known = |known: &Author| bare(known) == bare(&author);
        if kept.len() < AUTHORS_MAX || (kept.len() <= 2 * AUTHORS_MAX && !kept.iter().any(is_known))
        {
            kept.push(author);
        }
    }
    kept
}

/// A host in A-labels; empty when it is none that could be looked up. People are shown `victim.example` with an invisible or
/// strange character as if it were without, and no record is there for it.
fn a_labels(host: Vec<u8>) -> Vec<u8> {
    if host.len() > DOMAIN_MAX {
        return Vec::new();
    }
    if host.is_ascii() {
        let is_name = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_.".contains(octet);
        let is_literal = host.starts_with(b"[") && host.ends_with(b"]");
        return match is_literal || host.iter().all(is_name) {
            true => host,
            false => Vec::new(),
        };
    }
    let domain = core::str::from_utf8(&host)
        .ok()
        .and_then(|text| Domain::parse(text, true).ok())
        .and_then(|domain| domain.to_ascii().ok());
    domain.map_or_else(Vec::new, |domain| domain.as_str().as_bytes().to_vec())
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Vec<String> {
        let found = authors(header.replace('\n', "\r\n").as_bytes());
        let domain = |a: Author| String::from_utf8(a.domain).unwrap();
        found.into_iter().map(domain).collect()
    }

    #[test]
    fn every_author_counts_and_one_that_cannot_be_read_is_not_left_out() {
        assert_eq!(of("From: Ann <ann@example.org>\n"), ["example.org"]);
        assert_eq!(
            of(
                "From: a@a.example, g: b@b.example;\nTo: x@x.example\nfrom: c@B\u{dc}cher.example\n"
            ),
            ["a.example", "b.example", "xn--bcher-kva.example"]
        );
        assert_eq!(of("From: a@a.example b@b.example\n"), ["a.example", ""]);
        assert_eq!(of("From: <a@a.example> <b@b.example>\n"), ["b.example", ""]);
        assert_eq!(of("From: <a@a.example> b@b.example\n"), ["a.example", ""]);
        assert_eq!(of("From: <a@a.example@b.example>\n"), ["a.example", ""]);
        assert_eq!(of("From: a@a.example \"b@b.example\"\n"), ["a.example", ""]);
        assert_eq!(
            of("From: a@a.example <b@b.example> (c@c.example)\n"),
            ["b.example"]
        );
        assert_eq!(
            of("From: \"a@a.example\" <b@b.example>, c@c.example (c@d)\n"),
            ["b.example", "c.example"]
        );
        // Shown like `example.org`, and looked up as another name, or as none.
        for strange in ["\u{200e}", "\u{a0}", "\u{1}", "\\", "/", "?", "\u{7f}"] {
            assert_eq!(
                of(&format!("From: Ann <ann@example.org{strange}>\n")),
                [""],
                "{strange:?}"
            );
        }
        assert_eq!(of("From: <a@[192.0.2.1]>\n"), ["[192.0.2.1]"]);
        assert_eq!(of("From: nobody\n"), [""]);
        assert_eq!(of("From: a@a.example\nFrom: \n"), ["a.example", ""]);
        assert!(of("To: a@a.example\n").is_empty());
    }

    #[test]
    fn an_author_behind_more_than_are_read_is_not_passed_over() {
        let last = |count| {
            let others = "a@a.example, ".repeat(count);
            of(&format!("From: {others}c@c.example\n")).pop().unwrap()
        };
        assert_eq!(last(ENTRIES_MAX - 1), "c.example");
        assert_eq!(last(ENTRIES_MAX), "");
        // Nor one in a field behind those of two that are too many together.
        let field = format!("From: {}a@a.example\n", "a@a.example, ".repeat(19));
        let fields = [field.as_str(), &field, "From: c@c.example\n"].concat();
        assert_eq!(of(&fields).pop().unwrap(), "");
    }

    #[test]
    fn of_many_authors_those_are_kept_that_matter() {
        let domains = |header: String| {
            let origin = whole(header.as_bytes(), 0);
            let domains = origin.authors.into_iter().map(|a| a.domain);
            domains
                .map(|d| String::from_utf8(d).unwrap())
                .collect::<Vec<_>>()
        };
        // As many as one likes of one domain do not hide another behind them.
        let same = "a@a.example, ".repeat(25);
        let mut expected = vec!["a.example"; AUTHORS_MAX];
        expected.push("b.example");
        let header = format!("From: {same}b@b.example, b@B.example, b@b.example.\r\n\r\n");
        assert_eq!(domains(header), expected);
        let all: Vec<String> = (0..30).map(|n| format!("a@{n}.example")).collect();
        let header = format!("From: {}\r\n\r\n", all.join(", "));
        assert_eq!(domains(header).len(), 2 * AUTHORS_MAX + 1);
        let long = format!("From: a@{}.example\r\n\r\n", "x".repeat(DOMAIN_MAX));
        assert_eq!(domains(long), [""]);
    }

    fn whole(message: &[u8], cut: usize) -> Origin {
        let mut letterhead = Letterhead::default();
        letterhead.push(&message[..cut]);
        letterhead.push(&message[cut..]);
        letterhead.finish()
    }

    #[test]
    fn a_message_is_read_the_same_however_it_is_cut() {
        let signed = b"DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=one; h=From; bh=AAAA; b=AAAA\r\n\
            From: Ann <ann@example.org>\r\nMessage-ID:\r\n <1@example.org>\r\n\r\nFrom: body@example.com\r\n\r\nmore";
        for at in 0..=signed.len() {
            let origin = whole(signed, at);
            assert_eq!(origin.message_id.as_deref(), Some("<1@example.org>"));
            assert_eq!(origin.authors.len(), 1, "cut at {at}");
            let questions = origin.signatures.map(|s| format!("{s:?}"));
            assert_eq!(
                questions,
                whole(signed, 0).signatures.map(|s| format!("{s:?}")),
                "cut at {at}"
            );
        }
        assert!(
            whole(b"From: a@b\r\n\r\nDKIM-Signature: x", 0)
                .signatures
                .is_none()
        );
        assert!(whole(b"\r\nFrom: a@b\r\n", 1).authors.is_empty());
        assert_eq!(whole(b"From: a@b\r\n", 3).authors.len(), 1);
    }

    #[test]
    fn nobody_is_the_author_behind_a_header_that_is_too_long() {
        let long = format!("From: a@b\r\nX: {}\r\n\r\nbody", "x".repeat(LETTERHEAD_MAX));
        assert!(whole(long.as_bytes(), 1_000).authors.is_empty());
        let fits = format!(
            "From: a@b\r\nX: {}\r\n\r\nbody",
            "x".repeat(LETTERHEAD_MAX - 20)
        );
        assert_eq!(whole(fits.as_bytes(), 1_000).authors.len(), 1);
    }
}
