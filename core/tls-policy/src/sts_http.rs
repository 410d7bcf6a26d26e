//! The answer of the web server that has the policy: RFC 8461 section 3.3, over HTTP/1.1 (RFC 9112). One request, one answer,
//! nothing is followed and nothing is kept open.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use mox_dns::Name;

use crate::{FetchError, POLICY_MAX, PolicyError, StsPolicy};

/// Octets of the header of an answer at most.
const HEADER_MAX: usize = 16 * 1024;
/// Octets of a line between chunks at most.
const LINE_MAX: usize = 1024;
/// Lines behind the last chunk at most.
const TRAILERS_MAX: usize = 32;

/// The host that has the policy of a domain: its certificate has to be for this name.
pub fn policy_host(domain: &Name) -> Option<Name> {
    domain.child("mta-sts").ok()
}

/// What is asked of it.
pub fn policy_request(host: &Name) -> String {
    format!(
        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nConnection: close\r\nUser-Agent: mox\r\n\r\n"
    )
}

/// Answers before the answer proper at most.
const INTERIM_MAX: usize = 16;

/// Takes the answer as it comes.
#[derive(Debug, Clone, Default)]
pub struct PolicyResponse {
    state: State,
    /// The line or header that is not complete yet.
    held: Vec<u8>,
    body: Vec<u8>,
    /// Answers that came before the answer proper.
    interim: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    /// So many octets are left.
    Length(usize),
    /// A line with the size of a chunk comes.
    Size,
    /// So many octets of a chunk are left.
    Chunk(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    /// The lines behind the last chunk.
    Trailers(usize),
    /// Everything up to the end of the connection.
    ToEnd,
    Done,
}

impl PolicyResponse {
    /// The next octets. True once the answer is complete.
    ///
    /// # Errors
    /// When it is not an answer that has a policy, or one over a limit.
    pub fn push(&mut self, octets: &[u8]) -> Result<bool, FetchError> {
        let mut rest = octets;
        while let Some((octet, behind)) = rest.split_first() {
            match self.state {
                State::Done => break,
                State::Length(left) | State::Chunk(left) => {
                    let taken = left.min(rest.len());
                    let (now, later) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
                    self.keep(now)?;
                    rest = later;
                    self.state = match (self.state, left - taken) {
                        (State::Length(_), 0) => State::Done,
                        (State::Length(_), left) => State::Length(left),
                        (_, 0) => State::ChunkEnd,
                        (_, left) => State::Chunk(left),
                    };
                }
                State::ToEnd => {
                    self.keep(rest)?;
                    rest = &[];
                }
                State::Header => {
                    self.hold(*octet, HEADER_MAX)?;
                    rest = behind;
                    if self.held.ends_with(b"\r\n\r\n") || self.held.ends_with(b"\n\n") {
                        let header = core::mem::take(&mut self.held);
                        self.state = framing(&header)?;
                        self.interim += 1;
                        if self.interim > INTERIM_MAX && self.state == State::Header {
                            return Err(wrong("the answer does not begin"));
                        }
                    }
                }
                State::Size | State::ChunkEnd | State::Trailers(_) => {
                    self.hold(*octet, LINE_MAX)?;
                    rest = behind;
                    if *octet == b'\n' {
                        let line = core::mem::take(&mut self.held);
                        self.line(line.trim_ascii())?;
                    }
                }
            }
        }
        Ok(self.state == State::Done)
    }

    /// The connection ended: the policy, if the answer is complete.
    ///
    /// # Errors
    /// When the answer is cut off, or is no policy.
    pub fn finish(self) -> Result<StsPolicy, FetchError> {
        match self.state {
            State::Done | State::ToEnd => StsPolicy::parse(&self.body).map_err(FetchError::Policy),
            _ => Err(wrong("the answer is cut off")),
        }
    }

