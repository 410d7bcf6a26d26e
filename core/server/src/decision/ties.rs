//! What a message has in common with others, in words, and what becomes of them: the history of a decision.

use std::net::IpAddr;

use super::facts::{Authenticated, Facts, Message};
use super::history::{History, Past};
use crate::limiter::NetworkClass;
use crate::ruleset::is_within;

const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365 * DAY;

/// One earlier message that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// When it came, in seconds since 1970.
    pub at: i64,
    /// It was junk.
    pub junk: bool,
    /// Tells local parts of authors apart.
    pub local_part: u32,
}

/// What of a message is remembered, so that later ones can be compared with it: each a word and what it is about, for this mailbox only.
/// Of one that was forwarded nothing is that tells of the domain that forwards: neither its own signatures nor its hosts.
pub fn ties(facts: &Facts, mailbox: &str, forwarder: Option<&str>) -> Vec<String> {
    let Some(message) = &facts.message else {
        return Vec::new();
    };
    let proved = message.author != Authenticated::No;
    let mut ties = Vec::new();
    if let Some((author, domain)) = author(message) {
        ties.push(of_author("author", proved, &author));
        ties.push(of_author("domain", proved, &domain));
        ties.extend(organization(&domain).map(|o| of_author("organization", proved, &o)));
    }
    let signers = signers(message, forwarder);
    ties.extend(signers.into_iter().map(|d| format!("signed {d}")));
    let named = |ties: Vec<String>| -> Vec<String> {
        ties.into_iter()
            .map(|tie| format!("{mailbox}\0{tie}"))
            .collect()
    };
    if forwarder.is_some() {
        return named(ties);
    }
    if message.spf.result == "pass" && !facts.sender.is_empty() {
        ties.push(format!("sender {}", facts.sender.to_lowercase()));
        ties.push(format!(
            "sender-domain {}",
            message.spf.subject.to_lowercase()
        ));
    }
    if message.helo.result == "pass" {
        ties.push(format!("hello {}", message.helo.subject.to_lowercase()));
    }
    let places = networks(facts.connection.ip);
    ties.extend(
        places
            .iter()
            .enumerate()
            .map(|(n, net)| format!("ip{} {net}", n + 1)),
    );
    named(ties)
}

/// The local part of the only author, in lower case; empty when there is none.
pub fn author_local_part(facts: &Facts) -> String {
    let author = facts.message.as_ref().and_then(author);
    let author = author.map(|(address, _)| address).unwrap_or_default();
    let (local, _) = author.rsplit_once('@').unwrap_or_default();
    local.to_owned()
}

/// What is remembered of a message that a user sends to this address.
pub fn written_to(address: &str) -> Vec<String> {
    let address = address.to_lowercase();
    let Some((_, domain)) = address.rsplit_once('@') else {
        return Vec::new();
    };
    let organization = organization(domain).map(|o| format!("wrote-organization {o}"));
    [format!("wrote {address}"), format!("wrote-domain {domain}")]
        .into_iter()
        .chain(organization)
        .collect()
}

impl History {
    /// Looks up what is known of a message for this mailbox, and of those who vouch for it but the domain that forwards it. `lookup` tells
    /// what is remembered under a tie, the newest first.
    ///
    /// # Errors
    /// Those of `lookup`; a history with [`History::failed`] stands for one that could not be read.
    pub fn read<E>(
        facts: &Facts,
        mailbox: &str,
        forwarder: Option<&str>,
        mut lookup: impl FnMut(&str) -> Result<Vec<Earlier>, E>,
    ) -> Result<Self, E> {
        let mut history = Self::default();
        let Some(message) = &facts.message else {
            return Ok(history);
        };
        let now = facts.at;
        let mut past = |tie: String, age: i64, most: usize| -> Result<Past, E> {
            let earlier = lookup(&format!("{mailbox}\0{tie}"))?;
            Ok(sum(&earlier, now.saturating_sub(age), most))
        };
        let proved = message.author != Authenticated::No;
        let author = author(message);
        if let Some((address, domain)) = &author {
            let organization = organization(domain);
            history.author = past(of_author("author", proved, address), 3 * YEAR, 2)?;
            history.domain = past(of_author("domain", proved, domain), 2 * YEAR, 20)?;
            if let Some(organization) = &organization {
                let tie = of_author("organization", proved, organization);
                history.organization = past(tie, 2 * YEAR, 20)?;
            }
            if !proved {
                history.author_proved = past(of_author("author", true, address), 3 * YEAR, 2)?;
                history.domain_proved = past(of_author("domain", true, domain), 2 * YEAR, 2)?;
                if let Some(organization) = &organization {
                    let tie = of_author("organization", true, organization);
                    history.organization_proved = past(tie, 2 * YEAR, 2)?;
                }
            }
        }
        for domain in signers(message, forwarder) {
            let known = past(format!("signed {domain}"), YEAR / 2, 50)?;
            history.signed.push((domain, known));
        }
        if message.spf.result == "pass" && !facts.sender.is_empty() {
            history.spf = past(
                format!("sender {}", facts.sender.to_lowercase()),
                YEAR / 2,
                50,
            )?;
            if history.spf.count() == 0 {
                let domain = message.spf.subject.to_lowercase();
                history.spf = past(format!("sender-domain {domain}"), YEAR / 2, 50)?;
            }
        }
        if history.spf.count() == 0 && message.helo.result == "pass" {
            let hello = message.helo.subject.to_lowercase();
            history.spf = past(format!("hello {hello}"), YEAR / 2, 50)?;
        }
        let [ip1, ip2, ip3] = networks(facts.connection.ip);
        history.ip1 = past(format!("ip1 {ip1}"), YEAR / 4, 50)?;
        history.ip2 = past(format!("ip2 {ip2}"), YEAR / 4, 50)?;
        history.ip3 = past(format!("ip3 {ip3}"), YEAR / 4, 50)?;
        if let Some((address, domain)) = &author {
            let mut wrote = |tie: String, age: i64| {
                let earlier = lookup(&tie)?;
                let since = now.saturating_sub(age);
                Ok(earlier.iter().any(|wrote| wrote.at >= since))
            };
            history.wrote_to_author = wrote(format!("wrote {address}"), 3 * YEAR)?;
            history.wrote_to_domain = wrote(format!("wrote-domain {domain}"), 2 * YEAR)?;
            if let Some(organization) = organization(domain) {
                let tie = format!("wrote-organization {organization}");
                history.wrote_to_organization = wrote(tie, 2 * YEAR)?;
            }
        }
        Ok(history)
    }
}

