//! The three who count: the analysis inside the database, the local engine, and the slow oracle.

use super::dumps::{REPAIR_TIME_MS, build_options, make_plan, write_dump};
use super::oracle::{self, OracleOptions};
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::cluster::{ClusterOptions, analyze_in_cluster};
use remelt::progress::Progress;
use remelt::server::Server;
use serde_json::{Value, json};
use std::time::Duration;

/// Everywhere that the rule can take the time from.
pub(crate) const SPENT_AT: [SpentAt; 3] = [SpentAt::Repair, SpentAt::Created, SpentAt::Updated];

/// Everything that both engines can tell.
fn figures(report: &Value) -> Value {
    let snapshot = &report["snapshot"];
    json!({
        "stats": report["stats"], "impact": report["impact"], "findings": report["findings"],
        "healthScore": report["healthScore"], "documents": snapshot["documents"],
        "bytes": snapshot["bytes"],
    })
}

/// What the database says of itself.
pub(crate) async fn in_cluster(server: &Server, options: &ClusterOptions) -> Value {
    let report =
        analyze_in_cluster(server, options, &Progress::new(), &|| Duration::from_millis(1)).await;
    match report {
        Ok(report) => serde_json::to_value(&report).unwrap(),
        Err(error) => panic!("the analysis failed: {error}"),
    }
}

/// What the local engine says of the same documents.
fn locally(tokens: &[u8], wallets: Option<&[u8]>, spent_at: SpentAt) -> Value {
    let root = tempfile::tempdir().unwrap();
    write_dump(root.path(), tokens, wallets);
    let options = build_options(spent_at, 1, MEMORY_BYTES_MIN, 7);
    let plan = root.path().join("plan");
    let report = make_plan(&root.path().join("nctool"), &plan, &options).unwrap();
    serde_json::to_value(&report).unwrap()
}

/// Compares the engines on what the database holds, which are these documents; without wallets the
/// database is read as if it had none. The reports from inside the database, one for each of [`SPENT_AT`].
pub(crate) async fn compare(
    server: &Server,
    tokens: &[u8],
    wallets: Option<&[u8]>,
    what: &str,
) -> [Value; 3] {
    let mut reports = SPENT_AT.map(|_| Value::Null);
    for (spent_at, report) in SPENT_AT.into_iter().zip(&mut reports) {
        let collection = if wallets.is_some() { "cashu_wallets" } else { "no_such_collection" };
        let options = ClusterOptions {
            wallets: collection.to_owned(),
            require_wallets: wallets.is_some(),
            spent_at,
            ..ClusterOptions::default()
        };
        *report = in_cluster(server, &options).await;
        let expected = locally(tokens, wallets, spent_at);
        let what = format!("{what}, {spent_at:?}");
        let (seen, expected) = (figures(report), figures(&expected));
        for part in ["stats", "impact", "healthScore", "documents", "bytes"] {
            assert_eq!(seen[part], expected[part], "{what}: {part}");
        }
        for (code, finding) in expected["findings"].as_object().unwrap() {
            assert_eq!(&seen["findings"][code], finding, "{what}: {code}");
        }
        assert_eq!(seen, expected, "{what}");
    }
    reports
}

/// Compares a report with the oracle, who has the last word.
pub(crate) fn compare_with_oracle(
    report: &Value,
    tokens: &[u8],
    wallets: Option<&[u8]>,
    spent_at: SpentAt,
    what: &str,
) {
    let oracles_spent_at = match spent_at {
        SpentAt::Repair => oracle::SpentAt::Repair,
        SpentAt::Created => oracle::SpentAt::Created,
        SpentAt::Updated => oracle::SpentAt::Updated,
    };
    let options = OracleOptions { repair_time_ms: REPAIR_TIME_MS, spent_at: oracles_spent_at };
    let expected = oracle::analyze(tokens, wallets, &options).to_json();
    for part in ["stats", "impact", "findings"] {
        assert_eq!(report[part], expected[part], "{what}, {spent_at:?}: {part}");
    }
}
