//! Secrets that occur more than once: judged by their records, proven and reported in the second look.
//!
//! Every proof leaves a record: a narrow fingerprint of its secret, its document's number, and what the document
//! says of it ([`Holding`]). Records with equal fingerprints are judged as the copies of one secret
//! ([`Gathered`]), before any of them is read again. The second look reads the secrets themselves, names them
//! ([`SecretTagKey`]), writes the rows and proves the judgement ([`Evidence`]): had different secrets the same
//! fingerprint, the analysis would be thrown away and begun anew under another key.

use super::csv::CsvRows;
use super::duplicates::{Candidate, CandidateStore, Kind};
use super::findings_file::RowsByCode;
use super::fingerprint::Fingerprints;
use super::groups::{Gather, Grouping};
use super::positions::Mask;
use super::reports::{self, push_holder};
use super::token::{Proof, Token};
use super::{AnalyzeError, FindingTotals};
use crate::document::push_hex;
use crate::model::{FindingCode, Sha256Hash};
use crate::scratch::{PartitionWriter, Partitions, Row, RowBatch, ScratchError, SortedRows};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Bytes of a record: the lower 7 of the fingerprint (the top byte is the part), the document's number (5), the
/// [`Holding`] (4), all big-endian: sorted, the copies of a secret stand together in the order of their documents.
const RECORD_BYTES: usize = 16;
const FINGERPRINT_BYTES: usize = 7;
const ORDINAL_BITS: u32 = 40;

/// What a document says of its proofs: whether they are spendable, whether they are gone, and 30 bits of the hash
/// of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holding(u32);

impl Holding {
    const SPENDABLE: u32 = 1 << 31;
    const GONE: u32 = 1 << 30;
    const USER: u32 = Holding::GONE - 1;

    /// Of a token whose user has `user_hash`.
    pub(super) fn of(token: &Token<'_>, user_hash: u64) -> Holding {
        let spendable = if token.is_spendable() { Holding::SPENDABLE } else { 0 };
        let gone = if token.is_gone() { Holding::GONE } else { 0 };
        let [.., a, b, c, d] = user_hash.to_be_bytes();
        Holding(u32::from_be_bytes([a, b, c, d]) & Holding::USER | spendable | gone)
    }

    fn is_spendable(self) -> bool {
        self.0 & Holding::SPENDABLE != 0
    }

    fn is_gone(self) -> bool {
        self.0 & Holding::GONE != 0
    }

    fn user(self) -> u32 {
        self.0 & Holding::USER
    }
}

/// Notes a proof in document `ordinal` whose secret has `fingerprint`.
#[inline]
pub(super) fn note(
    writer: &mut PartitionWriter<'_>,
    fingerprint: u64,
    ordinal: u64,
    holding: Holding,
) -> Result<(), ScratchError> {
    let [part, ..] = fingerprint.to_be_bytes();
    writer.push(usize::from(part), &Record::of(fingerprint, ordinal, holding).0.to_be_bytes())
}

/// A record as a number that sorts like its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record(u128);

impl Record {
    #[inline]
    fn of(fingerprint: u64, ordinal: u64, holding: Holding) -> Record {
        Record(
            u128::from(fingerprint) << (ORDINAL_BITS + 32)
                | u128::from(ordinal) << 32
                | u128::from(holding.0),
        )
    }

    fn read(bytes: &[u8; RECORD_BYTES]) -> Record {
        Record(u128::from_be_bytes(*bytes))
    }

    /// The fingerprint but for its top byte.
    fn print(self) -> u64 {
        self.low(ORDINAL_BITS + 32, u64::MAX)
    }

    fn ordinal(self) -> u64 {
        self.low(32, (1 << ORDINAL_BITS) - 1)
    }

    fn holding(self) -> Holding {
        let [.., a, b, c, d] = self.0.to_be_bytes();
        Holding(u32::from_be_bytes([a, b, c, d]))
    }

    fn low(self, shift: u32, mask: u64) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = (self.0 >> shift).to_be_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) & mask
    }
}

/// Classes of `duplicate_secrets`, in the order of their counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    BenignCopy = 0,
    DoubleCounted = 1,
    CrossUser = 2,
}

impl Class {
    const ALL: [Class; 3] = [Class::BenignCopy, Class::DoubleCounted, Class::CrossUser];

    fn as_str(self) -> &'static str {
        match self {
            Class::BenignCopy => "benign_copy",
            Class::DoubleCounted => "double_counted",
            Class::CrossUser => "cross_user",
        }
    }
}

