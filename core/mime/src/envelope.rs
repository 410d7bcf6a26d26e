//! IMAP's ENVELOPE out of a header block.

use crate::address::addresses;
use crate::header::{self, unfold};
use crate::limits::Budget;
use crate::{Envelope, Limits, Mailbox};
use alloc::vec::Vec;

/// The envelope of a header block. Of a field that occurs twice the first counts; To, Cc and Bcc are put together.
pub fn envelope(block: &[u8], limits: &Limits) -> Envelope {
    within(block, limits, &mut Budget::new(limits))
}

/// The same, out of a budget shared with others.
pub(crate) fn within(block: &[u8], limits: &Limits, budget: &mut Budget) -> Envelope {
    let mut out = Envelope::default();
    let text = |slot: &mut Option<Vec<u8>>, value: &[u8], budget: &mut Budget| {
        if slot.is_none() {
            *slot = budget.keep(unfold(value));
        }
    };
    let first = |slot: &mut Vec<Mailbox>, value: &[u8], budget: &mut Budget| {
        if slot.is_empty() {
            *slot = budget.mailboxes(addresses(value, limits.addresses));
        }
    };
    let more = |slot: &mut Vec<Mailbox>, value: &[u8], budget: &mut Budget| {
        let room = limits.addresses.saturating_sub(slot.len());
        slot.extend(budget.mailboxes(addresses(value, room)));
    };
    for field in header::split(block).take(limits.fields) {
        let value = field.value;
        match field.name.len() {
            2 if field.is(b"To") => more(&mut out.to, value, budget),
            2 if field.is(b"Cc") => more(&mut out.cc, value, budget),
            3 if field.is(b"Bcc") => more(&mut out.bcc, value, budget),
            4 if field.is(b"Date") => text(&mut out.date, value, budget),
            4 if field.is(b"From") => first(&mut out.from, value, budget),
            6 if field.is(b"Sender") => first(&mut out.sender, value, budget),
            7 if field.is(b"Subject") => text(&mut out.subject, value, budget),
            8 if field.is(b"Reply-To") => first(&mut out.reply_to, value, budget),
            10 if field.is(b"Message-ID") => text(&mut out.message_id, value, budget),
            11 if field.is(b"In-Reply-To") => text(&mut out.in_reply_to, value, budget),
            _ => {}
        }
    }
    // RFC 3501 7.4.2: the server fills these from From when they are absent or empty.
    if out.sender.is_empty() {
        out.sender = budget.mailboxes(out.from.clone());
    }
    if out.reply_to.is_empty() {
        out.reply_to = budget.mailboxes(out.from.clone());
    }
    out
}
