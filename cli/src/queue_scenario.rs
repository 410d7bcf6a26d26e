//! What the world does to outgoing mail in a simulation: the file that `moxctl queue simulate --scenario` reads.

use std::path::Path;
use std::time::Duration;

use mox_queue::{Ending, Outcome};
use serde::Deserialize;

use crate::args::queue::Span;
use crate::failure::Failure;
use crate::files::read_at_most;

/// Octets of a scenario at most.
const SCENARIO_MAX: u64 = 1024 * 1024;
/// Events of one at most.
const EVENTS_MAX: usize = 10_000;

/// What happens to whom, and when. The first event that fits counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "scenario", deny_unknown_fields)]
pub(crate) struct Scenario {
    #[serde(default)]
    events: Vec<Event>,
    /// Of everybody else, and at other times.
    #[serde(default)]
    otherwise: Does,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename = "event", deny_unknown_fields)]
struct Event {
    /// `example.org`, `.example.org` for that and all below it; everybody, where none is named.
    #[serde(default)]
    domain: Option<String>,
    /// What goes by this transport; without it what goes to the servers of its domain.
    #[serde(default)]
    transport: Option<String>,
    /// From now: `90s`, `15m`, `6h`, `2d`.
    #[serde(default)]
    from: Option<Written>,
    #[serde(default)]
    until: Option<Written>,
    does: Does,
    /// How long that takes.
    #[serde(default)]
    takes: Option<Written>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written(Duration);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let span: Result<Span, _> = text.parse();
        span.map(|span| Self(span.0))
            .map_err(serde::de::Error::custom)
    }
}

/// What servers do, or DNS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename = "does", rename_all = "snake_case")]
enum Does {
    /// They answer so.
    Reply(String),
    /// They take connections and say nothing.
    NoAnswer,
    /// They take no connections.
    NoConnection,
    /// Name servers do not answer.
    DnsFails,
    /// The domain does not exist.
    NoDomain,
    /// The domain has no mail server.
    NoHost,
}

impl Default for Does {
    fn default() -> Self {
        Self::Reply("250 2.0.0 taken".into())
    }
}

impl Does {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Reply(text) if text.starts_with('2') => Outcome::Delivered,
            Self::Reply(text) if text.starts_with('5') => Outcome::Permanent,
            Self::Reply(_) | Self::NoAnswer | Self::NoConnection | Self::DnsFails => {
                Outcome::Temporary
            }
            Self::NoDomain => Outcome::NoDomain,
            Self::NoHost => Outcome::NoHost,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Reply(text) => text,
            Self::NoAnswer => "the host did not answer in time",
            Self::NoConnection => "no connection",
            Self::DnsFails => "DNS did not say where the mail goes",
            Self::NoDomain => "the domain does not exist",
            Self::NoHost => "the domain has no mail server",
        }
    }

    /// As long as a server waits for such things (RFC 5321 4.5.3.2).
    const fn takes(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Reply(_) => 2,
            Self::NoAnswer => 300,
            Self::NoConnection | Self::DnsFails => 30,
            Self::NoDomain | Self::NoHost => 1,
        })
    }

    fn check(&self) -> Result<(), String> {
        let Self::Reply(text) = self else {
            return Ok(());
        };
        let mut chars = text.chars();
        let digits: Vec<u32> = chars
            .by_ref()
            .take(3)
            .filter_map(|c| c.to_digit(10))
            .collect();
        let is_reply = matches!(digits[..], [2 | 4 | 5, _, _])
            && chars.next().is_none_or(|c| c == ' ')
            && !text.contains(char::is_control);
        match is_reply {
            true => Ok(()),
            false => Err(format!(
                "{text:?} is no reply; write it like \"421 4.7.0 try again later\""
            )),
        }
    }
}

/// A domain by the name that DNS has; a dot before it stays. What is no name is only brought into lower case.
pub(crate) fn in_a_labels(domain: &str) -> String {
    let (dot, name) = match domain.strip_prefix('.') {
        Some(name) => (".", name),
        None => ("", domain),
    };
    dot.to_owned() + &mox_mailbox::in_a_labels(name)
}

/// A message, as far as events are about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) domain: &'a str,
    pub(crate) transport: &'a str,
    /// The servers of the domain are not asked.
    pub(crate) one_server: bool,
}

