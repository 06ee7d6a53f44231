//! A run that is stopped or killed publishes nothing, and the next one goes on as if it had not been.

use crate::support::archive_writer::gzip;
use crate::support::command::{Outcome, arg, remelt, run};
use crate::support::files::names_in;
use crate::support::raw::{document, element, int32};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Writes a dump that takes minutes to read and little room: gzip members of the same documents.
fn write_endless_dump(root: &Path) -> PathBuf {
    let database = root.join("endless/nctool");
    fs::create_dir_all(&database).unwrap();
    let token = document(&[element("_id", &int32(1)), element("total_amount", &int32(8))]);
    let member = gzip(&token.repeat((8 << 20) / token.len()));
    let wallet = document(&[element("_id", &int32(1))]);
    fs::write(database.join("cashu_tokens.bson.gz"), member.repeat(400)).unwrap();
    fs::write(database.join("cashu_wallets.bson"), wallet).unwrap();
    root.join("endless")
}

/// Begins to analyse the endless dump, and waits until it is under way.
fn begin(root: &Path, dump: &Path) -> Child {
    let plan = root.join("plan");
    let child = remelt(["analyze", arg(dump), arg(&plan), "--json", "--threads", "1"])
        .args(["--inflate-ratio-max", "1000000"])
        .env("TMPDIR", root.join("scratch"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !root.join(".plan.partial/changes.bson").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn an_interrupted_analysis_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dump = write_endless_dump(root.path());
    fs::create_dir(root.path().join("scratch")).unwrap();
    for name in ["-INT", "-TERM"] {
        let child = begin(root.path(), &dump);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let outcome = Outcome::new(name.to_owned(), &output).exits(1);
        assert_eq!(outcome.error().0, "interrupted", "{outcome:#?}");
        assert!(outcome.stderr.contains("stopping"), "{outcome:#?}");
        assert_eq!(names_in(root.path()), ["endless", "scratch"]);
        assert_eq!(names_in(&root.path().join("scratch")), [""; 0]);
    }
}

#[test]
fn a_killed_analysis_leaves_a_hidden_directory_that_the_next_one_clears() {
    let root = tempfile::tempdir().unwrap();
    let dump = write_endless_dump(root.path());
    fs::create_dir(root.path().join("scratch")).unwrap();
    let mut child = begin(root.path(), &dump);
    // A second one that wants the same place keeps out while the first one lives.
    let small = root.path().join("small");
    run(["generate", arg(&small), "--tokens", "20", "-q"]).exits(0);
    let plan = root.path().join("plan");
    let analyze = ["analyze", arg(&small), arg(&plan), "--json"];
    assert_eq!(run(analyze).exits(3).error().0, "locked");

    signal(&child, "-KILL");
    assert_eq!(child.wait().unwrap().code(), None);
    assert_eq!(names_in(root.path()), [".plan.partial", "endless", "scratch", "small"]);
    assert_eq!(names_in(&root.path().join("scratch")), [""; 0]);

    let report = run(analyze).exits(0).json();
    assert_eq!(report["stats"]["totalTokens"], 20);
    assert_eq!(names_in(root.path()), ["endless", "plan", "scratch", "small"]);
    run(["verify", arg(&plan), "--snapshot", arg(&small)]);
}
