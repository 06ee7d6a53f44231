//! Every prerequisite of a run, each with a measured answer and what to do about it.
//!
//! Writes nothing: privileges are asked with updates that can match nothing, transactions are aborted.

use super::error::RunError;
use super::guard::{guard, guard_deployment};
use super::lease::holder_of;
use super::options::RunOptions;
use super::place::{Found, Place, find_place};
use super::store::may_write;
use super::verify::verify;
use crate::decide::OnDrift;
use crate::model::{Check, CheckResult, byte_size, counted, grouped};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::server::{DeploymentKind, Server, ServerError, durable, failed, unsigned};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::ReadConcern;
use serde::Serialize;
use std::time::Instant;

const SKEW_MS_MAX: u64 = 5_000;
const WRITE_MS_MAX: u128 = 1_000;
const HISTORY_SECONDS_MIN: u64 = 60;
const LIFETIME_SECONDS_MIN: u64 = 30;

/// What `validate` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidateReport {
    /// Nothing failed.
    pub ok: bool,
    /// All checks, in a fixed order.
    pub checks: Vec<Check>,
}

/// Checks everything that a run needs; with a plan also whether it can be applied here.
pub async fn validate(
    plan: Option<&Plan>,
    server: &Server,
    options: &RunOptions,
    progress: &Progress,
) -> ValidateReport {
    let tokens = plan.map_or(&options.tokens, |plan| &plan.content().snapshot.tokens);
    let mut checks = vec![
        reachable(server).await,
        deployment(server),
        transactions(server, tokens).await,
        privileges(server, tokens, options).await,
        write_concern(server, tokens).await,
        server_disk(server, plan).await,
        history(server).await,
        clock_skew(server, options).await,
        lease(server, tokens).await,
        operations(server).await,
    ];
    if let Some(plan) = plan {
        checks.push(local_disk(plan));
        checks.push(belongs(plan, server, options));
        checks.push(place(plan, server, options).await);
        checks.push(drift(plan, server, options, progress).await);
    }
    let ok = checks.iter().all(|check| check.result != CheckResult::Fail);
    ValidateReport { ok, checks }
}

async fn reachable(server: &Server) -> Check {
    let began = Instant::now();
    match server.ping().await {
        Ok(()) => {
            let ms = began.elapsed().as_millis();
            Check::pass("reachable", format!("{} answers in {ms} ms", server.hosts()))
        }
        Err(error) => failing("reachable", &error, "start the server"),
    }
}

fn deployment(server: &Server) -> Check {
    let deployment = server.deployment();
    let kind = match (deployment.kind, &deployment.replica_set) {
        (DeploymentKind::Standalone, _) => "standalone server, no replica set".to_owned(),
        (DeploymentKind::Mongos, _) => "sharded cluster".to_owned(),
        (DeploymentKind::ReplicaSet, set) => {
            format!("replica set {}", set.as_deref().unwrap_or_default())
        }
    };
    let detail = format!("{kind}, MongoDB {}", deployment.server_version);
    match guard_deployment(server) {
        Ok(()) => Check::pass("deployment", detail),
        Err(error) => Check { detail, ..failing("deployment", &error, "") },
    }
}

async fn transactions(server: &Server, tokens: &str) -> Check {
    let began = Instant::now();
    let tried = async {
        let mut session = server.client().start_session().await?;
        let started = session.start_transaction().read_concern(ReadConcern::snapshot());
        started.write_concern(durable()).await?;
        let tokens = server.collection(tokens);
        let found =
            tokens.find_one(doc! {}).projection(doc! {"_id": 1}).session(&mut session).await;
        session.abort_transaction().await?;
        found
    };
    match tried.await.map_err(failed("run a transaction", "find on cashu_tokens")) {
        Ok(_) => {
            let ms = began.elapsed().as_millis();
            Check::pass("transactions", format!("one was run and aborted in {ms} ms"))
        }
        Err(error) => {
            failing("transactions", &error, "transactions need a replica set or a sharded cluster")
        }
    }
}

async fn privileges(server: &Server, tokens: &str, options: &RunOptions) -> Check {
    match may_write(server, tokens, options).await {
        Ok(()) => Check::pass("privileges", "the server accepts updates on all four collections"),
        Err(error) => {
            failing("privileges", &error, "grant the role readWrite on the database to the user")
        }
    }
}

