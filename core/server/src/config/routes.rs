//! Routes as `domains.ron` says them: for everybody, for a domain, for an account.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::check::Check;
use super::locate::Step::{self, Field, Item};
use super::transports::Transport;
use crate::routes::{DIRECT, Domains, ROUTE_DOMAINS_MAX, ROUTES_MAX, Route};

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

/// Checks the routes of one place, which `place` leads to. Without transports, none is said to be missing.
pub(super) fn check(
    check: &mut Check<'_>,
    place: &[Step<'_>],
    routes: &[FileRoute],
    transports: Option<&BTreeMap<String, Transport>>,
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
        if let Some(transports) = transports
            && raw.transport != DIRECT
            && !transports.contains_key(&raw.transport)
        {
            check.problem(
                &at(&[Item(n), Field("transport")]),
                &format!("mox.ron has no transport {:?}", raw.transport),
                &format!("use one of: {}", known(transports)),
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
fn known(transports: &BTreeMap<String, Transport>) -> String {
    let names = core::iter::once(DIRECT).chain(transports.keys().map(String::as_str));
    names.collect::<Vec<_>>().join(", ")
}
