//! `moxctl explain`: why mail was taken, put aside or refused.

mod checks;

use core::fmt::Write;

use mox_machine::Utc;
use mox_server::Directory;
use mox_server::decision::{Decision, Judgement, Otherwise, Record, Rule, Weight};
use mox_server::limiter::{Networks, RefusedMinute};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{Args, Explain};
use crate::cid::CidAnswer;
use crate::config_files::{ctl_socket, proposed, proposed_directory};
use crate::ctl::{self, Command};
use crate::facts::{print, print_json};
use crate::failure::Failure;
use crate::files::read_at_most;
use crate::printable::printable;

/// Octets of a file of records at most.
const FILE_MAX: u64 = 64 << 20;

/// What a server knows of something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExplainAnswer {
    /// The records, the newest first.
    pub records: Vec<Record>,
    /// There may be more: with them the answer would be too large.
    pub is_cut: bool,
}

pub(crate) fn run(args: &Args, explain: &Explain) -> Result<(), Failure> {
    if explain.refused {
        return refused(args, explain);
    }
    let records = records(args, explain)?;
    if records.is_empty() {
        return Err(Failure::Failed(match &explain.what {
            Some(what) => format!(
                "nothing is known of {what:?}: there are records of mail over SMTP from elsewhere only, for as long as decision_records \
                 says (30 days if nothing), and the oldest go where there is no room"
            ),
            None => "there is no record in the file".into(),
        }));
    }
    if let Some(path) = &explain.under {
        let (fixed, dynamic) = proposed(path)?;
        let directory = proposed_directory(&fixed, &dynamic);
        let directory = directory.map_err(|e| Failure::Failed(e.to_string()))?;
        return under(&records, &directory, explain.json);
    }
    if explain.recompute {
        return recompute(&records, explain.json);
    }
    if explain.json {
        let value = serde_json::to_value(records)
            .map_err(|e| Failure::Failed(format!("the records cannot be written as JSON: {e}")))?;
        return print_json(&value);
    }
    print(records.iter().map(text).collect::<Vec<_>>().join("\n"))
}

/// What would be decided under another configuration.
fn under(records: &[Record], directory: &Directory, as_json: bool) -> Result<(), Failure> {
    let (mut all, mut out) = (Vec::new(), String::new());
    for record in records {
        for (was, under) in record.recipients.iter().zip(record.under(directory)) {
            let (then, now) = (&was.decision, &under.judgement.decision);
            let said = |d: &Decision| json!({"verdict": d.verdict, "reason": d.reason, "mailbox": d.mailbox});
            all.push(json!({
                "id": record.id,
                "recipient": was.recipient.address,
                "was": said(then),
                "would_be": said(now),
                "unknown": under.unknown,
            }));
            let line = |d: &Decision| {
                let mailbox = d.mailbox.as_deref().unwrap_or("nowhere");
                let (verdict, reason) = (d.verdict.name(), d.reason.name());
                format!("{verdict} ({reason}), {}", printable(mailbox))
            };
            let (then, now) = (line(then), line(now));
            let change = match then == now {
                true => format!("still {then}"),
                false => format!("{then} -> {now}"),
            };
            let (id, to) = (printable(&record.id), printable(&was.recipient.address));
            let _ = writeln!(out, "{id} to <{to}>: {change}");
            for unknown in &under.unknown {
                let _ = writeln!(out, "    not in the record: {}", printable(unknown));
            }
        }
    }
    match as_json {
        true => print_json(&all),
        false => print(out),
    }
}

