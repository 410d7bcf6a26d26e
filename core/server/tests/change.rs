//! The smallest change that a record tells of is one that somebody can make.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod deciding;

use deciding::{case, content, p_reject};
use mox_server::decision::{
    Authenticated, Content, ContentWord, Judgement, Otherwise, Reason, Verdict,
};
use proptest::prelude::*;

fn what(judged: &Judgement) -> Option<&str> {
    judged.change.as_ref().map(|change| change.what.as_str())
}

#[test]
fn where_tokens_are_off_nobody_is_told_of_one() {
    let stranger = |has_tokens: bool| {
        case(move |_, message, ann| {
            message.author = Authenticated::No;
            ann.settings.subject_token = has_tokens;
            ann.content = content(0.99);
        })
    };
    let judged = stranger(false);
    assert_eq!(judged.decision.reason, Reason::JunkContent);
    assert_eq!(what(&judged), Some("the junk filter finds nothing"));
    assert_eq!(what(&stranger(true)), Some("the Subject has a valid token"));
}

#[test]
fn of_two_authors_no_earlier_mail_is_known_and_nobody_wrote_to_them() {
    for authors in [&["a@far.example", "b@near.example"][..], &[]] {
        let judged = case(|_, message, _| {
            message.authors = authors.iter().map(|a| (*a).to_owned()).collect();
            let domains = authors.iter().filter_map(|a| a.split_once('@'));
            message.author_domains = domains.map(|(_, domain)| domain.to_owned()).collect();
            message.author = Authenticated::No;
            message.dmarc.result = "none".into();
            message.spf.result = "fail".into();
        });
        assert_eq!(judged.decision.reason, Reason::SpfPolicy);
        assert_eq!(what(&judged), Some("SPF neither fails nor passes"));
    }
}

#[test]
fn mail_of_a_list_that_is_taken_whatever_it_is_would_not_be_without_the_list() {
    let judged = case(|_, message, ann| {
        p_reject(message);
        ann.settings.list_allow = Some("far.example".into());
    });
    assert_eq!(judged.decision.reason, Reason::ListAllow);
    assert_eq!(
        what(&judged),
        Some("the list's domain does not vouch for the message")
    );
    assert_eq!(judged.change.unwrap().verdict, Verdict::Refuse);
}

#[test]
fn where_content_decided_the_words_are_named_beside_the_threshold() {
    let word = |word: &str, weight| ContentWord {
        word: word.into(),
        weight,
        counts: (1, 1),
    };
    let of = |words: &[(&str, f64)], others: (usize, f64), is_strict: bool| {
        let words: Vec<_> = words
            .iter()
            .map(|(text, weight)| word(text, *weight))
            .collect();
        let sum: f64 = words.iter().map(|word| word.weight).sum::<f64>() + others.1;
        let content = Content {
            probability: 1.0 / (1.0 + (-sum).exp()),
            is_significant: true,
            words,
            others: others.0,
            others_weight: others.1,
            problem: None,
            ..Content::failed(String::new())
        };
        let judged = case(move |_, message, ann| {
            ann.content = Some(content);
            if is_strict {
                message.iprev.result = "fail".into();
            }
        });
        let told = judged.change.unwrap();
        assert_eq!(told.verdict, Verdict::Accept);
        (judged.decision.reason, told.content)
    };
    let enough = |without: &[&str], and_others, probability, threshold, settings: &str| {
        Some(Otherwise {
            without: without.iter().map(|word| (*word).to_owned()).collect(),
            and_others,
            probability,
            threshold,
            settings: settings.to_owned(),
        })
    };
    let ham = -1.5_f64;
    let words = [
        ("casino", 2.0),
        ("meeting", ham),
        ("cash", 1.0),
        ("now", 0.5),
    ];
    assert_eq!(
        of(&words, (0, 0.0), false),
        (
            Reason::JunkContent,
            enough(&["casino"], 0, 0.5, 0.8808, "threshold")
        )
    );
    // The strict threshold is 0.5: what is at 0.6 needs that one alone, what is at 0.88 both.
    assert_eq!(
        of(&[("casino", 0.4)], (0, 0.0), true),
        (
            Reason::JunkContentStrict,
            enough(&["casino"], 0, 0.5, 0.5987, "strict_threshold")
        )
    );
    let both = "threshold and strict_threshold";
    assert_eq!(
        of(&[("casino", 2.0)], (0, 0.0), true),
        (
            Reason::JunkContentStrict,
            enough(&["casino"], 0, 0.5, 0.8808, both)
        )
    );
    // What the record does not name may be what it takes.
    assert_eq!(
        of(&[("casino", 0.5)], (40, 1.5), false),
        (
            Reason::JunkContent,
            enough(&["casino"], 40, 0.5, 0.8808, "threshold")
        )
    );
    // Somebody else's words are not to blame where content did not decide.
    let accepted = case(|_, _, ann| ann.content = content(0.2));
    assert_eq!(accepted.change.unwrap().content, None);
}

