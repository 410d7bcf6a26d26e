//! A server behind a proxy that speaks the PROXY protocol, as Python writes it.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use mox_e2e::{Served, have, run, script};
use std::fs;

#[test]
fn behind_a_proxy_the_client_is_who_the_proxy_says_and_tls_follows() {
    if !have(
        "behind_a_proxy_the_client_is_who_the_proxy_says_and_tls_follows",
        &["python3"],
    ) {
        return;
    }
    let mut server = Served::prepare("127.0.0.1:1");
    let text = fs::read_to_string(server.config()).unwrap();
    let text = text.replace(
        "tls: self_signed,",
        "tls: self_signed, trusted_proxies: [\"127.0.0.0/8\"],",
    );
    fs::write(server.config(), text).unwrap();
    server.resume();
    let (smtp, imap) = (server.port(25).to_string(), server.port(143).to_string());
    let script = script("proxied.py");
    let args = [
        script.to_str().unwrap(),
        &smtp,
        &imap,
        "ann@example.org",
        server.password(),
    ];
    let printed = String::from_utf8(run("python3", &args, b"")).unwrap();
    // However the field is folded.
    let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(printed.contains("[IPv6:2001:db8::7]"), "{printed}");
    assert!(printed.contains(" with ESMTPS "), "{printed}");
    assert!(printed.ends_with("said to nobody: b''"), "{printed}");
    let log = server.log();
    assert!(
        log.contains("it does not begin with a header of the PROXY protocol"),
        "{log}"
    );
    server.stop();
}
