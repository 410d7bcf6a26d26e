//! `moxctl dnsbl ...`: lists of addresses.

use core::fmt::Write;

use mox_dns::{Health, Listed, dnsbl, dnsbl_health};
use serde_json::json;

use crate::args::transport::{Dnsbl, DnsblCheck, DnsblCheckHealth, DnsblCommand};
use crate::facts::{Inquirer, domain_name, print, print_json};
use crate::failure::Failure;

pub(crate) fn run(dnsbl: &Dnsbl) -> Result<(), Failure> {
    match &dnsbl.command {
        DnsblCommand::Check(check) => run_check(check),
        DnsblCommand::CheckHealth(check) => run_check_health(check),
    }
}

fn run_check(check: &DnsblCheck) -> Result<(), Failure> {
    let zone = domain_name(&check.zone)?;
    let mut inquirer = Inquirer::open(check.dns.as_deref(), check.facts.as_deref())?;
    let report = inquirer.run(|facts| dnsbl(facts, &zone, check.ip));
    let (result, problem) = match report.listed {
        Listed::Yes => ("fail", None),
        Listed::No => ("pass", None),
        Listed::Meaningless(why) => ("permerror", Some(why.to_owned())),
        Listed::Unknown(why) => ("temperror", Some(why.to_string())),
    };
    let codes: Vec<String> = report.codes.iter().map(ToString::to_string).collect();
    if check.json {
        print_json(&json!({
            "result": result,
            "asked": report.asked.map(|name| name.to_string()),
            "codes": codes,
            "explanation": report.explanation,
            "problem": problem,
            "ttl": report.ttl,
        }))?;
    } else {
        let mut out = format!("{result}\n");
        if !codes.is_empty() {
            let _ = writeln!(out, "codes: {}", codes.join(" "));
        }
        let explanation = ("explanation", &report.explanation);
        for (name, value) in [explanation, ("problem", &problem)] {
            if let Some(value) = value {
                let _ = writeln!(out, "{name}: {value}");
            }
        }
        print(out)?;
    }
    inquirer.finish()
}

fn run_check_health(check: &DnsblCheckHealth) -> Result<(), Failure> {
    let zone = domain_name(&check.zone)?;
    let mut inquirer = Inquirer::open(check.dns.as_deref(), check.facts.as_deref())?;
    let health = inquirer.run(|facts| dnsbl_health(facts, &zone));
    // A list of one kind of addresses is a good one, as long as it does not list all of the other.
    let families = [health.v4, health.v6];
    let is_healthy = families.iter().any(|health| health.is_good())
        && families
            .iter()
            .all(|health| matches!(health, Health::Good | Health::ListsNothing));
    let result = if is_healthy { "healthy" } else { "unhealthy" };
    if check.json {
        print_json(&json!({
            "result": result,
            "ipv4": told(health.v4),
            "ipv6": told(health.v6),
        }))?;
    } else {
        print(format!(
            "{result}\nipv4: {}\nipv6: {}\n",
            told(health.v4),
            told(health.v6)
        ))?;
    }
    inquirer.finish()
}

fn told(health: Health) -> String {
    match health {
        Health::Good => "as it should be".into(),
        Health::ListsNothing => "the entry that every list has is not there".into(),
        Health::ListsAll => "the entry that no list may have is there".into(),
        Health::Meaningless(why) => why.into(),
        Health::Unknown(why) => why.to_string(),
    }
}
