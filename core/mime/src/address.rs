//! Address lists of RFC 5322 3.4 with the obsolete forms of 4.4, read leniently, in one pass.
//!
//! Names stay as written (encoded words are not decoded), without quotes and comments. An address without a domain
//! has an empty `host`, because `None` would begin a group in IMAP's ENVELOPE.

use alloc::vec::Vec;

use crate::Mailbox;
use crate::lexer::{Lexer, clean, is_space, push_clean};

/// Words of one entry at most: one with more cannot be read.
const WORDS_MAX: usize = 2_000;

/// Parses a raw (folded) field value; at most `max` entries, group begins and ends counted as entries.
pub fn addresses(value: &[u8], max: usize) -> Vec<Mailbox> {
    addresses_and_doubt(value, max).0
}

/// As [`addresses`], and whether another reader may find other addresses: an entry has a second `@` behind its address, or two
/// addresses in brackets. `a@one.example <b@two.example>` is in no doubt: many write a name like that.
pub fn addresses_and_doubt(value: &[u8], max: usize) -> (Vec<Mailbox>, bool) {
    let mut list = List {
        lexer: Lexer::new(value),
        out: Vec::new(),
        max,
        in_group: false,
        doubt: false,
    };
    while list.out.len() < max && list.lexer.peek().is_some() {
        list.entry();
    }
    list.end_group();
    (list.out, list.doubt)
}

struct List<'a> {
    lexer: Lexer<'a>,
    out: Vec<Mailbox>,
    max: usize,
    in_group: bool,
    /// What was read can be read otherwise.
    doubt: bool,
}

/// A word of a phrase or local part.
struct Word {
    text: Vec<u8>,
    quoted: bool,
    /// A dot of the text is a joint: `a . b` is one local part, `A. B` is not known to be one before an `@` comes.
    dot_before: bool,
    dot_after: bool,
}

/// What was read of one entry.
#[derive(Default)]
struct Entry<'a> {
    words: Vec<Word>,
    /// A whole address that turned out to be a name: `a@b <a@b>`. Kept as it stands, since one `<` after the other makes it longer.
    before: &'a [u8],
    comment: Option<Vec<u8>>,
    address: Option<Address>,
    /// A comment never ended, or there are too many words: nothing that was read means anything.
    broken: bool,
}

#[derive(Default)]
struct Address {
    route: Option<Vec<u8>>,
    local: Vec<u8>,
    host: Vec<u8>,
}

impl<'a> List<'a> {
    /// Reads up to and including the next `,` or `;`, or the `:` that begins a group.
    fn entry(&mut self) {
        self.lexer.space();
        let start = self.lexer.at();
        let mut entry = Entry::default();
        let mut has_angle = false;
        while let Some(c) = self.lexer.peek() {
            let here = self.lexer.at();
            match c {
                _ if is_space(c) => self.lexer.space(),
                b'(' => match self.lexer.comment() {
                    Some(text) => entry.comment = Some(text),
                    None => entry.broken = true,
                },
                b'<' => {
                    // `a@b <a@b>`: what stood before is a name after all.
                    if entry.address.take().is_some() {
                        entry.before = self.lexer.since(start);
                    }
                    self.doubt |= core::mem::replace(&mut has_angle, true);
                    entry.address = Some(self.angle(&mut entry.broken));
                }
                b'@' if entry.address.is_none() => {
                    self.lexer.bump();
                    let local = take_local(&mut entry.words);
                    let host = self.domain();
                    entry.address = Some(Address {
                        route: None,
                        local,
                        host,
                    });
                }
                b',' => {
                    self.lexer.bump();
                    break;
                }
                b';' => {
                    self.lexer.bump();
                    self.push(entry);
                    self.end_group();
                    return;
                }
                b':' => {
                    self.lexer.bump();
                    let room = self.out.len() + 2 <= self.max;
                    if !self.in_group && entry.address.is_none() && room {
                        self.in_group = true;
                        self.out.push(Mailbox {
                            local: Some(phrase(&entry.words)),
                            ..Mailbox::default()
                        });
                        return;
                    }
                }
                _ => match self.word() {
                    // Words behind an address are noise.
                    Some(word) if entry.address.is_some() => {
                        self.doubt |= word.text.contains(&b'@');
                    }
                    Some(_) if entry.words.len() == WORDS_MAX => entry.broken = true,
                    Some(word) => entry.words.push(word),
                    None => {
                        self.doubt |= c == b'@';
                        self.lexer.bump();
                    }
                },
            }
            debug_assert!(self.lexer.at() > here, "every turn reads something");
        }
        self.push(entry);
    }

