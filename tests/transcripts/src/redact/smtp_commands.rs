//! Which octets of an SMTP client are what.
//!
//! Each command has one reply, in order, and what a DATA or an AUTH is followed by depends on its reply: so replies are
//! counted, and what comes behind such a command waits for its reply.

use std::collections::VecDeque;
use std::ops::Range;

use super::{Class, Heard, Span, Spanned};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// It changes nothing.
    Plain,
    Data,
    Auth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Command,
    /// The next reply decides.
    Hold,
    Sasl,
    /// So many octets ahead hold no end of the message.
    Data(usize),
    Chunk(usize),
}

struct Scan<'a> {
    stream: &'a [u8],
    until: usize,
    at: usize,
    mode: Mode,
    replies: VecDeque<Waits>,
    /// The reply line that is not complete.
    line: Vec<u8>,
    spans: Vec<Span>,
}

pub(super) fn spans(stream: &[u8], events: &[Heard<'_>]) -> Vec<Spanned> {
    let mut scan = Scan {
        stream,
        until: 0,
        at: 0,
        mode: Mode::Command,
        // The greeting.
        replies: VecDeque::from([Waits::Plain]),
        line: Vec::new(),
        spans: Vec::new(),
    };
    for event in events {
        match event {
            Heard::Until(until) => scan.until = *until,
            Heard::Sent(octets) => scan.sent(octets),
        }
        while scan.step() {}
    }
    scan.rest();
    scan.spans.into_iter().map(Spanned).collect()
}

impl Scan<'_> {
    fn sent(&mut self, octets: &[u8]) {
        for piece in octets.split_inclusive(|&b| b == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") {
                let line = core::mem::take(&mut self.line);
                if line.get(3) != Some(&b'-') {
                    self.replied(line.get(..3).unwrap_or_default());
                    while self.step() {}
                }
            }
        }
    }

    fn replied(&mut self, code: &[u8]) {
        let next = match self.replies.pop_front() {
            Some(Waits::Data) if code == b"354" => Mode::Data(0),
            Some(Waits::Auth) if code == b"334" => Mode::Sasl,
            Some(Waits::Data | Waits::Auth) => Mode::Command,
            Some(Waits::Plain) | None => return,
        };
        self.mode = next;
    }

    /// The octets that are there and not looked at.
    fn ahead(&self) -> &[u8] {
        self.stream.get(self.at..self.until).unwrap_or_default()
    }

    /// True when something was done.
    fn step(&mut self) -> bool {
        match self.mode {
            Mode::Hold => false,
            Mode::Chunk(0) => {
                self.mode = Mode::Command;
                true
            }
            Mode::Chunk(left) => {
                let take = left.min(self.ahead().len());
                self.span(self.at..self.at + take, Class::Body);
                self.at += take;
                self.mode = Mode::Chunk(left - take);
                take > 0
            }
            Mode::Data(searched) => {
                let ahead = self.ahead();
                let empty = ahead.starts_with(b".\r\n").then_some(0);
                let end = empty.or_else(|| {
                    let new = ahead.get(searched..).unwrap_or_default();
                    let at = new.windows(5).position(|w| w == b"\r\n.\r\n");
                    at.map(|at| searched + at + 2)
                });
                let Some(end) = end else {
                    // The end may have begun in the last four octets.
                    self.mode = Mode::Data(ahead.len().saturating_sub(4));
                    return false;
                };
                self.span(self.at..self.at + end, Class::Body);
                self.at += end + 3;
                self.replies.push_back(Waits::Plain);
                self.mode = Mode::Command;
                true
            }
            Mode::Command | Mode::Sasl => {
                let Some(end) = self.ahead().iter().position(|&b| b == b'\n') else {
                    return false;
                };
                let start = self.at;
                self.at += end + 1;
                let line = self.stream.get(start..self.at).unwrap_or_default();
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                if self.mode == Mode::Sasl {
                    if !matches!(text, b"" | b"*") {
                        self.span(start..start + text.len(), Class::Secret);
                    }
                    self.replies.push_back(Waits::Auth);
                    self.mode = Mode::Hold;
                } else {
                    self.command(start, text.len());
                }
                true
            }
        }
    }

    fn span(&mut self, range: Range<usize>, class: Class) {
        match self.spans.last_mut() {
            Some((last, same)) if *same == class && last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => self.spans.push((range, class)),
        }
    }

    fn command(&mut self, start: usize, length: usize) {
        let stream = self.stream;
        let line = stream.get(start..start + length).unwrap_or_default();
        let verb_end = line.iter().position(|&b| b == b' ').unwrap_or(length);
        let verb = line
            .get(..verb_end)
            .unwrap_or_default()
            .to_ascii_uppercase();
        let argument = start + (verb_end + 1).min(length)..start + length;
        let mut waits = Waits::Plain;
        match verb.as_slice() {
            b"EHLO" | b"HELO" | b"LHLO" | b"NOOP" | b"RSET" | b"QUIT" | b"HELP" | b"STARTTLS" => {
                self.span(argument, Class::Addresses);
            }
            b"MAIL" | b"RCPT" => self.path(argument),
            b"DATA" => {
                waits = Waits::Data;
                self.mode = Mode::Hold;
            }
            b"BDAT" => {
                let text = stream.get(argument).unwrap_or_default();
                let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
                let size = text.get(..digits).and_then(|d| str::from_utf8(d).ok());
                // A server takes no octets behind a size it cannot read.
                self.mode = Mode::Chunk(size.and_then(|s| s.parse().ok()).unwrap_or(0));
            }
            b"AUTH" => {
                let text = stream.get(argument.clone()).unwrap_or_default();
                let mechanism = text.iter().position(|&b| b == b' ');
                if let Some(at) = mechanism
                    && text.get(at + 1..) != Some(b"=")
                {
                    self.span(argument.start + at + 1..argument.end, Class::Secret);
                }
                waits = Waits::Auth;
                self.mode = Mode::Hold;
            }
            b"VRFY" | b"EXPN" => self.span(argument, Class::Text),
            // No command: perhaps a message that nobody asked for, perhaps a password after an AUTH that was refused.
            _ => self.span(start..start + length, Class::Secret),
        }
        self.replies.push_back(waits);
    }

    /// `FROM:<local@domain> PARAM=value ...`
    fn path(&mut self, argument: Range<usize>) {
        let stream = self.stream;
        let text = stream.get(argument.clone()).unwrap_or_default();
        let mut quoted = false;
        let mut escaped = false;
        let (mut open, mut at, mut close) = (None, None, None);
        for (place, &octet) in text.iter().enumerate() {
            match octet {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'<' if open.is_none() => open = Some(place),
                b':' if open.is_some() => open = Some(place),
                b'@' => at = Some(place),
                b'>' => {
                    close = Some(place);
                    break;
                }
                _ => {}
            }
        }
        let (Some(open), Some(close)) = (open, close) else {
            return self.span(argument, Class::Text);
        };
        let end = at.filter(|at| *at > open).unwrap_or(close);
        self.span(
            argument.start + open + 1..argument.start + end,
            Class::Local,
        );
        let mut from = close + 1;
        for word in text
            .get(close + 1..)
            .unwrap_or_default()
            .split(|&b| b == b' ')
        {
            let upper = word.to_ascii_uppercase();
            let known = [
                &b"SIZE="[..],
                b"BODY=",
                b"SMTPUTF8",
                b"RET=",
                b"NOTIFY=",
                b"REQUIRETLS",
            ];
            let value = word.iter().position(|&b| b == b'=').map_or(0, |at| at + 1);
            let range = argument.start + from + value..argument.start + from + word.len();
            if upper.starts_with(b"ORCPT=") || upper.starts_with(b"AUTH=") {
                self.span(range, Class::Addresses);
            } else if !known.iter().any(|known| upper.starts_with(known)) {
                self.span(range, Class::Text);
            }
            from += word.len() + 1;
        }
    }

    /// What never became a whole command, or what nobody said how to read.
    fn rest(&mut self) {
        self.until = self.stream.len();
        let class = match self.mode {
            Mode::Data(_) | Mode::Chunk(_) => Class::Body,
            Mode::Sasl | Mode::Command | Mode::Hold => Class::Secret,
        };
        self.span(self.at..self.until, class);
    }
}

