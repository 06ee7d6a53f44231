//! The pass over all tokens: hashes, counts, changes, and what the later steps need.

use super::csv::CsvRows;
use super::duplicates::{self, CANDIDATE_BYTES, ORDINAL_MAX};
use super::findings::{self, DANGLING_WALLET_ID, Found, MISSING_WALLET_ID};
use super::melts::{self, Side};
use super::pass::located;
use super::positions::{Mask, PositionMap};
use super::reports::{self, FindingRow};
use super::rule::{self, NotChanged};
use super::token::{Proof, Token};
use super::wallets::{WalletTable, check_without_wallets};
use super::{AnalyzeError, AnalyzeOptions, ChangeEncoder, ChangeRows, FindingTotals, Totals};
use crate::model::{FindingCode, Sha256Hash, Status};
use crate::scratch::{PartitionWriter, Partitions};
use crate::scratch::{RowBatch, Sorter};
use crate::snapshot::input::Chunk;
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};

/// Bytes that are hashed and then walked while they are still in the cache, about.
const STEP_BYTES: usize = 32 * 1024;
/// Finding rows that a worker keeps before it hands them over.
const ROWS_BYTES_MAX: usize = 256 * 1024;

/// Where the workers' records meet.
#[derive(Debug)]
pub(super) struct Stores {
    pub(super) secrets: Partitions<CANDIDATE_BYTES>,
    pub(super) transaction_ids: Partitions<CANDIDATE_BYTES>,
    pub(super) ids: Partitions<CANDIDATE_BYTES>,
    pub(super) melts: Partitions<{ melts::RECORD_BYTES }>,
    pub(super) positions: Mutex<Sorter>,
    pub(super) findings: Mutex<Sorter>,
    pub(super) candidates: Mutex<Sorter>,
}

/// What all workers read.
pub(super) struct Shared<'a> {
    pub(super) options: &'a AnalyzeOptions,
    pub(super) wallets: Option<&'a WalletTable>,
    pub(super) stores: &'a Stores,
    pub(super) encode: ChangeEncoder<'a>,
}

/// One worker's state over the whole pass.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    secrets: PartitionWriter<'a, CANDIDATE_BYTES>,
    transaction_ids: PartitionWriter<'a, CANDIDATE_BYTES>,
    ids: PartitionWriter<'a, CANDIDATE_BYTES>,
    melts: PartitionWriter<'a, { melts::RECORD_BYTES }>,
    positions: PositionMap<'a>,
    rows: RowBatch,
    totals: Totals,
}

