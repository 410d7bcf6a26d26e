//! What a peer saw and did.

use mox_machine::Mono;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::slot::lock;
use crate::stream::Receipt;

/// Commands of one visit that are kept.
const COMMANDS_MAX: usize = 1_000;

/// The ledger of a server. Clones are the same one; it outlives the world.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    visits: Vec<Visit>,
    deliveries: Vec<Delivered>,
}

/// One connection to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// From where.
    pub from: SocketAddr,
    /// When it began.
    pub began: Mono,
    /// When it ended; `None` while it lasts, or if the server was killed in it.
    pub ended: Option<Mono>,
    /// TLS came about.
    pub secured: bool,
    /// Lines the client said outside messages, without their ends; at most 1,000.
    pub commands: Vec<String>,
}

/// One final dot.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// In which visit, from 0.
    pub visit: usize,
    /// When the dot came.
    pub at: Mono,
    /// MAIL FROM as it was said, without brackets.
    pub from: String,
    /// The recipients accepted, without brackets.
    pub to: Vec<String>,
    /// The message, without the stuffed dots and the final one.
    pub message: Vec<u8>,
    /// The server keeps it: this is a copy, whatever the client knows.
    pub kept: bool,
    /// The code of the reply it sent, once all of it was sent.
    pub reply: Option<u16>,
    /// Replies in that session were what they seemed.
    clear: bool,
    /// When the client's program has read that reply.
    receipt: Option<Receipt>,
}

impl Delivered {
    /// When the client read the whole reply; `None` if it did not, or none was sent. A client that dies right after
    /// this may still not have acted on it.
    pub fn heard_at(&self) -> Option<Mono> {
        self.receipt.as_ref().and_then(Receipt::read_at)
    }

    /// The client cannot know that this copy is there: it must try again.
    pub fn is_ambiguous(&self) -> bool {
        let told = self.heard_at().is_some() && self.reply.is_some_and(|code| code / 100 == 2);
        self.kept && !(told && self.clear)
    }

    /// Whether the message holds these octets, such as a mark in its subject.
    pub fn mentions(&self, mark: &[u8]) -> bool {
        !mark.is_empty() && self.message.windows(mark.len()).any(|part| part == mark)
    }
}

impl Ledger {
    /// All connections, in order.
    pub fn visits(&self) -> Vec<Visit> {
        lock(&self.0).visits.clone()
    }

    /// All final dots, in order.
    pub fn deliveries(&self) -> Vec<Delivered> {
        lock(&self.0).deliveries.clone()
    }

    /// Shows all final dots, in order.
    pub(crate) fn each(&self, see: impl FnMut(&Delivered)) {
        lock(&self.0).deliveries.iter().for_each(see);
    }

    /// Copies kept of messages with this mark, for this recipient.
    pub fn copies(&self, to: &str, mark: &str) -> usize {
        self.count(to, mark, |d| d.kept)
    }

    /// How many of them the client could not know of. An honest client makes no more than `1 + excused` copies, if it
    /// did not itself die between hearing a reply and writing that down.
    pub fn excused(&self, to: &str, mark: &str) -> usize {
        self.count(to, mark, Delivered::is_ambiguous)
    }

    fn count(&self, to: &str, mark: &str, which: impl Fn(&Delivered) -> bool) -> usize {
        let book = lock(&self.0);
        let concerned = |d: &&Delivered| {
            which(d) && d.to.iter().any(|path| path == to) && d.mentions(mark.as_bytes())
        };
        book.deliveries.iter().filter(concerned).count()
    }

    /// A connection was accepted; its number.
    pub(super) fn begin(&self, from: SocketAddr, at: Mono) -> usize {
        let mut book = lock(&self.0);
        book.visits.push(Visit {
            from,
            began: at,
            ended: None,
            secured: false,
            commands: Vec::new(),
        });
        book.visits.len() - 1
    }

    pub(super) fn visit(&self, number: usize, change: impl FnOnce(&mut Visit)) {
        if let Some(visit) = lock(&self.0).visits.get_mut(number) {
            change(visit);
        }
    }

    pub(super) fn command(&self, number: usize, line: &str) {
        self.visit(number, |visit| {
            if visit.commands.len() < COMMANDS_MAX {
                visit.commands.push(line.to_owned());
            }
        });
    }

    /// A final dot came; its number.
    pub(super) fn dot(
        &self,
        (visit, at): (usize, Mono),
        (from, to): (String, Vec<String>),
        message: Vec<u8>,
        (kept, clear): (bool, bool),
    ) -> usize {
        let mut book = lock(&self.0);
        book.deliveries.push(Delivered {
            visit,
            at,
            from,
            to,
            message,
            kept,
            clear,
            reply: None,
            receipt: None,
        });
        book.deliveries.len() - 1
    }

    /// The reply to a final dot was sent, all of it.
    pub(super) fn replied(&self, dot: usize, code: u16, receipt: Receipt) {
        if let Some(delivered) = lock(&self.0).deliveries.get_mut(dot) {
            delivered.reply = Some(code);
            delivered.receipt = Some(receipt);
        }
    }
}
