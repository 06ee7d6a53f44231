//! Whole analyses and their parts beside what a user would compare them with, in one run and on as many
//! threads: reading and hashing the same bytes, and decoding every document with the `bson` crate.
//!
//! `cargo bench` generates a ledger of `REMELT_BENCH_TOKENS` tokens (default 100,000) in a scratch
//! directory, runs each contestant `REMELT_BENCH_ROUNDS` times (default 5) in turn and prints medians and
//! ratios. Taking turns is why this is no criterion bench: a machine's speed drifts by more than what is to be
//! told apart, so quote ratios of one run. `benches/compare` measures whole processes, and with them memory:
//! it calls this program as `analyze contestant NAME FILE THREADS` and as `analyze raw-batches URI`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a bench prints figures for people and stops where it fails"
)]

use futures_util::StreamExt;
use mongodb::Client;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::ReadConcern;
use remelt::analysis::{
    AnalyzeOptions, FingerprintKey, RuleOptions, SpentAt, count_problematic, scan,
};
use remelt::generate::{GenerateOptions, generate};
use remelt::model::{Timestamp, hash_bytes};
use remelt::plan::{BuildOptions, build};
use remelt::progress::Progress;
use remelt::snapshot::Snapshot;
use remelt::snapshot::input::{Chunk, Input, InputOptions};
use std::fs::File;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

/// The program's own. It matters to all contestants: glibc's gives out large buffers 16 bytes into a page, and into such a
/// place a kernel copies what begins at a page's start at a third of the speed on some processors.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes read at once where documents don't matter.
const BLOCK_BYTES: usize = 512 * 1024;

/// Times of the steps of one analysis.
type Steps = Vec<(&'static str, Duration)>;

fn options(threads: usize) -> AnalyzeOptions {
    AnalyzeOptions {
        rule: RuleOptions { spent_at: SpentAt::Repair, repair_time: Timestamp(0) },
        memory_bytes: 1 << 30,
        threads,
        fingerprint_key: FingerprintKey([7; 16]),
    }
}

fn analyze(dump: &Path, scratch: &Path, threads: usize) -> Steps {
    let snapshot = Snapshot::open(dump, &InputOptions::default()).unwrap();
    let plan = scratch.join("plan");
    let options = BuildOptions { analyze: options(threads), tool: "bench".into(), parquet: false };
    let (progress, is_over) = (Progress::new(), AtomicBool::new(false));
    let steps = scope(|scope| {
        let watcher = scope.spawn(|| watch(&progress, &is_over));
        build(&snapshot, &plan, &options, &|| Duration::ZERO, &progress).unwrap();
        is_over.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    std::fs::remove_dir_all(&plan).unwrap();
    steps
}

fn watch(progress: &Progress, is_over: &AtomicBool) -> Steps {
    let (mut steps, mut serial, mut begun) = (Steps::new(), 0, Instant::now());
    let mut name = "";
    while !is_over.load(Ordering::Relaxed) {
        let (step, _) = progress.current();
        if step.serial != serial {
            steps.push((name, begun.elapsed()));
            (name, serial, begun) = (step.name, step.serial, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    steps.push((name, begun.elapsed()));
    steps.retain(|(name, _)| !name.is_empty());
    steps
}

/// Reads `file` block by block on all threads and passes the blocks to `work`.
fn each_block(file: &Path, threads: usize, work: impl Fn(&[u8]) + Sync) {
    let file = File::open(file).unwrap();
    let length = file.metadata().unwrap().len();
    let next = AtomicU64::new(0);
    scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut block = vec![0; BLOCK_BYTES];
                loop {
                    let at = next.fetch_add(BLOCK_BYTES as u64, Ordering::Relaxed);
                    if at >= length {
                        break;
                    }
                    let count = BLOCK_BYTES.min(usize::try_from(length - at).unwrap());
                    file.read_exact_at(&mut block[..count], at).unwrap();
                    work(&block[..count]);
                }
            });
        }
    });
}

/// Reads the documents of `file` in chunks on all threads and passes the chunks to `work`.
fn each_chunk(file: &Path, threads: usize, work: impl Fn(&Chunk) + Sync) {
    let input = Input::open(file, &InputOptions::default()).unwrap();
    let reader = Mutex::new(input.tokens.read().unwrap());
    scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut chunk = Chunk::default();
                while reader.lock().unwrap().next_chunk(&mut chunk).unwrap() {
                    work(&chunk);
                }
            });
        }
    });
}

fn documents(chunk: &Chunk) -> impl Iterator<Item = &[u8]> {
    chunk.framed().map(|(_, document)| document)
}

fn sum(block: &[u8]) {
    let words = block.as_chunks().0.iter();
    black_box(words.fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word))));
}

