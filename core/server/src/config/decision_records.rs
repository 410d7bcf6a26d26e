//! How long it is known why mail was taken or not.

use serde::Deserialize;

use super::check::Check;
use super::locate::Step::Field;

/// Records of decisions: kept for so many days, within so much room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename = "decision_records", deny_unknown_fields, default)]
pub struct DecisionRecords {
    /// Days.
    pub days: u32,
    /// Megabytes (2^20 octets) of all of them, roughly; beyond it the oldest ones go.
    pub megabytes: u32,
}

/// Days at most: ten years.
const DAYS_MAX: u32 = 3_650;
/// Megabytes at most: a terabyte.
const MEGABYTES_MAX: u32 = 1 << 20;

impl Default for DecisionRecords {
    fn default() -> Self {
        Self {
            days: 30,
            megabytes: 256,
        }
    }
}

impl DecisionRecords {
    pub(super) fn check(self, check: &mut Check<'_>) {
        let usual = Self::default();
        for (field, value, max, usual) in [
            ("days", self.days, DAYS_MAX, usual.days),
            ("megabytes", self.megabytes, MEGABYTES_MAX, usual.megabytes),
        ] {
            if !(1..=max).contains(&value) {
                check.problem(
                    &[Field("decision_records"), Field(field)],
                    &format!("{value} is not between 1 and {max}"),
                    &format!("{usual} is usual"),
                );
            }
        }
    }
}
