//! The second look: candidate documents are read again and their values compared in full.

use super::duplicates::{Candidate, CandidatePart, Kind};
use super::findings_file::{FindingsFile, RowsByCode};
use super::fingerprint::Fingerprints;
use super::pass::located;
use super::positions::{Holder, Mask, PositionMap};
use super::reports::{self, push_holder};
use super::scan::flush_rows;
use super::secrets::{Contest, Copies, Evidence, SecretRows, SecretTagKey};
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

/// One worker that reads documents again.
#[derive(Debug, Default)]
pub(super) struct Rereader {
    order: FieldOrder,
    /// Of the chunk under way.
    candidates: Vec<Candidate>,
}

/// The documents of a chunk that have candidates.
struct Reread<'c> {
    /// With the ends of their proofs and candidates.
    tokens: Vec<(Token<'c>, usize, usize)>,
    proofs: Vec<Proof<'c>>,
}

impl Rereader {
    /// Reads each document of `chunk` that has candidates, which are in `parts`; those of a document are sorted by
    /// kind, then by fingerprint.
    fn read<'c>(
        &mut self,
        chunk: &'c Chunk,
        parts: &[Arc<CandidatePart>],
    ) -> Result<Reread<'c>, AnalyzeError> {
        let documents = chunk.first_document..chunk.first_document + chunk.documents as u64;
        self.candidates.clear();
        parts.iter().try_for_each(|part| part.append_to(&mut self.candidates, &documents))?;
        let mut groups = self.candidates.chunk_by(|a, b| a.ordinal == b.ordinal).peekable();
        let mut reread = Reread { tokens: Vec::new(), proofs: Vec::new() };
        let mut end = 0;
        for (ordinal, (start, document)) in (chunk.first_document..).zip(chunk.framed()) {
            let Some(group) = groups.next_if(|group| group[0].ordinal == ordinal) else {
                if groups.peek().is_none() {
                    break;
                }
                continue;
            };
            let token = Token::parse(document, &mut self.order, &mut reread.proofs)
                .map_err(located(chunk, start))?;
            end += group.len();
            reread.tokens.push((token, reread.proofs.len(), end));
        }
        Ok(reread)
    }
}

impl<'c> Reread<'c> {
    /// The documents, each with its proofs and candidates.
    fn documents<'r>(
        &'r self,
        candidates: &'r [Candidate],
    ) -> impl Iterator<Item = (&'r Token<'c>, &'r [Proof<'c>], &'r [Candidate])> {
        let mut start = (0, 0);
        self.tokens.iter().map(move |(token, proofs_end, end)| {
            let document = (token, &self.proofs[start.0..*proofs_end], &candidates[start.1..*end]);
            start = (*proofs_end, *end);
            document
        })
    }
}

/// The candidates of `kind` among those of a document.
fn of_kind(group: &[Candidate], kind: Kind) -> &[Candidate] {
    let from = &group[group.partition_point(|it| it.kind < kind)..];
    &from[..from.partition_point(|it| it.kind == kind)]
}

