//! `GET /admin/health`, `/admin/health/balance-consistency` and `/admin/health/token-integrity`.

use crate::api::answer::{Answer, told, told_of};
use crate::api::query::Query;
use crate::api::refusal::Refusal;
use crate::api::state::Api;
use crate::model::{FindingCode, JsonAmount, Severity};
use crate::monitor::{BALANCE_ISSUES, User, health_check};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `GET /admin/health`
pub(in crate::api) async fn health(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    Query::parse(&uri, &[])?;
    let check = health_check(&api.board, &api.monitor, (api.options.now)());
    let mut check = serde_json::to_value(check).map_err(|_| Refusal::internal())?;
    if let Some(check) = check.as_object_mut() {
        check.shift_remove("timestamp"); // every answer has one
    }
    told(&api, &headers, &check)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Balances<'a> {
    total_users: u64,
    checked_users: usize,
    matching_users: usize,
    limit: usize,
    offset: u64,
    issues: Vec<UserIssues<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserIssues<'a> {
    npub: &'a str,
    issues: Map<String, Value>,
    unspent_before: JsonAmount,
    unspent_after: JsonAmount,
    delta: JsonAmount,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    users_with_issues: u64,
    total_problematic_tokens: u64,
}

/// `GET /admin/health/balance-consistency`
pub(in crate::api) async fn balance_consistency(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let query = Query::parse(&uri, &["limit", "offset", "npub", "onlyIssues"])?;
    let (page, only_issues) = (query.page()?, query.flag("onlyIssues")?);
    let pass = api.pass()?;
    let users = pass.users.with_prefix(query.text("npub").unwrap_or_default());
    let (matching, checked): (usize, Vec<&User>) = if only_issues {
        let matching: Vec<&User> = users.iter().filter(|user| user.has_issues()).collect();
        (matching.len(), page.of(&matching).to_vec())
    } else {
        (users.len(), page.of(users).iter().collect())
    };
    let balances = Balances {
        total_users: pass.report.stats.total_users,
        checked_users: checked.len(),
        matching_users: matching,
        limit: page.limit,
        offset: page.offset,
        issues: checked.into_iter().filter(|user| user.has_issues()).map(issues_of).collect(),
        summary: Summary {
            users_with_issues: pass.users_with_issues,
            total_problematic_tokens: pass.report.stats.problematic_tokens,
        },
    };
    told_of(&api, &headers, &pass, &balances)
}

fn issues_of(user: &User) -> UserIssues<'_> {
    let totals = user.totals();
    let found = BALANCE_ISSUES.iter().map(|code| (balance_issue(*code), user.findings(*code)));
    let found = found.filter(|(_, count)| *count > 0);
    UserIssues {
        npub: &user.npub,
        issues: found.map(|(name, count)| (name.to_owned(), json!(count))).collect(),
        unspent_before: totals.unspent_before,
        unspent_after: totals.unspent_after,
        delta: totals.delta,
    }
}

/// The name of a finding among a balance's issues; the first is the seed's.
fn balance_issue(code: FindingCode) -> &'static str {
    match code {
        FindingCode::InconsistentStatus => "problematicMeltedTokens",
        FindingCode::NegativeBalance => "negativeBalances",
        FindingCode::DoubleCounted => "doubleCounted",
        FindingCode::InvalidAmounts => "invalidAmounts",
        FindingCode::AmountMismatch => "amountMismatch",
        other => other.as_str(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Integrity {
    total_tokens: u64,
    health_score: f64,
    issues: Map<String, Value>,
    summary: IntegritySummary,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct IntegritySummary {
    total_issues: u64,
    high: u64,
    medium: u64,
    low: u64,
}

/// `GET /admin/health/token-integrity`
pub(in crate::api) async fn token_integrity(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    Query::parse(&uri, &[])?;
    let pass = api.pass()?;
    let mut summary = IntegritySummary::default();
    let mut issues = pass.report.findings.clone();
    for code in FindingCode::ALL {
        let count = pass.count(*code);
        summary.total_issues += count;
        *match code.severity() {
            Severity::High => &mut summary.high,
            Severity::Medium => &mut summary.medium,
            Severity::Low => &mut summary.low,
        } += count;
        if let Some(Value::Object(issue)) = issues.get_mut(code.as_str()) {
            issue.shift_insert(1, "severity".to_owned(), json!(code.severity().as_str()));
        }
    }
    let integrity = Integrity {
        total_tokens: pass.report.stats.total_tokens,
        health_score: pass.report.health_score,
        issues,
        summary,
    };
    told_of(&api, &headers, &pass, &integrity)
}
