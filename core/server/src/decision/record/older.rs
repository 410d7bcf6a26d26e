//! Records as earlier versions of this program wrote them.

use serde::Deserialize;

use super::super::content::Content;
use super::super::facts::{Settings, Standing, Token};
use super::super::history::History;
use super::super::{Change, Decision, Facts, Judgement, Recipient, Record};

/// Version 2: without reports.
#[derive(Deserialize)]
pub(super) struct Record2 {
    id: String,
    facts: Facts,
    recipients: Vec<Judgement2>,
    reply: String,
    dns: String,
}

#[derive(Deserialize)]
struct Judgement2 {
    recipient: Recipient2,
    decision: Decision,
    change: Option<Change>,
    placed: Option<String>,
}

#[derive(Deserialize)]
struct Recipient2 {
    address: String,
    standing: Standing,
    account: Option<String>,
    mailbox: String,
    settings: Settings,
    history: History,
    token: Token,
    offer: Option<String>,
    content: Option<Content>,
}

impl From<Record2> for Record {
    fn from(old: Record2) -> Self {
        Self {
            id: old.id,
            facts: old.facts,
            recipients: old.recipients.into_iter().map(Judgement::from).collect(),
            reply: old.reply,
            dns: old.dns,
        }
    }
}

impl From<Judgement2> for Judgement {
    fn from(old: Judgement2) -> Self {
        let Recipient2 {
            address,
            standing,
            account,
            mailbox,
            settings,
            history,
            token,
            offer,
            content,
        } = old.recipient;
        Self {
            recipient: Recipient {
                account,
                mailbox,
                settings,
                history,
                token,
                offer,
                content,
                ..Recipient::new(address, standing)
            },
            decision: old.decision,
            change: old.change,
            placed: old.placed,
        }
    }
}
