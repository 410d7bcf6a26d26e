//! THREAD, RFC 5256 3.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::job::{Job, Next, Reply};
use super::report::Selection;
use super::{Answer, Ask, Server, ThreadNode};
use crate::wire::{ThreadArgs, put_number};

impl Server {
    pub(super) fn thread(&mut self, args: ThreadArgs) -> Next {
        if !self.threads_by(args.algorithm) {
            return Next::bad("there is no such threading algorithm");
        }
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let searched = Self::searched(&selection.uids, &args.key);
        if let Err(next) = self.all_or_none(searched.len()) {
            return next;
        }
        let ask = Ask::Thread {
            mailbox: selection.mailbox,
            among: Arc::clone(&selection.uids),
            key: Arc::new(args.key),
            algorithm: args.algorithm,
        };
        Next::Wait(self.ask(ask), Job::Thread)
    }

    pub(super) fn threaded(&mut self, answer: Answer, uid: bool) -> Next {
        let nodes = match answer {
            Answer::Threads(nodes) => nodes,
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let out = self.out.text();
        out.extend_from_slice(b"* THREAD");
        if !nodes.is_empty() {
            out.push(b' ');
        }
        write(out, &nodes, selection, uid);
        out.extend_from_slice(b"\r\n");
        Next::ok()
    }
}

/// A node whose children are being written.
struct Open {
    left: u32,
    /// Its children are threads of their own.
    forks: bool,
    /// It has a parenthesis to be closed.
    wrapped: bool,
}

/// An only child follows its parent; several stand in parentheses each (RFC 5256 5, `thread-members`).
fn write(out: &mut Vec<u8>, nodes: &[ThreadNode], selection: &Selection, uid: bool) {
    let mut open: Vec<Open> = Vec::new();
    for node in nodes {
        let wrapped = match open.last_mut() {
            Some(above) => {
                above.left = above.left.saturating_sub(1);
                above.forks
            }
            None => true,
        };
        out.push(if wrapped { b'(' } else { b' ' });
        let number = node
            .uid
            .and_then(|u| if uid { Some(u.0) } else { selection.number(u) });
        if let Some(number) = number {
            put_number(out, number.into());
        }
        if node.children > 0 {
            let forks = node.children > 1;
            if forks && number.is_some() {
                out.push(b' ');
            }
            open.push(Open {
                left: node.children,
                forks,
                wrapped,
            });
            continue;
        }
        if wrapped {
            out.push(b')');
        }
        while let Some(done) = open.pop_if(|above| above.left == 0) {
            if done.wrapped {
                out.push(b')');
            }
        }
    }
    // What the world left out is closed all the same.
    out.extend(open.iter().filter(|above| above.wrapped).map(|_| b')'));
}
