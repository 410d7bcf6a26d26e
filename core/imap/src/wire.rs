//! The words of IMAP: framing first, then grammar, then what responses are made of.
//!
//! [`Framer`] finds the end of a command from lines and literal announcements alone, also in garbage, so that the
//! bytes of a literal can never be taken for commands. [`Command::parse`] then reads the framed bytes.

mod append;
mod command;
mod cursor;
mod date;
mod encode;
mod fetch;
mod flags;
mod frame;
mod list;
mod metadata;
mod multisearch;
mod name;
mod notify;
mod pattern;
mod search;
mod select;
mod sequence;
mod span;
mod structure;
mod url;
mod verb;

pub use append::{AppendReader, AppendStep};
pub use command::{Command, IdPair, StoreArgs};
pub use cursor::{Known, Malformed, Numbers, ParseLimits};
pub use date::write_internal_date;
pub(crate) use encode::{put, put_number, put_text};
pub use encode::{write_astring, write_nstring, write_string, write_utf8_astring};
pub use fetch::{FetchArgs, FetchItem};
pub use flags::write_flags;
pub use frame::{Announced, FrameLimits, Framed, Framer};
pub use list::{ListArgs, ListReturn, ListSelect, StatusItem};
pub use metadata::{Depth, GetMetadata, SetMetadata};
pub use multisearch::{MultiSearchArgs, Source};
pub use name::{NameError, decode_name, decode_pattern, encode_name};
pub use notify::{Events, NotifySet, SelectedEvents};
pub use pattern::Patterns;
pub use search::{SearchArgs, SearchReturn, ThreadArgs};
pub use select::{Qresync, SelectParams};
pub use sequence::{OutOfRange, SequenceSet};
pub use span::Span;
pub(crate) use span::write_numbers;
pub use structure::{write_envelope, write_structure};
pub use url::MessageUrl;
pub use verb::{Allowed, Head, Verb};
