//! Building a plan: an analysis written down, hashed and published as one directory.

use super::change::encode;
use super::columns::{ParquetReportError, write_parquet};
use super::file::{
    BATCH_BYTES_MAX, BATCH_CHANGES_MAX, BatchRecord, CHANGES_FILE, FORMAT_VERSION, PLAN_FILE,
    PlanFile, PlannedSnapshot, PlannedTotals, REPORTS_DIRECTORY, ReportRecord, RuleRecord,
    SEAL_KEY,
};
use super::page::{PAGE_FILE, PageError, PageSubject, page};
use super::report::{AnalyzeReport, PerformanceReport, PlanReport, report};
use super::sums::{SUMMARY_FILE, SUMS_FILE, sums};
use crate::analysis::{
    Analysis, AnalyzeError, AnalyzeOptions, ChangeRows, NotChanged, RULE, WrittenReport, analyze,
};
use crate::model::{JsonAmount, Sha256Hash};
use crate::progress::Progress;
use crate::publish::{
    PublishError, StagedDirectory, at, create_private_directories, create_private_file,
    sync_directory, write_file,
};
use crate::sealed::seal;
use crate::snapshot::format::{Consistency, Presence, Source};
use crate::snapshot::identity::ChunkTable;
use crate::snapshot::{Snapshot, SnapshotError};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most analyses that are begun for one plan, each under another fingerprint key.
const ANALYSES_MAX: u32 = 4;

/// How to build a plan.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// How to analyse.
    pub analyze: AnalyzeOptions,
    /// Program and version, as the plan names them.
    pub tool: String,
    /// Write the rows of the CSV reports as Parquet, too.
    pub parquet: bool,
}

