//! HMAC-MD5 whose state is kept between two blocks (RFC 1321, RFC 2104), for CRAM-MD5 and nothing else: so a server need not
//! keep the password itself.

use core::fmt;
use core::slice::from_ref;

/// The state after a whole number of blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct State([u32; 4]);

/// HMAC-MD5 (RFC 2104) with its key already taken in. Whoever has it can log in with CRAM-MD5.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HmacMd5 {
    inner: State,
    outer: State,
}

const BLOCK: usize = 64;

impl HmacMd5 {
    /// For users who have none: no response fits it, since nobody knows a key that leads here.
    pub(crate) const NOBODY: Self = Self {
        inner: State([0; 4]),
        outer: State([0; 4]),
    };

    pub(crate) fn keyed(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        let digest;
        let key = if key.len() > BLOCK {
            digest = State::FIRST.digest(0, key);
            &digest
        } else {
            key
        };
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        let pad = |with: u8| {
            let mut state = State::FIRST;
            state.take(&block.map(|b| b ^ with));
            state
        };
        Self {
            inner: pad(0x36),
            outer: pad(0x5c),
        }
    }

    pub(crate) fn of(&self, message: &[u8]) -> [u8; 16] {
        self.outer.digest(1, &self.inner.digest(1, message))
    }
}

/// It stands for the password.
impl fmt::Debug for HmacMd5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacMd5").finish_non_exhaustive()
    }
}

impl State {
    /// RFC 1321 3.3.
    const FIRST: Self = Self([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]);

    /// The digest of `blocks` blocks that are taken in already and `rest` behind them.
    fn digest(mut self, blocks: u64, rest: &[u8]) -> [u8; 16] {
        let bits = (blocks * BLOCK as u64)
            .wrapping_add(rest.len() as u64)
            .wrapping_mul(8);
        let (whole, rest) = rest.as_chunks::<BLOCK>();
        for block in whole {
            self.take(block);
        }
        // RFC 1321 3.1 and 3.2: one bit, zeros, and the length at the end of a block.
        let mut last = [0; 2 * BLOCK];
        let two = rest.len() + 9 > BLOCK;
        let end = if two { 2 * BLOCK } else { BLOCK };
        let tail = rest.iter().chain(&[0x80]);
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let length = last.iter_mut().take(end).skip(end - 8);
        for (to, from) in length.zip(bits.to_le_bytes()) {
            *to = from;
        }
        let (padded, _) = last.as_chunks::<BLOCK>();
        for block in padded.iter().take(if two { 2 } else { 1 }) {
            self.take(block);
        }
        let mut out = [0; 16];
        let words = self.0.iter().flat_map(|word| word.to_le_bytes());
        for (to, from) in out.iter_mut().zip(words) {
            *to = from;
        }
        out
    }

    fn take(&mut self, block: &[u8; BLOCK]) {
        ::md5::block_api::compress(&mut self.0, from_ref(block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hex;
    use alloc::vec;

    #[test]
    fn the_digests_of_rfc_1321_come_out_as_printed() {
        for (message, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex(&State::FIRST.digest(0, message.as_bytes())), digest);
        }
    }

    #[test]
    fn the_codes_of_rfc_2202_come_out_as_printed() {
        for (key, message, code) in [
            (
                vec![0x0b; 16],
                "Hi There",
                "9294727a3638bb1c13f48ef8158bfc9d",
            ),
            (
                b"Jefe".to_vec(),
                "what do ya want for nothing?",
                "750c783e6ab0b503eaa86e310a5db738",
            ),
            (
                vec![0xaa; 80],
                "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
                "6f630fad67cda0ee1fb1f562db3aa53e",
            ),
        ] {
            assert_eq!(hex(&HmacMd5::keyed(&key).of(message.as_bytes())), code);
        }
    }
}
