//! A message that one of our own users submits: whose it is, and the signatures it leaves with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mox_address::{Domain, Host, Path, Reply};
use mox_dkim::{Selector, SignError, Signing};
use mox_machine::Utc;
use mox_mime::header;

use crate::head::{Head, Whole};

/// Octets of the header of a submitted message at most.
pub const SUBMITTED_HEADER_MAX: usize = 128 * 1024;

/// Who signs what leaves: the selectors in use, by domain in A-labels. Immutable while in use.
#[derive(Debug, Clone, Default)]
pub struct Signers(BTreeMap<Domain, Arc<[Selector]>>);

impl Signers {
    /// Has all mail of a domain signed by these, in this order.
    pub fn add(&mut self, domain: Domain, selectors: Vec<Selector>) {
        self.0.insert(domain, selectors.into());
    }

    /// Whether mail of a domain in A-labels is signed.
    pub fn has(&self, domain: &Domain) -> bool {
        self.0.get(domain).is_some_and(|some| !some.is_empty())
    }

    /// The same, with more fields signed: of mail that has them by its nature.
    #[must_use]
    pub fn and_fields(&self, fields: &[&str]) -> Self {
        let more = |selector: &Selector| {
            let mut selector = selector.clone();
            selector
                .signed
                .extend(fields.iter().map(|&field| field.to_owned()));
            selector
        };
        let domains = self.0.iter();
        Self(
            domains
                .map(|(domain, some)| (domain.clone(), some.iter().map(more).collect()))
                .collect(),
        )
    }

    /// The same, with mail of a host signed by the nearest domain above it that signs: with it, it is aligned (RFC 7489 3.1.1).
    #[must_use]
    pub fn and_host(&self, host: &Domain) -> Self {
        let mut signers = self.clone();
        let Ok(host) = host.to_ascii() else {
            return signers;
        };
        let is_above = |domain: &Domain| {
            let rest = host.as_str().strip_suffix(domain.as_str());
            rest.is_some_and(|rest| rest.ends_with('.'))
        };
        let above = self.0.iter();
        let above = above.filter(|(domain, some)| !some.is_empty() && is_above(domain));
        let nearest = above.max_by_key(|(domain, _)| domain.as_str().len());
        if let (false, Some((_, selectors))) = (self.has(&host), nearest) {
            signers.0.insert(host, selectors.clone());
        }
        signers
    }

    /// Those that sign for the author of a message.
    fn of(&self, author: &Path) -> Option<Arc<[Selector]>> {
        let domain = author.domain()?.to_ascii().ok()?;
        self.0.get(&domain).filter(|some| !some.is_empty()).cloned()
    }
}

/// Why nobody can be told to be the author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAuthor {
    /// There must be one From field with one address in it (RFC 5322 3.6.2 allows more; whoever submits speaks for one).
    From,
    /// The header has more than [`SUBMITTED_HEADER_MAX`] octets.
    TooLong,
}

impl NoAuthor {
    /// What to say to who submits such a message.
    pub fn reply(self) -> Reply {
        match self {
            Self::From => Reply::new(
                550,
                6,
                0,
                "a message has one From field with one address in it",
            ),
            Self::TooLong => Reply::new(552, 3, 4, "the header is too long"),
        }
    }
}

/// Takes a message in pieces: its header is kept, of the body only hashes, and these only where its author's domain signs.
pub struct Submitted {
    signers: Arc<Signers>,
    head: Head,
    read: Option<Departing>,
}

/// A message that came whole.
pub struct Departing {
    author: Result<Path, NoAuthor>,
    header: Vec<u8>,
    signing: Option<Box<Signing>>,
}

impl fmt::Debug for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitted").finish_non_exhaustive()
    }
}

impl fmt::Debug for Departing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departing")
            .field("author", &self.author)
            .finish_non_exhaustive()
    }
}

impl Submitted {
    /// For one message. These sign, whatever the configuration becomes while it comes in.
    pub fn new(signers: Arc<Signers>) -> Self {
        Self {
            signers,
            head: Head::default(),
            read: None,
        }
    }

    /// The next piece.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.read {
            None => {
                if let Some(whole) = self.head.push(piece, SUBMITTED_HEADER_MAX) {
                    let behind = whole.behind;
                    let departing = Departing::of(whole, &self.signers);
                    self.read.insert(departing).push(behind);
                }
            }
            Some(departing) => departing.push(piece),
        }
    }

    /// The message is complete.
    pub fn finish(mut self) -> Departing {
        match self.read.take() {
            Some(departing) => departing,
            None => Departing::of(self.head.take(), &self.signers),
        }
    }
}

