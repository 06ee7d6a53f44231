//! What a run waits for before a batch, and what ends the waiting.

use crate::support::live::{Ledger, melted};
use crate::support::mongod::ReplicaSet;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use remelt::live::{RunError, RunOptions, StepHook};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Options of a run that waits for secondaries more than a second behind, and the number of batches it began.
fn patient(ledger: &Ledger) -> (RunOptions, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    let hook = move |step: &str| {
        counter.fetch_add(usize::from(step == "batch intended"), Ordering::Relaxed);
    };
    let options = RunOptions {
        lag_max: Some(Duration::from_secs(1)),
        batch_changes_max: Some(20),
        step: Some(StepHook(Arc::new(hook))),
        ..ledger.options()
    };
    (options, begun)
}

async fn admin_of(set: &ReplicaSet, member: usize) -> Database {
    Client::with_uri_str(set.member_uri(member)).await.unwrap().database("admin")
}

/// How often `admin`'s server was asked how its members are.
async fn times_asked(admin: &Database) -> i64 {
    let status = admin.run_command(doc! {"serverStatus": 1}).await.unwrap();
    let commands = status.get_document("metrics").unwrap().get_document("commands").unwrap();
    commands.get_document("replSetGetStatus").unwrap().get_i64("total").unwrap()
}

/// How far `member` is behind, as the primary sees it.
async fn ms_behind(primary: &Database, address: &str) -> i64 {
    let status = primary.run_command(doc! {"replSetGetStatus": 1}).await.unwrap();
    let members = status.get_array("members").unwrap();
    let members = members.iter().map(|member| member.as_document().unwrap());
    let at = |is: &dyn Fn(&Document) -> bool| {
        let member = members.clone().find(|member| is(member)).unwrap();
        member.get_datetime("optimeDate").unwrap().timestamp_millis()
    };
    let is_primary = |member: &Document| member.get_i32("state").unwrap() == 1;
    at(&is_primary) - at(&|member| member.get_str("name").unwrap() == address)
}

#[tokio::test]
#[ignore = "waited for ever in one of three runs; why is not known yet"]
async fn a_run_waits_for_a_secondary_that_is_behind_and_goes_on_when_it_has_caught_up() {
    let set = ReplicaSet::start(3).await;
    let ledger = Ledger::on(&set, "behind", &melted(100)).await;
    let primary = set.primary().await;
    let slow = (primary + 1) % 3;
    let (primary, secondary) = (admin_of(&set, primary).await, admin_of(&set, slow).await);
    let stop = |mode: &str| doc! {"configureFailPoint": "rsSyncApplyStop", "mode": mode};
    secondary.run_command(stop("alwaysOn")).await.unwrap();
    let others = ledger.database.collection::<Document>("others");
    while ms_behind(&primary, &set.address(slow)).await < 3_000 {
        others.insert_one(doc! {}).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (options, begun) = patient(&ledger);
    let (report, ()) = tokio::join!(ledger.apply_with(&options), async {
        let before = times_asked(&primary).await;
        while times_asked(&primary).await < before + 4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(begun.load(Ordering::Relaxed), 0, "no worker may pass while one waits");
        secondary.run_command(stop("off")).await.unwrap();
    });
    assert_eq!(report.unwrap().applied, 100);
    ledger.assert_documents(&ledger.planned(), "caught up").await;
}

#[tokio::test]
async fn a_member_that_is_delayed_by_its_configuration_is_not_waited_for() {
    let set = ReplicaSet::start(3).await;
    let ledger = Ledger::on(&set, "delayed", &melted(100)).await;
    let primary = set.primary().await;
    let delayed = (primary + 1) % 3;
    let address = set.address(delayed);
    let admin = admin_of(&set, primary).await;
    let mut config = admin.run_command(doc! {"replSetGetConfig": 1}).await.unwrap();
    let config = config.get_document_mut("config").unwrap();
    config.insert("version", config.get_i32("version").unwrap() + 1);
    for member in config.get_array_mut("members").unwrap() {
        let member = member.as_document_mut().unwrap();
        if member.get_str("host").unwrap() == address {
            member.extend(doc! {"priority": 0, "hidden": true, "secondaryDelaySecs": 3_600_i64});
        }
    }
    admin.run_command(doc! {"replSetReconfig": config.clone()}).await.unwrap();
    let others = ledger.database.collection::<Document>("others");
    while ms_behind(&admin, &address).await < 3_000 {
        others.insert_one(doc! {}).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (options, _) = patient(&ledger);
    assert_eq!(ledger.apply_with(&options).await.unwrap().applied, 100);
}

#[tokio::test]
async fn members_that_can_not_be_asked_for_a_moment_are_asked_again() {
    let set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "blip", &melted(100)).await;
    for how in [doc! {"errorCode": 189}, doc! {"closeConnection": true}] {
        let mut data = doc! {"failCommands": ["replSetGetStatus", "replSetGetConfig"]};
        data.extend([("appName".to_owned(), "blip".into())].into_iter().chain(how));
        let fault = doc! {"configureFailPoint": "failCommand", "mode": {"times": 3}, "data": data};
        let (options, _) = patient(&ledger);
        // Connecting asks for the set's id in the same way, so the fault comes after it.
        let server = ledger.server().await;
        set.fail_point(fault).await;
        let progress = remelt::progress::Progress::new();
        let applied = remelt::live::apply(&ledger.plan(), &server, &options, &progress).await;
        assert_eq!(applied.unwrap().applied, 100);
        ledger.roll_back().await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_is_paused_ends_when_a_batch_under_way_fails() {
    let set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "paused", &melted(100)).await;
    let runs = ledger.plan_directory().join("runs");
    // The first batch fails, and not before the other worker has come to the pause file.
    set.fail_point(doc! {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": {
        "failCommands": ["insert"], "appName": "paused", "namespace": "paused.remelt_journal",
        "blockConnection": true, "blockTimeMS": 2_000, "errorCode": 121,
    }})
    .await;
    let hook = move |step: &str| {
        if step == "batch intended" {
            let run = std::fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
            std::fs::write(run.join("pause"), b"").unwrap();
        }
    };
    let options = RunOptions {
        workers: 2,
        batch_changes_max: Some(20),
        step: Some(StepHook(Arc::new(hook))),
        ..ledger.options()
    };
    let error = ledger.apply_with(&options).await.unwrap_err();
    assert!(matches!(error, RunError::Server(_)), "{error}");
}
