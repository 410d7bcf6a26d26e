//! SEARCH, RFC 3501 6.4.4 and RFC 4731.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::RangeInclusive;
use mox_uids::UidSet;

use super::cursor::{Cursor, Known, Malformed, Numbers, ParseLimits, Parsed, is_atom_char, syntax};
use super::date::date;
use super::fetch::FetchItem;
use super::sequence::SequenceSet;
use super::span::Span;
use crate::SearchKey;
use crate::server::{SortField, SortKey, SystemFlags, Threading};

/// Sort criteria at most.
const SORT_KEYS_MAX: usize = 20;

/// The arguments of SEARCH, message numbers already resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchArgs {
    /// What to look for.
    pub key: SearchKey,
    /// RETURN, if it was given (RFC 4731).
    pub returns: Option<SearchReturn>,
    /// MODSEQ was among the keys: the answer tells the highest one (RFC 7162 3.1.5).
    pub modseq: bool,
    /// Message numbers were among the keys.
    pub numbers: bool,
    /// SORT: in which order.
    pub order: Option<Vec<SortKey>>,
    /// UPDATE with data items (RFC 5465 7): what is told of new messages that are found.
    pub update: Vec<FetchItem>,
}

/// Result options of ESEARCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "named as in the RFC")]
pub struct SearchReturn {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
    /// SAVE (RFC 5182): what is found becomes `$`.
    pub save: bool,
    /// PARTIAL (RFC 9394): a range of positions, counted from the end when negative.
    pub partial: Option<Span>,
    /// UPDATE (RFC 5267): tell what comes and goes.
    pub update: bool,
}

impl SearchReturn {
    /// Something is told at once.
    pub fn tells(self) -> bool {
        self.min || self.max || self.all || self.count || self.partial.is_some()
    }
}

/// A key that says something about one system flag.
const FLAG_KEYS: [(&str, SystemFlags, bool); 10] = [
    ("ANSWERED", SystemFlags::ANSWERED, true),
    ("DELETED", SystemFlags::DELETED, true),
    ("DRAFT", SystemFlags::DRAFT, true),
    ("FLAGGED", SystemFlags::FLAGGED, true),
    ("SEEN", SystemFlags::SEEN, true),
    ("UNANSWERED", SystemFlags::ANSWERED, false),
    ("UNDELETED", SystemFlags::DELETED, false),
    ("UNDRAFT", SystemFlags::DRAFT, false),
    ("UNFLAGGED", SystemFlags::FLAGGED, false),
    ("UNSEEN", SystemFlags::SEEN, false),
];

