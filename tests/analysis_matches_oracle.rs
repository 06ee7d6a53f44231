//! The analysis equals the slow oracle, number for number, on random hostile ledgers.

use crate::support::dumps::{REPAIR_TIME_MS, build_options, make_plan, write_dump};
use crate::support::ledgers::{Ledger, ledgers, ledgers_up_to};
use crate::support::oracle::{self, Oracle, OracleOptions};
use proptest::prelude::*;
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::plan::Plan;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn oracle_of(ledger: &Ledger, with_wallets: bool, spent_at: SpentAt) -> Oracle {
    let spent_at = match spent_at {
        SpentAt::Repair => oracle::SpentAt::Repair,
        SpentAt::Created => oracle::SpentAt::Created,
        SpentAt::Updated => oracle::SpentAt::Updated,
    };
    let wallets = with_wallets.then_some(ledger.wallets.as_slice());
    oracle::analyze(
        &ledger.tokens,
        wallets,
        &OracleOptions { repair_time_ms: REPAIR_TIME_MS, spent_at },
    )
}

/// The figures of an analysis in the oracle's shape.
fn figures(report: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "stats": report["stats"], "impact": report["impact"], "findings": report["findings"],
    })
}

/// Balances by user and mint as `balances.csv` has them; rows that look alike are added up.
fn balances_in(plan: &Path, file: &str) -> BTreeMap<(String, String), Vec<i128>> {
    let mut balances = BTreeMap::new();
    for row in csv::Reader::from_path(plan.join("reports").join(file)).unwrap().records() {
        let row = row.unwrap();
        let key = (row[0].to_owned(), row[1].to_owned());
        let numbers = row.iter().skip(2).map(|cell| cell.parse::<i128>().unwrap());
        let sums: &mut Vec<i128> = balances.entry(key).or_insert_with(|| vec![0; 7]);
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
    balances
}

fn check(ledger: &Ledger, with_wallets: bool, spent_at: SpentAt) {
    let root = tempfile::tempdir().unwrap();
    let wallets = with_wallets.then_some(ledger.wallets.as_slice());
    write_dump(root.path(), &ledger.tokens, wallets);
    let directory = root.path().join("plan");
    let options = build_options(spent_at, 2, MEMORY_BYTES_MIN, 7);
    let report = make_plan(&root.path().join("nctool"), &directory, &options).unwrap();
    let expected = oracle_of(ledger, with_wallets, spent_at);

    let report = serde_json::to_value(&report).unwrap();
    assert_eq!(
        serde_json::to_string_pretty(&figures(&report)).unwrap(),
        serde_json::to_string_pretty(&expected.to_json()).unwrap(),
    );

    let plan = Plan::open(&directory).unwrap();
    let documents = oracle::documents(&ledger.tokens);
    let mut repaired = Vec::new();
    let batches: Vec<_> = plan.batches().map(Result::unwrap).collect();
    let mut changes = batches.iter().flat_map(|batch| batch.changes()).peekable();
    for (ordinal, document) in documents.iter().enumerate() {
        match changes.next_if(|change| change.ordinal == ordinal as u64) {
            None => repaired.extend_from_slice(document),
            Some(change) => {
                assert!(change.is_before(document), "document {ordinal}");
                let after = change.after.put_into(document).unwrap();
                assert!(change.is_after(&after), "document {ordinal}");
                assert_eq!(&change.before.put_into(&after).unwrap(), document);
                repaired.extend_from_slice(&after);
            }
        }
    }
    assert!(changes.next().is_none());
    assert_eq!(repaired, expected.repaired(&ledger.tokens));

    let mut sums: BTreeMap<(String, String), Vec<i128>> = BTreeMap::new();
    for ((npub, mint), b) in &expected.balances {
        // Reports spell out characters that could deceive.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "\\u{0000}");
        let row = [
            i128::from(b.tokens_fixed),
            b.unspent_before,
            b.unspent_after,
            b.pending,
            b.spent_before,
            b.spent_after,
            b.delta,
        ];
        let into = sums.entry((text(npub), text(mint))).or_insert_with(|| vec![0; 7]);
        into.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
    }
    let balances = balances_in(&directory, "balances.csv");
    let differ: Vec<_> = balances.iter().filter(|(key, row)| sums.get(*key) != Some(row)).collect();
    assert!(differ.is_empty(), "{differ:?} not as expected");
    let lacking: Vec<_> = sums.keys().filter(|key| !balances.contains_key(*key)).collect();
    assert!(lacking.is_empty(), "{lacking:?} not in balances.csv");
    sums.retain(|_, row| row[0] > 0);
    assert_eq!(
        balances_in(&directory, "balance_deltas.csv").keys().collect::<Vec<_>>(),
        sums.keys().collect::<Vec<_>>()
    );
    let findings = fs::read_to_string(directory.join("reports/findings.csv")).unwrap();
    for (code, finding) in &expected.findings {
        let rows = findings.lines().filter(|line| line.starts_with(&format!("{code},"))).count();
        let count = finding.as_ref().map_or(0, |f| usize::try_from(f.count).unwrap());
        assert!(rows >= count, "{code}: {count} findings, {rows} rows");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn on_random_ledgers(ledger in ledgers(), spent_at in 0..3_usize, with_wallets in prop::bool::weighted(0.9)) {
        check(&ledger, with_wallets, [SpentAt::Repair, SpentAt::Created, SpentAt::Updated][spent_at]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn on_ledgers_of_several_chunks(ledger in ledgers_up_to(6000, 50)) {
        check(&ledger, true, SpentAt::Repair);
    }
}
