//! A message as programs hand it to sendmail: lines as the system has them, a header that may lack much, recipients that may stand
//! in it. Made of it are an envelope and a message as SMTP would bring it.

use std::fmt;

use mox_address::{Domain, Path};
use mox_mime::header;

use crate::head::{Head, Whole};

/// Octets of a header that is handed over, at most.
const HEADER_MAX: usize = 120 * 1024;
/// Recipients of a message that is handed over, at most: as many as SMTP takes.
pub const HANDED_TO_MAX: usize = 1_000;
/// Fields that are for this side of the mail system only.
const DROPPED: [&[u8]; 4] = [b"bcc", b"resent-bcc", b"return-path", b"content-length"];
/// The first line of a written envelope.
const FIRST: &str = "mox-handed 1";
/// Before what is wanted of notifications.
const DSN: &str = "mail-dsn";
const RCPT_DSN: &str = "rcpt-dsn";

/// What is to be done with a message.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The recipients stand in its header, besides those that are given.
    pub from_header: bool,
    /// A line with a dot ends it.
    pub dot_ends: bool,
    /// MAIL FROM, empty for the null path; that of the user when `None`.
    pub sender: Option<String>,
    /// The name in a From field that is made.
    pub full_name: Option<String>,
    /// Given recipients; those without a domain are at `host`.
    pub recipients: Vec<String>,
    /// What is wanted of notifications, as parameters of MAIL (RFC 3461).
    pub dsn: String,
    /// The same as parameters of each RCPT.
    pub rcpt_dsn: String,
    /// Who hands it over.
    pub user: String,
    /// This host.
    pub host: Domain,
}

/// From whom a message is, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `None` is the null path.
    pub from: Option<Path>,
    /// At least one, each once.
    pub to: Vec<Path>,
    /// Its header or an address needs SMTPUTF8.
    pub utf8: bool,
    /// What is wanted of notifications, as parameters of MAIL (RFC 3461).
    pub dsn: String,
    /// The same as parameters of each RCPT.
    pub rcpt_dsn: String,
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Neither given nor in the header is anybody.
    NoRecipients,
    /// More than [`HANDED_TO_MAX`].
    TooManyRecipients,
    /// This is none.
    Address(String),
    /// It is longer than a header may be.
    Header,
    /// There is a NUL in it, which no mail may have.
    Nul,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecipients => {
                f.write_str("the message is for nobody: name recipients, or use -t with a To field")
            }
            Self::TooManyRecipients => {
                write!(f, "a message has at most {HANDED_TO_MAX} recipients")
            }
            Self::Address(text) => write!(f, "{text:?} is no address"),
            Self::Header => write!(f, "the header has more than {HEADER_MAX} octets"),
            Self::Nul => f.write_str("there is a NUL in the message"),
        }
    }
}

impl std::error::Error for Wrong {}

impl Envelope {
    /// As it stands before a message in a file: lines, and an empty one at the end.
    pub fn write(&self) -> String {
        let from = self.from.as_ref().map(Path::to_string).unwrap_or_default();
        let mut text = format!("{FIRST}\nfrom {from}\nutf8 {}\n", u8::from(self.utf8));
        for (word, wish) in [(DSN, &self.dsn), (RCPT_DSN, &self.rcpt_dsn)] {
            if !wish.is_empty() {
                text.push_str(&format!("{word}{wish}\n"));
            }
        }
        for to in &self.to {
            text.push_str(&format!("to {to}\n"));
        }
        text + "\n"
    }

    /// Reads what [`write`](Self::write) wrote, from its first line to the empty one.
    pub fn read(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix("\n\n")?.split('\n');
        if lines.next()? != FIRST {
            return None;
        }
        let from = match lines.next()?.strip_prefix("from ")? {
            "" => None,
            path => Some(Path::parse(path, true).ok()?),
        };
        let utf8 = match lines.next()? {
            "utf8 0" => false,
            "utf8 1" => true,
            _ => return None,
        };
        let mut lines = lines.peekable();
        let mut wish = |word: &str| {
            let line = lines.next_if(|line| line.starts_with(word))?;
            Some(line.get(word.len()..)?.to_owned())
        };
        // Older versions wrote none.
        let (dsn, rcpt_dsn) = (wish(DSN), wish(RCPT_DSN));
        let to = lines.map(|line| Path::parse(line.strip_prefix("to ")?, true).ok());
        let to: Vec<Path> = to.collect::<Option<_>>()?;
        let fits = (1..=HANDED_TO_MAX).contains(&to.len());
        fits.then_some(Self {
            from,
            to,
            utf8,
            dsn: dsn.unwrap_or_default(),
            rcpt_dsn: rcpt_dsn.unwrap_or_default(),
        })
    }
}

