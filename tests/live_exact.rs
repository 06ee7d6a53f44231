//! Apply and rollback to the byte, for every odd shape and for random ones.

use crate::support::live::{Ledger, documents_in, generated, made_melted, melted, odd_melted};
use crate::support::odd;
use crate::support::random::{Random, seed};
use mongodb::bson::{Document, doc};
use remelt::document::validate;
use remelt::journal::RunState;

async fn there_and_back(ledger: &Ledger) {
    let planned = ledger.planned();
    let changes = ledger.plan().content().totals.changes;
    let applied = ledger.apply().await.unwrap();
    assert_eq!((applied.applied, applied.drifted), (changes, 0));
    assert_eq!(applied.state, RunState::Completed);
    ledger.assert_documents(&planned, "after apply").await;
    assert_eq!(ledger.migration_status().await.as_deref(), Some("completed"));
    let undone = ledger.roll_back().await.unwrap();
    assert_eq!((undone.restored, undone.drifted), (changes, 0));
    assert_eq!(undone.state, RunState::RolledBack);
    ledger.assert_documents(&ledger.before, "after rollback").await;
    assert_eq!(ledger.migration_status().await.as_deref(), Some("rolled_back"));
}

#[tokio::test]
async fn a_generated_ledger_goes_there_and_back_twice() {
    let ledger = Ledger::new(&generated(3_000, 11, true)).await;
    assert!(ledger.plan().content().totals.changes > 100);
    there_and_back(&ledger).await;
    there_and_back(&ledger).await;
}

#[tokio::test]
async fn every_odd_shape_goes_there_and_back() {
    let mut random = Random::new(seed());
    let ledger = Ledger::new(&odd_melted(&mut random)).await;
    assert!(ledger.plan().content().totals.changes > 500);
    there_and_back(&ledger).await;
}

#[tokio::test]
async fn random_documents_go_there_and_back() {
    let seed = seed();
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let documents: Vec<Vec<u8>> = (0..10_000)
        .map(|number| {
            let document = odd::random_document(&mut random, number);
            made_melted(&document, &mut random)
        })
        .filter(|document| validate(document).is_ok()) // none nested deeper than is read
        .collect();
    let ledger = Ledger::new(&documents).await;
    assert!(ledger.plan().content().totals.changes > 6_000);
    there_and_back(&ledger).await;
}

#[tokio::test]
async fn small_batches_and_many_workers_come_to_the_same() {
    let ledger = Ledger::new(&melted(700)).await;
    let options =
        remelt::live::RunOptions { workers: 4, batch_changes_max: Some(37), ..ledger.options() };
    let applied = ledger.apply_with(&options).await.unwrap();
    assert_eq!((applied.applied, applied.batches), (700, 14 + 6));
    ledger.assert_documents(&ledger.planned(), "after apply").await;
    let undone = ledger.roll_back().await.unwrap();
    assert_eq!(undone.restored, 700);
    ledger.assert_documents(&ledger.before, "after rollback").await;
}

#[tokio::test]
async fn the_journal_in_the_database_and_the_manifest_say_the_same() {
    let ledger = Ledger::new(&melted(600)).await;
    let report = ledger.apply().await.unwrap();
    let text = std::fs::read(&report.manifest.path).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest["state"], "completed");
    let batches = manifest["batches"].as_array().unwrap();
    assert_eq!(batches.len(), 2);
    let journal = ledger.database.collection::<Document>("remelt_journal");
    for batch in batches {
        let id = doc! {"run": &report.run_id, "batch": batch["batch"].as_i64(), "from": 0_i64};
        let stored = journal.find_one(doc! {"_id": id}).await.unwrap().unwrap();
        assert_eq!(stored.get_str("sha256").unwrap(), batch["sha256"].as_str().unwrap());
        let undo = stored.get_binary_generic("undo").unwrap();
        assert_eq!(documents_in(undo).len() as u64, batch["changes"].as_u64().unwrap());
    }
    let json = serde_json::to_value(&report).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    let expected = [
        "runId",
        "planSha256",
        "state",
        "applied",
        "alreadyApplied",
        "drifted",
        "batches",
        "seconds",
        "documentsPerSecond",
        "manifest",
    ];
    assert_eq!(keys, expected);
}
