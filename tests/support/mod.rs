//! What the tests share: real servers, a real browser, the slow oracle, random hostile ledgers, dumps on disk.
//!
//! The oracle and the ledgers use nothing of the library: a mistake made there must not be repeated
//! here.

pub(crate) mod answers;
pub(crate) mod api;
pub(crate) mod archive_writer;
pub(crate) mod browser;
pub(crate) mod canaries;
pub(crate) mod command;
pub(crate) mod dumps;
pub(crate) mod engines;
pub(crate) mod exports;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod ledgers;
pub(crate) mod live;
pub(crate) mod mongod;
pub(crate) mod odd;
pub(crate) mod oracle;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod raw_collection;
pub(crate) mod scripted_api;
pub(crate) mod serve_process;
mod server;
pub(crate) mod sharded;
pub(crate) mod watched;
pub(crate) mod wire;
