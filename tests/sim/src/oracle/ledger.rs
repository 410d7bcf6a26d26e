//! Oracle 1: whatever was acknowledged is there. A 250 and an APPEND OK are entered here when the client has them; every
//! store is compared with the ledger after each of its crashes and at the end.

use std::collections::{BTreeMap, BTreeSet};

use mox_machine::Utc;

use super::Wrong;
use crate::names;
use crate::plan::{Notify, To};
use crate::survey::{Found, Left, Survey};

/// How the Subject of a notice of failure begins.
const FAILED: &str = "Mail could not be delivered";
/// How that of a notice begins that somebody else's server has the message, which does not tell more.
const HANDED_ON: &str = "Mail was handed on";
/// How that of a notice of a delay begins.
const DELAYED: &str = "Mail is delayed";

/// Everything anybody sent, by its mark.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) mails: BTreeMap<String, Mail>,
    /// Clocks are set in this world: a message may come of age early, and be given up.
    pub(crate) has_jumps: bool,
    /// Things break for days in this world: every attempt of a message may fail, until it is of age.
    pub(crate) breaks_for_days: bool,
}

/// One message.
pub(crate) struct Mail {
    /// The server it was given to.
    pub(crate) server: usize,
    /// Whose it is there, by name: the sender who logged in.
    pub(crate) sender: Option<String>,
    /// Header and body as sent.
    pub(crate) text: String,
    pub(crate) to: BTreeMap<To, Tally>,
    /// Recipients that left the queue, and whether another server took the message.
    pub(crate) settled: BTreeMap<To, bool>,
    /// What its sender wants to be told.
    pub(crate) notify: Notify,
    /// Those who were given up, each with the operation that did it.
    pub(crate) given_up: BTreeSet<((u64, Utc), String)>,
    /// Those at other people's servers who were handed on, each with the operation that noted it; without those of whom that says that
    /// nobody could be told.
    pub(crate) handed_on: BTreeSet<((u64, Utc), String)>,
    /// Those of them that were given up only when the message had been tried for days.
    pub(crate) of_age: BTreeSet<To>,
}

/// What the sender knows of one recipient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Acknowledged, so often.
    pub(crate) taken: u32,
    /// The whole message was sent, and no reply seen.
    pub(crate) ambiguous: u32,
}

impl Ledger {
    /// Somebody is about to send a message.
    pub(crate) fn enter(&mut self, mark: &str, mail: Mail) {
        self.mails.insert(mark.to_owned(), mail);
    }

    /// The server said yes to the whole message for these recipients.
    pub(crate) fn taken(&mut self, mark: &str, to: &[To], wrong: &mut Wrong) {
        self.each(mark, to, |server, to, tally| {
            tally.taken += 1;
            wrong.expect(*to != To::Nobody(server), || {
                format!("server {server} took {mark} for somebody it does not have")
            });
        });
    }

    /// The message went out for these recipients, and what became of it is not known.
    pub(crate) fn ambiguous(&mut self, mark: &str, to: &[To]) {
        self.each(mark, to, |_, _, tally| tally.ambiguous += 1);
    }

    /// What became of it is known after all.
    pub(crate) fn decided(&mut self, mark: &str, to: &[To]) {
        self.each(mark, to, |_, _, tally| {
            tally.ambiguous = tally.ambiguous.saturating_sub(1);
        });
    }

    fn each(&mut self, mark: &str, to: &[To], mut change: impl FnMut(usize, &To, &mut Tally)) {
        if let Some(mail) = self.mails.get_mut(mark) {
            for to in to {
                change(mail.server, to, mail.to.entry(*to).or_default());
            }
        }
    }

    /// Messages acknowledged, by recipient.
    pub(crate) fn acknowledged(&self) -> u64 {
        let tallies = self.mails.values().flat_map(|mail| mail.to.values());
        tallies.map(|tally| u64::from(tally.taken)).sum()
    }

    /// Recipients that a queue gave up.
    pub(crate) fn given_up(&self) -> u64 {
        let settled = self.mails.values().flat_map(|mail| mail.settled.values());
        settled.map(|taken| u64::from(!taken)).sum()
    }

    /// Learns what left the queue of a server.
    pub(crate) fn settle(&mut self, server: usize, survey: &Survey) {
        for left in &survey.retired {
            if let Some(mail) = self.mails.get_mut(mark_of(&left.from))
                && mail.server == server
                && let Some(to) = names::recipient(&left.to)
            {
                let settled = mail.settled.entry(to).or_default();
                *settled |= left.taken;
                let left_so = (left.operation, left.to.clone());
                if !left.taken {
                    mail.given_up.insert(left_so);
                } else if matches!(to, To::Peer(..)) && !left.is_untold {
                    mail.handed_on.insert(left_so);
                }
                if left.is_of_age && !left.taken {
                    mail.of_age.insert(to);
                }
            }
        }
    }

