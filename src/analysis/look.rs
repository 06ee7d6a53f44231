//! The second look: candidate documents are read again and their values compared in full.

use super::AnalyzeError;
use super::duplicates::{Candidate, Kind, kept};
use super::melts;
use super::pass::located;
use super::positions::push_finding;
use super::reports::{self, FindingRow, Holder};
use super::scan::{Stores, flush_rows};
use super::token::{Proof, Token};
use super::{AnalyzeOptions, FindingTotals};
use crate::document::Value;
use crate::model::{FindingCode, Sha256Hash};
use crate::scratch::{Row, RowBatch, ScratchError, SortedRows, Sorter};
use crate::snapshot::input::Chunk;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::sync::Mutex;

/// The key under which reports name secrets: derived from the snapshot, so that a secret has the same
/// name in all reports of one snapshot and none elsewhere.
#[derive(Clone, Copy)]
pub(super) struct SecretTagKey([u8; 32]);

impl SecretTagKey {
    pub(super) fn new(snapshot: Sha256Hash) -> SecretTagKey {
        let mut hasher = Sha256::new();
        hasher.update(b"remelt secret tag 1");
        hasher.update(snapshot.0);
        SecretTagKey(hasher.finalize().into())
    }

    fn tag(&self, secret: &[u8]) -> [u8; 32] {
        match Hmac::<Sha256>::new_from_slice(&self.0) {
            Ok(mut mac) => {
                mac.update(secret);
                mac.finalize().into_bytes().into()
            }
            // HMAC takes keys of any length.
            Err(_) => [0; 32],
        }
    }
}

/// Where the looks' results meet.
#[derive(Debug)]
pub(super) struct Looked {
    /// Proofs by secret, see [`votes_and_copies`], in parts by the secret's tag: a part can be judged by
    /// itself.
    pub(super) copies: [Mutex<Sorter>; COPY_PARTS],
    /// Documents by transaction id.
    pub(super) transaction_ids: Mutex<Sorter>,
    /// Documents by `_id`.
    pub(super) ids: Mutex<Sorter>,
}

/// What a worker of the second look reads.
pub(super) struct Look<'a> {
    pub(super) options: &'a AnalyzeOptions,
    pub(super) tag_key: SecretTagKey,
    pub(super) stores: &'a Stores,
    pub(super) looked: &'a Looked,
}

/// Looks at the documents of `chunk` that have candidates and gives the totals of `missing_change`.
pub(super) fn look_at_chunk(
    look: &Look<'_>,
    chunk: &Chunk,
    candidates: &[Candidate],
) -> Result<FindingTotals, AnalyzeError> {
    let mut batches = Batches::default();
    let mut melts = FindingTotals::default();
    let mut groups = candidates.chunk_by(|a, b| a.ordinal == b.ordinal).peekable();
    let mut proofs = Vec::new();
    for (ordinal, (start, document)) in (chunk.first_document..).zip(chunk.framed()) {
        let Some(group) = groups.next_if(|group| group[0].ordinal == ordinal) else { continue };
        proofs.clear();
        let token = Token::parse(document, &mut proofs).map_err(located(chunk, start))?;
        batches.document(look, &token, &proofs, ordinal, group, &mut melts)?;
    }
    batches.hand_over(look)?;
    Ok(melts)
}

#[derive(Default)]
struct Batches {
    copies: [RowBatch; COPY_PARTS],
    transaction_ids: RowBatch,
    ids: RowBatch,
    rows: RowBatch,
    positions: RowBatch,
}