/// What the copies of one secret amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    class: Class,
    /// Of a double-counted secret: a spendable proof stands in one document and a gone one in another.
    is_gone_elsewhere: bool,
    proofs: u64,
}

/// What the second look must know of a secret in one document, in the 48 bits of a candidate's note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Judgement {
    verdict: Verdict,
    /// Whether this is the first document with the secret.
    is_first: bool,
}

impl Judgement {
    const GONE_ELSEWHERE: u64 = 1 << 42;
    const FIRST: u64 = 1 << 43;
    const PROOFS: u64 = (1 << 40) - 1;

    fn encode(self) -> u64 {
        let Judgement { verdict, is_first } = self;
        verdict.proofs.min(Judgement::PROOFS)
            | (verdict.class as u64) << 40
            | if verdict.is_gone_elsewhere { Judgement::GONE_ELSEWHERE } else { 0 }
            | if is_first { Judgement::FIRST } else { 0 }
    }

    fn decode(note: u64) -> Judgement {
        let class = match note >> 40 & 3 {
            0 => Class::BenignCopy,
            1 => Class::DoubleCounted,
            _ => Class::CrossUser,
        };
        let is_gone_elsewhere = note & Judgement::GONE_ELSEWHERE != 0;
        let verdict = Verdict { class, is_gone_elsewhere, proofs: note & Judgement::PROOFS };
        Judgement { verdict, is_first: note & Judgement::FIRST != 0 }
    }
}

/// Whether there are none, one or several documents.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
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

/// What is judged of the copies of one secret, which come in the order of their documents.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    first: Option<Record>,
    has_other_user: bool,
    spendable: Documents,
    gone: Documents,
    spendable_proofs: u64,
    proofs: u64,
}

impl Gathered {
    fn add_copy(&mut self, copy: Record) {
        let (holding, ordinal) = (copy.holding(), copy.ordinal());
        let first = *self.first.get_or_insert(copy);
        self.has_other_user |= first.holding().user() != holding.user();
        self.proofs += 1;
        if holding.is_spendable() {
            self.spendable_proofs += 1;
            self.spendable.add(ordinal);
        }
        if holding.is_gone() {
            self.gone.add(ordinal);
        }
    }

    fn judge(&self) -> Verdict {
        let is_gone_elsewhere = match (self.spendable, self.gone) {
            (Documents::None, _) | (_, Documents::None) => false,
            (Documents::One(here), Documents::One(there)) => here != there,
            _ => true,
        };
        let class = if is_gone_elsewhere || self.spendable_proofs > 1 {
            Class::DoubleCounted
        } else if self.has_other_user {
            Class::CrossUser
        } else {
            Class::BenignCopy
        };
        Verdict { class, is_gone_elsewhere, proofs: self.proofs }
    }
}

impl Gather<RECORD_BYTES> for Gathered {
    /// With the first document.
    type Verdict = (Verdict, u64);
    const PRINT_BYTES: usize = FINGERPRINT_BYTES;
    const TWINS_ONLY: bool = true;

    fn add(&mut self, record: &[u8; RECORD_BYTES]) {
        self.add_copy(Record::read(record));
    }

    fn verdict(&self) -> Option<(Verdict, u64)> {
        let first = self.first.filter(|_| self.proofs > 1)?;
        Some((self.judge(), first.ordinal()))
    }

    fn sort(records: &mut [[u8; RECORD_BYTES]]) {
        records.sort_unstable_by_key(Record::read);
    }
}

/// Totals of `duplicate_secrets` and `double_counted`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SecretTotals {
    pub(super) duplicates: FindingTotals,
    pub(super) double_counted: FindingTotals,
}

impl SecretTotals {
    fn count(&mut self, verdict: &Verdict) {
        self.duplicates.count += 1;
        self.duplicates.classes[verdict.class as usize] += 1;
        self.double_counted.count += u64::from(verdict.class == Class::DoubleCounted);
    }

    fn add_all(&mut self, more: &SecretTotals) {
        self.duplicates.add_all(&more.duplicates);
        self.double_counted.add_all(&more.double_counted);
    }
}

/// One thread's part in [`propose`].
struct Proposer<'a> {
    totals: SecretTotals,
    candidates: PartitionWriter<'a>,
    contested: PartitionWriter<'a>,
    /// Fingerprint and document of the record before.
    last: Option<(u64, u64)>,
}

