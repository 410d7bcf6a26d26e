//! IMAP as a client hears it: whole responses with their literals, and what they say.

use futures_io::{AsyncRead, AsyncWrite};
use std::io;

use crate::Dialogue;

/// One response: its text with literals cut out, and the literals.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) text: String,
    pub(crate) literals: Vec<String>,
}

/// What an untagged response says, as far as a client model minds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Untagged {
    Exists(usize),
    Expunge(usize),
    /// UIDs that are gone; some of them perhaps long ago (RFC 7162 3.2.10).
    Vanished {
        earlier: bool,
        uids: Vec<u32>,
    },
    Fetch(usize, Item),
    /// A response code: its name and argument.
    Code(String, String),
    Bye,
    Other,
}

/// What a FETCH response says of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) uid: Option<u32>,
    pub(crate) modseq: Option<u64>,
    /// Sorted, without \Recent.
    pub(crate) flags: Option<String>,
    pub(crate) body: Option<String>,
}

impl Response {
    /// The next response of a server.
    pub(crate) async fn read<IO: AsyncRead + AsyncWrite + Unpin>(
        from: &mut Dialogue<IO>,
    ) -> io::Result<Self> {
        let mut response = Self::default();
        loop {
            let line = from.line().await?;
            let literal = line.strip_suffix('}').and_then(|l| l.rsplit_once('{'));
            let length = literal.and_then(|(before, n)| Some((before, n.parse().ok()?)));
            let Some((before, length)) = length else {
                response.text.push_str(&line);
                return Ok(response);
            };
            response.text.push_str(before);
            response.text.push('\u{0}');
            response.literals.push(from.exactly(length).await?);
        }
    }

    /// What it says, if it is untagged.
    pub(crate) fn untagged(&self) -> Option<Untagged> {
        let rest = self.text.strip_prefix("* ")?;
        let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
        if let Ok(number) = first.parse() {
            let (what, list) = after.split_once(' ').unwrap_or((after, ""));
            return Some(match what {
                "EXISTS" => Untagged::Exists(number),
                "EXPUNGE" => Untagged::Expunge(number),
                "FETCH" => Untagged::Fetch(number, self.item(list)),
                _ => Untagged::Other,
            });
        }
        if first == "VANISHED" {
            let set = after.strip_prefix("(EARLIER) ");
            return Some(Untagged::Vanished {
                earlier: set.is_some(),
                uids: uids(set.unwrap_or(after)),
            });
        }
        if first == "BYE" {
            return Some(Untagged::Bye);
        }
        let code = code(after).filter(|_| first == "OK");
        Some(code.map_or(Untagged::Other, |(name, argument)| {
            Untagged::Code(name, argument)
        }))
    }

    fn item(&self, list: &str) -> Item {
        let after = |name: &str| list.split_once(name).map(|(_, rest)| rest);
        let number = |text: &str| {
            let end = text
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len());
            text.get(..end)
                .and_then(|digits| digits.parse::<u64>().ok())
        };
        let flags = after("FLAGS (").and_then(|rest| rest.split_once(')'));
        Item {
            uid: after("UID ")
                .and_then(number)
                .and_then(|n| n.try_into().ok()),
            modseq: after("MODSEQ (").and_then(number),
            flags: flags.map(|(flags, _)| crate::survey::sorted(flags.split_ascii_whitespace())),
            body: self.literals.first().cloned(),
        }
    }
}

/// The response code at the beginning of a text.
pub(crate) fn code(text: &str) -> Option<(String, String)> {
    let (code, _) = text.strip_prefix('[')?.split_once(']')?;
    let (name, argument) = code.split_once(' ').unwrap_or((code, ""));
    Some((name.to_owned(), argument.to_owned()))
}

/// The UIDs of a set without `*`, in the order given.
pub(crate) fn uids(set: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for part in set.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            all.extend(first..=last);
        }
    }
    all
}
