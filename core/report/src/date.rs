//! Moments as TLS reports write them: RFC 3339, and without a zone, which counts as UTC.

use mox_machine::{Rfc3339, Utc};

/// Reads `2026-01-02T03:04:05Z`, with any offset or none, and with fractions of a second, which are passed over.
pub(crate) fn parse(text: &str) -> Option<Utc> {
    let utc = Utc::from_secs(Rfc3339::parse(text.trim())?.utc.secs());
    // What is written again has four digits too.
    (1..=9999).contains(&utc.civil().year).then_some(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_any_zone_or_none() {
        for (text, written) in [
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02 03:04:05.25z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05+02:00", Some("2026-01-02T01:04:05Z")),
            ("2026-01-01T23:04:05-01:30", Some("2026-01-02T00:34:05Z")),
            ("2026-13-02T03:04:05Z", None),
            ("0001-01-01T00:00:00+00:01", None),
            ("9999-12-31T23:59:59-00:01", None),
            ("2026-1-02T03:04:05Z", None),
            ("2026-01-02T24:04:05Z", None),
            ("2026-01-02T03:04:05.Z", None),
            ("2026-01-02T03:04:05Zx", None),
            ("2026-01-02T03:04:05+0200", None),
            ("2026-01-02", None),
            ("\u{e4}026-01-02T03:04:05Z", None),
        ] {
            assert_eq!(parse(text).map(|utc| utc.to_string()).as_deref(), written);
        }
    }
}
