//! Oracle 5, as far as the wire shows it: one reply for each SMTP command, in order, and none unasked but a last 421; behind
//! STARTTLS nothing in clear, in either direction, is taken or said. Inside TLS it sees what the cipher suite tells. Also what oracle 2
//! needs: final dots whose reply did not arrive, counted on the wire between two servers.

use std::collections::BTreeMap;

use super::{Ledger, Wrong, mark_of};
use crate::names;
use crate::survey::Survey;

/// All SMTP connections.
#[derive(Default)]
pub(crate) struct Wires {
    wires: BTreeMap<u64, Wire>,
    /// Stores that failed so far.
    failures: u64,
    /// Which server runs on a computer.
    computers: BTreeMap<u64, usize>,
}

/// One connection to an SMTP port.
struct Wire {
    /// The server listening.
    server: usize,
    port: u16,
    /// What the server read and is not understood yet.
    read: Vec<u8>,
    phase: Phase,
    /// The mark of the transaction under way.
    mark: String,
    /// What was asked, the greeting first; a dot names its message.
    asked: Vec<Option<String>>,
    /// Replies that the server wrote, and those the client read.
    written: Replies,
    heard: Replies,
    /// Dots whose reply the client read, and forgot in a crash, by the mark of their message.
    forgotten: BTreeMap<String, u32>,
    /// Dots about which the server could not know.
    unsure: Vec<usize>,
    /// Replies written that were looked at.
    counted: usize,
    /// The number of the last reply in clear, once what follows is TLS.
    secured: Option<usize>,
    /// What the server wrote behind that.
    records: Records,
}

/// TLS records, as far as their headers tell.
#[derive(Default)]
struct Records {
    head: Vec<u8>,
    left: usize,
}

impl Records {
    /// Whether these octets go on as TLS does (RFC 8446 5.1).
    fn go_on(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.left.min(rest.len());
            rest = rest.get(taken..).unwrap_or_default();
            self.left -= taken;
            let Some((byte, after)) = rest.split_first() else {
                return true;
            };
            self.head.push(*byte);
            rest = after;
            match *self.head {
                [kind, ..] if !(20..=23).contains(&kind) => return false,
                [_, _, _, high, low] => {
                    self.left = usize::from(u16::from_be_bytes([high, low]));
                    self.head.clear();
                }
                _ => {}
            }
        }
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Command,
    /// DATA was read; its reply says what comes.
    Data,
    Body {
        /// Nothing of it was passed over yet.
        at_start: bool,
    },
    Chunk {
        left: usize,
        last: bool,
    },
    /// STARTTLS was read; its reply says what comes.
    StartTls,
    /// Something was wrong: more would say nothing new.
    Over,
}

/// Replies cut out of a stream.
#[derive(Default)]
struct Replies {
    rest: Vec<u8>,
    codes: Vec<u16>,
}

impl Replies {
    fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.windows(2).position(|two| two == b"\r\n") {
            let line: Vec<u8> = self.rest.drain(..end + 2).collect();
            if line.get(3) != Some(&b'-') {
                let code = core::str::from_utf8(line.get(..3).unwrap_or_default());
                self.codes
                    .push(code.ok().and_then(|c| c.parse().ok()).unwrap_or(0));
            }
        }
    }
}

impl Wires {
    /// Sees a fact of the record.
    pub(crate) fn fact(&mut self, kind: &str, who: u64, bytes: &[u8], wrong: &mut Wrong) {
        match kind {
            "connect" => {
                if let Some((server, port @ (25 | 587 | 465))) = names::server_at(bytes) {
                    self.wires.insert(who, Wire::new(server, port));
                }
            }
            "read" | "write" | "plain read" | "plain write" => {
                if let Some(wire) = self.wires.get_mut(&(who / 2)) {
                    let (is_plain, from_client) =
                        (kind.starts_with("plain"), who.is_multiple_of(2));
                    let is_write = kind.ends_with("write");
                    if is_plain || !wire.is_hidden(is_write, from_client) {
                        wire.saw(is_write, from_client, bytes);
                    } else if is_write && !from_client && !wire.records.go_on(bytes) {
                        wire.phase = Phase::Over;
                        wrong.found(format!(
                            "server {} wrote in clear behind STARTTLS on port {}: {}",
                            wire.server,
                            wire.port,
                            bytes.escape_ascii()
                        ));
                    }
                    let (written, asked) = (wire.written.codes.len(), wire.asked.len());
                    // Whoever leaves says so, asked or not (RFC 5321 3.8).
                    let leaves = written == asked + 1 && wire.written.codes.last() == Some(&421);
                    if wire.phase != Phase::Over && written > asked && !leaves {
                        wire.phase = Phase::Over;
                        wrong.found(format!(
                            "server {} wrote {written} replies on port {} to {asked} commands",
                            wire.server, wire.port
                        ));
                    }
                }
            }
            "store failed" => self.fails(who),
            "site" if bytes.starts_with(b"store dies") => {
                if let Some(server) = self.computers.get(&who) {
                    self.fails(*server as u64);
                }
            }
            _ => {}
        }
    }

