//! DANE, and what is demanded of a host.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use bytes::Bytes;
use mox_dns::{
    Answer, Facts, Failure, Inquiry, MailHost, MasterFile, MxPlan, Name, Progress, Question,
    mail_hosts,
};
use mox_machine::{Mono, Now, Seed};
use mox_tls_policy::{
    AppliedPolicy, Certificate, Dane, Demand, FailureType, Ledger, LedgerLimits, Level, NextHop,
    Peer, PolicyType, Reason, StsPolicy, TLSA_MAX, Tls, Tlsa, Unusable, WebPkiProblem, dane_lookup,
    decide,
};
use sha2::{Digest, Sha256, Sha512};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

/// A zone: one domain that is vouched for with hosts of all kinds, and one that is not.
fn zone() -> String {
    let own = hex(&Sha256::digest(b"own key"));
    format!(
        r#"
example.org MX 10 mx1.example.org
example.org MX 20 mx2.example.org
example.org MX 30 mx3.example.org
example.org MX 40 mx4.example.org
example.org MX 50 mx5.example.org !AD
mx1.example.org A 192.0.2.1 !AD
mx1.example.org AAAA !NODATA !AD
_25._tcp.mx1.example.org TLSA 3 1 1 {own} !AD
mx2.example.org A 192.0.2.2 !AD
mx2.example.org AAAA !NODATA !AD
mx3.example.org A 192.0.2.3 !AD
mx3.example.org AAAA !NODATA !AD
_25._tcp.mx3.example.org TLSA !SERVFAIL
mx4.example.org A 192.0.2.4 !AD
mx4.example.org AAAA !NODATA !AD
_25._tcp.mx4.example.org TLSA 1 1 1 {own} !AD
_25._tcp.mx4.example.org TLSA 3 1 1 00 !AD
mx5.example.org A 192.0.2.5
mx5.example.org AAAA !NODATA
_25._tcp.mx5.example.org TLSA !SERVFAIL
"#
    )
}

fn sts(mode: &str, mx: &str) -> StsPolicy {
    let text = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
    StsPolicy::parse(text.as_bytes()).unwrap()
}

fn host(authentic: bool, canonical: &str) -> MailHost {
    MailHost {
        name: name("mx.example.org"),
        canonical: name(canonical),
        preference: 10,
        addresses: vec!["192.0.2.1".parse().unwrap()],
        authentic,
        mx_authentic: authentic,
        next_hop: name("example.org"),
    }
}

fn answered(facts: &[(&str, Answer)]) -> Facts {
    facts
        .iter()
        .map(|(name, answer)| {
            let question = Question::new(name, mox_dns::RecordType::Tlsa).unwrap();
            (question, answer.clone())
        })
        .collect()
}

fn tlsa(records: &[(u8, u8, u8, &[u8])]) -> Answer {
    let records: Vec<mox_dns::Record> = records
        .iter()
        .map(|(usage, selector, matching, data)| mox_dns::Record::Tlsa {
            usage: *usage,
            selector: *selector,
            matching: *matching,
            data: Bytes::copy_from_slice(data),
        })
        .collect();
    Answer::records(records, 300)
}

#[test]
fn nothing_is_asked_where_dnssec_does_not_vouch_for_the_host() {
    assert_eq!(
        dane_lookup(&Facts::default(), &host(false, "mx.example.org"), 25).unwrap(),
        Dane::NotAuthentic
    );
}

