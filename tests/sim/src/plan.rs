//! What happens in a world, written down: it runs by itself, becomes smaller while it fails, and is kept as a regression.

mod company;
mod draw;
mod shrink;
mod trouble;

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{DnsManner, Knobs};

pub use company::{Flaws, PeerManner, PeerPlan, Rude, Trick};
pub use shrink::shrink;
pub use trouble::{Cut, DiskTrouble, Ends, Jump, Wrong};

/// The servers there can be: their computers, domains and addresses are fixed.
pub const SERVERS_MAX: usize = 3;
/// Accounts of a server at most.
pub const ACCOUNTS_MAX: usize = 3;

/// Other people's servers there can be.
pub const PEERS_MAX: usize = 3;
/// Mailboxes that each of them has.
pub const PEER_ACCOUNTS: usize = 3;

/// Everything about a world that is not drawn from its seed while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Decides whatever is not written here: schedules, latencies, where streams are cut.
    pub seed: u64,
    /// How hard the world is.
    pub knobs: Knobs,
    /// After this many milliseconds nothing breaks any more, and everything has to come to its end.
    pub heal_ms: u64,
    /// Our servers.
    pub servers: Vec<ServerPlan>,
    /// Who sends and reads.
    pub clients: Vec<ClientPlan>,
    /// When servers lose their power.
    pub crashes: Vec<Crash>,
    /// Other people's servers.
    #[serde(default)]
    pub peers: Vec<PeerPlan>,
    /// How the name server errs; `None` for one that never does.
    #[serde(default)]
    pub names: Option<DnsManner>,
    /// What is cut off from what.
    #[serde(default)]
    pub cuts: Vec<Cut>,
    /// When disks fail.
    #[serde(default)]
    pub disks: Vec<DiskTrouble>,
    /// When somebody sets the clocks.
    #[serde(default)]
    pub jumps: Vec<Jump>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerPlan {
    /// How many accounts it has, 1 to [`ACCOUNTS_MAX`].
    pub accounts: usize,
    /// It has a certificate: offers STARTTLS, and serves TLS at once on ports of their own.
    #[serde(default)]
    pub tls: bool,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// Its first action, in milliseconds after the beginning.
    pub begins_ms: u64,
    /// The server it talks to.
    pub server: usize,
    /// How its connections are kept secret, where the server can do that.
    #[serde(default)]
    pub secrecy: Secrecy,
    /// What it is.
    pub does: Does,
}

/// How connections are kept secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secrecy {
    /// Not at all.
    #[default]
    None,
    /// By STARTTLS.
    StartTls,
    /// By TLS from the first octet, where there is a port for it, else by STARTTLS.
    AtOnce,
}

/// What a client is, and what it does one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Does {
    /// Another server, as far as can be seen: sends to port 25.
    Relay(Vec<Send>),
    /// Somebody with a password who sends.
    Submit(usize, Vec<Send>),
    /// Somebody who reads and sorts.
    Read(usize, Vec<Deed>),
    /// Somebody no server invites, who comes so often.
    Intrude(Vec<Rude>),
}

/// One message to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// The pause before.
    pub after_ms: u64,
    /// Recipients.
    pub to: Vec<To>,
    /// Lines of its body.
    pub lines: u32,
    /// How it is said.
    pub how: How,
    /// What its sender wants to be told.
    #[serde(default)]
    pub notify: Notify,
}

/// What a sender with a password asks to be told (NOTIFY, RFC 3461 4.1). Other servers ask for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notify {
    /// Nothing is said about it: failures, and perhaps delays.
    #[default]
    Usual,
    /// Nothing.
    Never,
    /// Failures, and no delays.
    Failure,
    /// Successes and failures, and no delays.
    Success,
}

/// A recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum To {
    /// An account of a server.
    Account(usize, usize),
    /// Nobody at a server.
    Nobody(usize),
    /// A mailbox of somebody else's server.
    Peer(usize, usize),
}

/// How a transaction is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// Command by command.
    Plain,
    /// Envelope and DATA in one go.
    Pipelined,
    /// BDAT in pieces of this many octets.
    Chunks(u32),
    /// A transaction for somebody else is begun and reset before.
    AfterReset,
    /// The first time the connection ends in the middle of the message, by a close in order.
    CutOnce,
    /// The first time a command in clear follows STARTTLS in the same breath, and then the handshake: it must not be obeyed.
    InjectOnce,
}

/// One thing done to a mailbox. `nth` counts the messages the client knows in the selected mailbox, modulo their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Nothing, for so many milliseconds.
    Wait(u64),
    /// Another mailbox, by its number in [`MAILBOXES`].
    Select(usize),
    /// A message of so many lines is put into a mailbox.
    Append(usize, u32),
    /// A flag is set or taken away.
    Flag {
        /// The message.
        nth: u32,
        /// Which, by its number in [`FLAGS`].
        flag: usize,
        /// Set, not taken away.
        set: bool,
    },
    /// The same by the message's number: nothing may be told meanwhile that changes numbers.
    FlagNumber {
        /// The message.
        nth: u32,
        /// Which, by its number in [`FLAGS`].
        flag: usize,
        /// Set, not taken away.
        set: bool,
    },
    /// Copied to a mailbox.
    Copy(u32, usize),
    /// Moved to a mailbox.
    Move(u32, usize),
    /// Marked as deleted, and expunged.
    Delete(u32),
    /// Read whole.
    Fetch(u32),
    /// IDLE for so many milliseconds.
    Idle(u64),
    /// NOOP, then everything is compared.
    Sync,
    /// The connection is dropped; the next deed makes another.
    Drop,
    /// The connection is dropped, and another one brought up to date from what was known (QRESYNC, RFC 7162 3.2.5).
    Resync,
}