    /// A server runs on this computer.
    pub(crate) fn runs_on(&mut self, computer: u64, server: usize) {
        self.computers.insert(computer, server);
    }

    /// The store of a server failed. Whether the message is there whose final dot it is about to answer nobody can know: it
    /// may say 4xx, and the message comes back with the next start.
    fn fails(&mut self, server: u64) {
        self.failures += 1;
        let concerned = |wire: &&mut Wire| wire.server as u64 == server;
        for wire in self.wires.values_mut().filter(concerned) {
            let unanswered = wire.written.codes.len()..wire.asked.len();
            let dots = unanswered.filter(|n| wire.asked.get(*n).is_some_and(Option::is_some));
            wire.unsure.extend(dots);
        }
    }

    /// How many stores failed so far.
    pub(crate) const fn failures(&self) -> u64 {
        self.failures
    }

    /// Final dots of a message to a server that were answered by 4xx while the store failed, whether the client heard it or
    /// was gone by then.
    pub(crate) fn unsure_replies(&self, mark: &str, server: usize) -> u32 {
        let to_it = self.wires.values().filter(|w| w.server == server);
        let unsure = |wire: &Wire| wire.dots(mark).filter(|n| wire.is_unsure(*n)).count();
        to_it.map(|w| u32::try_from(unsure(w)).unwrap_or(0)).sum()
    }

    /// After a crash of a server: whatever is still in its queue, although a reply to its final dot was read, will be
    /// sent again, and must be.
    pub(crate) fn forget(&mut self, ledger: &Ledger, server: usize, survey: &Survey) {
        for (from, to) in &survey.queued {
            let mark = mark_of(from);
            let is_own = ledger
                .mails
                .get(mark)
                .is_some_and(|mail| mail.server == server);
            let Some(at) = names::recipient(to).and_then(|to| to.server()) else {
                continue;
            };
            for wire in self.wires.values_mut().filter(|_| is_own) {
                if wire.server == at && wire.port == 25 {
                    let heard = wire.dots(mark).filter(|n| wire.is_heard(*n)).count();
                    let heard = u32::try_from(heard).unwrap_or(0);
                    let forgotten = wire.forgotten.entry(mark.to_owned()).or_default();
                    *forgotten = heard.max(*forgotten);
                }
            }
        }
    }

    /// Final dots of a message to a server whose reply the sender does not know: because it did not come, and because it
    /// was forgotten.
    pub(crate) fn lost_replies(&self, mark: &str, server: usize) -> (u32, u32) {
        let to_it = self
            .wires
            .values()
            .filter(|w| w.server == server && w.port == 25);
        to_it.fold((0, 0), |(lost, forgotten), wire| {
            let here = wire.dots(mark).filter(|n| wire.is_lost(*n)).count();
            let again = wire.forgotten.get(mark).copied().unwrap_or(0);
            (lost + u32::try_from(here).unwrap_or(0), forgotten + again)
        })
    }
}

impl Wire {
    fn new(server: usize, port: u16) -> Self {
        Self {
            server,
            port,
            read: Vec::new(),
            phase: Phase::Command,
            mark: String::new(),
            asked: vec![None],
            written: Replies::default(),
            heard: Replies::default(),
            forgotten: BTreeMap::new(),
            unsure: Vec::new(),
            counted: 0,
            secured: (port == 465).then_some(0),
            records: Records::default(),
        }
    }

    /// The numbers of the dots that ended a message.
    fn dots<'w>(&'w self, mark: &'w str) -> impl Iterator<Item = usize> + 'w {
        let asked = self.asked.iter().enumerate();
        asked
            .filter(move |(_, dot)| dot.as_deref() == Some(mark))
            .map(|(n, _)| n)
    }

    /// The client knows that the server took the message.
    fn is_heard(&self, dot: usize) -> bool {
        self.heard
            .codes
            .get(dot)
            .is_some_and(|code| code / 100 == 2)
    }

    /// The server may have taken the message, and the client does not know.
    fn is_lost(&self, dot: usize) -> bool {
        let taken = self
            .written
            .codes
            .get(dot)
            .is_none_or(|code| code / 100 == 2);
        taken && self.heard.codes.get(dot).is_none()
    }

