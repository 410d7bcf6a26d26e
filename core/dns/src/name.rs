//! Domain names as DNS has them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use mox_address::Domain;

/// An absolute domain name. Labels may hold any octets; ASCII letters are kept in lower case, so that names which DNS
/// holds equal are equal (RFC 4343).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// As on the wire without the final zero: each label behind its length.
    wire: Box<[u8]>,
}

/// Why something is not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// A label without octets.
    EmptyLabel,
    /// A label of more than 63 octets, or a name of more than 255 on the wire.
    TooLong,
    /// A backslash that is followed neither by one character nor by three digits up to 255.
    BadEscape,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLabel => "a domain name has an empty label",
            Self::TooLong => "a domain name has at most 255 octets and its labels at most 63",
            Self::BadEscape => {
                "a backslash in a domain name is not followed by a character or three digits"
            }
        })
    }
}

impl core::error::Error for NameError {}

impl Name {
    /// The longest name on the wire, its final zero included.
    pub const MAX: usize = 255;

    /// The root.
    pub fn root() -> Self {
        Self {
            wire: Box::default(),
        }
    }

    /// Parses the presentation format of RFC 1035 5.1, with or without the final dot: `\.` and `\\` stand for
    /// themselves, `\DDD` for any octet. Octets outside of ASCII are taken as they are. `.` is the root.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let text = text.as_ref();
        if text == b"." {
            return Ok(Self::root());
        }
        let mut wire = Builder::default();
        let mut octets = text.iter().copied();
        let mut open = true;
        while let Some(octet) = octets.next() {
            open = true;
            match octet {
                b'.' => {
                    wire.end_label()?;
                    open = false;
                }
                b'\\' => wire.push(unescape(&mut octets)?)?,
                octet => wire.push(octet)?,
            }
        }
        if open {
            wire.end_label()?;
        }
        wire.finish()
    }

    /// From labels, as they are.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut wire = Builder::default();
        for label in labels {
            wire.extend(label)?;
            wire.end_label()?;
        }
        wire.finish()
    }

    /// From a mail domain. A U-label's octets are taken as they are, so convert such a domain to A-labels first.
    pub fn from_domain(domain: &Domain) -> Result<Self, NameError> {
        Self::from_labels(domain.as_str().as_bytes().split(|&b| b == b'.'))
    }

    /// As a mail domain; `None` when it has characters that no host name has.
    pub fn to_domain(&self) -> Option<Domain> {
        let mut text = Vec::with_capacity(self.wire.len());
        for label in self.labels() {
            if !text.is_empty() {
                text.push(b'.');
            }
            if label.contains(&b'.') {
                return None;
            }
            text.extend_from_slice(label);
        }
        Domain::parse(core::str::from_utf8(&text).ok()?, false).ok()
    }

    /// The name under which an address's PTR records are (RFC 1035 3.5, RFC 3596 2.5).
    pub fn reverse(ip: IpAddr) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut wire = Builder::default();
        let mut label = |text: &[u8]| {
            wire.extend(text)?;
            wire.end_label()
        };
        let mut all = || {
            match ip {
                IpAddr::V4(ip) => {
                    for octet in ip.octets().iter().rev() {
                        label(alloc::format!("{octet}").as_bytes())?;
                    }
                    label(b"in-addr")?;
                }
                IpAddr::V6(ip) => {
                    for octet in ip.octets().iter().rev() {
                        for half in [octet & 15, octet >> 4] {
                            label(
                                HEX.get(usize::from(half)..=usize::from(half))
                                    .unwrap_or(b"0"),
                            )?;
                        }
                    }
                    label(b"ip6")?;
                }
            }
            label(b"arpa")
        };
        all().expect("72 octets at most");
        wire.finish().expect("72 octets at most")
    }

    /// This name below a further label: `_25._tcp` is two of them.
    pub fn child(&self, label: impl AsRef<[u8]>) -> Result<Self, NameError> {
        Self::from_labels(core::iter::once(label.as_ref()).chain(self.labels()))
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let mut labels = self.labels();
        labels.next()?;
        Some(Self {
            wire: Box::from(labels.rest),
        })
    }

    /// The labels, first one first, without the root's empty one.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: &self.wire }
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.wire.is_empty()
    }

    /// Whether it is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        let mut labels = self.labels();
        loop {
            if labels.rest == &*ancestor.wire {
                return true;
            }
            if labels.next().is_none() {
                return false;
            }
        }
    }

    /// Octets on the wire, the final zero included.
    pub fn wire_len(&self) -> usize {
        self.wire.len() + 1
    }
}

/// The presentation format, without a final dot except for the root; parses back to the same name.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        if self.is_root() {
            return f.write_char('.');
        }
        for (n, label) in self.labels().enumerate() {
            if n > 0 {
                f.write_char('.')?;
            }
            let is_plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_".contains(octet);
            if let Some(text) = core::str::from_utf8(label)
                .ok()
                .filter(|_| label.iter().all(is_plain))
            {
                f.write_str(text)?;
                continue;
            }
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(octet))?;
                    }
                    0x21..=0x7e => f.write_char(char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// The labels of a [`Name`].
#[derive(Debug, Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (&length, rest) = self.rest.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        Some(label)
    }
}

/// Collects labels, checking lengths as they grow.
struct Builder {
    wire: [u8; Name::MAX],
    /// Where the length of the open label will be, and the end of what is there of it.
    label: usize,
    end: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            wire: [0; Name::MAX],
            label: 0,
            end: 1,
        }
    }
}

impl Builder {
    fn push(&mut self, octet: u8) -> Result<(), NameError> {
        self.extend(&[octet])
    }

    /// Octets of the open label.
    fn extend(&mut self, octets: &[u8]) -> Result<(), NameError> {
        let end = self.end.saturating_add(octets.len());
        if end - self.label > 64 {
            return Err(NameError::TooLong);
        }
        let place = self.wire.get_mut(self.end..end).ok_or(NameError::TooLong)?;
        place.copy_from_slice(octets);
        place.make_ascii_lowercase();
        self.end = end;
        Ok(())
    }

    fn end_label(&mut self) -> Result<(), NameError> {
        let length = u8::try_from(self.end - self.label - 1).map_err(|_| NameError::TooLong)?;
        if length == 0 {
            return Err(NameError::EmptyLabel);
        }
        // Behind it there must be room for the final zero.
        if self.end >= Name::MAX {
            return Err(NameError::TooLong);
        }
        *self.wire.get_mut(self.label).ok_or(NameError::TooLong)? = length;
        (self.label, self.end) = (self.end, self.end + 1);
        Ok(())
    }

    fn finish(self) -> Result<Name, NameError> {
        let wire = self.wire.get(..self.label).ok_or(NameError::TooLong)?;
        Ok(Name { wire: wire.into() })
    }
}

pub(crate) fn unescape(octets: &mut impl Iterator<Item = u8>) -> Result<u8, NameError> {
    let first = octets.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets
            .next()
            .filter(u8::is_ascii_digit)
            .ok_or(NameError::BadEscape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}
