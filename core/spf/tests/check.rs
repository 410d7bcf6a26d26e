//! What the suite of RFC 7208 does not ask: limits, reports, header fields, records that lie.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod zone;

use mox_dns::{Facts, Failure, Name, Question, Record, RecordType};
use mox_spf::{Identity, Limits, Query, Record as Spf, Report, Verdict, check_domain, check_host};
use proptest::prelude::*;
use zone::Zone;

fn txt(text: &str) -> Record {
    Record::Txt(text.to_owned().into())
}

fn zone_of(records: &[(&str, Record)]) -> Zone {
    let mut zone = Zone::default();
    for (name, record) in records {
        zone.add(Name::parse(name).unwrap(), record.clone());
    }
    zone
}

fn a(ip: &str) -> Record {
    Record::A(ip.parse().unwrap())
}

const QUERY: Query<'_> = Query {
    ip: core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1)),
    helo: b"mx.example.com",
    mail_from: b"x@example.com",
    receiver: b"mx.example.org",
    time: 1_700_000_000,
};

fn check(records: &[(&str, Record)]) -> Report {
    zone_of(records).check(&QUERY, &Limits::default(), 1).0
}

/// The records that lead to each outcome, and how many lookups were counted.
#[test]
fn records_lead_to_what_their_domain_means() {
    let own = |text: &str| vec![("example.com", txt(text))];
    let mut cases = vec![
        (own("v=spf1 ip4:10.0.0.0/8 -all"), Verdict::Pass, 0),
        (own("v=spf1 -all"), Verdict::Fail, 0),
        (own("v=spf1"), Verdict::Neutral, 0),
        (own("v=spf1 abc=%{d} ~all"), Verdict::SoftFail, 0),
        (own("v=spf10 -all"), Verdict::None, 0),
        (
            own("v=spf1 a:gone.example mx:gone.example a:m.example -all"),
            Verdict::PermError,
            3,
        ),
        (own("v=spf1 include:b.example -all"), Verdict::PermError, 1),
        (own("v=spf1 redirect=example.com"), Verdict::PermError, 10),
        (own("v=spf1 include:example.com"), Verdict::PermError, 10),
    ];
    let mut two = own("v=spf1 +all");
    two.push(("example.com", txt("v=spf1 nonsense")));
    cases.push((two, Verdict::PermError, 0));
    let mut redirected = own("v=spf1 redirect=b.example");
    redirected.push(("b.example", txt("v=spf1 ip4:10.0.0.1 -all")));
    cases.push((redirected, Verdict::Pass, 1));
    let mut exists = own("v=spf1 exists:%{ir}.%{v}._spf.%{d} -all");
    exists.push(("1.0.0.10.in-addr._spf.example.com", a("127.0.0.2")));
    cases.push((exists, Verdict::Pass, 1));
    let mut expanded = own("v=spf1 a:%{l}.hosts.example.com mx:nothing.example -all");
    expanded.push(("x.hosts.example.com", a("10.0.0.1")));
    cases.push((expanded, Verdict::Pass, 1));
    for (records, verdict, lookups) in cases {
        let report = check(&records);
        assert_eq!(
            (report.verdict, report.lookups),
            (verdict, lookups),
            "{records:?}: {report:?}"
        );
    }
}

#[test]
fn a_record_that_expands_without_end_makes_no_name() {
    let helo = "a.".repeat(900);
    let record = format!("v=spf1 exists:{}.x.example -all", "%{h}".repeat(1_500));
    let zone = zone_of(&[("example.com", txt(&record))]);
    let query = Query {
        helo: helo.as_bytes(),
        ..QUERY
    };
    let (report, facts) = zone.check(&query, &Limits::default(), 1);
    assert_eq!((report.verdict, facts.len()), (Verdict::Fail, 1));
    // One that is too long, and not by so much, loses what stands on its left.
    let zone = zone_of(&[("example.com", txt("v=spf1 exists:%{h}%{h}.xx.example -all"))]);
    let query = Query {
        helo: helo.get(..179).unwrap().as_bytes(),
        ..QUERY
    };
    let (_, facts) = zone.check(&query, &Limits::default(), 1);
    let longest = facts
        .iter()
        .map(|(question, _)| question.name().to_string().len())
        .max();
    assert_eq!(longest, Some(253));
}

