//! What a plan would change, for whom and when the bug struck: figures of a plan for people.
//!
//! Everything is added up from the changes themselves, whose hashes are checked as they are read, and users'
//! balances come from the report whose hash the plan has.

use super::balances::{Balance, Balances};
use super::change::Change;
use super::file::{Plan, PlanError};
use super::risk::RiskAssessment;
use super::timeline::{Days, Timeline};
use crate::analysis::cell_text;
use crate::document::Value;
use crate::model::{JsonAmount, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// The result object of `preview`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The plan.
    pub plan_sha256: crate::model::Sha256Hash,
    /// The seed's name of the repair.
    pub migration_name: &'static str,
    /// Sums.
    pub stats: PreviewStats,
    /// The users who lose most, largest loss first.
    pub top_users: Vec<UserImpact>,
    /// Changes by size of their amounts.
    pub amounts: Vec<AmountRange>,
    /// Changes by the month in which the token was created; `unknown` without a date.
    pub months: BTreeMap<String, u64>,
    /// When the bug struck, in rows that fit a screen.
    pub timeline: Timeline,
    /// What to weigh; `None` until [`super::assess`] was asked.
    pub risk_assessment: Option<RiskAssessment>,
}

/// Sums over all changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewStats {
    /// Changes.
    pub tokens_to_migrate: u64,
    /// Sum of their amounts.
    pub total_amount_affected: JsonAmount,
    /// Their users.
    pub affected_users: u64,
    /// Tokens of the rule's shape that are left as they are.
    pub not_changed: u64,
    /// How long applying takes, measured; `null` without a server to measure on.
    pub estimated_execution_time: Option<String>,
}

/// What one user loses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserImpact {
    /// The user; empty when `npub` is not text.
    pub npub: String,
    /// Changed tokens.
    pub token_count: u64,
    /// Sum of their amounts.
    pub total_amount: JsonAmount,
    /// Unspent before the repair, at the mints where something changes; `None` when the reports do not
    /// fit the plan.
    pub unspent_before: Option<JsonAmount>,
    /// Unspent after it.
    pub unspent_after: Option<JsonAmount>,
}

/// Changes with amounts in a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AmountRange {
    /// In words, such as `1,000 to 9,999`.
    pub range: String,
    /// How many.
    pub count: u64,
}

/// Adds up `plan`, listing `top` users.
///
/// # Errors
/// [`PlanError`] when a batch can't be read or was altered.
pub fn preview(plan: &Plan, top: usize) -> Result<Preview, PlanError> {
    let mut users: BTreeMap<Vec<u8>, (u64, i128)> = BTreeMap::new();
    let mut sizes: BTreeMap<Size, u64> = BTreeMap::new();
    let mut months = BTreeMap::new();
    let mut days = Days::default();
    for batch in plan.batches() {
        for change in batch?.changes() {
            let npub = change.npub.and_then(Value::as_text_bytes).unwrap_or_default();
            let user = users.entry(npub.to_vec()).or_default();
            user.0 += 1;
            user.1 += i128::from(change.amount.unwrap_or(0));
            *sizes.entry(Size::of(&change)).or_default() += 1;
            *months.entry(month(&change)).or_default() += 1;
            days.add(&change);
        }
    }
    let content = plan.content();
    let mut impacts: Vec<UserImpact> = users
        .into_iter()
        .map(|(npub, (token_count, amount))| UserImpact {
            npub: String::from_utf8_lossy(&npub).into_owned(),
            token_count,
            total_amount: JsonAmount(amount),
            unspent_before: None,
            unspent_after: None,
        })
        .collect();
    impacts.sort_by(|a, b| b.total_amount.cmp(&a.total_amount).then(a.npub.cmp(&b.npub)));
    impacts.truncate(top);
    let balances = Balances::read(plan);
    for user in &mut impacts {
        let balance = balances.as_ref().and_then(|it| it.by_user.get(&cell_text(&user.npub)));
        let amount = |of: fn(&Balance) -> i128| balance.map(|it| JsonAmount(of(it)));
        user.unspent_before = amount(|it| it.before);
        user.unspent_after = amount(|it| it.after);
    }
    Ok(Preview {
        plan_sha256: plan.sha256(),
        migration_name: "004_fix_melted_token_status",
        stats: PreviewStats {
            tokens_to_migrate: content.totals.changes,
            total_amount_affected: content.totals.amount,
            affected_users: content.totals.users,
            not_changed: content.not_changed.values().sum(),
            estimated_execution_time: None,
        },
        top_users: impacts,
        amounts: sizes
            .into_iter()
            .map(|(size, count)| AmountRange { range: size.to_string(), count })
            .collect(),
        months,
        timeline: days.timeline(),
        risk_assessment: None,
    })
}

