//! A disk that fails: every write, sync, rename, creation and read of every command, each in its turn.
//!
//! `tests/support/disk_fault.c` is preloaded and makes call number N fail, for N = 1, 2, … until the command
//! is through before its call N. A failure must be a clean one: exit code 1, nothing there that looks whole,
//! no sync believed that was tried again; and the same command, given again, works.

use crate::support::command::{Outcome, arg, finish, remelt, run};
use crate::support::files::{files_below, names_in};
use crate::support::live::{Ledger, melted};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What fails, and how.
const FAULTS: [(&str, i32); 6] = [
    ("write", ENOSPC),
    ("write", EIO),
    ("sync", EIO),
    ("rename", EIO),
    ("create", ENOSPC),
    ("read", EIO),
];

/// The shared object that makes calls fail.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/disk_fault.c");
        let object = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("disk-fault-{}.so", std::process::id()));
        let compiled = Command::new("gcc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&object, &source])
            .status();
        assert!(compiled.unwrap().success());
        object
    })
}

/// What became of a command under a fault.
struct Tried {
    outcome: Outcome,
    has_failed: bool,
    was_retried: bool,
}

/// Runs `command` with its call number `number` of a kind failing.
fn with_fault(command: &mut Command, (kind, errno): (&str, i32), number: usize) -> Tried {
    let told = tempfile::tempdir().unwrap();
    let seen = told.path().join("seen");
    command
        .env("LD_PRELOAD", shim())
        .env("REMELT_FAULT", format!("{kind} {errno} {number}"))
        .env("REMELT_FAULT_SEEN", &seen);
    let outcome = finish(command);
    let told = fs::read(&seen).unwrap_or_default();
    Tried { outcome, has_failed: told.contains(&b'f'), was_retried: told.contains(&b'r') }
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (dump, plan) = (root.path().join("dump"), root.path().join("plan"));
    run(["generate", arg(&dump), "--tokens", "3000", "--damage"]).exits(0);
    let mut shell = Command::new("sh");
    // In blocks of 512 or 1024 bytes, as the shell has it.
    shell.args(["-c", "ulimit -f 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_remelt")]);
    shell.args(["analyze", arg(&dump), arg(&plan), "--json"]).env("REMELT_CONFIG", "");
    let (code, message, hint) = finish(&mut shell).exits(1).error();
    assert_eq!(code, "io");
    assert!(message.contains("the largest size of a file is reached"), "{message}");
    assert!(hint.contains("raise ulimit -f"), "{hint}");
    assert_eq!(names_in(root.path()), ["dump"]);
}

/// Makes every call of `command` fail in turn; `check` looks at what is left and mends it.
fn every_fault(name: &str, command: impl Fn() -> Command, check: impl Fn(&str, &Outcome)) {
    for fault in FAULTS {
        let mut number = 1;
        loop {
            let tried = with_fault(&mut command(), fault, number);
            let what = format!("{name}: {} number {number} fails with errno {}", fault.0, fault.1);
            assert!(!tried.was_retried, "{what}: a failed sync was tried again");
            check(&what, &tried.outcome);
            if !tried.has_failed {
                assert_eq!(tried.outcome.code, Some(0), "{what}: {:#?}", tried.outcome);
                break;
            }
            let panicked = tried.outcome.stderr.contains("panicked");
            assert!(!panicked, "{what}: {:#?}", tried.outcome);
            number += 1;
        }
        eprintln!("{name}: {} calls of {} failed, each in its turn", number - 1, fault.0);
    }
}

struct Place(tempfile::TempDir);

impl Place {
    /// A ledger and a plan for it.
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        run(["generate", arg(&place.at("dump")), "--tokens", "60", "--damage"]).exits(0);
        run(["analyze", arg(&place.at("dump")), arg(&place.at("plan"))]).exits(0);
        fs::create_dir(place.at("out")).unwrap();
        fs::create_dir(place.at("scratch")).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = remelt(line.split(' '));
        command.current_dir(self.0.path()).env("TMPDIR", self.at("scratch"));
        command
    }

    /// A command that makes `out/made`: it is there whole after success, and not at all after failure.
    fn makes_whole_or_nothing(&self, name: &str, line: &str) {
        let expected = {
            finish(&mut self.command(line)).exits(0);
            let files = self.made();
            fs::remove_dir_all(self.at("out/made")).unwrap();
            files
        };
        every_fault(
            name,
            || self.command(line),
            |what, outcome| match outcome.code {
                Some(0) => {
                    assert_eq!(self.made(), expected, "{what}: the output is another");
                    fs::remove_dir_all(self.at("out/made")).unwrap();
                }
                Some(1) => {
                    let (code, message, _) = outcome.error();
                    assert!(!message.is_empty() && code != "bug", "{what}: {outcome:#?}");
                    assert!(!self.at("out/made").exists(), "{what}: a failure was published");
                    finish(&mut self.command(line)).exits(0);
                    assert_eq!(self.made(), expected, "{what}, and the command again");
                    fs::remove_dir_all(self.at("out/made")).unwrap();
                }
                _ => panic!("{what}: {outcome:#?}"),
            },
        );
        assert_eq!(names_in(&self.at("out")), [""; 0]);
    }

    /// The output's files; of those that hold times, the names.
    fn made(&self) -> Vec<(String, Vec<u8>)> {
        let files = files_below(&self.at("out/made"));
        // The summary says how long it took, and the sums have its hash.
        let is_timed = |name: &str| matches!(name, "reports/summary.json" | "SHA256SUMS");
        let kept = |(name, bytes): (String, Vec<u8>)| {
            if is_timed(&name) { (name, Vec::new()) } else { (name, bytes) }
        };
        files.into_iter().map(kept).collect()
    }
}

