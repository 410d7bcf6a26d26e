//! Lists that grow by pieces: nothing that is in them is ever moved, and what they take of the memory is known.

use alloc::vec::Vec;

/// Octets of the first piece, and of the largest that is made ahead of what comes.
const FIRST: usize = 1_024;
const LARGEST: usize = 64 * 1_024;
/// The place of a piece in the list of pieces, which is up to twice as long as it has to be, and there twice while it grows.
const PLACE: usize = 4;

/// What comes together lies together.
pub(crate) struct Pieces<T>(Vec<Vec<T>>);

impl<T> Pieces<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Items of the piece that has to be made for so many more; 0 when they have room. `ahead`: for others as well.
    pub(crate) fn wanted(&self, more: usize, ahead: bool) -> usize {
        let last = self.0.last();
        let free = last.map_or(0, |piece| piece.capacity() - piece.len());
        if more <= free {
            return 0;
        }
        if !ahead {
            return more;
        }
        let items = |octets: usize| (octets / size_of::<T>().max(1)).max(1);
        let double = last.map_or(0, |piece| piece.capacity().saturating_mul(2));
        double.clamp(items(FIRST), items(LARGEST)).max(more)
    }

    /// Octets of memory that a piece of so many items takes.
    pub(crate) fn cost(items: usize) -> usize {
        match items {
            0 => 0,
            _ => items
                .saturating_mul(size_of::<T>())
                .saturating_add(PLACE * size_of::<Vec<T>>()),
        }
    }

    /// Makes a piece of so many items.
    pub(crate) fn make(&mut self, items: usize) {
        if items > 0 {
            self.0.push(Vec::with_capacity(items));
        }
    }

    /// The piece that there was made room in.
    pub(crate) fn last(&mut self) -> Option<&mut Vec<T>> {
        self.0.last_mut()
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[T]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Octets of memory that it takes, as its lists tell.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        let inside = self.0.iter().map(|piece| piece.capacity() * size_of::<T>());
        inside.sum::<usize>() + self.0.capacity() * size_of::<Vec<T>>()
    }
}
