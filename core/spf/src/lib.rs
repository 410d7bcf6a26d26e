//! SPF, RFC 7208: whether a host may send mail in the name of a domain.
//!
//! [`check_host`] is a function of facts: it reads answers of DNS from a table and returns the questions it lacks. It does
//! no I/O, knows no clock, and gives the same report for the same facts. [`mox_dns::Inquiry`] runs it to its end.
//!
//! ```
//! use mox_dns::{Answer, Facts, Inquiry, Progress, Record};
//! use mox_machine::{Mono, Now};
//! use mox_spf::{Limits, Query, Verdict, check_host};
//!
//! let query = Query {
//!     ip: "192.0.2.1".parse()?,
//!     helo: b"mx.example.org",
//!     mail_from: b"ann@example.org",
//!     receiver: b"mx.example.net",
//!     time: 0,
//! };
//! let mut inquiry = Inquiry::new(Facts::default(), Mono(20_000_000_000));
//! let report = loop {
//!     match inquiry.run(Now::default(), |facts| check_host(facts, &query, &Limits::default())) {
//!         Progress::Done(report) => break report,
//!         Progress::Ask(questions) => for question in questions {
//!             // Here a resolver would be asked.
//!             let text = Record::Txt("v=spf1 ip4:192.0.2.0/24 -all".into());
//!             inquiry.answer(&question, Answer::records(vec![text], 300));
//!         },
//!         Progress::Wait => unreachable!("every question was answered"),
//!     }
//! };
//! assert_eq!(report.verdict, Verdict::Pass);
//! assert_eq!(report.mechanism.as_deref(), Some("ip4:192.0.2.0/24"));
//! # Ok::<(), core::net::AddrParseError>(())
//! ```
#![no_std]

extern crate alloc;

/// Where the facts come from, and what runs a function of facts.
pub use mox_dns;

mod evaluate;
pub use evaluate::{Limits, Query, check_domain, check_host};

mod report;
pub use report::{Identity, Report, Verdict, Visit};

mod record;
pub use record::{Cidr, Directive, Mechanism, Qualifier, Record, SyntaxError, is_spf};

mod fetch;
pub use fetch::{Fetched, RECORD_MAX, fetch};

mod macros;
pub use macros::MacroString;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
