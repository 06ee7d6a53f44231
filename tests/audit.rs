//! `audit`: what holds is said to hold, and nothing that was altered is.

use crate::support::command::{arg, keys, run};
use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::files::files_below;
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::audit::{AuditReport, audit};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::model::{Check, CheckResult, hash_bytes};
use remelt::plan::BuildOptions;
use remelt::progress::Progress;
use remelt::snapshot::Snapshot;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A damaged ledger and its plan.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn with_plan(tokens: u64) -> Place {
        let place = Place { root: tempfile::tempdir().unwrap() };
        let ledger = GenerateOptions { tokens, seed: 9, damage: true };
        let (tokens, wallets, _) = generate_in_memory(&ledger).unwrap();
        write_dump(place.root.path(), &tokens, Some(&wallets));
        make_plan(&place.dump(), &place.plan(), &options()).unwrap();
        place
    }

    fn dump(&self) -> PathBuf {
        self.root.path().join("nctool")
    }

    fn plan(&self) -> PathBuf {
        self.root.path().join("plan")
    }

    /// What `audit` says of the plan when `file` has this text.
    fn audit_with(&self, file: &str, text: &str) -> AuditReport {
        let path = self.plan().join(file);
        let kept = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let report = audit_alone(&self.plan());
        fs::write(&path, kept).unwrap();
        report
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.plan().join(file)).unwrap()
    }

    /// As [`Place::audit_with`], with sums that fit.
    fn audit_with_sums(&self, file: &str, text: &str) -> AuditReport {
        let sums = self.text("SHA256SUMS");
        let old = hash_bytes(self.text(file).as_bytes()).to_string();
        assert!(sums.contains(&old));
        let new = sums.replace(&old, &hash_bytes(text.as_bytes()).to_string());
        fs::write(self.plan().join("SHA256SUMS"), new).unwrap();
        let report = self.audit_with(file, text);
        fs::write(self.plan().join("SHA256SUMS"), sums).unwrap();
        report
    }
}

fn options() -> BuildOptions {
    build_options(SpentAt::Repair, 1, MEMORY_BYTES_MIN, 7)
}

fn audit_of(plan: &Path, snapshot: Option<&Snapshot>) -> AuditReport {
    audit(plan, snapshot, &options(), &Progress::new()).unwrap()
}

fn audit_alone(plan: &Path) -> AuditReport {
    audit_of(plan, None)
}

fn failed(report: &AuditReport) -> Vec<&'static str> {
    let is_failed = |check: &&Check| check.result == CheckResult::Fail;
    let names: Vec<_> = report.checks.iter().filter(is_failed).map(|check| check.name).collect();
    assert_eq!(report.ok, names.is_empty());
    names
}

#[test]
fn a_plan_that_was_not_touched_holds_alone_and_against_its_snapshot() {
    let place = Place::with_plan(2_000);
    let (plan, dump) = (place.plan(), place.dump());
    let alone = run(["audit", arg(&plan), "--json"]).exits(0).json();
    assert_eq!(keys(&alone), ["ok", "checks"]);
    assert_eq!(alone["ok"], true);
    let names = |report: &Value| -> Vec<String> {
        let checks = report["checks"].as_array().unwrap().iter();
        checks
            .map(|check| {
                assert_eq!(keys(check), ["name", "result", "detail", "action"]);
                check["name"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    let of_plan = [
        "plan seal",
        "batch hashes",
        "file hashes",
        "reports bound by the plan",
        "changes.csv",
        "balances and sums",
        "findings.csv",
        "summary.json",
        "report.html",
    ];
    assert_eq!(names(&alone), of_plan);
    let snapshot =
        Snapshot::open(&dump, &remelt::snapshot::input::InputOptions::default()).unwrap();
    let whole = audit_of(&plan, Some(&snapshot));
    assert_eq!(failed(&whole), Vec::<&str>::new(), "{whole:#?}");
    assert!(whole.checks.iter().all(|check| check.result == CheckResult::Pass), "{whole:#?}");
    let more: Vec<&str> = whole.checks[of_plan.len()..].iter().map(|check| check.name).collect();
    let of_snapshot = [
        "snapshot",
        "changes against documents",
        "balances against documents",
        "analysis repeated",
    ];
    assert_eq!(more, of_snapshot);

    let table = run(["audit", arg(&plan), "--snapshot", arg(&dump)]).exits(0);
    assert_eq!(table.stdout.matches("pass  ").count() + table.stdout.matches("WARN  ").count(), 13);
    assert!(table.stdout.contains("follows from the snapshot"), "{table:#?}");
    for line in table.stdout.lines().filter(|line| line.contains(' ')) {
        let longest = line.split(' ').map(str::len).max().unwrap();
        assert!(line.len() <= 80 || longest >= 46, "{line}");
    }
    assert!(table.stdout.lines().count() <= 40, "{table:#?}");
}

#[test]
fn a_plan_holds_against_the_same_documents_under_other_names_and_in_other_forms() {
    let place = Place::with_plan(500);
    let other = place.root.path().join("other");
    fs::create_dir(&other).unwrap();
    for name in ["cashu_tokens.bson", "cashu_wallets.bson"] {
        fs::copy(place.dump().join(name), other.join(name)).unwrap();
    }
    for form in [other.clone(), other.join("cashu_tokens.bson")] {
        let audited = run(["audit", arg(&place.plan()), "--snapshot", arg(&form), "--json"]);
        let report = audited.exits(0).json();
        assert_eq!(report["ok"], true, "{}: {report}", form.display());
    }
}

#[test]
fn a_changed_byte_in_any_file_of_a_plan_is_noticed() {
    let place = Place::with_plan(6);
    let files = files_below(&place.plan());
    assert_eq!(files.len(), 9, "{:?}", files.keys());
    // Of the page, which nothing but its sum guards, a part of the bytes.
    let step = |name: &str| if name.ends_with(".html") { 17 } else { 1 };
    let work: Vec<(&String, usize)> = files
        .iter()
        .flat_map(|(name, bytes)| (0..bytes.len()).step_by(step(name)).map(move |at| (name, at)))
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let copy = tempfile::tempdir().unwrap();
                for (name, bytes) in &files {
                    let path = copy.path().join(name);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, bytes).unwrap();
                }
                assert!(audit_alone(copy.path()).ok);
                while let Some((name, at)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = copy.path().join(name);
                    let mut altered = files[*name].clone();
                    altered[*at] ^= 1 << (at % 8);
                    fs::write(&path, &altered).unwrap();
                    assert!(!audit_alone(copy.path()).ok, "{name}, byte {at}");
                    fs::write(&path, &files[*name]).unwrap();
                }
            });
        }
    });
    assert!(work.len() > 12_000, "{} bytes", work.len());
}