/// Which octets of an SMTP server are what: its challenges, and addresses in its replies.
pub(super) fn reply_spans(stream: &[u8]) -> Vec<Spanned> {
    let mut spans = Vec::new();
    let mut at = 0;
    for line in stream.split_inclusive(|&b| b == b'\n') {
        let text = line.trim_ascii_end();
        let range = at + text.len().min(4)..at + text.len();
        if text.starts_with(b"334 ") && !range.is_empty() {
            spans.push(Spanned((range, Class::Secret)));
        } else if !range.is_empty() {
            spans.push(Spanned((range, Class::Addresses)));
        }
        at += line.len();
    }
    spans
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn classes(talk: &[(&str, &str)]) -> Vec<(String, Class)> {
        let stream: String = talk.iter().map(|(client, _)| *client).collect();
        let mut until = 0;
        let mut events = vec![Heard::Sent(b"220 mx\r\n")];
        for (client, server) in talk {
            until += client.len();
            events.push(Heard::Until(until));
            events.push(Heard::Sent(server.as_bytes()));
        }
        spans(stream.as_bytes(), &events)
            .into_iter()
            .map(|Spanned((range, class))| (stream[range].to_owned(), class))
            .collect()
    }

    fn is(found: &[(String, Class)], expected: &[(&str, Class)]) {
        let found: Vec<_> = found.iter().map(|(t, c)| (t.as_str(), *c)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn pipelined_commands_and_their_message_are_told_apart_by_the_replies() {
        let found = classes(&[
            (
                "EHLO a\r\nMAIL FROM:<jo@x> SIZE=5 BODY=8BITMIME\r\nRCPT TO:<@r:\"a b\"@y>\r\nDATA\r\n",
                "250-x\r\n250 y\r\n250 a\r\n250 b\r\n354 go\r\n",
            ),
            ("MAIL FROM:<no@x>\r\n.", ""),
            ("\r\nRSET\r\n", "250 stored\r\n250 reset\r\n"),
            ("DATA\r\nRCPT TO:<z@x>\r\n", "503 no\r\n503 no\r\n"),
            ("BDAT 7 LAST\r\nsecret!QUIT\r\n", "503 x\r\n221 bye\r\n"),
        ]);
        is(
            &found,
            &[
                ("a", Class::Addresses),
                ("jo", Class::Local),
                ("\"a b\"", Class::Local),
                ("MAIL FROM:<no@x>\r\n", Class::Body),
                ("z", Class::Local),
                ("secret!", Class::Body),
            ],
        );
    }

    #[test]
    fn whatever_proves_who_somebody_is_is_secret() {
        let found = classes(&[
            ("AUTH PLAIN AGEAYg==\r\n", "535 no\r\n"),
            ("auth login\r\n", "334 VXNlcm5hbWU6\r\n"),
            ("YQ==\r\n", "334 UGFzc3dvcmQ6\r\n"),
            ("Yg==\r\n", "235 yes\r\n"),
            ("AUTH PLAIN =\r\n", "334 \r\n"),
            ("*\r\n", "501 cancelled\r\n"),
            ("something pass\r\n", "500 what\r\n"),
            ("AUTH PLAIN AGEA", ""),
        ]);
        is(
            &found,
            &[
                ("AGEAYg==", Class::Secret),
                ("YQ==", Class::Secret),
                ("Yg==", Class::Secret),
                ("something pass", Class::Secret),
                ("AUTH PLAIN AGEA", Class::Secret),
            ],
        );
    }

    #[test]
    fn what_is_no_command_or_was_not_read_may_be_a_password() {
        let found = classes(&[
            (
                "AUTH LOGIN\r\nam8=\r\ncHc=\r\n",
                "504 no\r\n500 x\r\n500 x\r\n",
            ),
            ("auth\tPLAIN AGEAYg==\r\n", "500 what\r\n"),
            ("AUTH LOGIN\r\nam8=\r\ncHc=\r\n", ""),
        ]);
        is(
            &found,
            &[
                ("am8=", Class::Secret),
                ("cHc=", Class::Secret),
                ("auth\tPLAIN AGEAYg==", Class::Secret),
                ("am8=\r\ncHc=\r\n", Class::Secret),
            ],
        );
    }

    #[test]
    fn the_end_of_a_message_is_found_in_whatever_pieces_it_comes() {
        let whole = "a\r\n..\r\n.\r\nQUIT\r\n";
        for cut in 1..whole.len() {
            let (before, behind) = whole.split_at(cut);
            let found = classes(&[("DATA\r\n", "354 go\r\n"), (before, ""), (behind, "")]);
            is(&found, &[("a\r\n..\r\n", Class::Body)]);
        }
    }
}
