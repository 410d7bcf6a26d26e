//! Rows of the list of decisions in which several things come together: what nothing proves, who is a stranger, which level of
//! what is known counts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

pub(crate) mod deciding;

use deciding::{NOT_NOW, TAKEN, case, content, expect, listed, method, p_reject, past};
use mox_server::decision::{
    Authenticated, History, Message, Past, Reason, Recipient, Token, Verdict, Weight,
};

type Set = fn(&mut History, Past);

/// Levels on which nobody is known in person, with a past that decides nothing.
const NOT_IN_PERSON: [(Set, (u32, u32)); 4] = [
    (
        |history, past| history.signed = vec![("far.example".into(), past)],
        (1, 1),
    ),
    (|history, past| history.ip1 = past, (1, 1)),
    (|history, past| history.ip2 = past, (2, 2)),
    (|history, past| history.ip3 = past, (4, 4)),
];

/// What the record says why something is looked at strictly.
fn strict(judged: &mox_server::decision::Judgement) -> Vec<String> {
    let rules = judged.decision.rules.iter();
    let evidence = rules.flat_map(|rule| &rule.evidence);
    let strict = evidence.filter(|(name, _)| name == "strict");
    strict.map(|(_, why)| why.clone()).collect()
}

#[test]
pub(crate) fn who_is_known_by_addresses_or_signatures_only_is_a_stranger_to_spf_and_iprev() {
    for (set, (ham, junk)) in NOT_IN_PERSON {
        let judged = case(|_, message, ann| {
            message.author = Authenticated::No;
            message.spf.result = "fail".into();
            set(&mut ann.history, past(ham, junk));
        });
        expect(&judged, Verdict::Defer, Reason::SpfPolicy, NOT_NOW);
        // Both so far: suspicious.
        let judged = case(|_, message, ann| {
            message.iprev.result = "fail".into();
            set(&mut ann.history, past(ham, junk));
            ann.content = content(0.6);
        });
        expect(&judged, Verdict::Defer, Reason::JunkContentStrict, NOT_NOW);
    }
    // Junk, but not enough of it: put off for the missing name.
    let few: [(Set, u32); 4] = [
        (
            |history, past| history.signed = vec![("far.example".into(), past)],
            1,
        ),
        (|history, past| history.ip1 = past, 1),
        (|history, past| history.ip2 = past, 4),
        (|history, past| history.ip3 = past, 9),
    ];
    for (set, junk) in few {
        for result in ["fail", "temperror", "permerror"] {
            let judged = case(|_, message, ann| {
                message.iprev.result = result.into();
                set(&mut ann.history, past(0, junk));
            });
            expect(&judged, Verdict::Defer, Reason::Iprev, NOT_NOW);
        }
    }
}

#[test]
pub(crate) fn a_known_author_without_proof_is_not_put_off_for_a_name_and_content_decides() {
    let claimed = |probability: f64, spf: &'static str| {
        case(move |_, message, ann| {
            message.author = Authenticated::No;
            message.iprev.result = "fail".into();
            message.spf.result = spf.into();
            ann.history.author = past(1, 0);
            ann.content = content(probability);
        })
    };
    let judged = claimed(0.6, "none");
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let judged = claimed(0.8, "none");
    expect(&judged, Verdict::Defer, Reason::JunkContent, NOT_NOW);
    // What SPF speaks against is looked at strictly.
    let judged = claimed(0.6, "fail");
    expect(&judged, Verdict::Defer, Reason::JunkContentStrict, NOT_NOW);
    // Marked as junk the same author is no better than a stranger.
    let judged = case(|_, message, ann| {
        message.author = Authenticated::No;
        message.spf.result = "fail".into();
        ann.history.author = past(0, 1);
    });
    expect(&judged, Verdict::Defer, Reason::SpfPolicy, NOT_NOW);
}

#[test]
pub(crate) fn to_mark_unproved_mail_as_wanted_makes_the_next_one_no_harder_to_take() {
    let judged = |ham: u32| {
        case(move |_, message, ann| {
            message.author = Authenticated::No;
            ann.history.author = past(ham, 0);
            ann.content = content(0.6);
        })
    };
    for ham in [0, 1, 2] {
        let judged = judged(ham);
        expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
        assert_eq!(strict(&judged), Vec::<String>::new());
    }
}

