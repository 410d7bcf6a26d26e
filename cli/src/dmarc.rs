//! `moxctl dmarc ...`: whether the domain that people see vouches for a message.

use core::fmt::Write;

use mox_dkim::{AwsLc, Policy};
use mox_dmarc::{Authenticated, Author, Record, Report, author_policies, evaluate, walk};
use mox_dns::{Name, Question, RecordType};
use mox_server::reports::ReportKind;
use mox_server::{sender, signer};
use mox_spf::{Limits, Query, check_host};
use serde_json::{Value, json};

use crate::args::Args;
use crate::args::authentication::{Dmarc, DmarcCommand, DmarcLookup, DmarcVerify};
use crate::dkim;
use crate::facts::{Inquirer, domain_name, in_a_labels, print, print_json};
use crate::failure::Failure;
use crate::message::Message;
use crate::printable::printable;
use crate::spf::{self, hostname};
use crate::{reports, timestamp};

pub(crate) fn run(args: &Args, dmarc: &Dmarc) -> Result<(), Failure> {
    match &dmarc.command {
        DmarcCommand::Verify(verify) => run_verify(verify),
        DmarcCommand::Lookup(lookup) => run_lookup(lookup),
        DmarcCommand::ParseReportMsg(parse) => reports::dmarc(parse),
        DmarcCommand::Reports(list) => reports::list(args, ReportKind::Dmarc, list),
    }
}

/// Everything that is said of one message.
struct Judged {
    dmarc: Report,
    spf: mox_spf::Report,
    dkim: Vec<mox_dkim::Report>,
}

fn run_verify(verify: &DmarcVerify) -> Result<(), Failure> {
    let message = Message::read(None)?;
    let mut inquirer = Inquirer::open(verify.dns.as_deref(), verify.facts.as_deref())?;
    let judged = judge(verify, &message, &mut inquirer);
    match verify.json {
        true => print_json(&judged.json())?,
        false => print(judged.text())?,
    }
    inquirer.finish()
}

fn judge(verify: &DmarcVerify, message: &Message, inquirer: &mut Inquirer) -> Judged {
    let now = timestamp::given_or_now(verify.now).secs();
    let authors = message.authors();
    let authors: Vec<&[u8]> = authors.iter().map(Vec::as_slice).collect();
    // First, while the table of facts has room.
    inquirer.run(|facts| author_policies(facts, &authors));
    let receiver = hostname();
    // As the server does it: records are at A-labels.
    let (helo, mail_from) = (in_a_labels(&verify.helo), in_a_labels(&verify.mail_from));
    let query = Query {
        ip: verify.ip,
        helo: helo.as_bytes(),
        mail_from: mail_from.as_bytes(),
        receiver: receiver.as_bytes(),
        time: now,
    };
    let spf = inquirer.run(|facts| check_host(facts, &query, &Limits::default()));
    let hashed = dkim::hashed(message);
    let dkim = inquirer.run(|facts| hashed.judge(facts, &Policy::default(), now, &AwsLc));
    let signers: Vec<Authenticated<'_>> = dkim.iter().map(signer).collect();
    let evaluated = mox_dmarc::Message {
        authors: &authors,
        spf: Some(sender(&spf)),
        dkim: &signers,
    };
    let dmarc = inquirer.run(|facts| evaluate(facts, &evaluated));
    Judged { dmarc, spf, dkim }
}

impl Judged {
    fn text(&self) -> String {
        let dmarc = &self.dmarc;
        let mut out = format!("{} {}\n", dmarc.verdict, dmarc.disposition.name());
        if let Some(problem) = dmarc.problem {
            let _ = writeln!(out, "problem: {problem}");
        }
        for author in &dmarc.authors {
            let _ = writeln!(
                out,
                "author: {} {} {}",
                printable(&author.domain),
                author.verdict,
                author.disposition.name()
            );
            if let (Some(domain), Some(record)) = (&author.policy_domain, &author.record) {
                let _ = writeln!(out, "  record of {domain}: {record}");
            }
            let dkim = match author.dkim_aligned {
                Some(place) => format!("signature {} passed for one", place + 1),
                None => "no signature did".into(),
            };
            let spf = match author.spf_aligned {
                true => "SPF passed for an aligned domain",
                false => "SPF passed for no aligned domain",
            };
            let _ = writeln!(out, "  {spf}, {dkim}");
        }
        let _ = writeln!(
            out,
            "spf: {} {}",
            self.spf.verdict,
            printable(&self.spf.domain)
        );
        for report in &self.dkim {
            out.push_str(&dkim::text(report));
        }
        out
    }