/// Of the newest ones, at most so many and not older than this.
fn sum(earlier: &[Earlier], since: i64, most: usize) -> Past {
    let some: Vec<&Earlier> = earlier
        .iter()
        .filter(|earlier| earlier.at >= since)
        .take(most)
        .collect();
    let mut local_parts: Vec<u32> = some.iter().map(|earlier| earlier.local_part).collect();
    local_parts.sort_unstable();
    local_parts.dedup();
    let junk = some.iter().filter(|earlier| earlier.junk).count();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Past {
        ham: number(some.len() - junk),
        junk: number(junk),
        newest: some.first().map(|earlier| earlier.junk),
        second: some.get(1).map(|earlier| earlier.junk),
        local_parts: number(local_parts.len()),
    }
}

/// The only author's address and domain, in lower case.
pub(super) fn author(message: &Message) -> Option<(String, String)> {
    let ([address], [domain]) = (&message.authors[..], &message.author_domains[..]) else {
        return None;
    };
    let (address, domain) = (address.to_lowercase(), domain.to_lowercase());
    (!address.is_empty() && !domain.is_empty()).then_some((address, domain))
}

fn of_author(word: &str, proved: bool, what: &str) -> String {
    let how = if proved { "proved" } else { "claimed" };
    format!("{word} {how} {what}")
}

/// The domain that was registered: that of the organization's own mail too, so that it and its subdomains know of each other.
fn organization(domain: &str) -> Option<String> {
    mox_dmarc::registrable(domain)
}

/// The domains whose signatures pass, each once, without that of who forwards the message and those below: it signs whatever it is sent.
fn signers(message: &Message, forwarder: Option<&str>) -> Vec<String> {
    let vouching = message.dkim.iter().filter(|signature| signature.vouches);
    let is_forwarders = |domain: &String| forwarder.is_some_and(|above| is_within(domain, above));
    let domains = vouching.map(|s| s.domain.to_lowercase());
    let mut domains: Vec<String> = domains.filter(|domain| !is_forwarders(domain)).collect();
    domains.sort_unstable();
    domains.dedup();
    domains
}

/// The address, and the networks around it: IPv4 /32, /26, /21; IPv6 /64, /48, /32.
fn networks(ip: IpAddr) -> [String; 3] {
    let ip = ip.to_canonical();
    NetworkClass::ALL.map(|class| format!("{}/{}", class.of(ip), class.bits(ip)))
}

#[cfg(test)]
mod tests {
    use super::super::facts::Signature;
    use super::*;

    #[test]
    fn networks_are_as_wide_as_said() {
        let of = |ip: &str| networks(ip.parse().unwrap());
        assert_eq!(
            of("10.1.7.255"),
            ["10.1.7.255/32", "10.1.7.192/26", "10.1.0.0/21"]
        );
        assert_eq!(of("::ffff:10.1.7.255"), of("10.1.7.255"));
        assert_eq!(
            of("2001:db8:1:2:3:4:5:6"),
            ["2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32"]
        );
    }

