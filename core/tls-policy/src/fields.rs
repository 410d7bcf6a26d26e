//! The grammar that the records of MTA-STS and TLS reporting share: a version, then `name=value` between semicolons.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Octets of a record at most; a longer one is not read.
pub(crate) const RECORD_MAX: usize = 8 * 1024;
/// Fields of a record at most; those behind them are not read.
const FIELDS_MAX: usize = 64;

/// Something wrong with a record or a policy that does not keep it from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// The field; cut to its first characters.
    pub field: String,
    /// What is wrong.
    pub what: &'static str,
}

impl Defect {
    pub(crate) fn new(field: &str, what: &'static str) -> Self {
        Self {
            field: field.chars().take(40).collect(),
            what,
        }
    }
}

/// Whether a TXT record begins with a version and the semicolon behind it. The version alone counts too: it is a record that
/// lacks everything, not one of somebody else.
pub(crate) fn has_version(text: &[u8], version: &str) -> bool {
    text.strip_prefix(version.as_bytes())
        .is_some_and(|rest| matches!(rest.trim_ascii_start(), [] | [b';', ..]))
}

/// The fields behind the version, each with its name and value; one without `=` has no value. Only white space around a
/// semicolon belongs to no field.
pub(crate) fn fields<'a>(
    text: &'a [u8],
    version: &str,
) -> Result<Vec<(&'a str, Option<&'a str>)>, &'static str> {
    if !has_version(text, version) {
        return Err("it does not begin with its version");
    }
    if text.len() > RECORD_MAX {
        return Err("it is too long");
    }
    let text = core::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
    let mut fields = Vec::new();
    let mut specs = text.split(';').skip(1).map(trim).peekable();
    while let Some(spec) = specs.next() {
        if spec.is_empty() && specs.peek().is_none() {
            break;
        }
        if fields.len() == FIELDS_MAX {
            break;
        }
        fields.push(match spec.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (spec, None),
        });
    }
    Ok(fields)
}

/// An extension nobody here knows: whether it is one at all.
pub(crate) fn extension(name: &str, value: Option<&str>) -> Result<(String, String), &'static str> {
    if !is_extension_name(name) {
        return Err("is not the name of a field");
    }
    match value {
        Some("") | None => Err("has no value"),
        Some(value) if value.bytes().all(|b| b.is_ascii_graphic() && b != b'=') => {
            Ok((name.to_string(), value.to_string()))
        }
        Some(_) => Err("has a value with characters that may not be in one"),
    }
}

/// A letter or digit, then at most 31 of those, `_`, `-` and `.`.
pub(crate) fn is_extension_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
