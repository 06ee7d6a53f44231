//! Auditing a plan directory: is every file as it was written, and does every figure follow from the
//! changes and, when it is there, from the snapshot?
//!
//! Reads only. What does not hold is a failed check, not an error. Memory is bounded: rows are streamed
//! and grouped by sorting. This module shares the formats with what wrote the files, not the sums: those
//! of the reports are added up from the files themselves, and with a snapshot once more from its
//! documents, before the whole analysis is repeated and every byte compared.

mod balances;
mod files;
mod findings;
mod source;
mod summary;

use crate::analysis::AnalyzeError;
use crate::document::Malformed;
use crate::model::{Check, CheckResult};
use crate::plan::{BuildError, BuildOptions, Plan, PlanError, TableError, has_parquet};
use crate::progress::{Interrupted, Progress, Unit};
use crate::scratch::ScratchError;
use crate::snapshot::input::InputError;
use crate::snapshot::{Snapshot, SnapshotError};
use serde::Serialize;
use std::path::Path;

const SORTER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The result object of `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Nothing failed.
    pub ok: bool,
    /// All checks that could be made, in a fixed order.
    pub checks: Vec<Check>,
}

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is no plan, or it can't be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The snapshot can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The snapshot is not what it says.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A document of the snapshot is malformed.
    #[error("document number {ordinal} (from 0) is malformed BSON: {fault}; take the dump anew")]
    Malformed {
        /// Number of the document.
        ordinal: u64,
        /// What is wrong.
        fault: Malformed,
    },
    /// The analysis could not be repeated.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Scratch space could not be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What stops one check: it does not hold, or it could not be made.
enum Stop {
    Fails(String),
    Error(AuditError),
}

impl<E: Into<AuditError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Error(error.into())
    }
}

impl From<TableError> for Stop {
    fn from(error: TableError) -> Stop {
        Stop::Fails(what(&error.to_string()))
    }
}

/// The first part of a message, without what to do.
fn what(message: &str) -> String {
    message.split("; ").next().unwrap_or_default().to_owned()
}

/// `Err` that says what does not hold, unless it does.
fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Fails(what())) }
}

/// The check that each CSV report is the one that the plan names.
const BOUND_REPORTS: &str = "reports bound by the plan";

const ANEW: &str = "do not use this plan: make it anew with remelt analyze, and compare the hashes";

fn check(name: &'static str, answer: Result<String, Stop>) -> Result<Check, AuditError> {
    match answer {
        Ok(detail) => Ok(Check::pass(name, detail)),
        Err(Stop::Fails(detail)) => Ok(Check::fail(name, detail, ANEW)),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// Audits the plan in `directory`, with `snapshot` against the data it was made from. Of `options` the
/// rule is not used: the plan has its own.
///
/// # Errors
/// [`AuditError`]. That something does not hold is a result, not an error.
pub fn audit(
    directory: &Path,
    snapshot: Option<&Snapshot>,
    options: &BuildOptions,
    progress: &Progress,
) -> Result<AuditReport, AuditError> {
    progress.begin("auditing the plan", 0, Unit::Documents);
    let mut checks = Vec::new();
    match Plan::open(directory) {
        Err(error @ PlanError::NoPlan(_)) => return Err(error.into()),
        Err(error) => checks.push(Check::fail("plan seal", what(&error.to_string()), ANEW)),
        Ok(plan) => {
            let detail = format!("plan {} binds its own content", plan.sha256());
            checks.push(Check::pass("plan seal", detail));
            audit_plan(&plan, options, progress, &mut checks)?;
            if let Some(snapshot) = snapshot {
                source::audit(&plan, snapshot, options, progress, &mut checks)?;
            }
        }
    }
    let ok = checks.iter().all(|check| check.result != CheckResult::Fail);
    Ok(AuditReport { ok, checks })
}

fn audit_plan(
    plan: &Plan,
    options: &BuildOptions,
    progress: &Progress,
    checks: &mut Vec<Check>,
) -> Result<(), AuditError> {
    checks.push(check("batch hashes", files::batches(plan, progress))?);
    checks.push(check("file hashes", files::sums(plan))?);
    checks.push(check(BOUND_REPORTS, files::bound_reports(plan))?);
    checks.push(check("changes.csv", balances::changes(plan, progress))?);
    checks.push(check("balances and sums", balances::balances(plan, progress))?);
    let found = findings::read(plan, progress);
    let (answer, found) = match found {
        Ok((detail, found)) => (Ok(detail), Some(found)),
        Err(stop) => (Err(stop), None),
    };
    checks.push(check("findings.csv", answer)?);
    let (answer, summary) = match summary::read(plan, found.as_ref()) {
        Ok((detail, summary)) => (Ok(detail), Some(summary)),
        Err(stop) => (Err(stop), None),
    };
    checks.push(check("summary.json", answer)?);
    // What is made from the reports can't be compared when one of them is altered.
    let not_compared =
        |name| Check::fail(name, "not compared: what it is made from does not hold", ANEW);
    let fails = |it: &Check| it.name == BOUND_REPORTS && it.result == CheckResult::Fail;
    let are_reports_intact = !checks.iter().any(fails);
    checks.push(match (found, summary) {
        (Some(found), Some(summary)) if are_reports_intact => {
            files::page(plan, &summary, &found.shown, options)?
        }
        _ => not_compared("report.html"),
    });
    if has_parquet(plan.directory()) {
        checks.push(match are_reports_intact {
            true => files::parquet(plan, options, progress)?,
            false => not_compared("parquet files"),
        });
    }
    Ok(())
}

impl From<AnalyzeError> for AuditError {
    fn from(error: AnalyzeError) -> AuditError {
        AuditError::Build(error.into())
    }
}
