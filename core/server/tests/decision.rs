//! What becomes of mail from elsewhere: a test for each row of the list of decisions, and each record decides the same again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

pub(crate) mod deciding;

use deciding::{
    NOT_NOW, TAKEN, ann, case, content, expect, facts, keep, listed, method, p_reject, past,
};
use mox_server::decision::{
    Authenticated, CONTENT_WORDS_MAX, Content, Facts, History, Judgement, LeftOut, Message, Past,
    Quarantine, Reason, Recipient, Record, ReportFound, Stage, Standing, Token, Verdict, decide,
};
use mox_server::reports::ReportKind;

#[test]
pub(crate) fn a_stranger_with_nothing_wrong_is_taken() {
    let judged = case(|_, _, _| {});
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    assert_eq!(judged.decision.mailbox.as_deref(), Some("INBOX"));
    let change = judged.change.unwrap();
    assert_eq!(change.what, "1 more message of this author marked as junk");
    assert_eq!(change.verdict, Verdict::Defer);
}

#[test]
pub(crate) fn recipients_that_are_none_and_senders_nobody_could_answer_are_refused_before_any_message()
 {
    let at = |stage, standing| {
        let facts = Facts {
            stage,
            message: None,
            ..facts()
        };
        let recipient = Recipient { standing, ..ann() };
        keep(facts, recipient)
    };
    for (standing, reason, code) in [
        (
            Standing::UnknownLocalPart,
            Reason::UnknownRecipient,
            (550, 1, 1),
        ),
        (Standing::NotOurs, Reason::NotOurs, (550, 7, 1)),
    ] {
        let judged = at(Stage::Recipient, standing);
        expect(&judged, Verdict::Refuse, reason, code);
        assert_eq!(judged.decision.mailbox, None);
        assert_eq!(judged.change.unwrap().what, "there is such an address");
    }
    let judged = at(Stage::Recipient, Standing::Unreachable);
    expect(
        &judged,
        Verdict::Defer,
        Reason::AccountUnreachable,
        (451, 3, 0),
    );
    let judged = at(Stage::Recipient, Standing::MailboxFull);
    expect(&judged, Verdict::Defer, Reason::MailboxFull, (452, 2, 2));
    assert_eq!(judged.decision.mailbox, None);
    assert_eq!(judged.change.unwrap().what, "the mailbox has room");
    let facts = Facts {
        stage: Stage::Sender,
        message: None,
        sender_unreachable: Some("it has a null MX".into()),
        ..facts()
    };
    let judged = keep(facts, ann());
    expect(
        &judged,
        Verdict::Refuse,
        Reason::SenderUnreachable,
        (550, 7, 27),
    );
}

#[test]
pub(crate) fn a_sender_of_whom_dns_says_nothing_is_put_off_and_tls_comes_before_addresses() {
    let early = |stage, standing, change: fn(&mut Facts)| {
        let mut facts = Facts {
            stage,
            message: None,
            ..facts()
        };
        change(&mut facts);
        keep(facts, Recipient { standing, ..ann() })
    };
    let known = Standing::Known;
    let judged = early(Stage::SenderUnsure, known, |_| {});
    expect(&judged, Verdict::Defer, Reason::SenderUnsure, (451, 4, 0));
    let change = judged.change.unwrap();
    assert_eq!(change.what, "the sender's domain can be answered");
    let judged = early(Stage::Sender, known, |facts| {
        facts.sender = "bob@[192.0.2.1]".into();
        facts.take_sender_without_name();
    });
    let (reason, code) = (Reason::SenderUnreachable, (550, 7, 0));
    expect(&judged, Verdict::Refuse, reason, code);
    let judged = early(Stage::Recipient, Standing::LacksTls, |_| {});
    expect(&judged, Verdict::Refuse, Reason::TlsRequired, (530, 7, 0));
    assert_eq!(judged.decision.mailbox, None);
    let judged = early(Stage::Sender, known, |_| {});
    assert_eq!(judged.decision.reason, Reason::SenderTaken);
}

