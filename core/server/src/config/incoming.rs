//! How an account's mail from elsewhere is judged, and where it goes: part of its entry in `domains.ron`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::check::Check;
use super::locate::Step::{self, Field, Item, Key};
use crate::decision::Quarantine;
use crate::ruleset::{HEADER_PATTERNS_MAX, Pattern, RULESETS_MAX, Ruleset};

/// What an account wants of mail from elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// Its junk filter has a say in what is taken; `None` where it has not. It learns all the same.
    pub junk_filter: Option<JunkFilter>,
    /// Copies of what was not taken go here; `None` where none are kept.
    pub rejects_mailbox: Option<String>,
    /// They stay there for their time when the message is taken after all.
    pub keep_rejects: bool,
    /// What becomes of mail that its author's domain wants put aside.
    pub dmarc_quarantine: Quarantine,
    /// Where mail goes that is like this or that; the first that matches counts.
    pub rulesets: Vec<Ruleset>,
    /// How long a token is good that gets a message past the junk filter; `None` where none is given.
    pub subject_token: Option<Duration>,
}

/// Hours that a token may be good for at most: a month.
const TOKEN_HOURS_MAX: u32 = 31 * 24;

/// A ruleset as it stands in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename = "ruleset", deny_unknown_fields)]
pub(super) struct FileRuleset {
    mailbox: String,
    #[serde(default)]
    mail_from: Option<String>,
    #[serde(default)]
    verified_domain: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    list_allow_domain: Option<String>,
    #[serde(default)]
    is_forward: bool,
    #[serde(default)]
    accept_rejects_to_mailbox: Option<String>,
}

impl FileRuleset {
    fn check(&self, check: &mut Check<'_>, account: &str, nth: usize) -> Option<Ruleset> {
        let at = |field| {
            [
                Field("accounts"),
                Key(account),
                Field("rulesets"),
                Item(nth),
                Field(field),
            ]
        };
        check.mailbox(&at("mailbox"), &self.mailbox);
        if let Some(mailbox) = &self.accept_rejects_to_mailbox {
            check.mailbox(&at("accept_rejects_to_mailbox"), mailbox);
        }
        if self.mail_from.is_none() && self.verified_domain.is_none() && self.headers.is_empty() {
            check.problem(
                &at("mailbox"),
                "this ruleset has no condition",
                "add one of mail_from, verified_domain and headers",
            );
        }
        if self.is_forward && self.verified_domain.is_none() {
            check.problem(
                &at("is_forward"),
                "what is forwarded is not told by what everybody can write",
                "add verified_domain: the domain that forwards, which vouches by SPF or DKIM for what it sends on",
            );
        }
        check.at_most(&at("headers"), self.headers.len(), HEADER_PATTERNS_MAX);
        let mut pattern = |path: &[Step<'_>], text: &str| match Pattern::new(text) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                let what = format!("{text:?} is no regular expression: {why}");
                check.problem(path, &what, "correct it; letter case does not count");
                None
            }
        };
        let mail_from = self.mail_from.as_ref();
        let mail_from = mail_from.map(|text| pattern(&at("mail_from"), text));
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let here = at("headers");
            let path = [here[0], here[1], here[2], here[3], here[4], Key(name)];
            headers.extend(pattern(&path, name).zip(pattern(&path, value)));
        }
        let mut domain = |field, text: &Option<String>| {
            let read = text.as_ref().map(|text| check.domain(&at(field), text));
            read.map_or(Some(None), |read| read.map(Some))
        };
        Some(Ruleset {
            verified_domain: domain("verified_domain", &self.verified_domain)?,
            list_allow_domain: domain("list_allow_domain", &self.list_allow_domain)?,
            mail_from: match mail_from {
                Some(read) => Some(read?),
                None => None,
            },
            headers,
            mailbox: self.mailbox.clone(),
            is_forward: self.is_forward,
            accept_rejects_to_mailbox: self.accept_rejects_to_mailbox.clone(),
        })
    }
}

/// Reads how long tokens of an account are good.
pub(super) fn subject_token(check: &mut Check<'_>, account: &str, hours: u32) -> Option<Duration> {
    if hours > TOKEN_HOURS_MAX {
        check.problem(
            &[
                Field("accounts"),
                Key(account),
                Field("subject_token_hours"),
            ],
            &format!("{hours} hours are too long"),
            &format!("at most {TOKEN_HOURS_MAX}; 0 gives no tokens"),
        );
    }
    (hours > 0).then(|| Duration::from_secs(u64::from(hours) * 3600))
}

/// Checks the rulesets of an account.
pub(super) fn rulesets(
    check: &mut Check<'_>,
    account: &str,
    rulesets: &[FileRuleset],
) -> Vec<Ruleset> {
    let here = [Field("accounts"), Key(account), Field("rulesets")];
    check.at_most(&here, rulesets.len(), RULESETS_MAX);
    let all = rulesets.iter().take(RULESETS_MAX).enumerate();
    all.filter_map(|(nth, ruleset)| ruleset.check(check, account, nth))
        .collect()
}

/// How sure the junk filter must be.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename = "junk_filter", deny_unknown_fields, default)]
pub struct JunkFilter {
    /// Mail of strangers that is more likely junk than this is not taken.
    pub threshold: f64,
    /// The same where something else is suspicious about it.
    pub strict_threshold: f64,
    /// That is a session in clear too.
    pub strict_without_tls: bool,
    /// And a recipient that neither To nor Cc names.
    pub strict_unless_named: bool,
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
            strict_without_tls: false,
            strict_unless_named: false,
        }
    }
}

impl Default for Incoming {
    fn default() -> Self {
        Self {
            junk_filter: default_filter(),
            rejects_mailbox: default_rejects(),
            keep_rejects: false,
            dmarc_quarantine: Quarantine::default(),
            rulesets: Vec::new(),
            subject_token: None,
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
        if self.keep_rejects && self.rejects_mailbox.is_none() {
            check.problem(
                &[here[0], here[1], Field("keep_rejects")],
                "there are no copies that could be kept",
                "name a rejects_mailbox, or remove keep_rejects",
            );
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
