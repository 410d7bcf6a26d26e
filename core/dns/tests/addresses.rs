//! What DNS says about an address: iprev and lists.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_dns::{
    Answer, DnsblHealth, EXPLANATION_MAX, Facts, Failure, Health, Inquiry, IprevVerdict, Listed,
    MasterFile, Missing, Name, Progress, Question, REVERSE_NAMES_MAX, dnsbl, dnsbl_health, iprev,
};
use mox_machine::{Mono, Now, Seed};
use std::fmt::Debug;
use std::net::IpAddr;

const ZONE: &str = r#"
1.2.0.192.in-addr.arpa PTR mx.example.org
1.2.0.192.in-addr.arpa PTR other.example.org
mx.example.org A 192.0.2.1
other.example.org A 192.0.2.99
2.2.0.192.in-addr.arpa PTR liar.example.org
liar.example.org A 192.0.2.77
3.2.0.192.in-addr.arpa PTR nothing.example.org
4.2.0.192.in-addr.arpa PTR broken.example.org
4.2.0.192.in-addr.arpa PTR liar.example.org
broken.example.org A !SERVFAIL
5.2.0.192.in-addr.arpa PTR !TIMEOUT
6.2.0.192.in-addr.arpa PTR .
7.2.0.192.in-addr.arpa PTR broken.example.org
7.2.0.192.in-addr.arpa PTR seven.example.org
seven.example.org A 192.0.2.7
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example.org
six.example.org A 192.0.2.1
six.example.org AAAA 2001:db8::1

2.0.0.127.good.example A 127.0.0.2
2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.good.example A 127.0.0.2
66.2.0.192.good.example A 127.0.0.4
66.2.0.192.good.example A 127.0.0.2
66.2.0.192.good.example TXT "see https://good.example/\226\152\131?192.0.2.66"
67.2.0.192.good.example A 127.0.0.2
67.2.0.192.good.example TXT !SERVFAIL
68.2.0.192.good.example A !SERVFAIL
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.good.example A 127.0.0.9

1.0.0.127.all.example A 127.0.0.2
2.0.0.127.all.example A 127.0.0.2
2.0.0.127.four.example A 127.0.0.2
1.0.0.127.parked.example A 203.0.113.7
2.0.0.127.parked.example A 203.0.113.7
66.2.0.192.parked.example A 203.0.113.7
2.0.0.127.busy.example A 127.255.255.254
66.2.0.192.busy.example A 127.255.255.254
2.0.0.127.slow.example A !TIMEOUT
1.0.0.127.slow.example A !TIMEOUT
"#;

