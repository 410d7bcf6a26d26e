//! Where a message goes: the hosts to be tried, in order.

use mox_address::{Domain, Host, Path};
use mox_dns::{Facts, Failure, MailHost, MxPlan, Name, Question, RecordType};
use mox_driver::Runtime;
use mox_queue::Outcome;
use mox_server::config::{OutgoingAddresses, Transport as Kind};
use mox_server::routes::{DIRECT, RELAY};
use mox_tls_policy::Demand;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::dry_run::Probe;
use super::policy::HopPolicy;
use crate::config::Outgoing;
use crate::node::Inner;
use crate::transports::Transport;

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
    /// How it is reached, and as whom.
    pub(super) way: Way,
}

impl Hop {
    /// From which addresses it is reached.
    pub(super) fn addresses<R: Runtime>(&self, node: &Inner<R>) -> OutgoingAddresses {
        let common = node.config.sending.addresses;
        match &self.way {
            Way::Smarthost(_, transport) | Way::Socks5(transport, _) => transport.addresses(common),
            Way::Plain | Way::Relay => common,
        }
    }
}

/// How a host is reached, and as whom.
#[derive(Clone)]
pub(super) enum Way {
    /// As any server.
    Plain,
    /// It takes all mail, whomever it is for.
    Relay,
    /// The same, by the transport of this name, as its user.
    Smarthost(Arc<str>, Arc<Transport>),
    /// By way of a proxy at one of these addresses.
    Socks5(Arc<Transport>, Arc<Vec<SocketAddr>>),
}

/// What is to be tried.
pub(super) struct Route {
    /// In this order.
    pub(super) hops: Vec<Hop>,
    /// They are all there are: DNS told of every host, and none was left out for being one too many.
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
    pub(super) status: String,
    /// It is the address that is none, or that takes no mail.
    pub(super) unknown: bool,
}

impl NoRoute {
    /// Nothing is known now of where it goes.
    fn temporary(status: &str, text: String) -> Self {
        Self {
            outcome: Outcome::Temporary,
            text,
            status: status.into(),
            unknown: false,
        }
    }

    /// It has addresses, and the configuration has mail go out over other ones.
    fn other_family(whose: &str) -> Self {
        Self::temporary(
            "4.4.1",
            format!(
                "mail goes out over IPv4 only (outgoing, prefer: only4), and no IPv4 address of {whose} is known"
            ),
        )
    }
}

/// The hops of a transport for a recipient's domain, with what they and the message demand of TLS.
pub(super) async fn hops<R: Runtime>(
    node: &Inner<R>,
    transport: &str,
    to: &Path,
    demand: Demand,
    probe: Option<&Probe>,
) -> Result<Route, NoRoute> {
    let named = node.config.transports.get(transport);
    let common = node.config.sending.addresses;
    let own = named.map_or(common, |named| named.addresses(common));
    match (
        named.map(|named| (named, &named.kind)),
        &node.config.outgoing,
    ) {
        (Some((_, Kind::Fail(fail))), _) => Err(NoRoute {
            outcome: Outcome::Permanent,
            text: format!("{} {}", fail.code, fail.text),
            status: status_in(&fail.text),
            unknown: false,
        }),
        (Some((named, Kind::Smarthost(smarthost))), _) => {
            let (addresses, is_whole) = addresses(node, &smarthost.host, own, probe).await?;
            let name = Arc::<str>::from(transport);
            let hop = |ip| Hop {
                name: smarthost.host.clone(),
                address: SocketAddr::new(ip, smarthost.port),
                policy: None,
                way: Way::Smarthost(name.clone(), named.clone()),
            };
            Ok(Route {
                hops: addresses.into_iter().map(hop).collect(),
                is_whole,
            })
        }
        (Some((named, Kind::Socks5(socks))), _) => {
            let (proxies, _) = addresses(node, &socks.host, own, probe).await?;
            let proxies = proxies
                .into_iter()
                .map(|ip| SocketAddr::new(ip, socks.port));
            let way = Way::Socks5(named.clone(), Arc::new(proxies.collect()));
            let mut route = direct(node, to, demand, own, probe).await?;
            for hop in &mut route.hops {
                hop.way = way.clone();
            }
            Ok(route)
        }
        (None, Outgoing::Relay(addresses)) if transport == RELAY => {
            let hop = |address: &SocketAddr| Hop {
                name: address.ip().to_string(),
                address: *address,
                policy: None,
                way: Way::Relay,
            };
            let hops = addresses.iter().filter(|to| own.goes_to(to.ip())).map(hop);
            let mut hops: Vec<Hop> = hops.collect();
            hops.sort_by_key(|hop| own.rank(hop.address.ip()));
            match hops.is_empty() && !addresses.is_empty() {
                true => Err(NoRoute::other_family("the relay")),
                false => Ok(hops.into()),
            }
        }
        (None, _) if transport == DIRECT => direct(node, to, demand, own, probe).await,
        (None, _) => Err(NoRoute::temporary(
            "4.3.5",
            format!(
                "there is no transport {transport:?} any more; moxctl queue route chooses another"
            ),
        )),
    }
}

