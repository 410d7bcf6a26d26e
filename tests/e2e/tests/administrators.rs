//! What administrators ask about mail that came: reports of others, another configuration, all of it again, and who was refused.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::net::Ipv4Addr;

use mox_e2e::{Localserve, NameServer, Smtp, Zone};

const REPORT: &str = "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>Far</org_name>\
    <report_id>7</report_id><date_range><begin>1767225600</begin><end>1767311999</end></date_range>\
    </report_metadata><policy_published><domain>localhost</domain><p>reject</p></policy_published>\
    <record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated>\
    <disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>\
    <identifiers><header_from>localhost</header_from></identifiers></record></feedback>";

fn bring(server: &Localserve, from: &str, to: &str, text: &str) -> String {
    let mut smtp = Smtp::connect(server.port(25));
    smtp.command(&format!("MAIL FROM:<{from}>"), "250");
    smtp.command(&format!("RCPT TO:<{to}>"), "250");
    smtp.command("DATA", "354");
    smtp.raw(format!("From: <{from}>\r\n{text}\r\n.\r\n").as_bytes());
    smtp.reply().unwrap()
}

#[test]
fn reports_other_configurations_and_all_mail_again() {
    let zone = Zone::default()
        .ptr(Ipv4Addr::LOCALHOST, "mx.far.example")
        .a("mx.far.example", Ipv4Addr::LOCALHOST)
        .mx("far.example", 10, "mx.far.example")
        .mx("else.example", 10, "mx.far.example")
        .txt("far.example", "v=spf1 ip4:127.0.0.1 -all")
        .txt("_dmarc.far.example", "v=DMARC1; p=reject")
        .txt("else.example", "v=spf1 -all")
        .txt("client.example", "v=spf1 ip4:127.0.0.1 -all");
    let names = NameServer::start(zone);
    let server = Localserve::start(&["--resolver", &names.address()]);
    let ask = |words: &[&str]| {
        let (code, text) = server.ask(words);
        assert_eq!(code, Some(0), "{words:?}: {text}");
        text
    };
    assert_eq!(ask(&["dmarc", "reports"]), "no DMARC report came\n");
    assert_eq!(ask(&["tlsrpt", "reports", "--json"]), "[]\n");

    let report = format!("Subject: Report\r\nContent-Type: text/xml\r\n\r\n{REPORT}");
    let reply = bring(&server, "r@far.example", "postmaster@localhost", &report);
    assert!(reply.starts_with("250 "), "{reply}");
    let told = ask(&["dmarc", "reports", "localhost"]);
    assert!(
        told.contains("localhost  Far (far.example), report 7"),
        "{told}"
    );
    assert!(told.contains("3 messages, 0 passed"), "{told}");
    assert!(ask(&["dmarc", "reports", "--json"]).contains("\"ip\": \"192.0.2.1\""));
    assert_eq!(
        ask(&["dmarc", "reports", "other.example"]),
        "no DMARC report came\n"
    );

    let text = "Message-ID: <1@else.example>\r\nSubject: hello\r\n\r\nHello.";
    let reply = bring(&server, "bob@else.example", "mox@localhost", text);
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    let fixed = server.scratch().write(
        "mox.ron",
        "(data_dir: \"d\", hostname: \"mx.example.org\", postmaster: (account: \"mox\"), \
         listeners: {\"a\": (ips: [\"127.0.0.1\"], smtp: ())})",
    );
    server.scratch().write(
        "domains.ron",
        "(domains: {\"localhost\": ()}, accounts: {\"mox\": (domain: \"localhost\", addresses: [\"mox\"], \
         rulesets: [(mailbox: \"INBOX\", mail_from: \"@else\", verified_domain: \"client.example\", is_forward: true)])})",
    );
    let fixed = fixed.to_str().unwrap();
    let told = ask(&["explain", "<1@else.example>", "--with", fixed]);
    let change = "defer (spf-policy), Rejects -> accept (no-bad-signals), INBOX\n";
    assert!(told.contains(change), "{told}");

    let all = ask(&["backtest", "--account", "mox"]);
    assert!(
        all.starts_with("2 messages judged, 2 of them by all rules"),
        "{all}"
    );
    assert!(!all.contains("->"), "{all}");
    let other = ask(&["backtest", "--account", "mox", "--with", fixed]);
    assert!(
        other.contains("Rejects 1: defer -> accept (no-bad-signals)"),
        "{other}"
    );
    assert_eq!(
        ask(&["explain", "--refused"]),
        "nothing was refused by a limiter\n"
    );
    server.stop();
}
