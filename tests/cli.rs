//! The command line: exit codes, result objects, refusals.

use crate::support::command::{Outcome, arg, finish, keys, remelt, run};
use crate::support::dumps::write_dump;
use crate::support::files::{Files, files_below, names_in};
use crate::support::raw::{document, element, int32, string};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::model::FindingCode;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A damaged ledger and the plan for it, with room for more beside them.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn empty() -> Place {
        Place { root: tempfile::tempdir().unwrap() }
    }

    fn with_plan() -> Place {
        let place = Place::empty();
        place.put_dump("dump", 1);
        run(["analyze", arg(&place.at("dump")), arg(&place.at("plan")), "-q"]).exits(0);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn put_dump(&self, name: &str, seed: u64) {
        let options = GenerateOptions { tokens: 300, seed, damage: true };
        let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
        write_dump(&self.at(name), &tokens, Some(&wallets));
    }

    /// Runs a command whose arguments that begin with `@` are names here.
    fn run(&self, line: &str) -> Outcome {
        run(self.arguments(line))
    }

    fn arguments(&self, line: &str) -> Vec<String> {
        line.split_whitespace()
            .map(|word| match word.strip_prefix('@') {
                Some(name) => arg(&self.at(name)).to_owned(),
                None => word.to_owned(),
            })
            .collect()
    }

    fn files(&self, name: &str) -> Files {
        files_below(&self.at(name))
    }
}

const APPLY: &str = "apply @plan --snapshot @dump --out @repaired";
const ROLLBACK: &str = "rollback @plan --snapshot @repaired --out @restored";
const CONSENT: &str = "--confirm --yes";

#[test]
fn analyze_reports_the_result_object_of_the_design() {
    let place = Place::with_plan();
    let report =
        place.run("analyze @dump @other --json --repair-time 2026-01-01T00:00:00Z").exits(0);
    assert_eq!(report.stderr, "");
    let report = report.json();
    assert_eq!(
        keys(&report),
        ["snapshot", "stats", "impact", "findings", "healthScore", "plan", "performance"]
    );
    let parts: [(&str, &[&str]); 5] = [
        ("snapshot", &["sha256", "consistency", "clusterTime", "bytes", "documents"]),
        (
            "stats",
            &[
                "totalTokens",
                "totalMeltedTokens",
                "problematicTokens",
                "spentMeltedTokens",
                "totalUsers",
                "totalWallets",
            ],
        ),
        ("impact", &["tokensToMigrate", "totalAmountAffected", "affectedUsers"]),
        ("plan", &["sha256", "changes", "batches", "repairTime", "path"]),
        ("performance", &["bytes", "seconds", "documentsPerSecond"]),
    ];
    for (part, expected) in parts {
        assert_eq!(keys(&report[part]), expected, "{part}");
    }
    assert_eq!(keys(&report["snapshot"]["documents"]), ["cashu_tokens", "cashu_wallets"]);
    let codes: Vec<&str> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(keys(&report["findings"]), codes);
    for code in codes {
        let expected: &[&str] = match code {
            "inconsistent_status"
            | "negative_balance"
            | "amount_mismatch"
            | "double_counted"
            | "missing_change" => &["count", "amount", "affectedUsers"],
            "orphaned_tokens" | "duplicate_secrets" => &["count", "affectedUsers", "classes"],
            _ => &["count", "affectedUsers"],
        };
        assert_eq!(keys(&report["findings"][code]), expected, "{code}");
    }
    let classes = |code: &str| keys(&report["findings"][code]["classes"]).join(" ");
    assert_eq!(classes("orphaned_tokens"), "missing_wallet_id dangling_wallet_id");
    assert_eq!(classes("duplicate_secrets"), "benign_copy double_counted cross_user");
    assert_eq!(report["plan"]["path"], arg(&place.at("other")));
    assert_eq!(report["plan"]["repairTime"], "2026-01-01T00:00:00.000Z");
    assert_eq!(report["snapshot"]["consistency"], "foreign");

    // The same object is kept in the plan.
    let mut kept: Value =
        serde_json::from_slice(&place.files("other")["reports/summary.json"]).unwrap();
    assert_eq!(kept["plan"]["path"], ".");
    kept["plan"]["path"] = report["plan"]["path"].clone();
    assert_eq!(kept, report);
    assert_eq!(keys(&kept), keys(&report));
}

