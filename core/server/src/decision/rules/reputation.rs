//! What earlier mail says.

use super::super::decide::{Reason, Rule, Weight};
use super::super::facts::{Authenticated, Message};
use super::super::history::{History, Past};
use super::{Outcome, Trial, accept, defer, rule};

/// What it came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reputation {
    pub(super) junk: Option<bool>,
    is_conclusive: bool,
    pub(super) method: Option<Reason>,
}

impl Trial<'_> {
    /// D5 to D7.
    pub(super) fn reputation(&mut self, message: &Message) -> Option<Outcome> {
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
