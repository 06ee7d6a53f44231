//! The analysis inside a sharded cluster equals the local engine and the slow oracle, number for number:
//! every pipeline is split between two real shards and merged, and orphans do not count.

use crate::cluster_matches_local::{large_amounts, odd_shapes, own_names};
use crate::support::command::run;
use crate::support::engines::{SPENT_AT, compare, compare_with_oracle, in_cluster};
use crate::support::exports::{connect, small_ledger, split};
use crate::support::ledgers::random_ledger;
use crate::support::oracle::documents;
use crate::support::random::seed;
use crate::support::sharded::{ShardedDatabase, sharded, sharded_with};
use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc, serialize_to_vec};
use remelt::cluster::{ClusterError, ClusterOptions, analyze_in_cluster};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::progress::Progress;
use remelt::server::{DeploymentKind, Server};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Compares with the local engine and the oracle on these documents, with and without wallets.
async fn check(
    database: &ShardedDatabase,
    server: &Server,
    (tokens, wallets): (&[Vec<u8>], &[Vec<u8>]),
    what: &str,
) -> Value {
    let [tokens, wallets] = database.refill(tokens, wallets).await;
    let mut last = Value::Null;
    for wallets in [None, Some(&wallets[..])] {
        let what = format!("{what}, with wallets: {}", wallets.is_some());
        let reports = compare(server, &tokens, wallets, &what).await;
        for (report, spent_at) in reports.into_iter().zip(SPENT_AT) {
            compare_with_oracle(&report, &tokens, wallets, spent_at, &what);
            assert_eq!(report["snapshot"]["consistency"], "snapshot", "{what}");
            last = report;
        }
    }
    last
}

fn generated(seed: u64, damage: bool) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let options = GenerateOptions { tokens: 1_500, seed, damage };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    (split(&tokens), split(&wallets))
}

#[tokio::test]
async fn on_generated_ledgers_and_on_sums_beyond_64_bits() {
    let database = sharded().await;
    let server = connect(&database.uri).await;
    // The bug itself with what follows from it, and nothing else wrong.
    let (tokens, wallets) = generated(1, false);
    let report = check(&database, &server, (&tokens, &wallets), "undamaged").await;
    let found = report["findings"].as_object().unwrap().iter();
    let found: Vec<_> = found.filter(|(_, it)| it["count"] != 0).map(|(code, _)| code).collect();
    assert_eq!(found, ["inconsistent_status", "duplicate_secrets", "double_counted"]);
    for seed in 2..4 {
        let (tokens, wallets) = generated(seed, true);
        let report = check(&database, &server, (&tokens, &wallets), &format!("seed {seed}")).await;
        for (code, finding) in report["findings"].as_object().unwrap() {
            assert!(finding["count"].as_u64().unwrap() > 0, "seed {seed} has no {code}");
        }
    }
    let report = check(&database, &server, (&large_amounts(), &[]), "large sums").await;
    let below = report["findings"]["negative_balance"]["amount"].as_str().unwrap();
    assert_eq!(below, "-46116860184273879040");
    check(&database, &server, (&[], &[]), "empty collections").await;
}

#[tokio::test]
async fn on_random_hostile_ledgers_and_on_documents_of_every_odd_shape() {
    let first = seed();
    eprintln!("REMELT_TEST_SEED={first}");
    let folding = sharded_with(&doc! {"locale": "en", "strength": 1}).await;
    let server = connect(&folding.uri).await;
    for seed in (100..106).map(|number| first.wrapping_add(number)) {
        let ledger = random_ledger(seed);
        let (tokens, wallets) = (split(&ledger.tokens), split(&ledger.wallets));
        check(&folding, &server, (&tokens, &wallets), &format!("folding, seed {seed}")).await;
    }
    let database = sharded().await;
    let server = connect(&database.uri).await;
    for seed in (0..12).map(|number| first.wrapping_add(number)) {
        let ledger = random_ledger(seed);
        let (tokens, wallets) = (split(&ledger.tokens), split(&ledger.wallets));
        check(&database, &server, (&tokens, &wallets), &format!("seed {seed}")).await;
    }
    let (tokens, wallets) = odd_shapes(first);
    check(&database, &server, (&tokens, &wallets), &format!("odd shapes, seed {first}")).await;
    let (tokens, wallets) = own_names();
    check(&database, &server, (&tokens, &wallets), "own names").await;
}

#[tokio::test]
async fn when_the_shards_must_spill_every_group_to_disk() {
    let database = sharded().await;
    let server = connect(&database.uri).await;
    let (tokens, wallets) = generated(9, true);
    // Tests that run at the same time spill as well, which must make no difference to them.
    let name = "internalDocumentSourceGroupMaxMemoryBytes";
    let mut usual = Vec::new();
    for shard in &database.shards {
        let admin = shard.client().database("admin");
        let reply = admin.run_command(doc! {"setParameter": 1, name: 65_536}).await.unwrap();
        usual.push((admin, reply.get("was").unwrap().clone()));
    }
    check(&database, &server, (&tokens, &wallets), "all spilled").await;
    for (admin, was) in usual {
        admin.run_command(doc! {"setParameter": 1, name: was}).await.unwrap();
    }
}

