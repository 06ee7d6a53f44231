//! The analysis inside the database equals the local engine and the slow oracle, number for number.

use crate::support::engines::{self, in_cluster};
use crate::support::exports::{connect, fill, split, stored};
use crate::support::ledgers::{
    array, decimal, document, int32, int64, nested, null, random_ledger, text,
};
use crate::support::live::odd_melted;
use crate::support::mongod::{Options, ReplicaSet, shared};
use crate::support::odd;
use crate::support::oracle;
use crate::support::random::{Random, seed};
use mongodb::Database;
use mongodb::bson::{Document, doc};
use remelt::analysis::{SpentAt, UNDONE_BYTES_MAX};
use remelt::cluster::ClusterOptions;
use remelt::document::validate;
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::server::Server;
use serde_json::Value;
use std::path::Path;

/// Compares the engines on what the database holds now; the last report.
async fn compare(server: &Server, database: &Database, with_wallets: bool, what: &str) -> Value {
    let tokens = stored(database, "cashu_tokens").await.concat();
    let wallets = stored(database, "cashu_wallets").await.concat();
    let wallets = with_wallets.then_some(wallets.as_slice());
    let [.., last] = engines::compare(server, &tokens, wallets, what).await;
    last
}

async fn refill(database: &Database, tokens: &[Vec<u8>], wallets: &[Vec<u8>]) {
    for (name, documents) in [("cashu_tokens", tokens), ("cashu_wallets", wallets)] {
        database.collection::<Document>(name).delete_many(doc! {}).await.unwrap();
        fill(database, name, documents).await;
    }
}

/// Creates both collections, so that no later reading meets a collection younger than itself.
async fn create(database: &Database, collation: Option<Document>) {
    for name in ["cashu_tokens", "cashu_wallets"] {
        let mut command = doc! {"create": name};
        collation.iter().for_each(|it| drop(command.insert("collation", it.clone())));
        database.run_command(command).await.unwrap();
    }
}

#[tokio::test]
async fn on_random_hostile_ledgers() {
    let first = seed();
    eprintln!("REMELT_TEST_SEED={first}");
    // Where collections fold case by default, identifiers are still compared by their bytes.
    for collation in [None, Some(doc! {"locale": "en", "strength": 1})] {
        let shared = shared().await;
        let database = &shared.database;
        create(database, collation).await;
        let server = connect(&shared.uri).await;
        let (mut tokens_seen, mut duplicates) = (0, 0);
        for seed in (0..40).map(|number| first.wrapping_add(number)) {
            let ledger = random_ledger(seed);
            refill(database, &split(&ledger.tokens), &split(&ledger.wallets)).await;
            let tokens = stored(database, "cashu_tokens").await.concat();
            let wallets = stored(database, "cashu_wallets").await.concat();
            let with_wallets = seed % 8 != 0;
            let report = compare(&server, database, with_wallets, &format!("seed {seed}")).await;
            let wallets = with_wallets.then_some(&wallets[..]);
            let what = format!("seed {seed}");
            engines::compare_with_oracle(&report, &tokens, wallets, SpentAt::Updated, &what);
            tokens_seen += oracle::documents(&tokens).len();
            duplicates += report["findings"]["duplicate_field"]["count"].as_u64().unwrap();
        }
        assert!(tokens_seen > 500 && duplicates > 5, "{tokens_seen} tokens, {duplicates}");
    }
}

#[tokio::test]
async fn on_generated_damage_and_on_the_fixture() {
    let shared = shared().await;
    let database = &shared.database;
    create(database, None).await;
    let server = connect(&shared.uri).await;
    for seed in 1..5 {
        let options = GenerateOptions { tokens: 3_000, seed, damage: true };
        let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
        refill(database, &split(&tokens), &split(&wallets)).await;
        let report = compare(&server, database, true, &format!("seed {seed}")).await;
        for (code, finding) in report["findings"].as_object().unwrap() {
            assert!(finding["count"].as_u64().unwrap() > 0, "seed {seed} has no {code}");
        }
    }
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/nctool");
    let read = |name: &str| split(&std::fs::read(fixture.join(name)).unwrap());
    refill(database, &read("cashu_tokens.bson"), &read("cashu_wallets.bson")).await;
    compare(&server, database, true, "the fixture").await;
    refill(database, &[], &[]).await;
    compare(&server, database, true, "empty collections").await;
}

