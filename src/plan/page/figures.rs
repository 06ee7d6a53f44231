//! What the page shows of a plan, added up from its CSV reports in bounded memory.

use super::PageError;
use crate::analysis::ShownCell;
use crate::model::Timestamp;
use crate::plan::groups::{Groups, Heaviest};
use crate::plan::size::Size;
use crate::plan::tables::Table;
use crate::scratch::ScratchError;
use csv::ByteRecord;
use std::collections::BTreeMap;
use std::path::Path;

/// Most rows of `balance_deltas.csv` on the page.
pub(super) const DELTAS_SHOWN_MAX: usize = 5_000;
/// Most users in the chart.
const USERS_SHOWN_MAX: usize = 10;
/// Most mints in the chart.
const MINTS_SHOWN_MAX: usize = 10;
const MS_PER_DAY: i64 = 86_400_000;
/// Days that a chart of time can show: 1970 to 2099.
const DAYS_SHOWN_MAX: i64 = 47_482;

/// Records, the sum of their amounts, and the change of the balances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) records: u64,
    pub(super) amount: i128,
    pub(super) delta: i128,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.records += other.records;
        self.amount += other.amount;
        self.delta += other.delta;
    }

    fn numbers(self) -> [i128; 3] {
        [self.records.into(), self.amount, self.delta]
    }

    fn of_numbers([records, amount, delta]: [i128; 3]) -> Sum {
        Sum { records: u64::try_from(records).unwrap_or(0), amount, delta }
    }
}

/// The groups with the largest sums, and all others together.
#[derive(Debug, Clone, Default)]
pub(super) struct Largest {
    pub(super) groups: Vec<(ShownCell, Sum)>,
    pub(super) others: u64,
    pub(super) of_others: Sum,
    pub(super) total: Sum,
}

/// Everything that is added up.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    /// By the day of creation, in days since 1970.
    pub(super) days: BTreeMap<i64, Sum>,
    /// Without a date that a chart can show.
    pub(super) undated: Sum,
    pub(super) sizes: BTreeMap<Size, Sum>,
    pub(super) users: Largest,
    pub(super) mints: Largest,
    /// The first rows of `balance_deltas.csv`, and how many there are.
    pub(super) deltas: Vec<[ShownCell; 9]>,
    pub(super) deltas_total: u64,
}

impl Figures {
    /// Reads the reports of the plan in `directory`.
    pub(super) fn read(directory: &Path) -> Result<Figures, PageError> {
        let mut figures = Figures::default();
        let (mut users, mut mints) = (Groups::new(), Groups::new());
        figures.read_changes(directory, &mut mints)?;
        figures.read_deltas(directory, &mut users, &mut mints)?;
        figures.users = largest(users, USERS_SHOWN_MAX, |sum| -sum.delta)?;
        figures.mints = largest(mints, MINTS_SHOWN_MAX, |sum| sum.amount)?;
        Ok(figures)
    }

    fn read_changes(&mut self, directory: &Path, mints: &mut Groups<3>) -> Result<(), PageError> {
        const MINT_URL: usize = 3;
        const AMOUNT: usize = 5;
        const CREATED_AT: usize = 10;
        let mut table = Table::open(directory, "changes.csv")?;
        let mut row = ByteRecord::new();
        while table.next_into(&mut row)? {
            let amount = table.number(&row, AMOUNT)?;
            let sum = Sum { records: 1, amount: amount.unwrap_or(0), delta: 0 };
            self.sizes.entry(Size::of(amount)).or_default().add(sum);
            let created = std::str::from_utf8(row.get(CREATED_AT).unwrap_or_default());
            let created = created.ok().and_then(|text| text.parse::<Timestamp>().ok());
            let day = created.map(|Timestamp(ms)| ms.div_euclid(MS_PER_DAY));
            match day.filter(|day| (0..DAYS_SHOWN_MAX).contains(day)) {
                Some(day) => self.days.entry(day).or_default().add(sum),
                None => self.undated.add(sum),
            }
            mints.add(row.get(MINT_URL).unwrap_or_default(), sum.numbers())?;
        }
        Ok(())
    }

