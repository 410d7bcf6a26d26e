//! `moxctl config dnsrecords` and `dnscheck`: what a domain of ours has in DNS, and whether it is there.

use core::fmt::Write;

use mox_address::Domain;
use mox_server::{DnsRecord, Need, Presence, dns_records};
use serde_json::{Value, json};

use crate::args::{Args, ConfigDnsCheck, ConfigDnsRecords};
use crate::config_files::{ConfigFiles, ascii_domain};
use crate::facts::{Inquirer, print, print_json};
use crate::failure::Failure;

/// The records of a configured domain.
fn of_domain(files: &ConfigFiles, name: &str) -> Result<Vec<DnsRecord>, Failure> {
    let domain = ascii_domain(name)?;
    if !files.dynamic.domains.contains_key(&domain) {
        return Err(Failure::Failed(format!(
            "{} has no domain {name:?}; check the spelling, or add it with moxctl config domain add",
            files.dynamic_path.display()
        )));
    }
    Ok(records(files, &domain))
}

fn records(files: &ConfigFiles, domain: &Domain) -> Vec<DnsRecord> {
    let keys = files.keys.get(domain).map_or(&[][..], Vec::as_slice);
    let reports = files.dynamic.reports.get(domain).cloned();
    dns_records(&files.fixed, domain, keys, &reports.unwrap_or_default())
}

pub(crate) fn show(args: &Args, command: &ConfigDnsRecords) -> Result<(), Failure> {
    let files = ConfigFiles::load(&ConfigFiles::locate(args))?;
    let records = of_domain(&files, &command.domain)?;
    if command.json {
        return print_json(&Value::Array(records.iter().map(as_json).collect()));
    }
    print(zone(&records))
}

/// The records of a domain of a configuration, as lines of a zone file with what each is for.
pub(crate) fn zone_of(files: &ConfigFiles, domain: &Domain) -> String {
    zone(&records(files, domain))
}

fn zone(records: &[DnsRecord]) -> String {
    let mut out = String::new();
    for need in [Need::Required, Need::Recommended, Need::Optional] {
        for record in records.iter().filter(|record| record.need == need) {
            let _ = writeln!(out, "; {}: {}\n{record}", need.name(), record.purpose);
        }
    }
    out
}

fn as_json(record: &DnsRecord) -> Value {
    json!({
        "name": record.name,
        "type": record.data.kind(),
        "data": record.data.to_string(),
        "need": record.need.name(),
        "purpose": record.purpose,
    })
}

pub(crate) fn check(args: &Args, command: &ConfigDnsCheck) -> Result<(), Failure> {
    let files = ConfigFiles::load(&ConfigFiles::locate(args))?;
    let records = of_domain(&files, &command.domain)?;
    let mut inquirer = Inquirer::open(command.dns.as_deref(), command.facts.as_deref())?;
    let (mut out, mut all, mut wrong) = (String::new(), Vec::new(), 0);
    for record in &records {
        let Some(question) = record.question() else {
            continue;
        };
        let presence = record.presence(&inquirer.answer(&question));
        let (word, detail) = match &presence {
            Presence::There => ("ok", None),
            Presence::Missing => ("missing", None),
            Presence::Differs(found) => ("differs", Some(format!("found: {found}"))),
            Presence::Wrong(why) => ("wrong", Some(why.clone())),
            Presence::Unknown(failure) => ("unknown", Some(failure.to_string())),
        };
        let is_wrong = match presence {
            Presence::There | Presence::Differs(_) => false,
            Presence::Missing => record.need != Need::Optional,
            Presence::Wrong(_) | Presence::Unknown(_) => true,
        };
        wrong += usize::from(is_wrong);
        let _ = writeln!(out, "{word}: {record}");
        if let Some(detail) = detail.as_deref() {
            let _ = writeln!(out, "    {}", crate::printable::printable(detail));
        }
        all.push(json!({ "record": as_json(record), "status": word, "detail": detail }));
    }
    match command.json {
        true => print_json(&Value::Array(all))?,
        false => print(out)?,
    }
    inquirer.finish()?;
    match wrong {
        0 => Ok(()),
        _ => Err(Failure::Failed(format!(
            "{wrong} of the records of {} are not as they should be; moxctl config dnsrecords prints them",
            command.domain
        ))),
    }
}
