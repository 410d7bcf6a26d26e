//! TLS reports: RFC 8460 section 4.

use std::cell::Cell;
use std::fmt;

use mox_machine::Utc;
use mox_tls_policy::{FailureType, Ledger, PolicyType};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::message::{self, Kind};
use crate::unpack::whole;
use crate::word::words;
use crate::{Limits, Refused, date};

/// How sessions of one sender with the servers of a domain went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TlsReport {
    /// The sender's organisation.
    #[serde(default, deserialize_with = "text")]
    pub organization_name: String,
    /// Of what time.
    pub date_range: DateRange,
    /// How to reach it.
    #[serde(default, deserialize_with = "text")]
    pub contact_info: String,
    /// What tells the report from its others.
    #[serde(default, deserialize_with = "text")]
    pub report_id: String,
    /// Each policy that was applied.
    #[serde(deserialize_with = "list")]
    pub policies: Vec<PolicyResult>,
}

/// A period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DateRange {
    /// When it begins.
    #[serde(with = "moment")]
    pub start_datetime: Utc,
    /// When it ends.
    #[serde(with = "moment")]
    pub end_datetime: Utc,
}

/// One policy and the sessions under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyResult {
    /// The policy.
    pub policy: Policy,
    /// How many sessions there were.
    pub summary: Summary,
    /// How sessions failed.
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub failure_details: Vec<FailureDetails>,
}

/// A policy that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// Its kind.
    pub policy_type: PolicyKind,
    /// The lines of an MTA-STS policy, or TLSA records.
    #[serde(
        default,
        deserialize_with = "texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub policy_string: Vec<String>,
    /// Whose it is.
    #[serde(default, deserialize_with = "text")]
    pub policy_domain: String,
    /// The patterns of an MTA-STS policy.
    #[serde(
        default,
        deserialize_with = "texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mx_host: Vec<String>,
}

words! {
    /// The kind of a policy.
    PolicyKind {
        /// TLSA records.
        Tlsa = "tlsa",
        /// An MTA-STS policy.
        Sts = "sts",
        /// None.
        NoPolicyFound = "no-policy-found",
    }
}

words! {
    /// What went wrong with sessions.
    ResultType {
        /// starttls-not-supported
        StarttlsNotSupported = "starttls-not-supported",
        /// certificate-host-mismatch
        CertificateHostMismatch = "certificate-host-mismatch",
        /// certificate-expired
        CertificateExpired = "certificate-expired",
        /// certificate-not-trusted
        CertificateNotTrusted = "certificate-not-trusted",
        /// validation-failure
        ValidationFailure = "validation-failure",
        /// tlsa-invalid
        TlsaInvalid = "tlsa-invalid",
        /// dnssec-invalid
        DnssecInvalid = "dnssec-invalid",
        /// dane-required
        DaneRequired = "dane-required",
        /// sts-policy-fetch-error
        StsPolicyFetchError = "sts-policy-fetch-error",
        /// sts-policy-invalid
        StsPolicyInvalid = "sts-policy-invalid",
        /// sts-webpki-invalid
        StsWebpkiInvalid = "sts-webpki-invalid",
    }
}

impl From<FailureType> for ResultType {
    fn from(kind: FailureType) -> Self {
        Self::parse(kind.name())
    }
}

impl From<PolicyType> for PolicyKind {
    fn from(kind: PolicyType) -> Self {
        Self::parse(kind.name())
    }
}

/// How many sessions there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Those that fulfilled the policy.
    #[serde(deserialize_with = "count")]
    pub total_successful_session_count: u64,
    /// Those that did not.
    #[serde(deserialize_with = "count")]
    pub total_failure_session_count: u64,
}

/// Sessions that failed in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailureDetails {
    /// What went wrong.
    pub result_type: ResultType,
    /// The sender's address, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<Box<str>>,
    /// The host, as the MX record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<Box<str>>,
    /// The name in its greeting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_helo: Option<Box<str>>,
    /// Its address, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<Box<str>>,
    /// How many there were.
    #[serde(deserialize_with = "count")]
    pub failed_session_count: u64,
    /// Where there is more about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<Box<str>>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason_code: Option<Box<str>>,
}

/// Sessions that one number may tell of: more in a day are not true.
pub const COUNT_MAX: u64 = 1_000_000_000_000;

