//! From a plan that fails to a smaller one that fails too.

use super::{ClientPlan, Deed, Does, How, PeerManner, Plan, Send};
use crate::Knobs;

/// Makes a failing plan smaller as long as it fails, trying at most `tries` plans; the smallest found.
pub fn shrink(plan: &Plan, tries: u32, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
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
    (send.how != How::Plain).then(|| Send {
        how: How::Plain,
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