#[test]
pub(crate) fn d3_d4_and_d8_who_brings_a_report_that_is_believed_is_no_stranger() {
    for kind in [ReportKind::Dmarc, ReportKind::Tls] {
        let with = |problem: Option<&str>, change: fn(&mut Message, &mut Recipient)| {
            case(|_, message, recipient| {
                recipient.report = Some(ReportFound {
                    kind,
                    domains: "ours.example".into(),
                    report_id: "1".into(),
                    problem: problem.map(str::to_owned),
                });
                change(message, recipient);
            })
        };
        // It comes before SPF of strangers, and behind what earlier mail says.
        let spf = |message: &mut Message, _: &mut Recipient| {
            message.author = Authenticated::No;
            message.spf = method("fail", "far.example");
        };
        let judged = with(None, spf);
        expect(&judged, Verdict::Accept, Reason::Reporting, TAKEN);
        let judged = with(None, |_, recipient| recipient.history.author = past(0, 2));
        expect(&judged, Verdict::Defer, Reason::Msgfromfull, NOT_NOW);
        let judged = with(None, |_, recipient| recipient.history.author = past(1, 0));
        expect(&judged, Verdict::Accept, Reason::Msgfromfull, TAKEN);
        // What is not believed is mail like any other.
        let judged = with(Some("it ends in the future"), spf);
        expect(&judged, Verdict::Defer, Reason::SpfPolicy, NOT_NOW);
    }
}

#[test]
pub(crate) fn d13_and_d15_without_a_filter_and_a_list_nothing_speaks_against_a_stranger() {
    let judged = case(|_, _, recipient| recipient.content = None);
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let content = judged
        .decision
        .rules
        .iter()
        .find(|rule| rule.name == "content");
    assert_eq!(content.unwrap().because, "there is no junk filter");
}

#[test]
pub(crate) fn a_loop_is_refused_and_without_name_servers_nothing_else_is_looked_at() {
    let judged = case(|_, message, _| message.loops = Some("too many hops".into()));
    expect(&judged, Verdict::Refuse, Reason::Loop, (550, 4, 6));
    assert_eq!(judged.decision.mailbox, None);
    let judged = case(|_, _, ann| ann.loops = Some("delivered here before".into()));
    expect(&judged, Verdict::Refuse, Reason::Loop, (550, 4, 6));
    assert_eq!(judged.change.unwrap().what, "the message is no loop");
    let judged = case(|facts, message, _| {
        facts.has_resolver = false;
        message.dmarc.disposition = "reject".into();
    });
    expect(&judged, Verdict::Accept, Reason::NotJudged, TAKEN);
}

#[test]
pub(crate) fn d1_a_lists_mail_is_taken_whatever_its_authors_domain_wants() {
    for (by_spf, by_dkim, reason) in [
        (true, false, Reason::ListAllow),
        (false, true, Reason::ListAllow),
        (false, false, Reason::DmarcPolicy),
    ] {
        let judged = case(|_, message, ann| {
            p_reject(message);
            ann.settings.list_allow = Some("List.Example".into());
            message.spf.result = if by_spf { "pass" } else { "fail" }.into();
            message.spf.subject = "list.example".into();
            message.dkim[0].domain = "list.example".into();
            message.dkim[0].vouches = by_dkim;
        });
        assert_eq!(judged.decision.reason, reason);
    }
    // A domain below it is another one.
    let judged = case(|_, message, ann| {
        p_reject(message);
        ann.settings.list_allow = Some("list.example".into());
        message.spf.subject = "sub.list.example".into();
    });
    expect(&judged, Verdict::Refuse, Reason::DmarcPolicy, (550, 7, 26));
}

