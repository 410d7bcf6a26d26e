//! Other words of the same length.

use memchr::{memchr, memchr3};
use mox_address::{Host, LocalPart, Path, Reply};

use super::{hosts, names};

/// Gives names to local parts: the same one for the same local part, under one key.
#[derive(Debug)]
pub(crate) struct Words {
    key: [u8; 32],
}

/// The local part that every host has. It is nobody's.
const POSTMASTER: &[u8] = b"postmaster";

impl Words {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A hash that only says which messages are equal.
    pub(crate) fn hash(&self, octets: &[u8]) -> String {
        let hash = blake3::keyed_hash(&self.key, octets);
        hash.to_hex().chars().take(16).collect()
    }

    /// Another local part of the same length; quotes stay.
    pub(crate) fn rename(&self, local: &mut [u8]) {
        if local.eq_ignore_ascii_case(POSTMASTER) {
            return;
        }
        if let [b'"', inner @ .., b'"'] = local {
            return self.rename(inner);
        }
        let lower = local.to_ascii_lowercase();
        let mut letters = blake3::Hasher::new_keyed(&self.key)
            .update(&lower)
            .finalize_xof();
        let plain: Vec<bool> = local.iter().map(u8::is_ascii).collect();
        fill_text(local);
        for (octet, _) in local.iter_mut().zip(plain).filter(|(_, plain)| *plain) {
            let mut random = [0];
            letters.fill(&mut random);
            let [random] = random;
            *octet = b'a' + random % 26;
        }
    }

    /// Another address of a computer.
    pub(crate) fn move_address(&self, octets: &mut [u8]) {
        let lower = octets.to_ascii_lowercase();
        let mut numbers = blake3::Hasher::new_keyed(&self.key)
            .update(&lower)
            .finalize_xof();
        let random = || {
            let mut random = [0];
            numbers.fill(&mut random);
            let [random] = random;
            random
        };
        let text = String::from_utf8_lossy(&lower);
        match hosts::other(&text, random) {
            Some(other) => octets.copy_from_slice(other.as_bytes()),
            None => fill_words(octets),
        }
    }

    /// The name of a host; an address literal becomes another one.
    pub(crate) fn host(&self, host: &mut [u8]) {
        for (range, _) in hosts::spans(0, host) {
            if let Some(octets) = host.get_mut(range) {
                match hosts::address(octets) {
                    Some(_) => self.move_address(octets),
                    None => fill_text(octets),
                }
            }
        }
    }

    /// The same for the local part of every address in a text.
    pub(crate) fn rename_addresses(&self, text: &mut [u8]) {
        let ats: Vec<usize> = text
            .iter()
            .enumerate()
            .filter_map(|(at, &octet)| (octet == b'@').then_some(at))
            .collect();
        for at in ats {
            let before = text.get(..at).unwrap_or_default();
            let start = match before.strip_suffix(b"\"") {
                Some(quoted) => quoted.iter().rposition(|&b| b == b'"'),
                None => before
                    .iter()
                    .rposition(|&b| !is_local(b))
                    .map_or(Some(0), |stop| Some(stop + 1)),
            };
            if let Some(start) = start
                && let Some(local) = text.get_mut(start..at)
            {
                self.rename(local);
            }
        }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        let mut octets = text.as_bytes().to_vec();
        self.rename_addresses(&mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// The name of somebody who logged in.
    pub(crate) fn user(&self, user: &str) -> String {
        if user.contains('@') {
            return self.text(user);
        }
        let mut octets = user.as_bytes().to_vec();
        self.rename(&mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    }

    pub(crate) fn reply(&self, mut reply: Reply) -> Reply {
        reply.text = self.text(&reply.text).into();
        reply
    }

    pub(crate) fn path(&self, path: &Path) -> Path {
        let mut local = path.local.as_str().as_bytes().to_vec();
        self.rename(&mut local);
        let text = String::from_utf8_lossy(&local).into_owned();
        let mut renamed = path.clone();
        // Letters are a local part, always.
        renamed.local = LocalPart::parse(&text, true).unwrap_or(renamed.local);
        if let Host::Literal(ip) = &mut renamed.host {
            let mut text = ip.to_string().into_bytes();
            self.host(&mut text);
            let moved = str::from_utf8(&text)
                .ok()
                .and_then(|text| text.parse().ok());
            *ip = moved.unwrap_or(*ip);
        }
        renamed
    }
}

fn is_local(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&octet) || !octet.is_ascii()
}

/// How a message goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LineStart {
    /// In a line.
    Inside,
    /// Behind a CR.
    AfterCr,
    /// At the start of a line.
    #[default]
    Start,
    /// Behind a dot at the start of a line.
    AfterDot,
}

/// Filler in the place of a message or a part of it. Line ends stay, and dots that begin a line, which SMTP doubles; NUL
/// stays, which servers refuse.
pub(crate) fn fill(octets: &mut [u8], state: &mut LineStart) {
    let mut rest = octets;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at_mut(end);
        rest = behind;
        let mut from = 0;
        if *state == LineStart::AfterCr {
            *state = match line {
                [b'\n'] => LineStart::Start,
                _ => LineStart::Inside,
            };
            if *state == LineStart::Start {
                continue;
            }
        }
        while let (LineStart::Start | LineStart::AfterDot, Some(&octet)) = (*state, line.get(from))
        {
            *state = match (octet, *state) {
                (b'.', LineStart::Start) => LineStart::AfterDot,
                _ => LineStart::Inside,
            };
            from += usize::from(octet == b'.');
        }
        *state = match line {
            [.., b'\r', b'\n'] => LineStart::Start,
            [.., b'\r'] => LineStart::AfterCr,
            _ => *state,
        };
        fill_text(line.get_mut(from..).unwrap_or_default());
    }
}

