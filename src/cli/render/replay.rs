//! `apply`, `rollback` and `verify` on a terminal.

use super::analysis::left_as_is;
use super::lines::{line, prose};
use super::{counted, number};
use crate::cli::paint::{Tone, toned};
use crate::cli::run::this_command;
use remelt::journal::{ApplyReport, DriftEntry, RollbackReport, RunState};
use remelt::verify::VerifyReport;
use std::fmt::Write;
use std::path::Path;

/// `apply`, on the server or a copy; `verify` is the command that looks at what came of it.
pub(crate) fn applied(report: &ApplyReport, copy: Option<&Path>, verify: &str) -> String {
    let mut text = String::new();
    line!(text, "Run        {}: {}", report.run_id, in_words(report.state.as_str()));
    line!(text, "Plan       {}", report.plan_sha256);
    line!(
        text,
        "Applied    {} in {:.2} s ({}/s), {} recorded",
        counted(report.applied, "token"),
        report.seconds,
        number(report.documents_per_second.into()),
        counted(report.batches, "batch")
    );
    if report.already_applied > 0 {
        let (already, were) = already(report.already_applied);
        line!(text, "           {already} {were} as planned before");
    }
    drifted(&mut text, report.drifted, &report.drift);
    if let Some(copy) = copy {
        line!(text, "Copy       {}", copy.display());
    }
    line!(text, "Manifest   {}", report.manifest.path);
    line!(text);
    match report.state {
        RunState::Completed => line!(text, "Next: {verify}"),
        _ => stopped(&mut text, report.state),
    }
    text
}

fn already(count: u64) -> (String, &'static str) {
    (number(count.into()), if count == 1 { "was" } else { "were" })
}

/// A state as people write it.
pub(crate) fn in_words(state: &str) -> String {
    state.replace('_', " ")
}

/// How to go on with a run that stopped.
fn stopped(text: &mut String, state: RunState) {
    let word = in_words(state.as_str());
    line!(text, "Stopped ({word}) between two batches. Next: the same command goes on there:");
    line!(text, "  {}", this_command());
}

/// `rollback`, on the server or a copy; `status` is the command that shows how the server stands.
pub(crate) fn rolled_back(
    report: &RollbackReport,
    copy: Option<&Path>,
    status: Option<&str>,
) -> String {
    let mut text = String::new();
    line!(text, "Run        {}: {}", report.run_id, in_words(report.state.as_str()));
    line!(
        text,
        "Restored   {} byte for byte in {:.2} s",
        counted(report.restored, "token"),
        report.seconds
    );
    if report.already_restored > 0 {
        let (already, were) = already(report.already_restored);
        line!(text, "           {already} {were} as before already");
    }
    drifted(&mut text, report.drifted, &report.drift);
    if let Some(copy) = copy {
        line!(text, "Copy       {}", copy.display());
    }
    match (report.state, status) {
        (RunState::RolledBack, None) => {}
        (RunState::RolledBack, Some(status)) => {
            line!(text);
            line!(text, "Next: {status}");
        }
        (state, _) => {
            line!(text);
            stopped(&mut text, state);
        }
    }
    text
}

/// Most documents listed on a terminal; the manifest lists all.
const DRIFT_SHOWN_MAX: usize = 10;

fn drifted(text: &mut String, count: u64, listed: &[DriftEntry]) {
    if count == 0 {
        return;
    }
    let colon = if listed.is_empty() { "" } else { ":" };
    line!(text, "Left       changed by somebody else: {}{colon}", left_as_is(count));
    for entry in listed.iter().take(DRIFT_SHOWN_MAX) {
        line!(text, "             {}", entry.id);
    }
    if count > DRIFT_SHOWN_MAX as u64 && !listed.is_empty() {
        line!(text, "             ... and more; the run's manifest lists them");
    }
}

/// `verify`.
pub(crate) fn verify(report: &VerifyReport) -> String {
    let mut text = String::new();
    line!(text, "Plan       {}", report.plan_sha256);
    line!(text, "Checked    {}", counted(report.checked, "token"));
    for (what, count) in [
        ("as planned", report.as_planned),
        ("as before the repair", report.as_before),
        ("neither (drifted)", report.drifted),
        ("missing", report.missing),
        ("melted and unspent, not in the plan", report.new_problematic_tokens),
    ] {
        line!(text, "           {:>12}  {what}", number(count.into()));
    }
    let are_all = |count| report.checked > 0 && count == report.checked;
    let result = match report.ok {
        true => toned(Tone::Good, "ok"),
        false if are_all(report.as_before) => {
            toned(Tone::Bad, "NOT applied: every token is as before the repair")
        }
        false => toned(Tone::Bad, "NOT as planned"),
    };
    line!(text, "Result     {result}");
    if are_all(report.missing) {
        let advice = "none of the plan's tokens is here: is this the database, or a copy of the snapshot, that \
                      the plan was made from?";
        prose(&mut text, "           ", advice);
    }
    text
}
