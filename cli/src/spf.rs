//! `moxctl spf ...`: whether a host may send for a domain, and the records that say so.

use core::fmt::Write;

use mox_spf::{Fetched, Limits, Query, Record, Report, check_domain, fetch};
use serde_json::json;

use crate::args::authentication::{Spf, SpfCheck, SpfCommand, SpfLookup, SpfParse};
use crate::facts::{Inquirer, domain_name, print, print_json};
use crate::failure::Failure;
use crate::printable::printable;
use crate::timestamp;

pub(crate) fn run(spf: &Spf) -> Result<(), Failure> {
    match &spf.command {
        SpfCommand::Check(check) => run_check(check),
        SpfCommand::Lookup(lookup) => run_lookup(lookup),
        SpfCommand::Parse(parse) => run_parse(parse),
    }
}

fn run_check(check: &SpfCheck) -> Result<(), Failure> {
    let receiver = hostname();
    let query = Query {
        ip: check.ip,
        helo: check.helo.as_bytes(),
        mail_from: check.mail_from.as_bytes(),
        receiver: receiver.as_bytes(),
        time: timestamp::given_or_now(check.now).secs(),
    };
    let behind_at = check.mail_from.rsplit('@').next().unwrap_or_default();
    let domain = match [&*check.domain, behind_at, &*check.helo] {
        [domain, ..] if !domain.is_empty() => domain,
        [_, domain, _] if !check.mail_from.is_empty() => domain,
        [_, _, helo] => helo,
    };
    let mut inquirer = Inquirer::open(check.dns.as_deref(), check.facts.as_deref())?;
    let report =
        inquirer.run(|facts| check_domain(facts, &query, domain.as_bytes(), &Limits::default()));
    match check.json {
        true => {
            let mut value = json(&report);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("received_spf".into(), report.received_spf(&query).into());
            }
            print_json(&value)?;
        }
        false => print(format!(
            "{}{}\n",
            text(&report),
            report.received_spf(&query)
        ))?,
    }
    inquirer.finish()
}

/// The name that this host would have in a Received-SPF field.
pub(crate) fn hostname() -> String {
    let name = nix::unistd::gethostname().ok();
    name.and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".into())
}

/// The result word on a line of its own, then what it rests on.
fn text(report: &Report) -> String {
    let mut out = format!("{}\n", report.verdict);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name}: {}", printable(value));
    };
    line("domain", &report.domain);
    line("sender", &report.sender);
    line("identity", report.identity.name());
    if let Some(mechanism) = &report.mechanism {
        line("mechanism", mechanism);
    }
    if let Some(problem) = &report.problem {
        line("problem", problem);
    }
    if let Some(explanation) = &report.explanation {
        line("explanation", explanation);
    }
    for visit in &report.visits {
        let through = visit.through.as_deref().unwrap_or("record");
        let record = visit.record.as_deref().unwrap_or("none");
        let told = format!(
            "{through} of {}: {} from {record}",
            visit.domain, visit.verdict
        );
        line("visit", &told);
    }
    let counts = format!(
        "{}, of which {} found nothing",
        report.lookups, report.voids
    );
    line("lookups", &counts);
    out
}

/// The report, for `--json`.
pub(crate) fn json(report: &Report) -> serde_json::Value {
    let visits = report.visits.iter().map(|visit| {
        json!({
            "domain": visit.domain,
            "through": visit.through,
            "record": visit.record,
            "matched": visit.matched,
            "result": visit.verdict.name(),
        })
    });
    json!({
        "result": report.verdict.name(),
        "identity": report.identity.name(),
        "domain": report.domain,
        "sender": report.sender,
        "mechanism": report.mechanism,
        "problem": report.problem,
        "explanation": report.explanation,
        "lookups": report.lookups,
        "void_lookups": report.voids,
        "visits": visits.collect::<Vec<_>>(),
        "ttl": report.ttl,
        "authentic": report.authentic,
    })
}

fn run_lookup(lookup: &SpfLookup) -> Result<(), Failure> {
    let domain = domain_name(&lookup.domain)?;
    let mut inquirer = Inquirer::open(lookup.dns.as_deref(), lookup.facts.as_deref())?;
    let (status, record, problem) = inquirer.run(|facts| {
        Ok(match fetch(facts, &domain)? {
            Fetched::Nothing(verdict, why) => (verdict.name(), None, Some(why.to_owned())),
            Fetched::Record(text) => match Record::parse(text) {
                Ok(_) => ("found", Some(text.to_owned()), None),
                Err(e) => ("permerror", Some(text.to_owned()), Some(e.to_string())),
            },
        })
    });
    if lookup.json {
        let value = json!({ "status": status, "record": record, "problem": problem });
        print_json(&value)?;
    } else {
        let mut out = format!("{status}\n");
        for (name, value) in [("record", &record), ("problem", &problem)] {
            if let Some(value) = value {
                let _ = writeln!(out, "{name}: {}", printable(value));
            }
        }
        print(&out)?;
    }
    inquirer.finish()
}

fn run_parse(parse: &SpfParse) -> Result<(), Failure> {
    let record = Record::parse(&parse.record).map_err(|e| {
        Failure::Failed(format!(
            "not an SPF record: {e}; the grammar is in RFC 7208 section 12"
        ))
    })?;
    if !parse.json {
        return Ok(());
    }
    let directives = record.directives.iter().map(ToString::to_string);
    let unknown = record
        .unknown
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value.to_string() }));
    print_json(&json!({
        "record": record.to_string(),
        "directives": directives.collect::<Vec<_>>(),
        "redirect": record.redirect.map(|spec| spec.to_string()),
        "exp": record.exp.map(|spec| spec.to_string()),
        "unknown": unknown.collect::<Vec<_>>(),
    }))
}
