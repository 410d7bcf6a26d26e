//! Oracles 2 and 3: nobody has a message more often than once for each acknowledgement, lost reply and COPY; nobody has
//! one that was not for them, or that was never sent to the end; and each is what was sent, octet by octet.

use std::collections::BTreeMap;

use super::{Bench, Mail};
use crate::names;
use crate::plan::To;
use crate::survey::Survey;

impl Bench {
    /// Counts what is in the mailboxes of a server at the end.
    pub(crate) fn count_copies(&mut self, server: usize, survey: &Survey) {
        let mut counts = BTreeMap::<(&str, &str), u32>::new();
        for found in &survey.messages {
            let place = (found.subject.as_str(), found.account.as_str());
            *counts.entry(place).or_default() += 1;
        }
        for ((mark, account), count) in counts {
            let Some(mail) = self.ledger.mails.get(mark) else {
                continue;
            };
            let Some(to) = recipient_of(mail, server, account) else {
                let what = format!(
                    "{mark} is in the mailboxes of {account} at server {server}, whom it was not for"
                );
                self.wrong.found(what);
                continue;
            };
            let tally = mail.to.get(&to).copied().unwrap_or_default();
            let offered = tally.taken + tally.ambiguous;
            let (lost, forgotten) = match mail.server != server && offered > 0 {
                true => self.wires.lost_replies(mark, server),
                false => (0, 0),
            };
            let mut unsure = self.wires.unsure_replies(mark, server);
            if mail.server != server {
                unsure += self.wires.unsure_replies(mark, mail.server);
            }
            let most = offered + lost + forgotten + unsure;
            let copied = self.boxes.copies(server, account, mark);
            self.wrong.expect(count <= most + copied, || {
                format!("{mark} is {count} times in the mailboxes of {account} at server {server}; {most} times it can have been delivered, {copied} times it was copied there")
            });
            let delivered = count.saturating_sub(copied);
            self.copies.count(
                (delivered, offered),
                [tally.ambiguous + lost, forgotten, unsure],
            );
        }
    }
}

/// Copies beyond one, by what accounts for them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Copies {
    /// Final dots whose reply the sender did not hear.
    pub(crate) unheard: u64,
    /// Final dots whose reply it heard, and forgot in a crash.
    pub(crate) forgotten: u64,
    /// Final dots that were answered by 4xx while the store failed: nobody can know what it kept.
    pub(crate) unsure: u64,
    /// Nothing.
    pub(crate) unexplained: u64,
}

impl Copies {
    /// Counts the copies of one message for one recipient.
    pub(super) fn count(&mut self, (copies, offered): (u32, u32), reasons: [u32; 3]) {
        let mut beyond = copies.saturating_sub(offered.min(1));
        let [unheard, forgotten, unsure] = reasons.map(|most| {
            let explained = beyond.min(most);
            beyond -= explained;
            u64::from(explained)
        });
        self.unheard += unheard;
        self.forgotten += forgotten;
        self.unsure += unsure;
        self.unexplained += u64::from(beyond);
    }
}

/// As which recipient somebody has a message.
fn recipient_of(mail: &Mail, server: usize, account: &str) -> Option<To> {
    let is_it = |to: &&To| match **to {
        To::Account(at, number) => at == server && names::account(number) == account,
        To::Nobody(_) | To::Peer(..) => false,
    };
    mail.to.keys().find(is_it).copied()
}

/// Whether a stored body is the text that was sent: the same, or with trace fields of servers on the way before it.
pub(crate) fn is_body_of(mail: &Mail, server: usize, body: &[u8]) -> bool {
    let sent = mail.text.as_bytes();
    match mail.server == server {
        true => body == sent,
        false => body.ends_with(sent),
    }
}
