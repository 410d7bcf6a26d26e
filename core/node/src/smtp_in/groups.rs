//! How the recipients of a message are put into entries of the queue.

use mox_address::Path;
use mox_machine::{Utc, mutant};
use mox_mailbox::{Filed, Group, QueueRecipient};
use mox_smtp::wire::RcptDsn;
use std::collections::BTreeMap;

use crate::a_labels::in_a_labels;

/// One entry of the queue for each domain, by whichever of its names, so that its recipients go in one transaction; more where they are
/// too many or too long for one. Beside a recipient stands what was decided for its mailbox here.
pub(super) fn by_domain(
    recipients: &[(&Path, Option<Filed>)],
    dsn: &BTreeMap<Path, RcptDsn>,
    now: Utc,
    release: Option<Utc>,
) -> Vec<Group> {
    let mut domains: BTreeMap<String, Vec<QueueRecipient>> = BTreeMap::new();
    for (to, filed) in recipients {
        let wishes = dsn.get(*to).map(ToString::to_string);
        domains
            .entry(in_a_labels(&to.host.to_string()))
            .or_default()
            .push(QueueRecipient {
                address: to.to_string(),
                dsn: wishes.unwrap_or_default(),
                last: None,
                filed: filed.clone(),
            });
    }
    let chunks = domains.values().flat_map(|to| that_fit(to));
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

/// Neighbours that fit into an entry together.
fn that_fit(recipients: &[QueueRecipient]) -> Vec<&[QueueRecipient]> {
    let (mut chunks, mut rest) = (Vec::new(), recipients);
    while !rest.is_empty() {
        let mut sum = 0;
        let fit = rest.iter().take(mox_mailbox::RECIPIENTS_MAX);
        let fit = fit.take_while(|to| {
            sum += to.octets();
            sum <= mox_mailbox::RECIPIENTS_OCTETS_MAX
        });
        let (chunk, left) = rest.split_at(fit.count().max(1));
        chunks.push(chunk);
        rest = left;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn as_many_recipients_as_fit_share_an_entry_in_their_order() {
        let paths: Vec<Path> = (0..150)
            .map(|n| Path::parse(&format!("r{n}@here.example"), false).unwrap())
            .collect();
        let of = |octets: Option<usize>| -> Vec<(&Path, Option<Filed>)> {
            let filed = octets.map(|octets| Filed {
                account: mox_mailbox::AccountId(1),
                seen: false,
                mailbox: "Lists".into(),
                fields: String::new(),
                origin: Bytes::from(vec![7; octets]),
            });
            paths.iter().map(|to| (to, filed.clone())).collect()
        };
        for (octets, expected) in [
            (None, vec![64, 64, 22]),
            (Some(100), vec![64, 64, 22]),
            // 32 KiB by 1,000 and some.
            (Some(1_000), vec![31, 31, 31, 31, 26]),
            (Some(8_000), [vec![4; 37], vec![2]].concat()),
        ] {
            let groups = by_domain(&of(octets), &BTreeMap::new(), Utc(0), None);
            let sizes: Vec<usize> = groups.iter().map(|g| g.recipients.len()).collect();
            assert_eq!(sizes, expected, "{octets:?}");
            let all = groups.iter().flat_map(|group| &group.recipients);
            assert!(
                all.map(|to| &to.address).eq(paths
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .iter())
            );
        }
    }

    #[test]
    fn both_names_of_a_domain_are_one_entry_of_the_queue() {
        let to = [
            "ann@bücher.example",
            "al@a.example",
            "bob@xn--bcher-kva.example",
            "carol@BÜCHER.example",
        ];
        let to: Vec<Path> = to.iter().flat_map(|to| Path::parse(to, true)).collect();
        let to: Vec<(&Path, Option<Filed>)> = to.iter().map(|to| (to, None)).collect();
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
