//! Verifying: RFC 6376 section 6.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use mox_dns::{Answer, Facts, Missing, Question};

use crate::body::{BodyHash, BodyHashes, Hasher, Want};
use crate::canonical;
use crate::key::rsa;
use crate::memo::Memo;
use crate::{
    Algorithm, Claims, KeyRecord, Policy, PublicKey, Report, Signature, Unusable, Verdict, Verify,
};

/// Bounds of what one message may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Signatures looked at, the first ones; the others are counted: 8.
    pub signatures: usize,
    /// Octets of a header; behind it nothing is verified: 256 KiB.
    pub header: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            signatures: 8,
            header: 256 * 1024,
        }
    }
}

/// A message on its way in.
#[derive(Debug)]
pub struct Verifier {
    candidates: Vec<Candidate>,
    passed_over: usize,
    bodies: BodyHashes,
}

/// A message with all that its signatures are compared with.
#[derive(Debug)]
pub struct Hashed {
    candidates: Vec<Candidate>,
    passed_over: usize,
    bodies: Vec<BodyHash>,
}

#[derive(Debug)]
enum Candidate {
    Unusable(Claims, Verdict, &'static str),
    Signed(Signed),
}

/// A signature with what the header gives to compare it with.
#[derive(Debug)]
struct Signed {
    signature: Signature,
    /// Of the header as signed.
    digest: Vec<u8>,
    /// The place of its body hash.
    body: usize,
    /// What the first key came to that was tried.
    memo: Memo,
}

impl Verifier {
    /// Reads a header: everything before the body, with or without the blank line. Lines end in CRLF.
    pub fn new(header: &[u8], limits: &Limits) -> Self {
        let mut verifier = Self {
            candidates: Vec::new(),
            passed_over: 0,
            bodies: BodyHashes::default(),
        };
        let is_too_large = header.len() > limits.header;
        let header = header.get(..limits.header).unwrap_or(header);
        let fields = Fields::split(header);
        for (place, field) in fields.all.iter().enumerate() {
            if !field.is("dkim-signature") {
                continue;
            }
            if verifier.candidates.len() == limits.signatures {
                verifier.passed_over += 1;
                continue;
            }
            let candidate = match Signature::parse(field.value()) {
                _ if is_too_large => unusable(field.value(), "the header is too large"),
                Err(Unusable::Malformed(what)) => unusable(field.value(), what),
                Err(Unusable::Empty) => Candidate::Unusable(
                    Claims::read(field.value()),
                    Verdict::None,
                    "it names no signer and holds no signature",
                ),
                Ok(_) if !fields.has_author() => {
                    unusable(field.value(), "the message has no address in From")
                }
                Ok(signature) => {
                    let digest = fields.digest(&signature, place);
                    let body = verifier.bodies.want(Want {
                        canonical: signature.body,
                        is_sha1: signature.algorithm == Algorithm::RsaSha1,
                        length: signature.length,
                    });
                    Candidate::Signed(Signed {
                        signature,
                        digest,
                        body,
                        memo: Memo::default(),
                    })
                }
            };
            verifier.candidates.push(candidate);
        }
        verifier
    }

    /// The next octets of the body.
    pub fn push(&mut self, body: &[u8]) {
        self.bodies.push(body);
    }

    /// The keys that will be asked for, so that they can be fetched while the body comes in.
    pub fn questions(&self) -> Vec<Question> {
        let signed = self
            .candidates
            .iter()
            .filter_map(|candidate| match candidate {
                Candidate::Signed(signed) => question(&signed.signature),
                Candidate::Unusable(..) => None,
            });
        signed.collect()
    }

