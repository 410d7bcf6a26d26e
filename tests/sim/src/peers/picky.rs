//! A server that takes some recipients and not others.

use std::collections::BTreeMap;

use super::{Act, Manner, Seen, Stage};

/// Refuses recipients by their local part, each with a reply of its own.
#[derive(Debug, Clone, Default)]
pub struct Picky(BTreeMap<String, String>);

impl Picky {
    /// Refuses these local parts with these replies.
    pub fn new<'a>(refused: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = refused
            .into_iter()
            .map(|(local, reply)| (local.to_owned(), reply.to_owned()));
        Self(owned.collect())
    }
}

impl Manner for Picky {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        if seen.stage != Stage::Rcpt {
            return None;
        }
        let (local, _) = seen.to.first()?.rsplit_once('@')?;
        let reply = self.0.get(local)?;
        Some(vec![Act::reply(reply)])
    }
}
