//! The test suite of RFC 7208.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::{absolute, lines, quoted};

/// How many cases there are.
const CASES: usize = 203;

/// One check.
#[derive(Debug, Clone)]
pub struct SpfCase {
    /// Its name.
    pub id: String,
    /// DNS, as a master file.
    pub zone: Arc<str>,
    /// The client.
    pub ip: IpAddr,
    /// The name in HELO.
    pub helo: String,
    /// The reverse-path.
    pub mail_from: String,
    /// The results that are right.
    pub accept: Vec<String>,
    /// The explanation, where the suite says which; `DEFAULT` is none.
    pub explanation: Option<String>,
}

impl SpfCase {
    /// The domain that is checked.
    pub fn domain(&self) -> &str {
        match self.mail_from.as_str() {
            "" => &self.helo,
            address => address.rsplit('@').next().unwrap_or_default(),
        }
    }

    /// Whether an explanation is what the suite says.
    pub fn is_explained(&self, explanation: Option<&str>) -> bool {
        match self.explanation.as_deref() {
            None => true,
            Some("DEFAULT") => explanation.is_none(),
            expected => explanation == expected,
        }
    }
}

/// All cases.
///
/// # Panics
/// When the files are not as they were.
pub fn spf(folder: &Path) -> Vec<SpfCase> {
    let zones = fs::read_to_string(folder.join("spf/rfc7208-tests.zones.json")).unwrap();
    let zones: Vec<Value> = serde_json::from_str(&zones).unwrap();
    let zones: BTreeMap<&str, Arc<str>> = zones
        .iter()
        .map(|scenario| {
            let section = scenario["section"].as_str().unwrap();
            (section, zone(&scenario["zonedata"]).into())
        })
        .collect();
    let cases: Vec<SpfCase> = lines(&folder.join("spf/rfc7208-tests.cases.jsonl"))
        .iter()
        .map(|case| {
            let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
            let accept = case["accept"].as_array().unwrap().iter();
            SpfCase {
                id: text("id"),
                zone: zones[&*text("section")].clone(),
                ip: text("ip").parse().unwrap(),
                helo: text("helo"),
                mail_from: text("mail_from"),
                accept: accept.map(|a| a.as_str().unwrap().to_owned()).collect(),
                explanation: Some(text("explanation")).filter(|e| !e.is_empty()),
            }
        })
        .collect();
    assert_eq!(cases.len(), CASES);
    cases
}

/// The suite writes octets as characters up to U+00FF.
fn octets(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

/// A scenario's zone data. `SPF` is served as TXT unless the name has `TXT` too.
fn zone(data: &Value) -> String {
    let mut zone = String::new();
    for (owner, entries) in data.as_object().unwrap() {
        let owner = absolute(octets(owner));
        let entries = entries.as_array().unwrap();
        let has_txt = entries.iter().any(|e| e.get("TXT").is_some());
        for entry in entries {
            if entry == "TIMEOUT" {
                writeln!(zone, "{owner} * !TIMEOUT").unwrap();
                continue;
            }
            for (kind, value) in entry.as_object().unwrap() {
                let name = |value: &Value| absolute(octets(value.as_str().unwrap()));
                let (kind, data) = match kind.as_str() {
                    "SPF" if has_txt => ("SPF", strings(value)),
                    // The name is there, and nothing else.
                    "TXT" if value == "NONE" => ("SPF", String::new()),
                    "SPF" | "TXT" => ("TXT", strings(value)),
                    "PTR" | "CNAME" => (kind.as_str(), name(value)),
                    "MX" => ("MX", format!("{} {}", value[0], name(&value[1]))),
                    "A" | "AAAA" => (kind.as_str(), value.as_str().unwrap().to_owned()),
                    other => panic!("{other}"),
                };
                writeln!(zone, "{owner} {kind} {data}").unwrap();
            }
        }
    }
    zone
}

fn strings(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(&octets(text)),
        Value::Array(all) if all.is_empty() => quoted(b""),
        Value::Array(all) => {
            let all = all
                .iter()
                .map(|text| quoted(&octets(text.as_str().unwrap())));
            all.collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other}"),
    }
}
