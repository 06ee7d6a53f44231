//! The second look: candidate documents are read again and their values compared in full.

use super::copies::{CopyWriter, SecretTagKey};
use super::duplicates::{Candidate, CandidatePart, Kind};
use super::findings_file::{FindingsFile, RowsByCode};
use super::fingerprint::Fingerprints;
use super::pass::located;
use super::positions::{Mask, PositionMap};
use super::reports::{self, push_holder};
use super::scan::flush_rows;
use super::token::{FieldOrder, Proof, Token};
use super::{AnalyzeError, FindingTotals, melts};
use crate::document::Value;
use crate::model::FindingCode;
use crate::scratch::{Row, RowBatch, ScratchError, SortedRows, Sorter};
use crate::snapshot::input::Chunk;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};

/// Documents by a value that they may share.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) transaction_ids: Mutex<Sorter>,
    /// Documents by `_id`.
    pub(super) ids: Mutex<Sorter>,
}

/// One worker of the second look.
pub(super) struct Look<'a, 'p> {
    pub(super) prints: &'a Fingerprints,
    pub(super) tag_key: &'a SecretTagKey,
    pub(super) looked: &'a Looked,
    pub(super) copies: CopyWriter<'a>,
    pub(super) positions: &'a mut PositionMap<'p>,
    pub(super) order: FieldOrder,
    /// Of the chunk under way.
    pub(super) candidates: Vec<Candidate>,
    pub(super) rows: RowsByCode,
    pub(super) transaction_ids: RowBatch,
    pub(super) ids: RowBatch,
}

/// What a chunk gives, in the chunks' order: totals and rows of `missing_change`.
pub(super) struct LookResult {
    pub(super) missing_change: FindingTotals,
    pub(super) rows: Vec<(FindingCode, Vec<u8>)>,
}

impl Look<'_, '_> {
    /// Looks at the documents of `chunk` that have candidates, which are in `parts`.
    pub(super) fn at_chunk(
        &mut self,
        chunk: &Chunk,
        parts: &[Arc<CandidatePart>],
    ) -> Result<LookResult, AnalyzeError> {
        let mut missing_change = FindingTotals::default();
        let documents = chunk.first_document..chunk.first_document + chunk.documents as u64;
        self.candidates.clear();
        parts.iter().try_for_each(|part| part.append_to(&mut self.candidates, &documents))?;
        let candidates = std::mem::take(&mut self.candidates);
        let mut groups = candidates.chunk_by(|a, b| a.ordinal == b.ordinal).peekable();
        let mut proofs = Vec::new();
        for (ordinal, (start, document)) in (chunk.first_document..).zip(chunk.framed()) {
            let Some(group) = groups.next_if(|group| group[0].ordinal == ordinal) else {
                if groups.peek().is_none() {
                    break;
                }
                continue;
            };
            proofs.clear();
            let token = Token::parse(document, &mut self.order, &mut proofs)
                .map_err(located(chunk, start))?;
            self.at_token(&token, &proofs, group, &mut missing_change)?;
        }
        self.candidates = candidates;
        flush_rows(&mut self.transaction_ids, &self.looked.transaction_ids)?;
        flush_rows(&mut self.ids, &self.looked.ids)?;
        Ok(LookResult { missing_change, rows: self.rows.take() })
    }

    /// Hands over what is left.
    pub(super) fn finish(self) -> Result<(), AnalyzeError> {
        self.copies.finish()
    }

