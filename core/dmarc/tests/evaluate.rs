//! Which record holds, who is aligned, what is to be done.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod zone;

use mox_dmarc::{
    Authenticated, Disposition, Message, Outcome, Policy, Record, Verdict, author_policies,
    evaluate,
};
use mox_dns::{Facts, Failure, Inquiry, Missing, Name, Progress, Question, RecordType};
use mox_machine::{Mono, Now};
use proptest::prelude::*;
use zone::{Zone, check};

fn zone(records: &[(&str, &str)]) -> Zone {
    let mut zone = Zone::default();
    for (name, text) in records {
        zone.txt(name, text);
    }
    zone
}

const fn pass(domain: &str) -> Authenticated<'_> {
    Authenticated {
        domain: domain.as_bytes(),
        outcome: Outcome::Pass,
    }
}

fn spf<'a>(authors: &'a [&'a [u8]], domain: &'a str) -> Message<'a> {
    Message {
        authors,
        spf: Some(pass(domain)),
        dkim: &[],
    }
}

#[test]
fn policies_of_parents_hold_for_names_below_them() {
    let zone = zone(&[
        (
            "_dmarc.example.org",
            "v=DMARC1; p=none; sp=quarantine; np=reject",
        ),
        ("exists.example.org", "x"),
        ("_dmarc.own.example.org", "v=DMARC1; p=reject; sp=none"),
    ]);
    for (author, policy, owner) in [
        ("example.org", Policy::None, "example.org"),
        ("exists.example.org", Policy::Quarantine, "example.org"),
        ("gone.example.org", Policy::Reject, "example.org"),
        ("own.example.org", Policy::Reject, "own.example.org"),
        ("a.own.example.org", Policy::Reject, "example.org"),
    ] {
        let (report, _) = check(&zone, &spf(&[author.as_bytes()], "other.example"), 1);
        let of = &report.authors[0];
        assert_eq!(
            (of.policy, of.policy_domain.as_deref()),
            (policy, Some(owner)),
            "{author}"
        );
        assert_eq!(report.disposition, policy.into(), "{author}");
        assert_eq!(report.verdict, Verdict::Fail);
    }
}

#[test]
fn a_name_of_many_labels_costs_eight_questions() {
    let author = "a.b.c.d.e.f.g.h.i.j.mail.example.com";
    let zone = zone(&[("_dmarc.example.com", "v=DMARC1; p=reject")]);
    let (report, facts) = check(&zone, &spf(&[author.as_bytes()], "x.example.net"), 1);
    let mut asked: Vec<String> = facts
        .iter()
        .map(|(question, _)| question.name().to_string())
        .collect();
    asked.sort_by_key(|name| core::cmp::Reverse(name.len()));
    assert_eq!(
        asked,
        [
            "_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com",
            "_dmarc.g.h.i.j.mail.example.com",
            "_dmarc.h.i.j.mail.example.com",
            "_dmarc.i.j.mail.example.com",
            "_dmarc.j.mail.example.com",
            "_dmarc.mail.example.com",
            "_dmarc.example.com",
            "_dmarc.com"
        ]
    );
    assert_eq!(report.authors[0].organizational, "example.com");
}

#[test]
fn alignment_goes_by_the_organizational_domain_unless_it_is_strict() {
    let relaxed = zone(&[("_dmarc.example.org", "v=DMARC1; p=reject")]);
    let strict = zone(&[("_dmarc.example.org", "v=DMARC1; p=reject; aspf=s; adkim=s")]);
    let verdict = |zone: &Zone, author: &str, domain: &str| {
        check(zone, &spf(&[author.as_bytes()], domain), 1).0.verdict
    };
    assert_eq!(
        verdict(&relaxed, "a.example.org", "b.example.org"),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&relaxed, "EXAMPLE.org", "example.ORG."),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&relaxed, "example.org", "badexample.org"),
        Verdict::Fail
    );
    assert_eq!(
        verdict(&strict, "a.example.org", "b.example.org"),
        Verdict::Fail
    );
    assert_eq!(
        verdict(&strict, "a.example.org", "a.example.org"),
        Verdict::Pass
    );
    // Nobody's policy.
    assert_eq!(
        verdict(&relaxed, "example.net", "example.net"),
        Verdict::None
    );
}

