//! The steps of an analysis, one after another, on all threads.

use super::changes::{ChangeEncoder, ChangeSink};
use super::duplicates::{self, CandidatePart, CandidateStore, Candidates, Kind};
use super::error::AnalyzeError;
use super::findings_file::FindingsFile;
use super::fingerprint::Fingerprints;
use super::groups::Grouping;
use super::look::{self, Look, LookTotals, Looked, Rereader};
use super::melts;
use super::options::{AnalyzeOptions, Shares};
use super::pass::{self, Outcome};
use super::positions::{PositionMap, SummedPositions};
use super::reports::{self, ReportFile, WrittenReport};
use super::scan::{Shared, Stores, Worker};
use super::secrets::{self, Contest, Evidence, SecretTagKey, SecretTotals};
use super::shown::ShownFindings;
use super::totals::Totals;
use super::wallets::WalletTable;
use crate::model::{FindingCode, Sha256Hash};
use crate::progress::{Progress, Unit};
use crate::scratch::{BYTE_PARTS, Partitions, RowBatch, SortedRows, Sorter};
use crate::snapshot::identity::{ChunkTable, root_hash};
use crate::snapshot::input::{Chunk, Collection, Input, KnownChunk};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
        workers.resize_with(self.threads(), WalletTable::default);
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
                self.allow_wallets(wallets.memory_bytes() * self.threads())?;
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
        let mut totals = Totals::default();
        for counted in self.finish(workers, Worker::finish)? {
            totals.add(&counted);
        }
        totals.changes = count;
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