impl Departing {
    fn of(whole: Whole<'_>, signers: &Signers) -> Self {
        let (author, header) = match whole.header.len() > SUBMITTED_HEADER_MAX {
            true => (Err(NoAuthor::TooLong), Vec::new()),
            false => (author(&whole.header).ok_or(NoAuthor::From), whole.header),
        };
        let selectors = author.as_ref().ok().and_then(|path| signers.of(path));
        let mut departing = Self {
            author,
            header,
            signing: selectors.map(|some| Box::new(Signing::new(some))),
        };
        departing.push(&whole.begun);
        departing
    }

    fn push(&mut self, body: &[u8]) {
        if let Some(signing) = &mut self.signing {
            signing.push(body);
        }
    }

    /// The one address in From.
    pub fn author(&self) -> &Result<Path, NoAuthor> {
        &self.author
    }

    /// The header as it was submitted; empty when it is too long.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Whether the author's domain signs.
    pub fn is_signed(&self) -> bool {
        self.signing.is_some()
    }

    /// The fields to put before `added`, which stands before the message and ends its header. RSA takes about a millisecond a key.
    ///
    /// # Errors
    /// When a key does not sign. No field is made then.
    pub fn sign(self, added: &str, now: Utc, leaves: Utc) -> Result<String, SignError> {
        let Some(signing) = self.signing else {
            return Ok(String::new());
        };
        let mut header = added.as_bytes().to_vec();
        header.extend_from_slice(&self.header);
        let secs = |at: Utc| u64::try_from(at.secs()).unwrap_or(0);
        signing.held_until(secs(leaves)).finish(&header, secs(now))
    }
}

