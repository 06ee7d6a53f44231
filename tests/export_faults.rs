//! Export while things break: the server goes away, the history is short, the process is killed, the
//! disk refuses. Nothing half-made is ever left where a snapshot should be.

use crate::support::exports::{
    app_uri, block_get_more, connect, export_to, export_with, fail_point, fill, options,
    small_ledger, stored, try_export,
};
use crate::support::mongod::{Options, ReplicaSet, Signal, shared};
use mongodb::Database;
use mongodb::bson::{Document, doc};
use remelt::export::{ATTEMPTS_MAX, ExportError, ExportOptions, ReadConsistency, export};
use remelt::progress::Progress;
use remelt::server::ServerError;
use remelt::snapshot::Snapshot;
use remelt::snapshot::input::InputOptions;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Asks a second test process to export from this connection string.
const CHILD_URI: &str = "REMELT_TEST_EXPORT_URI";
/// The directory to which it exports.
const CHILD_PATH: &str = "REMELT_TEST_EXPORT_PATH";

async fn fill_small(database: &Database) -> Vec<u8> {
    let (tokens, wallets) = small_ledger(2_500);
    fill(database, "cashu_tokens", &tokens).await;
    fill(database, "cashu_wallets", &wallets).await;
    stored(database, "cashu_tokens").await.concat()
}

fn failing(command: &str, app: &str, mode: Document, fault: Document) -> Document {
    let mut data = doc! {"failCommands": [command], "appName": app};
    data.extend(fault);
    let mode = match mode.get("times") {
        Some(_) => mode.into(),
        None => mongodb::bson::Bson::from("alwaysOn"),
    };
    doc! {"configureFailPoint": "failCommand", "mode": mode, "data": data}
}

#[tokio::test]
async fn a_short_history_is_named_with_the_parameter_to_raise() {
    let set = ReplicaSet::start(1).await;
    let database = set.client().await.database("ledger");
    fill_small(&database).await;
    let uri = app_uri(&set.database_uri("ledger"), "short");
    for code in [239, 246] {
        for command in ["find", "getMore"] {
            let fault = doc! {"errorCode": code};
            fail_point(&database, failing(command, "short", doc! {}, fault)).await;
            let error = try_export(&uri, &options()).await.unwrap_err();
            assert!(matches!(error, ExportError::SnapshotTooOld { code: c } if c == code));
            let error = error.to_string();
            assert!(error.contains("minSnapshotHistoryWindowInSeconds"), "{error}");
            assert!(error.contains("--consistency none"), "{error}");
        }
    }
    // A collection that was only just made may need a new time, which the next attempt has.
    let fault = doc! {"errorCode": 246};
    fail_point(&database, failing("find", "short", doc! {"times": 1}, fault)).await;
    let exported = export_with(&uri, &options()).await;
    assert!(exported.report.notes.iter().any(|note| note.contains("attempt 2")));
}

