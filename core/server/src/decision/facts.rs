//! Everything a decision rests on. Nothing else may: whoever has these facts can make it again.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::content::Content;
use super::history::History;
use crate::config::JunkFilter;
use crate::reports::ReportKind;

/// What is known of a transaction and its message, the same for all recipients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// How far the transaction had come.
    pub stage: Stage,
    /// Seconds since 1970.
    pub at: i64,
    /// Who brings it.
    pub connection: Connection,
    /// The reverse-path; empty when it is null.
    pub sender: String,
    /// Why nobody could answer the sender, when that is so.
    pub sender_unreachable: Option<String>,
    /// Name servers may be asked. Without, nothing is judged that needs them.
    pub has_resolver: bool,
    /// The message, once it is there.
    pub message: Option<Message>,
}

#[cfg(test)]
impl Facts {
    /// Of a message at this moment of which nothing is known.
    pub(crate) fn unknown(at: i64) -> Self {
        Self {
            stage: Stage::Message,
            at,
            connection: Connection {
                ip: [192, 0, 2, 1].into(),
                hello: String::new(),
                tls: false,
                slow: false,
            },
            sender: String::new(),
            sender_unreachable: None,
            has_resolver: true,
            message: None,
        }
    }
}

/// How far a transaction came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// MAIL.
    Sender,
    /// RCPT.
    Recipient,
    /// The message is complete.
    Message,
    // Stored records hold the place in this list: what is new goes to its end.
    /// MAIL, and name servers did not tell whether somebody could answer the sender.
    SenderUnsure,
}

/// The other side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Its address.
    pub ip: IpAddr,
    /// What it said in EHLO.
    pub hello: String,
    /// TLS is used.
    pub tls: bool,
    /// Its session is answered slowly, for what it did before.
    #[serde(default)]
    pub slow: bool,
}

/// What is known of a message.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Message {
    /// The addresses in From.
    pub authors: Vec<String>,
    /// Their domains, in A-labels; empty for one without.
    pub author_domains: Vec<String>,
    /// The identifier, brackets included.
    pub message_id: Option<String>,
    /// Octets.
    pub size: u64,
    /// Why it is a loop for whomever, when it is one.
    pub loops: Option<String>,
    /// Whether the name of the client's address leads back to it; `none` when nobody asked.
    pub iprev: Method,
    /// Of the reverse-path, or of EHLO when that is null.
    pub spf: Method,
    /// Of EHLO.
    pub helo: Method,
    /// Each signature, in order.
    pub dkim: Vec<Signature>,
    /// Of the authors.
    pub dmarc: DmarcFacts,
    /// How the author is proved, whatever its domain publishes.
    pub author: Authenticated,
    /// What lists of addresses say of the client; empty when none was asked.
    pub listings: Vec<Listing>,
}

/// What a check came to, in the words of RFC 8601.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Method {
    /// `pass`, `fail` and so on; empty when it was not made.
    pub result: String,
    /// What was checked: a domain, a name.
    pub subject: String,
    /// More, for people.
    pub problem: Option<String>,
    /// Of SPF the directive that decided, as the domain wrote it.
    #[serde(default)]
    pub mechanism: Option<String>,
}

/// One DKIM signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// d=, in lower case.
    pub domain: String,
    /// `pass`, `fail` and so on.
    pub result: String,
    /// It passed, and no part of the body is left unsigned.
    pub vouches: bool,
    /// More, for people.
    pub problem: Option<String>,
    /// s=
    #[serde(default)]
    pub selector: Option<String>,
    /// a=
    #[serde(default)]
    pub algorithm: Option<String>,
}

/// What DMARC came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DmarcFacts {
    /// `pass`, `fail` and so on; empty when it was not evaluated.
    pub result: String,
    /// What the author's domain wants done: `none`, `quarantine`, `reject`; `defer` when name servers did not answer and it
    /// may be one of the latter.
    pub disposition: String,
    /// Whose record holds.
    pub policy_domain: Option<String>,
    /// What is wrong.
    pub problem: Option<String>,
    /// What was found out of the author that decided; `None` where its domain has no policy that could be read.
    #[serde(default)]
    pub alignment: Option<DmarcAlignment>,
}

/// Which checks count for an author's domain (RFC 9989 4.4).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DmarcAlignment {
    /// The domain in From.
    pub author: String,
    /// What its record says of mail that fails: `none`, `quarantine`, `reject`.
    pub policy: String,
    /// SPF has to pass for the very domain (aspf=s).
    pub spf_strict: bool,
    /// A signature has to be of the very domain (adkim=s).
    pub dkim_strict: bool,
    /// SPF passed for a domain near enough.
    pub spf: bool,
    /// The place of the first signature that passed for one; those behind it were not looked at.
    pub dkim: Option<usize>,
}

/// How the author's domain is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authenticated {
    /// Not at all, or there are several authors.
    #[default]
    No,
    /// A signature or SPF passed for a domain registered by the same.
    Relaxed,
    /// DMARC passed for a domain that is not the very one.
    Dmarc,
    /// A signature or SPF passed for the very domain.
    Strict,
}

/// What a list says of the client's address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The list's name.
    pub zone: String,
    /// The address is on it, and the list can be relied on.
    pub listed: bool,
    /// What the list says about it, or why it does not count.
    pub text: Option<String>,
}

