//! What is configurable, and every limit with its default.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::wire::{FrameLimits, ParseLimits};

/// What an IMAP server is told about itself. Shared by all sessions of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// In the greeting and in the answer to ID.
    pub product: String,
    /// In the answer to ID; left out when empty.
    pub version: String,
    /// There is a certificate: STARTTLS is offered.
    pub starttls: bool,
    /// Passwords may be sent without TLS.
    pub clear_auth: bool,
    /// SASL mechanisms in upper case, best first. Those that show the password are offered only where it is
    /// safe; those that end in -PLUS only inside TLS, EXTERNAL only where the client has a certificate.
    /// Where there are some, and neither PLAIN nor LOGIN among them, the command LOGIN is not taken either.
    pub mechanisms: Vec<String>,
    /// Capabilities that are neither offered nor obeyed, of [`CAPABILITIES`](super::CAPABILITIES), in any case: for
    /// clients that do not get on with them.
    pub without: Vec<String>,
    /// COMPRESS=DEFLATE is offered.
    pub compress: bool,
    /// Limits.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            product: "mox".into(),
            version: String::new(),
            starttls: false,
            clear_auth: false,
            mechanisms: ["SCRAM-SHA-256", "PLAIN"].map(Into::into).into(),
            without: Vec::new(),
            compress: false,
            limits: Limits::default(),
        }
    }
}

/// Limits of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a line before login. A longer one ends the session.
    pub line_unauthenticated: usize,
    /// Octets of a line after login. A longer one ends the session.
    pub line: usize,
    /// Octets of an argument literal before login: NO TOOBIG.
    pub literal_unauthenticated: u64,
    /// Octets of an argument literal after login: NO TOOBIG.
    pub literal: u64,
    /// Octets of a whole command without an APPEND's message: NO TOOBIG.
    pub command: usize,
    /// Octets of a message in APPEND: NO TOOBIG.
    pub append: u64,
    /// Octets of a refused literal that are skipped before login; a longer one ends the session. After login it is
    /// `append`.
    pub skip_unauthenticated: u64,
    /// Octets of an APPEND in `Piece` asks that are not answered yet.
    pub window: usize,
    /// Limits of the grammar.
    pub parse: ParseLimits,
    /// Commands answered BAD before the session is ended.
    pub bad_commands: u16,
    /// Refused logins before the session is ended.
    pub auth_failures: u16,
    /// How long a client may take to log in, from the start.
    pub auth_timeout: Duration,
    /// How long a client may be silent after login (RFC 3501 5.4: at least 30 minutes).
    pub idle_timeout: Duration,
    /// Rows in a page of FETCH; fewer when bodies are fetched.
    pub page: u32,
    /// Rows in a page when opening a body marks its message as seen.
    pub body_page: u32,
    /// Messages that one command takes (RFC 9738), of which a server should not take fewer than 1,000; 0 is no limit, and
    /// then MESSAGELIMIT is not offered.
    pub messages: u32,
    /// Messages in one APPEND, each part of one that is put together counting as one: NO LIMIT.
    pub append_parts: u32,
    /// Searches of a mailbox that are kept up to date: NOUPDATE.
    pub contexts: u32,
    /// Octets of the value of an annotation: NO METADATA MAXSIZE.
    pub annotation: u32,
    /// Mailboxes searched by one ESEARCH: NO LIMIT.
    pub search_mailboxes: u32,
    /// Mailboxes of an account whose changes are told (RFC 5465); with more NOTIFY is refused, or ends.
    pub notify_mailboxes: u32,
    /// Octets of the names of annotations that are compared for NOTIFY; beyond, it ends in the same way.
    pub notify_annotations: u32,
    /// How long a command may be silent before the client is told that it goes on (RFC 9585).
    pub progress: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_unauthenticated: 8 * 1024,
            line: 64 * 1024,
            literal_unauthenticated: 4 * 1024,
            literal: 64 * 1024,
            command: 256 * 1024,
            append: 100 * 1024 * 1024,
            skip_unauthenticated: 64 * 1024,
            window: 256 * 1024,
            parse: ParseLimits::default(),
            bad_commands: 10,
            auth_failures: 5,
            auth_timeout: Duration::from_secs(3 * 60),
            idle_timeout: Duration::from_secs(30 * 60),
            page: 500,
            body_page: 64,
            messages: 0,
            append_parts: 500,
            contexts: 16,
            annotation: 32 * 1024,
            search_mailboxes: 1_000,
            notify_mailboxes: 1_000,
            notify_annotations: 256 * 1024,
            progress: Duration::from_secs(10),
        }
    }
}

impl Limits {
    pub(super) fn frame(&self, authenticated: bool) -> FrameLimits {
        FrameLimits {
            line: if authenticated {
                self.line
            } else {
                self.line_unauthenticated
            },
            command: self.command,
            skip: if authenticated {
                self.append
            } else {
                self.skip_unauthenticated
            },
        }
    }

    pub(super) fn argument(&self, authenticated: bool) -> u64 {
        if authenticated {
            self.literal
        } else {
            self.literal_unauthenticated
        }
    }
}
