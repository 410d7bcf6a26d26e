//! Transports and routes in the configuration files.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_machine::Secret;
use mox_sasl::Mechanism;
use mox_server::Directory;
use mox_server::config::{
    Dynamic, Fail, Family, Login, OutgoingAddresses, OwnAddresses, Password, Smarthost,
    SmarthostTls, Socks5, Static, Transport, remove_account, remove_domain,
};
use mox_server::routes::Leaving;

fn mox(transports: &str) -> String {
    format!(
        r#"(
    data_dir: "../data",
    hostname: "mail.example.org",
    listeners: {{"public": (ips: ["0.0.0.0"], smtp: ())}},
    postmaster: (account: "jo"),
    transports: {{
{transports}
    }},
)"#
    )
}

const TRANSPORTS: &str = r#"        "provider": smarthost(host: "smtp.provider.example", user: "me", password_file: "provider.password"),
        "office": smarthost(host: "192.0.2.1", tls: implicit, user: "me", password: "secret", mechanisms: ["PLAIN"], ca: "office.pem"),
        "here": smarthost(host: "127.0.0.1", port: 2525, tls: off),
        "tor": socks5(host: "localhost", port: 9050),
        "never": fail(code: 554, text: "5.7.1 mail for them is not sent"),"#;

const DOMAINS: &str = r#"(
    domains: {
        "example.org": (),
        "example.net": (routes: [(to: [".near.example"], transport: "office")]),
    },
    accounts: {
        "jo": (domain: "example.org", addresses: ["jo"]),
        "al": (domain: "example.org", addresses: ["al"], routes: [(to: ["bad.example"], transport: "never")]),
    },
    routes: [
        (from: ["example.org"], to: ["bad.example"], transport: "direct"),
        (minimum_attempts: 3, transport: "provider"),
    ],
)"#;

fn fixed() -> Static {
    Static::parse("mox.ron", &mox(TRANSPORTS)).unwrap()
}

fn wrong(transports: &str) -> String {
    let wrong = Static::parse("mox.ron", &mox(transports)).unwrap_err();
    wrong.to_string()
}

#[test]
fn transports_are_read_with_what_is_usual() {
    let read = fixed().transports;
    let office = Smarthost {
        host: "192.0.2.1".into(),
        port: 465,
        tls: SmarthostTls::Implicit,
        login: Some(Login {
            user: "me".into(),
            password: Password::Said(Secret::new("secret".into())),
        }),
        mechanisms: vec![Mechanism::Plain],
        ca: Some("office.pem".into()),
        outgoing: OwnAddresses::default(),
    };
    let provider = Smarthost {
        host: "smtp.provider.example".into(),
        port: 587,
        tls: SmarthostTls::Starttls,
        login: Some(Login {
            user: "me".into(),
            password: Password::File("provider.password".into()),
        }),
        mechanisms: Mechanism::USUAL.into(),
        ca: None,
        outgoing: OwnAddresses::default(),
    };
    let here = Smarthost {
        host: "127.0.0.1".into(),
        port: 2525,
        tls: SmarthostTls::Off,
        login: None,
        ..provider.clone()
    };
    let all = [
        ("here", Transport::Smarthost(here)),
        (
            "never",
            Transport::Fail(Fail {
                code: 554,
                text: "5.7.1 mail for them is not sent".into(),
            }),
        ),
        ("office", Transport::Smarthost(office)),
        ("provider", Transport::Smarthost(provider)),
        (
            "tor",
            Transport::Socks5(Socks5 {
                host: "localhost".into(),
                port: 9050,
                login: None,
                outgoing: OwnAddresses::default(),
            }),
        ),
    ];
    assert_eq!(read.len(), all.len());
    for (name, transport) in all {
        assert_eq!(read[name], transport, "{name}");
    }
    let shown = format!("{read:?}");
    assert!(!shown.contains("\"secret\""), "{shown}");
}

