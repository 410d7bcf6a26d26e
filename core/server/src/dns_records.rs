//! The records that a mail domain of ours has in DNS, and whether they are there.

use std::fmt;

use mox_address::Domain;
use mox_dkim::KeyRecord;
use mox_dns::{Answer, Failure, Question, Record, RecordType};

use crate::ReportAddresses;
use crate::config::Static;
use crate::reports::ReportKind;

/// Octets of one string of a TXT record.
const STRING_MAX: usize = 255;

/// A record to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// Its name, in A-labels, without a final dot.
    pub name: String,
    /// What it says.
    pub data: DnsData,
    /// Whether mail goes well without it.
    pub need: Need,
    /// What it is for.
    pub purpose: &'static str,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsData {
    /// The host that takes the domain's mail.
    Mx(Domain),
    /// Text, its strings joined. ASCII, without quotes or backslashes.
    Txt(String),
    /// Port and host of a service; `None` says that it is not offered (RFC 6186 3.4).
    Srv(Option<(u16, Domain)>),
}

/// How much a record is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Mail does not arrive, or is not taken by others, without it.
    Required,
    /// Better with it.
    Recommended,
    /// For convenience.
    Optional,
}

impl Need {
    /// As a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Recommended => "recommended",
            Self::Optional => "optional",
        }
    }
}

impl DnsData {
    /// As zone files write the type.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Mx(_) => "MX",
            Self::Txt(_) => "TXT",
            Self::Srv(_) => "SRV",
        }
    }
}

/// As in a zone file: text in quotes, cut into strings.
impl fmt::Display for DnsData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mx(host) => write!(f, "10 {host}."),
            Self::Txt(text) => {
                for (n, string) in text.as_bytes().chunks(STRING_MAX).enumerate() {
                    let blank = if n > 0 { " " } else { "" };
                    write!(f, "{blank}\"{}\"", String::from_utf8_lossy(string))?;
                }
                Ok(())
            }
            Self::Srv(Some((port, host))) => write!(f, "0 1 {port} {host}."),
            Self::Srv(None) => f.write_str("0 0 0 ."),
        }
    }
}

/// One line of a zone file.
impl fmt::Display for DnsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, data, .. } = self;
        write!(f, "{name}. {} {data}", data.kind())
    }
}

/// What to publish for a domain: what follows from the configuration, the most needed first. `keys` are the domain's selectors
/// with their public keys; `reports` says where reports about it go.
pub fn dns_records(
    fixed: &Static,
    domain: &Domain,
    keys: &[(String, KeyRecord)],
    reports: &ReportAddresses,
) -> Vec<DnsRecord> {
    let record = |name: String, data, need, purpose| DnsRecord {
        name,
        data,
        need,
        purpose,
    };
    let (host, at) = (&fixed.hostname, domain.as_str());
    let text = |text: &str| DnsData::Txt(text.to_owned());
    let (dmarc, tls) = (
        reports.local(ReportKind::Dmarc),
        reports.local(ReportKind::Tls),
    );
    let mut records = vec![
        record(
            at.into(),
            DnsData::Mx(host.clone()),
            Need::Required,
            "where mail for the domain goes",
        ),
        record(
            at.into(),
            text("v=spf1 mx ~all"),
            Need::Required,
            "SPF: the hosts that take its mail may send it too",
        ),
    ];
    if host != domain {
        records.push(record(
            host.to_string(),
            text("v=spf1 a -all"),
            Need::Required,
            "SPF of the host itself, which bounces come from",
        ));
    }
    for (selector, key) in keys {
        records.push(record(
            format!("{selector}._domainkey.{at}"),
            DnsData::Txt(key.to_string()),
            Need::Required,
            "DKIM: the public key that proves signatures",
        ));
    }
    records.push(record(
        format!("_dmarc.{at}"),
        DnsData::Txt(format!("v=DMARC1; p=reject; rua=mailto:{dmarc}@{at}")),
        Need::Required,
        "DMARC: others refuse what only claims to come from the domain, and report what they saw",
    ));
    records.push(record(
        format!("_smtp._tls.{at}"),
        DnsData::Txt(format!("v=TLSRPTv1; rua=mailto:{tls}@{at}")),
        Need::Recommended,
        "TLSRPT: others report failures of TLS on the way here",
    ));
    for (label, service, usual) in [
        ("_submissions", "submissions", 465),
        ("_submission", "submission", 587),
        ("_imaps", "imaps", 993),
        ("_imap", "imap", 143),
        ("_pop3s", "pop3s", 995),
        ("_pop3", "pop3", 110),
    ] {
        let all = fixed.listeners.values().flat_map(|l| l.services());
        let ports = all.filter(|(name, ..)| *name == service);
        let port = ports.map(|(_, port, _)| port).min_by_key(|p| *p != usual);
        let purpose = match port {
            Some(_) => "where mail programs find this service",
            None => "tells mail programs that there is no such service",
        };
        let data = DnsData::Srv(port.map(|port| (port, host.clone())));
        let name = format!("{label}._tcp.{at}");
        records.push(record(name, data, Need::Optional, purpose));
    }
    records
}

