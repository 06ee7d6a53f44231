//! A seeded simulation of apply and rollback: the real protocol (`work`, `batch`, `commit`, `decide`,
//! `observe`, the update command, the local journal and manifest, plan and changes) on a simulated
//! database that loses commits and answers, is late, gives transactions up, and is written to by others;
//! processes die at any call, freeze, are taken over, wake up, and find their local journal torn or gone.
//!
//!     cargo test --locked --lib simulation                                  # 10,000 seeds
//!     REMELT_SIMULATIONS=1000000 cargo test --locked --lib simulation
//!     REMELT_SIMULATION=4711 cargo test --locked --lib simulation          # one, with its story
//!
//! What must hold, whatever the seed: a token is written only while it is byte for byte what the plan saw,
//! at most once in each direction, in the transaction of its journal document, by the holder of the lease;
//! when the weather clears, the same command finishes or names drift; after a rollback every token that
//! the run wrote and nobody else touched has its first bytes back; local journal and manifest are whole
//! and say what the database says.

mod random;
mod run;
mod session;
mod world;

use super::error::RunError;
use super::options::RunOptions;
use super::store::{APPLIED, recorded};
use crate::analysis::{AnalyzeOptions, FingerprintKey, RuleOptions, SpentAt};
use crate::decide::OnDrift;
use crate::document::{DocumentBuilder, Value, ValueKind};
use crate::journal::{Goal, Record, RunDirectory, RunState};
use crate::model::{Timestamp, hash_bytes};
use crate::plan::{BatchRecord, BuildOptions, Plan, PlanFile, build};
use crate::progress::Progress;
use crate::sealed::seal;
use crate::snapshot::Snapshot;
use crate::snapshot::input::InputOptions;
use run::{Machine, RUN_ID, Report, StoredState, command};
use session::{Process, Weather};
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use world::{LEASE, Planned, Sabotage, World, id_of};

/// Seeds tried when nothing else is asked for.
const SEEDS: u64 = 10_000;
/// Processes that are tried in bad weather before it clears.
const TROUBLED_MAX: usize = 5;
/// No story takes so long, by the simulated clock, unless somebody waits for ever.
const PATIENCE: Duration = Duration::from_secs(10 * 24 * 3_600);

fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A plan of `tokens` changes in batches of `batch_changes`, and its tokens before and after.
struct Prepared {
    _root: TempDir,
    plan: Plan,
    planned: Rc<Planned>,
}

fn token(number: u32) -> Vec<u8> {
    let (id, date) = (number.to_le_bytes(), [9; 8]);
    let mut builder = DocumentBuilder::new()
        .value("_id", Value { kind: ValueKind::Int32, bytes: &id })
        .text("transaction_type", "melted")
        .text("status", "unspent");
    if number % 3 == 1 {
        builder = builder.value("spent_at", Value { kind: ValueKind::Null, bytes: &[] });
    }
    if number.is_multiple_of(2) {
        builder = builder.value("updatedAt", Value { kind: ValueKind::DateTime, bytes: &date });
    }
    builder.finish()
}

fn prepare(tokens: u32, batch_changes: usize) -> Prepared {
    let root = scratch();
    let dump = root.path().join("nctool");
    fs::create_dir(&dump).unwrap();
    let documents: Vec<u8> = (0..tokens).flat_map(token).collect();
    fs::write(dump.join("cashu_tokens.bson"), documents).unwrap();
    let input = InputOptions { require_wallets: false, ..InputOptions::default() };
    let snapshot = Snapshot::open(root.path(), &input).unwrap();
    let rule = RuleOptions { spent_at: SpentAt::Repair, repair_time: Timestamp(1_000) };
    let analyze = AnalyzeOptions {
        rule,
        memory_bytes: 64 << 20,
        threads: 1,
        fingerprint_key: FingerprintKey([1; 16]),
    };
    let options = BuildOptions { analyze, tool: "simulation".to_owned(), parquet: false };
    let directory = root.path().join("plan");
    build(&snapshot, &directory, &options, &|| Duration::ZERO, &Progress::new()).unwrap();
    let plan = Plan::open(&directory).unwrap();
    let content = in_batches_of(&plan, batch_changes);
    let (text, _) = seal(&content, "sha256").unwrap();
    fs::write(directory.join("plan.json"), text).unwrap();
    let plan = Plan::open(&directory).unwrap();
    let mut planned = Planned::new();
    for batch in plan.batches().map(Result::unwrap) {
        for change in batch.changes() {
            let before = token(u32::try_from(change.ordinal).unwrap());
            let after = change.after.put_into(&before).unwrap();
            assert!(change.is_before(&before) && change.is_after(&after));
            planned.insert(id_of(&before), (before.into(), after.into()));
        }
    }
    Prepared { _root: root, plan, planned: Rc::new(planned) }
}