    /// A group that began always ends, even at the limit: a client would take all that follows for its members.
    fn end_group(&mut self) {
        if core::mem::take(&mut self.in_group) {
            self.out.truncate(self.max.saturating_sub(1));
            self.out.push(Mailbox::default());
        }
    }

    fn push(&mut self, entry: Entry<'a>) {
        if self.out.len() < self.max
            && let Some(mailbox) = entry.mailbox()
        {
            self.out.push(mailbox);
        }
    }

    /// A quoted string, an encoded word, or an atom with its dots; `None` at a character that begins none of these.
    fn word(&mut self) -> Option<Word> {
        if self.lexer.peek() == Some(b'"') {
            return Some(Word {
                text: self.lexer.quoted(),
                quoted: true,
                dot_before: false,
                dot_after: false,
            });
        }
        let mut text = Vec::new();
        loop {
            let encoded = encoded_word_len(self.lexer.rest());
            if encoded > 0 {
                let from = self.lexer.at();
                self.lexer.skip(encoded);
                text.extend_from_slice(self.lexer.since(from));
                continue;
            }
            match self.lexer.peek() {
                Some(c) if is_atom(c) => {
                    self.lexer.bump();
                    push_clean(&mut text, c);
                }
                _ => break,
            }
        }
        (!text.is_empty()).then(|| Word::plain(text))
    }

    /// At a `<`: route, local part and domain up to the `>`. Sets `broken` when there are too many words.
    fn angle(&mut self, broken: &mut bool) -> Address {
        self.lexer.bump();
        let mut address = Address::default();
        let mut words = Vec::new();
        let mut seen_at = false;
        while let Some(c) = self.lexer.peek() {
            match c {
                _ if is_space(c) => self.lexer.space(),
                b'(' => {
                    self.lexer.comment();
                }
                b'>' => {
                    self.lexer.bump();
                    break;
                }
                // The bracket was never closed: the next address begins.
                b'<' | b';' => break,
                b',' if address.route.is_none() => break,
                b'@' if seen_at => {
                    self.doubt = true;
                    self.lexer.bump();
                    self.domain();
                }
                b'@' => {
                    self.lexer.bump();
                    if words.is_empty() {
                        // RFC 5322 4.4 obs-route: `<@a,@b:local@domain>`.
                        let domain = self.domain();
                        let route = address.route.get_or_insert_default();
                        if !route.is_empty() {
                            route.push(b',');
                        }
                        route.push(b'@');
                        route.extend(domain);
                    } else {
                        address.local = take_local(&mut words);
                        address.host = self.domain();
                        seen_at = true;
                    }
                }
                _ => match self.word() {
                    Some(_) if words.len() == WORDS_MAX => *broken = true,
                    Some(word) => {
                        // `<@a:""@b>` has an empty local part, but has one.
                        words.push(word);
                    }
                    None => {
                        self.lexer.bump();
                    }
                },
            }
        }
        if !seen_at {
            address.local = take_local(&mut words);
        }
        address
    }

