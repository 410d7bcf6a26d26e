//! The TXT record that says that there is an MTA-STS policy: RFC 8461 section 3.1.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use mox_dns::{Facts, Missing, Name, Question, RecordType};

use crate::fields::{self, Defect};
use crate::txt::TxtLookup;

const VERSION: &str = "v=STSv1";

/// What a domain publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRecord {
    /// id=, up to 32 letters and digits: another one means that there is another policy.
    pub id: String,
    /// Fields nobody here knows.
    pub extensions: Vec<(String, String)>,
    /// What is not as it should be. None of it keeps the record from being used.
    pub defects: Vec<Defect>,
}

impl StsRecord {
    /// Whether a TXT record says that it is one.
    pub fn is_record(text: &[u8]) -> bool {
        fields::has_version(text, VERSION)
    }

    /// Parses the text of a TXT record. What is wrong beside the id is passed over and listed.
    ///
    /// # Errors
    /// When it is no record, or has no id. The first id counts.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let mut id = None;
        let mut extensions = Vec::new();
        let mut defects = Vec::new();
        for (name, value) in fields::fields(text, VERSION)? {
            if name == "id" {
                if id.is_some() {
                    continue;
                }
                let value = value.unwrap_or_default();
                let is_id = (1..=32).contains(&value.len())
                    && value.bytes().all(|b| b.is_ascii_alphanumeric());
                if !is_id {
                    return Err("its id is not 1 to 32 letters and digits");
                }
                id = Some(value.to_string());
                continue;
            }
            match fields::extension(name, value) {
                Ok(extension) => extensions.push(extension),
                Err(what) => defects.push(Defect::new(name, what)),
            }
        }
        Ok(Self {
            id: id.ok_or("it has no id")?,
            extensions,
            defects,
        })
    }
}

/// As it would be published.
impl fmt::Display for StsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}; id={};", self.id)?;
        for (name, value) in &self.extensions {
            write!(f, " {name}={value};")?;
        }
        Ok(())
    }
}

/// What a lookup came to; with a record there is a policy to be fetched.
pub type StsLookup = TxtLookup<StsRecord>;

/// Looks up whether a domain has an MTA-STS policy. CNAMEs are followed by the resolver.
///
/// # Errors
/// When the TXT records are not known yet.
pub fn sts_lookup(facts: &Facts, domain: &Name) -> Result<StsLookup, Missing> {
    let Ok(name) = domain.child("_mta-sts") else {
        return Ok(StsLookup::None);
    };
    let answer = facts.need(&Question::of(name, RecordType::Txt))?;
    Ok(StsLookup::of(
        answer,
        StsRecord::is_record,
        StsRecord::parse,
    ))
}
