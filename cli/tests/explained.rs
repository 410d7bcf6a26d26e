//! What `moxctl explain` says to people of the checks of a message.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod told;

use mox_server::decision::{
    Authenticated, Connection, Content, ContentWord, DmarcAlignment, DmarcFacts, Facts, Judgement,
    LeftOut, Message, Method, Recipient, Record, Signature, Stage, Standing,
};
use told::{told, with_input};

fn method(result: &str, subject: &str, problem: &str, mechanism: &str) -> Method {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Method {
        result: result.into(),
        subject: subject.into(),
        problem: some(problem),
        mechanism: some(mechanism),
    }
}

fn signature(domain: &str, result: &str, problem: Option<&str>) -> Signature {
    Signature {
        domain: domain.into(),
        result: result.into(),
        vouches: result == "pass",
        problem: problem.map(str::to_owned),
        selector: Some("s1".into()),
        algorithm: Some("rsa-sha256".into()),
    }
}

/// A record of a message to ann of which this is known.
fn record(message: Message, content: Option<Content>, dns: &str) -> Record {
    let facts = Facts {
        stage: Stage::Message,
        at: 1_767_323_045,
        connection: Connection {
            ip: [192, 0, 2, 1].into(),
            hello: "mx.far.example".into(),
            tls: true,
            slow: true,
        },
        sender: "bob@far.example".into(),
        sender_unreachable: None,
        has_resolver: true,
        message: Some(message),
    };
    let recipient = Recipient {
        account: Some("ann".into()),
        mailbox: "INBOX".into(),
        content,
        ..Recipient::new("ann@ours.example".into(), Standing::Known)
    };
    Record {
        id: "abc".into(),
        recipients: vec![Judgement::of(&facts, recipient)],
        facts,
        reply: "250".into(),
        dns: dns.into(),
        left_out: LeftOut::default(),
    }
}

fn message() -> Message {
    Message {
        authors: vec!["bob@author.example".into()],
        author_domains: vec!["author.example".into()],
        message_id: Some("<1@far.example>".into()),
        size: 1_000,
        ..Message::default()
    }
}

fn alignment() -> DmarcAlignment {
    DmarcAlignment {
        author: "author.example".into(),
        policy: "reject".into(),
        ..DmarcAlignment::default()
    }
}

/// What people are told of it, and of its checks alone.
fn explained(record: &Record) -> (String, Vec<String>) {
    let json = serde_json::to_vec(&[record]).unwrap();
    let output = with_input(&["explain", "--from", "-"], &json);
    let (code, out, err) = told(&output);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines = out.lines().skip_while(|line| *line != "  checks:").skip(1);
    let checks = lines.take_while(|line| line.starts_with("    "));
    let checks = checks.map(|line| line.trim_start().to_owned()).collect();
    (out, checks)
}

#[test]
fn each_check_is_told_with_what_decided_and_which_of_them_counts_for_the_author() {
    let mut message = message();
    message.iprev = method("pass", "mx.far.example", "", "");
    message.spf = method("pass", "far.example", "", "ip4:192.0.2.0/24");
    message.dkim = vec![
        signature(
            "author.example",
            "fail",
            Some("the body is not as it was signed"),
        ),
        signature("far.example", "pass", None),
    ];
    message.dmarc = DmarcFacts {
        result: "fail".into(),
        disposition: "reject".into(),
        policy_domain: Some("author.example".into()),
        problem: None,
        alignment: Some(DmarcAlignment {
            spf_strict: true,
            ..alignment()
        }),
    };
    let (out, checks) = explained(&record(message.clone(), None, ""));
    assert_eq!(
        checks,
        [
            "iprev pass: mx.far.example",
            "SPF pass: far.example, by ip4:192.0.2.0/24, not aligned with author.example, which demands the very domain",
            "DKIM 1 fail: author.example, selector s1, rsa-sha256; the body is not as it was signed",
            "DKIM 2 pass: far.example, selector s1, rsa-sha256, not aligned with author.example",
            "DMARC fail: author.example, policy reject, nothing that passes is aligned",
        ]
    );
    assert!(
        out.starts_with(
            "2026-01-02T03:04:05Z  abc\n  from <bob@far.example>, brought by mx.far.example [192.0.2.1] over TLS, to whom replies were slow\n  \
             message <1@far.example>, 1000 octets, author bob@author.example\n  checks:\n"
        ),
        "{out}"
    );

    // The first signature that counts is named, and what stands behind it was not looked at.
    message
        .dkim
        .insert(1, signature("mail.author.example", "pass", None));
    message.dmarc.result = "pass".into();
    message.dmarc.policy_domain = Some("example".into());
    message.dmarc.alignment = Some(DmarcAlignment {
        spf: true,
        dkim: Some(1),
        ..alignment()
    });
    let (_, checks) = explained(&record(message, None, ""));
    assert_eq!(
        checks[1..],
        [
            "SPF pass: far.example, by ip4:192.0.2.0/24, aligned with author.example",
            "DKIM 1 fail: author.example, selector s1, rsa-sha256; the body is not as it was signed",
            "DKIM 2 pass: mail.author.example, selector s1, rsa-sha256, aligned with author.example",
            "DKIM 3 pass: far.example, selector s1, rsa-sha256",
            "DMARC pass: author.example, policy reject of example, by SPF and DKIM 2",
        ]
    );
}