#[test]
pub(crate) fn the_unproved_past_of_a_domain_opens_no_door() {
    let levels: [(Set, Reason); 2] = [
        (|history, past| history.domain = past, Reason::Msgfromdomain),
        (
            |history, past| history.organization = past,
            Reason::Msgfromorgdomain,
        ),
    ];
    for (set, reason) in levels {
        let claimed = |change: fn(&mut Message, &mut Recipient)| {
            case(|_, message, ann| {
                message.author = Authenticated::No;
                set(&mut ann.history, past(9, 0));
                change(message, ann);
            })
        };
        expect(
            &claimed(|_, _| {}),
            Verdict::Accept,
            Reason::NoBadSignals,
            TAKEN,
        );
        let judged = claimed(|message, _| message.spf.result = "fail".into());
        expect(&judged, Verdict::Defer, Reason::SpfPolicy, NOT_NOW);
        let judged = claimed(|_, ann| ann.content = content(0.9));
        expect(&judged, Verdict::Defer, Reason::JunkContent, NOT_NOW);
        let judged = claimed(|message, _| message.listings = listed());
        expect(&judged, Verdict::Defer, Reason::DnsBlocklisted, NOT_NOW);
        // With a proof the same past lets it in.
        let judged = case(|_, message, ann| {
            set(&mut ann.history, past(9, 0));
            message.listings = listed();
        });
        expect(&judged, Verdict::Accept, reason, TAKEN);
    }
}

#[test]
pub(crate) fn what_a_domain_proved_before_speaks_against_unproved_mail_only_when_it_was_junk() {
    let levels: [(Set, Reason); 2] = [
        (
            |history, past| history.domain_proved = past,
            Reason::Msgfromdomain,
        ),
        (
            |history, past| history.organization_proved = past,
            Reason::Msgfromorgdomain,
        ),
    ];
    for (set, reason) in levels {
        let unproved = |ham: u32, junk: u32| {
            case(move |_, message, ann| {
                message.author = Authenticated::No;
                message.listings = listed();
                set(&mut ann.history, past(ham, junk));
            })
        };
        expect(&unproved(0, 2), Verdict::Defer, reason, NOT_NOW);
        expect(
            &unproved(5, 0),
            Verdict::Defer,
            Reason::DnsBlocklisted,
            NOT_NOW,
        );
    }
}

