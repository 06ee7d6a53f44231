//! Analysis inside the database: nothing written, no secret on the wire, stopped when told to.

use crate::support::command::{keys, remelt, run};
use crate::support::exports::{app_uri, connect, fail_point, fill, small_ledger};
use crate::support::mongod::{Options, ReplicaSet, Standalone, shared, writes_on};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use remelt::cluster::{ClusterConsistency, ClusterError, ClusterOptions, analyze_in_cluster};
use remelt::plan::AnalyzeReport;
use remelt::progress::Progress;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(60);

async fn fill_ledger(database: &Database, tokens: u64) {
    let (tokens, wallets) = small_ledger(tokens);
    fill(database, "cashu_tokens", &tokens).await;
    fill(database, "cashu_wallets", &wallets).await;
}

async fn analyze(uri: &str, options: &ClusterOptions) -> Result<AnalyzeReport, ClusterError> {
    let server = connect(uri).await;
    let elapsed = || Duration::from_millis(1);
    analyze_in_cluster(&server, options, &Progress::new(), &elapsed).await
}

#[tokio::test]
async fn a_read_only_user_suffices_and_the_server_sees_no_write() {
    let set = ReplicaSet::start_with(&Options { auth: true, ..Options::default() }).await;
    let root = set.client().await;
    let database = root.database("ledger");
    fill_ledger(&database, 1_500).await;
    set.add_user("reader", "pass", vec![doc! {"role": "read", "db": "ledger"}]).await;
    set.add_user("nobody", "pass", vec![doc! {"role": "read", "db": "other"}]).await;
    database.run_command(doc! {"profile": 2}).await.unwrap();
    let before = writes_on(&root).await;
    let uri = set.user_uri("reader", "pass").replacen("/?", "/ledger?", 1);
    let report = analyze(&uri, &ClusterOptions::default()).await.unwrap();
    assert_eq!(before, writes_on(&root).await);
    database.run_command(doc! {"profile": 0}).await.unwrap();
    assert_eq!(
        (report.stats.total_tokens, report.snapshot.consistency.as_str()),
        (1_500, "snapshot")
    );
    assert!(report.snapshot.cluster_time.is_some());

    let profile = database.collection::<Document>("system.profile");
    let mine = profile.find(doc! {"appName": "remelt"}).await.unwrap();
    let mine: Vec<Document> = mine.try_collect().await.unwrap();
    assert!(mine.len() >= 7, "{} operations", mine.len());
    let mut times = Vec::new();
    for operation in &mine {
        let command = operation.get_document("command").unwrap();
        let name = command.keys().next().unwrap().as_str();
        assert!(["aggregate", "getMore", "listCollections"].contains(&name), "{operation}");
        assert!(["command", "getmore"].contains(&operation.get_str("op").unwrap()), "{operation}");
        if name != "aggregate" {
            continue;
        }
        // Operators find it by its comment; all pipelines read at one cluster time.
        assert!(command.get_str("comment").unwrap().starts_with("remelt analyze: "), "{command}");
        let concern = command.get_document("readConcern").unwrap();
        assert_eq!(concern.get_str("level").unwrap(), "snapshot");
        times.extend(concern.get("atClusterTime").cloned());
        let stages = command.get_array("pipeline").unwrap();
        assert!(stages.iter().all(|stage| {
            let stage = stage.as_document().unwrap().keys().next().unwrap();
            !["$out", "$merge", "$lookup", "$function"].contains(&stage.as_str())
        }));
    }
    assert!(times.len() >= 6 && times.windows(2).all(|pair| pair[0] == pair[1]), "{times:?}");

    let uri = set.user_uri("nobody", "pass").replacen("/?", "/ledger?", 1);
    let error = analyze(&uri, &ClusterOptions::default()).await.unwrap_err().to_string();
    assert!(error.contains("Permission denied") || error.contains("no collection"), "{error}");
}

/// Passes everything on to a server and keeps what the server says.
async fn overhear(server: String) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let said = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let upstream = TcpStream::connect(&server).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = upstream.into_split();
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
            });
            let said = Arc::clone(&said);
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                    said.lock().unwrap().extend_from_slice(&buffer[..read]);
                    if to_client.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, heard)
}

