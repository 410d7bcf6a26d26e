//! Whether each promise left the server only after the disk had what was promised.

use std::collections::HashMap;

use crate::history::{History, NEVER, Node, Written};
use crate::ledger::Ledger;
use crate::load::QUEUED;

/// What ends each batch in fjall's journal, after an octet and a checksum of eight.
const TRAILER: &[u8] = b"FJL\x03";

/// What was looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ordered {
    /// Acknowledgements of messages whose body is in the journal.
    pub small: usize,
    /// Those whose body is a file.
    pub large: usize,
    /// Submissions.
    pub queued: usize,
    /// Acknowledgements of any kind to clients that took turns.
    pub in_turn: usize,
}

/// Where a message is in a journal: from which record on its batch was being written, and from which on it is safe.
#[derive(Debug, Clone, Copy)]
struct Batch {
    begin: usize,
    safe: usize,
}

/// Looks at every acknowledged message, and at everything acknowledged within the records `in_turn`, when one client
/// waited for the other: there the journal must have been written and be safe to its last octet.
///
/// # Errors
/// What was promised too early.
pub fn check_order(
    history: &History,
    ledger: &Ledger,
    in_turn: core::ops::Range<usize>,
) -> Result<Ordered, Vec<String>> {
    let (mut ordered, mut wrong) = (Ordered::default(), Vec::new());
    let journals: Vec<&Node> = history
        .nodes
        .iter()
        .filter(|n| n.path.ends_with(".jnl"))
        .collect();
    let messages = batches(&journals, b"X-Name: ", b'\r');
    let queued = batches(&journals, QUEUED.as_bytes(), b'@');
    let files: HashMap<String, usize> = (0..history.nodes.len())
        .filter(|number| history.nodes[*number].path.contains("/body/"))
        .filter_map(|number| Some((name_of(&history.nodes[number])?, number)))
        .collect();
    let names: HashMap<usize, usize> = history
        .names
        .iter()
        .filter_map(|change| match &change.what {
            crate::Named::Is(_, node) => Some((*node, change.safe)),
            _ => None,
        })
        .collect();
    let mut moments = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (key, line) in ledger.acknowledged() {
        let at = history.sent(line).unwrap();
        moments.push((at, line));
        // The first step of a message in a mailbox that it was put into from outside.
        if key.1 != "INBOX" || !seen.insert(key) {
            continue;
        }
        let name = &key.2;
        let Some(batch) = messages.get(name) else {
            wrong.push(format!("{name}: acknowledged, never in a journal"));
            continue;
        };
        if batch.safe >= at {
            wrong.push(format!(
                "{name}: acknowledged at record {at}, its rows are safe from {}",
                batch.safe
            ));
        }
        match files.get(name) {
            None => ordered.small += 1,
            Some(file) => {
                ordered.large += 1;
                let content = history.nodes[*file]
                    .changes
                    .iter()
                    .map(|c| c.safe)
                    .max()
                    .unwrap_or(NEVER);
                let entry = names.get(file).copied().unwrap_or(NEVER);
                if content.max(entry) >= batch.begin {
                    wrong.push(format!(
                        "{name}: its file is safe from record {content}, the name of it from {entry}, its rows are written at {}",
                        batch.begin
                    ));
                }
            }
        }
    }
    for (recipient, line) in ledger.acknowledged_queue() {
        let at = history.sent(line).unwrap();
        let name = recipient
            .strip_prefix(QUEUED)
            .and_then(|r| r.split('@').next())
            .unwrap();
        ordered.queued += 1;
        match queued.get(name) {
            Some(batch) if batch.safe < at => {}
            Some(batch) => wrong.push(format!(
                "{recipient}: taken at record {at}, safe from {}",
                batch.safe
            )),
            None => wrong.push(format!("{recipient}: taken, never in a journal")),
        }
    }
    moments.sort_unstable();
    moments.dedup();
    let mut last = in_turn.start;
    for (at, line) in moments {
        if !in_turn.contains(&at) {
            continue;
        }
        let writes: Vec<_> = journals
            .iter()
            .flat_map(|journal| &journal.changes)
            .filter(|change| last < change.begin && change.begin < at)
            .collect();
        if writes.is_empty() {
            wrong.push(format!("{line}: nothing was written for it"));
        }
        if let Some(write) = writes.iter().find(|write| write.safe >= at) {
            wrong.push(format!(
                "{line}: sent at record {at}, but the write at {} is safe from {}",
                write.begin, write.safe
            ));
        }
        ordered.in_turn += 1;
        last = at;
    }
    match wrong.is_empty() {
        true => Ok(ordered),
        false => Err(wrong),
    }
}

/// The batches in which a word stands, by what follows the word: the first of each.
fn batches(journals: &[&Node], word: &[u8], end: u8) -> HashMap<String, Batch> {
    let mut found = HashMap::new();
    for journal in journals {
        let mut octets = journal.base.clone();
        for change in &journal.changes {
            if let Written::Octets(at, new) = &change.what {
                let at = usize::try_from(*at).unwrap();
                octets.resize(octets.len().max(at + new.len()), 0);
                octets[at..at + new.len()].copy_from_slice(new);
            }
        }
        let mut at = journal.base.len();
        while let Some(next) = find(&octets[at..], word) {
            let start = at + next + word.len();
            at = start;
            let Some(length) = octets[start..]
                .iter()
                .take(200)
                .position(|octet| *octet == end)
            else {
                continue;
            };
            let name = String::from_utf8_lossy(&octets[start..start + length]).into_owned();
            let trailer =
                find(&octets[start..], TRAILER).map_or(octets.len(), |n| start + n + TRAILER.len());
            let of_batch = journal.changes.iter().filter(|change| match &change.what {
                Written::Octets(at, new) => {
                    let at = usize::try_from(*at).unwrap();
                    at < trailer && at + new.len() > start
                }
                Written::Size(_) => false,
            });
            let batch = of_batch.fold(
                Batch {
                    begin: NEVER,
                    safe: 0,
                },
                |batch, change| Batch {
                    begin: batch.begin.min(change.begin),
                    safe: batch.safe.max(change.safe),
                },
            );
            found.entry(name).or_insert(batch);
        }
    }
    found
}

fn find(octets: &[u8], word: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let next = octets[at..].iter().position(|octet| *octet == word[0])?;
        at += next;
        if octets[at..].starts_with(word) {
            return Some(at);
        }
        at += 1;
    }
}

/// The name of the message that a body file holds.
fn name_of(node: &Node) -> Option<String> {
    node.changes.iter().find_map(|change| match &change.what {
        Written::Octets(_, octets) => {
            let head = &octets[..octets.len().min(4096)];
            crate::name_in(head)
        }
        Written::Size(_) => None,
    })
}