#[test]
pub(crate) fn d2_what_the_authors_domain_wants_is_done_and_its_three_wishes_differ() {
    let judged = case(|_, message, _| p_reject(message));
    expect(&judged, Verdict::Refuse, Reason::DmarcPolicy, (550, 7, 26));
    assert_eq!(judged.decision.mailbox.as_deref(), Some("Rejects"));
    let change = judged.change.unwrap();
    assert_eq!(
        change.what,
        "the author's domain vouches for the message (DMARC)"
    );
    let quarantine = |message: &mut Message| {
        p_reject(message);
        message.dmarc.disposition = "quarantine".into();
    };
    let judged = case(|_, message, _| quarantine(message));
    expect(&judged, Verdict::Junk, Reason::DmarcQuarantine, TAKEN);
    assert_eq!(judged.decision.mailbox.as_deref(), Some("Junk"));
    let judged = case(|_, message, ann| {
        quarantine(message);
        ann.settings.quarantine = Quarantine::Refuse;
    });
    expect(&judged, Verdict::Refuse, Reason::DmarcPolicy, (550, 7, 26));
    let judged = case(|_, message, _| {
        p_reject(message);
        message.dmarc.result = "temperror".into();
        message.dmarc.disposition = "defer".into();
    });
    expect(&judged, Verdict::Defer, Reason::DmarcUnknown, NOT_NOW);
    let judged = case(|_, message, _| {
        p_reject(message);
        message.dmarc.disposition = "none".into();
    });
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    // Known or not: the policy comes first.
    let judged = case(|_, message, ann| {
        p_reject(message);
        ann.history.author = past(5, 0);
        ann.history.wrote_to_author = true;
    });
    expect(&judged, Verdict::Refuse, Reason::DmarcPolicy, (550, 7, 26));
}

#[test]
pub(crate) fn a_message_without_an_author_is_refused_and_one_that_dns_cannot_tell_about_is_not() {
    let judged = case(|_, message, _| {
        message.authors.clear();
        message.dmarc.result = "permerror".into();
        message.dmarc.disposition = "reject".into();
    });
    expect(&judged, Verdict::Refuse, Reason::NoAuthor, (550, 7, 1));
    let judged = case(|_, message, _| {
        for method in [&mut message.iprev, &mut message.spf, &mut message.helo] {
            method.result = "temperror".into();
        }
        message.dkim[0].result = "temperror".into();
        message.dkim[0].vouches = false;
        message.dmarc.result = "temperror".into();
        message.author = Authenticated::No;
    });
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
}

#[test]
pub(crate) fn d5_to_d7_history_decides_and_what_cannot_be_read_is_tried_again() {
    let judged = case(|_, _, ann| ann.history.failed = true);
    expect(&judged, Verdict::Defer, Reason::ReputationError, NOT_NOW);
    let judged = case(|_, _, ann| ann.history.author = past(1, 0));
    expect(&judged, Verdict::Accept, Reason::Msgfromfull, TAKEN);
    let judged = case(|_, _, ann| ann.history.author = past(0, 1));
    expect(&judged, Verdict::Defer, Reason::Msgfromfull, NOT_NOW);
    assert_eq!(judged.decision.mailbox.as_deref(), Some("Rejects"));
    let change = judged.change.unwrap();
    assert_eq!(
        change.what,
        "1 more message of this author marked as not junk"
    );
}

#[test]
pub(crate) fn r1_one_wanted_message_out_of_the_last_two_is_enough() {
    for (judgements, reason) in [
        (&[true, false][..], Verdict::Accept),
        (&[false, true], Verdict::Accept),
        (&[true, true], Verdict::Defer),
        (&[false, true, true], Verdict::Defer),
    ] {
        let judged = case(|_, _, ann| {
            for junk in judgements {
                ann.history.author = ann.history.author.and(*junk);
            }
        });
        assert_eq!(judged.decision.verdict, reason, "{judgements:?}");
    }
    // Unproved, the same says nothing for sure.
    let judged = case(|_, message, ann| {
        message.author = Authenticated::No;
        ann.history.author = past(0, 5);
    });
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
}

#[test]
pub(crate) fn r2_unproved_mail_of_an_author_who_proved_before_is_looked_at_strictly() {
    let unproved = |message: &mut Message, ann: &mut Recipient, before: Past| {
        message.author = Authenticated::No;
        ann.history.author_proved = before;
    };
    let judged = case(|_, message, ann| unproved(message, ann, past(0, 2)));
    expect(&judged, Verdict::Defer, Reason::Msgfromfull, NOT_NOW);
    let judged = case(|_, message, ann| unproved(message, ann, past(2, 0)));
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let judged = case(|_, message, ann| {
        unproved(message, ann, past(2, 0));
        ann.content = content(0.6);
    });
    expect(&judged, Verdict::Defer, Reason::JunkContentStrict, NOT_NOW);
}

