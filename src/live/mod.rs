//! The live target: a plan applied to a database, rolled back, verified; prerequisites and state.
//!
//! Owns the transactions, the lease, and the collections `remelt_runs` and `remelt_journal`. The plan's
//! documents are only ever compared and set in one transaction with their journal document; anything
//! else than what the plan saw is left as it is. This layer never shows content of a document.

mod apply;
mod applying;
mod batch;
mod command;
mod commit;
mod error;
mod guard;
mod lease;
mod migration_state;
mod mongo;
mod observe;
mod options;
mod pace;
mod patience;
mod place;
mod preflight;
mod rollback;
mod run_log;
#[cfg(test)]
mod simulation;
mod status;
mod store;
mod target;
mod undoing;
mod validate;
mod verify;
mod work;

pub use crate::journal::{ApplyReport, ManifestReport, RollbackReport};
pub use crate::model::{Check, CheckResult};
pub use crate::verify::VerifyReport;
pub use apply::apply;
pub use applying::{Applying, applying};
pub use error::{ExitClass, RunError};
pub use lease::{LEASE_DEFAULT, RunProgress};
pub use migration_state::MIGRATION_NAME;
pub use options::{PAUSE_FILE, RunOptions, StepHook, WORKERS_DEFAULT, WORKERS_MAX};
pub use rollback::{RollbackOf, rollback};
pub use status::{
    HealthReport, MigrationReport, Recommendation, RunPace, RunReport, StatusReport,
    migration_and_runs, recommend, status,
};
pub use store::{JOURNAL_COLLECTION, RUNS_COLLECTION};
pub use undoing::{Undoing, undoing};
pub use validate::{ValidateReport, validate};
pub use verify::verify;