/// Why no plan was made. Nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The analysis failed.
    #[error(transparent)]
    Analyze(#[from] AnalyzeError),
    /// The snapshot is not what it says.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The page can't be made.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The Parquet files can't be made.
    #[error(transparent)]
    Parquet(#[from] ParquetReportError),
    /// The output can't be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Where documents came from, as a plan records it. The same documents may come in another form that says less.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    consistency: Consistency,
    cluster_time: Option<String>,
    source: Option<Source>,
    secrets: Presence,
    db: Option<String>,
    tokens: String,
}

impl Origin {
    fn of(snapshot: &Snapshot) -> Origin {
        Origin {
            consistency: snapshot.consistency(),
            cluster_time: snapshot.cluster_time().map(str::to_owned),
            source: snapshot.source().cloned(),
            secrets: snapshot.secrets(),
            db: snapshot.input.db.clone(),
            tokens: snapshot.input.tokens.name.clone(),
        }
    }

    /// As a plan has it already.
    pub(crate) fn recorded(planned: &PlannedSnapshot) -> Origin {
        Origin {
            consistency: planned.consistency,
            cluster_time: planned.cluster_time.clone(),
            source: planned.source.clone(),
            secrets: planned.secrets,
            db: planned.db.clone(),
            tokens: planned.tokens.clone(),
        }
    }
}

/// Analyses `snapshot` and publishes the plan as `directory`. `elapsed` tells the time since the
/// command began; it goes into the report's measured figures and nowhere else.
///
/// # Errors
/// [`BuildError`]; then there is no `directory`.
pub fn build(
    snapshot: &Snapshot,
    directory: &Path,
    options: &BuildOptions,
    elapsed: &dyn Fn() -> Duration,
    progress: &Progress,
) -> Result<AnalyzeReport, BuildError> {
    build_as_of(Origin::of(snapshot), snapshot, directory, options, elapsed, progress)
}

/// As [`build`], with an origin that is known better than from the snapshot.
pub(crate) fn build_as_of(
    origin: Origin,
    snapshot: &Snapshot,
    directory: &Path,
    options: &BuildOptions,
    elapsed: &dyn Fn() -> Duration,
    progress: &Progress,
) -> Result<AnalyzeReport, BuildError> {
    let Staged { staged, analysis, batches, changes_sha256 } =
        stage(snapshot, directory, &options.analyze, progress)?;
    snapshot.check(&analysis.tokens, analysis.wallets.as_ref())?;
    if options.parquet {
        write_parquet(staged.path(), progress)?;
    }
    let count = batches.len() as u64;
    let content = plan_file(origin, &analysis, options, batches);
    let sha256 = write_plan(&staged.path().join(PLAN_FILE), &content)?;
    let plan = PlanReport {
        sha256,
        changes: analysis.totals.changes,
        batches: count,
        repair_time: options.analyze.rule.repair_time,
        path: ".".into(),
    };
    let documents =
        analysis.tokens.documents() + analysis.wallets.as_ref().map_or(0, ChunkTable::documents);
    let performance = || PerformanceReport::new(content.snapshot.bytes, documents, elapsed());
    let notes = snapshot.input.notes.clone();
    let mut summary = report(&content.snapshot, notes, &analysis, plan, performance());
    write_page(staged.path(), &content, sha256, &summary, &analysis)?;
    summary.performance = performance();
    write_summary(staged.path(), &summary, &analysis, changes_sha256)?;
    sync_directory(&staged.path().join(REPORTS_DIRECTORY))?;
    progress.check().map_err(AnalyzeError::from)?;
    staged.publish()?;
    if let Some(plan) = &mut summary.plan {
        plan.path = directory.display().to_string();
    }
    Ok(summary)
}

/// An analysis, written beside its place.
struct Staged {
    staged: StagedDirectory,
    analysis: Analysis,
    batches: Vec<BatchRecord>,
    /// Of `changes.bson`.
    changes_sha256: Sha256Hash,
}

/// Analyses until no two different values have had the same fingerprint, which next to always is at once.
fn stage(
    snapshot: &Snapshot,
    directory: &Path,
    options: &AnalyzeOptions,
    progress: &Progress,
) -> Result<Staged, BuildError> {
    let mut options = options.clone();
    for _ in 1..ANALYSES_MAX {
        match stage_once(snapshot, directory, &options, progress) {
            Err(BuildError::Analyze(AnalyzeError::FingerprintsCollide)) => {
                options.fingerprint_key = options.fingerprint_key.next();
            }
            done => return done,
        }
    }
    stage_once(snapshot, directory, &options, progress)
}

fn stage_once(
    snapshot: &Snapshot,
    directory: &Path,
    options: &AnalyzeOptions,
    progress: &Progress,
) -> Result<Staged, BuildError> {
    let staged = StagedDirectory::create(directory)?;
    let reports = staged.path().join(REPORTS_DIRECTORY);
    create_private_directories(&reports)?;
    let mut changes = ChangesWriter::create(&staged.path().join(CHANGES_FILE))?;
    let mut sink = |rows: &ChangeRows| changes.write(rows);
    let analysis = analyze(&snapshot.input, &reports, options, &encode, &mut sink, progress)?;
    let (batches, changes_sha256) = changes.finish()?;
    Ok(Staged { staged, analysis, batches, changes_sha256 })
}

fn write_page(
    directory: &Path,
    plan: &PlanFile,
    sha256: Sha256Hash,
    summary: &AnalyzeReport,
    analysis: &Analysis,
) -> Result<(), BuildError> {
    let findings = &analysis.shown;
    let page = page(&PageSubject { directory, plan, sha256, summary, findings })?;
    let path = directory.join(REPORTS_DIRECTORY).join(PAGE_FILE);
    Ok(write_file(&path, page.as_bytes())?)
}

/// `summary.json`, and the sums of all files, of which it is the last.
fn write_summary(
    directory: &Path,
    summary: &AnalyzeReport,
    analysis: &Analysis,
    changes_sha256: Sha256Hash,
) -> Result<(), PublishError> {
    let path = directory.join(REPORTS_DIRECTORY).join(SUMMARY_FILE);
    let text = serde_json::to_string_pretty(summary).map_err(|e| not_json(&path, e))?;
    write_file(&path, format!("{text}\n").as_bytes())?;
    let known = |name: &str| {
        if name == CHANGES_FILE {
            return Some(changes_sha256);
        }
        let name = name.strip_prefix(REPORTS_DIRECTORY)?.strip_prefix('/')?;
        analysis.reports.iter().find(|report| report.name == name).map(|report| report.sha256)
    };
    write_file(&directory.join(SUMS_FILE), sums(directory, &known)?.as_bytes())
}

fn not_json(path: &Path, error: serde_json::Error) -> PublishError {
    at("write", path)(io::Error::other(error))
}

fn write_plan(path: &Path, content: &PlanFile) -> Result<Sha256Hash, PublishError> {
    let (text, sha256) = seal(content, SEAL_KEY).map_err(|e| not_json(path, e))?;
    write_file(path, text.as_bytes())?;
    Ok(sha256)
}

fn plan_file(
    origin: Origin,
    analysis: &Analysis,
    options: &BuildOptions,
    batches: Vec<BatchRecord>,
) -> PlanFile {
    let rule = options.analyze.rule;
    let totals = &analysis.totals;
    let not_changed = NotChanged::ALL
        .iter()
        .map(|reason| (reason.as_str().to_owned(), totals.not_changed[*reason as usize]));
    PlanFile {
        format_version: FORMAT_VERSION,
        tool: options.tool.clone(),
        rule: RuleRecord {
            name: RULE.to_owned(),
            spent_at: rule.spent_at,
            repair_time: rule.repair_time,
        },
        snapshot: PlannedSnapshot {
            sha256: analysis.snapshot,
            consistency: origin.consistency,
            cluster_time: origin.cluster_time,
            source: origin.source,
            secrets: origin.secrets,
            db: origin.db,
            tokens: origin.tokens,
            tokens_documents: analysis.tokens.documents(),
            wallets_documents: analysis.wallets.as_ref().map(ChunkTable::documents),
            bytes: analysis.tokens.bytes() + analysis.wallets.as_ref().map_or(0, ChunkTable::bytes),
        },
        totals: PlannedTotals {
            changes: totals.changes,
            amount: JsonAmount(totals.amount_changed),
            users: totals.users_changed,
        },
        not_changed: not_changed.collect(),
        reports: analysis.reports.iter().map(record_of).collect(),
        batches,
    }
}

fn record_of(written: &WrittenReport) -> ReportRecord {
    let WrittenReport { name, bytes, sha256 } = *written;
    ReportRecord { name: name.to_owned(), bytes, sha256 }
}

/// Writes `changes.bson` and cuts it into batches.
struct ChangesWriter {
    path: PathBuf,
    file: BufWriter<File>,
    batches: Vec<BatchRecord>,
    /// Of the whole file, and of the open batch.
    whole: Sha256,
    hasher: Sha256,
    open: OpenBatch,
    offset: u64,
}

#[derive(Default)]
struct OpenBatch {
    changes: u64,
    bytes: u64,
    token_bytes: u64,
}

impl ChangesWriter {
    fn create(path: &Path) -> Result<ChangesWriter, PublishError> {
        Ok(ChangesWriter {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(128 * 1024, create_private_file(path)?),
            batches: Vec::new(),
            whole: Sha256::new(),
            hasher: Sha256::new(),
            open: OpenBatch::default(),
            offset: 0,
        })
    }

    fn write(&mut self, rows: &ChangeRows) -> Result<(), PublishError> {
        self.file.write_all(&rows.encoded).map_err(at("write", &self.path))?;
        self.whole.update(&rows.encoded);
        let mut rest = rows.encoded.as_slice();
        for lengths in &rows.lengths {
            let (change, after) = rest.split_at(lengths.encoded);
            rest = after;
            self.hasher.update(change);
            self.open.changes += 1;
            self.open.bytes += change.len() as u64;
            self.open.token_bytes += lengths.before as u64;
            let is_full = self.open.changes >= BATCH_CHANGES_MAX
                || self.open.bytes >= BATCH_BYTES_MAX
                || self.open.token_bytes >= BATCH_BYTES_MAX;
            if is_full {
                self.end_batch();
            }
        }
        Ok(())
    }

    fn end_batch(&mut self) {
        let OpenBatch { changes, bytes, .. } = std::mem::take(&mut self.open);
        let sha256 = Sha256Hash(self.hasher.finalize_reset().into());
        self.batches.push(BatchRecord { offset: self.offset, changes, bytes, sha256 });
        self.offset += bytes;
    }

    /// The batches, and the hash of the file.
    fn finish(mut self) -> Result<(Vec<BatchRecord>, Sha256Hash), PublishError> {
        if self.open.changes > 0 {
            self.end_batch();
        }
        let file = self.file.into_inner().map_err(|e| at("write", &self.path)(e.into_error()))?;
        file.sync_all().map_err(at("sync", &self.path))?;
        Ok((self.batches, Sha256Hash(self.whole.finalize().into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{ChangeLengths, FingerprintKey, RuleOptions, SpentAt};
    use crate::generate::{GenerateOptions, generate};
    use crate::model::Timestamp;
    use crate::snapshot::input::InputOptions;
    use std::ops::ControlFlow;

    #[test]
    fn fingerprints_that_collide_never_show() {
        let root = tempfile::tempdir().unwrap();
        let dump = root.path().join("dump");
        let options = GenerateOptions { tokens: 3_000, seed: 5, damage: true };
        generate(&dump, &options, &mut |_| ControlFlow::Continue(())).unwrap();
        let snapshot = Snapshot::open(&dump.join("nctool"), &InputOptions::default()).unwrap();
        let analyze = |key| AnalyzeOptions {
            rule: RuleOptions { spent_at: SpentAt::Repair, repair_time: Timestamp(0) },
            memory_bytes: 1 << 28,
            threads: 2,
            fingerprint_key: key,
        };
        let colliding = analyze(FingerprintKey::COLLIDING);
        let at_once =
            stage_once(&snapshot, &root.path().join("once"), &colliding, &Progress::new());
        let refused = at_once.map(|_| ()).unwrap_err();
        assert!(
            matches!(refused, BuildError::Analyze(AnalyzeError::FingerprintsCollide)),
            "{refused:?}"
        );
        let hash = |key, name: &str| {
            let options =
                BuildOptions { analyze: analyze(key), tool: String::new(), parquet: false };
            let plan = root.path().join(name);
            let elapsed = || Duration::ZERO;
            let built = build(&snapshot, &plan, &options, &elapsed, &Progress::new()).unwrap();
            built.plan.unwrap().sha256
        };
        let expected = hash(FingerprintKey([3; 16]), "good");
        assert_eq!(hash(FingerprintKey::COLLIDING, "bad"), expected);
    }

    /// The batches of changes with these lengths: of the encoding, and of the token before.
    fn batches_of(lengths: &[(usize, usize)]) -> Vec<(u64, u64, u64)> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(CHANGES_FILE);
        let mut writer = ChangesWriter::create(&path).unwrap();
        for (encoded, before) in lengths.iter().copied() {
            let mut rows = ChangeRows::default();
            rows.encoded = vec![7; encoded];
            rows.lengths = vec![ChangeLengths { encoded, before }];
            writer.write(&rows).unwrap();
        }
        let (batches, whole) = writer.finish().unwrap();
        let written = std::fs::read(&path).unwrap();
        assert_eq!(crate::model::hash_bytes(&written), whole);
        let mut rest = written.as_slice();
        for batch in &batches {
            let (bytes, after) = rest.split_at(usize::try_from(batch.bytes).unwrap());
            assert_eq!(crate::model::hash_bytes(bytes), batch.sha256);
            rest = after;
        }
        assert!(rest.is_empty());
        batches.iter().map(|batch| (batch.offset, batch.changes, batch.bytes)).collect()
    }

    #[test]
    fn a_batch_ends_after_500_changes_or_4_mib_of_encodings_or_of_tokens() {
        assert_eq!(batches_of(&[]), []);
        assert_eq!(batches_of(&[(2, 3); 499]), [(0, 499, 998)]);
        assert_eq!(batches_of(&[(2, 3); 500]), [(0, 500, 1_000)]);
        assert_eq!(
            batches_of(&[(2, 3); 1_001]),
            [(0, 500, 1_000), (1_000, 500, 1_000), (2_000, 1, 2)]
        );
        let mib = 1024 * 1024;
        let four = 4 * mib as u64;
        assert_eq!(batches_of(&[(mib, 3); 5]), [(0, 4, four), (four, 1, four / 4)]);
        assert_eq!(batches_of(&[(mib - 1, 3), (3 * mib, 3)]), [(0, 2, four - 1)]);
        assert_eq!(batches_of(&[(2, mib); 9]), [(0, 4, 8), (8, 4, 8), (16, 1, 2)]);
        assert_eq!(batches_of(&[(2, mib), (2, 3 * mib - 1)]), [(0, 2, 4)]);
    }
}
