//! The parameters of SELECT and EXAMINE (RFC 4466 2.4): CONDSTORE and QRESYNC (RFC 7162 3.1.8 and 3.2.5).

use mox_uids::UidSet;

use super::cursor::{Cursor, ParseLimits, Parsed, syntax};
use super::sequence::SequenceSet;

/// What stands behind the mailbox's name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectParams {
    /// CONDSTORE
    pub condstore: bool,
    /// QRESYNC
    pub qresync: Option<Qresync>,
}

/// What a client knows of a mailbox from an earlier session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qresync {
    /// UIDVALIDITY then; with another one nothing of this means anything.
    pub validity: u32,
    /// The modification sequence up to which it knows all changes.
    pub modseq: u64,
    /// The messages it knows of; `None` when it does not say.
    pub uids: Option<UidSet>,
}

impl SelectParams {
    /// `(CONDSTORE)`, `(QRESYNC (67890007 20050715194045000 41:211,214:541))`, or nothing.
    pub(crate) fn parse(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Self> {
        const WHAT: &str = "there is no such select parameter";
        let mut params = Self::default();
        if !cursor.eat(b' ') {
            return Ok(params);
        }
        cursor.expect(b'(', WHAT)?;
        loop {
            if cursor.eat_word("CONDSTORE") {
                params.condstore = true;
            } else if params.qresync.is_none() && cursor.eat_word("QRESYNC") {
                cursor.space()?;
                params.qresync = Some(qresync(cursor, limits)?);
            } else {
                return syntax(WHAT);
            }
            if !cursor.eat(b' ') {
                break;
            }
        }
        cursor.expect(b')', "the list of select parameters is not closed")?;
        Ok(params)
    }
}

fn qresync(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Qresync> {
    const WHAT: &str = "what is known of the mailbox is not well formed";
    cursor.expect(b'(', WHAT)?;
    let validity = cursor.nonzero()?;
    cursor.space()?;
    let modseq = cursor.number64()?;
    if modseq == 0 {
        return syntax("a number must not be zero");
    }
    let (mut uids, mut matched) = (None, false);
    while cursor.eat(b' ') {
        if cursor.eat(b'(') {
            if matched {
                return syntax(WHAT);
            }
            matched = true;
            // Which numbers the client counted (RFC 7162 3.2.5.2). Expunges are kept long enough to do without.
            SequenceSet::parse_numbers(cursor, limits)?;
            cursor.space()?;
            SequenceSet::parse_numbers(cursor, limits)?;
            cursor.expect(b')', WHAT)?;
        } else if uids.is_none() && !matched {
            uids = Some(SequenceSet::parse_numbers(cursor, limits)?.written());
        } else {
            return syntax(WHAT);
        }
    }
    cursor.expect(b')', WHAT)?;
    Ok(Qresync {
        validity,
        modseq,
        uids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parsed<SelectParams> {
        let mut cursor = Cursor::new(text.as_bytes());
        let params = SelectParams::parse(&mut cursor, &ParseLimits::default())?;
        cursor.end()?;
        Ok(params)
    }

    #[test]
    fn parameters_are_read_in_all_their_forms() {
        assert_eq!(parse(""), Ok(SelectParams::default()));
        assert!(parse(" (condstore)").unwrap().condstore);
        let known = |text| parse(text).unwrap().qresync.unwrap();
        assert_eq!(
            known(" (QRESYNC (7 9))"),
            Qresync {
                validity: 7,
                modseq: 9,
                uids: None
            }
        );
        let full = known(" (CONDSTORE QRESYNC (7 9 41:211,214:541 (1,5 41,99)))");
        assert_eq!(full.uids, Some(UidSet::from_runs([41..=211, 214..=541])));
        assert_eq!(known(" (QRESYNC (7 9 (1 5)))").uids, None);
        for bad in [
            " ",
            " ()",
            " (FOO)",
            " (QRESYNC)",
            " (QRESYNC (7))",
            " (QRESYNC (0 1))",
            " (QRESYNC (1 0))",
            " (QRESYNC (1 1 1 1))",
            " (QRESYNC (1 1 (1)))",
            " (QRESYNC (1 1 (1 1) 1))",
            " (QRESYNC (1 1 $))",
            " (QRESYNC (1 1)) x",
            " (QRESYNC (1 1) QRESYNC (1 1))",
            " (CONDSTORE",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