#[test]
fn figures_that_do_not_follow_are_noticed_even_with_sums_that_fit() {
    let place = Place::with_plan(2_000);
    let summary = place.text("reports/summary.json");
    let json: Value = serde_json::from_str(&summary).unwrap();
    let mut seen = 0;
    for part in ["snapshot", "stats", "impact", "plan"] {
        for (key, value) in json[part].as_object().unwrap() {
            // What only the snapshot can tell stands in no other file of the plan.
            if ["totalUsers", "spentMeltedTokens", "totalMeltedTokens"].contains(&key.as_str()) {
                continue;
            }
            let Some(number) = value.as_u64() else { continue };
            let altered = summary
                .replace(&format!("\"{key}\": {number}"), &format!("\"{key}\": {}", number + 1));
            assert_ne!(altered, summary, "{key}");
            let failures = failed(&place.audit_with_sums("reports/summary.json", &altered));
            assert!(failures.contains(&"summary.json"), "{key}: {failures:?}");
            seen += 1;
        }
    }
    for (code, finding) in json["findings"].as_object().unwrap() {
        for key in ["count", "amount"] {
            let Some(number) = finding[key].as_i64() else { continue };
            let mut altered = json.clone();
            altered["findings"][code][key] = (number + 1).into();
            let altered = serde_json::to_string_pretty(&altered).unwrap() + "\n";
            let failures = failed(&place.audit_with_sums("reports/summary.json", &altered));
            let is_exact = code != "duplicate_transaction_id";
            assert!(failures.contains(&"summary.json") || !is_exact, "{code}: {failures:?}");
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen} figures");

    let page = place.text("reports/report.html");
    let altered = page.replacen("Nothing else changes", "Something else changes", 1);
    assert_ne!(altered, page);
    assert_eq!(failed(&place.audit_with_sums("reports/report.html", &altered)), ["report.html"]);
}

/// `text` with one row of CSV, from 1, changed by `edit`.
fn edit_row(text: &str, number: usize, edit: impl Fn(&mut Vec<String>)) -> String {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(vec![]);
    for (at, row) in reader.records().enumerate() {
        let mut cells: Vec<String> = row.unwrap().iter().map(str::to_owned).collect();
        if at == number {
            edit(&mut cells);
        }
        writer.write_record(&cells).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

#[test]
fn cells_that_do_not_follow_are_noticed_by_the_check_that_is_about_them() {
    let place = Place::with_plan(2_000);
    let more = |cell: &mut String| *cell = (cell.parse::<i128>().unwrap_or(0) + 1).to_string();
    for column in 0..11 {
        let text = edit_row(&place.text("reports/changes.csv"), 3, |row| match column {
            5 => more(&mut row[5]),
            _ => row[column].push('0'),
        });
        let report = place.audit_with("reports/changes.csv", &text);
        let failures = failed(&report);
        assert!(failures.contains(&"changes.csv"), "column {column}: {failures:?}");
        let said = |name| &report.checks.iter().find(|check| check.name == name).unwrap().detail;
        assert!(said("changes.csv").contains("(row 4, "), "{}", said("changes.csv"));
        assert!(said("report.html").starts_with("not compared"), "{}", said("report.html"));
    }
    for (file, columns) in [("balance_deltas.csv", 0..9), ("balances.csv", 0..9)] {
        for column in columns {
            let file = format!("reports/{file}");
            let text = edit_row(&place.text(&file), 1, |row| match column {
                0 | 1 => row[column].push('0'),
                _ => more(&mut row[column]),
            });
            let failures = failed(&place.audit_with(&file, &text));
            assert!(failures.contains(&"file hashes"), "{file} {column}: {failures:?}");
            // A row of no change may have another user, mint or pending sum: only the snapshot tells.
            let is_alone = file.ends_with("balances.csv") && [0, 1, 5].contains(&column);
            let is_noticed = failures.contains(&"balances and sums");
            assert!(is_noticed || is_alone, "{file} {column}: {failures:?}");
        }
    }
    let findings = place.text("reports/findings.csv");
    let records = csv::Reader::from_reader(findings.as_bytes()).into_records().map(Result::unwrap);
    let changed =
        1 + records.take_while(|row| !row[6].ends_with("the plan makes it spent")).count();
    for column in [0, 1, 2, 5, 6] {
        let text = edit_row(&findings, changed, |row| match column {
            5 => more(&mut row[5]),
            _ => row[column].push_str(" not changed: no_room"),
        });
        let failures = failed(&place.audit_with("reports/findings.csv", &text));
        let about = ["findings.csv", "summary.json"];
        assert!(failures.iter().any(|name| about.contains(name)), "{column}: {failures:?}");
    }
}

#[test]
fn another_snapshot_and_a_strange_file_are_noticed() {
    let place = Place::with_plan(300);
    let other = Place::with_plan(301);
    let outcome = run(["audit", arg(&place.plan()), "--snapshot", arg(&other.dump()), "--json"]);
    let report = outcome.exits(1).json();
    let last = report["checks"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["name"], &last["result"]), (&"snapshot".into(), &"fail".into()));
    assert!(last["action"].as_str().unwrap().contains("snapshot"));

    let strange = place.plan().join("reports/final.csv");
    fs::write(&strange, "x").unwrap();
    assert_eq!(failed(&audit_alone(&place.plan())), ["file hashes"]);
    fs::remove_file(strange).unwrap();
    // A run's directory belongs there.
    fs::create_dir(place.plan().join("runs")).unwrap();
    assert!(audit_alone(&place.plan()).ok);

    let nothing = run(["audit", arg(&place.root.path().join("nowhere")), "--json"]).exits(1);
    assert_eq!(nothing.error().0, "no_plan");
}

#[test]
fn sha256sum_checks_what_the_sums_say() {
    let place = Place::with_plan(300);
    let check = || {
        let sums = std::process::Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
            .current_dir(place.plan())
            .output()
            .unwrap();
        sums.status.success()
    };
    assert!(check());
    fs::write(place.plan().join("reports/summary.json"), "{}").unwrap();
    assert!(!check());
}

#[test]
fn the_reports_reconcile_by_mint_and_in_all_in_plain_integers_and_iso_times() {
    let place = Place::with_plan(2_000);
    let rows = |name: &str| -> Vec<csv::StringRecord> {
        let text = place.text(&format!("reports/{name}"));
        csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap).collect()
    };
    let number = |row: &csv::StringRecord, cell: usize| -> i128 {
        assert!(row[cell].bytes().all(|b| b.is_ascii_digit() || b == b'-'), "{:?}", &row[cell]);
        row[cell].parse().unwrap()
    };
    let mut by_mint = std::collections::BTreeMap::<String, i128>::new();
    for row in rows("changes.csv") {
        let amount = if row[5].is_empty() { 0 } else { number(&row, 5) };
        *by_mint.entry(row[3].to_owned()).or_default() += amount;
        let time = |cell: usize| row[cell].parse::<remelt::model::Timestamp>().is_ok();
        assert!(time(9), "{row:?}");
        assert!(time(10) || row[10].is_empty() || row[10].starts_with('(') || &row[10] == "null");
    }
    let total: i128 = by_mint.values().sum();
    for row in rows("balance_deltas.csv") {
        *by_mint.get_mut(&row[1]).unwrap() += number(&row, 8);
        assert_eq!(number(&row, 4) - number(&row, 3), number(&row, 8));
        assert_eq!(number(&row, 7) - number(&row, 6), -number(&row, 8));
    }
    assert!(by_mint.len() > 3 && by_mint.values().all(|sum| *sum == 0), "{by_mint:?}");
    let summary: Value = serde_json::from_str(&place.text("reports/summary.json")).unwrap();
    assert_eq!(summary["impact"]["totalAmountAffected"], i64::try_from(total).unwrap());
    let of_balances: i128 = rows("balances.csv").iter().map(|row| number(row, 8)).sum();
    assert_eq!(of_balances, -total);
    for name in ["balance_deltas.csv", "balances.csv", "changes.csv", "findings.csv"] {
        for row in rows(name) {
            for (column, cell) in row.iter().enumerate() {
                let is_number = cell.parse::<i128>().is_ok();
                let is_run = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
                assert!(is_number || !is_run, "{name} {column}: {cell:?}");
            }
        }
    }
}
