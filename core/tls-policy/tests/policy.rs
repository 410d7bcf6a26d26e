//! Records, policies, and how long they are kept.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use core::time::Duration;
use mox_dns::{Answer, Facts, Failure, Name, Question, Record, RecordType};
use mox_machine::Utc;
use mox_tls_policy::{
    Applied, BACKOFF, Entry, FetchError, Kept, MAX_AGE_MAX, MX_MAX, Mode, Next, POLICY_MAX, Plan,
    PolicyError, PolicyResponse, Refresh, Rua, StsLookup, StsPolicy, StsRecord, TlsrptLookup,
    TlsrptRecord, UNUSED_MAX, after_fetch, after_lookup, plan, refresh, sts_lookup, tlsrpt_lookup,
};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn policy(mode: &str, max_age: u32) -> StsPolicy {
    let text = format!("version: STSv1\nmode: {mode}\nmx: mx.example.org\nmax_age: {max_age}\n");
    StsPolicy::parse(text.as_bytes()).unwrap()
}

#[test]
fn what_is_wrong_beside_the_id_is_listed_and_passed_over() {
    let record = StsRecord::parse(b"v=STSv1; id=a1; x; y=; -=1; id=b2; z=1=2; good=value").unwrap();
    assert_eq!(record.id, "a1");
    assert_eq!(record.extensions, [("good".to_owned(), "value".to_owned())]);
    let defects: Vec<&str> = record.defects.iter().map(|d| d.field.as_str()).collect();
    assert_eq!(defects, ["x", "y", "-", "z"]);
    for (text, why) in [
        ("v=STSv1", "it has no id"),
        ("v=STSv1; ID=a", "it has no id"),
        ("v=stsv1; id=a", "it does not begin with its version"),
        (" v=STSv1; id=a", "it does not begin with its version"),
        ("v=STSv1 x; id=a", "it does not begin with its version"),
        (
            "v=STSv1; id=123456789012345678901234567890123",
            "its id is not 1 to 32 letters and digits",
        ),
    ] {
        assert_eq!(StsRecord::parse(text.as_bytes()), Err(why), "{text}");
    }
}

