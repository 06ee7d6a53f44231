//! What the integration tests share: the slow oracle and random hostile ledgers.
//!
//! Neither uses anything of the library: a mistake made there must not be repeated here.

pub mod dumps;
pub mod ledgers;
pub mod oracle;
