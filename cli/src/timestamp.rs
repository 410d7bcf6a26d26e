//! Time as log lines and tables show it.

use std::time::{SystemTime, UNIX_EPOCH};

use mox_machine::Utc;

/// The system's clock.
pub(crate) fn now() -> Utc {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Utc(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// RFC 3339 in UTC, to the second: `2026-01-02T03:04:05Z`.
pub(crate) fn seconds(utc: Utc) -> String {
    let c = utc.civil();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        c.year, c.month, c.day, c.hour, c.minute, c.second
    )
}

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn millis(utc: Utc) -> String {
    let seconds = seconds(utc);
    let fraction = utc.0.rem_euclid(1_000_000) / 1_000;
    format!("{}.{fraction:03}Z", seconds.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_says() {
        let moment = Utc(1_767_323_045_067_999);
        assert_eq!(seconds(moment), "2026-01-02T03:04:05Z");
        assert_eq!(millis(moment), "2026-01-02T03:04:05.067Z");
        assert_eq!(millis(Utc(-1)), "1969-12-31T23:59:59.999Z");
    }
}
