//! Deciding again from a record, and comparing.

use mox_dmarc::{Authenticated, Outcome};
use mox_dns::{Facts as Answers, Inquiry, MasterFile, Missing, Progress};
use mox_machine::{Mono, Now, Seed};

use super::change::Change;
use super::decide::{Decision, Rule};
use super::facts::{Message, Stage};
use super::record::{Judgement, Record};

impl Record {
    /// What would be decided otherwise now, or comes out otherwise when the checks are made again from what name servers
    /// answered; empty when all agrees.
    pub fn differences(&self) -> Vec<String> {
        let mut found = self.checks_again();
        for judgement in &self.recipients {
            let recipient = &judgement.recipient;
            let content = recipient.content.as_ref();
            if content.is_some_and(|content| content.problem.is_none() && !content.adds_up()) {
                found.push(format!(
                    "the words do not add up to the probability for {}",
                    recipient.address
                ));
            }
        }
        let again = self.recompute();
        for (then, now) in self.recipients.iter().zip(&again.recipients) {
            if !is_same(&then.decision, &now.decision) {
                found.push(format!(
                    "{} was {}, and is {} now",
                    then.recipient.address,
                    said(then),
                    said(now)
                ));
            } else if !turns_alike(then.change.as_ref(), now.change.as_ref()) {
                found.push(format!(
                    "{}: another change would turn it now",
                    then.recipient.address
                ));
            }
        }
        found
    }

    /// SPF, iprev and DMARC again, and at MAIL where mail for the sender goes. Signatures need the message, so their results are
    /// facts; what lists said is one too.
    fn checks_again(&self) -> Vec<String> {
        if self.dns.is_empty() {
            return Vec::new();
        }
        let file = match MasterFile::parse(&self.dns) {
            Ok(file) => file,
            Err(e) => return vec![format!("line {} of the answers cannot be read", e.line)],
        };
        let Some(message) = &self.facts.message else {
            return self.sender_again(&file);
        };
        let connection = &self.facts.connection;
        let query = mox_spf::Query {
            ip: connection.ip,
            helo: connection.hello.as_bytes(),
            mail_from: self.facts.sender.as_bytes(),
            receiver: b"",
            time: self.facts.at,
        };
        let limits = mox_spf::Limits::default();
        let spf = ask(&file, |facts| mox_spf::check_host(facts, &query, &limits));
        let iprev = ask(&file, |facts| mox_dns::iprev(facts, connection.ip));
        let dmarc = dmarc_again(&file, message);
        let pairs = [
            ("SPF", message.spf.result.as_str(), spf.verdict.name()),
            ("iprev", &message.iprev.result, iprev.verdict.name()),
            ("DMARC", &message.dmarc.result, dmarc.verdict.name()),
            (
                "what the author's domain wants",
                &message.dmarc.disposition,
                super::checked::disposition(&dmarc),
            ),
        ];
        let mut found: Vec<String> = pairs
            .into_iter()
            .filter(|(_, then, now)| then != now)
            .map(|(what, then, now)| format!("{what} was {then}, and is {now} now"))
            .collect();
        let mechanism = message.spf.mechanism.as_deref();
        if mechanism.is_some_and(|then| Some(then) != spf.mechanism.as_deref()) {
            found.push("SPF was decided by another mechanism".into());
        }
        let alignment = message.dmarc.alignment.as_ref();
        if alignment.is_some_and(|then| Some(then) != super::checked::alignment(&dmarc).as_ref()) {
            found.push("what is aligned for DMARC, or its policy, was otherwise".into());
        }
        found
    }
}

impl Record {
    fn sender_again(&self, file: &MasterFile) -> Vec<String> {
        let at_mail = matches!(self.facts.stage, Stage::Sender | Stage::SenderUnsure);
        let Some(name) = self.facts.sender_name().filter(|_| at_mail) else {
            return Vec::new();
        };
        let seed = Seed::from_number(0);
        let mut again = self.facts.clone();
        again.take_sender_hosts(&ask(file, |facts| mox_dns::mail_hosts(facts, &name, &seed)));
        match again == self.facts {
            true => Vec::new(),
            false => vec!["where mail for the sender goes comes out otherwise now".into()],
        }
    }
}

fn dmarc_again(file: &MasterFile, message: &Message) -> mox_dmarc::Report {
    let outcome = |result: &str, vouches: bool| match result {
        "pass" if vouches => Outcome::Pass,
        "temperror" => Outcome::TempError,
        _ => Outcome::Fail,
    };
    let signed: Vec<_> = message
        .dkim
        .iter()
        .map(|signature| Authenticated {
            domain: signature.domain.as_bytes(),
            outcome: outcome(&signature.result, signature.vouches),
        })
        .collect();
    let authors: Vec<&[u8]> = message
        .author_domains
        .iter()
        .map(String::as_bytes)
        .collect();
    let evaluated = mox_dmarc::Message {
        authors: &authors,
        spf: Some(Authenticated {
            domain: message.spf.subject.as_bytes(),
            outcome: outcome(&message.spf.result, true),
        }),
        dkim: &signed,
    };
    ask(file, |facts| mox_dmarc::evaluate(facts, &evaluated))
}

/// Whether two decisions come to the same for the same reasons. In which words is not asked: those of an earlier version of this
/// program were others.
fn is_same(then: &Decision, now: &Decision) -> bool {
    then.verdict == now.verdict
        && then.reason == now.reason
        && then.code == now.code
        && then.mailbox == now.mailbox
        && are_same(&then.rules, &now.rules)
}

fn are_same(then: &[Rule], now: &[Rule]) -> bool {
    let is_same = |(then, now): (&Rule, &Rule)| {
        then.name == now.name && then.weight == now.weight && are_same(&then.steps, &now.steps)
    };
    then.len() == now.len() && then.iter().zip(now).all(is_same)
}

/// Whether two changes turn a decision alike. What content would have to be is not in older records, and the words for a change were others.
fn turns_alike(then: Option<&Change>, now: Option<&Change>) -> bool {
    match (then, now) {
        (Some(then), Some(now)) => {
            then.verdict == now.verdict && (then.content.is_none() || then.content == now.content)
        }
        (None, None) => true,
        _ => false,
    }
}

fn said(judgement: &Judgement) -> String {
    let decision = &judgement.decision;
    format!("{} ({})", decision.verdict.name(), decision.reason.name())
}

/// Runs a function of facts to its end, on what a file says.
fn ask<T>(file: &MasterFile, mut function: impl FnMut(&Answers) -> Result<T, Missing>) -> T {
    let mut inquiry = Inquiry::new(Answers::default(), Mono(u64::MAX));
    // Like the inquiry of the decision, it comes to an end; what is asked is answered at once.
    let mut now = Now::default();
    loop {
        match inquiry.run(now, &mut function) {
            Progress::Done(verdict) => return verdict,
            Progress::Ask(questions) => {
                for question in questions {
                    inquiry.answer(&question, file.answer(&question));
                }
            }
            Progress::Wait => now.mono = Mono(u64::MAX),
        }
    }
}
