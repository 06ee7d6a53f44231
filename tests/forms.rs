//! One ledger, however it was dumped, gives one plan.

use crate::support::archive_writer::{Dump, archive, dump_of, gunzip, gzip, read_archive, split};
use crate::support::command::{arg, run};
use crate::support::files::{Files, assert_same, plan_files};
use crate::truth::check_real_dump;
use remelt::generate::{GenerateOptions, generate_in_memory};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const REPAIR_TIME: &str = "2026-01-01T00:00:00Z";

/// Analyses `snapshot` through the binary and gives the plan's files, without the measured times.
fn plan_of(snapshot: &Path, plan: &Path) -> Files {
    let arguments = ["analyze", arg(snapshot), arg(plan), "--json", "--db", "nctool"];
    let options = ["--repair-time", REPAIR_TIME];
    let report = run(arguments.into_iter().chain(options)).exits(0).json();
    let files = plan_files(plan);
    let sealed: Value = serde_json::from_slice(&files["plan.json"]).unwrap();
    assert_eq!(report["plan"]["sha256"], sealed["sha256"]);
    files
}

/// Writes `dump` below `root` in every form, and gives the paths to read them by.
fn all_forms(dump: &Dump, root: &Path) -> Vec<(&'static str, PathBuf)> {
    let put = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    };
    for (name, collection) in dump {
        let (documents, metadata) = (&collection.documents, collection.metadata.as_bytes());
        put(&format!("plain/nctool/{name}.bson"), documents);
        put(&format!("plain/nctool/{name}.metadata.json"), metadata);
        put(&format!("zipped/nctool/{name}.bson.gz"), &gzip(documents));
        put(&format!("zipped/nctool/{name}.metadata.json.gz"), &gzip(metadata));
        put(&format!("loose/{name}.bson"), documents);
    }
    put("plain/nctool/prelude.json", b"{\"ServerVersion\":\"6.0.5\"}");
    // Several members in one file, as parallel compressors write them.
    let tokens = &dump["cashu_tokens"].documents;
    let (first, second) = tokens.split_at(tokens.len() / 3);
    put("members/nctool/cashu_tokens.bson.gz", &[gzip(first), gzip(second)].concat());
    put("members/nctool/cashu_wallets.bson", &dump["cashu_wallets"].documents);
    let (fine, coarse) = (archive(dump, 1), archive(dump, 1_000));
    vec![
        ("a directory", root.join("plain")),
        ("a database's directory", root.join("plain/nctool")),
        ("a gzip directory", root.join("zipped")),
        ("a gzip directory of a database", root.join("zipped/nctool")),
        ("a gzip file of several members", root.join("members")),
        ("a .bson file with wallets beside it", root.join("loose/cashu_tokens.bson")),
        ("an archive whose collections take turns", put("fine.archive", &fine)),
        ("an archive in long segments", put("coarse.archive", &coarse)),
        ("a gzip archive", put("fine.archive.gz", &gzip(&fine))),
        ("a gzip archive under another name", put("coarse.bin", &gzip(&coarse))),
    ]
}

/// Applies `plan` to `snapshot` and rolls it back, which leaves our own snapshot directory of the same
/// documents.
fn own_snapshot(snapshot: &Path, plan: &Path, root: &Path) -> PathBuf {
    let (repaired, restored) = (root.join("repaired"), root.join("restored"));
    let consent = ["--confirm", "--yes", "--db", "nctool"];
    let arguments = ["apply", arg(plan), "--snapshot", arg(snapshot), "--out", arg(&repaired)];
    run(arguments.into_iter().chain(consent)).exits(0);
    let arguments = ["rollback", arg(plan), "--snapshot", arg(&repaired), "--out", arg(&restored)];
    run(arguments.into_iter().chain(consent)).exits(0);
    restored
}

/// Checks that all forms of `dump` give one plan; gives its files and its place.
fn check_all_forms(dump: &Dump, root: &Path) -> (Files, PathBuf) {
    let forms = all_forms(dump, &root.join("dumps"));
    let first_plan = root.join("plan-0");
    let first = plan_of(&forms[0].1, &first_plan);
    for (number, (form, path)) in forms.iter().enumerate().skip(1) {
        assert_same(&first, &plan_of(path, &root.join(format!("plan-{number}"))), form);
    }
    let own = own_snapshot(&forms[7].1, &first_plan, root);
    assert_same(&first, &plan_of(&own, &root.join("plan-own")), "our own snapshot");
    for (name, collection) in dump.iter().filter(|(name, _)| name.starts_with("cashu_")) {
        let copy = fs::read(own.join(format!("nctool/{name}.bson"))).unwrap();
        assert!(copy == collection.documents, "{name} of our own snapshot");
    }
    (first, first_plan)
}

#[test]
fn every_form_of_a_damaged_ledger_gives_the_same_plan_byte_for_byte() {
    for (seed, tokens) in [(1, 300), (2, 3_000)] {
        let options = GenerateOptions { tokens, seed, damage: true };
        let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
        let root = tempfile::tempdir().unwrap();
        check_all_forms(&dump_of(&tokens, &wallets), root.path());
    }
}

