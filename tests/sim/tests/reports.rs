//! Reports of other servers that arrive at postmaster: which are believed, what is kept of them, and that none is lost.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_dns::MasterFile;
use mox_driver::Runtime;
use mox_node::Outgoing;
use mox_server::decision::{Reason, Record};
use mox_server::reports::{ReportContent, ReportKind, StoredReport};
use mox_sim::{Dialogue, DnsManner, Knobs, Sim, name_server};
use one_server::{One, ours};

const ZONE: &str = "\
far.example. MX 10 mx.far.example.\n\
loose.example. MX 10 mx.far.example.\n\
unknown.example. MX 10 mx.far.example.\n\
far.example. TXT \"v=spf1 ip4:10.0.2.1 -all\"\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n\
_dmarc.far.example. TXT \"v=DMARC1; p=reject\"\n\
loose.example. TXT \"v=spf1 -all\"\n\
_dmarc.loose.example. TXT \"v=DMARC1; p=none\"\n";

fn message(author: &str, kind: &str, report: &str) -> String {
    let report = report.replace('\n', "\r\n");
    format!(
        "From: <reports@{author}>\r\nTo: <postmaster@ours.example>\r\nMessage-ID: <r@{author}>\r\n\
         Subject: Report\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n\
         --b\r\nContent-Type: {kind}\r\n\r\n{report}\r\n--b--\r\n"
    )
}

fn aggregate(domain: &str, count: &str, end: i64) -> String {
    format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>Far</org_name>\
         <report_id>7</report_id><date_range><begin>1767225600</begin><end>{end}</end></date_range>\
         </report_metadata><policy_published><domain>{domain}</domain><p>reject</p></policy_published>\
         <record><row><source_ip>192.0.2.1</source_ip><count>{count}</count><policy_evaluated>\
         <disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>\
         <identifiers><header_from>{domain}</header_from></identifiers></record>\
         <record><row><source_ip>192.0.2.2</source_ip><count>40</count><policy_evaluated>\
         <disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>\
         <identifiers><header_from>{domain}</header_from></identifiers></record></feedback>"
    )
}

/// What came of a message to an address of ours.
struct Came {
    reply: String,
    record: Record,
    reports: Vec<StoredReport>,
    unseen: String,
}