/// The mailboxes that clients use.
pub const MAILBOXES: [&str; 3] = ["INBOX", "Archive", "Trash"];
/// The flags that clients set. Not $Junk: who is called a junk mailer is put off, and then nothing need arrive.
pub const FLAGS: [&str; 5] = ["\\Seen", "\\Flagged", "\\Answered", "swarm", "$NotJunk"];

/// A loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// Whose.
    pub server: usize,
    /// Not before this many milliseconds after the beginning.
    pub at_ms: u64,
    /// When exactly.
    pub then: Then,
    /// How long it stays down.
    pub down_ms: u64,
    /// So many durable batches of rows are gone too: whoever opens that must say so. Then they are there again.
    #[serde(default)]
    pub cut: usize,
}

/// The exact moment of a [`Crash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// After so many more polls and events of the world.
    Steps(u64),
    /// Before the call of the store to its disk or rows with this number, counted from there on: between apply and
    /// sync, between sync and publication, in the middle of opening.
    Call(u64),
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// Where it is not understood, with line and column, or what contradicts itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = ron::from_str(text).map_err(|e| e.to_string())?;
        plan.check()?;
        Ok(plan)
    }

    /// Writes it, as [`parse`](Self::parse) reads it.
    pub fn to_ron(&self) -> String {
        let pretty = ron::ser::PrettyConfig::new().compact_arrays(false);
        // Nothing in a plan is unfit for RON.
        ron::ser::to_string_pretty(self, pretty).unwrap_or_default() + "\n"
    }

    /// Nothing breaks in it, and the network is fast: then no session may take long.
    pub fn is_fault_free(&self) -> bool {
        let calm = self.crashes.is_empty() && self.cuts.is_empty() && self.disks.is_empty();
        calm && self.jumps.is_empty() && self.names.is_none() && self.knobs == Knobs::fault_free()
    }

    /// Clocks jump: then a message may come of age early.
    pub const fn has_jumps(&self) -> bool {
        !self.jumps.is_empty() || self.knobs.jump_one_in > 0
    }

    /// Things break for as long as a message is tried.
    pub fn breaks_for_days(&self) -> bool {
        self.heal_ms >= 4 * 86_400_000 && !self.is_fault_free()
    }

    /// A connection may fall silent, or have somebody on it who does: nobody is told before TCP gives up.
    pub fn has_silence(&self) -> bool {
        let knobs = &self.knobs;
        let silent = knobs.silent_one_in + knobs.lost_one_in + knobs.mute_one_in > 0;
        let intruded = self
            .clients
            .iter()
            .any(|client| matches!(client.does, Does::Intrude(_)));
        silent || intruded || !self.cuts.is_empty()
    }

    /// How long faults go on.
    pub fn heals_after(&self) -> Duration {
        Duration::from_millis(self.heal_ms)
    }

    /// Whether all numbers name something.
    fn check(&self) -> Result<(), String> {
        let servers = self.servers.len();
        let account = |server: usize, account: usize| {
            let known = self.servers.get(server).map_or(0, |s| s.accounts);
            match account < known {
                true => Ok(()),
                false => Err(format!("server {server} has no account {account}")),
            }
        };
        if !(1..=SERVERS_MAX).contains(&servers) {
            return Err(format!(
                "{servers} servers; there can be 1 to {SERVERS_MAX}"
            ));
        }
        if let Some(n) = self
            .servers
            .iter()
            .position(|s| !(1..=ACCOUNTS_MAX).contains(&s.accounts))
        {
            return Err(format!("server {n} must have 1 to {ACCOUNTS_MAX} accounts"));
        }
        if let Some(crash) = self.crashes.iter().find(|c| c.server >= servers) {
            return Err(format!(
                "a crash of server {}, which there is not",
                crash.server
            ));
        }
        if self.peers.len() > PEERS_MAX {
            return Err(format!("there can be {PEERS_MAX} peers"));
        }
        if self.disks.iter().any(|disk| disk.server >= servers) {
            return Err("a disk of a server that there is not".to_owned());
        }
        for client in &self.clients {
            let (own, sends) = match &client.does {
                Does::Relay(sends) => (0, sends.as_slice()),
                Does::Submit(own, sends) => (*own, sends.as_slice()),
                Does::Read(own, _) => (*own, &[][..]),
                Does::Intrude(_) => (0, &[][..]),
            };
            account(client.server, own)?;
            for to in sends.iter().flat_map(|send| &send.to) {
                match *to {
                    To::Account(server, number) => account(server, number)?,
                    To::Nobody(server) => account(server, 0)?,
                    To::Peer(peer, number) => {
                        if peer >= self.peers.len() || number >= PEER_ACCOUNTS {
                            return Err(format!("there is no mailbox {number} of peer {peer}"));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
