//! Values that must never reach a log, a trace or a capture.

use core::fmt;

/// A value that does not show itself, in any build.
///
/// It has no `Deref`: whoever reads it writes [`expose`](Self::expose) where a reviewer sees it.
#[derive(Clone)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, for the one place that needs it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Compares in time that depends on the lengths only.
impl<T: AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_ref(), other.0.as_ref());
        let difference = a
            .iter()
            .zip(b)
            .fold(0, |difference, (x, y)| difference | (x ^ y));
        a.len() == b.len() && core::hint::black_box(difference) == 0
    }
}

impl<T: AsRef<[u8]>> Eq for Secret<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_secret_never_shows_itself_and_compares_by_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
        assert!(Secret::new("a") == Secret::new("a"));
        assert!(Secret::new("a") != Secret::new("b"));
        assert!(Secret::new("a") != Secret::new("ab"));
    }
}
