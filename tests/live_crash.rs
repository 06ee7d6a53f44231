//! Death at every step of apply and of rollback, then the same command again.

use crate::support::live::{Ledger, connect, melted, open_plan, options_for};
use mongodb::bson::{DateTime, Document, doc};
use remelt::journal::{Goal, RunState};
use remelt::live::{RollbackOf, RunOptions, StepHook, apply, rollback};
use remelt::progress::Progress;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CHILD: &str = "REMELT_TEST_CRASH_CHILD";
const DOCUMENTS: usize = 60;
/// So many steps every run has.
const SURELY_REACHED: usize = 25;
const AT_A_TIME: usize = 6;

fn crash_options(db: &str) -> RunOptions {
    RunOptions { batch_changes_max: Some(25), workers: 1, ..options_for(db) }
}

/// Counts steps, and kills this process at number `die_at`, as `kill -9` would.
fn counting(die_at: usize) -> (StepHook, Arc<AtomicUsize>) {
    let steps = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&steps);
    let hook = move |_: &str| {
        if counter.fetch_add(1, Ordering::SeqCst) + 1 == die_at {
            let pid = std::process::id().to_string();
            Command::new("kill").args(["-9", &pid]).status().unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
    };
    (StepHook(Arc::new(hook)), steps)
}

async fn work(goal: Goal, uri: &str, plan: &Path, options: &RunOptions) {
    let server = connect(uri).await;
    let plan = open_plan(plan);
    let progress = Progress::new();
    match goal {
        Goal::Apply => drop(apply(&plan, &server, options, &progress).await.unwrap()),
        Goal::Rollback => {
            drop(rollback(RollbackOf::Plan(&plan), &server, options, &progress).await.unwrap());
        }
    }
}

/// The other half of the tests below; does nothing in a usual run.
#[tokio::test]
async fn dies_when_asked_to() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let words: Vec<&str> = task.split('\n').collect();
    let [goal, uri, db, plan, die_at, workers] = words[..] else { panic!("{words:?}") };
    let (step, _) = counting(die_at.parse().unwrap());
    let workers = workers.parse().unwrap();
    let options = RunOptions { step: Some(step), workers, ..crash_options(db) };
    let goal = if goal == "apply" { Goal::Apply } else { Goal::Rollback };
    work(goal, uri, Path::new(plan), &options).await;
}

async fn in_a_child(goal: Goal, ledger: &Ledger, die_at: usize, workers: usize) -> ExitStatus {
    let word = if goal == Goal::Apply { "apply" } else { "rollback" };
    let plan = ledger.plan_directory();
    let plan = plan.to_str().unwrap();
    let task =
        format!("{word}\n{}\n{}\n{plan}\n{die_at}\n{workers}", ledger.uri, ledger.database.name());
    let status = wait_for(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "live_crash::dies_when_asked_to", "--nocapture"])
            .env(CHILD, task)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
    .await;
    expire_lease(ledger).await;
    status
}

async fn wait_for(command: &mut Command) -> ExitStatus {
    let mut child = command.spawn().unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As time would; so no lease need be so short that a busy machine misses a beat of it.
async fn expire_lease(ledger: &Ledger) {
    let runs = ledger.database.collection::<Document>("remelt_runs");
    let expired = doc! {"$set": {"expiresAt": DateTime::MIN}};
    runs.update_one(doc! {"_id": "lease:cashu_tokens"}, expired).await.unwrap();
}

/// The number of steps when nothing goes wrong.
async fn steps_of(goal: Goal, ledger: &Ledger) -> usize {
    let (step, steps) = counting(usize::MAX);
    let options = RunOptions { step: Some(step), ..crash_options(ledger.database.name()) };
    work(goal, &ledger.uri, &ledger.plan_directory(), &options).await;
    steps.load(Ordering::SeqCst)
}

async fn survive(die_at: usize, die_again_at: usize, workers: usize) {
    let ledger = Ledger::new(&melted(DOCUMENTS)).await;
    let planned = ledger.planned();
    let at = format!("death at step {die_at} and {die_again_at} with {workers} workers");
    let options = RunOptions { workers, ..crash_options(ledger.database.name()) };
    let first = in_a_child(Goal::Apply, &ledger, die_at, workers).await;
    assert!(first.signal() == Some(9) || die_at > SURELY_REACHED, "{at}: {first}");
    in_a_child(Goal::Apply, &ledger, die_again_at, workers).await;
    match ledger.apply_with(&options).await {
        Ok(report) => {
            assert_eq!(report.state, RunState::Completed);
            let documents = report.applied + report.already_applied;
            assert_eq!((documents, report.drifted), (DOCUMENTS as u64, 0), "{at}");
        }
        // It died after its last word to the database.
        Err(error) => assert_eq!(error.code(), "already_completed", "{at}: {error}"),
    }
    ledger.assert_documents(&planned, &at).await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1, "{at}");
    assert_eq!(ledger.migration_status().await.as_deref(), Some("completed"));
    in_a_child(Goal::Rollback, &ledger, die_at, workers).await;
    in_a_child(Goal::Rollback, &ledger, die_again_at, workers).await;
    let report = ledger.roll_back_with(&options).await.unwrap();
    assert_eq!(report.restored + report.already_restored, DOCUMENTS as u64, "{at}");
    ledger.assert_documents(&ledger.before, &at).await;
    assert_eq!(ledger.most_writes_of_a_token().await, 2, "{at}");
    assert_eq!(ledger.migration_status().await.as_deref(), Some("rolled_back"));
}

#[tokio::test]
async fn death_at_every_step_once_and_twice_loses_and_repeats_nothing() {
    let ledger = Ledger::new(&melted(DOCUMENTS)).await;
    let applying = steps_of(Goal::Apply, &ledger).await;
    let undoing = steps_of(Goal::Rollback, &ledger).await;
    assert!(applying > SURELY_REACHED && undoing > 20, "{applying} and {undoing} steps");
    eprintln!("{applying} steps of apply, {undoing} of rollback");
    let steps: Vec<usize> = (1..=applying.max(undoing)).collect();
    for some in steps.chunks(AT_A_TIME) {
        let deaths = some.iter().map(|step| survive(*step, 1 + (*step * 7) % applying, 1));
        futures_util::future::join_all(deaths).await;
    }
}

#[tokio::test]
async fn death_with_two_workers_loses_and_repeats_nothing() {
    for some in [[3, 12, 17, 21], [25, 29, 33, 37]] {
        let deaths = some.iter().map(|step| survive(*step, *step, 2));
        futures_util::future::join_all(deaths).await;
    }
}
