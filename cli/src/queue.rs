//! `moxctl queue ...`: what waits for delivery.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mox_server::routes::DIRECT;

use mox_mailbox::RetiredAt;

use crate::args::Args;
use crate::args::queue::{
    Dump, List, Queue, QueueCommand, Reschedule, Retired, Show, SuppressCommand,
};
use crate::config_files::ctl_socket;
use crate::ctl::{
    self, Command, QueueChange, QueueHistory, QueueItem, QueuePage, QueueRetired, QueueSelection,
    QueueTold, RetiredPage, Suppressed,
};
use crate::failure::Failure;
use crate::printable::printable;
use crate::queue_simulate;
use crate::timestamp;

pub(crate) fn run(args: &Args, queue: &Queue) -> Result<(), Failure> {
    let socket = &ctl_socket(args)?;
    match &queue.command {
        QueueCommand::List(command) => list(socket, command),
        QueueCommand::Show(command) => show(socket, command),
        QueueCommand::Dump(command) => dump(socket, command),
        QueueCommand::Retired(command) => retired(socket, command),
        QueueCommand::Simulate(command) => queue_simulate::run(socket, command),
        QueueCommand::Kick(c) => change(socket, c.selection(), c.all, QueueChange::Kick),
        QueueCommand::Hold(c) => change(socket, c.selection(), c.all, QueueChange::Hold),
        QueueCommand::Unhold(c) => change(socket, c.selection(), c.all, QueueChange::Unhold),
        QueueCommand::Drop(c) => {
            let drop = match c.dsn {
                true => QueueChange::DropAndTell,
                false => QueueChange::Drop,
            };
            change(socket, c.selection(), c.all, drop)
        }
        QueueCommand::Suppress(c) => suppress(socket, &c.command),
        QueueCommand::Route(c) => {
            let to = QueueChange::Route(c.by.clone());
            change(socket, c.selection(), c.all, to)
        }
        QueueCommand::Reschedule(c) => change(
            socket,
            c.selection(),
            c.all,
            QueueChange::Reschedule(moment(c)?),
        ),
    }
}

fn moment(command: &Reschedule) -> Result<i64, Failure> {
    match (command.at, command.within) {
        (Some(at), None) => Ok(at.0.0),
        (None, Some(within)) => Ok((timestamp::now() + within.0).0),
        _ => Err(Failure::Usage(
            "say when: either --at 2026-01-02T03:04:05Z or --in 90m".into(),
        )),
    }
}

fn suppress(socket: &Path, command: &SuppressCommand) -> Result<(), Failure> {
    match command {
        SuppressCommand::List(list) => {
            let account = list.account.clone();
            let found: Vec<Suppressed> = ctl::ask(socket, &Command::Suppressions { account })?;
            let text = match (list.json, found.is_empty()) {
                (true, _) => json(&found)? + "\n",
                (false, true) => "(empty)\n".to_owned(),
                (false, false) => {
                    let line = |s: &Suppressed| {
                        let until = match &s.until {
                            Some(until) => format!("until {until}"),
                            None => "until it is lifted".to_owned(),
                        };
                        let (account, address) = (&s.account, &s.address);
                        let line = format!("{account} <{address}> since {}, {until}: ", s.since);
                        let why = match s.failures {
                            0 => s.reason.clone(),
                            count => format!("failed {count} times, {}", s.reason),
                        };
                        printable(&(line + &why)) + "\n"
                    };
                    found.iter().map(line).collect()
                }
            };
            drop(io::stdout().write_all(text.as_bytes()));
        }
        SuppressCommand::Add(add) => {
            let command = Command::Suppress {
                account: add.account.clone(),
                address: add.address.clone(),
                reason: add.reason.clone(),
            };
            ctl::call(socket, &command)?;
            println!(
                "{} sends nothing to {} any more, until moxctl queue suppress rm lifts that",
                add.account, add.address
            );
        }
        SuppressCommand::Rm(rm) => {
            let (account, address) = (rm.account.clone(), rm.address.clone());
            let was: bool = ctl::ask(socket, &Command::Unsuppress { account, address })?;
            if !was {
                return Err(Failure::Failed(format!(
                    "{} does send to {}: moxctl queue suppress list says where it does not",
                    rm.account, rm.address
                )));
            }
            println!("{} sends to {} again", rm.account, rm.address);
        }
    }
    Ok(())
}