#[test]
fn where_cnames_lead_comes_before_the_name_itself() {
    let digest = Sha256::digest(b"x");
    let good = || tlsa(&[(3, 1, 1, &digest)]).authentic();
    let (direct, aliased) = (host(true, "mx.example.org"), host(true, "real.example.net"));
    let none = || Answer::failure(Failure::NoDomain, 60).authentic();
    let base =
        |facts: &[(&str, Answer)], host: &MailHost| match dane_lookup(&answered(facts), host, 25)
            .unwrap()
        {
            Dane::Records { base, .. } => Ok(base.to_string()),
            other => Err(other),
        };
    const DIRECT: &str = "_25._tcp.mx.example.org";
    const REAL: &str = "_25._tcp.real.example.net";
    assert_eq!(
        base(&[(DIRECT, good())], &direct).unwrap(),
        "mx.example.org"
    );
    assert_eq!(
        base(&[(REAL, good())], &aliased).unwrap(),
        "real.example.net"
    );
    assert_eq!(
        base(&[(REAL, none()), (DIRECT, good())], &aliased).unwrap(),
        "mx.example.org"
    );
    // Records that DNSSEC does not vouch for are none.
    let insecure = tlsa(&[(3, 1, 1, &digest)]);
    assert_eq!(base(&[(DIRECT, insecure)], &direct), Err(Dane::None));
    assert_eq!(base(&[(DIRECT, none())], &direct), Err(Dane::None));
    for failure in [Failure::Bogus, Failure::ServFail, Failure::Timeout] {
        assert_eq!(
            base(&[(DIRECT, Answer::failure(failure, 0))], &direct),
            Err(Dane::Unknown(failure))
        );
        assert_eq!(
            base(
                &[(REAL, Answer::failure(failure, 0)), (DIRECT, good())],
                &aliased
            ),
            Err(Dane::Unknown(failure))
        );
    }
    // Each is asked only when it is needed.
    let missing = dane_lookup(&Facts::default(), &aliased, 465).unwrap_err();
    let asked: Vec<String> = missing.questions().iter().map(|q| q.to_string()).collect();
    assert_eq!(asked, ["_465._tcp.real.example.net TLSA"]);
}

#[test]
fn an_alias_that_is_vouched_for_has_records_though_what_it_leads_to_is_not() {
    let digest = Sha256::digest(b"x");
    let host = MailHost {
        mx_authentic: true,
        ..host(false, "real.example.net")
    };
    let alias = Question::new("mx.example.org", mox_dns::RecordType::Cname).unwrap();
    let cname = Answer::records(vec![mox_dns::Record::Cname(name("real.example.net"))], 300);
    let looked_up = |alias_is: &Answer, host: &MailHost| {
        let good = tlsa(&[(3, 1, 1, &digest)]).authentic();
        let mut facts = answered(&[("_25._tcp.mx.example.org", good)]);
        facts.insert(&alias, alias_is.clone());
        dane_lookup(&facts, host, 25).unwrap()
    };
    // The records are those of the alias itself (RFC 7672 2.2.2, "insecure CNAME").
    assert!(matches!(
        looked_up(&cname.clone().authentic(), &host),
        Dane::Records { base, .. } if base == name("mx.example.org")
    ));
    assert_eq!(looked_up(&cname, &host), Dane::NotAuthentic);
    let failure = Answer::failure(Failure::ServFail, 0);
    assert_eq!(looked_up(&failure, &host), Dane::Unknown(Failure::ServFail));
    let unproven = MailHost {
        mx_authentic: false,
        ..host.clone()
    };
    assert_eq!(looked_up(&cname.authentic(), &unproven), Dane::NotAuthentic);
    let missing = dane_lookup(&Facts::default(), &host, 25).unwrap_err();
    assert_eq!(missing.questions(), [alias]);
}

#[test]
fn a_certificate_may_be_for_the_domain_or_where_the_domain_leads() {
    let dane = Dane::Records {
        base: name("mx.example.org"),
        usable: vec![Tlsa::new(2, 1, 0, Bytes::from_static(ANCHOR.public_key)).unwrap()],
        unusable: vec![],
    };
    let (domain, host, expanded) = (
        name("exchange.example.org"),
        name("mx.example.org"),
        name("example.com"),
    );
    let hop = NextHop {
        domain: &domain,
        host: &host,
        sts: None,
        dane: &dane,
        vouched_for: true,
        expanded: &expanded,
    };
    for (presented, good) in [
        (&b"mx.example.org"[..], true),
        (b"exchange.example.org", true),
        (b"example.com", true),
        (b"example.org", false),
    ] {
        let peer = Peer {
            names: &[presented],
            ..PEER
        };
        let judged = decide(&hop, Demand::None).judge(&hop, Tls::Established(&peer));
        assert_eq!(judged.may_send, good, "{presented:?}");
    }
}

