//! Proofs whose secret occurs more than once: collected, judged, and reported in order.
//!
//! The second look knows of every such proof the first document that has its fingerprint, and rows are
//! reported in the order of the first documents. So copies are collected in parts by that document's number;
//! a part is sorted and judged by itself, in memory, and its rows are ready for the file. A part too large for
//! that goes through a sorter.
//!
//! Different secrets may share a fingerprint. Then the first document of one may stand behind the one
//! that its copies were collected under: such a stray's rows wait until their place is reached.

use super::csv::CsvRows;
use super::duplicates::Ranges;
use super::findings_file::FindingsFile;
use super::positions::{Mask, PositionMap};
use super::reports::{self, push_holder};
use super::token::{Proof, Token};
use super::{AnalyzeError, FindingTotals};
use crate::model::{FindingCode, Sha256Hash};
use crate::scratch::{PartitionWriter, Partitions, Row, ScratchError, SortedRows, Sorter};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

type Tag = [u8; 32];

/// The key under which reports name secrets: derived from the snapshot, so that a secret has the same
/// name in all reports of one snapshot and none elsewhere.
pub(super) struct SecretTagKey(Option<Hmac<Sha256>>);

impl SecretTagKey {
    pub(super) fn new(snapshot: Sha256Hash) -> SecretTagKey {
        let mut hasher = Sha256::new();
        hasher.update(b"remelt secret tag 1");
        hasher.update(snapshot.0);
        // HMAC takes keys of any length.
        SecretTagKey(Hmac::new_from_slice(&hasher.finalize()).ok())
    }

    pub(super) fn tag(&self, secret: &[u8]) -> Tag {
        let Some(mut mac) = self.0.clone() else { return [0; 32] };
        mac.update(secret);
        mac.finalize().into_bytes().into()
    }
}

/// One proof of a secret that occurs more than once.
#[derive(Debug, Clone, Copy)]
struct Copy {
    /// The first document with a secret of this fingerprint.
    first: u64,
    tag: Tag,
    /// The document, and which of its proofs.
    ordinal: u64,
    index: u32,
    amount: i64,
}

/// First document (5 bytes), tag (32), index (4), amount (8), little-endian.
const COPY_BYTES: usize = 49;
/// Documents are numbered in 40 bits.
const ORDINAL_BYTES: usize = 5;

impl Copy {
    fn encode(&self, out: &mut Vec<u8>) {
        push_ordinal(self.first, out);
        out.extend_from_slice(&self.tag);
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.amount.to_le_bytes());
    }

    fn decode(bytes: &[u8; COPY_BYTES], ordinal: u64) -> Option<Copy> {
        let (first, rest) = split_ordinal(bytes)?;
        let (tag, rest) = rest.split_first_chunk()?;
        let (index, rest) = rest.split_first_chunk()?;
        Some(Copy {
            first,
            tag: *tag,
            ordinal,
            index: u32::from_le_bytes(*index),
            amount: i64::from_le_bytes(*rest.first_chunk()?),
        })
    }

    /// Rows of a code come in this order.
    fn order(&self) -> (u64, &Tag, u64, u32) {
        (self.first, &self.tag, self.ordinal, self.index)
    }
}

fn push_ordinal(ordinal: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&ordinal.to_le_bytes()[..ORDINAL_BYTES]);
}

fn split_ordinal(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_at_checked(ORDINAL_BYTES)?;
    let mut wide = [0; 8];
    wide[..ORDINAL_BYTES].copy_from_slice(number);
    Some((u64::from_le_bytes(wide), rest))
}

const SPENDABLE: u8 = 1;
const GONE: u8 = 2;
const HAS_USER: u8 = 4;
/// Its user and mint are cells as they are.
const PLAIN: u8 = 8;

/// What rows say of a document.
#[derive(Debug, Clone, Copy)]
struct Holder<'a> {
    flags: u8,
    user: Option<&'a [u8]>,
    mint: &'a [u8],
    /// As [`push_holder`] writes them; of a plain one the first alone, as the others are known.
    cells: &'a [u8],
}

impl<'a> Holder<'a> {
    fn is_spendable(&self) -> bool {
        self.flags & SPENDABLE != 0
    }

    fn is_gone(&self) -> bool {
        self.flags & GONE != 0
    }

    fn push_cells(&self, csv: &mut CsvRows) {
        csv.cells(self.cells);
        if self.flags & PLAIN != 0 {
            csv.cells(self.user.unwrap_or_default());
            csv.cells(self.mint);
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.flags);
        for part in [self.user.unwrap_or_default(), self.mint, self.cells] {
            // Parts of a document are below 17 MiB.
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(part);
        }
    }

