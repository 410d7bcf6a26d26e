//! What is borne with, what is refused, and that what is written is read as the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_machine::Utc;
use mox_report::aggregate::{
    Aligned, Alignment, COUNT_MAX, Disposition, DkimResult, Metadata, Outcome, Override, Policy,
    PolicyPublished, Reason, Record, SpfResult,
};
use mox_report::tls::{self, DateRange, FailureDetails, PolicyKind, ResultType, Summary};
use mox_report::{AggregateReport, Limits, Refused, TlsReport, gzip};
use mox_tls_policy::{AppliedPolicy, Failure, FailureType, Ledger, PolicyType};
use proptest::option;
use proptest::prelude::*;

fn xml(rows: &str) -> String {
    format!(
        "<feedback><report_metadata><org_name>o</org_name><report_id>1</report_id><date_range><begin>1</begin><end>2</end></date_range></report_metadata>\
         <policy_published><domain>example.org</domain><p>none</p></policy_published>{rows}</feedback>"
    )
}

fn read(octets: &[u8]) -> Result<AggregateReport, Refused> {
    AggregateReport::read(octets, &Limits::default())
}

fn row(count: &str) -> String {
    format!("<record><row><source_ip>192.0.2.1</source_ip><count>{count}</count></row></record>")
}

/// A zip archive whose files are stored as they are.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let start = u32::try_from(out.len()).unwrap();
        let (size, named) = (
            u32::try_from(content.len()).unwrap(),
            u16::try_from(name.len()).unwrap(),
        );
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x58]);
        common.extend(crc32(content).to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(named.to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, size) = (
        u32::try_from(out.len()).unwrap(),
        u32::try_from(directory.len()).unwrap(),
    );
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    out.extend(count);
    out.extend(count);
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn faults_of_real_senders_are_borne_with() {
    let text = format!(
        "\u{feff}\n <?xml version=\"1.0\" ?><!-- hello --><x:feedback xmlns:x=\"y\">{}</x:feedback>\n trailing",
        "<unknown><a/></unknown>text<report_metadata><date_range><begin> 100.0 </begin><end>200.000</end></date_range>\
         <org_name>&#x41;B &amp; <![CDATA[<C>]]></org_name><org_name>second</org_name></report_metadata>\
         <policy_published><domain>example.org</domain><p>Reject</p><sp></sp><adkim>R</adkim><pct>100</pct></policy_published>\
         <record><identities><header_from>example.org</header_from></identities>\
         <row><count>7</count><source_ip>not an address</source_ip><policy_evaluated><disposition>NONE</disposition>\
         <dkim>Pass</dkim><spf>hardfail</spf><reason><type></type><comment></comment></reason>\
         <reason><comment>why <b>not</b></comment></reason></policy_evaluated></row>\
         <auth_results><spf><domain/><result>none</result></spf><spf/></auth_results></record>"
    );
    let report = read(text.as_bytes()).unwrap();
    assert_eq!(&*report.metadata.org_name, "AB & <C>");
    assert_eq!((report.metadata.begin, report.metadata.end), (100, 200));
    assert_eq!(report.policy.p, Some(Policy::Reject));
    assert_eq!(report.policy.sp, None);
    assert_eq!(report.policy.adkim, Some(Alignment::Relaxed));
    let record = &report.records[0];
    assert_eq!(record.disposition, Some(Disposition::None));
    assert_eq!(record.dkim, Some(Aligned::Pass));
    assert_eq!(record.spf, Some(Aligned::Other("hardfail".into())));
    assert_eq!(
        record.reasons,
        [Reason {
            kind: Override::Unspecified,
            comment: Some("why".into())
        }]
    );
    assert_eq!(record.spf_results.len(), 2);
    assert_eq!((record.ip(), record.count), (None, 7));
    assert_eq!(read(report.to_xml().as_bytes()), Ok(report));
}

#[test]
fn a_report_is_read_in_the_charset_it_says_it_is_in() {
    let named = |encoding: &str| {
        let text = xml(&row("5")).replacen("<org_name>", "<org_name>M\u{fc}ller ", 1);
        format!("<?xml version=\"1.0\" encoding={encoding}?>{text}")
    };
    let latin1 =
        |text: &str| -> Vec<u8> { text.chars().map(|c| u8::try_from(c).unwrap()).collect() };
    let utf16 = |text: &str, mark: &[u8]| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [mark.to_vec(), units.collect()].concat()
    };
    for octets in [
        named("\"UTF-8\"").into_bytes(),
        [b"\xef\xbb\xbf", named("\"utf-8\"").as_bytes()].concat(),
        latin1(&named("\"ISO-8859-1\"")),
        latin1(&named("'windows-1252' standalone='yes'")),
        utf16(&named("\"UTF-16\""), b"\xff\xfe"),
    ] {
        for octets in [gzip(&octets), octets] {
            let report = read(&octets).unwrap();
            assert!(
                report.metadata.org_name.starts_with("M\u{fc}ller "),
                "{report:?}"
            );
            assert_eq!(report.messages(), 5);
        }
    }
    // What is in no charset that is said is in none.
    for encoding in ["\"UTF-8\"", "\"UTF-16\"", "\"none\""] {
        assert!(matches!(
            read(&latin1(&named(encoding))),
            Err(Refused::Syntax(_))
        ));
    }
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let syntax = |text: &str| match read(text.as_bytes()) {
        Err(Refused::Syntax(why)) => why,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(syntax("<feedback><report_metadata>"), "it is cut off");
    assert_eq!(
        syntax("<feedback><email><a@b></email></feedback>"),
        "a tag has a name that is none"
    );
    assert_eq!(
        syntax("<feedback><a>b<c.net</a></feedback>"),
        "a tag has a name that is none"
    );
    syntax("<feedback></wrong>");
    syntax("<feedback>&#0;</feedback>");
    syntax("<feedback>&#xzz;</feedback>");
    let octets = xml(&row("1")).replace("192", "19\u{fffd}");
    assert!(read(octets.as_bytes()).is_ok());
    let mut octets = octets.into_bytes();
    let place = octets.iter().position(|b| *b == 0xef).unwrap();
    octets[place] = 0xff;
    assert!(matches!(read(&octets), Err(Refused::Syntax(_))));
}

#[test]
fn what_a_report_lacks_is_named() {
    assert_eq!(read(b"<html/>"), Err(Refused::Missing("feedback")));
    assert_eq!(
        read(b"<feedback/>"),
        Err(Refused::Missing("report_metadata"))
    );
    assert_eq!(
        read(b"<feedback><report_metadata/></feedback>"),
        Err(Refused::Missing("date_range"))
    );
    let text = xml("").replace("<domain>example.org</domain>", "");
    assert_eq!(
        read(text.as_bytes()),
        Err(Refused::Missing("policy_published with a domain"))
    );
    assert_eq!(
        read(xml("<record/>").as_bytes()),
        Err(Refused::Missing("count in a record"))
    );
    assert_eq!(read(b""), Err(Refused::NoReport));
    assert_eq!(read(b"Subject: x\r\n\r\nhello\r\n"), Err(Refused::NoReport));
}

#[test]
fn declarations_and_entities_are_refused() {
    for text in [
        "<!DOCTYPE feedback><feedback/>",
        "<!DOCTYPE f [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><feedback>&b;</feedback>",
        "<!DOCTYPE f [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><feedback>&x;</feedback>",
        "<feedback>&b;</feedback>",
        "<feedback>&nbsp;</feedback>",
    ] {
        assert_eq!(read(text.as_bytes()), Err(Refused::Declarations), "{text}");
    }
}

#[test]
fn counts_that_lie_are_refused() {
    for count in [
        "-1",
        "",
        "1e9",
        "0x1",
        "+1",
        "1 000",
        "1.5",
        "1.-0",
        "4294967296",
        "99999999999999999999999999",
    ] {
        let why = read(xml(&row(count)).as_bytes());
        assert_eq!(why, Err(Refused::Number("count")), "{count}");
    }
    let most = row(&COUNT_MAX.to_string());
    let report = read(xml(&most.repeat(3)).as_bytes()).unwrap();
    assert_eq!(report.messages(), 3 * COUNT_MAX);
    for begin in ["-1", "253402300800", "x"] {
        let text = xml("").replace("<begin>1<", &format!("<begin>{begin}<"));
        assert_eq!(read(text.as_bytes()), Err(Refused::Number("date_range")));
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_held() {
    let limits = Limits::default();
    let filler = "<a>12345678901234567890123456789012345678901234567890</a>".repeat(100_000);
    let bomb = |octets: usize| gzip(xml(&filler.repeat(6)[..octets / 57 * 57]).as_bytes());
    // More than there may be; and within that, but out of next to nothing.
    let many = xml(&row("1").repeat(250_000));
    assert!(many.len() < 20_000_000);
    for (octets, what) in [
        (bomb(30_000_000), "the unpacked report"),
        (bomb(2_000_000), "the unpacked report"),
        (xml(&filler.repeat(4)).into_bytes(), "the unpacked report"),
        (many.into_bytes(), "what is to be kept of it"),
        (
            xml(&"<a/>".repeat(limits.tags)).into_bytes(),
            "the number of its tags",
        ),
        (
            xml(&format!("<record>{}</record>", "<a>".repeat(100))).into_bytes(),
            "the depth of its elements",
        ),
        (
            xml(&format!("<x>{}</x>", "y".repeat(limits.token + 1))).into_bytes(),
            "one of its tags or texts",
        ),
        (
            xml(&format!("<x {}/>", "y".repeat(limits.token))).into_bytes(),
            "one of its tags or texts",
        ),
    ] {
        assert_eq!(read(&octets), Err(Refused::TooLarge(what)), "{what}");
    }
    for within in ["&lt;", "<!---->", "<?x?>", "<a/>"] {
        let text = xml(&format!("<x>{}</x>", within.repeat(limits.tags)));
        let refused = Refused::TooLarge("the number of its tags");
        assert_eq!(read(text.as_bytes()), Err(refused), "{within}");
    }
    // A letter takes more than an octet where it is kept.
    let errors = xml("").replace(
        "<report_id>",
        &format!("{}<report_id>", "<error>a</error>".repeat(300_000)),
    );
    let reasons = "<reason><type>x</type><comment>y</comment></reason>".repeat(130_000);
    let reasons = xml(&format!(
        "<record><row><count>1</count><policy_evaluated>{reasons}</policy_evaluated></row></record>"
    ));
    for text in [errors, reasons] {
        assert_eq!(
            read(text.as_bytes()),
            Err(Refused::TooLarge("what is to be kept of it"))
        );
    }
    let long = format!("{}&amp;", "y".repeat(1_000)).repeat(66);
    let text = xml("").replace("<org_name>o", &format!("<org_name>{long}"));
    assert_eq!(
        read(text.as_bytes()),
        Err(Refused::TooLarge("one of its texts"))
    );
    let message = vec![b'x'; limits.message + 1];
    assert_eq!(read(&message), Err(Refused::TooLarge("the message")));
    let packed = [gzip(b"x"), vec![0; limits.packed]].concat();
    assert_eq!(read(&packed), Err(Refused::TooLarge("the packed report")));
}

#[test]
fn an_archive_has_one_file_and_none_of_them_an_archive() {
    let text = xml(&row("5"));
    let text = text.as_bytes();
    let inner = zip(&[("a.xml", text)]);
    assert_eq!(read(&inner).unwrap().messages(), 5);
    assert_eq!(read(&gzip(text)).unwrap().messages(), 5);
    let with_folder = zip(&[("d/", b""), ("__MACOSX/a", b"x"), ("d/a.xml", text)]);
    assert_eq!(read(&with_folder).unwrap().messages(), 5);
    let packing = |octets: &[u8]| match read(octets) {
        Err(Refused::Packing(why)) => why,
        other => panic!("{other:?}"),
    };
    // An end that is out of order does not hide the one before it, which tells of too many.
    let many: Vec<(String, &[u8])> = (0..17).map(|n| (format!("d{n}/"), &b""[..])).collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(name, text)| (name.as_str(), *text))
        .collect();
    let many = zip(&[&[("a.xml", text)], &many[..]].concat());
    assert_eq!(packing(&many), "the zip archive has more than one file");
    let end = |disk: u8, first: u8, count: u8, offset: u8| {
        let mut end = b"PK\x05\x06".to_vec();
        end.extend([
            disk, 0, 0, 0, first, 0, count, 0, 0, 0, 0, 0, offset, 0, 0, 0, 0, 0,
        ]);
        end
    };
    // The last one says that its directory would begin right here.
    let mut here = end(0, 1, 1, 0);
    let place = u32::try_from(many.len()).unwrap().to_le_bytes();
    here[16..20].copy_from_slice(&place);
    for false_end in [end(1, 1, 1, 0), end(0, 2, 1, 0), end(0, 1, 1, 9), here] {
        assert_eq!(
            packing(&[many.clone(), false_end].concat()),
            "the zip archive has no directory"
        );
    }
    let two = zip(&[("a.xml", text), ("b.xml", text)]);
    assert_eq!(packing(&two), "the zip archive has more than one file");
    let many: Vec<(&str, &[u8])> = (0..20).map(|_| ("d/", &b""[..])).collect();
    assert_eq!(
        packing(&zip(&many)),
        "the zip archive has more than one file"
    );
    assert_eq!(packing(&zip(&[])), "the zip archive has no file");
    assert_eq!(
        packing(&inner[..inner.len() - 30]),
        "the zip archive has no directory"
    );
    for nested in [
        zip(&[("a.zip", &inner)]),
        gzip(&inner),
        gzip(&gzip(text)),
        zip(&[("a.gz", &gzip(text))]),
    ] {
        assert_eq!(packing(&nested), "it is packed again within");
    }
    // Damaged ones.
    let mut wrong = inner.clone();
    let place = wrong.len() / 2;
    wrong[place] ^= 1;
    assert!(read(&wrong).is_err());
    let gz = gzip(text);
    assert!(read(&gz[..gz.len() / 2]).is_err());
}

fn message(kind: &str, encoding: &str, content: &str) -> Vec<u8> {
    format!(
        "From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n<hello>\r\n\
         --x\r\nContent-Type: application/zip\r\n\r\nnot a report\r\n--x\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{content}\r\n--x--\r\n"
    )
    .into_bytes()
}

#[test]
fn a_report_is_found_in_a_message_whatever_its_sender_calls_it() {
    let text = xml(&row("5"));
    for kind in [
        "application/xml",
        "text/xml; charset=utf-8",
        "application/octet-stream",
        "application/x-whatever",
    ] {
        let report = read(&message(kind, "8bit", &text)).unwrap();
        assert_eq!(report.messages(), 5, "{kind}");
    }
    assert_eq!(
        read(&message("image/png", "7bit", &text)),
        Err(Refused::NoReport)
    );
    assert_eq!(
        read(&message("application/xml", "x-unknown", &text)),
        Err(Refused::NoReport)
    );
    // A report that is damaged is told of.
    assert!(matches!(
        read(&message("application/xml", "7bit", "<feedback>")),
        Err(Refused::Syntax(_))
    ));
    // What is in a message that is attached is not the sender's.
    let attached = message(
        "message/rfc822",
        "7bit",
        &format!("Content-Type: text/xml\r\n\r\n{text}"),
    );
    assert_eq!(read(&attached), Err(Refused::NoReport));
    let json = r#"{"date-range":{"start-datetime":"2026-01-02T00:00:00","end-datetime":"2026-01-02T23:59:59Z"},"policies":[]}"#;
    for kind in ["application/tlsrpt+json", "application/json"] {
        let report = TlsReport::read(&message(kind, "8bit", json), &Limits::default());
        assert_eq!(report.unwrap().policies, []);
    }
}

#[test]
fn parts_that_are_no_report_are_tried_within_the_limits_of_one() {
    let tls = |length: usize| {
        format!(
            r#"{{"date-range":{{"start-datetime":"2026-01-02T00:00:00Z","end-datetime":"2026-01-02T23:59:59Z"}},"policies":[{}]}}"#,
            " ".repeat(length)
        )
    };
    let limits = Limits {
        xml: 1_000_000,
        json: 1_000_000,
        ..Limits::default()
    };
    // Damaged at the very end.
    let damaged = |good: String| good.replace("</feedback>", "").replace("]}", "]");
    let aggregate = |length: usize| xml(&format!("{}{}", row("5"), "<a/>".repeat(length / 4)));
    for (damages, is_read) in [(1, true), (4, false)] {
        let parts = |kind: &str, damaged: &str, good: &str| {
            let mut text = String::from("Content-Type: multipart/mixed; boundary=x\r\n\r\n");
            for part in core::iter::repeat_n(damaged, damages).chain([good]) {
                text.push_str(&format!("--x\r\nContent-Type: {kind}\r\n\r\n{part}\r\n"));
            }
            text.into_bytes()
        };
        let message = parts(
            "application/xml",
            &damaged(aggregate(300_000)),
            &aggregate(0),
        );
        let few_tags = Limits {
            tags: 200_000,
            ..Limits::default()
        };
        for limits in [&limits, &few_tags] {
            let report = AggregateReport::read(&message, limits);
            assert_eq!(report.is_ok(), is_read, "{damages}: {report:?}");
            assert!(is_read || matches!(report, Err(Refused::Syntax(_))));
        }
        let message = parts("application/tlsrpt+json", &damaged(tls(300_000)), &tls(0));
        let report = TlsReport::read(&message, &limits);
        assert_eq!(report.is_ok(), is_read, "{damages}: {report:?}");
        assert!(is_read || matches!(report, Err(Refused::Syntax(_))));
    }
}

fn tls(policies: &str) -> Result<TlsReport, Refused> {
    let json = format!(
        r#" {{"organization-name":null,"date-range":{{"start-datetime":"2026-01-02T00:00:00","end-datetime":"2026-01-02T23:59:59+01:00"}},"contact-info":"x","report-id":"1","policies":{policies},"unknown":[1,{{}}]}} trailing"#
    );
    TlsReport::read(json.as_bytes(), &Limits::default())
}

#[test]
fn a_tls_report_with_faults_of_real_senders_is_read() {
    let report = tls(
        r#"[{"policy":{"policy-type":"STS","policy-string":"version: STSv1","policy-domain":"example.org","mx-host":null},
        "summary":{"total-successful-session-count":5,"total-failure-session-count":1},
        "failure-details":[{"result-type":"new-kind","failed-session-count":1,"receiving-ip":null}]}]"#,
    )
    .unwrap();
    assert_eq!(report.organization_name, "");
    let range = report.date_range;
    assert_eq!(range.start_datetime.to_string(), "2026-01-02T00:00:00Z");
    assert_eq!(range.end_datetime.to_string(), "2026-01-02T22:59:59Z");
    let policy = &report.policies[0];
    assert_eq!(policy.policy.policy_type, PolicyKind::Sts);
    assert_eq!(policy.policy.policy_string, ["version: STSv1"]);
    assert_eq!(
        policy.failure_details[0].result_type,
        ResultType::Other("new-kind".into())
    );
    assert_eq!(report.sessions(), (5, 1));
    assert_eq!(
        TlsReport::read(report.to_json().as_bytes(), &Limits::default()),
        Ok(report)
    );
}