#[test]
fn a_transport_has_of_its_own_what_it_names_of_outgoing() {
    let text = mox(
        r#"        "a": smarthost(host: "a.example", outgoing: (ipv4: "192.0.2.9")),
        "b": socks5(host: "b.example", outgoing: (prefer: either)),
        "c": smarthost(host: "c.example"),"#,
    );
    let common = r#"outgoing: (ipv4: "192.0.2.1", ipv6: "2001:db8::1", prefer: only4),
    transports"#;
    let read = Static::parse("mox.ron", &text.replace("transports", common)).unwrap();
    let of = |name: &str| match &read.transports[name] {
        Transport::Smarthost(smarthost) => read.outgoing.with(&smarthost.outgoing),
        Transport::Socks5(socks) => read.outgoing.with(&socks.outgoing),
        Transport::Fail(_) => panic!("{name} leads nowhere"),
    };
    let expected = |ipv4: &str, prefer| OutgoingAddresses {
        ipv4: Some(ipv4.parse().unwrap()),
        ipv6: Some("2001:db8::1".parse().unwrap()),
        prefer,
    };
    assert_eq!(of("a"), expected("192.0.2.9", Family::Only4));
    assert_eq!(of("b"), expected("192.0.2.1", Family::Either));
    assert_eq!(of("c"), expected("192.0.2.1", Family::Only4));
}

#[test]
fn what_is_wrong_with_a_transport_is_said_with_its_place() {
    let cases = [
        (
            r#""a": smarthost(host: "far.example", tls: off)"#,
            "mox.ron:7:42: transports.\"a\".tls: all mail would cross the network to far.example in clear; \
             write tls: starttls or tls: implicit, or add in_clear: true if that is meant; \
             the password is then said by SCRAM or CRAM-MD5 only, unless mechanisms names PLAIN or LOGIN",
        ),
        (
            r#""a": smarthost(host: "::1", tls: off, user: "me", password: "p", mechanisms: ["SCRAM-SHA-256-PLUS"])"#,
            "mox.ron:7:78: transports.\"a\".mechanisms: these are bound to TLS, and nothing is encrypted; \
             name one without -PLUS, or remove tls: off",
        ),
        (
            r#""a": smarthost(host: "far.example", mechanisms: ["PLAIN"])"#,
            "mox.ron:7:49: transports.\"a\".mechanisms: nobody logs in; add user and password_file, or remove it",
        ),
        (
            r#""a": smarthost(host: "far.example", user: "me")"#,
            "mox.ron:7:43: transports.\"a\".user: there is a user without a password; add password_file: \"name.password\", \
             a file with the password in its first line, or password: \"..\"",
        ),
        (
            r#""a": smarthost(host: "far.example:25")"#,
            "mox.ron:7:22: transports.\"a\".host: \"far.example:25\" is no host; write a name like \"smtp.example.org\" or an IP address, \
             and the port as port",
        ),
        (
            r#""direct": fail(text: "no")"#,
            "mox.ron:7:1: transports.\"direct\": \"direct\" has a meaning of its own; choose another name",
        ),
        (
            r#""a": fail(code: 450, text: "no")"#,
            "mox.ron:7:17: transports.\"a\".code: 450 is no code of a permanent failure; use one from 500 to 599",
        ),
        (
            r#""a": socks5(host: "h", password: "p")"#,
            "mox.ron:7:6: transports.\"a\": there is a password without a user; add user, or remove the password",
        ),
        (
            r#""a": smart(host: "h")"#,
            "mox.ron:7:6: transports.\"a\": \"smart\" is none of the choices; use one of: smarthost, socks5, fail",
        ),
        (
            r#""a": smarthost(hots: "h")"#,
            "mox.ron:7:16: transports.\"a\": there is no setting \"hots\" here; correct the spelling or remove it; \
             known here: host, port, tls, in_clear, user, password, password_file, mechanisms, ca, outgoing",
        ),
    ];
    for (transport, message) in cases {
        assert_eq!(wrong(transport), message, "{transport}");
    }
    let meant = r#""a": smarthost(host: "far.example", tls: off, in_clear: true)"#;
    assert!(Static::parse("mox.ron", &mox(meant)).is_ok());
}

