//! Tokens that get a message past the junk filter: whoever is refused is given one, and puts it into the Subject.
//!
//! `(pass:B64)`: four octets of a header (a version of 4 bits, 28 bits of the second divided by 256) and twelve of an
//! HMAC-SHA-256 over header and author, in base64url. What a token opens is one recipient's mailbox, to one author, for a time.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use core::time::Duration;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::decision::Token;

/// How much a token may be from the future: clocks are set back.
const FUTURE_MAX: i64 = 600;
/// Octets of the MAC that are kept.
const MAC_LEN: usize = 12;
const BEGIN: &str = "(pass:";

/// A new token for this author.
pub fn subject_token(key: &[u8], author: &str, at: i64) -> Option<String> {
    let header = u32::try_from((at >> 8) & 0x0fff_ffff).ok()?.to_be_bytes();
    let mac = keyed(key, header, author)?.finalize().into_bytes();
    let octets = [&header[..], mac.get(..MAC_LEN)?].concat();
    Some(format!("{BEGIN}{})", BASE64_URL_SAFE_NO_PAD.encode(octets)))
}

/// What a Subject has to show. A token that its program folded counts.
pub fn check_subject_token(
    key: &[u8],
    subject: &str,
    author: &str,
    now: i64,
    period: Duration,
) -> Token {
    let Some((_, rest)) = subject.split_once(BEGIN) else {
        return Token::Absent;
    };
    let text: String = rest.chars().take_while(|c| *c != ')').collect();
    let text: String = text.split_whitespace().collect();
    let read = || {
        let octets = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (header, mac) = octets.split_first_chunk::<4>()?;
        (mac.len() == MAC_LEN && header.first()? >> 4 == 0).then_some((*header, mac.to_vec()))
    };
    let invalid = |why: &str| Token::Invalid(why.into());
    let Some((header, mac)) = read() else {
        return invalid("the token in the Subject is malformed");
    };
    let Some(keyed) = keyed(key, header, author) else {
        return invalid("the token in the Subject cannot be checked");
    };
    // In constant time.
    if keyed.verify_truncated_left(&mac).is_err() {
        return invalid(
            "the token in the Subject is not ours, or not for this author and recipient",
        );
    }
    let age = now - (i64::from(u32::from_be_bytes(header)) << 8);
    if age < -FUTURE_MAX {
        return invalid("the token in the Subject is from the future");
    }
    if age > i64::try_from(period.as_secs()).unwrap_or(i64::MAX) {
        return invalid("the token in the Subject is too old");
    }
    Token::Valid
}

fn keyed(key: &[u8], header: [u8; 4], author: &str) -> Option<Hmac<Sha256>> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).ok()?;
    mac.update(&header);
    mac.update(author.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef";
    const AUTHOR: &str = "user@example.org";
    const AT: i64 = 1_700_000_000;
    const HOURS: Duration = Duration::from_secs(12 * 3600);

    fn check(subject: &str, author: &str, now: i64) -> Token {
        check_subject_token(KEY, subject, author, now, HOURS)
    }

    #[test]
    fn a_token_is_good_for_its_author_and_its_time() {
        let token = subject_token(KEY, AUTHOR, AT).unwrap();
        assert_eq!(token, "(pass:AGVT8Rfj0a2QSltmwzbWwQ)");
        let subject = format!("Re: hello {token} again");
        for now in [AT - 300, AT, AT + 11 * 3600] {
            assert_eq!(check(&subject, AUTHOR, now), Token::Valid);
        }
        let folded = subject.replace("j0a2", "j0\r\n a2");
        assert_eq!(check(&folded, AUTHOR, AT), Token::Valid);
        for (subject, author, now, why) in [
            (&subject, AUTHOR, AT + 13 * 3600, "too old"),
            (&subject, AUTHOR, AT - 1_000, "from the future"),
            (&subject, "other@example.org", AT, "not ours"),
            (&subject.replace("j0a2", "j0a3"), AUTHOR, AT, "not ours"),
            (&subject.replace("AGVT", "EGVT"), AUTHOR, AT, "malformed"),
            (&subject.replace("wQ)", ")"), AUTHOR, AT, "malformed"),
            (&"(pass:".to_owned(), AUTHOR, AT, "malformed"),
        ] {
            let Token::Invalid(said) = check(subject, author, now) else {
                panic!("{subject} is good");
            };
            assert!(said.contains(why), "{subject}: {said}");
        }
        assert_eq!(
            check("pass:AGVT8Rfj0a2QSltmwzbWwQ", AUTHOR, AT),
            Token::Absent
        );
    }
}
