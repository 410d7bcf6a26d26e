//! Who reads what the server writes to its postmaster.

use mox_address::Path;
use mox_driver::Runtime;
use mox_mailbox::{AccountId, INBOX};
use mox_server::Found;
use std::collections::BTreeSet;

use crate::node::Inner;

/// Of the members of an alias for the postmaster, at most, who are told.
const READERS_MAX: usize = 10;

/// The postmaster of this host.
#[derive(Debug)]
pub(crate) struct Postmaster {
    /// Its address.
    pub(crate) path: Path,
    /// Accounts that read what comes there, each once, with the mailbox it goes to: at least one.
    pub(crate) readers: Vec<(AccountId, String)>,
}

impl Postmaster {
    /// The postmaster, whether it is an account or an alias; `None` where it is nobody with a mailbox here.
    pub(crate) fn of<R: Runtime>(node: &Inner<R>) -> Option<Self> {
        let path = Path::parse(&format!("postmaster@{}", node.config.hostname), true).ok()?;
        let found = match node.directory().find(&path) {
            Found::Account {
                account, mailbox, ..
            } => vec![(account, mailbox)],
            Found::Alias { members, .. } => {
                // Two addresses of one account are one reader.
                let accounts: BTreeSet<String> = members.into_iter().map(|m| m.account).collect();
                let accounts = accounts.into_iter().take(READERS_MAX);
                accounts.map(|account| (account, None)).collect()
            }
            Found::UnknownLocalPart | Found::NotOurs => Vec::new(),
        };
        let reader = |(account, mailbox): (String, Option<String>)| {
            let mailbox = mailbox.unwrap_or_else(|| INBOX.into());
            Some((node.account_id(&account)?, mailbox))
        };
        let readers: Vec<_> = found.into_iter().filter_map(reader).collect();
        (!readers.is_empty()).then_some(Self { path, readers })
    }
}
