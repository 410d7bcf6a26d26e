//! The session contract.

use bytes::{Bytes, BytesMut};
use core::fmt;

use crate::{Mono, Now};

/// A protocol machine that speaks over one byte stream.
///
/// - R1 Any `&mut` call may be followed by any other; draining [`poll`](Self::poll) in between is never required.
/// - R2 After `poll` returned `None` it returns `None` until the next `&mut` call.
/// - R3 After `tick(now)`, `deadline()` is `None` or later than `now.mono`.
/// - R4 Output depends only on constructor arguments, the sequence of calls and `now`: not on how the input was
///   cut into pieces, nor on how long answers took where the protocol does not show it.
/// - R5 Unknown or cancelled ask ids are ignored; ids are never reused.
/// - R6 Every buffer, list and counter has a limit, with a reply for when it is exceeded; at most 8 asks are open.
/// - R7 What the peer does is never an `Err` nor a panic: it is a reply and an event.
/// - R8 Work of more than about a millisecond is an ask.
/// - R9 Every effect and input is `Debug` without secrets.
/// - R10 A machine that must wait says so with `wants_read() == false`.
pub trait Session {
    /// What only the world can decide or do.
    type Ask: fmt::Debug;
    /// What the world answers.
    type Answer: fmt::Debug;
    /// Facts for logs, metrics and whoever embeds the machine.
    type Event: fmt::Debug;

    /// Takes what it understands from the front of `input` and leaves the rest.
    ///
    /// While [`wants_read`](Self::wants_read) is false it takes nothing.
    fn recv(&mut self, now: Now, input: &mut BytesMut);
    /// The peer half-closed the stream; it may still be written to.
    fn eof(&mut self, now: Now);
    /// The stream is encrypted from here on: after [`Step::StartTls`], or at once on an implicit-TLS port.
    fn secured(&mut self, now: Now, tls: TlsFacts);
    /// The world's answer to an ask. An id that is not open is ignored.
    fn answer(&mut self, now: Now, id: AskId, answer: Self::Answer);
    /// Time passed; act on every deadline at or before `now`.
    fn tick(&mut self, now: Now);
    /// When `tick` is wanted next, and why (for traces).
    fn deadline(&self) -> Option<(Mono, &'static str)>;
    /// The process is stopping: say so (421, BYE) at the next safe point.
    fn drain(&mut self, now: Now);
    /// False is back-pressure: nothing would be taken now.
    fn wants_read(&self) -> bool;
    /// True while a message body or a literal is read: the driver may read straight into the session's buffer.
    fn in_bulk(&self) -> bool {
        false
    }
    /// The next effect, in the order they became true.
    fn poll(&mut self) -> Option<Step<Self::Ask, Self::Event>>;
}

/// One effect of a [`Session`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<A, E> {
    /// A question to the world; answered through [`Session::answer`] with the same id, in any order.
    Ask(AskId, A),
    /// The answer to this ask is not wanted any more (best effort).
    Cancel(AskId),
    /// Bytes for the peer.
    Send(Bytes),
    /// Once everything sent before is flushed: do the TLS handshake, then call [`Session::secured`].
    StartTls,
    /// Once everything sent before is flushed: compress the stream in both directions (RFC 4978).
    Compress,
    /// Once everything sent before is flushed: close the stream.
    Close,
    /// A fact.
    Event(E),
}

/// Names one ask of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Hands out the ask ids of one session, never the same twice.
#[derive(Debug, Clone, Default)]
pub struct AskIds(u64);

impl AskIds {
    /// The next unused id, from 1.
    pub fn next_id(&mut self) -> AskId {
        self.0 += 1;
        AskId(self.0)
    }
}

/// What the TLS layer knows about a finished handshake.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Protocol version as on the wire: 0x0303 is TLS 1.2, 0x0304 is TLS 1.3.
    pub version: u16,
    /// Cipher suite as registered with IANA.
    pub cipher: u16,
    /// The server name the client asked for.
    pub sni: Option<Bytes>,
    /// Channel binding `tls-exporter` (RFC 9266), for SCRAM-PLUS. Secret: never shown.
    pub exporter: [u8; 32],
    /// The peer's end-entity certificate, DER. A server has one only of a client whose certificate it verified.
    pub peer_certificate: Option<Bytes>,
}

impl TlsFacts {
    /// The version as trace headers spell it.
    pub fn version_name(&self) -> &'static str {
        match self.version {
            0x0303 => "TLS1.2",
            0x0304 => "TLS1.3",
            _ => "TLS",
        }
    }
}

impl fmt::Debug for TlsFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFacts")
            .field("version", &self.version_name())
            .field("cipher", &self.cipher)
            .field("sni", &self.sni)
            .field(
                "peer_certificate",
                &self.peer_certificate.as_ref().map(Bytes::len),
            )
            .finish_non_exhaustive()
    }
}
