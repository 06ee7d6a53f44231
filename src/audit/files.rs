//! The files as wholes: hashes, sums, and the page made once more.

use super::{ANEW, AuditError, Stop, hold, what};
use crate::analysis::ShownFindings;
use crate::model::{Check, counted, grouped};
use crate::plan::{
    AnalyzeReport, BuildOptions, PAGE_BYTES_MAX, PAGE_FILE, PARQUET_REPORTS, PageError,
    PageSubject, ParquetReportError, Plan, REPORTS_DIRECTORY, SUMS_FILE, hash_file, summed_files,
    sums as make_sums,
};
use crate::progress::Progress;
use crate::publish::open_regular;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

/// What else may lie in a plan directory: the runs that applied it.
const RUNS_DIRECTORY: &str = "runs";

/// Reads a file whose length is bounded; what is beyond the bound is missing from what is read.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    let read = open_regular(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes));
    let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    read.map_err(|error| {
        Stop::Fails(format!("{}: {}", name(), what(&crate::publish::io_reason(&error))))
    })?;
    Ok(bytes)
}

/// Every batch of `changes.bson` has the hash of the plan, and every change in it can be read.
pub(super) fn batches(plan: &Plan, progress: &Progress) -> Result<String, Stop> {
    let (mut changes, mut amount, mut after) = (0_u64, 0_i128, None);
    for batch in plan.batches() {
        progress.check()?;
        let batch = batch.map_err(|error| Stop::Fails(what(&error.to_string())))?;
        for change in batch.changes() {
            hold(after.is_none_or(|after| after < change.ordinal), || {
                format!("change {changes} does not stand in the snapshot's order")
            })?;
            after = Some(change.ordinal);
            changes += 1;
            amount += i128::from(change.amount.unwrap_or(0));
        }
    }
    let totals = &plan.content().totals;
    hold((changes, amount) == (totals.changes, totals.amount.0), || {
        format!(
            "the changes are {changes} with {amount} in all, plan.json says {} with {}",
            totals.changes, totals.amount.0
        )
    })?;
    let batches = plan.content().batches.len();
    let (changes, batches) = (counted(changes, "change"), counted(batches as u64, "batch"));
    Ok(format!("{changes} in {batches}, {} in all, as plan.json says", grouped(amount)))
}

/// `SHA256SUMS` is what the files give, and there are no others.
pub(super) fn sums(plan: &Plan) -> Result<String, Stop> {
    let directory = plan.directory();
    let failed = |error: crate::publish::PublishError| Stop::Fails(what(&error.to_string()));
    let expected = make_sums(directory, &|_| None).map_err(failed)?;
    // One byte more than it may have, to see what is too long.
    let written = read_bounded(&directory.join(SUMS_FILE), expected.len() as u64 + 1)?;
    if written != expected.as_bytes() {
        let written = String::from_utf8_lossy(&written).into_owned();
        let has = |line: &&str| !written.lines().any(|other| other == *line);
        let names = expected.lines().filter(has).filter_map(|line| line.get(66..));
        let names: Vec<&str> = names.collect();
        return Err(Stop::Fails(match names[..] {
            [] => format!("{SUMS_FILE} is not as remelt writes it"),
            _ => format!("not as {SUMS_FILE} says: {}", names.join(", ")),
        }));
    }
    let known: BTreeSet<String> = summed_files(directory).into_iter().collect();
    for place in ["", REPORTS_DIRECTORY] {
        let entries = fs::read_dir(directory.join(place));
        let unreadable = |_| Stop::Fails(format!("the directory {place} can't be read"));
        for entry in entries.map_err(unreadable)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if place.is_empty() { name } else { format!("{place}/{name}") };
            let is_known = known.contains(&path)
                || [SUMS_FILE, REPORTS_DIRECTORY, RUNS_DIRECTORY].contains(&path.as_str());
            hold(is_known, || format!("{path} lies there, which remelt did not write"))?;
        }
    }
    let files = counted(known.len() as u64, "file");
    Ok(format!("{files}, each as {SUMS_FILE} says, and no other"))
}

