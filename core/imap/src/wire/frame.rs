//! Where a command ends (RFC 3501 2.2.1, RFC 7888): lines, and literals announced at their ends.
//!
//! This layer understands nothing but `{n}` and `{n+}`. Whatever is wrong with a command, its literals are
//! skipped by exactly the octets that were announced: an attacker who chooses the content of a literal (a mail
//! that a client appends) must never see it obeyed.

use bytes::{Buf, Bytes, BytesMut};
use core::fmt;
use mox_machine::{Line, LineReader, mutant};

use super::cursor::{Cursor, Malformed};

/// Octets of a spoilt command that are kept to find its tag.
const HEAD_MAX: usize = 256;

/// A literal announced at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Octets.
    pub size: u64,
    /// The client waits for a continuation before it sends them.
    pub waits: bool,
    /// `~{n}`: NULs are allowed.
    pub binary: bool,
}

/// What [`Framer::next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// No complete command yet.
    Incomplete,
    /// The command so far ends in this announcement. Say what becomes of it: [`Framer::accept`],
    /// [`Framer::spoil`], or [`Framer::take`].
    Literal(Announced),
    /// A command without its last CRLF; literals stand in it as they came.
    Complete(Bytes),
    /// A command that must not be obeyed, its literals skipped.
    Spoilt {
        /// Its beginning.
        head: Bytes,
        /// Why.
        why: Malformed,
    },
    /// A line or a literal that is too long even to be skipped: close.
    Endless,
}

/// Limits of the framing, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// One line.
    pub line: usize,
    /// All lines and literals of a command.
    pub command: usize,
    /// A literal of a refused command that is skipped.
    pub skip: u64,
}

/// Finds commands in the bytes of a connection.
#[derive(Default)]
pub struct Framer {
    lines: LineReader,
    /// The lines and literals of a command that has literals.
    held: BytesMut,
    /// Octets of an accepted literal still to come.
    wanted: usize,
    /// Octets of a refused literal still to come.
    skipping: u64,
    spoilt: Option<Malformed>,
}

/// What is held may be a password, so it is not shown.
impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer")
            .field("held", &self.held.len())
            .field("wanted", &self.wanted)
            .field("skipping", &self.skipping)
            .field("spoilt", &self.spoilt)
            .finish_non_exhaustive()
    }
}

impl Framer {
    /// Takes what belongs to the current command off the front of `input`.
    pub fn next(&mut self, input: &mut BytesMut, limits: &FrameLimits) -> Framed {
        loop {
            if self.skipping > 0 {
                let n = self.skipping.min(input.len() as u64);
                input.advance(n as usize);
                self.skipping -= n;
            }
            if self.wanted > 0 {
                let n = self.wanted.min(input.len());
                self.held.extend_from_slice(&input.split_to(n));
                self.wanted -= n;
            }
            if self.skipping > 0 || self.wanted > 0 {
                return Framed::Incomplete;
            }
            let line = match self.lines.take(input, limits.line) {
                Line::Incomplete => return Framed::Incomplete,
                Line::TooLong => return Framed::Endless,
                Line::Complete(line) => line,
                Line::BadEnding(line) => {
                    self.spoil_with(
                        &line,
                        Malformed::Syntax("lines must end in CRLF and nothing else"),
                    );
                    line
                }
            };
            if self.held.len() + line.len() > limits.command {
                self.spoil_with(
                    &line,
                    Malformed::Refused("TOOBIG", "the command is too long"),
                );
            }
            let announced = announcement(&line);
            match (self.spoilt, announced) {
                (Some(_), Some(literal)) if !literal.waits => {
                    if literal.size > limits.skip {
                        return Framed::Endless;
                    }
                    self.skipping = literal.size;
                }
                (Some(why), _) => {
                    let head = self.take();
                    return Framed::Spoilt { head, why };
                }
                (None, None) if self.held.is_empty() => return Framed::Complete(line),
                (None, found) => {
                    self.held.extend_from_slice(&line);
                    match found {
                        Some(literal) => {
                            self.held.extend_from_slice(b"\r\n");
                            return Framed::Literal(literal);
                        }
                        None => return Framed::Complete(self.take()),
                    }
                }
            }
        }
    }

    /// What is known of the current command: after [`Framed::Literal`] it ends in the announcement and CRLF.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// The literal is an argument: hold it.
    pub fn accept(&mut self, literal: Announced) {
        self.wanted = usize::try_from(literal.size).unwrap_or(usize::MAX);
    }

    /// The command is refused. One whose literal waits ends here, as [`Framed::Spoilt`] does, and `true` is returned;
    /// otherwise its literals are skipped, and it ends with `Spoilt` later.
    pub fn spoil(&mut self, literal: Announced, why: Malformed) -> bool {
        if literal.waits {
            self.take();
            return true;
        }
        self.spoil_with(&[], why);
        if !mutant!(RefusedLiteralRead) {
            self.skipping = literal.size;
        }
        false
    }

    /// Gives out what is held and starts a new command.
    pub fn take(&mut self) -> Bytes {
        let held = core::mem::take(&mut self.held).freeze();
        *self = Self::default();
        held
    }

