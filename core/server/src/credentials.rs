//! How the store keeps what is known of a password.

use bytes::Bytes;
use mox_machine::Secret;
use mox_sasl::{Credentials, HmacMd5};

/// Layout of the row, its first octet: the keys of SCRAM.
const VERSION: u8 = 1;
/// The same, and behind it what CRAM-MD5 needs.
const VERSION_CRAM_MD5: u8 = 2;

/// Credentials as an account's row holds them: a version, then postcard.
pub fn encode_credentials(credentials: &Credentials) -> Secret<Bytes> {
    // Writing to memory cannot fail, and no field is of a kind that postcard refuses.
    let row = match credentials.cram_md5() {
        None => postcard::to_extend(credentials, vec![VERSION]),
        Some(cram_md5) => postcard::to_extend(&(credentials, cram_md5), vec![VERSION_CRAM_MD5]),
    };
    Secret::new(row.unwrap_or_default().into())
}

/// Credentials from an account's row; `None` when the account has no password yet, or the row is of no known layout.
pub fn decode_credentials(row: &Secret<Bytes>) -> Option<Credentials> {
    match row.expose().split_first()? {
        (&VERSION, rest) => postcard::from_bytes(rest).ok(),
        (&VERSION_CRAM_MD5, rest) => {
            let (mut credentials, cram_md5): (Credentials, HmacMd5) =
                postcard::from_bytes(rest).ok()?;
            credentials.set_cram_md5(cram_md5);
            Some(credentials)
        }
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
        let scram = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
        let all = scram.clone().with_cram_md5("secret").unwrap();
        for (credentials, version) in [(scram, 1), (all, 2)] {
            let row = encode_credentials(&credentials);
            assert_eq!(row.expose().first(), Some(&version));
            assert_eq!(decode_credentials(&row), Some(credentials));
            let cut = row.expose().slice(..row.expose().len() - 1);
            assert_eq!(decode_credentials(&Secret::new(cut)), None);
        }
        assert_eq!(decode_credentials(&Secret::new(Bytes::new())), None);
        assert_eq!(
            decode_credentials(&Secret::new(Bytes::from_static(&[9, 1]))),
            None
        );
    }
}
