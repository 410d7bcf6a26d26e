//! Clients that do everything that is acknowledged, all at once, and write down what they were promised.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use mox_e2e::crash::{Answer, Victim, Wire};

use crate::ledger::{Key, Ledger};
use crate::message::message;
use crate::random::Random;

/// Octets in the largest message.
const LARGE: usize = 150_000;
/// `user NUL password` of u0@localhost, as AUTH PLAIN (RFC 4616) takes it.
const PLAIN: &str = "AHUwQGxvY2FsaG9zdABtb3htb3htb3g=";
/// The domain of messages that are queued.
pub const REMOTE: &str = "remote.example";
/// What the local part of a queued message's recipient begins with.
pub const QUEUED: &str = "queued-";

/// How much each kind of client does before it ends.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Connections that send mail.
    pub senders: usize,
    /// Messages that each of them sends.
    pub sent: usize,
    /// Messages appended by a client of their own.
    pub appended: usize,
    /// Rounds of three messages appended and two of them expunged.
    pub expunged: usize,
    /// Changes of flags, every fourth a copy.
    pub flagged: usize,
    /// Messages submitted for other servers.
    pub submitted: usize,
}

impl Amount {
    /// A little of everything, for clients that take turns.
    pub const ONE_BY_ONE: Self = Self {
        senders: 1,
        sent: 12,
        appended: 8,
        expunged: 3,
        flagged: 16,
        submitted: 4,
    };
    /// Enough for groups of many.
    pub const AT_ONCE: Self = Self {
        senders: 5,
        sent: 30,
        appended: 30,
        expunged: 14,
        flagged: 60,
        submitted: 20,
    };
}

/// A client, in a run of a server with this number.
#[derive(Debug)]
pub struct Client {
    ports: [u16; 3],
    run: usize,
    number: usize,
    serial: usize,
    random: Random,
    ledger: Arc<Mutex<Ledger>>,
}

/// What one client does.
type Work = Box<dyn FnOnce(Client) -> io::Result<()> + Send>;

/// All clients of this much work.
fn clients(
    server: &Victim,
    ledger: &Arc<Mutex<Ledger>>,
    run: usize,
    amount: Amount,
) -> Vec<(Client, Work)> {
    let mut work: Vec<Work> = Vec::new();
    for _ in 0..amount.senders {
        work.push(Box::new(move |client| client.send(amount.sent)));
    }
    work.push(Box::new(move |client| client.append(amount.appended)));
    work.push(Box::new(move |client| client.expunge(amount.expunged)));
    work.push(Box::new(move |client| client.flag(amount.flagged)));
    // The last: an attempt to deliver follows.
    work.push(Box::new(move |client| client.submit(amount.submitted)));
    let made = work.into_iter().enumerate().map(|(number, work)| {
        let client = Client {
            ports: [server.port(25), server.port(143), server.port(587)],
            run,
            number,
            serial: 0,
            random: Random::new((run * 100 + number) as u64),
            ledger: ledger.clone(),
        };
        (client, work)
    });
    made.collect()
}

/// Starts all clients; each ends when its work is done, or with the error of a broken connection.
pub fn start(
    server: &Victim,
    ledger: &Arc<Mutex<Ledger>>,
    run: usize,
    amount: Amount,
) -> Vec<JoinHandle<io::Result<()>>> {
    let clients = clients(server, ledger, run, amount);
    let started = clients
        .into_iter()
        .map(|(client, work)| thread::spawn(|| work(client)));
    started.collect()
}

/// Runs the clients one after the other.
pub fn one_by_one(server: &Victim, ledger: &Arc<Mutex<Ledger>>, run: usize, amount: Amount) {
    for (client, work) in clients(server, ledger, run, amount) {
        work(client).unwrap();
    }
}

fn key(account: &str, mailbox: &str, name: &str) -> Key {
    (account.to_owned(), mailbox.to_owned(), name.to_owned())
}

fn no_flags() -> BTreeSet<String> {
    BTreeSet::new()
}

