//! Signing: RFC 6376 section 5.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::fmt::Write;

use crate::body::{BodyHashes, Hasher, Want};
use crate::canonical;
use crate::verify::Fields;
use crate::{Canonical, SIGNED_MAX, Sign, tags};

/// Fields that are signed unless something else is said: those that people see and programs act on.
pub const DEFAULT_SIGNED: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "References",
    "In-Reply-To",
    "Subject",
    "Date",
    "Message-Id",
    "Content-Type",
];

/// The latest x=: no verifier takes more than 12 digits (RFC 6376 3.5).
const TIME_MAX: u64 = 999_999_999_999;

/// Columns of a folded line.
const COLUMNS: usize = 76;

/// A key with its name and what it signs.
#[derive(Debug, Clone)]
pub struct Selector<'a> {
    /// d=, A-labels
    pub domain: &'a str,
    /// s=
    pub selector: &'a str,
    /// The private key.
    pub key: &'a dyn Sign,
    /// How header fields may change: relaxed is what survives.
    pub header: Canonical,
    /// How the body may change.
    pub body: Canonical,
    /// Fields that are signed; From always is.
    pub signed: &'a [&'a str],
    /// Signs each field once more than it is there, so that none can be added.
    pub oversign: bool,
    /// Seconds until the signature expires; at least one, and not so many that x= would have more digits than t= and x= may.
    pub expires: Option<u64>,
}

impl<'a> Selector<'a> {
    /// Relaxed, the usual fields, oversigned, without an end.
    pub fn new(domain: &'a str, selector: &'a str, key: &'a dyn Sign) -> Self {
        Self {
            domain,
            selector,
            key,
            header: Canonical::Relaxed,
            body: Canonical::Relaxed,
            signed: DEFAULT_SIGNED,
            oversign: true,
            expires: None,
        }
    }
}

/// Why a message cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// There must be exactly one From field.
    From,
    /// d= must be a domain and s= a selector, of letters, digits and hyphens.
    Name,
    /// The key did not sign.
    Key,
}

impl core::fmt::Display for SignError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::From => "a message that is signed has exactly one From field",
            Self::Name => {
                "who signs is a domain in A-labels, and a selector is made of such labels"
            }
            Self::Key => "the private key could not sign",
        })
    }
}

impl core::error::Error for SignError {}

/// A message that is being signed: its body first, as it comes, then its header once that is final.
#[derive(Debug)]
pub struct Signing<'a> {
    selectors: Vec<(Selector<'a>, usize)>,
    bodies: BodyHashes,
}

impl<'a> Signing<'a> {
    /// Signs with these, in this order: put RSA first, since some verifiers stumble over what they do not know.
    pub fn new(selectors: &[Selector<'a>]) -> Self {
        let mut bodies = BodyHashes::default();
        let selectors = selectors.iter().map(|selector| {
            let want = Want {
                canonical: selector.body,
                is_sha1: false,
                length: None,
            };
            (selector.clone(), bodies.want(want))
        });
        let selectors = selectors.collect();
        Self { selectors, bodies }
    }

    /// The next octets of the body.
    pub fn push(&mut self, body: &[u8]) {
        self.bodies.push(body);
    }

    /// The DKIM-Signature fields to put before the header, each with its CRLF. `header` is final, lines end in CRLF; `now` is
    /// in seconds since 1970. RSA takes about a millisecond a key.
    ///
    /// # Errors
    /// See [`SignError`]; no field is made then.
    pub fn finish(self, header: &[u8], now: u64) -> Result<String, SignError> {
        let fields = Fields::split(header);
        if fields.count("from") != 1 {
            return Err(SignError::From);
        }
        let is_name = |(selector, _): &(Selector<'_>, usize)| {
            tags::is_domain(selector.domain, 1) && tags::is_domain(selector.selector, 1)
        };
        if !self.selectors.iter().all(is_name) {
            return Err(SignError::Name);
        }
        let bodies = self.bodies.finish();
        let mut out = String::new();
        for (selector, body) in &self.selectors {
            let hash = bodies
                .get(*body)
                .map(|body| STANDARD.encode(&body.hash))
                .unwrap_or_default();
            let start = out.len();
            let signed = selector.names(&fields);
            selector.write(&hash, &signed, now, &mut out);
            let mut digest = Hasher::new(selector.key.algorithm());
            fields.feed(
                signed.iter().map(String::as_str),
                selector.header,
                None,
                &mut digest,
            );
            let mut own = Vec::new();
            canonical::header(
                selector.header,
                out.get(start..).unwrap_or_default().as_bytes(),
                &mut own,
            );
            digest.update(own.strip_suffix(b"\r\n").unwrap_or(&own));
            let digest = digest.finish().try_into().map_err(|_| SignError::Key)?;
            let signature = selector.key.sign(&digest).ok_or(SignError::Key)?;
            // The line begins with "\tb=".
            fold(&STANDARD.encode(signature), 3, &mut out);
            out.push_str("\r\n");
        }
        Ok(out)
    }
}

impl Selector<'_> {
    /// The names of h=.
    fn names(&self, fields: &Fields<'_>) -> Vec<String> {
        let from = ["From"];
        let has_from = self
            .signed
            .iter()
            .any(|name| name.eq_ignore_ascii_case("from"));
        let first = if has_from { &[][..] } else { &from[..] };
        let mut names = Vec::new();
        for name in first.iter().chain(self.signed) {
            let times = fields.count(name) + usize::from(self.oversign);
            names.extend(core::iter::repeat_n((*name).to_string(), times));
        }
        // More than a verifier would take; those that are there stay signed by their last ones.
        names.truncate(SIGNED_MAX);
        names
    }

    /// The field up to and including `b=`.
    fn write(&self, body_hash: &str, signed: &[String], now: u64, out: &mut String) {
        let kind = |canonical| match canonical {
            Canonical::Simple => "simple",
            Canonical::Relaxed => "relaxed",
        };
        let written = write!(
            out,
            "DKIM-Signature: v=1; a={}; c={}/{};\r\n\td={}; s={};\r\n\tt={now}",
            self.key.algorithm(),
            kind(self.header),
            kind(self.body),
            self.domain,
            self.selector
        );
        debug_assert!(written.is_ok(), "a string takes everything");
        if let Some(expires) = self.expires {
            let expiry = now.saturating_add(expires.max(1)).min(TIME_MAX);
            out.push_str(&alloc::format!("; x={expiry}"));
        }
        out.push_str(";\r\n\th=");
        let mut column = 3;
        for (n, name) in signed.iter().enumerate() {
            if n > 0 {
                out.push(':');
                column += 1;
            }
            if column + name.len() > COLUMNS {
                out.push_str("\r\n\t ");
                column = 2;
            }
            out.push_str(name);
            column += name.len();
        }
        out.push_str(";\r\n\tbh=");
        out.push_str(body_hash);
        out.push_str(";\r\n\tb=");
    }
}

/// Appends base64 on folded lines, the first of which is used up to `column`.
fn fold(text: &str, mut column: usize, out: &mut String) {
    for c in text.chars() {
        if column == COLUMNS {
            out.push_str("\r\n\t ");
            column = 2;
        }
        out.push(c);
        column += 1;
    }
}
