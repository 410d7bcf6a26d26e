//! What the checks of a message came to, and why, for people.

use core::fmt::Write;

use mox_dns::{Failure, MasterFile};
use mox_server::decision::{DmarcAlignment, DmarcFacts, Method, Record, Signature};

use crate::printable::printable;

/// Letters that are shown of what somebody else wrote.
const TEXT_MAX: usize = 120;
/// Questions that name servers did not answer which are shown.
const UNANSWERED_MAX: usize = 5;

/// A line for each check that was made.
pub(super) fn tell(out: &mut String, record: &Record) {
    let Some(message) = &record.facts.message else {
        return;
    };
    // What name servers did not tell may be what aligns.
    let is_known = message.dmarc.result != "temperror" && message.dmarc.disposition != "defer";
    let alignment = message.dmarc.alignment.as_ref().filter(|_| is_known);
    let mut lines = Vec::new();
    if !message.iprev.result.is_empty() {
        lines.push(iprev(&message.iprev));
    }
    if !message.spf.result.is_empty() {
        lines.push(spf(&message.spf, alignment, record.facts.sender.is_empty()));
        let signatures = message.dkim.iter().enumerate();
        lines.extend(signatures.map(|(place, one)| signature(place, one, alignment)));
        if message.dkim.is_empty() {
            lines.push("DKIM none: there is no signature".to_owned());
        }
    }
    if !message.dmarc.result.is_empty() {
        lines.push(dmarc(&message.dmarc, &message.author_domains));
    }
    let unsure = [
        &message.iprev.result,
        &message.spf.result,
        &message.dmarc.result,
    ];
    let keys = message.dkim.iter().map(|one| &one.result);
    if unsure
        .into_iter()
        .chain(keys)
        .any(|result| result == "temperror")
        || message.dmarc.disposition == "defer"
    {
        lines.extend(unanswered(&record.dns));
    }
    if !lines.is_empty() {
        out.push_str("  checks:\n");
    }
    for line in lines {
        let _ = writeln!(out, "    {line}");
    }
}

fn iprev(iprev: &Method) -> String {
    let mut said = Vec::new();
    let name = short(&iprev.subject);
    match (iprev.result.as_str(), name.is_empty()) {
        (_, true) => {}
        ("pass", false) => said.push(name),
        ("temperror", false) => said.push(format!("whether {name} leads back is not known")),
        (_, false) => said.push(format!("{name} does not lead back to the address")),
    }
    line("iprev", &iprev.result, said, iprev.problem.as_deref())
}

fn spf(spf: &Method, alignment: Option<&DmarcAlignment>, is_of_hello: bool) -> String {
    let domain = short(&spf.subject);
    let mut said = Vec::new();
    match (domain.is_empty(), is_of_hello) {
        (true, _) => {}
        (false, true) => said.push(format!("{domain}, the name in EHLO")),
        (false, false) => said.push(domain),
    }
    // Where nothing of a record matched the word for that is its own.
    match spf.mechanism.as_deref() {
        None => {}
        Some("default") => said.push("by no mechanism".to_owned()),
        Some(mechanism) => said.push(format!("by {}", short(mechanism))),
    }
    if spf.result == "pass"
        && let Some(alignment) = alignment
    {
        said.push(aligned(alignment, alignment.spf, alignment.spf_strict));
    }
    line("SPF", &spf.result, said, spf.problem.as_deref())
}

