//! Oracle 7: without faults no session takes longer than a few seconds of virtual time. A lost wakeup hides behind an idle
//! timer: everything still works, ten minutes late.

use std::time::Duration;

use super::Wrong;

/// What a session may take in a world without faults, its own pauses not counted.
const MOST: Duration = Duration::from_secs(5);

/// How long sessions took.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Nothing breaks in this world.
    pub(crate) is_fault_free: bool,
    pub(crate) sessions: u64,
    pub(crate) slowest: Duration,
}

impl Patience {
    /// A session of somebody ended.
    pub(crate) fn session(
        &mut self,
        who: &str,
        took: Duration,
        failed: Option<&str>,
        wrong: &mut Wrong,
    ) {
        self.sessions += 1;
        self.slowest = self.slowest.max(took);
        if !self.is_fault_free {
            return;
        }
        wrong.expect(took <= MOST, || {
            format!("a session of {who} took {took:?} in a world without faults")
        });
        if let Some(failed) = failed {
            wrong.found(format!(
                "a session of {who} failed in a world without faults: {failed}"
            ));
        }
    }
}
