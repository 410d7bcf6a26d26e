//! The rules in their order: transport.md 2.2, with the improvements listed in docs/receiving.md. The first that decides does.

use super::decide::{Decision, Reason, Rule, Verdict, Weight};
use super::facts::{Authenticated, Facts, Message, Quarantine, Recipient, Stage, Standing, Token};
use super::history::{History, Past};
use super::text;

/// How far above the threshold content may be for a token to be offered.
const TOKEN_ABOVE: f64 = 0.2;

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

/// What earlier mail says.
#[derive(Debug, Clone, Copy, Default)]
struct Reputation {
    junk: Option<bool>,
    is_conclusive: bool,
    method: Option<Reason>,
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

    /// A reverse-path that nobody could answer: transport.md 1.10.
    fn sender(&mut self) -> Option<Outcome> {
        let sender = &self.facts.sender;
        let evidence = vec![("sender", sender.clone())];
        if let Some(why) = &self.facts.sender_unreachable {
            let code = match sender.ends_with(']') {
                true => (550, 7, 0),
                false => (550, 7, 27),
            };
            self.note("sender", evidence, Weight::Decides, why);
            let reason = Reason::SenderUnreachable;
            return Some(refuse(reason, code, text::SENDER_UNREACHABLE));
        }
        if self.facts.stage != Stage::SenderUnsure {
            return None;
        }
        let because = "name servers did not tell where mail for the sender's domain goes";
        self.note("sender", evidence, Weight::Decides, because);
        Some(Outcome {
            code: (451, 4, 0),
            text: text::SENDER_UNSURE.into(),
            ..defer(Reason::SenderUnsure)
        })
    }

    /// What was sent can be taken for nobody: RFC 5321 4.5.3.1.7, 2.3.8, RFC 5322 2.2.
    fn unfit(&mut self) -> Option<Outcome> {
        let (reason, code, because, said) = match self.recipient.standing {
            Standing::TooBig => (
                Reason::TooBig,
                (552, 3, 4),
                "it is larger than any message may be",
                text::TOO_BIG,
            ),
            Standing::BareLineEnd => (
                Reason::BareLineEnd,
                (550, 5, 2),
                "a line in it ends in bare LF, or holds a bare CR",
                text::BARE_LINE_END,
            ),
            Standing::Nul => (Reason::Nul, (554, 6, 0), "it has a NUL", text::NUL),
            Standing::NoRoom => {
                let because = "there was no room on the disk, or too much was under way";
                self.note("message", Vec::new(), Weight::Decides, because);
                return Some(Outcome {
                    code: (452, 3, 1),
                    text: text::NO_ROOM.into(),
                    ..defer(Reason::NoRoom)
                });
            }
            _ => return None,
        };
        self.note("message", Vec::new(), Weight::Decides, because);
        Some(refuse(reason, code, said))
    }

    /// transport.md 1.11.
    fn standing(&mut self) -> Option<Outcome> {
        let evidence = vec![("recipient", self.recipient.address.clone())];
        let (verdict, reason, code, why, text) = match self.recipient.standing {
            // Unfit ones do not come here.
            Standing::Known
            | Standing::TooBig
            | Standing::BareLineEnd
            | Standing::Nul
            | Standing::NoRoom => {
                let because = "the address is an account's";
                self.note("recipient", evidence, Weight::For, because);
                return None;
            }
            Standing::UnknownLocalPart => (
                Verdict::Refuse,
                Reason::UnknownRecipient,
                (550, 1, 1),
                "nobody has this address",
                text::UNKNOWN_RECIPIENT,
            ),
            Standing::NotOurs => (
                Verdict::Refuse,
                Reason::NotOurs,
                (550, 7, 1),
                "the domain is not one of ours",
                text::NOT_OURS,
            ),
            // RFC 3207 4.
            Standing::LacksTls => (
                Verdict::Refuse,
                Reason::TlsRequired,
                (530, 7, 0),
                "mail is taken after STARTTLS only, but for reports about TLS",
                text::TLS_REQUIRED,
            ),
            Standing::Unreachable => (
                Verdict::Defer,
                Reason::AccountUnreachable,
                (451, 3, 0),
                "the account is not there yet",
                text::ACCOUNT_UNREACHABLE,
            ),
        };
        self.note("recipient", evidence, Weight::Decides, why);
        Some(Outcome {
            verdict,
            reason,
            code,
            text: text.into(),
        })
    }