#[test]
pub(crate) fn a_notification_is_not_put_off_for_the_name_that_its_client_gave() {
    let judged = |probability: f64| {
        case(move |facts, message, ann| {
            facts.sender = String::new();
            message.spf = method("fail", "out7.far.example");
            message.author = Authenticated::No;
            ann.content = content(probability);
        })
    };
    expect(&judged(0.4), Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let judged = judged(0.6);
    expect(&judged, Verdict::Defer, Reason::JunkContentStrict, NOT_NOW);
}

#[test]
pub(crate) fn an_account_may_look_strictly_at_what_comes_in_clear_or_names_others() {
    let judged = |change: fn(&mut bool, &mut Recipient)| {
        case(move |facts, _, ann| {
            ann.content = content(0.6);
            change(&mut facts.connection.tls, ann);
        })
    };
    let wishes: [fn(&mut bool, &mut Recipient); 6] = [
        |tls, _| *tls = false,
        |_, ann| ann.strict.without_tls = true,
        |_, ann| ann.strict.unless_named = true,
        |_, ann| ann.strict.is_named = Some(false),
        |_, ann| (ann.strict.unless_named, ann.strict.is_named) = (true, Some(true)),
        |tls, ann| {
            *tls = false;
            ann.strict.without_tls = true;
            ann.settings.is_forward = true;
        },
    ];
    for wish in wishes {
        expect(&judged(wish), Verdict::Accept, Reason::NoBadSignals, TAKEN);
    }
    let in_clear = judged(|tls, ann| {
        *tls = false;
        ann.strict.without_tls = true;
    });
    let reason = Reason::JunkContentStrict;
    expect(&in_clear, Verdict::Defer, reason, NOT_NOW);
    assert_eq!(strict(&in_clear), ["the session is in clear"]);
    let unnamed =
        judged(|_, ann| (ann.strict.unless_named, ann.strict.is_named) = (true, Some(false)));
    expect(&unnamed, Verdict::Defer, reason, NOT_NOW);
    assert_eq!(strict(&unnamed), ["neither To nor Cc names the recipient"]);
}

#[test]
pub(crate) fn whom_the_authors_domain_vouches_for_is_not_put_off_for_spf_and_judged_like_other_strangers()
 {
    for result in ["fail", "softfail"] {
        for author in [
            Authenticated::Relaxed,
            Authenticated::Dmarc,
            Authenticated::Strict,
        ] {
            let forwarded = |change: fn(&mut Message, &mut Recipient)| {
                case(move |_, message, ann| {
                    message.author = author;
                    message.spf = method(result, "elsewhere.example");
                    change(message, ann);
                })
            };
            let judged = forwarded(|_, _| {});
            expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
            let spf = judged.decision.rules.iter().find(|rule| rule.name == "spf");
            assert_eq!(spf.unwrap().weight, Weight::Against);
            // It makes nothing suspicious, and opens no door.
            let judged = forwarded(|_, ann| ann.content = content(0.6));
            expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
            let judged = forwarded(|_, ann| ann.content = content(0.8));
            expect(&judged, Verdict::Defer, Reason::JunkContent, NOT_NOW);
            let judged = forwarded(|message, _| message.listings = listed());
            expect(&judged, Verdict::Defer, Reason::DnsBlocklisted, NOT_NOW);
            let judged =
                forwarded(|_, ann| ann.history.signed = vec![("far.example".into(), past(0, 2))]);
            expect(&judged, Verdict::Defer, Reason::Dkimspf, NOT_NOW);
            let judged = forwarded(|message, ann| {
                message.iprev.result = "fail".into();
                ann.history.ip1 = past(0, 1);
            });
            expect(&judged, Verdict::Defer, Reason::Iprev, NOT_NOW);
        }
    }
}

#[test]
pub(crate) fn a_valid_token_does_not_undo_what_was_decided_before_it() {
    let with_token = |change: fn(&mut Message, &mut Recipient)| {
        case(|_, message, ann| {
            ann.settings.subject_token = true;
            ann.token = Token::Valid;
            change(message, ann);
        })
    };
    let judged = with_token(|message, _| p_reject(message));
    expect(&judged, Verdict::Refuse, Reason::DmarcPolicy, (550, 7, 26));
    let judged = with_token(|message, _| {
        message.author = Authenticated::No;
        message.spf.result = "fail".into();
    });
    expect(&judged, Verdict::Defer, Reason::SpfPolicy, NOT_NOW);
    let judged = with_token(|_, ann| ann.history.author = past(0, 2));
    expect(&judged, Verdict::Defer, Reason::Msgfromfull, NOT_NOW);
}

#[test]
pub(crate) fn a_token_is_offered_only_to_those_of_whom_nothing_is_known() {
    for (set, (ham, junk)) in NOT_IN_PERSON {
        let judged = case(|_, _, ann| {
            ann.settings.subject_token = true;
            ann.offer = Some("(pass:x)".into());
            ann.content = content(0.8);
            set(&mut ann.history, past(ham, junk));
        });
        expect(&judged, Verdict::Defer, Reason::JunkContent, NOT_NOW);
    }
}

#[test]
pub(crate) fn lists_are_not_asked_about_forwarders_and_one_that_fails_lists_nobody() {
    let judged = case(|_, message, ann| {
        ann.settings.is_forward = true;
        message.listings = listed();
    });
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    assert!(!judged.decision.asks_for_lists());
    let judged = case(|_, message, _| {
        message.listings = listed();
        message.listings.truncate(1);
        message.listings[0].text = Some("does not answer".into());
    });
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let rules = &judged.decision.rules;
    let rule = rules.iter().find(|rule| rule.name == "dnsbl").unwrap();
    assert_eq!(rule.weight, Weight::For);
    let said = "not listed does not answer".to_owned();
    assert_eq!(rule.evidence, [("clean.example".to_owned(), said)]);
}

#[test]
pub(crate) fn what_is_forwarded_is_not_refused_for_a_signature_that_forwarding_broke() {
    for disposition in ["reject", "quarantine", "defer"] {
        let forwarded = |probability: f64| {
            case(move |_, message, ann| {
                p_reject(message);
                message.dmarc.disposition = disposition.into();
                ann.settings.is_forward = true;
                ann.content = content(probability);
            })
        };
        let judged = forwarded(0.4);
        expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
        let mut rules = judged.decision.rules.iter();
        let dmarc = rules.find(|rule| rule.name == "dmarc").unwrap();
        assert_eq!(dmarc.weight, Weight::Against);
        // It is looked at strictly.
        let judged = forwarded(0.6);
        expect(&judged, Verdict::Defer, Reason::JunkContentStrict, NOT_NOW);
        assert_eq!(strict(&judged), [dmarc_because()]);
    }
}

fn dmarc_because() -> &'static str {
    "the author's domain does not vouch for the message, which may be since somebody forwards it"
}

