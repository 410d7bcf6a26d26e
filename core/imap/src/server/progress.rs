//! INPROGRESS, RFC 9585: a client is told that a command which takes long has not been forgotten.

use mox_machine::{Mono, Now};

use super::job::Job;
use super::{Phase, Server};
use crate::wire::{put, write_string};

impl Server {
    /// When the client is to be told next.
    pub(super) fn progress_due(&self) -> Option<Mono> {
        let running = self.running.as_ref();
        let running = running.filter(|r| r.ask.is_some() && !r.tag.is_empty())?;
        // What waits for the client, or comes before login, is not its concern; in the middle of a response nothing can
        // be said.
        let waits = matches!(running.job, Job::Sasl(_) | Job::Login | Job::Append(_));
        let quiet = waits || self.in_response() || !self.authenticated;
        let open = self.phase == Phase::Open && self.offers("INPROGRESS");
        (open && !quiet).then(|| running.since + self.config.limits.progress)
    }

    pub(super) fn tell_progress(&mut self, now: Now) {
        if self.progress_due().is_none_or(|at| at > now.mono) {
            return;
        }
        let Some(running) = &mut self.running else {
            return;
        };
        running.since = now.mono;
        let out = self.out.text();
        out.extend_from_slice(b"* OK [INPROGRESS (");
        write_string(out, &running.tag);
        // How far it is is not known.
        put!(out, " NIL NIL)] still at it\r\n");
    }
}