#[test]
pub(crate) fn r3_to_r9_whom_the_user_wrote_to_and_whose_domain_is_known() {
    let judged = case(|_, _, ann| {
        ann.history.wrote_to_author = true;
        ann.history.domain = past(0, 20);
    });
    expect(&judged, Verdict::Accept, Reason::Msgtofull, TAKEN);
    type Set = fn(&mut History, Past, u32);
    let of_domain: Set = |history, past, local_parts| {
        history.domain = Past {
            local_parts,
            ..past
        };
    };
    let of_organization: Set = |history, past, local_parts| {
        history.organization = Past {
            local_parts,
            ..past
        };
    };
    for (set, reason) in [
        (of_domain, Reason::Msgfromdomain),
        (of_organization, Reason::Msgfromorgdomain),
    ] {
        for (ham, junk, local_parts, expected) in [
            (17, 3, 5, Some(Verdict::Accept)),
            // 80 of 100 is not more than 80.
            (16, 4, 5, None),
            (0, 4, 3, Some(Verdict::Defer)),
            (0, 4, 2, None),
        ] {
            let judged = case(|_, _, ann| set(&mut ann.history, past(ham, junk), local_parts));
            match expected {
                Some(verdict) => {
                    assert_eq!(judged.decision.verdict, verdict, "{ham} {junk}");
                    assert_eq!(judged.decision.reason, reason, "{ham} {junk}");
                }
                None => assert_eq!(judged.decision.reason, Reason::NoBadSignals, "{ham} {junk}"),
            }
        }
    }
    // Anybody may name whom the user writes to: without a proof it is a stranger's mail, and looked at strictly.
    let forged = |spf: &'static str, probability| {
        case(move |_, message, ann| {
            message.author = Authenticated::No;
            message.spf = method(spf, "elsewhere.example");
            ann.history.wrote_to_author = true;
            ann.history.wrote_to_domain = true;
            ann.content = content(probability);
        })
    };
    let judged = forged("fail", 0.1);
    expect(&judged, Verdict::Defer, Reason::SpfPolicy, NOT_NOW);
    let judged = forged("pass", 0.6);
    expect(&judged, Verdict::Defer, Reason::JunkContentStrict, NOT_NOW);
    let judged = forged("pass", 0.1);
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let judged = case(|_, message, ann| {
        message.author = Authenticated::No;
        message.listings = listed();
        ann.history.wrote_to_organization = true;
    });
    expect(&judged, Verdict::Defer, Reason::DnsBlocklisted, NOT_NOW);
    let judged = case(|_, _, ann| ann.history.wrote_to_domain = true);
    expect(&judged, Verdict::Accept, Reason::Msgtodomain, TAKEN);
    let judged = case(|_, _, ann| ann.history.wrote_to_organization = true);
    expect(&judged, Verdict::Accept, Reason::Msgtoorgdomain, TAKEN);
    let judged = case(|_, message, ann| {
        message.author = Authenticated::No;
        ann.history.domain_proved = past(0, 2);
    });
    expect(&judged, Verdict::Defer, Reason::Msgfromdomain, NOT_NOW);
}

#[test]
pub(crate) fn r10_one_wanted_message_that_somebody_vouched_for_is_enough_and_one_junk_is_not() {
    let signed = |ham, junk| vec![("far.example".to_owned(), past(ham, junk))];
    let judged = case(|_, _, ann| ann.history.signed = signed(1, 0));
    expect(&judged, Verdict::Accept, Reason::Dkimspf, TAKEN);
    let judged = case(|_, _, ann| ann.history.signed = signed(0, 1));
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let judged = case(|_, _, ann| ann.history.signed = signed(0, 2));
    expect(&judged, Verdict::Defer, Reason::Dkimspf, NOT_NOW);
    let judged = case(|_, _, ann| {
        ann.history.signed = signed(0, 2);
        ann.history.spf = past(2, 0);
    });
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    // Of whoever forwards it SPF tells nothing.
    let judged = case(|_, _, ann| {
        ann.history.spf = past(0, 20);
        ann.settings.is_forward = true;
    });
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
}

