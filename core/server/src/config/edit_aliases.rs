//! Changes of the aliases in `domains.ron` that leave everything else in it as it is.

use mox_address::Domain;

use super::aliases::{ALIAS_MEMBERS_MAX, Alias, is_one, member};
use super::dynamic_file::{Address, Dynamic, explain};
use super::edit::{EditError, confirm, full_address, insert, is_same, refused, remove};
use super::locate::Located;
use super::locate::Step::{self, Field, Key};
use super::static_file::Static;
use crate::lookup::Directory;

/// Makes an address an alias for an address of an account, or gives an alias one more member. `file` is the name of `domains.ron` for
/// messages, `text` its content; the answer is its new content.
pub fn add_to_alias(
    file: &str,
    text: &str,
    fixed: &Static,
    alias: &str,
    new: &str,
) -> Result<String, EditError> {
    let mut wanted = Dynamic::parse(file, text, fixed)?;
    let address = full_address(alias)?;
    let Some(local) = &address.local else {
        return Err(refused(format!("{alias:?} is no single address")));
    };
    let mut directory = Directory::new(fixed, &wanted);
    let new = member(new, &address.domain, &directory)
        .map_err(|(what, remedy)| refused(format!("{what}; {remedy}")))?;
    let item = format!("{:?}", new.to_string());
    let Some(name) = written_domain(text, &address.domain) else {
        return Err(refused(format!(
            "there is no domain {}; check the spelling",
            address.domain.to_unicode()
        )));
    };
    let place = [Field("domains"), Key(&name), Field("aliases")];
    if let Some(known) = known(&mut wanted, &address) {
        let mut members = known.members.iter();
        if let Some(old) = members.find(|old| is_one(&directory, old, &new)) {
            return Err(refused(format!("{old} is a member of {alias:?} already")));
        }
        if known.members.len() >= ALIAS_MEMBERS_MAX {
            return Err(refused(format!(
                "{alias:?} has {ALIAS_MEMBERS_MAX} members, which are all that fit"
            )));
        }
        known.members.push(new);
        let written = written_alias(text, &place, &known.address)?;
        let list = [
            place[0],
            place[1],
            place[2],
            Key(&written),
            Field("members"),
        ];
        return confirm(file, insert(text, &list, &item), fixed, &wanted);
    }
    let entered = directory.add_alias(local, &address.domain, Vec::new(), false);
    entered.map_err(|error| {
        let (what, remedy) = explain(&error, alias, &address, "");
        refused(format!("{what}; {remedy}"))
    })?;
    let entry = format!("{:?}: (members: [{item}])", local.to_string());
    let text = match Located::new(text).find(&place) {
        Some(_) => insert(text, &place, &entry),
        None => {
            let (domain, field) = (&place[..2], format!("aliases: {{{entry}}}"));
            insert(text, domain, &field)
        }
    };
    let alias = Alias {
        members: vec![new],
        members_may_send: false,
        address,
    };
    wanted.aliases.insert(alias.address.to_string(), alias);
    confirm(file, text, fixed, &wanted)
}

/// Takes a member out of an alias, or the alias away.
pub fn remove_from_alias(
    file: &str,
    text: &str,
    fixed: &Static,
    alias: &str,
    old: Option<&str>,
) -> Result<String, EditError> {
    let mut wanted = Dynamic::parse(file, text, fixed)?;
    let address = full_address(alias)?;
    let known = known(&mut wanted, &address);
    let Some(known) = known.cloned() else {
        return Err(refused(format!(
            "there is no alias {alias:?}; check the spelling"
        )));
    };
    let name = written_domain(text, &address.domain).unwrap_or_default();
    let place = [Field("domains"), Key(&name), Field("aliases")];
    let written = written_alias(text, &place, &known.address)?;
    let key = known.address.to_string();
    let Some(old) = old else {
        wanted.aliases.remove(&key);
        let text = remove(text, &place, |key, _| key == Some(&written));
        return confirm(file, text, fixed, &wanted);
    };
    let sought = Address::parse(old, Some(&address.domain))
        .map_err(|why| refused(format!("{old:?} is no address: {why}")))?;
    let mut members = known.members.iter();
    let Some(at) = members.position(|member| is_same(&wanted, member, &sought)) else {
        return Err(refused(format!(
            "{old:?} is no member of {alias:?}; check the spelling"
        )));
    };
    if known.members.len() == 1 {
        return Err(refused(format!(
            "{old:?} is the last member of {alias:?}; remove the alias, with moxctl config alias rm {alias}"
        )));
    }
    if let Some(alias) = wanted.aliases.get_mut(&key) {
        alias.members.remove(at);
    }
    let list = [
        place[0],
        place[1],
        place[2],
        Key(&written),
        Field("members"),
    ];
    confirm(file, remove(text, &list, |_, n| n == at), fixed, &wanted)
}

/// The alias with an address, whatever its spelling.
fn known<'d>(dynamic: &'d mut Dynamic, address: &Address) -> Option<&'d mut Alias> {
    let mut all = dynamic.aliases.iter();
    let found = all.find(|(_, alias)| is_same(dynamic, &alias.address, address));
    let key = found.map(|(key, _)| key.clone())?;
    dynamic.aliases.get_mut(&key)
}

/// A domain as it is written in the file.
fn written_domain(text: &str, domain: &Domain) -> Option<String> {
    let names = Located::new(text).keys(&[Field("domains")]);
    let is_it = |name: &String| {
        let read = Domain::parse(name, true).and_then(|domain| domain.to_ascii());
        read.as_ref() == Ok(domain)
    };
    names.into_iter().find(is_it)
}

/// An alias as its local part is written in the file.
fn written_alias(text: &str, place: &[Step<'_>], address: &Address) -> Result<String, EditError> {
    let is_it = |name: &String| {
        let read = mox_address::LocalPart::parse(name, true).ok();
        read.is_some() && read == address.local
    };
    let mut names = Located::new(text).keys(place).into_iter();
    (names.find(is_it))
        .ok_or_else(|| refused("the alias cannot be found in the text; change it in an editor"))
}