#[test]
fn reports_have_the_headers_of_the_design() {
    let place = Place::with_plan();
    let files = place.files("plan");
    let balances = "npub,mint_url,tokens_fixed,unspent_before,unspent_after,pending,spent_before,\
                    spent_after,delta";
    for (name, header) in [
        ("balance_deltas", balances),
        ("balances", balances),
        (
            "changes",
            "token_id,npub,wallet_id,mint_url,transaction_id,amount,status_before,status_after,\
             spent_at_before,spent_at_after,created_at",
        ),
        ("findings", "code,severity,token_id,npub,mint_url,amount,detail"),
    ] {
        let text = std::str::from_utf8(&files[&format!("reports/{name}.csv")]).unwrap();
        assert_eq!(text.split("\r\n").next(), Some(header), "{name}");
        assert!(text.ends_with("\r\n"), "{name}");
    }
    // Largest loss first.
    let mut rows = csv::Reader::from_reader(&*files["reports/balance_deltas.csv"]);
    let deltas: Vec<i128> = rows.records().map(|row| row.unwrap()[8].parse().unwrap()).collect();
    assert!(deltas.is_sorted(), "{deltas:?}");
    assert!(deltas.len() > 3);
}

#[test]
fn a_snapshot_of_our_own_says_which_collections_it_holds() {
    let place = Place::empty();
    place.put_dump("dump", 1);
    for (file, other) in [("cashu_tokens", "ecash"), ("cashu_wallets", "purses")] {
        let at = |name: &str| place.at("dump/nctool").join(format!("{name}.bson"));
        fs::rename(at(file), at(other)).unwrap();
    }
    let names = "--tokens ecash --wallets purses";
    place.run(&format!("analyze @dump @plan {names} -q")).exits(0);
    place.run(&format!("{APPLY} {CONSENT} {names}")).exits(0);
    // A dump does not; what apply wrote does, and other names are not believed.
    assert_eq!(place.run("analyze @dump @other").exits(1).stdout, "");
    place.run("verify @plan --snapshot @repaired").exits(0);
    place.run("analyze @repaired @again -q").exits(0);
    assert_eq!(place.run("analyze @repaired @other --tokens purse").exits(1).stdout, "");
}

#[test]
fn rehearse_reports_the_whole_cycle_and_leaves_nothing_behind() {
    let place = Place::with_plan();
    let scratch = place.at("scratch");
    // What a rehearsal that was killed a moment ago has left.
    fs::create_dir_all(scratch.join("remelt-rehearsal-killed/.repaired.partial")).unwrap();
    let before = place.files("dump");
    let mut command = remelt(place.arguments("rehearse @dump --json"));
    let outcome = finish(command.env("TMPDIR", &scratch)).exits(0);
    let report = outcome.json();
    assert_eq!(
        keys(&report),
        [
            "analyze",
            "applied",
            "verified",
            "rolledBack",
            "identical",
            "sha256Before",
            "sha256After"
        ]
    );
    let planned = &report["analyze"]["impact"]["tokensToMigrate"];
    assert!(planned.as_u64().unwrap() > 0);
    for step in ["applied", "verified", "rolledBack"] {
        assert_eq!(&report[step], planned, "{step}");
    }
    assert_eq!(report["identical"], true);
    assert_eq!(report["sha256Before"], report["analyze"]["snapshot"]["sha256"]);
    assert_eq!(report["sha256After"], report["sha256Before"]);
    assert_eq!(names_in(&scratch), [""; 0]);
    assert_eq!(place.files("dump"), before);

    place.run("rehearse @dump --keep @kept").exits(0);
    assert_eq!(names_in(&place.at("kept")), ["plan", "repaired", "restored"]);
    let restored = place.files("kept/restored");
    for (name, bytes) in before {
        assert!(restored[&name] == bytes, "{name}");
    }
    assert_eq!(place.run("rehearse @dump --keep @kept --json").exits(3).error().0, "exists");
}