fn receive(sender: &str, to: &str, text: &str) -> Came {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let zone = MasterFile::parse(ZONE).unwrap();
    let (sender, to, text) = (sender.to_owned(), to.to_owned(), text.to_owned());
    let came = sim.run(async move {
        let client = world.computer("client", [10, 0, 2, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.start().await;
        let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
        smtp.expect("220").await.unwrap();
        for (line, code) in [
            ("EHLO mx.far.example".to_owned(), "250"),
            (format!("MAIL FROM:<{sender}>"), "250"),
            (format!("RCPT TO:<{to}>"), "250"),
            ("DATA".to_owned(), "354"),
        ] {
            smtp.say(&format!("{line}\r\n")).await.unwrap();
            smtp.expect(code).await.unwrap();
        }
        smtp.say(&format!("{text}.\r\n")).await.unwrap();
        let reply = smtp.reply().await.unwrap();
        let mut imap = Dialogue::new(client.connect(ours(143), None).await.unwrap());
        imap.line().await.unwrap();
        let login = format!("LOGIN mox@localhost \"{}\"", one_server::PASSWORD);
        imap.command(&login).await.unwrap();
        let unseen = imap
            .command("STATUS INBOX (MESSAGES UNSEEN)")
            .await
            .unwrap();
        let node = one.node();
        let reports = |kind| node.reports(kind, Some("OURS.example"), 10).unwrap();
        let came = Came {
            reply,
            record: node.explain(&to, 1).unwrap().remove(0),
            reports: [reports(ReportKind::Dmarc), reports(ReportKind::Tls)].concat(),
            unseen,
        };
        assert_eq!(
            node.reports(ReportKind::Dmarc, Some("other.example"), 9)
                .unwrap(),
            []
        );
        drop((smtp, imap));
        one.stop().await;
        came
    });
    assert_eq!(sim.panics(), 0);
    assert_eq!(came.record.differences(), Vec::<String>::new());
    assert_eq!(
        Record::decode(&came.record.encode()).as_ref(),
        Ok(&came.record)
    );
    came
}

/// Taken like any other mail, with nothing kept but the record, which says why.
#[track_caller]
fn assert_not_believed(came: &Came, why: &str) {
    assert!(came.reply.starts_with("250 "), "{}", came.reply);
    assert_eq!(came.reports, []);
    assert!(
        came.unseen.contains("MESSAGES 1 UNSEEN 1"),
        "{}",
        came.unseen
    );
    let judgement = &came.record.recipients[0];
    let report = judgement.recipient.report.as_ref().unwrap();
    assert_eq!(report.problem.as_deref(), Some(why));
    assert_eq!(judgement.decision.reason, Reason::NoBadSignals);
    let rules = &judgement.decision.rules;
    assert!(
        rules
            .iter()
            .any(|rule| rule.name == "report" && rule.because == why)
    );
}

const SENDER: &str = "reports@far.example";
const POSTMASTER: &str = "postmaster@ours.example";

#[test]
fn a_report_that_its_author_vouches_for_is_taken_listed_and_seen() {
    let xml = aggregate("ours.example", "3", 1_767_311_999);
    let came = receive(
        SENDER,
        POSTMASTER,
        &message("far.example", "text/xml", &xml),
    );
    assert!(came.reply.starts_with("250 "), "{}", came.reply);
    assert!(
        came.unseen.contains("MESSAGES 1 UNSEEN 0"),
        "{}",
        came.unseen
    );
    assert_eq!(came.record.recipients[0].decision.reason, Reason::Reporting);
    let [report] = &came.reports[..] else {
        unreachable!("{:?}", came.reports);
    };
    assert_eq!(report.transaction, came.record.id);
    assert_eq!((&*report.organization, &*report.report_id), ("Far", "7"));
    assert_eq!((report.begin, report.end), (1_767_225_600, 1_767_311_999));
    let ReportContent::Dmarc {
        messages,
        passed,
        sources,
        more,
    } = &report.content
    else {
        unreachable!("{report:?}");
    };
    assert_eq!((*messages, *passed, *more), (43, 40, 0));
    let told: Vec<_> = sources
        .iter()
        .map(|s| (&*s.ip, s.count, &*s.disposition))
        .collect();
    assert_eq!(
        told,
        [("192.0.2.2", 40, "none"), ("192.0.2.1", 3, "reject")]
    );
}

#[test]
fn a_report_that_nobody_vouches_for_or_that_cannot_be_true_is_mail_like_any_other() {
    let good = aggregate("ours.example", "3", 1_767_311_999);
    let text = |author, xml: &str| message(author, "application/xml", xml);
    let came = receive(
        "x@unknown.example",
        POSTMASTER,
        &text("loose.example", &good),
    );
    assert_not_believed(&came, "its author's domain does not vouch for it (DMARC)");
    for (xml, why) in [
        (
            aggregate("other.example", "3", 1_767_311_999),
            "it is about no domain of ours",
        ),
        (
            aggregate("ours.example", "3", 1_767_923_045),
            "it is about the future",
        ),
        (
            aggregate("ours.example", "-1", 1_767_311_999),
            "its count is not a number that can be true",
        ),
        (
            good.replace("</feedback>", ""),
            "it is not well-formed: it is cut off",
        ),
        ("Dear Postmaster".into(), "there is no report in it"),
    ] {
        let came = receive(SENDER, POSTMASTER, &text("far.example", &xml));
        assert_not_believed(&came, why);
    }
}

#[test]
fn a_report_to_another_address_is_mail() {
    let xml = aggregate("ours.example", "3", 1_767_311_999);
    let came = receive(
        SENDER,
        "ann@ours.example",
        &message("far.example", "text/xml", &xml),
    );
    assert!(came.reply.starts_with("250 "), "{}", came.reply);
    assert_eq!(came.reports, []);
    assert_eq!(came.record.recipients[0].recipient.report, None);
}

#[test]
fn a_tls_report_needs_a_signature() {
    let json = "{\"organization-name\":\"Far\",\"date-range\":{\"start-datetime\":\"2026-01-01T00:00:00Z\",\
        \"end-datetime\":\"2026-01-01T23:59:59Z\"},\"report-id\":\"8\",\"policies\":[{\"policy\":{\
        \"policy-type\":\"sts\",\"policy-domain\":\"ours.example\"},\"summary\":{\
        \"total-successful-session-count\":5,\"total-failure-session-count\":0}}]}";
    let text = message("far.example", "application/tlsrpt+json", json);
    let came = receive(SENDER, POSTMASTER, &text);
    assert_not_believed(&came, "its author's domain did not sign it (DKIM)");
}