impl Client {
    fn name(&mut self) -> String {
        self.serial += 1;
        let size = match self.random.below(4) {
            0 => 20_000 + self.random.below(LARGE - 20_000),
            1 => 4_000 + self.random.below(14_000),
            _ => 100 + self.random.below(3_000),
        };
        format!("r{}-c{}-{}-{size}", self.run, self.number, self.serial)
    }

    fn ask(&self, key: &Key, flags: Option<&BTreeSet<String>>) {
        self.ledger.lock().unwrap().ask(key, flags.cloned());
    }

    fn acknowledge(&self, key: &Key, line: &str) {
        self.ledger.lock().unwrap().acknowledge(key, line);
    }

    /// An IMAP command with a tag that no other has.
    fn command(&mut self, wire: &mut Wire, command: &str) -> io::Result<Answer> {
        self.serial += 1;
        let tag = format!("r{}c{}n{}", self.run, self.number, self.serial);
        wire.send(format!("{tag} {command}\r\n"))?;
        wire.answer(&tag)
    }

    fn send(mut self, count: usize) -> io::Result<()> {
        let mut wire = Wire::smtp(self.ports[0])?;
        for _ in 0..count {
            let name = self.name();
            let accounts: &[&str] = match self.random.below(3) {
                0 => &["u0", "u1"],
                1 => &["u0"],
                _ => &["u1"],
            };
            expect(&wire.ask("MAIL FROM:<a@client.example>")?, "250")?;
            for account in accounts {
                expect(&wire.ask(&format!("RCPT TO:<{account}@localhost>"))?, "250")?;
            }
            expect(&wire.ask("DATA")?, "354")?;
            wire.send(message(&name))?;
            let keys: Vec<Key> = accounts.iter().map(|a| key(a, "INBOX", &name)).collect();
            if keys.len() == 2 {
                self.ledger.lock().unwrap().pair(&name);
            }
            for key in &keys {
                self.ask(key, Some(&no_flags()));
            }
            let reply = wire.ask(".")?;
            expect(&reply, "250")?;
            for key in &keys {
                self.acknowledge(key, &reply);
            }
        }
        Ok(())
    }

    fn submit(mut self, count: usize) -> io::Result<()> {
        let mut wire = Wire::smtp(self.ports[2])?;
        expect(&wire.ask(&format!("AUTH PLAIN {PLAIN}"))?, "235")?;
        for _ in 0..count {
            let name = self.name();
            let recipient = format!("{QUEUED}{name}@{REMOTE}");
            expect(&wire.ask("MAIL FROM:<u0@localhost>")?, "250")?;
            expect(&wire.ask(&format!("RCPT TO:<{recipient}>"))?, "250")?;
            expect(&wire.ask("DATA")?, "354")?;
            wire.send(message(&name))?;
            self.ledger.lock().unwrap().queue(&recipient, None);
            let reply = wire.ask(".")?;
            expect(&reply, "250")?;
            self.ledger.lock().unwrap().queue(&recipient, Some(&reply));
        }
        Ok(())
    }

    fn append_one(
        &mut self,
        wire: &mut Wire,
        account: &str,
        flags: &BTreeSet<String>,
    ) -> io::Result<(Key, u32)> {
        let name = self.name();
        let key = key(account, "INBOX", &name);
        let text = message(&name);
        self.serial += 1;
        let tag = format!("r{}c{}n{}", self.run, self.number, self.serial);
        let list: Vec<&str> = flags.iter().map(String::as_str).collect();
        wire.send(format!(
            "{tag} APPEND INBOX ({}) {{{}}}\r\n",
            list.join(" "),
            text.len()
        ))?;
        expect(&wire.line()?, "+")?;
        self.ask(&key, Some(flags));
        wire.send(&text)?;
        wire.send("\r\n")?;
        let (_, line) = wire.answer(&tag)?;
        self.acknowledge(&key, &line);
        let uid = uid_after(&line, "APPENDUID ", 1);
        self.ledger.lock().unwrap().uid(&key, uid, &line);
        Ok((key, uid))
    }

