//! `analyze` and `export` on a terminal, and the findings of an analysis.

use super::lines::{fact, line, severe, wrapped};
use super::{bytes, counted, number};
use crate::cli::run::for_shell;
use remelt::export::ExportReport;
use remelt::model::{FindingCode, JsonAmount};
use remelt::plan::{AnalyzeReport, PlanReport};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

fn count_in(finding: &Value) -> Option<u64> {
    finding["count"].as_u64()
}

fn amount_in(finding: &Value) -> Option<i128> {
    let amount = finding.get("amount")?;
    serde_json::from_value::<JsonAmount>(amount.clone()).ok().map(|amount| amount.0)
}

/// The findings as a table, those that occur first in the order of reports.
pub(super) fn findings_table(report: &AnalyzeReport) -> String {
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

pub(super) fn score(score: f64) -> String {
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

pub(super) fn impact(report: &AnalyzeReport) -> String {
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
pub(super) fn left_as_is(count: u64) -> String {
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
