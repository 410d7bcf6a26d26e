//! HMAC and key derivation over the two hashes of SCRAM.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hmac::Hmac;
use hmac::digest::{Digest, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// One of SCRAM's hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    pub(crate) fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
        }
    }

    pub(crate) fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(&keyed(key), &[data]).to_vec(),
            Self::Sha256 => mac::<Hmac<Sha256>>(&keyed(key), &[data]).to_vec(),
        }
    }

    /// `Hi` of RFC 5802 2.2: PBKDF2 with one block of output.
    pub(crate) fn hi(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha1 => pbkdf2::<Hmac<Sha1>>(password, salt, iterations),
            Self::Sha256 => pbkdf2::<Hmac<Sha256>>(password, salt, iterations),
        }
    }
}

fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac<M: Mac + Clone>(keyed: &M, parts: &[&[u8]]) -> hmac::digest::Output<M> {
    let mut mac = keyed.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes()
}

/// The first block of PBKDF2 (RFC 8018 5.2). The key is absorbed once, each round then takes two compressions.
fn pbkdf2<M: Mac + KeyInit + Clone>(password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
    let keyed: M = keyed(password);
    let mut round = mac(&keyed, &[salt, &1u32.to_be_bytes()]);
    let mut sum = round.clone();
    for _ in 1..iterations {
        round = mac(&keyed, &[&round]);
        for (sum, byte) in sum.iter_mut().zip(&round) {
            *sum ^= byte;
        }
    }
    sum.to_vec()
}

/// Compares in time that depends on the lengths only.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y));
    a.len() == b.len() && core::hint::black_box(difference) == 0
}

pub(crate) fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// In lower case, as CRAM-MD5 writes digests.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_derivation_gives_the_known_answers_of_rfc_6070_and_their_sha_256_counterparts() {
        let sha1 = |n| hex(&Hash::Sha1.hi(b"password", b"salt", n));
        assert_eq!(sha1(1), "0c60c80f961f0e71f3a9b524af6012062fe037a6");
        assert_eq!(sha1(2), "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957");
        assert_eq!(sha1(4096), "4b007901b765489abead49d926f721d065a429c1");
        let sha256 = |n| hex(&Hash::Sha256.hi(b"password", b"salt", n));
        assert_eq!(
            sha256(1),
            "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"
        );
        assert_eq!(
            sha256(4096),
            "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"
        );
    }

    #[test]
    fn comparison_sees_every_difference() {
        assert!(equal(b"abc", b"abc"));
        assert!(!equal(b"abc", b"abd"));
        assert!(!equal(b"abc", b"ab"));
        assert!(!equal(b"", b"a"));
    }
}