    fn at_token(
        &mut self,
        token: &Token<'_>,
        proofs: &[Proof<'_>],
        group: &[Candidate],
        missing_change: &mut FindingTotals,
    ) -> Result<(), AnalyzeError> {
        let ordinal = group[0].ordinal;
        for candidate in group {
            match candidate.kind {
                Kind::Id => same_value(&mut self.ids, token.id, ordinal, token),
                Kind::TransactionId => {
                    same_value(&mut self.transaction_ids, token.transaction_id, ordinal, token);
                }
                Kind::Melt => {
                    let code = FindingCode::MissingChange;
                    let amount = melts::excess(token);
                    missing_change.count += 1;
                    missing_change.amount += amount.unwrap_or(0);
                    let detail = "melted more than its cost, and no change document names it; \
                                  the amount is the difference";
                    reports::finding_row(
                        self.rows.of(code),
                        code,
                        |csv| push_holder(csv, token),
                        amount,
                        &[detail],
                    );
                    self.positions.mark(token.user(), token.mint(), Mask::of(code))?;
                }
                Kind::Secret => {}
            }
        }
        // Candidates of a document are sorted by kind, then by fingerprint.
        let secrets = &group[group.partition_point(|c| c.kind < Kind::Secret)..];
        let secrets = &secrets[..secrets.partition_point(|c| c.kind == Kind::Secret)];
        if secrets.is_empty() {
            return Ok(());
        }
        for (index, proof) in proofs.iter().enumerate() {
            let print = self.prints.narrow(proof.secret);
            if let Ok(found) = secrets.binary_search_by_key(&print, |c| c.fingerprint) {
                self.copies.add(secrets[found].first, self.tag_key.tag(proof.secret), index, proof);
            }
        }
        self.copies.end_document(token, ordinal)
    }
}

/// Key: SHA-256 of the value and its type, then the document's number. Payload: the user (behind a byte
/// that says whether there is one), the mint and the row of `findings.csv`, each behind its length.
fn same_value(batch: &mut RowBatch, value: Option<Value<'_>>, ordinal: u64, token: &Token<'_>) {
    let Some(value) = value else { return };
    let mut hasher = Sha256::new();
    hasher.update([value.kind.byte()]);
    hasher.update(value.bytes);
    let mut key = hasher.finalize().to_vec();
    key.extend_from_slice(&ordinal.to_be_bytes());
    let mut row = super::csv::CsvRows::new();
    let amount = token.amount().map(i128::from);
    let detail = "several documents have this transaction_id";
    let code = FindingCode::DuplicateTransactionId;
    reports::finding_row(&mut row, code, |csv| push_holder(csv, token), amount, &[detail]);
    let has_user = [u8::from(token.user().is_some())];
    batch.push(&key, |payload| {
        for part in [&has_user, token.user().unwrap_or_default(), token.mint(), row.bytes()] {
            payload.extend_from_slice(&(part.len() as u64).to_le_bytes());
            payload.extend_from_slice(part);
        }
    });
}

/// Takes the next part of a payload of [`same_value`].
fn next_part<'a>(payload: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = payload.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *payload = rest;
    Some(part)
}

/// Reports the documents that share a transaction id and gives the totals. Rows come in the order of the
/// first document with the id, then of their own.
pub(super) fn judge_transaction_ids(
    mut sorted: SortedRows,
    mut rows: Sorter,
    positions: &mut PositionMap<'_>,
    findings: &mut FindingsFile,
) -> Result<FindingTotals, AnalyzeError> {
    let mut totals = FindingTotals::default();
    let mut first: Option<(Row, bool)> = None;
    let mut row = Row::default();
    while sorted.next_into(&mut row)? {
        match &mut first {
            Some((head, is_reported)) if head.key[..32] == row.key[..32] => {
                if !*is_reported {
                    *is_reported = true;
                    totals.count += 1;
                    shared_id(&mut rows, positions, head, head)?;
                }
                shared_id(&mut rows, positions, head, &row)?;
            }
            _ => first = Some((row.clone(), false)),
        }
    }
    let mut rows = rows.finish()?;
    while rows.next_into(&mut row)? {
        findings.add(FindingCode::DuplicateTransactionId, &row.payload)?;
    }
    Ok(totals)
}

fn shared_id(
    rows: &mut Sorter,
    positions: &mut PositionMap<'_>,
    first: &Row,
    row: &Row,
) -> Result<(), AnalyzeError> {
    let damaged = || ScratchError::Damaged;
    let order = [first, row].map(|row| row.key.get(32..).unwrap_or_default()).concat();
    let mut payload = &row.payload[..];
    let mut part = || next_part(&mut payload).ok_or_else(damaged);
    let (has_user, user, mint, csv) = (part()?, part()?, part()?, part()?);
    let user = (has_user == [1]).then_some(user);
    positions.mark(user, mint, Mask::of(FindingCode::DuplicateTransactionId))?;
    Ok(rows.push(&order, csv)?)
}

fn ordinal_of(row: &Row) -> Option<u64> {
    Some(u64::from_be_bytes(*row.key.get(32..)?.first_chunk()?))
}

/// Refuses a collection in which one `_id` stands twice.
pub(super) fn refuse_shared_ids(
    mut sorted: SortedRows,
    collection: &str,
) -> Result<(), AnalyzeError> {
    let (mut previous, mut row) = (Row::default(), Row::default());
    while sorted.next_into(&mut row)? {
        if previous.key.get(..32) == row.key.get(..32) {
            return Err(AnalyzeError::DuplicateId {
                collection: collection.to_owned(),
                first: ordinal_of(&previous).unwrap_or(0),
                second: ordinal_of(&row).unwrap_or(0),
            });
        }
        std::mem::swap(&mut previous, &mut row);
    }
    Ok(())
}
