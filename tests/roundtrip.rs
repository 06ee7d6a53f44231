//! A plan applied and inverted through copies gives back every byte.

use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::ledgers::{Ledger, ledgers};
use proptest::prelude::*;
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::copy::{Copied, Direction, replay};
use remelt::diff::diff;
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::plan::Plan;
use remelt::progress::Progress;
use remelt::snapshot::Snapshot;
use remelt::snapshot::input::InputOptions;
use remelt::verify::{VerifyReport, verify};
use std::fs;
use std::path::Path;

fn open(path: &Path) -> Snapshot {
    let options = InputOptions { require_wallets: false, ..InputOptions::default() };
    Snapshot::open(path, &options).unwrap()
}

fn verified(plan: &Plan, at: &Path) -> VerifyReport {
    verify(plan, &open(at), &Progress::new()).unwrap()
}

fn copied(plan: &Plan, from: &Path, to: &Path, direction: Direction) -> Copied {
    replay(plan, &open(from), to, direction, "remelt test", &Progress::new()).unwrap()
}

fn check(ledger: &Ledger, with_wallets: bool, spent_at: SpentAt) {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| root.path().join(name);
    let wallets = with_wallets.then_some(ledger.wallets.as_slice());
    write_dump(&place("dump"), &ledger.tokens, wallets);
    let options = build_options(spent_at, 2, MEMORY_BYTES_MIN, 7);
    let report = make_plan(&place("dump"), &place("plan"), &options).unwrap();
    let documents = &report.snapshot.documents;
    let documents = documents.cashu_tokens + documents.cashu_wallets.unwrap_or(0);
    assert_eq!(report.performance.documents_per_second, documents * 1_000, "in a millisecond");
    let plan = Plan::open(&place("plan")).unwrap();
    let changes = plan.content().totals.changes;

    let before = verified(&plan, &place("dump"));
    assert_eq!((before.as_before, before.as_planned), (changes, 0), "{before:?}");
    assert_eq!((before.drifted, before.missing, before.new_problematic_tokens), (0, 0, 0));
    assert_eq!(before.ok, changes == 0);

    let repaired = copied(&plan, &place("dump"), &place("repaired"), Direction::Repair);
    assert_eq!(repaired.changed, changes);
    assert_eq!(Some(repaired.sha256_read), report.snapshot.sha256);
    let after = verified(&plan, &place("repaired"));
    assert_eq!((after.as_planned, after.as_before), (changes, 0), "{after:?}");
    assert_eq!((after.drifted, after.missing, after.new_problematic_tokens), (0, 0, 0));
    assert!(after.ok);
    let between = diff(&open(&place("dump")), &open(&place("repaired")), 0, &Progress::new());
    let between = between.unwrap();
    assert_eq!((between.changed, between.only_in_first, between.only_in_second), (changes, 0, 0));
    assert_eq!(between.identical, changes == 0);

    let restored = copied(&plan, &place("repaired"), &place("restored"), Direction::Restore);
    assert_eq!((restored.changed, restored.tokens), (changes, report.stats.total_tokens));
    assert_eq!(Some(restored.sha256_written), report.snapshot.sha256);
    let bytes = |name: &str| fs::read(place("restored").join(name)).unwrap();
    assert!(bytes("nctool/cashu_tokens.bson") == ledger.tokens, "tokens differ");
    match wallets {
        Some(wallets) => assert!(bytes("nctool/cashu_wallets.bson") == wallets, "wallets differ"),
        None => assert!(!place("restored/nctool/cashu_wallets.bson").exists()),
    }

    // A repaired ledger has nothing left to repair but what no plan changes.
    let second = make_plan(&place("repaired"), &place("second"), &options).unwrap();
    assert_eq!(second.impact.tokens_to_migrate, 0);
    assert_eq!(second.stats.problematic_tokens, report.stats.problematic_tokens - changes);
    assert_eq!(second.not_changed, report.not_changed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_random_hostile_ledger_is_repaired_verified_and_restored_byte_for_byte(
        ledger in ledgers(),
        spent_at in 0..3_usize,
        with_wallets in prop::bool::weighted(0.8),
    ) {
        check(&ledger, with_wallets, [SpentAt::Repair, SpentAt::Created, SpentAt::Updated][spent_at]);
    }
}

#[test]
fn a_plan_of_several_batches_is_repaired_verified_and_restored_byte_for_byte() {
    let options = GenerateOptions { tokens: 20_000, seed: 9, damage: true };
    let (tokens, wallets, truth) = generate_in_memory(&options).unwrap();
    assert!(truth["impact"]["tokensToMigrate"].as_u64().unwrap() > 1_000, "several batches");
    check(&Ledger { tokens, wallets }, true, SpentAt::Repair);
}
