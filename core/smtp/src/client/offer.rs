//! What a server said it can do in its reply to EHLO.

use alloc::string::String;
use alloc::vec::Vec;

/// The extensions a server offers. Forgotten with TLS: it must say them again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// PIPELINING, RFC 2920.
    pub pipelining: bool,
    /// SIZE, RFC 1870: octets at most, `None` when it names no maximum.
    pub size: Option<u64>,
    /// SIZE was offered, with or without a maximum.
    pub takes_size: bool,
    /// 8BITMIME, RFC 6152.
    pub eight_bit: bool,
    /// SMTPUTF8, RFC 6531.
    pub utf8: bool,
    /// STARTTLS, RFC 3207.
    pub start_tls: bool,
    /// DSN, RFC 3461.
    pub dsn: bool,
    /// REQUIRETLS, RFC 8689.
    pub require_tls: bool,
    /// AUTH, RFC 4954: its mechanisms in upper case, at most [`MECHANISMS`](Self::MECHANISMS).
    pub mechanisms: Vec<String>,
    /// LIMITS RCPTMAX, RFC 9422.
    pub recipients: Option<usize>,
    /// LIMITS MAILMAX, RFC 9422.
    pub messages: Option<usize>,
}

impl Offer {
    /// The most mechanisms that are looked at.
    pub const MECHANISMS: usize = 32;

    /// Reads the lines behind the first of a reply to EHLO.
    pub(super) fn parse(text: &str) -> Self {
        let mut offer = Self::default();
        for line in text.split('\n').skip(1) {
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else {
                continue;
            };
            match keyword.to_ascii_uppercase().as_str() {
                "PIPELINING" => offer.pipelining = true,
                "SIZE" => {
                    offer.takes_size = true;
                    // Zero, like nothing, names no maximum (RFC 1870 4).
                    offer.size = words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
                }
                "8BITMIME" => offer.eight_bit = true,
                "SMTPUTF8" => offer.utf8 = true,
                "STARTTLS" => offer.start_tls = true,
                "DSN" => offer.dsn = true,
                "REQUIRETLS" => offer.require_tls = true,
                "AUTH" => {
                    let room = Self::MECHANISMS.saturating_sub(offer.mechanisms.len());
                    offer
                        .mechanisms
                        .extend(words.take(room).map(str::to_ascii_uppercase));
                }
                "LIMITS" => {
                    for word in words {
                        let (name, value) = word.split_once('=').unwrap_or((word, ""));
                        match name.to_ascii_uppercase().as_str() {
                            "RCPTMAX" => offer.recipients = value.parse().ok(),
                            "MAILMAX" => offer.messages = value.parse().ok(),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        offer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_read_in_any_case_and_the_first_line_is_none() {
        let offer = Offer::parse(
            "PIPELINING\nsize 1000\nAuth plain LOGIN\n8BITMIME\nLIMITS RCPTMAX=20 MAILMAX=x\nX",
        );
        assert!(!offer.pipelining && offer.eight_bit && !offer.utf8);
        assert_eq!((offer.takes_size, offer.size), (true, Some(1_000)));
        assert_eq!(offer.mechanisms, ["PLAIN", "LOGIN"]);
        assert_eq!((offer.recipients, offer.messages), (Some(20), None));
        assert_eq!(Offer::parse("x\nSIZE 0").size, None);
        assert!(Offer::parse("x\nSIZE").takes_size);
    }
}
