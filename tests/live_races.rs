//! Several at once: applies, writers, a frozen run that wakes up after it was taken over.

use crate::support::live::{Ledger, connect, melted, open_plan, options_for};
use crate::support::random::{Random, seed};
use mongodb::bson::{DateTime, Document, doc};
use remelt::decide::OnDrift;
use remelt::live::{RunError, RunOptions, StepHook, apply};
use remelt::progress::Progress;
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CHILD: &str = "REMELT_TEST_RACE_CHILD";
const LEASE_LOST: i32 = 42;

#[tokio::test]
async fn of_three_applies_at_once_one_works_and_two_are_refused() {
    let ledger = Ledger::new(&melted(1_500)).await;
    // Slow enough to be seen alive by the two others, which look for two beats of its lease.
    let slow = RunOptions { rate_max: Some(300), batch_changes_max: Some(50), ..ledger.options() };
    let (a, b, c) =
        tokio::join!(ledger.apply_with(&slow), ledger.apply_with(&slow), ledger.apply_with(&slow));
    let results = [a, b, c];
    let applied: Vec<u64> = results.iter().flatten().map(|report| report.applied).collect();
    assert_eq!(applied, [1_500]);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error.code(), "lease_held", "{error}");
        assert!(error.to_string().contains("another remelt works on cashu_tokens"));
    }
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
    ledger.assert_documents(&ledger.planned(), "three at once").await;
}

#[tokio::test]
async fn no_write_of_a_concurrent_writer_is_lost_or_overwritten() {
    let ledger = Ledger::new(&melted(2_000)).await;
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    let options = RunOptions {
        on_drift: OnDrift::Skip,
        batch_changes_max: Some(50),
        rate_max: Some(2_000),
        ..ledger.options()
    };
    let seed = seed();
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let mut written = HashMap::new();
    let running = ledger.apply_with(&options);
    let writing = async {
        for value in 1..1_000_i32 {
            let id = i32::try_from(random.below(2_000)).unwrap();
            let set = doc! {"$set": {"x": value}};
            tokens.update_one(doc! {"_id": id}, set).await.unwrap();
            written.insert(id, value);
        }
    };
    let (report, ()) = tokio::join!(running, writing);
    let report = report.unwrap();
    assert_eq!(report.applied + report.drifted, 2_000);
    assert_eq!(report.drift.len() as u64, report.drifted);
    assert!(report.drifted > 0, "the writer was never first");
    let skipped: Vec<u64> = report.drift.iter().map(|entry| entry.ordinal).collect();
    for id in 0..2_000 {
        let found = tokens.find_one(doc! {"_id": id}).await.unwrap().unwrap();
        assert_eq!(found.get_i32("x").ok(), written.get(&id).copied(), "token {id}");
        let is_skipped = skipped.contains(&u64::try_from(id).unwrap());
        let status = if is_skipped { "unspent" } else { "spent" };
        assert_eq!(found.get_str("status").unwrap(), status, "token {id}");
    }
    eprintln!("{} applied, {} skipped", report.applied, report.drifted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_changes_between_comparison_and_write_ends_the_run_and_stays() {
    let ledger = Ledger::new(&melted(60)).await;
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    // Holds the run where every document has been compared and none has been written.
    let (compared, has_compared) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let hook = move |step: &str| {
        if step == "preflight done" {
            compared.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
    };
    let options = RunOptions {
        batch_changes_max: Some(20),
        workers: 1,
        step: Some(StepHook(Arc::new(hook))),
        ..ledger.options()
    };
    let (uri, directory) = (ledger.uri.clone(), ledger.plan_directory());
    let running = tokio::spawn(async move {
        let plan = open_plan(&directory);
        apply(&plan, &connect(&uri).await, &options, &Progress::new()).await
    });
    tokio::task::spawn_blocking(move || has_compared.recv().unwrap()).await.unwrap();
    tokens.update_one(doc! {"_id": 45}, doc! {"$set": {"x": 1}}).await.unwrap();
    go_on.send(()).unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Drift { count: 1, written: 40, .. }), "{error:?}");
    let found = tokens.find_one(doc! {"_id": 45}).await.unwrap().unwrap();
    assert_eq!(found.get_i32("x").unwrap(), 1);
    assert_eq!(found.get_str("status").unwrap(), "unspent");
}

/// The other half of the test below; does nothing in a usual run.
#[tokio::test]
async fn applies_slowly_when_asked_to() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let words: Vec<&str> = task.split('\n').collect();
    let [uri, db, plan] = words[..] else { panic!("{words:?}") };
    let slow = RunOptions { rate_max: Some(400), batch_changes_max: Some(20), ..options_for(db) };
    let server = connect(uri).await;
    let plan = open_plan(Path::new(plan));
    let result = apply(&plan, &server, &slow, &Progress::new()).await;
    let is_lost = result.is_err_and(|error| error.code() == "lease_lost");
    std::process::exit(if is_lost { LEASE_LOST } else { 0 });
}

