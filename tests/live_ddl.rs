//! Indexes and options of the collection changing under a run.

use crate::support::live::{Ledger, melted};
use crate::support::mongod::ReplicaSet;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use remelt::live::RunOptions;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DOCUMENTS: usize = 400;
/// Changes after which the collection is as it was.
const ROUND: usize = 5;

/// Changes the collection again and again while `run` does its work; how often before it ended.
async fn while_changing<T>(database: &Database, run: impl Future<Output = T>) -> (T, usize) {
    let has_ended = AtomicBool::new(false);
    let run = async {
        let done = run.await;
        has_ended.store(true, Ordering::SeqCst);
        done
    };
    let (done, before_end) = tokio::join!(run, async {
        let (mut changes, mut before_end) = (0, 0);
        // The last round is brought to its end, so that the index is gone.
        while changes % ROUND != 0 || !has_ended.load(Ordering::SeqCst) {
            database.run_command(change(changes)).await.unwrap();
            changes += 1;
            before_end += usize::from(!has_ended.load(Ordering::SeqCst));
            // Without a pause no transaction would ever find the collection free.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        before_end
    });
    (done, before_end)
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

#[tokio::test]
async fn changing_indexes_and_options_are_survived() {
    let set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "changing", &melted(DOCUMENTS)).await;
    let planned = ledger.planned();
    // Slow enough for many changes to fall between and into the transactions.
    let slow = RunOptions { batch_changes_max: Some(20), rate_max: Some(300), ..ledger.options() };

    let (report, changes) = while_changing(&ledger.database, ledger.apply_with(&slow)).await;
    let report = report.unwrap();
    eprintln!("{changes} changes while applying, {} s", report.seconds);
    assert!(changes >= 10, "{changes}");
    let done = report.applied + report.already_applied;
    assert_eq!((done, report.drifted, report.batches), (DOCUMENTS as u64, 0, 20));
    ledger.assert_documents(&planned, "after apply").await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1);

    let (report, changes) = while_changing(&ledger.database, ledger.roll_back_with(&slow)).await;
    let report = report.unwrap();
    eprintln!("{changes} changes while rolling back");
    assert!(changes >= 10, "{changes}");
    assert_eq!((report.restored + report.already_restored, report.drifted), (DOCUMENTS as u64, 0));
    ledger.assert_documents(&ledger.before, "after rollback").await;
    assert_eq!(ledger.most_writes_of_a_token().await, 2);
}
