//! What is known of the recipients beside the message: what their accounts want of mail like it, and what earlier mail was
//! like.

use mox_address::Path;
use mox_driver::{Pool, Runtime};
use mox_machine::fault;
use mox_mailbox::{AccountId, ReadError, SpecialUse};
use mox_server::decision::{
    Earlier, Facts, History, Recipient, Settings, Standing, Strictness, Token,
};
use mox_server::ruleset::{Effort, Fields, matching};
use mox_server::{Directory, Found, check_subject_token, subject_token};
use std::sync::Arc;
use std::time::Duration;

use super::judge::{Asked, hash};
use crate::node::Inner;

/// Addresses of To and Cc that are looked at.
const NAMED_MAX: usize = 1_000;

/// The header of a message, and what will stand before it for each recipient.
pub(super) struct Headed<'a> {
    /// The transaction.
    pub(super) id: &'a str,
    pub(super) before: &'a (dyn Fn(&Path) -> String + Sync),
    pub(super) header: &'a [u8],
}

/// What is known of recipients.
pub(super) struct Known {
    /// Each with its account if its junk filter has a say.
    pub(super) recipients: Vec<(Recipient, Option<AccountId>)>,
    /// The domain that forwards the message to each.
    pub(super) forwarders: Vec<Option<String>>,
}

/// What is known of the recipients.
pub(super) async fn known_of<R: Runtime>(
    node: &Inner<R>,
    facts: &Facts,
    mailboxes: Vec<Asked>,
    message: Headed<'_>,
) -> Known {
    let directory = node.directory();
    let (mut recipients, mut forwarders, mut shared) = (Vec::new(), Vec::new(), None);
    let mut effort = Effort::default();
    for asked in mailboxes {
        let incoming = directory.incoming(&asked.account);
        let ruleset = match incoming.rulesets.is_empty() {
            true => None,
            false => {
                // Patterns over a long header take their time.
                let (directory, account) = (directory.clone(), asked.account.clone());
                let own = Fields::of(message.header);
                let shared = shared.get_or_insert_with(|| Arc::new((facts.clone(), own)));
                let (message, before) = (Arc::clone(shared), (message.before)(&asked.address));
                let look = Box::new(move || {
                    let rulesets = &directory.incoming(&account).rulesets;
                    let (facts, own) = &*message;
                    let fields = [&Fields::of(before.as_bytes()), own];
                    let found = matching(rulesets, facts, &fields, &mut effort);
                    (found.map(|(nth, ruleset)| (nth, ruleset.clone())), effort)
                });
                let (found, left) = node.runtime.blocking(Pool::Compute, look).await;
                effort = left;
                found
            }
        };
        let matched = ruleset.as_ref().map(|(nth, ruleset)| (*nth, ruleset));
        let settings = Settings {
            junk_mailbox: junk_mailbox(node, asked.id),
            ..Settings::of(incoming, matched)
        };
        let forwarder = matched.and_then(|(_, ruleset)| ruleset.forwarder());
        let forwarder = forwarder.map(ToString::to_string);
        let mailbox = ruleset.map_or(asked.mailbox, |(_, ruleset)| ruleset.mailbox);
        let (token, offer) = match incoming.subject_token {
            Some(period) => tokens(node, facts, message.header, &asked.address, period),
            None => (Token::Absent, None),
        };
        let looks = incoming.junk_filter.is_some_and(|f| f.strict_unless_named);
        let is_named = looks.then(|| is_named(&directory, message.header, &asked.account));
        let recipient = Recipient {
            strict: Strictness::of(incoming, is_named.flatten()),
            token,
            offer,
            account: Some(asked.account),
            history: history(node, facts, asked.id, (&mailbox, forwarder.as_deref())),
            mailbox,
            settings,
            loops: asked.loops.map(str::to_owned),
            member: asked.member,
            ..Recipient::new(asked.address.to_string(), Standing::Known)
        };
        let has_filter = incoming.junk_filter.is_some();
        recipients.push((recipient, has_filter.then_some(asked.id)));
        forwarders.push(forwarder);
    }
    if effort.is_over() {
        tracing::warn!(target: "transaction", id = message.id, "rulesets asked for more than is matched for one message: some were not looked at");
    }
    Known {
        recipients,
        forwarders,
    }
}

/// Whether To or Cc names an address of an account; `None` when there are too many to look at.
fn is_named(directory: &Directory, header: &[u8], account: &str) -> Option<bool> {
    let mut left = NAMED_MAX;
    let fields = [&b"To"[..], b"Cc"].into_iter();
    for value in fields.flat_map(|name| mox_mime::header::find_all(header, name)) {
        let named = mox_mime::addresses(value, left);
        left -= named.len();
        for mailbox in named {
            let (Some(local), Some(host)) = (mailbox.local, mailbox.host) else {
                continue;
            };
            let local = String::from_utf8_lossy(&local);
            let text = format!("{local}@{}", String::from_utf8_lossy(&host));
            let found = Path::parse(&text, true).map(|path| directory.find(&path));
            let is_theirs = match found {
                Ok(Found::Account { account: of, .. }) => of == account,
                Ok(Found::Alias { members, .. }) => members.iter().any(|m| m.account == account),
                _ => false,
            };
            if is_theirs {
                return Some(true);
            }
        }
        if left == 0 {
            return None;
        }
    }
    Some(false)
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

/// What the token in the Subject is worth, and one that may be given. They are for single authors and the address without subaddress.
fn tokens<R: Runtime>(
    node: &Inner<R>,
    facts: &Facts,
    header: &[u8],
    address: &Path,
    period: Duration,
) -> (Token, Option<String>) {
    let authors = facts.message.as_ref().map(|message| &message.authors[..]);
    let (Some([author]), Found::Account { canonical, .. } | Found::Alias { canonical, .. }) =
        (authors, node.directory().find(address))
    else {
        return (Token::Absent, None);
    };
    let Some(key) = node.authority.subject_key(&canonical) else {
        return (Token::Absent, None);
    };
    let author = author.to_lowercase();
    let subject = mox_mime::header::find(header, b"Subject");
    let subject = mox_message::text::header_text(subject.unwrap_or_default());
    let found = check_subject_token(key.expose(), &subject, &author, facts.at, period);
    (found, subject_token(key.expose(), &author, facts.at))
}

/// What earlier mail for this mailbox was like, beside that of who forwards the message.
fn history<R: Runtime>(
    node: &Inner<R>,
    facts: &Facts,
    account: AccountId,
    (mailbox, forwarder): (&str, Option<&str>),
) -> History {
    let published = node.store.published();
    let view = &*published.view;
    let lookup = |tie: &str| {
        if fault!("node past not read") {
            return Err(ReadError("of purpose".to_owned()));
        }
        let past = mox_mailbox::past(view, account, hash(tie))?;
        let earlier = past.into_iter().map(|past| Earlier {
            at: past.at,
            junk: past.junk,
            local_part: past.local_part,
        });
        Ok::<_, ReadError>(earlier.collect())
    };
    History::read(facts, mailbox, forwarder, lookup).unwrap_or_else(|error| {
        tracing::error!(target: "store", account = account.0, %error, "what earlier mail was like cannot be read");
        History {
            failed: true,
            ..History::default()
        }
    })
}
