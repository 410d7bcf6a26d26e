//! Who gets mail, and through what: each TLS policy against each kind of server.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the other side of a socket, and time to wait for it"
)]

#[path = "../world/mod.rs"]
mod world;

mod certificates;
mod names;
mod servers;

use certificates::{Authority, Certified, self_signed};
use mox_machine::{Seed, Utc};
use mox_mailbox::Fate;
use mox_node::{MtaSts, Outgoing, Service};
use mox_sasl::{Credentials, Iterations};
use servers::{Arrived, StartTls};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use world::{World, wait_for};

/// How a server treats STARTTLS, and what it presents.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Good,
    OtherName,
    Expired,
    SelfSigned,
    Absent,
    Breaks,
    Refuses,
    /// Good, and offers no REQUIRETLS.
    NoExtension,
}

const KINDS: [Kind; 8] = [
    Kind::Good,
    Kind::OtherName,
    Kind::Expired,
    Kind::SelfSigned,
    Kind::Absent,
    Kind::Breaks,
    Kind::Refuses,
    Kind::NoExtension,
];

/// What the domain publishes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Published {
    Nothing,
    StsEnforce,
    StsTesting,
    StsNone,
    /// In force, for another host.
    StsOtherHost,
    /// A record, and a server that has no policy.
    StsNoPolicy,
    /// The server's own key.
    Dane311,
    /// Somebody else's.
    Dane311OtherKey,
    /// The authority.
    Dane201,
    /// A usage that SMTP does not know.
    DaneUnusable,
    /// DNSSEC says that the answer is forged.
    DaneBogus,
    /// DNSSEC does not vouch for the MX record.
    DaneNotVouchedFor,
    /// The server's own key, and a policy in force.
    DaneAndSts,
}

/// What became of the message: through TLS, in clear, or waiting, with a piece of why.
type Outcome = &'static str;

const NOT_OFFERED: Outcome = "the host does not offer STARTTLS. TLS";
const BROKEN: Outcome = "TLS failed: ";
const REFUSED: Outcome = "the host refuses STARTTLS: 554 5.7.0 no. TLS";
const NAME: Outcome = ": certificate-host-mismatch)";
const DATES: Outcome = ": certificate-expired)";
const SIGNER: Outcome = ": certificate-not-trusted)";
const NO_MATCH: Outcome = "(tlsa: validation-failure)";
const NO_HOST: Outcome =
    "this host gets no mail: the domain's MTA-STS policy does not name this host";
const UNKNOWN: Outcome =
    "this host gets no mail: DNS does not tell whether the host has TLSA records";

const UNPROVEN: Outcome = "nothing proves that this is a host of the domain";
const NO_EXTENSION: Outcome = "the host does not offer REQUIRETLS";

/// What the sender asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    Nothing,
    /// REQUIRETLS of MAIL.
    Required,
    /// A field `TLS-Required: No`.
    NotRequired,
}

/// The same for a message with REQUIRETLS (RFC 8689 4.2.1): what fails is final, where it is known.
const REQUIRED: [(Published, [Outcome; 8]); 13] = {
    use Published::*;
    const PROVEN: [Outcome; 8] = [
        "TLS",
        NAME,
        DATES,
        SIGNER,
        NOT_OFFERED,
        BROKEN,
        REFUSED,
        NO_EXTENSION,
    ];
    const DANE: [Outcome; 8] = [
        "TLS",
        "TLS",
        "TLS",
        "TLS",
        NOT_OFFERED,
        BROKEN,
        REFUSED,
        NO_EXTENSION,
    ];
    [
        // DNSSEC vouches for the MX record.
        (Nothing, PROVEN),
        (StsEnforce, PROVEN),
        (StsTesting, PROVEN),
        (StsOtherHost, [NO_HOST; 8]),
        (DaneNotVouchedFor, [UNPROVEN; 8]),
        (Dane311, DANE),
        (DaneUnusable, PROVEN),
        (StsNone, PROVEN),
        (StsNoPolicy, PROVEN),
        (
            Dane311OtherKey,
            [
                NO_MATCH,
                NO_MATCH,
                NO_MATCH,
                NO_MATCH,
                NOT_OFFERED,
                BROKEN,
                REFUSED,
                NO_MATCH,
            ],
        ),
        (
            Dane201,
            [
                "TLS",
                NAME,
                SIGNER,
                NO_MATCH,
                NOT_OFFERED,
                BROKEN,
                REFUSED,
                NO_EXTENSION,
            ],
        ),
        (DaneBogus, [UNKNOWN; 8]),
        (DaneAndSts, DANE),
    ]
};

