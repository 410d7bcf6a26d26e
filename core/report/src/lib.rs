//! The reports that mail servers send each other about authentication and TLS: DMARC aggregate reports (RFC 9990, RFC 7489) and
//! TLS reports (RFC 8460), read and written.
//!
//! [`AggregateReport::read`] and [`TlsReport::read`] take what arrives: a whole message, or the report alone, packed or not.
//! Faults of those who send reports are borne with; what nobody sends in good faith is [`Refused`], and neither memory nor
//! time is spent on it beyond [`Limits`].
//!
//! ```
//! use mox_report::{AggregateReport, Limits};
//!
//! let xml = b"<feedback><report_metadata><org_name>example.net</org_name><report_id>7</report_id>\
//!     <date_range><begin>1767225600</begin><end>1767311999</end></date_range></report_metadata>\
//!     <policy_published><domain>example.org</domain><p>reject</p></policy_published>\
//!     <record><row><source_ip>192.0.2.1</source_ip><count>3</count></row></record></feedback>";
//! let report = AggregateReport::read(xml, &Limits::default())?;
//! assert_eq!((report.records.len(), report.messages()), (1, 3));
//! assert_eq!(AggregateReport::read(report.to_xml().as_bytes(), &Limits::default())?, report);
//! # Ok::<(), mox_report::Refused>(())
//! ```

mod limits;
pub use limits::{Limits, Refused};

mod word;

pub mod aggregate;
pub use aggregate::AggregateReport;

pub mod tls;
pub use tls::TlsReport;

mod date;
mod message;
mod unpack;
pub use unpack::gzip;
mod xml;
