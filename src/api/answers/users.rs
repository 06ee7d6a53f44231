//! `GET /admin/users/{npub}`.

use super::findings::{Finding, Wanted, read};
use crate::api::answer::{Answer, told_of};
use crate::api::query::Query;
use crate::api::refusal::Refusal;
use crate::api::state::Api;
use crate::model::FindingCode;
use crate::monitor::{BalanceSums, MintBalance};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Findings that are shown at once; `/admin/findings` has the rest.
const FINDINGS_SHOWN: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OneUser<'a> {
    npub: &'a str,
    mints: &'a [MintBalance],
    totals: BalanceSums,
    issues: Map<String, Value>,
    findings: Vec<Finding>,
    findings_total: u64,
}

/// `GET /admin/users/{npub}`
pub(in crate::api) async fn user(
    State(api): State<Arc<Api>>,
    npub: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    Query::parse(&uri, &[])?;
    let unknown = || Refusal::not_found("there is no such user in the ledger; check the npub");
    let Path(npub) = npub.map_err(|_| unknown())?;
    let pass = api.pass()?;
    let user = pass.users.get(&npub).ok_or_else(unknown)?;
    let counts = FindingCode::ALL.iter().map(|code| (code.as_str(), user.findings(*code)));
    let issues = counts.filter(|(_, count)| *count > 0);
    let issues = issues.map(|(code, count)| (code.to_owned(), json!(count))).collect();
    let wanted = Wanted { npub: Some(npub.clone()), ..Wanted::default() };
    let (findings_total, findings) = read(Arc::clone(&pass), wanted, 0, FINDINGS_SHOWN).await?;
    let answer = OneUser {
        npub: &user.npub,
        mints: &user.mints,
        totals: user.totals(),
        issues,
        findings,
        findings_total,
    };
    told_of(&api, &headers, &pass, &answer)
}