    /// Octets of a connection are TLS: all that the server reads and writes behind its go-ahead, and all that the client
    /// reads behind that.
    fn is_hidden(&self, is_write: bool, from_client: bool) -> bool {
        match (self.secured, is_write, from_client) {
            (None, ..) => false,
            (Some(0), ..) => true,
            (Some(last), false, false) => self.heard.codes.len() >= last,
            (Some(_), ..) => true,
        }
    }

    fn is_unsure(&self, dot: usize) -> bool {
        let written = self.written.codes.get(dot);
        self.unsure.contains(&dot) && written.is_some_and(|code| code / 100 == 4)
    }

    fn saw(&mut self, is_write: bool, from_client: bool, bytes: &[u8]) {
        if self.phase == Phase::Over {
            return;
        }
        match (is_write, from_client) {
            (false, true) => {
                self.read.extend_from_slice(bytes);
                self.understand();
            }
            (true, false) => {
                self.written.push(bytes);
                self.replied();
                self.understand();
            }
            (false, false) => self.heard.push(bytes),
            (true, true) => {}
        }
    }

    /// What a reply changes.
    fn replied(&mut self) {
        while let Some(code) = self.written.codes.get(self.counted).copied() {
            let number = self.counted;
            self.counted += 1;
            // The reply to DATA is the last one asked for: a client waits for it.
            if self.phase == Phase::Data && number + 1 == self.asked.len() {
                self.phase = if code == 354 {
                    Phase::Body { at_start: true }
                } else {
                    Phase::Command
                };
                // The same octets may have the reply to a DATA that was sent behind it.
                self.understand();
            }
            if self.phase == Phase::StartTls && number + 1 == self.asked.len() {
                self.phase = Phase::Command;
                if code == 220 {
                    self.secured = Some(number + 1);
                    // What came in clear behind it was not said inside TLS.
                    self.read.clear();
                }
            }
        }
    }

    /// Takes what was read apart.
    fn understand(&mut self) {
        loop {
            match self.phase {
                Phase::Over | Phase::Data | Phase::StartTls => return,
                Phase::Chunk { left, last } => {
                    let taken = left.min(self.read.len());
                    self.read.drain(..taken);
                    if taken < left {
                        self.phase = Phase::Chunk {
                            left: left - taken,
                            last,
                        };
                        return;
                    }
                    self.phase = Phase::Command;
                    let dot = last.then(|| self.mark.clone());
                    self.asked.push(dot);
                }
                Phase::Body { at_start } => {
                    let Some(end) = end_of_body(&self.read, at_start) else {
                        // The last octets may be the beginning of the end.
                        let seen = self.read.len().saturating_sub(4);
                        self.read.drain(..seen);
                        self.phase = Phase::Body {
                            at_start: at_start && seen == 0,
                        };
                        return;
                    };
                    self.read.drain(..end);
                    self.phase = Phase::Command;
                    let dot = Some(self.mark.clone());
                    self.asked.push(dot);
                }
                Phase::Command => {
                    let Some(end) = self.read.iter().position(|byte| *byte == b'\n') else {
                        return;
                    };
                    let line: Vec<u8> = self.read.drain(..=end).collect();
                    if !line.ends_with(b"\r\n") {
                        // Refused, whatever it says.
                        self.asked.push(None);
                        continue;
                    }
                    self.command(&String::from_utf8_lossy(&line).to_ascii_uppercase(), &line);
                }
            }
        }
    }

    fn command(&mut self, upper: &str, line: &[u8]) {
        let mut words = upper.split_ascii_whitespace();
        match words.next() {
            Some("DATA") => self.phase = Phase::Data,
            Some("STARTTLS") if self.secured.is_none() => self.phase = Phase::StartTls,
            Some("BDAT") => {
                let left = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                let last = words.next() == Some("LAST");
                self.phase = Phase::Chunk { left, last };
                // Its reply comes after its octets.
                return;
            }
            Some("MAIL") => {
                let text = String::from_utf8_lossy(line);
                let path = text
                    .split_once('<')
                    .and_then(|(_, rest)| rest.split_once('>'));
                self.mark = path.map_or("", |(path, _)| mark_of(path)).to_owned();
            }
            _ => {}
        }
        self.asked.push(None);
    }
}

