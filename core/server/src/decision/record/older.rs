//! Records as earlier versions of this program wrote them.

use serde::Deserialize;

use super::super::content::Content;
use super::super::facts::{ReportFound, Settings, Standing, Strictness, Token};
use super::super::history::History;
use super::super::{Change, Decision, Judgement, LeftOut, Recipient, Verdict};
use super::facts6::Facts6;

/// Versions 2 and 3, which differ in what was known of a recipient.
#[derive(Deserialize)]
pub(super) struct Record3<R> {
    pub(super) id: String,
    pub(super) facts: Facts6,
    pub(super) recipients: Vec<Judgement3<R>>,
    pub(super) reply: String,
    pub(super) dns: String,
}

/// Versions 4 to 6, which differ in the same: with what there was no room for.
#[derive(Deserialize)]
pub(super) struct Record4<R> {
    pub(super) of_version_3: Record3<R>,
    pub(super) left_out: LeftOut,
}

#[derive(Deserialize)]
pub(super) struct Judgement3<R> {
    recipient: R,
    decision: Decision,
    change: Option<Change6>,
    placed: Option<String>,
}

/// Versions 2 to 6: without the words of the content.
#[derive(Deserialize)]
struct Change6 {
    what: String,
    verdict: Verdict,
}

/// Version 2: without reports.
#[derive(Deserialize)]
pub(super) struct Recipient2 {
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

/// Version 3: a loop was one for all recipients.
#[derive(Deserialize)]
pub(super) struct Recipient3 {
    of_version_2: Recipient2,
    report: Option<ReportFound>,
}

/// Version 4: without what an account finds suspicious.
#[derive(Deserialize)]
pub(super) struct Recipient4 {
    of_version_3: Recipient3,
    loops: Option<String>,
}

/// Version 5: without the address of the member of an alias.
#[derive(Deserialize)]
pub(super) struct Recipient5 {
    of_version_4: Recipient4,
    strict: Strictness,
}

impl From<Change6> for Change {
    fn from(old: Change6) -> Self {
        Self {
            what: old.what,
            verdict: old.verdict,
            content: None,
        }
    }
}

impl From<Recipient5> for Recipient {
    fn from(old: Recipient5) -> Self {
        Self {
            strict: old.strict,
            ..Self::from(old.of_version_4)
        }
    }
}

impl From<Recipient4> for Recipient {
    fn from(old: Recipient4) -> Self {
        Self {
            loops: old.loops,
            ..Self::from(old.of_version_3)
        }
    }
}

impl From<Recipient2> for Recipient {
    fn from(old: Recipient2) -> Self {
        Self {
            account: old.account,
            mailbox: old.mailbox,
            settings: old.settings,
            history: old.history,
            token: old.token,
            offer: old.offer,
            content: old.content,
            ..Self::new(old.address, old.standing)
        }
    }
}

impl From<Recipient3> for Recipient {
    fn from(old: Recipient3) -> Self {
        Self {
            report: old.report,
            ..Self::from(old.of_version_2)
        }
    }
}

impl<R> From<Judgement3<R>> for Judgement
where
    Recipient: From<R>,
{
    fn from(old: Judgement3<R>) -> Self {
        Self {
            recipient: old.recipient.into(),
            decision: old.decision,
            change: old.change.map(Change::from),
            placed: old.placed,
        }
    }
}
