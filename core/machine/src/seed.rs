//! Randomness as a tree: every user has a seed of its own, so one more draw here changes nothing there.

use core::fmt;

/// 32 bytes from which a whole tree of independent seeds and random streams follows.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from 32 random (or chosen) bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed for tests and simulations, from a number.
    pub fn from_number(n: u64) -> Self {
        Self(blake3::derive_key("mox seed from number", &n.to_le_bytes()))
    }

    /// The `n`-th child named `label`: keyed blake3 of both, so siblings tell nothing about each other.
    pub fn child(&self, label: &str, n: u64) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&n.to_le_bytes());
        hasher.update(label.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// The random stream of this seed, from its start.
    pub fn rng(&self) -> Rng {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"rng");
        Rng(hasher.finalize_xof())
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Secrets are derived from seeds, so a seed is never shown.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A stream of random bytes and numbers.
#[derive(Clone)]
pub struct Rng(blake3::OutputReader);

impl Rng {
    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }

    /// Any 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        let mut b = [0; 8];
        self.fill(&mut b);
        u64::from_le_bytes(b)
    }

    /// A number from 0 to `bound - 1`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of a 128-bit product is below 2^-64 times the bound: not observable.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True once in `n` times on average; never when `n` is 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_differ_by_label_and_number_and_repeat() {
        let root = Seed::from_number(7);
        assert_eq!(root.child("a", 1), root.child("a", 1));
        assert_ne!(root.child("a", 1), root.child("a", 2));
        assert_ne!(root.child("a", 1), root.child("b", 1));
        assert_eq!(root.rng().next_u64(), root.rng().next_u64());
    }

    #[test]
    fn below_stays_below_its_bound_and_reaches_every_value() {
        let mut rng = Seed::from_number(1).rng();
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            seen[rng.below(10) as usize] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(rng.below(0), 0);
    }
}
