//! Authentication-Results: RFC 8601.

use crate::fold::Folded;

/// Characters of a value at most; a longer one is left out, since half of it would be a lie.
const VALUE_MAX: usize = 400;
/// Characters of a comment or a reason that are written.
const COMMENT_MAX: usize = 120;
/// Octets of a field that are looked at for the name it carries.
pub const AUTHSERV_ID_WITHIN: usize = 4 * 1024;

/// What one method came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MethodResult<'a> {
    /// The method: `spf`.
    pub method: &'static str,
    /// The result: `pass`.
    pub result: &'static str,
    /// More about it, for people. Somebody else may have written it.
    pub comment: Option<String>,
    /// Why, in the words of the standard's reason=. Somebody else may have written it.
    pub reason: Option<&'a str>,
    /// What the result is about: `smtp.mailfrom` and the like, each with a value that somebody else may have written.
    pub properties: Vec<(&'static str, String)>,
}

/// The field with its name and its line end, folded. `authserv_id` is the host that did the checks. Whatever the values
/// are, none of them ends a result, a line or the field.
pub fn authentication_results(authserv_id: &str, results: &[MethodResult<'_>]) -> String {
    let mut field = Folded::new("Authentication-Results");
    let end = |last: bool| if last { "" } else { ";" };
    field.token(&format!("{};", value(authserv_id).unwrap_or_default()));
    if results.is_empty() {
        field.token("none");
    }
    for (n, result) in results.iter().enumerate() {
        let mut tokens = vec![format!("{}={}", result.method, result.result)];
        if let Some(text) = result.comment.as_deref().map(comment) {
            tokens.push(text);
        }
        if let Some(reason) = result.reason {
            let text: String = reason.chars().take(COMMENT_MAX).collect();
            tokens.push(format!("reason={}", quoted(&text)));
        }
        for (name, text) in &result.properties {
            if let Some(value) = value(text) {
                tokens.push(format!("{name}={value}"));
            }
        }
        if let Some(last) = tokens.last_mut() {
            last.push_str(end(n + 1 == results.len()));
        }
        field.line();
        for token in &tokens {
            field.token(token);
        }
    }
    field.finish()
}

/// A value (RFC 8601 2.2): as it is when all of its characters may stand there, else in quotes. Characters outside of ASCII become
/// question marks, since not everybody who reads the field can read them.
fn value(text: &str) -> Option<String> {
    if text.chars().count() > VALUE_MAX {
        return None;
    }
    // A token of RFC 2045 5.1, and `@`, which addresses have.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~@".contains(&b);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Some(text.to_owned()),
        false => Some(quoted(text)),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

fn comment(text: &str) -> String {
    let inside = text
        .chars()
        .filter(|c| matches!(c, ' '..='~') && !['(', ')', '\\'].contains(c))
        .take(COMMENT_MAX);
    format!("({})", inside.collect::<String>())
}

/// Whose results a field claims to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthservId {
    /// The name, in lower case, without quotes and without a final dot.
    Name(Vec<u8>),
    /// None that can be read.
    Unreadable,
}

/// Reads whose results a field claims to be, from its value: a token or a quoted string behind comments and space (RFC 8601
/// 2.2). Only the first [`AUTHSERV_ID_WITHIN`] octets are looked at.
pub fn authserv_id(value: &[u8]) -> AuthservId {
    let value = value.get(..AUTHSERV_ID_WITHIN).unwrap_or(value);
    read_id(value).map_or(AuthservId::Unreadable, |mut id| {
        id.make_ascii_lowercase();
        if id.last() == Some(&b'.') {
            id.pop();
        }
        AuthservId::Name(id)
    })
}

fn read_id(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = skip_comments(value)?;
    let mut id = Vec::new();
    if let Some(text) = rest.strip_prefix(b"\"") {
        let mut octets = text.iter();
        loop {
            match octets.next()? {
                b'"' => break,
                b'\\' => id.push(*octets.next()?),
                b'\r' | b'\n' => {}
                octet => id.push(*octet),
            }
        }
        rest = octets.as_slice();
    } else {
        let is_token = |b: &u8| {
            !b.is_ascii_whitespace() && !b.is_ascii_control() && !b"()<>@,;:\\\"/[]?=".contains(b)
        };
        let end = rest.iter().position(|b| !is_token(b)).unwrap_or(rest.len());
        let (token, behind) = rest.split_at_checked(end)?;
        id.extend_from_slice(token);
        rest = behind;
    }
    // A version may stand behind it; anything else and it is not clear where the name ends.
    let rest = skip_comments(rest)?;
    let rest = rest.trim_ascii_start();
    let is_end = rest.is_empty() || rest.starts_with(b";");
    let is_version = rest.first().is_some_and(u8::is_ascii_digit);
    (!id.is_empty() && (is_end || is_version)).then_some(id)
}

/// Behind white space and comments, which may have comments in them.
fn skip_comments(value: &[u8]) -> Option<&[u8]> {
    let mut rest = value.trim_ascii_start();
    while let Some(inside) = rest.strip_prefix(b"(") {
        let mut open = 1_usize;
        let mut octets = inside.iter();
        while open > 0 {
            match octets.next()? {
                b'(' => open += 1,
                b')' => open -= 1,
                b'\\' => drop(octets.next()?),
                _ => {}
            }
        }
        rest = octets.as_slice().trim_ascii_start();
    }
    Some(rest)
}
