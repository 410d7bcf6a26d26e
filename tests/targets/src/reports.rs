//! Records, policies and reports about TLS and DMARC, and fields that claim to be ours.

use bytes::Bytes;
use mox_address::Domain;
use mox_report::{AggregateReport, Limits, TlsReport, gzip};
use mox_server::Scrub;
use mox_tls_policy::{PolicyResponse, StsPolicy, StsRecord, TlsrptRecord};

use crate::source::Source;

/// A record or policy that was read is written so that it reads as the same, without its defects.
pub fn tls_policies(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"v=STSv1",
        b"v=TLSRPTv1",
        b";",
        b" ",
        b"id=",
        b"a1",
        b"rua=",
        b"mailto:a@b",
        b"https://x/",
        b",",
        b"%2C",
        b"!",
        b"=",
        b"version: STSv1\n",
        b"mode: enforce\n",
        b"mode: none\n",
        b"max_age: 1\n",
        b"mx: *.a.b\n",
        b"mx: ",
        b"\r\n",
        b"ext:x\n",
        b"\xc3\xa9",
        b"*.",
        b"-",
    ];
    let text = Source::new(data).input(WORDS);
    if let Ok(record) = StsRecord::parse(&text) {
        let again = StsRecord::parse(record.to_string().as_bytes()).unwrap();
        assert_eq!((again.id, again.extensions), (record.id, record.extensions));
        assert!(again.defects.is_empty());
    }
    if let Ok(record) = TlsrptRecord::parse(&text) {
        let again = TlsrptRecord::parse(record.to_string().as_bytes()).unwrap();
        assert_eq!(
            (again.rua, again.extensions),
            (record.rua, record.extensions)
        );
        assert!(again.defects.is_empty());
    }
    if let Ok(policy) = StsPolicy::parse(&text) {
        let again = StsPolicy::parse(policy.to_string().as_bytes()).unwrap();
        assert_eq!((again.mode, again.max_age), (policy.mode, policy.max_age));
        assert_eq!((again.mx, again.extensions), (policy.mx, policy.extensions));
        assert!(again.defects.is_empty());
    }
}

/// An answer of a web server is the same policy however it is cut.
pub fn sts_answer(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 \r\n",
        b"Content-Type: text/plain\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"0\r\n",
        b"a\r\n",
        b"10",
        b";x\r\n",
        b"version: STSv1\n",
        b"mode: none\n",
        b"max_age: 1\n",
        b"\n",
    ];
    let mut source = Source::new(data);
    let pace = source.below(16) + 1;
    let answer = source.input(WORDS);
    let read = |size: usize| {
        let mut response = PolicyResponse::default();
        for piece in answer.chunks(size) {
            if response.push(piece)? {
                break;
            }
        }
        response.finish()
    };
    assert_eq!(read(pace), read(answer.len().max(1)));
}

/// A report that was read is written so that it reads as the same, packed or not.
pub fn aggregate_report(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"<feedback>",
        b"</feedback>",
        b"<report_metadata>",
        b"</report_metadata>",
        b"<date_range><begin>1</begin><end>2.0</end></date_range>",
        b"<policy_published><domain>a.b</domain><p>none</p></policy_published>",
        b"<record>",
        b"</record>",
        b"<row><count>",
        b"7",
        b"</count></row>",
        b"<policy_evaluated><dkim>pass</dkim>",
        b"</policy_evaluated>",
        b"<auth_results><dkim><domain>",
        b"</domain></dkim></auth_results>",
        b"<a/>",
        b"<",
        b">",
        b"&amp;",
        b"&#x41;",
        b"&x;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
        b"<?x ?>",
        b"<!DOCTYPE x>",
        b"\xef\xbb\xbf",
        b" ",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"Content-Type: text/xml\r\n\r\n",
        b"<identifiers><header_from>a.b</header_from></identifiers>",
    ];
    let octets = Source::new(data).input(WORDS);
    let limits = Limits::default();
    if let Ok(report) = AggregateReport::read(&octets, &limits) {
        let xml = report.to_xml();
        assert_eq!(
            AggregateReport::read(xml.as_bytes(), &limits).as_ref(),
            Ok(&report)
        );
        assert_eq!(
            AggregateReport::read(&gzip(xml.as_bytes()), &limits),
            Ok(report)
        );
    }
    // The same when it was packed.
    let packed = gzip(&octets);
    let _ = AggregateReport::read(&packed, &limits);
    let _ = AggregateReport::read(
        packed.get(..data.len() % (packed.len() + 1)).unwrap(),
        &limits,
    );
}

/// The same for TLS reports.
pub fn tls_report(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"{\"date-range\":{\"start-datetime\":\"2026-01-02T03:04:05\",\"end-datetime\":\"2026-01-02T03:04:05+01:00\"},",
        b"\"policies\":[", b"]}", b"{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":", b"[\"a\"]", b"null", b"},",
        b"\"summary\":{\"total-successful-session-count\":1,\"total-failure-session-count\":", b"2", b"-1", b"}}",
        b",\"failure-details\":[{\"result-type\":\"x\",\"failed-session-count\":3}]}", b",", b"\"", b"\\", b"{", b"[",
        b"\"report-id\":\"r\",", b"\x1f\x8b", b"Content-Type: application/tlsrpt+json\r\n\r\n", b" ",
    ];
    let octets = Source::new(data).input(WORDS);
    let limits = Limits::default();
    if let Ok(report) = TlsReport::read(&octets, &limits) {
        let json = report.to_json();
        assert_eq!(
            TlsReport::read(json.as_bytes(), &limits).as_ref(),
            Ok(&report)
        );
        assert_eq!(TlsReport::read(&gzip(json.as_bytes()), &limits), Ok(report));
    }
}

/// What is left of a message does not depend on how it is cut, has nothing that was not there, and has no field of ours.
pub fn scrub(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"Authentication-Results",
        b":",
        b" ",
        b"mx.example.org",
        b"mx.example.net",
        b";",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n ",
        b"(",
        b")",
        b"\"",
        b"\\",
        b"spf=pass",
        b"Subject: x",
        b"authentication-results: MX.example.org.",
        b"\r\n\r\n",
        b"1",
        b"\xc3\xa9",
    ];
    let mut source = Source::new(data);
    let pace = source.below(12) + 1;
    let message = Bytes::from(source.input(WORDS));
    let hostname = Domain::parse("mx.example.org", false).unwrap();
    let left = |message: &Bytes, size: usize| {
        let mut scrub = Scrub::new(&hostname);
        let mut out = Vec::new();
        for from in (0..message.len()).step_by(size) {
            scrub.push(
                &message.slice(from..message.len().min(from + size)),
                &mut out,
            );
        }
        scrub.finish(&mut out);
        (out.concat(), scrub.removed())
    };
    let (whole, removed) = left(&message, message.len().max(1));
    assert_eq!(left(&message, pace), (whole.clone(), removed));
    assert!(whole.len() <= message.len());
    assert_eq!(removed == 0, whole == message);
    assert_eq!(left(&Bytes::from(whole.clone()), 7), (whole, 0));
}