/// What limiters refused.
fn refused(args: &Args, explain: &Explain) -> Result<(), Failure> {
    let others = explain.recompute
        || explain.from.is_some()
        || explain.under.is_some()
        || explain.account.is_some();
    if explain.what.is_some() || others {
        let text = "--refused lists what limiters counted: it goes with --max and --json only";
        return Err(Failure::Usage(text.into()));
    }
    let socket = ctl_socket(args)?;
    let command = Command::Refused { max: explain.max };
    let minutes: Vec<RefusedMinute> = ctl::ask(&socket, &command)?;
    if explain.json {
        let value = serde_json::to_value(minutes)
            .map_err(|e| Failure::Failed(format!("the counts cannot be written as JSON: {e}")))?;
        return print_json(&value);
    }
    let mut out = String::new();
    for minute in minutes {
        let at = Utc::from_secs(minute.at);
        for refused in minute.refused {
            let from = match refused.class {
                Some(class) => {
                    let networks = Networks::of(refused.last);
                    let network = networks.map_or(refused.last, |all| all.in_class(class));
                    format!(
                        "the budget of a {class}, the last {}",
                        class.written(network)
                    )
                }
                None => format!("the last from {}", refused.last),
            };
            let _ = writeln!(
                out,
                "{at}  {:>6}  {}: too many {}; {from}",
                refused.count,
                refused.service.name(),
                refused.limiter.name(),
            );
        }
    }
    if out.is_empty() {
        out.push_str("nothing was refused by a limiter\n");
    }
    print(out)
}

/// What is in a file of records.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    /// As `explain --json` writes them.
    All(Vec<Record>),
    /// As `cid --json` does.
    Cid(CidAnswer),
}

impl Written {
    fn records(self) -> Vec<Record> {
        match self {
            Self::All(records) | Self::Cid(CidAnswer { records, .. }) => records,
        }
    }
}

fn records(args: &Args, explain: &Explain) -> Result<Vec<Record>, Failure> {
    if let Some(path) = &explain.from {
        let text = read_at_most(path, FILE_MAX)?;
        let records = serde_json::from_slice(&text).map(Written::records);
        let records = records.map_err(|e| {
            Failure::Failed(format!(
                "{} holds no records as moxctl explain --json writes them: {e}",
                path.display()
            ))
        })?;
        let wanted = |record: &Record| match &explain.what {
            Some(what) => record.is_about(what),
            None => true,
        };
        let known = |record: Record| match &explain.account {
            Some(account) => record.for_account(account),
            None => Some(record),
        };
        // What an account does not know of a record must not find it either.
        let records = records.into_iter().filter_map(known).filter(wanted);
        return Ok(records.collect());
    }
    let Some(what) = &explain.what else {
        return Err(Failure::Usage(
            "say what: the id the other side was told, a Message-ID, a sender or a recipient; or --from FILE".into(),
        ));
    };
    let socket = ctl_socket(args)?;
    let command = Command::Explain {
        what: what.clone(),
        max: explain.max,
        account: explain.account.clone(),
    };
    let answer: ExplainAnswer = ctl::ask(&socket, &command)?;
    if answer.is_cut && answer.records.is_empty() {
        return Err(Failure::Failed(format!(
            "there are too many records about {what:?} to find those of the account: ask by an id"
        )));
    }
    if answer.is_cut {
        let count = answer.records.len();
        eprintln!(
            "moxctl: only the newest {count} are shown, since more records would be too large an answer: ask for others by \
             their ids, which replies, Received fields and the log have"
        );
    }
    Ok(answer.records)
}

/// Decides again, and says where something else comes of it.
fn recompute(records: &[Record], as_json: bool) -> Result<(), Failure> {
    let (mut all, mut out, mut differ) = (Vec::new(), String::new(), 0);
    for record in records {
        let differences = record.differences();
        if as_json {
            all.push(json!({
                "id": record.id,
                "agrees": differences.is_empty(),
                "differences": differences,
                "lacks": record.lacks(),
                "again": record.recompute(),
            }));
        }
        let _ = match differences.as_slice() {
            [] => match record.lacks() {
                None => writeln!(out, "{}: agrees", printable(&record.id)),
                Some(lacks) => writeln!(
                    out,
                    "{}: agrees as far as it tells; not in the record: {lacks}",
                    printable(&record.id)
                ),
            },
            found => {
                differ += 1;
                writeln!(
                    out,
                    "{}: {}",
                    printable(&record.id),
                    printable(&found.join("; "))
                )
            }
        };
    }
    match as_json {
        true => print_json(&all)?,
        false => print(out)?,
    }
    match differ {
        0 => Ok(()),
        n => Err(Failure::Failed(format!(
            "{n} of {} records decide otherwise now",
            records.len()
        ))),
    }
}

