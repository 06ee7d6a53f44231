//! Integration tests. Those that need a real server want `tests/setup` to have run once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that can't go on stops where it stands"
)]

mod analysis_matches_oracle;
mod edit_matches_server;
mod live_connect;
mod live_crash;
mod live_exact;
mod live_faults;
mod live_races;
mod live_refusals;
mod live_speed;
mod oracle_cases;
mod servers;
mod support;
