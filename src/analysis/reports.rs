//! The CSV reports: rows on their way, and the files at the end.
//!
//! `docs/auditors-guide.md` describes every column. Order is fixed by the data alone.

use super::csv::CsvRows;
use super::findings_file::FindingsFile;
use super::positions::{Mask, Position, SummedPosition, SummedPositions};
use super::rule::ProposedChange;
use super::token::Token;
use super::{AnalyzeError, FindingTotals};
use crate::document::{Value, date_text, identifier_text};
use crate::model::{FindingCode, Sha256Hash, Status};
use crate::publish::{PublishError, at, create_private_file};
use crate::scratch::{Row, SortedRows, Sorter};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const CHANGES_COLUMNS: [&str; 11] = [
    "token_id",
    "npub",
    "wallet_id",
    "mint_url",
    "transaction_id",
    "amount",
    "status_before",
    "status_after",
    "spent_at_before",
    "spent_at_after",
    "created_at",
];
const FINDINGS_COLUMNS: [&str; 7] =
    ["code", "severity", "token_id", "npub", "mint_url", "amount", "detail"];
const BALANCES_COLUMNS: [&str; 9] = [
    "npub",
    "mint_url",
    "tokens_fixed",
    "unspent_before",
    "unspent_after",
    "pending",
    "spent_before",
    "spent_after",
    "delta",
];

/// A report file, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenReport {
    /// Its name.
    pub name: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256Hash,
}

/// A report file under construction.
#[derive(Debug)]
pub(super) struct ReportFile {
    name: &'static str,
    path: PathBuf,
    file: BufWriter<File>,
    hasher: Sha256,
    bytes: u64,
}

impl ReportFile {
    fn create(
        directory: &Path,
        name: &'static str,
        columns: &[&str],
    ) -> Result<ReportFile, PublishError> {
        let path = directory.join(name);
        let file = BufWriter::with_capacity(128 * 1024, create_private_file(&path)?);
        let mut report = ReportFile { name, path, file, hasher: Sha256::new(), bytes: 0 };
        report.write(CsvRows::with_header(columns).bytes())?;
        Ok(report)
    }

    /// `changes.csv` in `directory`.
    pub(super) fn changes(directory: &Path) -> Result<ReportFile, PublishError> {
        ReportFile::create(directory, "changes.csv", &CHANGES_COLUMNS)
    }

    /// `findings.csv` in `directory`.
    pub(super) fn findings(directory: &Path) -> Result<ReportFile, PublishError> {
        ReportFile::create(directory, "findings.csv", &FINDINGS_COLUMNS)
    }

    pub(super) fn write(&mut self, rows: &[u8]) -> Result<(), PublishError> {
        self.hasher.update(rows);
        self.bytes += rows.len() as u64;
        self.file.write_all(rows).map_err(at("write", &self.path))
    }

    pub(super) fn finish(self) -> Result<WrittenReport, PublishError> {
        let file = self.file.into_inner().map_err(|e| at("write", &self.path)(e.into_error()))?;
        file.sync_all().map_err(at("sync", &self.path))?;
        let sha256 = Sha256Hash(self.hasher.finalize().into());
        Ok(WrittenReport { name: self.name, bytes: self.bytes, sha256 })
    }
}

/// Appends the row of a change to `changes.csv`.
pub(super) fn change_row(csv: &mut CsvRows, change: &ProposedChange<'_>) {
    let text = |value: Option<Value<'_>>| value.map(identifier_text).unwrap_or_default();
    csv.text(identifier_text(change.id).as_bytes());
    csv.text(change.npub.and_then(Value::as_text_bytes).unwrap_or_default());
    csv.text(text(change.wallet_id).as_bytes());
    csv.text(change.mint_url.and_then(Value::as_text_bytes).unwrap_or_default());
    csv.text(text(change.transaction_id).as_bytes());
    csv.amount(change.amount);
    csv.own("unspent");
    csv.own("spent");
    csv.own_if(change.before.spent_at.map(date_text));
    csv.own(change.spent_at_after);
    csv.own_if(change.created_at.map(date_text));
    csv.end_row();
}

/// The cells `token_id,npub,mint_url` of a document, ready for [`finding_row`].
pub(super) fn push_holder(cells: &mut CsvRows, token: &Token<'_>) {
    cells.text(token.id.map(identifier_text).unwrap_or_default().as_bytes());
    cells.text(token.user().unwrap_or_default());
    cells.text(token.mint());
}

/// Appends a row of `findings.csv`; `push_holder` adds the cells of the document.
pub(super) fn finding_row(
    csv: &mut CsvRows,
    code: FindingCode,
    push_holder: impl FnOnce(&mut CsvRows),
    amount: Option<i128>,
    detail: &[&str],
) {
    csv.cells(code.as_str().as_bytes());
    csv.cells(code.severity().as_str().as_bytes());
    push_holder(csv);
    csv.amount(amount);
    csv.own_words(detail);
    csv.end_row();
}

/// What the users add up to.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) total: u64,
    pub(super) fixed: u64,
    pub(super) amount_fixed: i128,
    /// By [`FindingCode::index`].
    pub(super) by_finding: Vec<u64>,
}

