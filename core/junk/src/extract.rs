//! The words of a message's texts.

use alloc::format;
use alloc::string::String;

use crate::token::{Token, Tokens, normalized};
use crate::words::Sample;
use crate::{Limits, Words};

/// Number of the way in which words are made of texts. What was learned with another one is worth nothing here.
pub const FEATURES: u32 = 3;

/// Where a text stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In a header field, by its name in lower case, as decoded text.
    Field(&'a str),
    /// In the text of a part.
    Text,
    /// The target of a link or an image.
    Link,
    /// About a part: words like `text/html` and `charset=utf-8`.
    Part,
}

/// Takes the texts of a message and makes words of them.
#[derive(Debug, Clone)]
pub struct Extractor {
    limits: Limits,
    of_fields: Sample,
    of_body: Sample,
    /// What is looked at is a field.
    in_field: bool,
    /// Words so far, those that came again included.
    count: usize,
    /// Octets of texts that may still come.
    left: usize,
    /// The word that is being put together.
    word: String,
}

impl Extractor {
    /// For one message. Which words of a long one are left out follows from the order of their ids: whoever can choose the
    /// words of mail that a filter judges must not know it, see [`keyed`](Self::keyed).
    pub fn new(limits: Limits) -> Self {
        Self::keyed(limits, 0)
    }

    /// For one message of those among which this key chooses: the same for all that one filter learns and judges, and known to
    /// nobody else.
    pub fn keyed(limits: Limits, key: u64) -> Self {
        Self {
            limits,
            of_fields: Sample::new(limits.field_words, key),
            of_body: Sample::new(limits.words.saturating_sub(limits.field_words), key),
            in_field: false,
            count: 0,
            left: limits.text_octets,
            word: String::new(),
        }
    }

    /// One more text of the message. Of fields only those of subject, addresses and way are looked at: others tell more of
    /// the programs a message went through than of itself, and made judgements worse.
    pub fn push(&mut self, place: Place<'_>, text: &str) {
        let mut end = text.len().min(self.left);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.left -= end;
        let text = text.get(..end).unwrap_or_default();
        self.in_field = matches!(place, Place::Field(_));
        match place {
            Place::Field("subject") => self.text("subject:", text, true),
            Place::Field("return-path") => self.text("from:", text, false),
            Place::Field(name @ ("from" | "reply-to" | "sender" | "to" | "cc")) => {
                self.text(&format!("{name}:"), text, false);
                let apart = |c: char| c.is_whitespace() || "<>(),;\"".contains(c);
                let hosts = text.split(apart).filter_map(|word| word.rsplit_once('@'));
                for (_, host) in hosts {
                    self.host(&format!("{name}:@"), host);
                }
            }
            Place::Field("received") => {
                let apart = |c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-');
                for host in text.split(apart).filter(|word| word.contains('.')) {
                    self.host("received:", host);
                }
            }
            Place::Field(_) => {}
            Place::Part => {
                for word in text.split(' ').filter(|word| !word.is_empty()) {
                    self.insert("part:", word);
                }
            }
            Place::Link => self.link(text),
            Place::Text => {
                self.text("", text, true);
                for link in text.split("://").skip(1) {
                    let apart = |c: char| !(c.is_ascii_alphanumeric() || ".-@".contains(c));
                    let host = link.split(apart).next().unwrap_or_default();
                    self.host("link:", host.rsplit('@').next().unwrap_or_default());
                }
            }
        }
    }

    /// The words of all that was pushed.
    pub fn finish(self) -> Words {
        [self.of_fields, self.of_body].into_iter().collect()
    }

    fn insert(&mut self, tag: &str, word: &str) {
        self.word.clear();
        self.word.push_str(tag);
        // Tags are short, and whatever makes words here bounds them; this bounds what is kept in any case.
        self.word
            .extend(word.chars().take(4 * self.limits.word_chars));
        let sample = match self.in_field {
            true => &mut self.of_fields,
            false => &mut self.of_body,
        };
        sample.insert(self.count, &self.word);
        self.count = self.count.saturating_add(1);
    }

    fn text(&mut self, tag: &str, text: &str, pairs: bool) {
        let normalized = normalized(text);
        let text = normalized.as_deref().unwrap_or(text);
        let mut previous = String::new();
        for token in Tokens::new(text) {
            let word = match token {
                Token::Shout => {
                    self.insert(tag, "!!");
                    continue;
                }
                Token::Pair(pair) => {
                    self.insert(tag, pair);
                    continue;
                }
                Token::Word(word) => word,
            };
            let chars = word.chars().count();
            if chars > self.limits.word_chars {
                self.insert(tag, &format!("long:{}", (chars / 10 * 10).min(200)));
                continue;
            }
            let digits = word.chars().filter(|c| c.is_numeric()).count();
            let is_money = word.starts_with('$') || word.ends_with('%');
            let least = if word.is_ascii() { 3 } else { 2 };
            if chars < least || (digits * 2 > chars && !is_money) {
                continue;
            }
            if !tag.is_empty() && chars > 3 && word.chars().all(char::is_uppercase) {
                self.insert(tag, "CAPS");
            }
            let word = word.to_lowercase();
            self.insert(tag, &word);
            if pairs && !previous.is_empty() {
                self.insert(tag, &format!("{previous} {word}"));
            }
            previous = word;
        }
    }

    /// A host and the domains it is in; an address and the networks it is in.
    fn host(&mut self, tag: &str, host: &str) {
        let host = host.trim_matches('.');
        if host.len() > 253 {
            return;
        }
        let host = host.to_lowercase();
        let labels = host.split('.').count();
        if labels < 2 || host.split('.').any(str::is_empty) {
            return;
        }
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        if host.split('.').all(is_number) {
            if labels == 4 {
                self.insert(tag, &host);
                let mut network = host.as_str();
                for _ in 0..2 {
                    network = network.rsplit_once('.').map_or("", |(network, _)| network);
                    self.insert(tag, network);
                }
                self.insert(tag, "ip");
            }
            return;
        }
        let mut domain = host.as_str();
        for left in (2..=labels).rev() {
            if left <= self.limits.labels {
                self.insert(tag, domain);
            }
            domain = domain.split_once('.').map_or("", |(_, parent)| parent);
        }
    }

    fn link(&mut self, target: &str) {
        let Some((scheme, rest)) = target.split_once(':') else {
            return;
        };
        let scheme = scheme.trim().to_lowercase();
        if scheme.len() > 12 {
            return;
        }
        self.insert("link:", &format!("{scheme}:"));
        let rest = rest.trim_start_matches('/');
        let end = rest.find(|c: char| "/?#:".contains(c));
        let (host, path) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .unwrap_or((rest, ""));
        self.host("link:", host.rsplit('@').next().unwrap_or_default());
        if scheme.starts_with("http") {
            self.text("link:", path, false);
        }
    }
}