/// Whether a record is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is there, or one that says the same.
    There,
    /// It is not there.
    Missing,
    /// There is another one, which may be meant so; what was found.
    Differs(String),
    /// There is one, and it is wrong; why.
    Wrong(String),
    /// The name servers gave no answer.
    Unknown(Failure),
}

impl DnsRecord {
    /// What to ask name servers; `None` when it is not looked up.
    pub fn question(&self) -> Option<Question> {
        let kind = match &self.data {
            DnsData::Mx(_) => RecordType::Mx,
            DnsData::Txt(_) => RecordType::Txt,
            DnsData::Srv(_) => return None,
        };
        Question::new(&self.name, kind).ok()
    }

    /// What an answer to the question says of it.
    pub fn presence(&self, answer: &Answer) -> Presence {
        match answer.why() {
            None | Some(Failure::NoDomain | Failure::NoData) => {}
            Some(failure) => return Presence::Unknown(failure),
        }
        match &self.data {
            DnsData::Mx(host) => mx(host, answer),
            DnsData::Txt(text) => txt(text, answer),
            DnsData::Srv(_) => Presence::There,
        }
    }
}

fn mx(host: &Domain, answer: &Answer) -> Presence {
    let exchanges = answer.all().iter().filter_map(|record| match record {
        Record::Mx { exchange, .. } => Some(exchange.to_string()),
        _ => None,
    });
    let exchanges: Vec<String> = exchanges.collect();
    let is_ours = |name: &String| {
        name.trim_end_matches('.')
            .eq_ignore_ascii_case(host.as_str())
    };
    match exchanges.as_slice() {
        [] => Presence::Missing,
        all if all.iter().all(is_ours) => Presence::There,
        all if all.iter().any(is_ours) => Presence::Differs(all.join(" ")),
        all => Presence::Wrong(format!("mail goes to {}", all.join(" "))),
    }
}

