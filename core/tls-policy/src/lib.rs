//! Whether a mail server must be spoken to through TLS, and who it has to prove to be: MTA-STS (RFC 8461), DANE (RFC 7672),
//! REQUIRETLS (RFC 8689), and the accounting that TLS reports are made of (RFC 8460).
//!
//! Nothing here does I/O. [`sts_lookup`], [`tlsrpt_lookup`] and [`dane_lookup`] are functions of facts: they read answers of
//! DNS from a table and return the questions they lack. A policy that was fetched, the certificates of a peer and the time are
//! arguments. [`decide`] says for one host what is demanded and why, [`Decision::judge`] whether a peer fulfils it, and a
//! [`Ledger`] counts.
//!
//! ```
//! use mox_dns::Name;
//! use mox_tls_policy::{Dane, Demand, Level, Mode, NextHop, StsPolicy, decide};
//!
//! let policy = StsPolicy::parse(b"version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 86400\n")?;
//! assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 86_400));
//! let (domain, host) = (Name::parse("example.org")?, Name::parse("mx1.example.org")?);
//! let hop = NextHop { domain: &domain, host: &host, sts: Some(&policy), dane: &Dane::NotAuthentic, vouched_for: false,
//!     expanded: &domain };
//! let decision = decide(&hop, Demand::None);
//! assert_eq!(decision.level, Level::WebPki);
//! assert_eq!(decision.to_string(), "TLS with a certificate for this name is demanded: the domain's MTA-STS policy is in force");
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]

extern crate alloc;

mod fields;

mod txt;
pub use txt::TxtLookup;

mod sts_record;
pub use sts_record::{StsLookup, StsRecord, sts_lookup};

mod sts_policy;
pub use sts_policy::{MAX_AGE_MAX, MX_MAX, Mode, MxPattern, POLICY_MAX, PolicyError, StsPolicy};

mod sts_cache;
pub use sts_cache::{
    Applied, BACKOFF, Entry, FetchError, Kept, Next, Plan, Refresh, UNUSED_MAX, after_fetch,
    after_lookup, plan, refresh,
};

mod sts_http;
pub use sts_http::{PolicyResponse, policy_host, policy_request};

mod tlsrpt;
pub use tlsrpt::{Rua, TlsrptLookup, TlsrptRecord, tlsrpt_lookup};

mod tlsa;
pub use tlsa::{Matching, Selector, Tlsa, Unusable, Usage};

mod dane;
pub use dane::{Certificate, Dane, Peer, TLSA_MAX, WebPkiProblem, dane_lookup};

mod decide;
pub use decide::{Decision, Demand, Judgement, Level, NextHop, Reason, Tls, decide};

mod ledger;
pub use ledger::{AppliedPolicy, Failure, FailureType, Ledger, LedgerLimits, PolicyType, Tally};

pub use fields::Defect;
