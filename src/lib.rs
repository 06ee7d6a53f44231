//! `remelt` repairs Cashu token ledgers in MongoDB offline and replays the repair.

pub mod document;
pub mod model;
pub mod snapshot;