impl Batches {
    fn document(
        &mut self,
        look: &Look<'_>,
        token: &Token<'_>,
        proofs: &[Proof<'_>],
        ordinal: u64,
        group: &[Candidate],
        melts: &mut FindingTotals,
    ) -> Result<(), AnalyzeError> {
        let holder = Holder::of(token);
        for candidate in group {
            match candidate.kind {
                Kind::Id => same_value(&mut self.ids, token.id, ordinal, &holder),
                Kind::TransactionId => {
                    same_value(&mut self.transaction_ids, token.transaction_id, ordinal, &holder);
                }
                Kind::Melt => {
                    let amount = melts::excess(token);
                    melts.count += 1;
                    melts.amount += amount.unwrap_or(0);
                    let row = FindingRow {
                        code: FindingCode::MissingChange,
                        order: [ordinal, 0],
                        holder: holder.clone(),
                        amount,
                        detail: "melted more than its cost, and no change document names it; \
                                 the amount is the difference"
                            .into(),
                    };
                    reports::push_row(&mut self.rows, &row);
                    let code = FindingCode::MissingChange;
                    push_finding(&mut self.positions, token.user(), token.mint(), code);
                }
                Kind::Secret => {}
            }
        }
        // Candidates of a document are sorted by kind, then by fingerprint.
        let secrets = &group[group.partition_point(|c| c.kind < Kind::Secret)..];
        let secrets = &secrets[..secrets.partition_point(|c| c.kind == Kind::Secret)];
        if !secrets.is_empty() {
            let key = &look.options.fingerprint_key;
            for (index, proof) in proofs.iter().enumerate() {
                let seen = kept(key.narrow(proof.secret));
                if secrets.binary_search_by_key(&seen, |c| c.fingerprint).is_ok() {
                    let copy = Copy { token, proof, ordinal, index: index as u64, holder: &holder };
                    let tag = look.tag_key.tag(proof.secret);
                    let part = &mut self.copies[part_of(tag)];
                    votes_and_copies(part, tag, &copy);
                    if part.bytes() > HAND_OVER_BYTES {
                        flush_rows(part, &look.looked.copies[part_of(tag)])?;
                    }
                }
            }
        }
        Ok(())
    }

    fn hand_over(mut self, look: &Look<'_>) -> Result<(), AnalyzeError> {
        for (rows, part) in self.copies.iter_mut().zip(&look.looked.copies) {
            flush_rows(rows, part)?;
        }
        flush_rows(&mut self.transaction_ids, &look.looked.transaction_ids)?;
        flush_rows(&mut self.ids, &look.looked.ids)?;
        flush_rows(&mut self.rows, &look.stores.findings)?;
        flush_rows(&mut self.positions, &look.stores.positions)
    }
}

/// Key: SHA-256 of the value and its type, then the document's number.
fn same_value(batch: &mut RowBatch, value: Option<Value<'_>>, ordinal: u64, holder: &Holder<'_>) {
    let Some(value) = value else { return };
    let mut hasher = Sha256::new();
    hasher.update([value.kind.byte()]);
    hasher.update(value.bytes);
    let mut key = hasher.finalize().to_vec();
    key.extend_from_slice(&ordinal.to_be_bytes());
    batch.push(&key, |payload| holder.encode(payload));
}

struct Copy<'a> {
    token: &'a Token<'a>,
    proof: &'a Proof<'a>,
    ordinal: u64,
    index: u64,
    holder: &'a Holder<'a>,
}

const VOTE: u8 = 0;
const COPY: u8 = 1;
const SPENDABLE: u8 = 1;
const GONE: u8 = 2;

/// Parts of the copies.
pub(super) const COPY_PARTS: usize = 8;

fn part_of(tag: [u8; 32]) -> usize {
    usize::from(tag[0]) % COPY_PARTS
}

/// Two rows a proof, both under the secret's tag: all votes of a secret come before all its copies, so
/// that it is judged before its copies are reported, in no memory.
fn votes_and_copies(batch: &mut RowBatch, tag: [u8; 32], copy: &Copy<'_>) {
    let mut key = [0; 32 + 1 + 16];
    key[..32].copy_from_slice(&tag);
    key[33..41].copy_from_slice(&copy.ordinal.to_be_bytes());
    key[41..].copy_from_slice(&copy.index.to_be_bytes());
    let spendable = copy.token.status().is_some_and(|status| status.is_spendable());
    let flags = u8::from(spendable) * SPENDABLE + u8::from(copy.token.is_gone()) * GONE;
    let amount = copy.proof.amount.unwrap_or(0);
    let vote = |payload: &mut Vec<u8>| {
        payload.push(flags);
        payload.extend_from_slice(&amount.to_le_bytes());
    };
    key[32] = VOTE;
    batch.push(&key, |payload| {
        vote(payload);
        let mut hasher = Sha256::new();
        hasher.update([u8::from(copy.token.user().is_some())]);
        hasher.update(copy.token.user().unwrap_or_default());
        payload.extend_from_slice(&hasher.finalize());
    });
    key[32] = COPY;
    batch.push(&key, |payload| {
        vote(payload);
        copy.holder.encode(payload);
    });
}

/// What the proofs of one secret amount to.
#[derive(Debug, Default)]
struct Verdict {
    proofs: u64,
    first: Option<u64>,
    user: Option<[u8; 32]>,
    has_other_users: bool,
    spendable: u64,
    spendable_documents: Documents,
    gone_documents: Documents,
    /// The spendable proof that is not phantom: amount, document, index.
    largest: Option<(i64, u64, u64)>,
}