    fn read_deltas(
        &mut self,
        directory: &Path,
        users: &mut Groups<3>,
        mints: &mut Groups<3>,
    ) -> Result<(), PageError> {
        const TOKENS_FIXED: usize = 2;
        const DELTA: usize = 8;
        let mut table = Table::open(directory, "balance_deltas.csv")?;
        let mut row = ByteRecord::new();
        while table.next_into(&mut row)? {
            self.deltas_total += 1;
            if self.deltas.len() < DELTAS_SHOWN_MAX {
                let cell = |cell| ShownCell::of(row.get(cell).unwrap_or_default());
                self.deltas.push(std::array::from_fn(cell));
            }
            let fixed = table.number(&row, TOKENS_FIXED)?.unwrap_or(0);
            let delta = table.number(&row, DELTA)?.unwrap_or(0);
            let records = u64::try_from(fixed)
                .map_err(|_| table.odd(&row, "a count that is below zero or beyond 2^64"))?;
            let of_user = Sum { records, amount: 0, delta };
            users.add(row.get(0).unwrap_or_default(), of_user.numbers())?;
            let of_mint = Sum { delta, ..Sum::default() };
            mints.add(row.get(1).unwrap_or_default(), of_mint.numbers())?;
        }
        Ok(())
    }
}

/// The `most` groups that `weight` says are largest, of equal ones those that sort first, and all others added up.
fn largest(
    groups: Groups<3>,
    most: usize,
    weight: fn(&Sum) -> i128,
) -> Result<Largest, ScratchError> {
    let mut all = Largest::default();
    let mut heaviest = Heaviest::new(most);
    groups.each(|key, numbers| {
        let sum = Sum::of_numbers(numbers);
        all.total.add(sum);
        if let Some((_, least)) = heaviest.offer(weight(&sum), (ShownCell::of(key), sum)) {
            all.others += 1;
            all.of_others.add(least);
        }
    })?;
    all.groups = heaviest.into_groups().collect();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::REPORTS_DIRECTORY;
    use crate::plan::samples::DELTAS_HEADER;
    use std::fs;

    #[test]
    fn the_largest_groups_are_kept_and_the_others_added_up() {
        let mut groups = Groups::new();
        for (key, amount) in [("b", 5), ("a", 5), ("c", 1), ("d", 9), ("c", 3), ("e", -2)] {
            groups.add(key.as_bytes(), Sum { records: 1, amount, delta: 0 }.numbers()).unwrap();
        }
        let all = largest(groups, 3, |sum| sum.amount).unwrap();
        let names: Vec<&str> = all.groups.iter().map(|(cell, _)| cell.text.as_str()).collect();
        assert_eq!(names, ["d", "a", "b"]);
        assert_eq!((all.others, all.of_others.amount, all.of_others.records), (2, 2, 3));
        assert_eq!((all.total.amount, all.total.records), (21, 6));
    }

    #[test]
    fn rows_beyond_the_bound_are_counted_and_added_up_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let reports = root.path().join(REPORTS_DIRECTORY);
        fs::create_dir(&reports).unwrap();
        let row = "ann,mint,1,5,2,0,0,3,-3\r\n".repeat(DELTAS_SHOWN_MAX + 2);
        fs::write(reports.join("balance_deltas.csv"), format!("{DELTAS_HEADER}{row}")).unwrap();
        let header = "token_id,npub,wallet_id,mint_url,transaction_id,amount,status_before,\
                      status_after,spent_at_before,spent_at_after,created_at\r\n";
        let change = |amount: &str, created: &str| {
            format!("7,ann,w,mint,t,{amount},unspent,spent,,,{created}\r\n")
        };
        let rows = [
            change("3", "1970-01-02T23:59:59.999Z"),
            change("", "1970-01-01T00:00:00.000Z"),
            change("-4", "1969-12-31T23:59:59.999Z"),
            change("10", "2100-01-01T00:00:00.000Z"),
            change("0", ""),
        ];
        fs::write(reports.join("changes.csv"), format!("{header}{}", rows.concat())).unwrap();
        let figures = Figures::read(root.path()).unwrap();
        let shown = DELTAS_SHOWN_MAX as u64;
        assert_eq!((figures.deltas.len() as u64, figures.deltas_total), (shown, shown + 2));
        let delta = -3 * i128::from(shown + 2);
        assert_eq!(figures.users.total, Sum { records: shown + 2, amount: 0, delta });
        assert_eq!(figures.mints.total, Sum { records: 5, amount: 9, delta });
        let one = |amount| Sum { records: 1, amount, delta: 0 };
        assert_eq!(figures.days, [(0, one(0)), (1, one(3))].into());
        assert_eq!(figures.undated, Sum { records: 3, amount: 6, delta: 0 });
        let sizes = [
            (Size::NotAnAmount, one(0)),
            (Size::Negative, one(-4)),
            (Size::Digits(0), one(0)),
            (Size::Digits(1), one(3)),
            (Size::Digits(2), one(10)),
        ];
        assert_eq!(figures.sizes, sizes.into());
    }
}