/// Where a body ends, its final dot included.
fn end_of_body(read: &[u8], at_start: bool) -> Option<usize> {
    if at_start && read.starts_with(b".\r\n") {
        return Some(3);
    }
    let end = read.windows(5).position(|five| five == b"\r\n.\r\n")?;
    Some(end + 5)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    /// The connection, its ways from and to the client.
    const WIRE: u64 = 5;
    const OUT: u64 = 10;
    const BACK: u64 = 11;

    /// What is found wrong with what a server read and wrote.
    fn found(port: u16, facts: &[(&str, u64, &str)]) -> Vec<String> {
        let (mut wires, mut wrong) = (Wires::default(), Wrong::default());
        let address = format!("10.0.0.1:{port}");
        wires.fact("connect", WIRE, address.as_bytes(), &mut wrong);
        for (kind, way, bytes) in facts {
            wires.fact(kind, *way, bytes.as_bytes(), &mut wrong);
        }
        wrong.take()
    }

    const STARTED: [(&str, u64, &str); 5] = [
        ("write", BACK, "220 a.example\r\n"),
        ("read", OUT, "EHLO x\r\n"),
        ("write", BACK, "250-a.example\r\n250 STARTTLS\r\n"),
        ("read", OUT, "STARTTLS\r\nNOOP\r\n"),
        ("write", BACK, "220 2.0.0 go ahead\r\n"),
    ];
    /// The header of a record, and what is in it.
    const RECORD: &str = "\x17\x03\x03\x00\x04abcd";

    #[test]
    fn one_reply_for_each_command_is_right_also_inside_tls() {
        let inside = [
            ("write", BACK, RECORD),
            ("plain read", OUT, "EHLO x\r\n"),
            ("plain write", BACK, "250 a.example\r\n"),
            ("write", BACK, "\x17\x03\x03\x00\x01"),
            ("write", BACK, "a\x15"),
        ];
        let facts = [&STARTED[..], &inside].concat();
        assert_eq!(found(587, &facts), Vec::<String>::new());
        let at_once = [
            ("write", BACK, RECORD),
            ("plain write", BACK, "220 a.example\r\n"),
            ("plain read", OUT, "NOOP\r\n"),
            ("plain write", BACK, "250 ok\r\n"),
        ];
        assert_eq!(found(465, &at_once), Vec::<String>::new());
    }

    #[test]
    fn replies_to_two_refused_data_may_come_at_once() {
        let facts = [
            ("write", BACK, "220 a.example\r\n"),
            ("read", OUT, "DATA\r\nDATA\r\nNOOP\r\n"),
            (
                "write",
                BACK,
                "503 first MAIL\r\n503 first MAIL\r\n250 ok\r\n",
            ),
        ];
        assert_eq!(found(25, &facts), Vec::<String>::new());
    }

    #[test]
    fn what_was_said_in_clear_behind_starttls_gets_no_reply() {
        for (kind, what) in [
            ("write", "server 0 wrote in clear behind STARTTLS"),
            ("plain write", "server 0 wrote 4 replies on port 587 to 3"),
        ] {
            let obeyed = [(kind, BACK, "250 2.0.0 OK\r\n")];
            let found = found(587, &[&STARTED[..], &obeyed].concat());
            assert!(found.len() == 1 && found[0].starts_with(what), "{found:?}");
        }
    }

    #[test]
    fn a_message_whose_refusal_in_a_failing_store_nobody_hears_may_be_there() {
        let said = "MAIL FROM:<ann+m1x1e@a.example>\r\nDATA\r\n";
        let refused = |heard: bool, failed: bool| {
            let (mut wires, mut wrong) = (Wires::default(), Wrong::default());
            let mut fact = |kind: &str, who, text: &str| {
                wires.fact(kind, who, text.as_bytes(), &mut wrong);
            };
            fact("connect", WIRE, "10.0.0.1:25");
            fact("write", BACK, "220 a.example\r\n");
            fact("read", OUT, said);
            fact("write", BACK, "250 ok\r\n354 go on\r\n");
            fact("read", BACK, "220 a.example\r\n250 ok\r\n354 go on\r\n");
            fact("read", OUT, "Hi.\r\n.\r\n");
            if failed {
                fact("store failed", 0, "");
            }
            fact("write", BACK, "451 later\r\n");
            if heard {
                fact("read", BACK, "451 later\r\n");
            }
            (
                wires.unsure_replies("m1x1e", 0),
                wires.lost_replies("m1x1e", 0),
            )
        };
        for heard in [true, false] {
            assert_eq!(refused(heard, true), (1, (0, 0)), "{heard}");
            assert_eq!(refused(heard, false), (0, (0, 0)), "{heard}");
        }
    }

    #[test]
    fn a_second_reply_to_one_command_is_one_too_many_but_a_farewell_is_not() {
        let asked = [
            ("write", BACK, "220 a.example\r\n"),
            ("read", OUT, "NOOP\r\n"),
            ("write", BACK, "250 ok\r\n"),
        ];
        let more = |reply| [&asked[..], &[("write", BACK, reply)]].concat();
        assert_eq!(found(25, &more("421 4.3.2 bye\r\n")), Vec::<String>::new());
        assert_eq!(found(25, &more("250 ok\r\n")).len(), 1);
        let farewells = more("421 4.3.2 bye\r\n421 4.3.2 bye\r\n");
        assert_eq!(found(25, &farewells).len(), 1);
    }
}