/// The one address in the one From field of a header.
fn author(block: &[u8]) -> Option<Path> {
    let mut fields = header::find_all(block, b"from");
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    // Whom another reader takes for the author must not be somebody else.
    let (entries, in_doubt) = mox_mime::addresses_and_doubt(field, 2);
    let mut entries = entries.into_iter();
    let (Some(one), None, false) = (entries.next(), entries.next(), in_doubt) else {
        return None;
    };
    let local = String::from_utf8(one.local?).ok()?;
    let host = String::from_utf8(one.host?).ok()?;
    // Local parts come without their quotes.
    let local = local.replace('\\', "\\\\").replace('"', "\\\"");
    let path = Path::parse(&format!("\"{local}\"@{host}"), true).ok()?;
    matches!(path.host, Host::Domain(_)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_dkim::{Canonical, Ed25519Key};

    const MESSAGE: &[u8] =
        b"From: Ann <ann@B\xc3\xbccher.example>\r\nSubject: x\r\n\r\nHello  \r\n\r\n";

    fn signers() -> Arc<Signers> {
        let key = Arc::new(Ed25519Key::from_seed(&[7; 32]).unwrap());
        let mut signers = Signers::default();
        let domain = "xn--bcher-kva.example";
        let simple = Selector {
            body: Canonical::Simple,
            ..Selector::new(domain, "two", key.clone())
        };
        let domain = Domain::parse(domain, false).unwrap();
        let one = Selector::new(domain.as_str(), "one", key);
        signers.add(domain, vec![one, simple]);
        Arc::new(signers)
    }

    fn whole(message: &[u8], cut: usize) -> Departing {
        let mut submitted = Submitted::new(signers());
        submitted.push(&message[..cut]);
        submitted.push(&message[cut..]);
        submitted.finish()
    }

    #[test]
    fn a_message_is_signed_the_same_however_it_is_cut_and_as_one_that_is_signed_at_once() {
        let (header, body) = MESSAGE.split_at(MESSAGE.len() - 11);
        assert!(header.ends_with(b"\r\n\r\n"));
        let added = "Date: Fri, 2 Jan 2026 03:04:05 +0000\r\n";
        let selectors = signers().0.values().next().unwrap().clone();
        let mut signing = Signing::new(selectors);
        signing.push(body);
        let expected = signing
            .finish(&[added.as_bytes(), header].concat(), 1_767_322_800)
            .unwrap();
        assert_eq!(expected.matches("DKIM-Signature: ").count(), 2);
        for cut in 0..=MESSAGE.len() {
            let departing = whole(MESSAGE, cut);
            let author = departing.author().clone().unwrap();
            assert_eq!(author.local.as_str(), "ann");
            let signed = departing.sign(added, Utc(1_767_322_800_000_000), Utc(0));
            assert_eq!(signed.unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn mail_of_a_host_is_signed_by_the_nearest_domain_above_it() {
        let key = Arc::new(Ed25519Key::from_seed(&[7; 32]).unwrap());
        let domain = |text: &str| Domain::parse(text, false).unwrap();
        let mut signers = Signers::default();
        for name in ["example.org", "mx.example.org", "notexample.org"] {
            let selector = Selector::new(name, "one", key.clone());
            signers.add(domain(name), vec![selector]);
        }
        for (host, by) in [
            ("mail.example.org", Some("d=example.org;")),
            ("a.mx.example.org", Some("d=mx.example.org;")),
            ("mx.example.org", Some("d=mx.example.org;")),
            ("mail.example.net", None),
        ] {
            let signers = Arc::new(signers.and_host(&domain(host)));
            let mut submitted = Submitted::new(signers);
            submitted.push(format!("From: postmaster@{host}\r\n\r\nx\r\n").as_bytes());
            let signed = submitted.finish().sign("", Utc(0), Utc(0)).unwrap();
            match by {
                Some(by) => assert!(signed.contains(by), "{host}: {signed}"),
                None => assert_eq!(signed, "", "{host}"),
            }
        }
    }

    #[test]
    fn how_long_signatures_hold_counts_from_when_the_message_leaves() {
        let key = Arc::new(Ed25519Key::from_seed(&[7; 32]).unwrap());
        let domain = Domain::parse("b.example", false).unwrap();
        let mut selector = Selector::new(domain.as_str(), "one", key);
        selector.expires = Some(100);
        let mut signers = Signers::default();
        signers.add(domain, vec![selector]);
        let signers = Arc::new(signers);
        for (leaves, expires) in [(0, "; x=1100;"), (5_000, "; x=5100;")] {
            let mut submitted = Submitted::new(signers.clone());
            submitted.push(b"From: ann@b.example\r\n\r\nx\r\n");
            let at = Utc::from_secs;
            let signed = submitted.finish().sign("", at(1_000), at(leaves)).unwrap();
            assert!(
                signed.contains("t=1000") && signed.contains(expires),
                "{signed}"
            );
        }
    }

    #[test]
    fn a_message_of_a_domain_without_keys_is_not_signed() {
        let departing = whole(b"From: ann@other.example\r\n\r\nx\r\n", 3);
        assert!(!departing.is_signed());
        assert_eq!(departing.sign("", Utc(0), Utc(0)), Ok(String::new()));
    }

    #[test]
    fn only_one_address_in_one_from_field_is_an_author() {
        let of = |header: &str| {
            let author = whole(header.as_bytes(), 0).author().clone();
            author.map(|path| path.to_string())
        };
        let ann = Ok("ann@a.example".to_owned());
        assert_eq!(of("From: ann@a.example\r\n\r\n"), ann);
        assert_eq!(of("fRoM:\r\n (x) \"A\" <ann@a.example>"), ann);
        assert_eq!(
            of("From: \"a \\\"b\"@a.example\r\n\r\n"),
            Ok("\"a \\\"b\"@a.example".to_owned())
        );
        for none in [
            "",
            "To: ann@a.example\r\n\r\n",
            "\r\nFrom: ann@a.example\r\n",
            "From: \r\n\r\n",
            "From: ann\r\n\r\n",
            "From: ann@a.example, bob@a.example\r\n\r\n",
            "From: g: ann@a.example;\r\n\r\n",
            "From: ann@a.example\r\nFrom: ann@a.example\r\n\r\n",
            "From: ann@a.example bob@a.example\r\n\r\n",
            "From: <bob@a.example> <ann@a.example>\r\n\r\n",
            "From: ann@[192.0.2.1]\r\n\r\n",
        ] {
            assert_eq!(of(none), Err(NoAuthor::From), "{none:?}");
        }
    }

    #[test]
    fn a_header_that_is_too_long_has_no_author_and_is_not_kept() {
        let long = |more: usize| {
            let start = "From: ann@a.example\r\nX: ";
            let rest = SUBMITTED_HEADER_MAX - start.len() - 4 + more;
            format!("{start}{}\r\n\r\n{}", "x".repeat(rest), "y".repeat(100_000))
        };
        let fits = whole(long(0).as_bytes(), 1_000);
        assert!(fits.author().is_ok());
        let cut = whole(long(1).as_bytes(), 1_000);
        assert_eq!(*cut.author(), Err(NoAuthor::TooLong));
        assert!(cut.header.is_empty());
    }
}