#[test]
fn a_tls_report_whose_counts_lie_is_refused() {
    for count in ["-1", "1.5", "1e30", "1000000000001", "-9223372036854775808"] {
        let summary = format!(
            r#"[{{"policy":{{"policy-type":"sts"}},"summary":{{"total-successful-session-count":{count},"total-failure-session-count":0}}}}]"#
        );
        assert_eq!(
            tls(&summary),
            Err(Refused::Number("count of sessions")),
            "{count}"
        );
        let details = format!(
            r#"[{{"policy":{{"policy-type":"sts"}},"summary":{{"total-successful-session-count":0,"total-failure-session-count":0}},"failure-details":[{{"result-type":"x","failed-session-count":{count}}}]}}]"#
        );
        assert_eq!(
            tls(&details),
            Err(Refused::Number("count of sessions")),
            "{count}"
        );
    }
    for wrong in [r#"[{}]"#, "7", r#"[{"policy":{}}]"#] {
        assert!(matches!(tls(wrong), Err(Refused::Syntax(_))), "{wrong}");
    }
    let many = format!("[{}1]", "[],".repeat(200_000));
    assert_eq!(
        tls(&many),
        Err(Refused::TooLarge("the number of its values"))
    );
    // A text may have as many of these as it likes.
    let text = ",".repeat(250_000);
    let policies = format!(
        r#"[{{"policy":{{"policy-type":"sts","policy-domain":"\"{text}"}},"summary":{{"total-successful-session-count":0,"total-failure-session-count":0}}}}]"#
    );
    assert!(tls(&policies).is_ok());
    let deep = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    assert!(matches!(tls(&deep), Err(Refused::Syntax(_))));
    let limits = Limits::default();
    let big = gzip(&vec![b' '; 6 * 1024 * 1024]);
    assert_eq!(
        TlsReport::read(&big, &limits),
        Err(Refused::TooLarge("the unpacked report"))
    );
    let no_date = br#"{"date-range":{"start-datetime":"today","end-datetime":"2026-01-02T00:00:00Z"},"policies":[]}"#;
    assert_eq!(
        TlsReport::read(no_date, &limits),
        Err(Refused::Number("date-range"))
    );
}

