//! Every altered bit, cut and misplaced part of every artefact is noticed, or changes nothing that is
//! read.

use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::files::{Files, files_below};
use crate::support::live::melted;
use crate::support::raw::{document, element, int32, string};
use remelt::analysis::SpentAt;
use remelt::journal::{
    BatchEntry, BatchOutcome, DriftEntry, DriftKind, Goal, HEADER, Record, RunDirectory,
    RunManifest, RunState,
};
use remelt::model::{Sha256Hash, Timestamp, hash_bytes};
use remelt::plan::{Plan, PlanFile};
use remelt::snapshot::Snapshot;
use remelt::snapshot::format::{
    CollectionManifest, Compression, Consistency, Presence, Role, SnapshotManifest,
};
use remelt::snapshot::identity::{ChunkTable, root_hash};
use remelt::snapshot::input::{Chunk, Collection, InputOptions};
use remelt::snapshot::write::{CollectionWriter, describe_collection, write_manifest};
use std::fs;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory in memory where there is one: what is tried here is written a hundred thousand times.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What became of alterations.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    /// Refused.
    detected: u64,
    /// Read, and to the same result.
    harmless: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.detected += other.detected;
        self.harmless += other.harmless;
    }
}

/// Every bit of `file` flipped, every prefix of it, and two bytes more.
fn alterations(whole: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let flips = (0..whole.len()).flat_map(move |at| {
        (0..8).map(move |bit| {
            let mut altered = whole.to_vec();
            altered[at] ^= 1 << bit;
            (format!("bit {bit} of byte {at} flipped"), altered)
        })
    });
    let cuts = (0..whole.len()).map(|end| (format!("cut at {end}"), whole[..end].to_vec()));
    let more = [0, b'\n'].map(|byte| (format!("byte {byte} appended"), [whole, &[byte]].concat()));
    flips.chain(cuts).chain(more)
}

/// Alters `path` in every way and reads. `is_harmless` judges what was read all the same.
fn alter<T, E>(
    path: &Path,
    read: impl Fn() -> Result<T, E>,
    is_harmless: impl Fn(&str, &T) -> bool,
) -> Tally {
    let whole = fs::read(path).unwrap();
    let mut tally = Tally::default();
    for (what, altered) in alterations(&whole) {
        fs::write(path, &altered).unwrap();
        match read() {
            Err(_) => tally.detected += 1,
            Ok(seen) => {
                assert!(is_harmless(&what, &seen), "undetected: {} {what}", path.display());
                tally.harmless += 1;
            }
        }
    }
    fs::write(path, &whole).unwrap();
    eprintln!(
        "{}: {} bytes, {} alterations detected, {} harmless, 0 undetected",
        path.file_name().unwrap().to_string_lossy(),
        whole.len(),
        tally.detected,
        tally.harmless
    );
    tally
}

fn wallet() -> Vec<u8> {
    document(&[element("_id", &int32(1)), element("npub", &string("npub1"))])
}

/// Writes a snapshot of our own form.
fn write_snapshot(root: &Path, tokens: &[Vec<u8>], wallets: &[Vec<u8>], compression: Compression) {
    const METADATA: &[u8] = br#"{"indexes":[],"type":"collection"}"#;
    let ending = match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
    };
    fs::create_dir(root.join("nctool")).unwrap();
    let put = |role, name: &str, documents: &[Vec<u8>]| -> (CollectionManifest, ChunkTable) {
        let file = format!("nctool/{name}.bson{ending}");
        fs::write(root.join(format!("nctool/{name}.metadata.json")), METADATA).unwrap();
        let path = root.join(&file);
        let mut writer = CollectionWriter::create_compressed(&path, compression).unwrap();
        documents.iter().for_each(|document| writer.write_document(document).unwrap());
        let table = writer.finish().unwrap();
        let manifest = describe_collection(role, name, file, &table, Some(METADATA));
        (CollectionManifest { compression, ..manifest }, table)
    };
    let (tokens, tokens_table) = put(Role::Tokens, "cashu_tokens", tokens);
    let (wallets, wallets_table) = put(Role::Wallets, "cashu_wallets", wallets);
    let manifest = SnapshotManifest {
        format_version: remelt::snapshot::format::FORMAT_VERSION,
        tool: "remelt test".into(),
        sha256: root_hash(&tokens_table, Some(&wallets_table)),
        source: None,
        db: "nctool".into(),
        consistency: Consistency::Snapshot,
        cluster_time: Some("1:1".into()),
        secrets: Presence::Full,
        wallet_keys: Presence::Omitted,
        collections: vec![tokens, wallets],
    };
    write_manifest(root, &manifest).unwrap();
}

