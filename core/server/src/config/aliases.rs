//! Addresses that stand for addresses of accounts: part of a domain's entry in `domains.ron`.

use std::collections::BTreeMap;

use mox_address::{Domain, Host, LocalPart, Path};
use serde::Deserialize;

use super::check::Check;
use super::dynamic_file::{Address, explain};
use super::locate::Step::{Field, Item, Key};
use crate::lookup::{Directory, Found};

/// Members of an alias at most: each has a decision and a copy, in one operation.
pub const ALIAS_MEMBERS_MAX: usize = 100;
/// Aliases of a domain at most.
pub const ALIASES_MAX: usize = 10_000;

/// An address that stands for addresses of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The address, never a catch-all.
    pub address: Address,
    /// Addresses of accounts, in the order of the file.
    pub members: Vec<Address>,
    /// Each member may send with it.
    pub members_may_send: bool,
}

/// An alias as it stands in the file, by its local part.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename = "alias", deny_unknown_fields)]
pub(super) struct FileAlias {
    members: Vec<String>,
    #[serde(default)]
    members_may_send: bool,
}

impl Address {
    /// As SMTP names it; `None` for a catch-all.
    pub fn path(&self) -> Option<Path> {
        Some(Path {
            local: self.local.clone()?,
            host: Host::Domain(self.domain.clone()),
        })
    }
}

/// The aliases of a domain, without their members, which may be aliases further down: enters them.
pub(super) fn enter(
    check: &mut Check<'_>,
    name: &str,
    aliases: &BTreeMap<String, FileAlias>,
    directory: &mut Directory,
) -> Vec<(String, Address)> {
    let here = [Field("domains"), Key(name), Field("aliases")];
    check.at_most(&here, aliases.len(), ALIASES_MAX);
    // What is wrong with the domain's name is said elsewhere.
    let Ok(domain) = Domain::parse(name, true).and_then(|domain| domain.to_ascii()) else {
        return Vec::new();
    };
    let mut entered = Vec::new();
    for written in aliases.keys() {
        let local = match LocalPart::parse(written, true) {
            Ok(local) if !written.contains('@') && !written.is_empty() => local,
            _ => {
                let what = format!("{written:?} is no local part");
                check.problem_at_key(&here, written, &what, "write what stands before the @");
                continue;
            }
        };
        let address = Address {
            local: Some(local.clone()),
            domain: domain.clone(),
        };
        match directory.add_alias(&local, &domain, Vec::new(), false) {
            Ok(()) => entered.push((written.clone(), address)),
            Err(error) => {
                let (what, remedy) = explain(&error, &address.to_string(), &address, "");
                check.problem_at_key(&here, written, &what, &remedy);
            }
        }
    }
    entered
}

/// The aliases of a domain with their members, once all aliases and accounts are known.
pub(super) fn members(
    check: &mut Check<'_>,
    name: &str,
    aliases: &BTreeMap<String, FileAlias>,
    entered: Vec<(String, Address)>,
    directory: &Directory,
) -> Vec<Alias> {
    let mut all = Vec::new();
    for (written, address) in entered {
        let Some(raw) = aliases.get(&written) else {
            continue;
        };
        let here = [Field("domains"), Key(name), Field("aliases"), Key(&written)];
        let list = [here[0], here[1], here[2], here[3], Field("members")];
        check.at_most(&list, raw.members.len(), ALIAS_MEMBERS_MAX);
        if raw.members.is_empty() {
            let remedy = "name addresses of accounts, or remove the alias";
            check.problem(&list, "this alias has no members", remedy);
        }
        let mut members: Vec<Address> = Vec::new();
        for (n, text) in raw.members.iter().enumerate() {
            let found = member(text, &address.domain, directory);
            let found = found.and_then(|member| {
                let mut known = members.iter();
                match known.find(|known| is_one(directory, known, &member)) {
                    Some(known) if *known == member => Err((
                        format!("{text:?} stands here twice"),
                        "remove one of them".into(),
                    )),
                    Some(known) => Err((
                        format!("{text:?} is the same address as {known}, which stands here too"),
                        "remove one of them".into(),
                    )),
                    None => Ok(member),
                }
            });
            match found {
                Ok(member) => members.push(member),
                Err((what, remedy)) => {
                    let path = [list[0], list[1], list[2], list[3], list[4], Item(n)];
                    check.problem(&path, &what, &remedy);
                }
            }
        }
        all.push(Alias {
            address,
            members,
            members_may_send: raw.members_may_send,
        });
    }
    all
}

/// Whether two addresses of accounts are one, whatever their letter case and subaddress.
pub(super) fn is_one(directory: &Directory, a: &Address, b: &Address) -> bool {
    let canonical = |address: &Address| match directory.find(&address.path()?) {
        Found::Account { canonical, .. } => Some(canonical),
        _ => None,
    };
    a == b || canonical(a).is_some_and(|a| canonical(b) == Some(a))
}

/// Reads an address that an account must have. The error is what is wrong, and the remedy.
pub(super) fn member(
    text: &str,
    default: &Domain,
    directory: &Directory,
) -> Result<Address, (String, String)> {
    let address = Address::parse(text, Some(default)).map_err(|why| {
        (
            format!("{text:?} is no address: {why}"),
            "write \"local-part@domain\"".to_owned(),
        )
    })?;
    let Some(path) = address.path() else {
        return Err((
            format!("{text:?} is no single address"),
            "name an address of an account".into(),
        ));
    };
    if directory.is_alias(&path) {
        return Err((
            format!("{text:?} is an alias itself"),
            "name its members instead".into(),
        ));
    }
    match directory.member(path.clone()) {
        Some(_) => Ok(address),
        None => Err((
            match directory.find(&path) {
                Found::NotOurs => format!("{text:?} is no address here"),
                _ => format!("no account has the address {address}"),
            },
            "give it to an account, or correct the spelling".into(),
        )),
    }
}
