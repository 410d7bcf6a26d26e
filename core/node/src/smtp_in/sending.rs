//! How much of what our users send to others is taken within a day.

use mox_address::{Path, Reply};
use mox_driver::Runtime;
use mox_server::{LimitReached, SendLimits};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use super::judge::hash;
use super::limit_notice;
use super::record;
use crate::auth::Login;
use crate::node::Inner;

/// Whether an account may send one more message to `so_far` recipients elsewhere that it never wrote to, and to this one: with it there
/// are so many of them.
pub(super) fn check<R: Runtime>(
    node: &Arc<Inner<R>>,
    (login, peer): (&Login, IpAddr),
    so_far: u32,
    to: &Path,
) -> Result<u32, Reply> {
    let limits = node.directory().send_limits(&login.account);
    if limits == SendLimits::default() {
        return Ok(so_far);
    }
    know(node, login);
    let is_new = limits.new_recipients.is_some() && is_new(node, login, to);
    let new = so_far.saturating_add(u32::from(is_new));
    let now = node.runtime.now().utc;
    let checked = {
        let sent = node.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.check(&login.account, limits, new, now)
    };
    checked
        .map(|()| new)
        .map_err(|reached| told(node, (login, peer), reached))
}

/// The same for all of a message, and counts it: two messages at once are not both the last one.
pub(super) fn take<R: Runtime>(
    node: &Arc<Inner<R>>,
    (login, peer): (&Login, IpAddr),
    new: u32,
) -> Result<(), Reply> {
    let limits = node.directory().send_limits(&login.account);
    if limits == SendLimits::default() {
        return Ok(());
    }
    know(node, login);
    let now = node.runtime.now().utc;
    let checked = {
        let mut sent = node.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = sent.check(&login.account, limits, new, now);
        if checked.is_ok() {
            sent.count(&login.account, new, now);
        }
        checked
    };
    checked.map_err(|reached| told(node, (login, peer), reached))
}

/// Whether what an account sends counts.
pub(super) fn is_limited<R: Runtime>(node: &Inner<R>, login: &Login) -> bool {
    node.directory().send_limits(&login.account) != SendLimits::default()
}

/// Reads what an account sent before the start, the first time.
fn know<R: Runtime>(node: &Inner<R>, login: &Login) {
    let sent = || node.sent.lock().unwrap_or_else(PoisonError::into_inner);
    if sent().is_known(&login.account) {
        return;
    }
    let published = node.store.published();
    let hours = mox_mailbox::sent_hours(&*published.view, login.id).unwrap_or_else(|error| {
        let account = &login.account;
        tracing::error!(target: "limits", account, %error, "what an account sent before the start is not known");
        Vec::new()
    });
    let hours = hours.into_iter();
    let hours = hours.map(|hour| (hour.number, hour.messages, hour.new_recipients));
    sent().restore(&login.account, hours);
}

/// The reply to who is beyond a limit; the postmaster hears of it too.
fn told<R: Runtime>(
    node: &Arc<Inner<R>>,
    (login, peer): (&Login, IpAddr),
    reached: LimitReached,
) -> Reply {
    limit_notice::tell(node, login, peer, reached);
    reached.reply()
}

/// The message was not stored: it does not count.
pub(super) fn give_back<R: Runtime>(node: &Inner<R>, login: &Login, new: u32) {
    if node.directory().send_limits(&login.account) != SendLimits::default() {
        let mut sent = node.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.give_back(&login.account, new);
    }
}

/// Whether the account never wrote there.
fn is_new<R: Runtime>(node: &Inner<R>, login: &Login, to: &Path) -> bool {
    let published = node.store.published();
    let ties = mox_server::decision::written_to(&record::with_a_labels(to));
    let past = ties
        .first()
        .map(|tie| mox_mailbox::past(&*published.view, login.id, hash(tie)));
    // What cannot be read counts as new: it is a limit for trouble.
    !past.is_some_and(|past| past.is_ok_and(|past| !past.is_empty()))
}
