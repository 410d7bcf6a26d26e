//! The keys that a domain signs with, as `domains.ron` names them.

use std::collections::BTreeMap;

use mox_address::Domain;
use mox_dkim::{Canonical, DEFAULT_SIGNED, Selector};
use serde::Deserialize;

use super::check::Check;
use super::locate::Step::{self, Field, Item, Key};
use super::problem::Problems;

/// Selectors of a domain at most.
const SELECTORS_MAX: usize = 64;
/// Selectors that sign at most: as many as verifiers look at.
const SIGN_MAX: usize = 8;
/// Fields that are signed at most.
const HEADERS_MAX: usize = 100;
/// Hours until a signature expires, at most.
const HOURS_MAX: u64 = 24 * 366;
/// Fields that the hosts on the way add, change or take out.
const CHANGING: [&str; 3] = ["Received", "Return-Path", "DKIM-Signature"];

/// The keys of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dkim {
    /// By name.
    pub selectors: BTreeMap<String, DkimSelector>,
    /// Those that sign, in this order; all of them are in `selectors`.
    pub sign: Vec<String>,
}

/// A key, and what it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimSelector {
    /// Where its private key is: PEM of PKCS #8, relative to the folder of the configuration.
    pub key: String,
    /// How header fields may change on the way.
    pub header: Canonical,
    /// How the body may change on the way.
    pub body: Canonical,
    /// Fields that are signed.
    pub headers: Vec<String>,
    /// Signs each field once more than it is there, so that none can be added.
    pub oversign: bool,
    /// Seconds until a signature expires; `None` is never.
    pub expires: Option<u64>,
}

impl DkimSelector {
    /// The usual way to sign, with the key in this file.
    pub fn with_key(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            header: Canonical::Relaxed,
            body: Canonical::Relaxed,
            headers: DEFAULT_SIGNED.iter().copied().map(String::from).collect(),
            oversign: true,
            expires: None,
        }
    }

    /// What signs for a domain under this name with the key from the file.
    pub fn selector(
        &self,
        domain: &Domain,
        name: &str,
        key: std::sync::Arc<dyn mox_dkim::Sign>,
    ) -> Selector {
        Selector {
            header: self.header,
            body: self.body,
            signed: self.headers.clone(),
            oversign: self.oversign,
            expires: self.expires,
            ..Selector::new(domain.as_str(), name, key)
        }
    }
}

/// What is wrong with the file of a private key, which only who has files can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadKey {
    /// Whose.
    pub domain: Domain,
    /// Its name.
    pub selector: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// What is wrong with key files, at the places in `domains.ron` that name them. `text` is its content, `file` its name. At least one
/// must be given.
pub fn bad_keys(file: &str, text: &str, bad: &[BadKey]) -> Problems {
    let mut check = Check::of(file, text);
    for one in bad {
        let written = check
            .keys(&[Field("domains")])
            .into_iter()
            .find(|key| ascii(key).as_ref() == Some(&one.domain))
            .unwrap_or_else(|| one.domain.to_string());
        let path = path(&written, &one.selector);
        check.problem(&path, &one.what, &one.remedy);
    }
    check.problems()
}

fn ascii(name: &str) -> Option<Domain> {
    Domain::parse(name, true).and_then(|d| d.to_ascii()).ok()
}

fn path<'a>(domain: &'a str, selector: &'a str) -> [Step<'a>; 6] {
    [
        Field("domains"),
        Key(domain),
        Field("dkim"),
        Field("selectors"),
        Key(selector),
        Field("key"),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(rename = "dkim", deny_unknown_fields)]
pub(super) struct FileDkim {
    #[serde(default)]
    selectors: BTreeMap<String, FileSelector>,
    #[serde(default)]
    sign: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "selector", deny_unknown_fields)]
struct FileSelector {
    key: String,
    #[serde(default = "relaxed")]
    canonicalization: String,
    #[serde(default)]
    headers: Option<Vec<String>>,
    #[serde(default = "yes")]
    oversign: bool,
    #[serde(default)]
    expiration: Option<String>,
}

fn relaxed() -> String {
    "relaxed/relaxed".into()
}

const fn yes() -> bool {
    true
}

