//! `moxctl mtasts`, `tlsrpt` and `dane`: what domains publish about TLS between mail servers.

use core::fmt::Write;
use std::net::SocketAddr;

use mox_dns::{Facts, MailHost, Missing, MxPlan, Name, Question, RecordType, mail_hosts};
use mox_server::reports::ReportKind;
use mox_tls_policy::{
    Dane as Found, Demand, FetchError, NextHop, StsLookup, StsPolicy, TlsrptLookup as Report,
    dane_lookup, decide, policy_host, sts_lookup, tlsrpt_lookup,
};
use serde_json::{Value, json};

use crate::args::Args;
use crate::args::transport::{
    Dane, DaneCommand, DaneLookup, Mtasts, MtastsCommand, MtastsLookup, Tlsrpt, TlsrptCommand,
    TlsrptLookup,
};
use crate::facts::{Inquirer, domain_name, print, print_json};
use crate::failure::Failure;
use crate::password::os_seed;
use crate::printable::printable;
use crate::{https, reports};

pub(crate) fn mtasts(mtasts: &Mtasts) -> Result<(), Failure> {
    let MtastsCommand::Lookup(lookup) = &mtasts.command;
    run_mtasts(lookup)
}

pub(crate) fn tlsrpt(args: &Args, tlsrpt: &Tlsrpt) -> Result<(), Failure> {
    match &tlsrpt.command {
        TlsrptCommand::Lookup(lookup) => run_tlsrpt(lookup),
        TlsrptCommand::ParseReportMsg(parse) => reports::tlsrpt(parse),
        TlsrptCommand::Reports(list) => reports::list(args, ReportKind::Tls, list),
    }
}

pub(crate) fn dane(dane: &Dane) -> Result<(), Failure> {
    let DaneCommand::Lookup(lookup) = &dane.command;
    run_dane(lookup)
}

fn run_mtasts(lookup: &MtastsLookup) -> Result<(), Failure> {
    let domain = domain_name(&lookup.domain)?;
    let trust = https::trust(lookup.ca.as_deref())?;
    let mut inquirer = Inquirer::open(lookup.dns.as_deref(), lookup.facts.as_deref())?;
    let found = inquirer.run(|facts| sts_lookup(facts, &domain));
    let (mut status, mut problem, mut record) = match found {
        StsLookup::Record(record) => ("found", None, Some(record)),
        StsLookup::None => ("none", None, None),
        StsLookup::Several => (
            "permerror",
            Some("there is more than one record".into()),
            None,
        ),
        StsLookup::Unreadable(why) => ("permerror", Some(why.to_owned()), None),
        StsLookup::Unknown(why) => ("temperror", Some(why.to_string()), None),
    };
    let mut policy: Option<StsPolicy> = None;
    if record.is_some() {
        match fetch(&domain, lookup.port, trust, &mut inquirer) {
            Ok(fetched) => policy = Some(fetched),
            Err(why) => {
                status = match why {
                    FetchError::NoPolicy | FetchError::Policy(_) => "permerror",
                    _ => "temperror",
                };
                problem = Some(why.to_string());
            }
        }
    }
    let defects: Vec<String> = record
        .iter_mut()
        .flat_map(|record| record.defects.drain(..))
        .chain(policy.iter().flat_map(|policy| policy.defects.clone()))
        .map(|defect| format!("{}: {}", defect.field, defect.what))
        .collect();
    let text = record.as_ref().map(ToString::to_string);
    if lookup.json {
        print_json(&json!({
            "status": status,
            "domain": domain.to_string(),
            "record": text,
            "id": record.as_ref().map(|record| &record.id),
            "policy": policy.as_ref().map(|policy| json!({
                "mode": policy.mode.name(),
                "max_age": policy.max_age,
                "mx": policy.mx.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "text": policy.to_string(),
            })),
            "defects": defects,
            "problem": problem,
        }))?;
    } else {
        let mut out = format!("{status}\n");
        list(&mut out, "record", &text);
        list(&mut out, "problem", &problem);
        list(&mut out, "defect", &defects);
        if let Some(policy) = &policy {
            let _ = write!(out, "policy:\n{policy}");
        }
        print(out)?;
    }
    inquirer.finish()
}

fn fetch(
    domain: &Name,
    port: u16,
    trust: https::Trust,
    inquirer: &mut Inquirer,
) -> Result<StsPolicy, FetchError> {
    let host = policy_host(domain).ok_or(FetchError::NoPolicy)?;
    let kinds = [RecordType::A, RecordType::Aaaa];
    let questions = kinds.map(|kind| Question::of(host.clone(), kind));
    let (addresses, unknown) = inquirer.run(|facts| {
        let answers = facts.all(&questions)?;
        let ips = answers.iter().flat_map(|answer| answer.addresses());
        let addresses: Vec<SocketAddr> = ips.map(|ip| SocketAddr::new(ip, port)).collect();
        let mut failures = answers.iter().filter_map(|answer| answer.why());
        Ok((addresses, failures.find(|why| why.is_temporary())))
    });
    match (addresses.is_empty(), unknown) {
        (false, _) => {}
        (true, Some(why)) => {
            let text = format!("the addresses of {host} are not known: {why}");
            return Err(FetchError::Fetch(text));
        }
        // Whoever publishes the record and no host for the policy has none (RFC 8461 3.3).
        (true, None) => return Err(FetchError::NoPolicy),
    }
    https::fetch_policy(&host, &addresses, trust)
}