type SnapshotRead = (Sha256Hash, Option<SnapshotManifest>, [Option<Vec<u8>>; 2]);

/// Everything that anyone reads of a snapshot.
fn read_snapshot(root: &Path) -> Result<SnapshotRead, String> {
    let told = |e: &dyn std::error::Error| e.to_string();
    let snapshot = Snapshot::open(root, &InputOptions::default()).map_err(|e| told(&e))?;
    let table = |collection: &Collection| {
        let mut table = ChunkTable::new();
        let mut reader = collection.read().map_err(|e| told(&e))?;
        let mut chunk = Chunk::default();
        while reader.next_chunk(&mut chunk).map_err(|e| told(&e))? {
            let bytes = chunk.bytes();
            table.push(bytes.len() as u64, chunk.documents as u64, hash_bytes(bytes));
        }
        Ok::<_, String>(table)
    };
    let wallets = snapshot.input.wallets.as_ref();
    let metadata = [
        snapshot.input.tokens.metadata_json.clone(),
        wallets.and_then(|wallets| wallets.metadata_json.clone()),
    ];
    let tokens = table(&snapshot.input.tokens)?;
    let wallets = wallets.map(table).transpose()?;
    let root = snapshot.check(&tokens, wallets.as_ref()).map_err(|e| told(&e))?;
    Ok((root, snapshot.manifest, metadata))
}

#[test]
fn no_alteration_of_a_snapshot_goes_unnoticed() {
    let mut total = Tally::default();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let root = scratch();
        write_snapshot(root.path(), &melted(3), &[wallet()], compression);
        let known = read_snapshot(root.path()).unwrap();
        for name in files_below(root.path()).keys() {
            let read = || read_snapshot(root.path());
            total += alter(&root.path().join(name), read, |_, seen| *seen == known);
        }
    }
    // The head of a gzip file has a time and a system, which say nothing of the documents.
    assert!(total.detected > 30_000 && total.harmless < 250, "{total:?}");
}