/// Values in a document; what the crate refuses, such as text that is not UTF-8, counts as one.
fn iterate_raw(document: &[u8]) -> usize {
    fn count(value: Option<bson::RawBsonRef<'_>>) -> usize {
        match value {
            Some(bson::RawBsonRef::Document(inner)) => {
                inner.iter().map(|element| count(element.ok().map(|(_, value)| value))).sum()
            }
            Some(bson::RawBsonRef::Array(inner)) => {
                inner.into_iter().map(|value| count(value.ok())).sum()
            }
            _ => 1,
        }
    }
    count(bson::RawDocument::from_bytes(document).ok().map(bson::RawBsonRef::Document))
}

/// What is done with the tokens file alone, on so many threads.
type Contestant = fn(&Path, usize);

const CONTESTANTS: [(&str, Contestant); 7] = [
    ("read", |file, threads| each_block(file, threads, sum)),
    ("sha256", |file, threads| {
        each_block(file, threads, |block| {
            black_box(hash_bytes(block));
        });
    }),
    ("frames", |file, threads| {
        each_chunk(file, threads, |chunk| {
            black_box(documents(chunk).count());
        });
    }),
    ("walk", |file, threads| {
        each_chunk(file, threads, |chunk| {
            black_box(count_problematic(documents(chunk)).unwrap());
        });
    }),
    ("scan", |file, threads| {
        let input = Input::open(file, &InputOptions::default()).unwrap();
        black_box(scan(&input, &options(threads), &Progress::new()).unwrap());
    }),
    ("bson-raw", |file, threads| {
        each_chunk(file, threads, |chunk| {
            black_box(documents(chunk).map(iterate_raw).sum::<usize>());
        });
    }),
    ("bson-document", |file, threads| {
        each_chunk(file, threads, |chunk| {
            let decoded = documents(chunk).flat_map(bson::Document::from_reader);
            black_box(decoded.map(|it| it.len()).sum::<usize>());
        });
    }),
];

/// Reads both collections through the driver as an export does, and throws them away.
fn read_raw_batches(uri: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::with_uri_str(uri).await.unwrap();
        let mut session = client.start_session().snapshot(true).await.unwrap();
        for name in ["cashu_tokens", "cashu_wallets"] {
            let collection = client.database("nctool").collection::<RawDocumentBuf>(name);
            let find = collection.find(doc! {}).batch_size(1000);
            let find = find.read_concern(ReadConcern::snapshot()).session(&mut session);
            let mut cursor = find.batch().await.unwrap();
            let mut batches = cursor.stream(&mut session);
            while let Some(batch) = batches.next().await {
                black_box(batch.unwrap());
            }
        }
        drop(session);
        client.shutdown().await;
    });
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, uri] = &arguments[..]
        && mode == "raw-batches"
    {
        return read_raw_batches(uri);
    }
    if let [_, mode, name, file, threads] = &arguments[..]
        && mode == "contestant"
    {
        let (_, run) = CONTESTANTS.iter().find(|(known, _)| known == name).unwrap();
        return run(Path::new(file), threads.parse().unwrap());
    }
    // `cargo test` runs benches with this flag, to see that they work at all.
    let is_trial = arguments.iter().any(|argument| argument == "--test");
    let tokens = if is_trial { 300 } else { number("REMELT_BENCH_TOKENS").unwrap_or(100_000) };
    let rounds = if is_trial { 1 } else { number("REMELT_BENCH_ROUNDS").unwrap_or(5).max(1) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let scratch = tempfile::tempdir().unwrap();
    let dump = scratch.path().join("ledger");
    let options = GenerateOptions { tokens, seed: 1, damage: false };
    generate(&dump, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    let file = dump.join("nctool/cashu_tokens.bson");
    let bytes = std::fs::metadata(&file).unwrap().len();

    let mut times = vec![Vec::new(); CONTESTANTS.len() + 1];
    let mut steps: Vec<(&str, Vec<Duration>)> = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        let seen = analyze(&dump, scratch.path(), threads);
        times[0].push(begun.elapsed());
        for (name, time) in seen {
            match steps.iter_mut().find(|(known, _)| *known == name) {
                Some((_, times)) => times.push(time),
                None => steps.push((name, vec![time])),
            }
        }
        for ((_, run), times) in CONTESTANTS.iter().zip(&mut times[1..]) {
            let begun = Instant::now();
            run(&file, threads);
            times.push(begun.elapsed());
        }
    }
    println!("{tokens} tokens, {bytes} bytes, {threads} threads, medians of {rounds} rounds");
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let names = ["analyze"].into_iter().chain(CONTESTANTS.map(|(name, _)| name));
    for (name, seconds) in names.zip(&medians) {
        let (rate, ratio) = (bytes as f64 / seconds / 1e6, seconds / medians[0]);
        println!("{name:<24} {seconds:>8.3} s {rate:>8.0} MB/s {ratio:>6.2} x analyze");
    }
    println!("of an analysis:");
    for (name, times) in steps {
        println!("  {name:<22} {:>8.3} s", median(times));
    }
}
