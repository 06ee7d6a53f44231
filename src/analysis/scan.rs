//! The pass over all tokens: hashes, counts, changes, and what the later steps need.

use super::csv::CsvRows;
use super::duplicates::{self, ORDINAL_MAX};
use super::findings::{self, DANGLING_WALLET_ID, Found, MISSING_WALLET_ID};
use super::findings_file::RowsByCode;
use super::fingerprint::Fingerprints;
use super::melts::{self, Side};
use super::pass::{Outcome, located};
use super::positions::{Holder, Mask, PositionMap};
use super::reports;
use super::rule::{self, NotChanged};
use super::secrets::{self, Holding};
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

impl Outcome for ChunkResult {
    fn memory_bytes(&self) -> usize {
        self.changes.memory_bytes() + self.findings.memory_bytes()
    }
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
        let mut step = Step::default();
        while step.read(chunk, &mut self.order, self.positions)? {
            hasher.update(step.bytes);
            for (token, proofs, holder) in step.tokens() {
                let ordinal = chunk.first_document + result.documents;
                result.documents += 1;
                self.count(token, proofs, holder.user_hash, ordinal)?;
                self.record(token, holder, ordinal, &mut result.changes, &mut csv)?;
            }
        }
        hasher.update(&chunk.bytes()[step.end..]); // nothing, as frames were checked
        result.sha256 = Sha256Hash(hasher.finalize().into());
        result.changes.csv = csv.take();
        result.findings = self.rows.take();
        Ok(result)
    }

    /// Reads every document of `chunk` and adds up balances; hashes and reports nothing.
    pub(super) fn scan_chunk(&mut self, chunk: &Chunk) -> Result<u64, AnalyzeError> {
        let mut documents = 0;
        let mut step = Step::default();
        while step.read(chunk, &mut self.order, self.positions)? {
            for (token, proofs, holder) in step.tokens() {
                let ordinal = chunk.first_document + documents;
                documents += 1;
                self.count(token, proofs, holder.user_hash, ordinal)?;
                let entry = self.positions.of(holder, token.user(), token.mint())?;
                entry.position.add_token(token);
            }
        }
        Ok(documents)
    }

    fn count(
        &mut self,
        token: &Token<'_>,
        proofs: &[Proof<'_>],
        user_hash: u64,
        ordinal: u64,
    ) -> Result<(), AnalyzeError> {
        if ordinal > ORDINAL_MAX {
            return Err(AnalyzeError::TooManyDocuments);
        }
        let prints = self.shared.prints;
        let holding = Holding::of(token, user_hash);
        for proof in proofs {
            secrets::note(&mut self.secrets, prints.narrow(proof.secret), ordinal, holding)?;
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
        self.totals.negative_amounts += u64::from(token.amount().is_some_and(|it| it < 0));
        if token.is_melted() {
            self.totals.melted += 1;
            self.totals.spent_melted += u64::from(token.status() == Some(Status::Spent));
        }
        Ok(())
    }

    fn record(
        &mut self,
        token: &Token<'_>,
        holder: Holder,
        ordinal: u64,
        changes: &mut ChangeRows,
        csv: &mut CsvRows,
    ) -> Result<(), AnalyzeError> {
        let shared = self.shared;
        let entry = self.positions.of(holder, token.user(), token.mint())?;
        let wallet = match shared.wallets {
            Some(wallets) => entry.check_wallet(wallets, shared.prints, token),
            None => check_without_wallets(token.wallet_id),
        };
        let is_npub_malformed = entry.is_npub_malformed(token);
        let position = &mut entry.position;
        position.add_token(token);
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

/// Some consecutive documents of a chunk, about [`STEP_BYTES`] of them: read, hashed and counted while they are
/// in the cache.
#[derive(Default)]
struct Step<'c> {
    bytes: &'c [u8],
    /// Where the next step begins in its chunk.
    end: usize,
    /// With the end of their proofs.
    tokens: Vec<(Token<'c>, usize, Holder)>,
    proofs: Vec<Proof<'c>>,
}

impl<'c> Step<'c> {
    /// Reads the next step; `false` at the end of `chunk`.
    fn read(
        &mut self,
        chunk: &'c Chunk,
        order: &mut FieldOrder,
        positions: &PositionMap<'_>,
    ) -> Result<bool, AnalyzeError> {
        self.tokens.clear();
        self.proofs.clear();
        let start = self.end;
        for (at, document) in chunk.framed_from(start) {
            let token =
                Token::parse(document, order, &mut self.proofs).map_err(located(chunk, at))?;
            let holder = positions.holder(token.user(), token.mint());
            self.tokens.push((token, self.proofs.len(), holder));
            self.end = at + document.len();
            if self.end - start >= STEP_BYTES {
                break;
            }
        }
        self.bytes = &chunk.bytes()[start..self.end];
        self.tokens.iter_mut().for_each(|(.., holder)| positions.seek(holder));
        Ok(!self.tokens.is_empty())
    }

    /// The tokens, each with its proofs.
    fn tokens(&self) -> impl Iterator<Item = (&Token<'c>, &[Proof<'c>], Holder)> {
        let mut start = 0;
        self.tokens.iter().map(move |(token, end, holder)| {
            let proofs = &self.proofs[start..*end];
            start = *end;
            (token, proofs, *holder)
        })
    }
}

pub(super) fn flush_rows(rows: &mut RowBatch, into: &Mutex<Sorter>) -> Result<(), AnalyzeError> {
    if !rows.is_empty() {
        into.lock().unwrap_or_else(PoisonError::into_inner).append(rows)?;
        rows.clear();
    }
    Ok(())
}
