//! DANE with everything real: unbound that validates, zones that are signed, and Postfix behind its certificate.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use mox_e2e::{
    Localserve, Postfix, Scratch, Signing, Smtp, Stub, Unbound, free_base, have, run, skip,
    wait_for,
};
use serde_json::Value;

/// How long a message may be under way.
const UNDER_WAY: Duration = Duration::from_secs(60);
/// What the forger writes in place of the address.
const FORGED: Signing = Signing::Forged(
    "mx.forged.example.\t600\tIN\tA\t127.0.0.1",
    "mx.forged.example.\t600\tIN\tA\t127.0.0.9",
);

/// An authority, and a certificate of it for the hosts of all domains. Digests of the host's key and of the authority's
/// certificate, in hexadecimal.
struct Certificates {
    scratch: Scratch,
    key: String,
    authority: String,
}

impl Certificates {
    fn make(domains: &[&str]) -> Self {
        let scratch = Scratch::new();
        let names = domains.iter().map(|domain| format!("DNS:mx.{domain}"));
        let names = names.collect::<Vec<_>>().join(",");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30";
        let script = format!(
            "set -e; cd {dir}\n\
             openssl req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem 2>/dev/null\n\
             openssl req {key} -subj /CN=host -keyout host.key -out host.csr 2>/dev/null\n\
             echo 'subjectAltName={names}' >names\n\
             openssl x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out host.pem 2>/dev/null\n\
             cat host.key host.pem ca.pem >chain.pem\n\
             openssl x509 -in host.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -c1-64\n\
             openssl x509 -in ca.pem -outform DER | sha256sum | cut -c1-64\n",
            dir = scratch.path().display()
        );
        let said = String::from_utf8(run("sh", &["-c", &script], b"")).unwrap();
        let digests: Vec<&str> = said.lines().collect();
        Self {
            key: digests[0].to_owned(),
            authority: digests[1].to_owned(),
            scratch,
        }
    }
}

/// A zone whose mail goes to the host `mx`, with these TLSA records of it.
fn zone(name: &str, address: &str, port: u16, records: &[String]) -> String {
    let mut text = format!(
        "$ORIGIN {name}.\n$TTL 600\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n\
         @ MX 10 mx\nmx A {address}\n"
    );
    for record in records {
        text += &format!("_{port}._tcp.mx TLSA {record}\n");
    }
    text
}

