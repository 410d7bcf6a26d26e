//! What the other side is told when a message cannot be stored.

use mox_address::Reply;
use mox_mailbox::Stop;
use mox_store::StoreError;
use std::io;

/// No mailbox of the recipient ever holds it (RFC 1870 6.1).
pub(super) fn too_big() -> Reply {
    Reply::new(552, 3, 4, "the message is too big")
}

pub(super) fn mailbox_full() -> Reply {
    Reply::new(452, 2, 2, "the mailbox is full, try again later")
}

/// What a body that could not be written makes of its transaction: 452 when the disk is full (RFC 5321 4.2.3).
pub(super) fn not_written(error: &io::Error) -> Reply {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reply::new(
            452,
            3,
            1,
            "not enough disk space for this message, try again later",
        ),
        _ => unavailable(),
    }
}

pub(super) fn unavailable() -> Reply {
    Reply::new(
        451,
        3,
        0,
        "the message cannot be stored now, try again later",
    )
}

pub(super) fn too_many() -> Reply {
    Reply::new(
        452,
        5,
        3,
        "too many recipients for one message, send to fewer",
    )
}

pub(super) fn reply_to(error: &StoreError<Stop>) -> Reply {
    match error {
        StoreError::Refused(Stop::OverQuota(_)) => mailbox_full(),
        StoreError::Refused(Stop::TooMany(_)) | StoreError::TooBig => too_many(),
        StoreError::NoRoom => Reply::new(452, 3, 1, "not enough disk space, try again later"),
        error => {
            tracing::error!(target: "store", %error, "a message was not stored");
            unavailable()
        }
    }
}