impl SearchArgs {
    pub(crate) fn parse(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<Self> {
        let returns = returns(cursor, limits)?;
        if cursor.eat_word("CHARSET") {
            if !known.charset {
                return syntax("every text is UTF-8 now, and no charset may be named");
            }
            cursor.space()?;
            charset(cursor)?;
            cursor.space()?;
        }
        Self::keys(cursor, known, limits, returns)
    }

    /// The same for mailboxes that are not selected: message numbers mean nothing, and UIDs may be any.
    pub(crate) fn parse_anywhere(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<Self> {
        let all = UidSet::from_runs([1..=u32::MAX]);
        let anywhere = Known {
            uids: &all,
            utf8: known.utf8,
            charset: known.charset,
            numbers: Numbers::Elsewhere,
            limited: known.limited,
            ..Known::NOTHING
        };
        Self::parse(cursor, &anywhere, limits)
    }

    /// SORT: `[RETURN (...)] (criteria) charset keys`, RFC 5256 3 and RFC 5267 3.
    pub(crate) fn parse_sort(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<Self> {
        let returns = returns(cursor, limits)?;
        let order = sort_keys(cursor)?;
        cursor.space()?;
        charset(cursor)?;
        cursor.space()?;
        let args = Self::keys(cursor, known, limits, returns)?;
        Ok(Self {
            order: Some(order),
            ..args
        })
    }

    fn keys(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
        returns: Option<(SearchReturn, Vec<FetchItem>)>,
    ) -> Parsed<Self> {
        let mut keys = Keys {
            known,
            limits,
            left: limits.items,
            modseq: false,
            numbers: false,
        };
        let key = keys.sequence(cursor, limits.nesting)?;
        cursor.end()?;
        let (returns, update) = returns.unzip();
        Ok(Self {
            key,
            returns,
            update: update.unwrap_or_default(),
            modseq: keys.modseq,
            numbers: keys.numbers,
            order: None,
        })
    }
}

/// The arguments of THREAD.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadArgs {
    /// How messages are put together.
    pub algorithm: Threading,
    /// What to look for.
    pub key: SearchKey,
    /// Message numbers are in it.
    pub numbers: bool,
}

impl ThreadArgs {
    pub(crate) fn parse(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<Self> {
        let algorithm = if cursor.eat_word("REFERENCES") {
            Threading::References
        } else if cursor.eat_word("ORDEREDSUBJECT") {
            Threading::OrderedSubject
        } else {
            return syntax("there is no such threading algorithm");
        };
        cursor.space()?;
        charset(cursor)?;
        cursor.space()?;
        let SearchArgs { key, numbers, .. } = SearchArgs::keys(cursor, known, limits, None)?;
        Ok(Self {
            algorithm,
            key,
            numbers,
        })
    }
}

const CRITERIA: [(&str, SortField); 9] = [
    ("ARRIVAL", SortField::Arrival),
    ("CC", SortField::Cc),
    ("DATE", SortField::Date),
    ("DISPLAYFROM", SortField::DisplayFrom),
    ("DISPLAYTO", SortField::DisplayTo),
    ("FROM", SortField::From),
    ("SIZE", SortField::Size),
    ("SUBJECT", SortField::Subject),
    ("TO", SortField::To),
];

fn sort_keys(cursor: &mut Cursor<'_>) -> Parsed<Vec<SortKey>> {
    cursor.expect(b'(', "sort criteria were expected")?;
    let mut keys = Vec::new();
    loop {
        let reverse = cursor.eat_word("REVERSE");
        if reverse {
            cursor.space()?;
        }
        let found = CRITERIA.iter().find(|(name, _)| cursor.eat_word(name));
        let Some(&(_, field)) = found else {
            return syntax("there is no such sort criterion");
        };
        if keys.len() >= SORT_KEYS_MAX {
            return Err(Malformed::Refused("LIMIT", "too many sort criteria"));
        }
        keys.push(SortKey { field, reverse });
        if !cursor.eat(b' ') {
            break;
        }
    }
    cursor.expect(b')', "the list of sort criteria is not closed")?;
    Ok(keys)
}

fn charset(cursor: &mut Cursor<'_>) -> Parsed<()> {
    let charset = cursor.astring()?;
    let known = ["UTF-8", "US-ASCII", "ASCII"];
    match known
        .iter()
        .any(|name| charset.eq_ignore_ascii_case(name.as_bytes()))
    {
        true => Ok(()),
        false => Err(Malformed::Refused(
            "BADCHARSET (US-ASCII UTF-8)",
            "that charset is not known",
        )),
    }
}

/// `RETURN (...) `, if it is there.
fn returns(
    cursor: &mut Cursor<'_>,
    limits: &ParseLimits,
) -> Parsed<Option<(SearchReturn, Vec<FetchItem>)>> {
    if !cursor.eat_word("RETURN") {
        return Ok(None);
    }
    cursor.space()?;
    let options = return_options(cursor, limits)?;
    cursor.space()?;
    Ok(Some(options))
}

fn return_options(
    cursor: &mut Cursor<'_>,
    limits: &ParseLimits,
) -> Parsed<(SearchReturn, Vec<FetchItem>)> {
    let (mut options, mut update) = (SearchReturn::default(), Vec::new());
    cursor.expect(b'(', "result options were expected")?;
    if cursor.eat(b')') {
        options.all = true;
        return Ok((options, update));
    }
    loop {
        let word = cursor.word().to_ascii_uppercase();
        match &word[..] {
            b"MIN" => options.min = true,
            b"MAX" => options.max = true,
            b"ALL" => options.all = true,
            b"COUNT" => options.count = true,
            b"SAVE" => options.save = true,
            b"UPDATE" => options.update = true,
            // A hint that others of its kind will follow (RFC 5267 4.1).
            b"CONTEXT" => {}
            b"PARTIAL" if options.partial.is_none() => {
                cursor.space()?;
                options.partial = Some(Span::parse(cursor)?);
            }
            _ => return syntax("there is no such result option"),
        }
        if !cursor.eat(b' ') {
            break;
        }
        if word == b"UPDATE" && cursor.peek() == Some(b'(') {
            update = FetchItem::list(cursor, limits)?;
            if !cursor.eat(b' ') {
                break;
            }
        }
    }
    cursor.expect(b')', "the list of result options is not closed")?;
    // RFC 9394 3.1.
    if options.all && options.partial.is_some() {
        return syntax("ALL and PARTIAL do not go together");
    }
    Ok((options, update))
}

struct Keys<'a> {
    known: &'a Known<'a>,
    limits: &'a ParseLimits,
    /// Keys that may still come.
    left: u32,
    modseq: bool,
    numbers: bool,
}

impl Keys<'_> {
    /// Keys with spaces between them: all must match.
    fn sequence(&mut self, cursor: &mut Cursor<'_>, depth: u8) -> Parsed<SearchKey> {
        let first = self.key(cursor, depth)?;
        if cursor.peek() != Some(b' ') {
            return Ok(first);
        }
        let mut keys = vec![first];
        while cursor.eat(b' ') {
            keys.push(self.key(cursor, depth)?);
        }
        Ok(SearchKey::And(keys))
    }

    fn key(&mut self, cursor: &mut Cursor<'_>, depth: u8) -> Parsed<SearchKey> {
        let (Some(left), Some(deeper)) = (self.left.checked_sub(1), depth.checked_sub(1)) else {
            return Err(Malformed::Refused("LIMIT", "too many search keys"));
        };
        self.left = left;
        match cursor.peek() {
            Some(b'(') => {
                cursor.eat(b'(');
                let key = self.sequence(cursor, deeper)?;
                cursor.expect(b')', "a search key is not closed")?;
                return Ok(key);
            }
            Some(b'*' | b'$' | b'0'..=b'9') if self.known.numbers == Numbers::Elsewhere => {
                return syntax("message numbers mean nothing here");
            }
            // What `$` names are messages, not their numbers.
            Some(b'*' | b'0'..=b'9') if self.known.numbers == Numbers::UidsOnly => {
                return Err(Malformed::Wrong(
                    "UIDREQUIRED",
                    "there are no message numbers any more",
                ));
            }
            Some(first @ (b'*' | b'$' | b'0'..=b'9')) => {
                self.numbers |= first != b'$';
                let set = SequenceSet::parse(cursor, self.known, self.limits)?;
                return Ok(SearchKey::Uids(set.numbers_within(self.known.uids)));
            }
            _ => {}
        }
        let word = cursor
            .take_while(|b| b.is_ascii_alphanumeric() || b == b'-')
            .to_ascii_uppercase();
        let word = core::str::from_utf8(&word).unwrap_or_default();
        if let Some((_, flag, set)) = FLAG_KEYS.iter().find(|(name, ..)| *name == word) {
            let key = SearchKey::Flags(*flag);
            return Ok(if *set { key } else { not(key) });
        }
        match word {
            "ALL" | "SAVEDATESUPPORTED" => return Ok(SearchKey::All),
            "RECENT" => return Ok(SearchKey::Uids(self.known.recent.clone())),
            "OLD" => return Ok(not(SearchKey::Uids(self.known.recent.clone()))),
            "NEW" => {
                let unseen = not(SearchKey::Flags(SystemFlags::SEEN));
                let recent = SearchKey::Uids(self.known.recent.clone());
                return Ok(SearchKey::And(vec![recent, unseen]));
            }
            _ => {}
        }
        // All others have an argument.
        let header = |name: &'static str, text| SearchKey::Header {
            name: Bytes::from_static(name.as_bytes()),
            text,
        };
        let wants_space = [
            "KEYWORD",
            "UNKEYWORD",
            "BCC",
            "CC",
            "FROM",
            "TO",
            "SUBJECT",
            "HEADER",
            "BODY",
            "TEXT",
            "BEFORE",
            "ON",
            "SINCE",
            "SENTBEFORE",
            "SENTON",
            "SENTSINCE",
            "LARGER",
            "SMALLER",
            "UID",
            "NOT",
            "OR",
            "YOUNGER",
            "OLDER",
            "MODSEQ",
            "SAVEDBEFORE",
            "SAVEDON",
            "SAVEDSINCE",
            "EMAILID",
            "THREADID",
            "UIDAFTER",
            "UIDBEFORE",
        ];
        if matches!(word, "UIDAFTER" | "UIDBEFORE") && !self.known.limited {
            return syntax("there is no such search key");
        }
        if !wants_space.contains(&word) {
            return syntax("there is no such search key");
        }
        cursor.space()?;
        Ok(match word {
            "KEYWORD" => SearchKey::Keyword(self.keyword(cursor)?),
            "UNKEYWORD" => not(SearchKey::Keyword(self.keyword(cursor)?)),
            "BCC" => header("Bcc", text(cursor)?),
            "CC" => header("Cc", text(cursor)?),
            "FROM" => header("From", text(cursor)?),
            "TO" => header("To", text(cursor)?),
            "SUBJECT" => header("Subject", text(cursor)?),
            "HEADER" => {
                let name = Bytes::copy_from_slice(&cursor.astring()?);
                cursor.space()?;
                SearchKey::Header {
                    name,
                    text: text(cursor)?,
                }
            }
            "BODY" => SearchKey::Body(text(cursor)?),
            "TEXT" => SearchKey::Text(text(cursor)?),
            "BEFORE" => SearchKey::InternalDay {
                first: None,
                end: Some(date(cursor)?),
            },
            "ON" => {
                let day = date(cursor)?;
                SearchKey::InternalDay {
                    first: Some(day),
                    end: Some(day + 1),
                }
            }
            "SINCE" => SearchKey::InternalDay {
                first: Some(date(cursor)?),
                end: None,
            },
            "SAVEDBEFORE" => SearchKey::SavedDay {
                first: None,
                end: Some(date(cursor)?),
            },
            "SAVEDON" => {
                let day = date(cursor)?;
                SearchKey::SavedDay {
                    first: Some(day),
                    end: Some(day + 1),
                }
            }
            "SAVEDSINCE" => SearchKey::SavedDay {
                first: Some(date(cursor)?),
                end: None,
            },
            "EMAILID" => SearchKey::EmailId(object_id(cursor)?),
            // No message has one (RFC 8474 5.3).
            "THREADID" => {
                object_id(cursor)?;
                not(SearchKey::All)
            }
            "SENTBEFORE" => SearchKey::SentDay {
                first: None,
                end: Some(date(cursor)?),
            },
            "SENTON" => {
                let day = date(cursor)?;
                SearchKey::SentDay {
                    first: Some(day),
                    end: Some(day + 1),
                }
            }
            "SENTSINCE" => SearchKey::SentDay {
                first: Some(date(cursor)?),
                end: None,
            },
            "LARGER" => SearchKey::Larger(cursor.number64()?),
            "SMALLER" => SearchKey::Smaller(cursor.number64()?),
            "YOUNGER" => SearchKey::Within(cursor.nonzero()?, true),
            "OLDER" => SearchKey::Within(cursor.nonzero()?, false),
            "UID" => {
                let set = SequenceSet::parse(cursor, self.known, self.limits)?;
                SearchKey::Uids(set.uids(self.known.uids))
            }
            // RFC 9738 3.2.
            "UIDAFTER" => match cursor.nonzero()?.checked_add(1) {
                Some(first) => self.uids(first..=u32::MAX),
                None => SearchKey::Uids(UidSet::new()),
            },
            "UIDBEFORE" => self.uids(1..=cursor.nonzero()? - 1),
            "NOT" => not(self.key(cursor, deeper)?),
            "OR" => {
                let left = self.key(cursor, deeper)?;
                cursor.space()?;
                SearchKey::Or(Box::new(left), Box::new(self.key(cursor, deeper)?))
            }
            _ => self.modseq(cursor)?,
        })
    }

