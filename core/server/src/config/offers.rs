//! What the services of a listener offer to clients, and what is wrong with such a list.

use mox_imap::server::{CAPABILITIES, is_capability};
use mox_sasl::Mechanism;

use super::check::Check;
use super::locate::Step::{self, Field, Item};

/// What submission and IMAP offer at a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    /// SASL mechanisms, best first.
    pub mechanisms: Vec<Mechanism>,
    /// IMAP capabilities that are switched off.
    pub imap_without: Vec<String>,
    /// IMAP streams may be compressed.
    pub imap_compress: bool,
    /// Messages that one IMAP command takes (RFC 9738); 0 is no limit.
    pub imap_message_limit: u32,
}

/// The least message limit there is (RFC 9738 3).
const MESSAGE_LIMIT_MIN: u32 = 1_000;

impl Default for Offers {
    fn default() -> Self {
        Self {
            mechanisms: Mechanism::USUAL.into(),
            imap_without: Vec::new(),
            imap_compress: false,
            imap_message_limit: 0,
        }
    }
}

impl Offers {
    /// Credentials must be stored from which CRAM-MD5 can be answered.
    pub fn needs_cram_md5(&self) -> bool {
        self.mechanisms.contains(&Mechanism::CramMd5)
    }
}

/// The mechanisms that a file names, in the order in which they are offered. `here` is the setting.
pub(super) fn mechanisms(
    check: &mut Check<'_>,
    here: [Step<'_>; 3],
    names: Option<&[String]>,
) -> Vec<Mechanism> {
    let Some(names) = names else {
        return Mechanism::USUAL.into();
    };
    // For a certificate nobody is asked.
    let possible = |m: &Mechanism| *m != Mechanism::External;
    let mut named = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let at = [here[0], here[1], here[2], Item(n)];
        match Mechanism::parse(name.as_bytes()).filter(possible) {
            Some(mechanism) if named.contains(&mechanism) => {
                check.problem(&at, &format!("{name:?} stands here twice"), "remove one");
            }
            Some(mechanism) => named.push(mechanism),
            None => {
                let known = Mechanism::ALL.into_iter().filter(possible);
                let known: Vec<_> = known.map(Mechanism::name).collect();
                check.problem(
                    &at,
                    &format!("{name:?} is no SASL mechanism that can be offered"),
                    &format!("use some of: {}", known.join(", ")),
                );
            }
        }
    }
    if names.is_empty() {
        check.problem(
            &here,
            "the list is empty, so nobody could log in",
            "name some, or remove the setting for the usual ones",
        );
    }
    let all = Mechanism::ALL.into_iter();
    all.filter(|mechanism| named.contains(mechanism)).collect()
}

/// Notes names that are no capabilities, or that cannot be switched off. `here` is the setting.
pub(super) fn check_without(check: &mut Check<'_>, here: [Step<'_>; 3], names: &[String]) {
    check.at_most(&here, names.len(), CAPABILITIES.len());
    for (n, name) in names.iter().enumerate() {
        let at = [here[0], here[1], here[2], Item(n)];
        if is_capability(name) {
            continue;
        }
        let upper = name.to_ascii_uppercase();
        let (what, remedy) = match upper.as_str() {
            "IMAP4REV1" => (
                "is what all others stand on".to_owned(),
                "remove it; a listener without imap and imaps has no IMAP".to_owned(),
            ),
            "STARTTLS" | "LOGINDISABLED" => (
                "follows from the certificate and from no_require_starttls".to_owned(),
                "remove it".to_owned(),
            ),
            _ if upper.starts_with("AUTH=") => (
                "is a SASL mechanism".to_owned(),
                "list those you want in sasl_mechanisms of a listener".to_owned(),
            ),
            _ => (
                "is no IMAP capability known here".to_owned(),
                format!("use some of: {}", CAPABILITIES.join(", ")),
            ),
        };
        check.problem(&at, &format!("{name:?} {what}"), &remedy);
    }
}

/// Notes a message limit that is too low. `here` is the setting.
pub(super) fn check_message_limit(check: &mut Check<'_>, here: [Step<'_>; 3], limit: u32) {
    if (1..MESSAGE_LIMIT_MIN).contains(&limit) {
        check.problem(
            &here,
            &format!("{limit} messages are fewer than {MESSAGE_LIMIT_MIN}"),
            "name more, or remove the setting: then there is no limit",
        );
    }
}

/// The place of a setting of something named in a map.
pub(super) const fn setting<'a>(map: &'a str, name: &'a str, field: &'a str) -> [Step<'a>; 3] {
    [Field(map), Step::Key(name), Field(field)]
}