fn change(
    socket: &Path,
    select: QueueSelection,
    all: bool,
    change: QueueChange,
) -> Result<(), Failure> {
    if select.is_empty() != all {
        return Err(Failure::Usage(
            "say which messages: by their numbers, --account, --sender, --recipient, --domain, --older, --error or --transport, or all of them by --all".into(),
        ));
    }
    let ids = select.ids.clone();
    let count: u64 = ctl::ask(socket, &Command::QueueChange { select, change })?;
    if let ([id, ..], 0) = (ids.as_slice(), count) {
        return Err(Failure::Failed(format!(
            "the queue has no entry {id} of that kind; moxctl queue list says what it has"
        )));
    }
    println!("{count}");
    Ok(())
}

fn dump(socket: &Path, command: &Dump) -> Result<(), Failure> {
    let mut offset = 0;
    loop {
        let id = command.id;
        let text: String = ctl::ask(socket, &Command::QueueDump { id, offset })?;
        let octets = BASE64_STANDARD
            .decode(text)
            .map_err(|e| Failure::Failed(format!("the server's answer is not Base64: {e}")))?;
        if octets.is_empty() || io::stdout().write_all(&octets).is_err() {
            return Ok(());
        }
        offset += octets.len() as u64;
    }
}

fn show(socket: &Path, command: &Show) -> Result<(), Failure> {
    let history: QueueHistory = ctl::ask(
        socket,
        &Command::QueueShow {
            wanted: command.wanted.clone(),
        },
    )?;
    let text = match command.json {
        true => json(&history)? + "\n",
        false => told(&history),
    };
    drop(io::stdout().write_all(text.as_bytes()));
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map_err(|e| Failure::Failed(format!("this cannot be written as JSON: {e}")))
}

/// An entry in words.
fn told(history: &QueueHistory) -> String {
    let QueueHistory {
        item,
        history,
        transcript,
        others,
        waiting,
    } = history;
    let mut lines = match (item, others.first()) {
        (Some(item), _) => waits(item),
        (None, Some(first)) => vec![
            format!("accepted {} as {}", first.queued, first.transaction),
            format!("from <{}>, {} octets", first.from, first.size),
            "nothing of it waits any more".to_owned(),
        ],
        (None, None) => Vec::new(),
    };
    if item.is_none() && !history.is_empty() {
        lines.push("attempts:".into());
    }
    for attempt in history {
        let ended = attempt.ended.as_deref().unwrap_or("not ended");
        lines.push(format!(
            "  {} to {ended}{}: {}{} {}{}",
            attempt.started,
            by(&attempt.transport),
            attempt.host,
            secrecy(&attempt.tls),
            attempt.outcome,
            match attempt.ambiguous {
                true => " (it may have the message)",
                false => "",
            }
        ));
    }
    if let Some(transcript) = transcript {
        lines.push(format!("what was done in attempt {}:", transcript.attempt));
        if transcript.left_out > 0 {
            lines.push(format!("  ({} earlier steps)", transcript.left_out));
        }
        lines.extend(transcript.steps.iter().map(|step| format!("  {step}")));
    }
    if !waiting.is_empty() {
        lines.push("other entries of the message:".into());
    }
    for other in waiting {
        let last = other.last.as_deref().unwrap_or("not tried yet");
        let to = addresses(&other.to);
        lines.push(format!(
            "  {} to {to}, tried next {}: {last}",
            other.id, other.next
        ));
    }
    if !others.is_empty() {
        lines.push(match item {
            Some(_) => "other recipients of the message:".into(),
            None => "recipients:".into(),
        });
    }
    for other in others {
        lines.push(format!(
            "  <{}> {} {}{}: {}",
            other.to,
            other.fate,
            other.left,
            maybe(other.ambiguous),
            other.text
        ));
        lines.extend(other.told.iter().map(|told| format!("    {}", later(told))));
    }
    let printable = |line: String| printable(&line);
    lines
        .into_iter()
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}

