//! The same snapshot and options give the same plan, byte for byte, however the work was done.

use crate::support::command::{arg, finish, remelt, run};
use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::files::{Files, assert_same, plan_files};
use crate::support::raw::{array, document, element, int32, nested, string};
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::generate::{GenerateOptions, generate_in_memory};
use std::path::Path;

/// A damaged ledger, and after it documents that hold more secrets and identifiers than fit the
/// smallest memory: 64 with 12,000 proofs each, and 220,000 of a few bytes.
fn write_large_ledger(root: &Path) {
    let options = GenerateOptions { tokens: 3_000, seed: 11, damage: true };
    let (mut tokens, wallets, _) = generate_in_memory(&options).unwrap();
    for number in 0..64 {
        let proofs: Vec<_> = (0..12_000)
            .map(|proof| {
                // Now and then the secret of another document.
                let owner = if proof % 1_000 == 0 { number / 2 } else { number };
                nested(&[element("secret", &string(format!("{owner}-{proof}")))])
            })
            .collect();
        tokens.extend(document(&[
            element("_id", &string(format!("many proofs {number}"))),
            element("status", &string("unspent")),
            element("proofs", &array(&proofs)),
        ]));
    }
    for number in 0..220_000 {
        tokens.extend(document(&[
            element("_id", &string(format!("few bytes {number}"))),
            element("transaction_id", &int32(number / 3 * 2)),
        ]));
    }
    write_dump(root, &tokens, Some(&wallets));
}

fn plan_by(root: &Path, name: &str, threads: usize, memory_bytes: u64, key: u8) -> Files {
    let plan = root.join(name);
    let options = build_options(SpentAt::Repair, threads, memory_bytes, key);
    make_plan(&root.join("nctool"), &plan, &options).unwrap();
    plan_files(&plan)
}

#[test]
fn threads_runs_and_keys_do_not_show_in_a_plan() {
    let root = tempfile::tempdir().unwrap();
    let options = GenerateOptions { tokens: 20_000, seed: 4, damage: true };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    write_dump(root.path(), &tokens, Some(&wallets));
    let plan = |name: &str, threads, key| plan_by(root.path(), name, threads, 1 << 30, key);
    let first = plan("first", 1, 1);
    assert!(first.len() >= 7, "{:?}", first.keys());
    for (name, threads, key) in
        [("again", 1, 1), ("two", 2, 1), ("eight", 8, 1), ("key", 2, 2), ("both", 8, 0xff)]
    {
        assert_same(&first, &plan(name, threads, key), name);
    }
}

#[test]
fn memory_does_not_show_in_a_plan_though_data_spills_to_disk() {
    let root = tempfile::tempdir().unwrap();
    write_large_ledger(root.path());
    let large = plan_by(root.path(), "large", 2, 16 << 30, 1);
    for (name, memory_bytes) in [("usual", 1 << 30), ("small", MEMORY_BYTES_MIN)] {
        let plan = plan_by(root.path(), name, 2, memory_bytes, 2);
        assert_same(&large, &plan, name);
    }

    // Where there is no scratch space the small one can't be made, so it did spill, and the large one
    // can, so it did not.
    let analyze = |memory: &str| {
        let plan = root.path().join(memory);
        let arguments = ["analyze", arg(&root.path().join("nctool")), arg(&plan), "--json"]
            .map(str::to_owned)
            .into_iter()
            .chain(["--memory".to_owned(), memory.to_owned()]);
        finish(remelt(arguments).env("TMPDIR", root.path().join("no such directory")))
    };
    analyze("16GiB").exits(0);
    let (code, message, hint) = analyze("32MiB").exits(1).error();
    assert_eq!(code, "scratch", "{message}");
    assert!(hint.contains("TMPDIR"), "{hint}");
    assert!(!root.path().join("32MiB").exists());
}

#[test]
fn two_runs_of_the_program_make_the_same_plan() {
    let root = tempfile::tempdir().unwrap();
    let options = GenerateOptions { tokens: 1_000, seed: 4, damage: true };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    write_dump(root.path(), &tokens, Some(&wallets));
    let dump = root.path().join("nctool");
    let plan = |name: &str, threads: &str, time: &str| {
        let plan = root.path().join(name);
        let arguments = ["analyze", arg(&dump), arg(&plan), "--repair-time", time];
        run(arguments.into_iter().chain(["--threads", threads, "--quiet"])).exits(0);
        plan_files(&plan)
    };
    let first = plan("first", "1", "2026-01-01T00:00:00Z");
    // The program draws a new fingerprint key in each run.
    let second = plan("second", "2", "2026-01-01T01:00:00+01:00");
    assert_same(&first, &second, "a second run");
    let later = plan("later", "2", "2026-01-01T00:00:00.001Z");
    assert_ne!(first["plan.json"], later["plan.json"]);
    assert_eq!(first["reports/balances.csv"], later["reports/balances.csv"]);
}
