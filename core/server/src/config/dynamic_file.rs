//! `domains.ron`: what changes while the server runs.

use std::collections::BTreeMap;

use mox_address::{Domain, Host, LocalPart, Path};
use serde::Deserialize;

use super::aliases::{self, Alias, FileAlias};
use super::check::{self, Check};
use super::dkim::{Dkim, FileDkim};
use super::incoming::{self, FileRuleset, Incoming, JunkFilter};
use super::locate::Step::{self, Field, Item, Key};
use super::offers::{self, setting};
use super::outgoing_reports::FileOutgoingReports;
use super::problem::Problems;
use super::routes::{self, FileRoute};
use super::static_file::Static;
use crate::SendLimits;
use crate::decision::Quarantine;
use crate::lookup::{AddressError, Directory, DomainRules, Found, Postmaster, ReportAddresses};
use crate::reports_out::OutgoingReports;
use crate::routes::Routes;

/// `domains.ron`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Dynamic {
    /// The domains whose mail is taken, in A-labels.
    pub domains: BTreeMap<Domain, DomainRules>,
    /// The keys of the domains that have some.
    pub dkim: BTreeMap<Domain, Dkim>,
    /// Where reports about the domains go, for those that say so.
    pub reports: BTreeMap<Domain, ReportAddresses>,
    /// Addresses that stand for addresses of accounts, by themselves.
    pub aliases: BTreeMap<String, Alias>,
    /// The accounts by name.
    pub accounts: BTreeMap<String, Account>,
    /// By which transport mail leaves.
    pub routes: Routes,
    /// What is reported to other domains.
    pub outgoing_reports: OutgoingReports,
}

/// Somebody who has mail here.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The domain of addresses that are written without one.
    pub domain: Domain,
    /// In the order of the file; all checked to be free and of configured domains.
    pub addresses: Vec<Address>,
    /// The person's name, for messages that the server writes to this account.
    pub full_name: Option<String>,
    /// Octets of mail at most; `None` is no limit.
    pub quota: Option<u64>,
    /// IMAP capabilities that are switched off for it.
    pub imap_without: Vec<String>,
    /// What it may send within a day.
    pub send: SendLimits,
    /// What it wants of mail from elsewhere.
    pub incoming: Incoming,
}

/// An address of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `None` is a catch-all: whatever nobody else has at the domain.
    pub local: Option<LocalPart>,
    /// A configured domain, in A-labels.
    pub domain: Domain,
}

/// Messages that an account sends to others within a day, when nothing else is said.
pub const MESSAGES_PER_DAY_DEFAULT: u32 = 1_000;
/// Recipients that an account never wrote to, within a day, when nothing else is said.
pub const NEW_RECIPIENTS_PER_DAY_DEFAULT: u32 = 200;
/// Subaddress separators of a domain at most.
const SEPARATORS_MAX: usize = 8;
/// Addresses of one account at most.
const ADDRESSES_MAX: usize = 10_000;
/// Octets of a person's name at most.
const FULL_NAME_MAX: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(rename = "domains.ron", deny_unknown_fields)]
struct File {
    domains: BTreeMap<String, FileDomain>,
    accounts: BTreeMap<String, FileAccount>,
    #[serde(default)]
    routes: Vec<FileRoute>,
    #[serde(default)]
    outgoing_reports: FileOutgoingReports,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "domain", deny_unknown_fields)]
struct FileDomain {
    #[serde(default = "default_separators")]
    subaddress_separators: Vec<String>,
    #[serde(default)]
    case_sensitive: bool,
    #[serde(default)]
    dkim: Option<FileDkim>,
    #[serde(default)]
    dmarc_reports: Option<String>,
    #[serde(default)]
    tls_reports: Option<String>,
    #[serde(default)]
    aliases: BTreeMap<String, FileAlias>,
    #[serde(default)]
    routes: Vec<FileRoute>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "account", deny_unknown_fields)]
struct FileAccount {
    domain: String,
    addresses: Vec<String>,
    #[serde(default)]
    full_name: Option<String>,
    #[serde(default)]
    quota: Option<u64>,
    #[serde(default)]
    imap_without: Vec<String>,
    #[serde(default = "default_messages")]
    messages_per_day: u32,
    #[serde(default = "default_new_recipients")]
    new_recipients_per_day: u32,
    #[serde(default = "incoming::default_filter")]
    junk_filter: Option<JunkFilter>,
    #[serde(default = "incoming::default_rejects")]
    rejects_mailbox: Option<String>,
    #[serde(default)]
    keep_rejects: bool,
    #[serde(default)]
    dmarc_quarantine: Quarantine,
    #[serde(default)]
    subject_token_hours: u32,
    #[serde(default)]
    rulesets: Vec<FileRuleset>,
    #[serde(default)]
    routes: Vec<FileRoute>,
}