/// Takes a message in pieces. Its envelope, then the message with a complete header, come out as soon as the header is known; what
/// is kept is no more than a header.
#[derive(Debug)]
pub struct Handing {
    wish: Wish,
    lines: Lines,
    head: Head,
    is_begun: bool,
}

impl Handing {
    /// For one message.
    pub fn new(wish: Wish) -> Self {
        Self {
            lines: Lines::new(wish.dot_ends),
            wish,
            head: Head::default(),
            is_begun: false,
        }
    }

    /// The next piece; what there is of the result so far is appended. True when the message has ended, by a dot.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<bool, Wrong> {
        if piece.contains(&0) {
            return Err(Wrong::Nul);
        }
        let mut text = Vec::with_capacity(piece.len() + piece.len() / 32);
        self.lines.push(piece, &mut text);
        self.take(&text, out)?;
        Ok(self.lines.state == State::Ended)
    }

    /// There is no more.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let mut text = Vec::new();
        self.lines.finish(&mut text);
        self.take(&text, out)?;
        match self.is_begun {
            true => Ok(()),
            false => {
                let whole = self.head.take();
                self.begin(&whole, out)
            }
        }
    }

    fn take(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
        if self.is_begun {
            out.extend_from_slice(text);
            return Ok(());
        }
        let Some(whole) = self.head.push(text, HEADER_MAX) else {
            return Ok(());
        };
        self.begin(&whole, out)?;
        out.extend_from_slice(whole.behind);
        Ok(())
    }

    /// The header is known.
    fn begin(&mut self, whole: &Whole<'_>, out: &mut Vec<u8>) -> Result<(), Wrong> {
        self.is_begun = true;
        // Some programs hand over a mailbox's separator, too.
        let separator = match whole.header.strip_prefix(b"From ") {
            // `From :` is a field (RFC 5322 4.5).
            Some(behind) if !behind.trim_ascii_start().starts_with(b":") => whole
                .header
                .iter()
                .position(|b| *b == b'\n')
                .map_or(0, |at| at + 1),
            _ => 0,
        };
        let block = whole.header.get(separator..).unwrap_or_default();
        // Lines before the first that is no field are the header; with none the message is all body.
        let is_field = |field: &header::Field<'_>| !field.name.is_empty();
        let fields: Vec<header::Field<'_>> = header::split(block).take_while(is_field).collect();
        let end = fields
            .last()
            .map_or(0, |field| field.start + field.raw.len());
        let (block, rest) = block.split_at_checked(end).unwrap_or((block, &[]));
        // What is cut within a line may be cut within the name of a field.
        let is_cut = !rest.windows(2).any(|two| two == b"\r\n");
        if whole.header.len() > HEADER_MAX && is_cut {
            return Err(Wrong::Header);
        }
        let envelope = self.envelope(block)?;
        out.extend_from_slice(envelope.write().as_bytes());
        if header::find(block, b"from").is_none() {
            out.extend_from_slice(self.author_field().as_bytes());
        }
        for field in fields
            .iter()
            .filter(|f| !DROPPED.iter().any(|name| f.is(name)))
        {
            out.extend_from_slice(field.raw);
        }
        // What is no field begins the body; else it is the empty line, if one was there.
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(rest.strip_prefix(b"\r\n").unwrap_or(rest));
        out.extend_from_slice(&whole.begun);
        Ok(())
    }

    fn envelope(&self, block: &[u8]) -> Result<Envelope, Wrong> {
        let mut to: Vec<Path> = Vec::new();
        let mut add = |path: Path| {
            if !to.contains(&path) {
                to.push(path);
            }
            match to.len() > HANDED_TO_MAX {
                true => Err(Wrong::TooManyRecipients),
                false => Ok(()),
            }
        };
        // Given ones are lists of addresses too, as in fields.
        let given = self.wish.recipients.iter().map(String::as_bytes);
        let named = match self.wish.from_header {
            true => recipient_fields(block),
            false => Vec::new(),
        };
        for list in given.chain(named) {
            for entry in mox_mime::addresses(list, HANDED_TO_MAX + 1) {
                // A group's begin and end have no host.
                let (Some(local), Some(host)) = (entry.local, entry.host) else {
                    continue;
                };
                let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                if local.is_empty() {
                    return Err(Wrong::Address(text(list.trim_ascii())));
                }
                add(self.complete(&text(&local), &text(&host))?)?;
            }
        }
        if to.is_empty() {
            return Err(Wrong::NoRecipients);
        }
        let from = match self.wish.sender.as_deref() {
            Some("" | "<>") => None,
            Some(text) => Some(self.path(text)?),
            None => Some(self.complete(&self.wish.user, "")?),
        };
        let utf8 = !block.is_ascii() || !to.iter().chain(&from).all(Path::is_ascii);
        Ok(Envelope {
            from,
            to,
            utf8,
            dsn: self.wish.dsn.clone(),
            rcpt_dsn: self.wish.rcpt_dsn.clone(),
        })
    }

    /// An address as users write it: `user`, `user@domain`, `<user@domain>`.
    fn path(&self, text: &str) -> Result<Path, Wrong> {
        let bare = text.trim();
        let bare = (bare.strip_prefix('<').and_then(|b| b.strip_suffix('>'))).unwrap_or(bare);
        let whole = match bare.contains('@') {
            true => Path::parse(bare, true),
            false => Path::parse(&format!("{bare}@{}", self.wish.host), true),
        };
        whole.map_err(|_| Wrong::Address(text.to_owned()))
    }

    /// An address of a local part without quotes.
    fn complete(&self, local: &str, host: &str) -> Result<Path, Wrong> {
        let quoted = local.replace('\\', "\\\\").replace('"', "\\\"");
        let host = match host {
            "" => self.wish.host.as_str(),
            host => host,
        };
        let path = Path::parse(&format!("\"{quoted}\"@{host}"), true);
        path.map_err(|_| Wrong::Address(format!("{local}@{host}")))
    }

    fn author_field(&self) -> String {
        let sender = self.wish.sender.as_deref();
        let sender = sender.and_then(|text| self.path(text).ok());
        let sender = sender.or_else(|| self.complete(&self.wish.user, "").ok());
        let sender = sender.map_or_else(String::new, |path| path.to_string());
        match &self.wish.full_name {
            Some(name) if !name.is_ascii() => {
                format!("From: {} <{sender}>\r\n", encoded_words(name))
            }
            Some(name) => {
                let name: String = name.chars().filter(|c| !c.is_control()).collect();
                let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                format!("From: \"{name}\" <{sender}>\r\n")
            }
            None => format!("From: {sender}\r\n"),
        }
    }
}

