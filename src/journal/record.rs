//! What a run's journal tells.

use crate::model::{Sha256Hash, Timestamp};
use serde::{Deserialize, Serialize};

/// What a run is to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Goal {
    /// The documents as after the plan.
    Apply,
    /// The documents as before it.
    Rollback,
}

macro_rules! states {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)?) => {
        /// How far a run is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum RunState { $($(#[$doc])* $variant),* }

        impl RunState {
            /// Every state.
            pub const ALL: &[RunState] = &[$(RunState::$variant),*];

            /// The word in JSON and in the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(RunState::$variant => $word),* }
            }

            /// The state of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<RunState> {
                RunState::ALL.iter().copied().find(|state| state.as_str() == word)
            }
        }
    };
}

states! {
    /// Batches are being applied, or a process died while it did that.
    Running = "running",
    /// Told to stop; the same command goes on.
    Interrupted = "interrupted",
    /// Stopped by an error; the same command goes on.
    Failed = "failed",
    /// Every batch is applied.
    Completed = "completed",
    /// Batches are being rolled back, or a process died while it did that.
    RollingBack = "rolling_back",
    /// Every batch is rolled back.
    RolledBack = "rolled_back",
}

/// What became of a batch, or of a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BatchOutcome {
    /// Its transaction was committed.
    Applied,
    /// Its transaction was rolled back by a transaction of its own.
    RolledBack,
}

/// How a document differs from what the plan saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftKind {
    /// It is there with other bytes.
    Changed,
    /// It is not there.
    Missing,
}

/// One record of a run's journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Record {
    /// A process began to work on the run.
    Started {
        /// To what end.
        goal: Goal,
        /// Which plan.
        plan_sha256: Sha256Hash,
        /// When.
        at: Timestamp,
    },
    /// A session of the server is about to be used; what a dead process left open in it can be ended.
    Session {
        /// Its id, as hex digits.
        id: String,
    },
    /// A batch, or the part of it that begins at change `from`, is about to be written.
    Intended {
        /// Number in the plan, from 0.
        batch: u64,
        /// First change, from 0.
        from: u64,
        /// Number of changes.
        changes: u64,
    },
    /// It was committed.
    Committed {
        /// Number in the plan, from 0.
        batch: u64,
        /// First change, from 0.
        from: u64,
        /// Number of changes.
        changes: u64,
        /// Documents written.
        written: u64,
        /// What became of it.
        outcome: BatchOutcome,
        /// SHA-256 of its changes.
        sha256: Sha256Hash,
    },
    /// A document was left as it is.
    Drifted {
        /// Number of its batch.
        batch: u64,
        /// Number of the token in the snapshot.
        ordinal: u64,
        /// The token's `_id` as text.
        id: String,
        /// How it differs.
        kind: DriftKind,
    },
    /// The process ended its work on the run.
    Ended {
        /// How.
        state: RunState,
        /// When.
        at: Timestamp,
    },
}
