//! The monitor's passes: the same figures as `analyze`, of the whole ledger, again and again.

use crate::support::dumps::{build_options, make_plan};
use crate::support::exports::{
    app_uri, export_with, options as export_options, small_ledger, split,
};
use crate::support::mongod::{Options, ReplicaSet, Signal, Standalone, shared, writes_on};
use crate::support::watched::{Watched, store, token, until};
use mongodb::Database;
use mongodb::bson::{Document, doc, oid::ObjectId};
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::model::FindingCode;
use remelt::monitor::alerts::Rule;
use remelt::monitor::{FindingFilter, HealthStatus, health_check};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const NPUB: &str = "npub1u6zqfk0m8aj08gygxzm3892uy9vu4fhsea3lulcfh375d9kafmnqc46lks";

/// The parts of a result object that do not depend on when and how it was made.
fn figures(report: &impl serde::Serialize) -> Value {
    let report = serde_json::to_value(report).unwrap();
    json!({
        "documents": report["snapshot"]["documents"],
        "stats": report["stats"],
        "impact": report["impact"],
        "findings": report["findings"],
        "healthScore": report["healthScore"],
    })
}

fn rows(plan: &Path, report: &str) -> Vec<BTreeMap<String, String>> {
    let mut rows = csv::Reader::from_path(plan.join("reports").join(report)).unwrap();
    rows.deserialize().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_pass_finds_exactly_what_analyze_finds_in_an_export() {
    let shared = shared().await;
    let (tokens, wallets) = small_ledger(3_000);
    store(&shared.database, &tokens, &wallets).await;
    let exported = export_with(&shared.uri, &export_options()).await;
    let directory = exported.directory.path().join("plan");
    let options = build_options(SpentAt::Repair, 1, MEMORY_BYTES_MIN, 7);
    let analyzed = make_plan(&exported.path(), &directory, &options).unwrap();

    let watched = Watched::start(&shared.uri, |_| {});
    let pass = watched.next_pass().await;
    assert_eq!(figures(&pass.report), figures(&analyzed));

    // Users and findings are those of the reports, row by row.
    let balances = rows(&directory, "balances.csv");
    let of_users = pass.users.all().iter().flat_map(|user| {
        let npub = user.npub.clone();
        user.mints.iter().map(move |mint| (npub.clone(), mint.clone()))
    });
    let of_users: Vec<BTreeMap<String, String>> = of_users
        .map(|(npub, mint)| {
            let text = |amount: remelt::model::JsonAmount| amount.0.to_string();
            let sums = mint.sums;
            BTreeMap::from([
                ("npub".into(), npub),
                ("mint_url".into(), mint.mint_url),
                ("tokens_fixed".into(), sums.tokens_fixed.to_string()),
                ("unspent_before".into(), text(sums.unspent_before)),
                ("unspent_after".into(), text(sums.unspent_after)),
                ("pending".into(), text(sums.pending)),
                ("spent_before".into(), text(sums.spent_before)),
                ("spent_after".into(), text(sums.spent_after)),
                ("delta".into(), text(sums.delta)),
            ])
        })
        .collect();
    let sorted = |mut rows: Vec<BTreeMap<String, String>>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(of_users), sorted(balances));
    let page = pass.findings.page(FindingFilter::default(), &pass.users, 0, usize::MAX).unwrap();
    let findings = rows(&directory, "findings.csv");
    assert_eq!(page.total, findings.len() as u64);
    let in_report = |code: FindingCode| {
        findings.iter().filter(|row| row["code"] == code.as_str()).count() as u64
    };
    for code in FindingCode::ALL {
        let filter = FindingFilter { code: Some(*code), ..FindingFilter::default() };
        let page = pass.findings.page(filter, &pass.users, 0, usize::MAX).unwrap();
        assert_eq!(page.total, in_report(*code), "{code}");
        assert!(page.rows.iter().all(|row| row.code == code.as_str()), "{code}");
    }
    let user =
        pass.users.all().iter().max_by_key(|user| user.findings(FindingCode::InconsistentStatus));
    let npub = &user.unwrap().npub;
    let filter = FindingFilter { npub: Some(npub), ..FindingFilter::default() };
    let page = pass.findings.page(filter, &pass.users, 1, 2).unwrap();
    let theirs: Vec<_> = findings.iter().filter(|row| row["npub"] == *npub).collect();
    assert_eq!((page.total, page.rows.len()), (theirs.len() as u64, 2));
    assert_eq!(page.rows[0].detail.len(), theirs[1]["detail"].len(), "the second of theirs");
    let days: u64 = pass.days.iter().map(|day| day.token_count).sum();
    assert_eq!(days, pass.report.impact.tokens_to_migrate);
    watched.stop().await;
}

