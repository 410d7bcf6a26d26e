//! How much an account may send to others within a day: a password that was stolen is worth less then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mox_address::Reply;
use mox_machine::Utc;

/// Hours that count.
const HOURS: i64 = 24;
/// Seconds of an hour.
const HOUR: i64 = 3600;
/// How often it is told that an account has reached a limit.
const TOLD_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How long it is not tried again when it could not be told.
const TRIED_EVERY: Duration = Duration::from_secs(3600);

/// What an account may send within 24 hours; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendLimits {
    /// Messages to recipients elsewhere.
    pub messages: Option<u32>,
    /// Recipients elsewhere that it never wrote to before.
    pub new_recipients: Option<u32>,
}

/// What accounts have sent lately, by hours: 48 numbers an account, whatever it sends.
#[derive(Debug, Default)]
pub struct SentCounts {
    accounts: BTreeMap<String, VecDeque<Hour>>,
    /// From when on it may be told again that an account has reached a limit.
    told: BTreeMap<String, Utc>,
}

#[derive(Debug, Clone, Copy)]
struct Hour {
    /// Since 1970.
    number: i64,
    messages: u32,
    new_recipients: u32,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached {
    /// Messages, or else new recipients.
    pub of_messages: bool,
    /// How many there may be.
    pub limit: u32,
    /// When what was refused can be sent; `None` when it is more than ever can be.
    pub clears: Option<Utc>,
}

impl SentCounts {
    /// Whether one more message, to so many new recipients, is within the limits.
    ///
    /// # Errors
    /// The limit that it is beyond.
    pub fn check(
        &self,
        account: &str,
        limits: SendLimits,
        new_recipients: u32,
        now: Utc,
    ) -> Result<(), LimitReached> {
        let number = now.secs().div_euclid(HOUR);
        let none = VecDeque::new();
        let hours = self.accounts.get(account).unwrap_or(&none);
        let room = |limit: Option<u32>, more: u32, of: fn(&Hour) -> u32| {
            let Some(limit) = limit.filter(|_| more > 0) else {
                return Ok(());
            };
            // What was sent when the clock was ahead was sent now at the latest.
            let hours = hours.iter().map(|hour| Hour {
                number: hour.number.min(number),
                ..*hour
            });
            let counts = hours.filter(|hour| hour.number > number - HOURS);
            let mut left = counts.clone().map(|hour| u64::from(of(&hour))).sum::<u64>();
            let fits = |sent: u64| sent + u64::from(more) <= u64::from(limit);
            if fits(left) {
                return Ok(());
            }
            let mut clears = None;
            for hour in counts {
                left -= u64::from(of(&hour));
                if fits(left) {
                    clears = Some(Utc((hour.number + HOURS) * HOUR * 1_000_000));
                    break;
                }
            }
            Err((limit, clears))
        };
        let reached = |of_messages| {
            move |(limit, clears)| LimitReached {
                of_messages,
                limit,
                clears,
            }
        };
        room(limits.messages, 1, |hour| hour.messages).map_err(reached(true))?;
        room(limits.new_recipients, new_recipients, |hour| {
            hour.new_recipients
        })
        .map_err(reached(false))
    }

    /// Whether it is known what an account has sent lately: what it sends from now on is counted here, what it sent before a start is
    /// to be [restored](Self::restore).
    pub fn is_known(&self, account: &str) -> bool {
        self.accounts.contains_key(account)
    }

    /// What an account that is not known yet has sent: numbers of hours since 1970 with messages and new recipients, the earliest first.
    pub fn restore(&mut self, account: &str, hours: impl Iterator<Item = (i64, u32, u32)>) {
        if self.is_known(account) {
            return;
        }
        let hour = |(number, messages, new_recipients)| Hour {
            number,
            messages,
            new_recipients,
        };
        let hours = hours.take(HOURS as usize).map(hour).collect();
        self.accounts.insert(account.to_owned(), hours);
    }

