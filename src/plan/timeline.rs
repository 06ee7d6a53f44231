//! When the bug struck: changes by the time their tokens were created, in rows that fit a screen.

use super::change::Change;
use crate::document::Value;
use crate::model::{JsonAmount, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Days that a ledger has tokens of: 1970 to 2099. It bounds the table too.
const DAYS: std::ops::Range<i64> = 0..47_482;
/// Most rows of days, weeks or months.
const ROWS_MAX: usize = 24;

/// Changes by the time their tokens were created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// What a row is.
    pub unit: TimelineUnit,
    /// The rows from the first to the last, also those without a change.
    pub rows: Vec<TimelineRow>,
    /// Changes of tokens without a usable `createdAt`.
    pub undated: u64,
}

/// What a row of a [`Timeline`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimelineUnit {
    /// A day.
    Day,
    /// A week from Monday on.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl TimelineUnit {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TimelineUnit::Day => "day",
            TimelineUnit::Week => "week",
            TimelineUnit::Month => "month",
            TimelineUnit::Year => "year",
        }
    }

    /// How the row with `day` (from 1970-01-01) is called.
    fn label(self, day: i64) -> String {
        let (day, columns) = match self {
            TimelineUnit::Day => (day, 10),
            // 1970-01-01 was a Thursday.
            TimelineUnit::Week => (day - (day + 3).rem_euclid(7), 10),
            TimelineUnit::Month => (day, 7),
            TimelineUnit::Year => (day, 4),
        };
        Timestamp(day * DAY_MS).to_string().chars().take(columns).collect()
    }
}

/// One row of a [`Timeline`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineRow {
    /// Its first day, month or year, as ISO 8601 writes it.
    pub from: String,
    /// Changes.
    pub count: u64,
    /// Sum of their amounts.
    pub amount: JsonAmount,
}

/// Changes by day.
#[derive(Debug, Default)]
pub(super) struct Days {
    days: BTreeMap<i64, (u64, i128)>,
    undated: u64,
}

impl Days {
    pub(super) fn add(&mut self, change: &Change<'_>) {
        let day = change.created_at.and_then(Value::as_date_ms).map(|ms| ms.div_euclid(DAY_MS));
        let Some(day) = day.filter(|day| DAYS.contains(day)) else {
            self.undated += 1;
            return;
        };
        let sums = self.days.entry(day).or_default();
        sums.0 += 1;
        sums.1 += i128::from(change.amount.unwrap_or(0));
    }

    /// In the smallest unit whose rows fit.
    pub(super) fn timeline(&self) -> Timeline {
        let ends = self.days.first_key_value().zip(self.days.last_key_value());
        let Some(((first, _), (last, _))) = ends else {
            return Timeline { unit: TimelineUnit::Day, rows: Vec::new(), undated: self.undated };
        };
        let labels = |unit: TimelineUnit| {
            let mut labels: Vec<String> = (*first..=*last).map(|day| unit.label(day)).collect();
            labels.dedup();
            labels
        };
        let fine = [TimelineUnit::Day, TimelineUnit::Week, TimelineUnit::Month];
        let fitting = fine.into_iter().map(|unit| (unit, labels(unit)));
        let fitting = fitting.into_iter().find(|(_, labels)| labels.len() <= ROWS_MAX);
        let (unit, labels) =
            fitting.unwrap_or_else(|| (TimelineUnit::Year, labels(TimelineUnit::Year)));
        let mut sums: BTreeMap<String, (u64, i128)> = BTreeMap::new();
        for (day, (count, amount)) in &self.days {
            let row = sums.entry(unit.label(*day)).or_default();
            row.0 += count;
            row.1 += amount;
        }
        let rows = labels.into_iter().map(|from| {
            let (count, amount) = sums.get(&from).copied().unwrap_or_default();
            TimelineRow { from, count, amount: JsonAmount(amount) }
        });
        Timeline { unit, rows: rows.collect(), undated: self.undated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(of: &[i64]) -> Days {
        Days { days: of.iter().map(|day| (*day, (1, 5))).collect(), undated: 0 }
    }

    fn labels(timeline: &Timeline) -> Vec<&str> {
        timeline.rows.iter().map(|row| row.from.as_str()).collect()
    }

    #[test]
    fn the_unit_grows_with_the_time_between_the_first_and_the_last() {
        let few = days(&[20_000, 20_002]).timeline();
        assert_eq!(few.unit, TimelineUnit::Day);
        assert_eq!(labels(&few), ["2024-10-04", "2024-10-05", "2024-10-06"]);
        assert_eq!(few.rows.iter().map(|row| row.count).collect::<Vec<_>>(), [1, 0, 1]);

        let weeks = days(&[20_000, 20_030]).timeline();
        assert_eq!(weeks.unit, TimelineUnit::Week);
        assert_eq!(labels(&weeks)[..2], ["2024-09-30", "2024-10-07"], "Mondays");

        assert_eq!(days(&[20_000, 20_400]).timeline().unit, TimelineUnit::Month);
        let years = days(&[0, 47_481]).timeline();
        assert_eq!((years.unit, years.rows.len()), (TimelineUnit::Year, 130));
        assert_eq!(labels(&years)[129], "2099");
    }

    #[test]
    fn nothing_is_lost_between_units() {
        let spread: Vec<i64> = (0..300).map(|n| 20_000 + n * 2).collect();
        let timeline = days(&spread).timeline();
        assert_eq!(timeline.rows.iter().map(|row| row.count).sum::<u64>(), 300);
        assert_eq!(timeline.rows.iter().map(|row| row.amount.0).sum::<i128>(), 1500);
        assert!(days(&[]).timeline().rows.is_empty());
    }
}