/// Filler of the same length: `x`, and characters of as many octets outside ASCII. CR, LF and NUL stay.
pub(crate) fn fill_text(octets: &mut [u8]) {
    let mut rest = octets;
    loop {
        // Nearly all text is ASCII to its end.
        let plain = match rest.is_ascii() {
            true => rest.len(),
            false => rest.iter().take_while(|octet| octet.is_ascii()).count(),
        };
        let (ascii, behind) = rest.split_at_mut(plain);
        let mut at = 0;
        while let Some(ahead) = ascii.get_mut(at..).filter(|ahead| !ahead.is_empty()) {
            let stays = memchr3(b'\r', b'\n', 0, ahead);
            let (text, _) = ahead.split_at_mut(stays.unwrap_or(ahead.len()));
            text.fill(b'x');
            at += text.len() + 1;
        }
        rest = behind;
        if rest.is_empty() {
            return;
        }
        let width = width(rest);
        let (character, behind) = rest.split_at_mut(width);
        match width {
            2 => character.copy_from_slice("é".as_bytes()),
            3 => character.copy_from_slice("語".as_bytes()),
            4 => character.copy_from_slice("😀".as_bytes()),
            // Not UTF-8 before, not UTF-8 now.
            _ => character.fill(0xff),
        }
        rest = behind;
    }
}

/// Filler in the place of words; blanks and what punctuates addresses and parameters stay.
pub(crate) fn fill_words(octets: &mut [u8]) {
    let stays = |b: &u8| b.is_ascii_control() || b" <>@:=.;,[]\"\\".contains(b);
    octets.split_mut(stays).for_each(fill_text);
}

/// Octets of the UTF-8 character at the front; 1 when it is none.
fn width(octets: &[u8]) -> usize {
    if octets.first().is_none_or(u8::is_ascii) {
        return 1;
    }
    let is_one = |c: &[u8]| str::from_utf8(c).is_ok_and(|c| c.chars().count() == 1);
    (2..=4)
        .find(|&width| octets.get(..width).is_some_and(is_one))
        .unwrap_or(1)
}

/// Filler in the place of header fields: names of fields that are known stay, since clients ask for fields by name.
/// Others become another name, the same one as in commands.
pub(crate) fn fill_header(octets: &mut [u8], words: &Words) {
    for line in octets.split_inclusive_mut(|&b| b == b'\n') {
        let name = match line.first() {
            Some(b' ' | b'\t') => 1,
            _ => {
                let colon = line.iter().position(|&b| b == b':');
                let is_name = |name: &[u8]| name.iter().all(u8::is_ascii_graphic);
                colon
                    .filter(|&at| line.get(..at).is_some_and(is_name))
                    .map_or(0, |at| at + 1)
            }
        };
        let (name, value) = line.split_at_mut(name);
        if let [name @ .., b':'] = name
            && !names::is_field(name)
        {
            words.rename(name);
        }
        match value {
            [b' ', value @ ..] => fill_text(value),
            value => fill_text(value),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let mut octets = text.as_bytes().to_vec();
        fill(&mut octets, &mut LineStart::Start);
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn filler_keeps_lengths_line_ends_and_leading_dots_and_nothing_else() {
        assert_eq!(
            filled("Hi. you\r\n..a\r\n.b.\r\n"),
            "xxxxxxx\r\n..x\r\n.xx\r\n"
        );
        assert_eq!(filled("ü語😀\n.\r\0"), "é語😀\nx\r\0");
        let mut invalid = *b"a\xff\xc3";
        fill_text(&mut invalid);
        assert_eq!(&invalid, b"x\xff\xff");
        let words = Words::new([7; 32]);
        let mut header = *b"Subject: a b\r\n c\r\nnot a field\r\nX-Ann: 1\r\n\r\n";
        fill_header(&mut header, &words);
        let mut name = *b"x-aNN";
        words.rename(&mut name);
        let name = str::from_utf8(&name).unwrap();
        let expected = format!("Subject: xxx\r\n x\r\nxxxxxxxxxxx\r\n{name}: x\r\n\r\n");
        assert_eq!(header, expected.as_bytes());
        let mut strange = *b"RCPT <a.b@c d>\t[\xc3\xa9]";
        fill_words(&mut strange);
        assert_eq!(strange, *b"xxxx <x.x@x x>\t[\xc3\xa9]");
    }

    #[test]
    fn names_have_the_same_length_and_are_the_same_each_time() {
        let words = Words::new([7; 32]);
        let text = words.text("<alice@a.example>, \"Jo D\"@b.example, ALICE@x, postmaster@y, @z");
        let names: Vec<&str> = text.split(", ").collect();
        assert_eq!(text.len(), 62);
        assert!(!text.to_lowercase().contains("alice") && !text.contains("Jo"));
        assert!(names[0].ends_with("@a.example>") && names[1].ends_with("\"@b.example"));
        assert_eq!(names[0][1..6], names[2][..5]);
        assert_eq!(names[3..], ["postmaster@y", "@z"]);
        assert_ne!(Words::new([8; 32]).text("alice@x"), words.text("alice@x"));
        assert_eq!(words.user("bob").len(), 3);
        let path = Path::parse("jürgen@b.example", true).unwrap();
        assert_eq!(words.path(&path).local.as_str().len(), 7);
        assert!(!words.path(&path).local.as_str().is_ascii());
    }
}
