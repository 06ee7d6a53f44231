//! The local journal of a run: `<plan>/runs/<run-id>/journal` and `manifest.json` beside it.
//!
//! Owns their formats and what is believed after a crash. It knows neither server nor plan nor clock, and
//! it never decides what to do: the database's own journal is the truth, this one a hint that is
//! reconciled with it.

mod log;
mod manifest;
mod record;
mod run;

pub use log::{HEADER, Journal, JournalError, PAYLOAD_BYTES_MAX};
pub use manifest::{
    BatchEntry, DRIFT_LISTED_MAX, DriftEntry, FORMAT_VERSION, MANIFEST_FILE, RunManifest,
};
pub use record::{BatchOutcome, DriftKind, Goal, Record, RunState};
pub use run::{RUNS_DIRECTORY, RunDirectory, RunDirectoryError};