#[tokio::test]
async fn no_secret_and_no_document_crosses_the_wire() {
    let set = ReplicaSet::start(1).await;
    let database = set.client().await.database("ledger");
    fill_ledger(&database, 2_000).await;
    // The same secret twice, and a key where an identifier should be.
    let canary = |number: i32| {
        doc! {
            "_id": number, "npub": "npub1canary-seen", "status": "unspent",
            "transaction_type": "melted", "transaction_id": {"p2pk_privkey": "canary-key"},
            "wallet_id": {"p2pk_privkey": "canary-key"}, "total_amount": 1,
            "proofs": [{"secret": "canary-secret", "C": "canary-C", "amount": 1}],
            "metadata": {"source": "canary-source", "melt_transaction_id": "canary-melt"},
        }
    };
    let tokens = database.collection::<Document>("cashu_tokens");
    tokens.insert_many([canary(1), canary(2)]).await.unwrap();
    let (port, heard) = overhear(set.address(0)).await;
    let uri = format!("mongodb://127.0.0.1:{port}/ledger?directConnection=true");
    let report = analyze(&uri, &ClusterOptions::default()).await.unwrap();
    assert!(report.findings["duplicate_secrets"]["count"].as_u64().unwrap() > 100);

    let heard = heard.lock().unwrap();
    let count =
        |text: &str| heard.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
    // The distinct npubs are what is told; everything else stays.
    assert_eq!(count("npub1canary-seen"), 1);
    assert_eq!(count("canary-"), 1);
    for word in ["secret\0", "mint_url", "https://", "p2pk_privkey", "wallet_config", "lightning"] {
        assert_eq!(count(word), 0, "{word} crossed the wire");
    }
    assert!(!serde_json::to_string(&report).unwrap().contains("canary"));
}

/// The comments of what runs on the server for this program.
async fn running(client: &Client) -> Vec<String> {
    let pipeline = vec![
        doc! {"$currentOp": {}},
        doc! {"$match": {"command.comment": /* ours */ {
            "$regex": "^remelt analyze",
        }}},
    ];
    let cursor = client.database("admin").aggregate(pipeline).await.unwrap();
    let found: Vec<Document> = cursor.try_collect().await.unwrap();
    let comment = |operation: &Document| {
        operation.get_document("command").unwrap().get_str("comment").unwrap().to_owned()
    };
    found.iter().map(comment).collect()
}