/// Finds the records that share their fingerprint, judges them, and makes candidates of them. Those of which one
/// spendable proof is no phantom, which depends on amounts, are besides in `contested`.
pub(super) fn propose(
    grouping: &Grouping<'_>,
    store: &Partitions,
    candidates: &CandidateStore,
    contested: &CandidateStore,
) -> Result<SecretTotals, AnalyzeError> {
    let begin = || Proposer {
        totals: SecretTotals::default(),
        candidates: candidates.writer(),
        contested: contested.writer(),
        last: None,
    };
    let each = |proposer: &mut Proposer<'_>, part: usize, judged: &(Verdict, u64), record: &_| {
        let ((verdict, first), record) = (*judged, Record::read(record));
        let (fingerprint, ordinal) = ((part as u64) << 56 | record.print(), record.ordinal());
        // A secret that a document has twice is one candidate.
        if proposer.last.replace((fingerprint, ordinal)) == Some((fingerprint, ordinal)) {
            return Ok(());
        }
        let is_first = ordinal == first;
        if is_first {
            proposer.totals.count(&verdict);
        }
        let note = Judgement { verdict, is_first }.encode();
        let candidate = Candidate { ordinal, kind: Kind::Secret, fingerprint, note };
        candidates.push(&mut proposer.candidates, &candidate)?;
        if verdict.class == Class::DoubleCounted && !verdict.is_gone_elsewhere {
            contested.push(&mut proposer.contested, &candidate)?;
        }
        Ok(())
    };
    let mut totals = SecretTotals::default();
    for proposer in grouping.each::<_, Gathered, _>(store, begin, each)? {
        totals.add_all(&proposer.totals);
        proposer.candidates.finish()?;
        proposer.contested.finish()?;
    }
    Ok(totals)
}

type Tag = [u8; 32];
/// Of a tag, these name a secret in reports.
const NAME_BYTES: usize = 8;

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

    fn tag(&self, secret: &[u8]) -> Tag {
        let Some(mut mac) = self.0.clone() else { return [0; 32] };
        mac.update(secret);
        mac.finalize().into_bytes().into()
    }
}

/// Proof that all copies with one fingerprint are of one secret, and where the judgement took them to be of one user,
/// of one user: two sums in which the first copy of `n` counts `1 - n` times and each other once. They vanish when
/// all are equal; when not, by a chance of 2^-128 each, as an attacker knows no fingerprint key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    secrets: u128,
    users: u128,
}

impl Evidence {
    fn count(&mut self, tag: &Tag, user: u128, judgement: &Judgement, is_first_copy: bool) {
        let times = match is_first_copy {
            true => 1_u128.wrapping_sub(u128::from(judgement.verdict.proofs)),
            false => 1,
        };
        let [secret @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *tag;
        let add = |sum: &mut u128, value: u128| *sum = sum.wrapping_add(value.wrapping_mul(times));
        add(&mut self.secrets, u128::from_be_bytes(secret));
        if judgement.verdict.class == Class::BenignCopy {
            add(&mut self.users, user);
        }
    }

    /// Adds what another worker has seen.
    pub(super) fn add(&mut self, more: &Evidence) {
        self.secrets = self.secrets.wrapping_add(more.secrets);
        self.users = self.users.wrapping_add(more.users);
    }

    /// Whether the judgements hold.
    pub(super) fn holds(&self) -> bool {
        *self == Evidence::default()
    }
}

/// Most secrets that one row lists: a spreadsheet's cell holds 32,767 characters.
const LISTED_MAX: usize = 400;
/// A secret takes at least so many bytes of a row.
const LISTED_BYTES_MIN: usize = "; secret 0123456789abcdef of 1 in 2 proofs".len();

/// A proof whose secret occurs more than once.
#[derive(Debug, Clone, Copy)]
struct Listed {
    tag: Tag,
    amount: i64,
    proofs: u64,
    class: Class,
    is_phantom: bool,
}

/// Writes the rows of one document after another.
#[derive(Debug, Default)]
pub(super) struct SecretRows {
    listed: Vec<Listed>,
    is_seen: Vec<bool>,
    holder: CsvRows,
    detail: String,
}

/// What is known of the document under way.
pub(super) struct Copies<'a, 't> {
    pub(super) token: &'a Token<'t>,
    pub(super) proofs: &'a [Proof<'t>],
    /// Its candidates that are secrets, sorted by fingerprint.
    pub(super) secrets: &'a [Candidate],
    /// Those of a contested secret's proof that is no phantom, sorted likewise.
    pub(super) kept: &'a [Candidate],
}

