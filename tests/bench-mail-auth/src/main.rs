//! The same judgements by mox's crates and by mail-auth, by turns in one run: medians and ratios.
//!
//! Both have the answers of DNS in memory. mox's functions are given them as octets, so they read each record whenever they
//! come to it; mail-auth keeps records read in a cache of its caller's. It is measured twice: with a cache that reads a record
//! each time it is asked for it, which is the same work, and with one that has them read, which is what its users have.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use mail_auth::common::cache::NoCache;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dmarc::Dmarc;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::spf::Spf;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimResult, DmarcResult, DnsError, DnssecStatus, Error, MX,
    MessageAuthenticator, Parameters, RecordSet, ResolverCache, SpfResult, Txt,
};
use mox_dkim::{AwsLc, Ed25519Key, KeyRecord, Policy, RsaKey, Selector, Sign, Signing, Verifier};
use mox_dmarc::{Authenticated, Outcome, evaluate};
use mox_dns::{Facts, MasterFile};
use mox_spf::{Query, check_host};

/// Turns of each; how long one is.
const TURNS: usize = 21;
const TURN: Duration = Duration::from_millis(40);
/// When messages are signed and verified.
const NOW: u64 = 1_767_225_600;
const CLIENT: [u8; 4] = [192, 0, 2, 1];

type Work = Box<dyn Fn()>;

/// One judgement, by mox, by mail-auth reading records, and by mail-auth with records read.
struct Row {
    name: &'static str,
    works: [Work; 3],
}

fn main() {
    let rsa: Arc<dyn Sign> = Arc::new(RsaKey::generate().expect("a key"));
    let ed25519: Arc<dyn Sign> = Arc::new(Ed25519Key::from_seed(&[7; 32]).expect("a key"));
    let rows = [
        spf(),
        dmarc(&ed25519),
        dkim("DKIM RSA-2048, 10 KB", &rsa, 10 * 1024),
        dkim("DKIM RSA-2048, 1 MB", &rsa, 1 << 20),
        dkim("DKIM Ed25519, 10 KB", &ed25519, 10 * 1024),
        dkim("DKIM Ed25519, 1 MB", &ed25519, 1 << 20),
    ];
    println!(
        "| work | mox, us | mail-auth, us | ratio | mail-auth with records read, us | ratio |\n|---|---|---|---|---|---|"
    );
    for row in rows {
        let mut took = [const { Vec::new() }; 3];
        for turn in 0..TURNS {
            for n in 0..3 {
                let n = if turn % 2 == 0 { n } else { 2 - n };
                took[n].push(microseconds(&row.works[n]));
            }
        }
        let [ours, reading, read] = took.map(median);
        println!(
            "| {} | {ours:.1} | {reading:.1} | {:.2} | {read:.1} | {:.2} |",
            row.name,
            reading / ours,
            read / ours
        );
    }
}

