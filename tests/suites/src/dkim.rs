//! Signed messages of other projects.

use mox_dns::Name;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::{lines, quoted};

/// How many cases there are, and how many of them are not contested.
const CASES: (usize, usize) = (125, 99);

/// Rows whose expectation contradicts an RFC, with what we say and where that is written.
const DISPUTED: [(&str, &str, &str); 6] = [
    (
        "maildkim-multiple_2",
        "fail",
        "RFC 8301 3.1: rsa-sha1 must not pass; the row expects it to",
    ),
    (
        "maildkim-bad_ietf01_1",
        "permerror",
        "RFC 6376 3.5: v= is required; the row expects a fail",
    ),
    (
        "maildkim-bad_ietf01_2",
        "permerror",
        "RFC 6376 3.5: v= is required; the row expects a fail",
    ),
    (
        "maildkim-bad_1878954",
        "permerror",
        "RFC 6376 5.4: there is no From field to sign; the row expects a fail",
    ),
    (
        "dkimpy-ed25519test2.msg",
        "permerror",
        "RFC 6376 6.1.2: no key is a PERMFAIL; the row expects a fail",
    ),
    (
        "mimekit-no-end-boundary",
        "permerror",
        "RFC 6376 6.1.2: no key is a PERMFAIL; the row expects a fail",
    ),
];

/// One message.
#[derive(Debug, Clone)]
pub struct DkimCase {
    /// Its name.
    pub id: String,
    /// DNS, as a master file.
    pub zone: String,
    /// The file, with the line ends it came with.
    pub file: PathBuf,
    /// Its header, every line ended by CRLF, without the blank line.
    pub header: Vec<u8>,
    /// Its body, every line ended by CRLF.
    pub body: Vec<u8>,
    /// When it is verified, in seconds since 1970: the newest t=, else its Date.
    pub now: i64,
    /// The result that is expected; `None` where the projects do not agree.
    pub expected: Option<String>,
}

impl DkimCase {
    /// Whether the result for the whole message is the expected one, or for a disputed row ours.
    pub fn agrees(&self, came: &str) -> bool {
        let disputed = DISPUTED.iter().find(|(id, ..)| *id == self.id);
        match (disputed, self.expected.as_deref()) {
            (_, None) => true,
            (Some((_, ours, _)), _) => came == *ours,
            (None, Some(expected)) if expected.starts_with("not-pass") => {
                ["fail", "permerror", "policy", "neutral"].contains(&came)
            }
            (None, Some(expected)) => came == expected,
        }
    }
}

/// All cases.
///
/// # Panics
/// When the files are not as they were.
pub fn dkim(folder: &Path) -> Vec<DkimCase> {
    let folder = folder.join("dkim");
    let cases: Vec<DkimCase> = lines(&folder.join("cases.jsonl"))
        .iter()
        .map(|case| {
            let file = folder.join(case["file"].as_str().unwrap());
            let (header, body) = message(&file);
            let contested = case["contested"] == true;
            DkimCase {
                id: case["id"].as_str().unwrap().to_owned(),
                zone: zone(case),
                now: clock(&header),
                file,
                header,
                body,
                expected: case["expect_modern"]
                    .as_str()
                    .filter(|_| !contested)
                    .map(str::to_owned),
            }
        })
        .collect();
    let undisputed = cases.iter().filter(|case| case.expected.is_some()).count();
    assert_eq!((cases.len(), undisputed), CASES);
    cases
}

/// Header and body of a message, every line end made CRLF.
fn message(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let raw = std::fs::read(path).unwrap();
    let mut text = Vec::new();
    for (n, line) in raw.split(|b| *b == b'\n').enumerate() {
        if n > 0 {
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
    }
    match text.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => (text[..at + 2].to_vec(), text[at + 4..].to_vec()),
        None => (text, Vec::new()),
    }
}

fn clock(header: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(header).replace("\r\n", "");
    let times = text
        .split([';', ' ', '\t'])
        .filter_map(|tag| tag.strip_prefix("t=")?.trim().parse().ok());
    times.max().unwrap_or_else(|| {
        let date = mox_mime::header::find(header, b"date").and_then(mox_mime::Date::parse);
        date.map_or(1_400_000_000, |date| date.unix())
    })
}

fn zone(case: &Value) -> String {
    let mut zone = String::new();
    for (owner, value) in case["dns_txt"].as_object().unwrap() {
        let Ok(owner) = Name::parse(owner) else {
            continue;
        };
        let text = |text: &Value| quoted(text.as_str().unwrap().as_bytes());
        let all = match value {
            Value::String(_) => vec![text(value)],
            Value::Array(all) => all.iter().map(text).collect(),
            other => vec![
                match other["error"].as_str().unwrap() {
                    "nxdomain" => "!NXDOMAIN",
                    "timeout" => "!TIMEOUT",
                    _ => "!SERVFAIL",
                }
                .to_owned(),
            ],
        };
        for one in all {
            writeln!(zone, "{owner}. TXT {one}").unwrap();
        }
    }
    zone
}
