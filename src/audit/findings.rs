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
    copies: Copies,
}

/// Listed proofs of secrets that occur more than once, by class and by how many proofs their secret has. A secret
/// of `n` proofs is listed `n` times, so that none need be remembered to count them.
#[derive(Debug, Clone, Default)]
struct Copies(BTreeMap<String, BTreeMap<u64, u64>>);

impl Copies {
    /// Adds the secrets that a row lists, whose amounts are the row's.
    fn add(&mut self, code: FindingCode, detail: &str, amount: i128) -> Option<()> {
        let mut parts = detail.split("; ");
        let (judged, _) = parts.next()?.split_once(": ")?;
        let (class, is_counted) = match (code, judged) {
            (FindingCode::DuplicateSecrets, class) => (class, true),
            (_, "counted but not there") => ("", true),
            (_, "not counted twice") => ("", false),
            _ => return None,
        };
        let by_proofs = self.0.entry(class.to_owned()).or_default();
        let mut sum = 0;
        for part in parts {
            let (name, rest) = part.strip_prefix("secret ")?.split_once(" of ")?;
            let (of, rest) = rest.split_once(" in ")?;
            let proofs: u64 = rest.strip_suffix(" proofs")?.parse().ok()?;
            if name.len() != 16 || proofs < 2 {
                return None;
            }
            sum += i128::from(of.parse::<i64>().ok()?);
            *by_proofs.entry(proofs).or_default() += 1;
        }
        (sum * i128::from(is_counted) == amount).then_some(())
    }

    /// The secrets of each class.
    fn secrets(self) -> Result<BTreeMap<String, u64>, Stop> {
        let mut secrets = BTreeMap::new();
        for (class, by_proofs) in self.0 {
            let mut count = 0;
            for (proofs, listed) in by_proofs {
                hold(listed.is_multiple_of(proofs), || {
                    format!("of secrets in {proofs} proofs, {listed} proofs are listed")
                })?;
                count += listed / proofs;
            }
            secrets.insert(class, count);
        }
        Ok(secrets)
    }
}

/// Reads all rows; those of the rule's finding must be the plan's changes, in their order.
pub(super) fn read(plan: &Plan, progress: &Progress) -> Result<(String, Found), Stop> {
    let mut table = Table::open(plan.directory(), "findings.csv")?;
    let mut changes = Table::open(plan.directory(), "changes.csv")?;
    let (mut row, mut change) = (ByteRecord::new(), ByteRecord::new());
    let (mut found, mut total, mut last) = (Found::default(), 0_u64, 0);
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
                let copies = &mut of_code.copies;
                let odd = || table.odd(&row, "secrets that do not add up to its amount");
                copies.add(code, detail, amount).ok_or_else(odd)?;
            }
            FindingCode::OrphanedTokens => {
                *of_code.classes.entry(detail.to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }
    for code in [FindingCode::DuplicateSecrets, FindingCode::DoubleCounted] {
        let of_code = &mut found.by_code[code.index()];
        of_code.classes = std::mem::take(&mut of_code.copies).secrets()?;
        of_code.secrets = of_code.classes.values().sum();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_counted_by_what_is_listed_of_them() {
        let code = FindingCode::DuplicateSecrets;
        let name = "0123456789abcdef";
        let mut copies = Copies::default();
        let twice = format!("benign_copy: gone here; secret {name} of 4 in 2 proofs");
        let both = format!("{twice}; secret {name} of -1 in 3 proofs");
        for (detail, amount) in [(&twice, 4), (&both, 3), (&both, 3), (&both, 3)] {
            copies.add(code, detail, amount).unwrap();
        }
        let counted = BTreeMap::from([("benign_copy".to_owned(), 2 + 1)]);
        assert_eq!(copies.clone().secrets().ok(), Some(counted));
        copies.add(code, &twice, 4).unwrap();
        assert!(copies.secrets().is_err(), "five proofs of secrets that stand in two");

        let refused = |code, detail: &str, amount| {
            assert_eq!(Copies::default().add(code, detail, amount), None, "{detail}");
        };
        refused(code, &twice, 5);
        refused(code, &twice.replace("in 2", "in 1"), 4);
        refused(code, &twice.replace(name, "0123"), 4);
        refused(code, &twice.replace(" proofs", ""), 4);
        let code = FindingCode::DoubleCounted;
        refused(code, &twice, 4);
        let listed = |judged: &str| twice.replace("benign_copy", judged);
        assert_eq!(Copies::default().add(code, &listed("counted but not there"), 4), Some(()));
        assert_eq!(Copies::default().add(code, &listed("not counted twice"), 0), Some(()));
        refused(code, &listed("not counted twice"), 4);
    }
}
