//! Apply and rollback to the byte, for every odd shape and for random ones.

use crate::support::live::{Ledger, documents_in, generated, made_melted, melted, odd_melted};
use crate::support::odd;
use crate::support::random::{Random, seed};
use crate::support::raw::{date, document, element, int32, nested, string};
use crate::support::raw_collection::{numbered_id, statement};
use mongodb::bson::{Document, doc};
use remelt::analysis::UNDONE_BYTES_MAX;
use remelt::document::validate;
use remelt::journal::RunState;
use remelt::live::RunOptions;

const DOCUMENT_BYTES_MAX: usize = 16_777_216;

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

/// A melted token of exactly `bytes` bytes, nearly all of them in the field `padded`.
fn melted_of(number: usize, bytes: usize, padded: &str) -> Vec<u8> {
    let mut elements = vec![
        numbered_id(number),
        element("transaction_type", &string("melted")),
        element("status", &string("unspent")),
        element("total_amount", &int32(8)),
    ];
    let empty = [&elements[..], &[element(padded, &string(""))]].concat();
    let padding = "x".repeat(bytes - document(&empty).len());
    elements.push(element(padded, &string(padding)));
    document(&elements)
}

#[tokio::test]
async fn a_document_grows_to_the_greatest_size_and_no_further() {
    // The change takes 2 bytes from `status` and appends 18 of `spent_at`.
    const GROWTH: usize = 16;
    let mut documents = melted(300);
    documents.insert(100, melted_of(1_000, DOCUMENT_BYTES_MAX - GROWTH, "note"));
    documents.insert(200, melted_of(1_001, DOCUMENT_BYTES_MAX - GROWTH + 1, "note"));
    let ledger = Ledger::new(&documents).await;
    let plan = ledger.plan();
    let content = plan.content();
    assert_eq!((content.totals.changes, content.not_changed["no_room"]), (301, 1));
    let planned = ledger.planned();
    let lengths = [planned[100].len(), planned[200].len()];
    assert_eq!(lengths, [DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MAX - GROWTH + 1]);
    assert_eq!(planned[200], ledger.before[200]);

    let options = RunOptions { batch_changes_max: Some(60), ..ledger.options() };
    let report = ledger.apply_with(&options).await.unwrap();
    assert_eq!((report.applied, report.drifted), (301, 0));
    assert!(ledger.tokens.read().await == planned, "after apply");
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
    assert_eq!(ledger.writes_of_token(1_000).await, 1);
    assert_eq!(ledger.writes_of_token(1_001).await, 0);

    let report = ledger.roll_back_with(&options).await.unwrap();
    assert_eq!((report.restored, report.drifted), (301, 0));
    assert!(ledger.tokens.read().await == ledger.before, "after rollback");
    assert_eq!(ledger.writes_of_token(1_000).await, 2);
    assert_eq!(ledger.writes_of_token(1_001).await, 0);

    // The bound is the server's: it refuses what the plan leaves out, and only that.
    let spent = nested(&[element("status", &string("spent")), element("spent_at", &date(0))]);
    let set = nested(&[element("$set", &spent)]);
    let refused = [int32(1_000), int32(1_001)].map(|id| statement(&[id], &set));
    let refused = ledger.tokens.try_update(&refused).await;
    assert_eq!(refused.iter().map(|refusal| refusal.index).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_field_as_long_as_can_be_undone_goes_there_and_back_and_a_longer_one_is_left() {
    // Besides `_id`, which takes 4 bytes: the text's length and its end.
    let long = |number, more| {
        let text = "x".repeat(UNDONE_BYTES_MAX - 4 - 5 + more);
        document(&[
            numbered_id(number),
            element("transaction_type", &string("melted")),
            element("status", &string("unspent")),
            element("spent_at", &string(text)),
        ])
    };
    let mut documents = melted(10);
    documents.insert(3, long(1_000, 0));
    documents.insert(7, long(1_001, 1));
    let ledger = Ledger::new(&documents).await;
    let content = ledger.plan().content().clone();
    assert_eq!((content.totals.changes, content.not_changed["no_room"]), (11, 1));
    there_and_back(&ledger).await;
}

#[tokio::test]
async fn small_batches_and_many_workers_come_to_the_same() {
    let ledger = Ledger::new(&melted(700)).await;
    let options = RunOptions { workers: 4, batch_changes_max: Some(37), ..ledger.options() };
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
