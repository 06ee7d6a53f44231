//! `analyze --parquet`: every cell is the CSV's, the plan is the same, and what was altered is noticed.

use crate::support::command::{arg, run};
use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::files::{Files, assert_same, plan_files};
use crate::support::ledgers::random_ledger;
use crate::support::raw::{date, document, element, int32, int64, string};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use remelt::analysis::SpentAt;
use remelt::audit::{AuditReport, audit};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::model::{CheckResult, hash_bytes};
use remelt::plan::BuildOptions;
use remelt::progress::Progress;
use remelt::snapshot::Snapshot;
use remelt::snapshot::input::InputOptions;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const NAMES: [&str; 4] = ["balance_deltas", "balances", "changes", "findings"];

fn options(spent_at: SpentAt) -> BuildOptions {
    BuildOptions { parquet: true, ..build_options(spent_at, 1, 64 << 20, 7) }
}

/// The plan, with Parquet files, of these documents.
fn plan_of(root: &Path, tokens: &[u8], wallets: &[u8], spent_at: SpentAt) -> PathBuf {
    write_dump(root, tokens, Some(wallets));
    let plan = root.join("plan");
    make_plan(&root.join("nctool"), &plan, &options(spent_at)).unwrap();
    plan
}

fn damaged(root: &Path, tokens: u64) -> PathBuf {
    let options = GenerateOptions { tokens, seed: 5, damage: true };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    plan_of(root, &tokens, &wallets, SpentAt::Repair)
}

fn report(plan: &Path, name: &str, ending: &str) -> PathBuf {
    plan.join("reports").join(format!("{name}.{ending}"))
}

/// A value as a CSV cell has it, and the name of its type.
fn cell(field: &Field) -> (String, &'static str) {
    match field {
        Field::Null => (String::new(), "null"),
        Field::Str(text) => (text.clone(), "text"),
        Field::Long(integer) => (integer.to_string(), "integer"),
        Field::Decimal(sum) => {
            assert_eq!((sum.precision(), sum.scale()), (38, 0));
            (i128::from_be_bytes(sum.data().try_into().unwrap()).to_string(), "sum")
        }
        other => panic!("{other:?} stands in no report"),
    }
}

/// Compares every cell of all reports with the CSV files; counts values by column and type.
fn compare(plan: &Path) -> BTreeMap<(String, &'static str), u64> {
    let mut seen = BTreeMap::new();
    for name in NAMES {
        let mut expected = csv::Reader::from_path(report(plan, name, "csv")).unwrap();
        let header = expected.headers().unwrap().clone();
        let file = File::open(report(plan, name, "parquet")).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let columns = reader.metadata().file_metadata().schema().get_fields().to_vec();
        assert!(header.iter().eq(columns.iter().map(|column| column.name())), "{name}");
        let mut expected = expected.records();
        for row in reader.get_row_iter(None).unwrap() {
            let (row, expected) = (row.unwrap(), expected.next().unwrap().unwrap());
            assert_eq!(row.len(), expected.len());
            for ((column, field), expected) in row.get_column_iter().zip(&expected) {
                let (text, kind) = cell(field);
                assert_eq!(text, expected, "{name} {column}");
                *seen.entry((format!("{name}.{column}"), kind)).or_default() += 1;
            }
        }
        assert!(expected.next().is_none(), "{name} lacks rows");
    }
    seen
}

