//! Where mail for a domain goes.

use alloc::vec::Vec;
use core::net::IpAddr;
use mox_machine::{Rng, Seed, mutant};

use crate::{Answer, Facts, Failure, Missing, Name, Question, Record, RecordType};

/// Hosts that are looked at, the most preferred ones.
pub const HOSTS_MAX: usize = 16;
/// Addresses of one host that are kept.
pub const ADDRESSES_MAX: usize = 8;

/// Where mail for a domain goes, or why nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxPlan {
    /// There are hosts.
    Hosts {
        /// Those to try, in this order; each has an address.
        hosts: Vec<MailHost>,
        /// DNS did not tell of every host: the preference of the first of those, and what came instead.
        left_out: Option<(u16, Failure)>,
        /// No more than [`HOSTS_MAX`] are named: none was left out for that.
        is_whole: bool,
    },
    /// The domain takes no mail, and says so (RFC 7505).
    Null,
    /// The domain does not exist.
    NoDomain,
    /// The domain exists, but has no host with an address.
    NoHosts,
    /// DNS did not tell: try again later.
    Temporary(Failure),
}

/// One host that takes mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailHost {
    /// Its name as in the MX record; the domain itself without MX records.
    pub name: Name,
    /// Where CNAMEs lead, which the RFC forbids and people do; the name itself otherwise.
    pub canonical: Name,
    /// The MX record's preference; 0 without.
    pub preference: u16,
    /// Its addresses, IPv4 and IPv6 by turns, at most [`ADDRESSES_MAX`].
    pub addresses: Vec<IpAddr>,
    /// MX and address records are vouched for by DNSSEC: DANE may apply (RFC 7672 2.2).
    pub authentic: bool,
    /// The MX records alone are: that this is a host of the domain is proven.
    pub mx_authentic: bool,
    /// Where CNAMEs of the domain lead; the domain itself otherwise.
    pub next_hop: Name,
}

/// The hosts that take mail for `domain` (RFC 5321 5.1): by preference, equals shuffled by `seed`. Without MX records it is
/// the domain's own addresses. CNAMEs are followed by the resolver.
pub fn mail_hosts(facts: &Facts, domain: &Name, seed: &Seed) -> Result<MxPlan, Missing> {
    let mut rng = seed.child("mail hosts", 0).rng();
    let mx = facts.need(&Question::of(domain.clone(), RecordType::Mx))?;
    let (exchanges, is_whole) = match &mx.result {
        Ok(records) => match preferred(records, &mut rng) {
            Some(exchanges) => exchanges,
            None => return Ok(MxPlan::Null),
        },
        Err(Failure::NoData) => (Vec::from([(0, domain.clone())]), true),
        Err(Failure::NoDomain) => return Ok(MxPlan::NoDomain),
        Err(temporary) => return Ok(MxPlan::Temporary(*temporary)),
    };
    let questions: Vec<Question> = exchanges
        .iter()
        .flat_map(|(_, name)| {
            [RecordType::A, RecordType::Aaaa].map(|kind| Question::of(name.clone(), kind))
        })
        .collect();
    if mutant!(MissingSwallowed) && facts.all(&questions).is_err() {
        return Ok(MxPlan::NoHosts);
    }
    let answers = facts.all(&questions)?;

    let mut hosts = Vec::new();
    let mut left_out = None;
    for ((preference, name), pair) in exchanges.into_iter().zip(answers.chunks_exact(2)) {
        let [v4, v6] = pair else { continue };
        let failed = [v4, v6]
            .into_iter()
            .filter_map(|answer| answer.why())
            .find(|why| why.is_temporary());
        let addresses = by_turns(v4, v6, &mut rng);
        let mut found = [v4, v6]
            .into_iter()
            .filter(|answer| answer.addresses().next().is_some());
        let authentic = mx.authentic && found.all(|answer| answer.authentic);
        // RFC 7672 2.1.2, 2.2.2: a host that is vouched for is not used while a lookup on the way to it fails: whoever can
        // hold back one answer could keep TLS from being asked for.
        if addresses.is_empty() || (authentic && failed.is_some()) {
            left_out = left_out.or_else(|| failed.map(|failure| (preference, failure)));
            continue;
        }
        let canonical = v4.canonical.as_ref().or(v6.canonical.as_ref());
        hosts.push(MailHost {
            canonical: canonical.unwrap_or(&name).clone(),
            name,
            preference,
            addresses,
            authentic,
            mx_authentic: mx.authentic,
            next_hop: mx.canonical.as_ref().unwrap_or(domain).clone(),
        });
    }
    Ok(match (hosts.is_empty(), left_out) {
        (false, left_out) => MxPlan::Hosts {
            hosts,
            left_out,
            is_whole,
        },
        (true, Some((_, failure))) => MxPlan::Temporary(failure),
        (true, None) => MxPlan::NoHosts,
    })
}

/// The hosts of MX records in the order to be tried, and whether they are all; `None` for a null MX. A null MX beside others says nothing and is
/// passed over (RFC 7505 3).
fn preferred(records: &[Record], rng: &mut Rng) -> Option<(Vec<(u16, Name)>, bool)> {
    let mut exchanges: Vec<(u16, u64, &Name)> = Vec::new();
    let mut ordered: Vec<&Record> = records.iter().collect();
    // Name servers rotate records: only the seed may shuffle.
    ordered.sort_unstable();
    for record in ordered {
        if let Record::Mx {
            preference,
            exchange,
        } = record
            && !exchange.is_root()
            && !exchanges.iter().any(|(_, _, name)| *name == exchange)
        {
            exchanges.push((*preference, rng.next_u64(), exchange));
        }
    }
    if exchanges.is_empty() {
        return None;
    }
    exchanges.sort_unstable();
    let is_whole = exchanges.len() <= HOSTS_MAX;
    exchanges.truncate(HOSTS_MAX);
    let kept = exchanges
        .into_iter()
        .map(|(preference, _, name)| (preference, name.clone()));
    Some((kept.collect(), is_whole))
}

/// Both families by turns, beginning with either, each in an order of its own: a family that does not get through costs
/// one attempt only.
fn by_turns(v4: &Answer, v6: &Answer, rng: &mut Rng) -> Vec<IpAddr> {
    let mut shuffled = |answer: &Answer| {
        let mut addresses: Vec<IpAddr> = answer.addresses().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut keyed: Vec<(u64, IpAddr)> = addresses
            .into_iter()
            .map(|ip| (rng.next_u64(), ip))
            .collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, ip)| ip).collect::<Vec<_>>()
    };
    let (v4, v6) = (shuffled(v4), shuffled(v6));
    let (first, second) = if rng.one_in(2) { (v4, v6) } else { (v6, v4) };
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    loop {
        let before = turns.len();
        turns.extend(first.next());
        turns.extend(second.next());
        if turns.len() == before || turns.len() >= ADDRESSES_MAX {
            turns.truncate(ADDRESSES_MAX);
            return turns;
        }
    }
}
