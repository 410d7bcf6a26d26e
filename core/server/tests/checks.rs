//! What the checks of a message came to is a fact of its record, with the reason; and what could not be found out is not said of a domain.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod deciding;

use deciding::{case, rule_of};
use mox_dns::{Facts, Inquiry, MasterFile, Progress};
use mox_machine::{Mono, Now};
use mox_server::decision::{
    Authenticated, DmarcAlignment, DmarcFacts, Message, Method, Signature, Weight,
};
use mox_server::{Author, Checks, Origin};

/// What is known of a message from 192.0.2.1, of so many signatures, where name servers say this.
fn known(zone: &str, author: &str, header: &str) -> Message {
    let zone = MasterFile::parse(zone).unwrap();
    let header = format!("{header}From: a@{author}\r\n\r\n");
    let hashed = mox_dkim::Verifier::new(header.as_bytes(), &mox_dkim::Limits::default()).finish();
    let authors = [author.as_bytes()];
    let checks = Checks {
        ip: [192, 0, 2, 1].into(),
        helo: b"mx.far.example",
        mail_from: b"bob@far.example",
        receiver: "mx.ours.example",
        authors: &authors,
        signatures: Some(&hashed),
        time: 0,
    };
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    let checked = loop {
        match inquiry.run(Now::default(), |facts| checks.run(facts)) {
            Progress::Done(checked) => break checked,
            Progress::Ask(questions) => {
                for question in questions {
                    inquiry.answer(&question, zone.answer(&question));
                }
            }
            Progress::Wait => unreachable!(),
        }
    };
    let origin = Origin {
        authors: vec![Author {
            address: format!("a@{author}"),
            domain: author.as_bytes().to_vec(),
        }],
        message_id: None,
        subject: None,
        signatures: None,
    };
    Message::of(&origin, &checked, 1)
}

#[test]
fn what_decided_in_each_check_and_why_is_known() {
    let message = known(
        "1.2.0.192.in-addr.arpa PTR other.example\nother.example A 192.0.2.9\n\
         far.example TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n\
         _dmarc.author.example TXT \"v=DMARC1; p=reject; aspf=s\"\n",
        "author.example",
        "DKIM-Signature: v=1; a=ed25519-sha256; d=Author.example; s=one; h=From;\r\n bh=AAAA; b=AAAABBBBCCCCDDDD\r\n",
    );
    let method =
        |result: &str, subject: &str, problem: Option<&str>, mechanism: Option<&str>| Method {
            result: result.into(),
            subject: subject.into(),
            problem: problem.map(str::to_owned),
            mechanism: mechanism.map(str::to_owned),
        };
    assert_eq!(message.iprev, method("fail", "other.example", None, None));
    assert_eq!(
        message.spf,
        method("pass", "far.example", None, Some("ip4:192.0.2.0/24"))
    );
    assert_eq!(
        message.dkim,
        [Signature {
            domain: "author.example".into(),
            result: "permerror".into(),
            vouches: false,
            problem: Some("there is no key".into()),
            selector: Some("one".into()),
            algorithm: Some("ed25519-sha256".into()),
        }]
    );
    assert_eq!(
        message.dmarc,
        DmarcFacts {
            result: "fail".into(),
            disposition: "reject".into(),
            policy_domain: Some("author.example".into()),
            problem: None,
            alignment: Some(DmarcAlignment {
                author: "author.example".into(),
                policy: "reject".into(),
                spf_strict: true,
                dkim_strict: false,
                spf: false,
                dkim: None,
            }),
        }
    );
}

#[test]
fn why_name_servers_did_not_tell_is_known_in_words() {
    let message = known(
        "1.2.0.192.in-addr.arpa * !TIMEOUT\nfar.example TXT !SERVFAIL\n",
        "author.example",
        "",
    );
    let timeout = Some("no name server answered in time".to_owned());
    assert_eq!(
        (message.iprev.result.as_str(), message.iprev.problem),
        ("temperror", timeout)
    );
    assert_eq!(message.spf.result, "temperror");
    assert!(message.spf.problem.is_some());
}

#[test]
fn what_could_not_be_found_out_is_not_said_of_the_sender() {
    for (result, because) in [
        (
            "temperror",
            "name servers did not tell what the sender's domain says",
        ),
        (
            "permerror",
            "what the sender's domain says of its clients (SPF) cannot be used",
        ),
        ("none", "the sender's domain does not say"),
        ("neutral", "the sender's domain does not say"),
    ] {
        let judged = case(|_, message, _| message.spf.result = result.into());
        let spf = rule_of(&judged, "spf");
        assert_eq!(
            (spf.weight, spf.because.as_str()),
            (Weight::Silent, because)
        );
    }
    let nameless = "the client has no name that leads back to it";
    for (result, because) in [
        (
            "temperror",
            "name servers did not tell whether the client has a name that leads back to it",
        ),
        ("permerror", nameless),
        ("fail", nameless),
    ] {
        let judged = case(|_, message, _| message.iprev.result = result.into());
        let iprev = rule_of(&judged, "iprev");
        assert_eq!(
            (iprev.weight, iprev.because.as_str()),
            (Weight::Against, because)
        );
    }
    let judged = case(|_, message, _| {
        message.dmarc.result = "temperror".into();
        message.author = Authenticated::No;
    });
    assert_eq!(
        rule_of(&judged, "dmarc").because,
        "name servers did not tell whether the author's domain has a policy, or vouches for the message"
    );
}
