//! Looking through a stored message again, for what was too large to be stored beside it.

use mox_mailbox::{BodyRef, Reads};
use mox_server::{Arrived, Intake};
use mox_store::Store;
use std::io;

// A store keeps less of a header than it is given of a long one, and so knows that it is cut.
const _: () = assert!(mox_server::HEADER_KEPT_MAX > mox_mailbox::HEADER_MAX);

/// Octets of a body read at a time.
const PIECE: u64 = 128 * 1024;

/// Structure and header of a body, as when it came. It reads all of the body and parses it: work for a pool, never for a
/// session's thread.
pub(crate) fn reread(store: &Store, view: &dyn Reads, body: &BodyRef) -> io::Result<Arrived> {
    let mut intake = Intake::new();
    let mut at = 0;
    while at < body.length {
        let piece = store.read_body(view, body, at..body.length.min(at + PIECE))?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        intake.push(&piece);
    }
    Ok(intake.finish())
}