/// Whether there are none, one or several documents.
#[derive(Debug, Default, PartialEq, Eq)]
enum Documents {
    #[default]
    None,
    One(u64),
    Several,
}

impl Documents {
    fn add(&mut self, ordinal: u64) {
        *self = match self {
            Documents::None => Documents::One(ordinal),
            Documents::One(one) if *one == ordinal => Documents::One(ordinal),
            _ => Documents::Several,
        };
    }
}

/// Classes of `duplicate_secrets`, in the order of their counts.
const CLASSES: [&str; 3] = ["benign_copy", "double_counted", "cross_user"];
const BENIGN_COPY: usize = 0;
const DOUBLE_COUNTED: usize = 1;
const CROSS_USER: usize = 2;

impl Verdict {
    fn vote(&mut self, copy: &CopyRow<'_>, user: [u8; 32]) {
        self.proofs += 1;
        self.first.get_or_insert(copy.ordinal);
        self.has_other_users |= *self.user.get_or_insert(user) != user;
        if copy.is_gone() {
            self.gone_documents.add(copy.ordinal);
        }
        if copy.is_spendable() {
            self.spendable += 1;
            self.spendable_documents.add(copy.ordinal);
            if self.largest.is_none_or(|(largest, ..)| copy.amount > largest) {
                self.largest = Some((copy.amount, copy.ordinal, copy.index));
            }
        }
    }

    /// Whether a spendable proof stands in one document and a gone one in another.
    fn is_gone_elsewhere(&self) -> bool {
        match (&self.spendable_documents, &self.gone_documents) {
            (Documents::None, _) | (_, Documents::None) => false,
            (Documents::One(here), Documents::One(there)) => here != there,
            _ => true,
        }
    }

    fn is_double_counted(&self) -> bool {
        self.is_gone_elsewhere() || self.spendable > 1
    }

    fn class(&self) -> usize {
        if self.is_double_counted() {
            DOUBLE_COUNTED
        } else if self.has_other_users {
            CROSS_USER
        } else {
            BENIGN_COPY
        }
    }

    /// Whether a proof is counted though its money is not there; only for double-counted secrets.
    fn is_phantom(&self, copy: &CopyRow<'_>) -> bool {
        let is_kept = self.largest.is_some_and(|(_, o, i)| (o, i) == (copy.ordinal, copy.index));
        copy.is_spendable() && self.is_double_counted() && (self.is_gone_elsewhere() || !is_kept)
    }
}

/// Judges every secret and reports its proofs. Gives the totals of `duplicate_secrets` and of
/// `double_counted`.
pub(super) fn judge_secrets(
    mut sorted: SortedRows,
    stores: &Stores,
) -> Result<(FindingTotals, FindingTotals), AnalyzeError> {
    let damaged = || ScratchError::Damaged;
    let mut reporter =
        Reporter { stores, rows: RowBatch::default(), positions: RowBatch::default() };
    let mut duplicates = FindingTotals::default();
    let mut double_counted = FindingTotals::default();
    let (mut tag, mut verdict, mut is_counted) = ([0; 32], Verdict::default(), false);
    let mut row = Row::default();
    while sorted.next_into(&mut row)? {
        let copy = CopyRow::decode(&row).ok_or_else(damaged)?;
        if tag != copy.tag || verdict.proofs == 0 {
            (tag, verdict, is_counted) = (copy.tag, Verdict::default(), false);
        }
        if copy.kind == VOTE {
            let user = copy.rest.first_chunk().ok_or_else(damaged)?;
            verdict.vote(&copy, *user);
            continue;
        }
        if verdict.proofs < 2 {
            continue; // equal fingerprints, different secrets
        }
        if !is_counted {
            is_counted = true;
            duplicates.count += 1;
            duplicates.classes[verdict.class()] += 1;
            double_counted.count += u64::from(verdict.is_double_counted());
        }
        if verdict.is_phantom(&copy) {
            double_counted.amount += i128::from(copy.amount);
        }
        let holder = Holder::decode(copy.rest).ok_or_else(damaged)?;
        reporter.report(&verdict, &copy, &holder)?;
    }
    reporter.flush()?;
    Ok((duplicates, double_counted))
}

/// A row of [`votes_and_copies`].
struct CopyRow<'a> {
    tag: [u8; 32],
    kind: u8,
    ordinal: u64,
    index: u64,
    flags: u8,
    amount: i64,
    rest: &'a [u8],
}