#[tokio::test]
async fn a_history_that_really_ends_ends_the_export_and_not_its_consistency() {
    let parameters = vec!["minSnapshotHistoryWindowInSeconds=1".to_owned()];
    let set = ReplicaSet::start_with(&Options { parameters, ..Options::default() }).await;
    let database = set.client().await.database("ledger");
    fill_small(&database).await;
    let uri = app_uri(&set.database_uri("ledger"), "ended");
    fail_point(&database, block_get_more("ended", 4_000)).await;
    let writes = async {
        let tokens = database.collection::<Document>("cashu_tokens");
        for _ in 0..500 {
            let more = doc! {"$inc": {"counter": 1}};
            tokens.update_many(doc! {"status": "unspent"}, more).await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let options = options();
    tokio::select! {
        result = try_export(&uri, &options) => {
            let error = result.unwrap_err();
            assert!(matches!(error, ExportError::SnapshotTooOld { code: 239 }), "{error}");
        }
        () = writes => panic!("the export outlived the writes"),
    }
    let plain = ExportOptions { consistency: ReadConsistency::None, ..options };
    fail_point(&database, block_get_more("ended", 1)).await;
    export_with(&uri, &plain).await;
}

#[tokio::test]
async fn a_connection_that_breaks_once_costs_a_new_beginning() {
    let set = ReplicaSet::start(1).await;
    let database = set.client().await.database("ledger");
    let expected = fill_small(&database).await;
    let uri = app_uri(&set.database_uri("ledger"), "broken");
    let faults = [doc! {"closeConnection": true}, doc! {"errorCode": 91}, doc! {"errorCode": 43}];
    for fault in faults {
        let once = failing("getMore", "broken", doc! {"times": 1}, fault.clone());
        fail_point(&database, once).await;
        let exported = export_with(&uri, &options()).await;
        assert_eq!(exported.documents().0, expected, "{fault}");
        exported.check();
        let notes = &exported.report.notes;
        assert!(notes.iter().any(|note| note.contains("attempt 2")), "{fault}: {notes:?}");
    }
    // The driver itself repeats the first read.
    let once = failing("find", "broken", doc! {"times": 1}, doc! {"closeConnection": true});
    fail_point(&database, once).await;
    assert_eq!(export_with(&uri, &options()).await.documents().0, expected);

    let always = failing("getMore", "broken", doc! {}, doc! {"closeConnection": true});
    fail_point(&database, always).await;
    let error = try_export(&uri, &options()).await.unwrap_err();
    assert!(matches!(error, ExportError::Server(ServerError::Lost { .. })), "{error}");
    assert!(error.to_string().contains("run the same command again"), "{error}");
    // Another kind of refusal is not tried again.
    let refused = failing("getMore", "broken", doc! {}, doc! {"errorCode": 13});
    fail_point(&database, refused).await;
    let error = try_export(&uri, &options()).await.unwrap_err().to_string();
    assert!(error.contains("Permission denied"), "{error}");
    const { assert!(ATTEMPTS_MAX > 1) };
}

#[tokio::test]
async fn a_killed_server_ends_the_export_clearly_and_a_restarted_one_is_read_anew() {
    let mut set = ReplicaSet::start(1).await;
    let database = set.client().await.database("ledger");
    fill_small(&database).await;
    let uri = format!(
        "{}&serverSelectionTimeoutMS=15000",
        app_uri(&set.database_uri("ledger"), "killed")
    );
    fail_point(&database, block_get_more("killed", 5_000)).await;
    let running = tokio::spawn(async move { try_export(&uri, &options()).await });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!running.is_finished(), "the export ended before the server was killed");
    set.kill_9(0);
    set.restart(0).await;
    set.wait_until_healthy().await;
    let exported = running.await.unwrap().unwrap();
    // Recovery may have changed the natural order.
    let expected = stored(&set.client().await.database("ledger"), "cashu_tokens").await;
    assert!(exported.documents().0 == expected.concat());
    assert!(exported.report.notes.iter().any(|note| note.contains("began anew")));

    let uri =
        format!("{}&serverSelectionTimeoutMS=1500", app_uri(&set.database_uri("ledger"), "killed"));
    fail_point(&set.client().await.database("ledger"), block_get_more("killed", 5_000)).await;
    let running = tokio::spawn(async move { try_export(&uri, &options()).await });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!running.is_finished());
    set.stop(0, Signal::Kill);
    let begun = Instant::now();
    let error = running.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("Database connection not ready"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_interrupted_or_abandoned_export_leaves_nothing() {
    let shared = shared().await;
    fill_small(&shared.database).await;
    let server = connect(&shared.uri).await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("snapshot");
    let left = || fs::read_dir(directory.path()).unwrap().count();

    let progress = Progress::new();
    progress.stop();
    let clock = || Duration::ZERO;
    let error = export(&server, &place, &options(), &progress, &clock).await.unwrap_err();
    assert!(matches!(error, ExportError::Interrupted(_)), "{error}");
    assert_eq!(left(), 0);

    // Given up at every of many moments, as by a caller that waits no longer.
    let begun = Instant::now();
    export_to(&server, &directory.path().join("whole"), &options()).await.unwrap();
    let whole = begun.elapsed();
    for part in 1..20 {
        let options = options();
        let running = export_to(&server, &place, &options);
        if tokio::time::timeout(whole * part / 20, running).await.is_ok() {
            fs::remove_dir_all(&place).unwrap();
        }
        assert!(!place.exists());
    }
    let begun = Instant::now();
    while left() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(5), "files were left behind");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    export_to(&server, &place, &options()).await.unwrap();
    assert_eq!(left(), 2);
}

/// Starts this test program again, to export alone.
fn child(uri: &str, place: &Path, limits: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    let test = "export_faults::exports_when_asked_to";
    Command::new("/bin/sh")
        .args(["-c", &format!("{limits} exec \"$0\" --exact {test} --nocapture")])
        .arg(program)
        .env(CHILD_URI, uri)
        .env(CHILD_PATH, place)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The other half of the tests that kill a process; does nothing in a usual run.
#[tokio::test]
async fn exports_when_asked_to() {
    let (Some(uri), Some(path)) = (std::env::var_os(CHILD_URI), std::env::var_os(CHILD_PATH))
    else {
        return;
    };
    let server = connect(uri.to_str().unwrap()).await;
    if let Err(error) = export_to(&server, &PathBuf::from(path), &options()).await {
        println!("\nthe child failed: {error}");
    }
}

#[tokio::test]
async fn kill_9_leaves_no_snapshot_and_the_next_export_clears_up() {
    let set = ReplicaSet::start(1).await;
    let database = set.client().await.database("ledger");
    let expected = fill_small(&database).await;
    let uri = app_uri(&set.database_uri("ledger"), "kill");
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("snapshot");
    let partial = directory.path().join(".snapshot.partial");
    // At moments from before the first file to the last batch.
    fail_point(&database, block_get_more("kill", 1_000)).await;
    for ms in [0, 30, 100, 500, 1_500] {
        let mut child = child(&uri, &place, "");
        let begun = Instant::now();
        while !partial.exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the child does not begin");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(ms)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(partial.exists() && !place.exists(), "killed after {ms} ms");
        assert!(Snapshot::open(&place, &InputOptions::default()).is_err());
    }
    fail_point(&database, block_get_more("kill", 1)).await;
    export_to(&connect(&uri).await, &place, &options()).await.unwrap();
    assert!(!partial.exists());
    let file = place.join("ledger/cashu_tokens.bson");
    assert!(fs::read(file).unwrap() == expected);
}

#[tokio::test]
async fn a_disk_that_takes_no_more_fails_the_export_and_leaves_nothing() {
    let shared = shared().await;
    fill_small(&shared.database).await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("snapshot");
    // No file may pass 100 blocks of 512 bytes; the signal is ignored, so that writing gives an error.
    let child = child(&shared.uri, &place, "trap '' XFSZ; ulimit -f 100;");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("the child failed: could not write"), "{said}");
    assert!(said.contains("cashu_tokens.bson: the largest size of a file is reached"), "{said}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn two_exports_to_one_place_do_not_mix() {
    let set = ReplicaSet::start(1).await;
    let database = set.client().await.database("ledger");
    let expected = fill_small(&database).await;
    fail_point(&database, block_get_more("two", 500)).await;
    let server = connect(&app_uri(&set.database_uri("ledger"), "two")).await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("snapshot");
    let options = options();
    let second = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        export_to(&server, &place, &options).await
    };
    let (first, second) = tokio::join!(export_to(&server, &place, &options), second);
    first.unwrap();
    let second = second.unwrap_err().to_string();
    assert!(second.contains("another remelt process is writing"), "{second}");
    let file = place.join("ledger/cashu_tokens.bson");
    assert!(fs::read(file).unwrap() == expected);
}

#[tokio::test]
async fn a_server_that_takes_its_time_keeps_nobody_from_stopping() {
    let set = ReplicaSet::start(1).await;
    let database = set.client().await.database("ledger");
    fill_small(&database).await;
    fail_point(&database, block_get_more("slow", 20_000)).await;
    let server = connect(&app_uri(&set.database_uri("ledger"), "slow")).await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("snapshot");
    let (progress, options, clock) = (Progress::new(), options(), || Duration::ZERO);
    let begun = Instant::now();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        progress.stop();
    };
    let running = export(&server, &place, &options, &progress, &clock);
    let (result, ()) = tokio::join!(running, stop);
    assert!(matches!(result.unwrap_err(), ExportError::Interrupted(_)));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
