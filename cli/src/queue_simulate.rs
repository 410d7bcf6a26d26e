//! `moxctl queue simulate`: what would become of the queue, in a time that passes at once.
//!
//! The rows are those of the server, the plan and the scheduler those that it runs; only what other servers say comes from a file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use mox_machine::{Rfc3339, Seed, Utc};
use mox_queue::{
    Failure as GivenUp, Limits, Next, NextHop, Outcome, Step, Times, Waiting, What, rehearse,
};
use serde::Serialize;

use crate::args::queue::Simulate;
use crate::ctl::{self, Command, QueueItem, QueueRules};
use crate::failure::Failure;
use crate::printable::printable;
use crate::queue;
use crate::queue_scenario::{About, Scenario, in_a_labels};
use crate::timestamp;

/// Hours that are simulated at most.
const HOURS_MAX: u32 = 720;
/// Things that happen at most; the rest is not looked at.
const STEPS_MAX: usize = 500_000;

pub(crate) fn run(socket: &Path, command: &Simulate) -> Result<(), Failure> {
    if !(1..=HOURS_MAX).contains(&command.hours) {
        return Err(Failure::Usage(format!(
            "{} hours cannot be simulated; use 1 to {HOURS_MAX}",
            command.hours
        )));
    }
    let scenario = match &command.scenario {
        Some(path) => Scenario::read(path)?,
        None => Scenario::default(),
    };
    let rules: QueueRules = ctl::ask(socket, &Command::QueueRules)?;
    let items = queue::everything(socket)?;
    let from = timestamp::now();
    let until = from + Duration::from_secs(u64::from(command.hours) * 3_600);
    let told = simulate(&items, &scenario, rules, (from, until), command.seed);
    let text = match command.json {
        true => serde_json::to_string_pretty(&told)
            .map_err(|e| Failure::Failed(format!("this cannot be written as JSON: {e}")))?,
        false => told.in_words(),
    };
    drop(io::stdout().write_all((text + "\n").as_bytes()));
    Ok(())
}

/// What would happen.
#[derive(Debug, Serialize)]
struct Told<'a> {
    from: String,
    until: String,
    /// By what it was worked at.
    by: By,
    steps: Vec<ToldStep<'a>>,
    summary: Summary,
}

/// What `queue` of the server's configuration comes to.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct By {
    attempts: usize,
    per_domain: usize,
    per_transport: usize,
    lifetime_hours: u64,
    delay_notice_hours: u64,
}

impl From<&QueueRules> for By {
    fn from(rules: &QueueRules) -> Self {
        let (limits, plan) = (&rules.limits, &rules.plan);
        Self {
            attempts: limits.total,
            per_domain: limits.per_domain,
            per_transport: limits.per_transport,
            lifetime_hours: plan.lifetime.as_secs() / 3_600,
            delay_notice_hours: plan.delay_notice_after.as_secs() / 3_600,
        }
    }
}

/// One thing: there may be a hundred of an entry with many recipients.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ToldStep<'a> {
    /// RFC 3339.
    at: String,
    /// The entry's number.
    id: u64,
    from: &'a str,
    to: &'a [String],
    /// `tried`, `delivered`, `deferred`, `failed`, `delay_told` or `failure_told`.
    what: &'static str,
    /// The number of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// What was said, or why.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    /// When it is tried again, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    attempts: u64,
    delivered: u64,
    failed: u64,
    /// Still in the queue at the end.
    waiting: u64,
    /// Not tried at all, being held.
    held: u64,
    delay_notices: u64,
    failure_notices: u64,
    /// More happens than was looked at.
    cut: bool,
}

/// A row's moment.
fn moment(text: &str) -> Utc {
    Rfc3339::parse(text).map_or_else(Utc::default, |moment| moment.utc)
}

/// Where it goes, by the name that DNS has.
fn domain(item: &QueueItem) -> String {
    let to = item.to.first().and_then(|to| to.rsplit_once('@'));
    to.map(|(_, domain)| in_a_labels(domain))
        .unwrap_or_default()
}

fn waiting(item: &QueueItem, owner: u64) -> Waiting {
    let release = item.release.as_deref().map(moment);
    let (accepted, next) = (moment(&item.queued), moment(&item.next));
    // A server of an earlier version does not say it.
    let queued = match item.since.as_str() {
        "" => release.map_or(accepted, |at| at.max(accepted)),
        since => moment(since),
    };
    Waiting {
        id: item.id,
        owner,
        hop: match item.one_server {
            true => NextHop::Transport(item.transport.as_str().into()),
            false => NextHop::Domain(domain(item).into()),
        },
        times: Times {
            queued,
            attempts: item.attempts,
            delay_notified: item.delay_told,
        },
        next_attempt: release.map_or(next, |at| at.max(next)),
    }
}

