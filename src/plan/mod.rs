//! The plan: what will change, immutable and hashed, and the undo log at the same time.
//!
//! Owns `plan.json` and `changes.bson`: their formats, how an analysis becomes one, and how one is read
//! back. A [`Plan`] in memory is a valid plan. This layer never applies anything.

mod build;
mod change;
mod file;
mod preview;
mod report;

pub use build::{BuildError, BuildOptions, build};
pub use change::{Change, ChangeFault, FieldImages, encode};
pub use file::{
    Batch, BatchRecord, FORMAT_VERSION, PLAN_FILE, Plan, PlanError, PlanFile, PlannedSnapshot,
    PlannedTotals, RuleRecord,
};
pub use preview::{AmountRange, Preview, PreviewStats, UserImpact, preview};
pub use report::{
    AnalyzeReport, DocumentsReport, ImpactReport, JsonAmount, PerformanceReport, PlanReport,
    SnapshotReport, StatsReport, seconds_of,
};
pub(crate) use report::{findings_object, health_score};
