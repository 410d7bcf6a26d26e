//! What breaks in a world, and when.

use mox_machine::{Rng, Seed};

use super::{number, one_of};
use crate::plan::{Cut, DiskTrouble, Ends, Jump, Plan, Wrong};
use crate::{DnsManner, Knobs};

/// The name server of one world in so many errs.
const ERRING_NAMES_ONE_IN: u64 = 3;

/// How hard the world is: in half of them some faults are told to nobody.
pub(super) fn knobs(root: &Seed) -> Knobs {
    let mut rng = root.child("hardness", 0).rng();
    let knobs = match rng.one_in(2) {
        true => Knobs::hostile(root),
        false => Knobs::drawn(root),
    };
    Knobs {
        site_one_in: one_of(&mut rng, &[0, 0, 20, 100, 500]),
        // Jumps are in the plan, one by one.
        jump_one_in: 0,
        ..knobs
    }
}

/// What breaks at a time of its own.
pub(super) fn add(plan: &mut Plan, root: &Seed) {
    let mut rng = root.child("troubles", 0).rng();
    if rng.one_in(ERRING_NAMES_ONE_IN) {
        plan.names = Some(DnsManner::drawn(root));
    }
    if rng.one_in(3) {
        plan.cuts = (0..1 + rng.below(4)).map(|_| cut(&mut rng, plan)).collect();
    }
    if rng.one_in(2) {
        let disks = (0..1 + rng.below(4)).map(|_| disk(&mut rng, plan));
        plan.disks = disks.collect();
    }
    if rng.one_in(5) {
        plan.jumps = (0..1 + rng.below(4))
            .map(|_| jump(&mut rng, plan))
            .collect();
    }
}

fn cut(rng: &mut Rng, plan: &Plan) -> Cut {
    let server = |rng: &mut Rng| Ends::Server(number(rng, plan.servers.len()));
    let from = server(rng);
    let to = match rng.below(4) {
        0 if !plan.peers.is_empty() => Ends::Peer(number(rng, plan.peers.len())),
        1 if !plan.clients.is_empty() => Ends::Client(number(rng, plan.clients.len())),
        2 => Ends::Names,
        _ => server(rng),
    };
    let (from, to) = if rng.one_in(2) {
        (from, to)
    } else {
        (to, from)
    };
    Cut {
        from,
        to,
        both: rng.one_in(2),
        at_ms: rng.below(plan.heal_ms),
        for_ms: one_of(rng, &[500, 10_000, 60_000]),
    }
}

pub(super) fn disk(rng: &mut Rng, plan: &Plan) -> DiskTrouble {
    let one_in = one_of(rng, &[1, 3, 20]);
    DiskTrouble {
        server: number(rng, plan.servers.len()),
        at_ms: rng.below(plan.heal_ms),
        for_ms: one_of(rng, &[100, 3_000, 20_000]),
        what: match rng.below(7) {
            0 => Wrong::Full(one_of(rng, &[0, 1_000, 30_000])),
            1 => Wrong::Reads(one_in),
            2 => Wrong::Writes(one_in),
            3 => Wrong::Syncs(one_in),
            4 => Wrong::Rows(one_in),
            5 => Wrong::Names(one_in),
            _ => Wrong::RowSyncs(one_in),
        },
    }
}

fn jump(rng: &mut Rng, plan: &Plan) -> Jump {
    Jump {
        at_ms: rng.below(plan.heal_ms),
        seconds: one_of(rng, &[1, 90, 3_600, 13 * 3_600, 3 * 86_400]),
        back: rng.one_in(2),
    }
}
