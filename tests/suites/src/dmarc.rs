//! DMARC evaluations and alignments of other projects.

use serde_json::Value;
use std::path::Path;

use crate::{lines, quoted};

/// How many evaluations there are.
const EVALUATIONS: usize = 5;

/// One evaluation.
#[derive(Debug, Clone)]
pub struct DmarcCase {
    /// The row.
    pub id: String,
    /// The DMARC records, as a master file.
    pub zone: String,
    /// The address in From.
    pub from: String,
    /// What SPF checked, and whether it passed.
    pub spf: Option<(String, bool)>,
    /// Who signed, and whether the signature is good.
    pub dkim: Option<(String, bool)>,
    /// The policy that holds.
    pub policy: String,
    /// Whether SPF passed and is aligned.
    pub spf_aligned: Option<bool>,
    /// Whether a signature passed and is aligned.
    pub dkim_aligned: Option<bool>,
}

impl DmarcCase {
    /// The domain in From.
    pub fn author(&self) -> &str {
        self.from.rsplit('@').next().unwrap_or_default()
    }
}

/// All cases.
///
/// # Panics
/// When the files are not as they were.
pub fn dmarc(folder: &Path) -> Vec<DmarcCase> {
    let folder = folder.join("dmarc");
    let mut cases: Vec<DmarcCase> = lines(&folder.join("evaluate.jsonl"))
        .iter()
        .map(evaluation)
        .collect();
    assert_eq!(cases.len(), EVALUATIONS);
    let rows = lines(&folder.join("records.jsonl"));
    cases.extend(
        rows.iter()
            .filter(|row| row["kind"] == "alignment")
            .filter_map(alignment),
    );
    assert!(cases.len() > EVALUATIONS);
    cases
}

fn record(owner: &str, text: &str) -> String {
    format!("{owner}. TXT {}\n", quoted(text.as_bytes()))
}

fn evaluation(row: &Value) -> DmarcCase {
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    let checked = |domain: &str, came: &str| Some((text(domain)?, row[came] == "pass"));
    let aligned = |key: &str| text(key).map(|aligned| aligned == "pass");
    let records = row["dns_txt"].as_object().unwrap().iter();
    DmarcCase {
        id: text("id").unwrap(),
        zone: records
            .map(|(owner, text)| record(owner, text.as_str().unwrap()))
            .collect(),
        from: text("header_from").unwrap(),
        spf: checked("spf_domain", "spf"),
        dkim: checked("dkim_domain", "dkim"),
        policy: text("expect_policy").unwrap(),
        spf_aligned: aligned("expect_spf_aligned"),
        dkim_aligned: aligned("expect_dkim_aligned"),
    }
}

/// Two names and the mode in which they are compared.
fn alignment(row: &Value) -> Option<DmarcCase> {
    let text = row["text"].as_str().unwrap();
    let [one, other, mode] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
    // Names with dots around them are an affair of one program, as its note says.
    if one.starts_with('.') {
        return None;
    }
    let owner = format!("_dmarc.{}", mox_dmarc::registrable(one).unwrap());
    Some(DmarcCase {
        id: text.to_owned(),
        zone: record(&owner, &format!("v=DMARC1; p=reject; aspf={}", &mode[..1])),
        from: format!("a@{one}"),
        spf: Some((other.to_owned(), true)),
        dkim: None,
        policy: "reject".to_owned(),
        spf_aligned: Some(row["valid"] == true),
        dkim_aligned: None,
    })
}
