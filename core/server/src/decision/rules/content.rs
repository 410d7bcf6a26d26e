//! What the message says, what lists say of its client, and the token that outweighs both.

use super::super::decide::{Reason, Weight};
use super::super::facts::{Message, Token};
use super::super::text;
use super::{CONTENT, DNSBL, Outcome, Trial, accept, defer, refuse};

/// How far above the threshold content may be for a token to be offered.
const TOKEN_ABOVE: f64 = 0.2;

impl Trial<'_> {
    /// D11.
    pub(super) fn token(&mut self, _: &Message) -> Option<Outcome> {
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
    pub(super) fn content(&mut self, _: &Message) -> Option<Outcome> {
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
    pub(super) fn dnsbl(&mut self, message: &Message) -> Option<Outcome> {
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
    pub(super) fn offer(&mut self, message: &Message) -> Option<Outcome> {
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