    #[test]
    fn whom_the_user_wrote_to_long_ago_is_no_acquaintance_any_more() {
        let mut facts = Facts::unknown(10 * YEAR);
        facts.message = Some(Message {
            authors: vec!["a@sub.far.example".into()],
            author_domains: vec!["sub.far.example".into()],
            ..Message::default()
        });
        let wrote = |years_ago: i64| {
            let earlier = |tie: &str| {
                let one = Earlier {
                    at: (10 - years_ago) * YEAR,
                    junk: false,
                    local_part: 0,
                };
                let is_ours = tie.starts_with("wrote");
                Ok::<_, ()>(is_ours.then_some(one).into_iter().collect())
            };
            let history = History::read(&facts, "INBOX", None, earlier).unwrap();
            let organization = history.wrote_to_organization;
            (
                history.wrote_to_author,
                history.wrote_to_domain,
                organization,
            )
        };
        assert_eq!(wrote(2), (true, true, true));
        assert_eq!(wrote(3), (true, false, false));
        assert_eq!(wrote(4), (false, false, false));
    }

    #[test]
    fn an_organization_knows_its_own_domain_and_those_below_of_each_other() {
        let of = |author: &str| {
            let mut facts = Facts::unknown(10 * YEAR);
            facts.message = Some(Message {
                authors: vec![format!("a@{author}")],
                author_domains: vec![author.into()],
                author: Authenticated::Strict,
                ..Message::default()
            });
            facts
        };
        let known = |before: &[String], author: &str| {
            let lookup = |tie: &str| {
                let one = Earlier {
                    at: 9 * YEAR,
                    junk: false,
                    local_part: 0,
                };
                let is_there = before.iter().any(|known| known == tie);
                Ok::<_, ()>(is_there.then_some(one).into_iter().collect())
            };
            let history = History::read(&of(author), "INBOX", None, lookup).unwrap();
            let (of_domain, of_organization) = (history.domain, history.organization);
            let came = (of_domain.count(), of_organization.count());
            (came, history.wrote_to_domain, history.wrote_to_organization)
        };
        let came = |author: &str| ties(&of(author), "INBOX", None);
        let (none, wrote) = (((0, 0), false, false), ((0, 0), false, true));
        for (earlier, later) in [
            ("far.example", "mail.far.example"),
            ("mail.far.example", "far.example"),
            ("news.far.example", "mail.far.example"),
        ] {
            assert_eq!(known(&came(earlier), later), ((0, 1), false, false));
            assert_eq!(known(&written_to(&format!("b@{earlier}")), later), wrote);
        }
        assert_eq!(known(&came("far.example"), "other.example"), none);
        assert_eq!(known(&written_to("b@far.example"), "other.example"), none);
    }

    #[test]
    fn whoever_forwards_mail_is_not_remembered_for_it_and_who_signed_it_before_is() {
        let mut facts = Facts::unknown(10 * YEAR);
        let signed = |domain: &str| Signature {
            domain: domain.into(),
            result: "pass".into(),
            vouches: true,
            problem: None,
            selector: None,
            algorithm: None,
        };
        facts.sender = "srs@forwarder.example".into();
        facts.message = Some(Message {
            authors: vec!["a@far.example".into()],
            author_domains: vec!["far.example".into()],
            dkim: ["Far.example", "forwarder.example", "out.Forwarder.example"]
                .map(signed)
                .into(),
            ..Message::default()
        });
        let of = |forwarder| ties(&facts, "Old", forwarder);
        let signers = |forwarder| -> Vec<String> {
            let ties = of(forwarder).into_iter();
            ties.filter_map(|tie| Some(tie.strip_prefix("Old\0signed ")?.to_owned()))
                .collect()
        };
        let all = ["far.example", "forwarder.example", "out.forwarder.example"];
        assert_eq!(signers(None), all);
        assert_eq!(signers(Some("forwarder.example")), ["far.example"]);
        assert_eq!(signers(Some("warder.example")), all);
        assert!(
            !of(Some("far.example"))
                .iter()
                .any(|tie| tie.contains("ip1"))
        );
        let read = |forwarder| -> Vec<String> {
            let mut asked = Vec::new();
            let history = History::read(&facts, "Old", forwarder, |tie| {
                asked.push(tie.to_owned());
                Ok::<_, ()>(Vec::new())
            });
            let history = history.unwrap();
            let is_asked = |domain: &String| asked.contains(&format!("Old\0signed {domain}"));
            let known = history.signed.into_iter().map(|(domain, _)| domain);
            known.inspect(|domain| assert!(is_asked(domain))).collect()
        };
        assert_eq!(read(Some("forwarder.example")), ["far.example"]);
        assert_eq!(read(None), all);
    }

    #[test]
    fn the_newest_ones_count_and_old_ones_do_not() {
        let earlier = |at, junk, local_part| Earlier {
            at,
            junk,
            local_part,
        };
        let all = [
            earlier(30, true, 1),
            earlier(20, false, 2),
            earlier(10, true, 1),
            earlier(1, true, 9),
        ];
        let past = sum(&all, 10, 50);
        assert_eq!((past.ham, past.junk, past.local_parts), (1, 2, 2));
        assert_eq!((past.newest, past.second), (Some(true), Some(false)));
        assert_eq!(sum(&all, 0, 2).count(), 2);
        assert_eq!(sum(&all, 100, 2), Past::default());
    }
}
