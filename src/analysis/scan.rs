//! The pass over all tokens: hashes, counts, changes, and what the later steps need.

use super::csv::CsvRows;
use super::duplicates::{self, ORDINAL_MAX};
use super::findings::{self, DANGLING_WALLET_ID, Found, MISSING_WALLET_ID};
use super::findings_file::RowsByCode;
use super::fingerprint::Fingerprints;
use super::melts::{self, Side};
use super::pass::located;
use super::positions::{Mask, PositionMap};
use super::reports;
use super::rule::{self, NotChanged};
use super::token::{FieldOrder, Proof, Token};
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
/// Where the workers' records meet.
#[derive(Debug)]
pub(super) struct Stores {
    pub(super) secrets: Partitions,
    pub(super) transaction_ids: Partitions,
    pub(super) ids: Partitions,
    pub(super) melts: Partitions,
}

/// What all workers read.
pub(super) struct Shared<'a> {
    pub(super) options: &'a AnalyzeOptions,
    pub(super) prints: &'a Fingerprints,
    pub(super) wallets: Option<&'a WalletTable>,
    pub(super) stores: &'a Stores,
    pub(super) encode: ChangeEncoder<'a>,
}

/// One worker's state over the whole pass.
pub(super) struct Worker<'a, 'p> {
    shared: &'a Shared<'a>,
    secrets: PartitionWriter<'a>,
    transaction_ids: PartitionWriter<'a>,
    ids: PartitionWriter<'a>,
    melts: PartitionWriter<'a>,
    positions: &'a mut PositionMap<'p>,
    order: FieldOrder,
    /// Rows of the chunk under way.
    rows: RowsByCode,
    totals: Totals,
}

/// What a chunk gives, in the chunks' order.
#[derive(Debug)]
pub(super) struct ChunkResult {
    pub(super) bytes: u64,
    pub(super) documents: u64,
    pub(super) sha256: Sha256Hash,
    pub(super) changes: ChangeRows,
    pub(super) findings: Vec<(FindingCode, Vec<u8>)>,
}

impl<'a, 'p> Worker<'a, 'p> {
    pub(super) fn new(
        shared: &'a Shared<'a>,
        positions: &'a mut PositionMap<'p>,
    ) -> Worker<'a, 'p> {
        let stores = shared.stores;
        Worker {
            shared,
            secrets: stores.secrets.writer(),
            transaction_ids: stores.transaction_ids.writer(),
            ids: stores.ids.writer(),
            melts: stores.melts.writer(),
            positions,
            order: FieldOrder::default(),
            rows: RowsByCode::default(),
            totals: Totals::default(),
        }
    }

    /// Hands over what is left and gives the counts.
    pub(super) fn finish(self) -> Result<Totals, AnalyzeError> {
        self.secrets.finish()?;
        self.transaction_ids.finish()?;
        self.ids.finish()?;
        self.melts.finish()?;
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
            findings: Vec::new(),
        };
        let mut csv = CsvRows::new();
        let (mut tokens, mut proofs) = (Vec::new(), Vec::new());
        let mut documents = chunk.framed().peekable();
        while let Some((step_start, _)) = documents.peek() {
            let step_end = step_end(chunk.bytes(), *step_start);
            hasher.update(&chunk.bytes()[*step_start..step_end]);
            tokens.clear();
            proofs.clear();
            while let Some((start, document)) = documents.next_if(|(start, _)| *start < step_end) {
                let token = Token::parse(document, &mut self.order, &mut proofs)
                    .map_err(located(chunk, start))?;
                let position = self.positions.hash(token.user(), token.mint());
                tokens.push((token, proofs.len(), position));
            }
            for (.., position) in &tokens {
                std::hint::black_box(self.positions.touch(*position));
            }
            let mut proofs_before = 0;
            for (token, proofs_end, position) in &tokens {
                let ordinal = chunk.first_document + result.documents;
                result.documents += 1;
                self.count(token, &proofs[proofs_before..*proofs_end], ordinal)?;
                self.record(token, *position, ordinal, &mut result.changes, &mut csv)?;
                proofs_before = *proofs_end;
            }
        }
        result.sha256 = Sha256Hash(hasher.finalize().into());
        result.changes.csv = csv.take();
        result.findings = self.rows.take();
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
        let prints = self.shared.prints;
        for proof in proofs {
            duplicates::note(&mut self.secrets, prints.narrow(proof.secret), ordinal)?;
        }
        if let Some(id) = token.id {
            duplicates::note(&mut self.ids, prints.narrow_value(id), ordinal)?;
        }
        if let Some(id) = token.transaction_id.filter(|id| !id.is_null()) {
            duplicates::note(&mut self.transaction_ids, prints.narrow_value(id), ordinal)?;
        }
        match melts::side(token) {
            Some(Side::Change(id)) => melts::note(&mut self.melts, prints.wide(id), None)?,
            Some(Side::Melt(id)) => melts::note(&mut self.melts, prints.wide(id), Some(ordinal))?,
            Some(Side::MeltWithoutId) => melts::note_without_id(&mut self.melts, ordinal)?,
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
        position: u64,
        ordinal: u64,
        changes: &mut ChangeRows,
        csv: &mut CsvRows,
    ) -> Result<(), AnalyzeError> {
        let shared = self.shared;
        let entry = self.positions.of(position, token.user(), token.mint())?;
        let wallet = match shared.wallets {
            Some(wallets) => entry.check_wallet(wallets, shared.prints, token),
            None => check_without_wallets(token.wallet_id),
        };
        let is_npub_malformed = entry.is_npub_malformed(token);
        let position = &mut entry.position;
        if let (Some(status), Some(amount)) = (token.status(), token.amount()) {
            position.sums[status as usize] += i128::from(amount);
        }
        let (rows, totals) = (&mut self.rows, &mut self.totals);
        let mut report = |found: Found| {
            position.mask.add(Mask::of(found.code));
            totals.finding(found.code).add(found);
            let (row, holder) =
                (rows.of(found.code), |csv: &mut _| reports::push_holder(csv, token));
            reports::finding_row(row, found.code, holder, found.amount, &[found.detail]);
        };
        let mut change = None;
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
            change = Some(proposed);
        }
        findings::inspect(token, is_npub_malformed, wallet, report);
        match change {
            Some(Ok(change)) => {
                position.mask.add(Mask::FIXED);
                position.tokens_fixed += 1;
                position.amount_fixed += i128::from(change.amount.unwrap_or(0));
                reports::change_row(csv, &change);
                changes.push(&change, shared.encode);
            }
            Some(Err(reason)) => self.totals.not_changed[reason as usize] += 1,
            None => {}
        }
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
        into.lock().unwrap_or_else(PoisonError::into_inner).append(rows)?;
        rows.clear();
    }
    Ok(())
}
