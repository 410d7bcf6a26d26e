//! Authentication-Results: ours written, those of others who claim to be us taken out.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use bytes::Bytes;
use mox_address::Domain;
use mox_dns::{Facts, Inquiry, IprevVerdict, MasterFile, Missing, Progress, iprev};
use mox_machine::{Mono, Now};
use mox_message::{AuthservId, authentication_results, authserv_id};
use mox_server::{Scrub, Verdicts, results};
use proptest::prelude::*;

fn host(name: &str) -> Domain {
    Domain::parse(name, true).unwrap()
}

fn scrubbed(hostname: &str, message: &[u8], cuts: &[usize]) -> (Vec<u8>, u32) {
    let mut scrub = Scrub::new(&host(hostname));
    let message = Bytes::copy_from_slice(message);
    let mut out = Vec::new();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([message.len()]) {
        if cut >= from && cut <= message.len() {
            scrub.push(&message.slice(from..cut), &mut out);
            from = cut;
        }
    }
    scrub.finish(&mut out);
    (out.concat(), scrub.removed())
}

#[test]
fn what_looks_like_our_decisions_is_taken_out_however_it_is_cut() {
    let message = b"X-Mox-Decision: kx3qaabcdefg; accept; msgtofull\r\n\
        x-mox-decision :\r\n folded;\r\n\tand more\r\n\
        X-Mox-Decisions: mine\r\n\
        X-Mox: mine\r\n\
        Subject: a\r\n X-Mox-Decision: folded\r\n\
        \r\n\
        X-Mox-Decision: in the body\r\n";
    let expected = "X-Mox-Decisions: mine\r\nX-Mox: mine\r\n\
        Subject: a\r\n X-Mox-Decision: folded\r\n\
        \r\nX-Mox-Decision: in the body\r\n";
    for cut in 0..message.len() {
        let (left, removed) = scrubbed("mx.example.org", message, &[cut]);
        assert_eq!(
            (String::from_utf8(left).unwrap().as_str(), removed),
            (expected, 2),
            "{cut}"
        );
    }
    let long = format!(
        "X-Mox-Decision: {}\r\n more\r\nSubject: a\r\n\r\n",
        "x".repeat(20_000)
    );
    let (left, removed) = scrubbed("mx.example.org", long.as_bytes(), &[100, 9_000]);
    assert_eq!((&left[..], removed), (&b"Subject: a\r\n\r\n"[..], 1));
}

#[test]
fn fields_with_our_name_are_taken_out_and_nothing_else() {
    let message = "Received: x\r\n\
        Authentication-Results: mx.example.org; spf=pass\r\n\
        \tsmtp.mailfrom=bank.example\r\n\
        Authentication-Results: mx.example.net; spf=fail\r\n\
        authentication-results : (a (nested) one \\)) MX.Example.ORG. 1; none\r\n\
        AUTHENTICATION-RESULTS:\r\n  \"mx.\\example.org\"; dkim=pass\r\n\
        Authentication-Results: sub.mx.example.org; spf=pass\r\n\
        Authentication-Results: other.example (mx.example.org); spf=pass\r\n\
        Authentication-Results: (mx.example.org; spf=pass\r\n\
        Authentication-Results: mx.example.org spf=pass\r\n\
        Authentication-Results-Old: mx.example.org; spf=pass\r\n\
        X-Authentication-Results: mx.example.org; spf=pass\r\n\
        Subject: a\r\n Authentication-Results: mx.example.org\r\n\
        \r\n\
        Authentication-Results: mx.example.org; in the body\r\n";
    let expected = "Received: x\r\n\
        Authentication-Results: mx.example.net; spf=fail\r\n\
        Authentication-Results: sub.mx.example.org; spf=pass\r\n\
        Authentication-Results: other.example (mx.example.org); spf=pass\r\n\
        Authentication-Results-Old: mx.example.org; spf=pass\r\n\
        X-Authentication-Results: mx.example.org; spf=pass\r\n\
        Subject: a\r\n Authentication-Results: mx.example.org\r\n\
        \r\n\
        Authentication-Results: mx.example.org; in the body\r\n";
    for cut in 0..=message.len() {
        let (left, removed) = scrubbed("mx.example.org", message.as_bytes(), &[cut]);
        assert_eq!(String::from_utf8(left).unwrap(), expected, "cut at {cut}");
        assert_eq!(removed, 5);
    }
    let every: Vec<usize> = (0..message.len()).collect();
    let (left, _) = scrubbed("mx.example.org", message.as_bytes(), &every);
    assert_eq!(left, expected.as_bytes());
}

