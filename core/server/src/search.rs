//! Whether a message matches a SEARCH key (RFC 3501 6.4.4).

use mox_imap::SearchKey;
use mox_machine::Utc;
use mox_message::contains::folded;
use mox_uids::Uid;

/// A message that a search looks at. Cheap columns are given; what must be read is read when a key needs it.
pub trait Candidate {
    /// Why a message could not be read.
    type Error;

    /// Its identifier.
    fn uid(&self) -> Uid;
    /// When it last changed.
    fn modseq(&self) -> u64;
    /// Octets.
    fn size(&self) -> u64;
    /// System flags as bits, those of [`mox_imap::server::SystemFlags`].
    fn flags(&self) -> u8;
    /// Has this keyword, without regard to ASCII case.
    fn has_keyword(&self, keyword: &str) -> bool;
    /// The internal date.
    fn internal_date(&mut self) -> Result<Utc, Self::Error>;
    /// The day of the Date field as written, in days since 1970, without regard to time and zone.
    fn sent_day(&mut self) -> Result<Option<i64>, Self::Error>;
    /// The day it came into this mailbox, in days since 1970.
    fn saved_day(&mut self) -> Result<Option<i64>, Self::Error>;
    /// Whether its EMAILID (RFC 8474) is this.
    fn has_email_id(&mut self, id: &str) -> Result<bool, Self::Error>;
    /// Whether a field of this name has a value, decoded, that contains `needle`, which is [`folded`].
    fn field_contains(&mut self, name: &[u8], needle: &str) -> Result<bool, Self::Error>;
    /// Whether any field of the header, decoded, contains `needle`, which is [`folded`].
    fn header_contains(&mut self, needle: &str) -> Result<bool, Self::Error>;
    /// Whether a text part, decoded, contains `needle`, which is [`folded`].
    fn body_contains(&mut self, needle: &str) -> Result<bool, Self::Error>;
}

/// What reading a message for a key costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// The row alone.
    Row,
    /// Its stored header or dates.
    Header,
    /// Its body.
    Body,
}

/// The dearest thing a key may need.
pub fn cost(key: &SearchKey) -> Cost {
    match key {
        SearchKey::And(keys) => keys.iter().map(cost).max().unwrap_or(Cost::Row),
        SearchKey::Or(a, b) => cost(a).max(cost(b)),
        SearchKey::Not(key) => cost(key),
        SearchKey::All
        | SearchKey::Uids(_)
        | SearchKey::Flags(_)
        | SearchKey::Keyword(_)
        | SearchKey::Larger(_)
        | SearchKey::Smaller(_)
        | SearchKey::Modseq(_) => Cost::Row,
        SearchKey::Header { .. }
        | SearchKey::InternalDay { .. }
        | SearchKey::SentDay { .. }
        | SearchKey::SavedDay { .. }
        | SearchKey::EmailId(_)
        | SearchKey::Within(..) => Cost::Header,
        SearchKey::Body(_) | SearchKey::Text(_) => Cost::Body,
    }
}

/// The key with its texts [`folded`] once, and cheap parts of a conjunction before dear ones.
pub fn prepare(key: &SearchKey) -> SearchKey {
    match key {
        SearchKey::And(keys) => {
            let mut keys: Vec<_> = keys.iter().map(prepare).collect();
            keys.sort_by_key(cost);
            SearchKey::And(keys)
        }
        SearchKey::Or(a, b) => {
            let (a, b) = (prepare(a), prepare(b));
            let (a, b) = if cost(&b) < cost(&a) { (b, a) } else { (a, b) };
            SearchKey::Or(Box::new(a), Box::new(b))
        }
        SearchKey::Not(key) => SearchKey::Not(Box::new(prepare(key))),
        SearchKey::Header { name, text } => SearchKey::Header {
            name: name.clone(),
            text: folded(text),
        },
        SearchKey::Body(text) => SearchKey::Body(folded(text)),
        SearchKey::Text(text) => SearchKey::Text(folded(text)),
        other => other.clone(),
    }
}

/// Whether a message matches a [`prepare`]d key. The parser bounds the depth of keys, so recursion is bounded.
pub fn matches<C: Candidate>(key: &SearchKey, message: &mut C, now: Utc) -> Result<bool, C::Error> {
    Ok(match key {
        SearchKey::All => true,
        SearchKey::And(keys) => {
            for key in keys {
                if !matches(key, message, now)? {
                    return Ok(false);
                }
            }
            true
        }
        SearchKey::Or(a, b) => matches(a, message, now)? || matches(b, message, now)?,
        SearchKey::Not(key) => !matches(key, message, now)?,
        SearchKey::Uids(uids) => uids.contains(message.uid()),
        SearchKey::Flags(flags) => message.flags() & flags.0 == flags.0,
        SearchKey::Keyword(keyword) => message.has_keyword(keyword),
        SearchKey::Header { name, text } => message.field_contains(name, text)?,
        SearchKey::Body(text) => message.body_contains(text)?,
        SearchKey::Text(text) => message.header_contains(text)? || message.body_contains(text)?,
        SearchKey::InternalDay { first, end } => {
            within(Some(day(message.internal_date()?)), *first, *end)
        }
        SearchKey::SentDay { first, end } => within(message.sent_day()?, *first, *end),
        SearchKey::SavedDay { first, end } => within(message.saved_day()?, *first, *end),
        SearchKey::EmailId(id) => message.has_email_id(id)?,
        SearchKey::Larger(size) => message.size() > *size,
        SearchKey::Smaller(size) => message.size() < *size,
        SearchKey::Within(seconds, younger) => {
            let age = now.secs() - message.internal_date()?.secs();
            (age <= i64::from(*seconds)) == *younger
        }
        SearchKey::Modseq(modseq) => message.modseq() >= *modseq,
    })
}

