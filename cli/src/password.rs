//! `moxctl setaccountpassword`: a password is asked for twice without echo, or read from stdin. It is never an
//! argument, where every user of the machine could see it.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Write};

use mox_machine::Secret;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::args::{Args, SetAccountPassword};
use crate::config_files::ctl_socket;
use crate::credentials::{PASSWORD_MIN, generate_password};
use crate::ctl::{self, Command, Password};
use crate::failure::Failure;

/// Octets of a password line at most.
const LINE_MAX: u64 = 1024;

pub(crate) fn run(args: &Args, set: &SetAccountPassword) -> Result<(), Failure> {
    let socket = ctl_socket(args)?;
    let password = if set.generate {
        generate_password(&os_seed()?)
    } else if io::stdin().is_terminal() {
        ask_twice(&set.account)?
    } else {
        read_line(io::stdin().lock())?
    };
    if password.expose().is_empty() {
        return Err(Failure::Failed(
            "no password came: type one on a terminal, give it as one line on stdin, or use --generate".into(),
        ));
    }
    if password.expose().chars().count() < PASSWORD_MIN {
        return Err(Failure::Failed(format!(
            "a password needs at least {PASSWORD_MIN} characters; choose a longer one, or use --generate"
        )));
    }
    let shown = set.generate.then(|| password.expose().clone());
    let account = set.account.clone();
    ctl::call(
        &socket,
        &Command::SetPassword {
            account,
            password: Password(password),
        },
    )?;
    match shown {
        Some(shown) => println!("{shown}"),
        None => println!("the password of account {} is set", set.account),
    }
    Ok(())
}

/// 32 bytes of the operating system's randomness.
pub(crate) fn os_seed() -> Result<mox_machine::Seed, Failure> {
    mox_runtime_smol::os_seed()
        .map_err(|e| Failure::Failed(format!("the system gives no random bytes: {e}")))
}

fn ask_twice(account: &str) -> Result<Secret<String>, Failure> {
    let failed = |e: io::Error| Failure::Failed(format!("the password cannot be read: {e}"));
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(failed)?;
    let quiet = Quiet::new(&terminal).map_err(failed)?;
    let ask = |prompt: &str| {
        let mut out = &terminal;
        out.write_all(prompt.as_bytes()).map_err(failed)?;
        let line = read_line(io::BufReader::new(&terminal));
        let _ = out.write_all(b"\n");
        line
    };
    let first = ask(&format!("Password for account {account}: "))?;
    let second = ask("Once more: ")?;
    drop(quiet);
    if first != second {
        return Err(Failure::Failed(
            "the two passwords differ; nothing was changed".into(),
        ));
    }
    Ok(first)
}

/// One whole line, without its end.
fn read_line(from: impl BufRead) -> Result<Secret<String>, Failure> {
    let mut line = Vec::new();
    from.take(LINE_MAX)
        .read_until(b'\n', &mut line)
        .map_err(|e| Failure::Failed(format!("the password cannot be read: {e}")))?;
    if line.len() as u64 == LINE_MAX {
        return Err(Failure::Failed(format!(
            "a password has fewer than {LINE_MAX} bytes"
        )));
    }
    let end = line
        .iter()
        .rposition(|b| !matches!(b, b'\r' | b'\n'))
        .map_or(0, |n| n + 1);
    line.truncate(end);
    let text = String::from_utf8(line).map_err(|_| {
        Failure::Failed("the password is not UTF-8; check the terminal's settings".into())
    })?;
    Ok(Secret::new(text))
}

/// A terminal without echo, until this is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_whole_line_of_any_sensible_length() {
        let read = |text: &str| read_line(text.as_bytes()).map(Secret::into_inner);
        assert_eq!(read("correct horse \r\nx").unwrap(), "correct horse ");
        assert_eq!(read("no line end").unwrap(), "no line end");
        assert_eq!(read("").unwrap(), "");
        let long = "x".repeat(1_000);
        assert_eq!(read(&long).unwrap(), long);
        assert!(read(&"x".repeat(1_024)).is_err());
        assert!(read_line(&b"\xff\n"[..]).is_err());
    }
}