#[test]
pub(crate) fn those_who_vouch_count_by_what_is_clear_and_the_most_of_them_decides() {
    let signed = |pasts: &'static [(u32, u32)], spf: (u32, u32)| {
        let judged = case(|_, _, ann| {
            let pasts = pasts.iter().enumerate();
            let domain = |(n, &(ham, junk))| (format!("d{n}.example"), past(ham, junk));
            ann.history.signed = pasts.map(domain).collect();
            ann.history.spf = past(spf.0, spf.1);
        });
        (judged.decision.verdict, judged.decision.reason)
    };
    let (taken, put_off) = (Verdict::Accept, Verdict::Defer);
    // Under a tenth junk, over nine tenths, and what is between.
    assert_eq!(signed(&[(19, 1)], (0, 0)), (taken, Reason::Dkimspf));
    assert_eq!(signed(&[(9, 1)], (0, 0)), (taken, Reason::NoBadSignals));
    assert_eq!(signed(&[(1, 9)], (0, 0)), (taken, Reason::NoBadSignals));
    assert_eq!(signed(&[(1, 19)], (0, 0)), (put_off, Reason::Dkimspf));
    // SPF alone.
    assert_eq!(signed(&[], (1, 0)), (taken, Reason::Dkimspf));
    assert_eq!(signed(&[], (0, 2)), (put_off, Reason::Dkimspf));
    // One junk message each of two is one; two of either are enough.
    assert_eq!(
        signed(&[(0, 1), (0, 1)], (0, 0)),
        (taken, Reason::NoBadSignals)
    );
    assert_eq!(
        signed(&[(0, 1), (0, 2)], (0, 0)),
        (put_off, Reason::Dkimspf)
    );
    assert_eq!(signed(&[(0, 1)], (0, 2)), (put_off, Reason::Dkimspf));
}

#[test]
pub(crate) fn a_nearer_address_with_one_message_hides_a_farther_one_with_many() {
    let judged = case(|_, _, ann| {
        ann.history.ip1 = past(1, 0);
        ann.history.ip2 = past(0, 50);
        ann.history.ip3 = past(0, 50);
    });
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    for (ham, junk, verdict, reason) in [
        (9, 1, Verdict::Accept, Reason::Ip1),
        (8, 2, Verdict::Accept, Reason::NoBadSignals),
        (2, 8, Verdict::Accept, Reason::NoBadSignals),
        (1, 9, Verdict::Defer, Reason::Ip1),
    ] {
        let judged = case(|_, _, ann| ann.history.ip1 = past(ham, junk));
        let decision = &judged.decision;
        assert_eq!(
            (decision.verdict, decision.reason),
            (verdict, reason),
            "{ham} {junk}"
        );
    }
}

#[test]
pub(crate) fn an_account_may_know_what_was_decided_for_it_and_nothing_of_others() {
    let judged = |account: &str| {
        case(|_, _, recipient| {
            recipient.account = Some(account.into());
            recipient.address = format!("{account}@ours.example");
        })
    };
    let record = mox_server::decision::Record {
        id: "abc".into(),
        facts: deciding::facts(),
        recipients: vec![judged("ann"), judged("bob"), judged("ann")],
        reply: "250 2.0.0 taken".into(),
        dns: String::new(),
        left_out: mox_server::decision::LeftOut {
            recipients: 7,
            ..Default::default()
        },
    };
    let known = record.clone().for_account("bob").unwrap();
    assert_eq!(known.recipients, [judged("bob")]);
    assert_eq!(known.lacks(), None);
    assert!(known.differences().is_empty());
    assert_eq!(
        record.clone().for_account("ann").unwrap().recipients.len(),
        2
    );
    assert_eq!(record.for_account("cid"), None);
}
