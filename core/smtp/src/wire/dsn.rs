//! The parameters by which a sender says what it wants to be told (RFC 3461): RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT.
//!
//! They are kept as they were typed, since who relays a message passes them on unchanged (RFC 3461 5.2.1), and are decoded
//! where a notification is written.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt::{self, Write as _};

use super::{BadParam, Param, Params, xtext_decode};

/// Characters of an ENVID at most (RFC 3461 4.4).
pub const ENVELOPE_ID_MAX: usize = 100;
/// Characters of an ORCPT at most (RFC 3461 4.2).
pub const ORIGINAL_MAX: usize = 500;

/// RET, RFC 3461 4.3: what of the message a notification of its failure brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Return {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// NOTIFY, RFC 3461 4.1: what the sender wants to be told about a recipient. None of them is NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notify {
    /// It was delivered.
    pub success: bool,
    /// It was given up.
    pub failure: bool,
    /// It takes longer.
    pub delay: bool,
}

/// What MAIL says about notifications.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailDsn {
    /// RET.
    pub ret: Option<Return>,
    /// ENVID, the xtext as typed.
    pub envelope_id: Option<Box<str>>,
}

/// What RCPT says about notifications.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptDsn {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT, as typed: a type, a semicolon, xtext.
    pub original: Option<Box<str>>,
}

impl Notify {
    fn parse(value: &[u8]) -> Option<Self> {
        if value.eq_ignore_ascii_case(b"NEVER") {
            return Some(Self::default());
        }
        let mut notify = Self::default();
        for word in value.split(|&b| b == b',') {
            let wish = match word.to_ascii_uppercase().as_slice() {
                b"SUCCESS" => &mut notify.success,
                b"FAILURE" => &mut notify.failure,
                b"DELAY" => &mut notify.delay,
                _ => return None,
            };
            *wish = true;
        }
        Some(notify)
    }
}

