//! `summary.json` against the plan and the findings.

use super::files::read_bounded;
use super::findings::{Found, FoundCode};
use super::{Stop, hold};
use crate::model::{FindingCode, JsonAmount, counted};
use crate::plan::{AnalyzeReport, Plan, PlanReport, REPORTS_DIRECTORY, SUMMARY_FILE, health_score};
use serde_json::Value;

const SUMMARY_BYTES_MAX: u64 = 1024 * 1024;

/// Every figure is what the plan and the rows of the reports say; measured times are bound by
/// `SHA256SUMS` alone.
pub(super) fn read(plan: &Plan, found: Option<&Found>) -> Result<(String, AnalyzeReport), Stop> {
    let path = plan.directory().join(REPORTS_DIRECTORY).join(SUMMARY_FILE);
    let text = read_bounded(&path, SUMMARY_BYTES_MAX)?;
    let summary: AnalyzeReport = serde_json::from_slice(&text)
        .map_err(|_| Stop::Fails("it is not the object that analyze writes".to_owned()))?;
    let mut checked = 0;
    let mut same = |name: &str, holds: bool| {
        checked += 1;
        hold(holds, || format!("{name} is not what the plan and the reports say"))
    };
    let (content, AnalyzeReport { snapshot, stats, impact, .. }) = (plan.content(), &summary);
    let planned = &content.snapshot;
    same("snapshot.sha256", snapshot.sha256 == Some(planned.sha256))?;
    same("snapshot.consistency", snapshot.consistency == planned.consistency)?;
    same("snapshot.clusterTime", snapshot.cluster_time == planned.cluster_time)?;
    same("snapshot.bytes", snapshot.bytes == planned.bytes)?;
    same("documents.cashu_tokens", snapshot.documents.cashu_tokens == planned.tokens_documents)?;
    same("documents.cashu_wallets", snapshot.documents.cashu_wallets == planned.wallets_documents)?;
    same("stats.totalTokens", stats.total_tokens == planned.tokens_documents)?;
    same("stats.totalWallets", stats.total_wallets == planned.wallets_documents.unwrap_or(0))?;
    let problematic = content.totals.changes.saturating_add(content.left());
    same("stats.problematicTokens", stats.problematic_tokens == problematic)?;
    let melted = stats.problematic_tokens.checked_add(stats.spent_melted_tokens);
    same("stats.totalMeltedTokens", melted.is_some_and(|sum| sum <= stats.total_melted_tokens))?;
    same("impact.tokensToMigrate", impact.tokens_to_migrate == content.totals.changes)?;
    same("impact.totalAmountAffected", impact.total_amount_affected == content.totals.amount)?;
    same("impact.affectedUsers", impact.affected_users == content.totals.users)?;
    same("healthScore", is_as_written(&summary, &text))?;
    let written = summary.plan.as_ref();
    let in_plan = |holds: &dyn Fn(&PlanReport) -> bool| written.is_some_and(holds);
    same("plan.sha256", in_plan(&|it| it.sha256 == plan.sha256()))?;
    same("plan.changes", in_plan(&|it| it.changes == content.totals.changes))?;
    same("plan.batches", in_plan(&|it| it.batches == content.batches.len() as u64))?;
    same("plan.repairTime", in_plan(&|it| it.repair_time == content.rule.repair_time))?;
    same("plan.path", in_plan(&|it| it.path == "."))?;
    same("performance.bytes", summary.performance.bytes == planned.bytes)?;
    let codes = FindingCode::ALL.iter().map(|code| code.as_str());
    same("findings", summary.findings.keys().map(String::as_str).eq(codes))?;
    for code in FindingCode::ALL {
        let Some(found) = found else { break };
        let holds = finding_holds(*code, &summary.findings[code.as_str()], found);
        same(code.as_str(), holds)?;
    }
    Ok((format!("{}, each as the plan and the rows give it", counted(checked, "figure")), summary))
}

/// Whether all but the measured times stands there as `analyze` writes it, the score anew from the counts:
/// a number with a fraction, once read, is not always written the same.
fn is_as_written(summary: &AnalyzeReport, text: &[u8]) -> bool {
    let stats = &summary.stats;
    let score = health_score(stats.problematic_tokens, stats.total_melted_tokens);
    let anew = AnalyzeReport { health_score: score, ..summary.clone() };
    let anew = serde_json::to_string_pretty(&anew).unwrap_or_default();
    let untimed = |text: &str| text.split("\"performance\"").next().map(str::to_owned);
    untimed(&anew) == std::str::from_utf8(text).ok().and_then(untimed)
}

/// Whether the rows of a code give what the summary says of it.
fn finding_holds(code: FindingCode, said: &Value, found: &Found) -> bool {
    let rows = &found.by_code[code.index()];
    if said.is_null() {
        return rows.rows == 0;
    }
    let amount = said.get("amount").map(|amount| serde_json::from_value(amount.clone()).ok());
    let count = said["count"].as_u64();
    let count_holds = match code {
        FindingCode::DuplicateSecrets | FindingCode::DoubleCounted => count == Some(rows.secrets),
        // One row for each document; the ids are not in the report.
        FindingCode::DuplicateTransactionId => {
            count.is_some_and(|ids| (ids == 0) == (rows.rows == 0) && rows.rows / 2 >= ids)
        }
        _ => count == Some(rows.rows),
    };
    let users = said["affectedUsers"].as_u64().is_some_and(|users| users <= rows.rows);
    let amount_holds = match amount {
        None => true,
        Some(amount) => amount == Some(JsonAmount(rows.amount)),
    };
    count_holds && users && amount_holds && classes_hold(said.get("classes"), rows)
}

fn classes_hold(said: Option<&Value>, rows: &FoundCode) -> bool {
    let Some(Value::Object(said)) = said else { return said.is_none() };
    let holds = |(class, count): (&String, &Value)| match count {
        Value::Null => !rows.classes.contains_key(class),
        count => count.as_u64() == Some(rows.classes.get(class).copied().unwrap_or(0)),
    };
    said.iter().all(holds) && rows.classes.keys().all(|class| said.contains_key(class))
}
