//! Macro strings: RFC 7208 section 7.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::IpAddr;

/// Octets that a macro string may expand to.
pub(crate) const EXPANDED_MAX: usize = 16 * 1024;

/// A text with macros, checked against the grammar. Domain specs do not know the letters c, r and t.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacroString<'a>(&'a str);

/// A piece of a macro string.
#[derive(Debug, Clone, Copy)]
enum Piece<'a> {
    Text(&'a str),
    Expand(Expand<'a>),
}

#[derive(Debug, Clone, Copy)]
struct Expand<'a> {
    /// In lower case.
    letter: u8,
    /// The letter was in upper case: the value is escaped as in a URL.
    escape: bool,
    /// Parts kept at the right; all when 0.
    keep: usize,
    reverse: bool,
    /// Empty means the dot.
    delimiters: &'a str,
}

/// What the macros of one evaluation stand for.
pub(crate) struct Values<'a> {
    /// The client, an IPv4 address mapped into IPv6 as IPv4.
    pub(crate) ip: IpAddr,
    /// Local part of the sender.
    pub(crate) local: &'a [u8],
    /// Domain of the sender.
    pub(crate) sender_domain: &'a [u8],
    pub(crate) helo: &'a [u8],
    /// The domain whose record is evaluated.
    pub(crate) current: &'a [u8],
    /// The client's validated name; needed only where [`MacroString::has_p`].
    pub(crate) validated: &'a [u8],
    /// What else an explanation may use.
    pub(crate) explaining: Option<Explaining<'a>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Explaining<'a> {
    /// The receiving host's name.
    pub(crate) receiver: &'a [u8],
    /// Seconds since 1970.
    pub(crate) time: i64,
}

impl<'a> MacroString<'a> {
    /// The text of an explanation, or the value of a modifier that nobody knows: the letters c, r and t are allowed, and
    /// spaces, which no term has.
    pub(crate) fn explanation(text: &'a str) -> Result<Self, &'static str> {
        check(text, true)?;
        Ok(Self(text))
    }

    /// A domain spec: ends in a macro or in a top-level label behind a dot.
    pub(crate) fn domain_spec(text: &'a str) -> Result<Self, &'static str> {
        match check(text, false)? {
            Some(Piece::Expand(_)) => Ok(Self(text)),
            Some(Piece::Text(last)) if ends_in_top_label(last) => Ok(Self(text)),
            _ => Err("not a domain name"),
        }
    }

    /// As written.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether the validated name of the client is needed.
    pub(crate) fn has_p(&self) -> bool {
        has_macros(self.0)
            && pieces(self.0)
                .any(|piece| matches!(piece, Ok(Piece::Expand(Expand { letter: b'p', .. }))))
    }

    /// The text with values in place of macros; `None` when that is more than [`EXPANDED_MAX`] octets.
    pub(crate) fn expand(&self, values: &Values<'_>) -> Option<Vec<u8>> {
        if !has_macros(self.0) {
            return (self.0.len() <= EXPANDED_MAX).then(|| self.0.as_bytes().to_vec());
        }
        let mut out = Vec::with_capacity(64);
        for piece in pieces(self.0).flatten() {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Expand(expand) => expand.apply(values, &mut out),
            }
            if out.len() > EXPANDED_MAX {
                return None;
            }
        }
        Some(out)
    }
}

impl fmt::Display for MacroString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Checks a whole text; its last piece.
fn check(text: &str, explains: bool) -> Result<Option<Piece<'_>>, &'static str> {
    let mut last = None;
    for piece in pieces(text) {
        let piece = piece?;
        match piece {
            Piece::Text(text) => {
                let is_literal = |b: u8| matches!(b, 0x21..=0x7e) || (explains && b == b' ');
                if !text.bytes().all(is_literal) {
                    return Err("a character that is not printable ASCII");
                }
            }
            Piece::Expand(expand) => {
                if !explains && b"crt".contains(&expand.letter) {
                    return Err("a macro that only explanations may use");
                }
            }
        }
        last = Some(piece);
    }
    Ok(last)
}

/// Whether the text behind the last macro ends in a dot and a label that could be a top-level domain.
fn ends_in_top_label(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, label)) = text.rsplit_once('.') else {
        return false;
    };
    let octets = label.as_bytes();
    octets
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && !octets.iter().all(u8::is_ascii_digit)
        && octets.first().is_some_and(|b| *b != b'-')
        && octets.last().is_some_and(|b| *b != b'-')
}

fn has_macros(text: &str) -> bool {
    text.bytes().any(|b| b == b'%')
}

/// Splits a text into literal runs and macros; a macro that is none is an error and the end.
fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, &'static str>> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let at = match rest.find('%') {
            None if rest.is_empty() => return None,
            None => rest.len(),
            Some(at) => at,
        };
        if at > 0 {
            let (literal, behind) = rest.split_at(at);
            rest = behind;
            return Some(Ok(Piece::Text(literal)));
        }
        let Some((piece, behind)) = one_macro(rest) else {
            rest = "";
            return Some(Err("a percent sign that begins no macro"));
        };
        rest = behind;
        Some(Ok(piece))
    })
}

