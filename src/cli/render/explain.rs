//! `explain` on a terminal.

use super::lines::{heading, line, prose, shortened};
use super::{counted, number};
use crate::cli::explain::Explanation;
use crate::cli::paint::{Tone, toned};
use remelt::analysis::Member;
use serde_json::Value;
use std::fmt::Write;

pub(crate) fn explain(report: &Explanation) -> String {
    let mut text = String::new();
    line!(text, "Token      {}", report.token_id);
    line!(text, "User       {}", report.npub);
    line!(text, "Mint       {}", report.mint_url);
    // The reports alone do not say these.
    if report.changed || report.siblings.is_some() {
        line!(text, "Operation  {}", report.transaction_id);
        let amount = report.amount.map_or_else(|| "not an amount".into(), |a| number(a.0));
        line!(text, "Amount     {amount}");
    }
    let verdict = match report.changed {
        true => format!("changes it, by the rule {}", report.rule),
        false => "leaves it as it is".to_owned(),
    };
    line!(text, "Plan       {verdict}");
    prose(&mut text, "Why        ", &report.reason);
    if report.changed {
        line!(text);
        change(&mut text, report);
    }
    line!(text);
    findings(&mut text, report);
    line!(text);
    match &report.siblings {
        Some(siblings) => relatives(&mut text, siblings, report.more_siblings),
        None => line!(text, "Siblings   not looked up; --snapshot SNAPSHOT shows them"),
    }
    text
}

fn change(text: &mut String, report: &Explanation) {
    let shown = |fields: &serde_json::Map<String, Value>, name: &str| match fields.get(name) {
        None => "(absent)".to_owned(),
        Some(Value::String(value)) => value.clone(),
        Some(value) => value.to_string(),
    };
    heading(text, &format!("{:<12}{:<32}{}", "Field", "before", "after"));
    for name in ["status", "spent_at", "updatedAt"] {
        let (before, after) = (shown(&report.before, name), shown(&report.after, name));
        let after = if before == after { after } else { toned(Tone::Good, &after) };
        line!(text, "  {name:<10}{before:<32}{after}");
    }
    line!(text);
    heading(text, "SHA-256 of the whole document");
    line!(text, "  before    {}", report.sha256_before.as_deref().unwrap_or_default());
    line!(text, "  after     {}", report.sha256_after.as_deref().unwrap_or_default());
}

fn findings(text: &mut String, report: &Explanation) {
    if report.findings.is_empty() {
        line!(text, "Findings   none");
        return;
    }
    heading(text, "Findings");
    for [code, detail] in &report.findings {
        line!(text, "  {code}");
        prose(text, "    ", detail);
    }
}

fn relatives(text: &mut String, siblings: &[Member], more: u64) {
    if siblings.is_empty() {
        line!(text, "Siblings   none in the snapshot");
        return;
    }
    heading(text, "Siblings, and who else holds its secrets");
    for it in siblings {
        let amount = it.amount.map_or_else(|| "not an amount".into(), |a| number(a.0));
        line!(text, "  {}: {}", it.relation, it.token_id);
        let mut facts = format!(
            "{}, {}, amount {amount}, {}",
            shortened(&it.transaction_type, 16),
            shortened(&it.status, 16),
            counted(it.proofs, "proof")
        );
        if it.shared_proofs > 0 {
            facts +=
                &format!(", {} of them the same as in this token", number(it.shared_proofs.into()));
        }
        prose(text, "    ", &facts);
        line!(text, "    created {}, spent {}", it.created_at, it.spent_at);
    }
    if more > 0 {
        line!(text, "  and {} more", number(more.into()));
    }
}
