//! Moments in text (RFC 3339).

use crate::{Civil, Utc};

/// A moment that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rfc3339 {
    /// The moment, to the microsecond. A leap second is the next one's first.
    pub utc: Utc,
    /// How its zone is given.
    pub zone: Zone,
}

/// How a moment gives its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// `Z`.
    Utc,
    /// `+02:00`.
    Offset,
    /// Not at all, which the RFC does not allow and people do; UTC is taken.
    Missing,
}

impl Rfc3339 {
    /// Reads `2026-01-02T03:04:05Z`, also with a fraction, with a blank in place of the T (RFC 3339 5.6), and with another zone
    /// or none. `None` for what is no moment: also for days that their month does not have.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (time, rest) = rest.split_at_checked(8)?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) => {
                let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                let digits = rest.get(..rest.len() - zone.len())?;
                (Some(digits).filter(|digits| !digits.is_empty())?, zone)
            }
            None => ("", rest),
        };
        let (offset, zone) = offset(zone)?;
        let day = Civil {
            year: i32::try_from(year).ok()?,
            month: u8::try_from(month).ok()?,
            day: u8::try_from(day).ok()?,
            hour: 0,
            minute: 0,
            second: 0,
        };
        let is_time = hour < 24 && minute < 60 && second <= 60;
        // A day that its month does not have carries over into another.
        if !is_time || !(1..=12).contains(&month) || Utc::from_civil(&day).civil() != day {
            return None;
        }
        let utc = Utc::from_civil(&Civil {
            hour: u8::try_from(hour).ok()?,
            minute: u8::try_from(minute).ok()?,
            second: u8::try_from(second).ok()?,
            ..day
        });
        let digits = fraction.bytes().chain(core::iter::repeat(b'0')).take(6);
        let micros = digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        Some(Self {
            utc: Utc(utc.0 + micros - offset * 60_000_000),
            zone,
        })
    }
}

/// Minutes that the zone is before UTC.
fn offset(zone: &str) -> Option<(i64, Zone)> {
    let sign = match zone.chars().next() {
        None => return Some((0, Zone::Missing)),
        Some('Z' | 'z') if zone.len() == 1 => return Some((0, Zone::Utc)),
        Some('+') => 1,
        Some('-') => -1,
        Some(_) => return None,
    };
    let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
    let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
    Some((sign * i64::from(minutes), Zone::Offset))
}

/// Numbers of so many digits each, with a mark between them.
fn numbers<const N: usize>(text: &str, mark: char, digits: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(mark);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let fits = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        *number = part.parse().ok().filter(|_| fits)?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(i64, Zone)> {
        Rfc3339::parse(text).map(|moment| (moment.utc.0, moment.zone))
    }

    #[test]
    fn moments_are_read_with_any_zone_or_none() {
        const SECOND: i64 = 1_000_000;
        let at = 1_767_323_045 * SECOND;
        for (text, micros, zone) in [
            ("2026-01-02T03:04:05Z", at, Zone::Utc),
            ("2026-01-02t03:04:05.25z", at + 250_000, Zone::Utc),
            ("2026-01-02 03:04:05.1234567", at + 123_456, Zone::Missing),
            ("2026-01-02T05:04:05+02:00", at, Zone::Offset),
            ("2026-01-01T21:34:05-05:30", at, Zone::Offset),
            ("2026-01-02T03:03:60Z", at - 5 * SECOND, Zone::Utc),
            ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND, Zone::Utc),
        ] {
            assert_eq!(read(text), Some((micros, zone)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "2026-01-02",
            "2026-13-02T03:04:05Z",
            "2026-02-29T03:04:05Z",
            "2026-02-31T23:59:60Z",
            "2026-01-00T03:04:05Z",
            "2026-1-02T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:04:61Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05Zx",
            "2026-01-02T03:04:05+0200",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02_03:04:05Z",
            "\u{e4}026-01-02T03:04:05Z",
            "+026-01-02T03:04:05Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
