//! By which transport a message leaves.

use std::collections::BTreeMap;

use mox_address::Domain;

/// The transport that is always there: to the servers that DNS names.
pub const DIRECT: &str = "direct";
/// The transport that `relay` in `mox.ron` makes: all mail to one place, where no route leads elsewhere.
pub const RELAY: &str = "relay";
/// Stands where a transport may be named, and leaves it to the routes.
pub const ROUTES: &str = "routes";

/// Routes of one place at most.
pub const ROUTES_MAX: usize = 1_000;
/// Domains of one route at most, of senders and of recipients each.
pub const ROUTE_DOMAINS_MAX: usize = 1_000;

/// What leads some mail to a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Domains of senders; none are all.
    pub from: Vec<Domains>,
    /// Domains of recipients; none are all.
    pub to: Vec<Domains>,
    /// Only what was tried so often.
    pub minimum_attempts: u32,
    /// The name of the transport.
    pub transport: String,
}

/// A domain, or a domain with all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains {
    /// In A-labels.
    pub domain: Domain,
    /// And all below it.
    pub below: bool,
}

impl Domains {
    /// Reads `example.org`, or `.example.org` for that and all below it. The error is for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, below) = match text.strip_prefix('.') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let domain = Domain::parse(name, true).and_then(|domain| domain.to_ascii());
        let domain = domain.map_err(|e| e.to_string())?;
        Ok(Self { domain, below })
    }

    fn has(&self, domain: &str) -> bool {
        let own = self.domain.as_str();
        let Some(before) = domain.len().checked_sub(own.len()) else {
            return false;
        };
        let (Some(labels), Some(end)) = (domain.get(..before), domain.get(before..)) else {
            return false;
        };
        end.eq_ignore_ascii_case(own)
            && (labels.is_empty() || (self.below && labels.ends_with('.')))
    }
}

/// What a transport is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving<'a> {
    /// Whose message it is; `None` for mail of the server itself.
    pub account: Option<&'a str>,
    /// The domain of its sender, in A-labels; empty for the null path.
    pub from: &'a str,
    /// The domain of the recipient, in A-labels; an address in brackets is in no route that names domains.
    pub to: &'a str,
    /// How often it was tried.
    pub attempts: u32,
}

/// All routes. Those of the account come first, then those of the sender's domain, then those for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// For everybody.
    pub all: Vec<Route>,
    /// By domain of the sender, in A-labels.
    pub domains: BTreeMap<Domain, Vec<Route>>,
    /// By account.
    pub accounts: BTreeMap<String, Vec<Route>>,
}

impl Routes {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        let special = self.domains.values().chain(self.accounts.values());
        self.all.is_empty() && special.flatten().next().is_none()
    }

    /// The transport of the first route that fits; `None` where none does.
    pub fn find(&self, leaving: &Leaving<'_>) -> Option<&str> {
        let of_account = leaving
            .account
            .and_then(|account| self.accounts.get(account));
        let of_domain = Domain::parse(leaving.from, false)
            .ok()
            .and_then(|domain| self.domains.get(&domain));
        let all = of_account.into_iter().chain(of_domain).flatten();
        all.chain(&self.all)
            .find(|route| route.fits(leaving))
            .map(|route| route.transport.as_str())
    }
}

impl Route {
    fn fits(&self, leaving: &Leaving<'_>) -> bool {
        let has = |all: &[Domains], domain| all.is_empty() || all.iter().any(|d| d.has(domain));
        leaving.attempts >= self.minimum_attempts
            && has(&self.from, leaving.from)
            && has(&self.to, leaving.to)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn route(from: &[&str], to: &[&str], minimum_attempts: u32, transport: &str) -> Route {
        let read = |all: &[&str]| {
            all.iter()
                .map(|text| Domains::parse(text).unwrap())
                .collect()
        };
        Route {
            from: read(from),
            to: read(to),
            minimum_attempts,
            transport: transport.into(),
        }
    }

    fn leaving<'a>(from: &'a str, to: &'a str) -> Leaving<'a> {
        Leaving {
            account: None,
            from,
            to,
            attempts: 0,
        }
    }

    #[test]
    fn the_first_route_that_fits_counts_those_of_the_account_and_the_domain_before_all_others() {
        let ours = Domain::parse("ours.example", false).unwrap();
        let routes = Routes {
            all: vec![
                route(&[], &["slow.example"], 3, "later"),
                route(&[], &["slow.example"], 0, "first"),
                route(&["other.example"], &[], 0, "other"),
            ],
            domains: BTreeMap::from([(ours, vec![route(&[], &["near.example"], 0, "domain")])]),
            accounts: BTreeMap::from([(
                "jo".to_owned(),
                vec![route(&[], &["near.example", "far.example"], 0, "account")],
            )]),
        };
        let jo = |to| Leaving {
            account: Some("jo"),
            ..leaving("ours.example", to)
        };
        assert_eq!(routes.find(&jo("near.example")), Some("account"));
        let al = Leaving {
            account: Some("al"),
            ..jo("near.example")
        };
        assert_eq!(routes.find(&al), Some("domain"));
        assert_eq!(routes.find(&jo("elsewhere.example")), None);
        let slow = leaving("ours.example", "slow.example");
        for (attempts, transport) in [(0, "first"), (2, "first"), (3, "later"), (9, "later")] {
            let tried = Leaving { attempts, ..slow };
            assert_eq!(routes.find(&tried), Some(transport), "{attempts}");
        }
        assert_eq!(
            routes.find(&leaving("Other.Example", "x.example")),
            Some("other")
        );
        // A notification has the null path, and no domain.
        assert_eq!(routes.find(&leaving("", "x.example")), None);
    }

    #[test]
    fn a_domain_with_a_dot_before_it_is_all_below_it_and_itself() {
        for (pattern, domain, has) in [
            ("example.org", "example.org", true),
            ("example.org", "EXAMPLE.org", true),
            ("example.org", "a.example.org", false),
            (".example.org", "example.org", true),
            (".example.org", "a.b.example.org", true),
            (".example.org", "anexample.org", false),
            (".example.org", "org", false),
            (".example.org", "[192.0.2.1]", false),
            (".bücher.example", "www.xn--bcher-kva.example", true),
        ] {
            let domains = Domains::parse(pattern).unwrap();
            assert_eq!(domains.has(domain), has, "{pattern} {domain}");
        }
        assert!(Domains::parse("").is_err() && Domains::parse("*.example.org").is_err());
    }
}
