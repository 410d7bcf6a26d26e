//! Body hashes: each canonical form is made once, whatever the number of signatures.

use alloc::vec::Vec;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::canonical::BodyCanonicalizer;
use crate::{Algorithm, Canonical};

/// A running hash.
#[derive(Debug, Clone)]
pub(crate) enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::RsaSha1 => Self::Sha1(Sha1::new()),
            Algorithm::RsaSha256 | Algorithm::Ed25519Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
        }
    }
}

/// What of a body is hashed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) canonical: Canonical,
    pub(crate) is_sha1: bool,
    /// Octets of the canonical body; all when `None`.
    pub(crate) length: Option<u64>,
}

/// A body hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyHash {
    pub(crate) hash: Vec<u8>,
    /// Octets of the whole canonical body.
    pub(crate) total: u64,
}

/// All hashes that are wanted of one body.
#[derive(Debug, Default)]
pub(crate) struct BodyHashes {
    forms: Vec<Form>,
    wanted: Vec<Want>,
}

#[derive(Debug)]
struct Form {
    canonicalizer: BodyCanonicalizer,
    kind: Canonical,
    total: u64,
    hashes: Vec<(Want, Hasher)>,
}

impl Form {
    fn give(total: &mut u64, hashes: &mut [(Want, Hasher)], bytes: &[u8]) {
        for (want, hash) in hashes {
            let room = want
                .length
                .map_or(u64::MAX, |length| length.saturating_sub(*total));
            let taken = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            hash.update(bytes.get(..taken).unwrap_or_default());
        }
        *total = total.saturating_add(bytes.len() as u64);
    }
}

impl BodyHashes {
    /// Wants one more hash; its place in what [`finish`](Self::finish) gives.
    pub(crate) fn want(&mut self, want: Want) -> usize {
        if let Some(place) = self.wanted.iter().position(|known| *known == want) {
            return place;
        }
        self.wanted.push(want);
        let algorithm = if want.is_sha1 {
            Algorithm::RsaSha1
        } else {
            Algorithm::RsaSha256
        };
        let hash = (want, Hasher::new(algorithm));
        match self
            .forms
            .iter_mut()
            .find(|form| form.kind == want.canonical)
        {
            Some(form) => form.hashes.push(hash),
            None => self.forms.push(Form {
                canonicalizer: BodyCanonicalizer::new(want.canonical),
                kind: want.canonical,
                total: 0,
                hashes: Vec::from([hash]),
            }),
        }
        self.wanted.len() - 1
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for Form {
            canonicalizer,
            total,
            hashes,
            ..
        } in &mut self.forms
        {
            canonicalizer.push(bytes, &mut |piece| Form::give(total, hashes, piece));
        }
    }

    /// The hashes in the order they were wanted.
    pub(crate) fn finish(self) -> Vec<BodyHash> {
        let mut done = Vec::new();
        for Form {
            canonicalizer,
            mut total,
            mut hashes,
            ..
        } in self.forms
        {
            canonicalizer.finish(&mut |piece| Form::give(&mut total, &mut hashes, piece));
            done.extend(hashes.into_iter().map(|(want, hash)| {
                (
                    want,
                    BodyHash {
                        hash: hash.finish(),
                        total,
                    },
                )
            }));
        }
        let find = |want: &Want| {
            done.iter()
                .find(|(known, _)| known == want)
                .map(|(_, hash)| hash.clone())
        };
        self.wanted.iter().filter_map(find).collect()
    }
}
