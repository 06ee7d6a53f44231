//! Snapshots laid out on disk for tests, and plans made from them.

use remelt::analysis::{AnalyzeOptions, FingerprintKey, RuleOptions, SpentAt};
use remelt::model::Timestamp;
use remelt::plan::{AnalyzeReport, BuildError, BuildOptions, build};
use remelt::progress::Progress;
use remelt::snapshot::Snapshot;
use remelt::snapshot::input::InputOptions;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The repair time of all tests.
pub(crate) const REPAIR_TIME_MS: i64 = 1_767_225_600_123;

/// Writes `tokens` and `wallets` as mongodump lays out database `nctool` below `root`.
pub(crate) fn write_dump(root: &Path, tokens: &[u8], wallets: Option<&[u8]>) {
    let db = root.join("nctool");
    fs::create_dir_all(&db).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(db.join(format!("{name}.bson")), bytes).unwrap();
        let metadata = format!(r#"{{"indexes":[],"collectionName":"{name}","type":"collection"}}"#);
        fs::write(db.join(format!("{name}.metadata.json")), metadata).unwrap();
    };
    put("cashu_tokens", tokens);
    if let Some(wallets) = wallets {
        put("cashu_wallets", wallets);
    }
}

/// Options that give the same plan for the same snapshot.
pub(crate) fn build_options(
    spent_at: SpentAt,
    threads: usize,
    memory_bytes: u64,
    key: u8,
) -> BuildOptions {
    BuildOptions {
        analyze: AnalyzeOptions {
            rule: RuleOptions { spent_at, repair_time: Timestamp(REPAIR_TIME_MS) },
            memory_bytes,
            threads,
            fingerprint_key: FingerprintKey([key; 16]),
        },
        tool: "remelt test".into(),
        parquet: false,
    }
}

/// Makes a plan in `directory` from the snapshot at `path`.
pub(crate) fn make_plan(
    path: &Path,
    directory: &Path,
    options: &BuildOptions,
) -> Result<AnalyzeReport, BuildError> {
    let input = InputOptions { require_wallets: false, ..InputOptions::default() };
    let snapshot = Snapshot::open(path, &input)?;
    build(&snapshot, directory, options, &|| Duration::from_millis(1), &Progress::new())
}