impl Scenario {
    /// Reads a file. Blocks.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let octets = read_at_most(path, SCENARIO_MAX)?;
        let text = String::from_utf8(octets);
        let wrong = |why: String| Failure::Failed(format!("{}: {why}", path.display()));
        let text = text.map_err(|_| wrong("is not UTF-8".into()))?;
        Self::parse(&text).map_err(wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let options = ron::Options::default()
            .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        let mut scenario: Self = options.from_str(text).map_err(|e| e.to_string())?;
        if scenario.events.len() > EVENTS_MAX {
            return Err(format!("more than {EVENTS_MAX} events"));
        }
        for event in &mut scenario.events {
            event.domain = event.domain.as_deref().map(in_a_labels);
        }
        let all = scenario.events.iter().map(|event| &event.does);
        all.chain([&scenario.otherwise]).try_for_each(Does::check)?;
        Ok(scenario)
    }

    /// How an attempt of a message ends that begins so long from now, and what is said.
    pub(crate) fn ending(&self, about: About<'_>, at: Duration) -> (Ending, &str) {
        let event = self.events.iter().find(|event| event.fits(about, at));
        let does = event.map_or(&self.otherwise, |event| &event.does);
        let takes = event.and_then(|event| event.takes);
        let ending = Ending {
            outcome: does.outcome(),
            takes: takes.map_or_else(|| does.takes(), |takes| takes.0),
        };
        (ending, does.text())
    }
}

impl Event {
    fn fits(&self, about: About<'_>, at: Duration) -> bool {
        let is_now = self.from.is_none_or(|from| at >= from.0)
            && self.until.is_none_or(|until| at < until.0);
        let is_there = match &self.transport {
            Some(transport) => transport == about.transport,
            // Nobody asks the servers of a domain whose mail goes elsewhere.
            None => !about.one_server || self.domain.is_none(),
        };
        let is_at = |domain: &String| {
            let (name, below) = match domain.strip_prefix('.') {
                Some(name) => (name, true),
                None => (domain.as_str(), false),
            };
            let labels = about.domain.len().checked_sub(name.len());
            let end = labels.and_then(|labels| {
                Some((about.domain.get(..labels)?, about.domain.get(labels..)?))
            });
            end.is_some_and(|(labels, end)| {
                end.eq_ignore_ascii_case(name)
                    && (labels.is_empty() || (below && labels.ends_with('.')))
            })
        };
        is_now && is_there && self.domain.as_ref().is_none_or(is_at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at<'a>(
        scenario: &'a Scenario,
        domain: &str,
        transport: &str,
        hours: u64,
    ) -> (Outcome, &'a str) {
        let about = About {
            domain,
            transport,
            one_server: transport == "provider",
        };
        let (ending, text) = scenario.ending(about, Duration::from_secs(hours * 3_600));
        (ending.outcome, text)
    }

    #[test]
    fn the_first_event_that_fits_counts_for_its_time() {
        let scenario = Scenario::parse(
            r#"(events: [
                (domain: "gmail.com", until: "6h", does: reply("421 4.7.0 try again later")),
                (domain: ".example.net", from: "1h", until: "2h", does: dns_fails, takes: "1m"),
                (transport: "provider", does: no_connection),
                (domain: "gone.example", does: no_domain),
            ])"#,
        )
        .unwrap();
        let taken = (Outcome::Delivered, "250 2.0.0 taken");
        let later = (Outcome::Temporary, "421 4.7.0 try again later");
        assert_eq!(at(&scenario, "Gmail.com", "direct", 0), later);
        assert_eq!(at(&scenario, "gmail.com", "direct", 6), taken);
        assert_eq!(at(&scenario, "mail.gmail.com", "direct", 0), taken);
        assert_eq!(
            at(&scenario, "a.example.net", "direct", 1).0,
            Outcome::Temporary
        );
        assert_eq!(at(&scenario, "an.example.net", "direct", 2), taken);
        assert_eq!(at(&scenario, "example.net", "direct", 0), taken);
        assert_eq!(
            at(&scenario, "gone.example", "direct", 9).0,
            Outcome::NoDomain
        );
        // By a server that takes everything nobody hears of the domain's own.
        assert_eq!(at(&scenario, "gmail.com", "provider", 0).1, "no connection");
    }

    #[test]
    fn what_is_wrong_with_a_scenario_is_said_with_its_place() {
        for (text, why) in [
            (
                r#"(events: [(domain: "x", does: reply("later"))])"#,
                "\"later\" is no reply; write it like",
            ),
            (
                r#"(events: [(domain: "x", until: "6", does: no_host)])"#,
                "not a span of time",
            ),
            (r#"(events: [(domian: "x", does: no_host)])"#, "domian"),
            (r#"(events: [(does: sleeps)])"#, "sleeps"),
        ] {
            let wrong = Scenario::parse(text).unwrap_err();
            assert!(wrong.contains(why), "{wrong}");
        }
        assert_eq!(Scenario::parse("()").unwrap(), Scenario::default());
    }
}
