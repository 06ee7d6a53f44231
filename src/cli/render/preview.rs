//! `preview` on a terminal.

use super::lines::{bar, heading, line, prose, severe, shortened};
use super::{counted, number};
use crate::cli::paint::{Tone, toned};
use crate::cli::run::path_for_shell;
use remelt::plan::{PlanFile, Preview, RiskAssessment};
use remelt::snapshot::format::Presence;
use std::fmt::Write;
use std::path::Path;

const BAR_COLUMNS: u64 = 40;
const USER_COLUMNS: usize = 21;

/// `same` are the options by which another command reaches the server.
pub(crate) fn preview(report: &Preview, plan: &PlanFile, directory: &Path, same: &str) -> String {
    let mut text = String::new();
    let stats = &report.stats;
    line!(text, "Plan       {}", report.plan_sha256);
    line!(text, "           made by {}, repair time {}", plan.tool, plan.rule.repair_time);
    line!(
        text,
        "Changes    {} of {}: melted and unspent, to become spent",
        counted(stats.tokens_to_migrate, "token"),
        counted(stats.affected_users, "user")
    );
    line!(text, "           balances fall by {} in all", number(stats.total_amount_affected.0));
    if let Some(risk) = &report.risk_assessment {
        let level = severe(risk.level, risk.level.as_str());
        let things = counted(risk.factors.len() as u64, "thing");
        line!(text, "Risk       {level}: {things} to weigh, below");
    }
    let time = stats.estimated_execution_time.as_deref();
    prose(
        &mut text,
        "Time       ",
        time.unwrap_or("not measured; --uri URI measures it, and writes nothing"),
    );
    if stats.tokens_to_migrate > 0 {
        line!(text);
        users(&mut text, report);
        line!(text);
        charts(&mut text, report);
    }
    if let Some(risk) = &report.risk_assessment {
        line!(text);
        risks(&mut text, risk);
    }
    line!(text);
    next(&mut text, plan, directory, same);
    text
}

fn users(text: &mut String, report: &Preview) {
    let head = format!(
        "{:<23}{:>7} {:>15} {:>15} {:>15}",
        "The largest losses", "tokens", "loss", "unspent before", "after"
    );
    heading(text, &head);
    for user in &report.top_users {
        let npub = if user.npub.is_empty() { "(no npub)" } else { &user.npub };
        let shown = |amount: Option<remelt::model::JsonAmount>| {
            amount.map_or_else(|| "?".to_owned(), |amount| number(amount.0))
        };
        line!(
            text,
            "  {:<USER_COLUMNS$}{:>7} {:>15} {:>15} {:>15}",
            shortened(npub, USER_COLUMNS),
            number(user.token_count.into()),
            number(user.total_amount.0),
            shown(user.unspent_before),
            shown(user.unspent_after)
        );
    }
    let named = report.top_users.iter().filter(|user| !user.npub.is_empty()).count() as u64;
    let others = report.stats.affected_users.saturating_sub(named);
    if others > 0 {
        line!(text, "  and {} more", number(others.into()));
    }
    prose(
        text,
        "  ",
        "Unspent at the mints where something changes. Whole names, every user and mint: \
         reports/balance_deltas.csv",
    );
}

fn charts(text: &mut String, report: &Preview) {
    heading(text, "Tokens by amount");
    let most = report.amounts.iter().map(|row| row.count).max().unwrap_or(0);
    for row in &report.amounts {
        let label = grouped(&row.range);
        line!(
            text,
            "  {label:>24} {:>9} {}",
            number(row.count.into()),
            bar(row.count, most, BAR_COLUMNS)
        );
    }
    line!(text);
    let timeline = &report.timeline;
    let unit = timeline.unit.as_str();
    heading(text, &format!("When the bug struck: tokens and their amounts by {unit}"));
    let most = timeline.rows.iter().map(|row| row.count).max().unwrap_or(0);
    for row in &timeline.rows {
        line!(
            text,
            "  {:<10} {:>8} {:>15} {}",
            row.from,
            number(row.count.into()),
            number(row.amount.0),
            bar(row.count, most, BAR_COLUMNS)
        );
    }
    if timeline.undated > 0 {
        line!(text, "  {} without a date of creation", counted(timeline.undated, "token"));
    }
}

/// A range with the thousands of its numbers grouped.
fn grouped(range: &str) -> String {
    let word = |word: &str| word.parse::<i128>().map_or_else(|_| word.to_owned(), number);
    range.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn risks(text: &mut String, risk: &RiskAssessment) {
    heading(text, &format!("What to weigh: {}", risk.level.as_str()));
    for factor in &risk.factors {
        let word = severe(factor.level, &format!("{:<8}", factor.level.as_str()));
        prose(text, &format!("  {word}"), &factor.message);
        prose(text, "       -> ", &factor.mitigation);
    }
}

fn next(text: &mut String, plan: &PlanFile, directory: &Path, same: &str) {
    if plan.totals.changes == 0 {
        line!(text, "Nothing to repair: the plan changes no token.");
        return;
    }
    if plan.snapshot.secrets == Presence::Hashed {
        line!(text, "{}", toned(Tone::Strong, "Next: export again without --without-secrets"));
        line!(text, "  remelt export SNAPSHOT_DIR{same}");
        return;
    }
    let knows_target = plan.snapshot.source.as_ref().is_some_and(|it| it.replica_set_id.is_some());
    let target = if knows_target { "" } else { " --target SET/DB" };
    line!(text, "{}", toned(Tone::Strong, "Next: check every prerequisite; nothing is written"));
    line!(text, "  remelt validate {}{same}{target}", path_for_shell(directory));
}
