//! How an account's mail from elsewhere is judged, and where it goes: part of its entry in `domains.ron`.

use serde::Deserialize;

use super::check::Check;
use super::locate::Step::{Field, Key};

/// What an account wants of mail from elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// Its junk filter has a say in what is taken; `None` where it has not. It learns all the same.
    pub junk_filter: Option<JunkFilter>,
    /// Copies of what was not taken go here; `None` where none are kept.
    pub rejects_mailbox: Option<String>,
}

/// How sure the junk filter must be.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename = "junk_filter", deny_unknown_fields, default)]
pub struct JunkFilter {
    /// Mail of strangers that is more likely junk than this is not taken.
    pub threshold: f64,
    /// The same where something else is suspicious about it.
    pub strict_threshold: f64,
}

impl JunkFilter {
    /// Chosen by cross-validation, see `docs/junk.md`.
    pub const THRESHOLD: f64 = 0.7;
    /// More likely junk than not.
    pub const STRICT_THRESHOLD: f64 = 0.5;
}

impl Default for JunkFilter {
    fn default() -> Self {
        Self {
            threshold: Self::THRESHOLD,
            strict_threshold: Self::STRICT_THRESHOLD,
        }
    }
}

impl Default for Incoming {
    fn default() -> Self {
        Self {
            junk_filter: default_filter(),
            rejects_mailbox: default_rejects(),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
pub(super) fn default_filter() -> Option<JunkFilter> {
    Some(JunkFilter::default())
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
pub(super) fn default_rejects() -> Option<String> {
    Some("Rejects".into())
}

impl Incoming {
    pub(super) fn check(&self, check: &mut Check<'_>, account: &str) {
        let here = [Field("accounts"), Key(account)];
        if let Some(filter) = &self.junk_filter {
            let in_filter = |name| [here[0], here[1], Field("junk_filter"), Field(name)];
            for (name, value) in [
                ("threshold", filter.threshold),
                ("strict_threshold", filter.strict_threshold),
            ] {
                // What is not known has one half: below, everything of strangers would be junk.
                if !(0.5..=1.0).contains(&value) {
                    check.problem(
                        &in_filter(name),
                        &format!("{value} is no threshold"),
                        "use a probability from 0.5 to 1.0",
                    );
                }
            }
            if filter.strict_threshold > filter.threshold {
                check.problem(
                    &in_filter("strict_threshold"),
                    "the strict threshold is above the other one",
                    "make it smaller, or leave it out",
                );
            }
        }
        if let Some(mailbox) = &self.rejects_mailbox {
            let path = [here[0], here[1], Field("rejects_mailbox")];
            check.mailbox(&path, mailbox);
            if mailbox.eq_ignore_ascii_case("inbox") {
                check.problem(
                    &path,
                    "INBOX cannot be the mailbox for what was not taken",
                    "name another one, or write rejects_mailbox: None to keep no copies",
                );
            }
        }
    }
}