    /// The end of the message.
    pub fn finish(self) -> Hashed {
        Hashed {
            candidates: self.candidates,
            passed_over: self.passed_over,
            bodies: self.bodies.finish(),
        }
    }
}

impl Hashed {
    /// What each signature came to, in the order they stand in the header. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The keys that `facts` lacks.
    pub fn judge(
        &self,
        facts: &Facts,
        policy: &Policy,
        now: i64,
        crypto: &dyn Verify,
    ) -> Result<Vec<Report>, Missing> {
        let now = u64::try_from(now).unwrap_or(0);
        let opened: Vec<_> = self
            .candidates
            .iter()
            .map(|candidate| self.open(candidate, policy, now))
            .collect();
        let keys = opened
            .iter()
            .flatten()
            .map(|opened| opened.question.clone());
        facts.all(&keys.collect::<Vec<_>>())?;
        opened
            .into_iter()
            .map(|opened| match opened {
                Err(report) => Ok(*report),
                Ok(opened) => {
                    let key = facts.need(&opened.question)?;
                    Ok(opened.check(key, policy, crypto))
                }
            })
            .collect()
    }

    /// Signatures that were not looked at because there were too many.
    pub fn passed_over(&self) -> usize {
        self.passed_over
    }

    /// What can be told without the key, or what is to be checked with it.
    fn open<'a>(
        &'a self,
        candidate: &'a Candidate,
        policy: &Policy,
        now: u64,
    ) -> Result<Opened<'a>, Box<Report>> {
        let signed = match candidate {
            Candidate::Unusable(claims, verdict, what) => {
                return Err(Box::new(report(claims.clone(), *verdict, Some(what))));
            }
            Candidate::Signed(signed) => signed,
        };
        let signature = &signed.signature;
        let refuse = |verdict, what| {
            Err(Box::new(report(
                Claims::from(signature),
                verdict,
                Some(what),
            )))
        };
        if signature.expiry.is_some_and(|expiry| expiry < now) {
            return refuse(Verdict::PermError, "the signature has expired");
        }
        if signature
            .time
            .is_some_and(|time| time > now.saturating_add(policy.skew))
        {
            return refuse(Verdict::PermError, "the signature is from the future");
        }
        let Some(body) = self.bodies.get(signed.body) else {
            return refuse(Verdict::Neutral, "the body was not hashed");
        };
        if signature.length.is_some_and(|length| length > body.total) {
            return refuse(Verdict::PermError, "l= is more than there is");
        }
        match question(signature) {
            Some(question) => Ok(Opened {
                signed,
                body,
                question,
            }),
            None => refuse(Verdict::PermError, "s= and d= make no domain name"),
        }
    }
}

/// A signature that only lacks its key.
struct Opened<'a> {
    signed: &'a Signed,
    body: &'a BodyHash,
    question: Question,
}

