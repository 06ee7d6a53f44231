//! Speed beside a plain `updateMany`, which has no guard, no transaction and no undo. Run by hand:
//! `cargo test --release --test remelt live_speed -- --ignored --nocapture`.

use crate::support::live::{Ledger, generated};
use crate::support::mongod::ReplicaSet;
use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::WriteConcern;
use std::time::Instant;

#[tokio::test]
#[ignore = "takes a minute and measures"]
async fn apply_and_rollback_beside_a_plain_update() {
    let count = std::env::var("REMELT_TEST_TOKENS").ok().and_then(|n| n.parse().ok());
    let set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "speed", &generated(count.unwrap_or(200_000), 1, false)).await;
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    for keys in [
        doc! {"npub": 1, "status": 1},
        doc! {"npub": 1, "transaction_type": 1},
        doc! {"wallet_id": 1, "status": 1},
        doc! {"transaction_id": 1},
        doc! {"mint_url": 1, "status": 1},
        doc! {"proofs.secret": 1},
    ] {
        tokens.create_index(IndexModel::builder().keys(keys).build()).await.unwrap();
    }
    let changes = ledger.plan().content().totals.changes;
    let rate = |began: Instant| u128::from(changes) * 1_000_000 / began.elapsed().as_micros();
    for round in 1..=2 {
        let began = Instant::now();
        assert_eq!(ledger.apply().await.unwrap().applied, changes);
        let applying = rate(began);
        let began = Instant::now();
        assert_eq!(ledger.roll_back().await.unwrap().restored, changes);
        let undoing = rate(began);
        eprintln!("round {round}: {changes} changes, apply {applying}/s, rollback {undoing}/s");
    }
    ledger.assert_documents(&ledger.before, "after both").await;
    let began = Instant::now();
    let melted = doc! {"transaction_type": "melted", "status": "unspent"};
    let spent = doc! {"$set": {"status": "spent", "spent_at": mongodb::bson::DateTime::now()},
    "$currentDate": {"updatedAt": true}};
    let majority = WriteConcern::majority();
    tokens.update_many(melted, spent).write_concern(majority).await.unwrap();
    eprintln!("a plain updateMany: {}/s", rate(began));
}
