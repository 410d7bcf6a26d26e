//! Time as log lines and tables show it.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use mox_machine::{Rfc3339, Utc, Zone};

/// The system's clock.
pub(crate) fn now() -> Utc {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Utc(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn millis(utc: Utc) -> String {
    let seconds = utc.to_string();
    let fraction = utc.0.rem_euclid(1_000_000) / 1_000;
    format!("{}.{fraction:03}Z", seconds.trim_end_matches('Z'))
}

/// A moment given on the command line, for commands to which time matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Utc);

/// The moment given, else the system's clock.
pub(crate) fn given_or_now(moment: Option<Moment>) -> Utc {
    moment.map_or_else(now, |moment| moment.0)
}

/// RFC 3339: `2026-01-02T03:04:05Z`, also with a fraction and with an offset such as `+02:00`.
impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment = Rfc3339::parse(text).filter(|moment| moment.zone != Zone::Missing);
        moment.map(|moment| Self(moment.utc)).ok_or(
            "not a moment of RFC 3339; write it like 2026-01-02T03:04:05Z or 2026-01-02T03:04:05+02:00",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_says() {
        let moment = Utc(1_767_323_045_067_999);
        assert_eq!(millis(moment), "2026-01-02T03:04:05.067Z");
        assert_eq!(millis(Utc(-1)), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn moments_are_read_as_rfc_3339_says() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-02t03:04:05z", 1_767_323_045_000_000),
            ("2026-01-02T03:04:05.067999Z", 1_767_323_045_067_999),
            ("2026-01-02T03:04:05.5Z", 1_767_323_045_500_000),
            ("2026-01-02 05:04:05.1234567+02:00", 1_767_323_045_123_456),
            ("2026-01-01T23:34:05-03:30", 1_767_323_045_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Moment(Utc(micros))), "{text}");
        }
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-1-2T03:04:05Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+2:00",
            "2026-01-02T03:04:05+02:60",
            "2026-01-02T03:04:05ZZ",
            "+026-01-02T03:04:05Z",
            "2026-01-0\u{fc}T03:04:05Z",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