#[test]
pub(crate) fn r11_addresses_tell_the_more_the_nearer_they_are() {
    type Set = fn(&mut History, Past);
    let of: [(Set, u32, Reason); 3] = [
        (|history, past| history.ip1 = past, 2, Reason::Ip1),
        (|history, past| history.ip2 = past, 5, Reason::Ip2),
        (|history, past| history.ip3 = past, 10, Reason::Ip3),
    ];
    for (set, need, reason) in of {
        let judged = case(|_, _, ann| set(&mut ann.history, past(need, 0)));
        expect(&judged, Verdict::Accept, reason, TAKEN);
        let judged = case(|_, _, ann| set(&mut ann.history, past(0, need)));
        expect(&judged, Verdict::Defer, reason, NOT_NOW);
        let judged = case(|_, _, ann| set(&mut ann.history, past(0, need - 1)));
        expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    }
}

#[test]
pub(crate) fn d9_a_stranger_whom_spf_does_not_name_is_put_off() {
    for result in ["fail", "softfail"] {
        let judged = case(|_, message, _| {
            message.author = Authenticated::No;
            message.spf.result = result.into();
        });
        expect(&judged, Verdict::Defer, Reason::SpfPolicy, NOT_NOW);
        // Whoever is known by name is not.
        let judged = case(|_, message, ann| {
            message.spf.result = result.into();
            ann.history.domain = past(1, 1);
        });
        expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
        let judged = case(|_, message, ann| {
            message.spf.result = result.into();
            ann.settings.is_forward = true;
        });
        expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    }
}

#[test]
pub(crate) fn d10_a_client_without_a_name_is_suspicious_and_with_a_bad_past_put_off() {
    let judged = case(|_, message, _| message.iprev.result = "fail".into());
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let judged = case(|_, message, ann| {
        message.iprev.result = "permerror".into();
        ann.history.ip1 = past(0, 1);
    });
    expect(&judged, Verdict::Defer, Reason::Iprev, NOT_NOW);
    for (iprev, reason) in [
        ("fail", Reason::JunkContentStrict),
        ("pass", Reason::NoBadSignals),
    ] {
        let judged = case(|_, message, ann| {
            message.iprev.result = iprev.into();
            ann.content = content(0.6);
        });
        assert_eq!(judged.decision.reason, reason);
    }
}

#[test]
pub(crate) fn d11_a_token_gets_mail_past_what_comes_behind_it() {
    let judged = case(|_, message, ann| {
        ann.settings.subject_token = true;
        ann.token = Token::Valid;
        ann.content = content(0.99);
        message.listings = listed();
    });
    expect(&judged, Verdict::Accept, Reason::Subjectpass, TAKEN);
    let judged = case(|_, _, ann| {
        ann.settings.subject_token = true;
        ann.token = Token::Invalid("too old".into());
        ann.content = content(0.99);
    });
    expect(&judged, Verdict::Defer, Reason::JunkContent, NOT_NOW);
}

#[test]
pub(crate) fn d12_content_counts_only_when_the_filter_knows_enough() {
    for (probability, is_significant, reason) in [
        (0.7, true, Reason::NoBadSignals),
        (0.71, true, Reason::JunkContent),
        (0.99, false, Reason::NoBadSignals),
        (f64::NAN, true, Reason::NoBadSignals),
    ] {
        let (mut facts, mut ann) = (facts(), ann());
        facts.stage = Stage::Message;
        ann.content = Some(Content {
            is_significant,
            ..content(probability).unwrap()
        });
        assert_eq!(decide(&facts, &ann).reason, reason, "{probability}");
    }
    let judged = case(|_, _, ann| ann.content = content(0.99));
    let change = judged.change.as_ref().map(|change| change.verdict);
    assert_eq!(change, Some(Verdict::Accept));
    let word = ("word".to_owned(), "casino +4.5951 (0, 9)".to_owned());
    let evidence = |judged: &Judgement| {
        let rules = &judged.decision.rules;
        let rule = rules.iter().find(|rule| rule.name == "content").unwrap();
        rule.evidence.clone()
    };
    assert!(evidence(&judged).contains(&word), "{judged:#?}");
    // J-14: where it cannot be known nothing is refused, and the record says so.
    let problem = Content::failed("a disk error".into());
    let judged = case(|_, _, ann| ann.content = Some(problem));
    expect(&judged, Verdict::Accept, Reason::NoBadSignals, TAKEN);
    let problem = ("problem".to_owned(), "a disk error".to_owned());
    assert_eq!(evidence(&judged), [problem]);
}

