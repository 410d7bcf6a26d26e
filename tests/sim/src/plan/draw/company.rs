//! Other people's servers and uninvited clients of a world.

use mox_machine::{Rng, Seed};

use super::{chosen, number, one_of};
use crate::peers::{Babble, Parting, Stage};
use crate::plan::{Flaws, PEERS_MAX, PeerManner, PeerPlan, Rude, Trick};

/// What other servers say too much or wrongly.
const EXTRA: [&str; 5] = [
    "250 2.0.0 ok",
    "354 go on",
    "220 hello",
    "550 5.0.0 no",
    "421 bye",
];
const NONSENSE: [&str; 5] = [
    "354 what\r\n",
    "199 what\r\n",
    "2x0 what\r\n",
    "\r\n",
    "250-one\r\n354 two\r\n",
];
const FLAWS: [Flaws; 8] = [
    Flaws::Refuses,
    Flaws::Ignores,
    Flaws::Garbage,
    Flaws::Injects,
    Flaws::Hangs,
    Flaws::Closes,
    Flaws::Leaves,
    Flaws::Presents,
];
const HOUR_S: u64 = 3_600;

/// Half of the worlds have other people's servers.
pub(super) fn peers(root: &Seed, heal_ms: u64) -> Vec<PeerPlan> {
    let mut rng = root.child("peers", 0).rng();
    let count = match rng.one_in(2) {
        true => 0,
        false => 1 + rng.below(PEERS_MAX as u64),
    };
    let mut peer = |_| PeerPlan {
        until_s: one_of(&mut rng, &[heal_ms / 1_000, HOUR_S, 6 * HOUR_S]),
        tls: rng.one_in(2),
        manner: manner(&mut rng),
    };
    (0..count).map(&mut peer).collect()
}

pub(super) fn manner(rng: &mut Rng) -> PeerManner {
    let stage = Stage::DELIVERY.get(number(rng, Stage::DELIVERY.len()));
    let stage = stage.copied().unwrap_or(Stage::Mail);
    let text = |rng: &mut Rng, from: &[&str]| {
        let chosen = from.get(number(rng, from.len()));
        chosen.copied().unwrap_or_default().to_owned()
    };
    match chosen(rng, &[2, 2, 1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1]) {
        1 => PeerManner::Greylister(one_of(rng, &[60, 300, 900])),
        2 => PeerManner::Tarpit(one_of(rng, &[100, 1_000, 30_000])),
        3 => PeerManner::Busy(stage),
        4 => PeerManner::Dropper {
            keeps: rng.one_in(2),
            resets: rng.one_in(2),
            times: 1 + rng.below(3) as u32,
        },
        5 => {
            let flaw = FLAWS.get(number(rng, FLAWS.len())).copied();
            PeerManner::BrokenTls(flaw.unwrap_or(Flaws::Refuses))
        }
        6 => PeerManner::Smuggler(stage, text(rng, &EXTRA)),
        7 => PeerManner::Hanger(stage, rng.one_in(2)),
        8 => {
            let how = match rng.one_in(2) {
                true => Babble::Line(3_000),
                false => Babble::Lines(300),
            };
            PeerManner::Talker(stage, how)
        }
        9 => PeerManner::Confused(stage, text(rng, &NONSENSE)),
        10 => PeerManner::Leaver(stage, 1 + rng.below(3) as u32),
        11 => PeerManner::Picky,
        12 => PeerManner::Silent,
        _ => PeerManner::Plain,
    }
}

/// One visit of somebody who is not invited.
pub(super) fn rude(rng: &mut Rng) -> Rude {
    let port = [25, 587, 143].get(number(rng, 3)).copied().unwrap_or(25);
    let trick = match rng.below(6) {
        0 => Trick::Flood(1 + rng.below(300) as u32),
        1 => Trick::Drip(one_of(rng, &[10, 1_000, 20_000])),
        2 => Trick::Deaf(1 + rng.below(2_000) as u32, rng.below(400_000)),
        3 => {
            let partings = [Parting::HalfClose, Parting::Drop, Parting::Reset];
            let parting = partings.get(number(rng, 3)).copied();
            Trick::Cut(number(rng, 400), parting.unwrap_or(Parting::Drop))
        }
        4 => Trick::Smuggle(number(rng, Trick::ENDS.len())),
        _ => Trick::Inject,
    };
    Rude { port, trick }
}
