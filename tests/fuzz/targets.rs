//! What is fuzzed: each reader of hostile bytes, with what must hold whatever it is given.
//!
//! Shared by the stable driver in `tests/fuzz.rs` and by cargo-fuzz (`tests/fuzz/Cargo.toml`). Every
//! target panics when a promise is broken, and never otherwise.

use remelt::document::{
    DOCUMENT_BYTES_MAX, Value, ValueKind, date_text, elements, find, identifier_text,
    may_hold_secret, remove_field, set_field, validate,
};
use remelt::journal::{Goal, HEADER, Record, RunDirectory, RunDirectoryError, RunManifest};
use remelt::model::hash_bytes;
use remelt::plan::{Batch, Change, Plan, preview};
use remelt::sealed::{seal, unseal};
use remelt::snapshot::Snapshot;
use remelt::snapshot::format::SnapshotManifest;
use remelt::snapshot::identity::ChunkTable;
use remelt::snapshot::input::{Chunk, Collection, InputOptions};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A reader under attack.
pub(crate) type Target = fn(&[u8]);

/// Every target by its name.
pub(crate) const TARGETS: [(&str, Target); 5] = [
    ("document", document),
    ("input", input),
    ("plan", plan),
    ("journal", journal),
    ("manifest", manifest),
];

/// A directory in memory where there is one, for readers that want files.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

fn in_scratch(work: impl FnOnce(&Scratch)) {
    SCRATCH.with_borrow(|scratch| work(scratch));
}

/// The walker: what is valid can be walked, read and edited, and edits come back to the same bytes.
pub(crate) fn document(data: &[u8]) {
    let walked = elements(data).map(|found| found.take_while(Result::is_ok).count());
    let _ = find(data, b"status");
    let _ = Change::decode(data);
    if validate(data).is_err() {
        return;
    }
    assert!(data.len() <= DOCUMENT_BYTES_MAX);
    let mut parts = data[..4].to_vec();
    let mut names = Vec::new();
    for element in elements(data).unwrap() {
        let element = element.expect("a valid document is walked to its end");
        parts.extend_from_slice(&data[element.start..element.end]);
        read(element.value);
        names.push(element.name);
    }
    parts.push(0);
    assert_eq!(parts, data, "the elements are the document");
    assert_eq!(walked, Ok(names.len()));
    for name in names.into_iter().take(8) {
        let value = find(data, name).unwrap().unwrap().value;
        assert_eq!(set_field(data, name, value).unwrap(), data, "setting what is there");
    }
    edit(data, b"status");
    edit(data, b"\xff");
}

fn read(value: Value<'_>) {
    let _ = (value.as_str(), value.as_text_bytes(), value.as_date_ms(), value.is_null());
    let _ = (value.as_amount(), date_text(value));
    let shown = identifier_text(value);
    assert!(!may_hold_secret(value) || shown.len() < 80, "what may be money is named by its hash");
}

/// How often `name` occurs at the top level.
fn occurrences(document: &[u8], name: &[u8]) -> usize {
    elements(document).unwrap().filter(|element| element.unwrap().name == name).count()
}

fn edit(data: &[u8], name: &[u8]) {
    const DATE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    let value = Value { kind: ValueKind::DateTime, bytes: &DATE };
    let before = occurrences(data, name);
    let set = set_field(data, name, value).unwrap();
    validate(&set).expect("an edited document is valid");
    assert_eq!(find(&set, name).unwrap().unwrap().value, value);
    assert_eq!(occurrences(&set, name), before.max(1));
    let removed = remove_field(&set, name).unwrap();
    validate(&removed).expect("an edited document is valid");
    assert_eq!(occurrences(&removed, name), before.max(1) - 1);
    if before == 0 {
        assert_eq!(removed, data, "adding and removing changes nothing");
    }
}

/// Dumps: archives, gzip, Zstandard, lone files. Two passes read the same, and bounds hold.
pub(crate) fn input(data: &[u8]) {
    const INFLATED_BYTES_MAX: u64 = 1 << 20;
    let options = InputOptions {
        require_wallets: false,
        inflated_bytes_max: INFLATED_BYTES_MAX,
        ..InputOptions::default()
    };
    in_scratch(|scratch| {
        let path = scratch.path("input");
        fs::write(&path, data).unwrap();
        let Ok(snapshot) = Snapshot::open(&path, &options) else { return };
        let input = &snapshot.input;
        for collection in [Some(&input.tokens), input.wallets.as_ref()].into_iter().flatten() {
            let first = table(collection);
            assert_eq!(first, table(collection), "two passes differ");
            if let Some(table) = first {
                let most = INFLATED_BYTES_MAX.max(data.len() as u64) + DOCUMENT_BYTES_MAX as u64;
                assert!(table.bytes() <= most);
            }
        }
    });
}

/// The chunks of a collection; `None` when it is damaged.
fn table(collection: &Collection) -> Option<ChunkTable> {
    let mut table = ChunkTable::new();
    let mut reader = collection.read().ok()?;
    let mut chunk = Chunk::default();
    while reader.next_chunk(&mut chunk).ok()? {
        let bytes = chunk.bytes();
        let framed: usize = chunk.framed().map(|(_, document)| document.len()).sum();
        assert_eq!(framed, bytes.len(), "a chunk is its documents");
        table.push(bytes.len() as u64, chunk.documents as u64, hash_bytes(bytes));
    }
    Some(table)
}

/// `text` with the seal that fits it, so that what lies behind the seal is attacked as well.
fn resealed(text: &[u8], key: &str) -> Vec<u8> {
    let mut lines = text.splitn(3, |&byte| byte == b'\n');
    let (Some(first), Some(_), Some(rest)) = (lines.next(), lines.next(), lines.next()) else {
        return text.to_vec();
    };
    let content = [first, b"\n", rest].concat();
    let hash = hash_bytes(&content);
    [first, format!("\n  \"{key}\": \"{hash}\",\n").as_bytes(), rest].concat()
}