    fn decode(bytes: &'a [u8]) -> Option<(Holder<'a>, &'a [u8])> {
        let (flags, mut rest) = bytes.split_first()?;
        let mut part = || {
            let (length, after) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (part, after) = after.split_at_checked(length)?;
            rest = after;
            Some(part)
        };
        let (user, mint, cells) = (part()?, part()?, part()?);
        let user = (flags & HAS_USER != 0).then_some(user);
        Some((Holder { flags: *flags, user, mint, cells }, rest))
    }
}

/// The first of three cells, if the others are `user` and `mint` as they are.
fn without_plain<'c>(cells: &'c [u8], user: &[u8], mint: &[u8]) -> Option<&'c [u8]> {
    let cells = cells.strip_suffix(mint)?.strip_suffix(b",")?;
    cells.strip_suffix(user)?.strip_suffix(b",")
}

/// One worker's way of handing in copies.
pub(super) struct CopyWriter<'a> {
    ranges: Ranges,
    parts: PartitionWriter<'a>,
    /// Of the document under way, with their parts.
    copies: Vec<(usize, Copy)>,
    cells: CsvRows,
    parcel: Vec<u8>,
}

impl<'a> CopyWriter<'a> {
    pub(super) fn new(store: &'a Partitions, ranges: Ranges) -> CopyWriter<'a> {
        CopyWriter {
            ranges,
            parts: store.writer(),
            copies: Vec::new(),
            cells: CsvRows::new(),
            parcel: Vec::new(),
        }
    }

    /// Adds a proof of the document under way.
    pub(super) fn add(&mut self, first: u64, tag: Tag, index: usize, proof: &Proof<'_>) {
        // A document of less than 17 MiB has no more proofs.
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let amount = proof.amount.unwrap_or(0);
        self.copies.push((self.ranges.of(first), Copy { first, tag, ordinal: 0, index, amount }));
    }

    /// Hands in the copies of the document `ordinal`: for each part one parcel, which is the document's
    /// number (5 bytes), the number of copies (4), the [`Holder`] and the copies.
    pub(super) fn end_document(
        &mut self,
        token: &Token<'_>,
        ordinal: u64,
    ) -> Result<(), AnalyzeError> {
        self.cells.clear();
        push_holder(&mut self.cells, token);
        let is_spendable = token.status().is_some_and(|status| status.is_spendable());
        let flags = u8::from(is_spendable) * SPENDABLE
            + u8::from(token.is_gone()) * GONE
            + u8::from(token.user().is_some()) * HAS_USER;
        let (user, mint) = (token.user(), token.mint());
        let cells = self.cells.bytes();
        let holder = match without_plain(cells, user.unwrap_or_default(), mint) {
            Some(id) => Holder { flags: flags + PLAIN, user, mint, cells: id },
            None => Holder { flags, user, mint, cells },
        };
        self.copies.sort_by_key(|(part, _)| *part);
        for copies in self.copies.chunk_by(|a, b| a.0 == b.0) {
            self.parcel.clear();
            push_parcel(ordinal, &holder, copies.iter().map(|(_, copy)| copy), &mut self.parcel);
            self.parts.push(copies[0].0, &self.parcel)?;
        }
        self.copies.clear();
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), AnalyzeError> {
        Ok(self.parts.finish()?)
    }
}

fn push_parcel<'c>(
    ordinal: u64,
    holder: &Holder<'_>,
    copies: impl ExactSizeIterator<Item = &'c Copy>,
    out: &mut Vec<u8>,
) {
    push_ordinal(ordinal, out);
    // A document of less than 17 MiB has no more proofs.
    let count = u32::try_from(copies.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    holder.encode(out);
    copies.for_each(|copy| copy.encode(out));
}

/// Calls `each` for every parcel in `parcels`, with its document's number, the document and the copies.
fn each_parcel<'a>(
    parcels: &'a [u8],
    mut each: impl FnMut(u64, Holder<'a>, &'a [[u8; COPY_BYTES]]) -> Result<(), AnalyzeError>,
) -> Result<(), AnalyzeError> {
    let mut rest = parcels;
    while !rest.is_empty() {
        let mut parcel = || {
            let (ordinal, after) = split_ordinal(rest)?;
            let (count, after) = after.split_first_chunk()?;
            let (holder, after) = Holder::decode(after)?;
            let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
            let (copies, after) = after.split_at_checked(count.checked_mul(COPY_BYTES)?)?;
            rest = after;
            Some((ordinal, holder, copies.as_chunks().0))
        };
        let (ordinal, holder, copies) = parcel().ok_or(ScratchError::Damaged)?;
        each(ordinal, holder, copies)?;
    }
    Ok(())
}