fn microseconds(work: &Work) -> f64 {
    let (mut runs, started) = (0, Instant::now());
    while started.elapsed() < TURN {
        work();
        runs += 1;
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Answers of DNS, both ways.
#[derive(Default)]
struct Zone {
    text: String,
    txt: HashMap<Box<str>, Option<String>>,
    read: HashMap<Box<str>, Txt>,
    mx: HashMap<Box<str>, RecordSet<MX>>,
    a: HashMap<Box<str>, RecordSet<Ipv4Addr>>,
}

impl Zone {
    fn txt(&mut self, name: &str, record: &str) {
        self.text += &format!("{name} TXT \"{}\"\n", record);
        self.put(name, Some(record.to_owned()));
    }

    fn no_txt(&mut self, name: &str) {
        self.text += &format!("{name} TXT !NXDOMAIN\n");
        self.put(name, None);
    }

    fn put(&mut self, name: &str, record: Option<String>) {
        let key: Box<str> = format!("{name}.").into();
        self.read.insert(key.clone(), read(&key, record.as_deref()));
        self.txt.insert(key, record);
    }

    fn a(&mut self, name: &str, address: [u8; 4]) {
        self.text += &format!("{name} A {}\n", Ipv4Addr::from(address));
        self.a
            .insert(format!("{name}.").into(), set([address.into()]));
    }

    fn mx(&mut self, name: &str, host: &str) {
        self.text += &format!("{name} MX 10 {host}\n");
        let exchanges = [format!("{host}.").into()].into();
        self.mx.insert(
            format!("{name}.").into(),
            set([MX {
                exchanges,
                preference: 10,
            }]),
        );
    }

    fn facts(&self) -> Facts {
        MasterFile::parse(&self.text).expect("a zone").facts()
    }
}

fn set<T, const N: usize>(records: [T; N]) -> RecordSet<T> {
    RecordSet {
        rrset: Arc::from(records),
        dnssec_status: DnssecStatus::Indeterminate,
    }
}

/// A record as mail-auth reads it.
fn read(name: &str, record: Option<&str>) -> Txt {
    let Some(record) = record.map(str::as_bytes) else {
        return Txt::Error(Error::Dns(DnsError::RecordNotFound(ResponseCode::NXDomain)));
    };
    let txt = if name.contains("_domainkey") {
        DomainKey::parse(record).map(|record| Txt::DomainKey(record.into()))
    } else if name.starts_with("_dmarc") {
        Dmarc::parse(record).map(|record| Txt::Dmarc(record.into()))
    } else {
        Spf::parse(record).map(|record| Txt::Spf(record.into()))
    };
    txt.unwrap_or_else(Txt::Error)
}

/// Reads a record each time.
struct Reading(Arc<Zone>);
/// Has records read.
struct Read(Arc<Zone>);

impl ResolverCache<Box<str>, Txt> for Reading {
    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
    {
        let (name, record) = self.0.txt.get_key_value(name)?;
        Some(read(name, record.as_deref()))
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
    {
        None
    }

    fn insert(&self, name: Box<str>, _: Txt, _: Instant) {
        panic!("{name} is not in the zone");
    }
}

macro_rules! in_memory {
    ($cache:ty, $value:ty, $field:ident) => {
        impl ResolverCache<Box<str>, $value> for $cache {
            fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<$value>
            where
                Box<str>: Borrow<Q>,
            {
                self.0.$field.get(name).cloned()
            }

            fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<$value>
            where
                Box<str>: Borrow<Q>,
            {
                None
            }

            fn insert(&self, name: Box<str>, _: $value, _: Instant) {
                panic!("{name} is not in the zone");
            }
        }
    };
}
in_memory!(Read, Txt, read);
in_memory!(Read, RecordSet<MX>, mx);
in_memory!(Read, RecordSet<Ipv4Addr>, a);

type NoV6 = NoCache<Box<str>, RecordSet<Ipv6Addr>>;
type NoPtr = NoCache<IpAddr, RecordSet<Box<str>>>;

fn asked<'x, P, T: ResolverCache<Box<str>, Txt>>(
    params: P,
    txt: &'x T,
    rest: &'x Read,
) -> Parameters<'x, P, T, Read, Read, NoV6, NoPtr> {
    Parameters {
        params,
        cache_txt: Some(txt),
        cache_mx: Some(rest),
        cache_ptr: None,
        cache_ipv4: Some(rest),
        cache_ipv6: None,
    }
}

fn authenticator() -> MessageAuthenticator {
    MessageAuthenticator::new_cloudflare().expect("a resolver")
}

/// Includes, addresses and mail hosts, and none that names the client until the last.
fn spf() -> Row {
    let mut zone = Zone::default();
    let mut record = String::from("v=spf1");
    for n in 0..4u8 {
        record += &format!(" include:i{n}.example.org");
        let included = format!(
            "v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/25 ip6:2001:db8::/32 a:a{n}.example.org ~all"
        );
        zone.txt(&format!("i{n}.example.org"), &included);
        zone.a(&format!("a{n}.example.org"), [198, 51, 100, n]);
    }
    zone.txt("example.org", &(record + " a:a.example.org mx -all"));
    zone.mx("example.org", "mx.example.org");
    zone.a("mx.example.org", CLIENT);
    zone.a("a.example.org", [198, 51, 100, 1]);
    let (facts, zone) = (zone.facts(), Arc::new(zone));
    let ours = move || {
        let query = Query {
            ip: CLIENT.into(),
            helo: b"mx.example.org",
            mail_from: b"ann@example.org",
            receiver: b"mx.example.net",
            time: 0,
        };
        let report =
            check_host(&facts, &query, &mox_spf::Limits::default()).expect("every fact is there");
        assert_eq!(black_box(report).verdict, mox_spf::Verdict::Pass);
    };
    fn theirs<T: ResolverCache<Box<str>, Txt> + 'static>(txt: T, rest: Read) -> Work {
        let authenticator = authenticator();
        Box::new(move || {
            let asks = SpfParameters::verify_mail_from(
                CLIENT.into(),
                "mx.example.org",
                "mx.example.net",
                "ann@example.org",
            );
            let output = block_on(authenticator.verify_spf(asked(asks, &txt, &rest)));
            assert_eq!(black_box(output).result(), SpfResult::Pass);
        })
    }
    let reading = theirs(Reading(zone.clone()), Read(zone.clone()));
    Row {
        name: "SPF, 10 lookups",
        works: [
            Box::new(ours),
            reading,
            theirs(Read(zone.clone()), Read(zone)),
        ],
    }
}

/// A message, signed, and its zone.
fn signed(
    author: &str,
    signer: &str,
    key: &Arc<dyn Sign>,
    octets: usize,
) -> (String, Vec<u8>, Zone) {
    let header = format!(
        "From: Ann <{author}>\r\nTo: bob@example.net\r\nSubject: hello\r\n\
         Date: Fri, 2 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@example.org>\r\n"
    );
    let line = b"The quick brown fox jumps over the lazy dog,  again and again and again.\r\n";
    let mut body = line.repeat(octets / line.len() + 1);
    body.truncate(octets - 2);
    body.extend_from_slice(b"\r\n");
    let mut signing = Signing::new([Selector::new(signer, "s", key.clone())]);
    signing.push(&body);
    let fields = signing.finish(header.as_bytes(), NOW).expect("a signature");
    let mut zone = Zone::default();
    let record = KeyRecord::of_key(key.public_key()).to_string();
    zone.txt(&format!("s._domainkey.{signer}"), &record);
    (fields + &header, body, zone)
}

