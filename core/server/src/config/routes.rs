//! Routes as `domains.ron` says them: for everybody, for a domain, for an account.

use serde::Deserialize;

use super::check::Check;
use super::locate::Step::{self, Field, Item};
use super::static_file::Static;
use crate::routes::{DIRECT, Domains, RELAY, ROUTE_DOMAINS_MAX, ROUTES_MAX, Route};

/// A route as it stands in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename = "route", deny_unknown_fields)]
pub(super) struct FileRoute {
    #[serde(default)]
    from: Vec<String>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    minimum_attempts: u32,
    transport: String,
}

/// Checks the routes of one place, which `place` leads to. Without `mox.ron`, no transport is said to be missing.
pub(super) fn check(
    check: &mut Check<'_>,
    place: &[Step<'_>],
    routes: &[FileRoute],
    fixed: Option<&Static>,
) -> Vec<Route> {
    let at = |steps: &[Step<'static>]| {
        let mut path = place.to_vec();
        path.push(Field("routes"));
        path.extend_from_slice(steps);
        path
    };
    check.at_most(&at(&[]), routes.len(), ROUTES_MAX);
    let mut checked = Vec::new();
    for (n, raw) in routes.iter().take(ROUTES_MAX).enumerate() {
        if let Some(fixed) = fixed
            && !known(fixed).any(|name| name == raw.transport)
        {
            check.problem(
                &at(&[Item(n), Field("transport")]),
                &format!("mox.ron has no transport {:?}", raw.transport),
                &format!(
                    "use one of: {}",
                    known(fixed).collect::<Vec<_>>().join(", ")
                ),
            );
        }
        let mut domains = |field: &'static str, all: &[String]| {
            check.at_most(&at(&[Item(n), Field(field)]), all.len(), ROUTE_DOMAINS_MAX);
            let mut read = Vec::new();
            for (m, text) in all.iter().take(ROUTE_DOMAINS_MAX).enumerate() {
                match Domains::parse(text) {
                    Ok(domains) => read.push(domains),
                    Err(why) => check.problem(
                        &at(&[Item(n), Field(field), Item(m)]),
                        &format!("{text:?} is no domain: {why}"),
                        "write \"example.org\", or \".example.org\" for that and all below it",
                    ),
                }
            }
            read
        };
        let (from, to) = (domains("from", &raw.from), domains("to", &raw.to));
        checked.push(Route {
            from,
            to,
            minimum_attempts: raw.minimum_attempts,
            transport: raw.transport.clone(),
        });
    }
    checked
}

/// The names that a route may give.
fn known(fixed: &Static) -> impl Iterator<Item = &str> {
    let relay = fixed.relay.is_some().then_some(RELAY);
    let usual = core::iter::once(DIRECT).chain(relay);
    usual.chain(fixed.transports.keys().map(String::as_str))
}
