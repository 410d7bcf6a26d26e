//! What the junk filter costs: words of messages, learning, judging.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use mox_junk::{Class, Counts, Parameters, WordId, Words, judge};
use mox_machine::{Secret, Utc};
use mox_mailbox::{
    AccountId, Batch, Body, BodyId, Delivery, Flags, JUNK_WORDS_MAX, NewBody, Reads, Stop, Target,
    create_account, deliver, initialise, junk_due, junk_settle, junk_word,
};
use mox_server::junk::words;
use mox_store::{FjallKv, Kv};

use crate::MEASURED;

/// Messages that differ.
const MESSAGES: u64 = 500;
/// Words that they are made of.
const VOCABULARY: u64 = 20_000;

/// Distinct words of the large filter.
const LARGE: u64 = 1_000_000;
/// Words of each of its messages that no other has.
const NEW_WORDS: u64 = 250;
/// Messages learned between two syncs.
const GROUP: u64 = 64;

/// Prints the rows.
pub(crate) fn print() -> io::Result<()> {
    let messages: Vec<Vec<u8>> = (0..MESSAGES).map(message).collect();
    let octets: usize = messages.iter().map(Vec::len).sum();
    let all: Vec<Words> = messages.iter().map(|message| words(message)).collect();
    let distinct: usize = all.iter().map(Words::len).sum();
    println!(
        "\n| junk filter, messages of {:.1} KB, {} words each | messages/s |\n|---|---|",
        octets as f64 / 1e3 / MESSAGES as f64,
        distinct as u64 / MESSAGES
    );
    rate("words of a message", |n| {
        black_box(words(at(&messages, n)));
    });
    let mut totals = Counts::default();
    let mut known: BTreeMap<WordId, Counts> = BTreeMap::new();
    rate("learning, words made included", |n| {
        let class = class_of(n);
        totals.add(class);
        for id in words(at(&messages, n)).ids() {
            known.entry(id).or_default().add(class);
        }
    });
    rate("judging, words made included", |n| {
        let words = words(at(&messages, n));
        let counts = |id| known.get(&id).copied().unwrap_or_default();
        black_box(judge(&words, totals, &Parameters::default(), counts));
    });
    let dir = std::env::temp_dir().join(format!("mox-bench-junk-{}", std::process::id()));
    let result = large(&dir);
    fs::remove_dir_all(&dir)?;
    result
}

/// A filter in the store that learns until it knows a million words, and what it takes on the disk.
fn large(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut kv = FjallKv::open(&dir.join("rows")).map_err(|e| io::Error::other(e.to_string()))?;
    run(&mut kv, |reads| initialise(reads))?;
    let (now, none) = (Utc::from_secs(1_800_000_000), Secret::new(Bytes::new()));
    let account = run(&mut kv, |reads| {
        create_account(reads, "mox", &none, None, now)
    })?;
    let messages = LARGE / NEW_WORDS;
    let mut learning = std::time::Duration::ZERO;
    for n in 0..messages {
        let delivery = delivery(account, n, now);
        run(&mut kv, |reads| deliver(reads, &delivery))?;
        let ids: Vec<WordId> = (0..JUNK_WORDS_MAX as u64)
            .map(|at| large_word(n, at))
            .collect();
        let begun = Instant::now();
        let due = junk_due(kv.reads(), None, 1).map_err(|e| io::Error::other(e.to_string()))?;
        for due in due {
            run(&mut kv, |reads| junk_settle(reads, &due, Some(&ids)))?;
        }
        if n % GROUP == GROUP - 1 {
            kv.sync()?;
        }
        learning += begun.elapsed();
    }
    kv.sync()?;
    let begun = Instant::now();
    let mut judged = 0;
    while begun.elapsed() < MEASURED {
        for at in 0..JUNK_WORDS_MAX as u64 {
            let word = large_word(judged * 7 % messages, at);
            black_box(
                junk_word(kv.reads(), account, word)
                    .map_err(|e| io::Error::other(e.to_string()))?,
            );
        }
        judged += 1;
    }
    let judging = judged as f64 / begun.elapsed().as_secs_f64();
    Box::new(kv).close()?;
    println!(
        "\n| filter of {LARGE} words in the store, {JUNK_WORDS_MAX} words a message | |\n|---|---|"
    );
    println!(
        "| learning, messages/s | {:.0} |",
        messages as f64 / learning.as_secs_f64()
    );
    println!("| looking up the words of a message, messages/s | {judging:.0} |");
    println!(
        "| on the disk, {messages} learned messages included, MB | {:.1} |",
        octets(dir)? as f64 / 1e6
    );
    Ok(())
}

