//! The stub resolver asks unbound: long answers over TCP, names that do not exist, servers that fail, and what DNSSEC vouches
//! for or refutes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::time::Duration;

use mox_dns::stub::ResolverConfig;
use mox_dns::{Answer, Facts, Failure, MxPlan, Name, Question, Record, RecordType, mail_hosts};
use mox_e2e::{Signing, Unbound, have, wait_for};
use mox_machine::Seed;
use mox_node::Resolver;
use mox_runtime_smol::SmolRuntime;

/// How long unbound may take to start.
const START: Duration = Duration::from_secs(30);

/// A zone in which every kind of answer is found.
fn records(zone: &str) -> String {
    let mut text = format!(
        "$ORIGIN {zone}.\n$TTL 600\n\
         @ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n\
         @ MX 10 mx\n@ MX 20 mx2\n@ TXT \"v=spf1 mx \" \"-all\"\nmx A 192.0.2.1\nmx AAAA 2001:db8::1\nmx2 A 192.0.2.2\n\
         alias CNAME mx\n_25._tcp.mx TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
    );
    // More than fits into a packet of 1,232 octets.
    for n in 0..40 {
        text += &format!("long TXT \"{n:060}\"\n");
    }
    text
}

/// Somebody who asks this server.
struct Client {
    runtime: SmolRuntime,
    resolver: Resolver,
}

impl Client {
    fn ask(&self, name: &str, kind: RecordType) -> Answer {
        let question = Question::new(name, kind).unwrap();
        self.inquire(|facts| facts.need(&question).cloned())
    }

    fn inquire<T>(&self, function: impl FnMut(&Facts) -> Result<T, mox_dns::Missing>) -> T {
        let asked = self
            .resolver
            .inquire(&self.runtime, Facts::default(), function);
        self.runtime.run_until(asked).0
    }
}

#[test]
fn unbound_is_understood_whatever_it_answers() {
    let test = "unbound_is_understood_whatever_it_answers";
    if !have(test, &["unbound", "ldns-keygen", "ldns-signzone"]) {
        return;
    }
    let zone = |name: &'static str, signing| (name, records(name), signing);
    let unbound = Unbound::start(&[
        zone("signed.example", Signing::Signed),
        zone("plain.example", Signing::Plain),
        zone("forged.example", Signing::Forged("192.0.2.1", "192.0.2.66")),
    ]);
    let seed = Seed::from_number(1);
    let client = |n| Client {
        runtime: SmolRuntime::start(1, seed.child("runtime", n)).unwrap(),
        resolver: Resolver::new(
            ResolverConfig::of([unbound.address()]),
            seed.child("resolver", n),
        ),
    };
    let mut tries = 1;
    wait_for("unbound answers", START, || {
        tries += 1;
        let answer = client(tries).ask("ns.plain.example", RecordType::A);
        (!answer.all().is_empty()).then_some(())
    });
    let client = client(0);

    // What is vouched for, and what is not.
    for (zone, authentic) in [("signed.example", true), ("plain.example", false)] {
        let name = |label: &str| format!("{label}.{zone}");
        let txt = client.ask(zone, RecordType::Txt);
        assert_eq!(txt.all(), [Record::Txt("v=spf1 mx -all".into())], "{zone}");
        assert_eq!((txt.authentic, txt.canonical), (authentic, None), "{zone}");
        assert!((1..=600).contains(&txt.ttl), "{zone}: {}", txt.ttl);
        let alias = client.ask(&name("alias"), RecordType::A);
        assert_eq!(alias.all(), [Record::A([192, 0, 2, 1].into())]);
        assert_eq!(alias.canonical, Some(Name::parse(name("mx")).unwrap()));
        assert_eq!(alias.authentic, authentic);
        let gone = client.ask(&name("gone"), RecordType::A);
        assert_eq!(
            (gone.why(), gone.authentic),
            (Some(Failure::NoDomain), authentic),
            "{zone}"
        );
        assert!((1..=60).contains(&gone.ttl), "{zone}: {}", gone.ttl);
        let nothing = client.ask(&name("mx2"), RecordType::Aaaa);
        assert_eq!(
            (nothing.why(), nothing.authentic),
            (Some(Failure::NoData), authentic),
            "{zone}"
        );
        let tlsa = client.ask(&name("_25._tcp.mx"), RecordType::Tlsa);
        assert!(
            matches!(tlsa.all(), [Record::Tlsa { usage: 3, selector: 1, matching: 1, data }] if data.len() == 32)
        );
        // Cut off over UDP, whole over TCP.
        let long = client.ask(&name("long"), RecordType::Txt);
        assert_eq!(
            (long.all().len(), long.authentic),
            (40, authentic),
            "{zone}"
        );
        let domain = Name::parse(zone).unwrap();
        let MxPlan::Hosts { hosts, .. } = client.inquire(|facts| mail_hosts(facts, &domain, &seed))
        else {
            panic!("{zone} has mail hosts")
        };
        let all: Vec<(String, bool)> = hosts
            .iter()
            .map(|host| (host.name.to_string(), host.authentic))
            .collect();
        assert_eq!(all, [(name("mx"), authentic), (name("mx2"), authentic)]);
    }

    let forged = client.ask("mx.forged.example", RecordType::A);
    assert_eq!(forged.why(), Some(Failure::Bogus));
    let broken = client.ask("www.broken.example", RecordType::A);
    assert_eq!(broken.why(), Some(Failure::ServFail));
}
