//! `moxctl cid`: when a mail transaction was, by its id.

use core::fmt::Write;

use mox_machine::Utc;
use mox_server::decision::Record;
use serde::{Deserialize, Serialize};

use crate::args::{Args, Cid};
use crate::config_files::ctl_socket;
use crate::ctl::{self, Command};
use crate::explain::text;
use crate::facts::{print, print_json};
use crate::failure::Failure;
use crate::printable::printable;

/// What a server knows of an id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CidAnswer {
    /// The second of the transaction, since 1970; `None` for an id that it did not make.
    pub at: Option<i64>,
    /// What was decided.
    pub records: Vec<Record>,
}

pub(crate) fn run(args: &Args, cid: &Cid) -> Result<(), Failure> {
    let id = id_in(&cid.id).to_owned();
    let socket = ctl_socket(args)?;
    let answer: CidAnswer = ctl::ask(&socket, &Command::Cid { id: id.clone() })?;
    let Some(at) = answer.at else {
        return Err(Failure::Failed(format!(
            "{id:?} is no id of this server: one stands behind \"id\" in the Received fields that it writes"
        )));
    };
    if cid.json {
        return print_json(&answer);
    }
    let (id, at) = (printable(&id), Utc::from_secs(at));
    let mut out = format!("{id}: a transaction at {at}; its lines in the log have id=\"{id}\"\n");
    if answer.records.is_empty() {
        let _ = writeln!(
            out,
            "There is no record of a decision: it was a submission, or too long ago."
        );
    }
    for record in &answer.records {
        out.push_str(&text(record));
    }
    print(out)
}

/// The id in a Received field, which follows the word `id`; or all there is.
fn id_in(text: &str) -> &str {
    let mut words = text.split_whitespace();
    let behind = words
        .by_ref()
        .find(|word| *word == "id")
        .and_then(|_| words.next());
    behind.unwrap_or(text).trim().trim_end_matches(';')
}

#[cfg(test)]
mod tests {
    use super::id_in;

    #[test]
    fn an_id_is_found_in_a_received_field() {
        let field = "Received: from a (b [192.0.2.1]) by mx.ours.example via tcp with ESMTPS\r\n\tid kx3qaabcdefg for <a@b>; Fri, 2 Jan 2026 03:04:05 +0000";
        assert_eq!(id_in(field), "kx3qaabcdefg");
        assert_eq!(id_in(" kx3qaabcdefg\n"), "kx3qaabcdefg");
        assert_eq!(id_in("by x id kx3qaabcdefg; date"), "kx3qaabcdefg");
        assert_eq!(id_in(""), "");
    }
}
