//! Analysis: from a snapshot to changes, balances, findings and CSV reports.
//!
//! One pass over the wallets, one over the tokens, a second look at the documents whose values may occur
//! more than once, and the reports. Everything is exact and the same for any number of threads, any form
//! of the snapshot and any fingerprint key. This layer knows no clock, no network, no server and no
//! randomness; it never changes its input. Memory is bounded by [`AnalyzeOptions::memory_bytes`]: what
//! does not fit goes to scratch files without a name, in which no secret ever stands.

mod csv;
mod duplicates;
mod family;
mod findings;
mod findings_file;
mod fingerprint;
mod groups;
mod look;
mod melts;
mod pass;
mod positions;
mod reports;
mod rule;
mod scan;
mod secrets;
mod shown;
mod token;
mod wallets;

pub use csv::{CsvRows, cell_text, printable};
pub use family::{Family, FamilyError, Member, family};
pub(crate) use findings::is_npub_malformed;
pub use fingerprint::FingerprintKey;
pub use reports::WrittenReport;
pub use rule::{
    ChangedFields, ImagePair, NotChanged, ProposedChange, RULE, RuleOptions, STORED_BYTES_MAX,
    SpentAt, UNDONE_BYTES_MAX, repaired,
};
pub use shown::{CELL_CHARS_MAX, ROWS_SHOWN_MAX, ShownCell, ShownFindings};

use crate::document::{Fault, Malformed};
use crate::model::{FindingCode, Sha256Hash};
use crate::progress::{Interrupted, Progress, Unit};
use crate::publish::PublishError;
use crate::scratch::{BYTE_PARTS, Partitions, RowBatch, ScratchError, SortedRows, Sorter};
use crate::snapshot::identity::{ChunkTable, root_hash};
use crate::snapshot::input::{Chunk, Collection, Input, InputError, KnownChunk, Place};
use duplicates::{CandidatePart, CandidateStore, Candidates, Kind};
use findings_file::FindingsFile;
use fingerprint::Fingerprints;
use groups::Grouping;
use look::{Look, LookTotals, Looked, Rereader};
use pass::Outcome;
use positions::{PositionMap, SummedPositions};
use rayon::prelude::*;
use reports::ReportFile;
use scan::{Shared, Stores, Worker};
use secrets::{Contest, Evidence, SecretTagKey, SecretTotals};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use wallets::WalletTable;

/// Least value of [`AnalyzeOptions::memory_bytes`].
pub const MEMORY_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// How to analyse.
#[derive(Debug, Clone)]
pub struct AnalyzeOptions {
    /// How the rule is applied.
    pub rule: RuleOptions,
    /// Memory for what grows with the data, in bytes; at least [`MEMORY_BYTES_MIN`].
    pub memory_bytes: u64,
    /// Worker threads.
    pub threads: usize,
    /// Key of the fingerprints; not to be known to who writes the data. No result depends on it.
    pub fingerprint_key: FingerprintKey,
}

/// Why an analysis failed. Never holds content of a document.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The snapshot can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A document breaks the BSON specification.
    #[error(
        "{document}: malformed BSON in the document that begins there: {fault}, {at} bytes into it; \
         the file is damaged: take the dump anew, or compare its checksum with the original's"
    )]
    Malformed {
        /// Where the document begins.
        document: Place,
        /// Where the fault is, in bytes from there.
        at: usize,
        /// What it is.
        fault: Fault,
    },
    /// Two documents have one `_id`.
    #[error(
        "{collection}: documents number {first} and {second} (from 0) have the same _id, which no \
         collection can hold: part of the file was duplicated, or it was dumped while it changed; \
         take the dump anew"
    )]
    DuplicateId {
        /// Collection with the documents.
        collection: String,
        /// Number of the first.
        first: u64,
        /// Number of the second.
        second: u64,
    },
    /// The wallets need more memory than allowed.
    #[error("the wallets need about {needed} bytes of memory and {allowed} are allowed; raise --memory to {} bytes or more", needed.saturating_mul(4))]
    WalletsTooLarge {
        /// Bytes needed.
        needed: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// More documents than are numbered.
    #[error("more than 2^40 documents in one collection, which this remelt does not number")]
    TooManyDocuments,
    /// Scratch space could not be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The output can't be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// What was read the second time is not what was judged: different secrets have had the same fingerprint, and
    /// another [`FingerprintKey`] helps, or the snapshot is being changed.
    #[error(
        "the tokens are not what they were when they were read the first time; make sure that nothing writes to the snapshot, and run the command again"
    )]
    FingerprintsCollide,
    /// The worker threads could not be started.
    #[error("could not start {0} worker threads; pass a smaller --threads")]
    Threads(usize),
    /// A document that was valid is not; a bug.
    #[error("a validated document could not be edited ({0}); please report this")]
    Unreachable(String),
}