#[test]
fn what_is_added_to_a_snapshot_is_no_part_of_it() {
    let root = scratch();
    write_snapshot(root.path(), &melted(3), &[wallet()], Compression::None);
    let manifest_of = |change: &dyn Fn(&mut SnapshotManifest)| {
        let mut manifest = read_snapshot(root.path()).unwrap().1.unwrap();
        change(&mut manifest);
        manifest
    };
    let database = root.path().join("nctool");
    let wallets = ["bson", "metadata.json"].map(|it| database.join(format!("cashu_wallets.{it}")));
    let tokens_metadata = database.join("cashu_tokens.metadata.json");
    let kept = fs::read(&tokens_metadata).unwrap();
    let alone = manifest_of(&|manifest| {
        manifest.collections.truncate(1);
        manifest.collections[0].metadata_sha256 = None;
        let mut table = ChunkTable::new();
        for chunk in &manifest.collections[0].chunks {
            table.push(chunk.bytes, chunk.documents, chunk.sha256);
        }
        manifest.sha256 = root_hash(&table, None);
    });
    wallets.iter().chain([&tokens_metadata]).for_each(|file| fs::remove_file(file).unwrap());
    fs::remove_file(root.path().join("snapshot.json")).unwrap();
    write_manifest(root.path(), &alone).unwrap();
    read_snapshot(root.path()).unwrap();

    fs::write(&tokens_metadata, kept).unwrap();
    let told = read_snapshot(root.path()).unwrap_err();
    assert!(told.starts_with("the metadata.json of cashu_tokens is not the one"), "{told}");
    fs::remove_file(&tokens_metadata).unwrap();
    fs::write(&wallets[0], b"").unwrap();
    fs::write(&wallets[1], br#"{"indexes":[],"type":"collection"}"#).unwrap();
    let told = read_snapshot(root.path()).unwrap_err();
    assert!(told.starts_with("cashu_wallets is no part of this snapshot"), "{told}");
}

/// A plan of a few changes in `root`.
fn write_plan(root: &Path, changes: usize) -> PathBuf {
    write_dump(&root.join("dump"), &melted(changes).concat(), None);
    let directory = root.join("plan");
    let options = build_options(SpentAt::Repair, 1, 64 << 20, 7);
    make_plan(&root.join("dump"), &directory, &options).unwrap();
    directory
}

fn read_plan(directory: &Path) -> Result<(PlanFile, Vec<Vec<u8>>), String> {
    let plan = Plan::open(directory).map_err(|e| e.to_string())?;
    let bytes = plan.batches().map(|batch| Ok(batch.map_err(|e| e.to_string())?.bytes().to_vec()));
    let bytes = bytes.collect::<Result<_, String>>()?;
    Ok((plan.content().clone(), bytes))
}

#[test]
fn no_alteration_of_a_plan_goes_unnoticed() {
    let root = scratch();
    let directory = write_plan(root.path(), 3);
    read_plan(&directory).unwrap();
    let mut total = Tally::default();
    for name in ["plan.json", "changes.bson"] {
        total += alter(&directory.join(name), || read_plan(&directory), |_, _| false);
    }
    assert!(total.detected > 15_000 && total.harmless == 0, "{total:?}");
}

/// A run's directory below `plan`, and what its journal holds.
fn write_run(plan: &Path) -> (PathBuf, Vec<Record>) {
    let plan_sha256 = hash_bytes(b"plan");
    let sha256 = hash_bytes(b"changes");
    let outcome = BatchOutcome::Applied;
    let (id, kind) = ("7".to_owned(), DriftKind::Changed);
    let records = vec![
        Record::Started { goal: Goal::Apply, plan_sha256, at: Timestamp(1) },
        Record::Session { id: "00ff".into() },
        Record::Intended { batch: 0, from: 0, changes: 500 },
        Record::Drifted { batch: 0, ordinal: 7, id: id.clone(), kind },
        Record::Committed { batch: 0, from: 0, changes: 500, written: 499, outcome, sha256 },
        Record::Ended { state: RunState::Completed, at: Timestamp(2) },
    ];
    let mut run = RunDirectory::create(plan, "a-run").unwrap();
    records.iter().for_each(|record| run.append(record).unwrap());
    let manifest = RunManifest {
        format_version: remelt::journal::FORMAT_VERSION,
        run_id: "a-run".into(),
        plan_sha256,
        state: RunState::Completed,
        started_at: Timestamp(1),
        updated_at: Timestamp(2),
        batches: vec![BatchEntry {
            batch: 0,
            from: 0,
            outcome,
            changes: 500,
            written: 499,
            sha256,
        }],
        drifted_count: 1,
        drifted: vec![DriftEntry { batch: 0, ordinal: 7, id, kind }],
        journal_sha256: run.journal_head(),
    };
    run.write_manifest(&manifest).unwrap();
    (run.path().to_path_buf(), records)
}

#[test]
fn no_alteration_of_a_runs_journal_and_manifest_goes_unnoticed() {
    let plan = scratch();
    let (run, records) = write_run(plan.path());
    let read_journal = || RunDirectory::resume(plan.path(), "a-run").map(|(_, records)| records);
    let journal = alter(&run.join("journal"), read_journal, |what, seen| {
        // A torn tail is dropped: it is a record that nobody was told of. But what is
        // left is always a beginning of what was written.
        let is_tail = what.starts_with("cut") || what.ends_with("appended");
        is_tail && records.starts_with(seen)
    });
    assert!(journal.detected > 8 * 700, "{journal:?}");
    let length = fs::metadata(run.join("journal")).unwrap().len();
    // A single byte more could be the beginning of a frame.
    assert!(journal.harmless <= length + 2, "{journal:?}");

    let read_manifest = || {
        let (directory, _) = RunDirectory::resume(plan.path(), "a-run").map_err(drop)?;
        directory.read_manifest().map_err(drop)?.ok_or(())
    };
    let manifest = alter(&run.join("manifest.json"), read_manifest, |_, _| false);
    assert!(manifest.detected > 8 * 700 && manifest.harmless == 0, "{manifest:?}");
}

/// `parts` with two swapped, one doubled, and one taken out, for every two and every one.
fn disorders(parts: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for first in 0..parts.len() {
        for second in first + 1..parts.len() {
            let mut swapped = parts.to_vec();
            swapped.swap(first, second);
            all.push((format!("{first} and {second} swapped"), swapped.concat()));
        }
        let mut doubled = parts.to_vec();
        doubled.insert(first, parts[first].clone());
        all.push((format!("{first} doubled"), doubled.concat()));
        let mut without = parts.to_vec();
        without.remove(first);
        all.push((format!("{first} taken out"), without.concat()));
    }
    all
}

#[test]
fn parts_that_are_swapped_doubled_or_gone_are_noticed_everywhere() {
    let root = scratch();
    let tokens = melted(4);
    write_snapshot(root.path(), &tokens, &[wallet()], Compression::None);
    let path = root.path().join("nctool/cashu_tokens.bson");
    for (what, bytes) in disorders(&tokens) {
        fs::write(&path, bytes).unwrap();
        let error = read_snapshot(root.path()).unwrap_err();
        assert!(error.contains("not those that were exported"), "{what}: {error}");
    }

    let root = scratch();
    let plan = write_plan(root.path(), 4);
    let path = plan.join("changes.bson");
    let changes = crate::support::live::documents_in(&fs::read(&path).unwrap());
    for (what, bytes) in disorders(&changes) {
        fs::write(&path, bytes).unwrap();
        assert!(read_plan(&plan).is_err(), "{what}");
    }

    let (run, records) = write_run(root.path());
    let path = run.join("journal");
    let mut frames = Vec::new();
    let whole = fs::read(&path).unwrap();
    let mut rest = &whole[HEADER.len()..];
    while let Some(head) = rest.first_chunk::<4>() {
        let length = 8 + usize::try_from(u32::from_le_bytes(*head)).unwrap() + 32;
        let (frame, after) = rest.split_at(length);
        frames.push(frame.to_vec());
        rest = after;
    }
    for (what, bytes) in disorders(&frames) {
        fs::write(&path, [&HEADER[..], &bytes].concat()).unwrap();
        match RunDirectory::resume(root.path(), "a-run") {
            Err(_) => {}
            // Without its last frame a journal is one that has not come so far.
            Ok((_, seen)) => {
                assert_eq!(what, format!("{} taken out", frames.len() - 1));
                assert!(records.starts_with(&seen));
            }
        }
    }
}

/// The directory's files, with one replaced by a FIFO and then by a link to itself elsewhere.
fn refuses_irregular(root: &Path, name: &str, read: impl Fn() -> Option<String>) {
    let path = root.join(name);
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert!(read().is_some(), "a FIFO in place of {name}");
    fs::remove_file(&path).unwrap();
    let elsewhere = root.join("elsewhere");
    fs::write(&elsewhere, &whole).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert!(read().is_some(), "a link in place of {name}");
    fs::remove_file(&elsewhere).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, &whole).unwrap();
    assert_eq!(read(), None, "{name} as it was");
}

