//! `moxctl junk ...`: a junk filter over folders of messages.

mod database;
mod folder;

use core::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use mox_junk::{Class, Counts, Deciding, Judgement, Parameters, Words, judge};
use mox_server::junk::words;
use serde_json::{Value, json};

use crate::args::junk::{Junk, JunkCheck, JunkCommand, JunkTest, JunkTrain};
use crate::facts::{print, print_json};
use crate::failure::Failure;
use crate::printable::printable;
use database::{Filter, Learning};

pub(crate) fn run(junk: &Junk) -> Result<(), Failure> {
    match &junk.command {
        JunkCommand::Train(train) => run_train(train),
        JunkCommand::Test(test) => run_test(test),
        JunkCommand::Check(check) => run_check(check),
    }
}

fn run_train(train: &JunkTrain) -> Result<(), Failure> {
    // Looked at first, so that nothing is made for folders that are not there.
    let folders = [
        (Class::Ham, folder::messages(&train.ham)?),
        (Class::Spam, folder::messages(&train.spam)?),
    ];
    if folders.iter().all(|(_, files)| files.is_empty()) {
        return Err(Failure::Failed(format!(
            "there is no message in {} nor in {}",
            train.ham.display(),
            train.spam.display()
        )));
    }
    let begun = Instant::now();
    let mut learning = Learning::open(&train.db)?;
    let mut learned = Counts::default();
    for (class, files) in &folders {
        for file in files {
            learning.learn(&words(&folder::read(Some(file))?), *class);
            learned.add(*class);
        }
    }
    let filter = learning.save()?;
    let each = each(begun.elapsed(), learned);
    if train.json {
        return print_json(&json!({
            "ham": learned.ham,
            "spam": learned.spam,
            "learned": { "ham": filter.learned.ham, "spam": filter.learned.spam },
            "words": filter.len(),
            "seconds_per_message": each.as_secs_f64(),
        }));
    }
    print(format!(
        "learned {} ham and {} spam, {:.2} ms a message\nin the filter: {} ham and {} spam, {} words\n",
        learned.ham,
        learned.spam,
        1e3 * each.as_secs_f64(),
        filter.learned.ham,
        filter.learned.spam,
        filter.len()
    ))
}

fn run_test(test: &JunkTest) -> Result<(), Failure> {
    let filter = Filter::open(&test.db)?;
    let parameters = Parameters::default();
    let mut scores = Vec::new();
    let begun = Instant::now();
    for (class, folder) in [(Class::Ham, &test.ham), (Class::Spam, &test.spam)] {
        let files = folder::messages(folder)?;
        if files.is_empty() {
            return Err(Failure::Failed(format!(
                "there is no message in {}",
                folder.display()
            )));
        }
        for file in files {
            let judgement = judged(&filter, &words(&folder::read(Some(&file))?), &parameters);
            scores.push(Score {
                class,
                log_odds: judgement.log_odds,
                is_spam: judgement.is_spam,
            });
        }
    }
    let took = begun.elapsed();
    let outcome = Outcome::of(scores);
    let each = each(took, outcome.total());
    if test.json {
        return print_json(&outcome.json(parameters.threshold, each));
    }
    print(outcome.text(parameters.threshold, each))
}

fn run_check(check: &JunkCheck) -> Result<(), Failure> {
    let filter = Filter::open(&check.db)?;
    let words = words(&folder::read(check.file.as_deref())?);
    let judgement = judged(&filter, &words, &Parameters::default());
    if check.json {
        return print_json(&json(&judgement));
    }
    print(text(&judgement, check.words))
}

fn judged(filter: &Filter, words: &Words, parameters: &Parameters) -> Judgement {
    judge(words, filter.learned, parameters, |id| filter.counts(id))
}

fn each(took: Duration, messages: Counts) -> Duration {
    let messages = messages.ham.saturating_add(messages.spam);
    took.checked_div(messages).unwrap_or_default()
}

/// A judgement for people.
fn text(judgement: &Judgement, most: usize) -> String {
    let Judgement { learned, .. } = judgement;
    let mut out = format!(
        "{} {:.4}\n{} of {} words are known, {} decided; learned: {} ham, {} spam\n",
        verdict(judgement),
        judgement.probability,
        judgement.known,
        judgement.words,
        judgement.deciding.len(),
        learned.ham,
        learned.spam
    );
    if !judgement.is_significant {
        out.push_str("this means little: too few messages of one kind were learned\n");
    }
    if !judgement.deciding.is_empty() {
        out.push_str("  weight    ham   spam  word\n");
    }
    for Deciding {
        word,
        counts,
        weight,
    } in judgement.deciding.iter().take(most)
    {
        let _ = writeln!(
            out,
            "{weight:+8.4} {:6} {:6}  {}",
            counts.ham,
            counts.spam,
            printable(word)
        );
    }
    let rest = judgement.deciding.iter().skip(most);
    let (count, sum) = rest.fold((0, 0.0), |(n, sum), word| (n + 1, sum + word.weight));
    if count > 0 {
        let _ = writeln!(out, "{sum:+8.4}                and {count} more");
    }
    out
}

