//! User names and passwords in the one form that is compared.
//!
//! Both follow RFC 8265: Unicode normalised to NFC, other spaces in passwords made U+0020 (OpaqueString), control
//! characters refused. Not checked: the bidi rule, width mapping, and code points that Unicode has not assigned.
//! RFC 5802 asks for SASLprep (NFKC), which differs from this only for compatibility characters such as ligatures.

use alloc::string::String;
use unicode_normalization::UnicodeNormalization;

use crate::Failure;

/// The longest user name, in octets.
pub const USER_MAX: usize = 320;
/// The longest password, in octets, before and after preparation.
pub const PASSWORD_MAX: usize = 1_024;

/// A user name as it is compared. Case is kept: whoever looks the user up decides about it.
pub fn prepare_user(user: &str) -> Result<String, Failure> {
    prepare(user, USER_MAX, |c| c)
}

/// A password as it is derived from.
pub fn prepare_password(password: &str) -> Result<String, Failure> {
    prepare(password, PASSWORD_MAX, |c| {
        if c.is_whitespace() { ' ' } else { c }
    })
}

fn prepare(text: &str, max: usize, map: fn(char) -> char) -> Result<String, Failure> {
    if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
        return Err(Failure::NotPrepared);
    }
    if text.is_ascii() {
        return Ok(String::from(text));
    }
    let prepared: String = text.chars().map(map).nfc().collect();
    if prepared.len() > max {
        return Err(Failure::NotPrepared);
    }
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_the_same_and_controls_are_refused() {
        assert_eq!(prepare_password("e\u{301}\u{a0}x").unwrap(), "\u{e9} x");
        assert_eq!(prepare_password("a b").unwrap(), "a b");
        assert_eq!(prepare_user("Ü@x").unwrap(), "Ü@x");
        for bad in ["", "a\0b", "a\tb", "a\u{85}b", "a\u{7f}"] {
            assert_eq!(prepare_password(bad), Err(Failure::NotPrepared), "{bad:?}");
            assert_eq!(prepare_user(bad), Err(Failure::NotPrepared), "{bad:?}");
        }
        assert!(prepare_password(&"x".repeat(PASSWORD_MAX)).is_ok());
        assert!(prepare_password(&"x".repeat(PASSWORD_MAX + 1)).is_err());
    }
}