/// The words of a message as a record has them.
fn words() -> impl Strategy<Value = Vec<ContentWord>> {
    let weight = prop_oneof![0.001_f64..3.0, -3.0_f64..-0.001];
    prop::collection::vec(weight, 0..16).prop_map(|mut weights| {
        weights.sort_by(|one, other| other.abs().total_cmp(&one.abs()));
        let word = |(nth, weight)| ContentWord {
            word: format!("word{nth}"),
            weight,
            counts: (1, 1),
        };
        weights.into_iter().enumerate().map(word).collect()
    })
}

/// What adds up, as the record's reader would.
fn adding_up(mut content: Content) -> Content {
    let kept: f64 = content.words.iter().map(|word| word.weight).sum();
    content.probability = 1.0 / (1.0 + (-kept - content.others_weight).exp());
    content
}

proptest! {
    #[test]
    fn without_the_words_that_a_change_names_or_with_its_threshold_a_message_is_taken(
        words in words(),
        others in prop_oneof![Just((0, 0.0)), (1_usize..50, -2.0_f64..2.0)],
        threshold in 0.05_f64..0.99,
        strict in 0.05_f64..0.99,
        is_strict: bool,
        is_known_as_junk_elsewhere: bool,
    ) {
        let content = adding_up(Content {
            is_significant: true,
            words,
            others: others.0,
            others_weight: others.1,
            problem: None,
            ..Content::failed(String::new())
        });
        let judge = |content: &Content, threshold: f64, strict: f64| {
            let content = content.clone();
            case(move |_, message, ann| {
                ann.content = Some(content);
                ann.settings.junk_threshold = threshold;
                ann.settings.strict_threshold = strict;
                if is_strict {
                    message.iprev.result = "fail".into();
                }
                if is_known_as_junk_elsewhere {
                    ann.settings.accept_rejects_to = Some("Elsewhere".into());
                }
            })
        };
        let judged = judge(&content, threshold, strict);
        let is_junk = matches!(judged.decision.reason, Reason::JunkContent | Reason::JunkContentStrict);
        let told = judged.change.clone().and_then(|change| change.content);
        prop_assert_eq!(told.is_some(), is_junk);
        let Some(told) = told else { return Ok(()) };
        let accepts = |content: &Content, threshold, strict| {
            judge(content, threshold, strict).decision.verdict == Verdict::Accept
        };

        // Without these words it is taken, and without one less it is not.
        let lacking = |named: &[String], others: bool| {
            let mut rest = content.clone();
            rest.words.retain(|word| !named.contains(&word.word));
            if others {
                (rest.others, rest.others_weight) = (0, 0.0);
            }
            adding_up(rest)
        };
        let all: Vec<_> = content.words.iter().filter(|word| word.weight > 0.0).collect();
        if told.without.is_empty() && told.and_others == 0 {
            let names: Vec<_> = all.iter().map(|word| word.word.clone()).collect();
            let rest = lacking(&names, content.others_weight > 0.0);
            prop_assert!(!accepts(&rest, threshold, strict));
        } else {
            let rest = lacking(&told.without, told.and_others > 0);
            prop_assert!(accepts(&rest, threshold, strict));
            prop_assert!((rest.probability - told.probability).abs() < 1e-4);
            let less = match told.and_others > 0 {
                true => lacking(&told.without, false),
                false => lacking(&told.without[..told.without.len() - 1], false),
            };
            prop_assert!(!accepts(&less, threshold, strict));
        }
        // Of those that speak for junk the strongest.
        let strongest = all.iter().take(told.without.len()).map(|word| word.word.as_str());
        prop_assert!(strongest.eq(told.without.iter().map(String::as_str)));

        // With this threshold it is taken too, and with a lower one it is not.
        let with = |to: f64| {
            let raised = |old: f64, name: &str| match told.settings.split(" and ").any(|s| s == name) {
                true => old.max(to),
                false => old,
            };
            accepts(&content, raised(threshold, "threshold"), raised(strict, "strict_threshold"))
        };
        prop_assert!(with(told.threshold));
        prop_assert!(!with(told.threshold - 0.0002));
    }
}
