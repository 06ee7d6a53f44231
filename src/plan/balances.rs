//! What the repair takes from whom, from the report beside the plan, which its hash binds.

use super::file::{Plan, PlanError};
use super::groups::{Groups, Heaviest};
use super::tables::{Table, TableError};
use crate::scratch::ScratchError;
use csv::ByteRecord;

const REPORT: &str = "balance_deltas.csv";

/// What the repair takes from one user, over the mints where the plan changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserLoss {
    /// The user's cell in the reports.
    pub(super) user: String,
    pub(super) tokens: u64,
    pub(super) loss: i128,
    /// Unspent before.
    pub(super) before: i128,
    /// Unspent after.
    pub(super) after: i128,
}

/// Balances of the affected users.
#[derive(Debug, Default)]
pub(super) struct Balances {
    /// Those who lose most, largest loss first.
    pub(super) largest: Vec<UserLoss>,
    /// Affected users; who has no name is none.
    pub(super) users: u64,
    /// Those of them who lose half or more of what they see at these mints.
    pub(super) halved: u64,
    /// Users at mints whose balance is below zero after the repair and is lower than before.
    pub(super) below_zero: u64,
    /// The lowest of them.
    pub(super) lowest: i128,
    /// Users at mints with something before and exactly nothing after.
    pub(super) emptied: u64,
}

/// Why they can't be read.
enum Stop {
    Table,
    Scratch(ScratchError),
}

impl From<TableError> for Stop {
    fn from(_: TableError) -> Stop {
        Stop::Table
    }
}

impl From<ScratchError> for Stop {
    fn from(error: ScratchError) -> Stop {
        Stop::Scratch(error)
    }
}

impl Balances {
    /// Reads the balances beside `plan`, with the `most` users who lose most; `None` when the report is not
    /// the one that the plan names.
    ///
    /// # Errors
    /// [`PlanError::Scratch`].
    pub(super) fn read(plan: &Plan, most: usize) -> Result<Option<Balances>, PlanError> {
        if plan.intact_report(REPORT).is_none() {
            return Ok(None);
        }
        match Balances::from_rows(plan, most) {
            Ok(balances) => Ok(Some(balances)),
            Err(Stop::Table) => Ok(None),
            Err(Stop::Scratch(error)) => Err(error.into()),
        }
    }

    fn from_rows(plan: &Plan, most: usize) -> Result<Balances, Stop> {
        const TOKENS_FIXED: usize = 2;
        const BEFORE: usize = 3;
        const AFTER: usize = 4;
        const DELTA: usize = 8;
        let mut table = Table::open(plan.directory(), REPORT)?;
        let mut row = ByteRecord::new();
        let (mut balances, mut users) = (Balances::default(), Groups::new());
        while table.next_into(&mut row)? {
            let number = |cell| Ok::<_, TableError>(table.number(&row, cell)?.unwrap_or(0));
            let (before, after) = (number(BEFORE)?, number(AFTER)?);
            balances.weigh(before, after);
            let sums = [number(TOKENS_FIXED)?, -number(DELTA)?, before, after];
            users.add(row.get(0).unwrap_or_default(), sums)?;
        }
        let mut largest = Heaviest::new(most);
        users.each(|user, [tokens, loss, before, after]| {
            if !user.is_empty() {
                balances.users += 1;
                balances.halved += u64::from(before > 0 && after <= before / 2);
            }
            if largest.wants(loss) {
                let user = String::from_utf8_lossy(user).into_owned();
                let tokens = u64::try_from(tokens).unwrap_or(0);
                largest.offer(loss, UserLoss { user, tokens, loss, before, after });
            }
        })?;
        balances.largest = largest.into_groups().collect();
        Ok(balances)
    }

    /// Takes the balance of a user at a mint.
    fn weigh(&mut self, before: i128, after: i128) {
        if after < 0 && after < before {
            self.below_zero += 1;
            self.lowest = self.lowest.min(after);
        }
        self.emptied += u64::from(before > 0 && after == 0);
    }
}
