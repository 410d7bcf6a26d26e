//! ESMTP parameters (RFC 5321 4.1.2) and xtext (RFC 3461 4).

use super::command::is_space;
use alloc::string::String;
use alloc::vec::Vec;

/// One parameter of MAIL or RCPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its keyword as typed.
    pub keyword: &'a [u8],
    /// What follows the `=`, if there is one. Never empty.
    pub value: Option<&'a [u8]>,
}

impl Param<'_> {
    /// Whether this is the keyword, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword.as_bytes())
    }
}

/// A parameter that is not `keyword` or `keyword=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadParam;

/// The parameters of a command, in order.
#[derive(Debug, Clone)]
pub struct Params<'a> {
    rest: &'a [u8],
}

impl<'a> Params<'a> {
    /// Over what stands behind the closing bracket.
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Result<Param<'a>, BadParam>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.trim_ascii_start();
        if text.is_empty() {
            return None;
        }
        let end = text.iter().position(|&b| is_space(b)).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        Some(param(word))
    }
}

fn param(word: &[u8]) -> Result<Param<'_>, BadParam> {
    let mut halves = word.splitn(2, |&b| b == b'=');
    let keyword = halves.next().unwrap_or_default();
    let value = halves.next();
    let keyword_fits = keyword.first().is_some_and(u8::is_ascii_alphanumeric)
        && keyword
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || b == b'-');
    let value_fits = value.is_none_or(|value| {
        !value.is_empty() && value.iter().all(|&b| b > b' ' && b != b'=' && b != 0x7f)
    });
    if keyword_fits && value_fits {
        Ok(Param { keyword, value })
    } else {
        Err(BadParam)
    }
}

/// Decodes xtext; `None` when it is not xtext.
pub fn xtext_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&b) = bytes.next() {
        out.push(match b {
            b'+' => {
                let mut hex = || match bytes.next()? {
                    b @ b'0'..=b'9' => Some(b - b'0'),
                    b @ b'A'..=b'F' => Some(b - b'A' + 10),
                    _ => None,
                };
                hex()? * 16 + hex()?
            }
            b'=' => return None,
            0x21..=0x7e => b,
            _ => return None,
        });
    }
    Some(out)
}

/// Encodes as xtext.
pub fn xtext_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &b in bytes {
        if matches!(b, 0x21..=0x7e) && b != b'+' && b != b'=' {
            out.push(char::from(b));
        } else {
            out.push('+');
            for half in [b >> 4, b & 15] {
                out.push(char::from(match half {
                    0..=9 => b'0' + half,
                    _ => b'A' + half - 10,
                }));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_keywords_with_or_without_a_value() {
        let all = |text: &'static [u8]| Params::new(text).collect::<Result<Vec<_>, _>>();
        assert_eq!(
            all(b"SIZE=10  smtputf8 "),
            Ok(alloc::vec![
                Param {
                    keyword: b"SIZE",
                    value: Some(b"10")
                },
                Param {
                    keyword: b"smtputf8",
                    value: None
                },
            ])
        );
        assert_eq!(all(b""), Ok(Vec::new()));
        for bad in [&b"=x"[..], b"A=", b"A=b=c", b"-A=1", b"A_B=1", b"A=\x01"] {
            assert_eq!(Params::new(bad).next(), Some(Err(BadParam)), "{bad:?}");
        }
    }

    #[test]
    fn xtext_is_decoded_only_when_whole() {
        assert_eq!(xtext_decode(b"a+3Db").unwrap(), b"a=b");
        for bad in [&b"a+"[..], b"a+3", b"a+3d", b"a=b", b"a b", b"\xff"] {
            assert_eq!(xtext_decode(bad), None, "{bad:?}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(xtext_decode(xtext_encode(&all).as_bytes()).unwrap(), all);
    }
}