impl<'a> CopyRow<'a> {
    fn decode(row: &'a Row) -> Option<CopyRow<'a>> {
        let (tag, key) = row.key.split_first_chunk::<32>()?;
        let (kind, key) = key.split_first()?;
        let (ordinal, key) = key.split_first_chunk::<8>()?;
        let (flags, payload) = row.payload.split_first()?;
        let (amount, rest) = payload.split_first_chunk::<8>()?;
        Some(CopyRow {
            tag: *tag,
            kind: *kind,
            ordinal: u64::from_be_bytes(*ordinal),
            index: u64::from_be_bytes(*key.first_chunk()?),
            flags: *flags,
            amount: i64::from_le_bytes(*amount),
            rest,
        })
    }

    fn is_spendable(&self) -> bool {
        self.flags & SPENDABLE != 0
    }

    fn is_gone(&self) -> bool {
        self.flags & GONE != 0
    }
}

struct Reporter<'a> {
    stores: &'a Stores,
    rows: RowBatch,
    positions: RowBatch,
}

impl Reporter<'_> {
    fn report(
        &mut self,
        verdict: &Verdict,
        copy: &CopyRow<'_>,
        holder: &Holder<'_>,
    ) -> Result<(), AnalyzeError> {
        let place = match (copy.is_spendable(), copy.is_gone()) {
            (true, true) => "spendable, though melted",
            (true, false) => "spendable",
            (false, true) => "gone",
            (false, false) => "neither spendable nor gone",
        };
        let tag: String = copy.tag[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let about = format!("secret {tag} stands in {} proofs; {place} here", verdict.proofs);
        let order = [verdict.first.unwrap_or(0), copy.ordinal];
        let mut say = |code, amount: i64, detail| {
            let amount = Some(i128::from(amount));
            let row = FindingRow { code, order, holder: holder.clone(), amount, detail };
            reports::push_row_of(&mut self.rows, &row, &copy.tag, copy.index);
            let user = holder.npub.as_deref();
            push_finding(&mut self.positions, user, &holder.mint, code);
        };
        let class = CLASSES[verdict.class()];
        say(FindingCode::DuplicateSecrets, copy.amount, format!("{class}: {about}").into());
        if verdict.is_double_counted() {
            let is_phantom = verdict.is_phantom(copy);
            let amount = if is_phantom { copy.amount } else { 0 };
            let judged = if is_phantom { "counted, not there" } else { "not counted twice" };
            say(FindingCode::DoubleCounted, amount, format!("{judged}: {about}").into());
        }
        if self.rows.bytes() > HAND_OVER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), AnalyzeError> {
        flush_rows(&mut self.rows, &self.stores.findings)?;
        flush_rows(&mut self.positions, &self.stores.positions)
    }
}

const HAND_OVER_BYTES: usize = 256 * 1024;

/// Reports the documents that share a transaction id and gives the totals.
pub(super) fn judge_transaction_ids(
    mut sorted: SortedRows,
    stores: &Stores,
) -> Result<FindingTotals, AnalyzeError> {
    let mut reporter =
        Reporter { stores, rows: RowBatch::default(), positions: RowBatch::default() };
    let mut totals = FindingTotals::default();
    let mut first: Option<(Row, bool)> = None;
    let mut row = Row::default();
    while sorted.next_into(&mut row)? {
        match &mut first {
            Some((head, is_reported)) if head.key[..32] == row.key[..32] => {
                if !*is_reported {
                    *is_reported = true;
                    totals.count += 1;
                    reporter.shared_id(head, head)?;
                }
                reporter.shared_id(head, &row)?;
            }
            _ => first = Some((row.clone(), false)),
        }
    }
    reporter.flush()?;
    Ok(totals)
}

impl Reporter<'_> {
    fn shared_id(&mut self, first: &Row, row: &Row) -> Result<(), AnalyzeError> {
        let damaged = || ScratchError::Damaged;
        let holder = Holder::decode(&row.payload).ok_or_else(damaged)?;
        let order = [ordinal_of(first).ok_or_else(damaged)?, ordinal_of(row).ok_or_else(damaged)?];
        let code = FindingCode::DuplicateTransactionId;
        push_finding(&mut self.positions, holder.npub.as_deref(), &holder.mint, code);
        let amount = holder.amount.map(i128::from);
        let detail = "several documents have this transaction_id".into();
        reports::push_row(&mut self.rows, &FindingRow { code, order, holder, amount, detail });
        if self.rows.bytes() > HAND_OVER_BYTES {
            self.flush()?;
        }
        Ok(())
    }
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
