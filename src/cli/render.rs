//! Results as text for people: 80 columns, readable without colour.

mod explain;
mod preview;
mod status;

pub(crate) use explain::explain;
pub(crate) use preview::preview;
pub(crate) use status::status;

use super::paint::{Tone, columns_of, toned};
use super::rehearse::RehearseReport;
use super::run::{for_shell, path_for_shell, this_command};
use remelt::analysis::printable_line;
use remelt::audit::AuditReport;
use remelt::diff::DiffReport;
use remelt::export::ExportReport;
use remelt::generate::GenerateStats;
use remelt::journal::{ApplyReport, DriftEntry, RollbackReport, RunState};
use remelt::live::ValidateReport;
use remelt::model::{Check, CheckResult, FindingCode, JsonAmount, Severity};
pub(crate) use remelt::model::{byte_size as bytes, counted, grouped as number};
use remelt::plan::{AnalyzeReport, PlanReport};
use remelt::verify::VerifyReport;
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Appends one line, whatever stands in the values: data must not end it and begin one of its own.
// Writing to a String can't fail, so the results of `writeln!` are not looked at here.
macro_rules! line {
    ($text:expr) => { { let _ = writeln!($text); } };
    ($text:expr, $($args:tt)*) => {
        { let _ = writeln!($text, "{}", remelt::analysis::printable_line(&format!($($args)*))); }
    };
}
pub(crate) use line;

/// Columns of a line of prose; a terminal has 80.
const PROSE_COLUMNS: usize = 78;

/// `sentence` in lines that fit, the first after `head` and the others as far in.
pub(crate) fn prose(text: &mut String, head: &str, sentence: &str) {
    let indent = columns_of(head);
    let mut row = head.to_owned();
    let mut columns = indent;
    let sentence = printable_line(sentence);
    for part in parts(&sentence) {
        // What does not fit on a line of its own is broken between its words.
        let is_whole = indent + part.chars().count() <= PROSE_COLUMNS;
        for word in part.split(|c| !is_whole && c == ' ') {
            let length = word.chars().count();
            if columns > indent && columns + 1 + length > PROSE_COLUMNS {
                line!(text, "{}", row.trim_end());
                row = " ".repeat(indent);
                columns = indent;
            } else if columns > indent {
                row.push(' ');
                columns += 1;
            }
            row.push_str(word);
            columns += length;
        }
    }
    line!(text, "{}", row.trim_end());
}

/// The words of `sentence`, with those of a command in one piece.
fn parts(sentence: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut words = sentence.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let mut part = word.to_owned();
        if word == "remelt" {
            while let Some(word) = words.next_if(|word| belongs_to(&part, word)) {
                part = part + " " + word;
            }
        }
        parts.push(part);
    }
    parts
}

/// Whether `word` is a part of `command` as far as it goes: the command's name, an option or its value, a
/// placeholder, a path.
fn belongs_to(command: &str, word: &str) -> bool {
    let last = command.rsplit(' ').next().unwrap_or_default();
    let is_over = last.ends_with([',', ';', ':', '.', ')']);
    let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
    let is_placeholder =
        !bare.is_empty() && bare.chars().all(|c| c.is_ascii_uppercase() || "_/|".contains(c));
    let is_argument = word.starts_with(['-', '\'']) || word.contains('/') || is_placeholder;
    !is_over && (last == "remelt" || is_argument)
}

/// A fact under a word: one line where 80 columns are enough.
fn fact(text: &mut String, word: &str, sentence: &str) {
    let head = format!("{word:<10} ");
    match columns_of(&head) + columns_of(sentence) {
        0..=80 => line!(text, "{head}{sentence}"),
        _ => prose(text, &head, sentence),
    }
}

/// A heading over a table or list.
fn heading(text: &mut String, words: &str) {
    line!(text, "{}", toned(Tone::Strong, words));
}

/// `padded` in the tone of a severity.
fn severe(severity: Severity, padded: &str) -> String {
    match severity {
        Severity::High => toned(Tone::Bad, padded),
        Severity::Medium => toned(Tone::Warn, padded),
        Severity::Low => toned(Tone::Dim, padded),
    }
}

/// A bar of at most `columns`; at least one column for what is not nothing.
fn bar(count: u64, most: u64, columns: u64) -> String {
    let length = u128::from(count) * u128::from(columns);
    let length = length.div_ceil(u128::from(most.max(1)));
    toned(Tone::Dim, &"#".repeat(usize::try_from(length).unwrap_or(0)))
}

/// A long identifier by its ends; whole where it fits.
fn shortened(id: &str, columns: usize) -> String {
    const ENDING: usize = 8;
    let id = printable_line(id);
    let length = id.chars().count();
    if length <= columns {
        return id;
    }
    let head: String = id.chars().take(columns.saturating_sub(ENDING + 3)).collect();
    let tail: String = id.chars().skip(length - ENDING).collect();
    format!("{head}...{tail}")
}

