//! How often the junk filter is wrong about real mail, read from `$MAIL_VECTORS`: messages of one mailbox, ham and spam, in
//! clusters (threads, equal subjects or bodies) that are never divided.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;

use mox_junk::{Class, Counts, Parameters, WordId, Words, judge};
use mox_server::junk::words;
use scratch::Scratch;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// A message of the corpus.
struct Message {
    class: Class,
    is_hard: bool,
    is_dev: bool,
    cluster: String,
    words: Words,
}

/// The corpus, its messages as they are or with no fields but From, Subject and Content-*.
fn corpus(test: &str, is_bare: bool) -> Option<Vec<Message>> {
    let folder = mox_suites::folder(&format!("mox-cli {test}"))?.join("spamham");
    let scratch = Scratch::new(test);
    let unpacked = std::process::Command::new("tar")
        .args(["--zstd", "-xf"])
        .arg(folder.join("spamassassin-open.tar.zst"))
        .arg("-C")
        .arg(scratch.path(""))
        .status();
    assert!(unpacked.unwrap().success());
    let manifest = fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let all = manifest.lines().map(|line| {
        let told: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let mut message = fs::read(scratch.path(&text("file"))).unwrap();
        if is_bare {
            message = bare(&message);
        }
        Message {
            class: if text("label") == "ham" {
                Class::Ham
            } else {
                Class::Spam
            },
            is_hard: text("group").starts_with("hard"),
            is_dev: text("split") == "dev",
            cluster: text("cluster"),
            words: words(&message),
        }
    });
    Some(all.collect())
}

fn bare(message: &[u8]) -> Vec<u8> {
    let end = mox_mime::header::len(message);
    let mut out = Vec::new();
    for field in mox_mime::header::split(&message[..end]) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        if name == "from" || name == "subject" || name.starts_with("content-") {
            out.extend_from_slice(field.raw);
        }
    }
    out.push(b'\n');
    out.extend_from_slice(&message[end..]);
    out
}

/// How wrong a filter was.
#[derive(Default)]
struct Score {
    odds: Vec<(f64, Class)>,
    flagged: u32,
    missed: u32,
    ham: u32,
    spam: u32,
    hard: u32,
    hard_flagged: u32,
}

impl Score {
    /// Judges some messages by others.
    fn add<'m>(
        &mut self,
        learned: impl Iterator<Item = &'m Message>,
        judged: impl Iterator<Item = &'m Message>,
    ) {
        let mut totals = Counts::default();
        let mut known: BTreeMap<WordId, Counts> = BTreeMap::new();
        for message in learned {
            totals.add(message.class);
            for id in message.words.ids() {
                known.entry(id).or_default().add(message.class);
            }
        }
        for message in judged {
            let judgement = judge(&message.words, totals, &Parameters::default(), |id| {
                known.get(&id).copied().unwrap_or_default()
            });
            self.odds.push((judgement.log_odds, message.class));
            let is_spam = u32::from(judgement.is_spam);
            match message.class {
                Class::Ham => {
                    self.ham += 1;
                    self.flagged += is_spam;
                    self.hard += u32::from(message.is_hard);
                    self.hard_flagged += is_spam * u32::from(message.is_hard);
                }
                Class::Spam => {
                    self.spam += 1;
                    self.missed += 1 - is_spam;
                }
            }
        }
    }

    fn auc(&self) -> f64 {
        let of = |class| self.odds.iter().filter(move |o| o.1 == class).map(|o| o.0);
        let mut ham: Vec<f64> = of(Class::Ham).collect();
        ham.sort_by(f64::total_cmp);
        let below: f64 = of(Class::Spam)
            .map(|odds| {
                let less = ham.partition_point(|h| *h < odds);
                let same = ham.partition_point(|h| *h <= odds) - less;
                less as f64 + same as f64 / 2.0
            })
            .sum();
        below / (f64::from(self.ham) * f64::from(self.spam))
    }

    /// Shares of ham flagged and of spam missed.
    fn wrong(&self) -> (f64, f64) {
        let share = |n: u32, of: u32| f64::from(n) / f64::from(of);
        (share(self.flagged, self.ham), share(self.missed, self.spam))
    }

    fn print(&self, name: &str) {
        let (flagged, missed) = self.wrong();
        println!(
            "{name}: ham flagged {} of {} ({:.2} %), of them hard {} of {}; spam missed {} of {} ({:.2} %); AUC {:.5}",
            self.flagged,
            self.ham,
            100.0 * flagged,
            self.hard_flagged,
            self.hard,
            self.missed,
            self.spam,
            100.0 * missed,
            self.auc()
        );
    }
}

/// Five times, four fifths of what is there to learn from judge the other fifth.
fn cross_validated(messages: &[Message]) -> Score {
    let fold = |m: &Message| WordId::of(&m.cluster).0 % 5;
    let train = || messages.iter().filter(|m| !m.is_dev);
    let mut score = Score::default();
    for n in 0..5 {
        score.add(
            train().filter(|m| fold(m) != n),
            train().filter(|m| fold(m) == n),
        );
    }
    score
}

fn on_dev(messages: &[Message]) -> Score {
    let mut score = Score::default();
    score.add(
        messages.iter().filter(|m| !m.is_dev),
        messages.iter().filter(|m| m.is_dev),
    );
    score
}

#[test]
fn of_real_mail_less_than_one_wanted_message_in_a_hundred_is_flagged() {
    let test = "of_real_mail_less_than_one_wanted_message_in_a_hundred_is_flagged";
    let Some(messages) = corpus(test, false) else {
        return;
    };
    let score = cross_validated(&messages);
    score.print("cross-validation");
    let (flagged, missed) = score.wrong();
    assert!(flagged <= 0.01 && missed <= 0.05 && score.auc() >= 0.995);
    let score = on_dev(&messages);
    score.print("dev");
    let (flagged, missed) = score.wrong();
    assert!(flagged <= 0.01 && missed <= 0.05 && score.auc() >= 0.995);
}

#[test]
fn without_the_headers_of_the_way_judgements_are_nearly_as_good() {
    let test = "without_the_headers_of_the_way_judgements_are_nearly_as_good";
    let Some(messages) = corpus(test, true) else {
        return;
    };
    let score = cross_validated(&messages);
    score.print("bare, cross-validation");
    let (flagged, missed) = score.wrong();
    assert!(flagged <= 0.01 && missed <= 0.05 && score.auc() >= 0.995);
    let score = on_dev(&messages);
    score.print("bare, dev");
    let (flagged, missed) = score.wrong();
    assert!(flagged <= 0.01 && missed <= 0.05 && score.auc() >= 0.995);
}
