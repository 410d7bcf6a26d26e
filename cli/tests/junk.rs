//! `moxctl junk`: what it prints, what it keeps, and what it says when it cannot.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;
mod told;

use scratch::Scratch;
use serde_json::Value;
use std::fs;
use told::{told, with_input};

struct Junk {
    scratch: Scratch,
}

impl Junk {
    /// Six wanted messages and six of junk in folders, half of them in a Maildir.
    fn new(test: &str) -> Self {
        let junk = Self {
            scratch: Scratch::new(test),
        };
        for n in 0..6 {
            let ham = format!("Subject: minutes {n}\n\nThe agenda of the meeting on Monday\n");
            let spam = format!("Subject: WINNER {n}\r\n\r\nClaim your prize today!!!\r\n");
            junk.write(&format!("ham/cur/{n}:2,S"), &ham);
            junk.write(&format!("spam/{}/{n}.eml", n % 2), &spam);
        }
        fs::create_dir_all(junk.path("ham/new")).unwrap();
        junk.write("ham/tmp/half", "Subject: WINNER\n\nClaim");
        junk.write("ham/dovecot.index", "prize");
        junk.write("spam/.hidden", "agenda");
        junk
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.scratch.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }

    /// Exit code, stdout, stderr of `moxctl junk` with a command and its arguments, those that begin with `/` in the scratch
    /// folder.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let args: Vec<String> = args
            .iter()
            .map(|arg| match arg.strip_prefix('/') {
                Some(name) => self.path(name),
                None => (*arg).to_owned(),
            })
            .collect();
        let args: Vec<&str> = [
            &["junk"],
            &args.iter().map(String::as_str).collect::<Vec<_>>()[..],
        ]
        .concat();
        told(&with_input(&args, b"Subject: minutes\n\nagenda of Monday"))
    }

    fn done(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        out
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).unwrap()
    }
}

