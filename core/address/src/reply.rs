//! SMTP replies and enhanced status codes.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// An enhanced mail system status code, RFC 3463: class.subject.detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A reply of an SMTP server, RFC 5321 4.2. Its text may hold several lines, separated by LF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits, 200 to 599.
    pub code: u16,
    /// The enhanced status code (RFC 2034), absent where the reply has none.
    pub enhanced: Option<Enhanced>,
    /// What follows the codes, for people.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status code.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let class = u8::try_from(code / 100).unwrap_or(5);
        Self {
            code,
            enhanced: Some(Enhanced(class, subject, detail)),
            text: text.into(),
        }
    }

    /// A reply without an enhanced status code.
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            enhanced: None,
            text: text.into(),
        }
    }

    /// 2xx.
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx: worth trying again later.
    pub const fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: final.
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// On one line, as logs and DSNs quote it: `550 5.1.1 no such user`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        let text: String = self
            .text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        write!(f, " {text}")
    }
}
