//! Balances of the affected users, from the report beside the plan, which its hash binds.

use super::file::Plan;
use super::tables::{Table, TableError};
use csv::ByteRecord;
use std::collections::BTreeMap;

const REPORT: &str = "balance_deltas.csv";

/// What a user may spend, before and after the repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Balance {
    /// Unspent before, at the mints where the plan changes something.
    pub(super) before: i128,
    /// Unspent after.
    pub(super) after: i128,
}

/// Balances of the affected users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Balances {
    /// By user as the report's cell shows it: sums over the affected mints.
    pub(super) by_user: BTreeMap<String, Balance>,
    /// Users at mints whose balance is below zero after the repair and is lower than before.
    pub(super) below_zero: u64,
    /// The lowest of them.
    pub(super) lowest: i128,
    /// Users at mints with something before and exactly nothing after.
    pub(super) emptied: u64,
}

impl Balances {
    /// Reads the balances beside `plan`; `None` when the report is not the one that the plan names.
    pub(super) fn read(plan: &Plan) -> Option<Balances> {
        plan.intact_report(REPORT)?;
        Balances::from_rows(plan).ok()
    }

    fn from_rows(plan: &Plan) -> Result<Balances, TableError> {
        let mut table = Table::open(plan.directory(), REPORT)?;
        let mut row = ByteRecord::new();
        let mut balances = Balances::default();
        while table.next_into(&mut row)? {
            let number = |cell| Ok(table.number(&row, cell)?.unwrap_or(0));
            let balance = Balance { before: number(3)?, after: number(4)? };
            balances.add(&String::from_utf8_lossy(row.get(0).unwrap_or_default()), balance);
        }
        Ok(balances)
    }

    /// The sums of each user; who has no name is none.
    pub(super) fn users(&self) -> impl Iterator<Item = &Balance> {
        self.by_user.iter().filter(|(user, _)| !user.is_empty()).map(|(_, balance)| balance)
    }

    fn add(&mut self, user: &str, balance: Balance) {
        if balance.after < 0 && balance.after < balance.before {
            self.below_zero += 1;
            self.lowest = self.lowest.min(balance.after);
        }
        self.emptied += u64::from(balance.before > 0 && balance.after == 0);
        let sums = self.by_user.entry(user.to_owned()).or_default();
        sums.before = sums.before.saturating_add(balance.before);
        sums.after = sums.after.saturating_add(balance.after);
    }
}
