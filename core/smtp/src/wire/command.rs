//! Command lines, parsed without copying.

/// A command line that is well formed as far as its verb says.
///
/// Verbs and keywords are compared without regard to case; spaces and tabs may be repeated and may trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO with the first word after it; empty when there is none.
    Ehlo(&'a [u8]),
    /// HELO, likewise.
    Helo(&'a [u8]),
    /// LHLO (RFC 2033), likewise.
    Lhlo(&'a [u8]),
    /// MAIL FROM
    Mail(PathArgument<'a>),
    /// RCPT TO
    Rcpt(PathArgument<'a>),
    /// DATA
    Data,
    /// BDAT, RFC 3030: so many octets follow the line.
    Bdat {
        /// Octets of the chunk.
        size: u64,
        /// The last chunk of the message.
        last: bool,
    },
    /// RSET
    Rset,
    /// NOOP, whatever follows it.
    Noop,
    /// VRFY with its string.
    Vrfy(&'a [u8]),
    /// EXPN with its string.
    Expn(&'a [u8]),
    /// HELP, whatever follows it.
    Help,
    /// QUIT
    Quit,
    /// STARTTLS, RFC 3207.
    StartTls,
    /// AUTH, RFC 4954.
    Auth {
        /// The mechanism as typed.
        mechanism: &'a [u8],
        /// The initial response, still base64; `=` stands for an empty one.
        initial: Option<&'a [u8]>,
    },
}

/// What follows MAIL FROM: and RCPT TO:.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathArgument<'a> {
    /// Between the angle brackets, without white space around it.
    pub path: &'a [u8],
    /// After the closing bracket; see [`Params`](super::Params).
    pub params: &'a [u8],
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCommand {
    /// The verb is none of ours.
    Unknown,
    /// The verb is known; this is what should have been written.
    Syntax(&'static str),
}

/// Cuts a line into its verb and what follows, white space around the latter removed.
pub fn split_verb(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|&b| is_space(b)).unwrap_or(line.len());
    let (verb, rest) = line.split_at(end);
    (verb, trim(rest))
}

impl<'a> Command<'a> {
    /// Parses one line without its CRLF.
    pub fn parse(line: &'a [u8]) -> Result<Self, NotCommand> {
        let (verb, rest) = split_verb(line);
        let bare = |command, syntax| {
            if rest.is_empty() {
                Ok(command)
            } else {
                Err(NotCommand::Syntax(syntax))
            }
        };
        let mut upper = [0; 8];
        let Some(slot) = upper.get_mut(..verb.len()) else {
            return Err(NotCommand::Unknown);
        };
        slot.copy_from_slice(verb);
        slot.make_ascii_uppercase();
        match &*slot {
            b"EHLO" => Ok(Self::Ehlo(split_verb(rest).0)),
            b"HELO" => Ok(Self::Helo(split_verb(rest).0)),
            b"LHLO" => Ok(Self::Lhlo(split_verb(rest).0)),
            b"MAIL" => path_argument(rest, b"FROM")
                .map(Self::Mail)
                .ok_or(NotCommand::Syntax("MAIL FROM:<address>")),
            b"RCPT" => path_argument(rest, b"TO")
                .map(Self::Rcpt)
                .ok_or(NotCommand::Syntax("RCPT TO:<address>")),
            b"DATA" => bare(Self::Data, "DATA"),
            b"BDAT" => bdat(rest).ok_or(NotCommand::Syntax("BDAT size [LAST]")),
            b"RSET" => bare(Self::Rset, "RSET"),
            b"NOOP" => Ok(Self::Noop),
            b"VRFY" => string(rest)
                .map(Self::Vrfy)
                .ok_or(NotCommand::Syntax("VRFY string")),
            b"EXPN" => string(rest)
                .map(Self::Expn)
                .ok_or(NotCommand::Syntax("EXPN string")),
            b"HELP" => Ok(Self::Help),
            b"QUIT" => bare(Self::Quit, "QUIT"),
            b"STARTTLS" => bare(Self::StartTls, "STARTTLS"),
            b"AUTH" => auth(rest).ok_or(NotCommand::Syntax("AUTH mechanism [response]")),
            _ => Err(NotCommand::Unknown),
        }
    }
}

pub(super) fn is_space(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// Without the spaces and tabs around it. Other white space is an octet like any other: nothing may read a line as
/// longer or shorter than the rest of us do.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let from = text.iter().position(|&b| !is_space(b));
    let until = text.iter().rposition(|&b| !is_space(b));
    from.zip(until)
        .and_then(|(from, until)| text.get(from..=until))
        .unwrap_or_default()
}

/// `FROM:<path> params`, lenient about white space and about nothing else.
fn path_argument<'a>(rest: &'a [u8], keyword: &[u8]) -> Option<PathArgument<'a>> {
    let (word, rest) = rest.split_at_checked(keyword.len())?;
    if !word.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = trim(trim(rest).strip_prefix(b":")?);
    let rest = rest.strip_prefix(b"<")?;
    let (path, after) = rest.split_at_checked(closing_bracket(rest)?)?;
    let params = after.strip_prefix(b">")?;
    if params.first().is_some_and(|&b| !is_space(b)) {
        return None;
    }
    Some(PathArgument {
        path: trim(path),
        params: trim(params),
    })
}

/// Where the `>` is that no quotes surround.
fn closing_bracket(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &b) in text.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn bdat(rest: &[u8]) -> Option<Command<'_>> {
    let (digits, rest) = split_verb(rest);
    let last = match rest {
        b"" => false,
        word => word.eq_ignore_ascii_case(b"LAST").then_some(true)?,
    };
    Some(Command::Bdat {
        size: number(digits)?,
        last,
    })
}

/// The value of 1 to 20 digits that fit 63 bits.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits
        .iter()
        .try_fold(0u64, |n, &b| {
            let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
            n.checked_mul(10)?.checked_add(digit)
        })
        .filter(|&n| i64::try_from(n).is_ok())
}

/// A string that is there: an atom, or quoted text that is not empty.
fn string(rest: &[u8]) -> Option<&[u8]> {
    (!rest.is_empty() && rest != b"\"\"").then_some(rest)
}

/// The mechanism has 1 to 20 letters, digits, hyphens and underscores (RFC 4422 3.1).
fn auth(rest: &[u8]) -> Option<Command<'_>> {
    let (mechanism, initial) = split_verb(rest);
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if mechanism.is_empty() || mechanism.len() > 20 || !mechanism.iter().all(fits) {
        return None;
    }
    Some(Command::Auth {
        mechanism,
        initial: (!initial.is_empty()).then_some(initial),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_and_keywords_have_no_case_and_white_space_may_be_loose() {
        let mail = |path, params| Ok(Command::Mail(PathArgument { path, params }));
        assert_eq!(Command::parse(b"mail from:<a@b>"), mail(b"a@b", b""));
        assert_eq!(
            Command::parse(b"MAIL  From : < a@b >  SIZE=1 \t BODY=7BIT "),
            mail(b"a@b", b"SIZE=1 \t BODY=7BIT")
        );
        assert_eq!(
            Command::parse(b"MAIL FROM:<\"a>\\\"b\"@c> X"),
            mail(b"\"a>\\\"b\"@c", b"X")
        );
        assert_eq!(Command::parse(b"quit  "), Ok(Command::Quit));
        assert_eq!(Command::parse(b"EHLO  a.b c"), Ok(Command::Ehlo(b"a.b")));
        assert_eq!(Command::parse(b"EHLO a\n"), Ok(Command::Ehlo(b"a\n")));
    }

    #[test]
    fn what_is_no_command_says_why() {
        for line in [
            &b""[..],
            b"X",
            b"MAILFROM:<a@b>",
            b"EHLOO x",
            b"STARTTLSX",
            b" NOOP",
            b"\xff",
        ] {
            assert_eq!(Command::parse(line), Err(NotCommand::Unknown), "{line:?}");
        }
        for line in [
            &b"MAIL"[..],
            b"MAIL FROM",
            b"MAIL FROM:a@b",
            b"MAIL FROM:<a@b",
            b"MAIL FROM:<a@b>X=1",
            b"RCPT FROM:<a@b>",
            b"DATA x",
            b"BDAT",
            b"BDAT x",
            b"BDAT 1 FIRST",
            b"BDAT -1",
            b"BDAT 99999999999999999999",
            b"AUTH",
            b"AUTH PLA=IN",
            b"VRFY",
            b"VRFY \"\"",
            b"QUIT now",
        ] {
            assert!(
                matches!(Command::parse(line), Err(NotCommand::Syntax(_))),
                "{line:?}"
            );
        }
    }

    #[test]
    fn chunks_have_a_size_and_may_be_last() {
        let bdat = |size, last| Ok(Command::Bdat { size, last });
        assert_eq!(Command::parse(b"BDAT 0"), bdat(0, false));
        assert_eq!(Command::parse(b"bdat 86 last"), bdat(86, true));
        assert_eq!(
            Command::parse(b"BDAT 9223372036854775807"),
            bdat(i64::MAX as u64, false)
        );
    }
}
