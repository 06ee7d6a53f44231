//! A run on a copy: journaled like one on a server, so that auditors find the same papers.
//!
//! The copy appears whole or not at all, so a run that died is simply run again, as a new run; the
//! journal of the one that died says that it began and never that it ended.

use super::replay::{Copied, CopyError, Direction, replay};
use crate::journal::{
    ApplyReport, BatchEntry, BatchOutcome, Goal, ManifestReport, Record, RollbackReport,
    RunDirectory, RunDirectoryError, RunManifest, RunState, pace_of,
};
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::snapshot::Snapshot;
use std::fs;
use std::path::Path;

/// Where and when a run on a copy happens.
#[derive(Debug)]
pub struct CopyRun<'a> {
    /// The snapshot to read.
    pub snapshot: &'a Snapshot,
    /// The new snapshot directory.
    pub out: &'a Path,
    /// Name for a new run.
    pub run_id: &'a str,
    /// Program and version, as artefacts name them.
    pub tool: &'a str,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// Why a run on a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyRunError {
    /// The copy was not made.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The run could not be journaled.
    #[error(transparent)]
    Run(#[from] RunDirectoryError),
}

/// Writes the repaired copy.
///
/// # Errors
/// [`CopyRunError::Copy`], or [`CopyRunError::Run`] when the run could not be journaled; either way there
/// is no copy.
pub fn apply(
    plan: &Plan,
    run: &CopyRun<'_>,
    progress: &Progress,
) -> Result<ApplyReport, CopyRunError> {
    let done = execute(plan, run, Goal::Apply, progress)?;
    let (seconds, documents_per_second) = pace_of(done.copied.changed, done.from, done.to);
    Ok(ApplyReport {
        run_id: run.run_id.to_owned(),
        plan_sha256: plan.sha256(),
        state: RunState::Completed,
        applied: done.copied.changed,
        already_applied: 0,
        drifted: 0,
        batches: plan.content().batches.len() as u64,
        seconds,
        documents_per_second,
        manifest: done.manifest,
        drift: Vec::new(),
    })
}

/// Writes the restored copy of a repaired one.
///
/// # Errors
/// As [`apply`].
pub fn rollback(
    plan: &Plan,
    run: &CopyRun<'_>,
    progress: &Progress,
) -> Result<RollbackReport, CopyRunError> {
    let done = execute(plan, run, Goal::Rollback, progress)?;
    let (seconds, _) = pace_of(done.copied.changed, done.from, done.to);
    Ok(RollbackReport {
        run_id: run.run_id.to_owned(),
        state: RunState::RolledBack,
        restored: done.copied.changed,
        already_restored: 0,
        drifted: 0,
        seconds,
        drift: Vec::new(),
    })
}

struct Done {
    copied: Copied,
    from: Timestamp,
    to: Timestamp,
    manifest: ManifestReport,
}

fn execute(
    plan: &Plan,
    run: &CopyRun<'_>,
    goal: Goal,
    progress: &Progress,
) -> Result<Done, CopyRunError> {
    let (direction, outcome, state) = match goal {
        Goal::Apply => (Direction::Repair, BatchOutcome::Applied, RunState::Completed),
        Goal::Rollback => (Direction::Restore, BatchOutcome::RolledBack, RunState::RolledBack),
    };
    let from = (run.now)();
    let mut directory = RunDirectory::create(plan.directory(), run.run_id)?;
    let started = Record::Started { goal, plan_sha256: plan.sha256(), at: from };
    directory.append(&started)?;
    let replayed = replay(plan, run.snapshot, run.out, direction, run.tool, progress);
    let copied = match replayed {
        Ok(copied) => copied,
        Err(error) => {
            // Nothing was published, so there is no run to tell of.
            directory.discard();
            return Err(error.into());
        }
    };
    let journaled = journal(plan, run, &mut directory, (outcome, state), from);
    if journaled.is_err() {
        // A copy without its papers is taken back: it can be made again, and they can't.
        let _ = fs::remove_dir_all(run.out);
        directory.discard();
    }
    let (to, manifest) = journaled?;
    Ok(Done { copied, from, to, manifest })
}

/// Writes down that every batch was replayed; gives the time of the end.
fn journal(
    plan: &Plan,
    run: &CopyRun<'_>,
    directory: &mut RunDirectory,
    (outcome, state): (BatchOutcome, RunState),
    from: Timestamp,
) -> Result<(Timestamp, ManifestReport), RunDirectoryError> {
    let entries: Vec<BatchEntry> = (0..)
        .zip(&plan.content().batches)
        .map(|(batch, record)| BatchEntry {
            batch,
            from: 0,
            outcome,
            changes: record.changes,
            written: record.changes,
            sha256: record.sha256,
        })
        .collect();
    for entry in &entries {
        directory.append(&Record::Committed {
            batch: entry.batch,
            from: entry.from,
            changes: entry.changes,
            written: entry.written,
            outcome,
            sha256: entry.sha256,
        })?;
    }
    let to = (run.now)();
    directory.append(&Record::Ended { state, at: to })?;
    let (path, sha256) = directory.write_manifest(&RunManifest {
        format_version: crate::journal::FORMAT_VERSION,
        run_id: run.run_id.to_owned(),
        plan_sha256: plan.sha256(),
        state,
        started_at: from,
        updated_at: to,
        batches: entries,
        drifted_count: 0,
        drifted: Vec::new(),
        journal_sha256: directory.journal_head(),
    })?;
    Ok((to, ManifestReport { path: path.display().to_string(), sha256 }))
}
