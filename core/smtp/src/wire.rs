//! The words of SMTP: commands, parameters, replies, and the two framings of a message. Usable alone.

mod base64;
mod bdat;
mod command;
mod dots;
mod dsn;
mod hold;
mod params;
mod path;
mod reply;

pub use base64::{decode as base64_decode, encode as base64_encode};
pub use bdat::{LineCheck, plain_run};
pub use command::{Command, NotCommand, PathArgument, number, split_verb};
pub use dots::{DotReader, DotWriter, Fault, Piece};
pub use dsn::{ENVELOPE_ID_MAX, MailDsn, Notify, ORIGINAL_MAX, RcptDsn, Return};
pub use hold::hold;
pub use params::{BadParam, Param, Params, xtext_decode, xtext_encode};
pub use path::{NotPath, forward_path, reverse_path};
pub use reply::{REPLY_LINE, ReplyError, ReplyLimits, ReplyReader, encode as encode_reply};
