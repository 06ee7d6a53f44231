//! Mutated inputs against every reader of hostile bytes, on the stable toolchain.
//!
//! This driver is blind: it knows nothing of coverage. It mutates committed seeds, so that what is tried
//! lies near what is valid, and it is repeatable: an execution is named by target and number.
//!
//!     REMELT_FUZZ=1000000 cargo test --locked --test remelt fuzz               # the long form
//!     REMELT_FUZZ_FROM=123 REMELT_FUZZ=1 cargo test … fuzz::plan               # one of them again

#[path = "fuzz/targets.rs"]
mod targets;

use crate::support::archive_writer::{archive, dump_of, gzip};
use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::live::melted;
use crate::support::odd;
use crate::support::random::Random;
use remelt::analysis::SpentAt;
use remelt::copy::{CopyRun, apply};
use remelt::journal::RunDirectory;
use remelt::model::Timestamp;
use remelt::plan::Plan;
use remelt::progress::Progress;
use remelt::snapshot::Snapshot;
use remelt::snapshot::input::InputOptions;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use targets::{PLAN_MARK, TARGETS};

/// Executions of each target when nothing else is asked for: some seconds.
const EXECUTIONS: u64 = 10_000;
/// Longest input that is tried.
const INPUT_BYTES_MAX: usize = 64 * 1024;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn seeds_of(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target)
}

