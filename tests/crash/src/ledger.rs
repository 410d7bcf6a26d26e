//! What clients were promised: a message is there with these flags, or is gone, from this line of the server on.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{History, NEVER};

/// Account, mailbox and name of a message.
pub type Key = (String, String, String);

/// Flags of a message; `None` when it is not there.
pub type State = Option<BTreeSet<String>>;

/// What a client asked for, and the line that acknowledged it.
#[derive(Debug, Clone)]
struct Step {
    state: State,
    line: Option<String>,
    at: usize,
}

/// All that was asked for and promised.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// One client at a time changes a message, and one thing at a time.
    items: BTreeMap<Key, Vec<Step>>,
    /// Messages that go out, by their only recipient, with the line that took them.
    queued: BTreeMap<String, (Option<String>, usize)>,
    /// Messages for two accounts: there for both or for none.
    pairs: BTreeSet<String>,
    /// UIDs that the server named, with the line that did.
    uids: BTreeMap<(String, String, u32), (String, String, usize)>,
}

/// What a store holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Messages with their UIDs and flags.
    pub items: BTreeMap<Key, (u32, BTreeSet<String>)>,
    /// Recipients in the queue.
    pub queued: BTreeSet<String>,
}

impl Ledger {
    /// A client is about to ask that a message be so.
    pub fn ask(&mut self, key: &Key, state: State) {
        let steps = self.items.entry(key.clone()).or_insert_with(|| {
            vec![Step {
                state: None,
                line: None,
                at: 0,
            }]
        });
        steps.push(Step {
            state,
            line: None,
            at: NEVER,
        });
    }

    /// The server said that it is.
    pub fn acknowledge(&mut self, key: &Key, line: &str) {
        self.items.get_mut(key).unwrap().last_mut().unwrap().line = Some(line.to_owned());
    }

    /// A message for two accounts is about to be sent.
    pub fn pair(&mut self, name: &str) {
        self.pairs.insert(name.to_owned());
    }

    /// A message to this recipient is about to be submitted; or, with a line, was taken.
    pub fn queue(&mut self, recipient: &str, line: Option<&str>) {
        let line = line.map(str::to_owned);
        self.queued.insert(recipient.to_owned(), (line, NEVER));
    }

    /// The server named a UID.
    pub fn uid(&mut self, key: &Key, uid: u32, line: &str) {
        let place = (key.0.clone(), key.1.clone(), uid);
        let other = self
            .uids
            .insert(place, (key.2.clone(), line.to_owned(), NEVER));
        assert!(other.is_none(), "UID {uid} was given twice in {key:?}");
    }

    /// Every message that was acknowledged, with the line: key, line.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&Key, &str)> {
        let steps = self
            .items
            .iter()
            .flat_map(|(key, steps)| steps.iter().map(move |s| (key, s)));
        steps.filter_map(|(key, step)| Some((key, step.line.as_deref()?)))
    }

    /// Every queued message that was acknowledged: recipient, line.
    pub fn acknowledged_queue(&self) -> impl Iterator<Item = (&str, &str)> {
        let queued = self.queued.iter();
        queued.filter_map(|(recipient, (line, _))| Some((recipient.as_str(), line.as_deref()?)))
    }

    /// How many promises were made: of messages and their states, of the queue.
    pub fn promises(&self) -> (usize, usize) {
        (
            self.acknowledged().count(),
            self.acknowledged_queue().count(),
        )
    }

    /// Finds in the history when each line left.
    ///
    /// # Panics
    /// When a client read a line that the server never sent.
    pub fn place(&mut self, history: &History) {
        let at = |line: &Option<String>| match line {
            Some(line) => history
                .sent(line)
                .unwrap_or_else(|| panic!("never sent: {line}")),
            None => NEVER,
        };
        for steps in self.items.values_mut() {
            for step in steps.iter_mut().skip(1) {
                step.at = at(&step.line);
            }
        }
        for (line, place) in self.queued.values_mut() {
            if *place != 0 {
                *place = at(line);
            }
        }
        for (_, line, place) in self.uids.values_mut() {
            if *place != 0 {
                *place = at(&Some(line.clone()));
            }
        }
    }

    /// The records at which promises were made.
    pub fn moments(&self) -> Vec<usize> {
        let items = self.items.values().flatten().map(|step| step.at);
        let queued = self.queued.values().map(|(_, at)| *at);
        let mut moments: Vec<usize> = items
            .chain(queued)
            .filter(|at| (1..NEVER).contains(at))
            .collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// What is wrong with what was found in a store as of a record of the history; the promise that leaves with that
    /// very record counts.
    pub fn check(&self, found: &Found, at: usize) -> Vec<String> {
        // Of one message one change at a time is asked for.
        self.compare(found, at, 2)
    }

    /// The same for a store that may hold anything that was asked for later, too.
    pub fn check_since(&self, found: &Found, at: usize) -> Vec<String> {
        self.compare(found, at, usize::MAX)
    }

    fn compare(&self, found: &Found, at: usize, steps_allowed: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, steps) in &self.items {
            let promised = steps.iter().rposition(|step| step.at <= at).unwrap();
            let state = found.items.get(key).map(|(_, flags)| flags.clone());
            let fits = steps
                .iter()
                .skip(promised)
                .take(steps_allowed)
                .any(|s| s.state == state);
            if !fits {
                let promised = &steps[promised];
                wrong.push(format!(
                    "{key:?} is {state:?}, promised was {:?} ({:?} at record {})",
                    promised.state, promised.line, promised.at
                ));
            }
        }
        for (key, (uid, _)) in &found.items {
            if !self.items.contains_key(key) {
                wrong.push(format!("{key:?} was never asked for"));
            }
            let place = (key.0.clone(), key.1.clone(), *uid);
            match self.uids.get(&place) {
                Some((name, _, said)) if *said <= at && *name != key.2 => {
                    wrong.push(format!("{key:?} has UID {uid}, which was {name}'s"));
                }
                _ => {}
            }
        }
        for (recipient, (line, said)) in &self.queued {
            if *said <= at && !found.queued.contains(recipient) {
                wrong.push(format!(
                    "{recipient} is not in the queue: {line:?} at record {said}"
                ));
            }
        }
        for recipient in &found.queued {
            if !self.queued.contains_key(recipient) {
                wrong.push(format!(
                    "{recipient} is in the queue and never was put there"
                ));
            }
        }
        for name in &self.pairs {
            let of = |account: &str| {
                let key = (account.to_owned(), "INBOX".to_owned(), name.clone());
                found.items.contains_key(&key)
            };
            if of("u0") != of("u1") {
                wrong.push(format!("{name} reached one recipient of two"));
            }
        }
        wrong
    }

    /// Goes on from what a store holds: all of it is promised from now on.
    pub fn rebase(&mut self, found: &Found, at: usize) {
        for (key, steps) in &mut self.items {
            let state = found.items.get(key).map(|(_, flags)| flags.clone());
            *steps = vec![Step {
                state,
                line: None,
                at: 0,
            }];
        }
        self.queued
            .retain(|recipient, _| found.queued.contains(recipient));
        for (_, said) in self.queued.values_mut() {
            *said = 0;
        }
        // What was said is said: no other message may ever have that UID.
        self.uids.retain(|_, (_, _, said)| *said <= at);
        for (_, _, said) in self.uids.values_mut() {
            *said = 0;
        }
    }
}
