//! `remelt` repairs Cashu token ledgers in MongoDB offline and replays the repair.

pub mod document;
pub mod generate;
pub mod model;
