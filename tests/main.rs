//! Integration tests. Those that need a real server want `tests/setup` to have run once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that can't go on stops where it stands"
)]

mod analysis_matches_oracle;
mod api;
mod api_description;
mod api_guard;
mod api_load;
mod api_streams;
mod bad_inputs;
mod cli;
mod dashboard;
mod dashboard_live;
mod determinism;
mod edit_matches_server;
mod export;
mod export_faults;
mod export_speed;
mod forms;
mod goldens;
mod interruption;
mod live_connect;
mod live_crash;
mod live_ddl;
mod live_exact;
mod live_faults;
mod live_network;
mod live_races;
mod live_refusals;
mod live_speed;
mod monitor;
mod monitor_alerts;
mod oracle_cases;
mod pipeline;
mod roundtrip;
mod secrets;
mod servers;
mod support;
mod truth;