/// The same for a message with `TLS-Required: No` (RFC 8689 3): no policy keeps it back.
const NOT_REQUIRED: [(Published, [Outcome; 7]); 6] = {
    use Published::*;
    [
        (StsEnforce, ANY),
        (StsOtherHost, ANY),
        (Dane311OtherKey, ANY),
        (Dane201, ANY),
        (DaneUnusable, ANY),
        (DaneBogus, ANY),
    ]
};

/// TLS with anybody, and none where there is none (RFC 7435).
const ANY: [Outcome; 7] = ["TLS", "TLS", "TLS", "TLS", "clear", "clear", "clear"];

/// For each thing published, the outcome with each kind of server, in order.
const TABLE: [(Published, [Outcome; 7]); 13] = {
    use Published::*;
    [
        (Nothing, ANY),
        // RFC 8461 4.1, 5.
        (
            StsEnforce,
            ["TLS", NAME, DATES, SIGNER, NOT_OFFERED, BROKEN, REFUSED],
        ),
        (StsTesting, ANY),
        (StsNone, ANY),
        (StsOtherHost, [NO_HOST; 7]),
        // RFC 8461 3.3: without a policy it is as if there was no record.
        (StsNoPolicy, ANY),
        // RFC 7672 3.1.1: neither names nor dates count.
        (
            Dane311,
            ["TLS", "TLS", "TLS", "TLS", NOT_OFFERED, BROKEN, REFUSED],
        ),
        (
            Dane311OtherKey,
            [
                NO_MATCH,
                NO_MATCH,
                NO_MATCH,
                NO_MATCH,
                NOT_OFFERED,
                BROKEN,
                REFUSED,
            ],
        ),
        // RFC 7672 3.1.2: here they do.
        (
            Dane201,
            ["TLS", NAME, SIGNER, NO_MATCH, NOT_OFFERED, BROKEN, REFUSED],
        ),
        // RFC 7672 2.2: TLS with anybody.
        (
            DaneUnusable,
            ["TLS", "TLS", "TLS", "TLS", NOT_OFFERED, BROKEN, REFUSED],
        ),
        // RFC 7672 2.1.2.
        (DaneBogus, [UNKNOWN; 7]),
        (DaneNotVouchedFor, ANY),
        // RFC 8461 2: DANE decides.
        (
            DaneAndSts,
            ["TLS", "TLS", "TLS", "TLS", NOT_OFFERED, BROKEN, REFUSED],
        ),
    ]
};

/// A port that is free on every address of this machine's loopback.
fn free_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn presents(kind: Kind, authority: &Authority, host: &str) -> Option<Certified> {
    let names = vec![host.to_owned()];
    Some(match kind {
        Kind::Good | Kind::NoExtension => authority.sign(names, 2096),
        Kind::OtherName => authority.sign(vec!["other.example".into()], 2096),
        Kind::Expired => authority.sign(names, 2021),
        Kind::SelfSigned => self_signed(names),
        Kind::Absent | Kind::Breaks | Kind::Refuses => return None,
    })
}

