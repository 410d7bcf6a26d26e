//! MIME as a mail store needs it: the structure of a message with offsets, found while its bytes stream by.
//!
//! [`Walker`] takes the bytes of a message in any pieces and gives its [`Structure`]: what IMAP's BODYSTRUCTURE
//! and ENVELOPE show, and where each part begins and ends, so that a part is later one range of the stored bytes.
//! It never fails: what is broken is taken as well as it can be, and over a limit the rest is bytes of a leaf.
//!
//! ```
//! use mox_mime::{Limits, Section, Walker, locate};
//!
//! let message = b"Subject: hello\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b--\r\n";
//! let mut walker = Walker::new(Limits::default());
//! for piece in message.chunks(7) {
//!     walker.push(piece);
//! }
//! let structure = walker.finish();
//! assert_eq!(structure.envelope.subject.as_deref(), Some(&b"hello"[..]));
//! let range = locate(&structure.part, &[1], Section::All).unwrap();
//! assert_eq!(&message[range.start as usize..range.end as usize], b"first");
//! ```
#![no_std]

extern crate alloc;

mod address;
mod content;
mod date;
mod envelope;
pub mod header;
mod lexer;
mod limits;
mod scan;
mod section;
mod transfer;
mod types;
mod walker;
mod words;

pub use address::{addresses, addresses_and_doubt};
pub use date::Date;
pub use envelope::envelope;
pub use limits::Limits;
pub use section::{Parts, Section, locate, part_at, parts};
pub use transfer::{Base64Decoder, QuotedPrintableDecoder, TransferDecoder};
pub use types::{Envelope, Inside, Mailbox, Params, Part};
pub use walker::{Structure, Walker};
pub use words::{Charsets, basic_charset, decode_params, decode_words};
