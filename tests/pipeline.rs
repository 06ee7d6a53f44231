//! The whole repair of a database, through the program: export, analyze, apply, verify, roll back.

use crate::support::command::{Outcome, finish, remelt};
use crate::support::live::{Ledger, generated};
use crate::support::oracle;
use mongodb::bson::doc;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs `line` in `directory` on the database that `uri` names.
fn on(uri: &str, directory: &Path, line: &str) -> Outcome {
    let mut command = remelt(line.split(' '));
    finish(command.env("MONGODB_URI", uri).current_dir(directory))
}

fn sha256_in(outcome: &Outcome, at: &str) -> String {
    outcome.json().pointer(at).and_then(|it| it.as_str()).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_an_own_export_needs_no_word_about_its_target() {
    let ledger = Ledger::new(&generated(600, 3, true)).await;
    // Fields that occur twice are never written, and the server would refuse nothing else here.
    let scratch = tempfile::tempdir().unwrap();
    let run = |line: &str| on(&ledger.uri, scratch.path(), line);

    let first = run("export before --without-wallets --json").exits(0);
    let plan = run("analyze before plan --json").exits(0).json();
    let changes = plan["plan"]["changes"].as_u64().unwrap();
    assert!(changes > 20, "{changes}");
    run("validate plan --json").exits(0);
    let preview = run("preview plan --json").exits(0).json();
    assert_eq!(preview["stats"]["tokensToMigrate"], changes);
    run("apply plan").exits(3);
    let applied = run("apply plan --confirm --yes --json").exits(0).json();
    assert_eq!(
        (applied["applied"].as_u64(), &applied["state"]),
        (Some(changes), &"completed".into())
    );
    let verified = run("verify plan --json").exits(0).json();
    assert_eq!((verified["asPlanned"].as_u64(), &verified["ok"]), (Some(changes), &true.into()));
    let error = run("apply plan --confirm --yes --json").exits(3).error();
    assert!(error.1.contains("Migration has already been completed"), "{error:?}");
    let status = run("status --json").exits(0).json();
    assert_eq!(status["migration"]["isCompleted"], true);

    let run_id = applied["runId"].as_str().unwrap();
    let restored = run(&format!("rollback {run_id} --confirm --yes --json")).exits(0).json();
    assert_eq!(restored["restored"].as_u64(), Some(changes));
    let second = run("export after --without-wallets --json").exits(0);
    assert_eq!(sha256_in(&first, "/snapshot/sha256"), sha256_in(&second, "/snapshot/sha256"));
    run("diff before after --json --without-wallets").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_an_export_without_secrets_is_refused_and_nothing_is_written() {
    let ledger = Ledger::new(&generated(100, 4, false)).await;
    let scratch = tempfile::tempdir().unwrap();
    let run = |line: &str| on(&ledger.uri, scratch.path(), line);
    run("export hashed --without-wallets --without-secrets").exits(0);
    run("analyze hashed plan").exits(0);
    let (code, message, _) = run("apply plan --confirm --yes --json").exits(3).error();
    assert_eq!(code, "without_secrets", "{message}");
    ledger.assert_documents(&ledger.before, "after the refusal").await;
}

/// Applies with every file limited to `blocks` of 512 bytes, as on a full disk.
fn apply_on_a_full_disk(uri: &str, directory: &Path, blocks: u32) -> Outcome {
    let program = env!("CARGO_BIN_EXE_remelt");
    let script = format!(
        "trap '' XFSZ; ulimit -f {blocks}; exec {program} apply plan --confirm --yes --json"
    );
    let mut command = Command::new("sh");
    finish(command.args(["-c", &script]).env("MONGODB_URI", uri).current_dir(directory))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_an_apply_and_more_room_lets_the_same_command_finish_it() {
    let ledger = Ledger::new(&generated(400, 5, false)).await;
    let scratch = tempfile::tempdir().unwrap();
    let run = |line: &str| on(&ledger.uri, scratch.path(), line);
    run("export before --without-wallets").exits(0);
    run("analyze before plan").exits(0);
    let full = apply_on_a_full_disk(&ledger.uri, scratch.path(), 0).exits(1);
    assert!(!full.error().1.is_empty());
    ledger.assert_documents(&ledger.before, "after the full disk").await;
    run("apply plan --confirm --yes").exits(0);
    run("verify plan").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_directory_that_takes_no_run_is_refused_before_anything_is_written() {
    let ledger = Ledger::new(&generated(100, 6, false)).await;
    let scratch = tempfile::tempdir().unwrap();
    let run = |line: &str| on(&ledger.uri, scratch.path(), line);
    run("export before --without-wallets").exits(0);
    run("analyze before plan").exits(0);
    fs::write(scratch.path().join("plan/runs"), "in the way").unwrap();
    run("apply plan --confirm --yes --json").exits(1);
    ledger.assert_documents(&ledger.before, "after the refusal").await;
    let journal = ledger.database.collection::<mongodb::bson::Document>("remelt_journal");
    assert_eq!(journal.count_documents(doc! {}).await.unwrap(), 0);
    fs::remove_file(scratch.path().join("plan/runs")).unwrap();
    run("apply plan --confirm --yes").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_analysis_of_an_export_equals_the_oracle() {
    let ledger = Ledger::new(&generated(500, 7, true)).await;
    let scratch = tempfile::tempdir().unwrap();
    on(&ledger.uri, scratch.path(), "export before --without-wallets").exits(0);
    let line = "analyze before plan --repair-time 2026-01-01T00:00:00Z --json";
    let report = on(&ledger.uri, scratch.path(), line).exits(0).json();
    let options = oracle::OracleOptions {
        repair_time_ms: 1_767_225_600_000,
        spent_at: oracle::SpentAt::Repair,
    };
    let expected = oracle::analyze(&ledger.before.concat(), None, &options).to_json();
    for part in ["stats", "impact", "findings"] {
        assert_eq!(report[part], expected[part], "{part}");
    }
}
