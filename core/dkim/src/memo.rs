//! What a check of a signature came to, so that it is not made again when its inquiry runs again.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use sha2::{Digest, Sha256};

/// The outcome with the first key that was tried. Another key is checked each time.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    state: AtomicU8,
    /// The SHA-256 of the key.
    key: [AtomicU32; 8],
}

const EMPTY: u8 = 0;
const BEING_WRITTEN: u8 = 1;
const WRONG: u8 = 2;
const RIGHT: u8 = 3;

impl Memo {
    /// The outcome for a key, by `check` unless it is known.
    pub(crate) fn or_check(&self, key: &[u8], check: impl FnOnce() -> bool) -> bool {
        let digest = Sha256::digest(key);
        let mut words = digest.chunks_exact(4).map(|four| {
            four.iter()
                .fold(0, |word, octet| word << 8 | u32::from(*octet))
        });
        let state = self.state.load(Ordering::Acquire);
        if state >= WRONG {
            let is_same = words.eq(self.key.iter().map(|word| word.load(Ordering::Relaxed)));
            return if is_same { state == RIGHT } else { check() };
        }
        let is_right = check();
        // Whoever comes first writes; what is written never changes.
        let first =
            self.state
                .compare_exchange(EMPTY, BEING_WRITTEN, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_ok() {
            for (slot, word) in self.key.iter().zip(&mut words) {
                slot.store(word, Ordering::Relaxed);
            }
            let state = if is_right { RIGHT } else { WRONG };
            self.state.store(state, Ordering::Release);
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    #[test]
    fn the_first_key_is_checked_once_and_others_each_time() {
        let memo = Memo::default();
        let checked = RefCell::new(Vec::new());
        let ask = |key: &'static [u8], answer| {
            memo.or_check(key, || {
                checked.borrow_mut().push(key);
                answer
            })
        };
        assert!(ask(b"one", true));
        assert!(ask(b"one", false), "known");
        assert!(!ask(b"two", false));
        assert!(ask(b"two", true), "not kept");
        assert!(ask(b"one", false));
        assert_eq!(*checked.borrow(), [&b"one"[..], b"two", b"two"]);
        let memo = Memo::default();
        assert!(!memo.or_check(b"one", || false));
        assert!(!memo.or_check(b"one", || true));
    }
}