#[test]
fn apply_verify_rollback_and_diff_lead_back_to_the_same_bytes() {
    let place = Place::with_plan();
    let before = place.files("dump");
    let verify_keys = [
        "planSha256",
        "checked",
        "asPlanned",
        "asBefore",
        "drifted",
        "missing",
        "newProblematicTokens",
        "ok",
    ];
    let plan: Value = serde_json::from_slice(&place.files("plan")["plan.json"]).unwrap();
    let changes = plan["totals"]["changes"].clone();

    let verified = place.run("verify @plan --snapshot @dump --json").exits(4).json();
    assert_eq!(keys(&verified), verify_keys);
    assert_eq!((&verified["asBefore"], &verified["ok"]), (&changes, &Value::Bool(false)));

    place.run(&format!("{APPLY} {CONSENT}")).exits(0);
    let verified = place.run("verify @plan --snapshot @repaired --json").exits(0).json();
    assert_eq!(keys(&verified), verify_keys);
    assert_eq!((&verified["asPlanned"], &verified["ok"]), (&changes, &Value::Bool(true)));
    assert_eq!(verified["planSha256"], plan["sha256"]);
    assert_eq!(verified["checked"], changes);

    let differing = place.run("diff @dump @repaired --json --limit 2").exits(4).json();
    assert_eq!(
        keys(&differing),
        [
            "identical",
            "sha256First",
            "sha256Second",
            "unchanged",
            "changed",
            "onlyInFirst",
            "onlyInSecond",
            "differences",
            "truncated"
        ]
    );
    assert_eq!((&differing["changed"], &differing["identical"]), (&changes, &Value::Bool(false)));
    assert_eq!((&differing["onlyInFirst"], &differing["onlyInSecond"]), (&0.into(), &0.into()));
    assert_eq!(differing["differences"].as_array().unwrap().len(), 2);
    assert_eq!(differing["truncated"], true);
    let first = &differing["differences"][0];
    assert_eq!(keys(first), ["collection", "id", "kind", "fields"]);
    assert_eq!(keys(&first["fields"][0]), ["name", "before", "after"]);

    place.run(&format!("{ROLLBACK} {CONSENT}")).exits(0);
    let same = place.run("diff @dump @restored --json").exits(0).json();
    assert_eq!(same["identical"], true);
    assert_eq!(same["sha256First"], same["sha256Second"]);
    assert_eq!(same["differences"], Value::Array(Vec::new()));
    for (name, bytes) in &before {
        assert!(&place.files("restored")[name] == bytes, "{name}");
    }
    assert_eq!(place.files("dump"), before, "the input is never written");
}

#[test]
fn apply_and_rollback_report_the_result_objects_of_the_design() {
    let place = Place::with_plan();
    let applied = place.run(&format!("{APPLY} {CONSENT} --json")).exits(0).json();
    assert_eq!(
        keys(&applied),
        [
            "runId",
            "planSha256",
            "state",
            "applied",
            "alreadyApplied",
            "drifted",
            "batches",
            "seconds",
            "documentsPerSecond",
            "manifest"
        ]
    );
    assert_eq!(keys(&applied["manifest"]), ["path", "sha256"]);
    let rolled_back = place.run(&format!("{ROLLBACK} {CONSENT} --json")).exits(0).json();
    assert_eq!(
        keys(&rolled_back),
        ["runId", "state", "restored", "alreadyRestored", "drifted", "seconds"]
    );
    assert_eq!(rolled_back["restored"], applied["applied"]);
    let report: Value =
        serde_json::from_slice(&place.files("plan")["reports/summary.json"]).unwrap();
    assert_eq!(applied["planSha256"], report["plan"]["sha256"]);
    assert_eq!(applied["applied"], report["plan"]["changes"]);
    assert_eq!(applied["batches"], report["plan"]["batches"]);
    assert_eq!(
        (&applied["state"], &rolled_back["state"]),
        (&"completed".into(), &"rolled_back".into())
    );

    // Each run has left a journal and a manifest, whose hash is the one reported.
    let runs = [&applied["runId"], &rolled_back["runId"]].map(|id| id.as_str().unwrap().to_owned());
    let mut sorted = runs.clone();
    sorted.sort();
    assert_eq!(names_in(&place.at("plan/runs")), sorted);
    for run in &runs {
        assert_eq!(names_in(&place.at("plan/runs").join(run)), ["journal", "manifest.json"]);
    }
    let path = applied["manifest"]["path"].as_str().unwrap();
    assert_eq!(Path::new(path), place.at("plan/runs").join(&runs[0]).join("manifest.json"));
    let manifest = fs::read_to_string(path).unwrap();
    assert!(manifest.contains(applied["manifest"]["sha256"].as_str().unwrap()), "{manifest}");
}