/// The zone and the policy of a domain.
fn publish(
    what: Published,
    domain: &str,
    address: Ipv4Addr,
    port: u16,
    key: &str,
    authority: &str,
) -> (String, Option<String>) {
    use Published::*;
    let ad = if what == DaneNotVouchedFor { "" } else { "!AD" };
    let mut zone = format!(
        "{domain} MX 10 mx.{domain} {ad}\nmx.{domain} A {address} !AD\nmx.{domain} AAAA !NODATA !AD\n"
    );
    let other = "ab".repeat(32);
    let tlsa = match what {
        Dane311 | DaneNotVouchedFor | DaneAndSts => Some(format!("TLSA 3 1 1 {key} !AD")),
        Dane311OtherKey => Some(format!("TLSA 3 1 1 {other} !AD")),
        Dane201 => Some(format!("TLSA 2 0 1 {authority} !AD")),
        DaneUnusable => Some(format!("TLSA 1 1 1 {key} !AD")),
        DaneBogus => Some("TLSA !BOGUS".to_owned()),
        _ => None,
    };
    if let Some(tlsa) = tlsa {
        writeln!(zone, "_{port}._tcp.mx.{domain} {tlsa}").unwrap();
    }
    let (mode, host) = match what {
        StsEnforce | DaneAndSts => ("enforce", "mx"),
        StsTesting => ("testing", "mx"),
        StsNone => ("none", "mx"),
        StsOtherHost => ("enforce", "mx2"),
        StsNoPolicy => ("", ""),
        _ => return (zone, None),
    };
    write!(
        zone,
        "_mta-sts.{domain} TXT \"v=STSv1; id=1\"\nmta-sts.{domain} A 127.0.2.1\n"
    )
    .unwrap();
    let policy = format!("version: STSv1\nmode: {mode}\nmx: {host}.{domain}\nmax_age: 86400\n");
    (zone, (what != StsNoPolicy).then_some(policy))
}

