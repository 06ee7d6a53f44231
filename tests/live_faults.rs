//! Every failure that a server or a network can answer with: the outcome is the same.

use crate::support::live::{Ledger, melted};
use crate::support::mongod::{Options, ReplicaSet, Signal};
use mongodb::bson::{Document, doc};
use remelt::live::RunOptions;
use std::time::Duration;

const DOCUMENTS: usize = 120;

fn options(ledger: &Ledger) -> RunOptions {
    RunOptions { batch_changes_max: Some(40), ..ledger.options() }
}

fn fail(commands: &[&str], times: i32, name: &str, how: Document) -> Document {
    let mut data = doc! {"failCommands": commands.to_vec(), "appName": name};
    data.extend(how);
    doc! {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data}
}

async fn off(set: &ReplicaSet) {
    set.fail_point(doc! {"configureFailPoint": "failCommand", "mode": "off"}).await;
}

/// Applies and rolls back, each under the fault, and checks what became of it.
async fn survive(set: &ReplicaSet, name: &str, fault: &Document) {
    let ledger = Ledger::on(set, name, &melted(DOCUMENTS)).await;
    let planned = ledger.planned();
    set.fail_point(fault.clone()).await;
    let report = ledger.apply_with(&options(&ledger)).await;
    off(set).await;
    let report = report.unwrap_or_else(|error| panic!("{fault}: {error}"));
    assert_eq!((report.applied + report.already_applied, report.drifted), (120, 0), "{fault}");
    ledger.assert_documents(&planned, name).await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1, "{fault}");
    set.fail_point(fault.clone()).await;
    let report = ledger.roll_back_with(&options(&ledger)).await;
    off(set).await;
    let report = report.unwrap_or_else(|error| panic!("{fault}: {error}"));
    assert_eq!(report.restored + report.already_restored, 120, "{fault}");
    ledger.assert_documents(&ledger.before, name).await;
    assert_eq!(ledger.most_writes_of_a_token().await, 2, "{fault}");
}

fn faults() -> Vec<(&'static [&'static str], i32, Document)> {
    let unknown = doc! {"errorCode": 50, "errorLabels": ["UnknownTransactionCommitResult"]};
    let concern = |code: i32| doc! {"writeConcernError": {"code": code, "errmsg": "x"}};
    vec![
        (&["update"], 5, doc! {"errorCode": 112}),
        (&["update"], 5, doc! {"errorCode": 24}),
        (&["find"], 5, doc! {"errorCode": 246}),
        (&["commitTransaction"], 1, doc! {"errorCode": 112}),
        (&["commitTransaction"], 1, doc! {"errorCode": 251}),
        (&["commitTransaction"], 8, doc! {"errorCode": 251}),
        (&["commitTransaction"], 1, unknown),
        (&["commitTransaction"], 3, doc! {"errorCode": 91}),
        (&["commitTransaction"], 3, doc! {"errorCode": 10107}),
        (&["commitTransaction"], 1, doc! {"closeConnection": true}),
        (&["commitTransaction"], 5, doc! {"closeConnection": true}),
        (&["commitTransaction"], 1, concern(64)),
        (&["commitTransaction"], 1, concern(91)),
        (&["commitTransaction"], 1, concern(100)),
        (&["commitTransaction"], 1, doc! {"blockConnection": true, "blockTimeMS": 3_000}),
        (&["update"], 3, doc! {"closeConnection": true}),
        (&["insert"], 3, doc! {"closeConnection": true}),
    ]
}

#[tokio::test]
async fn every_failing_command_is_survived() {
    let set = ReplicaSet::start(1).await;
    for (number, (commands, times, how)) in faults().into_iter().enumerate() {
        let name = format!("fault_{number}");
        let began = std::time::Instant::now();
        survive(&set, &name, &fail(commands, times, &name, how.clone())).await;
        eprintln!("{:?} {commands:?} {times} {how}", began.elapsed());
    }
}

#[tokio::test]
async fn one_command_in_five_failing_is_survived() {
    let set = ReplicaSet::start(1).await;
    for (number, how) in
        [doc! {"errorCode": 112}, doc! {"closeConnection": true}].into_iter().enumerate()
    {
        let name = format!("often_{number}");
        let mut fault = fail(&["insert", "find", "update", "commitTransaction"], 1, &name, how);
        fault.insert("mode", doc! {"activationProbability": 0.2});
        survive(&set, &name, &fault).await;
    }
}

#[tokio::test]
async fn a_refused_update_is_fatal_and_nothing_is_written() {
    let set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "refused", &melted(DOCUMENTS)).await;
    set.fail_point(fail(&["update"], 1_000, "refused", doc! {"errorCode": 13})).await;
    let error = ledger.apply_with(&options(&ledger)).await.unwrap_err();
    off(&set).await;
    assert_eq!(error.code(), "permission_denied");
    ledger.assert_documents(&ledger.before, "refused").await;
    assert_eq!(ledger.apply().await.unwrap().applied, DOCUMENTS as u64);
}