#[test]
fn what_failed_is_told_with_its_reason_and_what_name_servers_did_not_answer() {
    let mut message = message();
    message.iprev = method("temperror", "", "no name server answered in time", "");
    message.spf = method("permerror", "far.example", "there are two records", "");
    let mut signature = signature("far.example", "pass", None);
    signature.vouches = false;
    message.dkim = vec![signature];
    message.dmarc = DmarcFacts {
        result: "temperror".into(),
        disposition: "defer".into(),
        ..DmarcFacts::default()
    };
    let mut dns =
        "1.2.0.192.in-addr.arpa. 0 PTR !TIMEOUT\nfar.example. 300 TXT \"v=spf1 -all\"\n".to_owned();
    dns.push_str("_dmarc.author.example. 0 TXT !SERVFAIL\ngone.example. 60 TXT !NXDOMAIN\n");
    let (out, checks) = explained(&record(message.clone(), None, &dns));
    assert_eq!(
        checks,
        [
            "iprev temperror: no name server answered in time",
            "SPF permerror: far.example; there are two records",
            "DKIM 1 pass: far.example, selector s1, rsa-sha256; the end of the message is not signed, so it vouches for nothing",
            "DMARC temperror: author.example, which may want it refused",
            "not answered: 1.2.0.192.in-addr.arpa PTR; no name server answered in time",
            "not answered: _dmarc.author.example TXT; the name servers could not answer",
        ]
    );
    let mut other = message.clone();
    // Of what name servers did not tell nothing is told as if it were so.
    other.iprev.subject = "mx.far.example".into();
    other.spf = method("pass", "far.example", "", "ip4:192.0.2.1");
    other.dmarc.alignment = Some(DmarcAlignment {
        spf: false,
        dkim: None,
        ..alignment()
    });
    let (_, checks) = explained(&record(other, None, &dns));
    assert_eq!(
        checks[..2],
        [
            "iprev temperror: whether mx.far.example leads back is not known; no name server answered in time",
            "SPF pass: far.example, by ip4:192.0.2.1",
        ]
    );
    let known = "whether something that passes is aligned is not known";
    assert!(checks[3].contains(known), "{checks:?}");
    assert!(
        out.contains("    * dmarc: name servers did not tell whether the author's domain vouches"),
        "{out}"
    );

    // However much it is, it stays readable, and nothing moves a terminal's cursor.
    let many: String = (0..40)
        .map(|nth| format!("n{nth}.example. 0 TXT !TIMEOUT\n"))
        .collect();
    message.spf = method("fail", &"x".repeat(300), "", "-all\u{1b}[2J");
    message.dkim.clear();
    let (_, checks) = explained(&record(message, None, &many));
    assert_eq!(
        checks[1],
        format!("SPF fail: {}..., by -all [2J", "x".repeat(120))
    );
    assert_eq!(checks[2], "DKIM none: there is no signature");
    assert_eq!(checks.len(), 4 + 6, "{checks:?}");
    assert_eq!(checks[9], "not answered: 35 more");
}

#[test]
fn of_junk_the_words_and_the_threshold_are_named_that_would_have_let_it_through() {
    let mut message = message();
    message.iprev = method("pass", "mx.far.example", "", "");
    message.spf = method("pass", "far.example", "", "mx");
    message.dmarc.result = "none".into();
    message.author = Authenticated::Strict;
    let words = [("casino", 2.0), ("cash", 1.5), ("meeting", -0.5)];
    let content = Content {
        probability: 1.0 / (1.0 + (-3.0_f64).exp()),
        is_significant: true,
        learned: (60, 70),
        words: words
            .map(|(word, weight)| ContentWord {
                word: word.into(),
                weight,
                counts: (1, 1),
            })
            .into(),
        problem: None,
        ..Content::failed(String::new())
    };
    let (out, _) = explained(&record(message, Some(content), ""));
    let last = out.split_once("    it would be ").unwrap().1;
    assert_eq!(
        last,
        "accept if: 1 more message of this author marked as not junk\n      \
         or: without the words casino, cash (probability 0.3775)\n      \
         or: with threshold 0.9526 in junk_filter\n"
    );
}

#[test]
fn a_record_that_an_earlier_program_printed_is_read_and_told() {
    let mut message = message();
    message.spf = method("fail", "far.example", "", "");
    let mut json = serde_json::to_value([record(message, None, "")]).unwrap();
    let facts = &mut json[0]["facts"];
    facts["connection"].as_object_mut().unwrap().remove("slow");
    for check in ["iprev", "spf", "helo"] {
        let check = facts["message"][check].as_object_mut().unwrap();
        check.remove("mechanism").unwrap();
    }
    let dmarc = facts["message"]["dmarc"].as_object_mut().unwrap();
    dmarc.remove("alignment").unwrap();
    let change = &mut json[0]["recipients"][0]["change"];
    change.as_object_mut().unwrap().remove("content").unwrap();
    let output = with_input(&["explain", "--from", "-"], json.to_string().as_bytes());
    let (code, out, err) = told(&output);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("    SPF fail: far.example\n"), "{out}");
}