#[tokio::test]
async fn a_pass_finds_the_truth_of_a_generated_ledger_and_what_changes_in_it() {
    let shared = shared().await;
    let options = GenerateOptions { tokens: 2_000, seed: 11, damage: true };
    let (tokens, wallets, truth) = generate_in_memory(&options).unwrap();
    store(&shared.database, &split(&tokens), &split(&wallets)).await;
    let watched = Watched::start(&shared.uri, |_| {});
    let pass = watched.next_pass().await;
    let report = serde_json::to_value(&pass.report).unwrap();
    assert_eq!(report["stats"], truth["stats"]);
    assert_eq!(report["findings"], truth["findings"]);

    let tokens = shared.database.collection::<Document>("cashu_tokens");
    let bug = doc! {"transaction_type": "melted", "status": "unspent"};
    tokens.update_many(bug, doc! {"$set": {"status": "spent"}}).await.unwrap();
    let pass = watched.next_pass().await;
    assert_eq!(pass.report.stats.problematic_tokens, 0);
    let trend = watched.board.trend();
    assert_eq!(trend.last().unwrap().problematic_tokens, 0);
    assert!(trend.first().unwrap().problematic_tokens > 0);
    watched.stop().await;
}

#[tokio::test]
async fn between_passes_a_change_stream_tells_what_moved() {
    let shared = shared().await;
    let healthy = token(1, NPUB, ObjectId::new());
    let tokens = shared.database.collection::<Document>("cashu_tokens");
    tokens.insert_one(healthy).await.unwrap();
    let watched = Watched::start(&shared.uri, |options| {
        options.interval = std::time::Duration::from_secs(86_400);
    });
    until(|| watched.board.movement().available.then_some(())).await;
    until(|| watched.board.pass()).await;
    tokens.insert_one(token(2, NPUB, ObjectId::new())).await.unwrap();
    let melted = doc! {"$set": {"transaction_type": "melted"}};
    tokens.update_one(doc! {"_id": 1_i64}, melted).await.unwrap();
    tokens.delete_one(doc! {"_id": 2_i64}).await.unwrap();
    let moved = until(|| {
        let movement = watched.board.movement();
        (movement.deleted == 1).then_some(movement)
    })
    .await;
    assert_eq!((moved.inserted, moved.updated, moved.new_problematic), (1, 1, 1));
    watched.stop().await;
}

#[tokio::test]
async fn a_standalone_server_is_monitored_without_a_stream_and_that_is_said() {
    let server = Standalone::start().await;
    let database = server.client().await.database("nctool");
    store(&database, &small_ledger(200).0, &[]).await;
    let watched = Watched::start(&server.uri(), |_| {});
    let pass = watched.next_pass().await;
    assert_eq!(pass.report.snapshot.consistency.as_str(), "none");
    assert_eq!(pass.report.stats.total_tokens, 200);
    let reason = until(|| watched.board.movement().reason).await;
    assert!(reason.contains("standalone"), "{reason}");
    watched.stop().await;
}

