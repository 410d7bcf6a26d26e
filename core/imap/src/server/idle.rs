//! IDLE, RFC 2177.

use super::Server;
use super::job::{Job, Next};

impl Server {
    pub(super) fn idle(&mut self) -> Next {
        if self.selected.as_ref().is_some_and(|s| s.vanished) {
            return Next::no("NONEXISTENT", "the selected mailbox was deleted");
        }
        self.out.line(b"+ idling");
        if self.told_events().of_messages() {
            self.begin_report(true);
        }
        Next::Go(Job::Idle(false))
    }

    pub(super) fn idle_line(&mut self, line: &[u8]) -> Next {
        if line.eq_ignore_ascii_case(b"DONE") {
            Next::ok()
        } else {
            Next::bad("DONE was expected")
        }
    }
}
