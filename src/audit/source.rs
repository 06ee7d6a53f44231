//! The plan against the snapshot that it was made from.
//!
//! Twice: the documents are walked by themselves, with nothing of the analysis, for the changes and the
//! balances; and the whole analysis is repeated and every byte of it compared.

use super::balances::{TEXT_COLUMN, csv_cell};
use super::{ANEW, AuditError, SORTER_BYTES_MAX, Stop, check, hold};
use crate::analysis::RuleOptions;
use crate::document::{Malformed, Value, find};
use crate::model::{Check, counted};
use crate::plan::{
    Batch, BuildOptions, Origin, PLAN_FILE, Plan, REPORTS_DIRECTORY, SUMMARY_FILE, Table,
    build_as_of, has_parquet, hash_file, summed_files,
};
use crate::progress::{Progress, Unit};
use crate::scratch::{Row, ScratchError, SortedRows, Sorter};
use crate::snapshot::Snapshot;
use crate::snapshot::identity::{ChunkTable, root_hash};
use crate::snapshot::input::Collection;
use csv::ByteRecord;
use std::time::Duration;

/// All checks that need the snapshot.
pub(super) fn audit(
    plan: &Plan,
    snapshot: &Snapshot,
    options: &BuildOptions,
    progress: &Progress,
    checks: &mut Vec<Check>,
) -> Result<(), AuditError> {
    let mut balances = Sorter::new(&std::env::temp_dir(), SORTER_BYTES_MAX);
    let mut changes = Changes { plan, batch: None, next_batch: 0, index: 0, seen: 0 };
    let mut changes_hold = Ok(());
    let tokens = read(&snapshot.input.tokens, progress, |ordinal, document| {
        let malformed = |fault| AuditError::Malformed { ordinal, fault };
        if changes_hold.is_ok() {
            changes_hold = changes.meet(ordinal, document);
        }
        let (key, sums) = balance(document).map_err(malformed)?;
        Ok(balances.push(&key, &sums)?)
    })?;
    let wallets = match &snapshot.input.wallets {
        None => None,
        Some(wallets) => Some(read(wallets, progress, |_, _| Ok(()))?),
    };
    snapshot.check(&tokens, wallets.as_ref())?;
    let root = root_hash(&tokens, wallets.as_ref());
    if root != plan.content().snapshot.sha256 {
        let detail = format!("it is {root}, the plan was made from another one");
        let action = "name the snapshot that the plan was made from";
        checks.push(Check::fail("snapshot", detail, action));
        return Ok(());
    }
    checks.push(Check::pass("snapshot", format!("it is {root}, which the plan was made from")));
    let answer = changes_hold.and_then(|()| changes.finish());
    checks.push(check("changes against documents", answer)?);
    let answer = compare_balances(plan, balances);
    checks.push(check("balances against documents", answer)?);
    checks.push(repeat(plan, snapshot, options, progress)?);
    Ok(())
}

/// Gives every document of a collection, with its number, to `each`.
fn read(
    collection: &Collection,
    progress: &Progress,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), AuditError>,
) -> Result<ChunkTable, AuditError> {
    progress.begin("reading documents", collection.stored_bytes(), Unit::Bytes);
    let mut ordinal = 0;
    collection.each_chunk(progress, |chunk| {
        for (_, document) in chunk.framed() {
            each(ordinal, document)?;
            ordinal += 1;
        }
        Ok(())
    })
}

/// The plan's changes, met in the order of their documents.
struct Changes<'a> {
    plan: &'a Plan,
    batch: Option<Batch>,
    next_batch: usize,
    index: usize,
    seen: u64,
}

impl Changes<'_> {
    /// Compares the change of the document with this number, if there is one.
    fn meet(&mut self, ordinal: u64, document: &[u8]) -> Result<(), Stop> {
        if self.batch.as_ref().is_none_or(|batch| self.index >= batch.len()) {
            if self.next_batch >= self.plan.content().batches.len() {
                return Ok(());
            }
            let batch = self.plan.read_batch(self.next_batch);
            self.batch = Some(batch.map_err(|error| Stop::Fails(super::what(&error.to_string())))?);
            self.next_batch += 1;
            self.index = 0;
        }
        let change = self.batch.as_ref().and_then(|batch| batch.change(self.index));
        let Some(change) = change.filter(|change| change.ordinal == ordinal) else { return Ok(()) };
        hold(change.is_before(document), || {
            format!("document {ordinal} is not what its change says that it was")
        })?;
        let after = change.after.put_into(document);
        hold(after.is_ok_and(|after| change.is_after(&after)), || {
            format!("the change of document {ordinal} does not give what it says")
        })?;
        self.index += 1;
        self.seen += 1;
        Ok(())
    }

    fn finish(self) -> Result<String, Stop> {
        let planned = self.plan.content().totals.changes;
        hold(self.seen == planned, || {
            format!("{} of {planned} changes have a document", self.seen)
        })?;
        Ok(format!(
            "{} have the hash before, and give the hash after",
            counted(planned, "document")
        ))
    }
}