#[test]
fn a_password_crosses_the_network_in_clear_only_where_that_is_written() {
    let mechanisms = |more: &str| {
        let transport =
            format!(r#""a": smarthost(host: "far.example", tls: off, in_clear: true{more})"#);
        let read = Static::parse("mox.ron", &mox(&transport)).unwrap();
        match &read.transports["a"] {
            Transport::Smarthost(smarthost) => smarthost.mechanisms.clone(),
            other => panic!("{other:?}"),
        }
    };
    let login = r#", user: "me", password: "p""#;
    let usual = mechanisms(login);
    assert!(usual.contains(&Mechanism::ScramSha256) && usual.contains(&Mechanism::CramMd5));
    assert!(!usual.contains(&Mechanism::Plain) && !usual.contains(&Mechanism::Login));
    let named = mechanisms(&format!(r#"{login}, mechanisms: ["PLAIN"]"#));
    assert_eq!(named, [Mechanism::Plain]);
}

#[test]
fn the_relay_is_a_transport_of_its_own() {
    let with = |transports: &str| {
        mox(transports).replace(
            "    transports:",
            "    relay: \"192.0.2.1:25\",\n    transports:",
        )
    };
    let named = r#"        "relay": fail(text: "no"),"#;
    let wrong = Static::parse("mox.ron", &with(named)).unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("transports.\"relay\": \"relay\" has a meaning of its own"),
        "{wrong}"
    );
    assert!(Static::parse("mox.ron", &mox(named)).is_ok());
    // Routes may lead there, before one that leads everybody elsewhere.
    let text = DOMAINS.replace("transport: \"direct\"", "transport: \"relay\"");
    let fixed = Static::parse("mox.ron", &with(TRANSPORTS)).unwrap();
    assert!(Dynamic::parse("domains.ron", &text, &fixed).is_ok());
    assert!(Dynamic::parse("domains.ron", &text, &self::fixed()).is_err());
}

#[test]
fn routes_lead_to_transports() {
    let fixed = fixed();
    let dynamic = Dynamic::parse("domains.ron", DOMAINS, &fixed).unwrap();
    let directory = Directory::new(&fixed, &dynamic);
    let way = |account, from, to, attempts| {
        let leaving = Leaving {
            account: Some(account),
            from,
            to,
            attempts,
        };
        directory.routes().find(&leaving)
    };
    assert_eq!(way("al", "example.org", "bad.example", 0), Some("never"));
    assert_eq!(way("jo", "example.org", "bad.example", 0), Some("direct"));
    assert_eq!(
        way("jo", "example.net", "a.near.example", 0),
        Some("office")
    );
    assert_eq!(way("jo", "example.org", "x.example", 2), None);
    assert_eq!(way("jo", "example.org", "x.example", 3), Some("provider"));
}

#[test]
fn a_route_to_nowhere_is_named_with_its_line_and_what_there_is() {
    let text = DOMAINS.replace("transport: \"provider\"", "transport: \"privoder\"");
    let wrong = Dynamic::parse("domains.ron", &text, &fixed()).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "domains.ron:12:42: routes[1].transport: mox.ron has no transport \"privoder\"; \
         use one of: direct, here, never, office, provider, tor"
    );
    let text = DOMAINS.replace("\".near.example\"", "\"*.near.example\"");
    let wrong = Dynamic::parse("domains.ron", &text, &fixed()).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "domains.ron:4:40: domains.\"example.net\".routes[0].to[0]: \"*.near.example\" is no domain: \
         a domain name has letters, digits and inner hyphens only; write \"example.org\", or \".example.org\" for that and all below it"
    );
}

#[test]
fn routes_go_with_their_account_or_domain() {
    let fixed = fixed();
    let text = remove_account("domains.ron", DOMAINS, &fixed, "al").unwrap();
    let text = remove_domain("domains.ron", &text, &fixed, "example.net").unwrap();
    let left = Dynamic::parse("domains.ron", &text, &fixed).unwrap().routes;
    assert_eq!(
        (left.all.len(), left.domains.len(), left.accounts.len()),
        (2, 0, 0)
    );
}
