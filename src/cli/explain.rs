//! `remelt explain`.

use super::args::ExplainArgs;
use super::failure::{Exit, Refusal};
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::open_snapshot;
use anyhow::Context;
use remelt::analysis::{Family, Member, cell_text, family};
use remelt::document::{Value, date_text, identifier_text};
use remelt::model::{FindingCode, JsonAmount};
use remelt::plan::{FieldImages, Plan};
use serde::Serialize;
use serde_json::{Map, json};
use std::path::Path;

/// The result object of `explain`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) token_id: String,
    pub(crate) npub: String,
    pub(crate) mint_url: String,
    pub(crate) transaction_id: String,
    pub(crate) amount: Option<JsonAmount>,
    /// Whether the plan changes it.
    pub(crate) changed: bool,
    pub(crate) rule: String,
    pub(crate) reason: String,
    /// The changed fields before; an absent one is not there.
    pub(crate) before: Map<String, serde_json::Value>,
    /// The changed fields after.
    pub(crate) after: Map<String, serde_json::Value>,
    pub(crate) sha256_before: Option<String>,
    pub(crate) sha256_after: Option<String>,
    /// Codes and details of the token's findings.
    pub(crate) findings: Vec<[String; 2]>,
    /// Sources, change and copies; `null` without a snapshot to look in.
    pub(crate) siblings: Option<Vec<Member>>,
    /// How many more there are.
    pub(crate) more_siblings: u64,
}

const FINDINGS: &str = "findings.csv";
const REASON: &str = "transaction_type is melted, so its money was paid out over Lightning; status is \
                      unspent, so it still counts in the user's balance";
const OTHER_SHAPE: &str =
    "the rule wants transaction_type melted and status unspent, and the token is not so";

pub(crate) fn run(args: &ExplainArgs, output: &Output) -> anyhow::Result<Exit> {
    let plan = Plan::open(&args.plan_dir)?;
    let mut explanation = Explanation {
        token_id: args.token_id.clone(),
        rule: plan.content().rule.name.clone(),
        ..Explanation::default()
    };
    add_findings(&mut explanation, &plan)?;
    let is_planned = add_change(&mut explanation, &plan, &args.token_id)?;
    let mut is_known = is_planned || !explanation.findings.is_empty();
    if let Some(path) = &args.snapshot {
        let family = look_up(&plan, path, args, *output)?;
        is_known |= family.token.is_some();
        add_family(&mut explanation, family);
    }
    if !is_known {
        let (exit, code) = (Exit::Failed, "not_in_plan");
        let message = match &args.snapshot {
            None => "neither the plan nor its reports know this token, which is so for every token that is in \
                     order; check the id, or add --snapshot SNAPSHOT to look it up there"
                .to_owned(),
            Some(snapshot) => format!(
                "neither the plan, nor its reports, nor {} know a token with this _id; check the id, which is \
                 24 hex digits for an ObjectId",
                snapshot.display()
            ),
        };
        return Err(Refusal { exit, code, message }.into());
    }
    if !is_planned {
        explanation.reason = why_not(&explanation.findings);
    }
    output.result(&explanation, &render::explain(&explanation))?;
    Ok(Exit::Done)
}

/// Fills in what the plan says of the token; `false` when it does not change it.
fn add_change(to: &mut Explanation, plan: &Plan, token_id: &str) -> anyhow::Result<bool> {
    for batch in plan.batches() {
        for change in batch?.changes() {
            let id = identifier_text(change.id);
            if id != token_id && cell_text(&id) != token_id {
                continue;
            }
            let text = |value: Option<Value<'_>>| value.map(identifier_text).unwrap_or_default();
            to.npub = text(change.npub);
            to.mint_url = text(change.mint_url);
            to.transaction_id = text(change.transaction_id);
            to.amount = change.amount.map(|amount| JsonAmount(amount.into()));
            to.changed = true;
            to.reason = REASON.to_owned();
            to.before = fields(&change.before);
            to.after = fields(&change.after);
            to.sha256_before = Some(change.sha256_before.to_string());
            to.sha256_after = Some(change.sha256_after.to_string());
            to.token_id = id;
            return Ok(true);
        }
    }
    Ok(false)
}

fn look_up(plan: &Plan, path: &Path, args: &ExplainArgs, output: Output) -> anyhow::Result<Family> {
    let snapshot = open_snapshot(path, &args.source, output)?;
    let found = watched(output, |progress| family(&snapshot, &args.token_id, progress))?;
    let expected = plan.content().snapshot.sha256;
    if found.snapshot != expected {
        let message = format!(
            "{} is not the snapshot that the plan was made from: expected root SHA-256 {expected}, seen \
             {}; name that one, or leave --snapshot out",
            path.display(),
            found.snapshot
        );
        return Err(Refusal::new("other_snapshot", message).into());
    }
    Ok(found)
}

fn add_family(to: &mut Explanation, family: Family) {
    if let Some(token) = family.token {
        to.token_id = token.token_id;
        to.npub = token.npub;
        to.mint_url = token.mint_url;
        to.transaction_id = token.transaction_id;
        to.amount = token.amount;
    }
    to.siblings = Some(family.relatives);
    to.more_siblings = family.more;
}

/// Why a token is left as it is: as the findings say, or because it has not the rule's shape.
fn why_not(findings: &[[String; 2]]) -> String {
    let said = findings.iter().find(|[code, _]| code == FindingCode::InconsistentStatus.as_str());
    said.map_or_else(|| OTHER_SHAPE.to_owned(), |[_, detail]| detail.clone())
}

/// The status is one of the rule's; the others are dates, and what stands there instead, which may be money, is
/// named by its type as in the reports.
fn fields(images: &FieldImages<'_>) -> Map<String, serde_json::Value> {
    let shown = |name: &str, value: Value<'_>| match name {
        _ if value.is_null() => serde_json::Value::Null,
        "status" => json!(identifier_text(value)),
        _ => json!(date_text(value)),
    };
    images.iter().filter_map(|(name, value)| Some((name.to_owned(), shown(name, value?)))).collect()
}

/// Fills in what the reports say of the token.
fn add_findings(to: &mut Explanation, plan: &Plan) -> anyhow::Result<()> {
    let Some(path) = plan.intact_report(FINDINGS) else {
        let message = format!(
            "reports/{FINDINGS} in {} is missing or not the one that the plan names, so nothing in it can be \
             trusted; remelt audit says what else is altered, and remelt analyze makes the plan anew",
            plan.directory().display()
        );
        return Err(Refusal::new("altered_report", message).into());
    };
    let mut reader = csv::Reader::from_path(&path)
        .with_context(|| format!("could not read {}; analyze anew", path.display()))?;
    let shown = cell_text(&to.token_id);
    for row in reader.records() {
        let row = row.with_context(|| format!("{} is not CSV; analyze anew", path.display()))?;
        let cell = |at: usize| row.get(at).unwrap_or_default().to_owned();
        // A finding about a user and a mint names no token.
        if !cell(2).is_empty() && (cell(2) == to.token_id || cell(2) == shown) {
            to.findings.push([cell(0), cell(6)]);
            (to.npub, to.mint_url) = (cell(3), cell(4));
        }
    }
    Ok(())
}