    fn uids(&self, run: RangeInclusive<u32>) -> SearchKey {
        let run = Some(run).filter(|run| !run.is_empty());
        SearchKey::Uids(UidSet::from_runs(run).intersection(self.known.uids))
    }

    fn keyword(&self, cursor: &mut Cursor<'_>) -> Parsed<String> {
        let atom = cursor.atom()?;
        if atom.len() > self.limits.keyword {
            return Err(Malformed::Refused("LIMIT", "a keyword is too long"));
        }
        Ok(String::from_utf8_lossy(atom).into_owned())
    }

    /// `MODSEQ ["/flags/\\name" (priv|shared|all)] n`: flags have no sequences of their own here, so the entry
    /// means nothing more.
    fn modseq(&mut self, cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
        self.modseq = true;
        if cursor.peek() == Some(b'"') {
            cursor.string()?;
            cursor.space()?;
            cursor.take_while(is_atom_char);
            cursor.space()?;
        }
        Ok(SearchKey::Modseq(cursor.number64()?))
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// RFC 8474 7: up to 255 letters, digits, `_` and `-`.
fn object_id(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let id = cursor.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    match id.len() {
        1..=255 => Ok(String::from_utf8_lossy(id).into_owned()),
        _ => syntax("an object identifier was expected"),
    }
}

fn text(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let raw = cursor.astring()?;
    match core::str::from_utf8(&raw) {
        Ok(text) => Ok(text.into()),
        Err(_) => syntax("a search string is not valid UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parsed<SearchArgs> {
        let uids = UidSet::from_runs([11..=20]);
        let saved = UidSet::from_runs([12..=13, 40..=40]);
        let known = Known {
            uids: &uids,
            saved: &saved,
            ..Known::NOTHING
        };
        SearchArgs::parse(
            &mut Cursor::new(text.as_bytes()),
            &known,
            &ParseLimits::default(),
        )
    }

    fn key(text: &str) -> SearchKey {
        parse(text).unwrap().key
    }

    #[test]
    fn numbers_become_uids_and_flags_become_bits() {
        assert_eq!(key("1:2"), SearchKey::Uids(UidSet::from_runs([11..=12])));
        assert_eq!(
            key("uid 1:*"),
            SearchKey::Uids(UidSet::from_runs([11..=20]))
        );
        assert_eq!(key("$"), SearchKey::Uids(UidSet::from_runs([12..=13])));
        assert_eq!(key("UID $"), key("$"));
        assert_eq!(key("unseen"), not(SearchKey::Flags(SystemFlags::SEEN)));
        assert_eq!(
            key("LARGER 1 UID 11"),
            SearchKey::And(vec![
                SearchKey::Larger(1),
                SearchKey::Uids(UidSet::from_runs([11..=11]))
            ])
        );
        assert_eq!(
            key("OR (SEEN FLAGGED) NOT SUBJECT \"a b\""),
            SearchKey::Or(
                Box::new(SearchKey::And(vec![
                    SearchKey::Flags(SystemFlags::SEEN),
                    SearchKey::Flags(SystemFlags::FLAGGED)
                ])),
                Box::new(not(SearchKey::Header {
                    name: Bytes::from_static(b"Subject"),
                    text: "a b".into()
                }))
            )
        );
        assert_eq!(
            key("SENTON 2-Jan-1970"),
            SearchKey::SentDay {
                first: Some(1),
                end: Some(2)
            }
        );
        assert!(
            parse("MODSEQ \"/flags/\\\\draft\" all 620162338")
                .unwrap()
                .modseq
        );
    }

    #[test]
    fn options_and_charsets_are_checked() {
        assert_eq!(
            parse("RETURN (MIN COUNT) ALL").unwrap().returns,
            Some(SearchReturn {
                min: true,
                count: true,
                ..SearchReturn::default()
            })
        );
        assert!(parse("RETURN () ALL").unwrap().returns.unwrap().all);
        assert!(parse("CHARSET utf-8 TEXT {2}\r\n\u{fc}").is_ok());
        assert!(
            matches!(parse("CHARSET KOI8-R ALL"), Err(Malformed::Refused(code, _)) if code.starts_with("BADCHARSET"))
        );
        for bad in [
            "",
            "FOO",
            "NOT",
            "OR ALL",
            "(ALL",
            "ALL )",
            "SUBJECT",
            "RETURN (FOO) ALL",
            "KEYWORD \\Seen",
            "ON 31-Feb-2000",
        ] {
            assert!(matches!(parse(bad), Err(Malformed::Syntax(_))), "{bad}");
        }
    }

    #[test]
    fn depth_and_number_of_keys_are_limited() {
        assert!(parse(&("(".repeat(40) + "ALL" + &")".repeat(40))).is_ok());
        for text in [
            "(".repeat(60_000),
            "NOT ".repeat(20_000) + "ALL",
            "OR ALL ".repeat(9_000) + "ALL",
            "ALL ".repeat(2_000) + "ALL",
        ] {
            assert!(matches!(parse(&text), Err(Malformed::Refused("LIMIT", _))));
        }
    }
}
