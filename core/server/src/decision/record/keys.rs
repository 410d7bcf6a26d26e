//! What a record is found by.

use mox_address::Domain;

use super::Record;

/// Its id.
const ID: &str = "id";
/// An address of a sender or recipient.
const ADDRESS: &str = "address";
/// A Message-ID.
const MESSAGE: &str = "message";

impl Record {
    /// What it is found by: its id, the sender, the identifier of the message, the recipients, and the members of aliases. Each with its kind, since who
    /// writes a message chooses its identifier and its addresses: those must not stand where ids are looked for.
    pub fn keys(&self) -> Vec<String> {
        let message = self.facts.message.as_ref();
        let message_id = message.and_then(|m| m.message_id.as_deref());
        let recipients = self.recipients.iter().flat_map(|r| {
            let (address, member) = (&r.recipient.address, &r.recipient.member);
            core::iter::once(address).chain(member)
        });
        core::iter::once(of(ID, &self.id))
            .chain(core::iter::once(of(ADDRESS, &self.facts.sender)))
            .chain(message_id.map(|id| of(MESSAGE, id)))
            .chain(recipients.map(|address| of(ADDRESS, address)))
            .flatten()
            .collect()
    }

    /// Whether it is found by this: with brackets or without, in any case, domains in letters of any script.
    pub fn is_about(&self, what: &str) -> bool {
        let keys = self.keys();
        kinds(what).any(|wanted| keys.contains(&wanted))
    }
}

/// Where records about this are to be looked for, in this order: as an id, which only we give, as an address, as a
/// Message-ID, and at last as records of versions 2 and 3 were found by, whatever it is.
pub fn lookups(what: &str) -> Vec<String> {
    let bare = Some(bare(what)).filter(|bare| !bare.is_empty());
    kinds(what).chain(bare).collect()
}

fn kinds(what: &str) -> impl Iterator<Item = String> + '_ {
    let kinds = [ID, ADDRESS, MESSAGE].into_iter();
    kinds.filter_map(move |kind| of(kind, what))
}

fn of(kind: &str, text: &str) -> Option<String> {
    let bare = bare(text);
    let name = match (kind, bare.rsplit_once('@')) {
        (ADDRESS, Some((local, domain))) => match a_labels(domain) {
            Some(domain) => format!("{local}@{domain}"),
            None => bare,
        },
        _ => bare,
    };
    (!name.is_empty()).then(|| format!("{kind} {name}"))
}

fn a_labels(domain: &str) -> Option<String> {
    let domain = Domain::parse(domain, true).ok()?.to_ascii().ok()?;
    Some(domain.as_str().to_lowercase())
}

/// Without the brackets of addresses and identifiers, in lower case.
fn bare(text: &str) -> String {
    text.trim()
        .trim_start_matches('<')
        .trim_end_matches('>')
        .to_lowercase()
}