fn simulate<'a>(
    items: &'a [QueueItem],
    scenario: &'a Scenario,
    rules: QueueRules,
    (from, until): (Utc, Utc),
    seed: u64,
) -> Told<'a> {
    let by = By::from(&rules);
    let by_id: BTreeMap<u64, &QueueItem> = items.iter().map(|item| (item.id, item)).collect();
    // Accounts by number; the server itself has 0.
    let names: BTreeSet<&String> = items.iter().filter_map(|i| i.account.as_ref()).collect();
    let owners: BTreeMap<&String, u64> = names.into_iter().zip(1..).collect();
    let owner = |item: &QueueItem| {
        let account = item.account.as_ref();
        account.and_then(|name| owners.get(name).copied())
    };
    let rows = items.iter().filter(|item| !item.hold);
    let rows = rows.map(|item| waiting(item, owner(item).unwrap_or(0)));
    let rows: Vec<Waiting> = rows.collect();
    // What is said to each attempt of each message.
    let mut said: BTreeMap<u64, VecDeque<&str>> = BTreeMap::new();
    let tried = rows.len();
    // A long hold is not a clock that was wrong: here none is.
    let limits = Limits {
        longest_wait: until_far(),
        ..rules.limits
    };
    let mut ends = |id: u64, at: Utc| {
        let item = by_id.get(&id);
        let domain = item.map(|item| domain(item)).unwrap_or_default();
        let about = item.map(|item| About {
            domain: &domain,
            transport: &item.transport,
            one_server: item.one_server,
        });
        let about = about.unwrap_or(About {
            domain: "",
            transport: "",
            one_server: false,
        });
        let since = u64::try_from(at.0.saturating_sub(from.0)).unwrap_or(0);
        let (ending, text) = scenario.ending(about, Duration::from_micros(since));
        said.entry(id).or_default().push_back(text);
        ending
    };
    let seed = Seed::from_number(seed);
    let (steps, is_whole) = rehearse(
        &rules.plan,
        &limits,
        rows,
        (from, until),
        &seed,
        STEPS_MAX,
        &mut ends,
    );
    let mut summary = Summary {
        held: (items.len() - tried) as u64,
        cut: !is_whole,
        ..Summary::default()
    };
    let mut told = Vec::new();
    for step in steps {
        let Some(item) = by_id.get(&step.id) else {
            continue;
        };
        let text = match step.what {
            What::Ended { .. } => said.get_mut(&step.id).and_then(VecDeque::pop_front),
            What::Tried(_) | What::DelayTold => None,
        };
        let text = text.unwrap_or_default();
        tell(&mut told, &mut summary, step, item, text);
    }
    summary.waiting = tried as u64 - summary.delivered - summary.failed;
    Told {
        from: from.to_string(),
        until: until.to_string(),
        by,
        steps: told,
        summary,
    }
}

/// Longer than anything is held back.
const fn until_far() -> Duration {
    Duration::from_secs(10 * 365 * 86_400)
}

fn tell<'a>(
    all: &mut Vec<ToldStep<'a>>,
    summary: &mut Summary,
    step: Step,
    item: &'a QueueItem,
    text: &'a str,
) {
    let mut push = |what, attempt, text: Option<Cow<'a, str>>, next: Option<Utc>| {
        all.push(ToldStep {
            at: step.at.to_string(),
            id: step.id,
            from: &item.from,
            to: &item.to,
            what,
            attempt,
            text,
            next: next.map(|at| at.to_string()),
        });
    };
    // Of a notification nobody is told (RFC 5321 4.5.5), nor who has no account here.
    let is_told = !item.from.is_empty() && item.account.is_some();
    match step.what {
        What::Tried(attempt) => {
            summary.attempts += 1;
            push("tried", Some(attempt), None, None);
        }
        What::DelayTold if is_told => {
            summary.delay_notices += 1;
            push("delay_told", None, None, None);
        }
        What::DelayTold => {}
        What::Ended { outcome, next } => match next {
            Next::Done => {
                summary.delivered += 1;
                push("delivered", None, Some(text.into()), None);
            }
            Next::Retry { at, delay_notice } => {
                push("deferred", None, Some(text.into()), Some(at));
                if delay_notice && is_told {
                    summary.delay_notices += 1;
                    push("delay_told", None, None, None);
                }
            }
            Next::Fail(why) => {
                summary.failed += 1;
                let why = match (why, outcome) {
                    (GivenUp::Expired, Outcome::Temporary) => {
                        format!("its time is over: {text}").into()
                    }
                    _ => text.into(),
                };
                push("failed", None, Some(why), None);
                if is_told {
                    summary.failure_notices += 1;
                    push("failure_told", None, None, None);
                }
            }
        },
    }
}

