//! Whose an address is.
//!
//! There is a postmaster for every name of ours, aliases for addresses of accounts, and catch-all addresses; local parts are compared in NFC
//! and folded.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mox_address::{Domain, Host, LocalPart, Path};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::SendLimits;
use crate::config::{Dynamic, Incoming, Static};
use crate::reports::ReportKind;
use crate::reports_out::OutgoingReports;
use crate::routes::Routes;

/// All addresses of a server. Immutable while in use: a changed configuration makes a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Directory {
    postmaster: Postmaster,
    accounts: BTreeSet<String>,
    /// Octets of mail at most, for accounts that have a limit.
    quotas: BTreeMap<String, u64>,
    /// IMAP capabilities that are off, for accounts that have some.
    imap_without: BTreeMap<String, Vec<String>>,
    /// What accounts may send, for those that have limits.
    send_limits: BTreeMap<String, SendLimits>,
    /// What accounts want of mail from elsewhere; those that say nothing want what is usual.
    incoming: BTreeMap<String, Incoming>,
    usual: Incoming,
    /// By A-label name.
    domains: BTreeMap<Domain, LocalDomain>,
    /// Where reports about domains go, for those that say so.
    reports: BTreeMap<Domain, ReportAddresses>,
    /// By which transport mail leaves.
    routes: Routes,
    /// What is reported to other domains.
    outgoing_reports: OutgoingReports,
    /// Host names and address literals of ours that are no mail domains: they have a postmaster and nobody else.
    hosts: BTreeSet<Host>,
}

/// Where mail for the postmaster goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postmaster {
    /// The account.
    pub account: String,
    /// Its mailbox.
    pub mailbox: String,
}

/// How a domain of ours reads local parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DomainRules {
    /// What follows the first of these in a local part does not count: `jo+lists@` is `jo@`.
    pub separators: Vec<char>,
    /// `Jo@` and `jo@` are different addresses.
    pub case_sensitive: bool,
}

impl DomainRules {
    /// Those that hold unless a domain says otherwise.
    pub fn usual() -> Self {
        Self {
            separators: vec!['+'],
            case_sensitive: false,
        }
    }
}

/// Where reports about a domain go: local parts; `None` is the postmaster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportAddresses {
    /// DMARC aggregate reports.
    pub dmarc: Option<LocalPart>,
    /// TLS reports.
    pub tls: Option<LocalPart>,
}

impl ReportAddresses {
    /// The local part for one kind of report.
    pub fn local(&self, kind: ReportKind) -> &str {
        let local = match kind {
            ReportKind::Dmarc => &self.dmarc,
            ReportKind::Tls => &self.tls,
        };
        local.as_ref().map_or(POSTMASTER, LocalPart::as_str)
    }
}

/// Whose an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is an account's.
    Account {
        /// The account's name.
        account: String,
        /// The address without subaddress, in the form it is compared in, its domain in U-labels.
        canonical: String,
        /// The mailbox for its mail; `None` is the Inbox.
        mailbox: Option<String>,
    },
    /// It is an alias: mail for it is for each of its members.
    Alias {
        /// The address without subaddress, in the form it is compared in, its domain in U-labels.
        canonical: String,
        /// At least one, none of them an alias.
        members: Vec<Member>,
        /// Each of them may send with it.
        members_may_send: bool,
    },
    /// The domain is ours, the local part is nobody's.
    UnknownLocalPart,
    /// The domain is not ours.
    NotOurs,
}

/// Who gets the mail for an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub account: String,
    /// The address of the account that the alias names.
    pub address: Path,
}

