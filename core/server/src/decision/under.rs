//! What a decision would have been under another configuration.

use mox_address::Path;

use super::decide::decide;
use super::facts::{Facts, Recipient, Settings, Stage, Standing, Strictness};
use super::history::History;
use super::record::{Judgement, Record};
use crate::config::Incoming;
use crate::lookup::{Directory, Found};
use crate::ruleset::{Effort, Fields, Ruleset, is_within, matching};

/// A decision under another configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Under {
    /// The recipient's judgement.
    pub judgement: Judgement,
    /// What the record does not tell, so that it may have been decided otherwise all the same.
    pub unknown: Vec<String>,
}

impl Settings {
    /// What an account wants of a message that matches this ruleset of its, or none.
    pub fn of(incoming: &Incoming, matched: Option<(usize, &Ruleset)>) -> Self {
        let filter = incoming.junk_filter.unwrap_or_default();
        let mut settings = Self {
            rejects_mailbox: incoming.rejects_mailbox.clone(),
            quarantine: incoming.dmarc_quarantine,
            subject_token: incoming.subject_token.is_some(),
            junk_threshold: filter.threshold,
            strict_threshold: filter.strict_threshold,
            ..Self::default()
        };
        if let Some((nth, ruleset)) = matched {
            settings.ruleset = Some(nth);
            let list = ruleset.list_allow_domain.as_ref();
            settings.list_allow = list.map(ToString::to_string);
            settings.is_forward = ruleset.forwarder().is_some();
            settings
                .accept_rejects_to
                .clone_from(&ruleset.accept_rejects_to_mailbox);
        }
        settings
    }
}

impl Strictness {
    /// What an account finds suspicious of a message of which it is known, or not, whether it names the recipient.
    pub fn of(incoming: &Incoming, is_named: Option<bool>) -> Self {
        let filter = incoming.junk_filter.unwrap_or_default();
        Self {
            without_tls: filter.strict_without_tls,
            unless_named: filter.strict_unless_named,
            is_named,
        }
    }
}

impl Record {
    /// Each recipient under another configuration. What a record does not hold is told: header fields, what earlier mail for
    /// another mailbox was like, and what a junk filter or lists say that were not asked.
    pub fn under(&self, directory: &Directory) -> Vec<Under> {
        let recipients = self.recipients.iter();
        if self.left_out.message {
            let unknown = "what was known of the message: this is what was decided then";
            return recipients
                .map(|judged| Under {
                    judgement: judged.clone(),
                    unknown: vec![unknown.to_owned()],
                })
                .collect();
        }
        recipients
            .map(|judged| under(&self.facts, &judged.recipient, directory, None))
            .collect()
    }
}

/// One recipient under another configuration; with the message's header, if that is at hand.
pub fn under(
    facts: &Facts,
    recipient: &Recipient,
    directory: &Directory,
    header: Option<&[u8]>,
) -> Under {
    let (mut changed, mut unknown) = (recipient.clone(), Vec::new());
    let found = Path::parse(&recipient.address, true).map(|path| directory.find(&path));
    match (facts.stage, found) {
        (Stage::Sender | Stage::SenderUnsure, _) | (_, Err(_)) => {}
        // Sizes and line ends are the listener's, and nothing more is known of the message.
        _ if recipient.standing.is_unfit() => {}
        _ if recipient.standing == Standing::LacksTls => {
            unknown.push("whether a listener demands TLS".into());
        }
        (_, Ok(Found::Account { .. } | Found::Alias { .. }))
            if recipient.standing == Standing::MailboxFull =>
        {
            unknown.push("whether the mailbox has room".into());
        }
        (_, Ok(Found::NotOurs)) => changed.standing = Standing::NotOurs,
        (_, Ok(Found::UnknownLocalPart)) => changed.standing = Standing::UnknownLocalPart,
        (
            _,
            Ok(Found::Account {
                account, mailbox, ..
            }),
        ) => {
            changed.standing = Standing::Known;
            if facts.message.is_some() {
                let mailbox = mailbox.unwrap_or_else(|| "INBOX".into());
                let message = (facts, header);
                settle(
                    message,
                    &mut changed,
                    (&account, mailbox),
                    directory,
                    &mut unknown,
                );
            }
            changed.account = Some(account);
        }
        (_, Ok(Found::Alias { members, .. })) => {
            changed.standing = Standing::Known;
            let account = recipient.account.clone();
            let is_member = |account: &String| members.iter().any(|m| m.account == *account);
            match account.filter(is_member) {
                Some(account) if facts.message.is_some() => settle(
                    (facts, header),
                    &mut changed,
                    (&account, "INBOX".into()),
                    directory,
                    &mut unknown,
                ),
                Some(_) => {}
                None if facts.message.is_none() => {}
                None => unknown.push(format!(
                    "what the members of {} want, who are others now",
                    recipient.address
                )),
            }
        }
    }
    let judgement = Judgement::of(facts, changed);
    let listings = facts.message.as_ref().map(|message| &message.listings);
    let lacks_lists = judgement.decision.asks_for_lists()
        && listings.is_some_and(Vec::is_empty)
        && !decide(facts, recipient).asks_for_lists();
    if lacks_lists {
        unknown.push("what lists would say of the client".into());
    }
    let lacks_content = judgement.decision.asks_for_content()
        && judgement.recipient.content.is_none()
        && judgement
            .recipient
            .account
            .as_ref()
            .is_some_and(|account| directory.incoming(account).junk_filter.is_some());
    if lacks_content {
        unknown.push("what the junk filter would say".into());
    }
    Under { judgement, unknown }
}

