//! Publishing files and directories so that nothing half-written ever looks complete.
//!
//! A directory is built as `.NAME.partial` beside its place and renamed there when every file in it is
//! on disk; a file is written under a temporary name, synced and renamed. What a killed process left
//! behind is cleared by the next one that wants the same name. A lock on the partial directory keeps a
//! second process out. A failed sync is reported and never retried.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file-system step that failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The destination is there already.
    #[error("{} exists already; choose another path, or remove it first", .0.display())]
    Exists(PathBuf),
    /// Another process writes the same destination.
    #[error("another remelt process is writing {}; wait for it to end", .0.display())]
    Locked(PathBuf),
    /// The path names no entry that could be created.
    #[error("{} is no name for a new directory", .0.display())]
    BadName(PathBuf),
    /// The operating system refused.
    #[error("could not {action} {}: {}", path.display(), io_reason(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Why an IO call failed, in words, with what to do where that is known.
#[must_use]
pub fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full; free some space and run again".into(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up; raise it and run again".into(),
        io::ErrorKind::FileTooLarge => {
            "the largest size of a file is reached; raise ulimit -f and run again".into()
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied; check who owns it and its mode".into()
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only; choose another path".into()
        }
        io::ErrorKind::NotFound => "no such file or directory; check the path".into(),
        io::ErrorKind::AlreadyExists => "something else is there already".into(),
        io::ErrorKind::NotADirectory => "a part of the path is no directory".into(),
        io::ErrorKind::UnexpectedEof => "the file ended early".into(),
        io::ErrorKind::InvalidInput => "it is not a regular file".into(),
        _ => match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code).to_string(),
            None => error.kind().to_string(),
        },
    }
}

/// Opens a file for reading that must be a regular one: a link or a FIFO in an artefact is refused.
///
/// # Errors
/// When it is none, or can't be opened.
pub fn open_regular(path: &Path) -> io::Result<File> {
    refuse_irregular(path)?;
    File::open(path)
}

/// Refuses a link, a directory or a FIFO at `path`.
pub(crate) fn refuse_irregular(path: &Path) -> io::Result<()> {
    let is_file = fs::symlink_metadata(path)?.is_file();
    if is_file { Ok(()) } else { Err(io::Error::from(io::ErrorKind::InvalidInput)) }
}

/// Attaches the action and path to an IO error.
pub(crate) fn at<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> PublishError + 'a {
    move |source| PublishError::Io { action, path: path.to_path_buf(), source }
}

/// Flushes the directory's entries to disk.
///
/// # Errors
/// When the directory can't be opened or synced.
pub fn sync_directory(path: &Path) -> Result<(), PublishError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(at("sync", path))
}

/// Creates a directory and its missing parents, readable by the owner alone.
///
/// # Errors
/// When one of them can't be created.
pub fn create_private_directories(path: &Path) -> Result<(), PublishError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("create", path))
}

/// Creates a new file, readable by the owner alone.
///
/// # Errors
/// When it exists or can't be created.
pub fn create_private_file(path: &Path) -> Result<File, PublishError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at("create", path))
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn hidden_beside(path: &Path, ending: &str) -> Result<PathBuf, PublishError> {
    let name = path.file_name().ok_or_else(|| PublishError::BadName(path.to_path_buf()))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(ending);
    Ok(parent_of(path).join(hidden))
}