/// Whether `document` is a token of the rule's shape: melted and unspent.
///
/// # Errors
/// [`Malformed`] when the document is broken anywhere.
pub fn is_problematic(document: &[u8]) -> Result<bool, Malformed> {
    Ok(count_problematic([document])? == 1)
}

/// How many of `documents` are tokens of the rule's shape. All are walked to their last bytes.
///
/// # Errors
/// [`Malformed`] when a document is broken anywhere.
pub fn count_problematic<'a>(
    documents: impl IntoIterator<Item = &'a [u8]>,
) -> Result<u64, Malformed> {
    let (mut order, mut proofs) = (token::FieldOrder::default(), Vec::new());
    documents.into_iter().try_fold(0, |count, document| {
        proofs.clear();
        let token = token::Token::parse(document, &mut order, &mut proofs)?;
        Ok(count + u64::from(rule::applies(&token)))
    })
}

/// Turns a change into the bytes of the plan; runs on the workers.
pub type ChangeEncoder<'a> = &'a (dyn Fn(&ProposedChange<'_>, &mut Vec<u8>) + Sync);

/// Takes the encoded changes, in the snapshot's order.
pub type ChangeSink<'a> = &'a mut (dyn FnMut(&ChangeRows) -> Result<(), PublishError> + Send);

/// The changes of some consecutive documents.
#[derive(Debug, Default)]
pub struct ChangeRows {
    /// What the encoder made, one after another.
    pub encoded: Vec<u8>,
    /// For each change the length of its encoding and of its document before and after, in bytes.
    pub lengths: Vec<ChangeLengths>,
    csv: Vec<u8>,
}

/// Lengths of one change, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct ChangeLengths {
    /// Of its encoding.
    pub encoded: usize,
    /// Of the document before.
    pub before: usize,
}

impl ChangeRows {
    fn push(&mut self, change: &ProposedChange<'_>, encode: ChangeEncoder<'_>) {
        let start = self.encoded.len();
        encode(change, &mut self.encoded);
        let encoded = self.encoded.len() - start;
        self.lengths.push(ChangeLengths { encoded, before: change.image.bytes_before });
    }

    fn memory_bytes(&self) -> usize {
        let lengths = self.lengths.capacity() * size_of::<ChangeLengths>();
        self.encoded.capacity() + lengths + self.csv.capacity()
    }
}

/// Figures of one kind of finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FindingTotals {
    /// How many, as `docs/findings.md` counts them.
    pub count: u64,
    /// The amount in question, where the finding has one.
    pub amount: i128,
    /// Distinct users concerned.
    pub affected_users: u64,
    /// By class, for findings that have classes.
    pub classes: [u64; 3],
}

impl FindingTotals {
    /// Adds what was counted elsewhere; users are counted at the end.
    fn add_all(&mut self, more: &FindingTotals) {
        self.count += more.count;
        self.amount += more.amount;
        for (class, more) in self.classes.iter_mut().zip(more.classes) {
            *class += more;
        }
    }
}

/// Everything counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Documents with `transaction_type` `melted`.
    pub melted: u64,
    /// Of these, with status `spent`.
    pub spent_melted: u64,
    /// Distinct users with tokens.
    pub users: u64,
    /// Changes, the sum of their amounts, and their distinct users.
    pub changes: u64,
    /// Sum of the changed documents' amounts.
    pub amount_changed: i128,
    /// Distinct users of the changed documents.
    pub users_changed: u64,
    /// Documents of the rule's shape that are left as they are, by [`NotChanged`].
    pub not_changed: [u64; NotChanged::ALL.len()],
    /// Documents whose amount is below zero, without which no balance is.
    negative_amounts: u64,
    findings: [FindingTotals; FindingCode::ALL.len()],
}

