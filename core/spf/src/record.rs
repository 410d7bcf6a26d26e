//! SPF records: RFC 7208 sections 4.5, 4.6 and 12.

use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::MacroString;

/// A record, its terms in the order they stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Mechanisms with their qualifiers.
    pub directives: Vec<Directive<'a>>,
    /// Where to go on when no directive matches.
    pub redirect: Option<MacroString<'a>>,
    /// Where the explanation of a fail is.
    pub exp: Option<MacroString<'a>>,
    /// Modifiers nobody knows; they change nothing.
    pub unknown: Vec<(&'a str, MacroString<'a>)>,
}

/// A mechanism and what its match means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive<'a> {
    /// What a match means.
    pub qualifier: Qualifier,
    /// What is looked at.
    pub mechanism: Mechanism<'a>,
    /// The term as it was written.
    pub text: &'a str,
}

/// What the match of a mechanism means (RFC 7208 4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`, or nothing
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

/// What is looked at (RFC 7208 section 5). A missing domain is the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism<'a> {
    /// Matches always.
    All,
    /// Another domain's record says pass.
    Include(MacroString<'a>),
    /// The client has an address of the domain.
    A(Option<MacroString<'a>>, Cidr),
    /// The client has an address of one of the domain's mail hosts.
    Mx(Option<MacroString<'a>>, Cidr),
    /// The client's own name is in the domain. Not to be used, says the RFC.
    Ptr(Option<MacroString<'a>>),
    /// The client is in an IPv4 network.
    Ip4(Ipv4Addr, u8),
    /// The client is in an IPv6 network.
    Ip6(Ipv6Addr, u8),
    /// The name has an A record.
    Exists(MacroString<'a>),
}

impl Mechanism<'_> {
    /// Whether it counts against the limit of lookups (RFC 7208 4.6.4).
    pub const fn asks_dns(&self) -> bool {
        !matches!(self, Self::All | Self::Ip4(..) | Self::Ip6(..))
    }
}

/// Lengths of network prefixes, one for each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// 0 to 32
    pub v4: u8,
    /// 0 to 128
    pub v6: u8,
}

/// Why a text is no SPF record, with the term at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntaxError<'a> {
    /// The term, or the whole text.
    pub term: &'a str,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for SyntaxError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.what, self.term)
    }
}

impl core::error::Error for SyntaxError<'_> {}

/// Whether a TXT record is an SPF record, well-formed or not (RFC 7208 4.5).
pub fn is_spf(text: &[u8]) -> bool {
    text.split_at_checked(6).is_some_and(|(version, rest)| {
        version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' '))
    })
}

impl<'a> Record<'a> {
    /// Parses the text of a TXT record.
    ///
    /// # Errors
    /// The first term that is not of the grammar in RFC 7208 section 12.
    pub fn parse(text: &'a str) -> Result<Self, SyntaxError<'a>> {
        if !is_spf(text.as_bytes()) {
            let what = "it does not begin with v=spf1";
            return Err(SyntaxError { term: text, what });
        }
        let mut record = Self {
            directives: Vec::new(),
            redirect: None,
            exp: None,
            unknown: Vec::new(),
        };
        let mut rest = text.get(6..).unwrap_or_default();
        while !rest.is_empty() {
            let end = rest.bytes().position(|b| b == b' ');
            let (term, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind.get(1..).unwrap_or_default();
            if !term.is_empty() {
                record
                    .add(term)
                    .map_err(|what| SyntaxError { term, what })?;
            }
        }
        Ok(record)
    }

    fn add(&mut self, term: &'a str) -> Result<(), &'static str> {
        // What ends the name says which kind of term it is.
        let end = term.bytes().position(|b| matches!(b, b':' | b'=' | b'/'));
        let end = end.unwrap_or(term.len());
        let (name, rest) = term.split_at(end);
        match rest.strip_prefix('=') {
            Some(value) => self.add_modifier(name, value),
            None => {
                let (qualifier, name) = qualifier(name);
                let directive = Directive {
                    qualifier,
                    mechanism: mechanism(name, rest)?,
                    text: term,
                };
                self.directives.push(directive);
                Ok(())
            }
        }
    }

    fn add_modifier(&mut self, name: &'a str, value: &'a str) -> Result<(), &'static str> {
        let known = if name.eq_ignore_ascii_case("redirect") {
            &mut self.redirect
        } else if name.eq_ignore_ascii_case("exp") {
            &mut self.exp
        } else {
            let mut letters = name.bytes();
            let is_name = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
                && letters.all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !is_name {
                return Err("the name of a modifier begins with a letter");
            }
            self.unknown.push((name, MacroString::explanation(value)?));
            return Ok(());
        };
        if known.is_some() {
            return Err("a modifier stands twice");
        }
        *known = Some(MacroString::domain_spec(value)?);
        Ok(())
    }
}

fn qualifier(name: &str) -> (Qualifier, &str) {
    let qualifier = match name.as_bytes().first() {
        Some(b'+') => Qualifier::Pass,
        Some(b'-') => Qualifier::Fail,
        Some(b'~') => Qualifier::SoftFail,
        Some(b'?') => Qualifier::Neutral,
        _ => return (Qualifier::Pass, name),
    };
    (qualifier, name.get(1..).unwrap_or_default())
}

/// `rest` is empty or begins with `:` or `/`.
fn mechanism<'a>(name: &str, rest: &'a str) -> Result<Mechanism<'a>, &'static str> {
    let value = rest.strip_prefix(':');
    let needed = || value.ok_or("the mechanism needs a value behind a colon");
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is("all") {
        return match rest {
            "" => Ok(Mechanism::All),
            _ => Err("all takes no value"),
        };
    }
    if is("include") {
        return MacroString::domain_spec(needed()?).map(Mechanism::Include);
    }
    if is("exists") {
        return MacroString::domain_spec(needed()?).map(Mechanism::Exists);
    }
    if is("ptr") {
        return match (rest, value) {
            ("", _) => Ok(Mechanism::Ptr(None)),
            (_, Some(value)) => Ok(Mechanism::Ptr(Some(MacroString::domain_spec(value)?))),
            _ => Err("ptr takes no prefix length"),
        };
    }
    if is("a") || is("mx") {
        let (spec, cidr) = dual_cidr(rest)?;
        let spec = match spec {
            "" => None,
            spec => {
                let spec = spec.strip_prefix(':').ok_or("not a prefix length")?;
                Some(MacroString::domain_spec(spec)?)
            }
        };
        return Ok(match is("a") {
            true => Mechanism::A(spec, cidr),
            false => Mechanism::Mx(spec, cidr),
        });
    }
    if is("ip4") {
        let (address, length) = network(needed()?, 32)?;
        let address = ip4(address).ok_or("not an IPv4 address")?;
        return Ok(Mechanism::Ip4(address, length));
    }
    if is("ip6") {
        let (address, length) = network(needed()?, 128)?;
        let address = address.parse().map_err(|_| "not an IPv6 address")?;
        return Ok(Mechanism::Ip6(address, length));
    }
    Err("no such mechanism")
}

/// Four numbers without leading zeros.
fn ip4(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}

fn network(text: &str, longest: u8) -> Result<(&str, u8), &'static str> {
    match text.split_once('/') {
        Some((address, length)) => Ok((address, prefix_length(length, longest)?)),
        None => Ok((text, longest)),
    }
}

