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
mod audit;
mod bad_inputs;
mod cli;
mod cluster;
mod cluster_matches_local;
mod cluster_sharded;
mod config;
mod dashboard;
mod dashboard_live;
mod determinism;
mod disk_faults;
mod docs;
mod edit_matches_server;
mod export;
mod export_faults;
mod export_speed;
mod forms;
mod fuzz;
mod goldens;
mod interruption;
mod live_connect;
mod live_crash;
mod live_ddl;
mod live_exact;
mod live_faults;
mod live_interrupt;
mod live_network;
mod live_pace;
mod live_races;
mod live_refusals;
mod live_speed;
mod live_state;
mod logging;
mod monitor;
mod monitor_alerts;
mod odd_values;
mod oracle_cases;
mod parquet_reports;
mod pipeline;
mod report_page;
mod roundtrip;
mod secrets;
mod secrets_live;
mod secrets_serve;
mod serve_command;
mod servers;
mod support;
mod tampering;
mod terminal;
mod trust;
mod truth;