    /// Compares a store with the ledger. `doomed` tells whether a client may have removed a message from an account.
    pub(crate) fn compare(
        &self,
        server: usize,
        survey: &Survey,
        doomed: impl Fn(&str, &str) -> bool,
        wrong: &mut Wrong,
    ) {
        let queued: BTreeSet<(&str, Option<To>)> = survey
            .queued
            .iter()
            .map(|(from, to)| (mark_of(from), names::recipient(to)))
            .collect();
        let there: BTreeSet<(&str, &str)> = survey
            .messages
            .iter()
            .map(|found| (found.account.as_str(), found.subject.as_str()))
            .collect();
        let is_there =
            |account: &str, mark: &str| there.contains(&(account, mark)) || doomed(account, mark);
        for (mark, mail) in &self.mails {
            for (to, tally) in &mail.to {
                match *to {
                    To::Account(at, account) if at == server && mail.server == server => {
                        let account = names::account(account);
                        let waits = || queued.contains(&(mark.as_str(), Some(*to)));
                        // The queue delivers what the sender wants to be told of.
                        let is_under_way = mail.notify == Notify::Success
                            && match mail.settled.get(to) {
                                None => waits(),
                                Some(taken) => !taken && (self.is_too_old(mail, to) || waits()),
                            };
                        let holds = tally.taken == 0 || is_there(account, mark) || is_under_way;
                        if !holds {
                            wrong.lost(mark, to);
                        }
                        wrong.expect(holds, || {
                            format!("{mark} was acknowledged and is not in the mailboxes of {account} at server {server}")
                        });
                    }
                    To::Account(at, account) if at == server => {
                        let account = names::account(account);
                        let handed_over = mail.settled.get(to) == Some(&true);
                        let holds = !handed_over || is_there(account, mark);
                        if !holds {
                            wrong.lost(mark, to);
                        }
                        wrong.expect(holds, || {
                            format!("{mark} was handed over and is not in the mailboxes of {account} at server {server}")
                        });
                    }
                    _ if mail.server == server => {
                        let waits = queued.contains(&(mark.as_str(), Some(*to)));
                        let known = waits || mail.settled.contains_key(to);
                        if tally.taken > 0 && !known {
                            wrong.lost(mark, to);
                        }
                        wrong.expect(tally.taken == 0 || known, || {
                            format!("{mark} was acknowledged for {to:?}; server {server} has it neither in its queue nor done")
                        });
                    }
                    _ => {}
                }
            }
        }
        self.compare_notices(server, survey, wrong);
    }

    /// Whoever's message was given up was told so, in the same moment: there is a notice of failure for each operation that gave
    /// recipients up, and no other one. A notice of a delay is none.
    fn compare_notices(&self, server: usize, survey: &Survey, wrong: &mut Wrong) {
        let mut given_up: BTreeMap<&str, BTreeSet<(u64, Utc)>> = BTreeMap::new();
        for left in survey.retired.iter().filter(|left| !left.taken) {
            let operations = given_up.entry(mark_of(&left.from)).or_default();
            operations.insert(left.operation);
        }
        let mut told: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for notice in survey.messages.iter().filter(|found| is_failure(found)) {
            *told
                .entry((&notice.account, mark_of(&notice.to)))
                .or_default() += 1;
        }
        for (mark, mail) in self.mails.iter().filter(|(_, mail)| mail.server == server) {
            let Some(sender) = &mail.sender else {
                continue;
            };
            // What is done is forgotten after days, and its notice stays.
            let mut least = given_up.get(mark.as_str()).map_or(0, BTreeSet::len);
            let known = given_up.remove(mark.as_str()).unwrap_or_default();
            let most = mail.given_up.iter().map(|(operation, _)| *operation);
            let mut most = known.into_iter().chain(most).collect::<BTreeSet<_>>().len();
            if mail.notify == Notify::Never {
                (least, most) = (0, 0);
            }
            let times = told.get(&(sender.as_str(), mark.as_str())).copied();
            let times = times.unwrap_or(0);
            wrong.expect((least..=most).contains(&times), || {
                format!("server {server} gave {mark} up {least} to {most} times and told {sender} so {times} times")
            });
        }
    }