fn read_seeds(target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(seeds_of(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Numbers at which code decides.
const EDGES: [i64; 16] = [
    0,
    1,
    4,
    5,
    -1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xffff,
    0x7fff_ffff,
    -0x8000_0000,
    16 << 20,
    (16 << 20) + (16 << 10) + 1,
    i64::MAX,
    i64::MIN,
];

/// One mutation of `bytes`, perhaps with parts of another seed.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let length = bytes.len();
    let at = random.below(length + 1);
    let some = |random: &mut Random| {
        let most = 1 + random.below(64);
        1 + random.below(most)
    };
    match random.below(10) {
        0 | 1 if at < length => bytes[at] ^= 1 << random.below(8),
        2 if at < length => bytes[at] = random.bytes(1)[0],
        3 => {
            let edge = random.one_of(&EDGES).to_le_bytes();
            let width = *random.one_of(&[1, 2, 4, 8]);
            let end = (at + width).min(length);
            bytes[at..end].copy_from_slice(&edge[..end - at]);
        }
        4 => bytes.truncate(at),
        5 => {
            let end = (at + some(random)).min(length);
            bytes.drain(at..end);
        }
        6 => {
            let count = some(random);
            let inserted = random.bytes(count);
            bytes.splice(at..at, inserted);
        }
        7 => {
            let end = (at + some(random)).min(length);
            let doubled = bytes[at..end].to_vec();
            let to = random.below(length + 1);
            bytes.splice(to..to, doubled);
        }
        8 if !other.is_empty() => {
            let from = random.below(other.len());
            let end = (from + 4 * some(random)).min(other.len());
            let until = (at + (end - from) * random.below(2)).min(length);
            bytes.splice(at..until, other[from..end].iter().copied());
        }
        // A number of text: lengths, counts and versions of JSON.
        _ => {
            let digits = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|n| at + n);
            if let Some(at) = digits {
                let number = random.one_of(&EDGES).to_string().into_bytes();
                bytes.splice(at..=at, number);
            }
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
}

/// Input number `number` of a target.
fn input(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut random = Random::new(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut bytes = random.one_of(seeds).clone();
    let other = random.one_of(seeds).clone();
    for _ in 0..=random.below(6) {
        mutate(&mut bytes, &other, &mut random);
    }
    bytes
}

fn attack(name: &str) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).unwrap().1;
    let seeds = read_seeds(name);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| target(seed));
    let from = setting("REMELT_FUZZ_FROM", 0);
    let executions = setting("REMELT_FUZZ", EXECUTIONS);
    for number in from..from + executions {
        let bytes = input(&seeds, number);
        if catch_unwind(AssertUnwindSafe(|| target(&bytes))).is_err() {
            let kept = std::env::temp_dir().join(format!("remelt-fuzz-{name}-{number}"));
            fs::write(&kept, &bytes).unwrap();
            panic!(
                "{name} number {number} breaks a promise; the input is in {}; again with \
                 REMELT_FUZZ_FROM={number} REMELT_FUZZ=1",
                kept.display()
            );
        }
    }
    eprintln!("{name}: {executions} executions over {} seeds, 0 findings", seeds.len());
}

#[test]
fn document_walker_survives_mutated_input() {
    attack("document");
}

#[test]
fn input_readers_survive_mutated_input() {
    attack("input");
}

#[test]
fn plan_reader_survives_mutated_input() {
    attack("plan");
}

#[test]
fn journal_reader_survives_mutated_input() {
    attack("journal");
}

#[test]
fn manifest_readers_survive_mutated_input() {
    attack("manifest");
}

fn zstd_file(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// The seeds as the program of today writes them. `REMELT_BLESS=1` writes them where they are
/// committed.
fn make_seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| seeds.push((name.to_owned(), bytes));
    let odd = odd::documents();
    for (number, (_, document)) in odd.iter().enumerate().step_by(odd.len() / 24) {
        add(&format!("document/odd-{number:03}"), document.clone());
    }
    let tokens = melted(3);
    let wallet = tokens[0].clone();
    add("document/token", tokens[0].clone());
    let dump = dump_of(&tokens.concat(), &wallet);
    for (name, piece) in [("archive", 1), ("archive-3", 3)] {
        add(&format!("input/{name}"), archive(&dump, piece));
    }
    add("input/archive.gz", gzip(&archive(&dump, 1)));
    add("input/cashu_tokens.bson", tokens.concat());
    add("input/cashu_tokens.bson.gz", gzip(&tokens.concat()));
    add("input/cashu_tokens.bson.zst", zstd_file(&tokens.concat()));

    let root = tempfile::tempdir().unwrap();
    let (dump, plan, out) =
        (root.path().join("dump"), root.path().join("plan"), root.path().join("out"));
    write_dump(&dump, &tokens.concat(), Some(&wallet));
    make_plan(&dump, &plan, &build_options(SpentAt::Repair, 1, 64 << 20, 7)).unwrap();
    let opened = Plan::open(&plan).unwrap();
    let snapshot = Snapshot::open(&dump, &InputOptions::default()).unwrap();
    let run = CopyRun {
        snapshot: &snapshot,
        out: &out,
        run_id: "a-run",
        tool: "remelt test",
        now: || Timestamp(1),
    };
    apply(&opened, &run, &Progress::new()).unwrap();
    let read = |path: PathBuf| fs::read(path).unwrap();
    let (text, changes) = (read(plan.join("plan.json")), read(plan.join("changes.bson")));
    add("plan/plan", [&text[..], PLAN_MARK, &changes].concat());
    add("journal/journal", read(plan.join("runs/a-run/journal")));
    add("manifest/run.json", read(plan.join("runs/a-run/manifest.json")));
    add("manifest/snapshot.json", read(out.join("snapshot.json")));

    let mut directory = RunDirectory::create(&plan, "b-run").unwrap();
    let mut lines = Vec::new();
    for record in targets::records() {
        directory.append(&record).unwrap();
        lines.extend(serde_json::to_vec(&record).unwrap());
        lines.push(b'\n');
    }
    add("journal/every-record", read(plan.join("runs/b-run/journal")));
    add("journal/payloads", lines);
    seeds
}

#[test]
fn seeds_are_what_the_program_writes() {
    for (name, bytes) in make_seeds() {
        let path = seeds_of(&name);
        if std::env::var_os("REMELT_BLESS").is_some_and(|value| value == "1") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let known = fs::read(&path).unwrap_or_default();
        // What a compressor makes of it is its own affair.
        let is_packed = name.ends_with(".gz") || name.ends_with(".zst");
        assert!(
            is_packed && !known.is_empty() || known == bytes,
            "{name} differs; REMELT_BLESS=1 writes the seeds anew"
        );
    }
}