/// What the proofs of one secret amount to; `U` tells users apart.
#[derive(Debug)]
struct Verdict<U> {
    proofs: u64,
    first: Option<u64>,
    user: Option<U>,
    has_other_users: bool,
    spendable: u64,
    spendable_documents: Documents,
    gone_documents: Documents,
    /// The spendable proof that is not phantom: amount, document, index.
    largest: Option<(i64, u64, u32)>,
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

impl<U> Default for Verdict<U> {
    fn default() -> Verdict<U> {
        Verdict {
            proofs: 0,
            first: None,
            user: None,
            has_other_users: false,
            spendable: 0,
            spendable_documents: Documents::None,
            gone_documents: Documents::None,
            largest: None,
        }
    }
}

impl<U: PartialEq + std::marker::Copy> Verdict<U> {
    /// Counts a proof; they come in the order of their documents.
    fn vote(&mut self, copy: &Copy, flags: u8, user: U) {
        self.proofs += 1;
        self.first.get_or_insert(copy.ordinal);
        self.has_other_users |= *self.user.get_or_insert(user) != user;
        if flags & GONE != 0 {
            self.gone_documents.add(copy.ordinal);
        }
        if flags & SPENDABLE != 0 {
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

    /// The codes of its rows.
    fn mask(&self) -> Mask {
        let mut mask = Mask::of(FindingCode::DuplicateSecrets);
        if self.is_double_counted() {
            mask.add(Mask::of(FindingCode::DoubleCounted));
        }
        mask
    }

    /// What all its rows say.
    fn about(&self, tag: &Tag) -> String {
        let [a, b, c, d, e, f, g, h, ..] = *tag;
        let tag = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        format!(": secret {tag:016x} stands in {} proofs", self.proofs)
    }

    /// Whether a proof is counted though its money is not there; only for double-counted secrets.
    fn is_phantom(&self, copy: &Copy, holder: &Holder<'_>) -> bool {
        let is_kept = self.largest.is_some_and(|(_, o, i)| (o, i) == (copy.ordinal, copy.index));
        holder.is_spendable() && self.is_double_counted() && (self.is_gone_elsewhere() || !is_kept)
    }
}

/// Rows of both codes that copies give.
#[derive(Debug, Default)]
pub(super) struct CopyRows {
    duplicates: CsvRows,
    double_counted: CsvRows,
}

/// Where rows belong: the first document with the secret, and the secret.
type Place = (u64, Tag);

/// Rows of some secrets in order, and where those of each begin.
#[derive(Debug, Default)]
struct Piece {
    rows: CopyRows,
    starts: Vec<(Place, [usize; 2])>,
}

impl CopyRows {
    fn ends(&self) -> [usize; 2] {
        [self.duplicates.bytes().len(), self.double_counted.bytes().len()]
    }

    fn push<U: PartialEq + std::marker::Copy>(
        &mut self,
        verdict: &Verdict<U>,
        about: &str,
        copy: &Copy,
        holder: &Holder<'_>,
    ) {
        let place = match (holder.is_spendable(), holder.is_gone()) {
            (true, true) => "; spendable, though melted here",
            (true, false) => "; spendable here",
            (false, true) => "; gone here",
            (false, false) => "; neither spendable nor gone here",
        };
        let say = |csv: &mut CsvRows, code, amount: i64, judged| {
            let (amount, detail) = (Some(i128::from(amount)), [judged, about, place]);
            reports::finding_row(csv, code, |csv| holder.push_cells(csv), amount, &detail);
        };
        let class = CLASSES[verdict.class()];
        say(&mut self.duplicates, FindingCode::DuplicateSecrets, copy.amount, class);
        if verdict.is_double_counted() {
            let (amount, judged) = match verdict.is_phantom(copy, holder) {
                true => (copy.amount, "counted, not there"),
                false => (0, "not counted twice"),
            };
            say(&mut self.double_counted, FindingCode::DoubleCounted, amount, judged);
        }
    }
}

/// Totals of `duplicate_secrets` and `double_counted`.
#[derive(Debug, Default)]
pub(super) struct CopyTotals {
    pub(super) duplicates: FindingTotals,
    pub(super) double_counted: FindingTotals,
}

impl CopyTotals {
    fn count<U: PartialEq + std::marker::Copy>(&mut self, verdict: &Verdict<U>) {
        self.duplicates.count += 1;
        self.duplicates.classes[verdict.class()] += 1;
        self.double_counted.count += u64::from(verdict.is_double_counted());
    }

    fn count_copy<U: PartialEq + std::marker::Copy>(
        &mut self,
        verdict: &Verdict<U>,
        copy: &Copy,
        holder: &Holder<'_>,
    ) {
        if verdict.is_phantom(copy, holder) {
            self.double_counted.amount += i128::from(copy.amount);
        }
    }

    fn add(&mut self, more: &CopyTotals) {
        self.duplicates.add_all(&more.duplicates);
        self.double_counted.add_all(&more.double_counted);
    }
}

/// Rows that wait for their place.
#[derive(Debug, Default)]
pub(super) struct Strays(Mutex<BTreeMap<Place, CopyRows>>);

impl Strays {
    fn add(&self, place: Place, push: impl FnOnce(&mut CopyRows)) {
        push(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(place).or_default());
    }

    /// Takes those before `end`.
    fn before(&self, end: Place) -> BTreeMap<Place, CopyRows> {
        let mut strays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let later = strays.split_off(&end);
        std::mem::replace(&mut *strays, later)
    }
}

/// A part judged.
pub(super) struct Judged {
    piece: Piece,
    totals: CopyTotals,
}

/// Judges the secrets of one part whose copies are in `parcels`.
pub(super) fn judge(
    parcels: &[u8],
    positions: &mut PositionMap<'_>,
    strays: &Strays,
) -> Result<Judged, AnalyzeError> {
    let mut holders = Vec::new();
    let mut copies = Vec::new();
    each_parcel(parcels, |ordinal, holder, encoded| {
        for copy in encoded {
            let copy = Copy::decode(copy, ordinal).ok_or(ScratchError::Damaged)?;
            copies.push((copy, holders.len()));
        }
        // Which codes it has rows of is found out below.
        holders.push((holder, Mask::default()));
        Ok(())
    })?;
    copies.sort_unstable_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
    let mut judged = Judged { piece: Piece::default(), totals: CopyTotals::default() };
    for group in copies.chunk_by(|(a, _), (b, _)| (a.first, a.tag) == (b.first, b.tag)) {
        let mut verdict = Verdict::default();
        for (copy, holder) in group {
            verdict.vote(copy, holders[*holder].0.flags, holders[*holder].0.user);
        }
        if verdict.proofs < 2 {
            continue; // equal fingerprints, different secrets
        }
        judged.totals.count(&verdict);
        let place = (verdict.first.unwrap_or(0), group[0].0.tag);
        let about = verdict.about(&group[0].0.tag);
        let mut push = |rows: &mut CopyRows| {
            for (copy, holder) in group {
                let (holder, found) = &mut holders[*holder];
                found.add(verdict.mask());
                judged.totals.count_copy(&verdict, copy, holder);
                rows.push(&verdict, &about, copy, holder);
            }
        };
        if place.0 == group[0].0.first {
            judged.piece.starts.push((place, judged.piece.rows.ends()));
            push(&mut judged.piece.rows);
        } else {
            strays.add(place, push);
        }
    }
    for (holder, found) in holders {
        if found != Mask::default() {
            positions.mark(holder.user, holder.mint, found)?;
        }
    }
    Ok(judged)
}

const CODES: [FindingCode; 2] = [FindingCode::DuplicateSecrets, FindingCode::DoubleCounted];

/// Takes judged parts in order and writes their rows.
pub(super) struct CopyReport<'a> {
    pub(super) findings: &'a mut FindingsFile,
    pub(super) strays: &'a Strays,
    pub(super) totals: CopyTotals,
}

impl CopyReport<'_> {
    /// Writes the rows of a part that ends before document `end`.
    pub(super) fn write(&mut self, judged: &Judged, end: u64) -> Result<(), AnalyzeError> {
        self.totals.add(&judged.totals);
        self.write_piece(&judged.piece, (end, [0; 32]))
    }

