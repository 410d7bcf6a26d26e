//! How the recipients of a message are put into entries of the queue.

use mox_address::Path;
use mox_machine::{Utc, mutant};
use mox_mailbox::{Group, QueueRecipient};
use mox_smtp::wire::RcptDsn;
use std::collections::BTreeMap;

use crate::a_labels::in_a_labels;

/// Recipients of an entry of the queue about whom the sender wants to be told something: as many fit, however long it is.
const TOLD_AT_ONCE: usize =
    mox_mailbox::RECIPIENTS_OCTETS_MAX / (mox_mailbox::ADDRESS_MAX + mox_mailbox::DSN_MAX + 4);

/// One entry of the queue for each domain, by whichever of its names, so that its recipients go in one transaction.
pub(super) fn by_domain(
    recipients: &[&Path],
    dsn: &BTreeMap<Path, RcptDsn>,
    now: Utc,
    release: Option<Utc>,
) -> Vec<Group> {
    let mut domains: BTreeMap<String, Vec<QueueRecipient>> = BTreeMap::new();
    for to in recipients {
        let wishes = dsn.get(to).map(ToString::to_string);
        domains
            .entry(in_a_labels(&to.host.to_string()))
            .or_default()
            .push(QueueRecipient {
                address: to.to_string(),
                dsn: wishes.unwrap_or_default(),
                last: None,
            });
    }
    let chunks = domains.values().flat_map(|to| {
        // What is wanted of them makes recipients long.
        let is_usual = to.iter().all(|to| to.dsn.is_empty());
        to.chunks(if is_usual {
            mox_mailbox::RECIPIENTS_MAX
        } else {
            TOLD_AT_ONCE
        })
    });
    chunks
        .map(|to| Group {
            recipients: match to {
                [first @ .., _] if mutant!(GroupLosesRecipient) && !first.is_empty() => {
                    first.to_vec()
                }
                all => all.to_vec(),
            },
            next_attempt: release.map_or(now, |at| at.max(now)),
            hold: false,
            release,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_domain_are_one_entry_of_the_queue() {
        let to = [
            "ann@bücher.example",
            "al@a.example",
            "bob@xn--bcher-kva.example",
            "carol@BÜCHER.example",
        ];
        let to: Vec<Path> = to.iter().flat_map(|to| Path::parse(to, true)).collect();
        let to: Vec<&Path> = to.iter().collect();
        let groups = by_domain(&to, &BTreeMap::new(), Utc::default(), None);
        let groups = groups.iter().map(|group| {
            let to = group.recipients.iter().map(|to| to.address.as_str());
            to.collect::<Vec<_>>()
        });
        let groups: Vec<Vec<&str>> = groups.collect();
        let [one, other] = &groups[..] else {
            panic!("{groups:?}")
        };
        // Addresses stay as they were written.
        assert_eq!(one, &["al@a.example"]);
        let locals = other.iter().filter_map(|to| to.split_once('@'));
        let locals: Vec<&str> = locals.map(|(local, _)| local).collect();
        assert_eq!(locals, ["ann", "bob", "carol"]);
        assert_eq!(other.first(), Some(&"ann@bücher.example"));
    }
}
