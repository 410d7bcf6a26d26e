//! What a signature came to.

use core::fmt;

use crate::Claims;

/// The outcome for one signature (RFC 8601 2.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// There is no signature.
    None,
    /// The message is as the domain signed it.
    Pass,
    /// It is not.
    Fail,
    /// It is, but our [`Policy`] does not take such a signature.
    Policy,
    /// It cannot be said.
    Neutral,
    /// DNS did not tell; it may later.
    TempError,
    /// The signature or its key cannot be used.
    PermError,
}

impl Verdict {
    /// As header fields spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One signature and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The outcome.
    pub verdict: Verdict,
    /// What the signature says of itself, as far as it could be read.
    pub claims: Claims,
    /// What is wrong.
    pub problem: Option<&'static str>,
    /// Bits of an RSA key.
    pub key_bits: Option<usize>,
    /// An RSA key of fewer than 2,048 bits.
    pub weak: bool,
    /// The domain says that it is trying DKIM out (t=y).
    pub testing: bool,
    /// Octets of the body behind those that l= covers.
    pub unsigned_octets: u64,
    /// Seconds for which the key may be remembered; 0 when no key was needed.
    pub ttl: u32,
    /// The key was vouched for by DNSSEC.
    pub authentic: bool,
}

impl Report {
    /// The domain that vouches for the whole message: only for a pass that leaves none of the body unsigned, since anybody could
    /// have added to it (RFC 6376 8.2).
    pub fn passing_domain(&self) -> Option<&str> {
        self.claims
            .domain
            .as_deref()
            .filter(|_| self.verdict == Verdict::Pass && self.unsigned_octets == 0)
    }
}

/// What we take beyond what the RFC demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Bits of an RSA key at least: 1,024 (RFC 8301 3.2). Fewer is never verified.
    pub rsa_bits: usize,
    /// Bits of an RSA key at most: 8,192.
    pub rsa_bits_max: usize,
    /// Takes signatures that leave the end of the body unsigned (l=): true. Anybody can add to such a message, so nothing else
    /// should rest on one; see [`Report::unsigned_octets`].
    pub unsigned_tail: bool,
    /// Seconds that t= may be ahead of our clock: 3,600.
    pub skew: u64,
    /// The message is a TLS report, whose key may be for nothing else (RFC 8460 3): false.
    pub tls_report: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rsa_bits: 1_024,
            rsa_bits_max: 8_192,
            unsigned_tail: true,
            skew: 3_600,
            tls_report: false,
        }
    }
}

/// The outcome for a message: that of its best signature, [`Verdict::None`] without any.
pub fn overall(reports: &[Report]) -> Verdict {
    const BEST_FIRST: [Verdict; 6] = [
        Verdict::Pass,
        Verdict::TempError,
        Verdict::Policy,
        Verdict::Fail,
        Verdict::PermError,
        Verdict::Neutral,
    ];
    let has = |verdict: &Verdict| reports.iter().any(|report| report.verdict == *verdict);
    BEST_FIRST.into_iter().find(has).unwrap_or(Verdict::None)
}
