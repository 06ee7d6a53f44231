//! `GET /admin/findings`: the rows of `findings.csv`, with the amount as an integer.

use crate::api::answer::{Answer, told_of};
use crate::api::query::Query;
use crate::api::refusal::Refusal;
use crate::api::state::Api;
use crate::model::{FindingCode, JsonAmount, Severity};
use crate::monitor::{FindingFilter, FindingRow, Pass};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use std::sync::Arc;

/// One finding.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    code: String,
    severity: String,
    token_id: String,
    npub: String,
    mint_url: String,
    amount: Option<JsonAmount>,
    detail: String,
}

impl Finding {
    fn of(row: FindingRow) -> Finding {
        let FindingRow { code, severity, token_id, npub, mint_url, amount, detail } = row;
        let amount = amount.parse().ok().map(JsonAmount);
        Finding { code, severity, token_id, npub, mint_url, amount, detail }
    }
}

#[derive(Serialize)]
struct Findings {
    total: u64,
    limit: usize,
    offset: u64,
    findings: Vec<Finding>,
}

/// What of a filter outlives the request.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) code: Option<FindingCode>,
    pub(super) severity: Option<Severity>,
    pub(super) npub: Option<String>,
}

/// Findings of `pass`, read where reading may wait; with how many there are.
pub(super) async fn read(
    pass: Arc<Pass>,
    wanted: Wanted,
    offset: u64,
    limit: usize,
) -> Result<(u64, Vec<Finding>), Refusal> {
    let read = tokio::task::spawn_blocking(move || {
        let Wanted { code, severity, npub } = &wanted;
        let filter = FindingFilter { code: *code, severity: *severity, npub: npub.as_deref() };
        pass.findings.page(filter, &pass.users, offset, limit)
    });
    let page = read.await.map_err(|_| Refusal::internal())?.map_err(|error| {
        tracing::error!("could not read the findings: {}", crate::publish::io_reason(&error));
        Refusal::internal()
    })?;
    Ok((page.total, page.rows.into_iter().map(Finding::of).collect()))
}

/// `GET /admin/findings`
pub(in crate::api) async fn findings(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let query = Query::parse(&uri, &["code", "npub", "severity", "limit", "offset"])?;
    let page = query.page()?;
    let severity = |word: &str| {
        [Severity::High, Severity::Medium, Severity::Low].into_iter().find(|it| it.as_str() == word)
    };
    let wanted = Wanted {
        code: query.word(
            "code",
            "a finding's code, see docs/findings.md",
            FindingCode::from_code,
        )?,
        severity: query.word("severity", "high, medium or low", severity)?,
        npub: query.text("npub").map(str::to_owned),
    };
    let pass = api.pass()?;
    let (total, findings) = read(Arc::clone(&pass), wanted, page.offset, page.limit).await?;
    let answer = Findings { total, limit: page.limit, offset: page.offset, findings };
    told_of(&api, &headers, &pass, &answer)
}