/// An entry that waits, up to its attempts.
fn waits(item: &QueueItem) -> Vec<String> {
    let account = item
        .account
        .as_ref()
        .map(|account| format!(", account {account}"));
    let mut lines = vec![
        format!(
            "entry {}, accepted {} as {}",
            item.id, item.queued, item.transaction
        ),
        format!(
            "from <{}>{}, {} octets",
            item.from,
            account.unwrap_or_default(),
            item.size
        ),
        format!("to {}", addresses(&item.to)),
    ];
    // Of one recipient its last attempt tells the same.
    if item.to.len() > 1 {
        lines.extend(item.said.iter().map(|said| {
            format!(
                "  <{}> {}{} {}",
                said.to,
                said.host,
                secrecy(&said.tls),
                said.text
            )
        }));
    }
    lines.push(match (item.hold, &item.release) {
        (true, _) => "held until it is released".to_owned(),
        (false, Some(at)) => format!("held back until {at}"),
        (false, None) => format!("tried next {}", item.next),
    });
    lines.push(match item.routed {
        true => format!("by transport {}, as an administrator chose", item.transport),
        false => format!("by transport {}", item.transport),
    });
    if item.delay_told {
        lines.push("the sender was told that it takes longer".into());
    }
    if item.ambiguous > 0 {
        lines.push(format!(
            "attempts without an answer to the end of the message: {}; it may have been delivered all the same",
            item.ambiguous
        ));
    }
    lines.push(format!("attempts made: {}", item.attempts));
    lines
}

/// How often a recipient may have got the message without our knowing.
fn maybe(ambiguous: u32) -> String {
    match ambiguous {
        0 => String::new(),
        1 => ", after an attempt without an answer to the end of the message".to_owned(),
        many => format!(", after {many} attempts without an answer to the end of the message"),
    }
}

/// What another server told later.
fn later(told: &QueueTold) -> String {
    format!(
        "{} {} told: <{}> {} {} {}",
        told.at, told.from, told.recipient, told.action, told.status, told.text
    )
}

fn secrecy(tls: &str) -> String {
    match tls {
        "" => String::new(),
        tls => format!(" ({tls})"),
    }
}

/// The usual way needs no word.
fn by(transport: &str) -> String {
    match transport {
        "" | DIRECT => String::new(),
        other => format!(" by {other}"),
    }
}

fn addresses(all: &[String]) -> String {
    let all: Vec<String> = all.iter().map(|to| format!("<{to}>")).collect();
    all.join(" ")
}

fn retired(socket: &Path, command: &Retired) -> Result<(), Failure> {
    let since = command
        .since
        .map(|span| timestamp::now().secs() - i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX));
    let mut from = Some(RetiredAt {
        secs: since.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(0),
        ..RetiredAt::default()
    });
    let select = command.selection();
    let mut all: Vec<QueueRetired> = Vec::new();
    while let Some(first) = from {
        let page: RetiredPage = ctl::ask(
            socket,
            &Command::QueueRetired {
                from: first,
                select: select.clone(),
            },
        )?;
        from = page.next.filter(|next| *next > first);
        all.extend(page.items);
    }
    let text = match (command.json, all.is_empty()) {
        (true, _) => json(&all)? + "\n",
        (false, true) => "(empty)\n".to_owned(),
        (false, false) => {
            let lines = all.iter().map(|r| {
                let told = r
                    .told
                    .iter()
                    .map(|told| format!("\n    {}", printable(&later(told))));
                let line = printable(&format!(
                    "{} {} entry {} <{}> to <{}> after {} attempts{}{}, accepted {}: {}{} {}",
                    r.left,
                    r.fate,
                    r.id,
                    r.from,
                    r.to,
                    r.attempts,
                    by(&r.transport),
                    maybe(r.ambiguous),
                    r.queued,
                    r.host,
                    secrecy(&r.tls),
                    r.text
                ));
                line + &told.collect::<String>()
            });
            lines.collect::<Vec<_>>().join("\n") + "\n"
        }
    };
    drop(io::stdout().write_all(text.as_bytes()));
    Ok(())
}

/// All of the queue.
pub(crate) fn everything(socket: &Path) -> Result<Vec<QueueItem>, Failure> {
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(first) = from {
        let select = QueueSelection::default();
        let command = Command::QueueList {
            from: first,
            select,
        };
        let page: QueuePage = ctl::ask(socket, &command)?;
        // A server that does not go on would keep us for ever.
        from = page.next.filter(|next| *next > first);
        all.extend(page.items);
    }
    Ok(all)
}

fn list(socket: &Path, list: &List) -> Result<(), Failure> {
    let mut select = list.selection();
    select.held = list.held.then_some(true);
    let mut listing = match list.json {
        true => Listing::Json { any: false },
        false => Listing::Table { widths: None },
    };
    let mut from = Some(0);
    while let Some(first) = from {
        let select = select.clone();
        let page: QueuePage = ctl::ask(
            socket,
            &Command::QueueList {
                from: first,
                select,
            },
        )?;
        // A server that does not go on would keep us for ever.
        from = page.next.filter(|next| *next > first);
        let mut text = listing.page(&page.items)?;
        if from.is_none() {
            text.push_str(listing.end());
        }
        // A reader that closes early, like head, has seen what it wanted.
        if io::stdout().write_all(text.as_bytes()).is_err() {
            break;
        }
    }
    Ok(())
}

