//! How the store keeps what is known of a password.

use bytes::Bytes;
use mox_machine::Secret;
use mox_sasl::Credentials;

/// Layout of the row; the first octet.
const VERSION: u8 = 1;

/// Credentials as an account's row holds them: a version, then postcard.
pub fn encode_credentials(credentials: &Credentials) -> Secret<Bytes> {
    // Writing to memory cannot fail, and no field is of a kind that postcard refuses.
    let row = postcard::to_extend(credentials, vec![VERSION]).unwrap_or_default();
    Secret::new(row.into())
}

/// Credentials from an account's row; `None` when the account has no password yet, or the row is of no known layout.
pub fn decode_credentials(row: &Secret<Bytes>) -> Option<Credentials> {
    match row.expose().split_first()? {
        (&VERSION, rest) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_machine::Seed;
    use mox_sasl::Iterations;

    #[test]
    fn credentials_and_their_row_are_inverse() {
        let credentials =
            Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
        let row = encode_credentials(&credentials);
        assert_eq!(decode_credentials(&row), Some(credentials));
        assert_eq!(decode_credentials(&Secret::new(Bytes::new())), None);
        assert_eq!(
            decode_credentials(&Secret::new(Bytes::from_static(&[9, 1]))),
            None
        );
        let cut = row.expose().slice(..row.expose().len() - 1);
        assert_eq!(decode_credentials(&Secret::new(cut)), None);
    }
}
