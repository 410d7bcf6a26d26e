//! From a plan that fails to a smaller one that fails too.

use super::{ClientPlan, Deed, Does, How, Notify, PeerManner, Plan, Send};
use crate::Knobs;

/// Words that tell one finding of an oracle from others.
const WORDS: usize = 5;

/// Makes a failing plan smaller as long as it fails in the same way, trying at most `tries` plans; the smallest found.
///
/// `wrong` is what was found wrong in it, and `run` tells that of others. The same is what has the first finding's words: a smaller
/// plan with another failure only would be about something else.
pub fn shrink(
    plan: &Plan,
    tries: u32,
    wrong: &[String],
    mut run: impl FnMut(&Plan) -> Vec<String>,
) -> Plan {
    let Some(wanted) = wrong.first().map(|first| kind(first)) else {
        return plan.clone();
    };
    let mut fails = |plan: &Plan| run(plan).iter().any(|found| kind(found) == wanted);
    let (mut best, mut left) = (plan.clone(), tries);
    'smaller: loop {
        for candidate in candidates(&best) {
            if left == 0 {
                return best;
            }
            left -= 1;
            if fails(&candidate) {
                best = candidate;
                continue 'smaller;
            }
        }
        return best;
    }
}

/// Which oracle found it: its first words, without marks, numbers and names, which are other ones in a smaller world.
fn kind(finding: &str) -> Vec<&str> {
    let words = finding
        .split(' ')
        .map(|word| word.trim_matches([',', ':', ';']));
    let is_plain = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
    words.filter(is_plain).take(WORDS).collect()
}

/// Smaller plans, the boldest first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut found = Vec::new();
    let mut fewer = plan.clone();
    fewer.servers.pop();
    if fewer.check().is_ok() {
        found.push(fewer);
    }
    without(&plan.clients, |clients| {
        found.push(Plan {
            clients,
            ..plan.clone()
        });
    });
    without(&plan.crashes, |crashes| {
        found.push(Plan {
            crashes,
            ..plan.clone()
        });
    });
    surroundings(plan, &mut found);
    let knobs = Knobs::fault_free();
    if plan.knobs != knobs {
        found.push(Plan {
            knobs,
            ..plan.clone()
        });
    }
    for (n, client) in plan.clients.iter().enumerate() {
        smaller_clients(client, &mut |client| {
            let mut smaller = plan.clone();
            if let Some(place) = smaller.clients.get_mut(n) {
                *place = client;
            }
            found.push(smaller);
        });
    }
    found
}

/// Plans with less around the servers and clients.
fn surroundings(plan: &Plan, found: &mut Vec<Plan>) {
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if smaller != *plan && smaller.check().is_ok() {
            found.push(smaller);
        }
    };
    with(&|plan| drop(plan.peers.pop()));
    with(&|plan| plan.names = None);
    with(&|plan| plan.knobs.site_one_in = 0);
    with(&|plan| plan.servers.iter_mut().for_each(|s| s.tls = false));
    for n in 0..plan.peers.len() {
        with(&|plan| {
            if let Some(peer) = plan.peers.get_mut(n) {
                peer.manner = PeerManner::Plain;
                peer.tls = false;
            }
        });
    }
    without(&plan.cuts, |cuts| with(&|plan| plan.cuts = cuts.clone()));
    without(&plan.disks, |disks| {
        with(&|plan| plan.disks = disks.clone());
    });
    without(&plan.jumps, |jumps| {
        with(&|plan| plan.jumps = jumps.clone());
    });
}

/// The list without either half, and without each of its items.
fn without<T: Clone>(list: &[T], mut found: impl FnMut(Vec<T>)) {
    let (first, second) = list.split_at(list.len() / 2);
    if !first.is_empty() {
        found(first.to_vec());
        found(second.to_vec());
    }
    if list.len() == 2 {
        return;
    }
    for gone in 0..list.len() {
        let rest = list.iter().enumerate().filter(|(n, _)| *n != gone);
        found(rest.map(|(_, item)| item.clone()).collect());
    }
}

