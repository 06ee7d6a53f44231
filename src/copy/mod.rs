//! Applying a plan to a copy of its snapshot, and rolling that back: dumps in, dumps out, no server.
//!
//! `replay` owns the bytes; `run` keeps the run's journal and manifest in the plan's directory. Neither
//! ever touches its input.

mod replay;
mod run;

pub use replay::{Copied, CopyError, Direction, Drift, replay};
pub use run::{CopyRun, CopyRunError, apply, rollback};
