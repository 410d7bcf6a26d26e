#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_dns::{
    ADDRESSES_MAX, Answer, Facts, FactsLimits, Failure, HOSTS_MAX, Inquiry, MailHost, Missing,
    MxPlan, Name, NameError, Progress, Question, RUNS_MAX, Record, RecordType, mail_hosts,
};
use mox_machine::{Mono, Now, Seed};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn q(text: &str, kind: RecordType) -> Question {
    Question::new(text, kind).unwrap()
}

fn mx(preference: u16, exchange: &str) -> Record {
    Record::Mx {
        preference,
        exchange: name(exchange),
    }
}

fn a(ip: &str) -> Record {
    match ip.parse().unwrap() {
        IpAddr::V4(ip) => Record::A(ip),
        IpAddr::V6(ip) => Record::Aaaa(ip),
    }
}

fn at(secs: u64) -> Now {
    Now {
        mono: Mono(secs * 1_000_000_000),
        ..Now::default()
    }
}

#[test]
fn names_hold_any_octets_and_are_written_so_that_they_read_back() {
    for (text, written, wire) in [
        (".", ".", 1),
        ("Example.ORG", "example.org", 13),
        ("example.org.", "example.org", 13),
        ("_25._tcp.mx.example", "_25._tcp.mx.example", 21),
        (r"a\.b.c", r"a\.b.c", 7),
        (r"\000\255\032.x", r"\000\255\032.x", 7),
        (r"\065\\", r"a\\", 4),
        ("ü", r"\195\188", 4),
    ] {
        let parsed = name(text);
        assert_eq!(parsed.to_string(), written);
        assert_eq!(name(written), parsed);
        assert_eq!(parsed.wire_len(), wire, "{text}");
    }
    assert_eq!(name("MX.example"), name("mx.EXAMPLE."));
    assert_ne!(name(r"a\.b"), name("a.b"));
}

#[test]
fn what_is_no_name_says_why() {
    for (text, error) in [
        ("", NameError::EmptyLabel),
        ("..", NameError::EmptyLabel),
        ("a..b", NameError::EmptyLabel),
        (".a", NameError::EmptyLabel),
        ("a\\", NameError::BadEscape),
        (r"\256", NameError::BadEscape),
        (r"\12", NameError::BadEscape),
        (r"\1x2", NameError::BadEscape),
    ] {
        assert_eq!(Name::parse(text), Err(error), "{text}");
    }
    assert_eq!(Name::parse("a".repeat(64)), Err(NameError::TooLong));
    // 127 labels of one octet fill 255 octets; one octet more does not fit.
    assert_eq!(name(&vec!["a"; 127].join(".")).wire_len(), 255);
    assert_eq!(
        Name::parse(vec!["a"; 128].join(".")),
        Err(NameError::TooLong)
    );
    assert_eq!(
        Name::parse(format!("aa.{}", vec!["a"; 126].join("."))),
        Err(NameError::TooLong)
    );
    assert_eq!(Question::new("a..b", A), Err(NameError::EmptyLabel));
}

#[test]
fn names_know_their_parents_children_and_reverses() {
    let host = name("mx.example.org");
    assert_eq!(host.parent(), Some(name("example.org")));
    assert_eq!(Name::root().parent(), None);
    assert_eq!(host.child("_tcp").unwrap(), name("_tcp.mx.example.org"));
    assert!(host.is_within(&name("org")) && host.is_within(&host) && host.is_within(&Name::root()));
    assert!(!host.is_within(&name("ample.org")) && !name("org").is_within(&host));
    assert_eq!(
        Name::reverse("192.0.2.10".parse().unwrap()),
        name("10.2.0.192.in-addr.arpa")
    );
    assert_eq!(
        Name::reverse("2001:db8::a1".parse().unwrap()),
        name("1.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")
    );
    assert_eq!(host.to_domain().unwrap().as_str(), "mx.example.org");
    assert_eq!(name("_dmarc.example").to_domain(), None);
    assert_eq!(name(r"a\.b").to_domain(), None);
    assert_eq!(Name::from_domain(&host.to_domain().unwrap()), Ok(host));
}

proptest! {
    #[test]
    fn any_labels_are_written_and_read_back(
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..12)
    ) {
        let built = Name::from_labels(labels.iter().map(|l| &l[..])).unwrap();
        prop_assert_eq!(Name::parse(built.to_string()).unwrap(), built.clone());
        let lowered: Vec<Vec<u8>> = labels.iter().map(|l| l.to_ascii_lowercase()).collect();
        prop_assert_eq!(built.labels().map(<[u8]>::to_vec).collect::<Vec<_>>(), lowered);
    }

    #[test]
    fn any_bytes_are_a_name_or_an_error(text in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(parsed) = Name::parse(&text) {
            prop_assert!(parsed.wire_len() <= Name::MAX);
        }
    }
}

