//! Every number of an analysis equals what the generator says it put into the ledger.

use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::files::files_below;
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::model::JsonAmount;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

fn amount(json: &Value) -> JsonAmount {
    serde_json::from_value(json.clone()).unwrap()
}

/// `json` with every amount as text, whether it stood there as a number or as a string.
fn amounts_as_text(json: &Value) -> Value {
    match json {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| match name.as_str() {
                    "amount" | "totalAmountAffected" => {
                        (name.clone(), json!(amount(value).0.to_string()))
                    }
                    _ => (name.clone(), amounts_as_text(value)),
                })
                .collect::<Map<_, _>>(),
        ),
        other => other.clone(),
    }
}

/// Tokens fixed and delta of every user in `balance_deltas.csv`.
pub(crate) fn deltas_in(plan: &Path) -> BTreeMap<String, (u64, i128)> {
    let mut deltas = BTreeMap::new();
    let mut rows = csv::Reader::from_path(plan.join("reports/balance_deltas.csv")).unwrap();
    for row in rows.deserialize::<BTreeMap<String, String>>() {
        let row = row.unwrap();
        let (fixed, delta) = deltas.entry(row["npub"].clone()).or_insert((0, 0));
        *fixed += row["tokens_fixed"].parse::<u64>().unwrap();
        *delta += row["delta"].parse::<i128>().unwrap();
    }
    deltas
}

fn deltas_of(truth: &Value) -> BTreeMap<String, (u64, i128)> {
    let users = truth["perUser"].as_object().unwrap().iter();
    users
        .map(|(npub, user)| {
            let (fixed, delta) = (&user["tokensFixed"], amount(&user["delta"]).0);
            (npub.clone(), (fixed.as_u64().unwrap(), delta))
        })
        .collect()
}

fn check(tokens: u64, seed: u64, damage: bool) {
    let what = format!("{tokens} tokens, seed {seed}, damage {damage}");
    let options = GenerateOptions { tokens, seed, damage };
    let (token_bytes, wallet_bytes, truth) = generate_in_memory(&options).unwrap();
    let root = tempfile::tempdir().unwrap();
    write_dump(root.path(), &token_bytes, Some(&wallet_bytes));
    let plan = root.path().join("plan");
    let options = build_options(SpentAt::Repair, 2, MEMORY_BYTES_MIN, 3);
    let report = make_plan(&root.path().join("nctool"), &plan, &options).unwrap();
    let report = serde_json::to_value(&report).unwrap();

    for part in ["stats", "impact", "findings"] {
        let text =
            |json: &Value| serde_json::to_string_pretty(&amounts_as_text(&json[part])).unwrap();
        assert_eq!(text(&report), text(&truth), "{part} of {what}");
    }
    let files = files_below(&plan);
    let sealed: Value = serde_json::from_slice(&files["plan.json"]).unwrap();
    for (reason, count) in truth["notChanged"].as_object().unwrap() {
        assert_eq!(&sealed["notChanged"][reason], count, "{reason} of {what}");
    }
    assert_eq!(sealed["totals"]["changes"], truth["impact"]["tokensToMigrate"], "{what}");
    let mut deltas = deltas_in(&plan);
    let (fixed, sum) = deltas.values().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    assert_eq!(fixed, report["impact"]["tokensToMigrate"].as_u64().unwrap(), "{what}");
    assert_eq!(JsonAmount(-sum), amount(&report["impact"]["totalAmountAffected"]), "{what}");
    // Documents whose `npub` is no text stand under no name and belong to no user.
    deltas.remove("");
    assert_eq!(deltas, deltas_of(&truth), "{what}");

    let rows = |name: &str| {
        csv::Reader::from_reader(&*files[&format!("reports/{name}")]).into_records().count()
    };
    let planned = truth["impact"]["tokensToMigrate"].as_u64().unwrap();
    assert_eq!(rows("changes.csv"), usize::try_from(planned).unwrap(), "{what}");
    if !damage {
        // Without damage nothing but the bug is wrong: a melt's proofs count twice while it is unspent,
        // and stand in two spent documents afterwards.
        let benign = ["inconsistent_status", "duplicate_secrets", "double_counted"];
        for (code, finding) in report["findings"].as_object().unwrap() {
            let is_none = finding["count"] == 0;
            assert!(is_none || benign.contains(&code.as_str()), "{code} in {what}");
        }
    }
}

#[test]
fn every_number_equals_the_truth_in_small_damaged_ledgers() {
    (0..12).for_each(|seed| check(300, seed, true));
}

#[test]
fn every_number_equals_the_truth_in_small_undamaged_ledgers() {
    (0..4).for_each(|seed| check(300, seed, false));
    (1..4).for_each(|tokens| check(tokens, 1, false));
}

#[test]
fn every_number_equals_the_truth_in_ledgers_of_several_chunks() {
    for seed in [1, 2] {
        check(3_000, seed, true);
    }
    check(3_000, 3, false);
}

#[test]
fn every_number_equals_the_truth_in_ledgers_of_several_cohorts() {
    check(20_000, 5, true);
    check(20_000, 6, false);
}

/// Compares an analysis of `fixtures/mongodump` with what was put into it.
pub(crate) fn check_real_dump(report: &Value, plan: &Path, truth: &Value) {
    let same = |name: &str, found: &Value| assert_eq!(found, &truth[name], "{name}");
    let (stats, findings) = (&report["stats"], &report["findings"]);
    same("total", &stats["totalTokens"]);
    same("melted", &stats["totalMeltedTokens"]);
    same("problematic", &stats["problematicTokens"]);
    same("spent_melted", &stats["spentMeltedTokens"]);
    same("users_with_tokens", &stats["totalUsers"]);
    same("wallets", &stats["totalWallets"]);
    same("problematic", &report["impact"]["tokensToMigrate"]);
    same("problematic_amount", &report["impact"]["totalAmountAffected"]);
    same("affected_users", &report["impact"]["affectedUsers"]);
    same("duplicate_secrets", &findings["duplicate_secrets"]["count"]);
    for class in ["missing_wallet_id", "dangling_wallet_id"] {
        same(class, &findings["orphaned_tokens"]["classes"][class]);
    }
    for code in ["invalid_amounts", "amount_mismatch", "missing_metadata", "unknown_status"] {
        same(code, &findings[code]["count"]);
    }
    let wrong =
        ["unspent_with_spent_at", "spent_without_spent_at"].map(|n| truth[n].as_u64().unwrap());
    assert_eq!(findings["spent_at_mismatch"]["count"], wrong.iter().sum::<u64>());
    let deltas = deltas_in(plan);
    let users = truth["per_user"].as_object().unwrap();
    assert_eq!(deltas.len(), users.len());
    for (npub, known) in users {
        let (fixed, amount) = (known[0].as_u64().unwrap(), i128::from(known[1].as_i64().unwrap()));
        assert_eq!(deltas[npub], (fixed, -amount), "{npub}");
    }
}