impl FileDkim {
    pub(super) fn check(&self, check: &mut Check<'_>, domain: &str) -> Dkim {
        let here = [Field("domains"), Key(domain), Field("dkim")];
        let selectors = [here[0], here[1], here[2], Field("selectors")];
        check.at_most(&selectors, self.selectors.len(), SELECTORS_MAX);
        let mut checked = BTreeMap::new();
        for (name, raw) in &self.selectors {
            if !Selector::is_name(name) {
                check.problem_at_key(
                    &selectors,
                    name,
                    &format!("{name:?} cannot be a selector"),
                    "use letters, digits and hyphens, like \"2026a\"",
                );
            }
            checked.insert(name.clone(), raw.check(check, domain, name));
        }
        let sign = [here[0], here[1], here[2], Field("sign")];
        check.at_most(&sign, self.sign.len(), SIGN_MAX);
        for (n, name) in self.sign.iter().enumerate() {
            let path = [sign[0], sign[1], sign[2], sign[3], Item(n)];
            if !self.selectors.contains_key(name) {
                check.problem(
                    &path,
                    &format!("there is no selector {name:?}"),
                    "add it to selectors, or correct the spelling",
                );
            } else if self.sign.iter().take(n).any(|other| other == name) {
                let what = format!("{name:?} stands here twice");
                check.problem(&path, &what, "remove one of them");
            }
        }
        Dkim {
            selectors: checked,
            sign: self.sign.clone(),
        }
    }
}

impl FileSelector {
    fn check(&self, check: &mut Check<'_>, domain: &str, name: &str) -> DkimSelector {
        let path = path(domain, name);
        let at = |field| [path[0], path[1], path[2], path[3], path[4], Field(field)];
        if self.key.is_empty() {
            check.problem(
                &at("key"),
                "a selector without a key signs nothing",
                "name the file of its private key, like \"dkim/2026a.example.org.pem\"",
            );
        }
        let canonical = self.canonicalization.split_once('/');
        let canonical = canonical.and_then(|(h, b)| Some((kind(h)?, kind(b)?)));
        if canonical.is_none() {
            check.problem(
                &at("canonicalization"),
                &format!("{:?} is no canonicalization", self.canonicalization),
                "write relaxed or simple for the header and for the body: \"relaxed/relaxed\"",
            );
        }
        let (header, body) = canonical.unwrap_or((Canonical::Relaxed, Canonical::Relaxed));
        let mut checked = DkimSelector {
            header,
            body,
            oversign: self.oversign,
            ..DkimSelector::with_key(self.key.as_str())
        };
        if let Some(headers) = &self.headers {
            check_headers(check, &at("headers"), headers);
            checked.headers.clone_from(headers);
        }
        if let Some(expiration) = &self.expiration {
            checked.expires = seconds(expiration);
            if checked.expires.is_none() {
                check.problem(
                    &at("expiration"),
                    &format!("{expiration:?} is no time that signatures can last"),
                    "write hours or days, like \"72h\" or \"14d\", one year at most",
                );
            }
        }
        checked
    }
}

fn check_headers(check: &mut Check<'_>, at: &[Step<'_>], headers: &[String]) {
    check.at_most(at, headers.len(), HEADERS_MAX);
    let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    if !headers.iter().any(|name| is(name, "From")) {
        let what = "From is not among the fields that are signed";
        check.problem(at, what, "add it: no verifier takes a signature without it");
    }
    for (n, name) in headers.iter().enumerate() {
        let mut at = at.to_vec();
        at.push(Item(n));
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b";:".contains(&b))
        {
            let what = format!("{name:?} is no name of a header field");
            check.problem(&at, &what, "write one like \"Subject\"");
        } else if CHANGING.iter().any(|other| is(name, other)) {
            check.problem(
                &at,
                &format!("{name} changes on the way, and the signature breaks"),
                "remove it",
            );
        } else if headers.iter().take(n).any(|other| is(name, other)) {
            check.problem(
                &at,
                &format!("{name:?} stands here twice"),
                "remove one of them",
            );
        }
    }
}

fn kind(text: &str) -> Option<Canonical> {
    match text {
        "relaxed" => Some(Canonical::Relaxed),
        "simple" => Some(Canonical::Simple),
        _ => None,
    }
}

/// `72h` or `3d`.
fn seconds(text: &str) -> Option<u64> {
    let (number, hours) = match text.strip_suffix('h') {
        Some(number) => (number, 1),
        None => (text.strip_suffix('d')?, 24),
    };
    let hours = number.parse::<u64>().ok()?.checked_mul(hours)?;
    (1..=HOURS_MAX).contains(&hours).then_some(hours * 3600)
}