#[test]
fn our_name_is_ours_in_letters_and_in_a_labels() {
    for hostname in ["mx.b\u{fc}cher.example", "mx.xn--bcher-kva.example"] {
        for id in [
            "mx.b\u{fc}cher.example",
            "mx.xn--bcher-kva.example",
            "MX.B\u{dc}CHER.example",
        ] {
            let message = format!("Authentication-Results: {id}; spf=pass\r\n\r\n");
            let (left, removed) = scrubbed(hostname, message.as_bytes(), &[]);
            assert_eq!((&*left, removed), (&b"\r\n"[..], 1), "{hostname} {id}");
        }
    }
}

#[test]
fn a_field_of_a_megabyte_is_taken_out_or_passed_on_without_being_held() {
    let long = "x".repeat(1_000_000);
    for (id, gone) in [("mx.example.org", true), ("mx.example.net", false)] {
        let field = format!("Authentication-Results: {id}; spf=pass ({long}\r\n {long})\r\n");
        let message = format!("{field}Subject: x\r\n\r\n{long}");
        let cuts: Vec<usize> = (0..message.len()).step_by(4_096).collect();
        let (left, removed) = scrubbed("mx.example.org", message.as_bytes(), &cuts);
        assert_eq!(removed, u32::from(gone));
        let rest = &message.as_bytes()[if gone { field.len() } else { 0 }..];
        assert!(left == rest);
    }
    // Our name behind more than is looked at: it cannot be read, and it is not there.
    let field = format!("Authentication-Results: ({long}) mx.example.org; spf=pass\r\n");
    let (left, _) = scrubbed("mx.example.org", field.as_bytes(), &[]);
    assert_eq!(left.len(), field.len());
}

#[test]
fn a_message_may_end_anywhere() {
    for (message, left) in [
        ("", ""),
        ("Auth", "Auth"),
        ("Authentication-Results", "Authentication-Results"),
        ("Authentication-Results: mx.example.org", ""),
        ("Authentication-Results: mx.example.org; x\r\n y", ""),
        (
            "Authentication-Results: mx.example.net; x",
            "Authentication-Results: mx.example.net; x",
        ),
        ("\r", "\r"),
        (
            "\rAuthentication-Results: mx.example.org; x\n",
            "\rAuthentication-Results: mx.example.org; x\n",
        ),
        ("a\nAuthentication-Results: mx.example.org; x\n\n", "a\n\n"),
    ] {
        assert_eq!(
            scrubbed("mx.example.org", message.as_bytes(), &[]).0,
            left.as_bytes(),
            "{message:?}"
        );
    }
}

#[test]
fn whose_results_a_field_has_is_read_as_the_grammar_says() {
    let name = |text: &str| AuthservId::Name(text.as_bytes().to_vec());
    for (value, id) in [
        (" example.com; none", name("example.com")),
        ("Example.COM.", name("example.com")),
        ("\r\n\texample.com 1;", name("example.com")),
        ("(c)(d)\"a \\\"b\" ; x=y", name("a \"b")),
        ("example.com(c);", name("example.com")),
        ("", AuthservId::Unreadable),
        (";", AuthservId::Unreadable),
        ("(open", AuthservId::Unreadable),
        ("\"open", AuthservId::Unreadable),
        ("a b; c", AuthservId::Unreadable),
        ("a=b", AuthservId::Unreadable),
    ] {
        assert_eq!(authserv_id(value.as_bytes()), id, "{value:?}");
    }
    assert_eq!(
        authserv_id("(".repeat(100_000).as_bytes()),
        AuthservId::Unreadable
    );
}

/// Runs a function of facts to its end.
fn ask<T>(zone: &MasterFile, mut function: impl FnMut(&Facts) -> Result<T, Missing>) -> T {
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    loop {
        match inquiry.run(Now::default(), &mut function) {
            Progress::Done(done) => return done,
            Progress::Ask(questions) => {
                for question in questions {
                    inquiry.answer(&question, zone.answer(&question));
                }
            }
            Progress::Wait => unreachable!(),
        }
    }
}