impl Totals {
    /// Figures of a finding.
    #[must_use]
    pub fn of(&self, code: FindingCode) -> &FindingTotals {
        &self.findings[code.index()]
    }

    fn finding(&mut self, code: FindingCode) -> &mut FindingTotals {
        &mut self.findings[code.index()]
    }

    /// Adds what another worker counted by document.
    fn add(&mut self, other: &Totals) {
        self.melted += other.melted;
        self.spent_melted += other.spent_melted;
        self.negative_amounts += other.negative_amounts;
        for (sum, more) in self.not_changed.iter_mut().zip(other.not_changed) {
            *sum += more;
        }
        for (sum, more) in self.findings.iter_mut().zip(&other.findings) {
            sum.add_all(more);
        }
    }
}

/// What an analysis found out.
#[derive(Debug)]
pub struct Analysis {
    /// Root hash of the snapshot.
    pub snapshot: Sha256Hash,
    /// Chunks of the tokens.
    pub tokens: ChunkTable,
    /// Chunks of the wallets, when there are any.
    pub wallets: Option<ChunkTable>,
    /// The figures.
    pub totals: Totals,
    /// The reports, in the order of their names.
    pub reports: Vec<WrittenReport>,
    /// The first rows of `findings.csv`.
    pub shown: ShownFindings,
}

/// Analyses `input`: writes `changes.csv`, `findings.csv`, `balances.csv` and `balance_deltas.csv` into
/// the directory `reports` and passes the changes, as `encode` makes them, to `changes`.
///
/// # Errors
/// [`AnalyzeError`]; what was written by then is to be thrown away.
pub fn analyze(
    input: &Input,
    reports: &Path,
    options: &AnalyzeOptions,
    encode: ChangeEncoder<'_>,
    changes: ChangeSink<'_>,
    progress: &Progress,
) -> Result<Analysis, AnalyzeError> {
    let engine = Engine::new(input, options, progress)?;
    let (wallets, wallet_chunks) = engine.read_wallets()?.unzip();
    let stores = engine.stores();
    let positions = Mutex::new(Sorter::new(&engine.scratch, engine.shares.positions_sorted));
    let mut maps = engine.position_maps(&positions);
    let mut findings = FindingsFile::create(reports, &engine.scratch, engine.shares.findings)?;
    let shared = Shared {
        options,
        prints: &engine.prints,
        wallets: wallets.as_ref(),
        stores: &stores,
        encode,
    };
    let (tokens, mut totals, changes) =
        engine.read_tokens(&shared, &mut maps, reports, &mut findings, changes)?;
    drop(wallets); // memory for the steps below
    let snapshot = root_hash(&tokens, wallet_chunks.as_ref());
    engine.compare_duplicates(stores, &mut maps, &tokens, snapshot, &mut findings, &mut totals)?;
    engine.merge_positions(maps)?;
    let positions = SummedPositions::new(engine.take_sorted(&positions)?)?;
    let ([deltas, balances, findings], shown) =
        engine.write_reports(positions, reports, findings, &mut totals)?;
    let reports = vec![deltas, balances, changes, findings];
    Ok(Analysis { snapshot, tokens, wallets: wallet_chunks, totals, reports, shown })
}

/// What [`scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanFigures {
    /// Documents read.
    pub documents: u64,
    /// Whether some value may occur twice.
    pub has_candidates: bool,
}

/// The first half of an analysis by itself: reads every token to its last byte, adds up balances and finds
/// the values that may occur twice. It hashes nothing, judges nothing and writes nothing: for benches.
///
/// # Errors
/// [`AnalyzeError`].
pub fn scan(
    input: &Input,
    options: &AnalyzeOptions,
    progress: &Progress,
) -> Result<ScanFigures, AnalyzeError> {
    let engine = Engine::new(input, options, progress)?;
    let stores = engine.stores();
    let positions = Mutex::new(Sorter::new(&engine.scratch, engine.shares.positions_sorted));
    let shared = Shared {
        options,
        prints: &engine.prints,
        wallets: None,
        stores: &stores,
        encode: &|_, _| (),
    };
    let mut maps = engine.position_maps(&positions);
    let mut workers: Vec<Worker<'_, '_>> =
        maps.iter_mut().map(|map| Worker::new(&shared, map)).collect();
    let mut documents = 0;
    engine.each_chunk(&input.tokens, &mut workers, Worker::scan_chunk, |count| {
        documents += count;
        Ok(())
    })?;
    engine.finish(workers, Worker::finish)?;
    let proposed = engine.propose(stores, documents)?;
    let has_candidates = proposed.candidates.complete().are_left(0);
    Ok(ScanFigures { documents, has_candidates })
}

