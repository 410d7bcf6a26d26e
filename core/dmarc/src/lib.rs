//! DMARC, RFC 9989: whether the domain that people see in From vouches for a message, and what it wants done if not. Records
//! written for RFC 7489 are read too.
//!
//! [`evaluate`] is a function of facts: it reads answers of DNS from a table and returns the questions it lacks.
//!
//! ```
//! use mox_dmarc::{Authenticated, Disposition, Message, Outcome, Verdict, evaluate};
//! use mox_dns::{Answer, Facts, Failure, Inquiry, Progress, Record};
//! use mox_machine::{Mono, Now};
//!
//! // Somebody else's mail server, with a pass for its own domain only.
//! let message = Message {
//!     authors: &[b"example.org"],
//!     spf: Some(Authenticated { domain: b"elsewhere.example", outcome: Outcome::Pass }),
//!     dkim: &[],
//! };
//! let mut inquiry = Inquiry::new(Facts::default(), Mono(20_000_000_000));
//! let report = loop {
//!     match inquiry.run(Now::default(), |facts| evaluate(facts, &message)) {
//!         Progress::Done(report) => break report,
//!         Progress::Ask(questions) => for question in questions {
//!             // Here a resolver would be asked.
//!             let answer = match question.name().to_string().as_str() {
//!                 "_dmarc.example.org" => Answer::records(vec![Record::Txt("v=DMARC1; p=reject".into())], 300),
//!                 _ => Answer::failure(Failure::NoDomain, 300),
//!             };
//!             inquiry.answer(&question, answer);
//!         },
//!         Progress::Wait => unreachable!("every question was answered"),
//!     }
//! };
//! assert_eq!((report.verdict, report.disposition), (Verdict::Fail, Disposition::Reject));
//! ```
#![no_std]

extern crate alloc;

/// Where the facts come from, and what runs a function of facts.
pub use mox_dns;

mod evaluate;
pub use evaluate::{
    AUTHORS_MAX, Authenticated, IDENTIFIERS_MAX, Message, Outcome, author_policies, evaluate,
};

mod report;
pub use report::{Author, Disposition, Report, Verdict};

mod record;
pub use record::{Alignment, Defect, Policy, Psd, RECORD_MAX, Record, ReportUri};

mod walk;
pub use walk::{WALK_MAX, Walk, is_of_organization, walk};

mod suffix;
pub use suffix::registrable;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