#[test]
fn the_checks_of_a_message_are_told_in_one_field() {
    let zone = MasterFile::parse(
        "1.2.0.192.in-addr.arpa PTR mx.example.net\nmx.example.net A 192.0.2.1\n\
         example.net TXT \"v=spf1 ip4:192.0.2.1 -all\"\n_dmarc.example.net TXT \"v=DMARC1; p=reject\"\n",
    )
    .unwrap();
    let ip = "192.0.2.1".parse().unwrap();
    let reverse = ask(&zone, |facts| iprev(facts, ip));
    assert_eq!(reverse.verdict, IprevVerdict::Pass);
    let query = mox_spf::Query {
        ip,
        helo: b"mx.example.net",
        mail_from: b"ann@example.net",
        receiver: b"mx.example.org",
        time: 0,
    };
    let spf = ask(&zone, |facts| {
        mox_spf::check_host(facts, &query, &mox_spf::Limits::default())
    });
    let header = b"DKIM-Signature: v=1; a=ed25519-sha256; d=example.net; s=one; h=From;\r\n bh=AAAA; b=AAAABBBBCCCCDDDD\r\nFrom: ann@example.net\r\n\r\n";
    let hashed = mox_dkim::Verifier::new(header, &mox_dkim::Limits::default()).finish();
    let dkim = ask(&zone, |facts| {
        hashed.judge(facts, &mox_dkim::Policy::default(), 0, &mox_dkim::AwsLc)
    });
    let message = mox_dmarc::Message {
        authors: &[b"example.net"],
        spf: Some(mox_dmarc::Authenticated {
            domain: b"example.net",
            outcome: mox_dmarc::Outcome::Pass,
        }),
        dkim: &[],
    };
    let dmarc = ask(&zone, |facts| mox_dmarc::evaluate(facts, &message));
    let verdicts = Verdicts {
        iprev: Some(&reverse),
        dkim: Some(&dkim),
        spf: Some(&spf),
        dmarc: Some(&dmarc),
    };
    assert_eq!(
        authentication_results("mx.example.org", &results(&verdicts)),
        "Authentication-Results: mx.example.org;\r\n\
         \tiprev=pass (mx.example.net) policy.iprev=192.0.2.1;\r\n\
         \tdkim=permerror reason=\"there is no key\" header.d=example.net header.s=one\r\n\
         \theader.a=ed25519-sha256 header.b=AAAABBBBCCCC;\r\n\
         \tspf=pass smtp.mailfrom=example.net;\r\n\
         \tdmarc=pass (p=reject) header.from=example.net\r\n"
    );
    assert_eq!(
        authentication_results("mx.example.org", &[]),
        "Authentication-Results: mx.example.org; none\r\n"
    );
    let unsigned = Verdicts {
        dkim: Some(&[]),
        ..Verdicts::default()
    };
    assert_eq!(
        authentication_results("mx.example.org", &results(&unsigned)),
        "Authentication-Results: mx.example.org;\r\n\tdkim=none\r\n"
    );
}

/// Semicolons that end a result: not those in quotes or comments.
fn ends(value: &str) -> usize {
    let (mut quoted, mut depth, mut escaped, mut count) = (false, 0, false, 0);
    for c in value.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ';' if !quoted && depth == 0 => count += 1,
            _ => {}
        }
    }
    assert!(!quoted && depth == 0, "{value}");
    count
}

proptest! {
    #[test]
    fn nothing_a_peer_says_breaks_out_of_the_field(
        comment in prop::option::of("(?s).{0,30}"), reason in prop::option::of("(?s).{0,30}"),
        values in prop::collection::vec("(?s)(.{0,20}|[;()\"\\\\\r\n=@a. ]{0,20}|x{0,500})", 0..4),
    ) {
        let result = mox_message::MethodResult {
            method: "dkim",
            result: "fail",
            comment,
            reason: reason.as_deref(),
            properties: values.into_iter().map(|value| ("header.d", value)).collect(),
        };
        let field = authentication_results("mx.example.org", &[result.clone(), result]);
        let unfolded = field.replace("\r\n\t", " ");
        let value = unfolded.strip_prefix("Authentication-Results:").unwrap().strip_suffix("\r\n").unwrap();
        prop_assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", value);
        prop_assert_eq!(ends(value), 2, "{}", value);
        prop_assert_eq!(value.matches("dkim=fail").count(), 2);
        prop_assert_eq!(authserv_id(value.as_bytes()), AuthservId::Name(b"mx.example.org".to_vec()));
        prop_assert!(field.lines().all(|line| line.len() <= 998));
        let message = format!("{field}\r\n");
        prop_assert_eq!(scrubbed("mx.example.org", message.as_bytes(), &[]), (b"\r\n".to_vec(), 1));
    }

    #[test]
    fn what_is_left_does_not_depend_on_how_a_message_is_cut(
        lines in prop::collection::vec("(Authentication-Results ?: ?|)(mx.example.org|x|\\(|\"){0,2}(;|=| )?[a-z ]{0,5}\r?\n?|\r\n| [a-z]{0,3}\r\n", 0..12),
        cuts in prop::collection::vec(0_usize..200, 0..20),
    ) {
        let message = lines.concat();
        let mut cuts = cuts;
        cuts.sort_unstable();
        let whole = scrubbed("mx.example.org", message.as_bytes(), &[]);
        prop_assert_eq!(scrubbed("mx.example.org", message.as_bytes(), &cuts), whole);
    }
}
