//! What is stored of a password.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use mox_machine::{Rng, Seed};

use crate::hash::{self, Hash};
use crate::md5::HmacMd5;
use crate::prepare::prepare_password;
use crate::{Failure, Mechanism};

/// How often a password is hashed. A compromise: a login costs the server one derivation with SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iterations {
    /// For SCRAM-SHA-256 and PLAIN: 20,000.
    pub sha256: u32,
    /// For SCRAM-SHA-1: 15,000.
    pub sha1: u32,
}

impl Iterations {
    /// For simulations and tests, where logins must cost nothing.
    pub const ONE: Self = Self { sha256: 1, sha1: 1 };
}

impl Default for Iterations {
    fn default() -> Self {
        Self {
            sha256: 20_000,
            sha1: 15_000,
        }
    }
}

/// What is stored of one password: a salt and two keys for each hash, from which nobody can log in (RFC 5802 section 9).
///
/// CRAM-MD5 has no such thing: what it needs is derived only on demand, and is not part of what serde writes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Credentials {
    sha256: Keys,
    sha1: Keys,
    /// Stored beside the others where there is one.
    #[cfg_attr(feature = "serde", serde(skip))]
    cram_md5: Option<HmacMd5>,
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Keys {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
}

/// Octets of a salt.
const SALT: usize = 16;

impl Credentials {
    /// Derives what is stored of a password; fresh salts come from `seed`. Takes milliseconds: run it as Compute.
    pub fn derive(password: &str, seed: &Seed, iterations: Iterations) -> Result<Self, Failure> {
        let password = prepare_password(password)?;
        let mut rng = seed.rng();
        let mut keys = |hash, iterations| {
            let salt = draw(&mut rng, SALT);
            Keys::derive(hash, password.as_bytes(), salt, iterations)
        };
        Ok(Self {
            sha256: keys(Hash::Sha256, iterations.sha256),
            sha1: keys(Hash::Sha1, iterations.sha1),
            cram_md5: None,
        })
    }

    /// The same with what CRAM-MD5 needs, from which whoever reads it can log in with CRAM-MD5.
    pub fn with_cram_md5(mut self, password: &str) -> Result<Self, Failure> {
        let password = prepare_password(password)?;
        self.cram_md5 = Some(HmacMd5::keyed(password.as_bytes()));
        Ok(self)
    }

    /// What CRAM-MD5 needs, to be stored beside the rest.
    pub fn cram_md5(&self) -> Option<&HmacMd5> {
        self.cram_md5.as_ref()
    }

    /// Puts back what [`cram_md5`](Self::cram_md5) gave.
    pub fn set_cram_md5(&mut self, stored: HmacMd5) {
        self.cram_md5 = Some(stored);
    }

    /// Credentials of a user who does not exist: always the same ones for the same name and server, so that asking twice
    /// tells nothing, and no password fits them. `seed` must outlive the process; `iterations` are those in use for real
    /// users; `user` is in the form in which users are looked up (of all names that mean one user, the same one).
    pub fn fake(seed: &Seed, user: &str, iterations: Iterations) -> Self {
        let mut rng = seed.child("sasl unknown user", 0).child(user, 0).rng();
        let mut keys = |length, iterations| Keys {
            salt: draw(&mut rng, SALT),
            iterations,
            stored_key: draw(&mut rng, length),
            server_key: draw(&mut rng, length),
        };
        Self {
            sha256: keys(32, iterations.sha256),
            sha1: keys(20, iterations.sha1),
            cram_md5: None,
        }
    }

    /// Whether this is the password. Takes milliseconds, the same for every password and every user: run it as Compute.
    pub fn verify(&self, password: &str) -> bool {
        let Ok(password) = prepare_password(password) else {
            return false;
        };
        let keys = &self.sha256;
        let derived = Keys::derive(
            Hash::Sha256,
            password.as_bytes(),
            keys.salt.clone(),
            keys.iterations,
        );
        hash::equal(&derived.stored_key, &keys.stored_key)
    }

    /// How often the password was hashed: below what is in use now, derive anew when the password is next seen.
    pub fn iterations(&self) -> Iterations {
        Iterations {
            sha256: self.sha256.iterations,
            sha1: self.sha1.iterations,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_salt(password: &str, salt: &[u8], iterations: u32) -> Self {
        let keys = |hash| Keys::derive(hash, password.as_bytes(), salt.to_vec(), iterations);
        Self {
            sha256: keys(Hash::Sha256),
            sha1: keys(Hash::Sha1),
            cram_md5: Some(HmacMd5::keyed(password.as_bytes())),
        }
    }

    /// RFC 2195 2. A user without it takes as long, and no response is right.
    pub(crate) fn answers(&self, challenge: &[u8], response: &[u8]) -> bool {
        let keyed = self.cram_md5.unwrap_or(HmacMd5::NOBODY);
        let right = hash::equal(hash::hex(&keyed.of(challenge)).as_bytes(), response);
        right && self.cram_md5.is_some()
    }

    pub(crate) fn keys(&self, mechanism: Mechanism) -> Option<&Keys> {
        mechanism.hash().map(|hash| match hash {
            Hash::Sha1 => &self.sha1,
            Hash::Sha256 => &self.sha256,
        })
    }
}

impl Keys {
    /// RFC 5802 section 3; `password` is prepared.
    fn derive(hash: Hash, password: &[u8], salt: Vec<u8>, iterations: u32) -> Self {
        let salted = hash.hi(password, &salt, iterations);
        Self {
            stored_key: hash.digest(&hash.hmac(&salted, b"Client Key")),
            server_key: hash.hmac(&salted, b"Server Key"),
            salt,
            iterations,
        }
    }
}

/// Whoever has the keys can pretend to be the server, or try passwords: they are not shown.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

fn draw(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes
}