    /// RFC 5321 6.3, RFC 9228.
    fn loops(&mut self, message: &Message) -> Option<Outcome> {
        let why = message.loops.as_deref();
        let why = why.or(self.recipient.loops.as_deref())?;
        self.note("loop", Vec::new(), Weight::Decides, why);
        Some(refuse(Reason::Loop, (550, 4, 6), why))
    }

    /// D1: mail of a list is taken, whatever else is wrong with it.
    fn list_allow(&mut self, message: &Message) -> Option<Outcome> {
        let list = self.recipient.settings.list_allow.clone()?;
        let vouches = message.vouching().any(|domain| same(domain, &list));
        let evidence = vec![
            ("list", list),
            ("vouching", message.vouching().collect::<Vec<_>>().join(" ")),
        ];
        if !vouches {
            let because = "the list's domain does not vouch for the message";
            self.note("list-allow", evidence, Weight::Silent, because);
            return None;
        }
        let because = "a ruleset takes all that this list's domain vouches for";
        self.note("list-allow", evidence, Weight::Decides, because);
        Some(accept(Reason::ListAllow))
    }

    /// S-04: a message without an author cannot be exempt from its author's policy.
    fn author(&mut self, message: &Message) -> Option<Outcome> {
        let evidence = vec![("from", message.authors.join(" "))];
        if message.dmarc.result != "permerror" {
            let because = "the authors can be read";
            self.note("author", evidence, Weight::For, because);
            return None;
        }
        let problem = message.dmarc.problem.as_deref();
        let because = problem.unwrap_or("there is no author that can be read");
        self.note("author", evidence, Weight::Decides, because);
        Some(refuse(Reason::NoAuthor, (550, 7, 1), text::NO_AUTHOR))
    }

    /// D2, with quarantine as what it says. Of what is forwarded it decides nothing: SPF is the forwarder's there, and a signature is
    /// broken by what the forwarder adds. The user said so, and whoever vouches for the message is that forwarder.
    fn dmarc(&mut self, message: &Message) -> Option<Outcome> {
        let dmarc = &message.dmarc;
        let evidence = vec![
            ("result", dmarc.result.clone()),
            ("disposition", dmarc.disposition.clone()),
            ("record", dmarc.policy_domain.clone().unwrap_or_default()),
        ];
        let quarantine = self.recipient.settings.quarantine;
        let is_wish = matches!(
            dmarc.disposition.as_str(),
            "reject" | "quarantine" | "defer"
        );
        if is_wish && self.recipient.settings.is_forward {
            let because = "the author's domain does not vouch for the message, which may be since somebody forwards it";
            self.note("dmarc", evidence, Weight::Against, because);
            self.suspicious.push(because);
            return None;
        }
        let by_policy = || refuse(Reason::DmarcPolicy, (550, 7, 26), text::DMARC_POLICY);
        let (weight, because, outcome) = match (dmarc.disposition.as_str(), quarantine) {
            ("reject", _) => (
                Weight::Decides,
                "the author's domain does not vouch for the message, and wants such mail refused",
                Some(by_policy()),
            ),
            ("quarantine", Quarantine::Refuse) => (
                Weight::Decides,
                "the author's domain does not vouch for the message, and wants such mail put aside, which the account has refused",
                Some(by_policy()),
            ),
            ("quarantine", Quarantine::Junk) => (
                Weight::Decides,
                "the author's domain does not vouch for the message, and wants such mail put aside",
                Some(junk(Reason::DmarcQuarantine)),
            ),
            ("defer", _) => (
                Weight::Decides,
                "name servers did not tell whether the author's domain vouches for the message, and it has a policy",
                Some(defer(Reason::DmarcUnknown)),
            ),
            _ => match dmarc.result.as_str() {
                "pass" => (
                    Weight::For,
                    "the author's domain vouches for the message",
                    None,
                ),
                "fail" => (
                    Weight::Against,
                    "the author's domain does not vouch for the message, and wants nothing done",
                    None,
                ),
                "temperror" => (Weight::Silent, "name servers did not answer", None),
                _ => (Weight::Silent, "the author's domain has no policy", None),
            },
        };
        self.note("dmarc", evidence, weight, because);
        outcome
    }