/// Writes `bytes` to `path` so that the file is there whole or as it was before.
///
/// # Errors
/// When a step fails; the temporary file is then removed.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let temporary = hidden_beside(path, ".tmp")?;
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(at("remove", &temporary)(e));
        }
        _ => {}
    }
    let written = (|| {
        let mut file = create_private_file(&temporary)?;
        file.write_all(bytes).map_err(at("write", path))?;
        file.sync_all().map_err(at("sync", path))?;
        fs::rename(&temporary, path).map_err(at("rename", path))?;
        sync_directory(&parent_of(path))
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A directory under construction. Dropped without [`StagedDirectory::publish`], it is removed.
#[derive(Debug)]
pub struct StagedDirectory {
    partial: PathBuf,
    destination: PathBuf,
    lock: Option<File>,
}

impl StagedDirectory {
    /// Begins to build `destination`, which must not exist, unless as an empty directory. Missing
    /// parents are created.
    ///
    /// # Errors
    /// [`PublishError::Exists`], [`PublishError::Locked`], or an IO failure.
    pub fn create(destination: &Path) -> Result<StagedDirectory, PublishError> {
        let partial = hidden_beside(destination, ".partial")?;
        refuse_existing(destination)?;
        create_private_directories(&parent_of(destination))?;
        match DirBuilder::new().mode(0o700).create(&partial) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at("create", &partial)(e));
            }
            _ => {}
        }
        let Some(lock) = lock_directory(&partial)? else {
            return Err(PublishError::Locked(destination.to_path_buf()));
        };
        // Whoever held the lock before may have published in between.
        refuse_existing(destination)?;
        for entry in fs::read_dir(&partial).map_err(at("read", &partial))? {
            let path = entry.map_err(at("read", &partial))?.path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(at("remove", &path))?;
        }
        Ok(StagedDirectory { partial, destination: destination.to_path_buf(), lock: Some(lock) })
    }

    /// Where to build.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Puts the directory in its place. Every file in it must have been synced.
    ///
    /// # Errors
    /// When a sync or the rename fails; then nothing stands in its place.
    pub fn publish(mut self) -> Result<(), PublishError> {
        sync_directory(&self.partial)?;
        fs::rename(&self.partial, &self.destination).map_err(at("rename", &self.destination))?;
        let synced = sync_directory(&parent_of(&self.destination));
        // What may not survive a crash is taken back, to be removed.
        if synced.is_ok() || fs::rename(&self.destination, &self.partial).is_err() {
            self.lock = None; // nothing is left to remove
        }
        synced
    }
}

/// Locks a real directory of our own making; `None` while another process holds it.
fn lock_directory(path: &Path) -> Result<Option<File>, PublishError> {
    let found = fs::symlink_metadata(path).map_err(at("read", path))?;
    if !found.is_dir() {
        // A link could lead to somebody's files, which would be cleared.
        return Err(PublishError::Exists(path.to_path_buf()));
    }
    let lock = File::open(path).map_err(at("open", path))?;
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    // Another process may have removed the directory, and made a new one, before the lock was had.
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let locked = lock.metadata().map(identity).map_err(at("read", path))?;
    let there = fs::symlink_metadata(path).map(identity);
    if there.ok() != Some(locked) {
        return Ok(None);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(at("protect", path))?;
    Ok(Some(lock))
}

fn refuse_existing(destination: &Path) -> Result<(), PublishError> {
    match fs::symlink_metadata(destination) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(at("read", destination)(e)),
        Ok(metadata) if metadata.is_dir() => {
            let mut entries = fs::read_dir(destination).map_err(at("read", destination))?;
            if entries.next().is_none() {
                Ok(()) // an empty directory is replaced by the rename
            } else {
                Err(PublishError::Exists(destination.to_path_buf()))
            }
        }
        Ok(_) => Err(PublishError::Exists(destination.to_path_buf())),
    }
}

impl Drop for StagedDirectory {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_directory_appears_only_when_published() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("a/plan");
        let staged = StagedDirectory::create(&place).unwrap();
        write_file(&staged.path().join("file"), b"x").unwrap();
        assert!(!place.exists());
        staged.publish().unwrap();
        assert_eq!(fs::read(place.join("file")).unwrap(), b"x");
        assert!(matches!(StagedDirectory::create(&place), Err(PublishError::Exists(_))));
    }

    #[test]
    fn a_dropped_staged_directory_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        drop(StagedDirectory::create(&root.path().join("plan")).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_cleared_and_a_living_one_is_respected() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("plan");
        fs::create_dir_all(root.path().join(".plan.partial/reports")).unwrap();
        let staged = StagedDirectory::create(&place).unwrap();
        assert_eq!(fs::read_dir(staged.path()).unwrap().count(), 0);
        assert!(matches!(StagedDirectory::create(&place), Err(PublishError::Locked(_))));
    }
}
