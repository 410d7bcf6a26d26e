//! `moxctl dns lookup`: what name servers say, as the server would hear it.

use std::net::IpAddr;

use mox_dns::{Answer, MasterFile, Name, Question, Record, RecordType};
use serde_json::{Value, json};

use crate::args::authentication::{Dns, DnsCommand, DnsLookup};
use crate::facts::{Inquirer, domain_name, print, print_json};
use crate::failure::Failure;

pub(crate) fn run(dns: &Dns) -> Result<(), Failure> {
    let DnsCommand::Lookup(lookup) = &dns.command;
    let questions = questions(lookup)?;
    let mut inquirer = Inquirer::open(lookup.dns.as_deref(), lookup.facts.as_deref())?;
    let answers: Vec<(Question, Answer)> = inquirer.run(|facts| {
        let answers = facts.all(&questions)?.into_iter().cloned();
        Ok(questions.iter().cloned().zip(answers).collect())
    });
    if lookup.json {
        let all = answers
            .iter()
            .map(|(question, answer)| as_json(question, answer));
        print_json(&all.collect::<Value>())?;
    } else {
        let file =
            MasterFile::of_facts(answers.iter().map(|(question, answer)| (question, answer)));
        print(file.to_string())?;
    }
    inquirer.finish()
}

/// The type stands before the name, or behind it.
fn questions(lookup: &DnsLookup) -> Result<Vec<Question>, Failure> {
    let (kinds, name) = match lookup.words.as_slice() {
        [name] => (None, name),
        [first, second] => match (kinds(first), kinds(second)) {
            (Some(kinds), _) => (Some(kinds), second),
            (None, Some(kinds)) => (Some(kinds), first),
            (None, None) => {
                let all = RecordType::ALL.map(|kind| kind.name().to_ascii_lowercase());
                return Err(Failure::Usage(format!(
                    "{first:?} is no type that mail asks for; the types are {} and ips",
                    all.join(", ")
                )));
            }
        },
        _ => {
            return Err(Failure::Usage(
                "name what to look up, as in: moxctl dns lookup mx example.org".into(),
            ));
        }
    };
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(vec![Question::of(Name::reverse(ip), RecordType::Ptr)]);
    }
    let name = domain_name(name)?;
    let kinds = kinds.unwrap_or_else(|| vec![RecordType::A, RecordType::Aaaa]);
    Ok(kinds
        .into_iter()
        .map(|kind| Question::of(name.clone(), kind))
        .collect())
}

fn kinds(word: &str) -> Option<Vec<RecordType>> {
    if word.eq_ignore_ascii_case("ips") {
        return Some(vec![RecordType::A, RecordType::Aaaa]);
    }
    let mut all = RecordType::ALL.into_iter();
    all.find(|kind| kind.name().eq_ignore_ascii_case(word))
        .map(|kind| vec![kind])
}

fn as_json(question: &Question, answer: &Answer) -> Value {
    json!({
        "name": question.name().to_string(),
        "type": question.kind().name(),
        "failure": answer.why().map(|why| why.to_string()),
        "records": answer.all().iter().map(record).collect::<Vec<_>>(),
        "ttl": answer.ttl,
        "authentic": answer.authentic,
        "canonical": answer.canonical.as_ref().map(ToString::to_string),
    })
}

fn record(record: &Record) -> Value {
    match record {
        Record::A(ip) => ip.to_string().into(),
        Record::Aaaa(ip) => ip.to_string().into(),
        Record::Mx {
            preference,
            exchange,
        } => json!({ "preference": preference, "exchange": exchange.to_string() }),
        Record::Txt(text) => String::from_utf8_lossy(text).into(),
        Record::Cname(name) | Record::Ptr(name) | Record::Ns(name) => name.to_string().into(),
        Record::Tlsa {
            usage,
            selector,
            matching,
            data,
        } => {
            let data: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
            json!({ "usage": usage, "selector": selector, "matching": matching, "data": data })
        }
        Record::Soa {
            primary,
            serial,
            minimum,
        } => json!({ "primary": primary.to_string(), "serial": serial, "minimum": minimum }),
    }
}
