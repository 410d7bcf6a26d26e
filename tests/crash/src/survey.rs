//! Many images of one history, each opened and compared with what was promised.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::history::History;
use crate::image::{Imager, Keep};
use crate::judge::open_image;
use crate::laboratory::scratch;
use crate::ledger::Ledger;
use crate::random::Random;

/// Threads that open images; opening is mostly waiting for threads of the store.
const THREADS: usize = 4;
/// Images that a test keeps when something is wrong with them.
pub const KEPT: usize = 3;

/// What came of many images.
#[derive(Debug, Default)]
pub struct Tally {
    /// Images opened.
    pub images: usize,
    /// Of them, those made at the record with which a promise left.
    pub at_promises: usize,
    /// Of them, those for which something that was not safe had to be left out or torn.
    pub with_unsafe: usize,
    /// What was wrong, the image first; at most some of it.
    pub wrong: Vec<String>,
    /// Images with which something was wrong.
    pub lost: usize,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.images += other.images;
        self.at_promises += other.at_promises;
        self.with_unsafe += other.with_unsafe;
        self.wrong.extend(other.wrong);
        self.lost += other.lost;
    }
}

/// The records of `count` images: half of them at promises, half anywhere; ascending.
pub fn moments(
    history: &History,
    ledger: &Ledger,
    count: usize,
    random: &mut Random,
) -> Vec<usize> {
    let promises = ledger.moments();
    let mut moments: Vec<usize> = (0..count)
        .map(|number| match number % 2 {
            0 if !promises.is_empty() => promises[random.below(promises.len())],
            _ => 1 + random.below(history.length),
        })
        .collect();
    moments.sort_unstable();
    moments
}

/// One of the ways to lose what is not safe, the cruellest most often.
pub fn keep(at: usize, random: &mut Random) -> Keep {
    match random.below(8) {
        0 => Keep::All,
        1 | 2 => Keep::Nothing,
        3 => Keep::Before(at.saturating_sub(random.below(200))),
        _ => Keep::Torn,
    }
}

/// Makes and opens images at these records; of those with which something is wrong so many are kept and described.
pub fn survey(
    history: &History,
    ledger: &Ledger,
    moments: &[usize],
    seed: u64,
    most: usize,
) -> Tally {
    let place = scratch();
    let promises = ledger.moments();
    let tally = Mutex::new(Tally::default());
    let kept = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (place, tally, kept, promises) = (place.path(), &tally, &kept, &promises);
            scope.spawn(move || {
                let mut imager = Imager::new(history);
                let to = place.join(format!("image{thread}"));
                let mine = moments.iter().enumerate().skip(thread).step_by(THREADS);
                for (number, at) in mine {
                    let mut random = Random::new(seed + number as u64);
                    let keep = keep(*at, &mut random);
                    let rest = imager.write(*at, keep, &mut random, &to);
                    let wrong = match open_image(&to) {
                        Ok(verdict) => {
                            let mut wrong = ledger.check(&verdict.found, *at);
                            wrong.extend(verdict.findings);
                            wrong
                        }
                        Err(e) => vec![e],
                    };
                    let mut tally = tally.lock().unwrap();
                    tally.images += 1;
                    tally.with_unsafe += usize::from(rest > 0 && keep != Keep::All);
                    tally.at_promises += usize::from(promises.binary_search(at).is_ok());
                    if !wrong.is_empty() {
                        tally.lost += 1;
                        if kept.fetch_add(1, Ordering::SeqCst) < most {
                            // What it was before it was opened.
                            let _ = std::fs::remove_dir_all(&to);
                            let mut random = Random::new(seed + number as u64);
                            let same = crate::survey::keep(*at, &mut random);
                            let mut again = Imager::new(history);
                            let stays = kept_place(seed + number as u64);
                            let _ = std::fs::remove_dir_all(&stays);
                            again.write(*at, same, &mut random, &stays);
                            tally.wrong.push(format!(
                                "at record {at}, {keep:?}, kept as {}:",
                                stays.display()
                            ));
                            tally.wrong.extend(wrong.into_iter().take(5));
                        }
                    }
                    drop(tally);
                    let _ = std::fs::remove_dir_all(&to);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

/// Where an image with which something is wrong stays.
fn kept_place(number: u64) -> PathBuf {
    let target = std::env::current_exe().unwrap();
    let target: &Path = target.parent().unwrap();
    target.join("crash-images").join(number.to_string())
}