    /// Whether to tell that an account has reached a limit: once a day. The next time is a day later.
    pub fn is_to_be_told(&mut self, account: &str, now: Utc) -> bool {
        let again = self.told.get(account);
        // A clock that was ahead keeps nothing secret.
        let is_news = again.is_none_or(|again| now >= *again || *again > now + TOLD_EVERY);
        if is_news {
            self.told.insert(account.to_owned(), now + TOLD_EVERY);
        }
        is_news
    }

    /// It could not be told: it is to be told the next time, but not with each message that is refused.
    pub fn was_not_told(&mut self, account: &str, now: Utc) {
        self.told.insert(account.to_owned(), now + TRIED_EVERY);
    }

    /// A message that was counted was not sent after all.
    pub fn give_back(&mut self, account: &str, new_recipients: u32) {
        let hours = self.accounts.get_mut(account);
        if let Some(hour) = hours.and_then(VecDeque::back_mut) {
            hour.messages = hour.messages.saturating_sub(1);
            hour.new_recipients = hour.new_recipients.saturating_sub(new_recipients);
        }
    }

    /// One more message was sent, to so many new recipients.
    pub fn count(&mut self, account: &str, new_recipients: u32, now: Utc) {
        let number = now.secs().div_euclid(HOUR);
        let hours = self.accounts.entry(account.to_owned()).or_default();
        // The clock was set back.
        for hour in hours.iter_mut() {
            hour.number = hour.number.min(number);
        }
        match hours.back_mut().filter(|hour| hour.number == number) {
            Some(hour) => {
                hour.messages = hour.messages.saturating_add(1);
                hour.new_recipients = hour.new_recipients.saturating_add(new_recipients);
            }
            None => hours.push_back(Hour {
                number,
                messages: 1,
                new_recipients,
            }),
        }
        while hours.len() > HOURS as usize
            || hours
                .front()
                .is_some_and(|hour| hour.number <= number - HOURS)
        {
            hours.pop_front();
        }
    }
}

impl LimitReached {
    /// Of what there is a limit.
    pub const fn what(&self) -> &'static str {
        match self.of_messages {
            true => "messages",
            false => "recipients that it never wrote to before",
        }
    }