#[test]
fn several_authors_do_not_get_past_the_policy_of_one() {
    let zone = zone(&[
        ("_dmarc.bank.example", "v=DMARC1; p=reject"),
        ("_dmarc.mine.example", "v=DMARC1; p=none"),
    ]);
    let (report, _) = check(
        &zone,
        &spf(&[b"mine.example", b"bank.example"], "mine.example"),
        1,
    );
    assert_eq!(
        (report.verdict, report.disposition),
        (Verdict::Fail, Disposition::Reject)
    );
    let (report, _) = check(
        &zone,
        &spf(&[b"mine.example", b"nobody.example"], "mine.example"),
        1,
    );
    assert_eq!(
        (report.verdict, report.disposition),
        (Verdict::None, Disposition::None)
    );
    for authors in [&[][..], &[&b""[..]], &[&b"a..example"[..]]] {
        let (report, _) = check(&zone, &spf(authors, "mine.example"), 1);
        assert_eq!(
            (report.verdict, report.disposition),
            (Verdict::PermError, Disposition::Reject),
            "{authors:?}"
        );
    }
    let many: Vec<String> = (0..9).map(|n| format!("d{n}.example")).collect();
    let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    let (report, facts) = check(&zone, &spf(&many, "mine.example"), 1);
    assert_eq!(
        (report.problem, facts.len()),
        (Some("there are too many authors"), 0)
    );
}

#[test]
fn a_failure_of_dns_is_no_fail_and_only_where_it_matters() {
    let mut zone = zone(&[("_dmarc.example.org", "v=DMARC1; p=reject")]);
    let unknown = |domain| Message {
        authors: &[b"example.org"],
        spf: None,
        dkim: if domain {
            &[Authenticated {
                domain: b"mail.example.org",
                outcome: Outcome::TempError,
            }]
        } else {
            &[Authenticated {
                domain: b"stranger.example",
                outcome: Outcome::TempError,
            }]
        },
    };
    let (report, _) = check(&zone, &unknown(true), 1);
    assert_eq!(
        (report.verdict, report.disposition, report.pending()),
        (Verdict::TempError, Disposition::None, Disposition::Reject)
    );
    // A signature in a stranger's name does not keep the message from failing.
    assert_eq!(
        check(&zone, &unknown(false), 1).0.disposition,
        Disposition::Reject
    );
    zone.0.insert(
        Name::parse("_dmarc.sub.example.org").unwrap(),
        Err(Failure::Timeout),
    );
    let (report, _) = check(&zone, &spf(&[b"sub.example.org"], "stranger.example"), 1);
    // What is written above may hold.
    assert_eq!(
        (report.verdict, report.disposition, report.pending()),
        (Verdict::TempError, Disposition::None, Disposition::Reject)
    );
}

#[test]
fn where_it_is_not_known_whether_the_name_exists_the_strictest_policy_may_hold() {
    let record = |sp, np| format!("v=DMARC1; p=none; sp={sp}; np={np}");
    for (sp, np) in [("none", "reject"), ("reject", "none")] {
        let mut zone = zone(&[("_dmarc.example.org", &record(sp, np))]);
        let slow = Name::parse("slow.example.org").unwrap();
        zone.0.insert(slow, Err(Failure::ServFail));
        let author: &[&[u8]] = &[b"slow.example.org"];
        let (report, _) = check(&zone, &spf(author, "stranger.example"), 1);
        assert_eq!(
            (report.verdict, report.disposition, report.pending()),
            (Verdict::TempError, Disposition::None, Disposition::Reject)
        );
        // It is of no interest for what passes.
        let (report, _) = check(&zone, &spf(author, "slow.example.org"), 1);
        assert_eq!(
            (report.verdict, report.pending()),
            (Verdict::Pass, Disposition::None)
        );
    }
}

#[test]
fn no_stranger_is_near_where_the_names_above_the_author_do_not_answer() {
    let mut zone = zone(&[("_dmarc.victim.example", "v=DMARC1; p=reject")]);
    let above = Name::parse("_dmarc.example").unwrap();
    zone.0.insert(above, Err(Failure::ServFail));
    let (report, _) = check(&zone, &spf(&[b"victim.example"], "evil.test"), 1);
    assert_eq!(
        (report.verdict, report.disposition),
        (Verdict::Fail, Disposition::Reject)
    );
    let (report, _) = check(&zone, &spf(&[b"victim.example"], "other.example"), 1);
    assert_eq!(
        (report.verdict, report.pending()),
        (Verdict::TempError, Disposition::Reject)
    );
}