/// A listing that is written page by page, however long it becomes.
enum Listing {
    /// Columns are as wide as their widest cell so far.
    Table { widths: Option<[usize; 7]> },
    /// One list of objects.
    Json { any: bool },
}

impl Listing {
    fn page(&mut self, items: &[QueueItem]) -> Result<String, Failure> {
        match self {
            Self::Table { .. } if items.is_empty() => Ok(String::new()),
            Self::Table { widths } => {
                let head = widths.is_none();
                Ok(table(items, head, widths.get_or_insert_default()))
            }
            Self::Json { any } => {
                let mut text = String::new();
                for item in items {
                    text.push_str(if *any { ",\n" } else { "[\n" });
                    *any = true;
                    let item = json(item)?;
                    text.push_str("  ");
                    text.push_str(&item.replace('\n', "\n  "));
                }
                Ok(text)
            }
        }
    }

    /// What is written after the last page.
    const fn end(&self) -> &'static str {
        match self {
            Self::Table { widths: None } => "(empty)\n",
            Self::Table { widths: Some(_) } => "",
            Self::Json { any: false } => "[]\n",
            Self::Json { any: true } => "\n]\n",
        }
    }
}

/// Rows, below a head if wanted. What peers said may hold anything, so control characters go.
fn table(items: &[QueueItem], head: bool, widths: &mut [usize; 7]) -> String {
    let head =
        head.then(|| ["id", "queued", "from", "to", "tries", "next", "last"].map(String::from));
    let rows = items.iter().map(|i| {
        [
            i.id.to_string(),
            i.queued.clone(),
            format!("<{}>", i.from),
            addresses(&i.to),
            i.attempts.to_string(),
            if i.hold {
                "held".into()
            } else {
                i.next.clone()
            },
            i.last.clone().unwrap_or_default(),
        ]
        .map(|cell| printable(&cell))
    });
    let rows: Vec<[String; 7]> = head.into_iter().chain(rows).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(&*widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> QueueItem {
        QueueItem {
            id: 7,
            queued: "2026-01-02T03:04:05Z".into(),
            from: String::new(),
            account: Some("jo".into()),
            to: vec!["jo@example.org".into(), "al@b".into()],
            size: 1_234,
            transaction: "abc".into(),
            hold: false,
            attempts: 2,
            next: "2026-01-02T03:11:35Z".into(),
            release: None,
            since: "2026-01-02T03:04:05Z".into(),
            last: Some("451 4.3.0 later\x1b[2J".into()),
            transport: "direct".into(),
            routed: false,
            one_server: false,
            delay_told: false,
            said: Vec::new(),
            ambiguous: 0,
        }
    }

    #[test]
    fn the_queue_is_a_table_with_one_head_and_without_control_characters() {
        let mut listing = Listing::Table { widths: None };
        assert_eq!(listing.page(&[]).unwrap() + listing.end(), "(empty)\n");
        let later = QueueItem {
            id: 8,
            to: vec!["al@b".into()],
            last: None,
            hold: true,
            ..item()
        };
        let pages = listing.page(&[item()]).unwrap() + &listing.page(&[later]).unwrap();
        assert_eq!(
            pages + listing.end(),
            "id  queued                from  to                       tries  next                  last\n\
             7   2026-01-02T03:04:05Z  <>    <jo@example.org> <al@b>  2      2026-01-02T03:11:35Z  451 4.3.0 later [2J\n\
             8   2026-01-02T03:04:05Z  <>    <al@b>                   2      held\n"
        );
    }

    #[test]
    fn pages_of_json_are_one_list() {
        let mut listing = Listing::Json { any: false };
        assert_eq!(listing.page(&[]).unwrap() + listing.end(), "[]\n");
        let mut text = String::new();
        for items in [&[item(), item()][..], &[item()]] {
            text.push_str(&listing.page(items).unwrap());
        }
        text.push_str(listing.end());
        let all = [item(), item(), item()];
        assert_eq!(text, serde_json::to_string_pretty(&all).unwrap() + "\n");
    }
}