impl SecretRows {
    /// Names the secrets of a document, adds them to the `evidence` and their phantom amounts to `phantom_amount`, and
    /// writes their rows. Gives the codes that have some.
    pub(super) fn report(
        &mut self,
        copies: &Copies<'_, '_>,
        prints: &Fingerprints,
        tag_key: &SecretTagKey,
        evidence: &mut Evidence,
        phantom_amount: &mut i128,
        rows: &mut RowsByCode,
    ) -> Mask {
        self.list(copies, prints, tag_key, evidence);
        self.holder.clear();
        push_holder(&mut self.holder, copies.token);
        let mut mask = Mask::default();
        let place = place(copies.token);
        let amount = |it: &Listed| i128::from(it.amount);
        let code = FindingCode::DuplicateSecrets;
        for class in Class::ALL {
            let words = [class.as_str(), place];
            if self.push(rows, code, words, |it| (it.class == class).then(|| amount(it))) {
                mask.add(Mask::of(code));
            }
        }
        let code = FindingCode::DoubleCounted;
        let is_double = |it: &Listed| it.class == Class::DoubleCounted;
        if self.listed.iter().any(is_double) {
            mask.add(Mask::of(code));
            let phantom = |it: &Listed| it.is_phantom.then(|| amount(it));
            self.push(rows, code, ["counted but not there", place], phantom);
            let other = |it: &Listed| (is_double(it) && !it.is_phantom).then_some(0);
            self.push(rows, code, ["not counted twice", place], other);
            *phantom_amount += self.listed.iter().filter_map(phantom).sum::<i128>();
        }
        mask
    }

    fn list(
        &mut self,
        copies: &Copies<'_, '_>,
        prints: &Fingerprints,
        tag_key: &SecretTagKey,
        evidence: &mut Evidence,
    ) {
        self.listed.clear();
        self.is_seen.clear();
        self.is_seen.resize(copies.secrets.len(), false);
        let is_spendable = copies.token.is_spendable();
        let user = prints.user(copies.token);
        for (index, proof) in copies.proofs.iter().enumerate() {
            let print = prints.narrow(proof.secret);
            let Some(found) = place_of(print, copies.secrets) else { continue };
            let judgement = Judgement::decode(copies.secrets[found].note);
            let was_seen = std::mem::replace(&mut self.is_seen[found], true);
            let tag = tag_key.tag(proof.secret);
            evidence.count(&tag, user, &judgement, judgement.is_first && !was_seen);
            let Verdict { class, is_gone_elsewhere, proofs } = judgement.verdict;
            let kept = || place_of(print, copies.kept).map(|at| copies.kept[at].note);
            let is_kept = || kept() == Some(index as u64);
            let is_phantom =
                is_spendable && class == Class::DoubleCounted && (is_gone_elsewhere || !is_kept());
            let amount = proof.amount.unwrap_or(0);
            self.listed.push(Listed { tag, amount, proofs, class, is_phantom });
        }
    }

    /// The rows of those that `counted` gives an amount for. Tells whether there are any.
    fn push(
        &mut self,
        rows: &mut RowsByCode,
        code: FindingCode,
        [judged, place]: [&str; 2],
        counted: impl Fn(&Listed) -> Option<i128>,
    ) -> bool {
        let counted = self.listed.iter().filter_map(|it| Some((it, counted(it)?)));
        let mut counted = counted.peekable();
        // Each row names its record again: one whose names fill more than a cell has longer rows, so that all rows
        // together stay in proportion to the record.
        let listed_max = LISTED_MAX.max(self.holder.bytes().len() / LISTED_BYTES_MIN);
        let has_some = counted.peek().is_some();
        while counted.peek().is_some() {
            let mut sum = 0;
            self.detail.clear();
            [judged, ": ", place].into_iter().for_each(|words| self.detail.push_str(words));
            for (Listed { tag, amount, proofs, .. }, counted) in counted.by_ref().take(listed_max) {
                sum += counted;
                self.detail.push_str("; secret ");
                push_hex(&tag[..NAME_BYTES], &mut self.detail);
                let mut digits = itoa::Buffer::new();
                self.detail.push_str(" of ");
                self.detail.push_str(digits.format(*amount));
                self.detail.push_str(" in ");
                self.detail.push_str(digits.format(*proofs));
                self.detail.push_str(" proofs");
            }
            let holder = |csv: &mut CsvRows| csv.cells(self.holder.bytes());
            reports::finding_row(rows.of(code), code, holder, Some(sum), &[&self.detail]);
        }
        has_some
    }
}