/// Melted and unspent tokens whose every field is meant to do harm, or is as large as can be.
fn hostile() -> Vec<u8> {
    let texts: [&[u8]; 8] = [
        b"=HYPERLINK(\"http://evil\")",
        b"two\r\nlines, \"quoted\"",
        "\u{202e}gnp.exe\u{0}\u{1b}[2J".as_bytes(),
        b"'",
        b"",
        b"\xff\xfe not UTF-8",
        b"cashuAeyJ0b2tlbiI6W3sicHJvb2ZzIjpbXX1dfQ==",
        b"null",
    ];
    let dates = [0, -1, i64::MAX, i64::MIN, 1_767_225_600_123, -62_135_596_800_001];
    let mut tokens = Vec::new();
    for (number, text) in (0..).zip(texts.iter().cycle().take(48)) {
        let at = usize::try_from(number).unwrap();
        let text = string(text);
        let mut elements = vec![
            element("_id", &int32(number)),
            element("npub", &text),
            element("mint_url", &string(format!("-mint {}", number % 2))),
            element("wallet_id", &text),
            element("status", &string("unspent")),
            element("transaction_type", &string("melted")),
            element("transaction_id", &text),
            element("total_amount", &int64(if at.is_multiple_of(7) { i64::MIN } else { i64::MAX })),
        ];
        match at % 3 {
            0 => elements.push(element("created_at", &date(dates[at % dates.len()]))),
            1 => elements.push(element("created_at", &text)),
            _ => {}
        }
        // The rule takes `createdAt` and, for some, finds nothing in `spent_at` or a date.
        elements.push(element("createdAt", &date(dates[(at + 1) % dates.len()])));
        if at.is_multiple_of(2) {
            elements.push(element("proofs", &text));
        }
        tokens.extend(document(&elements));
    }
    tokens
}

#[test]
fn every_cell_of_a_damaged_ledgers_reports_is_there_with_its_type() {
    let root = tempfile::tempdir().unwrap();
    let seen = compare(&damaged(root.path(), 3_000));
    for (column, kind) in [
        ("balances.npub", "text"),
        ("balances.tokens_fixed", "integer"),
        ("balances.unspent_before", "sum"),
        ("balance_deltas.delta", "sum"),
        ("changes.amount", "integer"),
        ("changes.spent_at_after", "text"),
        ("changes.created_at", "text"),
        ("findings.amount", "sum"),
        ("findings.amount", "null"),
        ("findings.detail", "text"),
    ] {
        let count = seen.get(&(column.to_owned(), kind)).copied().unwrap_or(0);
        assert!(count > 20, "{column} has {count} of {kind}: {seen:?}");
    }
}

#[test]
fn every_cell_of_hostile_ledgers_reports_is_there() {
    let root = tempfile::tempdir().unwrap();
    let plan = plan_of(root.path(), &hostile(), &[], SpentAt::Created);
    let seen = compare(&plan);
    assert!(seen[&("changes.spent_at_after".to_owned(), "text")] > 20, "{seen:?}");
    let text = fs::read_to_string(report(&plan, "changes", "csv")).unwrap();
    assert!(text.contains(",9223372036854775807ms,") && text.contains("'=HYPERLINK"), "{text}");
    let sums = fs::read_to_string(report(&plan, "balances", "csv")).unwrap();
    let is_large = |cell: &str| cell.parse::<i128>().is_ok_and(|sum| i64::try_from(sum).is_err());
    assert!(sums.split(',').any(is_large), "{sums}");

    let mut rows = 0;
    for seed in 0..40 {
        let root = tempfile::tempdir().unwrap();
        let ledger = random_ledger(seed);
        let plan = plan_of(root.path(), &ledger.tokens, &ledger.wallets, SpentAt::Repair);
        rows += compare(&plan).values().sum::<u64>();
    }
    assert!(rows > 10_000, "{rows} cells");
}

fn without_parquet(mut files: Files) -> Files {
    files.retain(|name, _| !name.ends_with(".parquet"));
    let sums = String::from_utf8(files.remove("SHA256SUMS").unwrap()).unwrap();
    let kept: Vec<&str> = sums.lines().filter(|line| !line.ends_with(".parquet")).collect();
    files.insert("SHA256SUMS".to_owned(), kept.join("\n").into_bytes());
    files
}