/// A name in encoded words of UTF-8, a line each (RFC 2047).
fn encoded_words(name: &str) -> String {
    /// Octets of an encoded word.
    const WORD_MAX: usize = 75;
    let mut words = vec![String::new()];
    for c in name.chars().filter(|c| !c.is_control()) {
        let mut octets = [0; 4];
        let one: String = (c.encode_utf8(&mut octets).bytes())
            .map(|b| match b {
                b' ' => "_".into(),
                b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
                b => format!("={b:02X}"),
            })
            .collect();
        let last = words.last().map_or(0, String::len);
        match words.last_mut() {
            Some(word) if last + one.len() + "=?utf-8?Q??=".len() <= WORD_MAX => {
                word.push_str(&one)
            }
            _ => words.push(one),
        }
    }
    let words: Vec<String> = words
        .iter()
        .map(|word| format!("=?utf-8?Q?{word}?="))
        .collect();
    words.join("\r\n ")
}

/// The values of the fields that name recipients: those of a message that is sent once more, if there are any (RFC 5322 3.6.6).
fn recipient_fields(block: &[u8]) -> Vec<&[u8]> {
    let of = |names: [&[u8]; 3]| -> Vec<&[u8]> {
        let is_one = |field: &header::Field<'_>| names.iter().any(|name| field.is(name));
        let fields = header::split(block).filter(is_one);
        fields.map(|field| field.value).collect()
    };
    let again = of([b"resent-to", b"resent-cc", b"resent-bcc"]);
    match again.is_empty() {
        true => of([b"to", b"cc", b"bcc"]),
        false => again,
    }
}