const fn default_messages() -> u32 {
    MESSAGES_PER_DAY_DEFAULT
}

const fn default_new_recipients() -> u32 {
    NEW_RECIPIENTS_PER_DAY_DEFAULT
}

fn default_separators() -> Vec<String> {
    let usual = DomainRules::usual().separators;
    usual.into_iter().map(String::from).collect()
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.local {
            Some(local) => write!(f, "{local}@{}", self.domain.to_unicode()),
            None => write!(f, "@{}", self.domain.to_unicode()),
        }
    }
}

impl Address {
    /// Reads `local@domain`, `@domain`, or `local` at a default domain. The error is for people.
    pub fn parse(text: &str, default: Option<&Domain>) -> Result<Self, String> {
        let (local, domain) = match text.rfind('@') {
            Some(at) => {
                let name = text.get(at + 1..).unwrap_or_default();
                let domain = Domain::parse(name, true).and_then(|d| d.to_ascii());
                (
                    text.get(..at).unwrap_or_default(),
                    domain.map_err(|e| e.to_string())?,
                )
            }
            None => (
                text,
                default.cloned().ok_or("an address is local-part@domain")?,
            ),
        };
        let local = match local {
            "" if text.starts_with('@') => None,
            local => Some(LocalPart::parse(local, true).map_err(|e| e.to_string())?),
        };
        Ok(Self { local, domain })
    }
}

impl Dynamic {
    /// Reads and checks `domains.ron`, and that both files fit together. `file` is its name for messages.
    pub fn parse(file: &str, text: &str, fixed: &Static) -> Result<Self, Problems> {
        let (raw, mut check) = check::read::<File>(file, text)?;
        let checked = raw.check(&mut check, Some(fixed));
        check.finish(Some(checked))
    }

    /// What is wrong with a `domains.ron` whose `mox.ron` cannot be read.
    pub fn check_alone(file: &str, text: &str) -> Result<(), Problems> {
        let (raw, mut check) = check::read::<File>(file, text)?;
        raw.check(&mut check, None);
        check.finish(Some(()))
    }
}

impl File {
    /// Without `mox.ron`, nothing is said about what that has.
    fn check(self, check: &mut Check<'_>, fixed: Option<&Static>) -> Dynamic {
        let postmaster = fixed.map(|fixed| &fixed.postmaster);
        let (mut domains, mut dkim) = (BTreeMap::new(), BTreeMap::new());
        let mut reports = BTreeMap::new();
        let unknown = || Postmaster {
            account: String::new(),
            mailbox: String::new(),
        };
        let mut directory = Directory::empty(postmaster.cloned().unwrap_or_else(unknown));
        for (name, raw) in &self.domains {
            let Some(domain) = check.domain_key(&[Field("domains")], name) else {
                continue;
            };
            let rules = raw.check(check, name);
            if domains.insert(domain.clone(), rules.clone()).is_some() {
                check.problem_at_key(
                    &[Field("domains")],
                    name,
                    &format!(
                        "{} stands here already in another spelling",
                        domain.to_unicode()
                    ),
                    "remove one of them",
                );
                continue;
            }
            if let Some(raw) = &raw.dkim {
                dkim.insert(domain.clone(), raw.check(check, name));
            }
            directory.add_domain(&domain, rules);
        }
        let mut accounts = BTreeMap::new();
        let mut folded: BTreeMap<String, &str> = BTreeMap::new();
        for (name, raw) in &self.accounts {
            check.account_key(&[Field("accounts")], name);
            if let Some(other) = folded.insert(name.to_lowercase(), name) {
                check.problem_at_key(
                    &[Field("accounts")],
                    name,
                    &format!("the names {other:?} and {name:?} differ in case only"),
                    "rename one of them",
                );
            }
            if let Some(account) = raw.check(check, name, &mut directory) {
                accounts.insert(name.clone(), account);
            }
        }
        let entered: Vec<_> = (self.domains.iter())
            .map(|(name, raw)| aliases::enter(check, name, &raw.aliases, &mut directory))
            .collect();
        let mut aliases = BTreeMap::new();
        for ((name, raw), entered) in self.domains.iter().zip(entered) {
            let read = aliases::members(check, name, &raw.aliases, entered, &directory);
            aliases.extend(
                read.into_iter()
                    .map(|alias| (alias.address.to_string(), alias)),
            );
        }
        for (name, raw) in &self.domains {
            let addresses = raw.reports(check, name, &directory);
            if let Ok(domain) = Domain::parse(name, true).and_then(|domain| domain.to_ascii())
                && addresses != ReportAddresses::default()
            {
                reports.insert(domain, addresses);
            }
        }
        if let Some(postmaster) = postmaster
            && !self.accounts.contains_key(&postmaster.account)
        {
            check.problem(
                &[Field("accounts")],
                &format!(
                    "there is no account {:?}, to which mox.ron gives the postmaster's mail",
                    postmaster.account
                ),
                "add it here, or name another account there",
            );
        }
        let routes = self.routes(check, fixed);
        let outgoing_reports = self.outgoing_reports.check(check, &directory);
        Dynamic {
            domains,
            dkim,
            reports,
            aliases,
            accounts,
            routes,
            outgoing_reports,
        }
    }