fn day(at: Utc) -> i64 {
    at.secs().div_euclid(86_400)
}

fn within(day: Option<i64>, first: Option<i64>, end: Option<i64>) -> bool {
    day.is_some_and(|day| first.is_none_or(|f| day >= f) && end.is_none_or(|e| day < e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use mox_imap::server::SystemFlags;

    struct Message {
        subject: &'static str,
        body: &'static str,
        bodies_read: u32,
    }

    impl Candidate for Message {
        type Error = Infallible;
        fn uid(&self) -> Uid {
            Uid(7)
        }
        fn modseq(&self) -> u64 {
            9
        }
        fn size(&self) -> u64 {
            100
        }
        fn flags(&self) -> u8 {
            1
        }
        fn has_keyword(&self, keyword: &str) -> bool {
            keyword.eq_ignore_ascii_case("$Work")
        }
        fn internal_date(&mut self) -> Result<Utc, Infallible> {
            Ok(Utc::from_secs(20_000 * 86_400 + 5))
        }
        fn sent_day(&mut self) -> Result<Option<i64>, Infallible> {
            Ok(None)
        }
        fn saved_day(&mut self) -> Result<Option<i64>, Infallible> {
            Ok(Some(20_001))
        }
        fn has_email_id(&mut self, id: &str) -> Result<bool, Infallible> {
            Ok(id == "M1")
        }
        fn field_contains(&mut self, name: &[u8], needle: &str) -> Result<bool, Infallible> {
            Ok(name.eq_ignore_ascii_case(b"subject") && folded(self.subject).contains(needle))
        }
        fn header_contains(&mut self, needle: &str) -> Result<bool, Infallible> {
            self.field_contains(b"subject", needle)
        }
        fn body_contains(&mut self, needle: &str) -> Result<bool, Infallible> {
            self.bodies_read += 1;
            Ok(folded(self.body).contains(needle))
        }
    }

    fn found(key: SearchKey) -> (bool, u32) {
        let mut message = Message {
            subject: "Über Rechnung",
            body: "Pay NOW",
            bodies_read: 0,
        };
        let now = Utc::from_secs(20_000 * 86_400 + 65);
        let found = matches(&prepare(&key), &mut message, now).unwrap();
        (found, message.bodies_read)
    }

    #[test]
    fn texts_match_without_regard_to_case() {
        assert!(found(SearchKey::Text("über".into())).0);
        assert!(found(SearchKey::Body("pay now".into())).0);
        assert!(!found(SearchKey::Body("über".into())).0);
        assert!(
            found(SearchKey::Header {
                name: "SUBJECT".into(),
                text: "RECHNUNG".into()
            })
            .0
        );
    }

    #[test]
    fn a_body_is_not_read_when_a_cheaper_key_decides() {
        let dear = SearchKey::Body("pay".into());
        let seen = SearchKey::Flags(SystemFlags::SEEN);
        let unseen = SearchKey::Not(Box::new(seen.clone()));
        assert_eq!(
            found(SearchKey::And(vec![dear.clone(), unseen.clone()])),
            (false, 0)
        );
        assert_eq!(
            found(SearchKey::Or(Box::new(dear.clone()), Box::new(seen))),
            (true, 0)
        );
        assert_eq!(
            found(SearchKey::Or(Box::new(dear), Box::new(unseen))),
            (true, 1)
        );
    }

    #[test]
    fn dates_sizes_and_numbers_compare_at_their_borders() {
        let day = |first, end| found(SearchKey::InternalDay { first, end }).0;
        assert!(
            day(Some(20_000), Some(20_001)) && day(None, Some(20_001)) && day(Some(20_000), None)
        );
        assert!(!day(Some(20_001), None) && !day(None, Some(20_000)));
        assert!(
            !found(SearchKey::SentDay {
                first: None,
                end: None
            })
            .0
        );
        let saved = |first, end| found(SearchKey::SavedDay { first, end }).0;
        assert!(saved(Some(20_001), Some(20_002)) && !saved(None, Some(20_001)));
        let email = |id: &str| found(SearchKey::EmailId(id.into())).0;
        assert!(email("M1") && !email("m1"));
        assert!(!found(SearchKey::Larger(100)).0 && found(SearchKey::Larger(99)).0);
        assert!(!found(SearchKey::Smaller(100)).0 && found(SearchKey::Smaller(101)).0);
        assert!(found(SearchKey::Modseq(9)).0 && !found(SearchKey::Modseq(10)).0);
        assert!(found(SearchKey::Within(60, true)).0 && !found(SearchKey::Within(59, true)).0);
        assert!(found(SearchKey::Within(59, false)).0 && !found(SearchKey::Within(60, false)).0);
        assert!(found(SearchKey::Keyword("$work".into())).0);
    }
}
