//! `GET /admin/migration/status` and `GET /admin/migration/preview`.

use crate::api::answer::{Answer, told_of};
use crate::api::estimate::{Estimate, estimate};
use crate::api::query::Query;
use crate::api::state::Api;
use crate::journal::RunState;
use crate::live::{MIGRATION_NAME, MigrationReport, Recommendation, RunReport, recommend};
use crate::model::JsonAmount;
use crate::monitor::{Board, DayImpact, Pass, User, migration};
use crate::plan::{AmountRange, UserImpact};
use crate::server::DeploymentKind;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Runs that the status shows.
const RUNS_SHOWN: usize = 5;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    migration: MigrationReport,
    health: Health,
    runs: Vec<RunReport>,
    last_snapshot: LastSnapshot,
    database: Option<Database>,
    readiness: Readiness,
    recommendations: Vec<Recommendation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    total_tokens: u64,
    total_users: u64,
    total_wallets: u64,
    health_score: f64,
}

/// What the latest pass read. It is not kept: `remelt export` makes a snapshot that is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastSnapshot {
    cluster_time: Option<String>,
    sha256: String,
    consistency: &'static str,
    documents: u64,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Database {
    name: String,
    hosts: String,
    replica_set: Option<String>,
    server_version: String,
    data_bytes: u64,
    storage_bytes: u64,
    index_bytes: u64,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

/// `GET /admin/migration/status`
pub(in crate::api) async fn status(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    Query::parse(&uri, &[])?;
    let pass = api.pass()?;
    let runs = api.board.runs().borrow().clone();
    let migration = migration(&api.board, &pass);
    let (stats, snapshot) = (&pass.report.stats, &pass.report.snapshot);
    let status = Status {
        health: Health {
            total_tokens: stats.total_tokens,
            total_users: stats.total_users,
            total_wallets: stats.total_wallets,
            health_score: pass.report.health_score,
        },
        last_snapshot: LastSnapshot {
            cluster_time: snapshot.cluster_time.clone(),
            sha256: snapshot.sha256.map_or_else(String::new, |sha256| sha256.to_string()),
            consistency: snapshot.consistency.as_str(),
            documents: snapshot.documents.cashu_tokens
                + snapshot.documents.cashu_wallets.unwrap_or(0),
            bytes: snapshot.bytes,
        },
        database: database(&api.board),
        readiness: readiness(&api.board, &pass),
        recommendations: recommend(&migration, &runs.runs),
        runs: runs.runs.iter().take(RUNS_SHOWN).cloned().collect(),
        migration,
    };
    told_of(&api, &headers, &pass, &status)
}

fn database(board: &Board) -> Option<Database> {
    let system = board.system()?;
    let (connection, size) = (&system.connection, &system.database);
    Some(Database {
        name: size.name.clone(),
        hosts: connection.hosts.clone(),
        replica_set: connection.replica_set.clone(),
        server_version: connection.server_version.clone(),
        data_bytes: size.data_bytes,
        storage_bytes: size.storage_bytes,
        index_bytes: size.index_bytes,
    })
}

/// Whether a repair could begin now, as far as is known without asking; `validate` asks.
fn readiness(board: &Board, pass: &Pass) -> Readiness {
    let mut reasons: Vec<String> = board.stale_reason().into_iter().collect();
    if pass.report.impact.tokens_to_migrate == 0 {
        reasons.push("there is nothing to change".to_owned());
    }
    let kind = board.server().map(|server| server.deployment().kind);
    if kind == Some(DeploymentKind::Standalone) {
        reasons.push("a standalone server has no transactions; make it a replica set".to_owned());
    }
    for run in &board.runs().borrow().runs {
        let is = |state: RunState| run.state == state.as_str();
        if run.is_active {
            reasons.push(format!("run {} is active; wait for it to end", run.run_id));
        } else if !is(RunState::Completed) && !is(RunState::RolledBack) {
            let state = &run.state;
            reasons.push(format!(
                "run {} is not finished ({state}); go on with it, or roll it back",
                run.run_id
            ));
        }
    }
    Readiness { ready: reasons.is_empty(), reasons }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Preview<'a> {
    #[serde(rename = "migration_name")]
    migration_name: &'static str,
    stats: Stats,
    user_impact: Impact<'a>,
    users_total: u64,
    limit: usize,
    offset: u64,
    top_users: &'a [UserImpact],
    days: &'a [DayImpact],
    amounts: &'a [AmountRange],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    tokens_to_migrate: u64,
    total_amount_affected: JsonAmount,
    affected_users: u64,
    not_changed: u64,
    #[serde(flatten)]
    estimate: Estimate,
}

/// An object whose names are the users of the page, in their order.
struct Impact<'a>(Vec<&'a User>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OneImpact {
    token_count: u64,
    total_amount: JsonAmount,
}

impl Serialize for Impact<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut users = serializer.serialize_map(Some(self.0.len()))?;
        for user in &self.0 {
            let totals = user.totals();
            let impact = OneImpact {
                token_count: totals.tokens_fixed,
                total_amount: JsonAmount(-totals.delta.0),
            };
            users.serialize_entry(&user.npub, &impact)?;
        }
        users.end()
    }
}

/// `GET /admin/migration/preview`
pub(in crate::api) async fn preview(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let query = Query::parse(&uri, &["limit", "offset", "npub"])?;
    let page = query.page()?;
    let pass = api.pass()?;
    let affected = pass.users.affected_with_prefix(query.text("npub").unwrap_or_default());
    let impact = &pass.report.impact;
    let not_changed = pass.report.not_changed.values();
    let preview = Preview {
        migration_name: MIGRATION_NAME,
        stats: Stats {
            tokens_to_migrate: impact.tokens_to_migrate,
            total_amount_affected: impact.total_amount_affected,
            affected_users: impact.affected_users,
            not_changed: not_changed.filter_map(serde_json::Value::as_u64).sum(),
            estimate: estimate(&api.board, &pass),
        },
        users_total: affected.count() as u64,
        user_impact: Impact(affected.page(page.offset, page.limit).collect()),
        limit: page.limit,
        offset: page.offset,
        top_users: &pass.top_users,
        days: &pass.days,
        amounts: &pass.amounts,
    };
    told_of(&api, &headers, &pass, &preview)
}