    /// Writes a piece, and the strays that belong in it or before `end`.
    fn write_piece(&mut self, piece: &Piece, end: Place) -> Result<(), AnalyzeError> {
        let mut written = [0; 2];
        for (place, stray) in self.strays.before(end) {
            let next = piece.starts.partition_point(|(start, _)| *start < place);
            let until = piece.starts.get(next).map_or(piece.rows.ends(), |(_, start)| *start);
            self.write_between(&piece.rows, written, until)?;
            self.write_between(&stray, [0; 2], stray.ends())?;
            written = until;
        }
        self.write_between(&piece.rows, written, piece.rows.ends())
    }

    fn write_between(
        &mut self,
        rows: &CopyRows,
        [duplicates, double_counted]: [usize; 2],
        [duplicates_end, double_counted_end]: [usize; 2],
    ) -> Result<(), AnalyzeError> {
        let [first, second] = CODES;
        self.findings.add(first, &rows.duplicates.bytes()[duplicates..duplicates_end])?;
        self.findings.add(second, &rows.double_counted.bytes()[double_counted..double_counted_end])
    }

    /// Judges a part too large for memory, through `sorter`, and writes its rows.
    pub(super) fn judge_large(
        &mut self,
        store: &Partitions,
        part: usize,
        end: u64,
        mut sorter: Sorter,
        positions: &mut PositionMap<'_>,
    ) -> Result<(), AnalyzeError> {
        store.take_blocks(part, |parcels| {
            each_parcel(parcels, |ordinal, holder, copies| {
                for copy in copies {
                    let copy = Copy::decode(copy, ordinal).ok_or(ScratchError::Damaged)?;
                    push_vote_and_copy(&mut sorter, &copy, &holder)?;
                }
                Ok(())
            })
        })?;
        self.judge_sorted(sorter.finish()?, end, positions)
    }