#[test]
fn an_octet_that_is_no_text_spoils_its_tag_alone() {
    let record = Record::parse(b"v=DMARC1; p=reject; note=\xff").unwrap();
    assert_eq!(record.policy, Some(Policy::Reject));
    assert!(Record::parse(b"v=DMARC1\xff; p=reject").is_err());
}

#[test]
fn a_stranger_whose_name_server_fails_changes_nothing() {
    let mut zone = zone(&[("_dmarc.victim.example", "v=DMARC1; p=reject")]);
    zone.0.insert(
        Name::parse("_dmarc.evil.example").unwrap(),
        Err(Failure::ServFail),
    );
    let message = Message {
        authors: &[b"victim.example"],
        spf: Some(pass("evil.example")),
        dkim: &[pass("evil.example")],
    };
    let (report, facts) = check(&zone, &message, 1);
    assert_eq!(
        (report.verdict, report.disposition),
        (Verdict::Fail, Disposition::Reject)
    );
    // Nor is he asked.
    assert_eq!(facts.len(), 2);
}

#[test]
fn a_record_without_a_policy_still_says_where_the_organization_is() {
    let zone = zone(&[
        ("_dmarc.bank.example", "v=DMARC1; psd=y"),
        ("_dmarc.example", "v=DMARC1; p=reject"),
    ]);
    let (report, _) = check(&zone, &spf(&[b"a.bank.example"], "b.bank.example"), 1);
    assert!(
        !report.authors.iter().any(|author| author.spf_aligned),
        "{report:?}"
    );
}

#[test]
fn a_policy_on_trial_is_one_step_milder() {
    for (text, disposition) in [
        ("v=DMARC1; p=reject; t=y", Disposition::Quarantine),
        ("v=DMARC1; p=quarantine; t=y", Disposition::None),
        ("v=DMARC1; p=reject; pct=0", Disposition::Quarantine),
        ("v=DMARC1; p=reject; pct=50", Disposition::Reject),
        ("v=DMARC1; p=reject; t=n; pct=0", Disposition::Reject),
        ("v=DMARC1; p=quarantine", Disposition::Quarantine),
        ("v=DMARC1; p=none", Disposition::None),
    ] {
        let (report, _) = check(
            &zone(&[("_dmarc.example.org", text)]),
            &spf(&[b"example.org"], "x.example"),
            1,
        );
        assert_eq!(
            (report.verdict, report.disposition),
            (Verdict::Fail, disposition),
            "{text}"
        );
    }
}

#[test]
fn two_records_or_one_that_cannot_be_used_are_none() {
    let two = zone(&[
        ("_dmarc.example.org", "v=DMARC1; p=reject"),
        ("_dmarc.example.org", "v=DMARC1; p=none"),
    ]);
    assert_eq!(
        check(&two, &spf(&[b"example.org"], "x.example"), 1)
            .0
            .verdict,
        Verdict::None
    );
    let broken = zone(&[("_dmarc.example.org", "v=DMARC1; p=nonsense")]);
    assert_eq!(
        check(&broken, &spf(&[b"example.org"], "x.example"), 1)
            .0
            .verdict,
        Verdict::None
    );
    let long = format!("v=DMARC1; p=reject; x={}", "y".repeat(9_000));
    let long = zone(&[("_dmarc.example.org", &long)]);
    assert_eq!(
        check(&long, &spf(&[b"example.org"], "x.example"), 1)
            .0
            .verdict,
        Verdict::None
    );
}

#[test]
fn a_record_lists_its_defects_and_is_used_all_the_same() {
    let record = Record::parse(
        b"v=DMARC1; p=reject; adkim=x; rua=mailto:a@b.example!10m, bogus; fo=1:d; zzz=1",
    )
    .unwrap();
    let defects: Vec<_> = record
        .defects
        .iter()
        .map(|d| (d.tag.as_str(), d.what))
        .collect();
    assert_eq!(defects, [("adkim", "is not r or s")]);
    assert_eq!(record.aggregate.len(), 1);
    assert_eq!(
        (record.aggregate[0].uri.as_str(), record.aggregate[0].max),
        ("mailto:a@b.example", Some(10 << 20))
    );
    assert_eq!(
        record.to_string(),
        "v=DMARC1; p=reject; rua=mailto:a@b.example!10485760; fo=1:d"
    );
    assert!(record.usable().is_some());
}