/// A public key that can be used, an RSA key with its bits.
enum Key<'a> {
    Rsa(&'a [u8], usize),
    Ed25519(&'a [u8; 32]),
}

impl Opened<'_> {
    /// With the key at hand (RFC 6376 6.1.2 and 6.1.3).
    fn check(&self, answer: &Answer, policy: &Policy, crypto: &dyn Verify) -> Report {
        let signature = &self.signed.signature;
        let mut report = report(Claims::from(signature), Verdict::Pass, None);
        report.ttl = answer.ttl;
        report.authentic = answer.authentic;
        report.unsigned_octets = signature
            .length
            .map_or(0, |length| self.body.total.saturating_sub(length));
        let outcome = KeyRecord::of(answer).and_then(|key| {
            report.testing = key.testing;
            self.verify(&key, policy, crypto, &mut report)
        });
        if let Err((verdict, what)) = outcome {
            report.verdict = verdict;
            report.problem = Some(what);
        }
        report
    }

    fn verify(
        &self,
        record: &KeyRecord,
        policy: &Policy,
        crypto: &dyn Verify,
        report: &mut Report,
    ) -> Result<(), (Verdict, &'static str)> {
        let Signed {
            signature,
            digest,
            memo,
            ..
        } = self.signed;
        let refuse = |what| Err((Verdict::PermError, what));
        let is_sha1 = signature.algorithm == Algorithm::RsaSha1;
        if !(if is_sha1 { record.sha1 } else { record.sha256 }) {
            return refuse("the key is not for this hash");
        }
        if !(if policy.tls_report {
            record.for_tls_reports
        } else {
            record.for_mail
        }) {
            return refuse("the key is not for such mail");
        }
        if record.strict
            && signature
                .identity
                .as_ref()
                .is_some_and(|(_, of)| *of != signature.domain)
        {
            return refuse("the key is only for the very domain of d=");
        }
        let key = match (&record.key, signature.algorithm) {
            (PublicKey::Revoked, _) => return refuse("the key is revoked"),
            (PublicKey::Rsa(der), Algorithm::RsaSha1 | Algorithm::RsaSha256) => {
                let Some((key, bits)) = rsa(der) else {
                    return refuse("the key is not an RSA key");
                };
                report.key_bits = Some(bits);
                report.weak = bits < 2_048;
                Key::Rsa(key, bits)
            }
            (PublicKey::Ed25519(key), Algorithm::Ed25519Sha256) => Key::Ed25519(key),
            _ => return refuse("the key is of another kind"),
        };
        if self.body.hash != signature.body_hash {
            return Err((Verdict::Fail, "the body is not as it was signed"));
        }
        let is_right = match key {
            Key::Rsa(_, bits) if bits < policy.rsa_bits => {
                return refuse("the RSA key is too short");
            }
            Key::Rsa(_, bits) if bits > policy.rsa_bits_max => {
                return refuse("the RSA key is too long");
            }
            Key::Rsa(key, _) => {
                memo.or_check(key, || crypto.rsa(key, digest, &signature.signature))
            }
            // RFC 8463 3: what is signed is the digest.
            Key::Ed25519(key) => {
                memo.or_check(key, || crypto.ed25519(key, digest, &signature.signature))
            }
        };
        if !is_right {
            return Err((Verdict::Fail, "the header is not as it was signed"));
        }
        if is_sha1 {
            return refuse("rsa-sha1 proves nothing any more (RFC 8301)");
        }
        if report.unsigned_octets > 0 && !policy.unsigned_tail {
            return Err((Verdict::Policy, "the end of the body is not signed (l=)"));
        }
        Ok(())
    }
}

fn question(signature: &Signature) -> Option<Question> {
    KeyRecord::question(&signature.selector, &signature.domain)
}

fn unusable(value: &[u8], what: &'static str) -> Candidate {
    Candidate::Unusable(Claims::read(value), Verdict::PermError, what)
}

fn report(claims: Claims, verdict: Verdict, problem: Option<&'static str>) -> Report {
    Report {
        verdict,
        claims,
        problem,
        key_bits: None,
        weak: false,
        testing: false,
        unsigned_octets: 0,
        ttl: 0,
        authentic: false,
    }
}

/// A header, field by field. Only CRLF ends a line here: DKIM sees what SMTP carried.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) all: Vec<Field<'a>>,
    /// Places of each name, in lower case.
    by_name: BTreeMap<Vec<u8>, Vec<usize>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) raw: &'a [u8],
    colon: usize,
}

