//! What lists of addresses say of a client: RFC 5782.

use mox_dns::{Facts, Name, dnsbl, dnsbl_health};
use mox_driver::Runtime;
use mox_server::decision::Listing;
use std::net::IpAddr;

use crate::all::all;
use crate::node::Inner;

/// Asks all of them side by side, each for as long as an inquiry may take. Their test entries are asked for with the address;
/// the resolver remembers what they said.
pub(super) async fn ask<R: Runtime>(node: &Inner<R>, zones: &[Name], ip: IpAddr) -> Vec<Listing> {
    let ip = ip.to_canonical();
    let one = |zone: &Name| {
        let zone = zone.clone();
        async move {
            let look = |facts: &Facts| {
                let health = dnsbl_health(facts, &zone)?;
                Ok((health, dnsbl(facts, &zone, ip)?))
            };
            let inquiry = node.resolver.inquire(&node.runtime, Facts::default(), look);
            let ((health, report), _) = inquiry.await;
            Listing::of(&zone, ip.is_ipv6(), &health, &report)
        }
    };
    all(zones.iter().map(one)).await
}
