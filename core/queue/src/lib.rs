//! When outgoing mail is tried, tried again and given up: no SMTP, no DNS, no storage.
//!
//! - [`Plan`] is the back-off; [`next`] says what follows an attempt.
//! - [`Scheduler`] is an index in memory of what waits: it says what is due now, within bounds, and when to look again.
//!
//! Whoever runs the queue keeps the rows; it writes an attempt into its row before the attempt starts, with
//! [`Plan::retry_at`] as the time of the next one, so that a crash never makes rapid retries.
//!
//! ```
//! use mox_machine::{Seed, Utc};
//! use mox_queue::{Next, Outcome, Plan, Times, next};
//!
//! let plan = Plan::default();
//! let queued = Utc::from_secs(1_767_323_045);
//! let times = Times { queued, attempts: 1, delay_notified: false };
//! match next(&plan, &times, Outcome::Temporary, queued, Seed::from_number(1).rng().next_u64()) {
//!     Next::Retry { at, .. } => assert!((405..=495).contains(&(at.secs() - queued.secs()))),
//!     other => panic!("{other:?}"),
//! }
//! ```
#![no_std]

extern crate alloc;

mod plan;
pub use plan::{ATTEMPTS_KEPT, Attempt, Failure, Next, Outcome, Plan, Times, next, record};

mod scheduler;
pub use scheduler::{Entry, Limits, Scheduler};