/// The plan's content with its only batch cut into smaller ones.
fn in_batches_of(plan: &Plan, batch_changes: usize) -> PlanFile {
    let whole = plan.read_batch(0).unwrap();
    let starts = (0..whole.len()).step_by(batch_changes);
    let parts = starts.map(|from| whole.part(from, (from + batch_changes).min(whole.len())));
    let batches: Vec<BatchRecord> = parts.map(|part| part.record).collect();
    PlanFile { batches, ..plan.content().clone() }
}

/// What is broken, and how it came to it.
#[derive(Debug)]
struct Broken {
    what: String,
    story: String,
}

struct Simulation<'a> {
    prepared: &'a Prepared,
    world: Rc<RefCell<World>>,
    state: StoredState,
    options: RunOptions,
    root: TempDir,
    machines: usize,
    processes: u64,
}

impl Simulation<'_> {
    fn below(&self, bound: usize) -> usize {
        self.world.borrow_mut().random.below(bound)
    }

    fn breaks(&self, what: impl FnOnce() -> String) {
        self.world.borrow_mut().breaks(what);
    }

    fn machine(&self, number: usize) -> PathBuf {
        self.root.path().join(format!("machine-{number}"))
    }

    /// Runs a process to its end or its death; `None` is death.
    async fn process(
        &self,
        number: u64,
        goal: Goal,
        weather: Weather,
        calls_left: u64,
        directory: &Path,
    ) -> Option<Result<Report, RunError>> {
        let process = Rc::new(Process {
            number,
            world: Rc::clone(&self.world),
            weather,
            goal,
            plan_sha256: self.prepared.plan.sha256(),
            calls_left: Cell::new(calls_left),
            died: Notify::new(),
        });
        let plan = &self.prepared.plan;
        let machine = Machine { plan, directory, options: &self.options, state: &self.state };
        let ended = tokio::select! {
            biased;
            () = process.died.notified() => None,
            ended = command(&process, &machine) => Some(ended),
        };
        let mut world = self.world.borrow_mut();
        if world.lease.holder == Some(number) {
            world.lease.silent_since.get_or_insert_with(tokio::time::Instant::now);
        }
        world.tell(|| format!("process {number} ({goal:?}) ended: {ended:?}"));
        ended
    }

    /// Processes that die, fail, freeze and are taken over.
    async fn trouble(&mut self, goal: Goal) {
        for _ in 0..self.below(TROUBLED_MAX + 1) {
            let rate = [0, 20, 100, 300][self.below(4)];
            let drifting = [0, 0, 10, 60][self.below(4)];
            let freezing = [0, 0, 5, 30][self.below(4)];
            let weather = Weather { failing: rate, late: 100, freezing, drifting };
            let patience = if self.below(3) == 0 { 1_000_000 } else { self.below(80) as u64 };
            let directory = self.machine(self.below(self.machines));
            // Somebody may want a run applied that is being rolled back.
            let is_late = goal == Goal::Rollback && self.below(6) == 0;
            let goal = if is_late { Goal::Apply } else { goal };
            self.processes += 2;
            let number = self.processes;
            let first = self.process(number, goal, weather, patience, &directory);
            if freezing > 0 && self.below(2) == 0 {
                // Somebody gives the same command on another machine meanwhile.
                let elsewhere = self.machine(self.machines);
                let delay = Duration::from_secs(self.below(90) as u64);
                let second = async {
                    sleep(delay).await;
                    self.process(number + 1, goal, weather, patience, &elsewhere).await
                };
                tokio::join!(first, second);
            } else {
                first.await;
            }
            self.spoil_journals();
            sleep(LEASE).await;
        }
    }

    /// Tears or loses local journals, as no crash that honours fsync would: they are only hints.
    fn spoil_journals(&self) {
        for number in 0..=self.machines {
            let run = self.machine(number).join("runs").join(RUN_ID);
            let Ok(journal) = fs::read(run.join("journal")) else { continue };
            match self.below(12) {
                0 => fs::remove_dir_all(&run).unwrap(),
                1 => {
                    let end = self.below(journal.len() + 1);
                    fs::write(run.join("journal"), &journal[..end]).unwrap();
                }
                _ => {}
            }
        }
    }

    /// With fair weather the same command must finish, or name what stands in the way.
    async fn finish(&mut self, goal: Goal) {
        self.processes += 2;
        let directory = self.machine(0);
        let ended = self.process(self.processes, goal, Weather::CALM, u64::MAX, &directory).await;
        let changes = self.prepared.plan.content().totals.changes;
        match ended.unwrap() {
            Ok(Report { written, already, drifted }) => {
                let sum = written + already + drifted;
                if goal == Goal::Apply && sum != changes {
                    self.breaks(|| format!("{sum} of {changes} changes are accounted for"));
                }
                self.check_finished(goal, &directory);
            }
            Err(RunError::AlreadyCompleted { .. }) if goal == Goal::Apply => {
                self.check_finished(goal, &directory);
            }
            Err(RunError::Drift { .. }) if self.options.on_drift == OnDrift::Abort => {}
            Err(error) => self.breaks(|| format!("in fair weather: {error}")),
        }
    }

    fn check_finished(&self, goal: Goal, directory: &Path) {
        let wanted = if goal == Goal::Apply { RunState::Completed } else { RunState::RolledBack };
        if self.state.get() != Some(wanted) {
            self.breaks(|| format!("the run is {:?} and should be {wanted:?}", self.state.get()));
        }
        self.check_tokens(goal);
        self.check_papers(directory);
    }

    /// Every token is written, or left as it is because it was not what it should have been.
    fn check_tokens(&self, goal: Goal) {
        let world = self.world.borrow();
        let mut covered = 0;
        let mut broken = None;
        for document in world.journal() {
            let head = recorded(&document).unwrap();
            covered += head.changes;
            let whole = self.prepared.plan.read_batch(usize::try_from(head.batch).unwrap());
            let (whole, from) = (whole.unwrap(), usize::try_from(head.from).unwrap());
            let part = whole.part(from, from + usize::try_from(head.changes).unwrap());
            if part.record.sha256 != head.sha256 || hash_bytes(part.bytes()) != head.sha256 {
                broken =
                    Some("the database's journal holds other changes than the plan".to_owned());
            }
            let left = |field: &str| -> Vec<i64> {
                let left = document.get_array(field).map_or(&[][..], Vec::as_slice);
                left.iter().filter_map(mongodb::bson::Bson::as_i64).collect()
            };
            let (not_written, not_restored) = (left("left"), left("notRestored"));
            let is_undone = document.get_str("state").ok() != Some(APPLIED);
            if is_undone != (goal == Goal::Rollback) {
                broken = Some(format!("batch {} is not where the run ended", head.batch));
            }
            let mut undo_place = 0;
            for (place, change) in (0_i64..).zip(part.changes()) {
                let id = [&[change.id.kind.byte()], change.id.bytes].concat();
                let history = world.history.get(&id).map_or(&[][..], Vec::as_slice);
                let times = |goal| history.iter().filter(|it| it.goal == Some(goal)).count();
                let is_written = !not_written.contains(&place);
                let is_restored = is_undone && is_written && !not_restored.contains(&undo_place);
                undo_place += i64::from(is_written);
                let expected = (usize::from(is_written), usize::from(is_restored));
                if (times(Goal::Apply), times(Goal::Rollback)) != expected {
                    broken = Some(format!(
                        "token {id:02x?} was written and restored {:?} times, expected {expected:?}",
                        (times(Goal::Apply), times(Goal::Rollback))
                    ));
                }
                let is_alone = history.iter().all(|write| write.goal.is_some());
                let (before, after) = &self.prepared.planned[&id];
                let should_be = if goal == Goal::Apply { after } else { before };
                if is_alone && world.token(&id).as_ref() != Some(should_be) {
                    broken = Some(format!("token {id:02x?} is not as the run should leave it"));
                }
                let last = history.last().map(|write| write.after.clone());
                if last.is_some_and(|last| world.token(&id) != last) {
                    broken = Some(format!("token {id:02x?} is not what was written last"));
                }
            }
        }
        drop(world);
        if goal == Goal::Apply && covered != self.prepared.plan.content().totals.changes {
            broken = Some(format!("the journal covers {covered} changes"));
        }
        if let Some(what) = broken {
            self.breaks(|| what);
        }
    }

    /// The local journal is whole, and it and the manifest say what the database says.
    fn check_papers(&self, directory: &Path) {
        let (run, records) = match RunDirectory::resume(directory, RUN_ID) {
            Ok(opened) => opened,
            Err(error) => return self.breaks(|| error.to_string()),
        };
        let journal = self.world.borrow().journal();
        let known: Vec<_> = journal.iter().filter_map(|document| recorded(document)).collect();
        for record in &records {
            let Record::Committed { batch, from, changes, sha256, .. } = *record else { continue };
            let is_known = known.iter().any(|found| {
                (found.batch, found.from, found.changes, found.sha256)
                    == (batch, from, changes, sha256)
            });
            if !is_known {
                self.breaks(|| format!("the local journal has batch {batch}, the database not"));
            }
        }
        let manifest = match run.read_manifest() {
            Ok(Some(manifest)) => manifest,
            // The one that ended the run died before it wrote the manifest, or on another machine.
            Ok(None) => return,
            Err(error) => return self.breaks(|| error.to_string()),
        };
        if manifest.state == self.state.get().unwrap_or(RunState::Running)
            && manifest.journal_sha256 == run.journal_head()
            && manifest.batches.len() != known.len()
        {
            self.breaks(|| "the manifest lists other batches than the database".to_owned());
        }
    }

    async fn whole_story(&mut self) {
        self.trouble(Goal::Apply).await;
        self.finish(Goal::Apply).await;
        if self.below(5) == 0 {
            return;
        }
        if self.below(3) == 0 {
            self.options.on_drift = OnDrift::Skip;
        }
        self.trouble(Goal::Rollback).await;
        self.finish(Goal::Rollback).await;
    }
}

