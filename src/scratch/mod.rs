//! Data that may outgrow memory on its way: partitions, spools and
//! sorting, bounded, spilling to scratch files.
//!
//! A scratch file has no name, is gone with the process, and is never part of an artefact. What is put
//! here must hold no bearer secret.

mod partition;
mod sorter;
mod spool;

pub(crate) use partition::{BYTE_PARTS, PartitionWriter, Partitions, TakenPart};
pub(crate) use sorter::{Row, RowBatch, SortedRows, Sorter};
pub(crate) use spool::Spool;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why a scratch file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The operating system refused.
    #[error("could not use a scratch file in {}: {}; set TMPDIR to a place with room", directory.display(), crate::publish::io_reason(source))]
    Io {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("a scratch file was damaged while it was in use; check the disk and run again")]
    Damaged,
    /// A row longer than 4 GiB.
    #[error("one row exceeds 4 GiB")]
    RowTooLong,
}

fn scratch_error(directory: &Path) -> impl Fn(io::Error) -> ScratchError + use<> {
    let directory = directory.to_path_buf();
    move |source| ScratchError::Io { directory: directory.clone(), source }
}

fn scratch_file(directory: &Path) -> Result<File, ScratchError> {
    tempfile::tempfile_in(directory).map_err(scratch_error(directory))
}
