//! HOLDFOR and HOLDUNTIL of MAIL (RFC 4865 5): when a message that is submitted now is to leave.

use core::time::Duration;
use mox_machine::{Rfc3339, Utc, Zone};

use super::{BadParam, Param, number};

/// When a message with this parameter may leave; `None` when it is another parameter.
pub fn hold(param: &Param<'_>, now: Utc) -> Result<Option<Utc>, BadParam> {
    let value = param.value.unwrap_or_default();
    if param.is("HOLDFOR") {
        // RFC 4865 5: 1 to 9 digits.
        let seconds = number(value).filter(|_| value.len() <= 9).ok_or(BadParam)?;
        return Ok(Some(now + Duration::from_secs(seconds)));
    }
    match param.is("HOLDUNTIL") {
        true => moment(value).map(Some).ok_or(BadParam),
        false => Ok(None),
    }
}

/// A moment of RFC 3339 in UTC, `2026-01-02T03:04:05Z`; fractions of a second are passed over.
fn moment(text: &[u8]) -> Option<Utc> {
    let text = core::str::from_utf8(text).ok()?;
    let moment = Rfc3339::parse(text).filter(|moment| moment.zone == Zone::Utc)?;
    Some(Utc::from_secs(moment.utc.secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Params;
    use alloc::string::ToString;

    fn held(text: &str) -> Result<Option<Utc>, BadParam> {
        let param = Params::new(text.as_bytes()).next().unwrap()?;
        hold(&param, Utc::from_secs(1_767_323_045))
    }

    #[test]
    fn a_time_from_now_on_and_a_moment_are_read() {
        let shown = |text| held(text).unwrap().unwrap().to_string();
        assert_eq!(shown("HOLDFOR=60"), "2026-01-02T03:05:05Z");
        assert_eq!(
            shown("holduntil=2026-01-03T00:00:00Z"),
            "2026-01-03T00:00:00Z"
        );
        assert_eq!(
            shown("HOLDUNTIL=2026-01-03t00:00:59.25z"),
            "2026-01-03T00:00:59Z"
        );
        assert_eq!(held("SIZE=5"), Ok(None));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in [
            "HOLDFOR",
            "HOLDFOR=1234567890",
            "HOLDFOR=1h",
            "HOLDUNTIL=2026-01-03",
            "HOLDUNTIL=2026-02-30T00:00:00Z",
            "HOLDUNTIL=2026-01-03T24:00:00Z",
            "HOLDUNTIL=2026-01-03T00:00:00+01:00",
            "HOLDUNTIL=2026-01-03T00:00:00.Z",
            "HOLDUNTIL=2026-01-03T00:00:00",
        ] {
            assert_eq!(held(bad), Err(BadParam), "{bad}");
        }
    }
}
