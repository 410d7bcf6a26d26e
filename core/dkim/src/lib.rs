//! DKIM, RFC 6376, 8301 and 8463: whether a message is as somebody signed it, and signing.
//!
//! Verifying takes three steps, none of which does I/O: [`Verifier::new`] reads the header, [`Verifier::push`] takes the body
//! as it comes, [`Hashed::judge`] is a function of facts that asks for the keys and gives a [`Report`] for each signature.
//! What is kept in between is a few hashes, whatever the size of the message.
//!
//! ```
//! use mox_dkim::{AwsLc, Limits, Policy, Verdict, Verifier};
//! use mox_dns::{Answer, Facts, Inquiry, Progress, Record};
//!
//! let header = b"DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=s1; h=From;\r\n\
//!     \tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\nFrom: ann@example.org\r\n";
//! let mut verifier = Verifier::new(header, &Limits::default());
//! verifier.push(b"hello\r\n");
//! let hashed = verifier.finish();
//!
//! let mut inquiry = Inquiry::new(Facts::default(), mox_machine::Mono(20_000_000_000));
//! let reports = loop {
//!     let now = mox_machine::Now::default();
//!     match inquiry.run(now, |facts| hashed.judge(facts, &Policy::default(), 1_767_225_600, &AwsLc)) {
//!         Progress::Done(reports) => break reports,
//!         Progress::Ask(questions) => for question in questions {
//!             // Here a resolver would be asked.
//!             inquiry.answer(&question, Answer::records(vec![Record::Txt("v=DKIM1; p=".into())], 300));
//!         },
//!         Progress::Wait => unreachable!("every question was answered"),
//!     }
//! };
//! assert_eq!(reports[0].verdict, Verdict::PermError);
//! assert_eq!(reports[0].problem, Some("the key is revoked"));
//! ```
#![no_std]

extern crate alloc;

/// Where the facts come from, and what runs a function of facts.
pub use mox_dns;

mod verify;
pub use verify::{Hashed, Limits, Verifier};

mod report;
pub use report::{Policy, Report, Verdict, overall};

mod sign;
pub use sign::{DEFAULT_SIGNED, Selector, SignError, Signing};

mod signature;
pub use signature::{Algorithm, Canonical, Claims, SIGNED_MAX, Signature, Unusable};

mod key;
pub use key::{KeyRecord, PublicKey};

mod canonical;
pub use canonical::BodyCanonicalizer;

mod crypto;
pub use crypto::{Sign, Verify};

#[cfg(feature = "aws-lc")]
mod aws_lc;
#[cfg(feature = "aws-lc")]
pub use aws_lc::{AwsLc, Ed25519Key, KeyError, RsaKey};

mod body;
mod memo;
mod tags;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
