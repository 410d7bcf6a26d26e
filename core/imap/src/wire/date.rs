//! Dates: `date` of search keys and `date-time` of APPEND and INTERNALDATE (RFC 3501 9).

use alloc::vec::Vec;
use mox_machine::{Civil, Utc};

use super::cursor::{Cursor, Malformed, Parsed, syntax};

const DAY: i64 = 86_400;

/// `1-Feb-1994`, with or without quotes: days since 1970-01-01.
pub(crate) fn date(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let quoted = cursor.eat(b'"');
    let day = digits(cursor, 1, 2)?;
    let (year, month) = month_and_year(cursor)?;
    if quoted {
        cursor.expect(b'"', "a date is not well formed")?;
    }
    days(year, month, day)
}

/// `" 7-Feb-1994 21:52:25 -0800"`, quotes included.
pub(crate) fn date_time(cursor: &mut Cursor<'_>) -> Parsed<Utc> {
    const WHAT: &str = "a date and time are not well formed";
    cursor.expect(b'"', WHAT)?;
    let day = if cursor.eat(b' ') {
        digits(cursor, 1, 1)?
    } else {
        digits(cursor, 1, 2)?
    };
    let (year, month) = month_and_year(cursor)?;
    cursor.space()?;
    let hour = digits(cursor, 2, 2)?;
    cursor.expect(b':', WHAT)?;
    let minute = digits(cursor, 2, 2)?;
    cursor.expect(b':', WHAT)?;
    let second = digits(cursor, 2, 2)?;
    cursor.space()?;
    let west = match cursor.peek() {
        Some(b'-') => true,
        Some(b'+') => false,
        _ => return syntax(WHAT),
    };
    cursor.eat(if west { b'-' } else { b'+' });
    let zone = digits(cursor, 4, 4)?;
    let (zone_hour, zone_minute) = (zone / 100, zone % 100);
    cursor.expect(b'"', WHAT)?;
    if hour > 23 || minute > 59 || second > 60 || zone_minute > 59 {
        return syntax(WHAT);
    }
    let local = days(year, month, day)? * DAY
        + i64::from(hour) * 3_600
        + i64::from(minute) * 60
        + i64::from(second);
    let offset = i64::from(zone_hour) * 3_600 + i64::from(zone_minute) * 60;
    Ok(Utc::from_secs(if west {
        local + offset
    } else {
        local - offset
    }))
}

/// Writes a date and time as INTERNALDATE shows it, with its quotes, in UTC.
pub fn write_internal_date(out: &mut Vec<u8>, at: Utc) {
    let c = at.civil();
    let two = |n: u8| [b'0' + n / 10 % 10, b'0' + n % 10];
    out.push(b'"');
    let [tens, ones] = two(c.day);
    out.extend_from_slice(&[if tens == b'0' { b' ' } else { tens }, ones, b'-']);
    out.extend_from_slice(c.month_name().as_bytes());
    let year = u16::try_from(c.year.clamp(0, 9_999)).unwrap_or(0);
    out.push(b'-');
    out.extend_from_slice(&two((year / 100) as u8));
    out.extend_from_slice(&two((year % 100) as u8));
    for (before, n) in [(b' ', c.hour), (b':', c.minute), (b':', c.second)] {
        out.push(before);
        out.extend_from_slice(&two(n));
    }
    out.extend_from_slice(b" +0000\"");
}

fn month_and_year(cursor: &mut Cursor<'_>) -> Parsed<(i32, u8)> {
    const WHAT: &str = "a date is not well formed";
    cursor.expect(b'-', WHAT)?;
    let name = cursor.take_while(|b| b.is_ascii_alphabetic());
    let month = Civil::MONTHS
        .iter()
        .position(|m| m.as_bytes().eq_ignore_ascii_case(name))
        .ok_or(Malformed::Syntax(WHAT))?;
    cursor.expect(b'-', WHAT)?;
    let year = digits(cursor, 4, 4)?;
    Ok((year as i32, month as u8 + 1))
}

fn digits(cursor: &mut Cursor<'_>, least: usize, most: usize) -> Parsed<u32> {
    let digits = cursor.take_while(|b| b.is_ascii_digit());
    if !(least..=most).contains(&digits.len()) {
        return syntax("a date is not well formed");
    }
    Ok(digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
}

fn days(year: i32, month: u8, day: u32) -> Parsed<i64> {
    let civil = Civil {
        year,
        month,
        day: u8::try_from(day).unwrap_or(0),
        hour: 0,
        minute: 0,
        second: 0,
    };
    let at = Utc::from_civil(&civil);
    // 31-Feb would come back as a day in March.
    if at.civil() == civil {
        Ok(at.secs() / DAY)
    } else {
        syntax("there is no such day")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_time_is_read_with_its_zone_and_written_in_utc() {
        let mut cursor = Cursor::new(b"\" 7-Feb-1994 21:52:25 -0800\"");
        let at = date_time(&mut cursor).unwrap();
        let mut out = Vec::new();
        write_internal_date(&mut out, at);
        assert_eq!(out, b"\" 8-Feb-1994 05:52:25 +0000\"");
        assert_eq!(date_time(&mut Cursor::new(&out)), Ok(at));
    }

    #[test]
    fn dates_are_days_and_impossible_ones_are_refused() {
        assert_eq!(date(&mut Cursor::new(b"1-Jan-1970")), Ok(0));
        assert_eq!(date(&mut Cursor::new(b"\"2-jan-1970\"")), Ok(1));
        assert_eq!(date(&mut Cursor::new(b"29-Feb-2000")), Ok(11_016));
        for bad in [
            "31-Feb-2000",
            "0-Jan-1970",
            "1-Foo-1970",
            "1-Jan-70",
            "\"1-Jan-1970",
            "32-Jan-1970",
            "001-Jan-1970",
        ] {
            assert!(date(&mut Cursor::new(bad.as_bytes())).is_err(), "{bad}");
        }
        for bad in [
            "\"07-Feb-1994 24:00:00 +0000\"",
            "\"07-Feb-1994 21:52 +0000\"",
            "07-Feb-1994",
        ] {
            assert!(
                date_time(&mut Cursor::new(bad.as_bytes())).is_err(),
                "{bad}"
            );
        }
    }
}
