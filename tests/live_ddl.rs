//! Indexes and options of the collection changing under a run.

use crate::support::live::{Ledger, melted};
use crate::support::mongod::ReplicaSet;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use remelt::live::{RunOptions, StepHook};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DOCUMENTS: usize = 400;
/// Changes after which the collection is as it was.
const ROUND: usize = 5;

/// Changes the collection again and again while `run` does its work; how often before it ended.
async fn while_changing<T>(database: &Database, run: impl Future<Output = T>) -> (T, usize) {
    let (has_ended, database) = (Arc::new(AtomicBool::new(false)), database.clone());
    let ended = Arc::clone(&has_ended);
    // On a thread of its own, as the run holds up its thread.
    let changing = tokio::spawn(async move {
        let (mut changes, mut before_end) = (0, 0);
        // The last round is brought to its end, so that the index is gone.
        while changes % ROUND != 0 || !ended.load(Ordering::SeqCst) {
            database.run_command(change(changes)).await.unwrap();
            changes += 1;
            before_end += usize::from(!ended.load(Ordering::SeqCst));
            // Without a pause no transaction would ever find the collection free.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        before_end
    });
    let done = run.await;
    has_ended.store(true, Ordering::SeqCst);
    (done, changing.await.unwrap())
}

fn change(number: usize) -> Document {
    let index = doc! {"key": {"status": 1, "spent_at": 1}, "name": "passing"};
    match number % ROUND {
        0 => doc! {"collMod": "cashu_tokens", "validator": {"status": {"$exists": true}},
        "validationLevel": "moderate"},
        1 => doc! {"createIndexes": "cashu_tokens", "indexes": [index]},
        2 => doc! {"collMod": "cashu_tokens", "index": {"name": "passing", "hidden": true}},
        3 => doc! {"collMod": "cashu_tokens", "validator": {}, "validationLevel": "off"},
        _ => doc! {"dropIndexes": "cashu_tokens", "index": "passing"},
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_indexes_and_options_are_survived() {
    let set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "changing", &melted(DOCUMENTS)).await;
    let planned = ledger.planned();
    let aborted_before = aborted(&ledger.database).await;
    // Transactions open for longer than others wait for a lock (5 ms), and in which the collection can
    // change before it is first read.
    let hold = |step: &str| {
        if matches!(step, "journal document written" | "documents compared" | "before the commit") {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let step = Some(StepHook(Arc::new(hold)));
    let slow = RunOptions { batch_changes_max: Some(20), step, ..ledger.options() };

    let (report, changes) = while_changing(&ledger.database, ledger.apply_with(&slow)).await;
    let report = report.unwrap();
    eprintln!("{changes} changes while applying, {} s", report.seconds);
    assert!(changes >= ROUND, "{changes}");
    let done = report.applied + report.already_applied;
    assert_eq!((done, report.drifted, report.batches), (DOCUMENTS as u64, 0, 20));
    ledger.assert_documents(&planned, "after apply").await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1);

    let (report, changes) = while_changing(&ledger.database, ledger.roll_back_with(&slow)).await;
    let report = report.unwrap();
    eprintln!("{changes} changes while rolling back");
    assert!(changes >= ROUND, "{changes}");
    assert_eq!((report.restored + report.already_restored, report.drifted), (DOCUMENTS as u64, 0));
    ledger.assert_documents(&ledger.before, "after rollback").await;
    assert_eq!(ledger.most_writes_of_a_token().await, 2);
    let aborted = aborted(&ledger.database).await - aborted_before;
    eprintln!("{aborted} transactions aborted");
    assert!(aborted > 0, "no change met a transaction");
}

/// Transactions that the server has aborted since it began.
async fn aborted(database: &Database) -> i64 {
    let status = database.run_command(doc! {"serverStatus": 1}).await.unwrap();
    status.get_document("transactions").unwrap().get_i64("totalAborted").unwrap()
}
