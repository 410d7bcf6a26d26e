//! What public keys do: handed in, so that an embedder may bring its own.

use alloc::vec::Vec;
use core::fmt;

use crate::{Algorithm, PublicKey};

/// Checks signatures. Pure computation, 25 to 100 microseconds each.
pub trait Verify: fmt::Debug + Sync {
    /// Whether `signature` is that of a digest (SHA-1 when it has 20 octets, else SHA-256) by PKCS #1 version 1.5. `key` is a
    /// DER RSAPublicKey of 1,024 to 8,192 bits.
    fn rsa(&self, key: &[u8], digest: &[u8], signature: &[u8]) -> bool;
    /// Whether `signature` is that of `message` by Ed25519.
    fn ed25519(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool;
}

/// A private key. RSA takes about a millisecond: a job for a pool.
pub trait Sign: fmt::Debug + Send + Sync {
    /// What it makes.
    fn algorithm(&self) -> Algorithm;
    /// What to publish.
    fn public_key(&self) -> PublicKey;
    /// Signs a SHA-256 digest; `None` when the key cannot.
    fn sign(&self, digest: &[u8; 32]) -> Option<Vec<u8>>;
}