fn run_tlsrpt(lookup: &TlsrptLookup) -> Result<(), Failure> {
    let domain = domain_name(&lookup.domain)?;
    let mut inquirer = Inquirer::open(lookup.dns.as_deref(), lookup.facts.as_deref())?;
    let (status, problem, record) = match inquirer.run(|facts| tlsrpt_lookup(facts, &domain)) {
        Report::Record(record) => ("found", None, Some(record)),
        Report::None => ("none", None, None),
        Report::Several => (
            "permerror",
            Some("there is more than one record".into()),
            None,
        ),
        Report::Unreadable(why) => ("permerror", Some(why.to_owned()), None),
        Report::Unknown(why) => ("temperror", Some(why.to_string()), None),
    };
    let rua: Vec<String> = record
        .iter()
        .flat_map(|record| &record.rua)
        .map(ToString::to_string)
        .collect();
    let defects: Vec<String> = record
        .iter()
        .flat_map(|record| &record.defects)
        .map(|defect| format!("{}: {}", defect.field, defect.what))
        .collect();
    let text = record.as_ref().map(ToString::to_string);
    if lookup.json {
        print_json(&json!({
            "status": status,
            "domain": domain.to_string(),
            "record": text,
            "rua": rua,
            "defects": defects,
            "problem": problem,
        }))?;
    } else {
        let mut out = format!("{status}\n");
        list(&mut out, "record", &text);
        list(&mut out, "problem", &problem);
        list(&mut out, "rua", &rua);
        list(&mut out, "defect", &defects);
        print(out)?;
    }
    inquirer.finish()
}

/// `name: value`, a line for each.
fn list<'v>(out: &mut String, name: &str, values: impl IntoIterator<Item = &'v String>) {
    for value in values {
        let _ = writeln!(out, "{name}: {}", printable(value));
    }
}

/// The hosts of a domain and what DANE says of each.
type Hosts = Result<Vec<(MailHost, Found)>, MxPlan>;

fn run_dane(lookup: &DaneLookup) -> Result<(), Failure> {
    let domain = domain_name(&lookup.domain)?;
    // Hosts of equal preference stand in any order.
    let seed = os_seed()?;
    let mut inquirer = Inquirer::open(lookup.dns.as_deref(), lookup.facts.as_deref())?;
    let hosts = inquirer.run(|facts: &Facts| -> Result<Hosts, Missing> {
        match mail_hosts(facts, &domain, &seed)? {
            MxPlan::Hosts { hosts, .. } => {
                let found = hosts.into_iter().map(|host| {
                    let dane = dane_lookup(facts, &host, lookup.port)?;
                    Ok((host, dane))
                });
                Ok(Ok(found.collect::<Result<_, Missing>>()?))
            }
            none => Ok(Err(none)),
        }
    });
    let (status, problem) = match &hosts {
        Ok(_) => ("found", None),
        Err(MxPlan::Temporary(why)) => ("temperror", Some(why.to_string())),
        Err(MxPlan::Null) => ("none", Some("the domain takes no mail".into())),
        Err(MxPlan::NoDomain) => ("none", Some("the domain does not exist".into())),
        Err(_) => ("none", Some("no host takes its mail".into())),
    };
    let mut told: Vec<Value> = Vec::new();
    let mut out = format!("{status}\n");
    if let Some(problem) = &problem {
        let _ = writeln!(out, "problem: {problem}");
    }
    for (host, dane) in hosts.iter().flatten() {
        let hop = NextHop {
            domain: &domain,
            host: &host.name,
            sts: None,
            dane,
            vouched_for: host.mx_authentic,
            expanded: &host.next_hop,
        };
        let decision = decide(&hop, Demand::None);
        let (word, base, records, unusable) = match dane {
            Found::NotAuthentic => ("insecure", None, Vec::new(), Vec::new()),
            Found::None => ("none", None, Vec::new(), Vec::new()),
            Found::Unknown(_) => ("temperror", None, Vec::new(), Vec::new()),
            Found::Records {
                base,
                usable,
                unusable,
            } => (
                if usable.is_empty() {
                    "unusable"
                } else {
                    "usable"
                },
                Some(base.to_string()),
                usable.iter().map(ToString::to_string).collect(),
                unusable.iter().map(ToString::to_string).collect(),
            ),
        };
        let _ = writeln!(out, "{}: {word}; {decision}", host.name);
        for record in &records {
            let _ = writeln!(out, "  {record}");
        }
        for why in &unusable {
            let _ = writeln!(out, "  a record that cannot be used: {why}");
        }
        told.push(json!({
            "host": host.name.to_string(),
            "preference": host.preference,
            "authentic": host.authentic,
            "tlsa": word,
            "base": base,
            "records": records,
            "unusable": unusable,
            "decision": decision.to_string(),
        }));
    }
    match lookup.json {
        true => print_json(&json!({
            "status": status,
            "domain": domain.to_string(),
            "hosts": told,
            "problem": problem,
        }))?,
        false => print(out)?,
    }
    inquirer.finish()
}