#[tokio::test]
async fn a_server_killed_in_the_middle_and_restarted_is_survived() {
    let mut set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "killed", &melted(2_000)).await;
    let planned = ledger.planned();
    let slow =
        RunOptions { batch_changes_max: Some(50), rate_max: Some(1_000), ..ledger.options() };
    let (applied, ()) = tokio::join!(ledger.apply_with(&slow), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        set.kill_9(0);
        set.restart(0).await;
    });
    let applied = applied.unwrap();
    assert_eq!(applied.applied + applied.already_applied, 2_000);
    ledger.assert_documents(&planned, "killed").await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
    ledger.roll_back().await.unwrap();
    ledger.assert_documents(&ledger.before, "killed").await;
}

#[tokio::test]
async fn step_down_and_death_of_the_primary_leave_three_equal_members() {
    let mut set = ReplicaSet::start(3).await;
    let ledger = Ledger::on(&set, "three", &melted(2_000)).await;
    let planned = ledger.planned();
    let slow = RunOptions { batch_changes_max: Some(50), rate_max: Some(500), ..ledger.options() };
    let mut killed = 0;
    let (applied, ()) = tokio::join!(ledger.apply_with(&slow), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        set.step_down().await;
        killed = set.primary().await;
        set.kill_9(killed);
    });
    let applied = applied.unwrap();
    assert_eq!(applied.applied + applied.already_applied, 2_000);
    set.restart(killed).await;
    set.wait_until_healthy().await;
    ledger.assert_documents(&planned, "three").await;
    let mut seen = Vec::new();
    for member in 0..3 {
        seen.push(set.hash_of(member, "three").await);
    }
    assert!(seen.iter().all(|hash| *hash == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn a_frozen_primary_is_waited_for() {
    let mut set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "frozen", &melted(1_000)).await;
    let planned = ledger.planned();
    let slow =
        RunOptions { batch_changes_max: Some(50), rate_max: Some(1_000), ..ledger.options() };
    let (applied, ()) = tokio::join!(ledger.apply_with(&slow), async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        set.signal(0, Signal::Stop);
        tokio::time::sleep(Duration::from_secs(8)).await;
        set.signal(0, Signal::Cont);
    });
    assert_eq!(applied.unwrap().applied, 1_000);
    ledger.assert_documents(&planned, "frozen").await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
}

#[tokio::test]
async fn a_transaction_lifetime_of_a_second_is_met_by_halving() {
    let parameters = vec!["transactionLifetimeLimitSeconds=1".to_owned()];
    let set = ReplicaSet::start_with(&Options { parameters, ..Options::default() }).await;
    let ledger = Ledger::on(&set, "slow", &melted(400)).await;
    // Every attempt on a whole batch outlives the limit; a hook that knows no size stands in for that.
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&calls);
    let hook = move |step: &str| {
        let is_early = || counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
        if step == "documents compared" && is_early() {
            std::thread::sleep(Duration::from_millis(3_500));
        }
    };
    let step = Some(remelt::live::StepHook(std::sync::Arc::new(hook)));
    let options =
        RunOptions { step, workers: 1, lease: Duration::from_secs(30), ..ledger.options() };
    let report = ledger.apply_with(&options).await.unwrap();
    assert_eq!((report.applied, report.batches), (400, 2), "the batch was halved");
    ledger.assert_documents(&ledger.planned(), "slow").await;
    ledger.roll_back().await.unwrap();
    ledger.assert_documents(&ledger.before, "slow").await;
}

#[tokio::test]
async fn two_frozen_secondaries_are_waited_for() {
    let mut set = ReplicaSet::start(3).await;
    let ledger = Ledger::on(&set, "lagging", &melted(1_000)).await;
    let planned = ledger.planned();
    let slow =
        RunOptions { batch_changes_max: Some(50), rate_max: Some(1_000), ..ledger.options() };
    let primary = set.primary().await;
    // The primary steps down when it sees no majority for too long, which is a fault of its own.
    let (applied, ()) = tokio::join!(ledger.apply_with(&slow), async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        for member in (0..3).filter(|member| *member != primary) {
            set.signal(member, Signal::Stop);
        }
        tokio::time::sleep(Duration::from_secs(8)).await;
        for member in (0..3).filter(|member| *member != primary) {
            set.signal(member, Signal::Cont);
        }
    });
    let applied = applied.unwrap();
    assert_eq!(applied.applied + applied.already_applied, 1_000);
    set.wait_until_healthy().await;
    ledger.assert_documents(&planned, "lagging").await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
}
