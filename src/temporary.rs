//! Private directories: removed when their work is over; those of a killed process, by the next one.

use crate::publish::{PublishError, at};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A private directory that is locked while its process lives.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    _lock: File,
}

impl TemporaryDirectory {
    /// Makes one in `parent` whose name begins with `prefix`, after removing those of dead processes.
    ///
    /// # Errors
    /// [`PublishError`] when it can't be made or locked.
    pub fn create(parent: &Path, prefix: &str) -> Result<TemporaryDirectory, PublishError> {
        remove_abandoned(parent, prefix);
        loop {
            let mut named = tempfile::Builder::new();
            named.prefix(prefix).permissions(Permissions::from_mode(0o700));
            let made = named.tempdir_in(parent).map_err(at("create a directory in", parent))?;
            // Another process may take it for abandoned before the lock is had.
            let lock = match File::open(made.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(at("open", made.path()))?,
            };
            lock.lock().map_err(at("lock", made.path()))?;
            if made.path().exists() {
                return Ok(TemporaryDirectory { path: made.keep(), _lock: lock });
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it.
    ///
    /// # Errors
    /// [`PublishError`] when something of it is left.
    pub fn remove(self) -> Result<(), PublishError> {
        fs::remove_dir_all(&self.path).map_err(at("remove", &self.path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes this user's directories whose process has died. What can't be removed is left.
fn remove_abandoned(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let me = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(prefix)
            && fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir() && it.uid() == me);
        if !is_ours {
            continue;
        }
        if let Ok(lock) = File::open(&path)
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_keeps_its_directory_and_a_dead_ones_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let create = || TemporaryDirectory::create(parent.path(), "remelt-pass-").unwrap();
        let dead = parent.path().join("remelt-pass-dead");
        fs::create_dir_all(dead.join("snapshot")).unwrap();
        fs::create_dir(parent.path().join("somebody-elses")).unwrap();
        let first = create();
        assert!(!dead.exists());
        let second = create();
        assert!(first.path().exists());
        drop(first);
        second.remove().unwrap();
        let left: Vec<_> = fs::read_dir(parent.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn many_at_once_take_no_new_directory_for_an_abandoned_one() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let made = TemporaryDirectory::create(parent.path(), "remelt-").unwrap();
                        assert!(made.path().exists());
                    }
                });
            }
        });
    }
}