impl TlsReport {
    /// Reads a report: the JSON, alone or packed with gzip, or a whole message that has one in it. What stands behind the
    /// JSON is passed over.
    ///
    /// # Errors
    /// When there is none, or when it is over a limit, damaged, or not what anybody would send in good faith.
    pub fn read(octets: &[u8], limits: &Limits) -> Result<Self, Refused> {
        let left = Cell::new(limits.json);
        message::read(octets, Kind::Tls, limits, |part| {
            let json = whole(part, &left, limits)?;
            let json = json.strip_prefix(crate::unpack::BOM).unwrap_or(&json);
            if structure(json) > limits.values {
                return Err(Refused::TooLarge("the number of its values"));
            }
            let mut reader = serde_json::Deserializer::from_slice(json);
            Self::deserialize(&mut reader).map_err(refused)
        })
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Of the accounts of a period, for each policy of a domain.
    pub fn of_ledger(
        ledger: &Ledger,
        domain: &str,
        organization_name: &str,
        contact_info: &str,
        report_id: &str,
        date_range: DateRange,
    ) -> Self {
        let policies = ledger
            .tallies()
            .filter(|(policy, _)| policy.domain == domain)
            .map(|(policy, tally)| PolicyResult {
                policy: Policy {
                    policy_type: policy.kind.into(),
                    policy_string: policy.strings.clone(),
                    policy_domain: policy.domain.clone(),
                    mx_host: policy.mx.clone(),
                },
                summary: Summary {
                    total_successful_session_count: tally.successes,
                    total_failure_session_count: tally.failed(),
                },
                failure_details: tally
                    .failures
                    .iter()
                    .map(|(failure, count)| FailureDetails {
                        result_type: failure.kind.into(),
                        sending_mta_ip: failure.sending_ip.map(|ip| ip.to_string().into()),
                        receiving_mx_hostname: failure.mx.as_deref().map(Into::into),
                        receiving_mx_helo: failure.helo.as_deref().map(Into::into),
                        receiving_ip: failure.receiving_ip.map(|ip| ip.to_string().into()),
                        failed_session_count: *count,
                        additional_information: None,
                        failure_reason_code: failure.reason.as_deref().map(Into::into),
                    })
                    .collect(),
            });
        Self {
            organization_name: organization_name.into(),
            date_range,
            contact_info: contact_info.into(),
            report_id: report_id.into(),
            policies: policies.collect(),
        }
    }

    /// The name of its file, without an ending (RFC 8460 5.1): sender, domain, and the period.
    pub fn file_name(&self, sender: &str, domain: &str) -> String {
        let DateRange {
            start_datetime,
            end_datetime,
        } = self.date_range;
        format!(
            "{sender}!{domain}!{}!{}",
            start_datetime.secs(),
            end_datetime.secs()
        )
    }

    /// The sessions it tells of: those that fulfilled their policies and those that did not.
    pub fn sessions(&self) -> (u64, u64) {
        self.policies.iter().fold((0, 0), |(ok, failed), policy| {
            let summary = &policy.summary;
            (
                ok.saturating_add(summary.total_successful_session_count),
                failed.saturating_add(summary.total_failure_session_count),
            )
        })
    }
}

/// Braces, brackets and commas outside of strings: known before anything is made of them.
fn structure(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0_usize, false, false);
    for octet in json {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' | b',' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

fn refused(error: serde_json::Error) -> Refused {
    let text = error.to_string();
    if text.starts_with(COUNT_WRONG) {
        return Refused::Number("count of sessions");
    }
    if text.starts_with(DATE_WRONG) {
        return Refused::Number("date-range");
    }
    Refused::Syntax(text)
}

const COUNT_WRONG: &str = "not a count of sessions";
const DATE_WRONG: &str = "not a date";

/// A whole number that may be true; some write `.0` behind it.
fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    struct Count;
    impl Visitor<'_> for Count {
        type Value = u64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a count of sessions")
        }
        fn visit_u64<E: Error>(self, count: u64) -> Result<u64, E> {
            match count <= COUNT_MAX {
                true => Ok(count),
                false => Err(E::custom(COUNT_WRONG)),
            }
        }
        fn visit_i64<E: Error>(self, count: i64) -> Result<u64, E> {
            let count = u64::try_from(count).map_err(|_| E::custom(COUNT_WRONG))?;
            self.visit_u64(count)
        }
        fn visit_f64<E: Error>(self, count: f64) -> Result<u64, E> {
            match count.fract() == 0.0 && (0.0..=COUNT_MAX as f64).contains(&count) {
                true => Ok(count as u64),
                false => Err(E::custom(COUNT_WRONG)),
            }
        }
    }
    from.deserialize_any(Count)
}

/// A text; null and what is left out are an empty one.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A list; null and what is left out are an empty one.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A list of texts; one text alone is one of one.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = from.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }
    from.deserialize_any(Texts)
}

/// A moment in RFC 3339.
mod moment {
    use super::{DATE_WRONG, Deserialize, Deserializer, Error, Serializer, Utc, date};

    pub(super) fn serialize<S: Serializer>(utc: &Utc, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(utc)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Utc, D::Error> {
        let text = String::deserialize(from)?;
        date::parse(&text).ok_or_else(|| D::Error::custom(DATE_WRONG))
    }
}