fn dkim(name: &'static str, key: &Arc<dyn Sign>, octets: usize) -> Row {
    let (header, body, zone) = signed("ann@example.org", "example.org", key, octets);
    let (facts, zone) = (zone.facts(), Arc::new(zone));
    let message = Arc::new([header.as_bytes(), b"\r\n", &body].concat());
    let ours = move || {
        let mut verifier = Verifier::new(header.as_bytes(), &mox_dkim::Limits::default());
        for piece in body.chunks(16 * 1024) {
            verifier.push(piece);
        }
        let reports = verifier
            .finish()
            .judge(&facts, &Policy::default(), NOW as i64, &AwsLc);
        let reports = reports.expect("every fact is there");
        assert_eq!(
            mox_dkim::overall(&black_box(reports)),
            mox_dkim::Verdict::Pass
        );
    };
    fn theirs<T: ResolverCache<Box<str>, Txt> + 'static>(
        txt: T,
        rest: Read,
        message: Arc<Vec<u8>>,
    ) -> Work {
        let authenticator = authenticator();
        Box::new(move || {
            let message = AuthenticatedMessage::parse(&message).expect("a message");
            let outputs = block_on(authenticator.verify_dkim(asked(&message, &txt, &rest)));
            assert_eq!(*black_box(outputs)[0].result(), DkimResult::Pass);
        })
    }
    let reading = theirs(Reading(zone.clone()), Read(zone.clone()), message.clone());
    Row {
        name,
        works: [
            Box::new(ours),
            reading,
            theirs(Read(zone.clone()), Read(zone), message),
        ],
    }
}

/// An author whose domain has no record, below one that has; SPF is aligned with that, a signature with another.
fn dmarc(key: &Arc<dyn Sign>) -> Row {
    let (header, body, mut zone) = signed("ann@mail.example.org", "other.example", key, 1024);
    zone.txt("bounce.example.org", "v=spf1 ip4:192.0.2.1 -all");
    zone.no_txt("_dmarc.mail.example.org");
    zone.txt(
        "_dmarc.example.org",
        "v=DMARC1; p=reject; rua=mailto:d@example.org",
    );
    for name in ["org", "bounce.example.org", "other.example", "example"] {
        zone.no_txt(&format!("_dmarc.{name}"));
    }
    zone.a("mail.example.org", CLIENT);
    let (facts, zone) = (zone.facts(), Arc::new(zone));
    let message = Arc::new([header.as_bytes(), b"\r\n", &body].concat());
    let ours = move || {
        let pass = |domain: &'static str| Authenticated {
            domain: domain.as_bytes(),
            outcome: Outcome::Pass,
        };
        let message = mox_dmarc::Message {
            authors: &[b"mail.example.org"],
            spf: Some(pass("bounce.example.org")),
            dkim: &[pass("other.example")],
        };
        assert!(
            black_box(evaluate(&facts, &message)).is_ok(),
            "every fact is there"
        );
    };
    fn theirs<T: ResolverCache<Box<str>, Txt> + 'static>(
        txt: T,
        rest: Read,
        message: Arc<Vec<u8>>,
    ) -> Work {
        let authenticator = authenticator();
        // What was found before lives as long as the process.
        let (txt, rest): (&'static T, &'static Read) =
            (Box::leak(Box::new(txt)), Box::leak(Box::new(rest)));
        let message: &'static [u8] = message.to_vec().leak();
        let message: &'static _ = Box::leak(Box::new(
            AuthenticatedMessage::parse(message).expect("a message"),
        ));
        let dkim: &'static _ =
            block_on(authenticator.verify_dkim(asked(message, txt, rest))).leak();
        let asks = SpfParameters::verify_mail_from(
            CLIENT.into(),
            "mx.example.org",
            "mx.example.net",
            "ann@bounce.example.org",
        );
        let spf: &'static _ = Box::leak(Box::new(block_on(
            authenticator.verify_spf(asked(asks, txt, rest)),
        )));
        Box::new(move || {
            let asks = DmarcParameters {
                message,
                dkim_output: dkim,
                dkim2_output: None,
                rfc5321_mail_from_domain: "bounce.example.org",
                spf_output: spf,
            };
            let output = block_on(authenticator.verify_dmarc(asked(asks, txt, rest)));
            assert_eq!(*black_box(output).spf_result(), DmarcResult::Pass);
        })
    }
    let reading = theirs(Reading(zone.clone()), Read(zone.clone()), message.clone());
    Row {
        name: "DMARC, a tree walk",
        works: [
            Box::new(ours),
            reading,
            theirs(Read(zone.clone()), Read(zone), message),
        ],
    }
}
