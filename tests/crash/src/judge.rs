//! What a store holds after a crash, asked in this process or of the real program.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use mox_e2e::Scratch;
use mox_e2e::crash::{Victim, Wire};
use mox_mailbox::{Flags, Reads};
use mox_store::{Options, Store};
use mox_uids::Uid;

use crate::ledger::Found;
use crate::message::{is_whole, name_in};

/// Accounts in a store at most.
const ACCOUNTS: usize = 100;
/// Entries of the queue at most.
const QUEUE: usize = 10_000;

/// What became of an image.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What it holds.
    pub found: Found,
    /// What contradicts itself in it, but for files of messages that were under way.
    pub findings: Vec<String>,
}

const FLAGS: [(Flags, &str); 5] = [
    (Flags::SEEN, "\\Seen"),
    (Flags::ANSWERED, "\\Answered"),
    (Flags::FLAGGED, "\\Flagged"),
    (Flags::DELETED, "\\Deleted"),
    (Flags::DRAFT, "\\Draft"),
];

/// Opens the store of a data directory in this process and reads all of it.
///
/// # Errors
/// When it cannot be opened.
pub fn open_image(data: &Path) -> Result<Verdict, String> {
    let place = data.join("store");
    // A power failure may come before there is a directory at all.
    if !place.exists() {
        return Ok(Verdict::default());
    }
    let options = Options {
        low_percent: 0,
        low_octets: 0,
        ..Options::default()
    };
    let (store, committer) =
        Store::open_directory(&place, options).map_err(|e| format!("does not open: {e}"))?;
    let mut verdict = Verdict::default();
    read(&store, &mut verdict).map_err(|e| format!("cannot be read: {e}"))?;
    let findings = store.verify(false).findings;
    verdict
        .findings
        .extend(findings.into_iter().map(|finding| finding.0));
    drop(committer);
    Ok(verdict)
}

fn read(store: &Store, verdict: &mut Verdict) -> Result<(), mox_mailbox::ReadError> {
    let published = store.published();
    let view: &dyn Reads = &*published.view;
    for (account, id) in mox_mailbox::accounts(view, "", ACCOUNTS)? {
        for entry in mox_mailbox::mailboxes(view, id)? {
            let Some(mailbox) = entry.mailbox else {
                continue;
            };
            let Some(selected) = mox_mailbox::select(view, id, mailbox)? else {
                continue;
            };
            let rows = mox_mailbox::rows(view, id, mailbox, &selected.uids, Uid(1), usize::MAX)?;
            let mut contents = Vec::new();
            mox_mailbox::metas(view, id, mailbox, &selected.uids, &mut |_, meta| {
                let body = store.read_body(view, &meta.body, 0..meta.body.length);
                contents.push(body.map(|body| [&*meta.prefix, &body].concat()));
                ControlFlow::Continue(())
            })?;
            if rows.rows.len() != contents.len() {
                verdict.findings.push(format!(
                    "{account} {}: rows and messages differ",
                    entry.name
                ));
            }
            for (row, content) in rows.rows.iter().zip(contents) {
                let content = match content {
                    Ok(content) => content,
                    Err(e) => {
                        let uid = row.uid;
                        verdict
                            .findings
                            .push(format!("{account} {} {uid:?}: {e}", entry.name));
                        continue;
                    }
                };
                let system = FLAGS.iter().filter(|(flag, _)| row.flags.contains(*flag));
                let mut flags: BTreeSet<String> =
                    system.map(|(_, name)| (*name).to_owned()).collect();
                let keywords = selected.keywords.iter().enumerate();
                flags.extend(
                    keywords
                        .filter(|(bit, _)| row.keywords & (1 << bit) != 0)
                        .map(|(_, keyword)| keyword.clone()),
                );
                verdict.take(&account, &entry.name, row.uid.0, &content, flags);
            }
        }
    }
    for entry in mox_mailbox::queue(view, 0, QUEUE)? {
        let waiting = entry.recipients.into_iter();
        verdict.found.queued.extend(waiting.map(|to| to.address));
    }
    Ok(())
}

impl Verdict {
    fn take(
        &mut self,
        account: &str,
        mailbox: &str,
        uid: u32,
        content: &[u8],
        flags: BTreeSet<String>,
    ) {
        let Some(name) = name_in(content) else {
            let what = format!("{account} {mailbox} {uid}: not a message that was sent");
            return self.findings.push(what);
        };
        if !is_whole(content, &name) {
            self.findings.push(format!(
                "{account} {mailbox} {uid}: {name} is not what was sent"
            ));
        }
        let key = (account.to_owned(), mailbox.to_owned(), name);
        let twice = format!("{key:?} is there twice");
        if self.found.items.insert(key, (uid, flags)).is_some() {
            self.findings.push(twice);
        }
    }
}

/// The same with the real program: `moxctl verify`, then a server on the image that is asked over IMAP for everything
/// but the queue, is stopped in order, and verified once more. The queue is read in this process.
///
/// # Errors
/// When the server does not start or stop as it should.
pub fn serve_image(scratch: Scratch, data: &Path, options: &[&str]) -> Result<Verdict, String> {
    let mut server = Victim::new(scratch, data.to_owned(), &[], options);
    if data.join("store").exists() {
        server.verify_killed();
    }
    server
        .try_restart()
        .map_err(|status| format!("does not start: {status}\n{}", server.log()))?;
    let mut verdict = Verdict::default();
    for account in ["u0", "u1", "u2", "u3", "u4"] {
        for mailbox in ["INBOX", "Archive"] {
            ask(&server, account, mailbox, &mut verdict)
                .map_err(|e| format!("{account} {mailbox}: {e}"))?;
        }
    }
    let status = server.terminate();
    if !status.success() {
        return Err(format!("does not stop in order: {status}"));
    }
    // It may not have swept yet what was under way.
    server.verify_killed();
    verdict.found.queued = open_image(data)?.found.queued;
    Ok(verdict)
}

fn ask(
    server: &Victim,
    account: &str,
    mailbox: &str,
    verdict: &mut Verdict,
) -> std::io::Result<()> {
    let mut wire = Wire::imap(server.port(143), &format!("{account}@localhost"))?;
    wire.command(&format!("EXAMINE {mailbox}"))?;
    let (lines, _) = wire.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")?;
    for (line, content) in lines.iter().filter(|(line, _)| line.contains(" FETCH ")) {
        let word = |from: &str, to: &[char]| {
            let (_, rest) = line.split_once(from).unwrap();
            rest.split(to).next().unwrap().to_owned()
        };
        let uid = word("UID ", &[' ', ')']).parse().unwrap();
        let flags = word("FLAGS (", &[')']);
        let flags = flags
            .split(' ')
            .filter(|flag| !flag.is_empty() && *flag != "\\Recent");
        verdict.take(
            account,
            mailbox,
            uid,
            content,
            flags.map(str::to_owned).collect(),
        );
    }
    Ok(())
}