async fn write_concern(server: &Server, tokens: &str) -> Check {
    let name = "write concern";
    let action = "make sure that a majority of the members is up and in sync";
    let update = doc! {"update": tokens,
    "updates": [{"q": {"_id": {"$in": []}}, "u": {"$set": {"remelt": 1}}, "multi": true}],
    "writeConcern": {"w": "majority", "j": true, "wtimeout": 5_000}};
    let began = Instant::now();
    let reply = server.database().run_command(update).await;
    let ms = began.elapsed().as_millis();
    match reply.map_err(failed("write at majority", "update on cashu_tokens")) {
        Err(error) => failing(name, &error, action),
        Ok(reply) if reply.contains_key("writeConcernError") => {
            Check::fail(name, format!("no majority answered in {ms} ms"), action)
        }
        Ok(_) if ms > WRITE_MS_MAX => {
            Check::warn(name, format!("a majority needs {ms} ms"), "expect a slow run")
        }
        Ok(_) => Check::pass(name, format!("a majority answers in {ms} ms")),
    }
}

/// The undo images are written to the journal's collection and, as all else, to the oplog.
async fn server_disk(server: &Server, plan: Option<&Plan>) -> Check {
    let name = "disk space of the server";
    let batches = plan.map_or(&[][..], |plan| &plan.content().batches);
    let bytes = batches.iter().fold(0, |sum: u64, batch| sum.saturating_add(batch.bytes));
    let needed = bytes.saturating_mul(4);
    let stats = server.database().run_command(doc! {"dbStats": 1}).await;
    let free = stats.ok().and_then(|stats| {
        // Of a database that is not there, the server says 0.
        let total = unsigned(&stats, "fsTotalSize").filter(|total| *total > 0)?;
        total.checked_sub(unsigned(&stats, "fsUsedSize")?)
    });
    room(name, free, needed)
}

/// A record of the journal and an entry of the manifest, both rewritten or kept for every batch.
const LOCAL_BYTES_PER_BATCH: u64 = 4096;

/// The run's journal and manifest lie in the plan's directory.
fn local_disk(plan: &Plan) -> Check {
    let batches = plan.content().batches.len() as u64;
    let needed = batches.saturating_add(1).saturating_mul(LOCAL_BYTES_PER_BATCH);
    let free = rustix::fs::statvfs(plan.directory());
    let free = free.ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    room("disk space here", free, needed)
}

fn room(name: &'static str, free: Option<u64>, needed: u64) -> Check {
    let Some(free) = free else {
        return Check::warn(name, "how much is free could not be found out", "check it by hand");
    };
    let about = needed.max(1 << 20);
    let detail = format!("{} free, about {} needed", byte_size(free), byte_size(about));
    if free < needed {
        Check::fail(name, detail, "free some space")
    } else if free < needed.saturating_mul(2) {
        Check::warn(name, detail, "watch the disk")
    } else {
        Check::pass(name, detail)
    }
}

async fn history(server: &Server) -> Check {
    let name = "snapshot history and transaction lifetime";
    let ask = doc! {"getParameter": 1, "minSnapshotHistoryWindowInSeconds": 1,
    "transactionLifetimeLimitSeconds": 1};
    let Ok(reply) = server.client().database("admin").run_command(ask).await else {
        let detail = "the user may not ask (privilege getParameter)";
        return Check::warn(name, detail, "grant the role clusterMonitor to see it");
    };
    let seconds = |name| unsigned(&reply, name).unwrap_or(0);
    let history = seconds("minSnapshotHistoryWindowInSeconds");
    let lifetime = seconds("transactionLifetimeLimitSeconds");
    let detail = format!("{history} s of history, {lifetime} s for a transaction");
    if history < HISTORY_SECONDS_MIN || lifetime < LIFETIME_SECONDS_MIN {
        let action = "raise minSnapshotHistoryWindowInSeconds (300) and \
            transactionLifetimeLimitSeconds (60), or expect exports to start anew and batches to be halved";
        return Check::warn(name, detail, action);
    }
    Check::pass(name, detail)
}

async fn clock_skew(server: &Server, options: &RunOptions) -> Check {
    let name = "clock skew";
    let hello = server.client().database("admin").run_command(doc! {"hello": 1}).await;
    let theirs = hello.ok().and_then(|hello| hello.get_datetime("localTime").copied().ok());
    let Some(theirs) = theirs else {
        return Check::warn(name, "the server did not tell the time", "check it by hand");
    };
    let skew = (options.now)().0.abs_diff(theirs.timestamp_millis());
    let detail = format!("{skew} ms between this machine and the server");
    if skew > SKEW_MS_MAX {
        let action = "set both clocks; leases do not depend on it, times in reports do";
        return Check::warn(name, detail, action);
    }
    Check::pass(name, detail)
}

