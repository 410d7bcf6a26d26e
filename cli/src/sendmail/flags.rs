//! The flags of sendmail, as programs use them: those of Sendmail, Postfix and Exim. What means nothing here is passed over.

use mox_smtp::wire::{MailDsn, Params, RcptDsn, xtext_encode};

/// Letters of flags that take a value, in the same word or in the next one.
const WITH_VALUE: &str = "ABCDFLNORVXbdefhopqr";
/// Of these, letters whose value is in the same word or not there.
const VALUE_ATTACHED: &str = "dq";
/// Letters of flags that stand alone.
const ALONE: &str = "EGIUcimnstvx";

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) mode: Mode,
    /// `-t`
    pub(super) from_header: bool,
    /// Neither `-i` nor `-oi`.
    pub(super) dot_ends: bool,
    /// `-f`, `-r`
    pub(super) sender: Option<String>,
    /// `-F`
    pub(super) full_name: Option<String>,
    pub(super) recipients: Vec<String>,
    /// `-R`, `-V`: RET and ENVID.
    pub(super) dsn: MailDsn,
    /// `-N`: NOTIFY of every recipient.
    pub(super) rcpt_dsn: RcptDsn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Take a message.
    Deliver,
    /// `-bp`: tell what is in the queue.
    List,
    /// `-bi`, `-I`, `-q`: what needs no doing here.
    Nothing,
}

impl Flags {
    /// Reads the words behind the program's name; the error is for people.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut flags = Self {
            mode: Mode::Deliver,
            from_header: false,
            dot_ends: true,
            sender: None,
            full_name: None,
            recipients: Vec::new(),
            dsn: MailDsn::default(),
            rcpt_dsn: RcptDsn::default(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
                flags.recipients.push(word.clone());
                continue;
            };
            if letters == "-" {
                flags.recipients.extend(words.by_ref().cloned());
                break;
            }
            // Several that stand alone may share a word with one that takes a value: -tif ann.
            for (at, letter) in letters.char_indices() {
                if ALONE.contains(letter) {
                    flags.alone(letter);
                    continue;
                }
                if !WITH_VALUE.contains(letter) {
                    return Err(format!("there is no flag -{letter}"));
                }
                let attached = letters.get(at + letter.len_utf8()..).unwrap_or_default();
                let value = match attached {
                    "" if VALUE_ATTACHED.contains(letter) => "",
                    "" => words
                        .next()
                        .ok_or_else(|| format!("-{letter} needs a value"))?,
                    attached => attached,
                };
                flags.with_value(letter, value)?;
                break;
            }
        }
        Ok(flags)
    }

    fn alone(&mut self, letter: char) {
        match letter {
            't' => self.from_header = true,
            'i' => self.dot_ends = false,
            'I' => self.mode = Mode::Nothing,
            _ => {}
        }
    }

    fn with_value(&mut self, letter: char, value: &str) -> Result<(), String> {
        match (letter, value) {
            ('f' | 'r', sender) => self.sender = Some(sender.to_owned()),
            ('F', name) => self.full_name = Some(name.to_owned()),
            ('N', when) => return self.param(letter, &format!("NOTIFY={when}")),
            ('R', what) => return self.param(letter, &format!("RET={what}")),
            ('V', id) => {
                return self.param(letter, &format!("ENVID={}", xtext_encode(id.as_bytes())));
            }
            ('o', "i") | ('O', "IgnoreDots" | "IgnoreDots=true" | "IgnoreDots=True") => {
                self.dot_ends = false;
            }
            ('b', "m") => self.mode = Mode::Deliver,
            ('b', "p") => self.mode = Mode::List,
            ('b', "i") | ('q', _) => self.mode = Mode::Nothing,
            ('b', mode) => {
                return Err(format!(
                    "-b{mode} is not done here; moxctl serve is the server"
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// What SMTP says with a parameter. The last flag counts.
    fn param(&mut self, letter: char, text: &str) -> Result<(), String> {
        match letter {
            'N' => self.rcpt_dsn.notify = None,
            'R' => self.dsn.ret = None,
            _ => self.dsn.envelope_id = None,
        }
        let param = Params::new(text.as_bytes()).next();
        let taken = param.and_then(Result::ok).map(|param| match letter {
            'N' => self.rcpt_dsn.take(&param, false),
            _ => self.dsn.take(&param),
        });
        match taken {
            Some(Ok(true)) => Ok(()),
            _ => Err(format!("-{letter} has a value that means nothing: {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Flags, String> {
        let words: Vec<String> = line
            .split(' ')
            .filter(|w| !w.is_empty())
            .map(String::from)
            .collect();
        Flags::parse(&words)
    }

    #[test]
    fn the_flags_that_programs_use_are_understood() {
        // cron, PHP, mutt, git, smartd, s-nail.
        for (line, from_header, dot_ends, sender, recipients) in [
            (
                "-FCronDaemon -i -B8BITMIME -oem root",
                false,
                false,
                None,
                &["root"][..],
            ),
            ("-t -i", true, false, None, &[]),
            (
                "-oem -oi -f ann@a.example -- bob -t",
                false,
                false,
                Some("ann@a.example"),
                &["bob", "-t"],
            ),
            ("-i bob carl", false, false, None, &["bob", "carl"]),
            ("-ti -fann", true, false, Some("ann"), &[]),
            ("-tif ann", true, false, Some("ann"), &[]),
            (
                "-r ann -N never -R hdrs -V id1 -o db bob",
                false,
                true,
                Some("ann"),
                &["bob"],
            ),
            (
                "-v -m -n -U -G -s -d -X /dev/null -O DeliveryMode=b -h 3 bob",
                false,
                true,
                None,
                &["bob"],
            ),
            ("-bm bob", false, true, None, &["bob"]),
            ("-f <> bob", false, true, Some("<>"), &["bob"]),
        ] {
            let flags = parsed(line).unwrap();
            assert_eq!(flags.mode, Mode::Deliver, "{line}");
            assert_eq!(
                (flags.from_header, flags.dot_ends),
                (from_header, dot_ends),
                "{line}"
            );
            assert_eq!(flags.sender.as_deref(), sender, "{line}");
            assert_eq!(flags.recipients, recipients, "{line}");
        }
        let name = Flags::parse(&["-F".into(), "Ann Doe".into()]).unwrap();
        assert_eq!(name.full_name.as_deref(), Some("Ann Doe"));
        assert_eq!(parsed("-bp").unwrap().mode, Mode::List);
        for nothing in ["-bi", "-I", "-q", "-q30m"] {
            assert_eq!(parsed(nothing).unwrap().mode, Mode::Nothing);
        }
    }

    #[test]
    fn what_is_wanted_of_notifications_is_what_smtp_says() {
        let flags = parsed("-N success,delay -R hdrs -V a=b -N failure bob").unwrap();
        assert_eq!(flags.rcpt_dsn.to_string(), " NOTIFY=FAILURE");
        assert_eq!(flags.dsn.to_string(), " RET=HDRS ENVID=a+3Db");
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (line, said) in [
            ("-bs", "-bs is not done here"),
            ("-bd", "-bd is not done here"),
            ("-Z bob", "there is no flag -Z"),
            ("bob -f", "-f needs a value"),
            ("-N often bob", "-N has a value that means nothing"),
            ("-R all bob", "-R has a value that means nothing"),
            ("-V \u{fc} bob", "-V has a value that means nothing"),
            ("--verbose", "there is no flag --"),
        ] {
            assert!(parsed(line).unwrap_err().starts_with(said), "{line}");
        }
    }
}