/// Tokens of every odd shape, and wallets.
pub(crate) fn odd_shapes(seed: u64) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut random = Random::new(seed);
    let mut tokens = odd_melted(&mut random);
    tokens.extend(odd::documents().into_iter().map(|(_, document)| document));
    tokens.extend((20_000..20_500).map(|number| odd::random_document(&mut random, number)));
    tokens.retain(|document| validate(document).is_ok());
    (tokens, odd_melted(&mut random))
}

#[tokio::test]
async fn on_documents_of_every_odd_shape() {
    let shared = shared().await;
    let database = &shared.database;
    create(database, None).await;
    let server = connect(&shared.uri).await;
    let seed = seed();
    eprintln!("REMELT_TEST_SEED={seed}");
    let (tokens, wallets) = odd_shapes(seed);
    refill(database, &tokens, &wallets).await;
    let count = stored(database, "cashu_tokens").await.len();
    assert!(count > 1_000, "{count}");
    compare(&server, database, true, &format!("seed {seed}")).await;
}

/// A melted and unspent token of `bytes` bytes.
fn melted_of(number: i32, bytes: usize, spent_at: bool) -> Vec<u8> {
    let of = |padding: usize| {
        let mut fields: Vec<(&[u8], _)> = vec![
            (b"_id", int32(number)),
            (b"status", text("unspent")),
            (b"transaction_type", text("melted")),
            (b"padding", text("x".repeat(padding))),
        ];
        if spent_at {
            fields.push((b"spent_at", null()));
            fields.push((b"updatedAt", text("then")));
        }
        document(&fields)
    };
    of(bytes - of(0).len())
}

#[tokio::test]
async fn on_documents_as_large_as_the_server_stores() {
    const MOST: usize = 16 * 1024 * 1024;
    let shared = shared().await;
    let database = &shared.database;
    create(database, None).await;
    let server = connect(&shared.uri).await;
    // The repair adds 16 bytes without `spent_at`; else 8 for it, 2 less for the status, and 2 less for
    // `updatedAt`, whose text takes 9 bytes where the date takes 8.
    let documents = [
        melted_of(1, MOST - 16, false),
        melted_of(2, MOST - 15, false),
        melted_of(3, MOST - 5, true),
        melted_of(4, MOST - 4, true),
        melted_of(5, MOST, false),
    ];
    // Of these, one byte more than what can be undone, and as much.
    let undone = [(6, 1), (7, 0)].map(|(id, more)| {
        document(&[
            (b"_id", int32(id)),
            (b"status", text("unspent")),
            (b"transaction_type", text("melted")),
            (b"spent_at", text("x".repeat(UNDONE_BYTES_MAX - 9 + more))),
        ])
    });
    for document in documents.iter().chain(&undone) {
        fill(database, "cashu_tokens", std::slice::from_ref(document)).await;
    }
    assert_eq!(stored(database, "cashu_tokens").await.len(), 7);
    let report = compare(&server, database, true, "large documents").await;
    assert_eq!(report["impact"]["tokensToMigrate"], 0); // --spent-at updated: none has that date
    let options = ClusterOptions::default();
    let report = in_cluster(&server, &options).await;
    assert_eq!(report["impact"]["tokensToMigrate"], 3);
}

