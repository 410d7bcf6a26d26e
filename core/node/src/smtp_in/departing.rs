//! Whose a message is that one of our users submits, and the signatures it leaves with.

use mox_address::Reply;
use mox_driver::{Pool, Runtime};
use mox_machine::Utc;
use mox_server::Departing;

use super::transaction::Arrival;
use crate::node::Inner;

/// Whoever submits speaks for themselves: what is signed for a domain is signed for each of its addresses.
pub(super) fn check_author<R: Runtime>(
    node: &Inner<R>,
    arrival: &Arrival,
    departing: &Departing,
) -> Result<(), Reply> {
    let author = match departing.author() {
        Ok(author) => author,
        Err(none) => return Err(none.reply()),
    };
    let login = arrival.login.as_ref();
    match login.is_some_and(|login| node.directory().owns(&login.account, author)) {
        true => Ok(()),
        false => Err(Reply::new(550, 7, 1, "the address in From is not yours")),
    }
}

/// The signatures that a message leaves with, at the moment when it does.
pub(super) async fn sign<R: Runtime>(
    node: &Inner<R>,
    departing: Departing,
    added: String,
    now: Utc,
    leaves: Utc,
) -> Result<String, Reply> {
    if !departing.is_signed() {
        return Ok(String::new());
    }
    let work = move || departing.sign(&added, now, leaves);
    let signed = node.runtime.blocking(Pool::Compute, Box::new(work)).await;
    signed.map_err(|error| {
        tracing::error!(target: "transaction", %error, "a message could not be signed");
        Reply::new(
            451,
            3,
            0,
            "the message cannot be signed now, try again later",
        )
    })
}
