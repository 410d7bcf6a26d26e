//! What earlier mail was like that has something in common with a new message: transport.md 2.5.

use serde::{Deserialize, Serialize};

/// Earlier messages that a user has judged, by what they have in common with the new one. Only messages for the same mailbox
/// count; of each kind the newest ones, within the time that the kind is good for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// It could not be read.
    pub failed: bool,
    /// From the same author, proved or not as now.
    pub author: Past,
    /// From the same author, proved, when it is not now.
    pub author_proved: Past,
    /// The user has written to the author.
    pub wrote_to_author: bool,
    /// From the author's domain, proved or not as now.
    pub domain: Past,
    /// From the author's domain, proved, when it is not now.
    pub domain_proved: Past,
    /// The user has written to the domain.
    pub wrote_to_domain: bool,
    /// From the author's organizational domain, proved or not as now.
    pub organization: Past,
    /// From the organizational domain, proved, when it is not now.
    pub organization_proved: Past,
    /// The user has written to the organizational domain.
    pub wrote_to_organization: bool,
    /// Signed by the domains that sign the new one: domain and past.
    pub signed: Vec<(String, Past)>,
    /// From the same reverse-path, its domain, or the same EHLO, whichever is found first, proved by SPF.
    pub spf: Past,
    /// From the same address.
    pub ip1: Past,
    /// From addresses nearby: an IPv4 /26, an IPv6 /48.
    pub ip2: Past,
    /// From addresses around: an IPv4 /21, an IPv6 /32.
    pub ip3: Past,
}

/// Earlier messages of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Past {
    /// Those that are not junk.
    pub ham: u32,
    /// Those that are.
    pub junk: u32,
    /// The newest one is junk; `None` without any.
    pub newest: Option<bool>,
    /// The one before it is.
    pub second: Option<bool>,
    /// How many different local parts their authors have.
    pub local_parts: u32,
}

impl History {
    /// The user has written to the author, its domain, or another address of its organization.
    pub const fn wrote_to_any(&self) -> bool {
        self.wrote_to_author || self.wrote_to_domain || self.wrote_to_organization
    }
}

impl Past {
    /// How many there are.
    pub const fn count(&self) -> u32 {
        self.ham.saturating_add(self.junk)
    }

    /// The share of junk, from 0 to 1; `None` without any.
    pub fn fraction(&self) -> Option<f64> {
        (self.count() > 0).then(|| f64::from(self.junk) / f64::from(self.count()))
    }

    /// The newest is junk, and the one before it too if there is one.
    pub fn is_junk(&self) -> bool {
        self.newest == Some(true) && self.second != Some(false)
    }

    /// The same with one more, newest message.
    pub const fn and(mut self, junk: bool) -> Self {
        match junk {
            true => self.junk = self.junk.saturating_add(1),
            false => self.ham = self.ham.saturating_add(1),
        }
        self.second = self.newest;
        self.newest = Some(junk);
        if self.local_parts == 0 {
            self.local_parts = 1;
        }
        self
    }
}

impl core::fmt::Display for Past {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} not junk, {} junk", self.ham, self.junk)
    }
}