#[test]
fn generate_reports_what_it_wrote() {
    let place = Place::empty();
    let report = place.run("generate @ledger --tokens 300 --damage --json").exits(0).json();
    assert_eq!(
        keys(&report),
        ["path", "tokens", "wallets", "users", "bytes", "tokensToMigrate", "seconds"]
    );
    assert_eq!(report["tokens"], 300);
    let truth: Value = serde_json::from_slice(&place.files("ledger")["truth.json"]).unwrap();
    assert_eq!(report["users"], truth["stats"]["totalUsers"]);
    assert_eq!(report["wallets"], truth["stats"]["totalWallets"]);
    assert_eq!(report["tokensToMigrate"], truth["impact"]["tokensToMigrate"]);
    let before = place.files("ledger");
    assert_eq!(place.run("generate @ledger --tokens 5 --json").exits(3).error().0, "exists");
    assert_eq!(place.files("ledger"), before);
    place.run("generate @same --tokens 300 --damage").exits(0);
    assert_eq!(place.files("same"), before, "the same options give the same bytes");
}

#[test]
fn fail_on_exits_with_4_only_when_a_named_finding_occurs() {
    let place = Place::with_plan();
    let undamaged = GenerateOptions { tokens: 300, seed: 1, damage: false };
    let (tokens, wallets, _) = generate_in_memory(&undamaged).unwrap();
    write_dump(&place.at("undamaged"), &tokens, Some(&wallets));
    for (number, (dump, codes, exit)) in [
        ("dump", "any", 4),
        ("dump", "duplicate_field", 4),
        ("dump", "negative_balance,missing_change", 4),
        ("undamaged", "duplicate_field,negative_balance", 0),
        ("undamaged", "duplicate_field,inconsistent_status", 4),
        ("undamaged", "any", 4),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("analyze @{dump} @plan-{number} --json --fail-on {codes}");
        let outcome = place.run(&line).exits(exit);
        assert!(outcome.json()["plan"]["sha256"].is_string(), "{line}");
        let is_named = outcome.stderr.contains(codes.rsplit(',').next().unwrap_or_default());
        assert_eq!(is_named, exit == 4 && codes != "any", "{line}: {}", outcome.stderr);
        assert!(place.at(&format!("plan-{number}/plan.json")).exists(), "{line}");
    }
    place.run("analyze @dump @more --fail-on no_such_finding").exits(2);
    assert!(!place.at("more").exists());
}

#[test]
fn without_confirmation_nothing_is_done() {
    let place = Place::with_plan();
    let before = names_in(place.root.path());
    for line in [APPLY, &format!("{APPLY} --yes"), &format!("{APPLY} --confirm")] {
        let (code, message, hint) = place.run(&format!("{line} --json")).exits(3).error();
        assert_eq!(code, "no_confirmation", "{message}");
        assert!(message.starts_with("nothing was done"), "{message}");
        let wanted = if line.ends_with("--confirm") { "--yes" } else { "--confirm" };
        assert!(hint.contains(wanted), "{hint}");
        assert_eq!(names_in(place.root.path()), before);
    }
    let outcome = place.run(APPLY).exits(3);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("add --confirm"), "{outcome:?}");
    place.run(&format!("{APPLY} {CONSENT}")).exits(0);
    let (code, ..) = place.run(&format!("{ROLLBACK} --json")).exits(3).error();
    assert_eq!(code, "no_confirmation");
    place.run(&format!("{ROLLBACK} --confirm")).exits(3);
    assert!(!place.at("restored").exists());
}

/// Runs the binary on a terminal of its own, on which `typed` is typed.
fn on_a_terminal(arguments: &[String], typed: &str) -> Option<i32> {
    let quoted: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("{} {}", env!("CARGO_BIN_EXE_remelt"), quoted.join(" "));
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program `script` (util-linux) gives the test a terminal");
    script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    script.wait().unwrap().code()
}

#[test]
fn on_a_terminal_the_name_of_the_database_must_be_typed() {
    let place = Place::with_plan();
    let arguments = place.arguments(&format!("{APPLY} --confirm"));
    for wrong in ["wrong\n", "\n", "NCTOOL\n", "nctool2\n"] {
        assert_eq!(on_a_terminal(&arguments, wrong), Some(3), "{wrong:?}");
        assert!(!place.at("repaired").exists());
    }
    assert_eq!(on_a_terminal(&arguments, "nctool\n"), Some(0));
    assert!(place.at("repaired/snapshot.json").exists());
}