/// Tokens and wallets with the pipelines' own names, and with fields twice.
pub(crate) fn own_names() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let own = [
        "user",
        "mint",
        "type",
        "amount",
        "source",
        "id",
        "npubs",
        "place",
        "proof",
        "held",
        "wallet",
        "documents",
        "excess",
        "is_change",
        "named",
        "whole",
        "left",
        "bytes",
        "users",
        "nth",
    ];
    let list = || array(vec![nested(&[(b"type", text("x")), (b"bytes", text("y"))]), int32(1)]);
    let token = |number: i32, copies: usize| {
        let secret = nested(&[(b"secret", text("s")), (b"amount", int32(8))]);
        let mut fields: Vec<(&[u8], _)> = vec![(b"_id", int32(number))];
        fields.extend(own.iter().map(|name| (name.as_bytes(), list())));
        for name in ["status", "transaction_type", "npub", "wallet_id", "transaction_id"] {
            let value = match name {
                "status" => "unspent",
                "transaction_type" => "melted",
                other => other,
            };
            fields.extend((0..copies).map(|_| (name.as_bytes(), text(value))));
        }
        fields.extend([(&b"spent_at"[..], list()), (b"updatedAt", list())]);
        let metadata = nested(&[(b"source", text("p2p")), (b"total_amount", int32(3))]);
        fields.extend([(&b"metadata"[..], metadata), (b"total_amount", int32(8))]);
        fields.extend([(&b"mint_url"[..], text("m")), (b"proofs", array(vec![secret]))]);
        document(&fields)
    };
    let mut wallet: Vec<(&[u8], _)> = vec![(b"_id", text("wallet_id"))];
    wallet.extend(own.iter().map(|name| (name.as_bytes(), list())));
    wallet.extend([
        (&b"npub"[..], text("npub")),
        (b"npub", text("other")),
        (b"mint_url", text("m")),
    ]);
    (vec![token(1, 1), token(2, 2), token(3, 3)], vec![document(&wallet)])
}

/// Two traps of the server: a `$project` merges what it computes into a field of that name, and a reader
/// of few fields stops after as many as it wants, of which one may have come twice.
#[tokio::test]
async fn on_documents_with_the_pipelines_own_names_and_with_fields_twice() {
    let shared = shared().await;
    let database = &shared.database;
    create(database, None).await;
    let server = connect(&shared.uri).await;
    let (tokens, wallets) = own_names();
    refill(database, &tokens, &wallets).await;
    let report = compare(&server, database, true, "own names").await;
    let count = |code: &str| report["findings"][code]["count"].as_u64().unwrap();
    assert_eq!((count("duplicate_secrets"), count("missing_change")), (1, 3));
    assert_eq!((count("orphaned_tokens"), count("wallet_mismatch")), (0, 0));
    assert_eq!((count("duplicate_field"), count("duplicate_transaction_id")), (2, 1));
}

/// Tokens whose amounts add up to more than 64 bits hold, above and below zero.
pub(crate) fn large_amounts() -> Vec<Vec<u8>> {
    let amounts = [
        int64(i64::MAX),
        int64(i64::MAX),
        decimal("9223372036854775807"),
        decimal("92233720368547758E+2"),
        int64(1),
        int64((1 << 53) + 1),
    ];
    let token = |number: i32, amount: &(u8, Vec<u8>), status: &str| {
        document(&[
            (b"_id", int32(number)),
            (b"npub", text("npub1")),
            (b"status", text(status)),
            (b"transaction_type", text("melted")),
            (b"total_amount", amount.clone()),
        ])
    };
    let mut tokens: Vec<Vec<u8>> =
        (0..).zip(&amounts).map(|(number, amount)| token(number, amount, "unspent")).collect();
    let least = int64(i64::MIN);
    tokens.extend((10..15).map(|number| token(number, &least, "failed")));
    tokens
}

#[tokio::test]
async fn on_sums_beyond_64_bits() {
    let shared = shared().await;
    let database = &shared.database;
    create(database, None).await;
    let server = connect(&shared.uri).await;
    refill(database, &large_amounts(), &[]).await;
    let report = compare(&server, database, true, "large sums").await;
    let affected = report["findings"]["inconsistent_status"]["amount"].as_str().unwrap();
    assert_eq!(affected, "36902495346673844215");
    let below = report["findings"]["negative_balance"]["amount"].as_str().unwrap();
    assert_eq!(below, "-46116860184273879040");
}

#[tokio::test]
async fn when_the_server_must_spill_every_group_to_disk() {
    let parameters = ["internalDocumentSourceGroupMaxMemoryBytes=65536".to_owned()];
    let options = Options { parameters: parameters.to_vec(), ..Options::default() };
    let set = ReplicaSet::start_with(&options).await;
    let database = set.client().await.database("ledger");
    create(&database, None).await;
    let options = GenerateOptions { tokens: 2_000, seed: 9, damage: true };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    refill(&database, &split(&tokens), &split(&wallets)).await;
    let server = connect(&set.database_uri("ledger")).await;
    compare(&server, &database, true, "all spilled").await;
}
