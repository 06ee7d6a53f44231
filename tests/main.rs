//! Integration tests.

mod analysis_matches_oracle;
mod oracle_cases;
mod support;
