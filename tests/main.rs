//! Integration tests.

mod oracle_cases;
mod support;
