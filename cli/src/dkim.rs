//! `moxctl dkim ...`: signatures over messages, verified and made.

use core::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use mox_dkim::{
    AwsLc, Canonical, Hashed, KeyRecord, Limits, Policy, PublicKey, Report, Selector, Sign,
    SignError, Signing, Verifier, overall,
};
use mox_dns::{Failure as DnsFailure, Record};
use serde_json::{Value, json};

use crate::args::authentication::{Dkim, DkimCommand, DkimLookup, DkimSign, DkimVerify};
use crate::dkim_keys;
use crate::facts::{Inquirer, domain_name, print, print_json};
use crate::failure::Failure;
use crate::message::Message;
use crate::printable::printable;
use crate::timestamp;

/// Signatures made at once at most: as many as verifiers look at.
const KEYS_MAX: usize = 8;

pub(crate) fn run(dkim: &Dkim) -> Result<(), Failure> {
    match &dkim.command {
        DkimCommand::Verify(verify) => run_verify(verify),
        DkimCommand::Lookup(lookup) => run_lookup(lookup),
        DkimCommand::Txt(txt) => dkim_keys::print_record(txt),
        DkimCommand::GenEd25519(_) => print(dkim_keys::make_ed25519()?),
        DkimCommand::GenRsa(_) => print(dkim_keys::make_rsa()?),
        DkimCommand::Sign(sign) => run_sign(sign),
    }
}

/// All that the signatures of a message are compared with.
pub(crate) fn hashed(message: &Message) -> Hashed {
    let mut verifier = Verifier::new(message.header(), &Limits::default());
    verifier.push(message.body());
    verifier.finish()
}

fn run_verify(verify: &DkimVerify) -> Result<(), Failure> {
    let message = Message::read(verify.message.as_deref())?;
    let now = timestamp::given_or_now(verify.now).secs();
    let hashed = hashed(&message);
    let mut inquirer = Inquirer::open(verify.dns.as_deref(), verify.facts.as_deref())?;
    let reports = inquirer.run(|facts| hashed.judge(facts, &Policy::default(), now, &AwsLc));
    let result = overall(&reports);
    if verify.json {
        print_json(&json!({
            "result": result.name(),
            "signatures": reports.iter().map(json).collect::<Vec<_>>(),
            "passed_over": hashed.passed_over(),
        }))?;
    } else {
        let mut out = format!("{result}\n");
        reports
            .iter()
            .for_each(|report| out.push_str(&text(report)));
        if hashed.passed_over() > 0 {
            let _ = writeln!(out, "signatures not looked at: {}", hashed.passed_over());
        }
        print(out)?;
    }
    inquirer.finish()
}

/// One signature on one line.
pub(crate) fn text(report: &Report) -> String {
    let mut out = format!("signature: {}", report.verdict);
    let claims = &report.claims;
    for (tag, value) in [
        ("d", &claims.domain),
        ("s", &claims.selector),
        ("a", &claims.algorithm),
        ("i", &claims.identity),
        ("b", &claims.signature),
    ] {
        if let Some(value) = value {
            let _ = write!(out, " {tag}={}", printable(value));
        }
    }
    if let Some(bits) = report.key_bits {
        let weak = if report.weak { ", weak" } else { "" };
        let _ = write!(out, " ({bits} bits{weak})");
    }
    if report.testing {
        out.push_str(" (the domain is testing)");
    }
    if report.unsigned_octets > 0 {
        let _ = write!(out, " ({} octets are not signed)", report.unsigned_octets);
    }
    if let Some(problem) = report.problem {
        let _ = write!(out, ": {problem}");
    }
    out.push('\n');
    out
}

/// One signature, for `--json`.
pub(crate) fn json(report: &Report) -> Value {
    json!({
        "result": report.verdict.name(),
        "problem": report.problem,
        "domain": report.claims.domain,
        "selector": report.claims.selector,
        "algorithm": report.claims.algorithm,
        "identity": report.claims.identity,
        "signature": report.claims.signature,
        "key_bits": report.key_bits,
        "weak": report.weak,
        "testing": report.testing,
        "unsigned_octets": report.unsigned_octets,
        "ttl": report.ttl,
        "authentic": report.authentic,
    })
}