fn run<T>(
    kv: &mut FjallKv,
    op: impl FnOnce(&dyn Reads) -> Result<(Batch, T), Stop>,
) -> io::Result<T> {
    let (batch, answer) = op(kv.reads()).map_err(io::Error::other)?;
    kv.commit(&batch)?;
    Ok(answer)
}

/// Some words of a message are its own; the others are among those of all.
fn large_word(message: u64, at: u64) -> WordId {
    let number = match at < NEW_WORDS {
        true => message * NEW_WORDS + at,
        false => (message * 31 + at * at * 17) % ((message + 1) * NEW_WORDS),
    };
    WordId::of(&number.to_string())
}

fn delivery(account: AccountId, n: u64, now: Utc) -> Delivery {
    let text = Bytes::from_static(b"Subject: x\r\n\r\n");
    let keyword = if n.is_multiple_of(3) {
        "$Junk"
    } else {
        "$NotJunk"
    };
    Delivery {
        body: Body::New(NewBody {
            id: BodyId {
                boot: 1,
                counter: n,
            },
            length: text.len() as u64,
            blake3: [0; 32],
            inline: Some(text),
        }),
        structure: Bytes::new(),
        header: Bytes::new(),
        targets: vec![Target {
            account,
            mailbox: "INBOX".into(),
            create: true,
            prefix: Bytes::new(),
            flags: Flags::NONE,
            keywords: vec![keyword.to_owned()],
            date: now,
            origin: Bytes::new(),
        }],
        queue: None,
        now,
    }
}

/// Octets that files take on the disk.
fn octets(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let known = entry.metadata()?;
        sum += match known.is_dir() {
            true => octets(&entry.path())?,
            false => known.blocks() * 512,
        };
    }
    Ok(sum)
}

fn at(messages: &[Vec<u8>], n: u64) -> &[u8] {
    let index = usize::try_from(n % MESSAGES).unwrap_or_default();
    messages.get(index).map_or(&[], |message| message)
}

fn class_of(n: u64) -> Class {
    match n % 3 {
        0 => Class::Spam,
        _ => Class::Ham,
    }
}

fn rate(name: &str, mut one: impl FnMut(u64)) {
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < MEASURED {
        one(n);
        n += 1;
    }
    println!(
        "| {name} | {:.0} |",
        n as f64 / begun.elapsed().as_secs_f64()
    );
}

/// About 10 KB of text and HTML, of words that are more or less common.
fn message(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let common = (state >> 40) % VOCABULARY;
        common * ((state >> 20) % VOCABULARY) / VOCABULARY
    };
    let mut out = format!(
        "Received: from mail.example.com (192.0.2.7) by mx.example.org; Mon, 1 Jan 2024 10:00:00 +0000\r\n\
         From: Sender {n} <sender{n}@example.com>\r\nTo: you@example.org\r\nSubject: about word{}\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\n",
        word()
    );
    for at in 0..400 {
        let _ = write!(out, "word{} ", word());
        if at % 10 == 9 {
            out.push_str("\r\n");
        }
    }
    out.push_str("\r\n--b\r\nContent-Type: text/html\r\n\r\n<html><body>");
    for _ in 0..100 {
        let (text, link) = (word(), word());
        let _ = write!(
            out,
            "<p class=\"x\">word{text} <a href=\"https://www.example.com/page{link}\">more</a></p>\r\n"
        );
    }
    out.push_str("</body></html>\r\n--b--\r\n");
    out.into_bytes()
}