fn txt(wanted: &str, answer: &Answer) -> Presence {
    // What kind of text it is stands in front: v=spf1, v=DKIM1;, v=DMARC1;, v=TLSRPTv1;.
    let kind = wanted.split([' ', ';']).next().unwrap_or_default();
    let is_kind = |text: &String| text.split([' ', ';']).next() == Some(kind);
    let texts = answer.all().iter().filter_map(|record| match record {
        Record::Txt(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    let is_key = kind == "v=DKIM1";
    // A key record may begin with any tag.
    let found: Vec<String> = texts.filter(|text| is_key || is_kind(text)).collect();
    match found.as_slice() {
        [] => Presence::Missing,
        [one] if same(one, wanted) => Presence::There,
        [one] if is_key => match (
            KeyRecord::parse(one.as_bytes()),
            KeyRecord::parse(wanted.as_bytes()),
        ) {
            (Err(why), _) => Presence::Wrong(why.into()),
            (Ok(there), Ok(ours)) if there.key == ours.key => Presence::Differs(one.clone()),
            _ => Presence::Wrong("it is another key".into()),
        },
        [one] => Presence::Differs(one.clone()),
        all => Presence::Wrong(format!(
            "there are {} of them, and one may be there",
            all.len()
        )),
    }
}

/// White space between tags and terms aside.
fn same(a: &str, b: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let text = text.trim_end_matches([';', ' ']);
        let parts = text.split(';').map(|part| part.trim().to_owned());
        parts.collect()
    };
    words(a) == words(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_dkim::{Ed25519Key, PublicKey, Sign};

    const MOX: &str = r#"(
        data_dir: "../data",
        hostname: "mx.example.org",
        listeners: {
            "public": (ips: ["0.0.0.0"], smtp: (), submissions: (), imaps: (port: 1993)),
        },
        postmaster: (account: "jo"),
    )"#;

    fn key() -> KeyRecord {
        KeyRecord::of_key(Ed25519Key::from_seed(&[7; 32]).unwrap().public_key())
    }

    fn records() -> Vec<DnsRecord> {
        let fixed = Static::parse("mox.ron", MOX).unwrap();
        let domain = Domain::parse("example.org", false).unwrap();
        dns_records(
            &fixed,
            &domain,
            &[("2026a".into(), key())],
            &ReportAddresses::default(),
        )
    }

    #[test]
    fn what_is_published_follows_from_the_configuration() {
        let lines: Vec<String> = records().iter().map(DnsRecord::to_string).collect();
        assert_eq!(
            lines,
            [
                "example.org. MX 10 mx.example.org.",
                "example.org. TXT \"v=spf1 mx ~all\"",
                "mx.example.org. TXT \"v=spf1 a -all\"",
                &format!("2026a._domainkey.example.org. TXT \"{}\"", key()),
                "_dmarc.example.org. TXT \"v=DMARC1; p=reject; rua=mailto:postmaster@example.org\"",
                "_smtp._tls.example.org. TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"",
                "_submissions._tcp.example.org. SRV 0 1 465 mx.example.org.",
                "_submission._tcp.example.org. SRV 0 0 0 .",
                "_imaps._tcp.example.org. SRV 0 1 1993 mx.example.org.",
                "_imap._tcp.example.org. SRV 0 0 0 .",
                "_pop3s._tcp.example.org. SRV 0 0 0 .",
                "_pop3._tcp.example.org. SRV 0 0 0 .",
            ]
        );
    }

    #[test]
    fn a_long_text_is_cut_into_strings() {
        let text = DnsData::Txt("x".repeat(600)).to_string();
        let strings: Vec<&str> = text.split(' ').collect();
        let lengths: Vec<usize> = strings.iter().map(|s| s.trim_matches('"').len()).collect();
        assert_eq!(lengths, [255, 255, 90]);
        assert!(
            strings
                .iter()
                .all(|s| s.starts_with('"') && s.ends_with('"'))
        );
    }

    #[test]
    fn a_record_that_is_not_there_or_not_ours_is_told_from_one_that_is() {
        let presence = |nth: usize, texts: &[&str]| {
            let texts: Vec<Record> = (texts.iter())
                .map(|text| Record::Txt(text.as_bytes().to_vec().into()))
                .collect();
            records()[nth].presence(&Answer::records(texts, 300))
        };
        let (spf, dkim, dmarc) = (1, 3, 4);
        assert_eq!(presence(spf, &["other", "v=spf1 mx ~all"]), Presence::There);
        assert_eq!(presence(spf, &["v=spf10 x"]), Presence::Missing);
        assert_eq!(
            presence(spf, &["v=spf1 mx include:x.example -all"]),
            Presence::Differs("v=spf1 mx include:x.example -all".into())
        );
        assert!(matches!(
            presence(spf, &["v=spf1 mx ~all", "v=spf1 -all"]),
            Presence::Wrong(_)
        ));
        let text = key().to_string();
        assert_eq!(
            presence(dkim, &[&text.replace("; ", " ;")]),
            Presence::There
        );
        let bare = format!("k=ed25519; {}", &text[text.find("p=").unwrap()..]);
        assert_eq!(presence(dkim, &[&bare]), Presence::Differs(bare.clone()));
        let other = KeyRecord::of_key(PublicKey::Ed25519([1; 32])).to_string();
        assert_eq!(
            presence(dkim, &[&other]),
            Presence::Wrong("it is another key".into())
        );
        assert_eq!(
            presence(
                dmarc,
                &["v=DMARC1;p=reject;rua=mailto:postmaster@example.org;"]
            ),
            Presence::There
        );
        let exchange = |name: &str| {
            let exchange = mox_dns::Name::parse(name).unwrap();
            let record = Record::Mx {
                preference: 5,
                exchange,
            };
            records()[0].presence(&Answer::records(vec![record], 300))
        };
        assert_eq!(exchange("MX.example.org"), Presence::There);
        assert!(matches!(exchange("mail.example.net"), Presence::Wrong(_)));
    }
}
