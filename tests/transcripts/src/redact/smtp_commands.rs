//! Which octets of an SMTP client are what.
//!
//! Each command has one reply, in order, and what a DATA or an AUTH is followed by depends on its reply: so replies are
//! counted, and what comes behind such a command waits for its reply.

use memchr::{memchr, memmem};
use std::collections::VecDeque;
use std::ops::Range;

use super::names::is_mechanism;
use super::{Class, Heard, Span, Spanned, hosts, smtp_paths};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// It changes nothing.
    Plain,
    /// No recipient is accepted from here on.
    Begin,
    Recipient,
    /// The whole message was sent: LMTP has a reply for each recipient (RFC 2033 4.2).
    Message,
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
    /// It said LHLO.
    lmtp: bool,
    /// Recipients that were accepted.
    recipients: usize,
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
        lmtp: false,
        recipients: 0,
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
            Some(waits) => return self.counted(waits, code.starts_with(b"2")),
            None => return,
        };
        self.mode = next;
    }

    fn counted(&mut self, waits: Waits, accepted: bool) {
        match waits {
            Waits::Recipient if accepted => self.recipients += 1,
            Waits::Begin if accepted => self.recipients = 0,
            Waits::Message => {
                let recipients = core::mem::take(&mut self.recipients);
                if self.lmtp {
                    for _ in 1..recipients {
                        self.replies.push_front(Waits::Plain);
                    }
                }
            }
            _ => {}
        }
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
                    let at = memmem::find(new, b"\r\n.\r\n");
                    at.map(|at| searched + at + 2)
                });
                let Some(end) = end else {
                    // The end may have begun in the last four octets.
                    self.mode = Mode::Data(ahead.len().saturating_sub(4));
                    return false;
                };
                self.span(self.at..self.at + end, Class::Body);
                self.at += end + 3;
                self.replies.push_back(Waits::Message);
                self.mode = Mode::Command;
                true
            }
            Mode::Command | Mode::Sasl => {
                let Some(end) = memchr(b'\n', self.ahead()) else {
                    return false;
                };
                let start = self.at;
                self.at += end + 1;
                let line = self.stream.get(start..self.at).unwrap_or_default();
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                if self.mode == Mode::Sasl {
                    if !matches!(text, b"" | b"*") {
                        self.span(start..start + text.len(), Class::of_sasl(text));
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
        let text = stream.get(argument.clone()).unwrap_or_default();
        let mut waits = Waits::Plain;
        match verb.as_slice() {
            b"EHLO" | b"HELO" | b"LHLO" => {
                self.lmtp |= verb == b"LHLO";
                waits = Waits::Begin;
                for (range, class) in hosts::hello(argument.start, text) {
                    self.span(range, class);
                }
            }
            b"RSET" => {
                waits = Waits::Begin;
                self.span(argument, Class::Words);
            }
            b"NOOP" | b"QUIT" | b"HELP" | b"STARTTLS" | b"VRFY" | b"EXPN" => {
                self.span(argument, Class::Words);
            }
            b"MAIL" | b"RCPT" => {
                waits = match verb.as_slice() {
                    b"MAIL" => Waits::Begin,
                    _ => Waits::Recipient,
                };
                for (range, class) in smtp_paths::spans(argument.start, text) {
                    self.span(range, class);
                }
            }
            b"DATA" => {
                waits = Waits::Data;
                self.mode = Mode::Hold;
                self.span(argument, Class::Words);
            }
            b"BDAT" => {
                let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
                let (size, behind) = text.split_at(digits);
                let size = str::from_utf8(size).ok().and_then(|s| s.parse().ok());
                // A server takes no octets behind a size it cannot read.
                self.mode = Mode::Chunk(size.unwrap_or(0));
                if behind.eq_ignore_ascii_case(b" LAST") {
                    waits = Waits::Message;
                } else {
                    self.span(argument.start + digits..argument.end, Class::Words);
                }
            }
            b"AUTH" => {
                self.sasl(argument, text);
                waits = Waits::Auth;
                self.mode = Mode::Hold;
            }
            // No command: perhaps a message that nobody asked for, perhaps a password after an AUTH that was refused.
            _ => self.span(start..start + length, Class::Secret),
        }
        self.replies.push_back(waits);
    }

    /// A mechanism and what the client begins with.
    fn sasl(&mut self, argument: Range<usize>, text: &[u8]) {
        let end = text.iter().position(|&b| b == b' ').unwrap_or(text.len());
        let (mechanism, response) = text.split_at(end);
        let is_letters = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
        let name = argument.start..argument.start + end;
        if !is_mechanism(mechanism) {
            let class = match mechanism.iter().all(is_letters) {
                true => Class::SecretWord,
                false => Class::Secret,
            };
            self.span(name, class);
        }
        if let [b' ', response @ ..] = response
            && !matches!(response, b"" | b"=")
        {
            let class = Class::of_sasl(response);
            self.span(argument.start + end + 1..argument.end, class);
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
                "EHLO a.example\r\nMAIL FROM:<jo@x> SIZE=5 BODY=8BITMIME\r\nRCPT TO:<@r:\"a b\"@y>\r\nDATA\r\n",
                "250-x\r\n250 y\r\n250 a\r\n250 b\r\n354 go\r\n",
            ),
            ("MAIL FROM:<no@x>\r\n.", ""),
            ("\r\nRSET\r\n", "250 stored\r\n250 reset\r\n"),
            ("DATA\r\nRCPT TO:<z@x>\r\n", "503 no\r\n503 no\r\n"),
            ("BDAT 7 LAST\r\nsecret!NOOP ann\r\n", "503 x\r\n250 ok\r\n"),
            (
                "vrfy ann\r\nEXPN ann\r\nEHLO I am\r\nEHLO [10.1.2.3]\r\nDATA x\r\n",
                "",
            ),
        ]);
        is(
            &found,
            &[
                ("jo", Class::Local),
                ("\"a b\"", Class::Local),
                ("MAIL FROM:<no@x>\r\n", Class::Body),
                ("z", Class::Local),
                ("secret!", Class::Body),
                ("ann", Class::Words),
                ("ann", Class::Words),
                ("ann", Class::Words),
                ("I am", Class::Words),
                ("10.1.2.3", Class::Network),
                ("x", Class::Words),
            ],
        );
    }

    #[test]
    fn in_lmtp_a_message_has_a_reply_for_each_recipient() {
        let message = "DATA\r\n";
        let found = classes(&[
            (
                "LHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\n",
                "250 x\r\n250 x\r\n250 x\r\n",
            ),
            ("RCPT TO:<b>\r\nRCPT TO:<c>\r\n", "550 x\r\n250 x\r\n"),
            (message, "354 go\r\n"),
            (
                "one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<d>\r\nDATA\r\n",
                "250 a\r\n250 c\r\n250 x\r\n250 x\r\n354 go\r\n",
            ),
            (
                "two\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<e>\r\nRCPT TO:<f>\r\nBDAT 2 LAST\r\nxyDATA\r\n",
                "250 d\r\n250 x\r\n",
            ),
            ("", "250 x\r\n250 x\r\n250 e\r\n250 f\r\n503 no\r\n"),
            ("NOOP three\r\n", "250 x\r\n"),
        ]);
        is(
            &found,
            &[
                ("a", Class::Local),
                ("b", Class::Local),
                ("c", Class::Local),
                ("one\r\n", Class::Body),
                ("d", Class::Local),
                ("two\r\n", Class::Body),
                ("e", Class::Local),
                ("f", Class::Local),
                ("xy", Class::Body),
                ("three", Class::Words),
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
            ("AUTH hunter2\r\nAUTH p=w x\r\n", "504 no\r\n501 no\r\n"),
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
                ("hunter2", Class::SecretWord),
                ("p=w", Class::Secret),
                ("x", Class::BrokenSecret),
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
