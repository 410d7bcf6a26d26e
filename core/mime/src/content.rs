//! The Content-* fields of RFC 2045 and 2183, taken leniently.

use alloc::vec::Vec;

use crate::Params;
use crate::lexer::{Lexer, clean, is_space};

/// Media type, subtype and parameters; `None` for what has no `type/subtype` (RFC 2045 5.2: take the default then).
pub(crate) fn content_type(value: &[u8], max_params: usize) -> Option<(Vec<u8>, Vec<u8>, Params)> {
    let mut lexer = Lexer::new(value);
    let media = token(&mut lexer)?;
    lexer.cfws();
    if !lexer.eat(b'/') {
        return None;
    }
    let subtype = token(&mut lexer)?;
    Some((media, subtype, params(&mut lexer, max_params)))
}

/// Content-Disposition, RFC 2183.
pub(crate) fn disposition(value: &[u8], max_params: usize) -> Option<(Vec<u8>, Params)> {
    let mut lexer = Lexer::new(value);
    let kind = token(&mut lexer)?;
    Some((kind, params(&mut lexer, max_params)))
}

/// A field that is one token, as Content-Transfer-Encoding.
pub(crate) fn one_token(value: &[u8]) -> Option<Vec<u8>> {
    token(&mut Lexer::new(value))
}

/// Content-Language, RFC 3282: tags separated by commas.
pub(crate) fn languages(value: &[u8], max: usize) -> Vec<Vec<u8>> {
    let mut lexer = Lexer::new(value);
    let mut tags = Vec::new();
    while tags.len() < max {
        tags.extend(token(&mut lexer));
        lexer.take_while(|c| c != b',');
        if !lexer.eat(b',') {
            break;
        }
    }
    tags
}

fn token(lexer: &mut Lexer<'_>) -> Option<Vec<u8>> {
    lexer.cfws();
    let token = lexer.take_while(is_token);
    (!token.is_empty()).then(|| token.to_vec())
}

/// RFC 2045 5.1; non-ASCII octets pass, since they are seen in parameters.
fn is_token(c: u8) -> bool {
    c > b' ' && c != 0x7f && !b"()<>@,;:\\\"/[]?=".contains(&c)
}

/// Parameters, with or without the semicolons that should stand between them.
fn params(lexer: &mut Lexer<'_>, max: usize) -> Params {
    let mut params = Vec::new();
    while params.len() < max {
        lexer.cfws();
        let name = lexer.take_while(is_token);
        lexer.cfws();
        if !name.is_empty() && lexer.eat(b'=') {
            params.push((name.to_vec(), value(lexer)));
        } else if name.is_empty() && lexer.bump().is_none() {
            break;
        }
    }
    params
}

/// A quoted string, or words up to what looks like the next parameter: unquoted file names with spaces are common.
fn value(lexer: &mut Lexer<'_>) -> Vec<u8> {
    lexer.cfws();
    if lexer.peek() == Some(b'"') {
        return lexer.quoted();
    }
    let in_word = |c: u8| !is_space(c) && c != b';';
    let mut value = clean(lexer.take_while(in_word));
    loop {
        let mut ahead = *lexer;
        ahead.cfws();
        let word = ahead.take_while(in_word);
        let begins_next = match word.iter().position(|c| *c == b'=') {
            Some(equals) => equals > 0 && word.iter().take(equals).all(|c| is_token(*c)),
            None => false,
        };
        if word.is_empty() || begins_next {
            return value;
        }
        value.push(b' ');
        value.extend(clean(word));
        *lexer = ahead;
    }
}
