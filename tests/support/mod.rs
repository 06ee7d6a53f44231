//! What the tests share: real servers, raw bytes, and random numbers from a seed.

pub(crate) mod mongod;
pub(crate) mod odd;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod raw_collection;
mod server;