    fn append(mut self, count: usize) -> io::Result<()> {
        let mut wire = Wire::imap(self.ports[1], "u2@localhost")?;
        for _ in 0..count {
            self.append_one(&mut wire, "u2", &no_flags())?;
        }
        Ok(())
    }

    fn expunge(mut self, rounds: usize) -> io::Result<()> {
        let mut wire = Wire::imap(self.ports[1], "u3@localhost")?;
        self.command(&mut wire, "SELECT INBOX")?;
        for _ in 0..rounds {
            let mut doomed = Vec::new();
            for number in 0..3 {
                let (key, uid) = self.append_one(&mut wire, "u3", &no_flags())?;
                if number != 1 {
                    doomed.push((key, uid.to_string()));
                }
            }
            let set: Vec<&str> = doomed.iter().map(|(_, uid)| uid.as_str()).collect();
            let set = set.join(",");
            let deleted = BTreeSet::from(["\\Deleted".to_owned()]);
            for (state, command) in [
                (
                    Some(&deleted),
                    format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"),
                ),
                (None, format!("UID EXPUNGE {set}")),
            ] {
                for (key, _) in &doomed {
                    self.ask(key, state);
                }
                let (_, line) = self.command(&mut wire, &command)?;
                for (key, _) in &doomed {
                    self.acknowledge(key, &line);
                }
            }
        }
        Ok(())
    }

    fn flag(mut self, count: usize) -> io::Result<()> {
        let mut wire = Wire::imap(self.ports[1], "u4@localhost")?;
        let _ = self.command(&mut wire, "CREATE Archive");
        self.command(&mut wire, "SELECT INBOX")?;
        let mut messages = Vec::new();
        for _ in 0..count / 3 {
            let flags = match self.random.below(2) {
                0 => no_flags(),
                _ => BTreeSet::from(["\\Seen".to_owned()]),
            };
            let (key, uid) = self.append_one(&mut wire, "u4", &flags)?;
            messages.push((key, uid, flags, false));
        }
        for number in 0..count {
            let chosen = self.random.below(messages.len());
            let (key, uid, flags, copied) = &mut messages[chosen];
            if number % 4 == 3 && !*copied {
                let to = (key.0.clone(), "Archive".to_owned(), key.2.clone());
                // What is put there is wanted.
                let mut there = flags.clone();
                there.insert("$NotJunk".to_owned());
                self.ask(&to, Some(&there));
                let (_, line) = self.command(&mut wire, &format!("UID COPY {uid} Archive"))?;
                self.acknowledge(&to, &line);
                let uid = uid_after(&line, "COPYUID ", 2);
                self.ledger.lock().unwrap().uid(&to, uid, &line);
                *copied = true;
                continue;
            }
            // A keyword of its own now and then: a mailbox may have 64.
            let flag = match self.random.below(5) {
                0 => "\\Seen".to_owned(),
                1 => "\\Flagged".to_owned(),
                2 => "\\Answered".to_owned(),
                3 => "\\Draft".to_owned(),
                _ => format!("key{}x{}", self.run, self.random.below(8)),
            };
            let sign = match flags.remove(&flag) {
                true => '-',
                false => {
                    flags.insert(flag.clone());
                    '+'
                }
            };
            self.ask(key, Some(flags));
            let (_, line) = self.command(
                &mut wire,
                &format!("UID STORE {uid} {sign}FLAGS.SILENT ({flag})"),
            )?;
            self.acknowledge(key, &line);
        }
        Ok(())
    }
}

/// A server that refuses has broken no promise, but there is nothing to test then.
fn expect(line: &str, code: &str) -> io::Result<()> {
    match line.starts_with(code) {
        true => Ok(()),
        false => Err(io::Error::other(format!("{line:?} instead of {code}"))),
    }
}

/// The number `skip` words behind a word of a response code.
fn uid_after(line: &str, word: &str, skip: usize) -> u32 {
    let (_, rest) = line
        .split_once(word)
        .unwrap_or_else(|| panic!("no {word}in {line}"));
    rest.split([' ', ']']).nth(skip).unwrap().parse().unwrap()
}