#[test]
fn a_record_counts_only_if_it_is_the_only_one() {
    let texts = |texts: &[&str]| {
        let records: Vec<Record> = texts
            .iter()
            .map(|text| Record::Txt(text.as_bytes().to_vec().into()))
            .collect();
        Answer::records(records, 300)
    };
    let sts = |answer: Answer| {
        let question = Question::new("_mta-sts.example.org", RecordType::Txt).unwrap();
        let facts: Facts = [(question, answer)].into_iter().collect();
        sts_lookup(&facts, &name("example.org")).unwrap()
    };
    assert!(matches!(
        sts(texts(&["something else", "v=STSv1; id=a"])),
        StsLookup::Record(_)
    ));
    assert_eq!(
        sts(texts(&["v=STSv1; id=a", "v=STSv1; broken"])),
        StsLookup::Several
    );
    assert_eq!(
        sts(texts(&["v=STSv1; broken"])),
        StsLookup::Unreadable("it has no id")
    );
    assert_eq!(sts(texts(&["v=spf1 -all"])), StsLookup::None);
    assert_eq!(sts(Answer::failure(Failure::NoDomain, 60)), StsLookup::None);
    assert_eq!(
        sts(Answer::failure(Failure::ServFail, 0)),
        StsLookup::Unknown(Failure::ServFail)
    );
    // A thousand records, and a name that has no room for one more label.
    let many: Vec<String> = (0..1_000).map(|n| format!("noise {n}")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    many.push("v=STSv1; id=a");
    assert!(matches!(sts(texts(&many)), StsLookup::Record(_)));
    let long = name(&["a"; 126].join("."));
    assert_eq!(
        sts_lookup(&Facts::default(), &long).unwrap(),
        StsLookup::None
    );
    assert_eq!(
        tlsrpt_lookup(&Facts::default(), &long).unwrap(),
        TlsrptLookup::None
    );
}

#[test]
fn reports_go_by_mail_or_https_and_nowhere_else() {
    let record = TlsrptRecord::parse(
        b"v=TLSRPTv1; rua=mailto:a@example.org?subject=x , https://r.example/v1; rua=ftp://x, mailto:b%2Cc@example.org",
    )
    .unwrap();
    assert_eq!(
        record.rua,
        [
            Rua::Mail("a@example.org".into()),
            Rua::Https("https://r.example/v1".into()),
            Rua::Mail("b%2Cc@example.org".into()),
        ]
    );
    assert_eq!(record.defects[0].what, "is neither mailto nor https");
    for text in [
        "v=TLSRPTv1; rua=mailto:nobody",
        "v=TLSRPTv1; rua=https:nothing",
        "v=TLSRPTv1; rua=https://",
        "v=TLSRPTv1; rua=mailto:a!b@example.org",
        "v=TLSRPTv1; rua=,,",
    ] {
        assert_eq!(
            TlsrptRecord::parse(text.as_bytes()),
            Err("its rua has no address that reports can go to"),
            "{text}"
        );
    }
}

#[test]
fn a_policy_is_read_with_its_limits() {
    let text = "version: STSv1\r\nmode: testing\r\nmode: none\r\nmx:  MX.example.org \r\nmx: *.example.net.\r\n\r\nmax_age: 9999999999\r\nfoo: b\u{e4}r\r\n_x: y\r\n";
    let policy = StsPolicy::parse(text.as_bytes()).unwrap();
    assert_eq!((policy.mode, policy.max_age), (Mode::Testing, MAX_AGE_MAX));
    assert_eq!(
        policy.lines(),
        [
            "version: STSv1",
            "mode: testing",
            "max_age: 31557600",
            "mx: mx.example.org",
            "mx: *.example.net",
            "foo: b\u{e4}r"
        ]
    );
    assert_eq!(policy.defects[0].field, "_x");
    assert!(policy.covers(&name("mx.example.org")) && policy.covers(&name("A.example.net")));
    assert!(!policy.covers(&name("example.net")) && !policy.covers(&name("a.b.example.net")));
    let refused = |text: &[u8]| {
        let PolicyError { field, what } = StsPolicy::parse(text).unwrap_err();
        (field, what)
    };
    assert_eq!(refused(b""), ("version", "is missing"));
    assert_eq!(refused(b"\xff"), ("", "is not UTF-8"));
    assert_eq!(
        refused(&vec![b'\n'; POLICY_MAX + 1]),
        ("", "is longer than 64 KiB")
    );
    let many = "mx: a.example\n".repeat(MX_MAX + 1);
    assert_eq!(refused(many.as_bytes()), ("mx", "stands too often"));
    for mx in [
        "", "*", "*.", "a..b", "-a.b", "a-.b", "*.*.b", "a b", ".a", "a\\.b",
    ] {
        let text = format!("version: STSv1\nmode: enforce\nmax_age: 1\nmx: {mx}\n");
        assert_eq!(
            refused(text.as_bytes()),
            ("mx", "is not a host name"),
            "{mx:?}"
        );
    }
}

fn at(secs: i64) -> Utc {
    Utc::from_secs(1_767_225_600 + secs)
}

fn record(id: &str) -> StsLookup {
    StsLookup::Record(StsRecord::parse(format!("v=STSv1; id={id}").as_bytes()).unwrap())
}

fn held(applied: Applied) -> (Option<Mode>, bool) {
    (applied.policy.map(|policy| policy.mode), applied.fresh)
}

fn used(next: Next) -> (Option<Mode>, bool) {
    match next {
        Next::Use(applied) => held(applied),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_is_fetched_when_there_is_none_and_when_its_id_changes() {
    assert_eq!(plan(None, at(0)), Plan::LookUp);
    let fetch = |id: &str| Next::Fetch { id: id.into() };
    assert_eq!(after_lookup(None, &record("a"), at(0)), fetch("a"));
    let (applied, entry) = after_fetch(None, "a", Ok(policy("enforce", 100)), at(0));
    assert_eq!(held(applied), (Some(Mode::Enforce), true));
    assert_eq!(entry.until, at(100));
    assert_eq!(plan(Some(&entry), at(50)), Plan::LookUp);
    assert_eq!(
        used(after_lookup(Some(&entry), &record("a"), at(99))),
        (Some(Mode::Enforce), true)
    );
    assert_eq!(after_lookup(Some(&entry), &record("b"), at(99)), fetch("b"));
    assert_eq!(
        after_lookup(Some(&entry), &record("a"), at(100)),
        fetch("a"),
        "it does not hold any more"
    );
    // One that does not hold any more is not what a failed fetch falls back to.
    let failed = || Err(FetchError::NoPolicy);
    let (applied, stored) = after_fetch(Some(&entry), "b", failed(), at(99));
    assert_eq!(held(applied), (Some(Mode::Enforce), false));
    assert_eq!((&stored.kept, stored.until), (&entry.kept, at(100)));
    let (applied, stored) = after_fetch(Some(&entry), "a", failed(), at(100));
    assert_eq!(held(applied), (None, true));
    assert_eq!(stored.kept, Kept::Backoff);
}

#[test]
fn a_policy_that_holds_is_used_for_five_minutes_without_another_try_to_fetch_a_newer_one() {
    let entry = Entry::new(policy("enforce", 86_400), "a".into(), at(0));
    let (_, entry) = after_fetch(Some(&entry), "b", Err(FetchError::NoPolicy), at(10));
    let fetch = |id: &str| Next::Fetch { id: id.into() };
    match after_lookup(Some(&entry), &record("b"), at(309)) {
        Next::Use(applied) => {
            assert_eq!(applied.problem, Some(FetchError::Backoff));
            assert_eq!(held(applied), (Some(Mode::Enforce), false));
        }
        other => panic!("{other:?}"),
    }
    // The one that is kept is what the domain publishes after all.
    let same = after_lookup(Some(&entry), &record("a"), at(309));
    assert_eq!(used(same), (Some(Mode::Enforce), true));
    assert_eq!(
        after_lookup(Some(&entry), &record("b"), at(310)),
        fetch("b")
    );
    // Nor does a clock that was set back keep it from being tried for ever.
    let (_, entry) = after_fetch(Some(&entry), "b", Err(FetchError::NoPolicy), at(1_000));
    assert_eq!(
        after_lookup(Some(&entry), &record("b"), at(500)),
        fetch("b")
    );
    let (applied, entry) = after_fetch(Some(&entry), "b", Ok(policy("testing", 100)), at(1_300));
    assert_eq!(held(applied), (Some(Mode::Testing), true));
    assert_eq!(entry.not_before, None);
}

#[test]
fn who_can_keep_us_from_asking_cannot_take_a_policy_away() {
    let entry = Entry::new(policy("enforce", 100), "a".into(), at(0));
    for lookup in [
        StsLookup::None,
        StsLookup::Several,
        StsLookup::Unreadable("it has no id"),
        StsLookup::Unknown(Failure::Timeout),
    ] {
        assert_eq!(
            used(after_lookup(Some(&entry), &lookup, at(1))),
            (Some(Mode::Enforce), false)
        );
        let without = after_lookup(None, &lookup, at(1));
        match lookup {
            StsLookup::Unknown(failure) => assert_eq!(without, Next::Defer(failure)),
            _ => assert_eq!(used(without), (None, true)),
        }
    }
    // Nor does a clock that was set back keep one for ever.
    let next = after_lookup(Some(&entry), &StsLookup::None, at(-1_000));
    assert_eq!(used(next), (None, true));
}

#[test]
fn a_domain_whose_policy_cannot_be_fetched_is_left_alone_for_five_minutes() {
    let failed = Err(FetchError::Fetch("refused".into()));
    let (applied, entry) = after_fetch(None, "a", failed, at(0));
    assert_eq!(held(applied), (None, true));
    assert_eq!(entry.until, at(0) + BACKOFF);
    match plan(Some(&entry), at(299)) {
        Plan::Use(applied) => {
            assert_eq!(applied.problem, Some(FetchError::Backoff));
            assert_eq!(held(applied), (None, false));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(plan(Some(&entry), at(300)), Plan::LookUp);
    assert_eq!(refresh(&entry, at(0), &record("a"), at(300)), Refresh::Drop);
}

#[test]
fn a_policy_of_mode_none_is_none() {
    let (applied, entry) = after_fetch(None, "a", Ok(policy("none", 100)), at(0));
    assert_eq!(held(applied), (None, true));
    assert_eq!(entry.until, at(100));
}

#[test]
fn the_daily_round_keeps_what_is_needed() {
    let entry = |mode: &str| Entry::new(policy(mode, 86_400), "a".into(), at(0));
    let day =
        |lookup: &StsLookup, mode: &str, secs: i64| refresh(&entry(mode), at(0), lookup, at(secs));
    let fetch = |id: &str| Refresh::Fetch { id: id.into() };
    match day(&record("a"), "enforce", 10) {
        Refresh::Extend(entry) => assert_eq!(entry.until, at(86_410)),
        other => panic!("{other:?}"),
    }
    assert_eq!(day(&record("b"), "enforce", 10), fetch("b"));
    assert_eq!(day(&record("a"), "enforce", 86_400), fetch("a"));
    assert_eq!(day(&StsLookup::None, "enforce", 10), fetch("a"));
    assert_eq!(day(&StsLookup::None, "enforce", 86_400), Refresh::Drop);
    assert_eq!(day(&StsLookup::None, "none", 10), Refresh::Drop);
    let unknown = StsLookup::Unknown(Failure::Timeout);
    assert_eq!(day(&unknown, "none", 10), Refresh::Leave);
    let long = i64::try_from(UNUSED_MAX.as_secs()).unwrap();
    assert_eq!(day(&record("a"), "enforce", long), Refresh::Drop);
    assert!(at(0) + Duration::from_secs(1) > at(0));
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_so_that_it_reads_back(text in "(v=STSv1|v=TLSRPTv1)(;[ -~]{0,20}|; id=[a-z0-9]{1,5}|; rua=mailto:[a-z@%,!]{1,9}){0,5}") {
        if let Ok(record) = StsRecord::parse(text.as_bytes()) {
            let again = StsRecord::parse(record.to_string().as_bytes()).unwrap();
            prop_assert!(again.defects.is_empty());
            prop_assert_eq!((again.id, again.extensions), (record.id, record.extensions));
        }
        if let Ok(record) = TlsrptRecord::parse(text.as_bytes()) {
            let again = TlsrptRecord::parse(record.to_string().as_bytes()).unwrap();
            prop_assert!(again.defects.is_empty());
            prop_assert_eq!((again.rua, again.extensions), (record.rua, record.extensions));
        }
    }

    #[test]
    fn policies_too(text in "((version:STSv1|mode:(none|testing)|mx: ?[*a.b-]{1,6}|max_age:[0-9]{1,4}|[a-z_]{1,4}:[ -~]{0,5})\r?\n){0,8}") {
        if let Ok(policy) = StsPolicy::parse(text.as_bytes()) {
            let again = StsPolicy::parse(policy.to_string().as_bytes()).unwrap();
            prop_assert!(again.defects.is_empty());
            prop_assert_eq!((again.mode, again.max_age, again.mx, again.extensions), (policy.mode, policy.max_age, policy.mx, policy.extensions));
        }
    }
}

/// What a server answers, in pieces of `size` octets, then the end of the connection.
fn fetched(answer: &str, size: usize) -> Result<StsPolicy, FetchError> {
    let mut response = PolicyResponse::default();
    for piece in answer.as_bytes().chunks(size) {
        if response.push(piece)? {
            break;
        }
    }
    response.finish()
}

#[test]
fn an_answer_of_a_web_server_is_read_however_it_is_delimited_and_cut() {
    const POLICY: &str = "version: STSv1\nmode: testing\nmx: mx.example.org\nmax_age: 60\n";
    let (first, second) = POLICY.split_at(20);
    let plain = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";
    let length = POLICY.len();
    for answer in [
        format!("{plain}Content-Length: {length}\r\n\r\n{POLICY}"),
        format!("{plain}Content-Length: {length}\r\n\r\n{POLICY}and more"),
        format!("{plain}\r\n{POLICY}"),
        format!("HTTP/1.1 103 Early\r\nX: y\r\n\r\n{plain}\r\n{POLICY}"),
        format!(
            "{plain}transfer-encoding: Chunked\r\n\r\n14;x=y\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\nA: b\r\n\r\n",
            second.len()
        ),
    ] {
        for size in [1, 7, 10_000] {
            let policy = fetched(&answer, size).unwrap();
            assert_eq!((policy.mode, policy.max_age), (Mode::Testing, 60));
        }
    }
}

#[test]
fn an_answer_that_is_no_policy_says_why() {
    let plain = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    let why = |answer: String| {
        let whole = fetched(&answer, 10_000).unwrap_err();
        assert_eq!(fetched(&answer, 1).unwrap_err(), whole, "{answer}");
        whole.to_string()
    };
    let fetch = |what: &str| format!("the policy could not be fetched: {what}");
    for (answer, what) in [
        (
            "HTTP/1.1 500 No\r\n\r\n".to_owned(),
            "the server answers 500",
        ),
        (
            "HTTP/1.1 301 Gone\r\nLocation: https://evil.example/\r\n\r\n".into(),
            "the server sends us elsewhere, which is not followed",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nx".into(),
            "the answer is not text/plain",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nx".into(),
            "the answer is not text/plain",
        ),
        ("220 mx ESMTP\r\n\r\n".into(), "the answer is not HTTP"),
        (
            format!("{plain}Content-Length: 9\r\n\r\nx"),
            "the answer is cut off",
        ),
        (
            format!("{plain}Content-Length: -1\r\n\r\nx"),
            "the answer has a length that is none",
        ),
        (
            format!("{plain}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
            "the answer has two lengths",
        ),
        (
            format!(
                "{plain}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
            ),
            "the answer has a length and chunks",
        ),
        (
            format!("{plain}Content-Encoding: gzip\r\n\r\nx"),
            "the answer is encoded in a way that is not known",
        ),
        (
            format!("{plain}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "a chunk of the answer has no size",
        ),
        (
            format!("{plain}Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n"),
            "a chunk of the answer is not as long as it says",
        ),
        (
            format!(
                "{plain}Transfer-Encoding: chunked\r\n\r\n0\r\n{}",
                "a: b\r\n".repeat(40)
            ),
            "the answer does not end",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000),
            "the answer does not begin",
        ),
        (
            format!("{plain}X: {}", "y".repeat(20_000)),
            "the answer has a line or a header that is too long",
        ),
        (String::new(), "the answer is cut off"),
    ] {
        assert_eq!(why(answer), fetch(what));
    }
    assert_eq!(
        why("HTTP/1.1 404 No\r\n\r\n".into()),
        "the server has no policy"
    );
    let long = "the policy cannot be read: the policy is longer than 64 KiB";
    let spaces = " ".repeat(POLICY_MAX + 1);
    assert_eq!(why(format!("{plain}Content-Length: 65537\r\n\r\n")), long);
    assert_eq!(why(format!("{plain}\r\n{spaces}")), long);
    assert_eq!(
        why(format!(
            "{plain}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n{spaces}"
        )),
        long
    );
    assert_eq!(
        why(format!("{plain}\r\nhello")),
        "the policy cannot be read: version is missing"
    );
}