fn json(judgement: &Judgement) -> Value {
    let deciding = judgement.deciding.iter().map(|word| {
        json!({
            "word": word.word,
            "ham": word.counts.ham,
            "spam": word.counts.spam,
            "weight": word.weight,
        })
    });
    json!({
        "verdict": verdict(judgement),
        "probability": judgement.probability,
        "log_odds": judgement.log_odds,
        "threshold": Parameters::default().threshold,
        "significant": judgement.is_significant,
        "learned": { "ham": judgement.learned.ham, "spam": judgement.learned.spam },
        "words": judgement.words,
        "known": judgement.known,
        "deciding": deciding.collect::<Vec<_>>(),
    })
}

fn verdict(judgement: &Judgement) -> &'static str {
    match judgement.is_spam {
        true => Class::Spam.name(),
        false => Class::Ham.name(),
    }
}

/// What was said of a message whose class is known.
#[derive(Clone, Copy)]
struct Score {
    class: Class,
    log_odds: f64,
    is_spam: bool,
}

/// What was said of many.
#[derive(Debug, PartialEq)]
struct Outcome {
    ham: u32,
    spam: u32,
    /// Ham that was taken for spam.
    flagged: u32,
    /// Spam that was taken for ham.
    missed: u32,
    auc: f64,
}

impl Outcome {
    fn of(mut scores: Vec<Score>) -> Self {
        let mut out = Self {
            ham: 0,
            spam: 0,
            flagged: 0,
            missed: 0,
            auc: 0.0,
        };
        scores.sort_by(|a, b| a.log_odds.total_cmp(&b.log_odds));
        // Pairs in which the spam scored higher, those that scored the same by half.
        let mut pairs = 0.0;
        for same in scores.chunk_by(|a, b| a.log_odds == b.log_odds) {
            let (mut ham, mut spam) = (0, 0);
            for score in same {
                match score.class {
                    Class::Ham => {
                        ham += 1;
                        out.flagged += u32::from(score.is_spam);
                    }
                    Class::Spam => {
                        spam += 1;
                        out.missed += u32::from(!score.is_spam);
                    }
                }
            }
            pairs += f64::from(spam) * (f64::from(out.ham) + f64::from(ham) / 2.0);
            out.ham += ham;
            out.spam += spam;
        }
        out.auc = pairs / (f64::from(out.ham) * f64::from(out.spam));
        out
    }

    fn total(&self) -> Counts {
        Counts {
            ham: self.ham,
            spam: self.spam,
        }
    }

    fn ham_flagged(&self) -> f64 {
        f64::from(self.flagged) / f64::from(self.ham)
    }

    fn spam_missed(&self) -> f64 {
        f64::from(self.missed) / f64::from(self.spam)
    }

    fn text(&self, threshold: f64, each: Duration) -> String {
        format!(
            "                judged ham  judged spam\n\
             ham  {:8}   {:10}  {:11}   {:.2} % flagged\n\
             spam {:8}   {:10}  {:11}   {:.2} % missed\n\
             AUC {:.5}; threshold {threshold}; {:.2} ms a message\n",
            self.ham,
            self.ham - self.flagged,
            self.flagged,
            100.0 * self.ham_flagged(),
            self.spam,
            self.missed,
            self.spam - self.missed,
            100.0 * self.spam_missed(),
            self.auc,
            1e3 * each.as_secs_f64(),
        )
    }

    fn json(&self, threshold: f64, each: Duration) -> Value {
        json!({
            "ham": self.ham,
            "spam": self.spam,
            "ham_as_spam": self.flagged,
            "spam_as_ham": self.missed,
            "ham_flagged": self.ham_flagged(),
            "spam_missed": self.spam_missed(),
            "auc": self.auc,
            "threshold": threshold,
            "seconds_per_message": each.as_secs_f64(),
        })
    }
}

/// A directory that is to be there already.
fn no_filter(dir: &Path) -> Failure {
    Failure::Failed(format!(
        "there is no filter in {}; moxctl junk train makes one",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_under_the_curve_counts_pairs_in_the_right_order_and_ties_by_half() {
        let score = |class, log_odds, is_spam| Score {
            class,
            log_odds,
            is_spam,
        };
        let outcome = Outcome::of(vec![
            score(Class::Spam, 3.0, true),
            score(Class::Ham, -1.0, false),
            score(Class::Ham, 2.0, true),
            score(Class::Spam, 0.5, false),
            score(Class::Ham, 0.5, false),
        ]);
        // Of six pairs four are in order, one is a tie.
        let expected = Outcome {
            ham: 3,
            spam: 2,
            flagged: 1,
            missed: 1,
            auc: 4.5 / 6.0,
        };
        assert_eq!(outcome, expected);
    }
}