pub(crate) fn text(record: &Record) -> String {
    let facts = &record.facts;
    let connection = &facts.connection;
    let mut out = format!(
        "{}  {}\n  from <{}>, brought by {} [{}]{}{}\n",
        Utc::from_secs(facts.at),
        printable(&record.id),
        printable(&facts.sender),
        printable(&connection.hello),
        connection.ip,
        if connection.tls { " over TLS" } else { "" },
        match connection.slow {
            true => ", to whom replies were slow",
            false => "",
        },
    );
    if let Some(message) = &facts.message {
        let authors: Vec<String> = message.authors.iter().map(|a| printable(a)).collect();
        let _ = writeln!(
            out,
            "  message {}, {} octets, author {}",
            printable(message.message_id.as_deref().unwrap_or("without id")),
            message.size,
            match authors.is_empty() {
                true => "none".to_owned(),
                false => authors.join(", "),
            }
        );
    }
    checks::tell(&mut out, record);
    let _ = writeln!(out, "  reply: {}", printable(&record.reply));
    for judgement in &record.recipients {
        out.push_str(&about(judgement));
    }
    if let Some(lacks) = record.lacks() {
        let _ = writeln!(out, "  not in the record: {lacks}");
    }
    out
}

fn about(judgement: &Judgement) -> String {
    let (recipient, decision) = (&judgement.recipient, &judgement.decision);
    let mut out = String::new();
    let place = match (&judgement.placed, decision.verdict.is_taken()) {
        (Some(mailbox), true) => format!(", into {}", printable(mailbox)),
        (Some(mailbox), false) => format!(", kept in {}", printable(mailbox)),
        (None, _) => String::new(),
    };
    let whom = match (recipient.address.as_str(), &recipient.member) {
        ("", _) => "MAIL".to_owned(),
        (address, None) => format!("to <{}>", printable(address)),
        (alias, Some(member)) => format!("to <{}> for <{}>", printable(alias), printable(member)),
    };
    let _ = writeln!(
        out,
        "  {whom}: {} ({}){place}",
        decision.verdict.name(),
        decision.reason.name(),
    );
    for rule in &decision.rules {
        tell(&mut out, rule, 4);
    }
    if let Some(change) = &judgement.change {
        let _ = writeln!(
            out,
            "    it would be {} if: {}",
            change.verdict.name(),
            printable(&change.what)
        );
        if let Some(content) = &change.content {
            out.push_str(&otherwise(content));
        }
    }
    out
}

/// What of the content would have been enough too.
fn otherwise(content: &Otherwise) -> String {
    let mut out = String::new();
    let mut words: Vec<String> = content.without.iter().map(|word| printable(word)).collect();
    if content.and_others > 0 {
        words.push(format!("{} more", content.and_others));
    }
    if !words.is_empty() {
        let _ = writeln!(
            out,
            "      or: without the words {} (probability {:.4})",
            words.join(", "),
            content.probability
        );
    }
    let _ = writeln!(
        out,
        "      or: with {} {:.4} in junk_filter",
        printable(&content.settings),
        content.threshold
    );
    out
}

/// A rule on one line, its steps below.
fn tell(out: &mut String, rule: &Rule, indent: usize) {
    let sign = match rule.weight {
        Weight::Silent => ' ',
        Weight::For => '+',
        Weight::Against => '-',
        Weight::Decides => '*',
    };
    let evidence: Vec<String> = rule
        .evidence
        .iter()
        .map(|(name, value)| format!("{}={}", printable(name), printable(value)))
        .collect();
    let line = format!(
        "{:indent$}{sign} {}: {}  {}",
        "",
        printable(&rule.name),
        printable(&rule.because),
        evidence.join(" ")
    );
    let _ = writeln!(out, "{}", line.trim_end());
    for step in &rule.steps {
        tell(out, step, indent + 4);
    }
}
