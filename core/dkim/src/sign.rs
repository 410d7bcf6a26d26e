//! Signing: RFC 6376 section 5.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
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
pub struct Selector {
    /// d=, A-labels
    pub domain: String,
    /// s=
    pub selector: String,
    /// The private key.
    pub key: Arc<dyn Sign>,
    /// How header fields may change: relaxed is what survives.
    pub header: Canonical,
    /// How the body may change.
    pub body: Canonical,
    /// Fields that are signed; From always is.
    pub signed: Vec<String>,
    /// Signs each field once more than it is there, so that none can be added.
    pub oversign: bool,
    /// Seconds until the signature expires; at least one, and not so many that x= would have more digits than t= and x= may.
    pub expires: Option<u64>,
}

impl Selector {
    /// Relaxed, the usual fields, oversigned, without an end.
    pub fn new(domain: impl Into<String>, selector: impl Into<String>, key: Arc<dyn Sign>) -> Self {
        Self {
            domain: domain.into(),
            selector: selector.into(),
            key,
            header: Canonical::Relaxed,
            body: Canonical::Relaxed,
            signed: DEFAULT_SIGNED.iter().copied().map(String::from).collect(),
            oversign: true,
            expires: None,
        }
    }

    /// Whether a signature can have this as its s=: what verifiers look up, of letters, digits and hyphens.
    pub fn is_name(text: &str) -> bool {
        tags::is_domain(text, 1)
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
pub struct Signing {
    selectors: Arc<[Selector]>,
    /// For each selector, which of the bodies it signs.
    places: Vec<usize>,
    bodies: BodyHashes,
    /// Signatures expire so long after this, when it is later than now.
    leaves: u64,
}

impl Signing {
    /// Signs with these, in this order: put RSA first, since some verifiers stumble over what they do not know.
    pub fn new(selectors: impl Into<Arc<[Selector]>>) -> Self {
        let selectors = selectors.into();
        let mut bodies = BodyHashes::default();
        let want = |selector: &Selector| {
            bodies.want(Want {
                canonical: selector.body,
                is_sha1: false,
                length: None,
            })
        };
        let places = selectors.iter().map(want).collect();
        Self {
            selectors,
            places,
            bodies,
            leaves: 0,
        }
    }

    /// The message is held back until then, in seconds since 1970: how long its signatures hold counts from there.
    #[must_use]
    pub fn held_until(self, leaves: u64) -> Self {
        Self { leaves, ..self }
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
        let is_name = |selector: &Selector| {
            tags::is_domain(&selector.domain, 1) && Selector::is_name(&selector.selector)
        };
        if !self.selectors.iter().all(is_name) {
            return Err(SignError::Name);
        }
        let bodies = self.bodies.finish();
        let mut out = String::new();
        for (selector, place) in self.selectors.iter().zip(&self.places) {
            let hash = bodies
                .get(*place)
                .map(|body| STANDARD.encode(&body.hash))
                .unwrap_or_default();
            let start = out.len();
            let signed = selector.names(&fields);
            selector.write(&hash, &signed, (now, self.leaves), &mut out);
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

impl Selector {
    /// The names of h=.
    fn names(&self, fields: &Fields<'_>) -> Vec<String> {
        let has_from = self
            .signed
            .iter()
            .any(|name| name.eq_ignore_ascii_case("from"));
        let from = (!has_from).then_some("From");
        let mut names = Vec::new();
        for name in from
            .into_iter()
            .chain(self.signed.iter().map(String::as_str))
        {
            let times = fields.count(name) + usize::from(self.oversign);
            names.extend(core::iter::repeat_n(name.to_string(), times));
        }
        // More than a verifier would take; those that are there stay signed by their last ones.
        names.truncate(SIGNED_MAX);
        names
    }

    /// The field up to and including `b=`.
    fn write(
        &self,
        body_hash: &str,
        signed: &[String],
        (now, leaves): (u64, u64),
        out: &mut String,
    ) {
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
            let expiry = (now.max(leaves))
                .saturating_add(expires.max(1))
                .min(TIME_MAX);
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