/// Where the candidate with a fingerprint stands among those of a document of one kind.
fn place_of(fingerprint: u64, candidates: &[Candidate]) -> Option<usize> {
    candidates.binary_search_by_key(&fingerprint, |it| it.fingerprint).ok()
}

fn place(token: &Token<'_>) -> &'static str {
    match (token.is_spendable(), token.is_gone()) {
        (true, true) => "spendable though melted here",
        (true, false) => "spendable here",
        (false, true) => "gone here",
        (false, false) => "neither spendable nor gone here",
    }
}

/// The copies of contested secrets that are spendable: of each secret the largest, and of equal ones the first, is
/// no phantom.
pub(super) struct Contest<'a> {
    pub(super) prints: &'a Fingerprints,
    pub(super) rows: RowBatch,
}

/// Fingerprint, the complement of the amount, document, index: all big-endian, so that the first of each
/// fingerprint is the one.
const CONTEST_KEY_BYTES: usize = 8 + 8 + 8 + 8;

impl Contest<'_> {
    /// Enters the copies of a document.
    pub(super) fn enter(&mut self, token: &Token<'_>, proofs: &[Proof<'_>], secrets: &[Candidate]) {
        if !token.is_spendable() {
            return;
        }
        let ordinal = secrets.first().map_or(0, |it| it.ordinal);
        for (index, proof) in proofs.iter().enumerate() {
            let print = self.prints.narrow(proof.secret);
            if place_of(print, secrets).is_some() {
                let amount = proof.amount.unwrap_or(0).cast_unsigned() ^ 1 << 63;
                let mut key = [0; CONTEST_KEY_BYTES];
                let parts = [print, !amount, ordinal, index as u64];
                for (part, at) in parts.iter().zip(key.as_chunks_mut::<8>().0) {
                    *at = part.to_be_bytes();
                }
                self.rows.push(&key, |_| ());
            }
        }
    }
}

