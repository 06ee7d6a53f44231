//! `POST /admin/migration/validate`: the prerequisites, measured now, and the risks that go with them.
//!
//! The only question that goes to the database; at most one at a time, however many ask.

use super::answer::Answer;
use super::estimate::{Estimate, estimate};
use super::guard::BODY_BYTES_MAX;
use super::query::Query;
use super::refusal::Refusal;
use super::state::Api;
use crate::live::{Check, CheckResult, RunOptions, validate as measure_all};
use crate::model::Timestamp;
use crate::monitor::alerts::{AlertState, Rule};
use crate::monitor::{Board, Pass};
use crate::progress::Progress;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::IntoResponse;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// For the whole body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Those who waited for a measurement get it, too.
const FRESH: Duration = Duration::from_secs(2);
/// For a sign of life, and for all checks together.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const CHECKS_TIMEOUT: Duration = Duration::from_secs(60);
/// A user with more than this part of the amount is a risk of its own.
const SHARE_PERCENT_MAX: i128 = 25;

/// The latest measurement.
#[derive(Default)]
pub(super) struct Validation(Mutex<Option<(Instant, Arc<Measured>)>>);

struct Measured {
    at: Timestamp,
    checks: Vec<Check>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Validated<'a> {
    timestamp: Timestamp,
    is_valid: bool,
    checks: &'a [Check],
    risk_factors: Vec<RiskFactor>,
    #[serde(flatten)]
    estimate: Option<Estimate>,
}

/// Something that may go wrong, and what makes it less likely.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct RiskFactor {
    factor: String,
    level: &'static str,
    mitigation: String,
}

/// `POST /admin/migration/validate`
pub(super) async fn validate(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    Query::parse(&uri, &[])?;
    check_body(&headers, body).await?;
    // In a task of its own: it ends, and frees its turn, whether or not the client waits for it.
    let asked = Arc::clone(&api);
    let measured = tokio::spawn(async move { measured(&asked).await });
    let measured = measured.await.map_err(|_| Refusal::internal())?;
    let pass = api.board.pass();
    let validated = Validated {
        timestamp: measured.at,
        is_valid: measured.checks.iter().all(|check| check.result != CheckResult::Fail),
        checks: &measured.checks,
        risk_factors: risk_factors(&measured.checks, &api.board, pass.as_deref()),
        estimate: pass.map(|pass| estimate(&api.board, &pass)),
    };
    let body = serde_json::json!({"success": true, "data": validated}).to_string();
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((json, body).into_response())
}

/// No body, or an empty object.
async fn check_body(headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
    let read = timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
    let read = read.map_err(|_| Refusal::timeout())?;
    let bytes = read.map_err(|error| {
        use std::error::Error;
        let is_too_large = error.source().is_some_and(|why| why.to_string().contains("limit"));
        if is_too_large {
            Refusal::too_large(BODY_BYTES_MAX)
        } else {
            Refusal::bad_request("the body broke off; send it again")
        }
    })?;
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    if kind.map_or(!bytes.is_empty(), |kind| !is_json(kind)) {
        return Err(Refusal::unsupported_media_type());
    }
    let is_empty = bytes.is_empty()
        || serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes)
            .is_ok_and(|object| object.is_empty());
    if is_empty {
        Ok(())
    } else {
        Err(Refusal::bad_request("the body is not {}; send that, or none"))
    }
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

async fn measured(api: &Api) -> Arc<Measured> {
    let asked_at = Instant::now();
    let mut latest = api.validation.0.lock().await;
    if let Some((made, measured)) = &*latest
        && (*made >= asked_at || made.elapsed() < FRESH)
    {
        return Arc::clone(measured);
    }
    let checks = checks(api).await;
    let measured = Arc::new(Measured { at: (api.options.now)(), checks });
    *latest = Some((Instant::now(), Arc::clone(&measured)));
    measured
}

