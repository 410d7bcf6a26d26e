//! The client side of SMTP: to other servers, and to a smarthost.

mod ask;
mod config;
mod offer;
mod recorded;
mod session;
mod transaction;

pub use ask::{Answer, Ask, Cause, Class, Ending, Event, Outcome, Stage, Transaction, Until};
pub use config::{Config, Limits, Tls};
pub use offer::Offer;
pub use session::Client;