/// The CSV reports have the lengths and hashes that stand in `plan.json`.
pub(super) fn bound_reports(plan: &Plan) -> Result<String, Stop> {
    let reports = plan.directory().join(REPORTS_DIRECTORY);
    for report in &plan.content().reports {
        let path = reports.join(&report.name);
        let length = fs::symlink_metadata(&path).map(|found| found.len()).ok();
        let seen = hash_file(&path).map_err(|error| Stop::Fails(what(&error.to_string())))?;
        hold((length, seen) == (Some(report.bytes), report.sha256), || {
            format!("{} is not the file that plan.json binds", report.name)
        })?;
    }
    Ok(format!(
        "{} have the hashes in plan.json",
        counted(plan.content().reports.len() as u64, "CSV file")
    ))
}

/// The page is, byte for byte, what the plan and the reports give.
pub(super) fn page(
    plan: &Plan,
    summary: &AnalyzeReport,
    findings: &ShownFindings,
    options: &BuildOptions,
) -> Result<Check, AuditError> {
    let is_same_tool = plan.content().tool == options.tool;
    made_once_more("report.html", is_page_same(plan, summary, findings), is_same_tool)
}

/// The Parquet files are, byte for byte, what the CSV files give.
pub(super) fn parquet(
    plan: &Plan,
    options: &BuildOptions,
    progress: &Progress,
) -> Result<Check, AuditError> {
    let is_same_tool = plan.content().tool == options.tool;
    made_once_more("parquet files", is_parquet_same(plan, progress), is_same_tool)
}

/// What is said of files that were made once more, and are the same or not.
fn made_once_more(
    name: &'static str,
    is_same: Result<bool, Stop>,
    is_same_tool: bool,
) -> Result<Check, AuditError> {
    Ok(match (is_same, is_same_tool) {
        (Err(Stop::Error(error)), _) => return Err(error),
        (Err(Stop::Fails(detail)), _) => Check::fail(name, detail, ANEW),
        (Ok(true), _) => Check::pass(name, "made once more from the reports: the same bytes"),
        (Ok(false), true) => Check::fail(name, "it does not say what the reports say", ANEW),
        (Ok(false), false) => {
            let detail = "another version of remelt wrote it: only its hash was compared";
            Check::warn(name, detail, "audit with the version that plan.json names")
        }
    })
}

fn is_parquet_same(plan: &Plan, progress: &Progress) -> Result<bool, Stop> {
    for report in &PARQUET_REPORTS {
        let path = plan.directory().join(REPORTS_DIRECTORY).join(report.name);
        let written = hash_file(&path).map_err(|error| Stop::Fails(what(&error.to_string())))?;
        let made =
            report.hash_made_once_more(plan.directory(), progress).map_err(
                |error| match error {
                    ParquetReportError::Table(error) => Stop::from(error),
                    ParquetReportError::Publish(error) => Stop::Fails(what(&error.to_string())),
                    ParquetReportError::Interrupted(error) => error.into(),
                },
            )?;
        if made != written {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_page_same(
    plan: &Plan,
    summary: &AnalyzeReport,
    findings: &ShownFindings,
) -> Result<bool, Stop> {
    let path = plan.directory().join(REPORTS_DIRECTORY).join(PAGE_FILE);
    let written = read_bounded(&path, PAGE_BYTES_MAX as u64 + 1)?;
    let (directory, sha256) = (plan.directory(), plan.sha256());
    let subject = PageSubject { directory, plan: plan.content(), sha256, summary, findings };
    match crate::plan::page(&subject) {
        Ok(text) => Ok(text.as_bytes() == written),
        Err(PageError::Table(error)) => Err(error.into()),
        Err(PageError::Scratch(error)) => Err(error.into()),
    }
}