/// The order of magnitude of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Size {
    NotAnAmount,
    Negative,
    /// So many digits; 0 is zero.
    Digits(u32),
}

impl Size {
    fn of(change: &Change<'_>) -> Size {
        match change.amount {
            None => Size::NotAnAmount,
            Some(..0) => Size::Negative,
            Some(amount) => Size::Digits(amount.checked_ilog10().map_or(0, |log| log + 1)),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Size::NotAnAmount => f.write_str("not an amount"),
            Size::Negative => f.write_str("below zero"),
            Size::Digits(0) => f.write_str("0"),
            Size::Digits(digits) => {
                let from = 10_i128.pow(digits - 1);
                write!(f, "{from} to {}", from * 10 - 1)
            }
        }
    }
}

fn month(change: &Change<'_>) -> String {
    match change.created_at.and_then(Value::as_date_ms) {
        Some(ms) => {
            // `YYYY-MM` of an RFC 3339 time; years that no service has seen go together.
            let text = Timestamp(ms).to_string();
            let is_usual = text.starts_with("19") || text.starts_with("20");
            if is_usual && text.ends_with('Z') {
                text.chars().take(7).collect()
            } else {
                "other".to_owned()
            }
        }
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples::{Sample, change, plan_with};

    fn previewed(changes: &[Vec<u8>], deltas: &str, top: usize) -> Preview {
        let sample = Sample { changes, deltas, findings: serde_json::Value::Null };
        let (_root, plan) = plan_with(&sample, |_| {});
        preview(&plan, top).unwrap()
    }

    #[test]
    fn users_are_listed_by_what_they_lose_with_what_they_have_at_all_mints() {
        let of = |npub, amount| change(npub, amount, None);
        let changes = [
            of("bob", Some(6)),
            of("ann", Some(2)),
            of("cid", Some(5)),
            of("ann", Some(3)),
            of("dee", None),
            of("eve", Some(-1)),
        ];
        let deltas = "ann,a,1,9,4,0,0,0,0\r\nann,b,1,1,1,0,0,0,0\r\nbob,a,1,7,-1,0,0,0,0\r\n";
        let shown = previewed(&changes, deltas, 4).top_users;
        let shown: Vec<_> = shown
            .iter()
            .map(|user| {
                let UserImpact { npub, token_count, total_amount, unspent_before, unspent_after } =
                    user;
                let before_after = unspent_before.zip(*unspent_after).map(|(b, a)| (b.0, a.0));
                (npub.as_str(), *token_count, total_amount.0, before_after)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("bob", 1, 6, Some((7, -1))),
                ("ann", 2, 5, Some((10, 5))),
                ("cid", 1, 5, None),
                ("dee", 1, 0, None),
            ]
        );
    }

    #[test]
    fn changes_are_counted_by_the_month_of_their_creation() {
        let of = |text: &str| change("ann", Some(1), Some(text.parse().unwrap()));
        let changes = [
            of("2025-03-01T00:00:00.000Z"),
            of("2025-03-31T23:59:59.999Z"),
            of("2025-04-01T00:00:00.000Z"),
            of("1999-12-31T23:59:59.999Z"),
            of("2100-01-01T00:00:00.000Z"),
            of("0019-01-01T00:00:00.000Z"),
            // Beyond the years that have a name, in milliseconds that begin with 20.
            change("ann", Some(1), Some(Timestamp(2_000_000_000_000_000))),
            change("ann", Some(1), None),
        ];
        let Preview { months, timeline, .. } = previewed(&changes, "", 1);
        assert_eq!(timeline.rows.iter().map(|row| row.count).sum::<u64>(), 4);
        assert_eq!(timeline.undated, 4, "before 1970, after 2099, or without a time");
        let months: Vec<_> = months.iter().map(|(month, count)| (month.as_str(), *count)).collect();
        assert_eq!(
            months,
            [("1999-12", 1), ("2025-03", 2), ("2025-04", 1), ("other", 3), ("unknown", 1)]
        );
    }

    #[test]
    fn amounts_are_counted_by_their_order_of_magnitude() {
        let amounts = [Some(0), Some(1), Some(9), Some(10), Some(-4), None, Some(i64::MAX)];
        let changes = amounts.map(|amount| change("ann", amount, None));
        let ranges = previewed(&changes, "", 1).amounts;
        let ranges: Vec<_> = ranges.iter().map(|it| (it.range.as_str(), it.count)).collect();
        assert_eq!(
            ranges,
            [
                ("not an amount", 1),
                ("below zero", 1),
                ("0", 1),
                ("1 to 9", 2),
                ("10 to 99", 1),
                ("1000000000000000000 to 9999999999999999999", 1),
            ]
        );
    }
}
