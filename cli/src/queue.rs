//! `moxctl queue ...`: what waits for delivery to other servers.

use std::io::{self, Write};

use crate::args::{Args, Queue, QueueCommand};
use crate::config_files::ctl_socket;
use crate::ctl::{self, Command, QueueItem};
use crate::failure::Failure;

pub(crate) fn run(args: &Args, queue: &Queue) -> Result<(), Failure> {
    let QueueCommand::List(list) = &queue.command;
    let items: Vec<QueueItem> = ctl::ask(&ctl_socket(args)?, &Command::QueueList)?;
    let text = if list.json {
        json(&items)?
    } else {
        table(&items)
    };
    // A reader that closes early, like head, has seen what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn json(items: &[QueueItem]) -> Result<String, Failure> {
    serde_json::to_string_pretty(items)
        .map(|text| text + "\n")
        .map_err(|e| Failure::Failed(format!("the queue cannot be written as JSON: {e}")))
}

/// Columns as wide as their widest cell. What peers said may hold anything, so control characters go.
fn table(items: &[QueueItem]) -> String {
    if items.is_empty() {
        return "(empty)\n".into();
    }
    let head = ["id", "queued", "from", "to", "tries", "next", "last"].map(String::from);
    let rows = items.iter().map(|i| {
        [
            i.id.to_string(),
            i.queued.clone(),
            format!("<{}>", i.from),
            i.to.iter()
                .map(|to| format!("<{to}>"))
                .collect::<Vec<_>>()
                .join(" "),
            i.attempts.to_string(),
            i.next.clone(),
            i.last.clone().unwrap_or_default(),
        ]
        .map(|cell| {
            cell.chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect::<String>()
        })
    });
    let rows: Vec<[String; 7]> = core::iter::once(head).chain(rows).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
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

    #[test]
    fn the_queue_is_a_table_with_a_head_and_without_control_characters() {
        assert_eq!(table(&[]), "(empty)\n");
        let item = QueueItem {
            id: 7,
            queued: "2026-01-02T03:04:05Z".into(),
            from: String::new(),
            to: vec!["jo@example.org".into(), "al@b".into()],
            attempts: 2,
            next: "2026-01-02T03:11:35Z".into(),
            last: Some("451 4.3.0 later\x1b[2J".into()),
        };
        assert_eq!(
            table(&[item]),
            "id  queued                from  to                       tries  next                  last\n\
             7   2026-01-02T03:04:05Z  <>    <jo@example.org> <al@b>  2      2026-01-02T03:11:35Z  451 4.3.0 later [2J\n"
        );
    }
}