#[test]
fn an_analysis_on_a_failing_disk_is_whole_or_nothing() {
    let line =
        "analyze dump out/made --parquet --json --threads 1 --repair-time 2026-01-01T00:00:00Z";
    Place::new().makes_whole_or_nothing("analyze", line);
}

#[test]
fn a_repaired_copy_on_a_failing_disk_is_whole_or_nothing() {
    let line = "apply plan --snapshot dump --out out/made --confirm --yes --json";
    Place::new().makes_whole_or_nothing("apply to a copy", line);
}

#[test]
fn a_restored_copy_on_a_failing_disk_is_whole_or_nothing() {
    let place = Place::new();
    let apply = "apply plan --snapshot dump --out repaired --confirm --yes";
    finish(&mut place.command(apply)).exits(0);
    let line = "rollback plan --snapshot repaired --out out/made --confirm --yes --json";
    place.makes_whole_or_nothing("rollback of a copy", line);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_to_a_failing_disk_is_whole_or_nothing() {
    let ledger = Ledger::new(&melted(30)).await;
    let place = Place::new();
    // Where the documents come from is at another cluster time each time.
    let line = "export out/made --without-wallets --json";
    let command = || {
        let mut command = place.command(line);
        command.env("MONGODB_URI", &ledger.uri);
        command
    };
    let documents =
        || fs::read(place.at("out/made").join(ledger.database.name()).join("cashu_tokens.bson"));
    every_fault("export", command, |what, outcome| {
        match outcome.code {
            Some(0) => {}
            Some(1) => {
                assert!(!place.at("out/made").exists(), "{what}: a failure was published");
                finish(&mut command()).exits(0);
            }
            _ => panic!("{what}: {outcome:#?}"),
        }
        assert_eq!(documents().unwrap(), ledger.before.concat(), "{what}");
        fs::remove_dir_all(place.at("out/made")).unwrap();
    });
}

/// Every fault of a run on a database, first of the apply and then of the rollback. What was committed is
/// never lost and never done twice, whatever became of the papers.
#[tokio::test(flavor = "multi_thread")]
async fn runs_on_a_failing_disk_stop_and_the_same_command_finishes_them() {
    let ledger = Ledger::new(&melted(25)).await;
    let place = Place::new();
    let command = |line: &str| {
        let mut command = place.command(line);
        command.env("MONGODB_URI", &ledger.uri);
        command
    };
    finish(&mut command("export before --without-wallets")).exits(0);
    finish(&mut command("analyze before live")).exits(0);
    let apply = "apply live --confirm --yes --json --batch 10 --workers 1";
    let undo = "rollback live --confirm --yes --json --workers 1";
    let planned = ledger.planned_by(&place.at("live"));
    let mut rounds = 0;
    for fault in FAULTS {
        let mut number = 1;
        loop {
            let what = format!("{} number {number} fails with errno {}", fault.0, fault.1);
            let mut has_failed = false;
            for (line, expected) in [(apply, &planned), (undo, &ledger.before)] {
                let tried = with_fault(&mut command(line), fault, number);
                has_failed |= tried.has_failed;
                assert!(!tried.was_retried, "{what}: a failed sync was tried again");
                let code = tried.outcome.code;
                assert!(matches!(code, Some(0 | 1 | 3)), "{what}: {:#?}", tried.outcome);
                assert!(!tried.outcome.stderr.contains("panicked"), "{what}");
                if code != Some(0) {
                    let again = finish(&mut command(line));
                    let is_done = again.code == Some(0) || again.error().0 == "already_completed";
                    assert!(is_done, "{what}, then again: {again:#?}");
                }
                ledger.assert_documents(expected, &what).await;
            }
            rounds += 1;
            if !has_failed {
                break;
            }
            number += 1;
        }
        eprintln!(
            "apply and rollback: {} calls of {} failed, each in its turn",
            number - 1,
            fault.0
        );
    }
    assert_eq!(ledger.most_writes_of_a_token().await, 2 * rounds, "each direction once a round");
}