/// The verdict with answers in an order drawn from `seed`; with any of its facts removed there is none.
fn ask<T: Debug + PartialEq>(
    seed: u64,
    mut function: impl FnMut(&Facts) -> Result<T, Missing>,
) -> T {
    let zone = MasterFile::parse(ZONE).unwrap();
    let mut rng = Seed::from_number(seed).rng();
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    let mut open: Vec<Question> = Vec::new();
    let verdict = loop {
        match inquiry.run(Now::default(), &mut function) {
            Progress::Done(verdict) => break verdict,
            Progress::Ask(questions) => open.extend(questions),
            Progress::Wait => {}
        }
        let question = open.swap_remove(usize::try_from(rng.below(open.len() as u64)).unwrap());
        inquiry.answer(&question, zone.answer(&question));
    };
    let facts: Vec<(Question, Answer)> = inquiry
        .facts()
        .demanded()
        .map(|(q, a)| (q.clone(), a.clone()))
        .collect();
    for _ in 0..50 {
        let some: Facts = facts.iter().filter(|_| rng.one_in(2)).cloned().collect();
        let complete = some.len() == facts.len();
        match function(&some) {
            Ok(again) => assert!(complete && again == verdict, "{again:?}"),
            Err(missing) => assert!(!complete && !missing.questions().is_empty()),
        }
    }
    verdict
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[test]
fn an_address_passes_when_one_of_its_names_leads_back() {
    for (ip, verdict, found) in [
        ("192.0.2.1", IprevVerdict::Pass, Some("mx.example.org")),
        (
            "::ffff:192.0.2.1",
            IprevVerdict::Pass,
            Some("mx.example.org"),
        ),
        ("2001:db8::1", IprevVerdict::Pass, Some("six.example.org")),
        // A name that DNS does not tell of does not spoil one that leads back.
        ("192.0.2.7", IprevVerdict::Pass, Some("seven.example.org")),
        ("192.0.2.2", IprevVerdict::Fail, None),
        ("192.0.2.3", IprevVerdict::Fail, None),
        ("192.0.2.4", IprevVerdict::TempError, None),
        ("192.0.2.5", IprevVerdict::TempError, None),
        ("192.0.2.6", IprevVerdict::PermError, None),
        ("192.0.2.200", IprevVerdict::PermError, None),
    ] {
        let address: IpAddr = ip.parse().unwrap();
        for seed in 0..4 {
            let report = ask(seed, |facts| iprev(facts, address));
            assert_eq!(report.verdict, verdict, "{ip}");
            assert_eq!(report.name.map(|n| n.to_string()).as_deref(), found, "{ip}");
            assert_eq!(report.ip, address.to_canonical());
        }
    }
}

#[test]
fn of_a_thousand_names_ten_are_looked_at() {
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    let mut text = String::from("n999.example A 192.0.2.1\n");
    for n in 0..1_000 {
        text.push_str(&format!("1.2.0.192.in-addr.arpa PTR n{n:03}.example\n"));
    }
    let zone = MasterFile::parse(&text).unwrap();
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    let mut asked = 0;
    let report = loop {
        match inquiry.run(Now::default(), |facts| iprev(facts, ip)) {
            Progress::Done(report) => break report,
            Progress::Ask(questions) => {
                asked += questions.len();
                for question in questions {
                    inquiry.answer(&question, zone.answer(&question));
                }
            }
            Progress::Wait => unreachable!(),
        }
    };
    assert_eq!(report.verdict, IprevVerdict::Fail);
    assert_eq!((report.names.len(), asked), (10, 1 + REVERSE_NAMES_MAX));
}

#[test]
fn an_entry_of_a_list_is_told_with_its_values_and_its_explanation() {
    let look = |list: &str, ip: &str| {
        let ip = ip.parse().unwrap();
        ask(3, |facts| dnsbl(facts, &name(list), ip))
    };
    let report = look("good.example", "192.0.2.66");
    assert_eq!(report.listed, Listed::Yes);
    let codes: Vec<String> = report.codes.iter().map(ToString::to_string).collect();
    assert_eq!(codes, ["127.0.0.2", "127.0.0.4"]);
    assert_eq!(
        report.explanation.as_deref(),
        Some("see https://good.example/?192.0.2.66")
    );
    assert_eq!(report.asked.unwrap().to_string(), "66.2.0.192.good.example");
    for (list, ip, listed) in [
        ("good.example", "::ffff:192.0.2.66", Listed::Yes),
        ("good.example", "192.0.2.65", Listed::No),
        ("good.example", "192.0.2.67", Listed::Yes),
        (
            "good.example",
            "192.0.2.68",
            Listed::Unknown(Failure::ServFail),
        ),
        ("good.example", "2001:db8::1", Listed::Yes),
        ("good.example", "2001:db8::2", Listed::No),
        (
            "parked.example",
            "192.0.2.66",
            Listed::Meaningless("the answer is not an address of 127.0.0.0/8"),
        ),
        (
            "busy.example",
            "192.0.2.66",
            Listed::Meaningless("the list does not answer us"),
        ),
    ] {
        assert_eq!(look(list, ip).listed, listed, "{list} {ip}");
    }
    let long = ["a"; 120].join(".");
    assert_eq!(
        look(&long, "2001:db8::1").listed,
        Listed::Meaningless("the name of the list is too long")
    );
    assert_eq!(look(&long, "2001:db8::1").asked, None);
}

#[test]
fn a_list_is_good_when_it_has_the_one_test_entry_and_not_the_other() {
    let health = |list: &str| ask(5, |facts| dnsbl_health(facts, &name(list)));
    for (list, v4, v6) in [
        ("good.example", Health::Good, Health::Good),
        ("four.example", Health::Good, Health::ListsNothing),
        ("gone.example", Health::ListsNothing, Health::ListsNothing),
        ("all.example", Health::ListsAll, Health::ListsNothing),
        (
            "parked.example",
            Health::Meaningless("the answer is not an address of 127.0.0.0/8"),
            Health::ListsNothing,
        ),
        (
            "busy.example",
            Health::Meaningless("the list does not answer us"),
            Health::ListsNothing,
        ),
        (
            "slow.example",
            Health::Unknown(Failure::Timeout),
            Health::ListsNothing,
        ),
    ] {
        assert_eq!(health(list), DnsblHealth { v4, v6 }, "{list}");
    }
}

#[test]
fn an_explanation_is_cut() {
    let text = format!(
        "66.2.0.192.l.example A 127.0.0.2\n66.2.0.192.l.example TXT {:?}\n",
        "x".repeat(250)
    );
    let text = text.clone()
        + &format!(
            "66.2.0.192.l.example TXT {:?} {:?}\n",
            "y".repeat(250),
            "y".repeat(250)
        );
    let zone = MasterFile::parse(&text).unwrap();
    let ip = "192.0.2.66".parse().unwrap();
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    let report = loop {
        match inquiry.run(Now::default(), |facts| dnsbl(facts, &name("l.example"), ip)) {
            Progress::Done(report) => break report,
            Progress::Ask(questions) => {
                for question in questions {
                    inquiry.answer(&question, zone.answer(&question));
                }
            }
            Progress::Wait => unreachable!(),
        }
    };
    assert_eq!(report.explanation.unwrap().len(), EXPLANATION_MAX);
}
