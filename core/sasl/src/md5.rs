//! MD5 (RFC 1321), for CRAM-MD5 and nothing else: its state can be stored between two blocks, so that a server need not
//! keep the password itself.

use core::fmt;

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

/// RFC 1321 3.4: how far each step of a round turns.
const TURNS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// RFC 1321 3.4: 4294967296 times abs(sin(i)), i in radians from 1 to 64.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

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
        let mut words = [0; 16];
        for (word, octets) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*octets);
        }
        let [mut a, mut b, mut c, mut d] = self.0;
        for (step, sine) in SINES.iter().enumerate() {
            let (mixed, word) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let word = words.get(word % 16).copied().unwrap_or_default();
            let turn = TURNS.get(step / 16).and_then(|round| round.get(step % 4));
            let turned = a
                .wrapping_add(mixed)
                .wrapping_add(*sine)
                .wrapping_add(word)
                .rotate_left(turn.copied().unwrap_or_default());
            (a, d, c, b) = (d, c, b, b.wrapping_add(turned));
        }
        for (sum, part) in self.0.iter_mut().zip([a, b, c, d]) {
            *sum = sum.wrapping_add(part);
        }
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
