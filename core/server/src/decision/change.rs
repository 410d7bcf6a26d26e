//! What would have to be otherwise for a decision to be another one.

use serde::{Deserialize, Serialize};

use super::decide::{Verdict, decide};
use super::facts::{Authenticated, Facts, Recipient, Stage, Standing, Token};
use super::otherwise::{Otherwise, otherwise};
use super::ties::author;

/// Messages of one kind that are added to the past, at most.
const PAST_MAX: u32 = 3;

/// A change of the facts, and what it makes of the decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What would have to be so, for people.
    pub what: String,
    /// What would become of the message then.
    pub verdict: Verdict,
    /// Where content decided: what of it would have to be otherwise, so that the same became of the message.
    #[serde(default)]
    pub content: Option<Otherwise>,
}

/// One fact made another.
type Apply = fn(&mut Facts, &mut Recipient);

/// Single facts, from those that the other side or the account's owner changes with ease to those nobody can.
const SINGLE: [(&str, Apply); 19] = [
    ("the sender's domain can be answered", |facts, _| {
        facts.sender_unreachable = None;
        if facts.stage == Stage::SenderUnsure {
            facts.stage = Stage::Sender;
        }
    }),
    ("the session uses TLS", |facts, recipient| {
        facts.connection.tls = true;
        if recipient.standing == Standing::LacksTls {
            recipient.standing = Standing::Known;
        }
    }),
    ("the message is smaller", |_, recipient| {
        fits(recipient, Standing::TooBig);
    }),
    ("each line of the message ends in CR LF", |_, recipient| {
        fits(recipient, Standing::BareLineEnd);
    }),
    ("the message has no NUL", |_, recipient| {
        fits(recipient, Standing::Nul);
    }),
    ("there is room", |_, recipient| {
        fits(recipient, Standing::NoRoom);
    }),
    ("the mailbox has room", |_, recipient| {
        fits(recipient, Standing::MailboxFull);
    }),
    ("there is such an address", |_, recipient| {
        recipient.standing = Standing::Known;
    }),
    ("the user has written to the author", |facts, recipient| {
        recipient.history.wrote_to_author |= has_one_author(facts);
    }),
    ("the Subject has a valid token", |_, recipient| {
        // Where tokens are off nobody can have one.
        recipient.token = Token::Valid;
    }),
    ("the client's address is on no list", |facts, _| {
        if let Some(message) = &mut facts.message {
            message.listings.clear();
        }
    }),
    (
        "the client's address has a name that leads back",
        |facts, _| {
            if let Some(message) = &mut facts.message {
                message.iprev.result = "pass".into();
            }
        },
    ),
    ("SPF neither fails nor passes", |facts, _| {
        if let Some(message) = &mut facts.message {
            message.spf.result = "neutral".into();
        }
    }),
    ("the junk filter finds nothing", |_, recipient| {
        recipient.content = None;
    }),
    (
        "the author's domain vouches for the message (DMARC)",
        |facts, _| {
            if let Some(message) = &mut facts.message {
                message.dmarc.result = "pass".into();
                message.dmarc.disposition = "none".into();
                if message.author == Authenticated::No {
                    message.author = Authenticated::Strict;
                }
            }
        },
    ),
    (
        "the list's domain does not vouch for the message",
        |_, recipient| {
            recipient.settings.list_allow = None;
        },
    ),
    (
        "the author's domain does not vouch for the message and wants such mail refused",
        |facts, _| {
            if let Some(message) = &mut facts.message {
                message.dmarc.result = "fail".into();
                message.dmarc.disposition = "reject".into();
                message.author = Authenticated::No;
            }
        },
    ),
    ("what earlier mail was like can be read", |_, recipient| {
        recipient.history.failed = false;
    }),
    ("the message is no loop", |facts, recipient| {
        if let Some(message) = &mut facts.message {
            message.loops = None;
        }
        recipient.loops = None;
    }),
];

fn fits(recipient: &mut Recipient, unless: Standing) {
    if recipient.standing == unless {
        recipient.standing = Standing::Known;
    }
}

/// Of nobody else earlier mail is known, and nobody else can be written to.
fn has_one_author(facts: &Facts) -> bool {
    facts.message.as_ref().and_then(author).is_some()
}

/// The smallest change that turns the decision: first more messages of the author, the fewest that do, then single facts.
/// What is wanted is turned into anything else, and what is not into what is wanted. `None` when no change that is tried does.
pub fn smallest_change(facts: &Facts, recipient: &Recipient) -> Option<Change> {
    let now = decide(facts, recipient).verdict;
    let turned = |verdict: Verdict| verdict.is_wanted() != now.is_wanted();
    let content = || otherwise(facts, recipient, &turned);
    let with_past = |count: u32| {
        let mut other = recipient.clone();
        for _ in 0..count {
            other.history.author = other.history.author.and(now.is_wanted());
        }
        decide(facts, &other).verdict
    };
    if has_one_author(facts)
        && let Some(count) = (1..=PAST_MAX).find(|count| turned(with_past(*count)))
    {
        let kind = match now.is_wanted() {
            true => "junk",
            false => "not junk",
        };
        let messages = if count == 1 { "message" } else { "messages" };
        return Some(Change {
            what: format!("{count} more {messages} of this author marked as {kind}"),
            verdict: with_past(count),
            content: content(),
        });
    }
    SINGLE.iter().find_map(|(what, apply)| {
        let (mut facts, mut recipient) = (facts.clone(), recipient.clone());
        apply(&mut facts, &mut recipient);
        let verdict = decide(&facts, &recipient).verdict;
        turned(verdict).then(|| Change {
            what: (*what).to_owned(),
            verdict,
            content: content(),
        })
    })
}
