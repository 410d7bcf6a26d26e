//! When outgoing mail is tried, tried again and given up: no SMTP, no DNS, no storage.
//!
//! - [`Plan`] is the back-off; [`next`] says what follows an attempt.
//! - [`rehearse`] runs both in a time of their own, to see what would become of a queue.
//! - [`Scheduler`] is an index in memory of what waits: it says what is due now, within bounds, and when to look again.
//!
//! Whoever runs the queue keeps the rows; it writes an attempt into its row before the attempt starts, with
//! [`Plan::retry_at`] as the time of the next one, so that a crash never makes rapid retries.
//!
//! ```
//! use mox_machine::{Seed, Utc};
//! use mox_queue::{Entry, Limits, Next, NextHop, Outcome, Plan, Scheduler, Times, next};
//! use std::time::Duration;
//!
//! // One message, whose host is away for an hour. A program reads its clock, and keeps rows in a store.
//! let (plan, mut rng) = (Plan::default(), Seed::from_number(1).rng());
//! let queued = Utc::from_secs(1_767_323_045);
//! let mut times = Times { queued, attempts: 0, delay_notified: false };
//! let entry = |next_attempt, retry| Entry {
//!     id: 1, owner: 1, hop: NextHop::Domain("example.org".into()), next_attempt, delay_notice: None, retry,
//! };
//! let mut scheduler = Scheduler::new(Limits::default());
//! scheduler.insert(entry(queued, false));
//! let mut now = queued;
//!
//! while let Some(wait) = scheduler.wait(now) {
//!     now = now + wait; // a program sleeps
//!     for id in scheduler.due(now) {
//!         times.attempts += 1; // a program writes this into the row before it connects
//!         let up = now >= queued + Duration::from_secs(3_600);
//!         let outcome = if up { Outcome::Delivered } else { Outcome::Temporary };
//!         match next(&plan, &times, outcome, now, rng.next_u64()) {
//!             Next::Retry { at, .. } => scheduler.insert(entry(at, true)),
//!             Next::Done | Next::Fail(_) => scheduler.remove(id),
//!         }
//!         scheduler.finished(id);
//!     }
//! }
//! assert_eq!(times.attempts, 5, "at once, then after 7.5, 15, 30 and 60 minutes");
//! ```
#![no_std]

extern crate alloc;

mod lane;

mod plan;
pub use plan::{Failure, Next, Outcome, Plan, Times, next};

mod rehearsal;
pub use rehearsal::{Ending, Step, Waiting, What, rehearse};

mod scheduler;
pub use scheduler::{Entry, Limits, NextHop, Scheduler};