#[test]
fn every_policy_with_every_kind_of_server_has_the_outcome_that_the_rfcs_name() {
    let authority = Authority::new();
    let arrived = Arrived::default();
    let port = free_port();
    let (mut zone, mut policies) = (String::new(), BTreeMap::new());
    let mut cases = Vec::new();
    let usual = TABLE
        .iter()
        .map(|(what, outcomes)| (*what, &outcomes[..], Asked::Nothing));
    let required = REQUIRED
        .iter()
        .map(|(what, outcomes)| (*what, &outcomes[..], Asked::Required));
    let not_required = NOT_REQUIRED
        .iter()
        .map(|(what, outcomes)| (*what, &outcomes[..], Asked::NotRequired));
    for (what, outcomes, asked) in usual.chain(required).chain(not_required) {
        for (kind, outcome) in KINDS.into_iter().zip(outcomes) {
            let n = u8::try_from(cases.len() + 1).unwrap();
            let domain = format!("d{n}.example");
            let address = Ipv4Addr::new(127, 0, 1, n);
            let certified = presents(kind, &authority, &format!("mx.{domain}"));
            let key = certified
                .as_ref()
                .map_or_else(|| "00".repeat(32), |c| c.key_hash.clone());
            let (records, policy) = publish(what, &domain, address, port, &key, &authority.hash());
            zone += &records;
            policies.extend(policy.map(|policy| (format!("mta-sts.{domain}"), policy)));
            let start_tls = match (kind, certified) {
                (Kind::Absent, _) => StartTls::Absent,
                (Kind::Refuses, _) => StartTls::Refuses,
                (_, Some(certified)) => StartTls::With(certified.config),
                (_, None) => StartTls::Breaks,
            };
            let requires = kind != Kind::NoExtension;
            servers::mail((address, port).into(), start_tls, requires, arrived.clone());
            cases.push((what, kind, format!("x@{domain}"), *outcome, asked));
        }
    }
    let hosts = cases
        .iter()
        .map(|(_, _, to, _, _)| to.replace("x@", "mta-sts."));
    let of_policies = authority.sign(hosts.collect(), 2096);
    let policy_port = free_port();
    let at = SocketAddr::from((Ipv4Addr::new(127, 0, 2, 1), policy_port));
    let fetched = servers::policies(at, of_policies.config, policies.clone());

    let mut world = World::new(0);
    world.outgoing = Outgoing::Direct;
    world.resolvers = vec![names::serve(&zone)];
    world.remote_port = port;
    world.mta_sts = MtaSts {
        authorities: authority.believed(),
        port: policy_port,
    };
    world.tls = Some(authority.sign(vec!["localhost".into()], 2096).config);
    let server = world.start();
    let user = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
    // So that the user has a password.
    drop(server.submission(&user));
    let stream = server.start_tls(Service::Submission).into_stream();
    let mut client = servers::Secured::new(stream, authority.believed());
    client.ask("EHLO client.example", "250 ");
    client.ask("AUTH PLAIN AG1veEBsb2NhbGhvc3QAc2VjcmV0", "235 ");
    for (asked, params, field) in [
        (Asked::Nothing, "", ""),
        (Asked::Required, " REQUIRETLS RET=FULL", ""),
        (Asked::NotRequired, "", "TLS-Required: No\r\n"),
    ] {
        client.ask(&format!("MAIL FROM:<mox@localhost>{params}"), "250 ");
        for (_, _, to, _, _) in cases.iter().filter(|case| case.4 == asked) {
            client.ask(&format!("RCPT TO:<{to}>"), "250 ");
        }
        client.ask("DATA", "354 ");
        client.ask(
            &format!("From: mox@localhost\r\n{field}Subject: hi\r\n\r\nHi.\r\n."),
            "250 2.0.0 ",
        );
    }
    let retired = |to: &str| {
        let retired = server.node.retired(Utc(0), 1_000).unwrap();
        let mut fates = retired.into_iter().flat_map(|retired| retired.recipients);
        fates.find_map(|(address, fate)| match fate {
            Fate::Failed(text) if address == to => Some(text),
            _ => None,
        })
    };
    let outcome = |to: &str| -> Option<String> {
        if let Some(is_tls) = arrived.lock().unwrap().get(to) {
            return Some(if *is_tls { "TLS" } else { "clear" }.to_owned());
        }
        if let Some(text) = retired(to) {
            return Some(format!("final: {text}"));
        }
        let queue = server.node.queue(1_000).unwrap();
        let entry = queue.into_iter().find(|entry| entry.to == [to])?;
        entry.last.filter(|said| !said.is_empty())
    };
    wait_for("an outcome for everybody", || {
        cases.iter().all(|(_, _, to, _, _)| outcome(to).is_some())
    });
    for (what, kind, to, expected, asked) in &cases {
        let outcome = outcome(to).unwrap();
        let case = format!("{what:?}, {kind:?}, asked for {asked:?}: {outcome}");
        match *expected {
            "TLS" | "clear" => assert_eq!(outcome, *expected, "{case}"),
            why => {
                assert!(outcome.contains(why), "{case} instead of {why}");
                // What DNS does not tell now it may tell later.
                let is_final = *asked == Asked::Required && *what != Published::DaneBogus;
                assert_eq!(outcome.starts_with("final: "), is_final, "{case}");
            }
        }
    }
    // RFC 8689 5: what was to travel in secret does not come back whole.
    let mut imap = server.connect(Service::Imap);
    imap.line();
    imap.imap("LOGIN mox@localhost secret");
    imap.imap("EXAMINE INBOX");
    let told = imap.imap("FETCH 1:* (BODY.PEEK[])");
    assert!(
        told.contains("text/rfc822-headers") && !told.contains("Hi.\r\n"),
        "{told}"
    );
    // Each policy once.
    let mut fetched = fetched.lock().unwrap().clone();
    fetched.sort();
    let wanted: Vec<String> = policies.into_keys().collect();
    fetched.retain(|host| wanted.contains(host));
    assert_eq!(fetched, wanted);
    server.stop();
}