#[test]
fn a_filter_learns_from_folders_and_tells_the_words_that_decided() {
    let junk = Junk::new("junk-learns");
    let told = junk.json(&["train", "--json", "--db", "/db", "/ham", "/spam"]);
    assert_eq!((&told["ham"], &told["spam"]), (&6.into(), &6.into()));
    junk.write("new", "Subject: minutes\n\nYour prize\n");
    let told = junk.json(&["check", "--json", "--db", "/db", "/new"]);
    let deciding: Vec<_> = told["deciding"].as_array().unwrap().iter().collect();
    let words: Vec<_> = deciding
        .iter()
        .map(|d| {
            (
                d["word"].as_str().unwrap(),
                d["ham"].as_u64().unwrap(),
                d["spam"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        words,
        [
            ("subject:minutes", 6, 0),
            ("your", 0, 6),
            ("prize", 0, 6),
            ("your prize", 0, 6)
        ]
    );
    let sum: f64 = deciding.iter().map(|d| d["weight"].as_f64().unwrap()).sum();
    let odds = told["log_odds"].as_f64().unwrap();
    assert!((sum - odds).abs() < 1e-12 && odds > 0.0);
    let probability = told["probability"].as_f64().unwrap();
    assert!((probability - 1.0 / (1.0 + (-odds).exp())).abs() < 1e-12);
    assert_eq!(told["verdict"], "spam");
    assert_eq!(told["significant"], false);

    let text = junk.done(&["check", "--db", "/db", "--words", "1"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("ham 0.0"), "{text}");
    assert!(lines[1].ends_with("learned: 6 ham, 6 spam"), "{text}");
    assert_eq!(
        lines[2],
        "this means little: too few messages of one kind were learned"
    );
    assert!(
        lines[4].ends_with("      6      0  subject:minutes"),
        "{text}"
    );
    assert!(lines[5].contains("and ") && lines.len() == 6, "{text}");
}

#[test]
fn learning_again_adds_to_what_was_learned() {
    let junk = Junk::new("junk-adds");
    junk.write("none/.keep", "");
    junk.done(&["train", "--db", "/one", "/ham", "/spam"]);
    junk.done(&["train", "--db", "/two", "/ham", "/none"]);
    let told = junk.json(&["train", "--json", "--db", "/two", "/none", "/spam"]);
    assert_eq!(told["learned"], serde_json::json!({"ham": 6, "spam": 6}));
    let words = |db: &str| fs::read(junk.path(&format!("{db}/words"))).unwrap();
    assert_eq!(words("one"), words("two"), "in one go or in two");
    junk.done(&["train", "--db", "/two", "/ham", "/spam"]);
    assert_ne!(words("one"), words("two"));
    let names: Vec<_> = fs::read_dir(junk.path("two"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect();
    assert_eq!(names, ["words"]);
}

#[test]
fn a_test_counts_what_was_judged_wrongly() {
    let junk = Junk::new("junk-test");
    junk.done(&["train", "--db", "/db", "/ham", "/spam"]);
    junk.write(
        "spam/2/like-ham",
        "Subject: minutes 7\n\nThe agenda of the meeting on Monday\n",
    );
    let told = junk.json(&["test", "--json", "--db", "/db", "/ham", "/spam"]);
    assert_eq!((&told["ham"], &told["spam"]), (&6.into(), &7.into()));
    assert_eq!(told["ham_flagged"], 0.0);
    assert_eq!(told["spam_missed"], 1.0 / 7.0);
    // One of seven is like each of six.
    assert_eq!(told["auc"], (6.0 * 6.0 + 0.5 * 6.0) / 42.0);
    let text = junk.done(&["test", "--db", "/db", "/ham", "/spam"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[1],
        "ham         6            6            0   0.00 % flagged"
    );
    assert_eq!(
        lines[2],
        "spam        7            1            6   14.29 % missed"
    );
    assert!(
        lines[3].starts_with("AUC 0.") && lines[3].contains("threshold 0.7"),
        "{text}"
    );
}

#[test]
fn line_ends_and_an_envelope_line_change_nothing() {
    let junk = Junk::new("junk-lines");
    junk.done(&["train", "--db", "/db", "/ham", "/spam"]);
    let message =
        "Subject: =?utf-8?q?your?= minutes\nContent-Type: text/html\n\n<p>prize<p>today\n";
    junk.write("lf", message);
    junk.write("crlf", &message.replace('\n', "\r\n"));
    junk.write(
        "mbox",
        &format!("From a@b Mon Jan  1 00:00:00 2024\n{message}"),
    );
    let told: Vec<_> = ["/lf", "/crlf", "/mbox"]
        .into_iter()
        .map(|file| junk.json(&["check", "--json", "--db", "/db", file]))
        .collect();
    assert!(told[0]["known"].as_u64().unwrap() >= 2);
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}

#[test]
fn what_cannot_be_done_is_said_and_nothing_is_made() {
    let junk = Junk::new("junk-refuses");
    let failed = |args: &[&str], expected: &str| {
        let (code, out, err) = junk.run(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}");
        assert!(
            err.starts_with("moxctl: ") && err.contains(expected),
            "{err}"
        );
    };
    failed(
        &["train", "--db", "/db", "/ham", "/nowhere"],
        "cannot read the folder",
    );
    assert!(!fs::exists(junk.path("db")).unwrap());
    failed(
        &["check", "--db", "/db", "/spam/0/0.eml"],
        "there is no filter in",
    );
    failed(
        &["test", "--db", "/db", "/ham", "/spam"],
        "there is no filter in",
    );
    fs::create_dir(junk.path("empty")).unwrap();
    failed(
        &["train", "--db", "/db", "/empty", "/empty"],
        "there is no message in",
    );
    junk.done(&["train", "--db", "/db", "/ham", "/spam"]);
    failed(
        &["test", "--db", "/db", "/empty", "/spam"],
        "there is no message in",
    );
    failed(&["check", "--db", "/db", "/nowhere"], "cannot read");
    let (code, _, _) = junk.run(&["train", "/ham", "/spam"]);
    assert_eq!(code, 2);
    let (code, _, _) = junk.run(&["check", "/ham/cur/0:2,S"]);
    assert_eq!(code, 2);
}

#[test]
fn a_damaged_filter_is_refused_wherever_it_is_damaged() {
    let junk = Junk::new("junk-damaged");
    junk.done(&["train", "--db", "/db", "/ham", "/spam"]);
    let file = junk.path("db/words");
    let good = fs::read(&file).unwrap();
    for at in [0, 7, 9, 13, 25, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).unwrap();
        for args in [
            &["check", "--db", "/db", "/spam/0/0.eml"][..],
            &["train", "--db", "/db", "/ham", "/spam"],
        ] {
            let (code, _, err) = junk.run(args);
            assert_eq!(code, 1, "{at}");
            assert!(
                err.contains("is damaged") || err.contains("none that"),
                "{err}"
            );
        }
        assert_eq!(
            fs::read(&file).unwrap(),
            bad,
            "it is left for others to look at"
        );
    }
    fs::write(&file, &good[..20]).unwrap();
    assert!(
        junk.run(&["check", "--db", "/db"])
            .2
            .contains("is cut short")
    );
    // What a stopped training left beside it is of no account.
    fs::write(&file, &good).unwrap();
    junk.write("db/.words.new", "half");
    junk.done(&["train", "--db", "/db", "/ham", "/spam"]);
    assert!(!fs::exists(junk.path("db/.words.new")).unwrap());
}

#[test]
fn two_at_once_do_not_learn_into_the_same_filter() {
    let junk = Junk::new("junk-locked");
    junk.done(&["train", "--db", "/db", "/ham", "/spam"]);
    let lock = fs::File::open(junk.path("db/lock")).unwrap();
    lock.lock().unwrap();
    let (code, _, err) = junk.run(&["train", "--db", "/db", "/ham", "/spam"]);
    assert!(
        code == 1 && err.contains("another moxctl is training"),
        "{err}"
    );
    junk.done(&["check", "--db", "/db"]);
}