#[test]
fn records_that_cannot_be_used_say_why() {
    let sha = [7; 32];
    for (usage, selector, matching, data, why) in [
        (0, 0, 1, &sha[..], Unusable::Pkix),
        (1, 1, 1, &sha[..], Unusable::Pkix),
        (4, 1, 1, &sha[..], Unusable::Usage(4)),
        (255, 1, 1, &sha[..], Unusable::Usage(255)),
        (3, 2, 1, &sha[..], Unusable::Selector(2)),
        (3, 1, 3, &sha[..], Unusable::Matching(3)),
        (3, 1, 1, &sha[..31], Unusable::Data),
        (3, 1, 2, &sha[..], Unusable::Data),
        (2, 0, 0, &[][..], Unusable::Data),
    ] {
        assert_eq!(
            Tlsa::new(usage, selector, matching, Bytes::copy_from_slice(data)),
            Err(why)
        );
    }
    let many: Vec<[u8; 32]> = (0..100_u8).map(|n| [n; 32]).collect();
    let records: Vec<(u8, u8, u8, &[u8])> = many.iter().map(|d| (3, 1, 1, &d[..])).collect();
    let facts = answered(&[("_25._tcp.mx.example.org", tlsa(&records).authentic())]);
    match dane_lookup(&facts, &host(true, "mx.example.org"), 25).unwrap() {
        Dane::Records { usable, .. } => assert_eq!(usable.len(), TLSA_MAX),
        other => panic!("{other:?}"),
    }
}

const OWN: Certificate<'_> = Certificate {
    der: b"own certificate",
    public_key: b"own key",
};
const ANCHOR: Certificate<'_> = Certificate {
    der: b"anchor certificate",
    public_key: b"anchor key",
};

const PEER: Peer<'_> = Peer {
    chain: &[OWN, ANCHOR],
    linked: 2,
    names: &[b"mx.example.org"],
    webpki: Err(WebPkiProblem::NotTrusted),
};

#[test]
fn a_peer_is_who_a_record_is_about_by_each_way_of_comparing() {
    let base = name("mx.example.org");
    let fulfils = |peer: &Peer<'_>, usage, selector, matching, data: &[u8]| {
        let record = Tlsa::new(usage, selector, matching, Bytes::copy_from_slice(data)).unwrap();
        peer.fulfils(&[record], &[&base])
    };
    for (usage, certificate) in [(3, OWN), (2, ANCHOR), (2, OWN)] {
        for (selector, octets) in [(0, certificate.der), (1, certificate.public_key)] {
            assert_eq!(fulfils(&PEER, usage, selector, 0, octets), Ok(()));
            let sha256 = Sha256::digest(octets);
            assert_eq!(fulfils(&PEER, usage, selector, 1, &sha256), Ok(()));
            let sha512 = Sha512::digest(octets);
            assert_eq!(fulfils(&PEER, usage, selector, 2, &sha512), Ok(()));
            assert_eq!(
                fulfils(&PEER, usage, 1 - selector, 1, &sha256),
                Err(FailureType::ValidationFailure)
            );
        }
    }
    // DANE-EE is about the peer's own only, and minds neither names nor dates.
    assert!(fulfils(&PEER, 3, 1, 0, ANCHOR.public_key).is_err());
    let stranger = Peer {
        names: &[],
        linked: 0,
        ..PEER
    };
    assert_eq!(fulfils(&stranger, 3, 1, 0, OWN.public_key), Ok(()));
    assert_eq!(
        fulfils(&stranger, 2, 1, 0, OWN.public_key),
        Err(FailureType::CertificateNotTrusted)
    );
    // DANE-TA needs the signatures up to the anchor, and a name.
    let unlinked = Peer { linked: 1, ..PEER };
    assert_eq!(
        fulfils(&unlinked, 2, 1, 0, ANCHOR.public_key),
        Err(FailureType::CertificateNotTrusted)
    );
    for (names, good) in [
        (&[b"MX.example.org" as &[u8]] as &[&[u8]], true),
        (&[b"other.example", b"*.example.org"], true),
        (&[b"example.org"], false),
        (&[b"*.mx.example.org"], false),
        (&[b"m*.example.org"], false),
        (&[b"*"], false),
        (&[b""], false),
        (&[b"*.org"], false),
    ] {
        let peer = Peer { names, ..PEER };
        let expected = match good {
            true => Ok(()),
            false => Err(FailureType::CertificateHostMismatch),
        };
        assert_eq!(
            fulfils(&peer, 2, 1, 0, ANCHOR.public_key),
            expected,
            "{names:?}"
        );
    }
    let empty = Peer { chain: &[], ..PEER };
    assert!(fulfils(&empty, 3, 1, 0, b"x").is_err());
    // A key that could not be read is not equal to one that is empty, which no record is.
    let unread = Certificate {
        public_key: b"",
        ..OWN
    };
    let unread = Peer {
        chain: &[unread],
        ..PEER
    };
    assert!(fulfils(&unread, 3, 1, 1, &Sha256::digest(b"")).is_err());
}

