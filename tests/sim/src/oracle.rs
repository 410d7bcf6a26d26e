//! What must hold in every world. Each oracle is a file of its own; the judge asks them all.

mod copies;
mod ledger;
mod mailboxes;
mod patience;
mod peers;
mod replies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::plan::To;
use crate::slot::lock;
use crate::survey::Survey;

pub(crate) use copies::{Copies, is_body_of};
pub(crate) use ledger::{Ledger, Mail, Tally, is_notice, mark_of};
pub(crate) use mailboxes::{Boxes, Place};
pub(crate) use patience::Patience;
pub(crate) use peers::Peers;
pub(crate) use replies::Wires;

/// Things wrong that are kept; more say nothing new.
const WRONG_MAX: usize = 20;

/// All oracles of one world.
#[derive(Clone, Default)]
pub(crate) struct Judge(Arc<Mutex<Bench>>);

/// What the judge knows.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) wrong: Wrong,
    pub(crate) ledger: Ledger,
    pub(crate) boxes: Boxes,
    pub(crate) wires: Wires,
    pub(crate) patience: Patience,
    pub(crate) peers: Peers,
    pub(crate) copies: Copies,
    /// Messages that each server holds with the record of their decision.
    pub(crate) recorded: BTreeMap<usize, u64>,
    /// How often a server ended, and how.
    pub(crate) crashes: BTreeMap<&'static str, u64>,
}

/// What was found wrong.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    found: Vec<String>,
    /// Messages that were acknowledged and are nowhere, by recipient.
    lost: BTreeSet<(String, To)>,
}

impl Wrong {
    pub(crate) fn found(&mut self, what: String) {
        if self.found.len() < WRONG_MAX {
            self.found.push(what);
        }
    }

    pub(crate) fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.found(what());
        }
    }

    /// A message is lost; what shows it is found beside.
    pub(crate) fn lost(&mut self, mark: &str, to: &To) {
        self.lost.insert((mark.to_owned(), *to));
    }

    /// Messages lost, by recipient.
    pub(crate) fn losses(&self) -> u64 {
        self.lost.len() as u64
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.found)
    }
}

impl Judge {
    pub(crate) fn bench(&self) -> MutexGuard<'_, Bench> {
        lock(&self.0)
    }

    pub(crate) fn wrong(&self, what: String) {
        self.bench().wrong.found(what);
    }
}

impl Bench {
    /// Nothing keeps mail waiting in this world.
    pub(crate) fn is_prompt(&self) -> bool {
        self.patience.is_fault_free && self.peers.is_empty()
    }

    /// Compares a store with everything that was promised of it: after a crash, and at the end. `others` are the stores
    /// of the other servers as they are published, to learn what they handed over to this one.
    pub(crate) fn compare(&mut self, server: usize, survey: &Survey, crashed: bool) {
        self.ledger.settle(server, survey);
        if crashed {
            self.wires.forget(&self.ledger, server, survey);
            self.peers.forget(&self.ledger, server, survey);
        }
        let doomed = self.boxes.doomed(server);
        let doomed = |account: &str, subject: &str| doomed.contains(&(account, subject));
        self.ledger.compare(server, survey, doomed, &mut self.wrong);
        self.boxes.compare(server, survey, &mut self.wrong);
        self.compare_records(server, survey);
    }

    /// What was judged before it came into a mailbox has its record. They are kept for 30 days, which clocks may skip.
    fn compare_records(&mut self, server: usize, survey: &Survey) {
        let judged = survey.messages.iter().filter(|m| !m.decision.is_empty());
        let mut recorded = 0;
        for found in judged {
            recorded += u64::from(found.is_recorded);
            let holds = found.is_recorded || self.ledger.has_jumps;
            self.wrong.expect(holds, || {
                format!(
                    "server {server} has {} of {} and no record of the decision {}",
                    found.subject, found.account, found.decision
                )
            });
        }
        self.recorded.insert(server, recorded);
    }
}
