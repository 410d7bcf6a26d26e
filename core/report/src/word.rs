//! Words of a list that is known, and the others.

/// What may have text of a stranger in it.
pub(crate) trait Kept {
    /// Octets that the text takes beside the value itself, roughly: the least that allocators give out is more than a letter.
    fn kept(&self) -> usize;
}

impl Kept for Box<str> {
    fn kept(&self) -> usize {
        match self.len() {
            0 => 0,
            octets => (octets + 8).next_multiple_of(16).max(32),
        }
    }
}

/// An enumeration of known words. Case and the space around a word do not matter; a word that is not known is kept.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// Anything else. Somebody else wrote it: not for metrics.
            Other(Box<str>),
        }

        impl $name {
            /// From a report's text.
            pub fn parse(text: &str) -> Self {
                let text = text.trim();
                $(if text.eq_ignore_ascii_case($text) {
                    return Self::$variant;
                })+
                Self::Other(text.into())
            }

            /// As reports spell it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl $crate::word::Kept for $name {
            fn kept(&self) -> usize {
                match self {
                    Self::Other(text) => text.kept(),
                    _ => 0,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(from)?;
                Ok(Self::parse(&text))
            }
        }
    };
}

pub(crate) use words;