#[test]
fn a_fifo_or_a_link_in_place_of_any_artefact_is_refused_and_never_waited_for() {
    let root = scratch();
    write_snapshot(root.path(), &melted(3), &[wallet()], Compression::None);
    let names: Files = files_below(root.path());
    for name in names.keys() {
        refuses_irregular(root.path(), name, || read_snapshot(root.path()).err());
    }
    let root = scratch();
    let plan = write_plan(root.path(), 3);
    for name in ["plan.json", "changes.bson"] {
        refuses_irregular(&plan, name, || read_plan(&plan).err());
    }
    let (run, _) = write_run(root.path());
    for name in ["journal", "manifest.json"] {
        refuses_irregular(&run, name, || {
            let (directory, _) = match RunDirectory::resume(root.path(), "a-run") {
                Ok(opened) => opened,
                Err(error) => return Some(error.to_string()),
            };
            directory.read_manifest().err().map(|error| error.to_string())
        });
    }
}

#[test]
fn artefacts_of_another_version_are_refused_and_the_version_is_named() {
    let root = scratch();
    let plan = write_plan(root.path(), 3);
    let (content, _) = read_plan(&plan).unwrap();
    let next = PlanFile { format_version: content.format_version + 1, ..content };
    let (text, _) = remelt::sealed::seal(&next, "sha256").unwrap();
    fs::write(plan.join("plan.json"), text).unwrap();
    let error = read_plan(&plan).unwrap_err();
    assert!(error.contains("version is 2") && error.contains("version 1"), "{error}");

    let (run, _) = write_run(root.path());
    let mut journal = fs::read(run.join("journal")).unwrap();
    journal[HEADER.len() - 1] += 1;
    fs::write(run.join("journal"), journal).unwrap();
    let error = RunDirectory::resume(root.path(), "a-run").unwrap_err().to_string();
    assert!(error.contains("version 1"), "{error}");
}
