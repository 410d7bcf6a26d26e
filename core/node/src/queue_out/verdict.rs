//! What a session with a host means for a recipient, for the plan and for people.

use mox_address::Reply;
use mox_message::dsn::DIAGNOSTIC_MAX;
use mox_queue::Outcome;
use mox_smtp::client::{Cause, Class, Outcome as Reached, Stage};
use mox_smtp::wire::{Fault, ReplyError};

use super::attempt::{Result, ours};
use crate::suppressing;

/// A refusal of RCPT that says by its code alone that there is no such mailbox (RFC 5321 4.2.2); 554 and others may mean anything.
const NO_SUCH_MAILBOX: [u16; 3] = [550, 551, 553];

/// A refusal that is about the recipient's address: said to RCPT, and not about the sender, the message or us.
fn is_about_the_address(reached: &Reached, reply: &Reply) -> bool {
    reached.stage == Stage::Rcpt
        && reached.class == Class::Permanent
        && reply.enhanced.map_or_else(
            || NO_SUCH_MAILBOX.contains(&reply.code),
            suppressing::is_about_the_address,
        )
}

/// A host's verdict on one recipient.
pub(super) fn said(reached: &Reached, host: &str) -> Result {
    let outcome = match reached.class {
        Class::Delivered => Outcome::Delivered,
        Class::Temporary => Outcome::Temporary,
        Class::Permanent => Outcome::Permanent,
    };
    let Some(reply) = &reached.reply else {
        let (status, text) = told(reached);
        return Result {
            unfit: matches!(
                reached.cause,
                Cause::NoUtf8 | Cause::TooBig | Cause::NoRequireTls
            ),
            ambiguous: reached.ambiguous,
            ..ours(outcome, status, &text, Some(host.to_owned()))
        };
    };
    // It takes no mail at all (RFC 7504); the next host of the domain may.
    let unfit = outcome == Outcome::Permanent
        && matches!(reached.stage, Stage::Greeting | Stage::Ehlo | Stage::Helo);
    Result {
        text: words(reply),
        from_peer: true,
        status: reply
            .enhanced
            .map_or_else(|| format!("{}.0.0", reply.code / 100), |e| e.to_string()),
        unfit,
        ambiguous: reached.ambiguous,
        unknown: is_about_the_address(reached, reply),
        ..ours(
            if unfit { Outcome::Temporary } else { outcome },
            "",
            "",
            Some(host.to_owned()),
        )
    }
}

/// What a host said, word for word, as far as anybody reads on.
pub(super) fn words(reply: &Reply) -> String {
    reply.to_string().chars().take(DIAGNOSTIC_MAX).collect()
}

/// What went wrong without a reply: status code and words.
fn told(reached: &Reached) -> (&'static str, String) {
    let at = match reached.stage {
        Stage::Greeting => "the connection".to_owned(),
        Stage::Message => "the end of the message".to_owned(),
        stage => stage.to_string(),
    };
    let (status, text) = match reached.cause {
        Cause::Reply | Cause::Lost => (
            "4.4.2",
            format!("the host closed the connection, and did not answer {at}"),
        ),
        Cause::Timeout => ("4.4.2", format!("the host did not answer {at} in time")),
        Cause::Protocol(error) => {
            let what = match error {
                ReplyError::LineTooLong => "has a line that is too long",
                ReplyError::TooManyLines => "has too many lines",
                ReplyError::Syntax => "is no reply of SMTP",
                ReplyError::CodesDiffer => "has several codes",
            };
            ("4.5.0", format!("what the host answered to {at} {what}"))
        }
        Cause::Unexpected => (
            "4.5.0",
            format!("the host answered before it was asked, at {at}"),
        ),
        Cause::DataAfterStartTls => (
            "4.7.0",
            "the host said more in clear after it had agreed to STARTTLS".into(),
        ),
        Cause::NoTls => ("4.7.10", "the host does not offer STARTTLS".into()),
        Cause::NoAuth => (
            "4.7.4",
            "the host offers no SASL mechanism that its transport allows".into(),
        ),
        Cause::AuthFailed => ("4.7.8", "AUTH was broken off".into()),
        Cause::NoUtf8 => (
            "5.6.7",
            "the host does not offer SMTPUTF8, which the message needs".into(),
        ),
        Cause::NoRequireTls => (
            "5.7.30",
            "the host does not offer REQUIRETLS, which the message demands".into(),
        ),
        Cause::TooBig => ("5.3.4", "the message is larger than the host takes".into()),
        Cause::BadMessage(fault) => {
            let what = match fault {
                Fault::BareLineEnd => "a CR or LF that is no line end",
                Fault::Nul => "a NUL",
            };
            (
                "5.6.0",
                format!("the message has {what}, which is never sent"),
            )
        }
        Cause::SourceFailed => ("4.3.0", "the message could not be read here".into()),
        Cause::NotAsked => (
            "2.0.0",
            format!("nothing is against it up to {}", reached.stage),
        ),
    };
    (status, text)
}