/// What the profiler of a shard noted in the database.
async fn profile(shard: &Database) -> Vec<Document> {
    let profile = shard.collection::<Document>("system.profile");
    let own = doc! {"ns": {"$ne": format!("{}.system.profile", shard.name())}};
    profile.find(own).await.unwrap().try_collect().await.unwrap()
}

/// How many changes to the database a shard has carried out.
async fn changes(shard: &Database) -> u64 {
    let log = shard.client().database("local").collection::<Document>("oplog.rs");
    let own = doc! {"ns": {"$regex": format!(r"^{}\.", shard.name())}};
    log.count_documents(own).await.unwrap()
}

#[tokio::test]
async fn both_shards_count_what_is_theirs_at_one_time_and_write_nothing() {
    let database = sharded().await;
    let (tokens, wallets) = small_ledger(1_000);
    let counted = database.refill(&tokens, &wallets).await;
    let [tokens, wallets] = counted.each_ref().map(|bytes| documents(bytes).len());
    let mut before = Vec::new();
    for shard in &database.shards {
        for (name, count) in [("cashu_tokens", tokens), ("cashu_wallets", wallets)] {
            let held = shard.collection::<Document>(name).count_documents(doc! {}).await.unwrap();
            assert!(held > count as u64, "every document lies on both shards, and strays");
        }
        shard.run_command(doc! {"profile": 2}).await.unwrap();
        before.push(changes(shard).await);
    }

    let server = connect(&database.uri).await;
    let deployment = server.deployment();
    assert_eq!((deployment.kind, &deployment.replica_set), (DeploymentKind::Mongos, &None));
    assert_eq!(deployment.replica_set_id, Some(database.cluster_id().await));
    let report = in_cluster(&server, &ClusterOptions::default()).await;
    assert_eq!(report["snapshot"]["consistency"], "snapshot");
    assert_eq!(report["stats"]["totalTokens"], tokens);
    let time = report["snapshot"]["clusterTime"].as_str().unwrap();

    for (shard, before) in database.shards.iter().zip(before) {
        shard.run_command(doc! {"profile": 0}).await.unwrap();
        assert_eq!(changes(shard).await, before, "the analysis wrote");
        let mut parts = Vec::new();
        for operation in profile(shard).await {
            let kind = operation.get_str("op").unwrap();
            assert!(!["insert", "update", "remove"].contains(&kind), "{operation}");
            let command = operation.get_document("command").unwrap();
            if command.contains_key("aggregate") && command.contains_key("shardVersion") {
                assert_eq!(read_time(command), time, "{command}");
                let is_part = command.get_bool("needsMerge").unwrap();
                parts.push((command.get_str("aggregate").unwrap().to_owned(), is_part));
            }
        }
        // Six pipelines on the tokens; on the wallets one, and the union within the sixth.
        let count = |name: &str| parts.iter().filter(|(of, merged)| of == name && *merged).count();
        assert_eq!((count("cashu_tokens"), count("cashu_wallets")), (6, 2), "{parts:?}");
    }
}

/// The time at which a command was told to read, as reports have it.
fn read_time(command: &Document) -> String {
    let concern = command.get_document("readConcern").unwrap();
    assert_eq!(concern.get_str("level").unwrap(), "snapshot");
    match concern.get("atClusterTime") {
        Some(Bson::Timestamp(time)) => format!("{}:{}", time.time, time.increment),
        other => panic!("no time: {other:?}"),
    }
}