async fn checks(api: &Api) -> Vec<Check> {
    let failed = |detail: String| {
        let action = "start the server, or check the connection string".to_owned();
        vec![Check { name: "reachable", result: CheckResult::Fail, detail, action }]
    };
    let Some(server) = api.board.server() else {
        let why = api.board.unreachable();
        return failed(why.unwrap_or_else(|| "the database was not reached yet".to_owned()));
    };
    match timeout(PING_TIMEOUT, server.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return failed(error.to_string()),
        Err(_) => return failed(format!("no answer within {} s", PING_TIMEOUT.as_secs())),
    }
    let options = RunOptions {
        retry: Duration::ZERO,
        tokens: api.monitor.tokens.clone(),
        ..RunOptions::new(&api.monitor.tool, api.monitor.now)
    };
    let progress = Progress::new();
    match timeout(CHECKS_TIMEOUT, measure_all(None, &server, &options, &progress)).await {
        Ok(report) => report.checks,
        Err(_) => failed(format!("the checks took over {} s", CHECKS_TIMEOUT.as_secs())),
    }
}

fn risk_factors(checks: &[Check], board: &Board, pass: Option<&Pass>) -> Vec<RiskFactor> {
    let mut risks = Vec::new();
    let mut risk = |level, factor: String, mitigation: &str| {
        risks.push(RiskFactor { factor, level, mitigation: mitigation.to_owned() });
    };
    for check in checks {
        let factor = || format!("{}: {}", check.name, check.detail);
        match check.result {
            CheckResult::Fail => risk("high", factor(), &check.action),
            CheckResult::Warn => risk("medium", factor(), &check.action),
            CheckResult::Pass => {}
        }
    }
    if let Some(reason) = board.stale_reason() {
        let factor = format!("what is known of the ledger is old: {reason}");
        risk("high", factor, "wait until /readyz says ready");
    }
    for alert in board.alerts().iter().filter(|alert| alert.state == AlertState::Open) {
        // The others are what the repair is for, or are said above.
        match alert.rule {
            Rule::DuplicateSecrets | Rule::OrphanedTokens => {
                risk(
                    "medium",
                    alert.title.clone(),
                    "the repair leaves them as they are; look at them first",
                );
            }
            Rule::HealthDegraded => risk("medium", alert.detail.clone(), &alert.action),
            _ => {}
        }
    }
    let moved = board.movement();
    let writes = moved.inserted + moved.updated + moved.deleted;
    if moved.available && writes > 0 {
        let factor = format!("the service writes: {writes} tokens moved since the latest pass");
        risk("low", factor, "choose a quiet hour; a token that changes meanwhile is left alone");
    }
    if let Some(pass) = pass {
        shares(pass, &mut risk);
    }
    risks.sort_by_key(|risk| ["high", "medium", "low"].iter().position(|it| *it == risk.level));
    risks
}

/// What of the repair itself is a risk.
fn shares(pass: &Pass, risk: &mut impl FnMut(&'static str, String, &str)) {
    let total = pass.report.impact.total_amount_affected.0;
    let largest = pass.top_users.first().map_or(0, |user| user.total_amount.0);
    let share = (largest * 100).checked_div(total).unwrap_or(0);
    if share > SHARE_PERCENT_MAX && pass.report.impact.affected_users > 1 {
        let factor = format!("one user has {share} % of the amount that is changed");
        risk("medium", factor, "look at this user with remelt explain before applying");
    }
    let below_zero = pass.users.all().iter().filter(|user| {
        user.mints.iter().any(|mint| mint.sums.tokens_fixed > 0 && mint.sums.unspent_after.0 < 0)
    });
    let below_zero = below_zero.count();
    if below_zero > 0 {
        let factor = format!("{below_zero} users' balances are below zero after the repair");
        risk("medium", factor, "see their findings; the ledger is wrong in other ways, too");
    }
    let left = pass.report.not_changed.values().filter_map(serde_json::Value::as_u64).sum::<u64>();
    if left > 0 {
        let factor = format!("{left} problematic tokens can't be changed and stay as they are");
        risk("medium", factor, "see them in findings.csv and repair them by hand");
    }
}