    fn json(&self) -> Value {
        let dmarc = &self.dmarc;
        json!({
            "result": dmarc.verdict.name(),
            "disposition": dmarc.disposition.name(),
            "problem": dmarc.problem,
            "authors": dmarc.authors.iter().map(author).collect::<Vec<_>>(),
            "ttl": dmarc.ttl,
            "authentic": dmarc.authentic,
            "spf": spf::json(&self.spf),
            "dkim": self.dkim.iter().map(dkim::json).collect::<Vec<_>>(),
        })
    }
}

fn author(author: &Author) -> Value {
    json!({
        "domain": author.domain,
        "organizational_domain": author.organizational,
        "policy_domain": author.policy_domain,
        "record": author.record.as_ref().map(ToString::to_string),
        "policy": author.policy.name(),
        "result": author.verdict.name(),
        "disposition": author.disposition.name(),
        "spf_aligned": author.spf_aligned,
        "dkim_aligned": author.dkim_aligned,
    })
}

/// Why the records of a domain itself count as none, if it has some.
fn unusable(inquirer: &mut Inquirer, domain: &Name) -> Option<String> {
    let name = domain.child("_dmarc").ok()?;
    let answer = inquirer.answer(&Question::of(name, RecordType::Txt));
    let texts = answer.all().iter().filter_map(|record| match record {
        mox_dns::Record::Txt(text) if Record::is_record(text) => Some(text),
        _ => None,
    });
    match texts.collect::<Vec<_>>().as_slice() {
        [] => None,
        [text] => Record::parse(text)
            .err()
            .map(|why| format!("the record counts as none: {why}")),
        _ => Some("there is more than one record, which counts as none".into()),
    }
}

fn run_lookup(lookup: &DmarcLookup) -> Result<(), Failure> {
    let domain = domain_name(&lookup.domain)?;
    let mut inquirer = Inquirer::open(lookup.dns.as_deref(), lookup.facts.as_deref())?;
    let found = inquirer.run(|facts| walk(facts, &domain));
    let policy = found.policy();
    // Above a name for which DNS did not answer nothing is sure.
    let is_sure = found.failed.is_none() || policy.is_some_and(|(owner, _)| *owner == domain);
    let policy = policy.filter(|_| is_sure);
    let record: Option<&Record> = policy.map(|(_, record)| record);
    let (status, problem) = match (&found.failed, record) {
        (Some(name), None) => ("temperror", Some(format!("DNS did not answer for {name}"))),
        (_, None) => ("none", unusable(&mut inquirer, &domain)),
        (_, Some(record)) if record.clone().usable().is_none() => (
            "permerror",
            Some("the record says nothing that can be applied".into()),
        ),
        (_, Some(_)) => ("found", None),
    };
    let defects: Vec<String> = record
        .iter()
        .flat_map(|record| &record.defects)
        .map(|defect| format!("{}: {}", defect.tag, defect.what))
        .collect();
    let owner = policy.map(|(owner, _)| owner.to_string());
    let text = record.map(ToString::to_string);
    if lookup.json {
        print_json(&json!({
            "status": status,
            "domain": domain.to_string(),
            "organizational_domain": found.organizational().to_string(),
            "policy_domain": owner,
            "record": text,
            "defects": defects,
            "problem": problem,
        }))?;
    } else {
        let mut out = format!("{status}\n");
        for (name, value) in [("domain", &owner), ("record", &text), ("problem", &problem)] {
            if let Some(value) = value {
                let _ = writeln!(out, "{name}: {}", printable(value));
            }
        }
        for defect in &defects {
            let _ = writeln!(out, "defect: {}", printable(defect));
        }
        print(out)?;
    }
    inquirer.finish()
}