#[test]
fn what_is_there_already_is_refused_and_untouched() {
    let place = Place::with_plan();
    place.run(&format!("{APPLY} {CONSENT}")).exits(0);
    fs::write(place.at("file"), "a file").unwrap();
    let before = place.files("");
    for line in [
        "analyze @dump @plan",
        "analyze @dump @dump",
        "analyze @dump @file",
        "rehearse @dump --keep @plan",
        &format!("{APPLY} {CONSENT}"),
        &format!("apply @plan --snapshot @dump --out @plan {CONSENT}"),
        &format!("rollback @plan --snapshot @repaired --out @dump {CONSENT}"),
        "generate @plan --tokens 5",
        "generate @file --tokens 5",
    ] {
        let (code, message, hint) = place.run(&format!("{line} --json")).exits(3).error();
        assert!(["exists", "inside_input"].contains(&code.as_str()), "{line}: {code} {message}");
        assert!(!hint.is_empty(), "{line}");
        assert!(place.files("") == before, "{line} changed something");
    }
}

#[test]
fn an_output_inside_an_input_is_refused() {
    let place = Place::with_plan();
    let before = place.files("");
    for line in [
        "analyze @dump @dump/plan",
        "analyze @dump @dump/nctool/deep/plan",
        "analyze @dump @plan/deep/plan",
        "analyze @dump/nctool @dump/nctool/plan",
        "rehearse @dump --keep @dump/kept",
        &format!("apply @plan --snapshot @dump --out @dump/copy {CONSENT}"),
        &format!("apply @plan --snapshot @dump --out @plan/copy {CONSENT}"),
    ] {
        let (code, message, _) = place.run(&format!("{line} --json")).exits(3).error();
        assert_eq!(code, "inside_input", "{line}: {message}");
        assert!(place.files("") == before, "{line} changed something");
    }
}

#[test]
fn a_plan_with_any_byte_altered_is_refused() {
    let place = Place::with_plan();
    let apply = place.arguments(&format!("{APPLY} {CONSENT} --json"));
    let refused = |what: &str| {
        let outcome = run(&apply);
        assert_eq!(outcome.code, Some(3), "{what}: {outcome:#?}");
        assert_eq!(outcome.error().0, "altered_plan", "{what}");
        assert!(!place.at("repaired").exists() && !place.at(".repaired.partial").exists());
    };
    for (name, step) in [("plan.json", 1), ("changes.bson", 997)] {
        let path = place.at("plan").join(name);
        let whole = fs::read(&path).unwrap();
        assert!(whole.len() > 20 * step, "{name} has {} bytes", whole.len());
        for at in (0..whole.len()).step_by(step) {
            let mut altered = whole.clone();
            altered[at] ^= 1 << (at % 8);
            fs::write(&path, &altered).unwrap();
            refused(&format!("{name} byte {at}"));
        }
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            refused(&format!("{name} cut at {cut}"));
        }
        fs::write(&path, [whole.as_slice(), b"\n"].concat()).unwrap();
        refused(&format!("{name} with a byte more"));
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_file(place.at("plan/plan.json")).unwrap();
    assert_eq!(run(&apply).exits(1).error().0, "no_plan");
}

#[test]
fn a_plan_is_applied_to_its_own_snapshot_alone() {
    let place = Place::with_plan();
    place.put_dump("other", 2);
    let refused = |line: &str, code: &str| {
        let outcome = place.run(&format!("{line} {CONSENT} --json")).exits(3);
        assert_eq!(outcome.error().0, code, "{line}: {outcome:#?}");
    };
    refused("apply @plan --snapshot @other --out @repaired", "drift");
    refused("rollback @plan --snapshot @dump --out @restored", "drift");
    assert_eq!(names_in(&place.at("plan/runs")), [""; 0], "a run that never was is not kept");
    // Only a token that the plan does not touch is another one.
    let path = place.at("dump/nctool/cashu_tokens.bson");
    let whole = fs::read(&path).unwrap();
    let changed = {
        let changes = fs::read_to_string(place.at("plan/reports/changes.csv")).unwrap();
        let documents = crate::support::archive_writer::split(&whole);
        let mut start = 0;
        let found = documents.iter().find_map(|document| {
            let at = start;
            start += document.len();
            let id: String = document[9..21].iter().map(|byte| format!("{byte:02x}")).collect();
            (!changes.contains(&id)).then_some(at)
        });
        // The last byte of its `_id`.
        found.unwrap() + 20
    };
    let mut altered = whole.clone();
    altered[changed] ^= 1;
    fs::write(&path, &altered).unwrap();
    refused(APPLY, "other_snapshot");
    assert!(!place.at("repaired").exists() && !place.at("restored").exists());
    fs::write(&path, &whole).unwrap();
    place.run(&format!("{APPLY} {CONSENT}")).exits(0);
    refused("apply @plan --snapshot @repaired --out @again", "drift");
    assert!(!place.at("again").exists());
}