impl MailDsn {
    /// Takes a parameter of MAIL if it is one of these; false when it is another one.
    pub fn take(&mut self, param: &Param<'_>) -> Result<bool, BadParam> {
        if param.is("RET") && self.ret.is_none() {
            self.ret = Some(match param.value {
                Some(v) if v.eq_ignore_ascii_case(b"FULL") => Return::Full,
                Some(v) if v.eq_ignore_ascii_case(b"HDRS") => Return::Headers,
                _ => return Err(BadParam),
            });
        } else if param.is("ENVID") && self.envelope_id.is_none() {
            let value = param.value.filter(|v| v.len() <= ENVELOPE_ID_MAX);
            self.envelope_id = Some(value.and_then(printable_xtext).ok_or(BadParam)?);
        } else if param.is("RET") || param.is("ENVID") {
            return Err(BadParam);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads what [`Display`](fmt::Display) wrote. What is none of these parameters is passed over.
    pub fn parse(text: &str) -> Self {
        let mut dsn = Self::default();
        for param in Params::new(text.as_bytes()).flatten() {
            let _ = dsn.take(&param);
        }
        dsn
    }

    /// ENVID, decoded.
    pub fn decoded_envelope_id(&self) -> Option<String> {
        String::from_utf8(xtext_decode(self.envelope_id.as_ref()?.as_bytes())?).ok()
    }
}

impl RcptDsn {
    /// Takes a parameter of RCPT if it is one of these; false when it is another one. `utf8`: the transaction has SMTPUTF8.
    pub fn take(&mut self, param: &Param<'_>, utf8: bool) -> Result<bool, BadParam> {
        if param.is("NOTIFY") && self.notify.is_none() {
            self.notify = Some(param.value.and_then(Notify::parse).ok_or(BadParam)?);
        } else if param.is("ORCPT") && self.original.is_none() {
            let value = param.value.filter(|v| v.len() <= ORIGINAL_MAX);
            let original = value.and_then(|value| original(value, utf8));
            self.original = Some(original.ok_or(BadParam)?);
        } else if param.is("NOTIFY") || param.is("ORCPT") {
            return Err(BadParam);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads what [`Display`](fmt::Display) wrote. What is none of these parameters is passed over.
    pub fn parse(text: &str) -> Self {
        let mut dsn = Self::default();
        for param in Params::new(text.as_bytes()).flatten() {
            let _ = dsn.take(&param, true);
        }
        dsn
    }

    /// ORCPT, decoded, its type before it: `rfc822;ann@example.org`.
    pub fn decoded_original(&self) -> Option<String> {
        let (kind, address) = self.original.as_ref()?.split_once(';')?;
        let decoded = match address.is_ascii() {
            true => String::from_utf8(xtext_decode(address.as_bytes())?).ok()?,
            // RFC 6533 3: utf-8-addr-unitext.
            false => address.to_string(),
        };
        Some(alloc::format!("{kind};{decoded}"))
    }

    /// The same for a server without SMTPUTF8: what is not ASCII in ORCPT in its 7-bit form (RFC 6533 3).
    pub fn in_ascii(&self) -> Self {
        let ascii = |text: &str| {
            let mut out = String::new();
            for c in text.chars() {
                match c.is_ascii() {
                    true => out.push(c),
                    false => {
                        // A String takes everything that is written to it.
                        let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
                    }
                }
            }
            out.into_boxed_str()
        };
        Self {
            notify: self.notify,
            original: self.original.as_deref().map(ascii),
        }
    }

    /// Whether the sender is to be told of a failure (RFC 3461 5.2.6).
    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(|notify| notify.failure)
    }

    /// Whether the sender may be told of a delay (RFC 3461 5.2.5).
    pub fn wants_delay(&self) -> bool {
        self.notify.is_none_or(|notify| notify.delay)
    }

    /// Whether the sender is to be told of the delivery (RFC 3461 5.2.3).
    pub fn wants_success(&self) -> bool {
        self.notify.is_some_and(|notify| notify.success)
    }
}

/// RFC 3461 4.2; with SMTPUTF8 the address of type utf-8 may be written as it is (RFC 6533 3).
fn original(value: &[u8], utf8: bool) -> Option<Box<str>> {
    let text = core::str::from_utf8(value).ok()?;
    let (kind, address) = text.split_once(';')?;
    let is_atom = |kind: &str| kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if kind.is_empty() || address.is_empty() || !is_atom(kind) {
        return None;
    }
    match address.is_ascii() {
        true => printable_xtext(address.as_bytes())?,
        false if utf8 && kind.eq_ignore_ascii_case("utf-8") => address.into(),
        false => return None,
    };
    Some(text.into())
}

/// xtext that stands for printable characters of ASCII and spaces, as it is written.
fn printable_xtext(text: &[u8]) -> Option<Box<str>> {
    let decoded = xtext_decode(text)?;
    let is_printable = decoded.iter().all(|b| matches!(b, b' '..=b'~'));
    let text = core::str::from_utf8(text).ok().filter(|_| is_printable)?;
    Some(text.into())
}

/// As MAIL carries them, each with a space before it.
impl fmt::Display for MailDsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ret {
            Some(Return::Full) => f.write_str(" RET=FULL")?,
            Some(Return::Headers) => f.write_str(" RET=HDRS")?,
            None => {}
        }
        match &self.envelope_id {
            Some(id) => write!(f, " ENVID={id}"),
            None => Ok(()),
        }
    }
}

/// As RCPT carries them, each with a space before it.
impl fmt::Display for RcptDsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(notify) = self.notify {
            f.write_str(" NOTIFY=")?;
            let wishes = [
                (notify.success, "SUCCESS"),
                (notify.failure, "FAILURE"),
                (notify.delay, "DELAY"),
            ];
            let mut words = wishes
                .iter()
                .filter(|(wish, _)| *wish)
                .map(|(_, word)| word);
            f.write_str(words.next().unwrap_or(&"NEVER"))?;
            for word in words {
                write!(f, ",{word}")?;
            }
        }
        match &self.original {
            Some(original) => write!(f, " ORCPT={original}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rcpt(text: &str, utf8: bool) -> Result<RcptDsn, BadParam> {
        let mut dsn = RcptDsn::default();
        for param in Params::new(text.as_bytes()) {
            assert!(dsn.take(&param?, utf8)?, "{text}");
        }
        Ok(dsn)
    }

    #[test]
    fn what_is_kept_is_what_was_typed_and_reads_as_itself() {
        for (typed, kept, decoded) in [
            ("NOTIFY=never", " NOTIFY=NEVER", None),
            ("notify=Delay,SUCCESS", " NOTIFY=SUCCESS,DELAY", None),
            (
                "ORCPT=rfc822;Ann+2Bx@Example.ORG NOTIFY=FAILURE",
                " NOTIFY=FAILURE ORCPT=rfc822;Ann+2Bx@Example.ORG",
                Some("rfc822;Ann+x@Example.ORG"),
            ),
            (
                "ORCPT=utf-8;\u{fc}@x.example",
                " ORCPT=utf-8;\u{fc}@x.example",
                Some("utf-8;\u{fc}@x.example"),
            ),
        ] {
            let dsn = rcpt(typed, true).unwrap();
            assert_eq!(dsn.to_string(), kept);
            assert_eq!(RcptDsn::parse(kept), dsn);
            assert_eq!(dsn.decoded_original().as_deref(), decoded);
        }
        let dsn = MailDsn::parse("ret=hdrs ENVID=a+20b");
        assert_eq!(dsn.to_string(), " RET=HDRS ENVID=a+20b");
        assert_eq!(dsn.decoded_envelope_id().as_deref(), Some("a b"));
    }

    #[test]
    fn what_is_not_well_formed_or_given_twice_is_refused() {
        let long = alloc::format!("ORCPT=rfc822;{}", "x".repeat(ORIGINAL_MAX));
        for bad in [
            "NOTIFY",
            "NOTIFY=NEVER,SUCCESS",
            "NOTIFY=SUCCESS,",
            "NOTIFY=SOMETIMES",
            "NOTIFY=NEVER NOTIFY=NEVER",
            "ORCPT=ann@x.example",
            "ORCPT=;ann@x.example",
            "ORCPT=rfc822;",
            "ORCPT=rfc822;a+0Ab",
            "ORCPT=rfc822;a+b",
            "ORCPT=rfc_822;a",
            "ORCPT=rfc822;\u{fc}@x.example",
            &long,
        ] {
            assert_eq!(rcpt(bad, true), Err(BadParam), "{bad}");
        }
        assert!(rcpt("ORCPT=utf-8;\u{fc}@x.example", false).is_err());
    }
}
