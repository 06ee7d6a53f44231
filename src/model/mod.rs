//! The domain's words as types: hashes, statuses, findings, times, amounts in JSON, the answers to checks, and
//! numbers as people read them.
//!
//! This layer is pure: no IO, no clock, no BSON. Everything else may use it; it uses nothing of ours.

mod amount;
mod check;
mod finding;
mod hash;
mod status;
mod time;
mod words;

pub use amount::JsonAmount;
pub use check::{Check, CheckResult};
pub use finding::{FindingCode, Severity};
pub use hash::{ParseHashError, Sha256Hash, hash_bytes};
pub use status::{Status, TransactionType};
pub use time::{ParseTimeError, Timestamp};
pub use words::{byte_size, counted, grouped};
