//! `remelt explain`.

use super::args::ExplainArgs;
use super::failure::{Exit, Refusal};
use super::output::Output;
use super::render;
use anyhow::Context;
use remelt::analysis::cell_text;
use remelt::document::{Value, date_text, identifier_text};
use remelt::plan::{Change, FieldImages, Plan};
use serde::Serialize;
use serde_json::{Map, json};

/// The result object of `explain`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) token_id: String,
    pub(crate) npub: String,
    pub(crate) mint_url: String,
    pub(crate) transaction_id: String,
    pub(crate) amount: Option<i64>,
    pub(crate) rule: String,
    pub(crate) reason: &'static str,
    /// The changed fields before; an absent one is not there.
    pub(crate) before: Map<String, serde_json::Value>,
    /// The changed fields after.
    pub(crate) after: Map<String, serde_json::Value>,
    pub(crate) sha256_before: String,
    pub(crate) sha256_after: String,
    /// Codes and details of the token's findings.
    pub(crate) findings: Vec<[String; 2]>,
}

const REASON: &str = "transaction_type is melted, so its money was paid out over Lightning, and status \
                      is unspent, so it still counts in the user's balance";

pub(crate) fn run(args: &ExplainArgs, output: &Output) -> anyhow::Result<Exit> {
    let plan = Plan::open(&args.plan_dir)?;
    for batch in plan.batches() {
        for change in batch?.changes() {
            let id = identifier_text(change.id);
            if id == args.token_id || cell_text(&id) == args.token_id {
                let explanation = explain(&plan, &change)?;
                output.result(&explanation, &render::explain(&explanation))?;
                return Ok(Exit::Done);
            }
        }
    }
    let findings = findings_of(&plan, &args.token_id)?;
    let message = match findings.is_empty() {
        true => {
            "the plan does not change this token and its reports do not mention it; check the id"
        }
        false => "the plan does not change this token; its findings are in reports/findings.csv",
    };
    Err(Refusal { exit: Exit::Failed, code: "not_in_plan", message: message.into() }.into())
}

fn explain(plan: &Plan, change: &Change<'_>) -> anyhow::Result<Explanation> {
    let token_id = identifier_text(change.id);
    let text = |value: Option<Value<'_>>| value.map(identifier_text).unwrap_or_default();
    Ok(Explanation {
        npub: text(change.npub),
        mint_url: text(change.mint_url),
        transaction_id: text(change.transaction_id),
        amount: change.amount,
        rule: plan.content().rule.name.clone(),
        reason: REASON,
        before: fields(&change.before),
        after: fields(&change.after),
        sha256_before: change.sha256_before.to_string(),
        sha256_after: change.sha256_after.to_string(),
        findings: findings_of(plan, &token_id)?,
        token_id,
    })
}

fn fields(images: &FieldImages<'_>) -> Map<String, serde_json::Value> {
    let shown = |value: Value<'_>| match value.as_str() {
        Some(text) => json!(text),
        None if value.is_null() => serde_json::Value::Null,
        None => json!(date_text(value)),
    };
    images.iter().filter_map(|(name, value)| Some((name.to_owned(), shown(value?)))).collect()
}

fn findings_of(plan: &Plan, token_id: &str) -> anyhow::Result<Vec<[String; 2]>> {
    let path = plan.directory().join("reports/findings.csv");
    let mut reader = csv::Reader::from_path(&path)
        .with_context(|| format!("could not read {}; analyze anew", path.display()))?;
    let shown = cell_text(token_id);
    let mut findings = Vec::new();
    for row in reader.records() {
        let row = row.with_context(|| format!("{} is not CSV; analyze anew", path.display()))?;
        if row.get(2).is_some_and(|cell| cell == token_id || cell == shown) {
            findings.push([0, 6].map(|cell| row.get(cell).unwrap_or_default().to_owned()));
        }
    }
    Ok(findings)
}
