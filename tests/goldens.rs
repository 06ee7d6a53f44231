//! The plan and the reports of a fixture, as people and programs read them today.
//!
//! `REMELT_BLESS=1` writes the fixture and the expected files anew; look at the difference before it is
//! committed.

use crate::support::command::{arg, run};
use crate::support::files::{assert_same, files_below, plan_files};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const REPAIR_TIME: &str = "2026-01-01T00:00:00Z";

/// What of a plan directory is kept as expected; of `summary.json` all but the measured times.
const EXPECTED: [&str; 7] = [
    "plan.json",
    "reports/balance_deltas.csv",
    "reports/balances.csv",
    "reports/changes.csv",
    "reports/findings.csv",
    "reports/report.html",
    "reports/summary.json",
];

/// Where the expected files lie.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn wants_blessing() -> bool {
    std::env::var_os("REMELT_BLESS").is_some_and(|value| value == "1")
}

/// The generator's output, which the fixture must be: database directory and truth.
fn generate(root: &Path) -> (PathBuf, PathBuf) {
    let ledger = root.join("ledger");
    run(["generate", arg(&ledger), "--tokens", "300", "--damage", "--quiet"]).exits(0);
    (ledger.join("nctool"), ledger.join("truth.json"))
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Compares with what is expected at `expected`, or writes it when that is asked for.
pub(crate) fn compare(expected: &Path, found: &[u8]) {
    if wants_blessing() {
        put(expected, found);
    }
    let known = fs::read(expected).unwrap_or_else(|error| {
        panic!("{}: {error}; REMELT_BLESS=1 writes it", expected.display())
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = text(&known).lines().zip(text(found).lines()).position(|(a, b)| a != b);
    assert!(
        known == found,
        "{} is not as expected, from line {:?} on; if it should change, REMELT_BLESS=1 rewrites it",
        expected.display(),
        line.map(|line| line + 1)
    );
}

#[test]
fn the_plan_and_the_reports_of_the_fixture_are_as_expected() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, truth) = generate(root.path());
    let fixture = fixtures().join("nctool");
    if wants_blessing() {
        for (name, bytes) in files_below(&ledger) {
            put(&fixture.join(name), &bytes);
        }
    }
    compare(&fixtures().join("nctool.truth.json"), &fs::read(truth).unwrap());
    assert_same(&files_below(&fixture), &files_below(&ledger), "what the generator writes");

    let plan = root.path().join("plan");
    let arguments = ["analyze", arg(&fixture), arg(&plan), "--repair-time", REPAIR_TIME];
    run(arguments.into_iter().chain(["--quiet"])).exits(0);
    let files = plan_files(&plan);
    for name in EXPECTED {
        compare(&fixtures().join("nctool.expected").join(name), &files[name]);
    }
    // `plan.json` binds every byte of `changes.bson` by its hashes, and the sums follow from the files.
    let is_known = |name: &&String| {
        ["changes.bson", "SHA256SUMS"].contains(&name.as_str()) || EXPECTED.contains(&name.as_str())
    };
    let unknown: Vec<&String> = files.keys().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are in no list of what is expected");
}

#[test]
fn the_fixture_rehearses_as_the_readme_says() {
    let outcome = run(["rehearse", arg(&fixtures().join("nctool")), "--json"]).exits(0);
    let report = outcome.json();
    let truth: Value =
        serde_json::from_slice(&fs::read(fixtures().join("nctool.truth.json")).unwrap()).unwrap();
    for part in ["stats", "impact", "findings"] {
        assert_eq!(report["analyze"][part], truth[part], "{part}");
    }
    let planned = &truth["impact"]["tokensToMigrate"];
    for step in ["applied", "verified", "rolledBack"] {
        assert_eq!(&report[step], planned, "{step}");
    }
    assert_eq!(report["identical"], true);
    assert_eq!(report["sha256Before"], report["sha256After"]);
}