fn smaller_clients(client: &ClientPlan, found: &mut dyn FnMut(ClientPlan)) {
    let mut with = |does| {
        found(ClientPlan {
            does,
            ..client.clone()
        });
    };
    match &client.does {
        Does::Relay(sends) => smaller_sends(sends, |sends| with(Does::Relay(sends))),
        Does::Submit(own, sends) => smaller_sends(sends, |sends| with(Does::Submit(*own, sends))),
        Does::Read(own, deeds) => {
            without(deeds, |deeds| with(Does::Read(*own, deeds)));
            each(deeds, smaller_deed, |deeds| with(Does::Read(*own, deeds)));
        }
        Does::Intrude(visits) => without(visits, |visits| with(Does::Intrude(visits))),
    }
}

fn smaller_sends(sends: &[Send], mut found: impl FnMut(Vec<Send>)) {
    without(sends, &mut found);
    each(sends, fewer_lines, &mut found);
    each(sends, fewer_recipients, &mut found);
    each(sends, plainer, &mut found);
}

/// The list with each of its items made smaller.
fn each<T: Clone>(list: &[T], smaller: impl Fn(&T) -> Option<T>, mut found: impl FnMut(Vec<T>)) {
    for (n, item) in list.iter().enumerate() {
        if let Some(item) = smaller(item) {
            let mut list = list.to_vec();
            if let Some(place) = list.get_mut(n) {
                *place = item;
            }
            found(list);
        }
    }
}

fn fewer_lines(send: &Send) -> Option<Send> {
    (send.lines > 0).then(|| Send {
        lines: send.lines / 2,
        ..send.clone()
    })
}

fn fewer_recipients(send: &Send) -> Option<Send> {
    let (_, fewer) = send.to.split_last()?;
    (!fewer.is_empty()).then(|| Send {
        to: fewer.to_vec(),
        ..send.clone()
    })
}

fn plainer(send: &Send) -> Option<Send> {
    (send.how != How::Plain || send.notify != Notify::Usual).then(|| Send {
        how: How::Plain,
        notify: Notify::Usual,
        ..send.clone()
    })
}

fn smaller_deed(deed: &Deed) -> Option<Deed> {
    match *deed {
        Deed::Append(mailbox, lines) if lines > 0 => Some(Deed::Append(mailbox, lines / 2)),
        Deed::Wait(ms) if ms > 1 => Some(Deed::Wait(ms / 2)),
        Deed::Idle(ms) if ms > 1 => Some(Deed::Idle(ms / 2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One thing goes wrong wherever a server crashes while somebody sends, and another wherever there are clients at all.
    fn planted(plan: &Plan) -> Vec<String> {
        let mark = plan.clients.len();
        let mut wrong = Vec::new();
        if plan.crashes.len() >= 2 && plan.clients.len() >= 2 {
            wrong.push(format!(
                "m{mark}x1e was acknowledged and is not in the mailboxes of ann at server 0"
            ));
        }
        if !plan.clients.is_empty() {
            wrong.push(format!("{mark} clients are not done"));
        }
        wrong
    }

    #[test]
    fn a_smaller_plan_fails_as_the_large_one_did() {
        let is_large = |plan: &Plan| plan.crashes.len() >= 3 && plan.clients.len() >= 3;
        let plan = (0..1_000).map(Plan::of_seed).find(is_large);
        let plan = plan.expect("plans have crashes and clients");
        let wrong = planted(&plan);
        let small = shrink(&plan, 2_000, &wrong, planted);
        assert_eq!((small.crashes.len(), small.clients.len()), (2, 2));
        assert_eq!(small.knobs, Knobs::fault_free());
        // What is wrong second is not what it is about, and what is not wrong is not made smaller.
        let other = shrink(&plan, 2_000, &wrong[1..], planted);
        assert_eq!((other.crashes.len(), other.clients.len()), (0, 1));
        assert_eq!(shrink(&plan, 2_000, &[], planted), plan);
        // It stops where it is told to.
        assert_eq!(shrink(&plan, 0, &wrong, planted), plan);
    }

    #[test]
    fn findings_of_one_oracle_are_told_from_those_of_others() {
        let lost = "m3x0e was acknowledged and is not in the mailboxes of ann at server 0";
        let again = "w1x2e was acknowledged and is not in the mailboxes of bob at server 1";
        assert_eq!(kind(lost), kind(again));
        for other in [
            "m3x0e was acknowledged for [Outside(1)]; server 0 has it neither in its queue nor done",
            "m3x0e is in the mailboxes of ann at server 0, whom it was not for",
            "server 0 is not up",
        ] {
            assert_ne!(kind(lost), kind(other), "{other}");
        }
    }
}