/// `rest` begins with a percent sign.
fn one_macro(rest: &str) -> Option<(Piece<'_>, &str)> {
    let behind = rest.get(2..)?;
    match rest.as_bytes().get(1)? {
        constant @ (b'%' | b'_' | b'-') => {
            return Some((Piece::Expand(Expand::constant(*constant)), behind));
        }
        b'{' => {}
        _ => return None,
    }
    let (inside, behind) = behind.split_once('}')?;
    let letter = *inside.as_bytes().first()?;
    if !b"slodiphcrt".contains(&letter.to_ascii_lowercase()) && !letter.eq_ignore_ascii_case(&b'v')
    {
        return None;
    }
    let transformers = inside.get(1..)?;
    let digits = transformers.len()
        - transformers
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .len();
    let (number, transformers) = transformers.split_at(digits);
    let keep = match number {
        "" => 0,
        // More parts than a name can have are all parts; none is not to be had.
        number => match number.parse().unwrap_or(usize::MAX) {
            0 => return None,
            keep => keep,
        },
    };
    let (reverse, delimiters) = match transformers.strip_prefix(['r', 'R']) {
        Some(delimiters) => (true, delimiters),
        None => (false, transformers),
    };
    if !delimiters.bytes().all(|b| b".-+,/_=".contains(&b)) {
        return None;
    }
    let expand = Expand {
        letter: letter.to_ascii_lowercase(),
        escape: letter.is_ascii_uppercase(),
        keep,
        reverse,
        delimiters,
    };
    Some((Piece::Expand(expand), behind))
}

impl Expand<'_> {
    const fn constant(letter: u8) -> Self {
        Expand {
            letter,
            escape: false,
            keep: 0,
            reverse: false,
            delimiters: "",
        }
    }

    fn apply(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        let mut own = Vec::new();
        let value: &[u8] = match self.letter {
            b'%' => b"%",
            b'_' => b" ",
            b'-' => b"%20",
            b's' => {
                own.extend_from_slice(values.local);
                own.push(b'@');
                own.extend_from_slice(values.sender_domain);
                &own
            }
            b'l' => values.local,
            b'o' => values.sender_domain,
            b'd' => values.current,
            b'h' => values.helo,
            b'p' => values.validated,
            b'v' if values.ip.is_ipv4() => b"in-addr",
            b'v' => b"ip6",
            b'i' => {
                own = dotted(values.ip).into_bytes();
                &own
            }
            b'c' => {
                own = alloc::format!("{}", values.ip).into_bytes();
                &own
            }
            b'r' => values.explaining.map_or(b"unknown", |e| e.receiver),
            b't' => {
                own = alloc::format!("{}", values.explaining.map_or(0, |e| e.time)).into_bytes();
                &own
            }
            _ => b"",
        };
        if self.keep == 0 && !self.reverse && self.delimiters.is_empty() {
            return self.put(value, out);
        }
        let is_delimiter = |b: &u8| match self.delimiters {
            "" => *b == b'.',
            delimiters => delimiters.as_bytes().contains(b),
        };
        let mut parts: Vec<&[u8]> = value.split(is_delimiter).collect();
        if self.reverse {
            parts.reverse();
        }
        let dropped = match self.keep {
            0 => 0,
            keep => parts.len().saturating_sub(keep),
        };
        for (n, part) in parts.iter().skip(dropped).enumerate() {
            if n > 0 {
                out.push(b'.');
            }
            self.put(part, out);
        }
    }

    /// Escapes what is not unreserved in RFC 3986, where the letter was in upper case.
    fn put(&self, value: &[u8], out: &mut Vec<u8>) {
        const HEX: [char; 16] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
        ];
        for &octet in value {
            if !self.escape || octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
                out.push(octet);
                continue;
            }
            out.push(b'%');
            for half in [octet >> 4, octet & 15] {
                out.extend(HEX.get(usize::from(half)).map(|&c| c as u8));
            }
        }
    }
}

/// IPv4 as usual; IPv6 as 32 hexadecimal digits with dots between them, in upper case as the suite that goes with RFC 7208
/// has it. DNS does not mind; explanations show it.
fn dotted(ip: IpAddr) -> String {
    let mut text = String::with_capacity(64);
    let written = match ip {
        IpAddr::V4(ip) => write!(text, "{ip}"),
        IpAddr::V6(ip) => ip.octets().iter().enumerate().try_for_each(|(n, octet)| {
            let dot = if n > 0 { "." } else { "" };
            write!(text, "{dot}{:X}.{:X}", octet >> 4, octet & 15)
        }),
    };
    debug_assert!(written.is_ok(), "a string takes everything");
    text
}