#[test]
fn a_macro_that_asks_dns_counts_as_a_lookup() {
    let text = format!("v=spf1 {} -all", "exists:%{p}.none.example ".repeat(6));
    let zone = zone_of(&[
        ("example.com", txt(&text)),
        ("none.example", a("127.0.0.2")),
    ]);
    let limits = Limits {
        voids: 100,
        ..Limits::default()
    };
    let (report, _) = zone.check(&QUERY, &limits, 1);
    assert_eq!((report.verdict, report.lookups), (Verdict::PermError, 10));
}

#[test]
fn a_mapped_address_is_an_ipv4_address() {
    let zone = zone_of(&[("example.com", txt("v=spf1 ip6:::/0 -ip4:10.0.0.0/8 ?all"))]);
    let query = Query {
        ip: "::ffff:10.0.0.1".parse().unwrap(),
        ..QUERY
    };
    let (report, _) = zone.check(&query, &Limits::default(), 1);
    assert_eq!(report.mechanism.as_deref(), Some("-ip4:10.0.0.0/8"));
    assert_eq!(report.verdict, Verdict::Fail);
}

#[test]
fn a_null_reverse_path_is_checked_by_the_name_in_helo() {
    let zone = zone_of(&[
        ("mx.example.com", txt("v=spf1 a:%{l}.example.com -all")),
        ("postmaster.example.com", a("10.0.0.1")),
    ]);
    let query = Query {
        mail_from: b"",
        ..QUERY
    };
    let (report, _) = zone.check(&query, &Limits::default(), 1);
    assert_eq!(report.verdict, Verdict::Pass);
    assert_eq!(report.identity, Identity::Helo);
    assert_eq!(report.sender, "postmaster@mx.example.com");
    let literal = Query {
        mail_from: b"",
        helo: b"[10.0.0.1]",
        ..QUERY
    };
    let (report, facts) = zone.check(&literal, &Limits::default(), 1);
    assert_eq!((report.verdict, facts.len()), (Verdict::None, 0));
}

#[test]
fn a_report_names_every_record_that_was_read_and_what_it_came_to() {
    let report = check(&[
        (
            "example.com",
            txt("v=spf1 include:b.example ?exists:%{d}.none -all"),
        ),
        ("b.example", txt("v=spf1 ip4:192.0.2.1 -all")),
    ]);
    let visits: Vec<_> = report
        .visits
        .iter()
        .map(|v| {
            (
                v.domain.as_str(),
                v.through.as_deref(),
                v.matched.as_deref(),
                v.verdict,
            )
        })
        .collect();
    assert_eq!(
        visits,
        [
            ("example.com", None, Some("-all"), Verdict::Fail),
            (
                "b.example",
                Some("include:b.example"),
                Some("-all"),
                Verdict::Fail
            ),
        ]
    );
    assert_eq!((report.lookups, report.voids, report.ttl), (2, 1, 60));
}

#[test]
fn an_explanation_that_is_not_printable_is_left_out() {
    let explain = |text: &str| {
        check(&[
            ("example.com", txt("v=spf1 -all exp=why.example.com")),
            ("why.example.com", txt(text)),
        ])
        .explanation
    };
    assert_eq!(
        explain("%{i} may not%_send%%").as_deref(),
        Some("10.0.0.1 may not send%")
    );
    assert_eq!(explain("two\r\nlines"), None);
    assert_eq!(explain("caf\u{e9}"), None);
    assert_eq!(explain("%{x}"), None);
    assert_eq!(explain(&"long ".repeat(200)).map(|e| e.len()), Some(500));
    let passing = check(&[
        ("example.com", txt("v=spf1 +all exp=why.example.com")),
        ("why.example.com", txt("no")),
    ]);
    assert_eq!(passing.explanation, None);
}

#[test]
fn a_failing_name_server_gives_temperror_and_only_for_mechanisms_that_need_it() {
    let mut zone = zone_of(&[(
        "example.com",
        txt("v=spf1 ip4:10.0.0.1 a:slow.example -all"),
    )]);
    zone.failures
        .insert(Name::parse("slow.example").unwrap(), Failure::ServFail);
    let limits = Limits::default();
    assert_eq!(zone.check(&QUERY, &limits, 1).0.verdict, Verdict::Pass);
    let other = Query {
        ip: "10.0.0.2".parse().unwrap(),
        ..QUERY
    };
    assert_eq!(zone.check(&other, &limits, 1).0.verdict, Verdict::TempError);
    zone.failures
        .insert(Name::parse("example.com").unwrap(), Failure::Bogus);
    zone.records.clear();
    assert_eq!(zone.check(&QUERY, &limits, 1).0.verdict, Verdict::TempError);
}

