//! What is learned of a word.

/// What a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Wanted.
    Ham,
    /// Junk.
    Spam,
}

impl Class {
    /// `ham` or `spam`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ham => "ham",
            Self::Spam => "spam",
        }
    }
}

/// Messages of each class: those a word was in, or all that were learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Wanted ones.
    pub ham: u32,
    /// Junk.
    pub spam: u32,
}

impl Counts {
    /// One more message of this class.
    pub fn add(&mut self, class: Class) {
        let count = self.of(class);
        *count = count.saturating_add(1);
    }

    /// One message of this class less. Nothing is less than nothing.
    pub fn remove(&mut self, class: Class) {
        let count = self.of(class);
        *count = count.saturating_sub(1);
    }

    /// Nothing is known: there is no need to keep it.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn of(&mut self, class: Class) -> &mut u32 {
        match class {
            Class::Ham => &mut self.ham,
            Class::Spam => &mut self.spam,
        }
    }
}