thread_local! {
    static PREPARED: Vec<Prepared> =
        [(1, 1), (3, 1), (4, 4), (6, 2), (7, 3), (11, 4)].map(|(n, k)| prepare(n, k)).into();
}

/// Lives one seed through, and gives its story when one is told.
fn simulate(seed: u64, sabotage: Option<Sabotage>, has_story: bool) -> Result<String, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    PREPARED.with(|prepared| {
        runtime.block_on(async {
            let prepared = &prepared[usize::try_from(seed).unwrap() % prepared.len()];
            let planned = Rc::clone(&prepared.planned);
            let mut world = World::new(seed, sabotage, planned, has_story);
            let random = &mut world.random;
            let on_drift = if random.per_mille(500) { OnDrift::Skip } else { OnDrift::Abort };
            let batch_changes_max = random.per_mille(500).then(|| 1 + random.below(4));
            let workers = 1 + random.below(3);
            let machines = 1 + random.below(2);
            let mut simulation = Simulation {
                prepared,
                world: Rc::new(RefCell::new(world)),
                state: Rc::new(Cell::new(None)),
                options: RunOptions {
                    on_drift,
                    workers,
                    batch_changes_max,
                    ..RunOptions::new("simulation", || Timestamp(0))
                },
                root: scratch(),
                machines,
                processes: 0,
            };
            if timeout(PATIENCE, simulation.whole_story()).await.is_err() {
                simulation.breaks(|| "nothing moves any more".to_owned());
            }
            let world = simulation.world.borrow();
            match &world.broken {
                None => Ok(world.story()),
                Some(what) => Err(Broken { what: what.clone(), story: world.story() }),
            }
        })
    })
}

