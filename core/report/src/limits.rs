//! How much of a report is looked at, and why one is refused.

use std::fmt;

/// What a report may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a message that may hold a report: 15 MB.
    pub message: usize,
    /// Octets of a report as it was packed: 10 MiB.
    pub packed: usize,
    /// Octets of the XML of an aggregate report: 20 MB. All parts of a message that are tried have as many together.
    pub xml: u64,
    /// Octets of the JSON of a TLS report: 5 MiB. All parts of a message that are tried have as many together.
    pub json: u64,
    /// Octets that one octet of a packed report may become, once they are more than a mebibyte: 250. What real reports
    /// become is below 50.
    pub ratio: u64,
    /// Octets that are kept of an aggregate report: 12 MiB.
    pub kept: usize,
    /// Octets of one tag or text of XML: 64 KiB.
    pub token: usize,
    /// Elements, references and comments: 500,000, of all parts that are tried together. The largest report known has 230,000.
    pub tags: usize,
    /// Elements within each other: 64.
    pub depth: usize,
    /// Objects, lists and commas of JSON: 200,000.
    pub values: usize,
    /// Parts of a message that are tried: 100.
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 15_000_000,
            packed: 10 * 1024 * 1024,
            xml: 20_000_000,
            json: 5 * 1024 * 1024,
            ratio: 250,
            kept: 12 * 1024 * 1024,
            token: 64 * 1024,
            tags: 500_000,
            depth: 64,
            values: 200_000,
            parts: 100,
        }
    }
}

/// Why something is not taken as a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The message has none in it.
    NoReport,
    /// A limit is exceeded, and which.
    TooLarge(&'static str),
    /// What it is packed in is damaged or not what it should be.
    Packing(String),
    /// It is not well-formed, and what is wrong.
    Syntax(String),
    /// It declares a document type or entities, which no report does.
    Declarations,
    /// It lacks something.
    Missing(&'static str),
    /// This is not a number, or not one that can be true.
    Number(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReport => f.write_str("there is no report in it"),
            Self::TooLarge(what) => write!(f, "it is too large: {what}"),
            Self::Packing(what) => write!(f, "it cannot be unpacked: {what}"),
            Self::Syntax(what) => write!(f, "it is not well-formed: {what}"),
            Self::Declarations => f.write_str("it declares a document type or uses entities"),
            Self::Missing(what) => write!(f, "it has no {what}"),
            Self::Number(what) => write!(f, "its {what} is not a number that can be true"),
        }
    }
}

impl std::error::Error for Refused {}