async fn lease(server: &Server, tokens: &str) -> Check {
    let holder = holder_of(server, tokens).await;
    match holder.map_err(failed("read the lease", "find on remelt_runs")) {
        Ok(None) => Check::pass("lease", "no run is active"),
        Ok(Some(holder)) => {
            let detail =
                format!("run {} is active, or its process died a moment ago", holder.run_id);
            Check::fail("lease", detail, "wait for it to end")
        }
        Err(error) => failing("lease", &error, "grant find on remelt_runs"),
    }
}

/// Index builds and changes of the collection make batches wait or fail.
async fn operations(server: &Server) -> Check {
    let name = "index builds and collection changes";
    let database = server.db();
    let is_pending = |command: &str| {
        let field = format!("command.{command}");
        doc! {field: {"$exists": true}}
    };
    let pending: Vec<Document> = ["createIndexes", "collMod", "dropIndexes", "renameCollection"]
        .into_iter()
        .map(is_pending)
        .collect();
    let pipeline = [
        doc! {"$currentOp": {"allUsers": true}},
        doc! {"$match": {"command.$db": database, "$or": pending}},
        doc! {"$project": {"opid": 1}},
    ];
    let found = async {
        // The server refuses any other read concern for this stage.
        let admin = server.client().database("admin");
        let asked = admin.aggregate(pipeline);
        asked.read_concern(ReadConcern::local()).await?.try_collect::<Vec<Document>>().await
    };
    match found.await.map_err(failed("see operations", "inprog")) {
        Ok(found) if found.is_empty() => Check::pass(name, "none under way"),
        Ok(found) => {
            let detail = format!("{} under way", found.len());
            Check::warn(name, detail, "wait for them to end")
        }
        Err(error) if error.is_permission() => {
            let detail = "the user may not see other users' operations (privilege inprog)";
            Check::warn(name, detail, "grant the role clusterMonitor to see them")
        }
        Err(error) => {
            Check { result: CheckResult::Warn, ..failing(name, &error, "look at them by hand") }
        }
    }
}

fn belongs(plan: &Plan, server: &Server, options: &RunOptions) -> Check {
    match guard(plan, server, options) {
        Ok(()) => Check::pass("plan belongs here", format!("database {}", server.db())),
        Err(error) => failing("plan belongs here", &error, "connect to where it came from"),
    }
}

async fn place(plan: &Plan, server: &Server, options: &RunOptions) -> Check {
    let name = "no other migration in the way";
    match find_place(plan, server, options).await {
        Ok(Found { replaced: Some(replaced), .. }) => {
            let action = "look at what that tool did; apply puts this run's state in its place";
            Check::warn(name, replaced.to_string(), action)
        }
        Ok(Found { place: Place::New, .. }) => Check::pass(name, "this plan was not applied yet"),
        Ok(Found { place: Place::Resume(run), .. }) => {
            let detail = format!("run {} of this plan is not finished", run.id);
            Check::warn(name, detail, "remelt apply goes on with it")
        }
        Err(error) => failing(name, &error, "remelt status tells more"),
    }
}

async fn drift(plan: &Plan, server: &Server, options: &RunOptions, progress: &Progress) -> Check {
    let name = "no drift";
    match verify(plan, server, options, progress).await {
        Ok(seen) if seen.drifted + seen.missing == 0 => {
            let detail = format!(
                "{} as before the plan, {} as after it, {}",
                counted(seen.as_before, "document"),
                grouped(seen.as_planned.into()),
                counted(seen.new_problematic_tokens, "new problematic token")
            );
            Check::pass(name, detail)
        }
        Ok(seen) => {
            let detail = format!(
                "of {}, {} changed since and {} gone",
                counted(seen.checked, "document"),
                grouped(seen.drifted.into()),
                grouped(seen.missing.into())
            );
            match options.on_drift {
                OnDrift::Abort => Check::fail(
                    name,
                    detail,
                    "export and analyze anew, or apply with --on-drift skip",
                ),
                OnDrift::Skip => Check::warn(name, detail, "apply leaves them, and lists them"),
            }
        }
        Err(RunError::Server(error @ ServerError::PermissionDenied { .. })) => {
            failing(name, &error, "grant find on cashu_tokens")
        }
        Err(error) => failing(name, &error, "run again when that is solved"),
    }
}

/// What the error says happened and what it says to do, or else `action`. Nothing is ever written here, so
/// that is not said.
fn failing(name: &'static str, error: &impl std::fmt::Display, action: &str) -> Check {
    let message = error.to_string();
    let (detail, hint) = message.split_once("; ").unwrap_or((&message, ""));
    let hint = hint.trim_start_matches("nothing was written").trim_start_matches(": ");
    Check::fail(name, detail, if hint.is_empty() { action } else { hint })
}