/// Why an address cannot be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressError {
    /// Its domain was not added.
    UnknownDomain,
    /// It holds a subaddress separator, so mail for it goes to this address.
    Separator {
        /// The character.
        separator: char,
        /// The local part before it.
        base: String,
    },
    /// It is entered already, for this account.
    Taken(String),
    /// It is entered already, as an alias.
    IsAlias,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LocalDomain {
    rules: DomainRules,
    shown: String,
    /// Account by canonical local part.
    local_parts: BTreeMap<String, String>,
    /// By canonical local part.
    aliases: BTreeMap<String, LocalAlias>,
    catch_all: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LocalAlias {
    members: Vec<Member>,
    members_may_send: bool,
}

const POSTMASTER: &str = "postmaster";

impl Directory {
    /// The directory of a configuration.
    ///
    /// What cannot be entered is left out; [`Dynamic`] and [`Static`] that were parsed hold nothing of that kind.
    pub fn new(fixed: &Static, dynamic: &Dynamic) -> Self {
        let mut directory = Self::empty(fixed.postmaster.clone());
        directory.add_host(Host::Domain(fixed.hostname.clone()));
        for listener in fixed.listeners.values() {
            directory.add_host(Host::Domain(listener.hostname.clone()));
            for ip in listener.ips.iter().filter(|ip| !ip.is_unspecified()) {
                directory.add_host(Host::Literal(*ip));
            }
        }
        for (name, domain) in &dynamic.domains {
            directory.add_domain(name, domain.clone());
        }
        directory.reports.clone_from(&dynamic.reports);
        directory.routes.clone_from(&dynamic.routes);
        directory
            .outgoing_reports
            .clone_from(&dynamic.outgoing_reports);
        for (name, account) in &dynamic.accounts {
            directory.add_account(name);
            if let Some(quota) = account.quota {
                directory.quotas.insert(name.clone(), quota);
            }
            directory.set_imap_without(name, account.imap_without.clone());
            directory.send_limits.insert(name.clone(), account.send);
            directory.set_incoming(name, account.incoming.clone());
            for address in &account.addresses {
                // Checked when the configuration was read.
                let _ = match &address.local {
                    Some(local) => directory.add_address(name, local, &address.domain),
                    None => directory.add_catch_all(name, &address.domain),
                };
            }
        }
        for alias in dynamic.aliases.values() {
            let members = alias.members.iter();
            let members = members.filter_map(|member| directory.member(member.path()?));
            let (members, Some(local)) = (members.collect(), &alias.address.local) else {
                continue;
            };
            let domain = &alias.address.domain;
            let _ = directory.add_alias(local, domain, members, alias.members_may_send);
        }
        directory
    }

    /// Says by which transport mail leaves.
    pub fn set_routes(&mut self, routes: Routes) {
        self.routes = routes;
    }

    /// By which transport mail leaves.
    pub const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Says what is reported to other domains.
    pub fn set_outgoing_reports(&mut self, reports: OutgoingReports) {
        self.outgoing_reports = reports;
    }

    /// What is reported to other domains: nothing, unless a configuration or [`set_outgoing_reports`](Self::set_outgoing_reports) says so.
    pub const fn outgoing_reports(&self) -> &OutgoingReports {
        &self.outgoing_reports
    }

    /// The domains of ours, in A-labels.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.keys()
    }

    /// Says what an account wants of mail from elsewhere.
    pub fn set_incoming(&mut self, account: &str, incoming: Incoming) {
        self.incoming.insert(account.into(), incoming);
    }

    /// What an account wants of mail from elsewhere.
    pub fn incoming(&self, account: &str) -> &Incoming {
        self.incoming.get(account).unwrap_or(&self.usual)
    }

    /// Switches IMAP capabilities off for an account.
    pub fn set_imap_without(&mut self, account: &str, capabilities: Vec<String>) {
        match capabilities.is_empty() {
            true => self.imap_without.remove(account),
            false => self.imap_without.insert(account.into(), capabilities),
        };
    }

    /// IMAP capabilities that are off for an account, beside those that are off where it comes in.
    pub fn imap_without(&self, account: &str) -> &[String] {
        self.imap_without.get(account).map_or(&[], Vec::as_slice)
    }

    /// A directory without domains.
    pub fn empty(postmaster: Postmaster) -> Self {
        let accounts = BTreeSet::from([postmaster.account.clone()]);
        Self {
            postmaster,
            accounts,
            quotas: BTreeMap::new(),
            imap_without: BTreeMap::new(),
            send_limits: BTreeMap::new(),
            incoming: BTreeMap::new(),
            usual: Incoming::default(),
            domains: BTreeMap::new(),
            reports: BTreeMap::new(),
            routes: Routes::default(),
            outgoing_reports: OutgoingReports::default(),
            hosts: BTreeSet::new(),
        }
    }

    /// The directory of a server for trying things out: `mox`, `u0`, `u1`, ... at localhost, everything else at
    /// localhost belongs to `mox`.
    pub fn local(accounts: u32) -> Self {
        let mut directory = Self::empty(Postmaster {
            account: "mox".into(),
            mailbox: "Inbox".into(),
        });
        let (Ok(domain), Ok(mox)) = (
            Domain::parse("localhost", false),
            LocalPart::parse("mox", false),
        ) else {
            return directory;
        };
        directory.add_domain(&domain, DomainRules::usual());
        directory.add_host(Host::Literal(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)));
        directory.add_host(Host::Literal(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)));
        // All names differ and their domain was just added, so none of these fails.
        let _ = directory.add_address("mox", &mox, &domain);
        let _ = directory.add_catch_all("mox", &domain);
        for name in (0..accounts).map(|n| format!("u{n}")) {
            if let Ok(local) = LocalPart::parse(&name, false) {
                let _ = directory.add_address(&name, &local, &domain);
            }
        }
        directory
    }

    /// Adds a domain, or changes the rules of one that has no address yet.
    pub fn add_domain(&mut self, name: &Domain, rules: DomainRules) {
        let shown = name.to_unicode();
        let entry = LocalDomain {
            rules,
            shown,
            local_parts: BTreeMap::new(),
            aliases: BTreeMap::new(),
            catch_all: None,
        };
        self.domains.insert(a_labels(name).into_owned(), entry);
    }

    /// Adds a name or address literal of this server. Only its postmaster exists there.
    pub fn add_host(&mut self, host: Host) {
        self.hosts.insert(match host {
            Host::Domain(name) => Host::Domain(a_labels(&name).into_owned()),
            literal @ Host::Literal(_) => literal,
        });
    }

    /// Adds an account, so far without an address.
    pub fn add_account(&mut self, name: &str) {
        self.accounts.insert(name.to_owned());
    }

    /// Gives an address to an account, which is added when it is new.
    pub fn add_address(
        &mut self,
        account: &str,
        local: &LocalPart,
        domain: &Domain,
    ) -> Result<(), AddressError> {
        let (entry, canonical) = self.free(local, domain)?;
        entry.local_parts.insert(canonical, account.to_owned());
        self.accounts.insert(account.to_owned());
        Ok(())
    }

    /// Makes an address an alias for addresses of accounts: what [`member`](Self::member) found. Without any there is no such address.
    pub fn add_alias(
        &mut self,
        local: &LocalPart,
        domain: &Domain,
        members: Vec<Member>,
        members_may_send: bool,
    ) -> Result<(), AddressError> {
        let (entry, canonical) = self.free(local, domain)?;
        let alias = LocalAlias {
            members,
            members_may_send,
        };
        entry.aliases.insert(canonical, alias);
        Ok(())
    }

    /// Somebody who can be a member of an alias: an address that an account has listed.
    pub fn member(&self, address: Path) -> Option<Member> {
        let (account, _) = self.domain(&address.host)?.listed(&address.local)?;
        Some(Member {
            account: account.to_owned(),
            address,
        })
    }

    /// An address that is entered as an alias, with members or without.
    pub(crate) fn is_alias(&self, address: &Path) -> bool {
        let domain = self.domain(&address.host);
        domain.is_some_and(|domain| {
            let canonical = domain.rules.canonical(&address.local);
            canonical.is_some_and(|canonical| domain.aliases.contains_key(&canonical))
        })
    }

    /// The domain and the canonical form of an address that is not entered yet.
    fn free(
        &mut self,
        local: &LocalPart,
        domain: &Domain,
    ) -> Result<(&mut LocalDomain, String), AddressError> {
        let entry = self
            .domains
            .get_mut(&*a_labels(domain))
            .ok_or(AddressError::UnknownDomain)?;
        let written = local.as_str();
        if let Some((base, separator)) = entry.rules.subaddress(written) {
            return Err(AddressError::Separator {
                separator,
                base: base.to_owned(),
            });
        }
        let canonical = entry
            .rules
            .canonical(local)
            .ok_or(AddressError::UnknownDomain)?;
        if let Some(owner) = entry.local_parts.get(&canonical) {
            return Err(AddressError::Taken(owner.clone()));
        }
        if entry.aliases.contains_key(&canonical) {
            return Err(AddressError::IsAlias);
        }
        Ok((entry, canonical))
    }

    /// Gives all addresses of a domain that are nobody's to an account, which is added when it is new.
    pub fn add_catch_all(&mut self, account: &str, domain: &Domain) -> Result<(), AddressError> {
        let entry = self
            .domains
            .get_mut(&*a_labels(domain))
            .ok_or(AddressError::UnknownDomain)?;
        if let Some(owner) = &entry.catch_all {
            return Err(AddressError::Taken(owner.clone()));
        }
        entry.catch_all = Some(account.to_owned());
        self.accounts.insert(account.to_owned());
        Ok(())
    }

    /// Whose an address is.
    pub fn find(&self, address: &Path) -> Found {
        let is_postmaster = address.local.as_str().eq_ignore_ascii_case(POSTMASTER);
        if let Some(domain) = self.domain(&address.host) {
            if let Some((account, canonical)) = domain.listed(&address.local) {
                return Found::Account {
                    account: account.to_owned(),
                    canonical: format!("{canonical}@{}", domain.shown),
                    mailbox: None,
                };
            }
            if let Some((alias, canonical)) = domain.alias(&address.local) {
                return Found::Alias {
                    canonical: format!("{canonical}@{}", domain.shown),
                    members: alias.members.clone(),
                    members_may_send: alias.members_may_send,
                };
            }
            if is_postmaster {
                return self.postmaster_at(&domain.shown);
            }
            return match &domain.catch_all {
                Some(account) => Found::Account {
                    account: account.clone(),
                    canonical: format!("{}@{}", domain.folded(&address.local), domain.shown),
                    mailbox: None,
                },
                None => Found::UnknownLocalPart,
            };
        }
        let host = match &address.host {
            Host::Domain(name) => Host::Domain(a_labels(name).into_owned()),
            literal @ Host::Literal(_) => literal.clone(),
        };
        match self.hosts.contains(&host) {
            true if is_postmaster => self.postmaster_at(&host.to_string()),
            true => Found::UnknownLocalPart,
            false => Found::NotOurs,
        }
    }

    /// The kinds of reports that an address is for, about its own domain and others of ours.
    pub fn reports_at(&self, address: &Path) -> Vec<ReportKind> {
        let Host::Domain(name) = &address.host else {
            return Vec::new();
        };
        let name = a_labels(name);
        let Some(domain) = self.domains.get(&*name) else {
            return Vec::new();
        };
        let usual = ReportAddresses::default();
        let addresses = self.reports.get(&*name).unwrap_or(&usual);
        let local = domain.rules.canonical(&address.local);
        let is_for = |kind: &ReportKind| {
            let for_reports = addresses.local(*kind);
            local.as_deref() == Some(&domain.rules.fold(for_reports))
        };
        let kinds = [ReportKind::Dmarc, ReportKind::Tls];
        kinds.into_iter().filter(is_for).collect()
    }

    /// The account that a login name belongs to: one of its listed addresses, with or without a subaddress.
    /// Catch-all and implicit postmaster addresses are no login names.
    pub fn login(&self, user: &str) -> Option<String> {
        let address = Path::parse(user, true).ok()?;
        let (account, _) = self.domain(&address.host)?.listed(&address.local)?;
        Some(account.to_owned())
    }

    /// A login name in the form it is compared in: all spellings of one name give the same, whether it is somebody's or not.
    pub fn login_form(&self, user: &str) -> String {
        let Ok(address) = Path::parse(user, true) else {
            return user.nfc().flat_map(char::to_lowercase).collect();
        };
        let host = match &address.host {
            Host::Domain(name) => a_labels(name).to_string(),
            literal @ Host::Literal(_) => literal.to_string(),
        };
        let local = match self.domain(&address.host) {
            Some(domain) => domain.folded(&address.local),
            None => DomainRules::default().fold(address.local.as_str()),
        };
        format!("{local}@{host}")
    }

    /// True when `account` may send with `address`: mail for it goes there, or it is a member of an alias whose members may.
    pub fn owns(&self, account: &str, address: &Path) -> bool {
        match self.find(address) {
            Found::Account { account: owner, .. } => owner == account,
            Found::Alias {
                members,
                members_may_send,
                ..
            } => members_may_send && members.iter().any(|member| member.account == account),
            Found::UnknownLocalPart | Found::NotOurs => false,
        }
    }

    /// True when mail for this domain is taken.
    pub fn has_domain(&self, name: &Domain) -> bool {
        self.domains.contains_key(&*a_labels(name))
    }

    /// Octets of mail an account may have; `None` is no limit.
    pub fn quota(&self, account: &str) -> Option<u64> {
        self.quotas.get(account).copied()
    }

    /// What an account may send within a day.
    pub fn send_limits(&self, account: &str) -> SendLimits {
        self.send_limits.get(account).copied().unwrap_or_default()
    }

    /// All accounts, in order of name.
    pub fn accounts(&self) -> Vec<String> {
        self.accounts.iter().cloned().collect()
    }

    fn domain(&self, host: &Host) -> Option<&LocalDomain> {
        match host {
            Host::Domain(name) => self.domains.get(&*a_labels(name)),
            Host::Literal(_) => None,
        }
    }

    fn postmaster_at(&self, host: &str) -> Found {
        Found::Account {
            account: self.postmaster.account.clone(),
            canonical: format!("{POSTMASTER}@{host}"),
            mailbox: Some(self.postmaster.mailbox.clone()),
        }
    }
}

