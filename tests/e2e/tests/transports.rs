//! Mail that leaves by a smarthost: another server of ours, where it is submitted with a password over TLS.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use mox_e2e::{Localserve, PASSWORD, Served, Smtp, inbox, moxctl, wait_for};
use serde_json::Value;

const UNDER_WAY: Duration = Duration::from_secs(20);
const MESSAGE: &str =
    "From: ann@example.org\r\nTo: carol@far.example\r\nSubject: by way\r\n\r\nBody.\r\n";

/// A server with a smarthost of these further settings, by which everything for far.example goes.
fn with_smarthost(smarthost: &Localserve, settings: &str) -> Served {
    let server = Served::prepare("127.0.0.1:1");
    let password = server.folder().join("provider.password");
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(
        smarthost.certificate(),
        server.folder().join("provider.pem"),
    )
    .unwrap();
    let fixed = fs::read_to_string(server.config()).unwrap();
    let transports = format!(
        r#"transports: {{
            "provider": smarthost(host: "localhost", user: "mox@localhost", password_file: "provider.password",
                ca: "provider.pem", {settings}),
        }},
        relay:"#
    );
    fs::write(server.config(), fixed.replace("relay:", &transports)).unwrap();
    let path = server.folder().join("domains.ron");
    let dynamic = fs::read_to_string(&path).unwrap();
    let (before, _) = dynamic.rsplit_once(')').unwrap();
    let routes = r#"routes: [(to: ["far.example"], transport: "provider")],"#;
    fs::write(&path, format!("{before}{routes})\n")).unwrap();
    server.give_away();
    server
}

#[test]
fn mail_is_submitted_to_a_smarthost_with_a_password_over_starttls_and_over_tls_at_once() {
    let smarthost = Localserve::start(&["--domain", "example.org", "--domain", "far.example"]);
    let ways = [
        ("tls: starttls", 587, "SCRAM-SHA-256-PLUS"),
        ("tls: implicit, mechanisms: [\"PLAIN\"]", 465, "PLAIN"),
    ];
    for (count, (tls, port, mechanism)) in (1..).zip(ways) {
        let settings = format!("port: {}, {tls}", smarthost.port(port));
        let mut server = with_smarthost(&smarthost, &settings);
        let fine = server.moxctl(&["config", "test"]);
        assert!(fine.contains(" are fine: "), "{fine}");
        server.resume();
        let mut ann = Smtp::login(server.port(587), "ann@example.org", server.password());
        ann.send("ann@example.org", "carol@far.example", MESSAGE);
        let arrived = wait_for("the message", UNDER_WAY, || {
            let all = inbox(&smarthost, "mox@localhost");
            (all.len() == count).then_some(all)
        });
        let arrived = String::from_utf8_lossy(&arrived[count - 1]).into_owned();
        let line = arrived.replace("\r\n\t", " ").replace("\r\n ", " ");
        assert!(line.contains(" with ESMTPSA id "), "{mechanism}: {arrived}");
        assert!(line.contains("\r\nDKIM-Signature: "), "{arrived}");
        let retired = wait_for("its leaving", UNDER_WAY, || {
            let retired = server.moxctl(&["queue", "retired", "--json"]);
            let retired: Vec<Value> = serde_json::from_str(&retired).unwrap();
            retired.into_iter().next()
        });
        assert_eq!(retired["transport"], "provider");
        assert_eq!(retired["fate"], "delivered");
        let tls = retired["tls"].as_str().unwrap();
        assert!(
            tls.ends_with(", proven by a certificate for its name"),
            "{tls}"
        );
        server.stop();
        assert!(!server.log().contains(PASSWORD));
    }
    smarthost.stop();
}

#[test]
fn a_message_goes_where_an_administrator_says_until_routes_decide_again() {
    let smarthost = Localserve::start(&["--domain", "example.org", "--domain", "far.example"]);
    let settings = format!("port: {}", smarthost.port(587));
    let mut server = with_smarthost(&smarthost, &settings);
    server.resume();
    let mut ann = Smtp::login(server.port(587), "ann@example.org", server.password());
    // No route leads this to the smarthost, and nobody is behind the relay.
    ann.send("ann@example.org", "carol@lost.example", MESSAGE);
    let list = |options: &[&str]| -> Vec<Value> {
        let listed = server.moxctl(&[&["queue", "list", "--json"], options].concat());
        serde_json::from_str(&listed).unwrap()
    };
    let entry = wait_for("an attempt", UNDER_WAY, || {
        list(&[]).into_iter().find(|entry| !entry["last"].is_null())
    });
    assert_eq!(
        (&entry["transport"], &entry["routed"]),
        (&"relay".into(), &false.into())
    );
    assert_eq!(list(&["--transport", "provider"]).len(), 0);
    let id = entry["id"].to_string();
    assert_eq!(server.moxctl(&["queue", "route", "provider", &id]), "1\n");
    assert_eq!(list(&["--transport", "provider"]).len(), 1);
    let shown = server.moxctl(&["queue", "show", &id]);
    for piece in [
        "\nby transport provider, as an administrator chose\n",
        " by relay: ",
    ] {
        assert!(shown.contains(piece), "{piece:?} is missing in {shown}");
    }
    assert_eq!(server.moxctl(&["queue", "route", "--all", "routes"]), "1\n");
    assert_eq!(list(&["--transport", "provider"]).len(), 0);
    for (words, why) in [
        (
            &["queue", "route", "nowhere", &id][..],
            "there is no transport \"nowhere\"; use one of: routes, direct, relay, provider",
        ),
        (&["queue", "route", "provider"], "say which messages"),
    ] {
        let mut command = Command::new(moxctl());
        let output = command
            .arg("--config")
            .arg(server.config())
            .args(words)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
    server.stop();
}
