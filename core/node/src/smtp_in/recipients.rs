//! What is known of the recipients beside the message: what their accounts want of mail like it, and what earlier mail was
//! like.

use mox_driver::{Pool, Runtime};
use mox_mailbox::{AccountId, ReadError, SpecialUse};
use mox_server::decision::{Earlier, Facts, History, Recipient, Settings, Standing};
use mox_server::ruleset::matching;
use std::sync::Arc;

use super::judge::{Asked, hash};
use crate::node::Inner;

/// The recipients, each with its account if its junk filter has a say. `header` is that of the message, with what will stand
/// before it.
pub(super) async fn known_of<R: Runtime>(
    node: &Inner<R>,
    facts: &Facts,
    mailboxes: Vec<Asked>,
    header: &[u8],
) -> Vec<(Recipient, Option<AccountId>)> {
    let directory = node.directory();
    let (mut recipients, mut shared) = (Vec::new(), None);
    for asked in mailboxes {
        let incoming = directory.incoming(&asked.account);
        let ruleset = match incoming.rulesets.is_empty() {
            true => None,
            false => {
                // Patterns over a long header take their time.
                let (directory, account) = (directory.clone(), asked.account.clone());
                let shared =
                    shared.get_or_insert_with(|| Arc::new((facts.clone(), header.to_vec())));
                let message = Arc::clone(shared);
                let look = Box::new(move || {
                    let rulesets = &directory.incoming(&account).rulesets;
                    let found = matching(rulesets, &message.0, &message.1);
                    found.map(|(nth, ruleset)| (nth, ruleset.clone()))
                });
                node.runtime.blocking(Pool::Compute, look).await
            }
        };
        let matched = ruleset.as_ref().map(|(nth, ruleset)| (*nth, ruleset));
        let settings = Settings {
            junk_mailbox: junk_mailbox(node, asked.id),
            ..Settings::of(incoming, matched)
        };
        let mailbox = ruleset.map_or(asked.mailbox, |(_, ruleset)| ruleset.mailbox);
        let recipient = Recipient {
            account: Some(asked.account),
            history: history(node, facts, asked.id, &mailbox),
            mailbox,
            settings,
            loops: asked.loops.map(str::to_owned),
            ..Recipient::new(asked.address.to_string(), Standing::Known)
        };
        let has_filter = incoming.junk_filter.is_some();
        recipients.push((recipient, has_filter.then_some(asked.id)));
    }
    recipients
}

/// The mailbox for junk: that with the special use \Junk (RFC 6154), whatever its owner calls it.
fn junk_mailbox<R: Runtime>(node: &Inner<R>, account: AccountId) -> String {
    let published = node.store.published();
    let found = mox_mailbox::mailbox_for(&*published.view, account, SpecialUse::Junk);
    let found = found.unwrap_or_else(|error| {
        tracing::error!(target: "store", account = account.0, %error, "the mailbox for junk cannot be found");
        None
    });
    found.unwrap_or_else(|| Settings::default().junk_mailbox)
}

/// What earlier mail for this mailbox was like.
fn history<R: Runtime>(
    node: &Inner<R>,
    facts: &Facts,
    account: AccountId,
    mailbox: &str,
) -> History {
    let published = node.store.published();
    let view = &*published.view;
    let lookup = |tie: &str| {
        let past = mox_mailbox::past(view, account, hash(tie))?;
        let earlier = past.into_iter().map(|past| Earlier {
            at: past.at,
            junk: past.junk,
            local_part: past.local_part,
        });
        Ok::<_, ReadError>(earlier.collect())
    };
    History::read(facts, mailbox, lookup).unwrap_or_else(|error| {
        tracing::error!(target: "store", account = account.0, %error, "what earlier mail was like cannot be read");
        History {
            failed: true,
            ..History::default()
        }
    })
}
