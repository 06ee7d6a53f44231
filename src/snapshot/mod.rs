//! Snapshots: what a ledger's documents are read from.
//!
//! This layer owns files and their formats. It knows bytes and frames of documents, and nothing of
//! tokens; it never talks to a server.

pub mod input;