/// Plans and DANE of all hosts of a domain, in one table of facts; with any facts removed it is not known, or the same.
#[test]
fn the_hosts_of_a_domain_are_told_apart() {
    let zone = MasterFile::parse(zone()).unwrap();
    let domain = name("example.org");
    let evaluate = |facts: &Facts| {
        let seed = Seed::from_number(1);
        let MxPlan::Hosts { hosts, .. } = mail_hosts(facts, &domain, &seed)? else {
            return Ok(Vec::new());
        };
        hosts
            .into_iter()
            .map(|host| dane_lookup(facts, &host, 25).map(|dane| (host, dane)))
            .collect::<Result<Vec<_>, _>>()
    };
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    let hosts = loop {
        match inquiry.run(Now::default(), evaluate) {
            Progress::Done(hosts) => break hosts,
            Progress::Ask(questions) => {
                for question in questions {
                    inquiry.answer(&question, zone.answer(&question));
                }
            }
            Progress::Wait => unreachable!(),
        }
    };
    let levels: Vec<(Level, Vec<Reason>)> = hosts
        .iter()
        .map(|(host, dane)| {
            let hop = NextHop {
                domain: &domain,
                host: &host.name,
                sts: None,
                dane,
                vouched_for: host.mx_authentic,
                expanded: &host.next_hop,
            };
            let decision = decide(&hop, Demand::None);
            (decision.level, decision.reasons)
        })
        .collect();
    assert_eq!(
        levels,
        [
            (Level::Dane, vec![Reason::Tlsa]),
            (Level::Opportunistic, vec![Reason::NoPolicy]),
            (Level::Never, vec![Reason::TlsaUnknown]),
            (Level::Encrypted, vec![Reason::TlsaUnusable]),
            (Level::Opportunistic, vec![Reason::NoPolicy]),
        ]
    );
    let facts: Vec<(Question, Answer)> = inquiry
        .facts()
        .demanded()
        .map(|(q, a)| (q.clone(), a.clone()))
        .collect();
    let mut rng = Seed::from_number(3).rng();
    for _ in 0..50 {
        let some: Facts = facts.iter().filter(|_| rng.one_in(2)).cloned().collect();
        match evaluate(&some) {
            Ok(again) => assert!(some.len() == facts.len() && again == hosts),
            Err(missing) => assert!(!missing.questions().is_empty()),
        }
    }
}

#[test]
fn mta_sts_dane_and_the_message_decide_together() {
    let digest = Bytes::copy_from_slice(&Sha256::digest(OWN.public_key));
    let records = |usable: bool| Dane::Records {
        base: name("mx.example.org"),
        usable: match usable {
            true => vec![Tlsa::new(3, 1, 1, digest.clone()).unwrap()],
            false => vec![],
        },
        unusable: vec![],
    };
    let (enforce, excludes) = (
        sts("enforce", "mx.example.org"),
        sts("enforce", "other.example.org"),
    );
    let (testing, none) = (
        sts("testing", "mx.example.org"),
        sts("none", "mx.example.org"),
    );
    let unknown = Dane::Unknown(Failure::Bogus);
    use Demand::{RequireTls, TlsOptional};
    let nothing = Demand::None;
    use Level::{Encrypted, Never, Opportunistic, WebPki};
    for (policy, dane, vouched_for, demand, level) in [
        (None, &Dane::None, true, nothing, Opportunistic),
        (Some(&enforce), &Dane::NotAuthentic, false, nothing, WebPki),
        (Some(&excludes), &Dane::NotAuthentic, false, nothing, Never),
        // An MX list in force holds although DANE would do.
        (Some(&excludes), &records(true), true, nothing, Never),
        (Some(&enforce), &records(true), true, nothing, Level::Dane),
        (Some(&enforce), &records(false), true, nothing, WebPki),
        (Some(&enforce), &unknown, true, nothing, Never),
        (Some(&testing), &Dane::None, true, nothing, Opportunistic),
        (Some(&none), &Dane::None, true, nothing, Opportunistic),
        (None, &records(false), true, nothing, Encrypted),
        (None, &records(true), true, nothing, Level::Dane),
        (None, &unknown, true, nothing, Never),
        (None, &records(true), true, RequireTls, Level::Dane),
        (None, &records(false), true, RequireTls, WebPki),
        (None, &Dane::None, true, RequireTls, WebPki),
        (None, &Dane::NotAuthentic, false, RequireTls, Never),
        (
            Some(&testing),
            &Dane::NotAuthentic,
            false,
            RequireTls,
            WebPki,
        ),
        (
            Some(&enforce),
            &Dane::NotAuthentic,
            false,
            RequireTls,
            WebPki,
        ),
        (Some(&excludes), &unknown, false, TlsOptional, Opportunistic),
    ] {
        let hop = NextHop {
            domain: &name("example.org"),
            host: &name("mx.example.org"),
            sts: policy,
            dane,
            vouched_for,
            expanded: &name("example.org"),
        };
        let decision = decide(&hop, demand);
        assert_eq!(decision.level, level, "{policy:?} {dane:?} {demand:?}");
        assert_eq!(decision.extension, demand == RequireTls);
        assert!(!decision.reasons.is_empty());
    }
}

