//! What is learned and unlearned, what decides, and that nothing a message holds gets beyond the limits.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_junk::{
    Class, Counts, Extractor, Judgement, Limits, Parameters, Place, WordId, Words, judge,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn words_of(pieces: &[(Place<'_>, &str)]) -> Words {
    words_by(0, pieces)
}

fn words_by(key: u64, pieces: &[(Place<'_>, &str)]) -> Words {
    let mut extractor = Extractor::keyed(Limits::default(), key);
    for (place, text) in pieces {
        extractor.push(*place, text);
    }
    extractor.finish()
}

fn texts(words: &Words) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

/// The whole of a filter, in memory.
#[derive(Default, Clone, PartialEq, Debug)]
struct Filter {
    totals: Counts,
    words: BTreeMap<WordId, Counts>,
}

impl Filter {
    fn learn(&mut self, words: &Words, class: Class) {
        self.totals.add(class);
        for id in words.ids() {
            self.words.entry(id).or_default().add(class);
        }
    }

    fn unlearn(&mut self, words: &Words, class: Class) {
        self.totals.remove(class);
        for id in words.ids() {
            self.words.get_mut(&id).unwrap().remove(class);
        }
        self.words.retain(|_, counts| !counts.is_zero());
    }

    fn judge(&self, words: &Words) -> Judgement {
        judge(words, self.totals, &Parameters::default(), |id| {
            self.words.get(&id).copied().unwrap_or_default()
        })
    }
}

#[test]
fn words_carry_their_field_and_neighbours_of_the_subject_and_the_text_are_paired() {
    let words = words_of(&[
        (Place::Field("subject"), "FREE: Buy now!! a 12 123abc 99%"),
        (Place::Field("from"), "\"Bob\" <bob@mail.Example.org>"),
        (Place::Field("x-mailer"), "not looked at"),
        (Place::Text, "Dear friend, friend dear"),
    ]);
    assert_eq!(
        texts(&words),
        [
            "subject:CAPS",
            "subject:free",
            "subject:buy",
            "subject:free buy",
            "subject:now",
            "subject:buy now",
            "subject:!!",
            "subject:123abc",
            "subject:now 123abc",
            "subject:99%",
            "subject:123abc 99%",
            "from:bob",
            "from:mail.example.org",
            "from:@mail.example.org",
            "from:@example.org",
            "dear",
            "friend",
            "dear friend",
            "friend friend",
            "friend dear",
        ]
    );
}

#[test]
fn hosts_stand_for_their_domains_and_addresses_for_their_networks() {
    assert_eq!(
        texts(&words_of(&[(
            Place::Link,
            "HTTP://user@a.b.c.d.example.com:80/Buy-it/now?id=7"
        )])),
        [
            "link:http:",
            "link:c.d.example.com",
            "link:d.example.com",
            "link:example.com",
            "link:buy-it",
            "link:now",
        ]
    );
    assert_eq!(
        texts(&words_of(&[(
            Place::Field("received"),
            "from x (h.example [192.0.2.1]) by ..; Mon, 1 Jan 2024 10:00:00.5"
        )])),
        [
            "received:h.example",
            "received:192.0.2.1",
            "received:192.0.2",
            "received:192.0",
            "received:ip",
        ]
    );
    assert_eq!(
        texts(&words_of(&[(Place::Text, "see https://www.example.net/x")])),
        [
            "see",
            "https",
            "see https",
            "www.example.net",
            "https www.example.net",
            "link:www.example.net",
            "link:example.net",
        ]
    );
    assert_eq!(
        texts(&words_of(&[(Place::Part, "text/html charset=utf-8")])),
        ["part:text/html", "part:charset=utf-8"]
    );
}

#[test]
fn compatible_characters_and_cases_are_the_same_word() {
    let one = words_of(&[(Place::Text, "Gratis ＶＩＡＧＲＡ ﬁne")]);
    let other = words_of(&[(Place::Text, "GRATIS viagra FINE")]);
    assert_eq!(one, other);
    assert!(texts(&one).contains(&"viagra"));
}

#[test]
fn nothing_known_is_undecided_and_one_class_alone_decides_nothing() {
    let mut filter = Filter::default();
    let words = words_of(&[(Place::Text, "cheap pills")]);
    assert_eq!(filter.judge(&words).probability.to_bits(), 0.5f64.to_bits());
    for _ in 0..100 {
        filter.learn(&words, Class::Ham);
    }
    let judgement = filter.judge(&words);
    assert_eq!(judgement.probability.to_bits(), 0.5f64.to_bits());
    assert!(!judgement.is_spam && !judgement.is_significant && judgement.deciding.is_empty());
}

#[test]
fn judgements_are_the_same_to_the_bit_wherever_they_are_made() {
    let mut filter = Filter::default();
    for n in 0..60 {
        filter.learn(&words_of(&[(Place::Text, "lunch monday")]), Class::Ham);
        let text = if n % 3 == 0 {
            "cheap pills lunch"
        } else {
            "cheap pills"
        };
        filter.learn(&words_of(&[(Place::Text, text)]), Class::Spam);
    }
    let judgement = filter.judge(&words_of(&[(Place::Text, "cheap pills on monday, lunch")]));
    let deciding: Vec<_> = judgement
        .deciding
        .iter()
        .map(|d| (d.word.as_str(), d.counts.ham, d.counts.spam))
        .collect();
    assert_eq!(
        deciding,
        [
            ("cheap", 0, 60),
            ("pills", 0, 60),
            ("cheap pills", 0, 60),
            ("monday", 60, 0),
            ("lunch", 60, 20)
        ]
    );
    assert!(judgement.is_significant && judgement.is_spam);
    assert_eq!(judgement.probability.to_bits(), 4_607_034_855_972_163_656);
}

#[test]
fn a_million_letters_of_anything_are_cut_to_the_limits() {
    let limits = Limits::default();
    for piece in [
        "a".repeat(1_000_000),
        "a b c ".repeat(200_000),
        "!".repeat(1_000_000),
        "中".repeat(300_000),
        (0..400_000).map(|n| format!("w{n:x}z ")).collect(),
        "://a.b".repeat(200_000),
        "@a.b,".repeat(200_000),
        "$%".repeat(500_000),
        "1.".repeat(500_000),
    ] {
        for place in [
            Place::Field("subject"),
            Place::Field("from"),
            Place::Field("received"),
            Place::Text,
            Place::Link,
            Place::Part,
        ] {
            let words = words_of(&[(place, &piece), (place, &piece)]);
            assert!(words.len() <= limits.words);
            let longest = words.iter().map(|word| word.text.chars().count()).max();
            assert!(longest.unwrap_or(0) <= 4 * limits.word_chars + 16);
        }
    }
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Ham), Just(Class::Spam)]
}

proptest! {
    #[test]
    fn what_is_unlearned_was_as_if_never_learned(
        kept in proptest::collection::vec((class(), "[a-f ]{0,40}"), 0..20),
        passing in proptest::collection::vec((class(), "[a-f ]{0,40}"), 0..20),
    ) {
        let words = |text: &str| words_of(&[(Place::Text, text)]);
        let mut filter = Filter::default();
        for (class, text) in &kept {
            filter.learn(&words(text), *class);
        }
        let before = filter.clone();
        for (class, text) in &passing {
            filter.learn(&words(text), *class);
        }
        for (class, text) in passing.iter().rev() {
            filter.unlearn(&words(text), *class);
        }
        prop_assert_eq!(filter, before);
    }

    #[test]
    fn any_texts_and_any_counts_have_a_probability_that_is_the_sum_of_its_words(
        texts in proptest::collection::vec(any::<String>(), 0..8),
        name in "[a-z-]{0,12}",
        totals in any::<(u32, u32)>(),
        counts in proptest::collection::vec(any::<(u32, u32)>(), 1..8),
    ) {
        let places = [Place::Text, Place::Field(&name), Place::Link, Place::Part, Place::Field("to"),
            Place::Field("received"), Place::Field("subject")];
        let pieces: Vec<_> = texts.iter().enumerate()
            .map(|(n, text)| (places[n % places.len()], text.as_str())).collect();
        let words = words_of(&pieces);
        let totals = Counts { ham: totals.0, spam: totals.1 };
        let judgement = judge(&words, totals, &Parameters::default(), |id| {
            let (ham, spam) = counts[(id.0 % counts.len() as u64) as usize];
            Counts { ham, spam }
        });
        prop_assert!((0.0..=1.0).contains(&judgement.probability));
        prop_assert!(judgement.deciding.len() <= judgement.known && judgement.known <= words.len());
        let sum: f64 = judgement.deciding.iter().map(|word| word.weight).sum();
        prop_assert_eq!(sum.to_bits(), judgement.log_odds.to_bits());
        prop_assert_eq!(judgement.is_spam, judgement.probability > 0.7);
        let ids: Vec<_> = words.ids().collect();
        prop_assert!(ids.is_sorted() && ids.len() == words.len());
        prop_assert!(ids.iter().all(|id| id.0 < 1 << WordId::BITS));
    }
}

#[test]
fn words_that_are_put_before_those_that_tell_do_not_hide_them() {
    let some = |seed: &str, count: usize| -> String {
        let letters = |n: usize| [n / 676, n / 26, n].map(|n| char::from(b'a' + (n % 26) as u8));
        let word = |n| format!("{seed}{} ", String::from_iter(letters(n)));
        (0..count).map(word).collect()
    };
    let mut filter = Filter::default();
    for _ in 0..60 {
        filter.learn(&words_of(&[(Place::Text, &some("spam", 300))]), Class::Spam);
        filter.learn(&words_of(&[(Place::Text, &some("ham", 300))]), Class::Ham);
    }
    let spam = some("spam", 300);
    for padding in [
        // Hidden text, a long Subject, addresses without end, links.
        [(Place::Text, some("pad", 1_000))],
        [(Place::Field("subject"), some("pad", 1_000))],
        [(
            Place::Field("cc"),
            some("pad@far.", 1_000).replace(' ', ".example, "),
        )],
        [(
            Place::Link,
            some("https://pad.example/", 1_000).replace(' ', "/"),
        )],
    ] {
        let [(place, text)] = &padding;
        let words = words_of(&[(*place, text), (Place::Text, &spam)]);
        assert!(words.len() <= Limits::default().words);
        let judged = filter.judge(&words);
        assert!(judged.is_spam, "{place:?} {}", judged.probability);
    }
}

#[test]
fn who_does_not_know_the_key_cannot_choose_words_that_come_before_all_others() {
    // Of a million words those that come first without a key.
    let letters = |mut n: u32| -> String {
        let letter = |_| {
            let letter = char::from(b'a' + (n % 26) as u8);
            n /= 26;
            letter
        };
        (0..5).map(letter).collect()
    };
    let mut pad: Vec<String> = (0..1_000_000).map(letters).collect();
    pad.sort_by_key(|word| WordId::of(word));
    pad.truncate(2_000);
    let pad = pad.join(" ");
    let spam = |n: u32| {
        (0..300)
            .map(|word| format!("spam{} ", letters(300 * n + word)))
            .collect::<String>()
    };
    let (mut filter, key) = (Filter::default(), 0x5ec2_e75e_c2e7);
    for _ in 0..60 {
        filter.learn(&words_by(key, &[(Place::Text, &spam(0))]), Class::Spam);
        filter.learn(&words_by(key, &[(Place::Text, &spam(1))]), Class::Ham);
    }
    let padded = [(Place::Text, &pad[..]), (Place::Text, &spam(0))];
    let judged = filter.judge(&words_by(key, &padded));
    assert!(judged.is_spam, "{}", judged.probability);
    // Whoever knows it could: that is what the key is for.
    let judged = filter.judge(&words_by(0, &padded));
    assert!(!judged.is_spam, "{}", judged.probability);
}
