//! The rules in their order: transport.md 2.2, with the improvements listed in docs/receiving.md. The first that decides does.

mod author;
mod before;
mod content;
mod reputation;
mod stranger;

use super::decide::{Decision, Reason, Rule, Verdict, Weight};
use super::facts::{Facts, Message, Recipient, Stage};
use super::text;
use reputation::Reputation;

/// Octets of a piece of evidence that are kept: others write what is in it.
const EVIDENCE_MAX: usize = 300;

/// The rule about content.
pub(super) const CONTENT: &str = "content";
/// The rule about lists.
pub(super) const DNSBL: &str = "dnsbl";

/// What a rule that decides says.
struct Outcome {
    verdict: Verdict,
    reason: Reason,
    code: (u16, u16, u16),
    text: String,
}

/// What was found so far.
struct Trial<'a> {
    facts: &'a Facts,
    recipient: &'a Recipient,
    rules: Vec<Rule>,
    /// Why the strict threshold applies.
    suspicious: Vec<&'static str>,
    reputation: Reputation,
    /// The name of a list the client is on.
    listed: Option<String>,
    /// What the content came to: probability and threshold, where it was too much.
    too_junky: Option<(f64, f64, Reason)>,
}

pub(super) fn rules(facts: &Facts, recipient: &Recipient) -> Decision {
    let mut trial = Trial {
        facts,
        recipient,
        rules: Vec::new(),
        suspicious: Vec::new(),
        reputation: Reputation::default(),
        listed: None,
        too_junky: None,
    };
    let outcome = trial.run();
    let (outcome, elsewhere) = trial.rejects(outcome);
    let settings = &recipient.settings;
    Decision {
        mailbox: match outcome.verdict {
            Verdict::Accept => Some(recipient.mailbox.clone()),
            Verdict::Junk => Some(elsewhere.unwrap_or_else(|| settings.junk_mailbox.clone())),
            _ if !outcome.reason.keeps_a_copy() => None,
            Verdict::Defer | Verdict::Refuse => settings.rejects_mailbox.clone(),
        },
        verdict: outcome.verdict,
        reason: outcome.reason,
        code: outcome.code,
        text: outcome.text,
        rules: trial.rules,
    }
}

impl Reason {
    /// Refused for what it is, and not for where it goes.
    const fn keeps_a_copy(self) -> bool {
        !matches!(
            self,
            Self::SenderUnreachable
                | Self::SenderUnsure
                | Self::TlsRequired
                | Self::UnknownRecipient
                | Self::NotOurs
                | Self::AccountUnreachable
                | Self::Loop
                | Self::TooBig
                | Self::BareLineEnd
                | Self::Nul
                | Self::NoRoom
                | Self::MailboxFull
        )
    }
}

impl Trial<'_> {
    fn run(&mut self) -> Outcome {
        if let Some(outcome) = self.sender() {
            return outcome;
        }
        if let Some(outcome) = self.unfit() {
            return outcome;
        }
        let Some(message) = &self.facts.message else {
            return match self.facts.stage {
                Stage::Sender => accept(Reason::SenderTaken),
                _ => match self.standing() {
                    Some(outcome) => outcome,
                    None => accept(Reason::RecipientTaken),
                },
            };
        };
        if let Some(outcome) = self.standing() {
            return outcome;
        }
        if let Some(outcome) = self.loops(message) {
            return outcome;
        }
        if !self.facts.has_resolver {
            let because = "no name server is configured, so nothing can be checked";
            self.note("checks", Vec::new(), Weight::Decides, because);
            return accept(Reason::NotJudged);
        }
        let rules: [fn(&mut Self, &Message) -> Option<Outcome>; 11] = [
            Self::list_allow,
            Self::author,
            Self::dmarc,
            Self::reputation,
            Self::report,
            Self::spf,
            Self::iprev,
            Self::token,
            Self::content,
            Self::dnsbl,
            Self::offer,
        ];
        if let Some(outcome) = rules.into_iter().find_map(|rule| rule(self, message)) {
            return outcome;
        }
        self.note(
            "default",
            Vec::new(),
            Weight::Decides,
            "nothing speaks against the message",
        );
        accept(Reason::NoBadSignals)
    }

    /// What a ruleset has taken that would not be: the outcome then, and the mailbox.
    fn rejects(&mut self, outcome: Outcome) -> (Outcome, Option<String>) {
        let mailbox = self.recipient.settings.accept_rejects_to.clone();
        let is_reject = !outcome.verdict.is_taken() && outcome.reason.keeps_a_copy();
        let Some(mailbox) = mailbox.filter(|_| is_reject) else {
            return (outcome, None);
        };
        if let Some(last) = self.rules.last_mut() {
            last.weight = Weight::Against;
        }
        let evidence = vec![("mailbox", mailbox.clone())];
        let because = "a ruleset takes what would not be taken";
        self.note("accept-rejects", evidence, Weight::Decides, because);
        (junk(outcome.reason), Some(mailbox))
    }

    fn note(&mut self, name: &str, evidence: Vec<(&str, String)>, weight: Weight, because: &str) {
        self.rules.push(rule(name, evidence, weight, because));
    }
}

fn rule(name: &str, evidence: Vec<(&str, String)>, weight: Weight, because: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        evidence: evidence
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, mut value)| {
                value.truncate(value.floor_char_boundary(EVIDENCE_MAX));
                (name.to_owned(), value)
            })
            .collect(),
        weight,
        because: because.to_owned(),
        steps: Vec::new(),
    }
}

fn accept(reason: Reason) -> Outcome {
    Outcome {
        verdict: Verdict::Accept,
        reason,
        code: (250, 0, 0),
        text: text::TAKEN.into(),
    }
}

fn junk(reason: Reason) -> Outcome {
    Outcome {
        verdict: Verdict::Junk,
        ..accept(reason)
    }
}

fn refuse(reason: Reason, code: (u16, u16, u16), text: &str) -> Outcome {
    Outcome {
        verdict: Verdict::Refuse,
        reason,
        code,
        text: text.to_owned(),
    }
}

/// Whoever is wrongly refused can try again, and who sends junk learns nothing.
fn defer(reason: Reason) -> Outcome {
    Outcome {
        verdict: Verdict::Defer,
        reason,
        code: (451, 3, 0),
        text: text::NOT_NOW.into(),
    }
}

fn same(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.trim_end_matches('.').to_lowercase();
    bare(one) == bare(other)
}
