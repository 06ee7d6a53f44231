//! `remelt` repairs Cashu token ledgers in MongoDB offline and replays the repair.

pub mod analysis;
pub mod decide;
pub mod document;
pub mod export;
pub mod generate;
pub mod journal;
pub mod live;
pub mod model;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod sealed;
pub mod server;
pub mod snapshot;
