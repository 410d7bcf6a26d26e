//! The mechanisms, and how an exchange fails.

use crate::hash::Hash;
use core::fmt;

/// A SASL mechanism, from weakest to strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// LOGIN, never standardised: user name and password, each after a prompt.
    Login,
    /// PLAIN, RFC 4616.
    Plain,
    /// CRAM-MD5, RFC 2195: for old clients only. What a server stores for it lets whoever reads it log in.
    CramMd5,
    /// SCRAM-SHA-1, RFC 5802.
    ScramSha1,
    /// SCRAM-SHA-1-PLUS: bound to the TLS connection by `tls-exporter` (RFC 9266).
    ScramSha1Plus,
    /// SCRAM-SHA-256, RFC 7677.
    ScramSha256,
    /// SCRAM-SHA-256-PLUS: bound to the TLS connection by `tls-exporter` (RFC 9266).
    ScramSha256Plus,
    /// EXTERNAL, RFC 4422 Appendix A: the client is who its certificate says, and there is no password.
    External,
}

impl Mechanism {
    /// All, in the order a server should offer them: strongest first.
    pub const ALL: [Self; 8] = [
        Self::External,
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
    ];

    /// What a server offers unless it is told otherwise: all but CRAM-MD5, for which more must be stored, and EXTERNAL,
    /// for which clients need certificates.
    pub const USUAL: [Self; 6] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::Plain,
        Self::Login,
    ];

    /// By its registered name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|m| m.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::Plain => "PLAIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::External => "EXTERNAL",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// The password itself crosses the wire: offer it under TLS only. The server's
    /// [`credentials`](crate::ServerExchange::credentials) then derives keys, which takes milliseconds.
    pub const fn sends_password(self) -> bool {
        matches!(self, Self::Login | Self::Plain)
    }

    /// The server speaks first: there is no initial response.
    pub const fn server_begins(self) -> bool {
        matches!(self, Self::Login | Self::CramMd5)
    }

    /// Needs the `tls-exporter` value of the connection.
    pub const fn is_bound(self) -> bool {
        matches!(self, Self::ScramSha1Plus | Self::ScramSha256Plus)
    }

    /// The hash of a SCRAM mechanism.
    pub(crate) const fn hash(self) -> Option<Hash> {
        match self {
            Self::Login | Self::Plain | Self::CramMd5 | Self::External => None,
            Self::ScramSha1 | Self::ScramSha1Plus => Some(Hash::Sha1),
            Self::ScramSha256 | Self::ScramSha256Plus => Some(Hash::Sha256),
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an exchange failed.
///
/// On the server side [`Malformed`](Self::Malformed) and the binding errors are the client's bugs (SMTP 501 5.5.2, IMAP
/// BAD); everything else is one and the same refusal (SMTP 535 5.7.8, IMAP NO `[AUTHENTICATIONFAILED]`), so that nobody
/// learns which users exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The other side's message is not one of this mechanism, or it is too long.
    Malformed,
    /// Wrong password, unknown user, or acting as somebody else was asked for.
    WrongCredentials,
    /// A user name or password that is empty, too long, or has control characters.
    NotPrepared,
    /// What the client bound to is not this TLS connection: somebody may sit in between.
    BindingMismatch,
    /// The client believes we have no channel binding, though it was offered: somebody may have removed it from the list.
    BindingDowngrade,
    /// The mechanism needs a channel binding and there is none, or one was used that the mechanism does not have.
    BindingUnsupported,
    /// A channel binding other than `tls-exporter`.
    BindingTypeUnsupported,
    /// A mandatory extension (`m=`); none are known.
    ExtensionUnsupported,
    /// Client side: the server does not know our password, though it says that we are in.
    ServerNotAuthentic,
    /// Client side: an iteration count outside of what we accept.
    Iterations,
}

impl Failure {
    /// The word of RFC 5802 section 7, `server-error-value`.
    pub(crate) const fn scram_word(self) -> &'static str {
        match self {
            Self::Malformed | Self::NotPrepared => "invalid-encoding",
            Self::WrongCredentials => "invalid-proof",
            Self::BindingMismatch => "channel-bindings-dont-match",
            Self::BindingDowngrade => "server-does-support-channel-binding",
            Self::BindingUnsupported => "channel-binding-not-supported",
            Self::BindingTypeUnsupported => "unsupported-channel-binding-type",
            Self::ExtensionUnsupported => "extensions-not-supported",
            Self::ServerNotAuthentic | Self::Iterations => "other-error",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the authentication message is malformed",
            Self::WrongCredentials => "wrong user name or password",
            Self::NotPrepared => {
                "a user name or password is empty, too long or has control characters"
            }
            Self::BindingMismatch => "the channel binding is not that of this TLS connection",
            Self::BindingDowngrade => "channel binding was offered but the client did not see it",
            Self::BindingUnsupported => "channel binding is not available here",
            Self::BindingTypeUnsupported => "the only channel binding known is tls-exporter",
            Self::ExtensionUnsupported => "a mandatory SCRAM extension is not known",
            Self::ServerNotAuthentic => "the server did not prove that it knows the password",
            Self::Iterations => "the server's iteration count is not acceptable",
        })
    }
}

impl core::error::Error for Failure {}
