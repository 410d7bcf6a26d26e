//! RSA and Ed25519 by aws-lc-rs.

use alloc::vec::Vec;
use aws_lc_rs::digest::{Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_SHA256, RsaKeyPair,
    UnparsedPublicKey,
};
use core::fmt;

use crate::{Algorithm, PublicKey, Sign, Verify};

/// Checks signatures with aws-lc-rs.
#[derive(Debug, Clone, Copy, Default)]
pub struct AwsLc;

impl Verify for AwsLc {
    fn rsa(&self, key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
        let is_sha1 = digest.len() == 20;
        let hash = if is_sha1 {
            &SHA1_FOR_LEGACY_USE_ONLY
        } else {
            &SHA256
        };
        let scheme = if is_sha1 {
            &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY
        } else {
            &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
        };
        let Ok(digest) = Digest::import_less_safe(digest, hash) else {
            return false;
        };
        UnparsedPublicKey::new(scheme, key)
            .verify_digest(&digest, signature)
            .is_ok()
    }

    fn ed25519(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, key)
            .verify(message, signature)
            .is_ok()
    }
}

/// Why a private key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// It is no PKCS #8 key of the kind, or out of range.
    Rejected,
    /// An RSA key of less than 2,048 bits.
    TooShort,
    /// No key could be made.
    NotMade,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected => "not a private key in PKCS #8 of a kind that signs mail: RSA of 2048 bits or more, or Ed25519",
            Self::TooShort => "an RSA key of less than 2048 bits",
            Self::NotMade => "no key could be made",
        })
    }
}

impl core::error::Error for KeyError {}

/// An RSA private key.
pub struct RsaKey(RsaKeyPair);

impl RsaKey {
    /// Makes a key of 2,048 bits: what receivers take and TXT records hold.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        RsaKeyPair::generate(KeySize::Rsa2048)
            .map(Self)
            .map_err(|_| KeyError::NotMade)
    }

    /// From DER of PKCS #8.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        RsaKeyPair::from_pkcs8(der).map(Self).map_err(|e| {
            // aws-lc-rs tells it by this word only.
            match e.description_() {
                "TooSmall" => KeyError::TooShort,
                _ => KeyError::Rejected,
            }
        })
    }

    /// As DER of PKCS #8. Secret.
    ///
    /// # Errors
    /// When the key cannot be written.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, KeyError> {
        self.0
            .as_der()
            .map(|der| der.as_ref().to_vec())
            .map_err(|_| KeyError::Rejected)
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaKey(..)")
    }
}

impl Sign for RsaKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RsaSha256
    }

    fn public_key(&self) -> PublicKey {
        // The form that every verifier reads is the SubjectPublicKeyInfo.
        let der = self.0.public_key().as_der();
        PublicKey::Rsa(der.map(|der| der.as_ref().to_vec()).unwrap_or_default())
    }

    fn sign(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let digest = Digest::import_less_safe(digest, &SHA256).ok()?;
        let mut signature = alloc::vec![0; self.0.public_modulus_len()];
        self.0
            .sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature)
            .ok()?;
        Some(signature)
    }
}

/// An Ed25519 private key.
pub struct Ed25519Key(Ed25519KeyPair);

impl Ed25519Key {
    /// Makes a key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        Ed25519KeyPair::generate()
            .map(Self)
            .map_err(|_| KeyError::NotMade)
    }

    /// From its seed: every seed is a key.
    ///
    /// # Errors
    /// When the library refuses it.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| KeyError::Rejected)
    }

    /// From DER of PKCS #8, version 1 or 2.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(Self)
            .map_err(|_| KeyError::Rejected)
    }

    /// As DER of PKCS #8 version 1, which every tool reads. Secret.
    ///
    /// # Errors
    /// When the key cannot be written.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, KeyError> {
        self.0
            .to_pkcs8v1()
            .map(|der| der.as_ref().to_vec())
            .map_err(|_| KeyError::Rejected)
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ed25519Key(..)")
    }
}

impl Sign for Ed25519Key {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Ed25519Sha256
    }

    fn public_key(&self) -> PublicKey {
        PublicKey::Ed25519(self.0.public_key().as_ref().try_into().unwrap_or_default())
    }

    fn sign(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        self.0
            .try_sign(digest)
            .ok()
            .map(|signature| signature.as_ref().to_vec())
    }
}
