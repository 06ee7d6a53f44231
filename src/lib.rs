//! `remelt` repairs Cashu token ledgers in MongoDB offline and replays the repair.
//!
//! ```text
//! MongoDB ──export──▶ snapshot ──analyze──▶ plan ──apply──▶ MongoDB
//!    ▲    (or any mongodump output)   │   + reports   │  run + journal
//!    └──────────────────────rollback──┴───────────────┘
//! ```
//!
//! In reading order, each layer using only those before it: [`model`] has the domain's words;
//! [`document`] walks and edits raw BSON; [`snapshot`] identifies, writes and reads snapshots and dumps;
//! [`analysis`] finds what is wrong and what would change; [`plan`] writes that down, hashed, as what
//! will change and how to undo it; [`journal`] keeps what a run has done; [`copy`], [`verify`], [`diff`]
//! and [`audit`] work on snapshots and plans; [`server`] connects, [`export`] reads, [`cluster`]
//! analyses inside the database, [`decide`] says in
//! one table what follows from what is recorded and seen, and [`live`] applies and rolls back in
//! transactions; [`monitor`] watches a live ledger and [`api`] tells over HTTP what it knows.
//! [`generate`] makes ledgers with a known truth. [`progress`], [`publish`], [`sealed`], [`scratch`] and
//! [`temporary`] serve them all: counters, files that appear whole, sealed JSON, bounded sorting, directories that
//! are gone when their work is over.
//!
//! Nothing here prints. Analysis and plans know no clock and no randomness; the binary, whose `cli` module
//! is no part of this library, gives them both.

pub mod analysis;
pub mod api;
pub mod audit;
mod background;
pub mod cluster;
pub mod copy;
pub mod decide;
pub mod diff;
pub mod document;
pub mod export;
pub mod generate;
pub mod journal;
pub mod live;
pub mod model;
pub mod monitor;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod scratch;
pub mod sealed;
pub mod server;
pub mod snapshot;
pub mod temporary;
pub mod verify;
