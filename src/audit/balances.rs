//! `changes.csv` against the changes, and both balance reports against it and each other.

use super::{SORTER_BYTES_MAX, Stop, hold};
use crate::analysis::CsvRows;
use crate::document::{Value, date_text, identifier_text};
use crate::model::{counted, grouped, hash_bytes};
use crate::plan::{Change, Plan, Table};
use crate::progress::Progress;
use crate::scratch::{Row, ScratchError, Sorter};
use csv::ByteRecord;

const CHANGES: &str = "changes.csv";
const DELTAS: &str = "balance_deltas.csv";
const BALANCES: &str = "balances.csv";

/// `changes.csv` has one row for each change, in their order, and every cell is the change's.
pub(super) fn changes(plan: &Plan, progress: &Progress) -> Result<String, Stop> {
    let mut table = Table::open(plan.directory(), CHANGES)?;
    let (mut row, mut number) = (ByteRecord::new(), 0_u64);
    for batch in plan.batches() {
        progress.check()?;
        let batch = batch.map_err(|error| Stop::Fails(super::what(&error.to_string())))?;
        for change in batch.changes() {
            hold(table.next_into(&mut row)?, || format!("it has {number} rows and no more"))?;
            let differs = differing_cell(&change, &row);
            hold(differs.is_none(), || {
                let column = differs.and_then(|cell| table.header().get(cell)).unwrap_or_default();
                format!(
                    "{} of token {} (row {}, counted as a spreadsheet does) is not what changes.bson says",
                    String::from_utf8_lossy(column),
                    crate::analysis::cell_text(&identifier_text(change.id)),
                    number + 2
                )
            })?;
            number += 1;
        }
    }
    hold(!table.next_into(&mut row)?, || format!("it has more than {number} rows"))?;
    Ok(format!("{}, each cell as in changes.bson", counted(number, "row")))
}

/// The first cell of `row` that is not what `change` says.
fn differing_cell(change: &Change<'_>, row: &ByteRecord) -> Option<usize> {
    // One that could hold a secret was left out of the changes: the report has its hash.
    let name = |value: Option<Value<'_>>| value.map(|it| identifier_text(it).into_bytes());
    let text = |value: Option<Value<'_>>| value.and_then(Value::as_text_bytes).map(<[u8]>::to_vec);
    let date = |value: Option<Value<'_>>| value.map(date_text).unwrap_or_default().into_bytes();
    let amount = change.amount.map(|amount| amount.to_string()).unwrap_or_default();
    let status = |value: Option<Value<'_>>| text(value).unwrap_or_default();
    let expected = [
        Some(identifier_text(change.id).into_bytes()),
        text(change.npub),
        name(change.wallet_id),
        text(change.mint_url),
        name(change.transaction_id),
        Some(amount.into_bytes()),
        Some(status(change.before.get("status"))),
        Some(status(change.after.get("status"))),
        Some(date(change.before.get("spent_at"))),
        Some(date(change.after.get("spent_at"))),
        Some(date(change.created_at)),
    ];
    expected.iter().enumerate().position(|(cell, expected)| {
        let seen = row.get(cell).unwrap_or_default();
        match expected {
            None => !(seen.is_empty() || seen.starts_with(b"(")),
            Some(expected) => seen != csv_cell(expected, cell),
        }
    })
}

/// The columns that remelt fills, and that are never neutralised.
const OWN_COLUMNS: std::ops::RangeInclusive<usize> = 5..=10;

/// A column of text from the data.
pub(super) const TEXT_COLUMN: usize = 0;

/// `bytes` as the cell that a reader of the CSV sees.
pub(super) fn csv_cell(bytes: &[u8], column: usize) -> Vec<u8> {
    if OWN_COLUMNS.contains(&column) {
        return bytes.to_vec();
    }
    let mut rows = CsvRows::new();
    rows.text(bytes);
    // A second cell, so that an empty first one is a row too.
    rows.own("");
    rows.end_row();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(rows.bytes());
    let mut row = ByteRecord::new();
    // A row of our own making, in memory: reading it can't fail.
    let _ = reader.read_byte_record(&mut row);
    row.get(0).unwrap_or_default().to_vec()
}

/// Where a row of a group comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Changes,
    Deltas,
    Balances,
}

/// What one report says of a user and mint.
#[derive(Debug, Default, PartialEq, Eq)]
struct Side {
    records: i128,
    delta: i128,
    /// Hashes of the rows that change something.
    rows: Vec<[u8; 32]>,
}

