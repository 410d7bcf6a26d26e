//! Where a message goes: the hosts to be tried, in order.

use mox_address::{Domain, Host, Path};
use mox_dns::{Failure, MailHost, MxPlan, Name};
use mox_driver::Runtime;
use mox_queue::Outcome;
use mox_tls_policy::Demand;
use std::net::SocketAddr;
use std::sync::Arc;

use super::policy::HopPolicy;
use crate::config::Outgoing;
use crate::node::Inner;

/// Addresses tried in one attempt at most.
const ADDRESSES_MAX: usize = 10;

/// One address of a host to be tried.
#[derive(Clone)]
pub(super) struct Hop {
    /// The host's name, for TLS and for people.
    pub(super) name: String,
    /// Where.
    pub(super) address: SocketAddr,
    /// What is demanded of it; nothing of a relay or an address.
    pub(super) policy: Option<Arc<HopPolicy>>,
}

/// What is to be tried.
pub(super) struct Route {
    /// In this order.
    pub(super) hops: Vec<Hop>,
    /// They are all there are: DNS told of every host.
    pub(super) is_whole: bool,
}

/// All that there are.
impl From<Vec<Hop>> for Route {
    fn from(hops: Vec<Hop>) -> Self {
        Self {
            hops,
            is_whole: true,
        }
    }
}

/// Why there is nothing to try.
pub(super) struct NoRoute {
    pub(super) outcome: Outcome,
    /// For people, without status code.
    pub(super) text: String,
    /// RFC 3463.
    pub(super) status: &'static str,
}

/// The hops for a recipient's domain, with what they and the message demand of TLS.
pub(super) async fn hops<R: Runtime>(
    node: &Inner<R>,
    to: &Path,
    demand: Demand,
) -> Result<Route, NoRoute> {
    match (&node.config.outgoing, &to.host) {
        (Outgoing::Relay(addresses), _) => Ok(addresses
            .iter()
            .map(|address| Hop {
                name: address.ip().to_string(),
                address: *address,
                policy: None,
            })
            .collect::<Vec<_>>()
            .into()),
        (_, Host::Literal(ip)) => Ok(vec![Hop {
            name: ip.to_string(),
            address: SocketAddr::new(*ip, node.config.remote_port),
            policy: None,
        }]
        .into()),
        (Outgoing::Direct | Outgoing::Sink(_), Host::Domain(domain)) => {
            mx(node, domain, demand).await
        }
    }
}

async fn mx<R: Runtime>(
    node: &Inner<R>,
    domain: &Domain,
    demand: Demand,
) -> Result<Route, NoRoute> {
    let bad_name = || NoRoute {
        outcome: Outcome::Permanent,
        text: format!("{domain} is not a domain name that DNS can hold"),
        status: "5.1.2",
    };
    let ascii = domain.to_ascii().map_err(|_| bad_name())?;
    let name = Name::parse(ascii.as_str()).map_err(|_| bad_name())?;
    let own = Name::parse(node.config.hostname.as_str()).ok();
    let unknown = |failure: Failure| {
        let text = format!("DNS did not say where mail for {domain} goes: {failure:?}");
        (Outcome::Temporary, "4.4.3", text)
    };
    let (outcome, status, text) = match node.resolver.mail_hosts(&node.runtime, &name).await {
        MxPlan::Hosts { hosts, left_out } => {
            // RFC 5321 5.1: from our own place in the list on, mail would come back to us.
            let ours = hosts
                .iter()
                .find(|h| Some(&h.name) == own.as_ref())
                .map(|h| h.preference);
            let is_before = |preference: u16| ours.is_none_or(|ours| preference < ours);
            let usable = hosts.into_iter().filter(|host| is_before(host.preference));
            let left_out = left_out.filter(|(preference, _)| is_before(*preference));
            let hops = hops_of(node, &name, usable.collect(), demand).await?;
            if !hops.is_empty() {
                return Ok(Route {
                    hops,
                    is_whole: left_out.is_none(),
                });
            }
            match left_out {
                Some((_, failure)) => unknown(failure),
                None => {
                    let text = format!(
                        "DNS says that this server itself takes mail for {domain}, which it does not"
                    );
                    (Outcome::Permanent, "5.4.6", text)
                }
            }
        }
        MxPlan::Null => (
            Outcome::Permanent,
            "5.1.10",
            format!("{domain} takes no mail, and says so in DNS"),
        ),
        MxPlan::NoDomain => (
            Outcome::NoDomain,
            "5.1.2",
            format!("the domain {domain} does not exist"),
        ),
        MxPlan::NoHosts => (
            Outcome::NoHost,
            "5.4.4",
            format!("the domain {domain} has no mail server"),
        ),
        MxPlan::Temporary(failure) => unknown(failure),
    };
    Err(NoRoute {
        outcome,
        text,
        status,
    })
}

/// The addresses of a domain's hosts, with what is demanded of each host.
async fn hops_of<R: Runtime>(
    node: &Inner<R>,
    domain: &Name,
    hosts: Vec<MailHost>,
    demand: Demand,
) -> Result<Vec<Hop>, NoRoute> {
    let mut hops = Vec::new();
    if hosts.is_empty() {
        return Ok(hops);
    }
    let sts = node
        .policies
        .of(&node.runtime, &node.resolver, domain)
        .await;
    let policy = match sts {
        Ok(applied) => applied.policy,
        // RFC 8689 4.2.2: it is to arrive, whatever policies say.
        Err(_) if demand == Demand::TlsOptional => None,
        Err(failure) => {
            return Err(NoRoute {
                outcome: Outcome::Temporary,
                text: format!("DNS did not say whether {domain} has an MTA-STS policy: {failure}"),
                status: "4.4.3",
            });
        }
    };
    for host in hosts {
        if hops.len() >= ADDRESSES_MAX {
            break;
        }
        let policy = HopPolicy::of(node, domain, &host, policy.clone(), demand).await;
        let policy = Arc::new(policy);
        let name = host.name.to_string();
        let name = name.trim_end_matches('.').to_owned();
        hops.extend(host.addresses.into_iter().map(|ip| Hop {
            name: name.clone(),
            address: SocketAddr::new(ip, node.config.remote_port),
            policy: Some(policy.clone()),
        }));
    }
    hops.truncate(ADDRESSES_MAX);
    Ok(hops)
}