#[test]
fn an_mx_with_more_than_ten_hosts_is_refused_only_when_the_eleventh_is_reached() {
    let mut zone = zone_of(&[("example.com", txt("v=spf1 mx -all"))]);
    for n in 0..12_u8 {
        let host = Name::parse(format!("h{n}.example.com")).unwrap();
        let record = Record::Mx {
            preference: 1,
            exchange: host.clone(),
        };
        zone.add(Name::parse("example.com").unwrap(), record);
        zone.add(host, a(&format!("10.0.0.{}", n + 1)));
    }
    let verdict = |last: u8| {
        let query = Query {
            ip: core::net::Ipv4Addr::new(10, 0, 0, last).into(),
            ..QUERY
        };
        zone.check(&query, &Limits::default(), 1).0.verdict
    };
    assert_eq!(
        [verdict(1), verdict(10), verdict(11)],
        [Verdict::Pass, Verdict::Pass, Verdict::PermError]
    );
}

#[test]
fn records_that_are_too_long_or_too_many_are_refused_at_once() {
    let long = format!("v=spf1 {} -all", "ip4:192.0.2.1 ".repeat(5_000));
    let report = check(&[("example.com", txt(&long))]);
    assert_eq!(
        report.problem.as_deref(),
        Some("the SPF record is too long")
    );
    let many: Vec<_> = (0..1_000)
        .map(|n| ("example.com", txt(&format!("v=spf1 ip4:10.0.0.{n} -all"))))
        .collect();
    assert_eq!(
        check(&many).problem.as_deref(),
        Some("more than one SPF record")
    );
}

#[test]
fn the_header_field_says_what_was_checked_and_nothing_in_it_can_break_out() {
    let zone = zone_of(&[("example.com", txt("v=spf1 ip4:10.0.0.0/8 -all"))]);
    let query = Query {
        helo: b"a\"b\r\nX: y",
        mail_from: b"\"a b\"@example.com",
        ..QUERY
    };
    let (report, _) = zone.check(&query, &Limits::default(), 1);
    assert_eq!(
        report.received_spf(&query),
        "Received-SPF: pass (example.com says that 10.0.0.1 may send for it)\r\n\tclient-ip=10.0.0.1;\
         \r\n\tenvelope-from=\"\\\"a b\\\"@example.com\";\r\n\thelo=\"a\\\"bX: y\";\
         \r\n\tmechanism=\"ip4:10.0.0.0/8\";\r\n\treceiver=mx.example.org;\r\n\tidentity=mailfrom"
    );
    let nasty = Query {
        mail_from: b"x@(a)b\r\nc\\",
        ..QUERY
    };
    let (report, _) = zone.check(&nasty, &Limits::default(), 1);
    let field = report.received_spf(&nasty);
    assert_eq!(
        field.lines().next(),
        Some("Received-SPF: none (checked abc)")
    );
}

#[test]
fn a_value_of_the_header_field_ends_at_its_limit_of_octets() {
    let helo = "\u{fc}".repeat(200);
    let query = Query {
        helo: helo.as_bytes(),
        mail_from: b"",
        ..QUERY
    };
    let (report, _) = zone_of(&[]).check(&query, &Limits::default(), 1);
    let field = report.received_spf(&query);
    let told = format!("helo=\"{}\";", "\u{fc}".repeat(150));
    assert!(field.contains(&told), "{field}");
}

#[test]
fn the_checked_domain_may_be_another_than_that_of_the_sender() {
    let zone = zone_of(&[
        ("example.com", txt("v=spf1 exists:%{d}.%{o}.%{l} -all")),
        (
            "example.com.example.net.ann",
            Record::A([127, 0, 0, 2].into()),
        ),
        (
            "example.com.example.com.postmaster",
            Record::A([127, 0, 0, 2].into()),
        ),
    ]);
    let facts: Facts = zone
        .records
        .keys()
        .flat_map(|name| {
            [RecordType::A, RecordType::Txt].map(|kind| Question::of(name.clone(), kind))
        })
        .map(|question| (question.clone(), zone.answer(&question)))
        .collect();
    let check = |mail_from: &[u8], helo: &[u8]| {
        let query = Query {
            mail_from,
            helo,
            ..QUERY
        };
        check_domain(&facts, &query, b"example.com", &Limits::default()).unwrap()
    };
    let report = check(b"ann@example.net", b"");
    assert_eq!(
        (report.verdict, report.identity),
        (Verdict::Pass, Identity::MailFrom)
    );
    assert_eq!(
        (&*report.domain, &*report.sender),
        ("example.com", "ann@example.net")
    );
    let report = check(b"", b"EXAMPLE.com");
    assert_eq!(
        (report.verdict, report.identity),
        (Verdict::Pass, Identity::Helo)
    );
    let report = check(b"", b"mx.example.com");
    assert_eq!(
        (report.verdict, report.identity),
        (Verdict::Pass, Identity::MailFrom)
    );
    assert_eq!(report.sender, "postmaster@example.com");
}

