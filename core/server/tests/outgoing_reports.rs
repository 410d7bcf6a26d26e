//! `outgoing_reports` of `domains.ron`: what it means, what is said about wrong ones.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use mox_server::Directory;
use mox_server::config::{Dynamic, Static};
use mox_server::reports_out::OutgoingReports;

const MOX: &str = r#"(
    data_dir: "../data",
    hostname: "mail.example.org",
    listeners: {"public": (ips: ["0.0.0.0"], smtp: ())},
    postmaster: (account: "jo"),
)
"#;

fn read(setting: &str) -> Result<OutgoingReports, String> {
    let text = format!(
        "(\n    domains: {{\"example.org\": ()}},\n    \
         accounts: {{\"jo\": (domain: \"example.org\", addresses: [\"jo\"])}},\n    {setting}\n)\n"
    );
    let fixed = Static::parse("mox.ron", MOX).unwrap();
    let dynamic = Dynamic::parse("domains.ron", &text, &fixed).map_err(|e| e.to_string())?;
    Ok(Directory::new(&fixed, &dynamic).outgoing_reports().clone())
}

#[test]
fn reports_are_sent_unless_they_are_switched_off() {
    assert_eq!(read(""), Ok(OutgoingReports::usual()));
    let some = read("outgoing_reports: (dmarc: false),").unwrap();
    assert_eq!((some.dmarc, some.tls), (false, true));
    let some = read(
        "outgoing_reports: (tls: false, from: \"r@EXAMPLE.org\", opt_out: [\"x.example\", \"y@z.example\"]),",
    );
    let some = some.unwrap();
    assert_eq!((some.dmarc, some.tls, some.opt_out.len()), (true, false, 2));
    assert!(some.leaves_out_domain("mail.x.example"));
    assert_eq!(some.from.unwrap().local.as_str(), "r");
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_column() {
    for (setting, wrong) in [
        (
            "outgoing_reports: (opt_out: [\"x.example\", \"a b\"]),",
            "domains.ron:4:47: outgoing_reports.opt_out[1]: \"a b\" is no domain and no address: ",
        ),
        (
            "outgoing_reports: (from: \"r@else.example\"),",
            "domains.ron:4:30: outgoing_reports.from: \"r@else.example\" is no address of a domain of this server; write ",
        ),
        (
            "outgoing_reports: (dmarc: true, tsl: true),",
            "domains.ron:4:37: ",
        ),
    ] {
        let said = read(setting).unwrap_err();
        assert!(said.starts_with(wrong), "{said}");
    }
}