    fn spoil_with(&mut self, line: &[u8], why: Malformed) {
        if self.spoilt.is_none() {
            self.spoilt = Some(why);
            if self.held.is_empty() {
                self.held
                    .extend_from_slice(line.get(..HEAD_MAX).unwrap_or(line));
            }
            self.held.truncate(HEAD_MAX);
        }
    }
}

/// The announcement at the end of a line, if there is one.
fn announcement(line: &[u8]) -> Option<Announced> {
    let inside = line.strip_suffix(b"}")?;
    let (inside, waits) = match inside.strip_suffix(b"+") {
        Some(inside) => (inside, false),
        None => (inside, true),
    };
    let digits = inside
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let (before, digits) = inside.split_at_checked(inside.len().checked_sub(digits)?)?;
    let before = before.strip_suffix(b"{")?;
    if digits.is_empty() {
        return None;
    }
    Some(Announced {
        // A number no literal can have is still an announcement, to be refused for its size.
        size: Cursor::new(digits).number64().unwrap_or(u64::MAX),
        waits,
        binary: before.ends_with(b"~"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const LIMITS: FrameLimits = FrameLimits {
        line: 100,
        command: 200,
        skip: 50,
    };

    /// Accepts literals up to 20 octets.
    fn frames(input: &[u8], step: usize) -> Vec<Framed> {
        let (mut framer, mut buffer, mut out) = (Framer::default(), BytesMut::new(), Vec::new());
        for piece in input.chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                match framer.next(&mut buffer, &LIMITS) {
                    Framed::Incomplete => break,
                    Framed::Literal(literal) if literal.size <= 20 => framer.accept(literal),
                    Framed::Literal(literal) => {
                        let head = Bytes::copy_from_slice(framer.held());
                        let why = Malformed::Refused("TOOBIG", "x");
                        if literal.size > LIMITS.skip && !literal.waits {
                            out.push(Framed::Endless);
                            return out;
                        }
                        if framer.spoil(literal, why) {
                            out.push(Framed::Spoilt { head, why });
                        }
                    }
                    Framed::Endless => {
                        out.push(Framed::Endless);
                        return out;
                    }
                    other => out.push(other),
                }
            }
        }
        out
    }

    fn check(input: &[u8], expected: &[Framed]) {
        for step in 1..=input.len() {
            assert_eq!(frames(input, step), expected, "in pieces of {step}");
        }
    }

    fn complete(text: &'static [u8]) -> Framed {
        Framed::Complete(Bytes::from_static(text))
    }

    #[test]
    fn a_command_ends_behind_its_last_literal() {
        check(
            b"a LOGIN {3}\r\nx\r\n {2+}\r\n{9\r\nb NOOP\r\n",
            &[
                complete(b"a LOGIN {3}\r\nx\r\n {2+}\r\n{9"),
                complete(b"b NOOP"),
            ],
        );
        check(b"a X {0}\r\n\r\n", &[complete(b"a X {0}\r\n")]);
        check(
            b"a X {}\r\nb {x}\r\n",
            &[complete(b"a X {}"), complete(b"b {x}")],
        );
    }

    #[test]
    fn a_refused_literal_is_never_a_command() {
        let why = Malformed::Refused("TOOBIG", "x");
        check(
            b"a X {29+}\r\nx LOGOUT\r\ny LOGOUT\r\nz LOGOUT {25+}\r\nq LOGOUT\r\nq LOGOUT\r\nq LO z\r\nb NOOP\r\n",
            &[
                Framed::Spoilt { head: Bytes::from_static(b"a X {29+}\r\n"), why },
                complete(b"b NOOP"),
            ],
        );
        check(
            b"a X {30}\r\nb NOOP\r\n",
            &[
                Framed::Spoilt {
                    head: Bytes::from_static(b"a X {30}\r\n"),
                    why,
                },
                complete(b"b NOOP"),
            ],
        );
        check(b"a X {60+}\r\n", &[Framed::Endless]);
        check(b"a X {99999999999999999999999+}\r\n", &[Framed::Endless]);
    }

    #[test]
    fn a_bare_line_end_spoils_the_command_but_not_its_framing() {
        let why = Malformed::Syntax("lines must end in CRLF and nothing else");
        check(
            b"a X {12+}\nb LOGOUT\r\n\r\n\r\nc NOOP\r\n",
            &[
                Framed::Spoilt {
                    head: Bytes::from_static(b"a X {12+}"),
                    why,
                },
                complete(b"c NOOP"),
            ],
        );
    }

    #[test]
    fn a_command_over_its_limit_is_skipped_and_an_endless_line_ends_it_all() {
        let mut input = vec![b'x'; 99];
        input.extend_from_slice(b"\r\n");
        assert_eq!(frames(&input, 10).len(), 1);
        assert_eq!(frames(&[b'x'; 120], 7), [Framed::Endless]);
        let mut many = b"a".to_vec();
        for _ in 0..20 {
            many.extend_from_slice(b"{20+}\r\n01234567890123456789");
        }
        many.extend_from_slice(b"\r\nb NOOP\r\n");
        let framed = frames(&many, 3);
        assert!(matches!(framed[0], Framed::Spoilt { .. }));
        assert_eq!(framed[1], complete(b"b NOOP"));
    }
}
