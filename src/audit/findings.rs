//! `findings.csv` counted once more.

use super::{Stop, hold};
use crate::analysis::ShownFindings;
use crate::model::{FindingCode, counted};
use crate::plan::{Plan, Table};
use crate::progress::Progress;
use csv::ByteRecord;
use std::collections::BTreeMap;

const CHECKED_ROWS: u64 = 65_536;

/// What `findings.csv` adds up to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) shown: ShownFindings,
    pub(super) by_code: [FoundCode; FindingCode::ALL.len()],
    /// Tokens of the rule's shape that the plan leaves, by reason.
    left: BTreeMap<String, u64>,
}

/// What the rows of one code add up to.
#[derive(Debug, Clone, Default)]
pub(super) struct FoundCode {
    pub(super) rows: u64,
    pub(super) amount: i128,
    /// Distinct secrets, where the rows are of secrets.
    pub(super) secrets: u64,
    /// Rows, or secrets, by the word that their detail is or begins with.
    pub(super) classes: BTreeMap<String, u64>,
}

/// Reads all rows; those of the rule's finding must be the plan's changes, in their order.
pub(super) fn read(plan: &Plan, progress: &Progress) -> Result<(String, Found), Stop> {
    let mut table = Table::open(plan.directory(), "findings.csv")?;
    let mut changes = Table::open(plan.directory(), "changes.csv")?;
    let (mut row, mut change) = (ByteRecord::new(), ByteRecord::new());
    let (mut found, mut total, mut last) = (Found::default(), 0_u64, 0);
    let mut secret = Vec::new();
    while table.next_into(&mut row)? {
        if total.is_multiple_of(CHECKED_ROWS) {
            progress.check()?;
        }
        total += 1;
        let text =
            |cell| std::str::from_utf8(row.get(cell).unwrap_or_default()).unwrap_or_default();
        let code = FindingCode::from_code(text(0))
            .filter(|code| code.index() >= last && code.severity().as_str() == text(1))
            .ok_or_else(|| table.odd(&row, "an unknown code, or one out of order"))?;
        last = code.index();
        let cells = || std::array::from_fn(|cell| row.get(cell + 2).unwrap_or_default());
        found.shown.offer(code, cells);
        let amount = table.number(&row, 5)?.unwrap_or(0);
        let of_code = &mut found.by_code[code.index()];
        of_code.rows += 1;
        of_code.amount += if code == FindingCode::AmountMismatch { amount.abs() } else { amount };
        let detail = text(6);
        match code {
            FindingCode::InconsistentStatus => match detail.rsplit_once("not changed: ") {
                Some((_, reason)) => *found.left.entry(reason.to_owned()).or_default() += 1,
                None => {
                    let is_change = changes.next_into(&mut change)? && change.get(0) == row.get(2);
                    let odd = || table.odd(&row, "a token that the plan does not change there");
                    hold(is_change, || odd().to_string())?;
                }
            },
            FindingCode::DuplicateSecrets | FindingCode::DoubleCounted => {
                let seen = secret_in(detail).ok_or_else(|| table.odd(&row, "no secret's name"))?;
                if of_code.secrets == 0 || secret != seen.as_bytes() {
                    seen.as_bytes().clone_into(&mut secret);
                    of_code.secrets += 1;
                    let class = detail.split(':').next().unwrap_or_default();
                    *of_code.classes.entry(class.to_owned()).or_default() += 1;
                }
            }
            FindingCode::OrphanedTokens => {
                *of_code.classes.entry(detail.to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }
    hold(!changes.next_into(&mut change)?, || "a change of the plan is no finding".to_owned())?;
    let planned = plan.content().not_changed.iter().filter(|(_, count)| **count > 0);
    hold(planned.eq(found.left.iter()), || {
        "the tokens left as they are are not those that plan.json counts".to_owned()
    })?;
    let rows = total;
    let changed = plan.content().totals.changes;
    Ok((
        format!(
            "{}; those of the rule are the plan's {}",
            counted(rows, "row"),
            counted(changed, "change")
        ),
        found,
    ))
}

/// The hashed name of the secret that a row is about.
fn secret_in(detail: &str) -> Option<&str> {
    detail.split_once("secret ")?.1.get(..16)
}
