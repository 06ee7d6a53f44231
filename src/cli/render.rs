//! Results as text for people: 80 columns, readable without colour.

mod analysis;
mod diff;
mod explain;
mod lines;
mod preview;
mod replay;
mod status;

pub(crate) use analysis::{analyze, export, melted};
pub(crate) use diff::diff;
pub(crate) use explain::explain;
pub(crate) use lines::{line, prose};
pub(crate) use preview::preview;
pub(crate) use replay::{applied, in_words, rolled_back, verify};
pub(crate) use status::status;

use super::paint::{Tone, toned};
use super::rehearse::RehearseReport;
use super::run::path_for_shell;
use analysis::{findings_table, impact};
use remelt::audit::AuditReport;
use remelt::generate::GenerateStats;
use remelt::live::ValidateReport;
use remelt::model::{Check, CheckResult};
pub(crate) use remelt::model::{byte_size as bytes, counted, grouped as number};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

fn word(result: CheckResult) -> String {
    match result {
        CheckResult::Pass => toned(Tone::Good, "pass"),
        CheckResult::Warn => toned(Tone::Warn, "WARN"),
        CheckResult::Fail => toned(Tone::Bad, "FAIL"),
    }
}

/// Each check with what was seen below it and, unless it passed, what to do.
fn checks(text: &mut String, checks: &[Check]) {
    for check in checks {
        line!(text, "{}  {}", word(check.result), check.name);
        prose(text, "      ", &check.detail);
        if check.result != CheckResult::Pass && !check.action.is_empty() {
            prose(text, "   -> ", &check.action);
        }
    }
    line!(text);
}

/// `audit`.
pub(crate) fn audit(report: &AuditReport, plan: &Path, has_snapshot: bool) -> String {
    let mut text = String::new();
    checks(&mut text, &report.checks);
    match (report.ok, has_snapshot) {
        (false, _) if only_snapshot_fails(report) => {
            line!(text, "The plan holds together, but was NOT compared: it is another snapshot's.");
        }
        (false, _) => line!(text, "The plan or its reports do NOT hold."),
        (true, true) => line!(text, "All of it holds, and follows from the snapshot."),
        (true, false) => {
            line!(text, "All of it holds together. Whether it follows from the data, tells:");
            line!(text, "  remelt audit {} --snapshot SNAPSHOT", path_for_shell(plan));
        }
    }
    text
}

fn only_snapshot_fails(report: &AuditReport) -> bool {
    let mut failed = report.checks.iter().filter(|check| check.result == CheckResult::Fail);
    failed.next().is_some_and(|check| check.name == "snapshot") && failed.next().is_none()
}

/// `validate`, with the arguments that apply needs as well.
pub(crate) fn validate(report: &ValidateReport, plan: &Path, same: &str) -> String {
    let mut text = String::new();
    checks(&mut text, &report.checks);
    if report.ok {
        prose(
            &mut text,
            "Ready. Next: ",
            &format!("remelt apply {}{same} --confirm", path_for_shell(plan)),
        );
    } else {
        line!(text, "Not ready: mend what failed and validate again.");
    }
    text
}

fn seconds(elapsed: Duration) -> String {
    format!("{}.{:02} s", elapsed.as_secs(), elapsed.subsec_millis() / 10)
}

/// `rehearse`.
pub(crate) fn rehearse(report: &RehearseReport, snapshot: &Path, keep: Option<&Path>) -> String {
    let mut text = String::new();
    let stats = &report.analyze.stats;
    line!(text, "Rehearsal of {}: the whole repair on a copy", snapshot.display());
    line!(text);
    let verification = &report.verification;
    let sound = if verification.ok { "all as planned, nothing new" } else { "NOT as planned" };
    let steps = [
        (
            "analyze",
            format!(
                "{}, {}",
                counted(stats.total_tokens, "token"),
                bytes(report.analyze.snapshot.bytes)
            ),
        ),
        ("apply", format!("{} repaired in a copy", counted(report.applied, "token"))),
        ("verify", format!("{} checked: {sound}", counted(verification.checked, "token"))),
        ("roll back", format!("{} restored", counted(report.rolled_back, "token"))),
    ];
    for ((step, what), time) in steps.iter().zip(report.times) {
        line!(text, "  {step:<11} {what:<52} {:>10}", seconds(time));
    }
    let verdict = match report.identical {
        true => toned(Tone::Good, "identical, byte for byte"),
        false => toned(Tone::Bad, "DIFFERENT"),
    };
    line!(text, "  {:<11} {verdict}", "compare");
    line!(text, "  {:<11} {}", "before", report.sha256_before);
    line!(text, "  {:<11} {}", "after", report.sha256_after);
    line!(text);
    text += &findings_table(&report.analyze);
    line!(text);
    text += &impact(&report.analyze);
    if let Some(plan) = &report.analyze.plan {
        line!(text, "Plan       {}", plan.sha256);
    }
    match keep {
        Some(keep) => {
            line!(text, "Kept       {} (plan, repaired, restored)", keep.display());
        }
        None => {
            line!(text, "Nothing was kept; --keep DIR keeps the plan, the reports and the copies.");
        }
    }
    text
}

/// `generate`.
pub(crate) fn generate(path: &Path, stats: &GenerateStats) -> String {
    let mut text = String::new();
    line!(
        text,
        "Wrote {}, {}, {} ({}) to {}",
        counted(stats.tokens, "token"),
        counted(stats.wallets, "wallet"),
        counted(stats.users, "user"),
        bytes(stats.tokens_bytes + stats.wallets_bytes),
        path.display()
    );
    line!(text, "The truth about it is in {}", path.join("truth.json").display());
    text
}