/// Lines as the system has them, on their way to lines that end in CRLF.
#[derive(Debug)]
struct Lines {
    state: State,
    dot_ends: bool,
    /// No empty line came yet: a CR alone is space, since programs that let nobody begin a field think of LF only.
    in_header: bool,
    /// Nothing stands in this line yet.
    is_empty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line.
    Start,
    /// Behind a dot at the start of a line, which may be all of it.
    Dot,
    /// And a CR.
    DotCr,
    Within,
    /// Behind a CR.
    Cr,
    /// A dot alone was the end.
    Ended,
}

impl Lines {
    const fn new(dot_ends: bool) -> Self {
        Self {
            state: State::Start,
            dot_ends,
            in_header: true,
            is_empty: true,
        }
    }

    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &octet in piece {
            self.state = self.next(octet, out);
        }
    }

    fn next(&mut self, octet: u8, out: &mut Vec<u8>) -> State {
        match (self.state, octet) {
            (State::Ended, _) | (State::Dot | State::DotCr, b'\n') => return State::Ended,
            (State::Start, b'.') if self.dot_ends => return State::Dot,
            (State::Dot, b'\r') => return State::DotCr,
            (State::Cr, b'\n') => return self.end_line(out),
            (State::Cr, _) if self.in_header => {
                out.push(b' ');
                self.is_empty = false;
            }
            // A CR alone is taken for a line end, which is what it was meant as.
            (State::Cr, _) => {
                self.end_line(out);
            }
            (State::Dot, _) => out.push(b'.'),
            (State::DotCr, _) => out.extend_from_slice(b".\r\n"),
            (State::Start | State::Within, _) => {}
        }
        let is_start = match self.state {
            State::Cr => !self.in_header,
            state => state == State::DotCr,
        };
        match octet {
            b'.' if is_start && self.dot_ends => State::Dot,
            b'\r' => State::Cr,
            b'\n' => self.end_line(out),
            octet => {
                out.push(octet);
                self.is_empty = false;
                State::Within
            }
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) -> State {
        out.extend_from_slice(b"\r\n");
        self.in_header &= !core::mem::replace(&mut self.is_empty, true);
        State::Start
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self.state {
            State::Start | State::Ended => {}
            State::Dot | State::DotCr => out.extend_from_slice(b".\r\n"),
            State::Within | State::Cr => out.extend_from_slice(b"\r\n"),
        }
        self.state = State::Ended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(recipients: &[&str]) -> Wish {
        Wish {
            from_header: recipients.is_empty(),
            dot_ends: true,
            sender: None,
            full_name: None,
            recipients: recipients.iter().map(|text| (*text).to_owned()).collect(),
            user: "root".into(),
            host: Domain::parse("mx.example.org", false).unwrap(),
            dsn: String::new(),
            rcpt_dsn: String::new(),
        }
    }

    /// The envelope and the message, the same however the input is cut.
    fn handed(wish: &Wish, input: &str) -> Result<(Envelope, String), Wrong> {
        let cut = |at: usize| {
            let mut handing = Handing::new(wish.clone());
            let mut out = Vec::new();
            for piece in [&input[..at], &input[at..]] {
                if handing.push(piece.as_bytes(), &mut out)? {
                    break;
                }
            }
            handing.finish(&mut out)?;
            let text = String::from_utf8(out).unwrap();
            let (envelope, message) = text.split_once("\n\n").unwrap();
            let envelope = Envelope::read(&format!("{envelope}\n\n")).unwrap();
            Ok((envelope, message.to_owned()))
        };
        let whole = cut(0);
        for at in (0..=input.len()).filter(|at| input.is_char_boundary(*at)) {
            assert_eq!(cut(at), whole, "cut at {at}");
        }
        whole
    }

    fn addresses(envelope: &Envelope) -> Vec<String> {
        envelope.to.iter().map(Path::to_string).collect()
    }

    #[test]
    fn recipients_in_the_header_are_read_and_those_nobody_shall_see_taken_out() {
        let (envelope, message) = handed(
            &wish(&[]),
            "From: Ann <ann@example.org>\nTo: bob, \"x y\"@b.example,\n g: c@c.example;\nBCC: d@d.example\nCc: bob\n\nhello\n",
        )
        .unwrap();
        assert_eq!(
            addresses(&envelope),
            [
                "bob@mx.example.org",
                "\"x y\"@b.example",
                "c@c.example",
                "d@d.example"
            ]
        );
        assert_eq!(envelope.from.unwrap().to_string(), "root@mx.example.org");
        assert_eq!(
            message,
            "From: Ann <ann@example.org>\r\nTo: bob, \"x y\"@b.example,\r\n g: c@c.example;\r\nCc: bob\r\n\r\nhello\r\n"
        );
        let (again, _) = handed(&wish(&[]), "To: a@a.example\nResent-To: b@b.example\n\n").unwrap();
        assert_eq!(addresses(&again), ["b@b.example"]);
    }

    #[test]
    fn a_header_is_completed_and_made_where_there_is_none() {
        let mut named = wish(&["bob@b.example", "<carl>"]);
        named.full_name = Some("Ann \"A\" Doe".into());
        named.sender = Some("ann@example.org".into());
        let (envelope, message) = handed(&named, "Subject: x\r\n\r\nhello").unwrap();
        assert_eq!(
            addresses(&envelope),
            ["bob@b.example", "carl@mx.example.org"]
        );
        assert_eq!(
            message,
            "From: \"Ann \\\"A\\\" Doe\" <ann@example.org>\r\nSubject: x\r\n\r\nhello\r\n"
        );
        for (input, expected) in [
            (
                "no field here\nat all\n",
                "From: root@mx.example.org\r\n\r\nno field here\r\nat all\r\n",
            ),
            ("\nbody\n", "From: root@mx.example.org\r\n\r\nbody\r\n"),
            ("", "From: root@mx.example.org\r\n\r\n"),
            (
                "From root Fri Jan  2\nTo: x\n\nb\n",
                "From: root@mx.example.org\r\nTo: x\r\n\r\nb\r\n",
            ),
            (
                "To: x\nno field\n\nb\n",
                "From: root@mx.example.org\r\nTo: x\r\n\r\nno field\r\n\r\nb\r\n",
            ),
        ] {
            let (envelope, message) = handed(&wish(&["x"]), input).unwrap();
            assert_eq!(message, expected);
            assert!(!envelope.utf8);
        }
    }

    #[test]
    fn given_recipients_are_lists_of_addresses() {
        let given = wish(&[
            "root,bob@b.example",
            "Ann <ann@a.example>, \"x y\"@x.example",
            " carl ",
        ]);
        assert_eq!(
            addresses(&handed(&given, "\n").unwrap().0),
            [
                "root@mx.example.org",
                "bob@b.example",
                "ann@a.example",
                "\"x y\"@x.example",
                "carl@mx.example.org"
            ]
        );
    }

    #[test]
    fn a_carriage_return_begins_no_field() {
        let (envelope, message) = handed(
            &wish(&[]),
            "To: a@a.example\nSubject: x\rBcc: b@b.example\r\r\nX: y\n\nc\rd\n",
        )
        .unwrap();
        assert_eq!(addresses(&envelope), ["a@a.example"]);
        assert_eq!(
            message,
            "From: root@mx.example.org\r\nTo: a@a.example\r\nSubject: x Bcc: b@b.example \r\nX: y\r\n\r\nc\r\nd\r\n"
        );
    }

    #[test]
    fn a_from_field_with_space_before_its_colon_is_one() {
        let input = "From : ann@a.example\nTo: x\n\n";
        let (_, message) = handed(&wish(&["x"]), input).unwrap();
        assert_eq!(message, "From : ann@a.example\r\nTo: x\r\n\r\n");
    }

    #[test]
    fn a_name_beyond_ascii_and_a_user_of_a_domain_give_a_field_that_everybody_reads() {
        let mut named = wish(&["x"]);
        named.full_name = Some("J\u{fc}rgen M".into());
        named.user = "DOM\\ann b".into();
        let (envelope, message) = handed(&named, "\n").unwrap();
        assert!(!envelope.utf8);
        assert_eq!(
            message,
            "From: =?utf-8?Q?J=C3=BCrgen_M?= <\"DOM\\\\ann b\"@mx.example.org>\r\n\r\n"
        );
        let long = encoded_words(&"\u{fc}".repeat(30));
        let lines: Vec<usize> = long.split("\r\n ").map(str::len).collect();
        assert_eq!(lines, [72, 72, 72]);
    }

    #[test]
    fn a_dot_alone_ends_a_message_unless_it_shall_not() {
        let of = |dot_ends, input| {
            let wish = Wish {
                dot_ends,
                ..wish(&["x"])
            };
            handed(&wish, input)
                .unwrap()
                .1
                .split_once("\r\n\r\n")
                .unwrap()
                .1
                .to_owned()
        };
        assert_eq!(of(true, "To: x\n\na\n.\nb\n"), "a\r\n");
        assert_eq!(of(true, "To: x\n\na\n.\r\nb\n"), "a\r\n");
        assert_eq!(of(true, "To: x\n\na\r.\nb\n"), "a\r\n");
        assert_eq!(of(false, "To: x\n\na\n.\nb\n"), "a\r\n.\r\nb\r\n");
        assert_eq!(
            of(true, "To: x\n\n..\n.b\n.\rc\n."),
            "..\r\n.b\r\n.\r\nc\r\n.\r\n"
        );
        assert_eq!(of(true, "To: x\n\na\rb\r\r\nc"), "a\r\nb\r\n\r\nc\r\n");
    }

    #[test]
    fn what_cannot_be_sent_is_said() {
        let wrong = |wish: &Wish, input: &str| handed(wish, input).unwrap_err();
        assert_eq!(wrong(&wish(&[]), "Subject: x\n\n"), Wrong::NoRecipients);
        assert_eq!(wrong(&wish(&["a b"]), ""), Wrong::Address("a b".into()));
        for nobody in ["(none)", "John Smith", "a@a.example, \"\"", "(open"] {
            let input = format!("Cc: {nobody}\n\n");
            assert_eq!(wrong(&wish(&[]), &input), Wrong::Address(nobody.into()));
        }
        assert_eq!(wrong(&wish(&["x"]), "a: b\n\n\0"), Wrong::Nul);
        let many = format!("To: {}\n\n", "x, ".repeat(10));
        assert_eq!(addresses(&handed(&wish(&[]), &many).unwrap().0).len(), 1);
        let mut handing = Handing::new(wish(&[]));
        let many: String = (0..=HANDED_TO_MAX).map(|n| format!("To: u{n}\n")).collect();
        let mut out = Vec::new();
        let pushed = handing.push(format!("{many}\n").as_bytes(), &mut out);
        assert_eq!(pushed, Err(Wrong::TooManyRecipients));
        let mut handing = Handing::new(wish(&["x"]));
        let long = format!("X: {}\n\n", "x".repeat(HEADER_MAX));
        assert_eq!(handing.push(long.as_bytes(), &mut out), Err(Wrong::Header));
        // Also where the limit is within the name of a field, which then is no field.
        let mut handing = Handing::new(wish(&["x"]));
        let long = format!("X: {}\nBcc: y@y.example\n\n", "x".repeat(HEADER_MAX - 6));
        assert_eq!(handing.push(long.as_bytes(), &mut out), Err(Wrong::Header));
    }

    #[test]
    fn an_envelope_that_is_not_whole_is_none() {
        let whole = Envelope {
            from: None,
            to: vec![Path::parse("\u{fc}@a.example", true).unwrap()],
            utf8: true,
            dsn: String::new(),
            rcpt_dsn: String::new(),
        };
        let text = whole.write();
        assert_eq!(text, "mox-handed 1\nfrom \nutf8 1\nto \u{fc}@a.example\n\n");
        assert_eq!(Envelope::read(&text), Some(whole.clone()));
        let whole = Envelope {
            dsn: " RET=HDRS".into(),
            rcpt_dsn: " NOTIFY=NEVER".into(),
            ..whole
        };
        let text = whole.write();
        assert!(text.contains("\nmail-dsn RET=HDRS\nrcpt-dsn NOTIFY=NEVER\nto "));
        assert_eq!(Envelope::read(&text), Some(whole));
        for cut in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            assert_eq!(Envelope::read(&text[..cut]), None, "cut at {cut}");
        }
    }
}
