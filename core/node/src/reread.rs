//! Looking through a stored message again, for what was too large to be stored beside it.

use mox_mailbox::{AccountId, BodyRef, MailboxId, Meta, Reads};
use mox_mime::Part;
use mox_server::{Arrived, Intake, StoredStructure};
use mox_store::Store;
use mox_uids::Uid;
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

/// The outermost part of a stored message, and its header with what stands before it: as stored beside it, or looked for again.
/// Blocks.
pub(crate) fn outline(
    store: &Store,
    view: &dyn Reads,
    (account, mailbox, uid): (AccountId, MailboxId, Uid),
    meta: &Meta,
) -> io::Result<(Part, Vec<u8>)> {
    let stored = meta.structure.as_deref().and_then(StoredStructure::decode);
    let header = mox_mailbox::header(view, account, mailbox, uid).map_err(io::Error::other)?;
    let (part, header) = match (stored, header) {
        (Some(structure), Some(header)) => (structure.part, header.octets),
        _ => {
            let again = reread(store, view, &meta.body)?;
            (again.structure.part, again.header)
        }
    };
    Ok((part, [&meta.prefix[..], &header[..]].concat()))
}