    fn judge_sorted(
        &mut self,
        mut sorted: SortedRows,
        end: u64,
        positions: &mut PositionMap<'_>,
    ) -> Result<(), AnalyzeError> {
        let damaged = || ScratchError::Damaged;
        let mut group: Option<Place> = None;
        let (mut verdict, mut is_counted) = (Verdict::<[u8; 32]>::default(), false);
        let mut piece = Piece::default();
        let mut row = Row::default();
        while sorted.next_into(&mut row)? {
            let copy = decode_key(&row.key).ok_or_else(damaged)?;
            if group != Some((copy.0.first, copy.0.tag)) {
                group = Some((copy.0.first, copy.0.tag));
                (verdict, is_counted) = (Verdict::default(), false);
            }
            let (kind, mut copy) = (copy.1, copy.0);
            let (amount, payload) = row.payload.split_first_chunk().ok_or_else(damaged)?;
            copy.amount = i64::from_le_bytes(*amount);
            if kind == VOTE {
                let (flags, user) = payload.split_first().ok_or_else(damaged)?;
                verdict.vote(&copy, *flags, *user.first_chunk().ok_or_else(damaged)?);
                continue;
            }
            if verdict.proofs < 2 {
                continue; // equal fingerprints, different secrets
            }
            let (holder, _) = Holder::decode(payload).ok_or_else(damaged)?;
            let place = (verdict.first.unwrap_or(0), copy.tag);
            if !is_counted {
                is_counted = true;
                self.totals.count(&verdict);
                // Its rows are written as they come, after all strays before them.
                self.write_piece(&std::mem::take(&mut piece), (copy.first, copy.tag))?;
            }
            self.totals.count_copy(&verdict, &copy, &holder);
            positions.mark(holder.user, holder.mint, verdict.mask())?;
            let about = verdict.about(&copy.tag);
            if place.0 == copy.first {
                piece.rows.push(&verdict, &about, &copy, &holder);
                if piece.rows.duplicates.bytes().len() > PIECE_BYTES_MAX {
                    self.write_between(&piece.rows, [0; 2], piece.rows.ends())?;
                    piece = Piece::default();
                }
            } else {
                self.strays.add(place, |rows| rows.push(&verdict, &about, &copy, &holder));
            }
        }
        self.write_piece(&piece, (end, [0; 32]))
    }
}

const PIECE_BYTES_MAX: usize = 256 * 1024;

const VOTE: u8 = 0;
const COPY: u8 = 1;

/// Two rows a proof, under its place: all votes of a secret come before all its copies, so that it is
/// judged before its copies are reported, in no memory.
fn push_vote_and_copy(
    sorter: &mut Sorter,
    copy: &Copy,
    holder: &Holder<'_>,
) -> Result<(), ScratchError> {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&copy.first.to_be_bytes());
    key[8..40].copy_from_slice(&copy.tag);
    key[41..49].copy_from_slice(&copy.ordinal.to_be_bytes());
    key[49..].copy_from_slice(&copy.index.to_be_bytes());
    let mut payload = copy.amount.to_le_bytes().to_vec();
    payload.push(holder.flags);
    let mut hasher = Sha256::new();
    hasher.update([u8::from(holder.user.is_some())]);
    hasher.update(holder.user.unwrap_or_default());
    payload.extend_from_slice(&hasher.finalize());
    key[40] = VOTE;
    sorter.push(&key, &payload)?;
    payload.truncate(8);
    holder.encode(&mut payload);
    key[40] = COPY;
    sorter.push(&key, &payload)
}

