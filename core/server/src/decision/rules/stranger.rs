//! What is asked of who is not known: a report to bring, a name in SPF, a name for its address.

use super::super::decide::{Reason, Weight};
use super::super::facts::{Authenticated, Message};
use super::{Outcome, Trial, accept, defer};

/// What is said of a client without a name that leads back to it: where that does not count, beside a bad past, and alone.
const NAMELESS: [&str; 3] = [
    "the client has no name that leads back to it, but that is not what counts here",
    "the client has no name that leads back to it, and earlier mail like this was junk",
    "the client has no name that leads back to it",
];
/// The same where name servers did not tell.
const UNTOLD: [&str; 3] = [
    "name servers did not tell the client's name, but that is not what counts here",
    "name servers did not tell the client's name, and earlier mail like this was junk",
    "name servers did not tell whether the client has a name that leads back to it",
];

impl Trial<'_> {
    /// D8: who reports to us is no stranger.
    pub(super) fn report(&mut self, _: &Message) -> Option<Outcome> {
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

    /// D9, but for a message that its author's domain signed: whoever forwards mail is named by nobody's SPF, and RFC 7489 10.1 (and
    /// those that come after it) would have SPF alone refuse nothing that DMARC lets pass.
    pub(super) fn spf(&mut self, message: &Message) -> Option<Outcome> {
        let spf = &message.spf;
        let evidence = vec![
            ("result", spf.result.clone()),
            ("domain", spf.subject.clone()),
        ];
        let is_bad = matches!(spf.result.as_str(), "fail" | "softfail");
        let is_forward = self.recipient.settings.is_forward;
        let is_stranger = self.is_stranger(message);
        // It cannot be by SPF then.
        let is_proved = message.author != Authenticated::No;
        if is_bad && self.facts.sender.is_empty() && !is_forward {
            // A notification comes from whatever host has something to tell, and cannot be sent again by another.
            let because = "there is no sender, and the name that the client gave does not name it";
            self.note("spf", evidence, Weight::Against, because);
            self.suspicious.push(because);
            return None;
        }
        if is_bad && is_stranger && !is_proved && !is_forward {
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
            "fail" | "softfail" if is_stranger => (
                Weight::Against,
                "the sender's domain does not name the client, but the author's vouches for the message, as when somebody forwards it",
            ),
            "fail" | "softfail" => (
                Weight::Against,
                "the sender's domain does not name the client, but the author is known",
            ),
            "temperror" => (
                Weight::Silent,
                "name servers did not tell what the sender's domain says",
            ),
            "permerror" => (
                Weight::Silent,
                "what the sender's domain says of its clients (SPF) cannot be used",
            ),
            "none" if spf.subject.is_empty() => (Weight::Silent, "there is no domain to ask"),
            _ => (Weight::Silent, "the sender's domain does not say"),
        };
        if is_bad && !is_forward && !is_proved {
            self.suspicious.push(because);
        }
        self.note("spf", evidence, weight, because);
        None
    }

    /// D10.
    pub(super) fn iprev(&mut self, message: &Message) -> Option<Outcome> {
        let evidence = vec![
            ("result", message.iprev.result.clone()),
            ("name", message.iprev.subject.clone()),
        ];
        if message.iprev.result == "pass" {
            let because = "the name of the client's address leads back to it";
            self.note("iprev", evidence, Weight::For, because);
            return None;
        }
        let [elsewhere, with_past, alone] = match message.iprev.result.as_str() {
            "temperror" => UNTOLD,
            _ => NAMELESS,
        };
        if !self.is_stranger(message) || self.recipient.settings.is_forward {
            self.note("iprev", evidence, Weight::Silent, elsewhere);
            return None;
        }
        if self.reputation.junk == Some(true) {
            let because = with_past;
            self.note("iprev", evidence, Weight::Decides, because);
            return Some(defer(Reason::Iprev));
        }
        self.note("iprev", evidence, Weight::Against, alone);
        self.suspicious.push(alone);
        None
    }
}