fn seconds(elapsed: Duration) -> String {
    format!("{}.{:02} s", elapsed.as_secs(), elapsed.subsec_millis() / 10)
}

fn count_in(finding: &Value) -> Option<u64> {
    finding["count"].as_u64()
}

fn amount_in(finding: &Value) -> Option<i128> {
    let amount = finding.get("amount")?;
    serde_json::from_value::<JsonAmount>(amount.clone()).ok().map(|amount| amount.0)
}

/// The findings as a table, those that occur first in the order of reports.
fn findings_table(report: &AnalyzeReport) -> String {
    let mut text = String::new();
    let is_none = |code: &FindingCode| count_in(&report.findings[code.as_str()]) == Some(0);
    if FindingCode::ALL.iter().all(is_none) {
        let none: Vec<&str> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
        wrapped(&mut text, "Findings   none. Looked for:", &none);
        return text;
    }
    line!(
        text,
        "{:<9} {:<26} {:>10} {:>10} {:>20}",
        "severity",
        "finding",
        "count",
        "users",
        "amount"
    );
    let mut none = Vec::new();
    for code in FindingCode::ALL {
        let finding = &report.findings[code.as_str()];
        match count_in(finding) {
            Some(0) => none.push(code.as_str()),
            None => line!(text, "{:<9} {:<26} {:>10}", code.severity().as_str(), code, "unknown"),
            Some(count) => {
                let users = finding["affectedUsers"].as_u64().unwrap_or(0);
                let amount = amount_in(finding).map(number).unwrap_or_default();
                let row = format!(
                    "{} {:<26} {:>10} {:>10} {amount:>20}",
                    severe(code.severity(), &format!("{:<9}", code.severity().as_str())),
                    code,
                    number(count.into()),
                    number(users.into()),
                );
                line!(text, "{}", row.trim_end());
                classes(&mut text, finding);
            }
        }
    }
    if !none.is_empty() {
        line!(text);
        wrapped(&mut text, "none of:", &none);
    }
    text
}

fn classes(text: &mut String, finding: &Value) {
    let Some(classes) = finding["classes"].as_object() else { return };
    for (class, count) in classes {
        match count.as_u64() {
            Some(0) => {}
            Some(count) => line!(text, "{:<9}   {:<24} {:>10}", "", class, number(count.into())),
            None => line!(text, "{:<9}   {:<24} {:>10}", "", class, "unknown"),
        }
    }
}

/// `head` and `words` with commas, in lines of at most 78 columns.
fn wrapped(text: &mut String, head: &str, words: &[&str]) {
    let mut row = head.to_owned();
    for (i, word) in words.iter().enumerate() {
        let end = if i + 1 < words.len() { "," } else { "" };
        if row.len() + 2 + word.len() > 78 {
            line!(text, "{row}");
            row = " ".repeat(head.len());
        }
        row += &format!(" {word}{end}");
    }
    line!(text, "{row}");
}

fn score(score: f64) -> String {
    format!("{score:.3}")
}

/// `analyze`; `same` are the options by which another command reaches the server.
pub(crate) fn analyze(report: &AnalyzeReport, same: &str) -> String {
    let mut text = String::new();
    let stats = &report.stats;
    match &report.snapshot.sha256 {
        Some(sha256) => line!(text, "Snapshot   {sha256}"),
        None => line!(text, "Database   read in place, nothing exported"),
    }
    line!(
        text,
        "           {}, {}, {}, {}",
        counted(stats.total_tokens, "token"),
        counted(stats.total_wallets, "wallet"),
        counted(stats.total_users, "user"),
        bytes(report.snapshot.bytes)
    );
    line!(text, "           {}", consistency(report.snapshot.consistency.as_str()));
    let melted =
        melted(stats.total_melted_tokens, stats.problematic_tokens, stats.spent_melted_tokens);
    line!(text, "Melted     {melted}");
    line!(text, "           health score {}", score(report.health_score));
    line!(text);
    text += &findings_table(report);
    line!(text);
    text += &impact(report);
    match &report.plan {
        Some(made) => plan(&mut text, made),
        None => {
            line!(text);
            line!(text, "No plan was made. To make one:");
            line!(text, "  remelt export SNAPSHOT_DIR{same}");
            line!(text, "  remelt analyze SNAPSHOT_DIR PLAN_DIR");
        }
    }
    text
}

/// `9: 3 unspent (the bug), 5 spent, 1 other`; the marks of an alarm are the caller's.
pub(crate) fn melted(all: u64, unspent: u64, spent: u64) -> String {
    let count = |count: u64| number(count.into());
    let mut text =
        format!("{}: {} unspent (the bug), {} spent", count(all), count(unspent), count(spent));
    let others = all.saturating_sub(unspent).saturating_sub(spent);
    if others > 0 {
        text += &format!(", {} other", count(others));
    }
    text
}