    fn routes(&self, check: &mut Check<'_>, fixed: Option<&Static>) -> Routes {
        let mut read =
            |place: &[Step<'_>], raw: &[FileRoute]| routes::check(check, place, raw, fixed);
        let mut routes = Routes {
            all: read(&[], &self.routes),
            ..Routes::default()
        };
        for (name, raw) in self
            .domains
            .iter()
            .filter(|(_, raw)| !raw.routes.is_empty())
        {
            let of_domain = read(&[Field("domains"), Key(name)], &raw.routes);
            if let Ok(domain) = Domain::parse(name, true).and_then(|domain| domain.to_ascii()) {
                routes.domains.insert(domain, of_domain);
            }
        }
        for (name, raw) in self
            .accounts
            .iter()
            .filter(|(_, raw)| !raw.routes.is_empty())
        {
            let of_account = read(&[Field("accounts"), Key(name)], &raw.routes);
            routes.accounts.insert(name.clone(), of_account);
        }
        routes
    }
}

impl FileDomain {
    /// The addresses for reports, which somebody must have.
    fn reports(&self, check: &mut Check<'_>, name: &str, directory: &Directory) -> ReportAddresses {
        let mut address = |field, text: &Option<String>| {
            let text = text.as_ref()?;
            let local = LocalPart::parse(text, false).ok()?;
            let path = Path {
                host: Host::Domain(Domain::parse(name, true).ok()?.to_ascii().ok()?),
                local: local.clone(),
            };
            if !(matches!(directory.find(&path), Found::Account { .. })
                || directory.is_alias(&path))
            {
                check.problem(
                    &[Field("domains"), Key(name), Field(field)],
                    &format!("nobody has the address {text}@{name}"),
                    "give it to an account, or leave this out: reports go to postmaster then",
                );
            }
            Some(local)
        };
        ReportAddresses {
            dmarc: address("dmarc_reports", &self.dmarc_reports),
            tls: address("tls_reports", &self.tls_reports),
        }
    }

    fn check(&self, check: &mut Check<'_>, name: &str) -> DomainRules {
        let here = [Field("domains"), Key(name), Field("subaddress_separators")];
        check.at_most(&here, self.subaddress_separators.len(), SEPARATORS_MAX);
        let mut separators = Vec::new();
        for (n, text) in self.subaddress_separators.iter().enumerate() {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) if c.is_ascii_punctuation() && !"@.\"\\".contains(c) => {
                    separators.push(c);
                }
                _ => check.problem(
                    &[here[0], here[1], here[2], Item(n)],
                    &format!("{text:?} is no separator"),
                    "use one ASCII character that can stand in an address, like \"+\" or \"-\"",
                ),
            }
        }
        for (field, text) in [
            ("dmarc_reports", &self.dmarc_reports),
            ("tls_reports", &self.tls_reports),
        ] {
            // It stands in a record as a part of a URI.
            let is_plain = |text: &str| {
                let mut chars = text.chars();
                chars.all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            };
            if let Some(text) = text
                && !(is_plain(text) && LocalPart::parse(text, false).is_ok())
            {
                check.problem(
                    &[here[0], here[1], Field(field)],
                    &format!("{text:?} is no local part of letters, digits, dots, \"_\" and \"-\""),
                    "write what stands before the @, like \"dmarc-reports\"",
                );
            }
        }
        DomainRules {
            separators,
            case_sensitive: self.case_sensitive,
        }
    }
}

