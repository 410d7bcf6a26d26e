//! Finding and counting line feeds, the one thing done for every byte of a message.

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
const FEEDS: u64 = u64::from_ne_bytes([b'\n'; 8]);

/// Where the first LF is. Eight bytes at a time, because `position` looks at one.
pub(crate) fn find_lf(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        // A byte of `x` is zero where the word has an LF; the lowest top bit set marks the first such byte.
        let x = u64::from_le_bytes(*word) ^ FEEDS;
        let found = x.wrapping_sub(ONES) & !x & TOPS;
        if found != 0 {
            return Some(i * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|b| *b == b'\n')?;
    Some(words.len() * 8 + at)
}

/// How many LFs there are.
pub(crate) fn count_lf(bytes: &[u8]) -> u64 {
    // Sums of 255 bytes fit a byte, which lets the compiler count in vectors of bytes.
    bytes
        .chunks(255)
        .map(|c| u64::from(c.iter().fold(0u8, |n, b| n + u8::from(*b == b'\n'))))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn the_first_line_feed_is_found_at_every_place() {
        for len in 0..40 {
            let mut bytes = vec![b'\x0b'; len];
            assert_eq!(find_lf(&bytes), None);
            for at in (0..len).rev() {
                bytes[at] = b'\n';
                assert_eq!(find_lf(&bytes), Some(at));
                assert_eq!(count_lf(&bytes), (len - at) as u64);
            }
        }
        assert_eq!(count_lf(&vec![b'\n'; 1_000]), 1_000);
        assert_eq!(find_lf(b"\x8a\x8a\x8a\x8a\x09\x0b\x8a\x0a"), Some(7));
    }
}
