//! Judging again what an account has, in the order it came: what its junk filter and its settings would have made of it, with
//! nothing known that came later.
//!
//! The filter begins empty and learns each message that its user marked, after judging it. Where there is a record of the
//! decision about a message, all rules are looked at again; of others only the content.

use std::collections::BTreeMap;

use mox_junk::{Class, Counts, Parameters, WordId, Words, judge};
use serde::{Deserialize, Serialize};

use crate::decision::{Content, Reason, Record, Verdict};
use crate::lookup::Directory;

/// Distinct words that are learned, at most. Those beyond count for nothing, and the report says how many they were.
pub const BACKTEST_WORDS_MAX: usize = 1_000_000;
/// Flips that are listed, at most: the newest.
pub const FLIPS_MAX: usize = 1_000;

/// Different reasons why something is not known that are counted, at most.
const UNKNOWN_MAX: usize = 100;

/// A stored message.
#[derive(Debug)]
pub struct Stored<'a> {
    /// Where it is.
    pub mailbox: &'a str,
    /// Its number there.
    pub uid: u32,
    /// When it came, in seconds since 1970.
    pub date: i64,
    /// It came over SMTP, and was not put there by its user.
    pub received: bool,
    /// What its user marked it as.
    pub marked: Option<Class>,
    /// What was decided when it came, as the header field says.
    pub decided: Option<(String, String)>,
    /// The record of that.
    pub record: Option<&'a Record>,
    /// Its header, with what stands before it.
    pub header: &'a [u8],
    /// Its words.
    pub words: &'a Words,
}

/// Messages of one kind, by what would become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Becomes {
    /// Into a mailbox that the user reads.
    pub taken: u64,
    /// Put aside, put off, or refused.
    pub not_taken: u64,
}

/// A message of which something else would become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flip {
    /// Where it is.
    pub mailbox: String,
    /// Its number there.
    pub uid: u32,
    /// When it came, in seconds since 1970.
    pub date: i64,
    /// The id of the decision.
    pub id: String,
    /// What was decided.
    pub was: String,
    /// What would be.
    pub would_be: Verdict,
    /// Why.
    pub reason: Reason,
    /// How likely the filter holds it to be junk.
    pub probability: f64,
    /// What its user says: `ham` or `spam`.
    pub marked: Option<String>,
}

/// What came of it all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BacktestReport {
    /// Messages that were judged.
    pub judged: u64,
    /// Those of them of whose decision there is a record, so that all rules were looked at.
    pub with_record: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
    /// Older messages that were left out, since there are too many.
    pub left_out: u64,
    /// Messages that their user marked as not junk.
    pub ham: Becomes,
    /// Messages that their user marked as junk.
    pub junk: Becomes,
    /// The others.
    pub unmarked: Becomes,
    /// Messages that did not come in over SMTP: what the user wrote, or put there. They are learned, and not judged.
    #[serde(default)]
    pub not_received: u64,
    /// Messages that were judged by what is not all known: what earlier mail was like for a mailbox they were not for, what lists
    /// say that were not asked. They are counted among the others, and no flip of theirs is listed.
    #[serde(default)]
    pub uncertain: u64,
    /// Why, and how many of them each concerns.
    #[serde(default)]
    pub unknown: BTreeMap<String, u64>,
    /// Words that were not learned, since there are too many.
    pub words_left_out: u64,
    /// Messages of which something else would become than did, the newest first.
    pub flips: Vec<Flip>,
    /// Older ones that are not listed.
    pub more_flips: u64,
}

/// A backtest under way.
#[derive(Debug)]
pub struct Backtest<'d> {
    directory: &'d Directory,
    account: &'d str,
    parameters: Parameters,
    counts: BTreeMap<WordId, Counts>,
    learned: Counts,
    report: BacktestReport,
}

