//! The CSV reports: rows on their way, and the files at the end.
//!
//! `docs/auditors-guide.md` describes every column. Order is fixed by the data alone.

use super::csv::CsvRows;
use super::findings::Found;
use super::positions::{Mask, Position, split_position_key};
use super::rule::ProposedChange;
use super::shown::ShownFindings;
use super::token::Token;
use super::{AnalyzeError, FindingTotals};
use crate::document::{Value, date_text, identifier_text};
use crate::model::{FindingCode, Sha256Hash, Status};
use crate::publish::{PublishError, at, create_private_file};
use crate::scratch::{Row, RowBatch, ScratchError, SortedRows, Sorter};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
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
    csv.own_if(change.amount);
    csv.own("unspent");
    csv.own("spent");
    csv.own_if(change.before.spent_at.map(date_text));
    csv.own(change.spent_at_after);
    csv.own_if(change.created_at.map(date_text));
    csv.end_row();
}

/// The document that a finding is about, as a report shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Holder<'a> {
    pub(super) token_id: Cow<'a, str>,
    pub(super) npub: Option<Cow<'a, [u8]>>,
    pub(super) mint: Cow<'a, [u8]>,
    /// `total_amount` when it is an amount.
    pub(super) amount: Option<i64>,
}

impl<'a> Holder<'a> {
    pub(super) fn of(token: &Token<'a>) -> Holder<'a> {
        Holder {
            token_id: token.id.map(identifier_text).unwrap_or_default().into(),
            npub: token.user().map(Cow::Borrowed),
            mint: token.mint().into(),
            amount: token.amount(),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut part = |bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        part(self.token_id.as_bytes());
        part(&self.mint);
        part(&self.amount.map(i64::to_le_bytes).map_or(Vec::new(), |amount| amount.to_vec()));
        if let Some(npub) = &self.npub {
            part(npub);
        }
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Option<Holder<'a>> {
        let mut rest = bytes;
        let mut part = || {
            let (length, after) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (part, after) = after.split_at_checked(length)?;
            rest = after;
            Some(part)
        };
        let token_id = std::str::from_utf8(part()?).ok()?;
        let mint = part()?;
        let amount = part()?.first_chunk().map(|amount| i64::from_le_bytes(*amount));
        let npub = part().map(Cow::Borrowed);
        Some(Holder { token_id: token_id.into(), npub, mint: mint.into(), amount })
    }
}

/// One row of `findings.csv`.
#[derive(Debug, Clone)]
pub(super) struct FindingRow<'a> {
    pub(super) code: FindingCode,
    /// Position among the rows of its code: the document that the finding began with, then its own.
    pub(super) order: [u64; 2],
    pub(super) holder: Holder<'a>,
    pub(super) amount: Option<i128>,
    pub(super) detail: Cow<'static, str>,
}

impl<'a> FindingRow<'a> {
    pub(super) fn of_token(token: &Token<'a>, ordinal: u64, found: Found) -> FindingRow<'a> {
        FindingRow {
            code: found.code,
            order: [ordinal, 0],
            holder: Holder::of(token),
            amount: found.amount,
            detail: found.detail.into(),
        }
    }
}

pub(super) fn push_row(batch: &mut RowBatch, row: &FindingRow<'_>) {
    push_row_of(batch, row, &[], 0);
}

/// As [`push_row`] for one proof of several that share a secret: rows of one secret stand together.
pub(super) fn push_row_of(batch: &mut RowBatch, row: &FindingRow<'_>, tag: &[u8], index: u64) {
    let mut key = vec![u8::try_from(row.code.index()).unwrap_or(u8::MAX)];
    key.extend_from_slice(&row.order[0].to_be_bytes());
    key.extend_from_slice(tag);
    key.extend_from_slice(&row.order[1].to_be_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    push_finding_row(batch, &key, row.code, &row.holder, row.amount, &row.detail);
}

fn push_finding_row(
    batch: &mut RowBatch,
    key: &[u8],
    code: FindingCode,
    holder: &Holder<'_>,
    amount: Option<i128>,
    detail: &str,
) {
    let mut csv = CsvRows::new();
    csv.own(code);
    csv.own(code.severity().as_str());
    csv.text(holder.token_id.as_bytes());
    csv.text(holder.npub.as_deref().unwrap_or_default());
    csv.text(&holder.mint);
    csv.own_if(amount);
    csv.text(detail.as_bytes());
    csv.end_row();
    batch.push(key, |payload| payload.extend_from_slice(csv.bytes()));
}

/// Writes `findings.csv`.
pub(super) fn write_findings(
    mut sorted: SortedRows,
    directory: &Path,
) -> Result<(WrittenReport, ShownFindings), AnalyzeError> {
    let mut shown = ShownFindings::default();
    let mut file = ReportFile::create(directory, "findings.csv", &FINDINGS_COLUMNS)?;
    let mut row = Row::default();
    while sorted.next_into(&mut row)? {
        file.write(&row.payload)?;
        // Every key of a row begins with its code.
        let code = row.key.first().and_then(|index| FindingCode::ALL.get(usize::from(*index)));
        shown.offer_row(*code.ok_or(ScratchError::Damaged)?, &row.payload);
    }
    Ok((file.finish()?, shown))
}

/// What the users add up to.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) total: u64,
    pub(super) fixed: u64,
    pub(super) amount_fixed: i128,
    /// By [`FindingCode::index`].
    pub(super) by_finding: Vec<u64>,
    pub(super) negative: FindingTotals,
}

/// Writes `balances.csv` and `balance_deltas.csv`, finds negative balances and counts users.
pub(super) fn write_balances(
    mut sorted: SortedRows,
    findings: &mut Sorter,
    mut deltas: Sorter,
    directory: &Path,
) -> Result<(Users, [WrittenReport; 2]), AnalyzeError> {
    let damaged = || ScratchError::Damaged;
    let mut balances = ReportFile::create(directory, "balances.csv", &BALANCES_COLUMNS)?;
    let mut users = Users { by_finding: vec![0; FindingCode::ALL.len()], ..Users::default() };
    let mut user: Option<(Vec<u8>, Mask)> = None;
    let mut csv = CsvRows::new();
    let mut row = Row::default();
    let mut more = sorted.next_into(&mut row)?;
    while more {
        let key = row.key.clone();
        let mut position = Position::decode(&row.payload).ok_or_else(damaged)?;
        more = sorted.next_into(&mut row)?;
        while more && row.key == key {
            position.add(&Position::decode(&row.payload).ok_or_else(damaged)?);
            more = sorted.next_into(&mut row)?;
        }
        let (npub, mint) = split_position_key(&key).ok_or_else(damaged)?;
        if let Some(negative) = negative_balance(&position, npub.as_deref()) {
            position.mask.add(Mask::of(FindingCode::NegativeBalance));
            users.negative.count += 1;
            users.negative.amount += negative.0;
            push_negative(findings, &key, npub.as_deref(), mint, &negative)?;
        }
        users.amount_fixed += position.amount_fixed;
        balance_row(&mut csv, npub.as_deref().unwrap_or_default(), mint, &position);
        balances.write(csv.bytes())?;
        if position.mask.has(Mask::FIXED) {
            deltas.push(&delta_key(&position, &key), csv.bytes())?;
        }
        csv.clear();
        if let Some(npub) = npub {
            match &mut user {
                Some((current, mask)) if *current == npub => mask.add(position.mask),
                _ => users.count(user.replace((npub, position.mask)).as_ref()),
            }
        }
    }
    users.count(user.as_ref());
    let written = [write_deltas(deltas.finish()?, directory)?, balances.finish()?];
    Ok((users, written))
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

fn push_negative(
    findings: &mut Sorter,
    key: &[u8],
    npub: Option<&[u8]>,
    mint: &[u8],
    (sum, statuses): &(i128, String),
) -> Result<(), AnalyzeError> {
    let code = FindingCode::NegativeBalance;
    let mut order = vec![u8::try_from(code.index()).unwrap_or(u8::MAX)];
    order.extend_from_slice(key);
    let holder = Holder { npub: npub.map(Cow::Borrowed), mint: mint.into(), ..Holder::default() };
    let mut batch = RowBatch::default();
    let detail = format!("the user's balance at the mint is below zero: {statuses}");
    push_finding_row(&mut batch, &order, code, &holder, Some(*sum), &detail);
    Ok(findings.append(&batch)?)
}

fn balance_row(csv: &mut CsvRows, npub: &[u8], mint: &[u8], position: &Position) {
    let (unspent, spent) = (position.sum(Status::Unspent), position.sum(Status::Spent));
    csv.text(npub);
    csv.text(mint);
    csv.own(position.tokens_fixed);
    csv.own(unspent);
    csv.own(unspent - position.amount_fixed);
    csv.own(position.sum(Status::Pending));
    csv.own(spent);
    csv.own(spent + position.amount_fixed);
    csv.own(-position.amount_fixed);
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
