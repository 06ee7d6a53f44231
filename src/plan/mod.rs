//! The plan: what will change, immutable and hashed, and the undo log at the same time.
//!
//! Owns `plan.json` and `changes.bson`: their formats, how an analysis becomes one, and how one is read
//! back; and the page and the sums that lie beside them. A [`Plan`] in memory is a valid plan. This layer never applies anything.

mod balances;
mod build;
mod change;
mod columns;
mod file;
mod groups;
mod left;
mod page;
mod preview;
mod report;
mod risk;
#[cfg(test)]
mod samples;
mod size;
mod sums;
mod tables;
mod timeline;

pub use build::{BuildError, BuildOptions, build};
pub(crate) use build::{Origin, build_as_of};
pub use change::{Change, ChangeFault, FieldImages, encode};
pub use columns::{PARQUET_REPORTS, ParquetReport, ParquetReportError, has_parquet};
pub use file::{
    Batch, BatchRecord, CHANGES_FILE, CSV_REPORTS, FORMAT_VERSION, PLAN_FILE, Plan, PlanError,
    PlanFile, PlannedSnapshot, PlannedTotals, REPORTS_DIRECTORY, ReportRecord, RuleRecord,
};
pub(crate) use left::LeftTokens;
pub use page::{PAGE_BYTES_MAX, PAGE_FILE, PageError, PageSubject, page};
pub use preview::{AmountRange, Preview, PreviewStats, UserImpact, preview};
pub use report::{
    AnalyzeReport, DocumentsReport, ImpactReport, PerformanceReport, PlanReport, SnapshotReport,
    StatsReport, seconds_of,
};
pub(crate) use report::{findings_object, health_score};
pub use risk::{RiskAssessment, RiskFactor, assess};
pub use sums::{SUMMARY_FILE, SUMS_FILE, hash_file, summed_files, sums};
pub use tables::{Table, TableError};
pub use timeline::{Timeline, TimelineRow, TimelineUnit};
