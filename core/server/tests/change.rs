//! The smallest change that a record tells of is one that somebody can make.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod deciding;

use deciding::{case, content, p_reject};
use mox_server::decision::{Authenticated, Judgement, Reason, Verdict};

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