#[test]
fn usage_errors_exit_with_2_in_the_form_that_was_asked_for() {
    let place = Place::empty();
    for line in [
        "no-such-command",
        "analyze",
        "analyze @dump",
        "analyze @dump @plan --no-such-option",
        "analyze @dump @plan --memory 1MiB",
        "analyze @dump @plan --memory lots",
        "analyze @dump @plan --threads 0",
        "analyze @dump @plan --repair-time yesterday",
        "analyze @dump @plan --spent-at never",
        "generate @ledger",
        "generate @ledger --tokens -1",
        "apply @plan",
        "diff @dump",
        "diff @dump @dump --limit many",
        "analyze @dump @plan --uri mongodb://127.0.0.1:1/nctool",
        "apply @plan --snapshot @dump --out @copy --uri mongodb://127.0.0.1:1/nctool",
        "verify @plan --snapshot @dump --uri mongodb://127.0.0.1:1/nctool",
    ] {
        let plain = place.run(line).exits(2);
        assert_eq!(plain.stdout, "", "{line}");
        assert!(plain.stderr.starts_with("error: "), "{line}: {plain:?}");
        let (code, message, hint) = place.run(&format!("{line} --json")).exits(2).error();
        assert_eq!(code, "usage", "{line}");
        assert!(!message.is_empty() && !hint.is_empty(), "{line}: {message}");
    }
    assert_eq!(names_in(place.root.path()), [""; 0]);
    run([""; 0]).exits(2);
}

#[test]
fn a_uri_in_the_environment_does_not_keep_anyone_from_working_on_a_copy() {
    let place = Place::with_plan();
    for line in ["verify @plan --snapshot @dump", "analyze @dump @another"] {
        let mut command = remelt(place.arguments(line));
        finish(command.env("MONGODB_URI", "mongodb://127.0.0.1:1/nctool"))
            .exits(if line.starts_with("verify") { 4 } else { 0 });
    }
}

#[test]
fn explain_believes_no_altered_report_and_takes_no_finding_about_users_for_a_tokens() {
    let place = Place::with_plan();
    let path = place.at("plan/reports/findings.csv");
    let whole = fs::read_to_string(&path).unwrap();
    let token = whole.lines().nth(1).unwrap().split(',').nth(2).unwrap().to_owned();
    let explain = |token: &str| run(["explain", arg(&place.at("plan")), token, "--json"]);
    let explained = explain(&token).exits(0).json();
    assert_eq!(explained["tokenId"], token);
    assert_eq!(explain("").exits(1).error().0, "not_in_plan");

    let without =
        whole.lines().filter(|row| !row.contains(&token)).collect::<Vec<_>>().join("\r\n");
    for altered in [whole.replacen("melted", "Melted", 1), without + "\r\n"] {
        assert_ne!(altered, whole);
        fs::write(&path, altered).unwrap();
        assert_eq!(explain(&token).exits(3).error().0, "altered_report");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(explain(&token).exits(3).error().0, "altered_report");
}

#[test]
fn differences_tell_absent_null_and_text_apart() {
    let place = Place::empty();
    let token = |spent_at: Option<bson::Bson>| {
        let mut token = bson::doc! {"_id": 1, "status": "spent", "proofs": [1]};
        token.extend(spent_at.map(|value| ("spent_at".to_owned(), value)));
        token.to_vec().unwrap()
    };
    let values = [None, Some(bson::Bson::Null), Some("null".into()), Some("".into())];
    for (number, value) in values.into_iter().enumerate() {
        write_dump(&place.at(&number.to_string()), &token(value), Some(&[]));
    }
    let mut seen = Vec::new();
    for line in ["diff @0 @1", "diff @1 @2", "diff @2 @3", "diff @3 @0"] {
        let row = place.run(line).exits(4).stdout;
        seen.push(row.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" "));
        let field =
            &place.run(&format!("{line} --json")).exits(4).json()["differences"][0]["fields"][0];
        seen.push(field.to_string());
    }
    assert_eq!(
        seen,
        [
            "spent_at (absent) -> null",
            r#"{"name":"spent_at","after":null}"#,
            r#"spent_at null -> "null""#,
            r#"{"name":"spent_at","before":null,"after":"null"}"#,
            r#"spent_at "null" -> """#,
            r#"{"name":"spent_at","before":"null","after":""}"#,
            r#"spent_at "" -> (absent)"#,
            r#"{"name":"spent_at","before":""}"#,
        ]
    );
}