/// What the account wants, and where its mail goes.
fn settle(
    (facts, header): (&Facts, Option<&[u8]>),
    recipient: &mut Recipient,
    (account, mailbox): (&str, String),
    directory: &Directory,
    unknown: &mut Vec<String>,
) {
    let incoming = directory.incoming(account);
    let (fields, mut effort) = (
        header.map(Fields::of).unwrap_or_default(),
        Effort::default(),
    );
    let matched = matching(&incoming.rulesets, facts, &[&fields], &mut effort);
    let before = matched.map_or(incoming.rulesets.len(), |(nth, _)| nth);
    let asks_header = |ruleset: &Ruleset| !ruleset.headers.is_empty();
    if header.is_none() && incoming.rulesets.iter().take(before).any(asks_header) {
        unknown.push("whether a ruleset with conditions on header fields matches".into());
    }
    let mailbox = matched.map_or(mailbox, |(_, ruleset)| ruleset.mailbox.clone());
    let is_other = recipient.account.as_deref() != Some(account) || recipient.mailbox != mailbox;
    if recipient.account.as_deref() != Some(account) {
        // Another account's filter says something else, and its junk may be elsewhere.
        recipient.content = None;
        recipient.settings.junk_mailbox = Settings::default().junk_mailbox;
    }
    if is_other {
        recipient.history = History::default();
        unknown.push(format!(
            "what earlier mail for {mailbox} of {account} was like"
        ));
    }
    let forwarder = matched.and_then(|(_, ruleset)| ruleset.forwarder());
    match forwarder {
        Some(forwarder) => {
            let signed = &mut recipient.history.signed;
            signed.retain(|(domain, _)| !is_within(domain, forwarder.as_str()));
        }
        // What it vouched for was not looked up.
        None if recipient.settings.is_forward && !is_other => {
            unknown.push("what earlier mail was like that the forwarder vouched for".into());
        }
        None => {}
    }
    if incoming.subject_token.is_some() && !recipient.settings.subject_token {
        unknown.push("whether the Subject has a token, and which one would be given".into());
    }
    let is_other_account = recipient.account.as_deref() != Some(account);
    let is_named = recipient.strict.is_named.filter(|_| !is_other_account);
    recipient.strict = Strictness::of(incoming, is_named);
    if recipient.strict.unless_named && is_named.is_none() {
        unknown.push("whether To or Cc names the recipient".into());
    }
    recipient.settings = Settings {
        junk_mailbox: recipient.settings.junk_mailbox.clone(),
        ..Settings::of(incoming, matched)
    };
    recipient.mailbox = mailbox;
    if incoming.junk_filter.is_none() {
        recipient.content = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Dynamic, Static};
    use crate::decision::{
        Connection, Content, LeftOut, Message, Past, Reason, Signature, Verdict,
    };

    fn directory(account: &str) -> Directory {
        directory_of("()", account)
    }

    fn directory_of(domain: &str, account: &str) -> Directory {
        let fixed = "(data_dir: \"d\", hostname: \"mx.example.org\", postmaster: (account: \"jo\"),
            listeners: {\"a\": (ips: [\"127.0.0.1\"], smtp: ())})";
        let fixed = Static::parse("mox.ron", fixed).unwrap();
        let dynamic = format!(
            "(domains: {{\"example.org\": {domain}}}, accounts: {{\"jo\": (domain: \"example.org\",
            addresses: [\"jo\"], {account})}})"
        );
        Directory::new(
            &fixed,
            &Dynamic::parse("domains.ron", &dynamic, &fixed).unwrap(),
        )
    }

    fn record() -> Record {
        let mut message = Message {
            authors: vec!["a@far.example".into()],
            author_domains: vec!["far.example".into()],
            size: 10,
            ..Message::default()
        };
        message.dmarc.result = "none".into();
        message.spf.result = "fail".into();
        message.spf.subject = "far.example".into();
        message.dkim = vec![Signature {
            domain: "out.old.example".into(),
            result: "pass".into(),
            vouches: true,
            problem: None,
            selector: None,
            algorithm: None,
        }];
        let facts = Facts {
            stage: Stage::Message,
            at: 0,
            connection: Connection {
                ip: [192, 0, 2, 1].into(),
                hello: "far.example".into(),
                tls: false,
                slow: false,
            },
            sender: "a@far.example".into(),
            sender_unreachable: None,
            has_resolver: true,
            message: Some(message),
        };
        let recipient = Recipient {
            account: Some("jo".into()),
            mailbox: "INBOX".into(),
            ..Recipient::new("jo@example.org".into(), Standing::Known)
        };
        Record {
            id: "1".into(),
            recipients: vec![Judgement::of(&facts, recipient)],
            facts,
            reply: String::new(),
            dns: String::new(),
            left_out: LeftOut::default(),
        }
    }

    fn told(account: &str) -> (Verdict, Reason, Vec<String>) {
        let [under] = &record().under(&directory(account))[..] else {
            unreachable!()
        };
        let decision = &under.judgement.decision;
        (decision.verdict, decision.reason, under.unknown.clone())
    }

    #[test]
    fn rulesets_and_accounts_of_another_configuration_hold() {
        assert_eq!(told(""), (Verdict::Defer, Reason::SpfPolicy, vec![]));
        let forwarded =
            "rulesets: [(mailbox: \"INBOX\", verified_domain: \"old.example\", is_forward: true)]";
        let (verdict, reason, unknown) = told(forwarded);
        assert_eq!((verdict, reason), (Verdict::Accept, Reason::NoBadSignals));
        assert_eq!(unknown, ["what the junk filter would say"]);
        let (verdict, ..) = told(&format!("{forwarded}, junk_filter: None"));
        assert_eq!(verdict, Verdict::Accept);
    }

    #[test]
    fn what_was_known_of_who_forwards_does_not_count_where_it_is_said_who_does() {
        let mut record = record();
        let recipient = &mut record.recipients[0].recipient;
        let junk = Past::default().and(true).and(true);
        recipient.history.signed = vec![("out.old.example".into(), junk)];
        record.recipients = vec![Judgement::of(&record.facts, recipient.clone())];
        let told = |record: &Record, account: &str| {
            let under = record.under(&directory(account)).remove(0);
            (under.judgement.decision.reason, under.unknown)
        };
        let (reason, unknown) = told(&record, "");
        assert_eq!((reason, unknown), (Reason::Dkimspf, vec![]));
        let forwarded = "junk_filter: None, rulesets: [(mailbox: \"INBOX\", \
                         verified_domain: \"old.example\", is_forward: true)]";
        let (reason, unknown) = told(&record, forwarded);
        assert_eq!((reason, unknown), (Reason::NoBadSignals, vec![]));
        record.recipients[0].recipient.settings.is_forward = true;
        let (_, unknown) = told(&record, "junk_filter: None");
        assert_eq!(
            unknown,
            ["what earlier mail was like that the forwarder vouched for"]
        );
    }

    #[test]
    fn what_the_record_does_not_tell_is_said() {
        let lists = "rulesets: [(mailbox: \"Lists\", headers: {\"List-Id\": \"x\"}), \
                     (mailbox: \"Far\", mail_from: \"@far\")]";
        let (verdict, reason, unknown) = told(lists);
        assert_eq!((verdict, reason), (Verdict::Defer, Reason::SpfPolicy));
        assert_eq!(
            unknown,
            [
                "whether a ruleset with conditions on header fields matches",
                "what earlier mail for Far of jo was like"
            ]
        );
    }

    #[test]
    fn of_a_message_that_was_left_out_nothing_is_made_up() {
        let mut record = record();
        record.facts.message = None;
        record.left_out.message = true;
        let [under] = &record.under(&directory(""))[..] else {
            unreachable!()
        };
        assert_eq!(under.judgement, record.recipients[0]);
        assert_eq!(under.judgement.decision.reason, Reason::SpfPolicy);
        assert_eq!(
            under.unknown,
            ["what was known of the message: this is what was decided then"]
        );
    }

    #[test]
    fn lists_that_were_not_asked_are_not_taken_for_silent_ones() {
        let mut record = record();
        let facts = &mut record.facts;
        if let Some(message) = &mut facts.message {
            message.spf.result = "pass".into();
            message.iprev.result = "pass".into();
        }
        let content = Content {
            probability: 0.8,
            is_significant: true,
            problem: None,
            ..Content::failed(String::new())
        };
        let recipient = &mut record.recipients[0].recipient;
        recipient.content = Some(content);
        let unknown = |filter: &str| record.under(&directory(filter))[0].unknown.clone();
        assert_eq!(unknown(""), Vec::<String>::new());
        let bold = unknown("junk_filter: (threshold: 0.9)");
        assert_eq!(bold, ["what lists would say of the client"]);
    }

    #[test]
    fn what_one_accounts_filter_said_is_not_what_anothers_says() {
        let mut record = record();
        let recipient = &mut record.recipients[0].recipient;
        recipient.content = Some(Content::failed("a disk error".into()));
        recipient.settings.junk_mailbox = "Werbung".into();
        let same = &record.under(&directory(""))[0].judgement.recipient;
        assert!(same.content.is_some());
        assert_eq!(same.settings.junk_mailbox, "Werbung");
        record.recipients[0].recipient.account = Some("al".into());
        let other = &record.under(&directory(""))[0].judgement.recipient;
        assert_eq!(other.content, None);
        assert_eq!(other.settings.junk_mailbox, "Junk");
    }

    #[test]
    fn a_member_of_an_alias_is_judged_as_what_it_wants_itself() {
        let mut record = record();
        record.recipients[0].recipient.address = "sales@example.org".into();
        let told = |record: &Record, account: &str, members: &str| {
            let alias = format!("(aliases: {{\"sales\": (members: {members})}})");
            let under = record.under(&directory_of(&alias, account)).remove(0);
            (under.judgement.decision.reason, under.unknown)
        };
        let (reason, unknown) = told(&record, "", "[\"jo\"]");
        assert_eq!((reason, unknown), (Reason::SpfPolicy, vec![]));
        let forwarded = "junk_filter: None, rulesets: [(mailbox: \"INBOX\", \
                         verified_domain: \"old.example\", is_forward: true)]";
        let (reason, unknown) = told(&record, forwarded, "[\"jo\"]");
        assert_eq!((reason, unknown), (Reason::NoBadSignals, vec![]));
        record.recipients[0].recipient.account = Some("al".into());
        let (_, unknown) = told(&record, "", "[\"jo\"]");
        assert_eq!(
            unknown,
            ["what the members of sales@example.org want, who are others now"]
        );
    }

    #[test]
    fn an_address_that_is_nobodys_any_more_is_refused() {
        let other = directory("").find(&Path::parse("al@example.org", true).unwrap());
        assert_eq!(other, Found::UnknownLocalPart);
        let mut record = record();
        record.recipients[0].recipient.address = "al@example.org".into();
        let under = record.under(&directory(""));
        let reason = under[0].judgement.decision.reason;
        assert_eq!(reason, Reason::UnknownRecipient);
    }
}
