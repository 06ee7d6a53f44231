//! `status` on a terminal: one screen, whatever happened.

use super::analysis::{melted, score};
use super::lines::{line, prose};
use super::{in_words, number};
use crate::cli::paint::{Tone, toned};
use remelt::live::StatusReport;
use remelt::server::Server;
use std::fmt::Write;

/// So many runs and recommendations fit a screen of 24 lines.
const RUNS_SHOWN: usize = 6;
const RECOMMENDATIONS_SHOWN: usize = 3;

pub(crate) fn status(report: &StatusReport, server: &Server) -> String {
    let mut text = String::new();
    let (migration, health) = (&report.migration, &report.health);
    line!(text, "Database   {} on {}", server.db(), server.hosts());
    let set = health
        .replica_set
        .as_deref()
        .map_or("no replica set".to_owned(), |set| format!("replica set {set}"));
    line!(text, "           MongoDB {}, {set}", health.server_version);
    let state = match migration.state.as_str() {
        word @ "completed" => toned(Tone::Good, word),
        word @ "failed" => toned(Tone::Bad, word),
        word @ "not_started" => in_words(word),
        word => toned(Tone::Warn, &in_words(word)),
    };
    line!(text, "Migration  {state}");
    let (all, unspent) = (migration.total_melted_tokens, migration.problematic_tokens);
    let melted = melted(all, unspent, migration.spent_melted_tokens);
    let melted = if migration.migration_needed { toned(Tone::Bad, &melted) } else { melted };
    line!(text, "Tokens     {}", number(health.total_tokens.into()));
    line!(text, "Melted     {melted}");
    line!(text, "Health     score {} of 1.000", score(health.health_score));
    runs(&mut text, report);
    for recommendation in report.recommendations.iter().take(RECOMMENDATIONS_SHOWN) {
        line!(text);
        let head = format!("[{}] ", recommendation.priority);
        prose(&mut text, &head, &recommendation.message);
        prose(&mut text, "  -> ", &recommendation.action);
    }
    let hidden = report.recommendations.len().saturating_sub(RECOMMENDATIONS_SHOWN);
    if hidden > 0 {
        line!(text, "and {hidden} more with --json");
    }
    text
}

fn runs(text: &mut String, report: &StatusReport) {
    if report.runs.is_empty() {
        line!(text, "Runs       none");
    }
    for (index, run) in report.runs.iter().take(RUNS_SHOWN).enumerate() {
        let head = if index == 0 { "Runs" } else { "" };
        let applied = run.applied.map_or_else(|| "?".into(), |n| number(n.into()));
        let state =
            if run.is_active { format!("{}, at work", run.state) } else { run.state.clone() };
        line!(text, "{head:<10} {}  {}", run.run_id, in_words(&state));
        let began = run.started_at.map_or_else(String::new, |at| {
            at.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
        });
        let mut facts =
            format!("{began} UTC, {applied} of {} tokens applied", number(run.changes.into()));
        if let Some(restored) = run.restored.filter(|restored| *restored > 0) {
            facts += &format!(", {} restored", number(restored.into()));
        }
        if let Some(drifted) = run.drifted.filter(|drifted| *drifted > 0) {
            facts += &format!(", {} left (drift)", number(drifted.into()));
        }
        let is_undone = run.state == "rolled_back";
        let kept = run.applied.zip(run.restored).map_or(0, |(had, back)| had.saturating_sub(back));
        if is_undone && kept > 0 {
            facts += &format!(", {} NOT restored", number(kept.into()));
        }
        prose(text, "             ", &facts);
    }
    let hidden = report.runs.len().saturating_sub(RUNS_SHOWN);
    if hidden > 0 {
        line!(text, "           and {hidden} older, with --json");
    }
}