#[test]
fn the_accounts_of_a_day_become_a_report() {
    let policy = |domain: &str, kind| AppliedPolicy {
        kind,
        domain: domain.into(),
        strings: vec!["version: STSv1".into()],
        mx: vec!["*.example.org".into()],
    };
    let mut ledger = Ledger::default();
    let sts = policy("example.org", PolicyType::Sts);
    for _ in 0..3 {
        ledger.count(&sts, Ok(()));
    }
    let failure = Failure {
        receiving_ip: Some("192.0.2.1".parse().unwrap()),
        mx: Some("mx.example.org".into()),
        ..Failure::of(FailureType::CertificateExpired)
    };
    ledger.count(&sts, Err(failure.clone()));
    ledger.count(&sts, Err(failure));
    ledger.count(&policy("elsewhere.example", PolicyType::Tlsa), Ok(()));
    let range = DateRange {
        start_datetime: Utc::from_secs(1_767_225_600),
        end_datetime: Utc::from_secs(1_767_311_999),
    };
    let report = TlsReport::of_ledger(
        &ledger,
        "example.org",
        "example.net",
        "tls@example.net",
        "1@example.net",
        range,
    );
    assert_eq!(report.sessions(), (3, 2));
    assert_eq!(
        report.to_json(),
        r#"{"organization-name":"example.net","date-range":{"start-datetime":"2026-01-01T00:00:00Z","end-datetime":"2026-01-01T23:59:59Z"},"contact-info":"tls@example.net","report-id":"1@example.net","policies":[{"policy":{"policy-type":"sts","policy-string":["version: STSv1"],"policy-domain":"example.org","mx-host":["*.example.org"]},"summary":{"total-successful-session-count":3,"total-failure-session-count":2},"failure-details":[{"result-type":"certificate-expired","receiving-mx-hostname":"mx.example.org","receiving-ip":"192.0.2.1","failed-session-count":2}]}]}"#
    );
    assert_eq!(
        report.file_name("example.net", "example.org"),
        "example.net!example.org!1767225600!1767311999"
    );
}