/// Adds the winners to the candidates.
pub(super) fn keep_winners(
    mut sorted: SortedRows,
    candidates: &CandidateStore,
) -> Result<(), AnalyzeError> {
    let mut writer = candidates.writer();
    let (mut row, mut last) = (Row::default(), None);
    while sorted.next_into(&mut row)? {
        let Some([fingerprint, _, ordinal, index]) = row.key.as_chunks::<8>().0.as_array() else {
            return Err(ScratchError::Damaged.into());
        };
        let [fingerprint, ordinal, note] =
            [fingerprint, ordinal, index].map(|part| u64::from_be_bytes(*part));
        if last.replace(fingerprint) != Some(fingerprint) {
            let kind = Kind::Kept;
            candidates.push(&mut writer, &Candidate { ordinal, kind, fingerprint, note })?;
        }
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holding(flags: u32, user: u32) -> Holding {
        Holding(flags | user)
    }

    const LOOSE: u32 = 0;
    const HERE: u32 = Holding::SPENDABLE;
    const GONE: u32 = Holding::GONE;

    /// The class of copies `(document, flags, user)`, and whether a gone one is elsewhere.
    fn judged(copies: &[(u64, u32, u32)]) -> (Class, bool) {
        let mut gathered = Gathered::default();
        for (ordinal, flags, user) in copies {
            gathered.add_copy(Record::of(u64::MAX, *ordinal, holding(*flags, *user)));
        }
        let verdict = gathered.judge();
        assert_eq!(verdict.proofs, copies.len() as u64);
        (verdict.class, verdict.is_gone_elsewhere)
    }

    #[test]
    fn copies_are_judged_as_the_page_of_findings_says() {
        use Class::{BenignCopy, CrossUser, DoubleCounted};
        assert_eq!(judged(&[(1, GONE, 5), (2, GONE, 5)]), (BenignCopy, false));
        assert_eq!(judged(&[(1, GONE, 5), (2, GONE, 6)]), (CrossUser, false));
        assert_eq!(judged(&[(1, HERE, 5), (2, GONE, 6)]), (DoubleCounted, true));
        assert_eq!(judged(&[(1, HERE, 5), (2, HERE, 5)]), (DoubleCounted, false));
        assert_eq!(judged(&[(1, HERE, 5), (1, HERE, 5)]), (DoubleCounted, false));
        assert_eq!(judged(&[(1, HERE, 5), (2, LOOSE, 5)]), (BenignCopy, false));
        // A melted and unspent document is both, which alone counts nothing twice.
        assert_eq!(judged(&[(1, HERE | GONE, 5), (2, LOOSE, 5)]), (BenignCopy, false));
        assert_eq!(judged(&[(1, HERE | GONE, 5), (1, HERE | GONE, 5)]), (DoubleCounted, false));
        assert_eq!(judged(&[(1, HERE | GONE, 5), (2, GONE, 5)]), (DoubleCounted, true));
        assert_eq!(judged(&[(1, GONE, 5), (1, GONE, 5), (2, HERE, 5)]), (DoubleCounted, true));
    }

    #[test]
    fn evidence_vanishes_only_when_all_copies_are_equal() {
        let seen = |tags: &[u8], users: &[u128], class| {
            let proofs = tags.len() as u64;
            let verdict = Verdict { class, is_gone_elsewhere: false, proofs };
            let judgement = Judgement { verdict, is_first: true };
            let mut workers = [Evidence::default(); 2];
            for (at, (tag, user)) in tags.iter().zip(users).enumerate() {
                workers[at % 2].count(&[*tag; 32], *user, &judgement, at == 0);
            }
            let [mut all, more] = workers;
            all.add(&more);
            all.holds()
        };
        assert!(seen(&[7; 2], &[9; 2], Class::BenignCopy));
        assert!(seen(&[7; 5], &[9; 5], Class::BenignCopy));
        assert!(seen(&[7; 2], &[9, 8], Class::CrossUser));
        assert!(!seen(&[7; 2], &[9, 8], Class::BenignCopy));
        assert!(!seen(&[7, 6], &[9; 2], Class::BenignCopy));
        assert!(!seen(&[7, 7, 6], &[9; 3], Class::DoubleCounted));
    }

    #[test]
    fn a_record_with_very_many_secrets_has_several_rows() {
        let listed = Listed {
            tag: [0xab; 32],
            amount: i64::MIN,
            proofs: u64::MAX >> 24,
            class: Class::BenignCopy,
            is_phantom: false,
        };
        let mut secrets =
            SecretRows { listed: vec![listed; LISTED_MAX + 1], ..SecretRows::default() };
        let (mut rows, code) = (RowsByCode::default(), FindingCode::DuplicateSecrets);
        let words = ["double_counted", "neither spendable nor gone here"];
        assert!(secrets.push(&mut rows, code, words, |_| Some(1)));
        assert!(!secrets.push(&mut rows, code, words, |_| None));
        let written = String::from_utf8(rows.of(code).take()).unwrap();
        let details: Vec<_> = written.lines().map(|row| row.rsplit(',').next().unwrap()).collect();
        let counts: Vec<_> =
            details.iter().map(|it| it.matches("abababababababab").count()).collect();
        assert_eq!(counts, [LISTED_MAX, 1]);
        assert!(details[0].len() < 32_767, "{}", details[0].len());
        assert!(details[1].len() >= LISTED_BYTES_MIN);

        // A record of long names has no more rows than these are worth.
        let many = 20_000;
        secrets.listed = vec![listed; many];
        secrets.holder.text(&b"n".repeat(many * LISTED_BYTES_MIN / 2));
        assert!(secrets.push(&mut rows, code, words, |_| Some(1)));
        assert_eq!(rows.of(code).take().iter().filter(|byte| **byte == b'\n').count(), 2);
    }

    proptest! {
        #[test]
        fn judgements_are_read_back(
            class in 0_usize..3,
            is_gone_elsewhere: bool,
            proofs in 2_u64..1 << 40,
            is_first: bool,
        ) {
            let verdict = Verdict { class: Class::ALL[class], is_gone_elsewhere, proofs };
            let judgement = Judgement { verdict, is_first };
            prop_assert!(judgement.encode() < 1 << 48);
            prop_assert_eq!(Judgement::decode(judgement.encode()), judgement);
        }

        #[test]
        fn records_are_read_back(print: u64, ordinal in 0_u64..1 << 40, holds: u32) {
            let record = Record::of(print, ordinal, Holding(holds));
            let record = Record::read(&record.0.to_be_bytes());
            prop_assert_eq!(record.print(), print & (u64::MAX >> 8));
            prop_assert_eq!(record.ordinal(), ordinal);
            prop_assert_eq!(record.holding(), Holding(holds));
        }
    }
}
