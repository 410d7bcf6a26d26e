//! What DNS lists of addresses say of a client, as a function of facts (RFC 5782).

use std::net::IpAddr;

use mox_dns::{Facts, Listed, Missing, Name, Question, dnsbl, dnsbl_health};

use crate::decision::Listing;

/// Asks all lists at once. One whose test entries are not as they should be does not count.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn listings(facts: &Facts, zones: &[Name], ip: IpAddr) -> Result<Vec<Listing>, Missing> {
    let mut missing: Vec<Question> = Vec::new();
    let mut found = Vec::with_capacity(zones.len());
    for zone in zones {
        let health = dnsbl_health(facts, zone);
        let report = dnsbl(facts, zone, ip);
        match (health, report) {
            (Ok(health), Ok(report)) => {
                let health = match ip.to_canonical() {
                    IpAddr::V4(_) => health.v4,
                    IpAddr::V6(_) => health.v6,
                };
                let is_on_it = report.listed == Listed::Yes;
                found.push(Listing {
                    zone: zone.to_string(),
                    listed: is_on_it && health.is_good(),
                    text: match (is_on_it, health.is_good(), report.listed) {
                        (true, true, _) => report.explanation,
                        (true, false, _) => Some(format!("the list cannot be relied on: {health:?}")),
                        (false, _, Listed::Unknown(_)) => Some("it did not answer".into()),
                        (false, _, Listed::Meaningless(why)) => Some(why.into()),
                        (false, ..) => None,
                    },
                });
            }
            (health, report) => {
                let lacking = [health.err(), report.err()];
                let lacking = lacking.iter().flatten().flat_map(Missing::questions);
                missing.extend(lacking.cloned());
            }
        }
    }
    facts.all(&missing)?;
    Ok(found)
}
