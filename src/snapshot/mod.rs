//! Snapshots: what identifies one, how ours is written, and how ours and others' dumps are read.
//!
//! Files only: this layer knows no server and no ledger; documents are framed bytes to it.

pub mod format;
pub mod identity;
pub mod input;
mod source;
pub mod write;

pub use source::{Snapshot, SnapshotError};