#[test]
fn a_record_is_written_with_what_its_testing_and_its_percent_say() {
    for text in [
        "v=DMARC1; p=none; t=y",
        "v=DMARC1; p=none; t=y; pct=50",
        "v=DMARC1; p=none; t=n; pct=0",
        "v=DMARC1; p=none; pct=0",
        "v=DMARC1; p=none; pct=50",
    ] {
        assert_eq!(Record::parse(text.as_bytes()).unwrap().to_string(), text);
    }
}

/// Runs a function on a table of facts, answering from a zone.
fn fill<T>(
    facts: Facts,
    zone: &Zone,
    function: impl Fn(&Facts) -> Result<T, Missing>,
) -> (T, Facts) {
    let mut inquiry = Inquiry::new(facts, Mono(u64::MAX));
    loop {
        match inquiry.run(Now::default(), &function) {
            Progress::Done(done) => return (done, inquiry.into_facts()),
            Progress::Ask(questions) => {
                for question in questions {
                    inquiry.answer(&question, zone.answer(&question));
                }
            }
            Progress::Wait => panic!("every question was answered"),
        }
    }
}

#[test]
fn a_stranger_who_fills_the_table_does_not_silence_the_author_who_was_asked_first() {
    let zone = zone(&[("_dmarc.example.org", "v=DMARC1; p=reject")]);
    let authors: &[&[u8]] = &[b"a.example.org"];
    let message = Message {
        authors,
        spf: None,
        dkim: &[],
    };
    // As many names as a stranger's record can make us ask for.
    let stranger = |facts: &Facts| {
        (0..300).try_for_each(|n| {
            let question = Question::new(format!("n{n}.stranger.example"), RecordType::A).unwrap();
            facts.need(&question).map(|_| ())
        })
    };
    let judge = |facts| fill(facts, &zone, |facts| evaluate(facts, &message)).0;
    let ((), facts) = fill(Facts::default(), &zone, |facts| {
        author_policies(facts, authors)
    });
    let ((), facts) = fill(facts, &zone, stranger);
    assert!(facts.is_full() || facts.len() >= 200, "{}", facts.len());
    let report = judge(facts);
    assert_eq!(
        (report.verdict, report.disposition),
        (Verdict::Fail, Disposition::Reject)
    );
    let ((), facts) = fill(Facts::default(), &zone, stranger);
    assert_eq!(judge(facts).verdict, Verdict::TempError);
}

proptest! {
    #[test]
    fn a_record_that_parses_is_written_in_a_form_that_parses_to_the_same(tags in prop::collection::vec("(p|sp|np|psd|t|adkim|aspf|rua|ruf|fo|pct|ri|x) ?= ?(none|reject|y|n|u|r|s|0|1:d|mailto:a@b|http://x!5k|[ -~]{0,6})", 0..8)) {
        if let Ok(record) = Record::parse(format!("v=DMARC1; {}", tags.join(";")).as_bytes()) {
            let text = record.to_string();
            let again = Record::parse(text.as_bytes()).unwrap();
            prop_assert_eq!((again.testing, again.percent), (record.testing, record.percent));
            prop_assert_eq!(again.to_string(), text);
            prop_assert_eq!((again.policy, again.subdomains, again.nonexistent, again.psd), (record.policy, record.subdomains, record.nonexistent, record.psd));
        }
    }

    #[test]
    fn nothing_in_a_record_or_a_name_can_break_an_evaluation(text in "v=DMARC1[ -~]{0,60}", author in ".{0,30}", domain in ".{0,30}") {
        let zone = zone(&[("_dmarc.example.org", &text)]);
        let author = format!("{author}.example.org");
        let (report, facts) = check(&zone, &spf(&[author.as_bytes(), b"example.org"], &domain), 1);
        prop_assert!(report.authors.len() <= 2 && facts.len() <= 4 * 8);
    }
}
