//! Back-off, and what follows an attempt.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use mox_machine::Utc;
use serde::{Deserialize, Serialize};

/// When a message is tried again and when it is given up (RFC 5321 4.5.4.1: 4 to 5 days at least).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Pauses after the first attempts, in order: 7.5, 15, 30 minutes, 1, 2, 4, 8 hours.
    pub pauses: Vec<Duration>,
    /// The pause after every later attempt: 16 hours.
    pub then_every: Duration,
    /// Each pause is lengthened or shortened at random by up to this many percent: 10.
    pub jitter_percent: u8,
    /// Given up this long after it was queued: 5 days. The last attempt is made at that moment.
    pub lifetime: Duration,
    /// Never given up for its age before this many attempts: 3. A clock that was set forward by years expires nothing.
    pub attempts_min: u32,
    /// The sender is told about a delay this long after queueing: 4 hours.
    pub delay_notice_after: Duration,
    /// A domain that does not exist is a final failure from this attempt on: 3. (It may just have been registered.)
    pub no_domain_attempts: u32,
    /// A domain that exists without a mail host is a final failure this long after queueing: 4 hours.
    pub no_host_for: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 3_600;
        Self {
            pauses: vec![
                Duration::from_secs(450),
                Duration::from_secs(15 * MINUTE),
                Duration::from_secs(30 * MINUTE),
                Duration::from_secs(HOUR),
                Duration::from_secs(2 * HOUR),
                Duration::from_secs(4 * HOUR),
                Duration::from_secs(8 * HOUR),
            ],
            then_every: Duration::from_secs(16 * HOUR),
            jitter_percent: 10,
            lifetime: Duration::from_secs(5 * 24 * HOUR),
            attempts_min: 3,
            delay_notice_after: Duration::from_secs(4 * HOUR),
            no_domain_attempts: 3,
            no_host_for: Duration::from_secs(4 * HOUR),
        }
    }
}

/// What a queue row knows about its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it was queued.
    pub queued: Utc,
    /// Attempts started so far, the one that just ended included.
    pub attempts: u32,
    /// The sender was already told about the delay.
    pub delay_notified: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Outcome {
    /// The next hop took it.
    Delivered,
    /// A 4xx reply, no connection, no DNS answer.
    Temporary,
    /// A 5xx reply, a null MX, nothing that time could mend.
    Permanent,
    /// The recipient's domain does not exist (NXDOMAIN).
    NoDomain,
    /// The recipient's domain exists, but has neither MX nor address.
    NoHost,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Delivered: the row goes.
    Done,
    /// Try again.
    Retry {
        /// When.
        at: Utc,
        /// Tell the sender about the delay now (once: set [`Times::delay_notified`]).
        delay_notice: bool,
    },
    /// Give up: a failure DSN goes to the sender, the row goes.
    Fail(Failure),
}

/// Why a message is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The remote refused it for good.
    Permanent,
    /// Its time is over.
    Expired,
    /// The recipient's domain does not exist.
    NoDomain,
    /// The recipient's domain takes no mail: it has neither MX nor address.
    NoHost,
}

/// What follows an attempt that ended at `now` with `outcome`; `jitter` is any random number.
pub fn next(plan: &Plan, times: &Times, outcome: Outcome, now: Utc, jitter: u64) -> Next {
    let failure = match outcome {
        Outcome::Delivered => return Next::Done,
        Outcome::Permanent => Some(Failure::Permanent),
        Outcome::NoDomain if times.attempts >= plan.no_domain_attempts => Some(Failure::NoDomain),
        Outcome::NoHost
            if times.attempts >= plan.attempts_min && now >= times.queued + plan.no_host_for =>
        {
            Some(Failure::NoHost)
        }
        _ if times.attempts >= plan.attempts_min && now >= plan.expires(times.queued) => {
            Some(Failure::Expired)
        }
        _ => None,
    };
    match failure {
        Some(failure) => Next::Fail(failure),
        None => Next::Retry {
            at: plan.retry_at(times, now, jitter),
            delay_notice: plan.delay_dsn_due(times, now),
        },
    }
}

impl Plan {
    /// When to try again after the attempt `times.attempts` that started or ended at `now`; `jitter` is any random number.
    ///
    /// Not later than the end of the lifetime, unless that is past: then the plain pause.
    pub fn retry_at(&self, times: &Times, now: Utc, jitter: u64) -> Utc {
        let at = now + self.pause(times.attempts, jitter);
        let expires = self.expires(times.queued);
        if now < expires { at.min(expires) } else { at }
    }

    /// When a message queued at `queued` is tried for the last time: Will-Retry-Until of a delay DSN.
    pub fn expires(&self, queued: Utc) -> Utc {
        queued + self.lifetime
    }

    /// When the sender is to be told about the delay; `None` when that was done.
    pub fn delay_notice_at(&self, times: &Times) -> Option<Utc> {
        (!times.delay_notified).then_some(times.queued + self.delay_notice_after)
    }

    /// Whether the sender is to be told about the delay now.
    pub fn delay_dsn_due(&self, times: &Times, now: Utc) -> bool {
        self.delay_notice_at(times).is_some_and(|at| at <= now)
    }

    /// The pause after attempt number `attempts` (from 1), with jitter.
    fn pause(&self, attempts: u32, jitter: u64) -> Duration {
        /// Steps from the shortest to the longest pause.
        const STEPS: u64 = 20_000;
        let nth = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let pause = self.pauses.get(nth).copied().unwrap_or(self.then_every);
        let percent = u64::from(self.jitter_percent.min(100));
        // In units of 1 / (100 * STEPS/2) of the pause: percent * (0 .. STEPS) on top of the shortest.
        let whole = 100 * STEPS / 2;
        let share = whole - percent * STEPS / 2 + percent * (jitter % (STEPS + 1));
        let micros = pause.as_micros().saturating_mul(u128::from(share)) / u128::from(whole);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}