/// Any text without space around it, in which nothing is that XML forbids.
fn text() -> impl Strategy<Value = Box<str>> {
    "[^\\x00-\\x1f\\x7f-\\x9f\u{fffe}\u{ffff}]{0,12}".prop_map(|text| text.trim().into())
}

/// The same, and not empty: an empty word counts as none.
fn word() -> impl Strategy<Value = Box<str>> {
    "[a-z<&\"]{1,9}".prop_map(Into::into)
}

prop_compose! {
    fn record()(
        source_ip in text(), count in 0..=COUNT_MAX, disposition in option::of(word()), dkim in option::of(word()),
        spf in option::of("pass|fail|x"), reasons in prop::collection::vec((word(), option::of(word())), 0..3), header_from in text(),
        envelope_from in option::of(text()), envelope_to in option::of(text()),
        dkim_results in prop::collection::vec((text(), option::of(text()), option::of(word()), option::of(text())), 0..3),
        spf_results in prop::collection::vec((text(), option::of(text()), option::of("pass|softfail"), option::of(text())), 0..2),
    ) -> Record {
        Record {
            source_ip, count, header_from, envelope_from, envelope_to,
            disposition: disposition.map(|w: Box<str>| Disposition::parse(&w)),
            dkim: dkim.map(|w| Aligned::parse(&w)),
            spf: spf.map(|w| Aligned::parse(&w)),
            reasons: reasons.into_iter().map(|(kind, comment)| Reason { kind: Override::parse(&kind), comment }).collect(),
            dkim_results: dkim_results.into_iter().map(|(domain, selector, result, human_result)| DkimResult {
                domain, selector, result: result.map(|w| Outcome::parse(&w)), human_result,
            }).collect(),
            spf_results: spf_results.into_iter().map(|(domain, scope, result, human_result)| SpfResult {
                domain, scope, result: result.map(|w| Outcome::parse(&w)), human_result,
            }).collect(),
        }
    }
}