/// Reports the balances below zero.
pub(super) fn find_negative_balances(
    positions: &mut SummedPositions,
    findings: &mut FindingsFile,
) -> Result<FindingTotals, AnalyzeError> {
    let mut totals = FindingTotals::default();
    while let Some(SummedPosition { user, mint, position, .. }) = positions.next()? {
        if let Some((sum, statuses)) = negative_balance(&position, user) {
            totals.count += 1;
            totals.amount += sum;
            let row = negative_row(user, mint, sum, &statuses);
            findings.add(FindingCode::NegativeBalance, &row)?;
        }
    }
    Ok(totals)
}

/// Writes `balances.csv` and `balance_deltas.csv` into `directory`, and counts users.
pub(super) fn write_balances(
    positions: &mut SummedPositions,
    mut deltas: Sorter,
    directory: &Path,
) -> Result<([WrittenReport; 2], Users), AnalyzeError> {
    let mut file = ReportFile::create(directory, "balances.csv", &BALANCES_COLUMNS)?;
    let mut users =
        Users { total: 0, fixed: 0, amount_fixed: 0, by_finding: vec![0; FindingCode::ALL.len()] };
    let mut last: Option<(Vec<u8>, Mask)> = None;
    let mut csv = CsvRows::new();
    while let Some(SummedPosition { key, user, mint, mut position }) = positions.next()? {
        if negative_balance(&position, user).is_some() {
            position.mask.add(Mask::of(FindingCode::NegativeBalance));
        }
        users.amount_fixed += position.amount_fixed;
        balance_row(&mut csv, user.unwrap_or_default(), mint, &position);
        file.write(csv.bytes())?;
        if position.mask.has(Mask::FIXED) {
            deltas.push(&delta_key(&position, key), csv.bytes())?;
        }
        csv.clear();
        if let Some(user) = user {
            match &mut last {
                Some((current, mask)) if *current == user => mask.add(position.mask),
                _ => users.count(last.replace((user.to_vec(), position.mask)).as_ref()),
            }
        }
    }
    users.count(last.as_ref());
    Ok(([write_deltas(deltas.finish()?, directory)?, file.finish()?], users))
}

impl Users {
    fn count(&mut self, user: Option<&(Vec<u8>, Mask)>) {
        let Some((_, mask)) = user else { return };
        self.total += 1;
        self.fixed += u64::from(mask.has(Mask::FIXED));
        for code in FindingCode::ALL {
            self.by_finding[code.index()] += u64::from(mask.has(Mask::of(*code)));
        }
    }
}

/// Sum of the balances below zero, and their statuses, when there is one and there is a user.
fn negative_balance(position: &Position, npub: Option<&[u8]>) -> Option<(i128, String)> {
    npub?;
    let below = |status: &&Status| position.sum(**status) < 0;
    let negative: Vec<Status> = Status::ALL.iter().filter(below).copied().collect();
    if negative.is_empty() {
        return None;
    }
    let sum = negative.iter().map(|status| position.sum(*status)).sum();
    let words: Vec<&str> = negative.iter().map(|status| status.as_str()).collect();
    Some((sum, words.join(", ")))
}

fn negative_row(npub: Option<&[u8]>, mint: &[u8], sum: i128, statuses: &str) -> Vec<u8> {
    let push_holder = |csv: &mut CsvRows| {
        csv.text(b"");
        csv.text(npub.unwrap_or_default());
        csv.text(mint);
    };
    let detail = ["the user's balance at the mint is below zero: ", statuses];
    let mut csv = CsvRows::new();
    finding_row(&mut csv, FindingCode::NegativeBalance, push_holder, Some(sum), &detail);
    csv.take()
}

fn balance_row(csv: &mut CsvRows, npub: &[u8], mint: &[u8], position: &Position) {
    let (unspent, spent) = (position.sum(Status::Unspent), position.sum(Status::Spent));
    csv.text(npub);
    csv.text(mint);
    csv.integer(position.tokens_fixed);
    csv.integer(unspent);
    csv.integer(unspent - position.amount_fixed);
    csv.integer(position.sum(Status::Pending));
    csv.integer(spent);
    csv.integer(spent + position.amount_fixed);
    csv.integer(-position.amount_fixed);
    csv.end_row();
}

/// Sorts by delta, the largest loss first, then by user and mint.
fn delta_key(position: &Position, key: &[u8]) -> Vec<u8> {
    const SIGN: u128 = 1 << 127;
    let delta = (-position.amount_fixed).cast_unsigned() ^ SIGN;
    let mut sort_key = delta.to_be_bytes().to_vec();
    sort_key.extend_from_slice(key);
    sort_key
}

fn write_deltas(mut sorted: SortedRows, directory: &Path) -> Result<WrittenReport, AnalyzeError> {
    let mut file = ReportFile::create(directory, "balance_deltas.csv", &BALANCES_COLUMNS)?;
    let mut row = Row::default();
    while sorted.next_into(&mut row)? {
        file.write(&row.payload)?;
    }
    Ok(file.finish()?)
}