#[test]
fn mail_goes_to_whom_signed_records_are_about_and_waits_where_somebody_else_answers() {
    let test = "mail_goes_to_whom_signed_records_are_about_and_waits_where_somebody_else_answers";
    if !have(
        test,
        &[
            "postfix",
            "unbound",
            "ldns-keygen",
            "ldns-signzone",
            "openssl",
        ],
    ) {
        return;
    }
    if !nix::unistd::Uid::effective().is_root() {
        return skip(test, "Postfix starts only as root");
    }
    let domains = [
        "key.example",
        "authority.example",
        "unusable.example",
        "plain.example",
        "wrong.example",
        "forged.example",
    ];
    let certificates = Certificates::make(&domains);
    let chain = certificates.scratch.path().join("chain.pem");
    let base = free_base();
    let postfix = Postfix::start(base + 25, &domains, Some(&chain));
    let port = postfix.port();
    // One that offers no STARTTLS.
    let clear = Stub::taking_at(format!("127.0.0.2:{port}").parse().unwrap());

    let nothing = "00".repeat(32);
    let (key, authority) = (&certificates.key, &certificates.authority);
    let right = || vec![format!("3 1 1 {key}")];
    let wrong = || vec![format!("3 1 1 {nothing}")];
    let of_authority = vec![format!("2 0 1 {authority}")];
    let signed = |name: &'static str, address: &str, records: &[String]| {
        (name, zone(name, address, port, records), Signing::Signed)
    };
    let forged = zone("forged.example", "127.0.0.1", port, &right());
    let plain = zone("plain.example", "127.0.0.1", port, &wrong());
    let unbound = Unbound::start(&[
        signed("key.example", "127.0.0.1", &right()),
        signed("authority.example", "127.0.0.1", &of_authority),
        signed("unusable.example", "127.0.0.1", &[format!("1 1 1 {key}")]),
        signed("wrong.example", "127.0.0.1", &wrong()),
        signed("clear.example", "127.0.0.2", &right()),
        signed("none.example", "127.0.0.2", &[]),
        ("plain.example", plain, Signing::Plain),
        ("forged.example", forged, FORGED),
    ]);
    let (resolver, remote) = (unbound.address().to_string(), port.to_string());
    let options = [
        "--resolver",
        &resolver,
        "--remote-port",
        &remote,
        "--retry-after",
        "1",
    ];
    let server = Localserve::start_at(base, &options);

    let mut smtp = Smtp::submission(&server, "mox");
    let delivered = [
        ("key.example", "TLS1.3, proven by a TLSA record"),
        ("authority.example", "TLS1.3, proven by a TLSA record"),
        ("unusable.example", "TLS1.3, with anybody"),
        // Nothing vouches for its records, wrong as they are.
        ("plain.example", "TLS1.3, with anybody"),
        ("none.example", "in clear"),
    ];
    let waiting = [
        (
            "wrong.example",
            "TLS with a certificate of a TLSA record is demanded: the host has TLSA records (tlsa: validation-failure)",
        ),
        (
            "clear.example",
            "the host does not offer STARTTLS. TLS with a certificate of a TLSA record is demanded: the host has TLSA records",
        ),
        (
            "forged.example",
            "DNS did not say where mail for forged.example goes: Bogus",
        ),
    ];
    for (domain, _) in delivered.iter().chain(&waiting) {
        smtp.command("MAIL FROM:<mox@localhost>", "250");
        smtp.command(&format!("RCPT TO:<x@{domain}>"), "250");
        smtp.command("DATA", "354");
        smtp.command(
            &format!("From: mox@localhost\r\nSubject: {domain}\r\n\r\nBody.\r\n."),
            "250",
        );
    }
    let ask =
        |words: &[&str]| -> Vec<Value> { serde_json::from_str(&server.ask(words).1).unwrap() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let left = wait_for("what may be delivered", UNDER_WAY, || {
        let retired = ask(&["queue", "retired", "--json"]);
        (retired.len() == delivered.len()).then_some(retired)
    });
    let left: BTreeMap<String, String> = left
        .iter()
        .map(|entry| (text(&entry["to"]), text(&entry["tls"])))
        .collect();
    for (domain, tls) in &delivered {
        assert_eq!(left[&format!("x@{domain}")], *tls, "{domain}");
    }
    let queued = wait_for("an attempt for each of the others", UNDER_WAY, || {
        let queued = ask(&["queue", "list", "--json"]);
        let tried =
            |entry: &Value| entry["attempts"].as_u64() > Some(0) && entry["last"].is_string();
        (queued.len() == waiting.len() && queued.iter().all(tried)).then_some(queued)
    });
    let queued: BTreeMap<String, String> = queued
        .iter()
        .map(|entry| (text(&entry["to"][0]), text(&entry["last"])))
        .collect();
    for (domain, why) in &waiting {
        assert_eq!(queued[&format!("x@{domain}")], *why, "{domain}");
    }
    for (domain, _) in &delivered[..4] {
        let got = wait_for("mail at Postfix", UNDER_WAY, || {
            postfix.mail(domain, "x").pop()
        });
        assert!(got.contains("(using TLSv1.3"), "{domain}: {got}");
    }
    let taken: Vec<Vec<String>> = clear.taken().into_iter().map(|taken| taken.rcpt).collect();
    assert_eq!(taken, [["RCPT TO:<x@none.example>"]]);
    assert!(postfix.mail("wrong.example", "x").is_empty());
    server.stop();
}