/// Between `plan.json` and `changes.bson` in an input of [`plan`].
pub(crate) const PLAN_MARK: &[u8] = b"\n==== changes.bson\n";

/// A plan: what opens can be read whole or is refused, and what is read is what its hashes say.
pub(crate) fn plan(data: &[u8]) {
    let at = data.windows(PLAN_MARK.len()).position(|window| window == PLAN_MARK);
    let (text, changes) = match at {
        Some(at) => (&data[..at], &data[at + PLAN_MARK.len()..]),
        None => (data, &[][..]),
    };
    if let Ok(batch) = Batch::decode(changes.to_vec()) {
        assert_eq!(batch.encoded().map(<[u8]>::len).sum::<usize>(), changes.len());
        assert_eq!(batch.changes().count(), batch.len());
        for change in batch.changes() {
            let images = change.before.iter().chain(change.after.iter());
            images.filter_map(|(_, value)| value).for_each(read);
        }
    }
    in_scratch(|scratch| {
        fs::write(scratch.path("changes.bson"), changes).unwrap();
        for text in [text.to_vec(), resealed(text, "sha256")] {
            fs::write(scratch.path("plan.json"), text).unwrap();
            let Ok(plan) = Plan::open(&scratch.0.path().canonicalize().unwrap()) else { continue };
            let read: Result<Vec<Batch>, _> = plan.batches().collect();
            let Ok(batches) = read else { continue };
            let bytes: Vec<u8> = batches.iter().flat_map(|it| it.bytes().to_vec()).collect();
            assert_eq!(bytes, changes, "the batches are the file");
            let changes: usize = batches.iter().map(Batch::len).sum();
            assert_eq!(plan.content().totals.changes, changes as u64);
            preview(&plan, 5).unwrap();
        }
    });
}

/// The directory of the only run below `plan`.
const RUN: &str = "a-run";

/// A child that another test starts has this process's locks too, until it runs its program.
fn open_run(plan: &Path) -> Option<(RunDirectory, Vec<Record>)> {
    loop {
        match RunDirectory::resume(plan, RUN) {
            Err(RunDirectoryError::Locked(_)) => std::thread::yield_now(),
            other => return other.ok(),
        }
    }
}

/// A run's journal: opening it once more gives the same, and appending goes on from there.
pub(crate) fn journal(data: &[u8]) {
    // Once as it is, once as the payloads of frames whose lengths and chain are right.
    let payloads = data.split(|&byte| byte == b'\n').filter(|payload| !payload.is_empty());
    let mut head = hash_bytes(&HEADER);
    let mut framed = HEADER.to_vec();
    for payload in payloads {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        head = hash_bytes(&[&head.0[..], &length, payload].concat());
        framed.extend_from_slice(&length);
        framed.extend_from_slice(&length.map(|byte| !byte));
        framed.extend_from_slice(payload);
        framed.extend_from_slice(&head.0);
    }
    in_scratch(|scratch| {
        let plan = scratch.path("journal-plan");
        let path = plan.join("runs").join(RUN).join("journal");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for bytes in [data, framed.as_slice()] {
            fs::write(&path, bytes).unwrap();
            let Some((run, first)) = open_run(&plan) else {
                assert_eq!(fs::read(&path).unwrap(), bytes, "a refused journal stays as it is");
                continue;
            };
            let head = run.journal_head();
            drop(run);
            let (mut run, second) = open_run(&plan).expect("what was opened can be opened again");
            assert_eq!((&first, head), (&second, run.journal_head()));
            let record = Record::Intended { batch: 1, from: 2, changes: 3 };
            run.append(&record).unwrap();
            drop(run);
            let (_, third) = open_run(&plan).expect("what was appended to can be opened again");
            assert_eq!(third, [first, vec![record]].concat());
        }
    });
}

/// Manifests: what is unsealed is coherent or refused, and sealing it again gives the same content.
pub(crate) fn manifest(data: &[u8]) {
    for key in ["seal", "sha256"] {
        for text in [data.to_vec(), resealed(data, key)] {
            if let Ok((manifest, _)) = unseal::<SnapshotManifest>(&text, key, 1) {
                let _ = manifest.is_coherent();
                let (again, _) = seal(&manifest, key).unwrap();
                let (read, _) = unseal::<SnapshotManifest>(again.as_bytes(), key, 1).unwrap();
                assert_eq!(read, manifest);
            }
            if let Ok((manifest, _)) = unseal::<RunManifest>(&text, key, 1) {
                let (again, _) = seal(&manifest, key).unwrap();
                let (read, _) = unseal::<RunManifest>(again.as_bytes(), key, 1).unwrap();
                assert_eq!(read, manifest);
            }
        }
    }
}

/// One record of each kind, for seeds.
pub(crate) fn records() -> Vec<Record> {
    use remelt::journal::{BatchOutcome, DriftKind, RunState};
    use remelt::model::Timestamp;
    let sha256 = hash_bytes(b"seed");
    let outcome = BatchOutcome::Applied;
    vec![
        Record::Started { goal: Goal::Apply, plan_sha256: sha256, at: Timestamp(1) },
        Record::Session { id: "00ff".into() },
        Record::Intended { batch: 0, from: 0, changes: 500 },
        Record::Drifted { batch: 0, ordinal: 7, id: "7".into(), kind: DriftKind::Missing },
        Record::Committed { batch: 0, from: 0, changes: 500, written: 499, outcome, sha256 },
        Record::Ended { state: RunState::Completed, at: Timestamp(2) },
    ]
}
