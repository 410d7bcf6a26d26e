//! Changes of `domains.ron` that leave everything else in it as it is: comments, order, layout.
//!
//! The new text is cut into the old one at the place of what it belongs to, then read again: it is returned only
//! when it means exactly what was asked for.

use core::fmt;
use core::ops::Range;

use mox_address::{Domain, Path};
use ron2::ast::Expr;

use super::check::is_account_name;
use super::dkim::Dkim;
use super::dynamic_file::{Account, Address, Dynamic, explain, usual_send_limits};
use super::incoming::Incoming;
use super::locate::Located;
use super::locate::Step::{self, Field, Key};
use super::problem::Problems;
use super::static_file::Static;
use crate::lookup::{Directory, DomainRules};

/// Why a file was not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// The file is wrong as it is, so nothing is built on it.
    Problems(Problems),
    /// The change is not possible: why, and what to do.
    Refused(String),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.fmt(f),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for EditError {}

impl From<Problems> for EditError {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

/// Adds an account with one address. `file` is the name of `domains.ron` for messages, `text` its content; the
/// answer is its new content.
pub fn add_account(
    file: &str,
    text: &str,
    fixed: &Static,
    name: &str,
    address: &str,
) -> Result<String, EditError> {
    let old = Dynamic::parse(file, text, fixed)?;
    if !is_account_name(name) {
        return Err(refused(format!(
            "{name:?} cannot be the name of an account; use up to 64 of a-z, 0-9 and . _ @ -, \
             beginning with a letter or a digit"
        )));
    }
    if old.accounts.contains_key(name) {
        return Err(refused(format!(
            "there is an account {name:?} already; choose another name"
        )));
    }
    let address = free_address(fixed, &old, name, address)?;
    let entry = format!(
        "{name:?}: (domain: {:?}, addresses: [{:?}])",
        address.domain.to_unicode(),
        address.to_string()
    );
    let mut wanted = old;
    wanted.accounts.insert(
        name.to_owned(),
        Account {
            domain: address.domain.clone(),
            addresses: vec![address],
            full_name: None,
            quota: None,
            imap_without: Vec::new(),
            send: usual_send_limits(),
            incoming: Incoming::default(),
        },
    );
    confirm(
        file,
        insert(text, &[Field("accounts")], &entry),
        fixed,
        &wanted,
    )
}

/// Removes an account with its addresses. Its mail stays in the store.
pub fn remove_account(
    file: &str,
    text: &str,
    fixed: &Static,
    name: &str,
) -> Result<String, EditError> {
    let mut wanted = Dynamic::parse(file, text, fixed)?;
    if wanted.accounts.remove(name).is_none() {
        return Err(refused(format!(
            "there is no account {name:?}; check the spelling"
        )));
    }
    wanted.routes.accounts.remove(name);
    no_alias_names(fixed, &wanted)?;
    if fixed.postmaster.account == name {
        return Err(refused(format!(
            "mox.ron gives the postmaster's mail to account {name:?}; name another account there first"
        )));
    }
    confirm(
        file,
        remove(text, &[Field("accounts")], |key, _| key == Some(name)),
        fixed,
        &wanted,
    )
}

/// Adds a domain that signs with these keys, in the order of `dkim.sign`; the usual rules hold for it.
pub fn add_domain(
    file: &str,
    text: &str,
    fixed: &Static,
    name: &str,
    dkim: &Dkim,
) -> Result<String, EditError> {
    let mut wanted = Dynamic::parse(file, text, fixed)?;
    let domain = a_labels(name)?;
    let rules = DomainRules::usual();
    if wanted.domains.insert(domain.clone(), rules).is_some() {
        return Err(refused(format!("there is a domain {name:?} already")));
    }
    let keys = dkim.sign.iter().filter_map(|selector| {
        let key = &dkim.selectors.get(selector)?.key;
        Some(format!("{selector:?}: (key: {key:?})"))
    });
    let keys: Vec<String> = keys.collect();
    let entry = format!(
        "{:?}: (dkim: (selectors: {{{}}}, sign: {:?}))",
        domain.to_unicode(),
        keys.join(", "),
        dkim.sign
    );
    wanted.dkim.insert(domain, dkim.clone());
    let text = insert(text, &[Field("domains")], &entry);
    confirm(file, text, fixed, &wanted)
}

/// Removes a domain at which nobody has an address any more.
pub fn remove_domain(
    file: &str,
    text: &str,
    fixed: &Static,
    name: &str,
) -> Result<String, EditError> {
    let mut wanted = Dynamic::parse(file, text, fixed)?;
    let domain = a_labels(name)?;
    if wanted.domains.remove(&domain).is_none() {
        return Err(refused(format!(
            "there is no domain {name:?}; check the spelling"
        )));
    }
    wanted.dkim.remove(&domain);
    wanted.routes.domains.remove(&domain);
    wanted
        .aliases
        .retain(|_, alias| alias.address.domain != domain);
    for (account, of) in &wanted.accounts {
        if let Some(address) = of.addresses.iter().find(|a| a.domain == domain) {
            return Err(refused(format!(
                "account {account:?} has the address {address} there; take it away first, with moxctl config address rm"
            )));
        }
        if of.domain == domain {
            return Err(refused(format!(
                "account {account:?} has {name} as its domain; change that in {file} first"
            )));
        }
    }
    let is_it =
        |key: Option<&str>, _| key.and_then(|key| a_labels(key).ok()).as_ref() == Some(&domain);
    let text = remove(text, &[Field("domains")], is_it);
    confirm(file, text, fixed, &wanted)
}

fn a_labels(name: &str) -> Result<Domain, EditError> {
    let domain = Domain::parse(name, true).and_then(|domain| domain.to_ascii());
    domain.map_err(|e| refused(format!("{name:?} is no domain name: {e}")))
}

/// Gives an address to an account.
pub fn add_address(
    file: &str,
    text: &str,
    fixed: &Static,
    address: &str,
    account: &str,
) -> Result<String, EditError> {
    let mut wanted = Dynamic::parse(file, text, fixed)?;
    if !wanted.accounts.contains_key(account) {
        return Err(refused(format!(
            "there is no account {account:?}; check the spelling"
        )));
    }
    let address = free_address(fixed, &wanted, account, address)?;
    let item = format!("{:?}", address.to_string());
    if let Some(account) = wanted.accounts.get_mut(account) {
        account.addresses.push(address);
    }
    let list = [Field("accounts"), Key(account), Field("addresses")];
    confirm(file, insert(text, &list, &item), fixed, &wanted)
}

/// Takes an address from the account that has it.
pub fn remove_address(
    file: &str,
    text: &str,
    fixed: &Static,
    address: &str,
) -> Result<String, EditError> {
    let mut wanted = Dynamic::parse(file, text, fixed)?;
    let sought = full_address(address)?;
    let found = wanted.accounts.iter().find_map(|(name, account)| {
        let at = account
            .addresses
            .iter()
            .position(|a| is_same(&wanted, a, &sought))?;
        Some((name.clone(), at))
    });
    let Some((name, at)) = found else {
        return Err(refused(format!(
            "no account has the address {address:?}; check the spelling"
        )));
    };
    if let Some(account) = wanted.accounts.get_mut(&name) {
        account.addresses.remove(at);
    }
    no_alias_names(fixed, &wanted)?;
    let list = [Field("accounts"), Key(&name), Field("addresses")];
    confirm(file, remove(text, &list, |_, n| n == at), fixed, &wanted)
}

/// Refuses where an alias would name an address that nobody has.
fn no_alias_names(fixed: &Static, wanted: &Dynamic) -> Result<(), EditError> {
    let directory = Directory::new(fixed, wanted);
    let is_gone = |member: &Address| {
        let path = member.path();
        path.is_none_or(|path| directory.member(path).is_none())
    };
    let mut all = (wanted.aliases.values())
        .flat_map(|alias| alias.members.iter().map(move |member| (alias, member)));
    match all.find(|(_, member)| is_gone(member)) {
        Some((alias, member)) => Err(refused(format!(
            "{member} is a member of the alias {}; take it out first, with moxctl config alias rm",
            alias.address
        ))),
        None => Ok(()),
    }
}

pub(super) fn refused(why: impl Into<String>) -> EditError {
    EditError::Refused(why.into())
}

pub(super) fn full_address(text: &str) -> Result<Address, EditError> {
    Address::parse(text, None).map_err(|why| {
        refused(format!(
            "{text:?} is no address: {why}; write local-part@domain"
        ))
    })
}

/// Reads an address and sees that it can be given to an account.
fn free_address(
    fixed: &Static,
    dynamic: &Dynamic,
    account: &str,
    text: &str,
) -> Result<Address, EditError> {
    let address = full_address(text)?;
    let mut directory = Directory::new(fixed, dynamic);
    let entered = match &address.local {
        Some(local) => directory.add_address(account, local, &address.domain),
        None => directory.add_catch_all(account, &address.domain),
    };
    entered.map_err(|e| {
        let (what, remedy) = explain(&e, text, &address, account);
        refused(format!("{what}; {remedy}"))
    })?;
    // An address that SMTP could never name would be of no use.
    if address.local.is_some() && Path::parse(&address.to_string(), true).is_err() {
        return Err(refused(format!(
            "{text:?} is too long for an address; at most 254 bytes fit"
        )));
    }
    Ok(address)
}

pub(super) fn is_same(dynamic: &Dynamic, a: &Address, b: &Address) -> bool {
    let case_sensitive = dynamic
        .domains
        .get(&a.domain)
        .is_some_and(|rules| rules.case_sensitive);
    a.domain == b.domain
        && match (&a.local, &b.local) {
            (Some(a), Some(b)) if !case_sensitive => a.folded() == b.folded(),
            (a, b) => a == b,
        }
}

/// The new text, if it says what it should.
pub(super) fn confirm(
    file: &str,
    text: Option<String>,
    fixed: &Static,
    wanted: &Dynamic,
) -> Result<String, EditError> {
    match text {
        Some(text) if Dynamic::parse(file, &text, fixed).as_ref() == Ok(wanted) => Ok(text),
        _ => Err(refused(format!(
            "{file} is laid out in a way that cannot be changed safely; change it in an editor"
        ))),
    }
}

/// An element of a map or list in the text.
struct Element {
    /// Its key, in a map.
    key: Option<String>,
    /// From its key, or its beginning, to the end of its value.
    range: Range<usize>,
    /// Its comma.
    comma: Option<Range<usize>>,
}

/// The elements of the map, list or struct at `path`, and the offset of its closing bracket.
fn elements(text: &str, path: &[Step<'_>]) -> Option<(Vec<Element>, usize)> {
    let located = Located::new(text);
    match located.find(path)? {
        Expr::Map(map) => {
            let elements = map.entries.iter().map(|e| {
                let key = match &e.key {
                    Expr::String(s) => Some(s.value.clone()),
                    _ => None,
                };
                let range = e.key.span().start_offset..e.value.span().end_offset;
                Element {
                    key,
                    range,
                    comma: e.comma.map(|c| c.start_offset..c.end_offset),
                }
            });
            Some((elements.collect(), map.close_brace.start_offset))
        }
        Expr::Seq(seq) => {
            let elements = seq.items.iter().map(|i| {
                let range = i.expr.span().start_offset..i.expr.span().end_offset;
                Element {
                    key: None,
                    range,
                    comma: i.comma.map(|c| c.start_offset..c.end_offset),
                }
            });
            Some((elements.collect(), seq.close_bracket.start_offset))
        }
        Expr::AnonStruct(all) => {
            let elements = all.fields.iter().map(|field| {
                let range = field.name.span.start_offset..field.value.span().end_offset;
                Element {
                    key: None,
                    range,
                    comma: field.comma.map(|c| c.start_offset..c.end_offset),
                }
            });
            Some((elements.collect(), all.close_paren.start_offset))
        }
        Expr::Unit(unit) => Some((Vec::new(), unit.span.end_offset.checked_sub(1)?)),
        _ => None,
    }
}

/// The text with a new last element in the map, list or struct at `path`: on a line of its own where the closing bracket
/// has one, else on the same line.
pub(super) fn insert(text: &str, path: &[Step<'_>], new: &str) -> Option<String> {
    let (elements, close) = elements(text, path)?;
    let last = elements.last();
    let line = line_start(text, close);
    let indent = text.get(line..close)?;
    let mut out = text.to_owned();
    if line > 0 && indent.trim().is_empty() {
        let deeper = match last {
            Some(e) => indent_of(text, e.range.start)?.to_owned(),
            None => format!("{indent}    "),
        };
        let end = if text.get(..line)?.ends_with("\r\n") {
            "\r\n"
        } else {
            "\n"
        };
        out.insert_str(line, &format!("{deeper}{new},{end}"));
        if let Some(Element {
            range, comma: None, ..
        }) = last
        {
            out.insert(range.end, ',');
        }
        return Some(out);
    }
    match last {
        None => out.insert_str(close, new),
        Some(Element {
            comma: Some(comma), ..
        }) => out.insert_str(comma.end, &format!(" {new}")),
        Some(Element { range, .. }) => out.insert_str(range.end, &format!(", {new}")),
    }
    Some(out)
}

/// The text without one element of the map or list at `path`, and without the comment on the element's own line.
pub(super) fn remove(
    text: &str,
    path: &[Step<'_>],
    which: impl Fn(Option<&str>, usize) -> bool,
) -> Option<String> {
    let (elements, _) = elements(text, path)?;
    let at = elements
        .iter()
        .enumerate()
        .position(|(n, e)| which(e.key.as_deref(), n))?;
    let element = elements.get(at)?;
    let end = element.comma.as_ref().map_or(element.range.end, |c| c.end);
    let cut = match alone_on_lines(text, element.range.start, end) {
        Some(lines) => lines,
        None => {
            let before = at.checked_sub(1).and_then(|n| elements.get(n));
            match (before, &element.comma) {
                // The last one: the comma before it goes with it, unless a comment stands between.
                (
                    Some(Element {
                        comma: Some(comma), ..
                    }),
                    None,
                ) if text.get(comma.end..element.range.start)?.trim().is_empty() => {
                    comma.start..end
                }
                _ => {
                    let spaces = text.get(end..)?.bytes().take_while(|b| *b == b' ').count();
                    element.range.start..end + spaces
                }
            }
        }
    };
    let mut out = text.to_owned();
    out.replace_range(cut, "");
    Some(out)
}

/// The whole lines of a range, when nothing else but a comment is on them.
fn alone_on_lines(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    let first = line_start(text, start);
    let rest = text.get(end..)?;
    let line_end = rest.find('\n').map(|n| end + n + 1)?;
    let after = text.get(end..line_end)?.trim();
    let alone =
        text.get(first..start)?.trim().is_empty() && (after.is_empty() || after.starts_with("//"));
    alone.then_some(first..line_end)
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset)
        .and_then(|t| t.rfind('\n'))
        .map_or(0, |n| n + 1)
}

fn indent_of(text: &str, offset: usize) -> Option<&str> {
    let line = text.get(line_start(text, offset)..)?;
    line.get(..line.len() - line.trim_start().len())
}