/// The statuses that `balances.csv` has a column of, and these columns.
const COLUMNS: [(&[u8], usize); 3] = [(b"unspent", 3), (b"pending", 5), (b"spent", 6)];

type Sums = [i128; COLUMNS.len()];

fn key(npub: &[u8], mint: &[u8]) -> Vec<u8> {
    [&(npub.len() as u64).to_be_bytes()[..], npub, mint].concat()
}

fn payload(sums: Sums) -> Vec<u8> {
    sums.iter().flat_map(|sum| sum.to_le_bytes()).collect()
}

/// What one document adds to which user and mint.
fn balance(document: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
    let field = |name: &[u8]| Ok(find(document, name)?.map(|element| element.value));
    let text = |value: Option<Value<'_>>| {
        csv_cell(value.and_then(Value::as_text_bytes).unwrap_or_default(), TEXT_COLUMN)
    };
    let status = field(b"status")?.and_then(Value::as_text_bytes);
    let amount = field(b"total_amount")?.and_then(Value::as_amount).unwrap_or(0);
    let sums = COLUMNS.map(|(name, _)| if status == Some(name) { amount.into() } else { 0 });
    Ok((key(&text(field(b"npub")?), &text(field(b"mint_url")?)), payload(sums)))
}

/// Takes the report's sums from the documents': nothing must be left for any user and mint.
fn compare_balances(plan: &Plan, mut documents: Sorter) -> Result<String, Stop> {
    let mut table = Table::open(plan.directory(), "balances.csv")?;
    let (mut row, mut count) = (ByteRecord::new(), 0_u64);
    while table.next_into(&mut row)? {
        let mut sums = Sums::default();
        for (sum, (_, column)) in sums.iter_mut().zip(COLUMNS) {
            *sum = -table.number(&row, column)?.unwrap_or(0);
        }
        let cell = |cell| row.get(cell).unwrap_or_default();
        documents.push(&key(cell(0), cell(1)), &payload(sums))?;
        count += 1;
    }
    let differs = left_over(documents.finish()?)?;
    hold(differs == 0, || format!("{differs} users and mints have another balance"))?;
    Ok(format!("{}, added up anew from the documents alone", counted(count, "balance")))
}

/// How many groups do not add up to nothing.
fn left_over(mut sorted: SortedRows) -> Result<u64, ScratchError> {
    let (mut row, mut key, mut left, mut differ) = (Row::default(), None, Sums::default(), 0);
    while sorted.next_into(&mut row)? {
        if key.as_ref() != Some(&row.key) {
            differ += u64::from(left != Sums::default());
            left = Sums::default();
            key = Some(row.key.clone());
        }
        for (sum, bytes) in left.iter_mut().zip(row.payload.as_chunks::<16>().0) {
            *sum += i128::from_le_bytes(*bytes);
        }
    }
    Ok(differ + u64::from(left != Sums::default()))
}

/// Repeats the analysis and compares every file but those with measured times.
fn repeat(
    plan: &Plan,
    snapshot: &Snapshot,
    options: &BuildOptions,
    progress: &Progress,
) -> Result<Check, AuditError> {
    let name = "analysis repeated";
    let scratch = tempfile::Builder::new().prefix("remelt-audit-").tempdir();
    let scratch =
        scratch.map_err(|source| ScratchError::Io { directory: std::env::temp_dir(), source })?;
    let rule = &plan.content().rule;
    let mut options = options.clone();
    options.analyze.rule = RuleOptions { spent_at: rule.spent_at, repair_time: rule.repair_time };
    let is_same_tool = options.tool == plan.content().tool;
    options.parquet = has_parquet(plan.directory());
    options.tool.clone_from(&plan.content().tool);
    let again = scratch.path().join("plan");
    // The hash tells that the documents are the same; their form may say less of where they came from.
    let origin = Origin::recorded(&plan.content().snapshot);
    build_as_of(origin, snapshot, &again, &options, &|| Duration::ZERO, progress)?;
    let summary = format!("{REPORTS_DIRECTORY}/{SUMMARY_FILE}");
    let files: Vec<String> =
        summed_files(plan.directory()).into_iter().filter(|file| *file != summary).collect();
    let hash = |file: &String| {
        let of = |directory: &std::path::Path| hash_file(&directory.join(file)).ok();
        of(&again).filter(|hash| of(plan.directory()) == Some(*hash))
    };
    let differing: Vec<&str> =
        files.iter().filter(|file| hash(file).is_none()).map(String::as_str).collect();
    Ok(match (differing.is_empty(), is_same_tool) {
        (true, _) => {
            let count = files.len() as u64;
            Check::pass(
                name,
                format!("{} once more, the same bytes; {PLAN_FILE} too", counted(count, "file")),
            )
        }
        (false, true) => Check::fail(name, format!("not the same: {}", differing.join(", ")), ANEW),
        (false, false) => {
            let detail = format!("another version's plan; not the same: {}", differing.join(", "));
            Check::warn(name, detail, "audit with the version that plan.json names")
        }
    })
}
