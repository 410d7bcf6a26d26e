//! A stranger's message with nothing wrong, and what its changes come to.

#![allow(dead_code, reason = "each file of tests takes what it needs")]

use mox_server::decision::{
    Authenticated, Connection, Content, ContentWord, DmarcFacts, Facts, History, Judgement,
    LeftOut, Listing, Message, Method, Past, Reason, Recipient, Record, Settings, Signature, Stage,
    Standing, Strictness, Token, Verdict,
};
use std::cell::RefCell;

thread_local! {
    /// The records of this thread's cases.
    static KEPT: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

/// Takes the records of the cases that this thread ran: others decide again from them, in another process.
pub(crate) fn kept() -> Vec<Record> {
    KEPT.take()
}

pub(crate) fn method(result: &str, subject: &str) -> Method {
    Method {
        result: result.into(),
        subject: subject.into(),
        problem: None,
        mechanism: None,
    }
}

/// A stranger's message with nothing wrong: it passes everything.
pub(crate) fn facts() -> Facts {
    Facts {
        stage: Stage::Message,
        at: 1_767_323_045,
        connection: Connection {
            ip: "192.0.2.1".parse().unwrap(),
            hello: "mx.far.example".into(),
            tls: true,
            slow: false,
        },
        sender: "bob@far.example".into(),
        sender_unreachable: None,
        has_resolver: true,
        message: Some(Message {
            authors: vec!["bob@far.example".into()],
            author_domains: vec!["far.example".into()],
            message_id: Some("<1@far.example>".into()),
            size: 1_000,
            loops: None,
            iprev: method("pass", "mx.far.example"),
            spf: method("pass", "far.example"),
            helo: method("pass", "mx.far.example"),
            dkim: vec![Signature {
                domain: "far.example".into(),
                result: "pass".into(),
                vouches: true,
                problem: None,
                selector: None,
                algorithm: None,
            }],
            dmarc: DmarcFacts {
                result: "pass".into(),
                disposition: "none".into(),
                policy_domain: Some("far.example".into()),
                problem: None,
                alignment: None,
            },
            author: Authenticated::Strict,
            listings: Vec::new(),
        }),
    }
}

pub(crate) fn ann() -> Recipient {
    Recipient {
        address: "ann@ours.example".into(),
        standing: Standing::Known,
        account: Some("ann".into()),
        mailbox: "INBOX".into(),
        settings: Settings::default(),
        history: History::default(),
        token: Token::Absent,
        offer: None,
        content: None,
        report: None,
        loops: None,
        strict: Strictness::default(),
        member: None,
    }
}

pub(crate) fn past(ham: u32, junk: u32) -> Past {
    let mut past = Past::default();
    for _ in 0..junk {
        past = past.and(true);
    }
    for _ in 0..ham {
        past = past.and(false);
    }
    past
}

/// Decides about a message that is changed so, keeps the record, and decides again from what was kept.
#[track_caller]
pub(crate) fn case(change: impl FnOnce(&mut Facts, &mut Message, &mut Recipient)) -> Judgement {
    let (mut facts, mut ann) = (facts(), ann());
    let mut message = facts.message.take().unwrap();
    change(&mut facts, &mut message, &mut ann);
    facts.message = Some(message);
    keep(facts, ann)
}

#[track_caller]
pub(crate) fn keep(facts: Facts, recipient: Recipient) -> Judgement {
    let judgement = Judgement::of(&facts, recipient);
    let record = Record {
        id: "abc".into(),
        facts,
        recipients: vec![judgement.clone()],
        reply: "250 2.0.0 taken".into(),
        dns: String::new(),
        left_out: LeftOut::default(),
    };
    let kept = Record::decode(&record.encode()).unwrap();
    assert_eq!(kept, record);
    assert_eq!(kept.recompute(), record);
    KEPT.with_borrow_mut(|all| all.push(record));
    judgement
}

#[track_caller]
pub(crate) fn expect(
    judgement: &Judgement,
    verdict: Verdict,
    reason: Reason,
    code: (u16, u16, u16),
) {
    let decision = &judgement.decision;
    let said = (decision.verdict, decision.reason, decision.code);
    assert_eq!(said, (verdict, reason, code), "{decision:#?}");
    // The last rule is the one that decided, and the only one.
    let decided =
        |rule: &mox_server::decision::Rule| rule.weight == mox_server::decision::Weight::Decides;
    assert!(decision.rules.last().is_some_and(decided), "{decision:#?}");
    assert_eq!(decision.rules.iter().filter(|r| decided(r)).count(), 1);
}

/// A rule that was looked at.
#[track_caller]
pub(crate) fn rule_of<'a>(judgement: &'a Judgement, name: &str) -> &'a mox_server::decision::Rule {
    let mut rules = judgement.decision.rules.iter();
    rules.find(|rule| rule.name == name).unwrap()
}

pub(crate) const TAKEN: (u16, u16, u16) = (250, 0, 0);
pub(crate) const NOT_NOW: (u16, u16, u16) = (451, 3, 0);

pub(crate) fn content(probability: f64) -> Option<Content> {
    Some(Content {
        probability,
        is_significant: true,
        learned: (60, 70),
        words: vec![ContentWord {
            word: "casino".into(),
            weight: (probability / (1.0 - probability)).ln(),
            counts: (0, 9),
        }],
        others: 0,
        others_weight: 0.0,
        problem: None,
    })
}

pub(crate) fn p_reject(message: &mut Message) {
    message.dmarc.result = "fail".into();
    message.dmarc.disposition = "reject".into();
    message.author = Authenticated::No;
}

pub(crate) fn listed() -> Vec<Listing> {
    let listing = |zone: &str, listed| Listing {
        zone: zone.into(),
        listed,
        text: None,
    };
    vec![
        listing("clean.example", false),
        listing("black.example", true),
    ]
}
