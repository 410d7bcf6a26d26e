//! METADATA, RFC 5464: annotations of mailboxes, and under the empty name of the account.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use super::job::{Job, Next, Reply};
use super::{Answer, Ask, Server};
use crate::wire::{Depth, GetMetadata, SetMetadata, put, write_astring, write_string};

impl Server {
    /// `None` is the account itself.
    fn annotated(&self, mailbox: &[u8]) -> Result<Option<String>, Next> {
        match mailbox {
            [] => Ok(None),
            name => self.canonical(name).map(Some),
        }
    }

    pub(super) fn get_metadata(&mut self, args: GetMetadata) -> Next {
        let mailbox = match self.annotated(&args.mailbox) {
            Ok(mailbox) => mailbox,
            Err(next) => return next,
        };
        let id = self.ask(Ask::Annotations {
            mailbox: mailbox.clone(),
        });
        Next::Wait(id, Job::Metadata(Box::new((mailbox, args))))
    }

    pub(super) fn set_metadata(&mut self, args: SetMetadata) -> Next {
        let mailbox = match self.annotated(&args.mailbox) {
            Ok(mailbox) => mailbox,
            Err(next) => return next,
        };
        let shared = |(name, _): &(String, Option<Bytes>)| name.starts_with("/shared/");
        if mailbox.is_none() && args.entries.iter().any(shared) {
            return Next::no(
                "NOPERM",
                "shared annotations of the server are the administrator's",
            );
        }
        let most = self.config.limits.annotation;
        let too_long = |(_, value): &(String, Option<Bytes>)| {
            value
                .as_ref()
                .is_some_and(|value| value.len() > most as usize)
        };
        if args.entries.iter().any(too_long) {
            // RFC 5464 4.3.
            return Next::Done(Reply {
                code: Some(alloc::format!("METADATA MAXSIZE {most}").into()),
                ..Reply::no("", "a value is too long")
            });
        }
        let ask = Ask::Annotate {
            mailbox,
            entries: args.entries,
        };
        Next::Wait(self.ask(ask), Job::Edit)
    }

    pub(super) fn metadata(
        &mut self,
        asked: &(Option<String>, GetMetadata),
        answer: Answer,
    ) -> Next {
        let (mailbox, args) = asked;
        let all = match answer {
            Answer::Annotations(all) => all,
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        let (mut told, mut longest) = (Vec::new(), 0);
        for (name, value) in &all {
            if !args
                .entries
                .iter()
                .any(|entry| is_below(name, entry, args.depth))
            {
                continue;
            }
            match args
                .max_size
                .is_some_and(|most| value.len() > most as usize)
            {
                true => longest = longest.max(value.len()),
                false => told.push((name, value)),
            }
        }
        let shown = match mailbox {
            Some(name) => self.on_wire(name),
            None => b"\"\"".to_vec(),
        };
        let out = self.out.text();
        if !told.is_empty() {
            out.extend_from_slice(b"* METADATA ");
            out.extend_from_slice(&shown);
            for (at, (name, value)) in told.into_iter().enumerate() {
                put!(out, "{}", if at == 0 { " (" } else { " " });
                write_astring(out, name.as_bytes());
                out.push(b' ');
                if value.contains(&0) {
                    put!(out, "~{{{}}}\r\n", value.len());
                    out.extend_from_slice(value);
                } else {
                    write_string(out, value);
                }
            }
            out.extend_from_slice(b")\r\n");
        }
        match longest {
            0 => Next::ok(),
            // RFC 5464 4.2.1.
            longest => Next::Done(Reply::ok_with(alloc::format!(
                "METADATA LONGENTRIES {longest}"
            ))),
        }
    }
}

/// Whether a name is an entry, or so far below it as wanted.
fn is_below(name: &str, entry: &str, depth: Depth) -> bool {
    let Some(rest) = name.strip_prefix(entry) else {
        return false;
    };
    match (rest.strip_prefix('/'), depth) {
        (None, _) => rest.is_empty(),
        (Some(_), Depth::Zero) => false,
        (Some(below), Depth::One) => !below.contains('/'),
        (Some(_), Depth::Infinity) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_as_deep_as_wanted() {
        use Depth::{Infinity, One, Zero};
        for (name, depth, told) in [
            ("/shared/a", Zero, true),
            ("/shared/a/b", Zero, false),
            ("/shared/a/b", One, true),
            ("/shared/a/b/c", One, false),
            ("/shared/a/b/c", Infinity, true),
            ("/shared/ab", Infinity, false),
        ] {
            assert_eq!(is_below(name, "/shared/a", depth), told, "{name} {depth:?}");
        }
    }
}
