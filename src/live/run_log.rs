//! What a run has done so far: in memory, in the local journal, in the manifest.

use super::batch::{Unit, UnitDone};
use super::error::RunError;
use super::store::Recorded;
use crate::journal::{
    BatchEntry, BatchOutcome, DRIFT_LISTED_MAX, DriftEntry, FORMAT_VERSION, Goal, Record,
    RunDirectory, RunManifest, RunState,
};
use crate::model::{Sha256Hash, Timestamp};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// So many batches may be committed between two manifests.
const MANIFEST_EVERY: u64 = 64;

/// The log of one run.
#[derive(Debug)]
pub(super) struct RunLog {
    run_id: String,
    plan_sha256: Sha256Hash,
    started_at: Timestamp,
    now: fn() -> Timestamp,
    /// A rollback with nothing but the database has none.
    directory: Option<RunDirectory>,
    entries: BTreeMap<(u64, u64), BatchEntry>,
    since_manifest: u64,
    /// Documents written by this process.
    pub(super) written: u64,
    /// Documents that were as wanted before.
    pub(super) already: u64,
    /// Documents left as they are.
    pub(super) drifted: u64,
    /// Some of them.
    pub(super) drift: Vec<DriftEntry>,
}

impl RunLog {
    pub(super) fn new(
        run_id: &str,
        plan_sha256: Sha256Hash,
        started_at: Timestamp,
        now: fn() -> Timestamp,
        directory: Option<RunDirectory>,
    ) -> RunLog {
        RunLog {
            run_id: run_id.to_owned(),
            plan_sha256,
            started_at,
            now,
            directory,
            entries: BTreeMap::new(),
            since_manifest: 0,
            written: 0,
            already: 0,
            drifted: 0,
            drift: Vec::new(),
        }
    }

    pub(super) fn directory(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.path().to_path_buf())
    }

    /// Removes the directory of a run that never began.
    pub(super) fn discard(&mut self) {
        if let Some(directory) = self.directory.take() {
            directory.discard();
        }
    }

    /// Takes over what the database's journal has; the local journal is told what it missed.
    pub(super) fn reconcile(
        &mut self,
        recorded: &[Recorded],
        local: &[Record],
    ) -> Result<(), RunError> {
        let known: HashSet<&Record> = local.iter().collect();
        let mut missed = Vec::new();
        for found in recorded {
            let entry = BatchEntry {
                batch: found.batch,
                from: found.from,
                outcome: found.outcome,
                changes: found.changes,
                written: match found.outcome {
                    BatchOutcome::Applied => found.written(),
                    BatchOutcome::RolledBack => found.written().saturating_sub(found.not_restored),
                },
                sha256: found.sha256,
            };
            self.entries.insert((found.batch, found.from), entry);
            let record = committed(&entry);
            if !known.contains(&record) {
                missed.push(record);
            }
        }
        self.append_all(&missed)
    }

    /// Takes over the documents that an earlier process left as they are.
    pub(super) fn take_over_drift(&mut self, goal: Goal, recorded: &[Recorded], local: &[Record]) {
        self.drifted = recorded.iter().map(|found| found.drifted(goal)).sum();
        let mut under_way = Goal::Apply;
        let listed = local.iter().filter_map(|record| match record.clone() {
            Record::Started { goal, .. } => {
                under_way = goal;
                None
            }
            Record::Drifted { batch, ordinal, id, kind } if under_way == goal => {
                Some(DriftEntry { batch, ordinal, id, kind })
            }
            _ => None,
        });
        self.drift = listed.take(DRIFT_LISTED_MAX).collect();
        self.drift.sort_by_key(|entry| (entry.batch, entry.ordinal));
        self.drift.dedup();
    }

    /// Batches recorded as applied.
    pub(super) fn batches(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn append(&mut self, record: &Record) -> Result<(), RunError> {
        self.append_all(std::slice::from_ref(record))
    }

    fn append_all(&mut self, records: &[Record]) -> Result<(), RunError> {
        match &mut self.directory {
            Some(directory) => Ok(directory.append_all(records)?),
            None => Ok(()),
        }
    }

    /// Records a committed batch.
    pub(super) fn commit(
        &mut self,
        goal: Goal,
        unit: &Unit,
        done: UnitDone,
    ) -> Result<(), RunError> {
        let drifted = done.drifted.iter().cloned();
        let mut records: Vec<Record> = drifted
            .map(|DriftEntry { batch, ordinal, id, kind }| Record::Drifted {
                batch,
                ordinal,
                id,
                kind,
            })
            .collect();
        let outcome = match goal {
            Goal::Apply => BatchOutcome::Applied,
            Goal::Rollback => BatchOutcome::RolledBack,
        };
        let entry = BatchEntry {
            batch: unit.batch,
            from: unit.from,
            outcome,
            changes: unit.recorded_changes,
            written: done.written,
            sha256: unit.sha256,
        };
        records.push(committed(&entry));
        self.append_all(&records)?;
        self.entries.insert((unit.batch, unit.from), entry);
        self.written += done.written;
        self.already += done.already;
        self.drifted += done.drifted.len() as u64;
        let room = DRIFT_LISTED_MAX.saturating_sub(self.drift.len());
        self.drift.extend(done.drifted.into_iter().take(room));
        self.since_manifest += 1;
        if self.since_manifest >= MANIFEST_EVERY {
            let state = match goal {
                Goal::Apply => RunState::Running,
                Goal::Rollback => RunState::RollingBack,
            };
            self.write_manifest(state)?;
        }
        Ok(())
    }

    pub(super) fn write_manifest(
        &mut self,
        state: RunState,
    ) -> Result<Option<(PathBuf, Sha256Hash)>, RunError> {
        self.since_manifest = 0;
        let Some(directory) = &self.directory else {
            return Ok(None);
        };
        let manifest = RunManifest {
            format_version: FORMAT_VERSION,
            run_id: self.run_id.clone(),
            plan_sha256: self.plan_sha256,
            state,
            started_at: self.started_at,
            updated_at: (self.now)(),
            batches: self.entries.values().copied().collect(),
            drifted_count: self.drifted,
            drifted: self.drift.clone(),
            journal_sha256: directory.journal_head(),
        };
        Ok(Some(directory.write_manifest(&manifest)?))
    }
}

fn committed(entry: &BatchEntry) -> Record {
    let BatchEntry { batch, from, outcome, changes, written, sha256 } = *entry;
    Record::Committed { batch, from, changes, written, outcome, sha256 }
}