    /// D5 to D7.
    fn reputation(&mut self, message: &Message) -> Option<Outcome> {
        let history = &self.recipient.history;
        if history.failed {
            let because = "what earlier mail was like cannot be read now";
            self.note("reputation", Vec::new(), Weight::Decides, because);
            return Some(defer(Reason::ReputationError));
        }
        let proved = message.author != Authenticated::No;
        let is_forward = self.recipient.settings.is_forward;
        let mut steps = Vec::new();
        let found = levels(history, proved, is_forward, &mut steps).unwrap_or_default();
        self.reputation = found;
        let method = found.method.map_or("none", Reason::name);
        let evidence = vec![
            ("method", method.to_owned()),
            ("author proved", proved.to_string()),
        ];
        let (weight, because, outcome) = match (found.junk, found.is_conclusive, found.method) {
            (Some(false), true, Some(reason)) => (
                Weight::Decides,
                "earlier mail like this was wanted",
                Some(accept(reason)),
            ),
            (Some(true), true, Some(reason)) => (
                Weight::Decides,
                "earlier mail like this was junk",
                Some(defer(reason)),
            ),
            (Some(true), ..) => (
                Weight::Against,
                "earlier mail like this was junk, but not enough of it",
                None,
            ),
            (Some(false), ..) => (
                Weight::For,
                "earlier mail like this was wanted, but not enough of it",
                None,
            ),
            (None, _, None) => (Weight::Silent, "there was no mail like this before", None),
            (None, ..) => (Weight::Silent, "earlier mail like this was both", None),
        };
        let mut rule = rule("reputation", evidence, weight, because);
        rule.steps = steps;
        self.rules.push(rule);
        // whoever wrote before with proof and now writes without is no junk, but not who it seems either. Of whoever never
        // gave one nothing else is to be expected.
        let by_proved = found.method == Some(Reason::Msgfromfull) && history.author.count() == 0;
        if by_proved && !proved && outcome.is_none() {
            self.suspicious
                .push("earlier mail of this author was proved, and this is not");
        }
        if history.wrote_to_any() && !proved && outcome.is_none() {
            self.suspicious
                .push("the user has written there, and nothing proves that it comes from there");
        }
        outcome
    }

    /// D8: who reports to us is no stranger.
    fn report(&mut self, _: &Message) -> Option<Outcome> {
        let report = self.recipient.report.as_ref()?;
        let evidence = vec![
            ("kind", report.kind.name().to_owned()),
            ("domains", report.domains.clone()),
            ("report", report.report_id.clone()),
        ];
        if let Some(problem) = report.problem.clone() {
            self.note("report", evidence, Weight::Silent, &problem);
            return None;
        }
        let because = "it brings a report about a domain of ours, which its author vouches for";
        self.note("report", evidence, Weight::Decides, because);
        Some(accept(Reason::Reporting))
    }

    /// The sender is not known in person: transport.md 2.2, D9 and D10. Without a proof nobody is known as one of a domain's, and
    /// as the author only who was not junk: anybody can write such names into From.
    fn is_stranger(&self, message: &Message) -> bool {
        let proved = message.author != Authenticated::No;
        match self.reputation.method {
            None | Some(Reason::Dkimspf | Reason::Ip1 | Reason::Ip2 | Reason::Ip3) => true,
            Some(Reason::Msgfromfull) => !proved && self.reputation.junk == Some(true),
            _ => !proved,
        }
    }

    /// D9.
    fn spf(&mut self, message: &Message) -> Option<Outcome> {
        let spf = &message.spf;
        let evidence = vec![
            ("result", spf.result.clone()),
            ("domain", spf.subject.clone()),
        ];
        let is_bad = matches!(spf.result.as_str(), "fail" | "softfail");
        let is_forward = self.recipient.settings.is_forward;
        let is_stranger = self.is_stranger(message);
        if is_bad && self.facts.sender.is_empty() && !is_forward {
            // A notification comes from whatever host has something to tell, and cannot be sent again by another.
            let because = "there is no sender, and the name that the client gave does not name it";
            self.note("spf", evidence, Weight::Against, because);
            self.suspicious.push(because);
            return None;
        }
        if is_bad && is_stranger && !is_forward {
            let because = "nothing is known of the sender, and its domain does not name the client";
            self.note("spf", evidence, Weight::Decides, because);
            return Some(defer(Reason::SpfPolicy));
        }
        let (weight, because) = match spf.result.as_str() {
            "pass" => (Weight::For, "the sender's domain names the client"),
            "fail" | "softfail" if is_forward => (
                Weight::Silent,
                "somebody forwards this, so the client is not the sender's",
            ),
            "fail" | "softfail" => (
                Weight::Against,
                "the sender's domain does not name the client, but the author is known",
            ),
            _ => (Weight::Silent, "the sender's domain does not say"),
        };
        if is_bad && !is_forward && message.author == Authenticated::No {
            self.suspicious.push(because);
        }
        self.note("spf", evidence, weight, because);
        None
    }