/// Runs a function to its end against a world; what the world lacks does not exist.
fn ask_all<T>(
    world: &BTreeMap<Question, Answer>,
    function: impl Fn(&Facts) -> Result<T, Missing>,
) -> (T, Facts, u32) {
    let mut inquiry = Inquiry::new(Facts::default(), at(60).mono);
    let mut rounds = 0;
    loop {
        match inquiry.run(at(0), &function) {
            Progress::Done(verdict) => return (verdict, inquiry.into_facts(), rounds),
            Progress::Wait => panic!("everything was answered"),
            Progress::Ask(questions) => {
                rounds += 1;
                for question in questions {
                    let nothing = Answer::failure(Failure::NoDomain, 60);
                    let answer = world.get(&question).cloned().unwrap_or(nothing);
                    inquiry.answer(&question, answer);
                }
            }
        }
    }
}

type Known<'a> = (&'a str, RecordType, Result<Vec<Record>, Failure>);

fn world(facts: &[Known<'_>]) -> BTreeMap<Question, Answer> {
    facts
        .iter()
        .map(|(name, kind, result)| {
            let answer = match result {
                Ok(records) => Answer::records(records.clone(), 300),
                Err(failure) => Answer::failure(*failure, 30),
            };
            (q(name, *kind), answer)
        })
        .collect()
}

fn plan(world: &BTreeMap<Question, Answer>, seed: u64) -> MxPlan {
    let domain = name("d.example");
    ask_all(world, |facts| {
        mail_hosts(facts, &domain, &Seed::from_number(seed))
    })
    .0
}

fn names(plan: &MxPlan) -> Vec<String> {
    match plan {
        MxPlan::Hosts { hosts, .. } => hosts.iter().map(|h| h.name.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

use RecordType::{A, Aaaa, Mx};

#[test]
fn hosts_come_by_preference_and_equals_are_shuffled_by_the_seed_alone() {
    let mut facts = vec![(
        "d.example",
        Mx,
        Ok(vec![
            mx(20, "b2"),
            mx(10, "a1"),
            mx(20, "b1"),
            mx(20, "b3"),
            mx(30, "a1"),
            mx(5, "."),
            mx(40, "none"),
        ]),
    )];
    for host in ["a1", "b1", "b2", "b3"] {
        facts.push((host, A, Ok(vec![a("192.0.2.1")])));
    }
    let world = world(&facts);
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let order = names(&plan(&world, seed));
        assert_eq!(order[0], "a1");
        assert_eq!(order.len(), 4);
        seen.insert(order);
        // The order in which the name server gave them does not matter.
        let mut rotated = world.clone();
        let records: Vec<_> = world[&q("d.example", Mx)]
            .all()
            .iter()
            .rev()
            .cloned()
            .collect();
        rotated.insert(q("d.example", Mx), Answer::records(records, 300));
        assert_eq!(plan(&rotated, seed), plan(&world, seed));
    }
    assert_eq!(seen.len(), 6, "all orders of three");
}

#[test]
fn every_way_to_have_no_host_is_told_apart() {
    let cases = [
        (vec![("d.example", Mx, Ok(vec![mx(0, ".")]))], MxPlan::Null),
        (vec![], MxPlan::NoDomain),
        (
            vec![("d.example", Mx, Err(Failure::NoData))],
            MxPlan::NoHosts,
        ),
        (
            vec![
                ("d.example", Mx, Err(Failure::NoData)),
                ("d.example", A, Err(Failure::ServFail)),
            ],
            MxPlan::Temporary(Failure::ServFail),
        ),
        (
            vec![("d.example", Mx, Err(Failure::Timeout))],
            MxPlan::Temporary(Failure::Timeout),
        ),
        (
            vec![("d.example", Mx, Err(Failure::Bogus))],
            MxPlan::Temporary(Failure::Bogus),
        ),
        (
            vec![("d.example", Mx, Ok(vec![mx(1, "gone")]))],
            MxPlan::NoHosts,
        ),
        (
            vec![
                ("d.example", Mx, Ok(vec![mx(1, "gone"), mx(2, "slow")])),
                ("slow", Aaaa, Err(Failure::Timeout)),
            ],
            MxPlan::Temporary(Failure::Timeout),
        ),
    ];
    for (facts, expected) in cases {
        assert_eq!(plan(&world(&facts), 1), expected, "{facts:?}");
    }
}

#[test]
fn without_mx_records_the_domain_itself_is_the_host() {
    let facts = world(&[
        ("d.example", Mx, Err(Failure::NoData)),
        ("d.example", A, Err(Failure::ServFail)),
        ("d.example", Aaaa, Ok(vec![a("2001:db8::1")])),
    ]);
    assert_eq!(
        plan(&facts, 1),
        MxPlan::Hosts {
            hosts: vec![MailHost {
                name: name("d.example"),
                canonical: name("d.example"),
                preference: 0,
                addresses: vec!["2001:db8::1".parse().unwrap()],
                authentic: false,
                mx_authentic: false,
                next_hop: name("d.example"),
            }],
            left_out: None,
            is_whole: true,
        }
    );
}

#[test]
fn a_host_of_which_dns_does_not_tell_is_said_to_be_left_out() {
    let facts = world(&[
        (
            "d.example",
            Mx,
            Ok(vec![mx(10, "h1"), mx(20, "h2"), mx(30, "h3")]),
        ),
        ("h1", A, Err(Failure::Timeout)),
        ("h1", Aaaa, Err(Failure::NoData)),
        ("h2", A, Ok(vec![a("192.0.2.2")])),
        ("h2", Aaaa, Err(Failure::ServFail)),
        ("h3", A, Err(Failure::ServFail)),
        ("h3", Aaaa, Err(Failure::NoData)),
    ]);
    let MxPlan::Hosts {
        hosts, left_out, ..
    } = plan(&facts, 1)
    else {
        panic!()
    };
    assert_eq!(hosts.len(), 1);
    assert_eq!(
        (hosts[0].name.clone(), hosts[0].preference),
        (name("h2"), 20)
    );
    assert_eq!(left_out, Some((10, Failure::Timeout)));
}

#[test]
fn hosts_beyond_the_sixteenth_are_said_to_be_left_out() {
    for (count, whole) in [(16, true), (17, false)] {
        let names: Vec<String> = (0..count).map(|n| format!("h{n}")).collect();
        let exchanges = names.iter().map(|host| mx(10, host)).collect();
        let mut all = vec![("d.example", Mx, Ok(exchanges))];
        for host in &names {
            all.push((host, A, Ok(vec![a("192.0.2.1")])));
            all.push((host, Aaaa, Err(Failure::NoData)));
        }
        let MxPlan::Hosts {
            hosts, is_whole, ..
        } = plan(&world(&all), 1)
        else {
            panic!()
        };
        assert_eq!((hosts.len(), is_whole), (16, whole));
    }
}

#[test]
fn addresses_take_turns_between_families_and_are_bounded() {
    let v4 = (0..20).map(|n| a(&format!("192.0.2.{n}"))).collect();
    let v6 = (0..3).map(|n| a(&format!("2001:db8::{n}"))).collect();
    let facts = world(&[
        ("d.example", Mx, Ok(vec![mx(1, "h")])),
        ("h", A, Ok(v4)),
        ("h", Aaaa, Ok(v6)),
    ]);
    let mut begins_with_v4 = 0;
    for seed in 0..40 {
        let MxPlan::Hosts { hosts, .. } = plan(&facts, seed) else {
            panic!()
        };
        let families: Vec<bool> = hosts[0].addresses.iter().map(IpAddr::is_ipv4).collect();
        assert_eq!(families.len(), ADDRESSES_MAX);
        assert!(
            families[..6].windows(2).all(|w| w[0] != w[1]),
            "{families:?}"
        );
        assert_eq!(families.iter().filter(|v4| !**v4).count(), 3);
        begins_with_v4 += u32::from(families[0]);
    }
    assert!((8..32).contains(&begins_with_v4), "{begins_with_v4}");
}

#[test]
fn a_domain_with_very_many_hosts_costs_a_bounded_number_of_questions() {
    let many = (0..500).map(|n| mx(n, &format!("h{n}.example"))).collect();
    let facts = world(&[("d.example", Mx, Ok(many))]);
    let domain = name("d.example");
    let (verdict, facts, rounds) =
        ask_all(&facts, |f| mail_hosts(f, &domain, &Seed::from_number(1)));
    assert_eq!(verdict, MxPlan::NoHosts);
    assert_eq!((facts.len(), rounds), (1 + 2 * HOSTS_MAX, 2));
}

#[test]
fn only_a_host_that_is_vouched_for_throughout_is_authentic_and_aliases_are_told() {
    let build = |trusted: [bool; 3]| {
        let mut facts = world(&[
            ("d.example", Mx, Ok(vec![mx(1, "h")])),
            ("h", A, Ok(vec![a("192.0.2.1")])),
            ("h", Aaaa, Err(Failure::NoData)),
        ]);
        for (key, trusted) in [q("d.example", Mx), q("h", A), q("h", Aaaa)]
            .iter()
            .zip(trusted)
        {
            facts.get_mut(key).unwrap().authentic = trusted;
        }
        facts.get_mut(&q("h", A)).unwrap().canonical = Some(name("real.example"));
        let MxPlan::Hosts { mut hosts, .. } = plan(&facts, 1) else {
            panic!()
        };
        hosts.remove(0)
    };
    assert!(build([true; 3]).authentic);
    assert_eq!(build([true; 3]).canonical, name("real.example"));
    assert!(!build([false, true, true]).authentic);
    assert!(!build([true, false, true]).authentic);
    // Who says without proof that there are no more addresses does not take the proof from those that are there.
    assert!(build([true, true, false]).authentic);
}

#[test]
fn a_host_that_is_vouched_for_is_not_used_while_half_of_its_addresses_are_not_told() {
    let plan_of = |trusted: bool| {
        let mut facts = world(&[
            ("d.example", Mx, Ok(vec![mx(1, "h")])),
            ("h", A, Ok(vec![a("192.0.2.1")])),
            ("h", Aaaa, Err(Failure::Timeout)),
        ]);
        for key in [q("d.example", Mx), q("h", A)] {
            facts.get_mut(&key).unwrap().authentic = trusted;
        }
        plan(&facts, 1)
    };
    assert_eq!(plan_of(true), MxPlan::Temporary(Failure::Timeout));
    assert!(matches!(plan_of(false), MxPlan::Hosts { hosts, .. } if hosts.len() == 1));
}

#[test]
fn with_any_facts_removed_the_verdict_is_missing_or_the_same() {
    let facts = world(&[
        (
            "d.example",
            Mx,
            Ok(vec![mx(10, "a"), mx(10, "b"), mx(20, "c")]),
        ),
        ("a", A, Ok(vec![a("192.0.2.1")])),
        ("a", Aaaa, Err(Failure::NoData)),
        ("b", A, Err(Failure::Timeout)),
        ("b", Aaaa, Ok(vec![a("2001:db8::b"), a("2001:db8::c")])),
        ("c", A, Err(Failure::NoDomain)),
        ("c", Aaaa, Err(Failure::NoDomain)),
    ]);
    let domain = name("d.example");
    let seed = Seed::from_number(5);
    let whole: Facts = facts.clone().into_iter().collect();
    let verdict = mail_hosts(&whole, &domain, &seed).unwrap();
    for subset in 0u32..1 << facts.len() {
        let part: Facts = facts
            .iter()
            .enumerate()
            .filter(|(n, _)| subset & (1 << n) != 0)
            .map(|(_, (q, a))| (q.clone(), a.clone()))
            .collect();
        match mail_hosts(&part, &domain, &seed) {
            Ok(other) => assert_eq!(other, verdict, "{subset:b}"),
            Err(missing) => {
                assert!(!missing.questions().is_empty());
                for question in missing.questions() {
                    assert!(!part.contains(question) && whole.contains(question));
                }
            }
        }
    }
}

/// Follows a chain of TXT records, each naming the next.
fn chain(facts: &Facts) -> Result<Vec<Failure>, Missing> {
    let mut failures = Vec::new();
    for n in 0..100 {
        match facts.need(&q(&format!("n{n}"), RecordType::Txt))?.why() {
            None => {}
            Some(Failure::NoDomain) => break,
            Some(failure) => failures.push(failure),
        }
    }
    Ok(failures)
}

#[test]
fn an_inquiry_ends_after_its_runs_with_timeouts_that_are_on_record() {
    let mut inquiry = Inquiry::new(Facts::default(), at(60).mono);
    let mut asked = 0;
    let verdict = loop {
        match inquiry.run(at(0), chain) {
            Progress::Done(verdict) => break verdict,
            Progress::Ask(questions) => {
                asked += questions.len();
                let text = Record::Txt("x".into());
                inquiry.answer(&questions[0], Answer::records(vec![text], 1));
            }
            Progress::Wait => panic!(),
        }
    };
    assert_eq!(asked, RUNS_MAX as usize - 1);
    assert_eq!(verdict, vec![Failure::Timeout; 100 - asked]);
    assert_eq!(inquiry.deadline(), None);
    // The record replays to the same verdict.
    let facts = inquiry.into_facts();
    let record: Facts = facts
        .demanded()
        .map(|(q, a)| (q.clone(), a.clone()))
        .collect();
    assert_eq!(record.len(), 100);
    assert_eq!(chain(&record), Ok(verdict));
}

#[test]
fn at_the_deadline_open_questions_are_timeouts_and_late_answers_are_ignored() {
    let mut inquiry = Inquiry::new(Facts::default(), at(60).mono);
    let two = |facts: &Facts| {
        let answers = facts.all(&[q("a", A), q("b", A), q("a", A)])?;
        Ok(answers.iter().map(|a| a.why()).collect::<Vec<_>>())
    };
    assert_eq!(
        inquiry.run(at(0), two),
        Progress::Ask(vec![q("a", A), q("b", A)])
    );
    inquiry.answer(&q("a", A), Answer::failure(Failure::NoData, 9));
    assert_eq!(inquiry.run(at(59), two), Progress::Wait);
    inquiry.answer(&q("a", A), Answer::failure(Failure::ServFail, 9));
    inquiry.answer(&q("unasked", A), Answer::failure(Failure::ServFail, 9));
    assert_eq!(inquiry.deadline(), Some(at(60).mono));
    let none = Some(Failure::NoData);
    let end = Progress::Done(vec![none, Some(Failure::Timeout), none]);
    assert_eq!(inquiry.run(at(60), two), end);
    inquiry.answer(&q("b", A), Answer::failure(Failure::NoData, 9));
    assert_eq!(inquiry.run(at(61), two), end);
    assert_eq!(inquiry.facts().len(), 2);
}

#[test]
fn a_table_takes_no_more_than_its_limits() {
    let mut facts = Facts::new(FactsLimits {
        facts: 3,
        bytes: 10_000,
        answer: 8_000,
    });
    let big = |n: usize| Answer::records(vec![Record::Txt(vec![b'x'; n].into())], 1);
    assert!(facts.insert(&q("a", A), big(5_000)));
    assert!(!facts.insert(&q("a", A), big(1)), "written once");
    assert!(!facts.insert(&q("b", A), big(6_000)));
    assert!(facts.insert(&q("c", A), big(10)));
    assert!(!facts.insert(&q("d", A), big(1)));
    let why = |name| facts.need(&q(name, A)).unwrap().why();
    assert_eq!(
        [why("a"), why("b"), why("c"), why("d")],
        [None, Some(Failure::Timeout), None, Some(Failure::Timeout),]
    );
    assert!(facts.is_full());
    // A full table ends an inquiry.
    let mut inquiry = Inquiry::new(facts, at(60).mono);
    assert!(matches!(inquiry.run(at(0), chain), Progress::Done(all) if all.len() == 100));
}

#[test]
fn no_answer_is_larger_than_its_limit_and_a_long_text_shows_that_it_is_too_long() {
    let text = |n: usize| Record::Txt(vec![b'x'; n].into());
    let mut facts = Facts::default();
    // What a name server can send at most, several times over.
    for n in 0..20 {
        let answer = Answer::records(vec![text(64_000); 4], 1);
        assert!(facts.insert(&q(&format!("n{n}"), RecordType::Txt), answer) == (n < 7));
    }
    let first = facts.need(&q("n0", RecordType::Txt)).unwrap();
    assert_eq!(first.all(), vec![text(8_193); 4]);
    let mut facts = Facts::default();
    assert!(!facts.insert(&q("a", A), Answer::records(vec![text(8_000); 13], 1)));
    assert_eq!(
        facts.need(&q("a", A)).unwrap().why(),
        Some(Failure::Timeout)
    );
    assert!(facts.insert(&q("b", A), Answer::records(vec![text(8_192)], 1)));
    let all: Vec<_> = facts.iter().map(|(question, _)| question.clone()).collect();
    assert_eq!(all, [q("a", A), q("b", A)]);
}

#[test]
fn a_verdict_knows_the_ttl_and_authenticity_of_what_it_rests_on() {
    let mut facts = Facts::default();
    facts.insert(&q("a", A), Answer::failure(Failure::NoData, 30).authentic());
    facts.insert(&q("b", A), Answer::failure(Failure::NoData, 20));
    assert_eq!(facts.basis(), (0, false));
    facts.need(&q("a", A)).unwrap();
    assert_eq!(facts.basis(), (30, true));
    facts.need(&q("b", A)).unwrap();
    assert_eq!(facts.basis(), (20, false));
    facts.forget_demands();
    assert_eq!(facts.demanded().count(), 0);
}
