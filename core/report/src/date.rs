//! Moments as TLS reports write them: RFC 3339, and without a zone, which counts as UTC.

use mox_machine::{Civil, Utc};

/// Reads `2026-01-02T03:04:05Z`, with any offset or none, and with fractions of a second, which are passed over.
pub(crate) fn parse(text: &str) -> Option<Utc> {
    let text = text.trim();
    let date = text.get(..10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let rest = text.get(10..)?.strip_prefix(['T', 't', ' '])?;
    let time = rest.get(..8)?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let rest = rest.get(8..)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let behind = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (behind.len() < fraction.len()).then_some(behind)?
        }
        None => rest,
    };
    let offset = match rest.chars().next() {
        None => 0,
        Some('Z' | 'z') if rest.len() == 1 => 0,
        Some(sign @ ('+' | '-')) => {
            let [hours, minutes] = numbers(rest.get(1..)?, ':', [2, 2])?;
            (hours < 24 && minutes < 60).then_some(())?;
            let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60;
            if sign == '+' { seconds } else { -seconds }
        }
        Some(_) => return None,
    };
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    let is_time = hour < 24 && minute < 60 && second <= 60;
    (is_date && is_time).then_some(())?;
    let civil = Civil {
        year: i32::try_from(year).ok()?,
        month: u8::try_from(month).ok()?,
        day: u8::try_from(day).ok()?,
        hour: u8::try_from(hour).ok()?,
        minute: u8::try_from(minute).ok()?,
        second: u8::try_from(second).ok()?,
    };
    let utc = Utc::from_secs(Utc::from_civil(&civil).secs() - offset);
    // What is written again has four digits too.
    (1..=9999).contains(&utc.civil().year).then_some(utc)
}

/// Numbers of fixed widths between separators.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        let is_number = part.len() == width && part.bytes().all(|b| b.is_ascii_digit());
        *number = is_number.then(|| part.parse().ok()).flatten()?;
    }
    parts.next().is_none().then_some(numbers)
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