prop_compose! {
    fn report()(
        version in option::of(text()), org_name in text(), email in text(), contact in option::of(text()), report_id in text(),
        (begin, end) in (0..253_402_300_800_u64, 0..253_402_300_800_u64), errors in prop::collection::vec(text(), 0..3),
        generator in option::of(text()), domain in word(), p in option::of("none|reject|x"), np in option::of("quarantine"),
        adkim in option::of("r|s|z"), (fo, pct) in (option::of(text()), option::of(text())), records in prop::collection::vec(record(), 0..4),
    ) -> AggregateReport {
        AggregateReport {
            version,
            metadata: Metadata { org_name, email, extra_contact_info: contact, report_id, begin, end, errors, generator },
            policy: PolicyPublished {
                domain, p: p.map(|w| Policy::parse(&w)), np: np.map(|w| Policy::parse(&w)), adkim: adkim.map(|w| Alignment::parse(&w)),
                fo, pct, ..PolicyPublished::default()
            },
            records,
        }
    }
}

prop_compose! {
    fn details()(kind in "[a-z-]{0,20}", ip in option::of(".{0,9}"), helo in option::of(".{0,9}"), count in 0..=tls::COUNT_MAX) -> FailureDetails {
        FailureDetails {
            result_type: ResultType::parse(&kind),
            sending_mta_ip: ip.clone().map(Into::into),
            receiving_mx_hostname: None,
            receiving_mx_helo: helo.map(Into::into),
            receiving_ip: None,
            failed_session_count: count,
            additional_information: ip.map(Into::into),
            failure_reason_code: None,
        }
    }
}