#[test]
pub(crate) fn a_record_whose_words_do_not_add_up_to_its_probability_differs() {
    let judged = case(|_, _, ann| ann.content = content(0.99));
    let record = |judged: Judgement| Record {
        id: "abc".into(),
        facts: facts(),
        recipients: vec![judged],
        reply: String::new(),
        dns: String::new(),
        left_out: LeftOut::default(),
    };
    assert_eq!(record(judged.clone()).differences(), Vec::<String>::new());
    let mut forged = judged;
    forged.recipient.content.as_mut().unwrap().words[0].weight = -1.0;
    let found = record(forged).differences();
    assert!(found[0].contains("do not add up"), "{found:?}");
}

#[test]
pub(crate) fn content_is_asked_for_only_where_the_decision_comes_to_it() {
    let asks = |judged: Judgement| judged.decision.asks_for_content();
    assert!(asks(case(|_, _, _| {})));
    assert!(!asks(case(|_, _, ann| ann.history.author = past(1, 0))));
    assert!(!asks(case(|_, message, _| {
        message.author = Authenticated::No;
        message.spf.result = "fail".into();
    })));
}

#[test]
pub(crate) fn what_is_kept_of_a_judgement_is_bounded_and_adds_up() {
    let mut extractor = mox_junk::Extractor::new(mox_junk::Limits::default());
    let text: String = (0..400).map(|n| format!("word{n}x ")).collect();
    extractor.push(mox_junk::Place::Text, &text);
    let learned = mox_junk::Counts { ham: 60, spam: 70 };
    let counts = |id: mox_junk::WordId| mox_junk::Counts {
        ham: (id.0 % 7) as u32,
        spam: (id.0 % 11) as u32,
    };
    let parameters = mox_junk::Parameters::default();
    let judgement = mox_junk::judge(&extractor.finish(), learned, &parameters, counts);
    let content = Content::of(&judgement);
    assert_eq!(content.words.len(), CONTENT_WORDS_MAX);
    assert_eq!(content.others, judgement.deciding.len() - CONTENT_WORDS_MAX);
    assert!(content.others > 50 && content.adds_up());
}

#[test]
pub(crate) fn d14_a_list_counts_for_strangers_only() {
    let judged = case(|_, message, _| message.listings = listed());
    expect(&judged, Verdict::Defer, Reason::DnsBlocklisted, NOT_NOW);
    let judged = case(|_, message, ann| {
        message.listings = listed();
        ann.history.author = past(1, 0);
    });
    expect(&judged, Verdict::Accept, Reason::Msgfromfull, TAKEN);
}

#[test]
pub(crate) fn d16_a_proved_stranger_near_the_threshold_is_offered_a_token() {
    let offered = |probability: f64, dmarc: &str, offer: Option<&str>| {
        case(|_, message, ann| {
            ann.settings.subject_token = true;
            ann.settings.junk_threshold = 0.5;
            ann.content = content(probability);
            ann.offer = offer.map(str::to_owned);
            message.dmarc.result = dmarc.into();
        })
    };
    let judged = offered(0.6, "pass", Some("[token]"));
    expect(
        &judged,
        Verdict::Refuse,
        Reason::GiveSubjectpass,
        (550, 7, 1),
    );
    assert!(judged.decision.text.ends_with("[token]"));
    for (probability, dmarc, offer) in [
        (0.8, "pass", Some("[token]")),
        (0.6, "none", Some("[token]")),
        (0.6, "pass", None),
    ] {
        let judged = offered(probability, dmarc, offer);
        expect(&judged, Verdict::Defer, Reason::JunkContent, NOT_NOW);
    }
}

#[test]
pub(crate) fn a_record_of_another_version_or_a_damaged_one_is_said_to_be_so() {
    assert!(Record::decode(&[]).is_err());
    assert!(
        Record::decode(&[99, 1, 2])
            .unwrap_err()
            .to_string()
            .contains("version 99")
    );
    let judged = case(|_, _, _| {});
    let record = Record {
        id: "abc".into(),
        facts: facts(),
        recipients: vec![judged],
        reply: String::new(),
        dns: String::new(),
        left_out: LeftOut::default(),
    };
    let octets = record.encode();
    for cut in 1..octets.len() {
        assert!(Record::decode(&octets[..cut]).is_err(), "cut at {cut}");
    }
}