#[test]
fn syntax_errors_name_the_term() {
    for (text, error) in [
        (
            "v=spf1 ip4:10.0.0.256 -all",
            "not an IPv4 address: \"ip4:10.0.0.256\"",
        ),
        (
            "v=spf1 ip4:10.0.0.0/33",
            "not a prefix length: \"ip4:10.0.0.0/33\"",
        ),
        (
            "v=spf1 a:%{c}.example.com",
            "a macro that only explanations may use: \"a:%{c}.example.com\"",
        ),
        (
            "v=spf1 -exp=a.example",
            "the name of a modifier begins with a letter: \"-exp=a.example\"",
        ),
        (
            "v=spf1 exp=a.example exp=b.example",
            "a modifier stands twice: \"exp=b.example\"",
        ),
        ("v=spf1 all:x", "all takes no value: \"all:x\""),
        ("v=spf1 abc", "no such mechanism: \"abc\""),
        (
            "v=spf2 all",
            "it does not begin with v=spf1: \"v=spf2 all\"",
        ),
    ] {
        assert_eq!(Spf::parse(text).unwrap_err().to_string(), error);
    }
}

#[test]
fn a_modifier_that_nobody_knows_may_have_any_macros() {
    for text in ["v=spf1 x=%{c}%{r}%{t} -all", "v=spf1 -all moo=%{ir}.a/b:c"] {
        assert_eq!(Spf::parse(text).unwrap().unknown.len(), 1);
    }
    assert_eq!(Spf::parse("v=spf1 x=%{q} -all").unwrap_err().term, "x=%{q}");
}

fn term() -> impl Strategy<Value = String> {
    let spec = "[a-z%{}dlrsiv0-9.,_-]{0,12}\\.[a-z]{1,4}";
    prop_oneof![
        "[-+~?]?(all|a|mx|ptr)",
        spec.prop_map(|s| format!("include:{s}")),
        (spec, 0..140_u8, 0..140_u8).prop_map(|(s, a, b)| format!("?mx:{s}/{a}//{b}")),
        "ip4:[0-9.]{7,15}(/[0-9]{1,2})?",
        "ip6:[0-9a-f:]{2,39}(/[0-9]{1,3})?",
        spec.prop_map(|s| format!("redirect={s}")),
        "[a-z]{1,4}=[ -~]{0,8}",
        "[ -~]{0,12}",
    ]
}

proptest! {
    #[test]
    fn a_record_that_parses_is_written_in_a_form_that_parses_to_the_same(terms in prop::collection::vec(term(), 0..8)) {
        let text = format!("v=spf1 {}", terms.join(" "));
        if let Ok(record) = Spf::parse(&text) {
            let canonical = record.to_string();
            let again = Spf::parse(&canonical).unwrap();
            prop_assert_eq!(&again.to_string(), &canonical);
            prop_assert_eq!(again.directives.len(), record.directives.len());
        }
    }

    #[test]
    fn nothing_a_client_or_a_zone_says_can_break_a_check(
        record in "v=spf1 [ -~]{0,60}", helo in ".{0,40}", mail_from in ".{0,40}", exp in ".{0,40}"
    ) {
        let zone = zone_of(&[("example.com", txt(&record)), ("why.example.com", txt(&exp))]);
        let mail_from = format!("{mail_from}@example.com");
        let query = Query { helo: helo.as_bytes(), mail_from: mail_from.as_bytes(), ..QUERY };
        let (report, facts) = zone.check(&query, &Limits::default(), 1);
        prop_assert!(report.lookups <= 10 && report.voids <= 3);
        let field = report.received_spf(&query);
        prop_assert!(!field.replace("\r\n\t", "").contains(char::is_control));
        let facts: Facts = facts.into_iter().collect();
        prop_assert_eq!(check_host(&facts, &query, &Limits::default()).unwrap(), report);
    }
}
