//! Export from the real server: exact bytes, one point in time, nothing written, secrets kept back.

use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::exports::{
    Exported, app_uri, block_get_more, connect, export_to, export_with, fail_point, fill, options,
    small_ledger, stored, try_export,
};
use crate::support::mongod::{Options, ReplicaSet, Standalone, shared, writes_on};
use crate::support::odd;
use crate::support::random::{Random, seed};
use crate::support::raw::{element, int64, string};
use crate::support::raw_collection::RawCollection;
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::document::find;
use remelt::export::{ExportError, ExportOptions, ReadConsistency, Secrets};
use remelt::model::hash_bytes;
use remelt::snapshot::format::{Compression, Consistency, Presence, Role};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        }
        files.push(path);
    }
    files
}

#[tokio::test]
async fn documents_are_exported_byte_for_byte_whatever_they_hold() {
    let shared = shared().await;
    let seed = seed();
    eprintln!("REMELT_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let mut documents: Vec<Vec<u8>> = odd::documents().into_iter().map(|it| it.1).collect();
    documents.extend((10_000..12_000).map(|number| odd::random_document(&mut random, number)));
    // An _id of every type that the server takes.
    for (_, value) in odd::values() {
        let id = crate::support::raw::nested(&[element("odd", &value)]);
        documents.push(crate::support::raw::document(&[element("_id", &id)]));
        documents.push(crate::support::raw::document(&[element("_id", &value)]));
    }
    let wallet = crate::support::raw::document(&[
        element("_id", &string("w")),
        element("p2pk_privkey", &string("key")),
    ]);
    fill(&shared.database, "cashu_tokens", &documents).await;
    fill(&shared.database, "cashu_wallets", std::slice::from_ref(&wallet)).await;
    let expected = stored(&shared.database, "cashu_tokens").await;
    assert!(expected.len() > 2_000, "{} documents were stored", expected.len());
    let kinds: HashSet<u8> = expected
        .iter()
        .map(|document| find(document, b"_id").unwrap().unwrap().value.kind.byte())
        .collect();
    assert!(kinds.len() > 12, "{kinds:?}");

    for compression in ALL {
        let options = ExportOptions { compression, wallet_keys: true, ..options() };
        let exported = export_with(&shared.uri, &options).await;
        let (tokens, wallets) = exported.documents();
        assert_eq!(hash_bytes(&tokens), hash_bytes(&expected.concat()), "{compression:?}");
        assert_eq!(wallets, wallet);
        let manifest = exported.manifest();
        assert_eq!(manifest.consistency, Consistency::Snapshot);
        assert_eq!((manifest.secrets, manifest.wallet_keys), (Presence::Full, Presence::Full));
        assert_eq!(manifest.collection(Role::Tokens).unwrap().compression, compression);
        assert_eq!(exported.report.documents["cashu_tokens"], expected.len());
        assert_eq!(exported.report.snapshot.cluster_time, manifest.cluster_time);
        assert!(manifest.cluster_time.unwrap().contains(':'));
        assert!(manifest.source.unwrap().replica_set_id.is_some());
        for path in files_below(&exported.path()) {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn empty_collections_are_exported_in_every_form() {
    let shared = shared().await;
    shared.database.create_collection("cashu_tokens").await.unwrap();
    shared.database.create_collection("cashu_wallets").await.unwrap();
    for compression in ALL {
        let exported = export_with(&shared.uri, &ExportOptions { compression, ..options() }).await;
        assert_eq!(exported.documents(), (vec![], vec![]), "{compression:?}");
        assert_eq!(exported.report.bytes, 0);
        exported.check();
    }
}

#[tokio::test]
async fn metadata_says_what_mongodump_says() {
    let shared = shared().await;
    let database = &shared.database;
    database
        .create_collection("cashu_tokens")
        .validation_level(mongodb::options::ValidationLevel::Moderate)
        .validator(doc! {"n": {"$ne": 5_i64}})
        .await
        .unwrap();
    let index = doc! {"createIndexes": "cashu_tokens", "indexes": [
    {"key": {"npub": 1, "status": -1}, "name": "npub_1_status_-1", "unique": true}]};
    database.run_command(index).await.unwrap();
    database.create_collection("cashu_wallets").await.unwrap();
    let list = doc! {"name": "cashu_tokens"};
    let info = database.list_collections().filter(list).await.unwrap().try_next().await.unwrap();
    let uuid: String =
        info.unwrap().info.uuid.unwrap().bytes.iter().map(|b| format!("{b:02x}")).collect();
    let exported = export_with(&shared.uri, &options()).await;
    let metadata = exported.path().join(database.name()).join("cashu_tokens.metadata.json");
    assert_eq!(
        fs::read_to_string(metadata).unwrap(),
        format!(
            r#"{{"options":{{"validator":{{"n":{{"$ne":{{"$numberLong":"5"}}}}}},"validationLevel":"moderate"}},"indexes":[{{"v":{{"$numberInt":"2"}},"key":{{"_id":{{"$numberInt":"1"}}}},"name":"_id_"}},{{"v":{{"$numberInt":"2"}},"key":{{"npub":{{"$numberInt":"1"}},"status":{{"$numberInt":"-1"}}}},"name":"npub_1_status_-1","unique":true}}],"uuid":"{uuid}","collectionName":"cashu_tokens","type":"collection"}}"#
        )
    );
    let prelude = exported.path().join(database.name()).join("prelude.json");
    assert!(fs::read_to_string(prelude).unwrap().starts_with(r#"{"ServerVersion":"6.0.5","#));
}

/// What an analysis finds, without what names the snapshot or the time.
fn figures(path: &Path) -> (serde_json::Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let build = build_options(SpentAt::Repair, 2, MEMORY_BYTES_MIN, 5);
    let report = make_plan(path, &directory.path().join("plan"), &build).unwrap();
    let report = serde_json::to_value(&report).unwrap();
    let figures = serde_json::json!({
        "stats": report["stats"], "impact": report["impact"], "findings": report["findings"],
        "changes": report["plan"]["changes"],
    });
    (figures, report["snapshot"]["sha256"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_export_analyses_like_a_dump_of_the_same_documents() {
    let shared = shared().await;
    let (tokens, wallets) = small_ledger(4_000);
    fill(&shared.database, "cashu_tokens", &tokens).await;
    fill(&shared.database, "cashu_wallets", &wallets).await;
    // The server sets a timestamp that is 0 and puts the _id first, so what it stores is the dump.
    let tokens = stored(&shared.database, "cashu_tokens").await;
    let wallets = stored(&shared.database, "cashu_wallets").await;
    let dump = tempfile::tempdir().unwrap();
    write_dump(dump.path(), &tokens.concat(), Some(&wallets.concat()));
    let (expected, sha256) = figures(dump.path());
    assert!(expected["findings"]["duplicate_secrets"]["count"].as_u64().unwrap() > 0);
    for compression in ALL {
        let whole = ExportOptions { compression, wallet_keys: true, ..options() };
        let exported = export_with(&shared.uri, &whole).await;
        assert_eq!(figures(&exported.path()), (expected.clone(), sha256.clone()));
        assert_eq!(exported.report.snapshot.sha256, sha256);
        exported.check();
        // Without keys, and without secrets, the documents differ and the figures do not.
        for secrets in [Secrets::Full, Secrets::Hashed] {
            let options = ExportOptions { compression, secrets, ..options() };
            let exported = export_with(&shared.uri, &options).await;
            let (seen, other) = figures(&exported.path());
            assert_eq!(seen, expected, "{secrets:?}");
            assert_ne!(other, sha256);
            exported.check();
        }
    }
}

/// Texts of the fields that hold money, wherever they stand.
fn secret_texts(value: &mongodb::bson::Bson, into: &mut Vec<String>) {
    use mongodb::bson::Bson;
    match value {
        Bson::Document(fields) => {
            for (name, value) in fields {
                match value {
                    Bson::String(text)
                        if ["secret", "C", "witness", "p2pk_privkey"].contains(&name.as_str()) =>
                    {
                        into.push(text.clone());
                    }
                    _ => secret_texts(value, into),
                }
            }
        }
        Bson::Array(values) => values.iter().for_each(|value| secret_texts(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn without_secrets_none_is_in_any_file() {
    let shared = shared().await;
    let (mut tokens, wallets) = small_ledger(2_000);
    let canary = doc! {
        "_id": 1, "npub": "npub1", "status": "unspent", "proofs": [
            {"id": "0", "amount": 1, "secret": "CANARY-CANARY-1", "C": "CANARY-CANARY-2",
             "witness": {"signatures": ["CANARY-CANARY-3"]}, "dleq": {"e": "CANARY-CANARY-4"}},
            "CANARY-CANARY-5", ["CANARY-CANARY-6"],
            {"id": "0", "nested": {"secret": ["CANARY-CANARY-7"]}, "secret": 8},
        ],
        "metadata": {"source": "p2p", "token": "cashuAeyJ CANARY-CANARY-8", "C": "CANARY-CANARY-9"},
    };
    tokens.push(mongodb::bson::serialize_to_vec(&canary).unwrap());
    fill(&shared.database, "cashu_tokens", &tokens).await;
    fill(&shared.database, "cashu_wallets", &wallets).await;
    let mut secrets = vec!["CANARY-CANARY".to_owned()];
    for document in tokens.iter().chain(&wallets) {
        if let Ok(document) = mongodb::bson::deserialize_from_slice::<Document>(document) {
            secret_texts(&document.into(), &mut secrets);
        }
    }
    const HEAD: usize = 12;
    let heads: HashSet<&[u8]> =
        secrets.iter().filter_map(|secret| secret.as_bytes().get(..HEAD)).collect();
    assert!(heads.len() > 4_000, "{}", heads.len());
    let hits = |bytes: &[u8]| bytes.windows(HEAD).filter(|window| heads.contains(window)).count();

    let full = export_with(&shared.uri, &ExportOptions { wallet_keys: true, ..options() }).await;
    assert!(hits(&full.documents().0) > 4_000);
    for compression in ALL {
        let options = ExportOptions { compression, secrets: Secrets::Hashed, ..options() };
        let exported = export_with(&shared.uri, &options).await;
        let (tokens, wallets) = exported.documents();
        assert_eq!(hits(&tokens) + hits(&wallets), 0);
        for path in files_below(&exported.path()).iter().filter(|path| path.is_file()) {
            assert_eq!(hits(&fs::read(path).unwrap()), 0, "{}", path.display());
        }
        assert!(!serde_json::to_string(&exported.report).unwrap().contains("CANARY"));
        let manifest = exported.manifest();
        assert_eq!((manifest.secrets, manifest.wallet_keys), (Presence::Hashed, Presence::Hashed));
    }
    // By default wallets lose their keys and nothing else.
    let exported = export_with(&shared.uri, &options()).await;
    let (tokens, wallets) = exported.documents();
    assert_eq!(tokens, full.documents().0);
    assert!(!wallets.windows(12).any(|window| window == b"p2pk_privkey"));
    assert_eq!(exported.manifest().wallet_keys, Presence::Omitted);
}

/// A writer that moves value between the first token and the only wallet, in transactions.
async fn move_value(client: mongodb::Client, db: String, stop: &AtomicBool) -> u64 {
    let mut moves = 0;
    let database = client.database(&db);
    let (tokens, wallets) =
        (database.collection::<Document>("cashu_tokens"), database.collection("cashu_wallets"));
    while !stop.load(Ordering::Relaxed) {
        let mut session = client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let (more, less) = (doc! {"$inc": {"value": 1_i64}}, doc! {"$inc": {"value": -1_i64}});
        let wallets: &mongodb::Collection<Document> = &wallets;
        tokens.update_one(doc! {"_id": 0_i64}, more).session(&mut session).await.unwrap();
        wallets.update_one(doc! {"_id": 0_i64}, less).session(&mut session).await.unwrap();
        session.commit_transaction().await.unwrap();
        moves += 1;
    }
    moves
}

fn value_in(documents: &[u8]) -> i64 {
    let length = usize::try_from(i32::from_le_bytes(*documents.first_chunk().unwrap())).unwrap();
    let value = find(&documents[..length], b"value").unwrap().unwrap().value;
    value.as_amount().unwrap()
}

#[tokio::test]
async fn a_snapshot_is_never_torn_and_plain_reads_are() {
    let set = ReplicaSet::start(1).await;
    let database = set.client().await.database("ledger");
    let start = |number: i64| {
        let fields = [element("_id", &int64(number)), element("value", &int64(0))];
        crate::support::raw::document(&fields)
    };
    let tokens: Vec<Vec<u8>> = (0..2_500).map(start).collect();
    fill(&database, "cashu_tokens", &tokens).await;
    fill(&database, "cashu_wallets", &[start(0)]).await;
    let uri = app_uri(&set.database_uri("ledger"), "torn");
    // Every batch after the first takes a while, so that the writer gets in between.
    fail_point(&database, block_get_more("torn", 100)).await;

    let stop = AtomicBool::new(false);
    let (client, db) = (database.client().clone(), "ledger".to_owned());
    let exports = async {
        let mut torn = 0;
        for round in 0..5 {
            let exported = export_with(&uri, &options()).await;
            let (tokens, wallets) = exported.documents();
            assert_eq!(value_in(&tokens) + value_in(&wallets), 0, "round {round} is torn");
        }
        for _ in 0..3 {
            let consistency = ReadConsistency::None;
            let exported = export_with(&uri, &ExportOptions { consistency, ..options() }).await;
            let (tokens, wallets) = exported.documents();
            torn += u64::from(value_in(&tokens) + value_in(&wallets) != 0);
            let manifest = exported.manifest();
            assert_eq!((manifest.consistency, manifest.cluster_time), (Consistency::None, None));
            assert!(exported.report.notes[0].starts_with("NOT CONSISTENT"));
        }
        stop.store(true, Ordering::Relaxed);
        torn
    };
    let (torn, moves) = tokio::join!(exports, move_value(client, db, &stop));
    assert!(moves > 20, "{moves} moves");
    assert!(torn > 0, "plain reads were never torn: the test shows nothing");
}

#[tokio::test]
async fn a_read_only_user_suffices_and_the_server_sees_no_write() {
    let set = ReplicaSet::start_with(&Options { auth: true, ..Options::default() }).await;
    let root = set.client().await;
    let database = root.database("ledger");
    let (tokens, wallets) = small_ledger(1_500);
    fill(&database, "cashu_tokens", &tokens).await;
    fill(&database, "cashu_wallets", &wallets).await;
    set.add_user("reader", "pass", vec![doc! {"role": "read", "db": "ledger"}]).await;
    set.add_user("nobody", "pass", vec![doc! {"role": "read", "db": "other"}]).await;
    database.run_command(doc! {"profile": 2}).await.unwrap();
    let before = writes_on(&root).await;
    let uri = set.user_uri("reader", "pass").replacen("/?", "/ledger?", 1);
    let exported = export_with(&uri, &options()).await;
    assert_eq!(before, writes_on(&root).await);
    database.run_command(doc! {"profile": 0}).await.unwrap();
    assert_eq!(exported.documents().0, stored(&database, "cashu_tokens").await.concat());

    let profile = database.collection::<Document>("system.profile");
    let mine = profile.find(doc! {"appName": "remelt"}).await.unwrap();
    let mine: Vec<Document> = mine.try_collect().await.unwrap();
    assert!(mine.len() >= 4, "{} operations", mine.len());
    for operation in &mine {
        let kind = operation.get_str("op").unwrap();
        let command = operation.get_document("command").unwrap();
        let name = command.keys().next().unwrap().as_str();
        let read = ["find", "getMore", "listCollections", "listIndexes", "collStats"];
        assert!(["query", "getmore", "command"].contains(&kind), "{operation}");
        assert!(read.contains(&name), "{operation}");
    }

    let uri = set.user_uri("nobody", "pass").replacen("/?", "/ledger?", 1);
    let error = try_export(&uri, &options()).await.unwrap_err().to_string();
    assert!(error.contains("Permission denied") && error.contains("listCollections"), "{error}");
}

#[tokio::test]
async fn missing_collections_and_odd_names_are_told() {
    let shared = shared().await;
    let error = async |options: ExportOptions| {
        try_export(&shared.uri, &options).await.unwrap_err().to_string()
    };
    let seen = error(options()).await;
    assert!(seen.contains("no collection cashu_tokens (it has none"), "{seen}");
    shared.database.create_collection("tokens").await.unwrap();
    let seen = error(options()).await;
    assert!(seen.contains("it has tokens") && seen.contains("--tokens"), "{seen}");
    shared.database.create_collection("cashu_tokens").await.unwrap();
    let seen = error(options()).await;
    assert!(seen.contains("no collection cashu_wallets") && seen.contains("--wallets"), "{seen}");
    let lone = ExportOptions { require_wallets: false, ..options() };
    let exported = export_with(&shared.uri, &lone).await;
    assert!(exported.manifest().collection(Role::Wallets).is_none());
    exported.check();

    let view = doc! {"create": "view", "viewOn": "tokens", "pipeline": []};
    shared.database.run_command(view).await.unwrap();
    let seen = error(ExportOptions { tokens: "view".into(), ..lone.clone() }).await;
    assert!(seen.contains("is a view"), "{seen}");
    for name in ["", "..", "a/b", "a\0b"] {
        let seen = error(ExportOptions { tokens: name.into(), ..lone.clone() }).await;
        assert!(seen.contains("--tokens"), "{seen}");
    }
    let same = ExportOptions { wallets: "cashu_tokens".into(), ..lone };
    assert!(error(same).await.contains("name two"));
}

#[tokio::test]
async fn a_standalone_is_exported_only_when_inconsistency_is_accepted() {
    let server = Standalone::start().await;
    let database = server.client().await.database("nctool");
    let (tokens, wallets) = small_ledger(1_200);
    fill(&database, "cashu_tokens", &tokens).await;
    fill(&database, "cashu_wallets", &wallets).await;
    let error = try_export(&server.uri(), &options()).await.unwrap_err();
    assert!(matches!(error, ExportError::Standalone), "{error}");
    assert!(error.to_string().contains("--consistency none"));
    let plain = ExportOptions { consistency: ReadConsistency::None, ..options() };
    let exported = export_with(&server.uri(), &plain).await;
    assert_eq!(exported.documents().0, stored(&database, "cashu_tokens").await.concat());
    assert_eq!(exported.manifest().consistency, Consistency::None);
    assert!(exported.report.notes.iter().any(|note| note.contains("NOT CONSISTENT")));
}

#[tokio::test]
async fn a_snapshot_that_exists_is_never_overwritten() {
    let shared = shared().await;
    shared.database.create_collection("cashu_tokens").await.unwrap();
    shared.database.create_collection("cashu_wallets").await.unwrap();
    let Exported { directory, .. } = export_with(&shared.uri, &options()).await;
    let server = connect(&shared.uri).await;
    let place = directory.path().join("snapshot");
    let error = export_to(&server, &place, &options()).await.unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    let blocked = place.join("snapshot.json/below");
    let error = export_to(&server, &blocked, &options()).await.unwrap_err();
    assert!(matches!(error, ExportError::Publish(_)), "{error}");
    let names = RawCollection::new(&shared.database, "cashu_tokens").read().await;
    assert!(names.is_empty());
}