/// What a chunk gives, in the chunks' order.
#[derive(Debug)]
pub(super) struct ChunkResult {
    pub(super) bytes: u64,
    pub(super) documents: u64,
    pub(super) sha256: Sha256Hash,
    pub(super) changes: ChangeRows,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, position_bytes_max: usize) -> Worker<'a> {
        let stores = shared.stores;
        Worker {
            shared,
            secrets: stores.secrets.writer(),
            transaction_ids: stores.transaction_ids.writer(),
            ids: stores.ids.writer(),
            melts: stores.melts.writer(),
            positions: PositionMap::new(
                &stores.positions,
                shared.options.fingerprint_key,
                position_bytes_max,
            ),
            rows: RowBatch::default(),
            totals: Totals::default(),
        }
    }

    /// Hands over what is left and gives the counts.
    pub(super) fn finish(mut self) -> Result<Totals, AnalyzeError> {
        self.secrets.finish()?;
        self.transaction_ids.finish()?;
        self.ids.finish()?;
        self.melts.finish()?;
        self.positions.flush()?;
        flush_rows(&mut self.rows, &self.shared.stores.findings)?;
        Ok(self.totals)
    }

    /// Hashes and reads every document of `chunk`.
    pub(super) fn read_chunk(&mut self, chunk: &Chunk) -> Result<ChunkResult, AnalyzeError> {
        let mut hasher = Sha256::new();
        let mut result = ChunkResult {
            bytes: chunk.bytes().len() as u64,
            documents: 0,
            sha256: Sha256Hash([0; 32]),
            changes: ChangeRows::default(),
        };
        let mut csv = CsvRows::new();
        let mut proofs = Vec::new();
        let mut hashed_to = 0;
        for (start, document) in chunk.framed() {
            if start >= hashed_to {
                let step_end = step_end(chunk.bytes(), start);
                hasher.update(&chunk.bytes()[start..step_end]);
                hashed_to = step_end;
            }
            let ordinal = chunk.first_document + result.documents;
            result.documents += 1;
            proofs.clear();
            let fault = located(chunk, start);
            let token = match Token::parse(document, &mut proofs) {
                Ok(token) => token,
                Err(malformed) => return Err(fault(malformed)),
            };
            self.count(&token, &proofs, ordinal)?;
            self.record(&token, ordinal, &mut result.changes, &mut csv)?;
        }
        result.sha256 = Sha256Hash(hasher.finalize().into());
        result.changes.csv = csv.take();
        if self.rows.bytes() > ROWS_BYTES_MAX {
            flush_rows(&mut self.rows, &self.shared.stores.findings)?;
        }
        Ok(result)
    }

    fn count(
        &mut self,
        token: &Token<'_>,
        proofs: &[Proof<'_>],
        ordinal: u64,
    ) -> Result<(), AnalyzeError> {
        if ordinal > ORDINAL_MAX {
            return Err(AnalyzeError::TooManyDocuments);
        }
        let key = &self.shared.options.fingerprint_key;
        for proof in proofs {
            self.secrets.push(duplicates::record(key.narrow(proof.secret), ordinal))?;
        }
        if let Some(id) = token.id {
            self.ids.push(duplicates::record(key.narrow_value(id), ordinal))?;
        }
        if let Some(id) = token.transaction_id.filter(|id| !id.is_null()) {
            self.transaction_ids.push(duplicates::record(key.narrow_value(id), ordinal))?;
        }
        match melts::side(token) {
            Some(Side::Change(id)) => self.melts.push(melts::record(key.wide(id), None))?,
            Some(Side::Melt(id)) => self.melts.push(melts::record(key.wide(id), Some(ordinal)))?,
            Some(Side::MeltWithoutId) => {
                let mut candidates = lock(&self.shared.stores.candidates);
                duplicates::propose_melt(&mut candidates, ordinal)?;
            }
            None => {}
        }
        if token.is_melted() {
            self.totals.melted += 1;
            self.totals.spent_melted += u64::from(token.status() == Some(Status::Spent));
        }
        Ok(())
    }

    fn record(
        &mut self,
        token: &Token<'_>,
        ordinal: u64,
        changes: &mut ChangeRows,
        csv: &mut CsvRows,
    ) -> Result<(), AnalyzeError> {
        let shared = self.shared;
        let (position, is_npub_malformed) = self.positions.of(token)?;
        if let (Some(status), Some(amount)) = (token.status(), token.amount()) {
            position.sums[status as usize] += i128::from(amount);
        }
        let (rows, totals) = (&mut self.rows, &mut self.totals);
        let mut mask = Mask::default();
        let mut report = |found: Found| {
            mask.add(Mask::of(found.code));
            totals.finding(found.code).add(found);
            reports::push_row(rows, &FindingRow::of_token(token, ordinal, found));
        };
        if rule::applies(token) {
            let proposed = rule::propose(token, ordinal, shared.options.rule)
                .map_err(|malformed| AnalyzeError::Unreachable(malformed.to_string()))?;
            let detail = match &proposed {
                Ok(_) => "melted but unspent; the plan makes it spent",
                Err(NotChanged::DuplicateField) => {
                    "melted but unspent; not changed: duplicate_field"
                }
                Err(NotChanged::NoRoom) => "melted but unspent; not changed: no_room",
                Err(NotChanged::NoOwnTime) => "melted but unspent; not changed: no_own_time",
                Err(NotChanged::NoId) => "melted but unspent; not changed: no_id",
            };
            let amount = token.amount().map(i128::from);
            report(Found { code: FindingCode::InconsistentStatus, amount, detail });
            match proposed {
                Ok(change) => {
                    mask.add(Mask::FIXED);
                    position.tokens_fixed += 1;
                    position.amount_fixed += i128::from(change.amount.unwrap_or(0));
                    reports::change_row(csv, &change);
                    changes.push(&change, shared.encode);
                }
                Err(reason) => self.totals.not_changed[reason as usize] += 1,
            }
        }
        let wallet = match shared.wallets {
            Some(wallets) => wallets.check(
                &shared.options.fingerprint_key,
                token.wallet_id,
                token.npub,
                token.mint_url,
            ),
            None => check_without_wallets(token.wallet_id),
        };
        let (rows, totals) = (&mut self.rows, &mut self.totals);
        findings::inspect(token, is_npub_malformed, wallet, |found| {
            mask.add(Mask::of(found.code));
            totals.finding(found.code).add(found);
            reports::push_row(rows, &FindingRow::of_token(token, ordinal, found));
        });
        position.mask.add(mask);
        Ok(())
    }
}

impl FindingTotals {
    /// Counts a finding about one document.
    fn add(&mut self, found: Found) {
        self.count += 1;
        match found.code {
            FindingCode::AmountMismatch => self.amount += found.amount.unwrap_or(0).abs(),
            _ => self.amount += found.amount.unwrap_or(0),
        }
        match found.detail {
            MISSING_WALLET_ID => self.classes[0] += 1,
            DANGLING_WALLET_ID => self.classes[1] += 1,
            _ => {}
        }
    }
}

/// The end of the step that begins with the document at `start`: whole documents, about
/// [`STEP_BYTES`] of them.
fn step_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while end < bytes.len() && end - start < STEP_BYTES {
        match crate::document::document_length(&bytes[end..]) {
            Ok(Some(length)) => end += length,
            _ => return bytes.len(),
        }
    }
    end.min(bytes.len())
}

pub(super) fn flush_rows(rows: &mut RowBatch, into: &Mutex<Sorter>) -> Result<(), AnalyzeError> {
    if !rows.is_empty() {
        lock(into).append(rows)?;
        rows.clear();
    }
    Ok(())
}

fn lock(sorter: &Mutex<Sorter>) -> std::sync::MutexGuard<'_, Sorter> {
    sorter.lock().unwrap_or_else(PoisonError::into_inner)
}