impl<'a> Field<'a> {
    fn name(&self) -> &'a [u8] {
        self.raw
            .get(..self.colon)
            .unwrap_or_default()
            .trim_ascii_end()
    }

    fn value(&self) -> &'a [u8] {
        self.raw.get(self.colon + 1..).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn split(header: &'a [u8]) -> Self {
        let mut fields = Self {
            all: Vec::new(),
            by_name: BTreeMap::new(),
        };
        let mut rest = header;
        while !rest.is_empty() && !rest.starts_with(b"\r\n") {
            let (raw, behind) = rest.split_at(field_len(rest));
            rest = behind;
            let colon = raw.iter().position(|b| *b == b':').unwrap_or(raw.len());
            let field = Field { raw, colon };
            let places = fields
                .by_name
                .entry(field.name().to_ascii_lowercase())
                .or_default();
            places.push(fields.all.len());
            fields.all.push(field);
        }
        fields
    }

    /// How often a field stands there.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.places(name).len()
    }

    /// Whether a From field has something like an address: without one nobody vouches for anybody.
    fn has_author(&self) -> bool {
        let mut from = self
            .places("from")
            .iter()
            .filter_map(|place| self.all.get(*place));
        from.any(|field| field.value().contains(&b'@'))
    }

    fn places(&self, name: &str) -> &[usize] {
        let places = self.by_name.get(name.to_ascii_lowercase().as_bytes());
        places.map_or(&[], Vec::as_slice)
    }

    /// The hash of what was signed (RFC 6376 3.7): each name takes the last field that no earlier one took.
    fn digest(&self, signature: &Signature, own: usize) -> Vec<u8> {
        let mut hash = Hasher::new(signature.algorithm);
        self.feed(
            signature.signed.iter().map(alloc::string::String::as_str),
            signature.header,
            Some(own),
            &mut hash,
        );
        let raw = self.all.get(own).map(|field| field.raw).unwrap_or_default();
        let mut field = Vec::new();
        canonical::header(signature.header, &without_b(raw), &mut field);
        hash.update(field.strip_suffix(b"\r\n").unwrap_or(&field));
        hash.finish()
    }

    /// Hashes the signed fields. `own` is the place of the signature itself, which is never one of them (RFC 6376 5.4):
    /// the names in h= stand for other signatures.
    pub(crate) fn feed<'n>(
        &self,
        signed: impl Iterator<Item = &'n str>,
        kind: crate::Canonical,
        own: Option<usize>,
        hash: &mut Hasher,
    ) {
        // How many of each name are left, counted from the first one.
        let mut left: BTreeMap<Vec<u8>, &[usize]> = BTreeMap::new();
        let mut text = Vec::new();
        for name in signed {
            let name = name.to_ascii_lowercase().into_bytes();
            let left = match left.entry(name) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let places = self.by_name.get(new.key()).map_or(&[][..], Vec::as_slice);
                    new.insert(places)
                }
            };
            let mut place = None;
            while let Some((last, others)) = left.split_last() {
                *left = others;
                if own != Some(*last) {
                    place = Some(*last);
                    break;
                }
            }
            if let Some(field) = place.and_then(|place| self.all.get(place)) {
                text.clear();
                canonical::header(kind, field.raw, &mut text);
                hash.update(&text);
            }
        }
    }
}

/// Octets of the first field with its last CRLF.
fn field_len(rest: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let line = rest.get(at..).unwrap_or_default();
        match line.windows(2).position(|two| two == b"\r\n") {
            None => return rest.len(),
            Some(end) => at += end + 2,
        }
        if !matches!(rest.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
}

/// The signature's field with the value of b= taken out (RFC 6376 3.7), everything else as it is.
fn without_b(raw: &[u8]) -> Vec<u8> {
    let colon = raw.iter().position(|b| *b == b':').map_or(0, |at| at + 1);
    let mut at = colon;
    for spec in raw.get(colon..).unwrap_or_default().split(|b| *b == b';') {
        let equals = spec.iter().position(|b| *b == b'=');
        if let Some(equals) = equals
            && spec
                .get(..equals)
                .is_some_and(|name| name.trim_ascii() == b"b")
        {
            let line_end = if at + spec.len() == raw.len() && raw.ends_with(b"\r\n") {
                2
            } else {
                0
            };
            let mut left = raw.get(..=at + equals).unwrap_or_default().to_vec();
            left.extend_from_slice(raw.get(at + spec.len() - line_end..).unwrap_or_default());
            return left;
        }
        at += spec.len() + 1;
    }
    raw.to_vec()
}
