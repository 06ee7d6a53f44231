//! Log lines: who asked gets them, in the form asked for, and nobody else's text is among them.

use crate::support::command::{Outcome, arg, finish, remelt, run};
use crate::support::live::{Ledger, generated};
use serde_json::Value;
use std::path::PathBuf;

fn dump() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dump = root.path().join("dump");
    run(["generate", arg(&dump), "--tokens", "50", "-q"]).exits(0);
    (root, dump)
}

/// Standard error as the JSON objects that all of its lines must be.
fn events(outcome: &Outcome) -> Vec<Value> {
    let lines = outcome.stderr.lines();
    let events: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for event in &events {
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z'), "{event}");
        assert!(event["target"].as_str().unwrap().starts_with("remelt"), "{event}");
    }
    events
}

fn messages(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["message"].as_str().unwrap()).collect()
}

#[test]
fn nothing_is_logged_unless_it_is_asked_for() {
    let (root, dump) = dump();
    let stderr = |number: u8, options: &[&str]| {
        let plan = root.path().join(format!("plan{number}"));
        run(["analyze", arg(&dump), arg(&plan)].iter().chain(options)).exits(0).stderr
    };
    assert_eq!(stderr(1, &[]), "");
    assert_eq!(stderr(2, &["--quiet"]), "");
    assert_eq!(stderr(3, &["--quiet", "--log-format", "json"]), "");
    let told = stderr(4, &["-v"]);
    assert!(told.lines().all(|line| line.contains(" INFO ")), "{told}");
    assert!(told.contains("reading tokens"), "{told}");
    run(["analyze", arg(&dump), "x", "-v", "-q"]).exits(2);
}

#[test]
fn as_json_standard_error_is_events_alone_notes_and_failures_too() {
    let (root, dump) = dump();
    let json = ["--log-format", "json"];
    let plan = root.path().join("plan");
    let tokens = dump.join("nctool/cashu_tokens.bson");
    let lone = root.path().join("lone");
    std::fs::create_dir(&lone).unwrap();
    std::fs::copy(tokens, lone.join("cashu_tokens.bson")).unwrap();
    let analyze = ["analyze", arg(&lone), arg(&plan), "--without-wallets"];
    let outcome = run(analyze.iter().chain(&json)).exits(0);
    let found = events(&outcome);
    assert!(found.iter().any(|event| event["level"] == "WARN"), "the note: {found:?}");
    let steps: Vec<&Value> =
        found.iter().filter(|event| event["message"] == "step begun").collect();
    assert!(steps.iter().any(|step| step["step"] == "reading tokens"), "{found:?}");
    assert!(!outcome.stdout.contains("\"level\""), "the result is no event");

    let failed = run(analyze.iter().chain(&json)).exits(3);
    let found = events(&failed);
    let error = found.last().unwrap();
    assert_eq!((&error["level"], &error["code"]), (&"ERROR".into(), &"exists".into()), "{error}");
    assert!(!error["hint"].as_str().unwrap().is_empty(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_logs_its_batches_and_the_driver_says_nothing() {
    let ledger = Ledger::new(&generated(400, 3, false)).await;
    let place = tempfile::tempdir().unwrap();
    let on = |line: &str| {
        let mut command = remelt(line.split(' '));
        finish(command.env("MONGODB_URI", &ledger.uri).current_dir(place.path()))
    };
    on("export snapshot --without-wallets -q").exits(0);
    on("analyze snapshot plan --without-wallets -q").exits(0);
    let applied = on("apply plan --confirm --yes --batch 10 -vv --log-format json --json").exits(0);
    let found = events(&applied);
    let said = messages(&found);
    for message in ["run begun", "step begun", "batch committed", "run ended"] {
        assert!(said.contains(&message), "{message}: {said:?}");
    }
    let written = |event: &&Value| event["message"] == "batch committed";
    let sum: u64 = found.iter().filter(written).map(|it| it["written"].as_u64().unwrap()).sum();
    assert_eq!(Some(sum), applied.json()["applied"].as_u64());
    let rolled_back = on("rollback plan --confirm --yes -v").exits(0);
    assert!(rolled_back.stderr.contains("rollback begun"), "{rolled_back:?}");
    assert!(!rolled_back.stderr.contains("DEBUG"), "{rolled_back:?}");
}