    fn hold(&mut self, octet: u8, max: usize) -> Result<(), FetchError> {
        if self.held.len() >= max {
            return Err(wrong("the answer has a line or a header that is too long"));
        }
        self.held.push(octet);
        Ok(())
    }

    fn keep(&mut self, octets: &[u8]) -> Result<(), FetchError> {
        if self.body.len() + octets.len() > POLICY_MAX {
            return Err(too_long());
        }
        self.body.extend_from_slice(octets);
        Ok(())
    }

    /// A line between chunks.
    fn line(&mut self, line: &[u8]) -> Result<(), FetchError> {
        self.state = match self.state {
            State::Size => {
                let digits = line.split(|b| *b == b';').next().unwrap_or_default();
                let digits = core::str::from_utf8(digits.trim_ascii()).unwrap_or_default();
                let is_size = (1..=8).contains(&digits.len())
                    && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let size = is_size
                    .then(|| usize::from_str_radix(digits, 16).ok())
                    .flatten()
                    .ok_or_else(|| wrong("a chunk of the answer has no size"))?;
                match size {
                    0 => State::Trailers(0),
                    size => State::Chunk(size),
                }
            }
            State::ChunkEnd if line.is_empty() => State::Size,
            State::ChunkEnd => {
                return Err(wrong("a chunk of the answer is not as long as it says"));
            }
            State::Trailers(_) if line.is_empty() => State::Done,
            State::Trailers(TRAILERS_MAX) => return Err(wrong("the answer does not end")),
            State::Trailers(count) => State::Trailers(count + 1),
            other => other,
        };
        Ok(())
    }
}

fn wrong(what: &str) -> FetchError {
    FetchError::Fetch(what.to_string())
}

fn too_long() -> FetchError {
    FetchError::Policy(PolicyError {
        field: "",
        what: "is longer than 64 KiB",
    })
}

/// How the body of an answer is delimited, if it is one that may have a policy.
fn framing(header: &[u8]) -> Result<State, FetchError> {
    let text = core::str::from_utf8(header).map_err(|_| wrong("the answer is not HTTP"))?;
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    let mut words = status.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let code = words
        .next()
        .filter(|code| is_http && code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(|| wrong("the answer is not HTTP"))?;
    match code {
        "200" => {}
        "404" => return Err(FetchError::NoPolicy),
        // Something before the answer proper.
        code if code.starts_with('1') => return Ok(State::Header),
        code if code.starts_with('3') => {
            return Err(wrong(
                "the server sends us elsewhere, which is not followed",
            ));
        }
        code => return Err(FetchError::Fetch(format!("the server answers {code}"))),
    }
    let (mut length, mut is_chunked, mut is_plain) = (None, false, false);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let is_number =
                (1..=9).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
            let number: Option<usize> = is_number.then(|| value.parse().ok()).flatten();
            let number = number.ok_or_else(|| wrong("the answer has a length that is none"))?;
            if length.is_some_and(|length| length != number) {
                return Err(wrong("the answer has two lengths"));
            }
            length = Some(number);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(wrong("the answer is encoded in a way that is not known"));
            }
            is_chunked = true;
        } else if name.eq_ignore_ascii_case("content-type") {
            let media = value.split(';').next().unwrap_or_default().trim();
            is_plain = media.eq_ignore_ascii_case("text/plain");
        } else if name.eq_ignore_ascii_case("content-encoding")
            && !value.eq_ignore_ascii_case("identity")
        {
            return Err(wrong("the answer is encoded in a way that is not known"));
        }
    }
    if !is_plain {
        return Err(wrong("the answer is not text/plain"));
    }
    match (is_chunked, length) {
        (true, Some(_)) => Err(wrong("the answer has a length and chunks")),
        (true, None) => Ok(State::Size),
        (false, Some(length)) if length > POLICY_MAX => Err(too_long()),
        (false, Some(0)) => Ok(State::Done),
        (false, Some(length)) => Ok(State::Length(length)),
        (false, None) => Ok(State::ToEnd),
    }
}
