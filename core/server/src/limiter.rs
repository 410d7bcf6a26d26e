//! How much one side may ask of the server: its connections and its failed logins, counted by its address, and with growing
//! budgets by the networks that the address is in.
//!
//! Everything here is counted for [`Networks`], which this machine itself (loopback) has none of: no sequence of events can
//! lock it out.

mod logins;
mod network;
mod rate;
mod record_shares;
mod refused;

pub use logins::{Admission, FailedLogins, KNOWN_FOR, LoginLimits, Ticket};
pub use network::{NetworkClass, Networks};
pub use rate::{NETWORKS_MAX, Rate, Rates};
pub use record_shares::{RECORD_ORDINARY, RECORD_SHORT, RecordShare, RecordShares};
pub use refused::{Limiter, Refusals, Refused, RefusedMinute, RefusedService};
