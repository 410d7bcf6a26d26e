//! Oracles 1, 2 and 3 at other people's servers: who was acknowledged got the message, or its sender was told; nobody got it
//! more often than lost replies account for; and what came is what was sent.

use std::collections::BTreeMap;

use super::{Bench, Ledger, mark_of};
use crate::names;
use crate::peers::{self, Stage};
use crate::plan::{PeerManner, PeerPlan, To};
use crate::survey::Survey;

/// A message is tried for five days. The last pause is of 16 hours, so that whoever was bad for so long may have been bad
/// each time but the last.
const DAYS_S: u64 = 4 * 86_400;

/// Other people's servers, and what they noted.
#[derive(Default)]
pub(crate) struct Peers {
    hosts: Vec<(PeerPlan, peers::Ledger)>,
    /// Final dots whose reply a server of ours read, and forgot in a crash, by message and recipient.
    forgotten: BTreeMap<(String, To), u32>,
}

/// What the servers noted about one message for one recipient.
#[derive(Debug, Clone, Copy, Default)]
struct Noted {
    copies: u32,
    /// Of those the ones whose reply was not heard, or may not have been believed.
    excused: u32,
}

impl Noted {
    const fn heard(self) -> u32 {
        self.copies - self.excused
    }
}

impl Peers {
    /// There is one more.
    pub(crate) fn enter(&mut self, plan: &PeerPlan, ledger: peers::Ledger) {
        self.hosts.push((plan.clone(), ledger));
    }

    /// There are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    fn noted(&self) -> BTreeMap<(String, To), Noted> {
        let mut all = BTreeMap::<(String, To), Noted>::new();
        for (_, ledger) in &self.hosts {
            ledger.each(|delivered| {
                let paths = delivered.to.iter().filter_map(|to| names::recipient(to));
                for to in paths.filter(|_| delivered.kept) {
                    let mark = mark_of(&delivered.from).to_owned();
                    let noted = all.entry((mark, to)).or_default();
                    noted.copies += 1;
                    noted.excused += u32::from(delivered.is_ambiguous());
                }
            });
        }
        all
    }

    /// After a crash of a server: what is still in its queue, although a reply to its final dot was read, will be sent
    /// again, and must be.
    pub(super) fn forget(&mut self, ledger: &Ledger, server: usize, survey: &Survey) {
        if self.hosts.is_empty() || survey.queued.is_empty() {
            return;
        }
        let noted = self.noted();
        for (from, to) in &survey.queued {
            let mark = mark_of(from);
            let is_own = ledger.mails.get(mark).is_some_and(|m| m.server == server);
            let Some(to @ To::Peer(..)) = names::recipient(to).filter(|_| is_own) else {
                continue;
            };
            let place = (mark.to_owned(), to);
            let heard = noted.get(&place).map_or(0, |noted| noted.heard());
            let known = self.forgotten.entry(place).or_default();
            *known = heard.max(*known);
        }
    }
}

impl Bench {
    /// Compares, at the end, what the servers noted with what was sent.
    pub(crate) fn compare_peers(&mut self) {
        self.compare_bodies();
        let noted = self.peers.noted();
        for (mark, mail) in &self.ledger.mails {
            for (to, tally) in &mail.to {
                let To::Peer(peer, number) = *to else {
                    continue;
                };
                let Some((plan, _)) = self.peers.hosts.get(peer) else {
                    continue;
                };
                let place = (mark.clone(), *to);
                let Noted { copies, excused } = noted.get(&place).copied().unwrap_or_default();
                let forgotten = self.peers.forgotten.get(&place).copied().unwrap_or(0);
                let offered = tally.taken + tally.ambiguous;
                let unsure = self.wires.unsure_replies(mark, mail.server);
                let most = offered + excused + forgotten + unsure;
                self.copies.count(
                    (copies, offered),
                    [tally.ambiguous + excused, forgotten, unsure],
                );
                self.wrong.expect(copies <= most, || {
                    format!("{mark} is {copies} times at {to:?}; {most} times it can have been delivered")
                });
                if tally.taken == 0 {
                    continue;
                }
                let settled = mail.settled.get(to).copied();
                let fits = match settled {
                    Some(true) => copies > 0 || may_take_for_nothing(plan),
                    Some(false) if mail.of_age.contains(to) => {
                        is_bad_for_days(plan)
                            || self.ledger.breaks_for_days
                            || self.ledger.has_jumps
                    }
                    Some(false) => may_refuse(plan, number) || self.ledger.has_jumps,
                    None => false,
                };
                if !fits && settled != Some(false) {
                    self.wrong.lost(mark, to);
                }
                self.wrong.expect(fits, || {
                    format!("{mark} was acknowledged for {to:?}, which is {:?}; what became of it: {settled:?}, {copies} copies", plan.manner)
                });
            }
        }
    }

    fn compare_bodies(&mut self) {
        let (mails, wrong) = (&self.ledger.mails, &mut self.wrong);
        for (_, ledger) in &self.peers.hosts {
            ledger.each(|delivered| {
                let mark = mark_of(&delivered.from);
                let mail = mails.get(mark);
                let is_it = mail.is_some_and(|m| delivered.message.ends_with(m.text.as_bytes()));
                wrong.expect(is_it || !delivered.kept, || {
                    format!(
                        "a peer was sent something from {:?} that is not {mark}",
                        delivered.from
                    )
                });
                for to in delivered.to.iter().filter_map(|to| names::recipient(to)) {
                    wrong.expect(mail.is_some_and(|m| m.to.contains_key(&to)), || {
                        format!("{mark} was sent to {to:?}, whom it was not for")
                    });
                }
            });
        }
    }
}

/// Whether a server may say that it took a message before it has it: 250 right behind its 354. The network may bring that to
/// us when the final dot is on its way, and then it is its answer.
fn may_take_for_nothing(plan: &PeerPlan) -> bool {
    matches!(&plan.manner, PeerManner::Smuggler(Stage::Data, extra) if extra.starts_with('2'))
}

/// Whether a server is of no use for so long that messages come of age.
const fn is_bad_for_days(plan: &PeerPlan) -> bool {
    plan.until_s >= DAYS_S
}

/// Whether a server may turn a mailbox away for good, or seem to.
const fn may_refuse(plan: &PeerPlan, number: usize) -> bool {
    match plan.manner {
        PeerManner::Picky => number == 0,
        PeerManner::Smuggler(..) | PeerManner::Talker(..) | PeerManner::Confused(..) => true,
        _ => false,
    }
}