const KEY_BYTES: usize = 8 + 32 + 1 + 8 + 4;

/// The copy, but for its amount, and the kind of the row.
fn decode_key(key: &[u8]) -> Option<(Copy, u8)> {
    let (first, rest) = key.split_first_chunk()?;
    let (tag, rest) = rest.split_first_chunk()?;
    let (kind, rest) = rest.split_first()?;
    let (ordinal, rest) = rest.split_first_chunk()?;
    let copy = Copy {
        first: u64::from_be_bytes(*first),
        tag: *tag,
        ordinal: u64::from_be_bytes(*ordinal),
        index: u32::from_be_bytes(*rest.first_chunk()?),
        amount: 0,
    };
    Some((copy, *kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::fingerprint::{FingerprintKey, Fingerprints};

    /// Copies as `(first, tag, ordinal)`, each in a parcel of its own.
    fn parcels(copies: &[(u64, u8, u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(first, tag, ordinal) in copies {
            let copy = Copy { first, tag: [tag; 32], ordinal, index: 0, amount: 1 };
            let cells = format!("document {ordinal},,");
            let (user, mint) = (Some(&b"user"[..]), &b"mint"[..]);
            let flags = GONE + HAS_USER;
            let holder = Holder { flags, user, mint, cells: cells.as_bytes() };
            push_parcel(ordinal, &holder, [copy].iter(), &mut bytes);
        }
        bytes
    }

    /// The documents in the order of their rows, from two parts that end before documents 10 and 20.
    fn reported(parts: [&[(u64, u8, u64)]; 2], is_large: bool) -> Vec<u64> {
        let directory = tempfile::tempdir().unwrap();
        let sorter = || Sorter::new(directory.path(), 1 << 20);
        let positions = Mutex::new(sorter());
        let prints = Fingerprints::new(FingerprintKey([1; 16]));
        let mut map = PositionMap::new(&positions, &prints, 1 << 20);
        let mut findings =
            FindingsFile::create(directory.path(), directory.path(), 1 << 20).unwrap();
        findings.open(FindingCode::DuplicateSecrets).unwrap();
        let store = Partitions::new(directory.path(), 2, 1 << 20);
        let mut writer = store.writer();
        for (part, copies) in parts.iter().enumerate() {
            writer.push(part, &parcels(copies)).unwrap();
        }
        writer.finish().unwrap();
        let strays = Strays::default();
        let totals = CopyTotals::default();
        let mut report = CopyReport { findings: &mut findings, strays: &strays, totals };
        for (part, end) in [(0, 10), (1, 20)] {
            if is_large {
                report.judge_large(&store, part, end, sorter(), &mut map).unwrap();
            } else {
                let judged = judge(&store.take(part).unwrap(), &mut map, &strays).unwrap();
                report.write(&judged, end).unwrap();
            }
        }
        findings.finish().unwrap();
        let csv = std::fs::read_to_string(directory.path().join("findings.csv")).unwrap();
        let documents = csv.split("document ").skip(1).map(|row| row.split(',').next().unwrap());
        documents.map(|document| document.parse().unwrap()).collect()
    }

    #[test]
    fn rows_come_by_first_document_though_fingerprints_lie() {
        // Secrets 1 and 2 stand where they seem to; 3 seems to begin with document 2 and begins with 5;
        // 4 seems to begin with document 4 and begins with 15, in the next part; 6 stands alone.
        let first = [
            (2, 1, 2),
            (2, 1, 11),
            (2, 3, 5),
            (2, 3, 9),
            (4, 4, 15),
            (4, 4, 16),
            (4, 6, 4),
            (7, 2, 7),
            (7, 2, 8),
        ];
        let second = [(12, 5, 12), (12, 5, 18), (17, 7, 17), (17, 7, 19)];
        for is_large in [false, true] {
            assert_eq!(
                reported([&first, &second], is_large),
                [2, 11, 5, 9, 7, 8, 12, 18, 15, 16, 17, 19],
                "large: {is_large}"
            );
        }
    }
}
