//! Who runs the server hears of an account that has reached what it may send within a day: its password may have been stolen.

use bytes::Bytes;
use mox_address::Domain;
use mox_driver::Runtime;
use mox_machine::Utc;
use mox_mailbox::{Flags, Target};
use mox_server::LimitReached;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use crate::auth::Login;
use crate::composed;
use crate::node::Inner;
use crate::postmaster::Postmaster;

/// Puts it down in the log, and tells the postmaster, once a day for each account. `peer` is from where the account sends.
pub(super) fn tell<R: Runtime>(
    node: &Arc<Inner<R>>,
    login: &Login,
    peer: IpAddr,
    reached: LimitReached,
) {
    let now = node.runtime.now().utc;
    let is_news = node
        .sent
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_to_be_told(&login.account, now);
    if !is_news {
        return;
    }
    let account = login.account.clone();
    tracing::warn!(
        target: "limits",
        account,
        user = login.user,
        %peer,
        limit = reached.limit,
        of = reached.what(),
        "an account has reached what it may send within a day; its password may have been stolen"
    );
    let here = node.clone();
    let text = text(node, login, peer, reached, now);
    let task = async move {
        if let Err(error) = deliver(&here, text, now).await {
            tracing::error!(target: "limits", account, error, "the postmaster could not be told");
            let mut sent = here.sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.was_not_told(&account, now);
        }
    };
    node.runtime.spawn_session("limit notice", Box::pin(task));
}

fn text<R: Runtime>(
    node: &Inner<R>,
    login: &Login,
    peer: IpAddr,
    reached: LimitReached,
    now: Utc,
) -> String {
    let host = &node.config.hostname;
    let account = &login.account;
    format!(
        "From: {postmaster}\r\n\
         To: {postmaster}\r\n\
         Subject: Account {account} has reached its limit of sending\r\n\
         Date: {date}\r\n\
         Message-ID: {id}\r\n\
         Auto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\
         \r\n\
         Account {account} of {host} has reached what it may send within a day:\r\n\
         {limit} {what}. More is refused for now (451 4.7.1).\r\n\
         \r\n\
         The first message that was refused came from {peer}, by somebody\r\n\
         who logged in as {user}.\r\n\
         \r\n\
         If that is not its owner, the password was stolen. Give it another one:\r\n\
         \r\n    moxctl setaccountpassword {account}\r\n\
         \r\n\
         and look at what waits, and take it out:\r\n\
         \r\n    moxctl queue list --account {account}\r\n    moxctl queue drop --account {account}\r\n\
         \r\n\
         If all is well, give it another limit: messages_per_day and\r\n\
         new_recipients_per_day of the account in domains.ron.\r\n\
         \r\n\
         You are told once a day for each account.\r\n",
        postmaster = postmaster_at(host),
        date = mox_message::date_rfc5322(now),
        id = mox_message::message_id(&node.session_seed("limit notice"), host),
        limit = reached.limit,
        what = reached.what(),
        user = login.user,
    )
}

fn postmaster_at(host: &Domain) -> String {
    format!("postmaster@{host}")
}

async fn deliver<R: Runtime>(node: &Inner<R>, text: String, now: Utc) -> Result<(), String> {
    let postmaster = Postmaster::of(node).ok_or("there is no postmaster")?;
    let Postmaster { path, readers } = postmaster;
    let (first, _) = readers.first().ok_or("nobody reads it")?;
    let written = composed::write(node, *first, Bytes::from(text), now).await;
    let (mut delivery, held) = written.map_err(|error| error.to_string())?;
    let prefix = mox_message::return_path(None) + &mox_message::delivered_to(&path);
    let target = |(account, mailbox)| Target {
        account,
        mailbox,
        create: true,
        prefix: Bytes::from(prefix.clone()),
        flags: Flags::NONE,
        keywords: Vec::new(),
        date: now,
        origin: Bytes::new(),
    };
    delivery.targets = readers.into_iter().map(target).collect();
    let op = move |reads: &dyn mox_mailbox::Reads| {
        let result = mox_mailbox::deliver(reads, &delivery);
        // Till then nothing removes the file of the body.
        drop(held);
        result
    };
    let stored = node.store.run(op).await;
    stored.map(drop).map_err(|error| error.to_string())
}
