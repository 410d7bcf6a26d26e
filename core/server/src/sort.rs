//! The order of messages, RFC 5256 3 (SORT) and RFC 5957 (DISPLAYFROM, DISPLAYTO).

use core::cmp::Ordering;
use mox_imap::server::{SortField, SortKey};
use mox_mime::Mailbox;
use mox_uids::Uid;

use crate::subject::casemapped;

/// What a message is sorted by: a value for each key, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted {
    /// The message.
    pub uid: Uid,
    /// One for each key.
    pub values: Vec<SortValue>,
}

/// A value of a [`SortField`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortValue {
    /// A time in seconds, or a size.
    Number(i64),
    /// [`casemapped`] text.
    Text(String),
}

/// Sorts by the keys, then by the order of the mailbox.
pub fn sort(messages: &mut [Sorted], keys: &[SortKey]) {
    messages.sort_by(|a, b| {
        let mut pairs = keys.iter().zip(a.values.iter().zip(&b.values));
        let differ = pairs.find_map(|(key, (a, b))| match (a.cmp(b), key.reverse) {
            (Ordering::Equal, _) => None,
            (order, false) => Some(order),
            (order, true) => Some(order.reverse()),
        });
        differ.unwrap_or_else(|| a.uid.cmp(&b.uid))
    });
}

/// What a key needs beside the row of a message.
pub const fn needs_envelope(field: SortField) -> bool {
    !matches!(field, SortField::Arrival | SortField::Size)
}

/// The mailbox of the first address: CC, FROM, TO.
pub fn first_mailbox(list: &[Mailbox]) -> String {
    let local = list.first().and_then(|first| first.local.as_deref());
    casemapped(&String::from_utf8_lossy(local.unwrap_or_default()))
}

/// What people see of the first address (RFC 5957 3): its name, or else the address. `decode` undoes encoded words.
pub fn first_display(list: &[Mailbox], decode: impl Fn(&[u8]) -> String) -> String {
    let Some(first) = list.first() else {
        return String::new();
    };
    let name = first.name.as_deref().map(decode).unwrap_or_default();
    if !name.is_empty() {
        return casemapped(&name);
    }
    let text =
        |octets: Option<&[u8]>| String::from_utf8_lossy(octets.unwrap_or_default()).into_owned();
    let (local, host) = (text(first.local.as_deref()), text(first.host.as_deref()));
    // The beginning of a group has no host.
    match host.is_empty() {
        true => casemapped(&local),
        false => casemapped(&format!("{local}@{host}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(name: Option<&str>, local: &str, host: Option<&str>) -> Mailbox {
        Mailbox {
            name: name.map(|n| n.as_bytes().to_vec()),
            local: Some(local.into()),
            host: host.map(|h| h.as_bytes().to_vec()),
            ..Mailbox::default()
        }
    }

    #[test]
    fn keys_count_in_their_order_and_the_mailbox_breaks_ties_forwards() {
        let sorted = |uid, a, b: &str| Sorted {
            uid: Uid(uid),
            values: vec![SortValue::Number(a), SortValue::Text(b.into())],
        };
        let mut messages = [
            sorted(4, 1, "x"),
            sorted(2, 1, "y"),
            sorted(3, 2, "x"),
            sorted(1, 1, "x"),
        ];
        let key = |field, reverse| SortKey { field, reverse };
        let keys = [key(SortField::Size, true), key(SortField::Subject, false)];
        sort(&mut messages, &keys);
        assert_eq!(messages.map(|m| m.uid.0), [3, 1, 4, 2]);
    }

    #[test]
    fn addresses_are_shown_by_name_or_else_whole() {
        let decode = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let show = |mailbox| first_display(&[mailbox], decode);
        assert_eq!(show(mailbox(Some("Ann"), "x", Some("b.c"))), "ANN");
        assert_eq!(show(mailbox(Some(""), "x", Some("b.c"))), "X@B.C");
        assert_eq!(show(mailbox(None, "group", None)), "GROUP");
        assert_eq!(first_display(&[], decode), "");
        assert_eq!(first_mailbox(&[mailbox(None, "Ann", Some("x"))]), "ANN");
    }
}
