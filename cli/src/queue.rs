//! `moxctl queue ...`: what waits for delivery to other servers.

use std::io::{self, Write};

use crate::args::{Args, Queue, QueueCommand};
use crate::config_files::ctl_socket;
use crate::ctl::{self, Command, QueueItem, QueuePage};
use crate::failure::Failure;

pub(crate) fn run(args: &Args, queue: &Queue) -> Result<(), Failure> {
    let QueueCommand::List(list) = &queue.command;
    let socket = ctl_socket(args)?;
    let mut listing = match list.json {
        true => Listing::Json { any: false },
        false => Listing::Table { widths: None },
    };
    let mut from = Some(0);
    while let Some(first) = from {
        let page: QueuePage = ctl::ask(&socket, &Command::QueueList { from: first })?;
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
                    let item = serde_json::to_string_pretty(item).map_err(|e| {
                        Failure::Failed(format!("the queue cannot be written as JSON: {e}"))
                    })?;
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
            to: vec!["jo@example.org".into(), "al@b".into()],
            attempts: 2,
            next: "2026-01-02T03:11:35Z".into(),
            last: Some("451 4.3.0 later\x1b[2J".into()),
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
            ..item()
        };
        let pages = listing.page(&[item()]).unwrap() + &listing.page(&[later]).unwrap();
        assert_eq!(
            pages + listing.end(),
            "id  queued                from  to                       tries  next                  last\n\
             7   2026-01-02T03:04:05Z  <>    <jo@example.org> <al@b>  2      2026-01-02T03:11:35Z  451 4.3.0 later [2J\n\
             8   2026-01-02T03:04:05Z  <>    <al@b>                   2      2026-01-02T03:11:35Z\n"
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
