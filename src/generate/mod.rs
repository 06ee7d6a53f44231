//! Realistic ledgers with a known truth, for tests and benchmarks.
//!
//! A ledger is made of stories (money comes in, is sent on, is melted, goes wrong); each story returns
//! its documents and says exactly what they add to the truth. This module never reads what it wrote and
//! never uses the analysis: the two meet only in `docs/findings.md`.
//!
//! The same options give the same bytes. Memory does not grow with the ledger: kept are the users of
//! one cohort (8,192 documents, and at most a few users for each), the documents of at most 4,000
//! stories that wait for their place in time, and the write buffers. Measured for 1,000,000 tokens
//! (1.15 GB): 8 MB resident, 3.7 s. What is known of a user goes to `truth.json` when the cohort retires.

mod damage;
mod encode;
mod files;
mod healthy;
mod ledger;
mod random;
mod story;
mod token;
mod truth;
mod workshop;

#[cfg(test)]
mod tests;

pub use files::{GenerateError, generate};
pub use ledger::OnTokens;

use ledger::{Sinks, write_ledger};
use std::ops::ControlFlow;

/// Which ledger to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerateOptions {
    /// How many token documents, exactly.
    pub tokens: u64,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Whether anything but the bug itself is wrong. From 300 tokens on every kind of damage is there.
    pub damage: bool,
}

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GenerateStats {
    /// Token documents.
    pub tokens: u64,
    /// Wallet documents.
    pub wallets: u64,
    /// Distinct users in the token documents.
    pub users: u64,
    /// Bytes of token documents.
    pub tokens_bytes: u64,
    /// Bytes of wallet documents.
    pub wallets_bytes: u64,
    /// Documents that the rule changes.
    pub tokens_to_migrate: u64,
}

/// A ledger in memory: the tokens' BSON, the wallets' BSON, and the truth as in `truth.json`.
///
/// # Errors
/// Only if the truth could not be written as JSON, which would be a bug.
pub fn generate_in_memory(
    options: &GenerateOptions,
) -> Result<(Vec<u8>, Vec<u8>, serde_json::Value), serde_json::Error> {
    let mut sinks = Sinks { tokens: Vec::new(), wallets: Vec::new(), per_user: Vec::new() };
    let (truth, _) = write_ledger(options, &mut sinks, &mut |_| ControlFlow::Continue(()))
        .map_err(|failure| serde_json::Error::io(failure.error))?;
    let mut json = Vec::new();
    truth.write_head(options.seed, options.damage, &mut json).map_err(serde_json::Error::io)?;
    json.extend_from_slice(&sinks.per_user);
    json.extend_from_slice(files::TRUTH_TAIL);
    let truth = serde_json::from_slice(&json)?;
    Ok((sinks.tokens, sinks.wallets, truth))
}