#[tokio::test]
async fn the_database_may_go_away_and_come_back() {
    let mut set = ReplicaSet::start(1).await;
    let uri =
        format!("{}&serverSelectionTimeoutMS=500&connectTimeoutMS=500", set.database_uri("nctool"));
    let database = set.client().await.database("nctool");
    store(&database, &small_ledger(200).0, &[]).await;
    let watched = Watched::start(&uri, |_| {});
    watched.next_pass().await;
    until(|| watched.board.stale_reason().is_none().then_some(())).await;

    set.kill_9(0);
    let reason = until(|| watched.board.stale_reason()).await;
    assert!(reason.contains("Database connection not ready"), "{reason}");
    let check = health_check(&watched.board, &watched.options, crate::support::live::now());
    assert!(check.stale && check.balances.is_some(), "what was known is still told, as stale");
    until(|| {
        let check = health_check(&watched.board, &watched.options, crate::support::live::now());
        (check.status == HealthStatus::Unhealthy).then_some(())
    })
    .await;

    set.restart(0).await;
    watched.next_pass().await;
    until(|| watched.board.stale_reason().is_none().then_some(())).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_monitor_only_reads_and_a_read_only_user_is_enough() {
    let set =
        ReplicaSet::start_with(&Options { members: 1, auth: true, ..Options::default() }).await;
    let client = set.client().await;
    let database = client.database("nctool");
    store(&database, &small_ledger(200).0, &[]).await;
    set.add_user("reader", "pw", vec![doc! {"role": "read", "db": "nctool"}]).await;
    let before = writes_on(&client).await;
    let uri = set.user_uri("reader", "pw").replace("/?", "/nctool?");
    let watched = Watched::start(&app_uri(&uri, "only-reads"), |_| {});
    for _ in 0..2 {
        watched.next_pass().await;
    }
    assert_eq!(writes_on(&client).await, before, "nobody wrote");
    let notes = until(|| watched.board.system()).await.notes.clone();
    assert!(notes.iter().any(|note| note.contains("clusterMonitor")), "{notes:?}");
    let movement = watched.board.movement();
    assert!(movement.available, "the role read allows change streams: {movement:?}");
    watched.stop().await;
}

#[tokio::test]
async fn a_measurement_that_fails_is_a_note_and_not_a_database_that_is_gone() {
    let set = ReplicaSet::start(1).await;
    let uri = set.database_uri("nctool");
    store(&set.client().await.database("nctool"), &small_ledger(200).0, &[]).await;
    let tokens = set.client().await.database("nctool").collection::<Document>("cashu_tokens");
    tokens.drop_index("mint_url_1_status_1").await.unwrap();
    let watched = Watched::start(&app_uri(&uri, "measures"), |_| {});
    let known = until(|| watched.board.system()).await;
    assert_eq!((known.missing_indexes.len(), &*known.notes), (1, &[][..]));
    let degraded = watched.opened(Rule::HealthDegraded).await;

    let failing = doc! {
        "failCommands": ["dbStats", "listIndexes", "replSetGetStatus"], "errorCode": 59,
        "appName": "measures",
    };
    let point = doc! {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": failing};
    set.fail_point(point).await;
    let system = until(|| watched.board.system().filter(|it| !it.notes.is_empty())).await;
    for what in ["database's sizes", "indexes of cashu_tokens", "members' lag"] {
        let is_told = |note: &String| note.contains(what) && note.contains("error 59");
        assert!(system.notes.iter().any(is_told), "{what}: {:?}", system.notes);
    }
    assert_eq!(system.missing_indexes, known.missing_indexes, "as last known");
    assert_eq!(system.replication, known.replication);
    assert_eq!(watched.board.unreachable(), None);
    assert_eq!(watched.opened(Rule::HealthDegraded).await.id, degraded.id);
    let errors = watched.board.errors();
    assert!(errors.iter().all(|error| error.what != "ask the database"), "{errors:?}");
    watched.stop().await;
}

#[tokio::test]
async fn a_pass_leaves_nothing_behind_and_no_secret_ever_lies_in_its_scratch() {
    const CANARY: &str = "canarysecretcanarysecret";
    let shared = shared().await;
    let mut healthy = token(1, NPUB, ObjectId::new());
    healthy.insert("proofs", vec![doc! {"id": "00", "amount": 8, "secret": CANARY, "C": CANARY}]);
    let tokens = shared.database.collection::<Document>("cashu_tokens");
    tokens.insert_one(healthy).await.unwrap();
    // Many more, so that a pass lasts long enough to be looked at.
    store(&shared.database, &small_ledger(5_000).0, &[]).await;
    let watched = Watched::start(&shared.uri, |_| {});
    let mut looked_at = 0;
    while looked_at < 20 {
        for file in files_of(watched.scratch.path()) {
            let Ok(bytes) = std::fs::read(file) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(CANARY), "a secret lies in the scratch directory");
            looked_at += 1;
        }
        tokio::task::yield_now().await;
    }
    watched.next_pass().await;
    let scratch = std::sync::Arc::clone(&watched.scratch);
    watched.stop().await;
    // A pass that was given up removes its directory when its thread has seen that it was stopped.
    until(|| files_of(scratch.path()).is_empty().then_some(())).await;
}

/// All files below `directory` that are there still when it is their turn.
fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files_of(&path) } else { vec![path] }).collect()
}

async fn damage(database: &Database) {
    let wrong = doc! {"$set": {"transaction_type": "melted"}};
    database.collection::<Document>("cashu_tokens").update_many(doc! {}, wrong).await.unwrap();
}

#[tokio::test]
async fn trend_and_alerts_outlive_a_restart() {
    let shared = shared().await;
    let tokens = shared.database.collection::<Document>("cashu_tokens");
    tokens.insert_many((0..20).map(|n| token(n, NPUB, ObjectId::new()))).await.unwrap();
    damage(&shared.database).await;
    let state = TempDir::new().unwrap();
    let keep = |options: &mut remelt::monitor::MonitorOptions| {
        options.state_directory = Some(state.path().join("state"));
    };
    let first = Watched::start(&shared.uri, keep);
    let before = first.opened(remelt::monitor::alerts::Rule::ProblematicTokens).await;
    let points = first.board.trend().len();
    first.stop().await;

    let second = Watched::start(&shared.uri, keep);
    let alerts = second.board.open_alerts();
    let again = alerts.iter().find(|alert| alert.id == before.id).unwrap();
    assert_eq!(again.opened_at, before.opened_at);
    assert!(second.board.trend().len() >= points);
    second.next_pass().await;
    let open = second.board.open_alerts();
    let same: Vec<_> = open.iter().filter(|alert| alert.rule == before.rule).collect();
    assert_eq!((same.len(), same[0].id), (1, before.id), "it did not open again");
    second.stop().await;
}

#[tokio::test]
async fn a_frozen_server_makes_passes_stale_and_not_wrong() {
    let mut set = ReplicaSet::start(1).await;
    let uri =
        format!("{}&serverSelectionTimeoutMS=500&connectTimeoutMS=500", set.database_uri("nctool"));
    store(&set.client().await.database("nctool"), &small_ledger(200).0, &[]).await;
    let watched = Watched::start(&uri, |_| {});
    let pass = watched.next_pass().await;
    set.signal(0, Signal::Stop);
    until(|| watched.board.stale_reason()).await;
    let known = watched.board.pass().unwrap();
    assert_eq!(known.report.stats, pass.report.stats);
    set.signal(0, Signal::Cont);
    watched.next_pass().await;
    until(|| watched.board.stale_reason().is_none().then_some(())).await;
    watched.stop().await;
}