impl<'d> Backtest<'d> {
    /// One of an account, as a directory says what it wants.
    pub fn new(directory: &'d Directory, account: &'d str) -> Self {
        Self {
            directory,
            account,
            parameters: Parameters::default(),
            counts: BTreeMap::new(),
            learned: Counts::default(),
            report: BacktestReport::default(),
        }
    }

    /// A message that cannot be read.
    pub fn unreadable(&mut self) {
        self.report.unreadable += 1;
    }

    /// So many older messages are not looked at.
    pub fn left_out(&mut self, messages: u64) {
        self.report.left_out += messages;
    }

    /// The next message, in the order they came.
    pub fn push(&mut self, stored: &Stored<'_>) {
        match stored.received {
            true => self.judge(stored),
            false => self.report.not_received += 1,
        }
        if let Some(class) = stored.marked {
            self.learn(stored.words, class);
        }
    }

    fn judge(&mut self, stored: &Stored<'_>) {
        let judgement = judge(stored.words, self.learned, &self.parameters, |word| {
            self.counts.get(&word).copied().unwrap_or_default()
        });
        let content = Content::of(&judgement);
        let probability = content.probability;
        self.report.judged += 1;
        let (verdict, reason, unknown) = match self.again(stored, content.clone()) {
            Some((verdict, reason, unknown)) => {
                self.report.with_record += 1;
                (verdict, reason, unknown)
            }
            None => {
                let (verdict, reason) = self.by_content(&content);
                (verdict, reason, Vec::new())
            }
        };
        let is_certain = unknown.is_empty();
        self.report.uncertain += u64::from(!is_certain);
        for what in unknown {
            let has_room = self.report.unknown.len() < UNKNOWN_MAX;
            match self.report.unknown.get_mut(&what) {
                Some(count) => *count += 1,
                None if has_room => {
                    self.report.unknown.insert(what, 1);
                }
                None => {}
            }
        }
        let becomes = match stored.marked {
            Some(Class::Ham) => &mut self.report.ham,
            Some(Class::Spam) => &mut self.report.junk,
            None => &mut self.report.unmarked,
        };
        match verdict.is_wanted() {
            true => becomes.taken += 1,
            false => becomes.not_taken += 1,
        }
        if let Some((id, was)) = &stored.decided
            && is_certain
            && (was == Verdict::Accept.name()) != verdict.is_wanted()
        {
            self.report.flips.push(Flip {
                mailbox: stored.mailbox.to_owned(),
                uid: stored.uid,
                date: stored.date,
                id: id.clone(),
                was: was.clone(),
                would_be: verdict,
                reason,
                probability,
                marked: stored.marked.map(|class| class.name().to_owned()),
            });
            if self.report.flips.len() > 2 * FLIPS_MAX {
                self.forget_flips();
            }
        }
    }

    /// What came of it all.
    pub fn finish(mut self) -> BacktestReport {
        self.forget_flips();
        self.report.flips.reverse();
        self.report
    }

    /// Leaves the newest.
    fn forget_flips(&mut self) {
        let flips = &mut self.report.flips;
        let old = flips.len().saturating_sub(FLIPS_MAX);
        flips.drain(..old);
        self.report.more_flips += old as u64;
    }

    /// All rules, by the record.
    fn again(
        &self,
        stored: &Stored<'_>,
        content: Content,
    ) -> Option<(Verdict, Reason, Vec<String>)> {
        let record = stored.record.filter(|record| !record.left_out.message)?;
        let mut recipients = record.recipients.iter().map(|judged| &judged.recipient);
        let recipient = recipients.find(|r| r.account.as_deref() == Some(self.account))?;
        let recipient = crate::decision::Recipient {
            content: Some(content),
            ..recipient.clone()
        };
        let header = Some(stored.header);
        let under = crate::decision::under(&record.facts, &recipient, self.directory, header);
        let decision = under.judgement.decision;
        Some((decision.verdict, decision.reason, under.unknown))
    }

