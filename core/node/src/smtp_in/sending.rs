//! How much of what our users send to others is taken within a day.

use mox_address::{Path, Reply};
use mox_driver::Runtime;
use mox_server::SendLimits;
use std::sync::PoisonError;

use super::judge::hash;
use super::record;
use crate::auth::Login;
use crate::node::Inner;

/// Whether an account may send one more message to these recipients elsewhere.
pub(super) fn check<'p, R: Runtime>(
    node: &Inner<R>,
    login: &Login,
    remote: impl Iterator<Item = &'p Path>,
) -> Result<(), Reply> {
    let limits = node.directory().send_limits(&login.account);
    if limits == SendLimits::default() {
        return Ok(());
    }
    let new = new_recipients(node, login, limits, remote);
    let sent = node.sent.lock().unwrap_or_else(PoisonError::into_inner);
    let now = node.runtime.now().utc;
    let checked = sent.check(&login.account, limits, new, now);
    checked.map_err(|reached| reached.reply())
}

/// The same, and counts it: two messages at once are not both the last one.
pub(super) fn take<'p, R: Runtime>(
    node: &Inner<R>,
    login: &Login,
    remote: impl Iterator<Item = &'p Path>,
) -> Result<(), Reply> {
    let limits = node.directory().send_limits(&login.account);
    if limits == SendLimits::default() {
        return Ok(());
    }
    let new = new_recipients(node, login, limits, remote);
    let mut sent = node.sent.lock().unwrap_or_else(PoisonError::into_inner);
    let now = node.runtime.now().utc;
    let checked = sent.check(&login.account, limits, new, now);
    checked.map_err(|reached| reached.reply())?;
    sent.count(&login.account, new, now);
    Ok(())
}

/// Those that the account never wrote to.
fn new_recipients<'p, R: Runtime>(
    node: &Inner<R>,
    login: &Login,
    limits: SendLimits,
    remote: impl Iterator<Item = &'p Path>,
) -> u32 {
    if limits.new_recipients.is_none() {
        return 0;
    }
    let published = node.store.published();
    let is_new = |to: &&Path| {
        let ties = mox_server::decision::written_to(&record::with_a_labels(to));
        let past = ties
            .first()
            .map(|tie| mox_mailbox::past(&*published.view, login.id, hash(tie)));
        // What cannot be read counts as new: it is a limit for trouble.
        !past.is_some_and(|past| past.is_ok_and(|past| !past.is_empty()))
    };
    u32::try_from(remote.filter(is_new).count()).unwrap_or(u32::MAX)
}