/// The hosts that DNS names for a domain, or the one of an address.
async fn direct<R: Runtime>(
    node: &Inner<R>,
    to: &Path,
    demand: Demand,
    own: OutgoingAddresses,
    probe: Option<&Probe>,
) -> Result<Route, NoRoute> {
    match &to.host {
        Host::Literal(ip) if !own.goes_to(*ip) => Err(NoRoute::other_family(&to.host.to_string())),
        Host::Literal(ip) => Ok(vec![Hop {
            name: ip.to_string(),
            address: SocketAddr::new(*ip, node.config.remote_port),
            policy: None,
            way: Way::Plain,
        }]
        .into()),
        Host::Domain(domain) => mx(node, domain, demand, own, probe).await,
    }
}

/// The enhanced status code that a text begins with, or what a refusal by policy has.
fn status_in(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    let mut numbers = word.split('.').map(str::parse::<u16>);
    let is_status = numbers.next() == Some(Ok(5))
        && matches!((numbers.next(), numbers.next()), (Some(Ok(_)), Some(Ok(_))))
        && numbers.next().is_none();
    match is_status {
        true => word.to_owned(),
        false => "5.7.1".into(),
    }
}

/// The addresses of a host that the configuration names, and whether they are all there are.
async fn addresses<R: Runtime>(
    node: &Inner<R>,
    host: &str,
    own: OutgoingAddresses,
    probe: Option<&Probe>,
) -> Result<(Vec<IpAddr>, bool), NoRoute> {
    if let Ok(ip) = host.parse() {
        return match own.goes_to(ip) {
            true => Ok((vec![ip], true)),
            false => Err(NoRoute::other_family(host)),
        };
    }
    // RFC 6761 6.3: nobody is asked.
    if host.eq_ignore_ascii_case("localhost") {
        let both = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok((own.in_order(both), true));
    }
    let temporary = |text: String| NoRoute::temporary("4.4.3", text);
    let name = Name::parse(host).map_err(|_| temporary(format!("{host} is no host")))?;
    let questions = [RecordType::A, RecordType::Aaaa].map(|kind| Question::of(name.clone(), kind));
    let lookup = |facts: &Facts| {
        let answers = facts.all(&questions)?;
        let is_known = answers
            .iter()
            .all(|answer| !answer.why().is_some_and(Failure::is_temporary));
        let found = answers.iter().flat_map(|answer| answer.addresses());
        let found: Vec<IpAddr> = found.collect();
        let has_any = !found.is_empty();
        let mut found = own.in_order(found);
        let is_whole = is_known && found.len() <= ADDRESSES_MAX;
        found.truncate(ADDRESSES_MAX);
        Ok(((found, is_whole), has_any))
    };
    let ((found, has_any), facts) = node
        .resolver
        .inquire(&node.runtime, Facts::default(), lookup)
        .await;
    if let Some(probe) = probe {
        probe.asked(&facts);
    }
    match (found.0.is_empty(), has_any) {
        (false, _) => Ok(found),
        (true, true) => Err(NoRoute::other_family(host)),
        (true, false) => Err(temporary(format!("DNS has no address of {host}"))),
    }
}