impl LocalDomain {
    /// The account that has this local part listed, and the canonical form it was found under.
    fn listed(&self, local: &LocalPart) -> Option<(&str, String)> {
        let canonical = self.rules.canonical(local)?;
        let account = self.local_parts.get(&canonical)?;
        Some((account, canonical))
    }

    /// The alias with this local part, and the canonical form it was found under.
    fn alias(&self, local: &LocalPart) -> Option<(&LocalAlias, String)> {
        let canonical = self.rules.canonical(local)?;
        let alias = self.aliases.get(&canonical)?;
        (!alias.members.is_empty()).then_some((alias, canonical))
    }

    fn folded(&self, local: &LocalPart) -> String {
        self.rules
            .canonical(local)
            .unwrap_or_else(|| self.rules.fold(local.as_str()))
    }
}

impl DomainRules {
    /// The local part without subaddress and in the form it is compared in; `None` when nothing is left of it.
    /// The postmaster's is lower case everywhere (RFC 5321 4.5.1).
    fn canonical(&self, local: &LocalPart) -> Option<String> {
        let base = self
            .subaddress(local.as_str())
            .map_or(local.as_str(), |(base, _)| base);
        match base {
            // A quoted empty local part is an address; what begins with a separator is not.
            "" if !local.as_str().is_empty() => None,
            base if base.eq_ignore_ascii_case(POSTMASTER) => Some(POSTMASTER.into()),
            base => Some(self.fold(base)),
        }
    }

    /// What stands before the first separator, and which it is.
    fn subaddress<'a>(&self, local: &'a str) -> Option<(&'a str, char)> {
        let (at, separator) = local
            .char_indices()
            .find(|(_, c)| self.separators.contains(c))?;
        Some((local.get(..at)?, separator))
    }

    fn fold(&self, local: &str) -> String {
        // Folding can undo composition, so it comes first.
        match (self.case_sensitive, local.is_ascii()) {
            (true, _) if is_nfc(local) => local.to_owned(),
            (true, _) => local.nfc().collect(),
            (false, true) => local.to_ascii_lowercase(),
            (false, false) => local
                .nfc()
                .flat_map(char::to_lowercase)
                .collect::<String>()
                .nfc()
                .collect(),
        }
    }
}

/// The form domains are compared in. A name that has no A-labels stays as it is, and so equals nothing of ours.
fn a_labels(name: &Domain) -> Cow<'_, Domain> {
    if name.as_str().is_ascii() {
        return Cow::Borrowed(name);
    }
    name.to_ascii().map_or(Cow::Borrowed(name), Cow::Owned)
}