    /// Behind an `@`: atoms joined by dots, or a literal in brackets.
    fn domain(&mut self) -> Vec<u8> {
        let mut domain: Vec<u8> = Vec::new();
        loop {
            let mut ahead = self.lexer;
            ahead.cfws();
            match ahead.peek() {
                Some(b'[') if domain.is_empty() => {
                    let from = ahead.at();
                    ahead.take_while(|c| c != b']');
                    ahead.bump();
                    domain.extend(clean(ahead.since(from)));
                    self.lexer = ahead;
                    return domain;
                }
                Some(c) if is_atom(c) => {
                    let joined = domain.is_empty() || domain.ends_with(b".") || c == b'.';
                    if !joined {
                        return domain;
                    }
                    domain.extend(clean(ahead.take_while(is_atom)));
                    self.lexer = ahead;
                }
                _ => return domain,
            }
        }
    }
}

impl Word {
    fn plain(text: Vec<u8>) -> Self {
        Self {
            quoted: false,
            dot_before: text.starts_with(b"."),
            dot_after: text.ends_with(b"."),
            text,
        }
    }
}

impl Entry<'_> {
    fn mailbox(self) -> Option<Mailbox> {
        if self.broken {
            return Some(Mailbox {
                local: Some(Vec::new()),
                host: Some(Vec::new()),
                ..Mailbox::default()
            });
        }
        let Self {
            mut words,
            before,
            comment,
            address,
            ..
        } = self;
        if !before.is_empty() {
            words = Vec::from([Word::plain(clean(before.trim_ascii()))]);
        }
        let nothing = words.is_empty() && comment.is_none() && address.is_none();
        if nothing {
            return None;
        }
        let (name, address) = match (address, words.as_slice()) {
            (Some(address), _) => (phrase(&words), address),
            // A lone word is a local part without its domain; several are a name without an address.
            (None, [word]) if !word.quoted => (
                Vec::new(),
                Address {
                    local: word.text.clone(),
                    ..Address::default()
                },
            ),
            (None, _) => (phrase(&words), Address::default()),
        };
        let name = match name.is_empty() {
            false => Some(name),
            true => comment
                .map(|c| c.trim_ascii().to_vec())
                .filter(|c| !c.is_empty()),
        };
        Some(Mailbox {
            name,
            route: address.route,
            local: Some(address.local),
            host: Some(address.host),
        })
    }
}

/// Words with one space between them.
fn phrase(words: &[Word]) -> Vec<u8> {
    let texts = words
        .iter()
        .map(|w| w.text.as_slice())
        .filter(|t| !t.is_empty());
    texts.collect::<Vec<_>>().join(&b' ')
}

/// Takes the last words that dots join: the local part. What stands before stays: a name, in `John a@b`.
fn take_local(words: &mut Vec<Word>) -> Vec<u8> {
    let mut first = words.len().saturating_sub(1);
    for (i, pair) in words.windows(2).enumerate().rev() {
        let joined = matches!(pair, [a, b] if a.dot_after || b.dot_before);
        if !joined {
            break;
        }
        first = i;
    }
    let local = words.split_off(first);
    local.into_iter().flat_map(|w| w.text).collect()
}

/// RFC 5322 3.2.3 atext, with dots, non-ASCII octets and others that no rule gives a meaning here.
fn is_atom(c: u8) -> bool {
    !is_space(c) && !b"()<>[]:;@,\"".contains(&c)
}

/// Octets of the encoded word at the start: its text may hold characters that are special elsewhere, since many
/// mailers encode commas so. 0 when there is none within 200 octets (RFC 2047 2 allows 75).
fn encoded_word_len(text: &[u8]) -> usize {
    const LONGEST: usize = 200;
    if !text.starts_with(b"=?") {
        return 0;
    }
    let mut marks = 0;
    for (i, c) in text.iter().enumerate().take(LONGEST).skip(2) {
        match c {
            _ if is_space(*c) => return 0,
            b'?' => marks += 1,
            b'=' if marks == 3 => return i + 1,
            _ if marks > 2 => return 0,
            _ => {}
        }
    }
    0
}
