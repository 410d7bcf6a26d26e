//! DNS as mail needs it: names, questions, answers, and functions that decide from a table of facts.
//!
//! A function of facts reads answers from [`Facts`] and ends with [`Missing`] when it lacks one; an [`Inquiry`] runs it
//! again with more answers until it is done. Such functions are [`mail_hosts`] (where mail for a domain goes), [`iprev`]
//! (whether an address's name leads back to it), [`dnsbl`] and [`dnsbl_health`] (lists of addresses).
//!
//! Feature `stub` adds the resolver that gets answers: a stub resolver as a machine without I/O, and a cache.
//!
//! ```
//! use mox_dns::{Facts, Answer, Inquiry, MxPlan, Name, Progress, Record, mail_hosts};
//! use mox_machine::{Mono, Now, Seed};
//!
//! let domain = Name::parse("example.org")?;
//! let mut inquiry = Inquiry::new(Facts::default(), Mono(60_000_000_000));
//! let plan = loop {
//!     match inquiry.run(Now::default(), |facts| mail_hosts(facts, &domain, &Seed::from_number(1))) {
//!         Progress::Done(plan) => break plan,
//!         Progress::Ask(questions) => for question in questions {
//!             // Here a resolver would be asked.
//!             let null_mx = Record::Mx { preference: 0, exchange: Name::root() };
//!             inquiry.answer(&question, Answer::records(vec![null_mx], 300));
//!         },
//!         Progress::Wait => unreachable!("every question was answered"),
//!     }
//! };
//! assert_eq!(plan, MxPlan::Null);
//! # Ok::<(), mox_dns::NameError>(())
//! ```
#![no_std]

extern crate alloc;

/// Its time, and its seeds.
pub use mox_machine;

mod name;
pub use name::{Labels, Name, NameError};

mod record;
pub use record::{Answer, Failure, Question, Record, RecordType};

mod facts;
pub use facts::{Facts, FactsLimits, Missing};

mod inquiry;
pub use inquiry::{Inquiry, Progress, RUNS_MAX};

mod mx;
pub use mx::{ADDRESSES_MAX, HOSTS_MAX, MailHost, MxPlan, mail_hosts};

mod iprev;
pub use iprev::{IprevReport, IprevVerdict, REVERSE_NAMES_MAX, iprev};

mod dnsbl;
pub use dnsbl::{DnsblHealth, DnsblReport, EXPLANATION_MAX, Health, Listed, dnsbl, dnsbl_health};

mod master;
pub use master::{MasterError, MasterFile};

#[cfg(feature = "stub")]
pub mod stub;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
