//! A run's directory: the journal, the manifest, and the lock that keeps a second process out.

use super::log::{Journal, JournalError};
use super::manifest::{FORMAT_VERSION, MANIFEST_FILE, RunManifest, SEAL_KEY};
use super::record::Record;
use crate::model::Sha256Hash;
use crate::publish::{
    PublishError, at, create_private_directories, open_regular, sync_directory, write_file,
};
use crate::sealed::{SEALED_BYTES_MAX, SealError, seal, unseal};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where a plan's runs lie, below the plan's directory.
pub const RUNS_DIRECTORY: &str = "runs";
const JOURNAL_FILE: &str = "journal";

/// Why a run's directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirectoryError {
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file can't be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Another process works on the run.
    #[error("another remelt process works on the run in {}; wait for it to end", .0.display())]
    Locked(PathBuf),
    /// The run's name can't be a directory.
    #[error("the run id holds characters that no run id has")]
    BadRunId,
    /// The manifest can't be trusted.
    #[error("{} can't be trusted: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: SealError,
    },
}

/// An open run directory. The lock is held until it is dropped.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    journal: Journal,
    _lock: File,
}

/// Run ids are hex digits, letters and dashes, so that they can stand in paths.
fn is_run_id(run_id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !run_id.is_empty() && run_id.len() <= 64 && run_id.bytes().all(plain)
}

impl RunDirectory {
    /// Creates the directory of a new run below `plan`.
    ///
    /// # Errors
    /// [`RunDirectoryError`], also when it is there already.
    pub fn create(plan: &Path, run_id: &str) -> Result<RunDirectory, RunDirectoryError> {
        let (path, lock) = claim(plan, run_id)?;
        let journal = Journal::create(&path.join(JOURNAL_FILE))?;
        sync_directory(&path)?;
        Ok(RunDirectory { path, journal, _lock: lock })
    }

    /// Opens the directory of a run below `plan` and gives the journal's records; creates it when it
    /// is not there, as on a machine that did not begin the run.
    ///
    /// # Errors
    /// [`RunDirectoryError`]; a damaged journal is left as it is.
    pub fn resume(
        plan: &Path,
        run_id: &str,
    ) -> Result<(RunDirectory, Vec<Record>), RunDirectoryError> {
        let (path, lock) = claim(plan, run_id)?;
        let file = path.join(JOURNAL_FILE);
        let (journal, records) = match fs::symlink_metadata(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => (Journal::create(&file)?, Vec::new()),
            _ => Journal::open(&file)?,
        };
        sync_directory(&path)?;
        Ok((RunDirectory { path, journal, _lock: lock }, records))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal's chain hash.
    #[must_use]
    pub fn journal_head(&self) -> Sha256Hash {
        self.journal.head()
    }

    /// Appends a record to the journal and syncs it.
    ///
    /// # Errors
    /// [`RunDirectoryError::Journal`]; then the run must stop.
    pub fn append(&mut self, record: &Record) -> Result<(), RunDirectoryError> {
        Ok(self.journal.append(record)?)
    }

    /// Appends records to the journal and syncs them, all at once.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_all(&mut self, records: &[Record]) -> Result<(), RunDirectoryError> {
        Ok(self.journal.append_all(records)?)
    }

    /// Rewrites the manifest and gives its path and hash.
    ///
    /// # Errors
    /// [`RunDirectoryError::Publish`].
    pub fn write_manifest(
        &self,
        manifest: &RunManifest,
    ) -> Result<(PathBuf, Sha256Hash), RunDirectoryError> {
        let path = self.path.join(MANIFEST_FILE);
        let sealed = seal(manifest, SEAL_KEY);
        let (text, sha256) = sealed.map_err(|e| at("write", &path)(io::Error::other(e)))?;
        write_file(&path, text.as_bytes())?;
        Ok((path, sha256))
    }

    /// Reads the manifest; `None` before the first was written.
    ///
    /// # Errors
    /// [`RunDirectoryError`] when it can't be read or trusted.
    pub fn read_manifest(&self) -> Result<Option<RunManifest>, RunDirectoryError> {
        let path = self.path.join(MANIFEST_FILE);
        let file = match open_regular(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(at("read", &path))?,
        };
        let mut text = Vec::new();
        file.take(SEALED_BYTES_MAX).read_to_end(&mut text).map_err(at("read", &path))?;
        match unseal(&text, SEAL_KEY, FORMAT_VERSION) {
            Ok((manifest, _)) => Ok(Some(manifest)),
            Err(reason) => Err(RunDirectoryError::Manifest { path, reason }),
        }
    }

    /// Removes the directory of a run that never began.
    pub fn discard(self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn claim(plan: &Path, run_id: &str) -> Result<(PathBuf, File), RunDirectoryError> {
    if !is_run_id(run_id) {
        return Err(RunDirectoryError::BadRunId);
    }
    let path = plan.join(RUNS_DIRECTORY).join(run_id);
    create_private_directories(&path)?;
    // Both names, of the run in `runs` and of `runs` in the plan, which the first run makes.
    sync_directory(&plan.join(RUNS_DIRECTORY))?;
    sync_directory(plan)?;
    let lock = File::open(&path).map_err(at("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok((path, lock)),
        Err(_) => Err(RunDirectoryError::Locked(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Goal, RunState};
    use super::*;
    use crate::model::{Timestamp, hash_bytes};

    #[test]
    fn a_run_directory_is_resumed_with_its_records_and_manifest() {
        let plan = tempfile::tempdir().unwrap();
        let plan_sha256 = hash_bytes(b"plan");
        let started = Record::Started { goal: Goal::Apply, plan_sha256, at: Timestamp(1) };
        let mut run = RunDirectory::create(plan.path(), "a-1").unwrap();
        run.append(&started).unwrap();
        let manifest = RunManifest {
            format_version: FORMAT_VERSION,
            run_id: "a-1".into(),
            plan_sha256,
            state: RunState::Running,
            started_at: Timestamp(1),
            updated_at: Timestamp(2),
            batches: Vec::new(),
            drifted_count: 0,
            drifted: Vec::new(),
            journal_sha256: run.journal_head(),
        };
        run.write_manifest(&manifest).unwrap();
        let second = RunDirectory::resume(plan.path(), "a-1");
        assert!(matches!(second, Err(RunDirectoryError::Locked(_))));
        drop(run);
        let (run, records) = RunDirectory::resume(plan.path(), "a-1").unwrap();
        assert_eq!(records, [started]);
        assert_eq!(run.read_manifest().unwrap(), Some(manifest));
    }

    #[test]
    fn a_run_that_never_began_leaves_nothing() {
        let plan = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(plan.path(), "a-1").unwrap();
        let path = run.path().to_path_buf();
        assert!(path.is_dir());
        run.discard();
        assert!(!path.exists());
    }

    #[test]
    fn a_run_id_that_is_a_path_is_refused() {
        let plan = tempfile::tempdir().unwrap();
        for run_id in ["", "..", "../x", "/etc", "a/b", "a.b"] {
            let error = RunDirectory::create(plan.path(), run_id);
            assert!(matches!(error, Err(RunDirectoryError::BadRunId)), "{run_id}");
        }
    }
}