/// Enters the contested secrets of `chunk` into the contest, which goes on in `sorter`.
pub(super) fn contest(
    (reader, contest): &mut (Rereader, Contest<'_>),
    chunk: &Chunk,
    parts: &[Arc<CandidatePart>],
    sorter: &Mutex<Sorter>,
) -> Result<(), AnalyzeError> {
    let reread = reader.read(chunk, parts)?;
    for (token, proofs, group) in reread.documents(&reader.candidates) {
        contest.enter(token, proofs, group);
    }
    flush_rows(&mut contest.rows, sorter)
}

/// One worker of the second look.
pub(super) struct Look<'a, 'p> {
    reader: Rereader,
    judge: Judge<'a, 'p>,
}

/// What it does with a document.
struct Judge<'a, 'p> {
    prints: &'a Fingerprints,
    tag_key: &'a SecretTagKey,
    looked: &'a Looked,
    positions: &'a mut PositionMap<'p>,
    secrets: SecretRows,
    evidence: Evidence,
    rows: RowsByCode,
    transaction_ids: RowBatch,
    ids: RowBatch,
    totals: LookTotals,
}

/// What the second look counts.
#[derive(Debug, Default)]
pub(super) struct LookTotals {
    pub(super) missing_change: FindingTotals,
    /// Of double-counted secrets.
    pub(super) phantom_amount: i128,
}

impl LookTotals {
    pub(super) fn add_all(&mut self, more: &LookTotals) {
        self.missing_change.add_all(&more.missing_change);
        self.phantom_amount += more.phantom_amount;
    }
}

impl<'a, 'p> Look<'a, 'p> {
    pub(super) fn new(
        prints: &'a Fingerprints,
        tag_key: &'a SecretTagKey,
        looked: &'a Looked,
        positions: &'a mut PositionMap<'p>,
    ) -> Look<'a, 'p> {
        let judge = Judge {
            prints,
            tag_key,
            looked,
            positions,
            secrets: SecretRows::default(),
            evidence: Evidence::default(),
            rows: RowsByCode::default(),
            transaction_ids: RowBatch::default(),
            ids: RowBatch::default(),
            totals: LookTotals::default(),
        };
        Look { reader: Rereader::default(), judge }
    }

    /// Looks at the documents of `chunk` that have candidates, which are in `parts`; gives the rows of findings, in
    /// the documents' order.
    pub(super) fn at_chunk(
        &mut self,
        chunk: &Chunk,
        parts: &[Arc<CandidatePart>],
    ) -> Result<Vec<(FindingCode, Vec<u8>)>, AnalyzeError> {
        let Look { reader, judge } = self;
        let reread = reader.read(chunk, parts)?;
        let seek = |(token, ..): &(Token<'_>, _, _)| {
            let mut holder = judge.positions.holder(token.user(), token.mint());
            judge.positions.seek(&mut holder);
            holder
        };
        let holders: Vec<Holder> = reread.tokens.iter().map(seek).collect();
        for (document, holder) in reread.documents(&reader.candidates).zip(holders) {
            let (token, proofs, group) = document;
            let found = judge.at_token(token, proofs, group);
            if found != Mask::default() {
                let entry = judge.positions.of(holder, token.user(), token.mint())?;
                entry.position.mask.add(found);
            }
        }
        flush_rows(&mut judge.transaction_ids, &judge.looked.transaction_ids)?;
        flush_rows(&mut judge.ids, &judge.looked.ids)?;
        Ok(judge.rows.take())
    }

    /// What was counted and proven.
    pub(super) fn finish(self) -> (LookTotals, Evidence) {
        (self.judge.totals, self.judge.evidence)
    }
}

impl Judge<'_, '_> {
    /// Reports a document, and gives the codes that have rows of it.
    fn at_token(&mut self, token: &Token<'_>, proofs: &[Proof<'_>], group: &[Candidate]) -> Mask {
        let ordinal = group[0].ordinal;
        let mut found = Mask::default();
        for candidate in group {
            match candidate.kind {
                Kind::Id => same_value(&mut self.ids, token.id, ordinal, token),
                Kind::TransactionId => {
                    same_value(&mut self.transaction_ids, token.transaction_id, ordinal, token);
                }
                Kind::Melt => found.add(self.missing_change(token)),
                Kind::Secret | Kind::Kept => {}
            }
        }
        let secrets = of_kind(group, Kind::Secret);
        if !secrets.is_empty() {
            let kept = of_kind(group, Kind::Kept);
            found.add(self.secrets.report(
                &Copies { token, proofs, secrets, kept },
                self.prints,
                self.tag_key,
                &mut self.evidence,
                &mut self.totals.phantom_amount,
                &mut self.rows,
            ));
        }
        found
    }

    fn missing_change(&mut self, token: &Token<'_>) -> Mask {
        let code = FindingCode::MissingChange;
        let amount = melts::excess(token);
        let totals = &mut self.totals.missing_change;
        totals.count += 1;
        totals.amount += amount.unwrap_or(0);
        let detail = "melted more than its cost, and no change document names it; \
                      the amount is the difference";
        let holder = |csv: &mut _| push_holder(csv, token);
        reports::finding_row(self.rows.of(code), code, holder, amount, &[detail]);
        Mask::of(code)
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
