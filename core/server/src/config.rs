//! The two configuration files: what is in them, whether it can be right, and how to change one of them.
//!
//! `mox.ron` ([`Static`]) is read once at the start: where data is, who listens where. `domains.ron` ([`Dynamic`])
//! is read again whenever it changes: domains, accounts, addresses. Both are RON with `implicit_some` and
//! `unwrap_newtypes`, so `hostname: "x"` is written where the type is an `Option`.
//!
//! Parsing is over text: whoever has files reads them, resolves paths beside them, and prints [`Problems`].

mod aliases;
mod capture;
mod check;
mod decision_records;
mod dkim;
mod dynamic_file;
mod edit;
mod edit_aliases;
mod incoming;
mod locate;
mod networks;
mod offers;
mod outgoing_reports;
mod problem;
mod routes;
mod sending;
mod static_file;
mod transports;

pub use aliases::{ALIAS_MEMBERS_MAX, ALIASES_MAX, Alias};
pub use capture::{
    CAPTURE_FILES_DEFAULT, CAPTURE_FILES_MAX, CAPTURE_OCTETS_DEFAULT, CAPTURE_OCTETS_MAX,
    CAPTURE_OCTETS_MIN, Capture,
};
pub use decision_records::DecisionRecords;
pub use dkim::{BadKey, Dkim, DkimSelector, bad_keys};
pub use dynamic_file::{
    Account, Address, Dynamic, MESSAGES_PER_DAY_DEFAULT, NEW_RECIPIENTS_PER_DAY_DEFAULT,
};
pub use edit::{
    EditError, add_account, add_address, add_domain, remove_account, remove_address, remove_domain,
};
pub use edit_aliases::{add_to_alias, remove_from_alias};
pub use incoming::{Incoming, JunkFilter};
pub use networks::Network;
pub use offers::Offers;
pub use problem::{Problem, Problems};
pub use sending::{Family, OutgoingAddresses, OwnAddresses, QueueSettings};
pub use static_file::{
    CONNECTIONS_DEFAULT, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_DEFAULT,
    CONNECTIONS_PER_MINUTE_DEFAULT, Certificate, Connections, FAILED_PER_DAY_DEFAULT,
    FAILED_PER_MINUTE_DEFAULT, Listener, LogLevel, Logins, MESSAGE_SIZE_DEFAULT, MESSAGE_SIZE_MAX,
    Port, Relay, SmtpPort, StartTlsPort, Static, Tls,
};
pub use transports::{Fail, Login, Password, Smarthost, SmarthostTls, Socks5, Transport};