    /// D10.
    fn iprev(&mut self, message: &Message) -> Option<Outcome> {
        let evidence = vec![
            ("result", message.iprev.result.clone()),
            ("name", message.iprev.subject.clone()),
        ];
        if message.iprev.result == "pass" {
            let because = "the name of the client's address leads back to it";
            self.note("iprev", evidence, Weight::For, because);
            return None;
        }
        if !self.is_stranger(message) || self.recipient.settings.is_forward {
            let because = "the client has no name, but that is not what counts here";
            self.note("iprev", evidence, Weight::Silent, because);
            return None;
        }
        if self.reputation.junk == Some(true) {
            let because =
                "the client has no name that leads back to it, and earlier mail like this was junk";
            self.note("iprev", evidence, Weight::Decides, because);
            return Some(defer(Reason::Iprev));
        }
        let because = "the client has no name that leads back to it";
        self.note("iprev", evidence, Weight::Against, because);
        self.suspicious.push(because);
        None
    }

    /// D11.
    fn token(&mut self, _: &Message) -> Option<Outcome> {
        if !self.recipient.settings.subject_token {
            return None;
        }
        let (weight, because, outcome) = match &self.recipient.token {
            Token::Absent => (Weight::Silent, "the Subject has no token of ours", None),
            Token::Invalid(why) => (Weight::Silent, why.as_str(), None),
            Token::Valid => (
                Weight::Decides,
                "the Subject has a token that we gave this author",
                Some(accept(Reason::Subjectpass)),
            ),
        };
        self.note("subject-token", Vec::new(), weight, because);
        outcome
    }

    /// D12 and D13: what is found here is weighed with the lists.
    fn content(&mut self, _: &Message) -> Option<Outcome> {
        let Some(content) = &self.recipient.content else {
            let because = "there is no junk filter";
            self.note(CONTENT, Vec::new(), Weight::Silent, because);
            return None;
        };
        if let Some(problem) = &content.problem {
            // J-14: that nothing can be said refuses nothing.
            let evidence = vec![("problem", problem.clone())];
            let because = "what the junk filter says cannot be known now";
            self.note(CONTENT, evidence, Weight::Silent, because);
            return None;
        }
        self.wishes();
        let settings = &self.recipient.settings;
        let is_strict =
            !self.suspicious.is_empty() && settings.junk_threshold > settings.strict_threshold;
        let threshold = match is_strict {
            true => settings.strict_threshold,
            false => settings.junk_threshold,
        };
        let mut evidence = vec![
            ("probability", format!("{:.4}", content.probability)),
            ("threshold", format!("{threshold:.4}")),
        ];
        evidence.extend(self.suspicious.iter().map(|why| ("strict", (*why).into())));
        evidence.extend(content.evidence());
        // A filter that says nothing sure must not refuse anything (A-04, J-14).
        let (weight, because) = match content.probability <= threshold {
            _ if !content.is_significant || content.probability.is_nan() => (
                Weight::Silent,
                "the junk filter has not learned enough to say",
            ),
            true => (Weight::For, "the content is not like junk"),
            false => {
                let reason = match is_strict {
                    true => Reason::JunkContentStrict,
                    false => Reason::JunkContent,
                };
                self.too_junky = Some((content.probability, threshold, reason));
                (Weight::Against, "the content is like junk")
            }
        };
        self.note(CONTENT, evidence, weight, because);
        None
    }