fn refuse_twins(collection: &str, twins: Option<[u64; 2]>) -> Result<(), AnalyzeError> {
    match twins {
        None => Ok(()),
        Some([first, second]) => {
            Err(AnalyzeError::DuplicateId { collection: collection.to_owned(), first, second })
        }
    }
}

/// How the memory is shared out, in bytes.
#[derive(Debug, Clone, Copy)]
struct Shares {
    wallets: usize,
    secrets: usize,
    ids: usize,
    melts: usize,
    candidates: usize,
    /// For each worker.
    positions: usize,
    positions_sorted: usize,
    findings: usize,
    sorter: usize,
    /// Results of chunks that wait for an earlier one.
    waiting: usize,
    /// For each worker: a part of a store while it is judged.
    part: usize,
}

impl Shares {
    fn of(options: &AnalyzeOptions) -> Shares {
        let memory =
            usize::try_from(options.memory_bytes.max(MEMORY_BYTES_MIN)).unwrap_or(usize::MAX);
        let part = memory / 32;
        let threads = options.threads.max(1);
        Shares {
            wallets: 8 * part,
            secrets: 8 * part,
            ids: 3 * part,
            melts: part,
            // These come when the stores above are empty or about to be.
            candidates: part,
            positions: 3 * part / threads,
            positions_sorted: 3 * part,
            findings: part,
            sorter: part,
            waiting: 2 * part,
            // It is copied, and comes when the wallets are gone.
            part: 2 * part / threads,
        }
    }
}

/// What is to be looked at again.
struct Proposed {
    candidates: CandidateStore,
    /// Those whose amounts are to be compared before.
    contested: CandidateStore,
    secrets: SecretTotals,
}

struct Engine<'a> {
    input: &'a Input,
    options: &'a AnalyzeOptions,
    prints: Fingerprints,
    pool: rayon::ThreadPool,
    shares: Shares,
    scratch: PathBuf,
    progress: &'a Progress,
}

