//! What an account has sent to others within the last day, by hours: a server that starts again knows it still.

use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::key::{self, Table};
use crate::rows::Stored;
use crate::{AccountId, ReadError, Reads, Space};

/// Hours that are kept.
const HOURS: i64 = 24;
/// Seconds of an hour.
const HOUR: i64 = 3600;

/// What an account sent in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentHour {
    /// Hours since 1970.
    pub number: i64,
    /// Messages to recipients elsewhere.
    pub messages: u32,
    /// Recipients elsewhere that it never wrote to before.
    pub new_recipients: u32,
}

/// The hours of an account, the earliest first: at most 24.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentHours(Vec<SentHour>);

/// What an account has sent, by hours, the earliest first: those in which it sent something, of the last day before it did so last.
pub fn sent_hours(reads: &dyn Reads, account: AccountId) -> Result<Vec<SentHour>, ReadError> {
    let row = reads.get(Space::Rows, &key::in_account(Table::SentHours, account))?;
    let hours = row.map(|row| SentHours::decode(&row)).transpose()?;
    Ok(hours.unwrap_or_default().0)
}

/// One more message was sent, to so many recipients that the account never wrote to before. Damaged rows of what was sent count as none, and
/// keep nothing from being sent: how many there were.
pub(crate) fn count(edit: &mut Edit<'_>, account: AccountId, new_recipients: u32) -> usize {
    let key = key::in_account(Table::SentHours, account);
    let (row, damaged) = match edit.row::<SentHours>(&key) {
        Ok(row) => (row, 0),
        Err(_) => (None, 1),
    };
    let mut hours = row.unwrap_or_default().0;
    let number = edit.now.secs().div_euclid(HOUR);
    // The clock was set back.
    for hour in &mut hours {
        hour.number = hour.number.min(number);
    }
    hours.retain(|hour| hour.number > number - HOURS);
    match hours.last_mut().filter(|hour| hour.number == number) {
        Some(hour) => {
            hour.messages = hour.messages.saturating_add(1);
            hour.new_recipients = hour.new_recipients.saturating_add(new_recipients);
        }
        None => hours.push(SentHour {
            number,
            messages: 1,
            new_recipients,
        }),
    }
    // Several may be of one hour by now.
    let too_many = hours.len().saturating_sub(HOURS as usize);
    hours.drain(..too_many);
    edit.put(key, SentHours(hours).encode());
    damaged
}