    /// What to say to who submits.
    pub fn reply(&self) -> Reply {
        let what = self.what();
        let when = match self.clears {
            Some(at) => {
                let at = at.civil();
                format!(
                    "try again after {:04}-{:02}-{:02} {:02}:{:02} UTC",
                    at.year, at.month, at.day, at.hour, at.minute
                )
            }
            None => "send to fewer".into(),
        };
        let text = format!(
            "this account may send to {} {what} within a day: {when}",
            self.limit
        );
        let text = match self.of_messages {
            true => text.replacen("send to ", "send ", 1),
            false => text,
        };
        // Whoever tries again with the recipients that were refused alone gets further.
        Reply::new(451, 7, 1, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_767_322_800;

    fn at(hours: i64) -> Utc {
        Utc((START + hours * HOUR) * 1_000_000)
    }

    fn limits(messages: u32, new_recipients: u32) -> SendLimits {
        SendLimits {
            messages: Some(messages),
            new_recipients: Some(new_recipients),
        }
    }

    #[test]
    fn messages_of_a_day_count_and_the_reply_says_when_they_do_not_any_more() {
        let mut sent = SentCounts::default();
        let ann = limits(3, 100);
        for hour in [0, 0, 5] {
            assert_eq!(sent.check("ann", ann, 0, at(hour)), Ok(()));
            sent.count("ann", 0, at(hour));
        }
        let reached = sent.check("ann", ann, 0, at(23)).unwrap_err();
        assert_eq!((reached.limit, reached.of_messages), (3, true));
        let clears = reached.clears.unwrap();
        assert_eq!(
            reached.reply().to_string(),
            "451 4.7.1 this account may send 3 messages within a day: try again after 2026-01-03 03:00 UTC"
        );
        assert_eq!(sent.check("ann", ann, 0, clears), Ok(()));
        assert!(sent.check("ann", ann, 0, Utc(clears.0 - 1)).is_err());
        assert_eq!(sent.check("bob", ann, 0, at(23)), Ok(()));
        assert_eq!(sent.check("ann", SendLimits::default(), 9, at(23)), Ok(()));
    }

    #[test]
    fn new_recipients_count_by_themselves() {
        let mut sent = SentCounts::default();
        let ann = limits(100, 10);
        sent.count("ann", 4, at(0));
        sent.count("ann", 4, at(1));
        assert_eq!(sent.check("ann", ann, 2, at(2)), Ok(()));
        assert_eq!(sent.check("ann", ann, 0, at(2)), Ok(()));
        let reached = |new| sent.check("ann", ann, new, at(2)).unwrap_err();
        assert_eq!(reached(6).clears, Some(at(24)));
        assert_eq!(reached(7).clears, Some(at(25)));
        assert_eq!(reached(11).clears, None);
        assert_eq!(
            reached(11).reply().to_string(),
            "451 4.7.1 this account may send to 10 recipients that it never wrote to before within a day: send to fewer"
        );
    }

    #[test]
    fn what_was_sent_before_a_start_counts_on() {
        let mut sent = SentCounts::default();
        let ann = limits(3, 10);
        assert!(!sent.is_known("ann"));
        let number = START.div_euclid(HOUR);
        sent.restore("ann", [(number, 2, 7)].into_iter());
        assert!(sent.is_known("ann"));
        assert_eq!(sent.check("ann", ann, 3, at(1)), Ok(()));
        sent.count("ann", 3, at(1));
        assert_eq!(
            sent.check("ann", ann, 0, at(1)).unwrap_err().clears,
            Some(at(24))
        );
        // Once only: what was counted since is more than what was read.
        sent.restore("ann", [(number, 0, 0)].into_iter());
        assert!(sent.check("ann", ann, 0, at(1)).is_err());
        sent.restore("bob", core::iter::empty());
        assert_eq!(sent.check("bob", ann, 10, at(1)), Ok(()));
    }

    #[test]
    fn a_clock_that_was_ahead_locks_nobody_out_longer_than_a_day() {
        let mut sent = SentCounts::default();
        let ann = limits(1, 100);
        sent.count("ann", 0, at(24 * 365));
        let reached = sent.check("ann", ann, 0, at(0)).unwrap_err();
        assert_eq!(reached.clears, Some(at(24)));
        sent.count("bob", 0, at(0));
        assert_eq!(sent.check("ann", limits(2, 100), 0, at(0)), Ok(()));
        sent.count("ann", 0, at(0));
        assert!(sent.check("ann", limits(2, 100), 0, at(23)).is_err());
        assert_eq!(sent.check("ann", limits(2, 100), 0, at(24)), Ok(()));
    }

    #[test]
    fn it_is_told_once_a_day_for_each_account() {
        let mut sent = SentCounts::default();
        let told: Vec<bool> = [0, 1, 23, 24, 25, 47, 48, 3]
            .map(|hour| sent.is_to_be_told("ann", at(hour)))
            .to_vec();
        assert_eq!(
            told,
            [true, false, false, true, false, false, true, true],
            "the last one after the clock was put back"
        );
        assert!(sent.is_to_be_told("bob", at(1)));
        sent.was_not_told("bob", at(1));
        assert!(!sent.is_to_be_told("bob", at(1)));
        assert!(sent.is_to_be_told("bob", at(2)));
    }

    #[test]
    fn what_was_not_sent_after_all_does_not_count() {
        let mut sent = SentCounts::default();
        let ann = limits(1, 2);
        sent.count("ann", 2, at(0));
        assert!(sent.check("ann", ann, 1, at(0)).is_err());
        sent.give_back("ann", 2);
        assert_eq!(sent.check("ann", ann, 2, at(0)), Ok(()));
        sent.give_back("nobody", 2);
    }

    #[test]
    fn an_account_takes_no_more_memory_however_much_it_sends() {
        let mut sent = SentCounts::default();
        for hour in 0..1_000 {
            sent.count("ann", 1, at(hour));
            sent.count("ann", 1, at(hour - 3));
        }
        assert!(sent.accounts["ann"].len() <= 24);
    }
}
