//! The Date field, RFC 5322 3.3 with the obsolete forms of 4.3.

use crate::lexer::{Lexer, is_space};

/// A date, a time of day and the zone both are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Year, 0 to 9999.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to the month's last.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59; a leap second is told as 59.
    pub second: u8,
    /// Minutes east of UTC.
    pub zone: i16,
}

impl Date {
    /// Parses a raw (folded) field value; `None` when day, month, year and time cannot be made out.
    ///
    /// Taken leniently: a missing or unknown zone is UTC (RFC 5322 4.3), seconds may be missing, years may have two or
    /// three digits, comments may stand anywhere, and the order of C's `ctime` is understood.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::new(value);
        let mut words = core::iter::from_fn(|| {
            loop {
                lexer.cfws();
                match lexer.peek()? {
                    b'+' | b'-' if is_zone(lexer.rest()) => {
                        let from = lexer.at();
                        lexer.skip(5);
                        return Some(lexer.since(from));
                    }
                    c if is_separator(c) => lexer.skip(1),
                    _ => {
                        return Some(
                            lexer.take_while(|c| !is_space(c) && !is_separator(c) && c != b'('),
                        );
                    }
                }
            }
        });
        let mut next = || words.next();

        let mut word = next()?;
        if month(word).is_none() && number(word).is_none() {
            // The name of the day; it may contradict the date, which counts.
            word = next()?;
        }
        let (day, month, year, time) = match number(word) {
            Some(day) => (day, month(next()?)?, year(next()?)?, clock(next()?)?),
            None => {
                // `Nov  7 01:07:20 2007`
                let month = month(word)?;
                let day = number(next()?)?;
                let time = clock(next()?)?;
                (day, month, year(next()?)?, time)
            }
        };
        let (hour, minute, second) = time;
        let day = u8::try_from(day).ok()?;
        if day == 0 || day > days_in(month, year) {
            return None;
        }
        Some(Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            zone: next().map_or(0, zone),
        })
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix(&self) -> i64 {
        // Days by counting from March of year 0, so that the leap day is a year's last.
        let month = i64::from(self.month);
        let year = i64::from(self.year) - i64::from(month <= 2);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        let days =
            year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
                - 719_468;
        let minutes = i64::from(self.hour) * 60 + i64::from(self.minute) - i64::from(self.zone);
        days * 86_400 + minutes * 60 + i64::from(self.second)
    }
}

fn is_separator(c: u8) -> bool {
    matches!(c, b',' | b'-' | b'+')
}

/// Whether a zone begins here, and not the year of `7-Nov-2007 01:07`, behind which a time follows.
fn is_zone(text: &[u8]) -> bool {
    let [sign, digits @ ..] = text else {
        return false;
    };
    let Some((digits, rest)) = digits.split_at_checked(4) else {
        return false;
    };
    let next = rest.trim_ascii_start().first();
    digits.iter().all(u8::is_ascii_digit)
        && (*sign == b'+' || !next.is_some_and(u8::is_ascii_digit))
}

fn number(word: &[u8]) -> Option<u32> {
    let digits = !word.is_empty() && word.len() <= 4 && word.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        word.iter()
            .fold(0, |n, c| n * 10 + u32::from(c.wrapping_sub(b'0')))
    })
}

fn year(word: &[u8]) -> Option<i32> {
    let year = i32::try_from(number(word)?).ok()?;
    // RFC 5322 4.3.
    Some(match word.len() {
        1 | 2 if year < 50 => year + 2000,
        1..=3 => year + 1900,
        _ => year,
    })
}

fn month(word: &[u8]) -> Option<u8> {
    const MONTHS: [&[u8]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let start = word.get(..3)?;
    let at = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(start))?;
    u8::try_from(at + 1).ok()
}

fn clock(word: &[u8]) -> Option<(u8, u8, u8)> {
    let mut pieces = word.split(|c| matches!(c, b':' | b'.'));
    let mut piece = |max: u8| -> Option<u8> {
        let n = u8::try_from(number(pieces.next()?)?).ok()?;
        (n <= max).then_some(n)
    };
    let (hour, minute) = (piece(23)?, piece(59)?);
    let second = match word.iter().filter(|c| matches!(c, b':' | b'.')).count() {
        1 => 0,
        _ => piece(60)?.min(59),
    };
    Some((hour, minute, second))
}

fn zone(word: &[u8]) -> i16 {
    if let [sign @ (b'+' | b'-'), digits @ ..] = word
        && let Some(n) = number(digits).and_then(|n| i16::try_from(n).ok())
        && digits.len() == 4
    {
        let minutes = n / 100 * 60 + n % 100;
        return if *sign == b'-' { -minutes } else { minutes };
    }
    // RFC 5322 4.3; the single letters are unreliable and count as UTC.
    let hours = match word.to_ascii_uppercase().as_slice() {
        b"EDT" => -4,
        b"EST" | b"CDT" => -5,
        b"CST" | b"MDT" => -6,
        b"MST" | b"PDT" => -7,
        b"PST" => -8,
        _ => 0,
    };
    hours * 60
}

fn days_in(month: u8, year: i32) -> u8 {
    match month {
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
