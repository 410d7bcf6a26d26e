//! What the junk filters of the recipients say of a message that arrives.
//!
//! Its words are read once, on a pool, and only when the decision about somebody comes to them. An account's filter is
//! asked by a job of its own, which reads a row for each word: at most 900.

use mox_driver::{Pool, Runtime};
use mox_mailbox::AccountId;
use mox_mime::Part;
use mox_server::decision::{Content, Facts, Recipient, decide};
use mox_server::junk::{Parameters, Words, words_read};
use mox_store::Spool;
use std::io;
use std::sync::Arc;

use crate::node::Inner;

/// A message, as far as a filter looks at it.
pub(super) struct Text {
    /// Its header, with what will stand before it.
    pub(super) header: Vec<u8>,
    /// Its outermost part.
    pub(super) part: Part,
    /// Its octets.
    pub(super) spool: Spool,
}

/// A recipient and its account, if its filter has a say.
pub(super) type Asked<'r> = (&'r mut Recipient, Option<AccountId>);

/// Gives each recipient whose decision comes to its content what its account's filter says. That something cannot be read
/// is such a fact too.
pub(super) async fn weigh<R: Runtime>(
    node: &Inner<R>,
    facts: &Facts,
    recipients: impl Iterator<Item = Asked<'_>>,
    text: Text,
) -> Spool {
    let asking = recipients.filter_map(|(recipient, account)| Some((recipient, account?)));
    let asking: Vec<_> = asking
        .filter(|(recipient, _)| decide(facts, recipient).asks_for_content())
        .collect();
    if asking.is_empty() {
        return text.spool;
    }
    let key = node.authority.words_key();
    let read = Box::new(move || {
        let words = words(&text, key);
        (text.spool, words)
    });
    let (spool, words) = node.runtime.blocking(Pool::Bodies, read).await;
    let words = words.map(Arc::new);
    for (recipient, account) in asking {
        let content = match &words {
            Ok(words) => judge(node, account, words.clone()).await,
            Err(error) => Err(format!("the message cannot be read: {error}")),
        };
        recipient.content = Some(content.unwrap_or_else(|why| {
            tracing::error!(target: "junk", account = account.0, why, "a message is not judged by its content");
            Content::failed(why)
        }));
    }
    spool
}

fn words(text: &Text, key: u64) -> io::Result<Words> {
    let mut read = |range| text.spool.read(range);
    words_read(key, &text.header, &text.part, &mut read)
}

async fn judge<R: Runtime>(
    node: &Inner<R>,
    account: AccountId,
    words: Arc<Words>,
) -> Result<Content, String> {
    let published = node.store.published();
    let ask = Box::new(move || {
        let parameters = Parameters::default();
        let judged = mox_server::junk::judge(&*published.view, account, &words, &parameters);
        judged.map(|judgement| Content::of(&judgement))
    });
    let judged = node.runtime.blocking(Pool::Bodies, ask).await;
    judged.map_err(|error| error.to_string())
}