/// Every row adds up, the two reports agree, and both are what the changes give, for every user and mint.
pub(super) fn balances(plan: &Plan, progress: &Progress) -> Result<String, Stop> {
    let mut sorter = Sorter::new(&std::env::temp_dir(), SORTER_BYTES_MAX);
    add_changes(plan, &mut sorter)?;
    let deltas = add_balances(plan, DELTAS, From::Deltas, &mut sorter)?;
    let balances = add_balances(plan, BALANCES, From::Balances, &mut sorter)?;
    progress.check()?;
    let mut sorted = sorter.finish()?;
    let (mut row, mut total) = (Row::default(), Side::default());
    let mut more = sorted.next_into(&mut row)?;
    while more {
        let key = std::mem::take(&mut row.key);
        let mut sides: [Side; 3] = Default::default();
        loop {
            add(&mut sides, &row.payload).ok_or(ScratchError::Damaged)?;
            more = sorted.next_into(&mut row)?;
            if !more || row.key != key {
                break;
            }
        }
        let [changes, deltas, balances] = sides;
        hold(deltas == balances, || format!("a row of {DELTAS} is not that of {BALANCES}"))?;
        let agree = (changes.records, changes.delta) == (deltas.records, deltas.delta);
        hold(agree, || {
            format!("a row of {DELTAS} is not what the changes of its user and mint give")
        })?;
        total.records += changes.records;
        total.delta += changes.delta;
    }
    let totals = &plan.content().totals;
    hold((total.records, -total.delta) == (totals.changes.into(), totals.amount.0), || {
        format!("balances change by {}, the changes have {} in all", total.delta, totals.amount.0)
    })?;
    Ok(format!(
        "{} of {} changed; they fall by {}, the sum of the changes, for every user and mint",
        grouped(deltas.into()),
        counted(balances, "balance"),
        grouped(-total.delta)
    ))
}

fn add(sides: &mut [Side; 3], payload: &[u8]) -> Option<()> {
    let (from, rest) = payload.split_first()?;
    let (records, rest) = rest.split_first_chunk::<16>()?;
    let (delta, rest) = rest.split_first_chunk::<16>()?;
    let side = sides.get_mut(usize::from(*from))?;
    let records = i128::from_le_bytes(*records);
    side.records += records;
    side.delta += i128::from_le_bytes(*delta);
    if records != 0
        && let Some(hash) = rest.first_chunk()
    {
        side.rows.push(*hash);
    }
    Some(())
}

fn push(
    sorter: &mut Sorter,
    [npub, mint]: [&[u8]; 2],
    from: From,
    [records, delta]: [i128; 2],
    row: &[u8],
) -> Result<(), ScratchError> {
    let key = [&(npub.len() as u64).to_be_bytes()[..], npub, mint].concat();
    let [records, delta] = [records, delta].map(i128::to_le_bytes);
    sorter.push(&key, &[&[from as u8][..], &records, &delta, row].concat())
}

fn add_changes(plan: &Plan, sorter: &mut Sorter) -> Result<(), Stop> {
    let mut table = Table::open(plan.directory(), CHANGES)?;
    let mut row = ByteRecord::new();
    while table.next_into(&mut row)? {
        let amount = table.number(&row, 5)?.unwrap_or(0);
        let cell = |cell| row.get(cell).unwrap_or_default();
        push(sorter, [cell(1), cell(3)], From::Changes, [1, -amount], &[])?;
    }
    Ok(())
}

fn add_balances(plan: &Plan, name: &str, from: From, sorter: &mut Sorter) -> Result<u64, Stop> {
    let mut table = Table::open(plan.directory(), name)?;
    let (mut row, mut count) = (ByteRecord::new(), 0);
    let mut before = None;
    while table.next_into(&mut row)? {
        let number =
            |cell| table.number(&row, cell)?.ok_or_else(|| table.odd(&row, "an empty cell"));
        let [fixed, unspent, unspent_after] = [number(2)?, number(3)?, number(4)?];
        let [spent, spent_after, delta] = [number(6)?, number(7)?, number(8)?];
        number(5)?;
        let adds_up = unspent_after - unspent == delta
            && spent_after - spent == -delta
            && (fixed > 0 || delta == 0)
            && fixed >= 0;
        hold(adds_up, || table.odd(&row, "balances that do not add up").to_string())?;
        if from == From::Deltas {
            let is_ordered = fixed > 0 && before.is_none_or(|before| before <= delta);
            hold(is_ordered, || {
                table.odd(&row, "a row out of order, or of no change").to_string()
            })?;
            before = Some(delta);
        }
        let cell = |cell| row.get(cell).unwrap_or_default();
        let hash = hash_bytes(row.as_slice()).0;
        push(sorter, [cell(0), cell(1)], from, [fixed, delta], &hash)?;
        count += 1;
    }
    Ok(count)
}
