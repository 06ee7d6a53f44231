//! The plan directory: `plan.json` beside `changes.bson`.
//!
//! `plan.json` is a sealed file (see [`crate::sealed`]) whose seal, under [`SEAL_KEY`], is the plan's
//! hash; through the batch table it binds every byte of `changes.bson`. Version [`FORMAT_VERSION`].

use super::change::{Change, ChangeFault};
use super::sums::hash_file;
use crate::analysis::{NotChanged, SpentAt};
use crate::document::{DOCUMENT_BYTES_MAX, document_length};
use crate::model::{JsonAmount, Sha256Hash, Timestamp, hash_bytes};
use crate::publish::{io_reason, open_regular};
use crate::scratch::ScratchError;
use crate::sealed::{SEALED_BYTES_MAX, SealError, unseal};
use crate::snapshot::format::{Consistency, Presence, Source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Version of the plan directory's format.
pub const FORMAT_VERSION: u64 = 1;
/// Name of the plan's file.
pub const PLAN_FILE: &str = "plan.json";
/// Name of the changes' file.
pub const CHANGES_FILE: &str = "changes.bson";
/// Name of the reports' directory.
pub const REPORTS_DIRECTORY: &str = "reports";
/// Names of the CSV reports.
pub const CSV_REPORTS: [&str; 4] =
    ["balance_deltas.csv", "balances.csv", "changes.csv", "findings.csv"];
/// Name of the seal in the plan's file: the plan's hash.
pub(super) const SEAL_KEY: &str = "sha256";

/// Most changes in a batch: what one transaction applies fastest.
pub(super) const BATCH_CHANGES_MAX: u64 = 500;
/// A batch ends when its changes' encodings or its tokens have this many bytes.
pub(super) const BATCH_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The content of `plan.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanFile {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// Program and version that made it.
    pub tool: String,
    /// The rule and its options.
    pub rule: RuleRecord,
    /// What it was made from.
    pub snapshot: PlannedSnapshot,
    /// Sums over all changes.
    pub totals: PlannedTotals,
    /// Tokens of the rule's shape that are left as they are, by reason.
    pub not_changed: BTreeMap<String, u64>,
    /// The CSV reports, in the order of their names. What else lies in `reports/` holds the plan's hash or
    /// measured times; `SHA256SUMS` binds it.
    pub reports: Vec<ReportRecord>,
    /// The batches of `changes.bson`, in order.
    pub batches: Vec<BatchRecord>,
}

/// One CSV report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportRecord {
    /// Its name in `reports/`.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256Hash,
}

/// The rule and its options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleRecord {
    /// Its name.
    pub name: String,
    /// Source of `spent_at`.
    pub spent_at: SpentAt,
    /// The repair time T.
    pub repair_time: Timestamp,
}

/// What a plan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedSnapshot {
    /// Root hash of the documents.
    pub sha256: Sha256Hash,
    /// Whether they are of one point in time.
    pub consistency: Consistency,
    /// That point in time.
    pub cluster_time: Option<String>,
    /// The deployment they came from.
    pub source: Option<Source>,
    /// Whether proofs hold their secrets.
    pub secrets: Presence,
    /// The database's name, when known.
    pub db: Option<String>,
    /// Name of the tokens' collection.
    pub tokens: String,
    /// Documents in the tokens' collection.
    pub tokens_documents: u64,
    /// Documents in the wallets' collection; `None` when there was none.
    pub wallets_documents: Option<u64>,
    /// Bytes of all documents.
    pub bytes: u64,
}

/// Sums over all changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedTotals {
    /// Number of changes.
    pub changes: u64,
    /// Sum of their amounts.
    pub amount: JsonAmount,
    /// Distinct users.
    pub users: u64,
}

/// One batch of `changes.bson`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchRecord {
    /// Where it begins in the file.
    pub offset: u64,
    /// Changes in it.
    pub changes: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of these bytes.
    pub sha256: Sha256Hash,
}

/// Why a plan can't be used. Never holds content of a document.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file can't be read.
    #[error("could not read {}: {}", path.display(), io_reason(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The directory holds no plan.
    #[error("{} {}; name the directory that remelt analyze wrote", .0.display(), no_plan(.0))]
    NoPlan(PathBuf),
    /// `plan.json` can't be trusted.
    #[error("{} can't be trusted: {reason}; make the plan anew with remelt analyze", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: SealError,
    },
    /// The seal holds but the batch table contradicts itself or the file.
    #[error("{} does not fit {CHANGES_FILE}: {what}; make the plan anew with remelt analyze", path.display())]
    Incoherent {
        /// The plan's file.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// A batch is not what the plan says.
    #[error(
        "{}: batch {batch} (byte {offset}) has SHA-256 {seen}, the plan says {expected}; the file was \
         altered: make the plan anew with remelt analyze",
        path.display()
    )]
    BatchAltered {
        /// The changes' file.
        path: PathBuf,
        /// Number of the batch, from 0.
        batch: usize,
        /// Where it begins.
        offset: u64,
        /// Its hash.
        seen: Sha256Hash,
        /// As planned.
        expected: Sha256Hash,
    },
    /// A change in a batch can't be read.
    #[error("{}: the change at byte {offset} can't be read: {fault}; make the plan anew with remelt analyze", path.display())]
    Change {
        /// The changes' file.
        path: PathBuf,
        /// Where the change begins.
        offset: u64,
        /// What is wrong.
        fault: ChangeFault,
    },
    /// The reports can't be added up: scratch space could not be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
}

fn no_plan(path: &Path) -> String {
    if path.is_file() {
        return "is a file, not the directory of a plan".to_owned();
    }
    format!("holds no plan ({PLAN_FILE} is missing)")
}

/// A plan, opened and checked.
#[derive(Debug)]
pub struct Plan {
    directory: PathBuf,
    changes: File,
    sha256: Sha256Hash,
    content: PlanFile,
}

impl Plan {
    /// Opens the plan in `directory` and checks everything but the batches' bytes, which
    /// [`Plan::read_batch`] checks as they are read.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn open(directory: &Path) -> Result<Plan, PlanError> {
        let path = directory.join(PLAN_FILE);
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| PlanError::Io { path, source }
        };
        let file = open_regular(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                PlanError::NoPlan(directory.to_path_buf())
            }
            _ => io(&path)(e),
        })?;
        let mut text = Vec::new();
        file.take(SEALED_BYTES_MAX).read_to_end(&mut text).map_err(io(&path))?;
        let (content, sha256) = unseal::<PlanFile>(&text, SEAL_KEY, FORMAT_VERSION)
            .map_err(|reason| PlanError::Sealed { path: path.clone(), reason })?;
        let changes_path = directory.join(CHANGES_FILE);
        let changes = open_regular(&changes_path).map_err(io(&changes_path))?;
        let length = changes.metadata().map_err(io(&changes_path))?.len();
        if let Some(what) = content.contradiction(length) {
            return Err(PlanError::Incoherent { path, what });
        }
        Ok(Plan { directory: directory.to_path_buf(), changes, sha256, content })
    }

    /// The plan's hash.
    #[must_use]
    pub fn sha256(&self) -> Sha256Hash {
        self.sha256
    }

    /// What `plan.json` says.
    #[must_use]
    pub fn content(&self) -> &PlanFile {
        &self.content
    }

    /// Where the CSV report `name` lies, if it is the one that the plan names.
    #[must_use]
    pub fn intact_report(&self, name: &str) -> Option<PathBuf> {
        let record = self.content.reports.iter().find(|report| report.name == name)?;
        let path = self.directory.join(REPORTS_DIRECTORY).join(name);
        (hash_file(&path).ok()? == record.sha256).then_some(path)
    }

    /// Where the plan lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads batch number `batch` and checks its hash and every change in it.
    ///
    /// # Errors
    /// [`PlanError`] when it can't be read or is not what was planned.
    ///
    /// # Panics
    /// When there is no such batch.
    pub fn read_batch(&self, batch: usize) -> Result<Batch, PlanError> {
        let record = self.content.batches[batch];
        let path = || self.directory.join(CHANGES_FILE);
        let mut bytes = vec![0; usize::try_from(record.bytes).unwrap_or(usize::MAX)];
        self.changes
            .read_exact_at(&mut bytes, record.offset)
            .map_err(|source| PlanError::Io { path: path(), source })?;
        let seen = hash_bytes(&bytes);
        if seen != record.sha256 {
            let BatchRecord { offset, sha256: expected, .. } = record;
            return Err(PlanError::BatchAltered { path: path(), batch, offset, seen, expected });
        }
        Batch::parse(bytes, record).map_err(|(at, fault)| PlanError::Change {
            path: path(),
            offset: record.offset + at as u64,
            fault,
        })
    }

    /// All batches, read one after another.
    pub fn batches(&self) -> impl Iterator<Item = Result<Batch, PlanError>> + '_ {
        (0..self.content.batches.len()).map(|batch| self.read_batch(batch))
    }
}

/// Changes that are applied together.
#[derive(Debug)]
pub struct Batch {
    /// What the plan says of it.
    pub record: BatchRecord,
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Batch {
    fn parse(bytes: Vec<u8>, record: BatchRecord) -> Result<Batch, (usize, ChangeFault)> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let odd = |what| (at, ChangeFault::Field(what));
            let length = match document_length(&bytes[at..]) {
                Ok(Some(length)) => length,
                _ => return Err(odd("length")),
            };
            let document = bytes.get(at..at + length).ok_or(odd("length"))?;
            Change::decode(document).map_err(|fault| (at, fault))?;
            starts.push(at);
            at += length;
        }
        if starts.len() as u64 != record.changes {
            return Err((0, ChangeFault::Field("(number of changes in the batch)")));
        }
        Ok(Batch { record, bytes, starts })
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no change, which no plan has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Change number `index` of the batch.
    #[must_use]
    pub fn change(&self, index: usize) -> Option<Change<'_>> {
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.bytes.len());
        // All were decoded when the batch was read.
        Change::decode(&self.bytes[start..end]).ok()
    }

    /// A batch of its own from the bytes of its changes, such as a run keeps in the database.
    ///
    /// # Errors
    /// [`ChangeFault`] when they are not changes.
    pub fn decode(bytes: Vec<u8>) -> Result<Batch, ChangeFault> {
        let mut changes = 0;
        let mut rest = bytes.as_slice();
        while let Ok(Some(length)) = document_length(rest) {
            changes += 1;
            rest = rest.get(length..).ok_or(ChangeFault::Field("length"))?;
        }
        let length = bytes.len() as u64;
        let record = BatchRecord { offset: 0, changes, bytes: length, sha256: hash_bytes(&bytes) };
        Batch::parse(bytes, record).map_err(|(_, fault)| fault)
    }

    /// The changes `from..to` as a batch of its own.
    ///
    /// # Panics
    /// When the batch has fewer changes.
    #[must_use]
    pub fn part(&self, from: usize, to: usize) -> Batch {
        let start = |index: usize| self.starts.get(index).copied().unwrap_or(self.bytes.len());
        let bytes = self.bytes[start(from)..start(to)].to_vec();
        let starts: Vec<usize> = self.starts[from..to].iter().map(|at| at - start(from)).collect();
        let record = BatchRecord {
            offset: self.record.offset + start(from) as u64,
            changes: starts.len() as u64,
            bytes: bytes.len() as u64,
            sha256: hash_bytes(&bytes),
        };
        Batch { record, bytes, starts }
    }

    /// The bytes of its changes, one after another.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of each change.
    pub fn encoded(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.starts.iter().skip(1).copied().chain([self.bytes.len()]);
        self.starts.iter().zip(ends).map(|(start, end)| &self.bytes[*start..end])
    }

    /// Its changes, in the snapshot's order.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        (0..self.len()).filter_map(|index| self.change(index))
    }
}

impl PlanFile {
    /// Tokens with the fault that are left as they are.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.not_changed.values().fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    /// What in the plan does not fit itself or a `changes.bson` of `file_bytes`.
    fn contradiction(&self, file_bytes: u64) -> Option<&'static str> {
        let mut end = 0_u64;
        for batch in &self.batches {
            if batch.offset != end || batch.changes == 0 {
                return Some("a batch does not begin where the one before ends, or is empty");
            }
            if batch.bytes > BATCH_BYTES_MAX + DOCUMENT_BYTES_MAX as u64 {
                return Some("a batch is larger than any that remelt makes");
            }
            end = end.saturating_add(batch.bytes);
        }
        if end != file_bytes {
            return Some("the length of the file is not the sum of the batches");
        }
        if self.batches.iter().try_fold(0_u64, |sum, batch| sum.checked_add(batch.changes))
            != Some(self.totals.changes)
        {
            return Some("the number of changes is not the sum of the batches");
        }
        if !self.reports.iter().map(|report| report.name.as_str()).eq(CSV_REPORTS) {
            return Some("its reports are not those that remelt writes");
        }
        let knows = |word: &String| NotChanged::ALL.iter().any(|reason| reason.as_str() == word);
        if !self.not_changed.keys().all(knows) {
            return Some("an unknown reason for leaving a token as it is");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples::{Sample, change, content, plan_with};

    #[test]
    fn a_batch_table_that_contradicts_itself_or_the_file_is_refused() {
        let fine = content(&[change("ann", Some(1), None), change("bob", None, None)]);
        let length = fine.batches[0].bytes;
        assert_eq!(fine.contradiction(length), None);
        assert!(fine.contradiction(length + 1).is_some());
        assert_eq!(content(&[]).contradiction(0), None);
        let edits: [fn(&mut PlanFile); 8] = [
            |plan| plan.batches[0].offset = 1,
            |plan| plan.batches[0].bytes -= 1,
            |plan| {
                plan.batches[0].changes = 0;
                plan.totals.changes = 0;
            },
            |plan| plan.batches.push(plan.batches[0]),
            |plan| plan.totals.changes += 1,
            |plan| plan.reports.swap(0, 1),
            |plan| plan.reports.truncate(3),
            |plan| plan.not_changed.extend([("unheard_of".to_owned(), 0)]),
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            let mut plan = fine.clone();
            edit(&mut plan);
            assert!(plan.contradiction(length).is_some(), "edit {number}");
        }
    }

    #[test]
    fn a_batch_holds_at_most_a_full_one_and_the_largest_document() {
        let largest = 4 * 1024 * 1024 + DOCUMENT_BYTES_MAX as u64;
        let mut plan = content(&[change("ann", Some(1), None)]);
        plan.batches[0].bytes = largest;
        assert_eq!(plan.contradiction(largest), None);
        for more in [1, largest] {
            plan.batches[0].bytes = largest + more;
            assert!(plan.contradiction(largest + more).is_some(), "{more} bytes more");
        }
    }

    #[test]
    fn a_batch_is_read_back_from_its_bytes_alone() {
        let none = Batch::decode(Vec::new()).unwrap();
        assert!(none.is_empty() && none.changes().next().is_none());
        let changes = [change("ann", Some(1), None), change("bob", None, None)];
        let two = Batch::decode(changes.concat()).unwrap();
        assert!(!two.is_empty() && two.len() == 2);
        assert!(two.encoded().eq(&changes));
    }

    #[test]
    fn a_change_that_can_not_be_read_is_named_by_its_byte_in_the_file() {
        let changes = [change("ann", Some(1), None), change("bob", Some(1), None)];
        let mut broken = changes.clone();
        let rule = broken[1].windows(5).position(|name| name == b"rule\0").unwrap();
        broken[1][rule] = b'R';
        let sample = Sample { changes: &broken, deltas: "", findings: serde_json::Value::Null };
        // A batch for each change, so that the byte is neither the batch's nor the one in it.
        let third = change("cid", Some(1), None);
        let changes = [third.clone(), changes[0].clone(), broken[1].clone()];
        let sample = Sample { changes: &changes, ..sample };
        let (_root, plan) = plan_with(&sample, |plan| {
            let bytes = changes.concat();
            let (first, rest) = bytes.split_at(third.len());
            let record = |offset: usize, bytes: &[u8], changes| BatchRecord {
                offset: offset as u64,
                changes,
                bytes: bytes.len() as u64,
                sha256: hash_bytes(bytes),
            };
            plan.batches = vec![record(0, first, 1), record(first.len(), rest, 2)];
        });
        assert!(plan.read_batch(0).is_ok());
        match plan.read_batch(1) {
            Err(PlanError::Change { offset, fault, .. }) => {
                assert_eq!(offset, (changes[0].len() + changes[1].len()) as u64);
                assert_eq!(fault, ChangeFault::Field("rule"));
            }
            other => panic!("{other:?}"),
        }
    }
}