fn setting(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

/// Seed `seed` once more, with its story.
fn tell(seed: u64, sabotage: Option<Sabotage>) -> String {
    match simulate(seed, sabotage, true) {
        Ok(story) => format!("{story}\nseed {seed} holds every promise"),
        Err(Broken { what, story }) => {
            format!("{story}\nseed {seed}: {what}; again with REMELT_SIMULATION={seed}")
        }
    }
}

#[test]
fn every_seed_holds_every_promise() {
    if let Some(seed) = setting("REMELT_SIMULATION") {
        panic!("{}", tell(seed, None));
    }
    let seeds = setting("REMELT_SIMULATIONS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        if simulate(seed, None, false).is_err() {
            panic!("{}", tell(seed, None));
        }
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..20 {
        let sabotage = Some(Sabotage::NothingCompared);
        assert_eq!(tell(seed, sabotage), tell(seed, sabotage));
    }
}

#[test]
fn the_seeds_meet_every_kind_of_trouble() {
    let mut missing: Vec<&str> = vec![
        "commit (Failed)",
        "commit (AnswerLost)",
        "commit (Vanished)",
        "dies",
        "freezes",
        "Err(LeaseLost)",
        "LeaseHeld",
        "GaveUp",
        "Err(Drift",
        "written: 1", // drift after something was written
        "somebody removed",
        "somebody repaired",
        "note what is left",
        "BeingRolledBack",
        "(Rollback) ended: Some(Ok",
    ];
    for seed in 0..SEEDS {
        let story = simulate(seed, None, true).unwrap();
        missing.retain(|trouble| !story.contains(trouble));
        if missing.is_empty() {
            return;
        }
    }
    panic!("no seed of {SEEDS} meets {missing:?}");
}

#[test]
fn every_broken_rule_is_noticed() {
    for sabotage in [
        Sabotage::UnknownCommitIsDone,
        Sabotage::JournalApart,
        Sabotage::NothingCompared,
        Sabotage::NobodyKeptOut,
    ] {
        let noticed = (0..SEEDS).find(|seed| simulate(*seed, Some(sabotage), false).is_err());
        assert!(noticed.is_some(), "{sabotage:?} goes unnoticed in {SEEDS} seeds");
    }
}