#[tokio::test]
async fn a_frozen_run_is_taken_over_and_can_not_commit_when_it_wakes_up() {
    let ledger = Ledger::new(&melted(1_000)).await;
    let plan = ledger.plan_directory();
    let task = format!("{}\n{}\n{}", ledger.uri, ledger.database.name(), plan.display());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "live_races::applies_slowly_when_asked_to", "--nocapture"])
        .env(CHILD, task)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let signal = |name: &str| {
        Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    };
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    while tokens.count_documents(doc! {"status": "spent"}).await.unwrap() < 100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal("-STOP");
    // Another machine, with a copy of the plan: the frozen process still holds its own directory.
    let copy = ledger.make_plan("copy");
    let server = ledger.server().await;
    let taken = apply(&open_plan(&copy), &server, &ledger.options(), &Progress::new()).await;
    signal("-CONT");
    let taken = taken.unwrap();
    assert_eq!(taken.applied + taken.already_applied, 1_000);
    assert!(taken.already_applied >= 100 && taken.applied > 0);
    assert_eq!(child.wait().unwrap().code(), Some(LEASE_LOST));
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
    ledger.assert_documents(&ledger.planned(), "taken over").await;
    assert_eq!(ledger.migration_status().await.as_deref(), Some("completed"));
}

#[tokio::test]
async fn a_lease_that_is_removed_while_it_is_waited_for_is_made_anew() {
    let ledger = Ledger::new(&melted(30)).await;
    let runs = ledger.database.collection::<Document>("remelt_runs");
    let in_an_hour = DateTime::from_millis(DateTime::now().timestamp_millis() + 3_600_000);
    let dead = doc! {"_id": "lease:cashu_tokens", "holder": "dead", "run": "dead",
    "beatAt": DateTime::now(), "expiresAt": in_an_hour};
    runs.insert_one(dead).await.unwrap();
    let (waits, is_waiting) = tokio::sync::oneshot::channel();
    let waits = Mutex::new(Some(waits));
    let hook = move |step: &str| {
        if step == "collections created" {
            waits.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    };
    let options = RunOptions { step: Some(StepHook(Arc::new(hook))), ..ledger.options() };
    let (report, ()) = tokio::join!(ledger.apply_with(&options), async {
        is_waiting.await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        runs.delete_one(doc! {"_id": "lease:cashu_tokens"}).await.unwrap();
    });
    assert_eq!(report.unwrap().applied, 30);
}

#[tokio::test]
async fn a_pause_file_holds_a_run_until_it_is_removed() {
    let ledger = Ledger::new(&melted(600)).await;
    let options =
        RunOptions { batch_changes_max: Some(50), rate_max: Some(600), ..ledger.options() };
    let runs = ledger.plan_directory().join("runs");
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    let spent = || async { tokens.count_documents(doc! {"status": "spent"}).await.unwrap() };
    let (report, ()) = tokio::join!(ledger.apply_with(&options), async {
        while spent().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let run = std::fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
        std::fs::write(run.join("pause"), b"").unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let held = spent().await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(spent().await, held);
        assert!(held < 600);
        std::fs::remove_file(run.join("pause")).unwrap();
    });
    assert_eq!(report.unwrap().applied, 600);
}