#[test]
fn every_form_of_an_empty_ledger_gives_the_same_plan() {
    let root = tempfile::tempdir().unwrap();
    let (tokens, wallets, _) =
        generate_in_memory(&GenerateOptions { tokens: 1, seed: 1, damage: false }).unwrap();
    // A collection without documents: mongodump writes an empty file with metadata beside it.
    let mut dump = dump_of(&tokens, &wallets);
    dump.get_mut("cashu_wallets").unwrap().documents.clear();
    let forms = all_forms(&dump, &root.path().join("dumps"));
    let first = plan_of(&forms[0].1, &root.path().join("plan-0"));
    for (number, (form, path)) in forms.iter().enumerate() {
        // Without metadata beside it, an empty file is damage.
        let has_metadata = !path.starts_with(root.path().join("dumps/loose"))
            && !path.starts_with(root.path().join("dumps/members"));
        if has_metadata && number > 0 {
            let plan = root.path().join(format!("plan-{number}"));
            assert_same(&first, &plan_of(path, &plan), form);
        }
    }
}

#[test]
fn a_bson_file_alone_is_analysed_without_what_needs_wallets() {
    let root = tempfile::tempdir().unwrap();
    let (tokens, ..) =
        generate_in_memory(&GenerateOptions { tokens: 300, seed: 1, damage: true }).unwrap();
    let path = root.path().join("cashu_tokens.bson");
    fs::write(&path, &tokens).unwrap();
    let plan = root.path().join("plan");
    let outcome = run(["analyze", arg(&path), arg(&plan), "--json"]).exits(0);
    assert!(outcome.stderr.contains("wallets are not known"), "{outcome:?}");
    let report = outcome.json();
    assert_eq!(report["findings"]["wallet_mismatch"], Value::Null);
    assert_eq!(report["findings"]["orphaned_tokens"]["classes"]["dangling_wallet_id"], Value::Null);
    assert_eq!(report["snapshot"]["documents"]["cashu_wallets"], Value::Null);
}

#[test]
fn the_real_mongodump_output_matches_its_truth_in_every_form() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mongodump");
    let zipped = fs::read(fixture.join("nctool.archive.gz")).unwrap();
    let truth: Value =
        serde_json::from_slice(&fs::read(fixture.join("truth.json")).unwrap()).unwrap();
    let plain = gunzip(&zipped);
    let dump = read_archive(&plain);
    assert_eq!(split(&dump["cashu_tokens"].documents).len(), 600);

    let root = tempfile::tempdir().unwrap();
    let (first, first_plan) = check_all_forms(&dump, root.path());
    let plain_path = root.path().join("nctool.archive");
    fs::write(&plain_path, &plain).unwrap();
    let original = fixture.join("nctool.archive.gz");
    for (name, path) in [("the archive", &plain_path), ("the gzip archive", &original)] {
        let plan = root.path().join(name);
        assert_same(&first, &plan_of(path, &plan), name);
    }
    let report = fs::read(first_plan.join("reports/summary.json")).unwrap();
    check_real_dump(&serde_json::from_slice(&report).unwrap(), &first_plan, &truth);
}

/// With `REMELT_REAL_DUMPS` naming a directory of `directory`, `directory-gzip`, `nctool.archive`,
/// `nctool.archive.gz` and `truth.json`, these are checked as well.
#[test]
fn real_dumps_that_the_environment_names_match_their_truth() {
    let Some(dumps) = std::env::var_os("REMELT_REAL_DUMPS").map(PathBuf::from) else {
        eprintln!("not checked: REMELT_REAL_DUMPS is not set; the fixture covers the same forms");
        return;
    };
    let truth: Value =
        serde_json::from_slice(&fs::read(dumps.join("truth.json")).unwrap()).unwrap();
    let root = tempfile::tempdir().unwrap();
    let mut first: Option<Files> = None;
    for form in ["directory", "directory-gzip", "nctool.archive", "nctool.archive.gz"] {
        let plan = root.path().join(form);
        let files = plan_of(&dumps.join(form), &plan);
        let report: Value = serde_json::from_slice(&files["reports/summary.json"]).unwrap();
        check_real_dump(&report, &plan, &truth);
        assert_same(first.get_or_insert_with(|| files.clone()), &files, form);
    }
}

#[test]
fn collections_that_are_not_the_ledger_are_skipped_with_a_note() {
    let root = tempfile::tempdir().unwrap();
    let (tokens, wallets, _) =
        generate_in_memory(&GenerateOptions { tokens: 50, seed: 1, damage: false }).unwrap();
    let mut dump = dump_of(&tokens, &wallets);
    let bare = plan_of(&all_forms(&dump, &root.path().join("a"))[6].1, &root.path().join("plan-a"));
    let other = dump["cashu_wallets"].clone();
    dump.insert("migrationstates".into(), other);
    for (number, (form, path)) in all_forms(&dump, &root.path().join("b")).iter().enumerate() {
        let plan = root.path().join(format!("plan-{number}"));
        assert_same(&bare, &plan_of(path, &plan), form);
        let plan = root.path().join(format!("more-{number}"));
        let notes = run(["analyze", arg(path), arg(&plan)]).exits(0).stderr;
        let is_file = form.contains(".bson") || form.contains("several members");
        assert!(notes.contains("migrationstates") != is_file, "{form}: {notes}");
    }
}