#[test]
fn a_command_that_is_suggested_can_be_pasted() {
    let place = Place::empty();
    place.put_dump("dump", 1);
    let plan = place.at("my plan");
    let suggested = run(["analyze", arg(&place.at("dump")), arg(&plan)]).exits(0).stdout;
    let last = suggested.lines().last().unwrap();
    assert_eq!(last.trim(), format!("remelt preview '{}'", arg(&plan)));
}

#[test]
fn help_and_version_fit_80_columns_and_exit_with_0() {
    let all = run(["--help"]).exits(0).stdout;
    let (_, listed) = all.split_once("Commands:\n").unwrap();
    let commands: Vec<&str> = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|it| !it.is_empty()))
        .filter(|command| *command != "help")
        .collect();
    for command in ["rehearse", "analyze", "apply", "verify", "rollback", "diff", "generate"] {
        assert!(commands.contains(&command), "{command} is not in the help");
    }
    for command in commands {
        for option in ["--help", "-h"] {
            let help = finish(remelt([command, option]).env("COLUMNS", "200")).exits(0).stdout;
            let long = help.lines().find(|line| line.chars().count() > 80);
            assert!(long.is_none(), "{command}: {long:?}");
            assert!(help.contains("Usage: remelt"), "{command}");
        }
    }
    assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
    assert!(all.contains("Exit codes:"), "{all}");
    let version = run(["--version"]).exits(0).stdout;
    assert_eq!(version, format!("remelt {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn results_for_people_fit_80_columns_and_go_to_standard_output_alone() {
    let place = Place::with_plan();
    place.run(&format!("{APPLY} {CONSENT}")).exits(0);
    for (line, exit) in [
        ("analyze @dump @p", 0),
        ("verify @plan --snapshot @repaired", 0),
        ("verify @plan --snapshot @dump", 4),
        ("rehearse @dump", 0),
        ("diff @dump @repaired --limit 3", 4),
        ("diff @dump @dump", 0),
        ("generate @g --tokens 5", 0),
    ] {
        let outcome = place.run(line).exits(exit);
        assert_eq!(outcome.stderr, "", "{line}");
        // Paths and hashes are as long as they are.
        let root = arg(place.root.path());
        let long =
            outcome.stdout.lines().find(|line| line.chars().count() > 80 && !line.contains(root));
        assert!(long.is_none(), "{line}: {long:?}");
        assert!(!outcome.stdout.contains(['\x1b', '\r']), "{line}: {outcome:?}");
    }
}

#[test]
fn a_closed_standard_output_is_no_failure() {
    let place = Place::with_plan();
    for line in [
        "--help",
        "analyze @dump @first",
        "analyze @dump @second --json",
        "verify @plan --snapshot @dump --json",
        "diff @dump @dump",
        "preview @plan",
        "preview @plan --json",
        "completions zsh",
        "man",
        "rehearse @dump",
        "generate @ledger --tokens 5",
        "analyze @dump",
        "analyze @dump --json",
        "analyze @nowhere @third --json",
    ] {
        let written = ["first", "second", "ledger"].map(|name| place.at(name));
        let expected = place.run(line).code;
        let known: Vec<bool> = written.iter().map(|path| path.exists()).collect();
        written.iter().filter(|path| path.exists()).for_each(|it| fs::remove_dir_all(it).unwrap());
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = remelt(place.arguments(line));
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let outcome = Outcome::new(line.to_owned(), &child.wait_with_output().unwrap());
        outcome.exits(expected.unwrap());
        let found: Vec<bool> = written.iter().map(|path| path.exists()).collect();
        assert_eq!(found, known, "{line} does the same work whoever reads its result");
        written.iter().filter(|path| path.exists()).for_each(|it| fs::remove_dir_all(it).unwrap());
    }
}

#[test]
fn a_snapshot_is_never_written() {
    let place = Place::with_plan();
    let before = place.files("dump");
    let times = |root: &Path| {
        let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        (modified(root), modified(&root.join("nctool")))
    };
    let touched = times(&place.at("dump"));
    for line in [
        "analyze @dump @p",
        "rehearse @dump",
        "verify @plan --snapshot @dump",
        "diff @dump @dump",
        &format!("{APPLY} {CONSENT}"),
    ] {
        place.run(line);
        assert_eq!(times(&place.at("dump")), touched, "{line}");
    }
    assert_eq!(place.files("dump"), before);
}

fn token_with(number: i32, words: &[(&str, &str)]) -> Vec<u8> {
    let words = words.iter().map(|(name, word)| element(name, &string(word)));
    document(&[vec![element("_id", &int32(number))], words.collect()].concat())
}

#[test]
fn a_named_finding_that_can_not_be_looked_for_is_not_taken_for_none() {
    let place = Place::empty();
    write_dump(&place.at("dump"), &token_with(1, &[]), None);
    let line = "analyze @dump @plan --without-wallets --fail-on wallet_mismatch,missing_change";
    let outcome = place.run(line).exits(4);
    let said = "named by --fail-on and not looked for, as there are no wallets to compare with: \
                wallet_mismatch; the exit code is 4";
    assert!(outcome.stderr.contains(said), "{outcome:#?}");
    // Not to look for it was asked for, and everything else is in order.
    let fine = token_with(1, &[("status", "spent"), ("transaction_type", "sent")]);
    assert_eq!(
        place.run("analyze @dump @other --without-wallets --fail-on negative_balance").code,
        Some(0)
    );
    write_dump(&place.at("fine"), &fine, Some(b""));
    place.run("analyze @fine @third --fail-on wallet_mismatch").exits(0);
}

#[test]
fn tokens_and_wallets_of_one_collection_are_refused() {
    let place = Place::with_plan();
    let refused = place.run("analyze @dump @other --wallets cashu_tokens --json").exits(1);
    assert!(refused.error().1.contains("name the same collection"), "{refused:#?}");
}

#[test]
fn an_empty_collection_on_one_side_alone_is_no_other_order() {
    let place = Place::empty();
    let tokens = [token_with(1, &[]), token_with(2, &[])];
    write_dump(&place.at("with"), &tokens.concat(), Some(b""));
    write_dump(&place.at("without"), &tokens.concat(), None);
    write_dump(&place.at("turned"), &[&tokens[1][..], &tokens[0]].concat(), Some(b""));
    for (line, said) in [
        ("diff @with @without", "the same documents; only the first has a collection of wallets"),
        ("diff @without @with", "the same documents; only the second has a collection of wallets"),
        ("diff @with @turned", "the same documents in another order"),
    ] {
        let outcome = place.run(&format!("{line} --without-wallets"));
        assert!(outcome.stdout.contains(said), "{outcome:#?}");
    }
}

#[test]
fn a_payout_under_way_is_not_said_to_be_booked() {
    let place = Place::empty();
    let melted = |number: i32, status: &str| {
        token_with(number, &[("transaction_type", "melted"), ("status", status)])
    };
    let statuses = ["unspent", "spent", "pending", "failed"];
    let tokens: Vec<Vec<u8>> = (0..).zip(statuses).map(|(n, it)| melted(n, it)).collect();
    write_dump(&place.at("dump"), &tokens.concat(), Some(b""));
    place.run("analyze @dump @plan").exits(0);
    let page = fs::read_to_string(place.at("plan/reports/report.html")).unwrap();
    assert!(page.contains("booked as spent:</strong> 25.0 % before the repair, 50.0 % after it"));
}

#[test]
fn a_directory_beside_the_database_that_can_not_be_read_is_skipped_and_said() {
    // A superuser reads everything, so the program runs as somebody else then, from where anybody finds it.
    const NOBODY: u32 = 65_534;
    let place = Place::with_plan();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    for path in ["", "dump", "dump/nctool"] {
        open(&place.at(path));
    }
    fs::create_dir(place.at("dump/lost+found")).unwrap();
    fs::set_permissions(place.at("dump/lost+found"), fs::Permissions::from_mode(0o000)).unwrap();
    let program = place.at("remelt");
    fs::copy(env!("CARGO_BIN_EXE_remelt"), &program).unwrap();
    let analyze = |more: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["analyze", arg(&place.at("dump")), arg(&place.at("other"))]).args(more);
        if fs::metadata(place.at("")).unwrap().uid() == 0 {
            command.uid(NOBODY);
        }
        finish(command.env("REMELT_CONFIG", "").env("TMPDIR", place.at("")))
    };
    let named = analyze(&["--db", "lost+found", "--json"]).exits(1);
    assert!(named.error().1.contains("lost+found"), "{named:#?}");
    let outcome = analyze(&[]).exits(0);
    assert!(outcome.stderr.contains("not read from the dump: lost+found (unreadable)"));
}