    fn by_content(&self, content: &Content) -> (Verdict, Reason) {
        let filter = self.directory.incoming(self.account).junk_filter;
        let is_junk = content.is_significant
            && filter.is_some_and(|filter| content.probability > filter.threshold);
        match is_junk {
            true => (Verdict::Defer, Reason::JunkContent),
            false => (Verdict::Accept, Reason::NoBadSignals),
        }
    }

    fn learn(&mut self, words: &Words, class: Class) {
        self.learned.add(class);
        for word in words.ids() {
            let has_room = self.counts.len() < BACKTEST_WORDS_MAX;
            match self.counts.get_mut(&word) {
                Some(counts) => counts.add(class),
                None if has_room => {
                    let mut counts = Counts::default();
                    counts.add(class);
                    self.counts.insert(word, counts);
                }
                None => self.report.words_left_out += 1,
            }
        }
    }
}

/// What `X-Mox-Decision` before a message says: the id and the verdict.
pub fn decided(prefix: &[u8]) -> Option<(String, String)> {
    let line = prefix.split(|octet| *octet == b'\n').next()?;
    let value = line.strip_prefix(b"X-Mox-Decision: ")?;
    let value = core::str::from_utf8(value).ok()?;
    let mut parts = value.split(';').map(str::trim);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

/// Whether a message came over SMTP, by what stands before it: what users put there has nothing.
pub fn is_received(prefix: &[u8]) -> bool {
    let mut lines = prefix.split(|octet| *octet == b'\n');
    decided(prefix).is_some() || lines.any(|line| line.starts_with(b"Return-Path:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Incoming, JunkFilter};
    use crate::junk::words;

    fn mail(text: &str) -> Words {
        words(format!("Subject: {text}\r\n\r\n{text}\r\n").as_bytes())
    }

    fn run(threshold: Option<f64>) -> BacktestReport {
        let mut directory = Directory::local(1);
        let junk_filter = threshold.map(|threshold| JunkFilter {
            threshold,
            ..JunkFilter::default()
        });
        let incoming = Incoming {
            junk_filter,
            ..Incoming::default()
        };
        directory.set_incoming("u0", incoming);
        let mut backtest = Backtest::new(&directory, "u0");
        let mut uid = 0;
        let mut push = |text: &str, marked, was: &str| {
            uid += 1;
            backtest.push(&Stored {
                mailbox: "INBOX",
                uid,
                date: i64::from(uid),
                received: true,
                marked,
                decided: Some((format!("id{uid}"), was.to_owned())),
                record: None,
                header: b"",
                words: &mail(text),
            });
        };
        for n in 0..60 {
            push(
                &format!("meeting agenda budget {n}"),
                Some(Class::Ham),
                "accept",
            );
            push(
                &format!("cheap pills lottery {n}"),
                Some(Class::Spam),
                "accept",
            );
        }
        push("meeting agenda budget", None, "defer");
        push("cheap pills lottery", None, "accept");
        backtest.finish()
    }

    #[test]
    fn a_filter_knows_what_came_before_and_nothing_else() {
        let report = run(Some(0.7));
        assert_eq!(report.judged, 122);
        assert_eq!(
            report.ham,
            Becomes {
                taken: 60,
                not_taken: 0
            }
        );
        // The first 50 of either kind teach it.
        assert_eq!(
            report.junk,
            Becomes {
                taken: 50,
                not_taken: 10
            }
        );
        assert_eq!(
            report.unmarked,
            Becomes {
                taken: 1,
                not_taken: 1
            }
        );
        let flips: Vec<_> = report.flips.iter().map(|f| (f.uid, f.would_be)).collect();
        assert_eq!(flips.len(), 12);
        assert_eq!(flips[0], (122, Verdict::Defer));
        assert_eq!(flips[1], (121, Verdict::Accept));
        assert_eq!(report.flips[2].marked.as_deref(), Some("spam"));
    }

    #[test]
    fn without_a_filter_nothing_is_junk_by_its_content() {
        let report = run(None);
        assert_eq!(
            report.junk,
            Becomes {
                taken: 60,
                not_taken: 0
            }
        );
    }

    #[test]
    fn the_field_before_a_message_says_what_was_decided() {
        let prefix = b"X-Mox-Decision: kx3; junk; dmarc-quarantine\r\nReturn-Path: <>\r\n";
        assert_eq!(decided(prefix), Some(("kx3".into(), "junk".into())));
        assert_eq!(decided(b"Return-Path: <>\r\n"), None);
        assert!(is_received(prefix));
        assert!(is_received(b"Return-Path: <>\r\n"));
        assert!(!is_received(b""));
    }

    #[test]
    fn what_the_user_put_there_teaches_and_is_not_judged() {
        let directory = Directory::local(1);
        let mut backtest = Backtest::new(&directory, "u0");
        for (uid, received) in [(1, false), (2, true)] {
            backtest.push(&Stored {
                mailbox: "Sent",
                uid,
                date: 0,
                received,
                marked: Some(Class::Ham),
                decided: None,
                record: None,
                header: b"",
                words: &mail("agenda"),
            });
        }
        assert_eq!(backtest.learned.ham, 2);
        let report = backtest.finish();
        assert_eq!((report.judged, report.not_received), (1, 1));
        assert_eq!(report.ham.taken, 1);
    }

    /// A record of a message for u0 whose author is known to the user, by a stored decision.
    fn known() -> Record {
        use crate::decision::{
            Connection, Facts, History, Judgement, LeftOut, Message, Past, Recipient, Stage,
            Standing,
        };
        let mut message = Message {
            authors: vec!["a@far.example".into()],
            author_domains: vec!["far.example".into()],
            ..Message::default()
        };
        message.spf.result = "fail".into();
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
            account: Some("u0".into()),
            mailbox: "INBOX".into(),
            history: History {
                author: Past::default().and(false),
                wrote_to_author: true,
                ..History::default()
            },
            ..Recipient::new("u0@localhost".into(), Standing::Known)
        };
        Record {
            id: "id1".into(),
            recipients: vec![Judgement::of(&facts, recipient)],
            facts,
            reply: String::new(),
            dns: String::new(),
            left_out: LeftOut::default(),
        }
    }

    #[test]
    fn what_is_not_known_is_told_and_makes_no_flips() {
        let ruleset = crate::ruleset::Ruleset {
            mail_from: crate::ruleset::Pattern::new("@far").ok(),
            verified_domain: None,
            headers: Vec::new(),
            mailbox: "Far".into(),
            list_allow_domain: None,
            is_forward: false,
            accept_rejects_to_mailbox: None,
        };
        let mut directory = Directory::local(1);
        let incoming = Incoming {
            rulesets: vec![ruleset],
            ..Incoming::default()
        };
        let mut run = |rulesets: bool, record: &Record| {
            let incoming = match rulesets {
                true => incoming.clone(),
                false => Incoming::default(),
            };
            directory.set_incoming("u0", incoming);
            let mut backtest = Backtest::new(&directory, "u0");
            backtest.push(&Stored {
                mailbox: "INBOX",
                uid: 1,
                date: 0,
                received: true,
                marked: None,
                decided: Some(("id1".into(), "accept".into())),
                record: Some(record),
                header: b"",
                words: &mail("agenda"),
            });
            backtest.finish()
        };
        let record = known();
        let same = run(false, &record);
        assert_eq!((same.with_record, same.uncertain), (1, 0));
        assert!(same.flips.is_empty(), "{:?}", same.flips);
        let moved = run(true, &record);
        assert_eq!((moved.with_record, moved.uncertain), (1, 1));
        assert!(moved.flips.is_empty());
        let why = "what earlier mail for Far of u0 was like".to_owned();
        assert_eq!(moved.unknown, BTreeMap::from([(why, 1)]));
        // Without the message nothing can be decided again but by its content.
        let mut cut = record;
        cut.facts.message = None;
        cut.left_out.message = true;
        let cut = run(false, &cut);
        assert_eq!((cut.judged, cut.with_record), (1, 0));
    }
}