#[test]
fn a_session_is_judged_under_each_policy_that_holds() {
    let dane = Dane::Records {
        base: name("mx.example.org"),
        usable: vec![Tlsa::new(3, 1, 0, Bytes::from_static(OWN.public_key)).unwrap()],
        unusable: vec![],
    };
    let policy = sts("testing", "mx.example.org");
    let (domain, host) = (name("example.org"), name("mx.example.org"));
    let hop = NextHop {
        domain: &domain,
        host: &host,
        sts: Some(&policy),
        dane: &dane,
        vouched_for: true,
        expanded: &domain,
    };
    let decision = decide(&hop, Demand::None);
    assert_eq!(
        decision.to_string(),
        "TLS with a certificate of a TLSA record is demanded: the domain's MTA-STS policy is being tried out; the host has TLSA records"
    );
    let judged = decision.judge(&hop, Tls::Established(&PEER));
    assert!(judged.may_send);
    assert_eq!(
        judged.results,
        [
            (PolicyType::Tlsa, Ok(())),
            (PolicyType::Sts, Err(FailureType::CertificateNotTrusted)),
        ]
    );
    let judged = decision.judge(&hop, Tls::NotOffered);
    assert!(!judged.may_send);
    let why = FailureType::StarttlsNotSupported;
    assert_eq!(
        judged.results,
        [(PolicyType::Tlsa, Err(why)), (PolicyType::Sts, Err(why))]
    );
    // Without DANE, a policy in force wants a certificate of the public authorities.
    let policy = sts("enforce", "mx.example.org");
    let hop = NextHop {
        sts: Some(&policy),
        dane: &Dane::NotAuthentic,
        ..hop
    };
    let decision = decide(&hop, Demand::None);
    assert!(!decision.judge(&hop, Tls::Established(&PEER)).may_send);
    assert!(!decision.judge(&hop, Tls::Failed).may_send);
    let known = Peer {
        webpki: Ok(()),
        ..PEER
    };
    let judged = decision.judge(&hop, Tls::Established(&known));
    assert!(judged.may_send && judged.results == [(PolicyType::Sts, Ok(()))]);
    // And without any policy everything may be sent, and is still counted.
    let hop = NextHop { sts: None, ..hop };
    let judged = decide(&hop, Demand::None).judge(&hop, Tls::NotOffered);
    assert!(judged.may_send);
    assert_eq!(judged.results, [(PolicyType::NoPolicyFound, Err(why))]);
}

#[test]
fn a_ledger_counts_within_its_limits() {
    let policy = |n: u32| AppliedPolicy {
        kind: PolicyType::Sts,
        domain: format!("{n}.example"),
        strings: vec![],
        mx: vec![],
    };
    let failure = |n: u32| mox_tls_policy::Failure {
        helo: Some(format!("{n}")),
        ..mox_tls_policy::Failure::of(FailureType::CertificateExpired)
    };
    let mut ledger = Ledger::new(LedgerLimits {
        policies: 2,
        failures: 3,
    });
    for n in 0..3 {
        ledger.count(&policy(n), Ok(()));
    }
    for n in 0..10 {
        ledger.count(&policy(0), Err(failure(n % 5)));
    }
    assert_eq!(ledger.lost(), 1);
    let tallies: Vec<_> = ledger.tallies().collect();
    assert_eq!(tallies.len(), 2);
    let (of, tally) = tallies[0];
    assert_eq!((of.domain.as_str(), tally.successes), ("0.example", 1));
    assert_eq!(tally.failed(), 10);
    // Three kinds with their details, twice each, and what was over them by its type alone.
    let general = mox_tls_policy::Failure::of(FailureType::CertificateExpired);
    assert_eq!(tally.failures[&general], 4);
    assert_eq!(tally.failures.len(), 4);
}
