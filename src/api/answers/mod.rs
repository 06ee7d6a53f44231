//! The answers, one file a topic. Each reads the board and gives the JSON that `docs/api.md` describes.

pub(super) mod alerts;
pub(super) mod events;
pub(super) mod findings;
pub(super) mod health;
pub(super) mod migration;
pub(super) mod plain;
pub(super) mod runs;
pub(super) mod users;