/// Splits `/n4`, `//n6` or `/n4//n6` off the end.
fn dual_cidr(text: &str) -> Result<(&str, Cidr), &'static str> {
    let (text, v6) = match split_number(text, "//") {
        Some((rest, length)) => (rest, prefix_length(length, 128)?),
        None => (text, 128),
    };
    let (text, v4) = match split_number(text, "/") {
        Some((rest, length)) => (rest, prefix_length(length, 32)?),
        None => (text, 32),
    };
    Ok((text, Cidr { v4, v6 }))
}

/// What stands before and behind the last `mark`, if only digits stand behind it. A slash may be part of a name.
fn split_number<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (rest, number) = text.split_at(text.len() - digits);
    let rest = rest.strip_suffix(mark).filter(|_| digits > 0)?;
    Some((rest, number))
}

fn prefix_length(text: &str, longest: u8) -> Result<u8, &'static str> {
    const WRONG: &str = "not a prefix length";
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let length: u8 = text.parse().map_err(|_| WRONG)?;
    (is_plain && length <= longest)
        .then_some(length)
        .ok_or(WRONG)
}

/// The record in canonical form: version and names in lower case, one space between terms, modifiers last.
impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=spf1")?;
        for directive in &self.directives {
            write!(f, " {directive}")?;
        }
        if let Some(spec) = &self.redirect {
            write!(f, " redirect={spec}")?;
        }
        if let Some(spec) = &self.exp {
            write!(f, " exp={spec}")?;
        }
        for (name, value) in &self.unknown {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Directive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let qualifier = match self.qualifier {
            Qualifier::Pass => "",
            Qualifier::Fail => "-",
            Qualifier::SoftFail => "~",
            Qualifier::Neutral => "?",
        };
        write!(f, "{qualifier}{}", self.mechanism)
    }
}

impl fmt::Display for Mechanism<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, name, spec: &Option<MacroString<'_>>| match spec {
            Some(spec) => write!(f, "{name}:{spec}"),
            None => f.write_str(name),
        };
        match self {
            Self::All => f.write_str("all"),
            Self::Include(spec) => write!(f, "include:{spec}"),
            Self::A(spec, cidr) => named(f, "a", spec).and_then(|()| write!(f, "{cidr}")),
            Self::Mx(spec, cidr) => named(f, "mx", spec).and_then(|()| write!(f, "{cidr}")),
            Self::Ptr(spec) => named(f, "ptr", spec),
            Self::Ip4(address, 32) => write!(f, "ip4:{address}"),
            Self::Ip4(address, length) => write!(f, "ip4:{address}/{length}"),
            Self::Ip6(address, 128) => write!(f, "ip6:{address}"),
            Self::Ip6(address, length) => write!(f, "ip6:{address}/{length}"),
            Self::Exists(spec) => write!(f, "exists:{spec}"),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.v4 != 32 {
            write!(f, "/{}", self.v4)?;
        }
        if self.v6 != 128 {
            write!(f, "//{}", self.v6)?;
        }
        Ok(())
    }
}
