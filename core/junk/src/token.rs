//! Cutting a text into words.

use alloc::string::String;
use unicode_normalization::UnicodeNormalization;

/// One thing that a text is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// Letters and digits, and what joins them.
    Word(&'a str),
    /// Two characters that stand side by side in a script that does not part its words.
    Pair(&'a str),
    /// Several exclamation marks.
    Shout,
}

/// The text in the form in which it is cut: compatible characters made one (NFKC).
pub(crate) fn normalized(text: &str) -> Option<String> {
    (!text.is_ascii()).then(|| text.nfkc().collect())
}

/// A text's tokens in order.
#[derive(Debug, Clone)]
pub(crate) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    fn take(&mut self, octets: usize) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at_checked(octets)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let first = self.rest.chars().next()?;
            if first == '!' {
                let marks = self.rest.bytes().take_while(|b| *b == b'!').count();
                self.take(marks);
                if marks > 1 {
                    return Some(Token::Shout);
                }
            } else if is_unparted(first) {
                let here = self.rest;
                let one = first.len_utf8();
                self.take(one);
                match self.rest.chars().next().filter(|c| is_unparted(*c)) {
                    Some(second) => {
                        let pair = here.get(..one + second.len_utf8())?;
                        return Some(Token::Pair(pair));
                    }
                    None => continue,
                }
            } else if first.is_alphanumeric() || first == '$' {
                let len = word_len(self.rest);
                return Some(Token::Word(self.take(len)));
            } else {
                self.take(first.len_utf8());
            }
        }
    }
}

/// Octets of the word a text begins with.
fn word_len(text: &str) -> usize {
    let mut chars = text.char_indices().peekable();
    let Some((_, mut last)) = chars.next() else {
        return 0;
    };
    while let Some((at, c)) = chars.next() {
        let goes_on = match c {
            '%' => true,
            '\'' | '-' | '.' | '_' | ',' => {
                let next = chars.peek().map(|(_, c)| *c);
                let both = |is: fn(char) -> bool| is(last) && next.is_some_and(is);
                match c {
                    ',' => both(char::is_numeric),
                    _ => both(char::is_alphanumeric),
                }
            }
            _ => c.is_alphanumeric() && !is_unparted(c),
        };
        if !goes_on {
            return at;
        }
        last = c;
    }
    text.len()
}

/// Of a script in which words stand without spaces: Han, Hiragana, Katakana, Thai, Lao, Khmer, Burmese.
fn is_unparted(c: char) -> bool {
    matches!(c,
        '\u{e01}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn cut(text: &str) -> Vec<&str> {
        Tokens::new(text)
            .map(|token| match token {
                Token::Word(word) | Token::Pair(word) => word,
                Token::Shout => "!!",
            })
            .collect()
    }

    #[test]
    fn words_keep_what_joins_them_and_lose_what_stands_around() {
        assert_eq!(
            cut("'don't' (e-mail) foo_bar, www.example.com. a,b 1,000 $9.95 50%!"),
            [
                "don't",
                "e-mail",
                "foo_bar",
                "www.example.com",
                "a",
                "b",
                "1,000",
                "$9.95",
                "50%"
            ]
        );
        assert_eq!(cut("Buy!!! Now! -- ..."), ["Buy", "!!", "Now"]);
        assert_eq!(cut(""), Vec::<&str>::new());
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_overlapping_pairs() {
        assert_eq!(cut("免費贈品abc 中"), ["免費", "費贈", "贈品", "abc"]);
        assert_eq!(cut("한국어 Ünï"), ["한국어", "Ünï"]);
    }
}
