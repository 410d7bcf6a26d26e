//! Passwords: made up, and in the form the store keeps them.

use bytes::Bytes;
use mox_machine::{Secret, Seed};
use mox_sasl::{Credentials, Iterations};
use mox_server::encode_credentials;

use crate::failure::Failure;

/// Characters of a password at least.
pub const PASSWORD_MIN: usize = 8;

/// Letters and digits that nobody confuses: no 0 O o, 1 l I, 5 S, 2 Z, 8 B, u v.
const ALPHABET: &[u8] = b"34679abcdefghijkmnpqrstwxyzACDEFGHJKLMNPQRTUVWXY";
/// 20 characters of 48: 111 bits.
const LENGTH: usize = 20;

/// A new password of at least 96 bits.
pub fn generate_password(seed: &Seed) -> Secret<String> {
    let mut rng = seed.rng();
    let mut draw = || {
        let n = usize::try_from(rng.below(ALPHABET.len() as u64)).unwrap_or_default();
        ALPHABET.get(n).copied().unwrap_or(b'x') as char
    };
    let mut password = String::new();
    for n in 0..LENGTH {
        if n > 0 && n % 5 == 0 {
            password.push('-');
        }
        password.push(draw());
    }
    Secret::new(password)
}

/// What is stored of a password; with what CRAM-MD5 needs only where that is offered. Takes milliseconds.
pub fn derive(
    password: &Secret<String>,
    cram_md5: bool,
    seed: &Seed,
) -> Result<Secret<Bytes>, Failure> {
    if password.expose().len() < PASSWORD_MIN {
        return Err(Failure::Failed(format!(
            "a password needs at least {PASSWORD_MIN} characters; choose a longer one, or use --generate"
        )));
    }
    let derived = Credentials::derive(password.expose(), seed, Iterations::default());
    let credentials = match cram_md5 {
        true => derived.and_then(|credentials| credentials.with_cram_md5(password.expose())),
        false => derived,
    };
    let credentials =
        credentials.map_err(|e| Failure::Failed(format!("this password cannot be used: {e}")))?;
    Ok(encode_credentials(&credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_readable_and_never_the_same() {
        let password = generate_password(&Seed::from_number(1));
        assert_eq!(password.expose().len(), 23);
        assert!(!password.expose().contains(['0', 'O', 'l', 'I', '1']));
        assert!(password != generate_password(&Seed::from_number(2)));
        assert!(derive(&password, false, &Seed::from_number(3)).is_ok());
        assert!(derive(&Secret::new("1234567".into()), false, &Seed::from_number(3)).is_err());
    }
}
