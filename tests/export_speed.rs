//! How fast an export is, beside a bare read through the driver and beside pymongo. By hand:
//! `cargo test --release --test remelt -- --ignored --nocapture export_speed`. For pymongo's figures
//! `REMELT_TEST_PYTHON` names an interpreter that has it, `REMELT_TEST_TOKENS` sets the size.

use crate::support::exports::{connect, export_to, options, split};
use crate::support::mongod::ReplicaSet;
use crate::support::raw_collection::RawCollection;
use futures_util::{StreamExt, TryStreamExt};
use mongodb::Database;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::ReadConcern;
use remelt::export::{ExportOptions, Secrets};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::snapshot::format::Compression;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const PYMONGO: &str = "
import os, sys
from pymongo import MongoClient
collection = MongoClient(sys.argv[1])['ledger']['cashu_tokens']
with open(sys.argv[2], 'wb') as out:
    for batch in collection.find_raw_batches(batch_size=1000):
        out.write(batch)
    out.flush()
    os.fsync(out.fileno())
";

/// Reads all tokens in one snapshot session and throws them away.
async fn bare_read(database: &Database, range: Document) -> u64 {
    let client = database.client();
    let mut session = client.start_session().snapshot(true).await.unwrap();
    let tokens = database.collection::<RawDocumentBuf>("cashu_tokens");
    let mut find = tokens.find(doc! {}).batch_size(1000).read_concern(ReadConcern::snapshot());
    if let Ok(least) = range.get_document("min") {
        find = find.hint(mongodb::options::Hint::Keys(doc! {"_id": 1})).min(least.clone());
    }
    if let Ok(most) = range.get_document("max") {
        find = find.hint(mongodb::options::Hint::Keys(doc! {"_id": 1})).max(most.clone());
    }
    let mut cursor = find.session(&mut session).batch().await.unwrap();
    let mut bytes = 0;
    let mut batches = cursor.stream(&mut session);
    while let Some(batch) = batches.next().await {
        bytes += u64::try_from(batch.unwrap().as_raw_document().as_bytes().len()).unwrap();
    }
    bytes
}

async fn two_ranges(database: &Database, middle: &Bson) {
    let tasks = ["max", "min"].map(|bound| {
        let range = doc! {bound: {"_id": middle.clone()}};
        let database = database.clone();
        tokio::spawn(async move { bare_read(&database, range).await })
    });
    futures_util::future::join_all(tasks).await;
}

async fn middle_id(database: &Database, tokens: u64) -> Bson {
    let tokens_collection = database.collection::<Document>("cashu_tokens");
    let ids = tokens_collection.find(doc! {});
    let ids = ids.sort(doc! {"_id": 1}).projection(doc! {"_id": 1}).skip(tokens / 2).limit(1);
    let found: Vec<Document> = ids.await.unwrap().try_collect().await.unwrap();
    found[0].get("_id").unwrap().clone()
}

async fn fill(database: &Database, tokens: u64) {
    let options = GenerateOptions { tokens, seed: 1, damage: false };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    for (name, bytes) in [("cashu_tokens", tokens), ("cashu_wallets", wallets)] {
        let collection = RawCollection::new(database, name);
        for part in split(&bytes).chunks(4_000) {
            collection.insert(part).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run by hand"]
async fn exports_by_hand() {
    let count = std::env::var("REMELT_TEST_TOKENS").map_or(200_000, |it| it.parse().unwrap());
    let set = ReplicaSet::start(1).await;
    let uri = set.database_uri("ledger");
    let database = set.client().await.database("ledger");
    fill(&database, count).await;
    let middle = middle_id(&database, count).await;
    let server = connect(&uri).await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("snapshot");
    let bytes = bare_read(&database, doc! {}).await;

    let forms = [
        ("export", options()),
        ("export, wallet keys kept", ExportOptions { wallet_keys: true, ..options() }),
        ("export --without-secrets", ExportOptions { secrets: Secrets::Hashed, ..options() }),
        ("export --compress zstd", ExportOptions { compression: Compression::Zstd, ..options() }),
        ("export --compress gzip", ExportOptions { compression: Compression::Gzip, ..options() }),
    ];
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        bare_read(&database, doc! {}).await;
        times.entry("bare raw-batch read").or_default().push(begun.elapsed());
        let begun = Instant::now();
        two_ranges(&database, &middle).await;
        times.entry("bare read, two _id ranges").or_default().push(begun.elapsed());
        for (name, options) in &forms {
            let begun = Instant::now();
            export_to(&server, &place, options).await.unwrap();
            times.entry(name).or_default().push(begun.elapsed());
            std::fs::remove_dir_all(&place).unwrap();
        }
        if let Some(python) = std::env::var_os("REMELT_TEST_PYTHON") {
            let begun = Instant::now();
            let mut rival = std::process::Command::new(&python);
            let out = directory.path().join("rival.bson");
            rival.args(["-c", PYMONGO, &uri]).arg(out);
            let status = rival.status().unwrap();
            assert!(status.success());
            times.entry("pymongo find_raw_batches").or_default().push(begun.elapsed());
        }
    }
    let median = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort();
        sorted[sorted.len() / 2]
    };
    let bare = median(&times["bare raw-batch read"]);
    println!("{count} tokens, {bytes} bytes, median of {ROUNDS} rounds:");
    for (name, times) in &times {
        let time = median(times);
        let rate = u128::from(bytes) / time.as_micros();
        let ratio = 100 * bare.as_micros() / time.as_micros();
        println!("{name:28} {time:8.3?} {rate:5} MB/s  {ratio:4} % of the bare read's speed");
    }
}