impl Told<'_> {
    fn in_words(&self) -> String {
        let by = &self.by;
        let mut lines = vec![format!(
            "from {} until {}; {} deliveries at once, {} to a domain, {} by a transport; given up after {} hours, delays told after {}",
            self.from,
            self.until,
            by.attempts,
            by.per_domain,
            by.per_transport,
            by.lifetime_hours,
            by.delay_notice_hours
        )];
        for step in &self.steps {
            let to: Vec<String> = step.to.iter().map(|to| format!("<{to}>")).collect();
            let text = step.text.as_deref().unwrap_or_default();
            let what = match step.what {
                "tried" => format!("tried, attempt {}", step.attempt.unwrap_or_default()),
                "deferred" => {
                    let next = step.next.as_deref().unwrap_or_default();
                    format!("deferred: {text}; tried again {next}")
                }
                "delay_told" => format!("<{}> is told that it takes longer", step.from),
                "failure_told" => format!("<{}> is told that it failed", step.from),
                what => format!("{what}: {text}"),
            };
            let line = format!("{} entry {} to {}: {what}", step.at, step.id, to.join(" "));
            lines.push(printable(&line));
        }
        let Summary {
            attempts,
            delivered,
            failed,
            waiting,
            held,
            delay_notices,
            failure_notices,
            cut,
        } = &self.summary;
        if *cut {
            lines.push(format!(
                "more happens than {STEPS_MAX} things; the rest is not shown"
            ));
        }
        lines.push(format!(
            "{attempts} attempts: {delivered} delivered, {failed} failed, {waiting} waiting, {held} held; \
             notices: {delay_notices} of delays, {failure_notices} of failures"
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn item(id: u64, to: &str, from: &str) -> QueueItem {
        QueueItem {
            id,
            queued: "2026-01-02T03:04:05Z".into(),
            account: Some("jo".into()),
            from: from.into(),
            to: vec![to.into()],
            size: 1,
            transaction: "x".into(),
            attempts: 0,
            next: "2026-01-02T03:04:05Z".into(),
            hold: false,
            release: None,
            since: String::new(),
            last: None,
            transport: "direct".into(),
            routed: false,
            one_server: false,
            delay_told: false,
            said: Vec::new(),
            ambiguous: 0,
        }
    }

    #[test]
    fn six_hours_of_421_delay_mail_and_tell_senders_once() {
        let path = std::env::temp_dir().join(format!("mox-scenario-{}", std::process::id()));
        let text = r#"(events: [
            (domain: "gmail.com", until: "6h", does: reply("421 4.7.0 try again later")),
            (domain: "gone.example", does: reply("550 5.1.1 nobody")),
        ])"#;
        std::fs::write(&path, text).unwrap();
        let scenario = Scenario::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let from = moment("2026-01-02T03:04:05Z");
        let mut items = vec![
            item(1, "carol@gmail.com", "jo@ours.example"),
            item(2, "dave@gone.example", "jo@ours.example"),
            item(3, "erin@gone.example", ""),
            item(4, "erin@far.example", "jo@ours.example"),
        ];
        items[3].hold = true;
        let told = simulate(
            &items,
            &scenario,
            QueueRules::default(),
            (from, from + Duration::from_secs(24 * 3_600)),
            1,
        );
        let of = |id| {
            let steps = told.steps.iter().filter(move |step| step.id == id);
            steps.map(|step| step.what).collect::<Vec<_>>()
        };
        let carol: Vec<_> = of(1);
        assert_eq!(
            carol.iter().filter(|what| **what == "delay_told").count(),
            1
        );
        assert_eq!(carol[carol.len() - 2..], ["tried", "delivered"]);
        assert_eq!(of(2), ["tried", "failed", "failure_told"]);
        assert_eq!(of(3), ["tried", "failed"]);
        assert_eq!(of(4), [""; 0]);
        // At 0, 7.5, 22.5, 52.5, 112.5, 232.5 minutes, and behind the six hours.
        let expected = Summary {
            attempts: 7 + 2,
            delivered: 1,
            failed: 2,
            waiting: 0,
            held: 1,
            delay_notices: 1,
            failure_notices: 1,
            cut: false,
        };
        assert_eq!(told.summary, expected, "{}", told.in_words());
        let words = told.in_words();
        assert!(
            words.contains(
                "2026-01-02T03:04:07Z entry 2 to <dave@gone.example>: failed: 550 5.1.1 nobody"
            ),
            "{words}"
        );
    }
    #[test]
    fn what_was_held_back_is_as_old_as_its_release_and_one_domain_is_one_by_both_names() {
        let path = std::env::temp_dir().join(format!("mox-held-{}", std::process::id()));
        let text = r#"(events: [(domain: "b\u{fc}cher.example", does: reply("421 later"))])"#;
        std::fs::write(&path, text).unwrap();
        let scenario = Scenario::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let from = moment("2026-01-12T00:00:00Z");
        let mut items = vec![
            // Accepted ten days ago, and released now: it has its five days still.
            item(1, "x@xn--bcher-kva.example", "jo@ours.example"),
            // Released tomorrow.
            item(2, "y@B\u{dc}CHER.example", "jo@ours.example"),
            // Nobody held this one back.
            item(3, "z@b\u{fc}cher.example", "jo@ours.example"),
        ];
        items[0].since = "2026-01-12T00:00:00Z".into();
        items[1].release = Some("2026-01-13T00:00:00Z".into());
        items[1].since = "2026-01-13T00:00:00Z".into();
        items[2].since = items[2].queued.clone();
        for item in &mut items {
            item.attempts = 3;
            item.next = "2026-01-12T00:00:00Z".into();
        }
        let rules = QueueRules::default();
        let until = from + Duration::from_secs(20 * 24 * 3_600);
        let told = simulate(&items, &scenario, rules, (from, until), 1);
        let failed = |id| {
            let steps = told.steps.iter().filter(move |step| step.id == id);
            let mut failed = steps.filter(|step| step.what == "failed");
            failed.next().map(|step| step.at[..10].to_owned())
        };
        let day = |day: &str| Some(format!("2026-01-{day}"));
        assert_eq!(
            [failed(1), failed(2), failed(3)],
            [day("17"), day("18"), day("12")],
            "{}",
            told.in_words()
        );
        let first = told.steps.iter().find(|step| step.id == 2).unwrap();
        assert_eq!(
            (&first.at[..], first.what),
            ("2026-01-13T00:00:00Z", "tried")
        );
    }

    #[test]
    fn what_the_configuration_says_of_the_queue_is_gone_by() {
        let from = moment("2026-01-02T03:04:05Z");
        let to = |id: u64| item(id, &format!("x@d{id}.example"), "jo@ours.example");
        let mut items: Vec<QueueItem> = (1..5).map(to).collect();
        // One account alone has not all slots.
        items[1].account = Some("al".into());
        items[2].account = None;
        let path = std::env::temp_dir().join(format!("mox-rules-{}", std::process::id()));
        std::fs::write(&path, r#"(events: [], otherwise: reply("421 later"))"#).unwrap();
        let scenario = Scenario::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let settings = mox_server::config::QueueSettings {
            attempts: 2,
            lifetime_hours: 6,
            delay_notice_hours: 1,
            ..Default::default()
        };
        let rules = QueueRules {
            limits: settings.limits(),
            plan: settings.plan(),
        };
        let until = from + Duration::from_secs(24 * 3_600);
        let told = simulate(&items, &scenario, rules, (from, until), 1);
        assert_eq!((told.summary.failed, told.summary.waiting), (4, 0));
        let lifetime = told.steps.iter().filter(|step| step.what == "failed");
        assert!(
            lifetime
                .clone()
                .all(|step| step.at.starts_with("2026-01-02T09:0"))
        );
        let (mut now, mut most) = (0, 0);
        for step in &told.steps {
            match step.what {
                "tried" => now += 1,
                "deferred" | "failed" => now -= 1,
                _ => {}
            }
            most = most.max(now);
        }
        assert_eq!(most, 2, "{}", told.in_words());
        let first = told.in_words();
        assert!(first.contains("; 2 deliveries at once, 4 to a domain, 5 by a transport; given up after 6 hours, delays told after 1\n"), "{first}");
    }
}
