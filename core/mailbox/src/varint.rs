//! Numbers of seven bits an octet, low ones first.

use crate::ReadError;

pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A difference that may be negative: small ones of either sign are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, (n.wrapping_shl(1) ^ (n >> 63)) as u64);
}

/// Reads what `put` wrote.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    table: &'static str,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8], table: &'static str) -> Self {
        Self { bytes, table }
    }

    pub(crate) fn damaged(&self) -> ReadError {
        ReadError(format!("a {} row is damaged", self.table))
    }

    pub(crate) fn byte(&mut self) -> Result<u8, ReadError> {
        let (first, rest) = self.bytes.split_first().ok_or_else(|| self.damaged())?;
        self.bytes = rest;
        Ok(*first)
    }

    /// The version byte, which must be the only one known.
    pub(crate) fn version(&mut self, known: u8) -> Result<(), ReadError> {
        let found = self.byte()?;
        if found == known {
            return Ok(());
        }
        Err(ReadError(format!(
            "a {} row has version {found}, which is not known",
            self.table
        )))
    }

    pub(crate) fn number(&mut self) -> Result<u64, ReadError> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(self.damaged())
    }

    pub(crate) fn number32(&mut self) -> Result<u32, ReadError> {
        u32::try_from(self.number()?).map_err(|_| self.damaged())
    }

    pub(crate) fn signed(&mut self) -> Result<i64, ReadError> {
        let n = self.number()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    pub(crate) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (head, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or_else(|| self.damaged())?;
        self.bytes = rest;
        Ok(*head)
    }

    pub(crate) fn end(&self) -> Result<(), ReadError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(self.damaged())
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_as_written() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let signed = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN];
        let mut out = Vec::new();
        numbers.iter().for_each(|&n| put(&mut out, n));
        signed.iter().for_each(|&n| put_signed(&mut out, n));
        let mut input = Input::new(&out, "test");
        for n in numbers {
            assert_eq!(input.number(), Ok(n));
        }
        for n in signed {
            assert_eq!(input.signed(), Ok(n));
        }
        assert_eq!(input.end(), Ok(()));
        assert!(input.byte().is_err());
    }

    #[test]
    fn short_numbers_are_short() {
        for (n, octets) in [(-1, 1), (63, 1), (64, 2), (-8_192, 2)] {
            let mut out = Vec::new();
            put_signed(&mut out, n);
            assert_eq!(out.len(), octets, "{n}");
        }
    }
}