#[tokio::test]
async fn figures_are_of_one_cluster_time_while_others_write_to_both_shards() {
    let database = sharded().await;
    let token =
        |number: i32| doc! {"_id": number, "npub": "n", "transaction_id": format!("{number}")};
    let tokens: Vec<_> = (0..200).map(|it| serialize_to_vec(&token(it)).unwrap()).collect();
    database.refill(&tokens, &[]).await;
    let server = connect(&database.uri).await;
    let (is_over, written) = (AtomicBool::new(false), AtomicU64::new(200));
    let reads = async {
        let (mut totals, mut reads) = (BTreeSet::new(), 0);
        while reads < 5 || totals.len() < 3 {
            reads += 1;
            let report = in_cluster(&server, &ClusterOptions::default()).await;
            // Three pipelines count the same documents, each in its own way.
            let count = |code: &str| report["findings"][code]["count"].as_u64().unwrap();
            let total = report["stats"]["totalTokens"].as_u64().unwrap();
            assert_eq!((count("malformed_npub"), count("orphaned_tokens")), (total, total));
            assert!((200..=written.load(Ordering::SeqCst)).contains(&total), "{total}");
            totals.insert(total);
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let [first, second] = database.shards.each_ref().map(|it| it.collection("cashu_tokens"));
    let writes = async {
        while !is_over.load(Ordering::SeqCst) {
            let number = written.fetch_add(1, Ordering::SeqCst);
            let token = token(i32::try_from(number).unwrap());
            second.insert_one(&token).await.unwrap();
            first.insert_one(token).await.unwrap();
        }
    };
    tokio::join!(reads, writes);
}

/// Without this the tests above would prove nothing: a reading that is not split between the shards, or does
/// not ask what each owns, gives other figures.
#[tokio::test]
async fn a_shard_read_alone_tells_something_else() {
    let database = sharded().await;
    let (tokens, wallets) = small_ledger(300);
    database.refill(&tokens, &wallets).await;
    let options = ClusterOptions::default();
    let whole = in_cluster(&connect(&database.uri).await, &options).await;
    assert_eq!(whole["stats"]["totalTokens"], 300);
    for uri in &database.shard_uris {
        let alone = in_cluster(&connect(uri).await, &options).await;
        assert!(alone["stats"]["totalTokens"].as_u64().unwrap() > 300);
        assert!(alone["stats"]["totalWallets"].as_u64() > whole["stats"]["totalWallets"].as_u64());
    }
}

#[tokio::test]
async fn the_command_line_gives_the_figures_of_the_whole_cluster() {
    let database = sharded().await;
    let server = connect(&database.uri).await;
    let (tokens, wallets) = generated(5, true);
    let whole = check(&database, &server, (&tokens, &wallets), "the command line's ledger").await;
    let uri = database.uri.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        let arguments = ["--spent-at", "updated", "--uri", &uri, "--json"];
        run(["analyze", "--engine", "mongodb"].iter().chain(&arguments)).exits(0)
    });
    let json = outcome.await.unwrap().json();
    for part in ["stats", "impact", "findings", "healthScore"] {
        assert_eq!(json[part], whole[part], "{part}");
    }
    assert_eq!(json["snapshot"]["documents"], whole["snapshot"]["documents"]);
    assert_eq!(json["snapshot"]["consistency"], "snapshot");
    assert!(json["snapshot"]["clusterTime"].as_str().unwrap().contains(':'));
}

/// What a shard sends of a group is one document of 16 MB at most; within a server it may be larger.
#[tokio::test]
async fn a_group_too_large_to_go_from_shard_to_shard_is_named() {
    let database = sharded().await;
    let of_a_megabyte = |number: i32| {
        let npub = format!("{number}{}", "x".repeat(1_000_000));
        serialize_to_vec(&doc! {"_id": number, "npub": npub, "transaction_id": "of all"}).unwrap()
    };
    let tokens: Vec<Vec<u8>> = (0..44).map(of_a_megabyte).collect();
    database.refill(&tokens, &[]).await;
    let options = ClusterOptions::default();
    let alone = in_cluster(&connect(&database.shard_uris[0]).await, &options).await;
    assert_eq!(alone["findings"]["duplicate_transaction_id"]["count"], 1);
    let server = connect(&database.uri).await;
    let error = analyze_in_cluster(&server, &options, &Progress::new(), &|| Duration::ZERO).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ClusterError::GroupTooLarge { code: 10_334, .. }), "{error}");
    assert!(error.to_string().contains("export the database"), "{error}");
}

/// What runs, or waits for someone to go on with it, on a shard for an analysis of the database.
async fn running(shard: &Database) -> Vec<Document> {
    let has_comment = |command: &str| {
        doc! {format!("{command}.comment"): {"$regex": "^remelt analyze"}}
    };
    let ours = [has_comment("command"), has_comment("cursor.originatingCommand")];
    let own = doc! {"ns": {"$regex": format!(r"^{}\.", shard.name())}, "$or": ours.to_vec()};
    let pipeline = vec![doc! {"$currentOp": {"idleCursors": true}}, doc! {"$match": own}];
    let found = shard.client().database("admin").aggregate(pipeline).await.unwrap();
    found.try_collect().await.unwrap()
}

#[tokio::test]
async fn told_to_stop_it_ends_what_runs_on_both_shards() {
    let database = sharded().await;
    let (tokens, wallets) = small_ledger(50);
    database.refill(&tokens, &wallets).await;
    let blocked = |mode: &str| {
        doc! {"configureFailPoint": "failCommand", "mode": mode, "data": {
            "failCommands": ["aggregate"], "namespace": format!("{}.cashu_tokens", database.name),
            "failInternalCommands": true, "blockConnection": true, "blockTimeMS": 600_000,
        }}
    };
    let admin = database.shards[1].client().database("admin");
    admin.run_command(blocked("alwaysOn")).await.unwrap();
    let server = connect(&database.uri).await;
    let progress = Arc::new(Progress::new());
    let stopped = Arc::clone(&progress);
    let analysis = tokio::spawn(async move {
        let options = ClusterOptions::default();
        analyze_in_cluster(&server, &options, &stopped, &|| Duration::ZERO).await
    });
    let deadline = Instant::now() + PATIENCE;
    for shard in &database.shards {
        while running(shard).await.is_empty() {
            assert!(Instant::now() < deadline, "the operation never showed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    progress.stop();
    let error = analysis.await.unwrap().unwrap_err();
    assert!(matches!(error, ClusterError::Interrupted(_)), "{error}");
    for shard in &database.shards {
        while !running(shard).await.is_empty() {
            assert!(Instant::now() < deadline, "the operation goes on");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    admin.run_command(blocked("off")).await.unwrap();
}