#[test]
fn the_plan_and_all_other_files_are_the_same_with_and_without() {
    let root = tempfile::tempdir().unwrap();
    run(["generate", arg(&root.path().join("dump")), "--tokens", "500", "--damage"]).exits(0);
    let plan = |name: &str, more: &[&str]| {
        let (dump, plan) = (root.path().join("dump"), root.path().join(name));
        let usual = ["analyze", arg(&dump), arg(&plan), "--repair-time", "2026-01-01T00:00:00Z"];
        run(usual.iter().chain(more)).exits(0);
        plan_files(&plan)
    };
    let plain = plan("plain", &[]);
    let with = plan("with", &["--parquet", "--threads", "1"]);
    assert_same(&with, &plan("again", &["--parquet", "--threads", "2"]), "made again");
    assert_eq!(with.len(), plain.len() + 4);
    let sums = String::from_utf8(with["SHA256SUMS"].clone()).unwrap();
    let names: Vec<&str> = sums.lines().map(|line| &line[66..]).collect();
    assert!(names[2..].is_sorted() && names.len() == 11, "{names:?}");
    for name in NAMES {
        let file = format!("reports/{name}.parquet");
        assert!(sums.contains(&format!("{}  {file}", hash_bytes(&with[&file]))), "{sums}");
    }
    assert_same(&without_parquet(plain), &without_parquet(with), "what else the plan holds");
    let refused =
        ["analyze", "--engine", "mongodb", "--uri", "mongodb://none", "--parquet", "--json"];
    let (code, message, _) = run(refused).exits(2).error();
    assert!(code == "usage" && message.contains("--parquet"), "{message}");
}

fn audited(plan: &Path, snapshot: Option<&Snapshot>) -> AuditReport {
    audit(plan, snapshot, &options(SpentAt::Repair), &Progress::new()).unwrap()
}

/// Names of the checks that failed.
fn failed(report: &AuditReport) -> Vec<&'static str> {
    let failed = report.checks.iter().filter(|check| check.result == CheckResult::Fail);
    failed.map(|check| check.name).collect()
}

#[test]
fn an_audit_makes_the_files_once_more_and_notices_what_was_altered() {
    let root = tempfile::tempdir().unwrap();
    let plan = damaged(root.path(), 1_000);
    let snapshot = Snapshot::open(&root.path().join("nctool"), &InputOptions::default()).unwrap();
    let whole = audited(&plan, Some(&snapshot));
    assert!(whole.checks.iter().all(|check| check.result == CheckResult::Pass), "{whole:#?}");
    assert!(whole.checks.iter().any(|check| check.name == "parquet files"), "{whole:#?}");

    let sums_path = plan.join("SHA256SUMS");
    let sums = fs::read_to_string(&sums_path).unwrap();
    for name in NAMES {
        let path = report(&plan, name, "parquet");
        let kept = fs::read(&path).unwrap();
        for at in [0, kept.len() / 3, kept.len() / 2, kept.len() - 9] {
            let mut altered = kept.clone();
            altered[at] ^= 1;
            fs::write(&path, &altered).unwrap();
            assert_eq!(failed(&audited(&plan, None)), ["file hashes", "parquet files"], "{name}");
            // With a sum that fits.
            let (old, new) = (hash_bytes(&kept).to_string(), hash_bytes(&altered).to_string());
            fs::write(&sums_path, sums.replace(&old, &new)).unwrap();
            assert_eq!(failed(&audited(&plan, None)), ["parquet files"], "{name} at {at}");
            let against = failed(&audited(&plan, Some(&snapshot)));
            assert_eq!(against, ["parquet files", "analysis repeated"], "{name} at {at}");
            fs::write(&sums_path, &sums).unwrap();
        }
        // One missing, with its sum.
        fs::remove_file(&path).unwrap();
        let others: String = sums
            .split_inclusive('\n')
            .filter(|line| !line.contains(&format!("{name}.parquet")))
            .collect();
        fs::write(&sums_path, others).unwrap();
        assert_eq!(failed(&audited(&plan, None)), ["file hashes", "parquet files"], "{name}");
        fs::write(&sums_path, &sums).unwrap();
        fs::write(&path, kept).unwrap();
    }
    assert_eq!(failed(&audited(&plan, None)), Vec::<&str>::new());
    // None is a plan made without.
    for name in NAMES {
        fs::remove_file(report(&plan, name, "parquet")).unwrap();
    }
    assert_eq!(failed(&audited(&plan, None)), ["file hashes"]);
}
