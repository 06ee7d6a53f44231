//! What an analysis is told: rule, threads, memory; and how the memory is shared out.

use super::fingerprint::FingerprintKey;
use super::rule::RuleOptions;

/// Least value of [`AnalyzeOptions::memory_bytes`].
pub const MEMORY_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// How to analyse.
#[derive(Debug, Clone)]
pub struct AnalyzeOptions {
    /// How the rule is applied.
    pub rule: RuleOptions,
    /// Memory for what grows with the data, in bytes; at least [`MEMORY_BYTES_MIN`].
    pub memory_bytes: u64,
    /// Worker threads.
    pub threads: usize,
    /// Key of the fingerprints; not to be known to who writes the data. No result depends on it.
    pub fingerprint_key: FingerprintKey,
}

/// How the memory is shared out, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub(super) wallets: usize,
    pub(super) secrets: usize,
    pub(super) ids: usize,
    pub(super) melts: usize,
    pub(super) candidates: usize,
    /// For each worker.
    pub(super) positions: usize,
    pub(super) positions_sorted: usize,
    pub(super) findings: usize,
    pub(super) sorter: usize,
    /// Results of chunks that wait for an earlier one.
    pub(super) waiting: usize,
    /// For each worker: a part of a store while it is judged.
    pub(super) part: usize,
}

impl Shares {
    pub(super) fn of(options: &AnalyzeOptions) -> Shares {
        let memory =
            usize::try_from(options.memory_bytes.max(MEMORY_BYTES_MIN)).unwrap_or(usize::MAX);
        let part = memory / 32;
        let threads = options.threads.max(1);
        Shares {
            wallets: 8 * part,
            secrets: 8 * part,
            ids: 3 * part,
            melts: part,
            // These come when the stores above are empty or about to be.
            candidates: part,
            positions: 3 * part / threads,
            positions_sorted: 3 * part,
            findings: part,
            sorter: part,
            waiting: 2 * part,
            // It is copied, and comes when the wallets are gone.
            part: 2 * part / threads,
        }
    }
}