    /// what an account finds suspicious that says nothing of the sender.
    fn wishes(&mut self) {
        let strict = self.recipient.strict;
        // Whoever forwards it came as he does, for whom it was is in what he got.
        if self.recipient.settings.is_forward {
            return;
        }
        if strict.without_tls && !self.facts.connection.tls {
            self.suspicious.push("the session is in clear");
        }
        if strict.unless_named && strict.is_named == Some(false) {
            self.suspicious
                .push("neither To nor Cc names the recipient");
        }
    }

    /// D14: lists count only for what is acceptable so far.
    fn dnsbl(&mut self, message: &Message) -> Option<Outcome> {
        // Without a trace in the record: nobody needs to ask lists about a forwarder.
        if self.too_junky.is_some() || self.recipient.settings.is_forward {
            return None;
        }
        let listing = message.listings.iter().find(|listing| listing.listed);
        let evidence = message
            .listings
            .iter()
            .map(|l| {
                let said = l.text.clone().unwrap_or_default();
                let on = if l.listed { "listed" } else { "not listed" };
                (
                    l.zone.as_str(),
                    format!("{on} {said}").trim_end().to_owned(),
                )
            })
            .collect::<Vec<_>>();
        let (weight, because) = match (listing, message.listings.is_empty()) {
            (Some(_), _) => (Weight::Against, "the client's address is on a list"),
            (None, true) => (Weight::Silent, "no list was asked"),
            (None, false) => (Weight::For, "the client's address is on no list"),
        };
        self.listed = listing.map(|listing| listing.zone.clone());
        self.note(DNSBL, evidence, weight, because);
        None
    }

    /// D15 to D17.
    fn offer(&mut self, message: &Message) -> Option<Outcome> {
        let reason = match (&self.too_junky, &self.listed) {
            (None, None) => return None,
            (Some((_, _, reason)), _) => *reason,
            (None, Some(_)) => Reason::DnsBlocklisted,
        };
        let is_near = match self.too_junky {
            Some((probability, threshold, _)) => probability < threshold + TOKEN_ABOVE,
            None => true,
        };
        let may_be_offered = self.recipient.settings.subject_token
            && message.dmarc.result == "pass"
            && self.reputation.method.is_none()
            && is_near;
        if may_be_offered && let Some(offer) = &self.recipient.offer {
            let because =
                "an author whose domain vouches for the message may try again with a token";
            self.note("offer", Vec::new(), Weight::Decides, because);
            let text = format!("{} {offer}", text::GIVE_TOKEN);
            return Some(refuse(Reason::GiveSubjectpass, (550, 7, 1), &text));
        }
        let because = match reason {
            Reason::DnsBlocklisted => "nothing outweighs the list",
            _ => "nothing outweighs the content",
        };
        self.note("offer", Vec::new(), Weight::Decides, because);
        Some(defer(reason))
    }
}

type Steps = Vec<Rule>;