fn run_lookup(lookup: &DkimLookup) -> Result<(), Failure> {
    let domain = domain_name(&lookup.domain)?.to_string();
    let question = KeyRecord::question(&lookup.selector, &domain).ok_or_else(|| {
        Failure::Usage(format!(
            "{:?} is no selector; it is what stands in s= of signatures",
            lookup.selector
        ))
    })?;
    let mut inquirer = Inquirer::open(lookup.dns.as_deref(), lookup.facts.as_deref())?;
    let answer = inquirer.answer(&question);
    let found = KeyRecord::of(&answer);
    let status = match &found {
        Ok(_) => "found",
        Err(_)
            if matches!(
                answer.why(),
                Some(DnsFailure::NoData | DnsFailure::NoDomain)
            ) =>
        {
            "none"
        }
        Err((verdict, _)) => verdict.name(),
    };
    let problem = found.as_ref().err().map(|(_, what)| *what);
    let texts = answer.all().iter().filter_map(|record| match record {
        Record::Txt(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    let texts: Vec<String> = texts.collect();
    if lookup.json {
        print_json(&json!({
            "status": status,
            "name": question.name().to_string(),
            "records": texts,
            "problem": problem,
            "key": found.as_ref().ok().map(key),
            "authentic": answer.authentic,
        }))?;
    } else {
        let mut out = format!("{status}\nname: {}\n", question.name());
        for text in &texts {
            let _ = writeln!(out, "record: {}", printable(text));
        }
        if let Some(problem) = problem {
            let _ = writeln!(out, "problem: {problem}");
        }
        print(out)?;
    }
    inquirer.finish()
}

fn key(record: &KeyRecord) -> Value {
    json!({
        "type": match record.key {
            PublicKey::Revoked => "revoked",
            PublicKey::Rsa(_) => "rsa",
            PublicKey::Ed25519(_) => "ed25519",
        },
        "sha256": record.sha256,
        "for_mail": record.for_mail,
        "testing": record.testing,
        "strict": record.strict,
    })
}

fn run_sign(sign: &DkimSign) -> Result<(), Failure> {
    let usage = |what: String| Failure::Usage(what);
    if sign.key.is_empty() || sign.key.len() > KEYS_MAX {
        return Err(usage(format!(
            "a message is signed with 1 to {KEYS_MAX} keys; name them as in: --key 2026a=2026a.pem"
        )));
    }
    let mut keys: Vec<(&str, Arc<dyn Sign>)> = Vec::new();
    for key in &sign.key {
        let pair = key.split_once('=').filter(|(selector, file)| {
            mox_address::Domain::parse(selector, false).is_ok() && !file.is_empty()
        });
        let (selector, file) = pair.ok_or_else(|| {
            usage(format!(
                "{key:?} is no selector with the file of its key; write it like 2026a=2026a.pem"
            ))
        })?;
        keys.push((selector, dkim_keys::read(Path::new(file))?));
    }
    if sign.expires == Some(0) {
        return Err(usage(
            "a signature that expires at once is none; name seconds, as in: --expires 604800"
                .into(),
        ));
    }
    let canonical = sign
        .canonical
        .split_once('/')
        .and_then(|(header, body)| Some((canonical(header)?, canonical(body)?)));
    let (header, body) = canonical.ok_or_else(|| {
        usage(format!(
            "{:?} is no canonicalization; it is relaxed or simple for header and body, like relaxed/simple",
            sign.canonical
        ))
    })?;
    let message = Message::read(sign.message.as_deref())?;
    let domain = match &sign.domain {
        Some(domain) => domain_name(domain)?.to_string(),
        None => author_domain(&message)?,
    };
    let selectors: Vec<Selector> = keys
        .into_iter()
        .map(|(selector, key)| Selector {
            header,
            body,
            expires: sign.expires,
            ..Selector::new(domain.as_str(), selector, key)
        })
        .collect();
    let mut signing = Signing::new(selectors);
    signing.push(message.body());
    let now = u64::try_from(timestamp::given_or_now(sign.now).secs()).unwrap_or(0);
    let fields = signing
        .finish(message.header(), now)
        .map_err(|e| match (e, &sign.domain) {
            (SignError::Name, Some(_)) => usage(format!("{domain:?} cannot sign: {e}")),
            _ => Failure::Failed(e.to_string()),
        })?;
    if sign.json {
        return print_json(&json!({ "domain": domain, "fields": fields }));
    }
    let mut out = fields.into_bytes();
    out.extend_from_slice(message.header());
    out.extend_from_slice(message.body());
    if message.was_lf {
        let text = out.split(|b| *b == b'\n');
        let lines: Vec<&[u8]> = text
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .collect();
        out = lines.join(&b'\n');
    }
    print(out)
}

fn canonical(text: &str) -> Option<Canonical> {
    match text {
        "relaxed" => Some(Canonical::Relaxed),
        "simple" => Some(Canonical::Simple),
        _ => None,
    }
}

/// The domain that signs when none is named: that of the one author.
fn author_domain(message: &Message) -> Result<String, Failure> {
    let mut authors = message.authors();
    authors.dedup();
    match authors.as_slice() {
        [domain] if !domain.is_empty() => Ok(String::from_utf8_lossy(domain).to_ascii_lowercase()),
        _ => Err(Failure::Failed(
            "the message has not one author with a domain; name who signs, with --domain".into(),
        )),
    }
}