impl<'a> Engine<'a> {
    fn new(
        input: &'a Input,
        options: &'a AnalyzeOptions,
        progress: &'a Progress,
    ) -> Result<Engine<'a>, AnalyzeError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .build()
            .map_err(|_| AnalyzeError::Threads(options.threads))?;
        let prints = Fingerprints::new(options.fingerprint_key);
        let (shares, scratch) = (Shares::of(options), std::env::temp_dir());
        Ok(Engine { input, options, prints, pool, shares, scratch, progress })
    }

    fn threads(&self) -> usize {
        self.options.threads.max(1)
    }

    fn sorter(&self) -> Sorter {
        Sorter::new(&self.scratch, self.shares.sorter)
    }

    fn grouping(&self) -> Grouping<'_> {
        let (pool, scratch, part_bytes_max) = (&self.pool, &*self.scratch, self.shares.part);
        Grouping { pool, scratch, part_bytes_max }
    }

    fn stores(&self) -> Stores {
        let parts = |share| Partitions::new(&self.scratch, BYTE_PARTS, share);
        Stores {
            secrets: parts(self.shares.secrets),
            transaction_ids: parts(self.shares.ids),
            ids: parts(self.shares.ids),
            melts: parts(self.shares.melts),
        }
    }

    /// One for each worker.
    fn position_maps<'b>(&'b self, sorter: &'b Mutex<Sorter>) -> Vec<PositionMap<'b>> {
        let map = || PositionMap::new(sorter, &self.prints, self.shares.positions);
        std::iter::repeat_with(map).take(self.threads()).collect()
    }

    /// Adds up the positions of all workers and hands them to the sorter.
    fn merge_positions(&self, maps: Vec<PositionMap<'_>>) -> Result<(), AnalyzeError> {
        let maps = maps.into_par_iter().map(Ok);
        let merged = self.pool.install(|| maps.try_reduce_with(PositionMap::merge));
        merged.map_or(Ok(()), |map| map?.flush())
    }

    /// A feed of `collection`'s chunks that counts progress and stops when told to.
    fn feed<'b>(
        &'b self,
        collection: &'b Collection,
    ) -> Result<impl FnMut(&mut Chunk) -> Result<bool, AnalyzeError> + Send + 'b, AnalyzeError>
    {
        let mut reader = collection.read()?;
        let mut seen = 0;
        Ok(move |chunk: &mut Chunk| {
            self.progress.check()?;
            let more = reader.next_chunk(chunk)?;
            let position = reader.stored_position();
            self.progress.advance(position.saturating_sub(seen));
            seen = position;
            Ok(more)
        })
    }

    /// Lets `workers` work on the chunks of `collection`; the results go to `sink` in the chunks' order.
    fn each_chunk<W: Send, R: Outcome>(
        &self,
        collection: &Collection,
        workers: &mut [W],
        work: impl Fn(&mut W, &Chunk) -> Result<R, AnalyzeError> + Sync,
        sink: impl FnMut(R) -> Result<(), AnalyzeError> + Send,
    ) -> Result<(), AnalyzeError> {
        let mut feed = self.feed(collection)?;
        pass::run(
            &self.pool,
            self.shares.waiting,
            move |chunk: &mut Chunk| Ok(feed(chunk)?.then_some(())),
            workers,
            |worker, chunk, ()| work(worker, chunk),
            sink,
        )
    }

    fn read_wallets(&self) -> Result<Option<(WalletTable, ChunkTable)>, AnalyzeError> {
        let Some(collection) = &self.input.wallets else { return Ok(None) };
        self.progress.begin("reading wallets", collection.stored_bytes(), Unit::Bytes);
        let mut workers: Vec<WalletTable> = Vec::new();
        workers.resize_with(self.options.threads, WalletTable::default);
        let mut table = ChunkTable::new();
        let key = &self.prints;
        self.each_chunk(
            collection,
            &mut workers,
            |wallets, chunk| {
                let mut count = 0;
                for (start, document) in chunk.framed() {
                    wallets
                        .add(key, chunk.first_document + count, document)
                        .map_err(pass::located(chunk, start))?;
                    count += 1;
                }
                self.allow_wallets(wallets.memory_bytes() * self.options.threads)?;
                Ok((chunk.bytes().len() as u64, count, crate::model::hash_bytes(chunk.bytes())))
            },
            |(bytes, documents, sha256)| {
                table.push(bytes, documents, sha256);
                Ok(())
            },
        )?;
        let mut all = WalletTable::default();
        for wallets in workers {
            all.merge(wallets);
            self.allow_wallets(all.memory_bytes())?;
        }
        // Only now: which pair a worker meets first depends on the chunks that it got.
        refuse_twins(&collection.name, all.twins())?;
        Ok(Some((all, table)))
    }

    fn allow_wallets(&self, needed: usize) -> Result<(), AnalyzeError> {
        let allowed = self.shares.wallets;
        if needed > allowed {
            Err(AnalyzeError::WalletsTooLarge { needed, allowed })
        } else {
            Ok(())
        }
    }

    fn read_tokens(
        &self,
        shared: &Shared<'_>,
        maps: &mut [PositionMap<'_>],
        reports: &Path,
        findings: &mut FindingsFile,
        changes: ChangeSink<'_>,
    ) -> Result<(ChunkTable, Totals, WrittenReport), AnalyzeError> {
        let collection = &self.input.tokens;
        self.progress.begin("reading tokens", collection.stored_bytes(), Unit::Bytes);
        let mut workers: Vec<Worker<'_, '_>> =
            maps.iter_mut().map(|map| Worker::new(shared, map)).collect();
        let mut table = ChunkTable::new();
        let mut changes_csv = ReportFile::changes(reports)?;
        let mut count = 0;
        self.each_chunk(collection, &mut workers, Worker::read_chunk, |result| {
            table.push(result.bytes, result.documents, result.sha256);
            count += result.changes.lengths.len() as u64;
            changes_csv.write(&result.changes.csv)?;
            for (code, rows) in &result.findings {
                findings.add(*code, rows)?;
            }
            Ok(changes(&result.changes)?)
        })?;
        let written = changes_csv.finish()?;
        let mut totals = Totals { changes: count, ..Totals::default() };
        for counted in self.finish(workers, Worker::finish)? {
            totals.add(&counted);
        }
        Ok((table, totals, written))
    }

    /// Finds the documents to look at again, and counts the secrets that occur more than once.
    fn propose(&self, stores: Stores, documents: u64) -> Result<Proposed, AnalyzeError> {
        let Stores { secrets, transaction_ids, ids, melts } = stores;
        let store = || CandidateStore::new(&self.scratch, documents, self.shares.candidates);
        let (candidates, contested) = (store(), store());
        let grouping = self.grouping();
        melts::propose(&grouping, &melts, &candidates)?;
        for (kind, store) in [(Kind::Id, ids), (Kind::TransactionId, transaction_ids)] {
            duplicates::propose(&grouping, &store, kind, &candidates)?;
        }
        let secrets = secrets::propose(&grouping, &secrets, &candidates, &contested)?;
        Ok(Proposed { candidates, contested, secrets })
    }

    /// Reads the proofs of secrets that are spendable twice, to know which of each is no phantom.
    fn settle_contests(
        &self,
        contested: Candidates,
        tokens: &ChunkTable,
        candidates: &CandidateStore,
    ) -> Result<(), AnalyzeError> {
        if !contested.are_left(0) {
            return Ok(());
        }
        let sorter = Mutex::new(self.sorter());
        let contest = || Contest { prints: &self.prints, rows: RowBatch::default() };
        let worker = || (Rereader::default(), contest());
        let mut workers = Vec::from_iter(std::iter::repeat_with(worker).take(self.threads()));
        self.read_again(
            "comparing amounts",
            tokens,
            contested,
            &mut workers,
            |worker, chunk, parts| look::contest(worker, chunk, parts, &sorter),
            |()| Ok(()),
        )?;
        secrets::keep_winners(self.take_sorted(&sorter)?, candidates)
    }

    /// Compares what may occur twice and reports it.
    fn compare_duplicates(
        &self,
        stores: Stores,
        maps: &mut [PositionMap<'_>],
        tokens: &ChunkTable,
        snapshot: Sha256Hash,
        findings: &mut FindingsFile,
        totals: &mut Totals,
    ) -> Result<(), AnalyzeError> {
        self.progress.begin("comparing duplicates", 0, Unit::Bytes);
        findings.open(FindingCode::DuplicateSecrets)?;
        let Proposed { candidates, contested, mut secrets } =
            self.propose(stores, tokens.documents())?;
        self.settle_contests(contested.complete(), tokens, &candidates)?;
        let candidates = candidates.complete();
        let looked =
            Looked { transaction_ids: Mutex::new(self.sorter()), ids: Mutex::new(self.sorter()) };
        let counted = self.look_again(tokens, candidates, maps, &looked, snapshot, findings)?;
        secrets.double_counted.amount = counted.phantom_amount;
        *totals.finding(FindingCode::MissingChange) = counted.missing_change;
        *totals.finding(FindingCode::DuplicateSecrets) = secrets.duplicates;
        *totals.finding(FindingCode::DoubleCounted) = secrets.double_counted;
        findings.open(FindingCode::OrphanedTokens)?;
        look::refuse_shared_ids(self.take_sorted(&looked.ids)?, &self.input.tokens.name)?;
        *totals.finding(FindingCode::DuplicateTransactionId) = look::judge_transaction_ids(
            self.take_sorted(&looked.transaction_ids)?,
            self.sorter(),
            &mut maps[0],
            findings,
        )?;
        Ok(())
    }

    fn look_again(
        &self,
        tokens: &ChunkTable,
        candidates: Candidates,
        maps: &mut [PositionMap<'_>],
        looked: &Looked,
        snapshot: Sha256Hash,
        findings: &mut FindingsFile,
    ) -> Result<LookTotals, AnalyzeError> {
        let tag_key = SecretTagKey::new(snapshot);
        let worker = |positions| Look::new(&self.prints, &tag_key, looked, positions);
        let mut workers: Vec<Look<'_, '_>> = maps.iter_mut().map(worker).collect();
        self.read_again(
            "looking again",
            tokens,
            candidates,
            &mut workers,
            |worker, chunk, parts| worker.at_chunk(chunk, parts),
            |rows| rows.iter().try_for_each(|(code, rows)| findings.add(*code, rows)),
        )?;
        let (mut totals, mut evidence) = (LookTotals::default(), Evidence::default());
        for (counted, seen) in workers.into_iter().map(Look::finish) {
            totals.add_all(&counted);
            evidence.add(&seen);
        }
        if evidence.holds() { Ok(totals) } else { Err(AnalyzeError::FingerprintsCollide) }
    }

    /// Lets `workers` work on the chunks of `tokens` once more, up to the last one that has `candidates`, with the
    /// parts that its candidates are in; the results go to `sink` in the chunks' order.
    fn read_again<W: Send, R: Outcome>(
        &self,
        step: &'static str,
        tokens: &ChunkTable,
        mut candidates: Candidates,
        workers: &mut [W],
        work: impl Fn(&mut W, &Chunk, &[Arc<CandidatePart>]) -> Result<R, AnalyzeError> + Sync,
        sink: impl FnMut(R) -> Result<(), AnalyzeError> + Send,
    ) -> Result<(), AnalyzeError> {
        let collection = &self.input.tokens;
        self.progress.begin(step, collection.stored_bytes(), Unit::Bytes);
        let known_file = collection.known_file()?;
        // Of a plain file each worker reads for itself.
        let mut feed = match known_file {
            Some(_) => None,
            None => Some(self.feed(collection)?),
        };
        let (mut next_document, mut chunks) = (0, (0..).zip(tokens.records()));
        pass::run(
            &self.pool,
            self.shares.waiting,
            |chunk: &mut Chunk| {
                if !candidates.are_left(next_document) {
                    return Ok(None);
                }
                let first_document = next_document;
                let known = match &mut feed {
                    Some(feed) => {
                        if !feed(chunk)? {
                            return Ok(None);
                        }
                        next_document += chunk.documents as u64;
                        None
                    }
                    None => {
                        self.progress.check()?;
                        let Some((index, record)) = chunks.next() else { return Ok(None) };
                        next_document += record.documents;
                        Some(KnownChunk { index, first_document, record: *record })
                    }
                };
                Ok(Some((candidates.of(first_document..next_document)?, known)))
            },
            workers,
            |worker, chunk, (parts, known)| {
                if let (Some(known), Some(file)) = (known, &known_file) {
                    file.read(&known, chunk)?;
                    self.progress.advance(known.record.bytes);
                }
                work(worker, chunk, &parts)
            },
            sink,
        )?;
        Ok(collection.compare()?)
    }

    fn write_reports(
        &self,
        mut positions: SummedPositions,
        reports: &Path,
        mut findings: FindingsFile,
        totals: &mut Totals,
    ) -> Result<([WrittenReport; 3], ShownFindings), AnalyzeError> {
        self.progress.begin("writing reports", 0, Unit::Documents);
        if totals.negative_amounts > 0 {
            *totals.finding(FindingCode::NegativeBalance) =
                reports::find_negative_balances(&mut positions, &mut findings)?;
            positions.rewind()?;
        }
        let sorter = self.sorter();
        let (findings, balances) = self.pool.join(
            || findings.finish(),
            || reports::write_balances(&mut positions, sorter, reports),
        );
        let ((findings, shown), ([deltas, balances], users)) = (findings?, balances?);
        totals.users = users.total;
        totals.users_changed = users.fixed;
        totals.amount_changed = users.amount_fixed;
        for code in FindingCode::ALL {
            totals.finding(*code).affected_users = users.by_finding[code.index()];
        }
        Ok(([deltas, balances, findings], shown))
    }

    /// Lets all workers hand over what they have, at once.
    fn finish<W: Send, T: Send>(
        &self,
        workers: Vec<W>,
        finish: impl Fn(W) -> Result<T, AnalyzeError> + Send + Sync,
    ) -> Result<Vec<T>, AnalyzeError> {
        self.pool.install(|| workers.into_par_iter().map(finish).collect())
    }

    fn take_sorted(&self, sorter: &Mutex<Sorter>) -> Result<SortedRows, AnalyzeError> {
        let mut shared = sorter.lock().unwrap_or_else(PoisonError::into_inner);
        let sorter = std::mem::replace(&mut *shared, self.sorter());
        drop(shared);
        Ok(self.pool.install(|| sorter.finish_on_all_threads())?)
    }
}
