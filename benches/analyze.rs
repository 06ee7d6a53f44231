//! Whole analyses beside what a user would compare them with, in one run: only hashing the same bytes on as
//! many threads, and decoding every document with the `bson` crate on as many threads.
//!
//! `cargo bench` generates a ledger of `REMELT_BENCH_TOKENS` tokens (default 100,000) in a scratch
//! directory, runs each contestant `ROUNDS` times in turn and prints medians and ratios. Absolute figures
//! drift from run to run; quote ratios of one run.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a bench prints figures for people and stops where it fails"
)]

use rayon::prelude::*;
use remelt::analysis::{AnalyzeOptions, FingerprintKey, RuleOptions, SpentAt};
use remelt::generate::{GenerateOptions, generate};
use remelt::model::{Timestamp, hash_bytes};
use remelt::plan::{BuildOptions, build};
use remelt::progress::Progress;
use remelt::snapshot::Snapshot;
use remelt::snapshot::input::InputOptions;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const SLICE_BYTES: usize = 512 * 1024;

fn analyze(dump: &Path, scratch: &Path, threads: usize) {
    let snapshot = Snapshot::open(dump, &InputOptions::default()).unwrap();
    let plan = scratch.join("plan");
    let rule = RuleOptions { spent_at: SpentAt::Repair, repair_time: Timestamp(0) };
    let analyze = AnalyzeOptions {
        rule,
        memory_bytes: 1 << 30,
        threads,
        fingerprint_key: FingerprintKey([7; 16]),
    };
    let options = BuildOptions { analyze, tool: "bench".into() };
    build(&snapshot, &plan, &options, &|| Duration::ZERO, &Progress::new()).unwrap();
    std::fs::remove_dir_all(&plan).unwrap();
}

fn hash_only(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let hashes: Vec<_> = bytes.par_chunks(SLICE_BYTES).map(hash_bytes).collect();
    assert!(!hashes.is_empty());
}

/// Where each document begins and ends.
fn documents(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut documents = Vec::new();
    while let Some(head) = rest.first_chunk::<4>() {
        let (document, after) = rest.split_at(u32::from_le_bytes(*head) as usize);
        documents.push(document);
        rest = after;
    }
    documents
}

fn decode(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let fields: usize = documents(&bytes)
        .par_iter()
        .map(|document| bson::Document::from_reader(*document).unwrap().len())
        .sum();
    assert!(fields > 0);
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn main() {
    // `cargo test` runs benches with this flag, to see that they work at all.
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let wanted = std::env::var("REMELT_BENCH_TOKENS").ok().and_then(|n| n.parse().ok());
    let tokens = if is_trial { 300 } else { wanted.unwrap_or(100_000) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let scratch = tempfile::tempdir().unwrap();
    let dump = scratch.path().join("ledger");
    let options = GenerateOptions { tokens, seed: 1, damage: false };
    generate(&dump, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    let file = dump.join("nctool/cashu_tokens.bson");
    let bytes = std::fs::metadata(&file).unwrap().len();

    let contestants: [(&str, &dyn Fn()); 3] = [
        ("remelt analyze, everything written", &|| analyze(&dump, scratch.path(), threads)),
        ("SHA-256 of the same bytes, no more", &|| hash_only(&file)),
        ("bson::Document decode, no more", &|| decode(&file)),
    ];
    let mut times = vec![Vec::new(); contestants.len()];
    for _ in 0..if is_trial { 1 } else { ROUNDS } {
        for ((_, run), times) in contestants.iter().zip(&mut times) {
            let started = Instant::now();
            run();
            times.push(started.elapsed());
        }
    }
    println!(
        "{tokens} tokens, {bytes} bytes, {threads} threads, medians of {} rounds",
        times[0].len()
    );
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    for ((name, _), seconds) in contestants.iter().zip(&medians) {
        let rate = bytes as f64 / seconds / 1e6;
        println!(
            "{name:<36} {seconds:>8.3} s {rate:>8.0} MB/s {:>6.2} x analyze",
            seconds / medians[0]
        );
    }
}