/// R1 to R12 of transport.md 2.5: the first level on which there is something says what it is.
fn levels(
    history: &History,
    proved: bool,
    is_forward: bool,
    steps: &mut Steps,
) -> Option<Reputation> {
    let found = |junk, is_conclusive, method| Reputation {
        junk,
        is_conclusive,
        method: Some(method),
    };
    if look(steps, "from this author", history.author) {
        return Some(found(
            Some(history.author.is_junk()),
            proved,
            Reason::Msgfromfull,
        ));
    }
    if !proved && look(steps, "from this author, proved", history.author_proved) {
        let is_junk = history.author_proved.is_junk();
        return Some(found(is_junk.then_some(true), is_junk, Reason::Msgfromfull));
    }
    if wrote(steps, "to this author", history.wrote_to_author, proved) {
        return Some(found(Some(false), true, Reason::Msgtofull));
    }
    let wide = [
        (
            [
                "from this domain",
                "from this domain, proved",
                "to this domain",
            ],
            history.domain,
            history.domain_proved,
            history.wrote_to_domain,
            [Reason::Msgfromdomain, Reason::Msgtodomain],
        ),
        (
            [
                "from this organization",
                "from this organization, proved",
                "to this organization",
            ],
            history.organization,
            history.organization_proved,
            history.wrote_to_organization,
            [Reason::Msgfromorgdomain, Reason::Msgtoorgdomain],
        ),
    ];
    for ([from, from_proved, to], past, past_proved, wrote_to, [of_from, of_to]) in wide {
        if look(steps, from, past) {
            // transport.md 2.5, R4: more than 80 of 100.
            let share = u64::from(past.ham) * 100 / u64::from(past.count());
            return Some(match (share > 80, past.ham) {
                // Without a proof it opens no door: anybody can write the domain into From.
                (true, _) => found(Some(false), proved, of_from),
                (false, 0) => found(Some(true), past.local_parts >= 3, of_from),
                (false, _) => found(None, false, of_from),
            });
        }
        if !proved && look(steps, from_proved, past_proved) {
            let is_junk = past_proved.is_junk();
            return Some(found(is_junk.then_some(true), is_junk, of_from));
        }
        if wrote(steps, to, wrote_to, proved) {
            return Some(found(Some(false), true, of_to));
        }
    }
    if let Some(signals) = signals(history, is_forward, steps) {
        return Some(signals);
    }
    // Of whoever forwards it tells nothing.
    if is_forward {
        return None;
    }
    let nearby = [
        ("from this address", history.ip1, 2, Reason::Ip1),
        ("from addresses nearby", history.ip2, 5, Reason::Ip2),
        ("from addresses around", history.ip3, 10, Reason::Ip3),
    ];
    for (name, past, need, method) in nearby {
        look(steps, name, past);
        let Some(fraction) = past.fraction() else {
            continue;
        };
        let junk = match fraction {
            f if f < 0.25 => Some(false),
            f if f > 0.75 => Some(true),
            _ => None,
        };
        let is_clear = fraction <= 0.1 || fraction >= 0.9;
        return Some(found(junk, past.count() >= need && is_clear, method));
    }
    None
}

/// Notes one level, and whether there is anything on it.
fn look(steps: &mut Steps, name: &str, past: Past) -> bool {
    let is_there = past.count() > 0;
    steps.push(match is_there {
        true => rule(
            name,
            vec![("past", past.to_string())],
            Weight::Decides,
            "this is the nearest that is known",
        ),
        false => rule(name, Vec::new(), Weight::Silent, "nothing is known"),
    });
    is_there
}

/// Notes whether the user has written there, and whether that decides: anybody may write a name into From, and names of those
/// one writes to are no secret.
fn wrote(steps: &mut Steps, name: &str, yes: bool, proved: bool) -> bool {
    let (weight, because) = match (yes, proved) {
        (true, true) => (Weight::Decides, "the user has written there"),
        (true, false) => (
            Weight::Against,
            "the user has written there, and nothing proves that it comes from there",
        ),
        (false, _) => (Weight::Silent, "the user never wrote there"),
    };
    steps.push(rule(name, Vec::new(), weight, because));
    yes && proved
}

/// R10: those who vouch for the message.
fn signals(history: &History, is_forward: bool, steps: &mut Steps) -> Option<Reputation> {
    let of_spf = (!is_forward).then_some(("SPF", history.spf));
    let of_dkim = history
        .signed
        .iter()
        .map(|(domain, past)| (domain.as_str(), *past));
    let (mut ham, mut junk, mut most, mut any) = (0, 0, 0, false);
    for (name, past) in of_dkim.chain(of_spf) {
        let Some(fraction) = past.fraction() else {
            continue;
        };
        any = true;
        let (weight, because) = match fraction {
            f if f < 0.1 => {
                ham += 1;
                (Weight::For, "mail it vouched for was wanted")
            }
            f if f > 0.9 => {
                junk += 1;
                (Weight::Against, "mail it vouched for was junk")
            }
            _ => (Weight::Silent, "mail it vouched for was both"),
        };
        // the most, whoever has it.
        most = most.max(past.count());
        let name = format!("vouched for by {name}");
        let evidence = vec![("past", past.to_string())];
        steps.push(rule(&name, evidence, weight, because));
    }
    if !any {
        steps.push(rule(
            "vouched for",
            Vec::new(),
            Weight::Silent,
            "nothing is known of those who vouch for the message",
        ));
        return None;
    }
    let (junk, is_conclusive) = match (ham > 0, junk > 0) {
        (true, false) => (Some(false), true),
        (false, true) => (Some(true), most > 1),
        _ => (None, false),
    };
    Some(Reputation {
        junk,
        is_conclusive,
        method: Some(Reason::Dkimspf),
    })
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
