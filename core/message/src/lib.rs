//! Messages and header fields that a mail server writes itself, and the text of those it reads.
//!
//! - [`date_rfc5322`], [`message_id`], [`Received`], [`return_path`], [`delivered_to`]: fields put before a message.
//! - [`authentication_results`]: what checks of a message came to, and [`authserv_id`], whose they claim to be.
//! - [`received_count`] and [`Deliveries`]: fields that tell a loop.
//! - [`dsn`]: delivery status notifications.
//! - [`without_binary`]: parts with NULs in base64.
//! - [`pieces()`]: all texts of a message with where each stands, for a filter to learn from.
//! - [`text`]: header values and parts as text, whatever their charset, for searching.

mod authentication;
mod binary;
pub mod contains;
pub mod dsn;
mod fold;
mod identity;
mod loops;
mod pieces;
mod received;
pub mod text;
mod trace;

pub use authentication::{
    AUTHSERV_ID_WITHIN, AuthservId, MethodResult, authentication_results, authserv_id,
};
pub use binary::without_binary;
pub use identity::{date_rfc5322, message_id};
pub use loops::{Deliveries, delivered_to_values, received_count};
pub use pieces::{
    BODY_OCTETS_MAX, FIELD_OCTETS_MAX, FIELDS_MAX, LINK_OCTETS_MAX, PARTS_MAX, Place, pieces,
    pieces_of, pieces_read,
};
pub use received::{Protocol, Received, ReceivedFrom};
pub use trace::{delivered_to, return_path};