async fn mx<R: Runtime>(
    node: &Inner<R>,
    domain: &Domain,
    demand: Demand,
    addresses: OutgoingAddresses,
    probe: Option<&Probe>,
) -> Result<Route, NoRoute> {
    let bad_name = || NoRoute {
        outcome: Outcome::Permanent,
        text: format!("{domain} is not a domain name that DNS can hold"),
        status: "5.1.2".into(),
        unknown: true,
    };
    let ascii = domain.to_ascii().map_err(|_| bad_name())?;
    let name = Name::parse(ascii.as_str()).map_err(|_| bad_name())?;
    let own = Name::parse(node.config.hostname.as_str()).ok();
    let unknown = |failure: Failure| {
        let text = format!("DNS did not say where mail for {domain} goes: {failure:?}");
        (Outcome::Temporary, "4.4.3", text)
    };
    let (plan, facts) = node.resolver.mail_hosts(&node.runtime, &name).await;
    if let Some(probe) = probe {
        probe.asked(&facts);
    }
    let (outcome, status, text) = match plan {
        MxPlan::Hosts {
            hosts,
            left_out,
            is_whole,
        } => {
            // RFC 5321 5.1: from our own place in the list on, mail would come back to us.
            let ours = hosts
                .iter()
                .find(|h| Some(&h.name) == own.as_ref())
                .map(|h| h.preference);
            let is_before = |preference: u16| ours.is_none_or(|ours| preference < ours);
            let usable = hosts.into_iter().filter(|host| is_before(host.preference));
            let left_out = left_out.filter(|(preference, _)| is_before(*preference));
            let (hops, all) =
                hops_of(node, &name, usable.collect(), demand, addresses, probe).await?;
            if !hops.is_empty() {
                // Those beyond our own place are not asked anyway.
                return Ok(Route {
                    hops,
                    is_whole: left_out.is_none() && all && (is_whole || ours.is_some()),
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
    // There is no such domain, or it takes no mail.
    let unknown = matches!(status, "5.1.2" | "5.1.10");
    Err(NoRoute {
        outcome,
        text,
        status: status.into(),
        unknown,
    })
}

/// The addresses of a domain's hosts, with what is demanded of each host, and whether each host has its place among them.
async fn hops_of<R: Runtime>(
    node: &Inner<R>,
    domain: &Name,
    hosts: Vec<MailHost>,
    demand: Demand,
    own: OutgoingAddresses,
    probe: Option<&Probe>,
) -> Result<(Vec<Hop>, bool), NoRoute> {
    let mut hops = Vec::new();
    if hosts.is_empty() {
        return Ok((hops, true));
    }
    let (sts, facts) = node.policies.of(node, domain).await;
    if let Some(probe) = probe {
        probe.asked(&facts);
    }
    let (policy, problem) = match sts {
        Ok(applied) => (applied.policy, applied.problem),
        // RFC 8689 4.2.2: it is to arrive, whatever policies say.
        Err(_) if demand == Demand::TlsOptional => (None, None),
        Err(failure) => {
            return Err(NoRoute::temporary(
                "4.4.3",
                format!("DNS did not say whether {domain} has an MTA-STS policy: {failure}"),
            ));
        }
    };
    let mut is_whole = true;
    for host in hosts {
        if hops.len() >= ADDRESSES_MAX {
            is_whole = false;
            break;
        }
        let sts = (policy.clone(), problem.as_ref());
        let policy = HopPolicy::of(node, domain, &host, sts, demand, probe).await;
        let policy = Arc::new(policy);
        let name = host.name.to_string();
        let name = name.trim_end_matches('.').to_owned();
        hops.extend(own.in_order(host.addresses).into_iter().map(|ip| Hop {
            name: name.clone(),
            address: SocketAddr::new(ip, node.config.remote_port),
            policy: Some(policy.clone()),
            way: Way::Plain,
        }));
    }
    if hops.is_empty() {
        let whose = format!("the mail servers of {domain}");
        return Err(NoRoute::other_family(&whose));
    }
    // A host that has some of its addresses there was asked.
    hops.truncate(ADDRESSES_MAX);
    Ok((hops, is_whole))
}
