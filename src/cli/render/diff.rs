//! `diff` on a terminal.

use super::lines::{PROSE_COLUMNS, fact, line};
use super::{counted, in_words, number};
use remelt::analysis::printable_line;
use remelt::diff::DiffReport;
use serde_json::Value;
use std::fmt::Write;

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
                line!(
                    text,
                    "           the same documents; only the {side} has a collection of wallets"
                );
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