    /// The notices of failure in a store name each recipient that was given up as often as that was done, and nobody else; those of
    /// success that somebody asked for do so with those whom other people's servers took, but for those of whom the server noted, in the
    /// same operation, that the notice could not be written; and who wants to hear of no delay does not.
    /// They are given with those whom they name.
    pub(crate) fn compare_told(
        &self,
        server: usize,
        survey: &Survey,
        notices: &[(&Found, BTreeSet<String>)],
        wrong: &mut Wrong,
    ) {
        for (mark, mail) in self.mails.iter().filter(|(_, mail)| mail.server == server) {
            let Some(sender) = &mail.sender else {
                continue;
            };
            let own: Vec<_> = notices
                .iter()
                .filter(|(notice, _)| notice.account == *sender && mark_of(&notice.to) == mark)
                .collect();
            let delays = own
                .iter()
                .filter(|(notice, _)| notice.subject.starts_with(DELAYED));
            let delays = delays.count();
            wrong.expect(delays == 0 || mail.notify == Notify::Usual, || {
                format!("server {server} told {sender} {delays} times of a delay of {mark}, who did not want to know")
            });
            for (subject, taken, kept) in [
                (FAILED, false, &mail.given_up),
                (HANDED_ON, true, &mail.handed_on),
            ] {
                let mut told: BTreeMap<&str, usize> = BTreeMap::new();
                let of_kind = own
                    .iter()
                    .filter(|(notice, _)| notice.subject.starts_with(subject));
                for name in of_kind.flat_map(|(_, names)| names) {
                    *told.entry(name).or_default() += 1;
                }
                let is_wanted = match mail.notify {
                    Notify::Never => false,
                    Notify::Usual | Notify::Failure => !taken,
                    Notify::Success => true,
                };
                let is_about = |left: &&Left| {
                    left.taken == taken
                        && mark_of(&left.from) == mark
                        && (!taken
                            || !left.is_untold
                                && matches!(names::recipient(&left.to), Some(To::Peer(..))))
                };
                let lefts = survey.retired.iter().filter(is_about);
                let known: BTreeSet<_> = lefts
                    .map(|left| (left.operation, left.to.clone()))
                    .collect();
                let count = |of: &BTreeSet<((u64, Utc), String)>, name: &str| match is_wanted {
                    true => of.iter().filter(|(_, to)| to == name).count(),
                    false => 0,
                };
                let all: BTreeSet<_> = known.union(kept).cloned().collect();
                let names = all.iter().map(|(_, to)| to.as_str());
                for name in names.chain(told.keys().copied()).collect::<BTreeSet<_>>() {
                    let times = told.get(name).copied().unwrap_or(0);
                    let (least, most) = (count(&known, name), count(&all, name));
                    wrong.expect((least..=most).contains(&times), || {
                        format!("server {server} is done with {mark} for {name}, taken: {taken}, {least} to {most} times; {times} notices say so")
                    });
                }
            }
        }
    }

    /// Whether a message may have been given up for its age in this world.
    fn is_too_old(&self, mail: &Mail, to: &To) -> bool {
        self.has_jumps || self.breaks_for_days && mail.of_age.contains(to)
    }

    /// At the end nothing is open.
    pub(crate) fn compare_end(&self, wrong: &mut Wrong) {
        for (mark, mail) in &self.mails {
            for (to, tally) in &mail.to {
                let (at, is_somebody) = match to {
                    To::Account(at, _) => (*at, true),
                    To::Nobody(at) => (*at, false),
                    // Theirs is another comparison.
                    To::Peer(..) => continue,
                };
                if at == mail.server || tally.taken == 0 {
                    continue;
                }
                let settled = mail.settled.get(to).copied();
                let too_old = settled == Some(false) && self.is_too_old(mail, to);
                if settled.is_none() {
                    wrong.lost(mark, to);
                }
                wrong.expect(settled == Some(is_somebody) || too_old, || {
                    format!("{mark} was acknowledged for {to:?}; what became of it: {settled:?}")
                });
            }
        }
    }
}

/// Whether a message in a mailbox is a notice that something was given up.
fn is_failure(found: &Found) -> bool {
    found.subject.starts_with(FAILED)
}

/// Whether a message in a mailbox is a notice of any kind.
pub(crate) fn is_notice(found: &Found) -> bool {
    let subject = found.subject.as_str();
    [FAILED, HANDED_ON, DELAYED]
        .iter()
        .any(|kind| subject.starts_with(kind))
}

/// The mark in a reverse path: every message has its own, as a subaddress.
pub(crate) fn mark_of(path: &str) -> &str {
    let local = path.split_once('@').map_or(path, |(local, _)| local);
    local.split_once('+').map_or(local, |(_, mark)| mark)
}
