//! Who vouches for the message, and what its author's domain wants.

use super::super::decide::{Reason, Weight};
use super::super::facts::{Message, Quarantine};
use super::super::text;
use super::{Outcome, Trial, accept, defer, junk, refuse, same};

impl Trial<'_> {
    /// D1: mail of a list is taken, whatever else is wrong with it.
    pub(super) fn list_allow(&mut self, message: &Message) -> Option<Outcome> {
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
    pub(super) fn author(&mut self, message: &Message) -> Option<Outcome> {
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
    pub(super) fn dmarc(&mut self, message: &Message) -> Option<Outcome> {
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
                "temperror" => (
                    Weight::Silent,
                    "name servers did not tell whether the author's domain has a policy, or vouches for the message",
                    None,
                ),
                _ => (Weight::Silent, "the author's domain has no policy", None),
            },
        };
        self.note("dmarc", evidence, weight, because);
        outcome
    }
}