#[tokio::test]
async fn told_to_stop_it_ends_what_runs_on_the_server() {
    let set = ReplicaSet::start(1).await;
    let client = set.client().await;
    let database = client.database("ledger");
    fill_ledger(&database, 50).await;
    let uri = app_uri(&set.database_uri("ledger"), "stopped");
    let block = doc! {
        "failCommands": ["aggregate"], "appName": "stopped", "blockConnection": true,
        "blockTimeMS": 600_000,
    };
    let point = doc! {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": block};
    fail_point(&database, point).await;
    let progress = Arc::new(Progress::new());
    let server = connect(&uri).await;
    let stopped = Arc::clone(&progress);
    let analysis = tokio::spawn(async move {
        let options = ClusterOptions::default();
        analyze_in_cluster(&server, &options, &stopped, &|| Duration::ZERO).await
    });
    let deadline = Instant::now() + PATIENCE;
    while running(&client).await.is_empty() {
        assert!(Instant::now() < deadline, "the operation never showed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(running(&client).await, ["remelt analyze: check the documents"]);
    progress.stop();
    let error = analysis.await.unwrap().unwrap_err();
    assert!(matches!(error, ClusterError::Interrupted(_)), "{error}");
    while !running(&client).await.is_empty() {
        assert!(Instant::now() < deadline, "the operation goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_standalone_is_read_and_called_inconsistent() {
    let server = Standalone::start().await;
    let database = server.client().await.database("nctool");
    fill_ledger(&database, 300).await;
    let report = analyze(&server.uri(), &ClusterOptions::default()).await.unwrap();
    assert_eq!((report.stats.total_tokens, report.snapshot.consistency.as_str()), (300, "none"));
    assert_eq!(report.snapshot.cluster_time, None);
    assert!(report.notes[0].starts_with("NOT CONSISTENT"));
}

#[tokio::test]
async fn no_snapshot_is_taken_when_none_is_wanted() {
    let shared = shared().await;
    fill_ledger(&shared.database, 100).await;
    let consistency = ClusterConsistency::None;
    let options = ClusterOptions { consistency, ..ClusterOptions::default() };
    let report = analyze(&shared.uri, &options).await.unwrap();
    assert_eq!(
        (report.snapshot.consistency.as_str(), report.snapshot.cluster_time),
        ("none", None)
    );
    assert!(report.notes[0].starts_with("NOT CONSISTENT"));
}

#[tokio::test]
async fn figures_are_of_one_cluster_time_while_others_write() {
    let set = ReplicaSet::start(1).await;
    let client = set.client().await;
    let database = client.database("ledger");
    let token =
        |number: i32| doc! {"_id": number, "npub": "n", "transaction_id": format!("{number}")};
    let tokens = database.collection::<Document>("cashu_tokens");
    database.create_collection("cashu_wallets").await.unwrap();
    tokens.insert_many((0..500).map(token)).await.unwrap();
    let (is_over, written) = (AtomicBool::new(false), AtomicI32::new(500));
    let uri = set.database_uri("ledger");
    let reads = async {
        let mut reads = 0;
        while reads < 5 || written.load(Ordering::Relaxed) < 520 {
            reads += 1;
            let report = analyze(&uri, &ClusterOptions::default()).await.unwrap();
            // Three pipelines count the same documents, each in its own way.
            let count = |code: &str| report.findings[code]["count"].as_u64().unwrap();
            let total = report.stats.total_tokens;
            assert_eq!(count("malformed_npub"), total);
            assert_eq!(count("orphaned_tokens"), total);
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let writes = async {
        while !is_over.load(Ordering::Relaxed) {
            let number = written.fetch_add(1, Ordering::Relaxed);
            tokens.insert_one(token(number)).await.unwrap();
        }
    };
    tokio::join!(reads, writes);
}

#[tokio::test]
async fn what_can_not_be_analysed_is_told_in_our_words() {
    let parameters = ["internalQueryMaxAddToSetBytes=1024".to_owned()];
    let options = Options { parameters: parameters.to_vec(), ..Options::default() };
    let set = ReplicaSet::start_with(&options).await;
    let database = set.client().await.database("ledger");
    let uri = set.database_uri("ledger");
    let error =
        async |options: ClusterOptions| analyze(&uri, &options).await.unwrap_err().to_string();
    let usual = ClusterOptions::default;
    let seen = error(usual()).await;
    assert!(seen.contains("no collection cashu_tokens; say"), "{seen}");
    database.create_collection("cashu_tokens").await.unwrap();
    let seen = error(usual()).await;
    assert!(seen.contains("no collection cashu_wallets") && seen.contains("--without"), "{seen}");
    let view = doc! {"create": "view", "viewOn": "cashu_tokens", "pipeline": []};
    database.run_command(view).await.unwrap();
    let seen = error(ClusterOptions { tokens: "view".into(), ..usual() }).await;
    assert!(seen.contains("not a plain collection") && seen.contains("--tokens"), "{seen}");
    let same = ClusterOptions { wallets: "cashu_tokens".into(), ..usual() };
    assert!(error(same).await.contains("name two"));

    database.create_collection("cashu_wallets").await.unwrap();
    let tokens = database.collection::<Document>("cashu_tokens");
    let shared_id = |n: i32| doc! {"npub": format!("npub{n:060}"), "transaction_id": "canary"};
    tokens.insert_many((0..100).map(shared_id)).await.unwrap();
    let seen = error(usual()).await;
    assert!(seen.contains("one group holds more") && seen.contains("export"), "{seen}");
    assert!(!seen.contains("canary"), "{seen}");
}

#[tokio::test]
async fn the_command_line_gives_the_same_object_and_refuses_what_makes_no_sense() {
    let shared = shared().await;
    fill_ledger(&shared.database, 400).await;
    let uri = shared.uri.clone();
    let with = |more: &[&str]| -> Vec<String> {
        ["analyze", "--engine", "mongodb"].iter().chain(more).map(|it| (*it).to_owned()).collect()
    };
    let outcomes = tokio::task::spawn_blocking(move || {
        let json = run(with(&["--uri", &uri, "--json"])).exits(0);
        let text = run(with(&["--uri", &uri])).exits(0);
        let mut by_environment = remelt(with(&["--json", "--fail-on", "any"]));
        by_environment.env("MONGODB_URI", &uri);
        let left_over = crate::support::command::finish(&mut by_environment).exits(4);
        let refused = [
            run(with(&["--json"])).exits(2),
            run(with(&["--uri", &uri, "snapshot", "plan", "--json"])).exits(2),
            run(with(&["--uri", &uri, "--repair-time", "2026-01-01T00:00:00Z", "--json"])).exits(2),
            run(["analyze", "--json"]).exits(2),
            run(["analyze", "--engine", "local", "snapshot", "--json"]).exits(2),
        ];
        (json.json(), text, left_over.json(), refused.map(|outcome| outcome.error()))
    });
    let (json, text, again, refused) = outcomes.await.unwrap();
    assert_eq!(
        keys(&json),
        ["snapshot", "stats", "impact", "findings", "healthScore", "plan", "performance"]
    );
    assert!(json["plan"].is_null() && json["snapshot"]["sha256"].is_null());
    assert_eq!(json["findings"], again["findings"]);
    assert!(text.stdout.contains("Database   read in place"), "{text:#?}");
    assert!(text.stdout.contains("No plan was made"), "{text:#?}");
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{text:#?}");
    for ((code, message, hint), word) in
        refused.iter().zip(["--uri", "no plan", "--repair-time", "SNAPSHOT", "PLAN_DIR"])
    {
        assert_eq!(code, "usage");
        let told = format!("{message} {hint}");
        assert!(told.contains(word) || told.contains("required"), "{told}");
    }
}