fn signature(place: usize, one: &Signature, alignment: Option<&DmarcAlignment>) -> String {
    let mut said = vec![match one.domain.as_str() {
        "" => "of no domain".to_owned(),
        domain => short(domain),
    }];
    let selector = one.selector.as_deref();
    said.extend(selector.map(|selector| format!("selector {}", short(selector))));
    said.extend(one.algorithm.as_deref().map(short));
    // Behind the first one that counts none was looked at.
    let is_known = |alignment: &&DmarcAlignment| alignment.dkim.is_none_or(|at| place <= at);
    if one.vouches
        && let Some(alignment) = alignment.filter(is_known)
    {
        let counts = alignment.dkim == Some(place);
        said.push(aligned(alignment, counts, alignment.dkim_strict));
    }
    let is_cut = one.result == "pass" && !one.vouches;
    let unsigned =
        is_cut.then_some("the end of the message is not signed, so it vouches for nothing");
    let problem = one.problem.as_deref().or(unsigned);
    line(&format!("DKIM {}", place + 1), &one.result, said, problem)
}

fn aligned(alignment: &DmarcAlignment, counts: bool, strict: bool) -> String {
    let author = short(&alignment.author);
    match (counts, strict) {
        (true, _) => format!("aligned with {author}"),
        (false, false) => format!("not aligned with {author}"),
        (false, true) => format!("not aligned with {author}, which demands the very domain"),
    }
}

fn dmarc(dmarc: &DmarcFacts, authors: &[String]) -> String {
    let mut said = Vec::new();
    match &dmarc.alignment {
        Some(found) => {
            said.push(short(&found.author));
            let owner = dmarc.policy_domain.as_deref().unwrap_or_default();
            said.push(match owner == found.author || owner.is_empty() {
                true => format!("policy {}", short(&found.policy)),
                false => format!("policy {} of {}", short(&found.policy), short(owner)),
            });
            let signed = found
                .dkim
                .map(|place| format!("DKIM {}", place.saturating_add(1)));
            let spf = found.spf.then(|| "SPF".to_owned());
            let by: Vec<String> = spf.into_iter().chain(signed).collect();
            said.push(match by.is_empty() {
                true if dmarc.result == "temperror" || dmarc.disposition == "defer" => {
                    "whether something that passes is aligned is not known".to_owned()
                }
                true => "nothing that passes is aligned".to_owned(),
                false => format!("by {}", by.join(" and ")),
            });
        }
        None => {
            let named = authors.first().filter(|author| !author.is_empty());
            said.extend(named.map(|author| short(author)));
            match (&dmarc.policy_domain, dmarc.result.as_str()) {
                (Some(owner), _) => said.push(format!("policy of {}", short(owner))),
                (None, "none") => said.push("no policy".to_owned()),
                (None, _) => {}
            }
        }
    }
    if dmarc.disposition == "defer" {
        said.push("which may want it refused".to_owned());
    }
    line("DMARC", &dmarc.result, said, dmarc.problem.as_deref())
}

fn line(check: &str, result: &str, said: Vec<String>, problem: Option<&str>) -> String {
    let mut line = format!("{check} {}", short(result));
    if !said.is_empty() {
        let _ = write!(line, ": {}", said.join(", "));
    }
    if let Some(problem) = problem {
        let before = if said.is_empty() { ":" } else { ";" };
        let _ = write!(line, "{before} {}", short(problem));
    }
    line
}

/// What name servers were asked and did not tell.
fn unanswered(dns: &str) -> Vec<String> {
    let Ok(file) = MasterFile::parse(dns) else {
        return Vec::new();
    };
    let facts = file.facts();
    let unknown = facts.iter().filter_map(|(question, answer)| {
        let why = answer.why().filter(|why| Failure::is_temporary(*why))?;
        Some(format!(
            "not answered: {}; {why}",
            short(&question.to_string())
        ))
    });
    let mut lines: Vec<String> = unknown.collect();
    let more = lines.len().saturating_sub(UNANSWERED_MAX);
    lines.truncate(UNANSWERED_MAX);
    lines.extend((more > 0).then(|| format!("not answered: {more} more")));
    lines
}

/// The beginning of what somebody else wrote.
fn short(text: &str) -> String {
    let mut letters = text.chars();
    let begin: String = letters.by_ref().take(TEXT_MAX).collect();
    let more = if letters.next().is_some() { "..." } else { "" };
    printable(&begin) + more
}
