//! DMARC aggregate reports: RFC 9990 section 3, and RFC 7489 appendix C.

mod read;
mod write;

use std::cell::Cell;
use std::net::IpAddr;

use serde::Serialize;

use crate::message::{self, Kind};
use crate::word::words;
use crate::{Limits, Refused};

/// What one receiver saw of one domain's mail in a period.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AggregateReport {
    /// The version of the format; `None` when it is not said.
    pub version: Option<Box<str>>,
    /// Whose report it is.
    pub metadata: Metadata,
    /// The policy that was found.
    pub policy: PolicyPublished,
    /// What was seen, by source and result.
    pub records: Vec<Record>,
}

/// Whose report it is, and of what time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The receiver's organisation.
    pub org_name: Box<str>,
    /// Its address.
    pub email: Box<str>,
    /// More about how to reach it.
    pub extra_contact_info: Option<Box<str>>,
    /// What tells the report from its others.
    pub report_id: Box<str>,
    /// Seconds since 1970 when the period begins.
    pub begin: u64,
    /// Seconds since 1970 when it ends.
    pub end: u64,
    /// What went wrong while the report was made.
    pub errors: Vec<Box<str>>,
    /// The program that made it.
    pub generator: Option<Box<str>>,
}

words! {
    /// p=, sp= and np=.
    Policy {
        /// none
        None = "none",
        /// quarantine
        Quarantine = "quarantine",
        /// reject
        Reject = "reject",
    }
}

words! {
    /// adkim= and aspf=.
    Alignment {
        /// r
        Relaxed = "r",
        /// s
        Strict = "s",
    }
}

words! {
    /// What was done with messages.
    Disposition {
        /// Nothing.
        None = "none",
        /// Nothing, since they passed.
        Pass = "pass",
        /// They were put aside.
        Quarantine = "quarantine",
        /// They were refused.
        Reject = "reject",
    }
}

words! {
    /// Whether a check passed for an aligned domain.
    Aligned {
        /// It did.
        Pass = "pass",
        /// It did not.
        Fail = "fail",
    }
}

words! {
    /// What a check of SPF or DKIM came to.
    Outcome {
        /// none
        None = "none",
        /// pass
        Pass = "pass",
        /// fail
        Fail = "fail",
        /// softfail
        SoftFail = "softfail",
        /// policy
        Policy = "policy",
        /// neutral
        Neutral = "neutral",
        /// temperror
        TempError = "temperror",
        /// permerror
        PermError = "permerror",
    }
}

words! {
    /// Why the policy was not followed.
    Override {
        /// local_policy
        LocalPolicy = "local_policy",
        /// mailing_list
        MailingList = "mailing_list",
        /// other
        Unspecified = "other",
        /// policy_test_mode
        PolicyTestMode = "policy_test_mode",
        /// trusted_forwarder
        TrustedForwarder = "trusted_forwarder",
        /// forwarded, of RFC 7489.
        Forwarded = "forwarded",
        /// sampled_out, of RFC 7489.
        SampledOut = "sampled_out",
    }
}

/// The policy that the receiver found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PolicyPublished {
    /// Whose policy.
    pub domain: Box<str>,
    /// For the domain.
    pub p: Option<Policy>,
    /// For subdomains.
    pub sp: Option<Policy>,
    /// For subdomains that do not exist.
    pub np: Option<Policy>,
    /// How near DKIM's domain has to be.
    pub adkim: Option<Alignment>,
    /// How near SPF's domain has to be.
    pub aspf: Option<Alignment>,
    /// How the policy was found: `psl` or `treewalk`.
    pub discovery_method: Option<Box<str>>,
    /// Which failures are reported.
    pub fo: Option<Box<str>>,
    /// `y` when the policy is to be applied one step milder.
    pub testing: Option<Box<str>>,
    /// Percent of messages it was applied to, of RFC 7489.
    pub pct: Option<Box<str>>,
}

/// Messages that came from one address and had the same results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Where they came from, as written.
    pub source_ip: Box<str>,
    /// How many they were.
    pub count: u64,
    /// What was done with them.
    pub disposition: Option<Disposition>,
    /// Whether DKIM passed for an aligned domain.
    pub dkim: Option<Aligned>,
    /// Whether SPF passed for an aligned domain.
    pub spf: Option<Aligned>,
    /// Why the policy was not followed.
    pub reasons: Vec<Reason>,
    /// The domain in From.
    pub header_from: Box<str>,
    /// The domain in MAIL FROM.
    pub envelope_from: Option<Box<str>>,
    /// The domain in RCPT TO.
    pub envelope_to: Option<Box<str>>,
    /// Each signature.
    pub dkim_results: Vec<DkimResult>,
    /// SPF; those who send several are borne with.
    pub spf_results: Vec<SpfResult>,
}

/// Why the policy was not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The kind of reason.
    pub kind: Override,
    /// More about it.
    pub comment: Option<Box<str>>,
}

/// What one signature came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DkimResult {
    /// d=
    pub domain: Box<str>,
    /// s=
    pub selector: Option<Box<str>>,
    /// The outcome.
    pub result: Option<Outcome>,
    /// More about it.
    pub human_result: Option<Box<str>>,
}

/// What SPF came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpfResult {
    /// The domain that was checked.
    pub domain: Box<str>,
    /// `mfrom`, or `helo` of RFC 7489.
    pub scope: Option<Box<str>>,
    /// The outcome.
    pub result: Option<Outcome>,
    /// More about it.
    pub human_result: Option<Box<str>>,
}

/// Messages of one record at most: more in a day is not true.
pub const COUNT_MAX: u64 = u32::MAX as u64;
/// The last second of the year 9999.
const DATE_MAX: u64 = 253_402_300_799;

impl AggregateReport {
    /// Reads a report: the XML, alone or packed with gzip or zip, or a whole message that has one in it.
    ///
    /// # Errors
    /// When there is none, or when it is over a limit, damaged, or not what anybody would send in good faith.
    pub fn read(octets: &[u8], limits: &Limits) -> Result<Self, Refused> {
        let (left, tags) = (Cell::new(limits.xml), Cell::new(limits.tags));
        message::read(octets, Kind::Aggregate, limits, |part| {
            read::read(part, &left, &tags, limits)
        })
    }

    /// The report as XML (RFC 9990 appendix A). What may not stand in XML is replaced.
    pub fn to_xml(&self) -> String {
        write::write(self)
    }

    /// The name of its file, without an ending (RFC 9990 3.5.1): receiver, domain, and the period.
    pub fn file_name(&self, receiver: &str) -> String {
        let Metadata { begin, end, .. } = &self.metadata;
        format!("{receiver}!{}!{begin}!{end}", self.policy.domain)
    }

    /// The messages it tells of.
    pub fn messages(&self) -> u64 {
        self.records
            .iter()
            .fold(0, |sum, record| sum.saturating_add(record.count))
    }
}

impl Record {
    /// Where the messages came from, if it can be read.
    pub fn ip(&self) -> Option<IpAddr> {
        self.source_ip.parse().ok()
    }
}
