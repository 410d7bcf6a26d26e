//! QUOTA, RFC 9208: one root, named "", for all mailboxes of an account, which limits STORAGE. Without a limit there is none,
//! since a root has a limit on something (`quota-list`).

use alloc::string::String;

use super::job::{Job, Next, Reply};
use super::{Answer, Ask, Server};
use crate::wire::put;

/// Octets of a unit of STORAGE (RFC 9208 5.1).
const UNIT: u64 = 1024;

impl Server {
    pub(super) fn get_quota(&mut self, root: &[u8]) -> Next {
        if !root.is_empty() {
            return no_root();
        }
        Next::Wait(self.ask(Ask::Quota { mailbox: None }), Job::Quota(None))
    }

    pub(super) fn get_quota_root(&mut self, mailbox: &[u8]) -> Next {
        let name = match self.canonical(mailbox) {
            Ok(name) => name,
            Err(next) => return next,
        };
        let ask = Ask::Quota {
            mailbox: Some(name.clone()),
        };
        Next::Wait(self.ask(ask), Job::Quota(Some(name)))
    }

    /// `mailbox`: GETQUOTAROOT tells the root first.
    pub(super) fn quota(&mut self, mailbox: Option<&String>, answer: Answer) -> Next {
        let (octets, most) = match answer {
            Answer::Quota { octets, most } => (octets, most),
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        if let Some(name) = mailbox {
            let shown = self.on_wire(name);
            let out = self.out.text();
            out.extend_from_slice(b"* QUOTAROOT ");
            out.extend_from_slice(&shown);
            let root = most.map_or("", |_| " \"\"");
            put!(out, "{root}\r\n");
        }
        match most {
            Some(most) => put!(
                self.out.text(),
                "* QUOTA \"\" (STORAGE {} {})\r\n",
                octets.div_ceil(UNIT),
                most / UNIT
            ),
            None if mailbox.is_none() => return no_root(),
            None => {}
        }
        Next::ok()
    }
}

fn no_root() -> Next {
    Next::no("NONEXISTENT", "there is no such quota root")
}
