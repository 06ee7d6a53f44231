//! What a plan would change, for whom and when the bug struck: figures of a plan for people.
//!
//! Everything is added up from the changes themselves, whose hashes are checked as they are read; users and what
//! they have come from the report whose hash the plan has, or from the changes when it is not that report. Memory
//! does not grow with the users.

use super::balances::{Balances, UserLoss};
use super::change::Change;
use super::file::{Plan, PlanError};
use super::groups::{Groups, Heaviest};
use super::risk::RiskAssessment;
use super::size::Size;
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
    /// The user as the reports show it; empty when `npub` is not text.
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
/// [`PlanError`] when a batch can't be read or was altered, or scratch space is missing.
pub fn preview(plan: &Plan, top: usize) -> Result<Preview, PlanError> {
    let balances = Balances::read(plan, top)?;
    let mut users = Groups::new();
    let mut sizes: BTreeMap<Size, u64> = BTreeMap::new();
    let mut months = BTreeMap::new();
    let mut days = Days::default();
    for batch in plan.batches() {
        for change in batch?.changes() {
            if balances.is_none() {
                let npub = change.npub.and_then(Value::as_text_bytes).unwrap_or_default();
                let user = cell_text(&String::from_utf8_lossy(npub));
                users.add(user.as_bytes(), [1, change.amount.unwrap_or(0).into()])?;
            }
            *sizes.entry(Size::of(change.amount.map(i128::from))).or_default() += 1;
            *months.entry(month(&change)).or_default() += 1;
            days.add(&change);
        }
    }
    let content = plan.content();
    let top_users = match balances {
        Some(balances) => balances.largest.into_iter().map(UserImpact::from).collect(),
        None => without_balances(users, top)?,
    };
    Ok(Preview {
        plan_sha256: plan.sha256(),
        migration_name: "004_fix_melted_token_status",
        stats: PreviewStats {
            tokens_to_migrate: content.totals.changes,
            total_amount_affected: content.totals.amount,
            affected_users: content.totals.users,
            not_changed: content.left(),
            estimated_execution_time: None,
        },
        top_users,
        amounts: sizes
            .into_iter()
            .map(|(size, count)| AmountRange { range: size.to_string(), count })
            .collect(),
        months,
        timeline: days.timeline(),
        risk_assessment: None,
    })
}

impl From<UserLoss> for UserImpact {
    fn from(it: UserLoss) -> UserImpact {
        UserImpact {
            npub: it.user,
            token_count: it.tokens,
            total_amount: JsonAmount(it.loss),
            unspent_before: Some(JsonAmount(it.before)),
            unspent_after: Some(JsonAmount(it.after)),
        }
    }
}

/// The `top` users of the changes themselves, whose balances are not known.
fn without_balances(users: Groups<2>, top: usize) -> Result<Vec<UserImpact>, PlanError> {
    let mut largest = Heaviest::new(top);
    users.each(|user, [tokens, loss]| {
        if largest.wants(loss) {
            let impact = UserImpact {
                npub: String::from_utf8_lossy(user).into_owned(),
                token_count: u64::try_from(tokens).unwrap_or(0),
                total_amount: JsonAmount(loss),
                unspent_before: None,
                unspent_after: None,
            };
            largest.offer(loss, impact);
        }
    })?;
    Ok(largest.into_groups().collect())
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
    use crate::model::hash_bytes;
    use crate::plan::samples::{Sample, change, plan_with};
    use serde_json::json;

    fn previewed(changes: &[Vec<u8>], deltas: &str, top: usize) -> Preview {
        let sample = Sample { changes, deltas, findings: serde_json::Value::Null };
        let (_root, plan) = plan_with(&sample, |_| {});
        preview(&plan, top).unwrap()
    }

    /// A user with tokens, loss, and what is unspent before and after.
    type Row<'a> = (&'a str, u64, i128, Option<(i128, i128)>);

    fn users(shown: &Preview) -> Vec<Row<'_>> {
        let row = |user: &UserImpact| {
            let before_after = user.unspent_before.zip(user.unspent_after);
            (user.token_count, user.total_amount.0, before_after.map(|(b, a)| (b.0, a.0)))
        };
        let rows = shown.top_users.iter().map(|user| (user.npub.as_str(), row(user)));
        rows.map(|(npub, (tokens, amount, balances))| (npub, tokens, amount, balances)).collect()
    }

    #[test]
    fn users_are_listed_by_what_they_lose_with_what_they_have_at_all_mints() {
        // A name that is shown otherwise, and the name that looks like that.
        let deltas = "ann,a,2,9,4,0,0,0,-5\r\n\\u{202e},a,1,5,1,0,0,0,-4\r\nbob,a,1,7,1,0,0,0,-6\r\n\
                      ann,b,1,1,0,0,0,0,-1\r\n\\u{202e},b,1,3,2,0,0,0,-1\r\n,a,1,1,0,0,0,0,-1\r\n\
                      \"(ecash token, SHA-256 00...)\",a,1,1,1,0,0,0,0\r\neve,a,1,1,2,0,0,0,1\r\n";
        let shown = previewed(&[], deltas, 5);
        assert_eq!(
            users(&shown),
            [
                ("ann", 3, 6, Some((10, 4))),
                ("bob", 1, 6, Some((7, 1))),
                ("\\u{202e}", 2, 5, Some((8, 3))),
                ("", 1, 1, Some((1, 0))),
                ("(ecash token, SHA-256 00...)", 1, 0, Some((1, 1))),
            ]
        );
    }

    #[test]
    fn users_of_the_changes_are_listed_when_the_report_is_not_the_plans() {
        let of = |npub, amount| change(npub, amount, None);
        let changes = [
            of("bob", Some(6)),
            of("\u{202e}", Some(2)),
            of("cid", Some(5)),
            of("\u{202e}", Some(3)),
            of("dee", None),
            of("eve", Some(-1)),
        ];
        let sample =
            Sample { changes: &changes, deltas: "bob,a,1,7,1,0,0,0,-6\r\n", findings: json!(null) };
        let (_root, plan) = plan_with(&sample, |plan| plan.reports[0].sha256 = hash_bytes(b""));
        let shown = preview(&plan, 4).unwrap();
        assert_eq!(
            users(&shown),
            [
                ("bob", 1, 6, None),
                ("\\u{202e}", 2, 5, None),
                ("cid", 1, 5, None),
                ("dee", 1, 0, None)
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