impl FileAccount {
    fn check(
        &self,
        check: &mut Check<'_>,
        name: &str,
        directory: &mut Directory,
    ) -> Option<Account> {
        let here = [Field("accounts"), Key(name)];
        let at = |field| [here[0], here[1], Field(field)];
        let domain = check.domain(&at("domain"), &self.domain);
        if let Some(domain) = &domain
            && !directory.has_domain(domain)
        {
            check.problem(
                &at("domain"),
                &format!("{:?} is not in domains", self.domain),
                "add it there, or correct the spelling",
            );
        }
        check.at_most(&at("addresses"), self.addresses.len(), ADDRESSES_MAX);
        let mut addresses = Vec::new();
        for (n, text) in self.addresses.iter().enumerate() {
            let path = [here[0], here[1], Field("addresses"), Item(n)];
            match Address::parse(text, domain.as_ref()) {
                Err(why) => check.problem(
                    &path,
                    &format!("{text:?} is no address: {why}"),
                    "write \"local-part@domain\", or \"@domain\" for all other addresses of a domain",
                ),
                Ok(address) => match enter(directory, name, &address) {
                    Ok(()) => addresses.push(address),
                    Err(e) => {
                        let (what, remedy) = explain(&e, text, &address, name);
                        check.problem(&path, &what, &remedy);
                    }
                },
            }
        }
        if let Some(full_name) = &self.full_name
            && (full_name.len() > FULL_NAME_MAX || full_name.chars().any(char::is_control))
        {
            check.problem(
                &at("full_name"),
                &format!("{full_name:?} is too long or has control characters"),
                &format!("use at most {FULL_NAME_MAX} bytes on one line"),
            );
        }
        let without = setting("accounts", name, "imap_without");
        offers::check_without(check, without, &self.imap_without);
        if self.quota == Some(0) {
            check.problem(
                &at("quota"),
                "0 bytes leaves no room for any message",
                "leave quota out for no limit",
            );
        }
        let incoming = Incoming {
            junk_filter: self.junk_filter,
            rejects_mailbox: self.rejects_mailbox.clone(),
            keep_rejects: self.keep_rejects,
            dmarc_quarantine: self.dmarc_quarantine,
            rulesets: incoming::rulesets(check, name, &self.rulesets),
            subject_token: incoming::subject_token(check, name, self.subject_token_hours),
        };
        incoming.check(check, name);
        Some(Account {
            incoming,
            domain: domain?,
            addresses,
            full_name: self.full_name.clone(),
            quota: self.quota,
            imap_without: self.imap_without.clone(),
            send: send_limits(self.messages_per_day, self.new_recipients_per_day),
        })
    }
}

/// 0 is no limit.
fn send_limits(messages: u32, new_recipients: u32) -> SendLimits {
    SendLimits {
        messages: Some(messages).filter(|most| *most > 0),
        new_recipients: Some(new_recipients).filter(|most| *most > 0),
    }
}

/// What an account may send of which nothing is said.
pub(super) fn usual_send_limits() -> SendLimits {
    send_limits(MESSAGES_PER_DAY_DEFAULT, NEW_RECIPIENTS_PER_DAY_DEFAULT)
}

/// Gives an address of the configuration to its account.
fn enter(directory: &mut Directory, account: &str, address: &Address) -> Result<(), AddressError> {
    match &address.local {
        Some(local) => directory.add_address(account, local, &address.domain),
        None => directory.add_catch_all(account, &address.domain),
    }
}

/// What is wrong with an address that cannot be entered, and the remedy.
pub(super) fn explain(
    error: &AddressError,
    text: &str,
    address: &Address,
    account: &str,
) -> (String, String) {
    let domain = address.domain.to_unicode();
    match error {
        AddressError::UnknownDomain => (
            format!("{text:?}: the domain {domain} is not in domains"),
            "add it there, or correct the spelling".into(),
        ),
        AddressError::Separator { separator, base } => (
            format!("{text:?}: what follows {separator:?} does not count at {domain}"),
            format!("write \"{base}@{domain}\", or change its subaddress_separators"),
        ),
        AddressError::Taken(owner) if owner == account => (
            format!("{text:?} stands here twice"),
            "remove one of them".into(),
        ),
        AddressError::IsAlias => (
            format!("{text:?} is an alias already"),
            "remove one of the two".into(),
        ),
        AddressError::Taken(owner) => (
            format!("{text:?} belongs to account {owner:?} already"),
            "remove it from one of the two".into(),
        ),
    }
}
