//! The accounts that TLS reports are made of: RFC 8460 section 4.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

/// What kind of policy was applied (RFC 8460 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyType {
    /// TLSA records.
    Tlsa,
    /// An MTA-STS policy.
    Sts,
    /// None.
    NoPolicyFound,
}

impl PolicyType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tlsa, Self::Sts, Self::NoPolicyFound];

    /// As reports spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tlsa => "tlsa",
            Self::Sts => "sts",
            Self::NoPolicyFound => "no-policy-found",
        }
    }
}

impl fmt::Display for PolicyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went wrong with a session (RFC 8460 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the registered names")]
pub enum FailureType {
    StarttlsNotSupported,
    CertificateHostMismatch,
    CertificateExpired,
    CertificateNotTrusted,
    ValidationFailure,
    TlsaInvalid,
    DnssecInvalid,
    DaneRequired,
    StsPolicyFetchError,
    StsPolicyInvalid,
    StsWebpkiInvalid,
}

impl FailureType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::StarttlsNotSupported,
        Self::CertificateHostMismatch,
        Self::CertificateExpired,
        Self::CertificateNotTrusted,
        Self::ValidationFailure,
        Self::TlsaInvalid,
        Self::DnssecInvalid,
        Self::DaneRequired,
        Self::StsPolicyFetchError,
        Self::StsPolicyInvalid,
        Self::StsWebpkiInvalid,
    ];

    /// As reports spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::DaneRequired => "dane-required",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }
}

impl fmt::Display for FailureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A policy that was applied, as reports quote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppliedPolicy {
    /// Its kind.
    pub kind: PolicyType,
    /// The recipients' domain for MTA-STS and without a policy, the TLSA base domain's for DANE.
    pub domain: String,
    /// The lines of an MTA-STS policy, or the TLSA records; empty without a policy.
    pub strings: Vec<String>,
    /// The patterns of an MTA-STS policy.
    pub mx: Vec<String>,
}

/// One way in which sessions fail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureType,
    /// Our address.
    pub sending_ip: Option<IpAddr>,
    /// The host, as the MX record has it.
    pub mx: Option<String>,
    /// The name in its greeting. Somebody else wrote it.
    pub helo: Option<String>,
    /// Its address.
    pub receiving_ip: Option<IpAddr>,
    /// More about it, for people.
    pub reason: Option<String>,
}

impl Failure {
    /// Only what went wrong.
    pub const fn of(kind: FailureType) -> Self {
        Self {
            kind,
            sending_ip: None,
            mx: None,
            helo: None,
            receiving_ip: None,
            reason: None,
        }
    }
}

/// The sessions under one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions that fulfilled it.
    pub successes: u64,
    /// Those that did not, by how.
    pub failures: BTreeMap<Failure, u64>,
}

impl Tally {
    /// Sessions that did not fulfil it.
    pub fn failed(&self) -> u64 {
        self.failures
            .values()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }
}

/// How much a [`Ledger`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Policies: 10,000. Sessions under others are only counted as lost.
    pub policies: usize,
    /// Ways to fail of one policy: 100. Others are counted by their kind alone.
    pub failures: usize,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self {
            policies: 10_000,
            failures: 100,
        }
    }
}

/// The sessions of a day, by policy and by how they went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    limits: LedgerLimits,
    tallies: BTreeMap<AppliedPolicy, Tally>,
    lost: u64,
}

impl Ledger {
    /// An empty one.
    pub fn new(limits: LedgerLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// One session under a policy.
    pub fn count(&mut self, policy: &AppliedPolicy, session: Result<(), Failure>) {
        if !self.tallies.contains_key(policy) && self.tallies.len() >= self.limits.policies {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        let tally = self.tallies.entry(policy.clone()).or_default();
        let Err(failure) = session else {
            tally.successes = tally.successes.saturating_add(1);
            return;
        };
        let is_full = tally.failures.len() >= self.limits.failures;
        let failure = match is_full && !tally.failures.contains_key(&failure) {
            true => Failure::of(failure.kind),
            false => failure,
        };
        let count = tally.failures.entry(failure).or_default();
        *count = count.saturating_add(1);
    }

    /// The accounts, in order of their policies.
    pub fn tallies(&self) -> impl Iterator<Item = (&AppliedPolicy, &Tally)> {
        self.tallies.iter()
    }

    /// Sessions that were not counted since there were too many policies.
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}