fn plan(text: &mut String, plan: &PlanReport) {
    line!(text, "Plan       {}", plan.sha256);
    line!(
        text,
        "           {} in {}, repair time {}",
        counted(plan.changes, "change"),
        counted(plan.batches, "batch"),
        plan.repair_time
    );
    line!(text, "           {}", plan.path);
    line!(text, "Reports    {}", Path::new(&plan.path).join("reports").display());
    line!(text);
    if plan.changes == 0 {
        line!(text, "Nothing to repair: the plan changes no token.");
        return;
    }
    line!(text, "Next: look at findings.csv and balance_deltas.csv among the reports, then");
    line!(text, "  remelt preview {}", for_shell(&plan.path));
}

fn consistency(word: &str) -> &'static str {
    match word {
        "snapshot" => "all documents of one point in time",
        "none" => "NOT CONSISTENT: read while others wrote, without a snapshot",
        _ => "made by another program: nothing is known of its consistency",
    }
}

fn impact(report: &AnalyzeReport) -> String {
    let mut text = String::new();
    let impact = &report.impact;
    let users = counted(impact.affected_users, "user");
    let amount = number(impact.total_amount_affected.0);
    let repair = match impact.tokens_to_migrate {
        0 => "nothing: no token is to be changed".to_owned(),
        1 => format!("1 token of {users} becomes spent; balances fall by {amount} in all"),
        n => format!(
            "{} of {users} become spent; balances fall by {amount} in all",
            counted(n, "token")
        ),
    };
    fact(&mut text, "Repair", &repair);
    for (reason, count) in &report.not_changed {
        let count = count.as_u64().unwrap_or(0);
        line!(text, "           {}: {reason}", left_as_is(count));
    }
    text
}

/// `1 token left as it is`, `2 tokens left as they are`.
fn left_as_is(count: u64) -> String {
    let tokens = counted(count, "token");
    if count == 1 {
        format!("{tokens} left as it is")
    } else {
        format!("{tokens} left as they are")
    }
}

/// `export`.
pub(crate) fn export(report: &ExportReport) -> String {
    let mut text = String::new();
    let snapshot = &report.snapshot;
    line!(text, "Snapshot   {}", snapshot.sha256);
    line!(text, "           {}", snapshot.path);
    line!(text, "           {}", consistency(snapshot.consistency.as_str()));
    if let Some(at) = &snapshot.cluster_time {
        line!(text, "           cluster time {at}");
    }
    line!(text, "From       {}, database {}", snapshot.source.host, snapshot.db);
    for (collection, documents) in &report.documents {
        let count = documents.as_u64().map_or_else(|| "none".into(), |n| number(n.into()));
        line!(text, "           {count:>14}  {collection}");
    }
    line!(
        text,
        "Read       {} in {:.2} s, {}/s",
        bytes(report.bytes),
        report.performance.seconds,
        bytes(report.performance.bytes_per_second)
    );
    line!(text);
    line!(text, "Next: remelt analyze {} PLAN_DIR", for_shell(&snapshot.path));
    text
}

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

/// `diff`.
pub(crate) fn diff(report: &DiffReport) -> String {
    let mut text = String::new();
    line!(text, "First      {}", report.sha256_first);
    line!(text, "Second     {}", report.sha256_second);
    if report.identical {
        line!(text, "Result     identical: {}", counted(report.unchanged, "document"));
        return text;
    }
    let counts = format!(
        "{} unchanged, {} changed, {} only in the first, {} only in the second",
        number(report.unchanged.into()),
        number(report.changed.into()),
        number(report.only_in_first.into()),
        number(report.only_in_second.into())
    );
    fact(&mut text, "Result", &counts);
    if report.changed + report.only_in_first + report.only_in_second == 0 {
        match report.wallets_only_in {
            Some(side) => {
                line!(text, "           the same documents; only the {side} has a collection of wallets");
            }
            None => line!(text, "           the same documents in another order"),
        }
    }
    let mut had_fields = true;
    for difference in &report.differences {
        if had_fields || !difference.fields.is_empty() {
            line!(text);
        }
        had_fields = !difference.fields.is_empty();
        let kind = in_words(difference.kind).replace(" in ", " in the ");
        line!(text, "{} {} ({kind})", difference.collection, difference.id);
        for field in &difference.fields {
            let [before, after] = [&field.before, &field.after].map(side);
            let row = printable_line(&format!("  {:<12} {before} -> {after}", field.name));
            if row.chars().count() <= PROSE_COLUMNS {
                line!(text, "{row}");
            } else {
                line!(text, "  {}", field.name);
                line!(text, "    - {before}");
                line!(text, "    + {after}");
            }
        }
    }
    if report.truncated {
        line!(text);
        line!(text, "More differences are not listed; raise --limit.");
    }
    text
}

/// A field's value on one side. Text that looks like something else stands in quotes.
fn side(value: &Option<Value>) -> String {
    match value {
        None => "(absent)".to_owned(),
        Some(Value::String(text)) if ["", "null", "(absent)"].contains(&text.as_str()) => {
            format!("\"{text}\"")
        }
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
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
