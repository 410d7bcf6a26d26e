//! The decision, and what it is made of.

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Recipient};
use super::rules::{CONTENT, DNSBL, rules};

/// What becomes of a message for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is taken into its mailbox.
    Accept,
    /// It is taken into the mailbox for junk.
    Junk,
    /// It is not taken; the other side may try again. A copy is kept where the account wants that.
    Defer,
    /// It is not taken. A copy is kept where the account wants that.
    Refuse,
}

impl Verdict {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Junk => "junk",
            Self::Defer => "defer",
            Self::Refuse => "refuse",
        }
    }

    /// The message is in a mailbox that its user reads.
    pub const fn is_wanted(self) -> bool {
        matches!(self, Self::Accept)
    }

    /// The message is taken.
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Accept | Self::Junk)
    }
}

/// Which rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is explained in docs/receiving.md")]
pub enum Reason {
    SenderUnreachable,
    UnknownRecipient,
    NotOurs,
    AccountUnreachable,
    Loop,
    RecipientTaken,
    SenderTaken,
    NotJudged,
    ListAllow,
    NoAuthor,
    DmarcPolicy,
    DmarcQuarantine,
    ReputationError,
    Msgfromfull,
    Msgtofull,
    Msgfromdomain,
    Msgtodomain,
    Msgfromorgdomain,
    Msgtoorgdomain,
    Dkimspf,
    Ip1,
    Ip2,
    Ip3,
    SpfPolicy,
    Iprev,
    Subjectpass,
    GiveSubjectpass,
    JunkContent,
    JunkContentStrict,
    DnsBlocklisted,
    NoBadSignals,
    // Stored records hold the place in this list: what is new goes to its end.
    Reporting,
    /// The author's domain may not vouch for it; name servers did not answer.
    DmarcUnknown,
    /// Name servers did not tell whether somebody could answer the sender.
    SenderUnsure,
    /// The session is in clear.
    TlsRequired,
    /// The message is larger than any may be.
    TooBig,
    /// A line in the message ends in bare LF, or holds a bare CR.
    BareLineEnd,
    /// The message has a NUL.
    Nul,
    /// There is no room on the disk, or too much was under way.
    NoRoom,
    /// The account's quota has no room for it.
    MailboxFull,
}

impl Reason {
    /// As records, header fields and logs spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SenderUnreachable => "sender-unreachable",
            Self::SenderUnsure => "sender-unsure",
            Self::TlsRequired => "tls-required",
            Self::TooBig => "too-big",
            Self::BareLineEnd => "bare-line-end",
            Self::Nul => "nul",
            Self::NoRoom => "no-room",
            Self::MailboxFull => "mailbox-full",
            Self::UnknownRecipient => "unknown-recipient",
            Self::NotOurs => "not-ours",
            Self::AccountUnreachable => "account-unreachable",
            Self::Loop => "loop",
            Self::RecipientTaken => "recipient-taken",
            Self::SenderTaken => "sender-taken",
            Self::NotJudged => "not-judged",
            Self::ListAllow => "list-allow",
            Self::NoAuthor => "no-author",
            Self::DmarcPolicy => "dmarc-policy",
            Self::DmarcQuarantine => "dmarc-quarantine",
            Self::DmarcUnknown => "dmarc-unknown",
            Self::ReputationError => "reputation-error",
            Self::Msgfromfull => "msgfromfull",
            Self::Msgtofull => "msgtofull",
            Self::Msgfromdomain => "msgfromdomain",
            Self::Msgtodomain => "msgtodomain",
            Self::Msgfromorgdomain => "msgfromorgdomain",
            Self::Msgtoorgdomain => "msgtoorgdomain",
            Self::Dkimspf => "dkimspf",
            Self::Ip1 => "ip1",
            Self::Ip2 => "ip2",
            Self::Ip3 => "ip3",
            Self::SpfPolicy => "spf-policy",
            Self::Iprev => "iprev",
            Self::Subjectpass => "subjectpass",
            Self::GiveSubjectpass => "give-subjectpass",
            Self::JunkContent => "junk-content",
            Self::JunkContentStrict => "junk-content-strict",
            Self::DnsBlocklisted => "dns-blocklisted",
            Self::NoBadSignals => "no-bad-signals",
            Self::Reporting => "reporting",
        }
    }
}

/// What a rule made of the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// It does not apply.
    Silent,
    /// It speaks for the message, and decides nothing.
    For,
    /// It speaks against the message, and decides nothing by itself.
    Against,
    /// It decided.
    Decides,
}

/// A rule that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name, as in `docs/receiving.md`.
    pub name: String,
    /// The facts it looked at, for people.
    pub evidence: Vec<(String, String)>,
    /// What it made of them.
    pub weight: Weight,
    /// The same in words.
    pub because: String,
    /// The steps it took.
    pub steps: Vec<Self>,
}

/// What became of a message for one recipient, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Which rule decided.
    pub reason: Reason,
    /// The reply: code, and subject and detail of the enhanced status code. The first digit of both is the same.
    pub code: (u16, u16, u16),
    /// Its text, without the id.
    pub text: String,
    /// Where the message goes, or a copy of it; `None` when nothing is kept.
    pub mailbox: Option<String>,
    /// The rules that were looked at, in order. The last one decided.
    pub rules: Vec<Rule>,
}

impl Decision {
    /// The message is not taken for what it is, as far as that is known: not for where it goes, nor since something could not be
    /// found out, nor from somebody who is told how to come in.
    pub const fn is_unwanted(&self) -> bool {
        !self.verdict.is_taken()
            && matches!(
                self.reason,
                Reason::NoAuthor
                    | Reason::DmarcPolicy
                    | Reason::Msgfromfull
                    | Reason::Msgfromdomain
                    | Reason::Msgfromorgdomain
                    | Reason::Dkimspf
                    | Reason::Ip1
                    | Reason::Ip2
                    | Reason::Ip3
                    | Reason::SpfPolicy
                    | Reason::Iprev
                    | Reason::JunkContent
                    | Reason::JunkContentStrict
                    | Reason::DnsBlocklisted
            )
    }

    /// Whether it comes to the content of the message: only then anybody has to ask the junk filter.
    pub fn asks_for_content(&self) -> bool {
        self.rules.iter().any(|rule| rule.name == CONTENT)
    }

    /// Whether it comes to what lists say of the client: only then anybody has to ask them.
    pub fn asks_for_lists(&self) -> bool {
        self.rules.iter().any(|rule| rule.name == DNSBL)
    }
}

/// Decides about one recipient. The same facts give the same decision, on any machine.
pub fn decide(facts: &Facts, recipient: &Recipient) -> Decision {
    rules(facts, recipient)
}
