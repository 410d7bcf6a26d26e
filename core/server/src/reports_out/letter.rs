//! The message that carries a report: RFC 8460 section 5.3, RFC 9990 section 3.5 (RFC 7489 7.2.1.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_address::{Domain, Path};
use mox_machine::{Seed, Utc};
use mox_mailbox::Reporting;
use mox_message::{date_rfc5322, message_id};
use mox_report::gzip;

use super::Issue;

/// Octets of a line of base64: RFC 2045 6.8.
const LINE: usize = 76;

/// A report about to be sent.
#[derive(Debug, Clone)]
pub struct Letter {
    kind: Reporting,
    /// The name of the file.
    file: String,
    /// The report, packed.
    octets: Vec<u8>,
}

impl Letter {
    /// With this XML or JSON.
    pub fn new(kind: Reporting, issue: &Issue<'_>, report: &str) -> Self {
        let (begin, end) = issue.period();
        let ending = match kind {
            Reporting::Dmarc => "xml.gz",
            Reporting::Tls => "json.gz",
        };
        Self {
            kind,
            file: format!(
                "{}!{}!{begin}!{end}.{ending}",
                issue.submitter, issue.domain
            ),
            octets: gzip(report.as_bytes()),
        }
    }

    /// Octets of the report as it is packed, which the limits of records are about.
    pub fn octets(&self) -> u64 {
        self.octets.len() as u64
    }

    /// The message, without signatures. Its identifier follows from the seed.
    pub fn compose(&self, issue: &Issue<'_>, to: &[Path], seed: &Seed, date: Utc) -> String {
        let Issue {
            submitter,
            from,
            domain,
            id,
            ..
        } = issue;
        let host = Domain::parse(submitter, false);
        let message_id = host.map_or_else(|_| format!("<{id}>"), |host| message_id(seed, &host));
        let boundary = format!("=_{}", boundary(seed));
        let to: Vec<String> = to.iter().map(|to| format!("<{to}>")).collect();
        let (kind, text, fields, part) = match self.kind {
            Reporting::Dmarc => (
                "multipart/mixed".to_owned(),
                format!("This is a DMARC aggregate report about {domain} from {submitter}."),
                String::new(),
                "application/gzip",
            ),
            Reporting::Tls => (
                "multipart/report; report-type=\"tlsrpt\"".to_owned(),
                format!("This is an aggregate TLS report about {domain} from {submitter}."),
                // It is to arrive although TLS may be what does not work (RFC 8460 5.3, RFC 8689 5).
                format!(
                    "TLS-Report-Domain: {domain}\r\nTLS-Report-Submitter: {submitter}\r\nTLS-Required: No\r\n"
                ),
                "application/tlsrpt+gzip",
            ),
        };
        let file = &self.file;
        let mut out = format!(
            "From: <{from}>\r\n\
             To: {to}\r\n\
             Date: {date}\r\n\
             Message-ID: {message_id}\r\n\
             Subject: Report Domain: {domain}\r\n Submitter: {submitter}\r\n Report-ID: <{id}>\r\n\
             {fields}\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: {kind};\r\n boundary=\"{boundary}\"\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             \r\n\
             {text}\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: {part}\r\n\
             Content-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n filename=\"{file}\"\r\n\
             \r\n",
            to = to.join(",\r\n "),
            date = date_rfc5322(date),
        );
        let encoded = STANDARD.encode(&self.octets);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, behind) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
            out.push_str(line);
            out.push_str("\r\n");
            rest = behind;
        }
        out.push_str(&format!("--{boundary}--\r\n"));
        out
    }
}

/// `=_` stands in no base64.
fn boundary(seed: &Seed) -> String {
    format!("{:016x}", seed.child("boundary", 0).rng().next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_report::aggregate::{Metadata, PolicyPublished};
    use mox_report::{AggregateReport, Limits};

    const ISSUE: Issue<'_> = Issue {
        submitter: "ours.example",
        from: "postmaster@ours.example",
        domain: "far.example",
        day: 20_454,
        id: "7@ours.example",
    };

    fn compose(kind: Reporting, report: &str) -> String {
        let letter = Letter::new(kind, &ISSUE, report);
        let to = ["r@far.example", "s@far.example"].map(|to| Path::parse(to, true).unwrap());
        letter.compose(
            &ISSUE,
            &to,
            &Seed::from_number(1),
            Utc::from_secs(1_767_322_800),
        )
    }

    #[test]
    fn an_aggregate_report_is_a_gzip_file_with_the_name_and_subject_that_are_prescribed() {
        let report = AggregateReport {
            metadata: Metadata {
                org_name: "ours.example".into(),
                report_id: "7@ours.example".into(),
                begin: 1_767_225_600,
                end: 1_767_311_999,
                ..Metadata::default()
            },
            policy: PolicyPublished {
                domain: "far.example".into(),
                p: Some(mox_report::aggregate::Policy::None),
                ..PolicyPublished::default()
            },
            ..AggregateReport::default()
        };
        let message = compose(Reporting::Dmarc, &report.to_xml());
        assert_eq!(
            AggregateReport::read(message.as_bytes(), &Limits::default()),
            Ok(report)
        );
        let (header, parts) = message.split_once("\r\n\r\n").unwrap();
        let (start, boundary) = header.split_once("boundary=\"").unwrap();
        assert_eq!(
            start,
            "From: <postmaster@ours.example>\r\nTo: <r@far.example>,\r\n <s@far.example>\r\n\
             Date: Fri, 02 Jan 2026 03:00:00 +0000\r\n\
             Message-ID: <"
                .to_owned()
                + start
                    .split_once("Message-ID: <")
                    .unwrap()
                    .1
                    .split('@')
                    .next()
                    .unwrap()
                + "@ours.example>\r\n\
             Subject: Report Domain: far.example\r\n Submitter: ours.example\r\n Report-ID: <7@ours.example>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n "
        );
        let boundary = boundary.strip_suffix('"').unwrap();
        assert!(parts.starts_with(&format!("--{boundary}\r\n")));
        assert!(parts.ends_with(&format!("\r\n--{boundary}--\r\n")));
        assert!(parts.contains(
            "Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n \
             filename=\"ours.example!far.example!1767225600!1767311999.xml.gz\"\r\n\r\nH4sI"
        ));
        assert!(message.lines().all(|line| line.len() <= 78));
    }

    #[test]
    fn a_tls_report_says_whose_it_is_and_that_it_needs_no_tls() {
        let report = crate::reports_out::tls_report(&ISSUE, &mox_mailbox::Observed::default());
        let message = compose(Reporting::Tls, &report.to_json());
        let read = mox_report::TlsReport::read(message.as_bytes(), &Limits::default());
        assert_eq!(read, Ok(report));
        for part in [
            "\r\nTLS-Report-Domain: far.example\r\nTLS-Report-Submitter: ours.example\r\nTLS-Required: No\r\n",
            "\r\nContent-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"",
            "\r\nContent-Type: application/tlsrpt+gzip\r\n",
            "\r\n filename=\"ours.example!far.example!1767225600!1767311999.json.gz\"\r\n",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
    }
}