proptest! {
    #[test]
    fn an_aggregate_report_that_was_written_reads_as_the_same(report in report()) {
        let xml = report.to_xml();
        let limits = Limits::default();
        prop_assert_eq!(AggregateReport::read(xml.as_bytes(), &limits), Ok(report.clone()), "{}", xml);
        prop_assert_eq!(AggregateReport::read(&gzip(xml.as_bytes()), &limits), Ok(report.clone()));
        prop_assert_eq!(AggregateReport::read(&zip(&[("r.xml", xml.as_bytes())]), &limits), Ok(report));
    }

    #[test]
    fn a_tls_report_that_was_written_reads_as_the_same(
        organization_name in ".{0,9}", report_id in ".{0,9}", at in 0..200_000_000_000_i64,
        strings in prop::collection::vec(".{0,9}", 0..3), failure_details in prop::collection::vec(details(), 0..3), ok in 0..=tls::COUNT_MAX,
    ) {
        let report = TlsReport {
            organization_name: organization_name.clone(),
            date_range: DateRange { start_datetime: Utc::from_secs(at), end_datetime: Utc::from_secs(at + 1) },
            contact_info: organization_name,
            report_id,
            policies: vec![tls::PolicyResult {
                policy: tls::Policy { policy_type: PolicyKind::Tlsa, policy_string: strings.clone(), policy_domain: "x".into(), mx_host: strings },
                summary: Summary { total_successful_session_count: ok, total_failure_session_count: 1 },
                failure_details,
            }],
        };
        let json = report.to_json();
        prop_assert_eq!(TlsReport::read(json.as_bytes(), &Limits::default()), Ok(report.clone()), "{}", json);
        prop_assert_eq!(TlsReport::read(&gzip(json.as_bytes()), &Limits::default()), Ok(report));
    }
}