/// What is known of a recipient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address as given.
    pub address: String,
    /// Whether there is such an address.
    pub standing: Standing,
    /// Whose it is.
    pub account: Option<String>,
    /// The mailbox its mail goes to, by the ruleset that matches if one does.
    pub mailbox: String,
    /// What the account wants.
    pub settings: Settings,
    /// What earlier mail was like.
    pub history: History,
    /// The token in the Subject.
    pub token: Token,
    /// A new token for this author, to be offered.
    pub offer: Option<String>,
    /// What the junk filter says, where there is one and the decision comes to it.
    pub content: Option<Content>,
    /// The report in the message, where the address is one for reports.
    #[serde(default)]
    pub report: Option<ReportFound>,
    /// Why it is a loop for this recipient, when it is one.
    #[serde(default)]
    pub loops: Option<String>,
    /// What has content looked at strictly, beside what speaks against the sender.
    #[serde(default)]
    pub strict: Strictness,
    /// The account's own address, where the recipient is an alias.
    #[serde(default)]
    pub member: Option<String>,
}

/// For what an account has content looked at strictly, beside what speaks against the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Strictness {
    /// For a session in clear.
    pub without_tls: bool,
    /// For a recipient that neither To nor Cc names.
    pub unless_named: bool,
    /// Whether they name an address of the account; `None` when nobody looked, or there are too many.
    pub is_named: Option<bool>,
}

/// A report of another server in a message to an address for such.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFound {
    /// What it is about.
    pub kind: ReportKind,
    /// The domains of ours that it is about.
    pub domains: String,
    /// What tells it from others of the same organization.
    pub report_id: String,
    /// Why it is not believed, or why there is none: then it counts for nothing.
    pub problem: Option<String>,
}

impl Recipient {
    /// One of which nothing more is known.
    pub fn new(address: String, standing: Standing) -> Self {
        Self {
            address,
            standing,
            account: None,
            mailbox: String::new(),
            settings: Settings::default(),
            history: History::default(),
            token: Token::Absent,
            offer: None,
            content: None,
            report: None,
            loops: None,
            strict: Strictness::default(),
            member: None,
        }
    }
}

/// Whether there is such an address, and mail for it can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is an account's.
    Known,
    /// The domain is ours, the local part is nobody's.
    UnknownLocalPart,
    /// The domain is not ours.
    NotOurs,
    /// The account cannot be reached now.
    Unreachable,
    // Stored records hold the place in this list: what is new goes to its end.
    /// Nobody looked: TLS is demanded for mail to it, and there is none.
    LacksTls,
    /// Nobody judged the message: it is larger than any may be.
    TooBig,
    /// The same: a line in it ends in bare LF, or holds a bare CR.
    BareLineEnd,
    /// The same: it has a NUL.
    Nul,
    /// The same: there was no room for it on the disk, or too much was under way.
    NoRoom,
    /// The account's quota has no room for a message of the size that the sender said.
    MailboxFull,
}

impl Standing {
    /// Nobody came to judge: what was sent could be taken for nobody.
    pub const fn is_unfit(self) -> bool {
        matches!(
            self,
            Self::TooBig | Self::BareLineEnd | Self::Nul | Self::NoRoom
        )
    }
}

/// What an account wants, and the ruleset of the destination that matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The ruleset that matches, by its place; `None` when none does.
    pub ruleset: Option<usize>,
    /// Mail that this domain vouches for is taken whatever else is wrong with it: a mailing list's.
    pub list_allow: Option<String>,
    /// The matching ruleset is for mail that somebody forwards: the forwarder's addresses tell nothing.
    pub is_forward: bool,
    /// What becomes of mail that its author's domain wants quarantined.
    pub quarantine: Quarantine,
    /// The mailbox for junk.
    pub junk_mailbox: String,
    /// Refused mail is kept here.
    pub rejects_mailbox: Option<String>,
    /// What would be refused is taken into this mailbox: the matching ruleset wants it so.
    pub accept_rejects_to: Option<String>,
    /// A token in the Subject gets mail past the filter.
    pub subject_token: bool,
    /// Up to this probability of being junk content is acceptable.
    pub junk_threshold: f64,
    /// The same for suspicious mail, where it is lower.
    pub strict_threshold: f64,
}

/// What becomes of mail with DMARC disposition quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quarantine {
    /// It goes to the mailbox for junk.
    #[default]
    Junk,
    /// It is refused.
    Refuse,
}

/// A token in the Subject, that we gave to who was refused before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// There is none, or nobody looked.
    #[default]
    Absent,
    /// It is ours, for this author, and not too old.
    Valid,
    /// It is not, and why.
    Invalid(String),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ruleset: None,
            list_allow: None,
            is_forward: false,
            quarantine: Quarantine::Junk,
            junk_mailbox: "Junk".into(),
            rejects_mailbox: Some("Rejects".into()),
            accept_rejects_to: None,
            subject_token: false,
            junk_threshold: JunkFilter::THRESHOLD,
            strict_threshold: JunkFilter::STRICT_THRESHOLD,
        }
    }
}

impl Message {
    /// The domains that vouch for the message: of signatures that pass, and of SPF.
    pub fn vouching(&self) -> impl Iterator<Item = &str> {
        let spf = (self.spf.result == "pass").then_some(self.spf.subject.as_str());
        self.dkim
            .iter()
            .filter(|signature| signature.vouches)
            .map(|signature| signature.domain.as_str())
            .chain(spf)
    }
}
