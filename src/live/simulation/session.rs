//! The simulated target: the steps of the protocol on the simulated database, over a connection that is
//! slow, breaks, and belongs to a process that may die at any of them.

use super::super::batch::Unit;
use super::super::command::update_changes;
use super::super::error::RunError;
use super::super::mongo::{found_field, left_field};
use super::super::observe::{Comparison, Observation, Seen};
use super::super::store::{
    APPLIED, ROLLED_BACK, Recorded, RecordedBatch, journal_document, number, recorded,
    recorded_batch,
};
use super::super::target::{CommitFault, Database, Fault, Session, Updated};
use super::world::{Key, Sabotage, State, Stored, World};
use crate::document::{Value, elements, find, remove_field, set_field};
use crate::journal::Goal;
use crate::model::Sha256Hash;
use crate::plan::Change;
use mongodb::bson::{Bson, DateTime};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// How unkind the world is, in cases out of a thousand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) failing: usize,
    pub(super) late: usize,
    pub(super) freezing: usize,
    pub(super) drifting: usize,
}

impl Weather {
    pub(super) const CALM: Weather = Weather { failing: 0, late: 0, freezing: 0, drifting: 0 };
}

/// A process that talks to the database.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) world: Rc<RefCell<World>>,
    pub(super) weather: Weather,
    pub(super) goal: Goal,
    pub(super) plan_sha256: Sha256Hash,
    /// So many calls more until it dies.
    pub(super) calls_left: Cell<u64>,
    pub(super) died: Notify,
}

/// What a call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is done and answered.
    Answered,
    /// It is not done, and the client is told so or loses the connection.
    Failed,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// The server has given the transaction up.
    Vanished,
}

impl Process {
    fn random<T>(&self, choose: impl FnOnce(&mut super::random::Random) -> T) -> T {
        choose(&mut self.world.borrow_mut().random)
    }

    async fn die(&self) -> ! {
        self.world.borrow_mut().tell(|| format!("process {} dies", self.number));
        self.died.notify_one();
        std::future::pending().await
    }

    async fn live(&self) {
        match self.calls_left.get() {
            0 => self.die().await,
            left => self.calls_left.set(left - 1),
        }
    }

    /// On the way to the database: time passes, others write, and the call may come to nothing.
    async fn call(&self, what: &'static str) -> Fate {
        self.live().await;
        let weather = self.weather;
        if self.random(|random| random.per_mille(weather.freezing)) {
            let seconds = self.random(|random| 10 + random.below(100)) as u64;
            self.freeze(Duration::from_secs(seconds)).await;
        } else if self.random(|random| random.per_mille(weather.late)) {
            let ms = self.random(|random| random.below(3_000)) as u64;
            sleep(Duration::from_millis(ms)).await;
        }
        if self.random(|random| random.per_mille(weather.drifting)) {
            self.world.borrow_mut().drift();
        }
        let fate = match self.random(|random| random.below(1_000)) {
            n if n >= weather.failing => Fate::Answered,
            n if n % 3 == 0 => Fate::Failed,
            n if n % 3 == 1 => Fate::AnswerLost,
            _ => Fate::Vanished,
        };
        let number = self.number;
        self.world.borrow_mut().tell(|| format!("process {number}: {what} ({fate:?})"));
        fate
    }

    /// The whole process stands still, and its lease is not renewed.
    async fn freeze(&self, duration: Duration) {
        {
            let mut world = self.world.borrow_mut();
            let number = self.number;
            world.tell(|| format!("process {number} freezes for {duration:?}"));
            if world.lease.holder == Some(number) {
                world.lease.silent_since = Some(tokio::time::Instant::now());
            }
        }
        sleep(duration).await;
        let mut world = self.world.borrow_mut();
        if world.lease.holder == Some(self.number) {
            world.lease.silent_since = None;
        }
    }

    /// A call outside of transactions that is repeated until it is answered.
    pub(super) async fn ask<T>(
        &self,
        what: &'static str,
        mut work: impl FnMut(&mut World) -> T,
    ) -> T {
        loop {
            match self.call(what).await {
                Fate::Answered => break work(&mut self.world.borrow_mut()),
                Fate::AnswerLost => drop(work(&mut self.world.borrow_mut())),
                Fate::Failed | Fate::Vanished => {}
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The documents of `changes` as they stand, outside of a transaction.
    pub(super) async fn look(&self, changes: &[Change<'_>]) -> Observation {
        self.ask("look at documents", |world| {
            let mut seen = Comparison::new(changes);
            let ids = changes.iter().map(|change| id_key(change.id));
            for document in ids.filter_map(|id| world.token(&id)) {
                seen.take(&document);
            }
            seen.end()
        })
        .await
    }
}

fn id_key(id: Value<'_>) -> Vec<u8> {
    [&[id.kind.byte()], id.bytes].concat()
}

fn again(last: &str) -> Fault {
    Fault::Again { last: last.to_owned(), has_vanished: false }
}

fn vanished() -> Fault {
    Fault::Again { last: "no such transaction".to_owned(), has_vanished: true }
}

/// The database as one process has it.
#[derive(Debug)]
pub(super) struct Simulated(pub(super) Rc<Process>);

impl Database for Simulated {
    type Session = SimulatedSession;

    async fn make_way(&self, _: u64) -> Result<(), RunError> {
        self.0.live().await;
        Ok(())
    }

    async fn open_session(&self, slot: usize) -> Result<SimulatedSession, RunError> {
        self.0.live().await;
        let id = self.0.number * 100 + slot as u64;
        Ok(SimulatedSession { process: Rc::clone(&self.0), slot, id })
    }

    async fn note_session(&self, id: &[u8]) -> Result<(), RunError> {
        let id = u64::from_le_bytes(*id.first_chunk().unwrap());
        let me = self.0.number;
        let is_noted = self.0.ask("note a session", |world| {
            let is_mine = world.lease.holder == Some(me);
            if is_mine {
                world.lease.sessions.push(id);
            }
            is_mine
        });
        if is_noted.await { Ok(()) } else { Err(RunError::LeaseLost) }
    }

    async fn read_undo(&self, batch: u64, from: u64) -> Result<RecordedBatch, RunError> {
        let found = self.0.ask("read undo images", |world| world.majority_journal(batch, from));
        let gone = RunError::JournalAltered { batch, from, what: "it is gone" };
        recorded_batch(&*found.await.ok_or(gone)?, batch, from)
    }
}

/// One worker's session.
#[derive(Debug)]
pub(super) struct SimulatedSession {
    process: Rc<Process>,
    slot: usize,
    id: u64,
}

impl SimulatedSession {
    /// A step in the transaction.
    async fn step<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut World) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let fate = self.process.call(what).await;
        let mut world = self.process.world.borrow_mut();
        if fate == Fate::Vanished {
            world.abort(self.id);
        }
        if world.state(self.id) != State::Open {
            return Err(vanished());
        }
        match fate {
            Fate::Failed => Err(again("the connection was lost")),
            Fate::AnswerLost => work(&mut world).and(Err(again("the answer was lost"))),
            Fate::Answered | Fate::Vanished => work(&mut world),
        }
    }

    fn put(&self, world: &mut World, key: Key, stored: Option<Stored>) -> Result<(), Fault> {
        world.put(self.id, key, stored).map_err(|_| again("write conflict"))
    }

    fn sabotages(&self, sabotage: Sabotage) -> bool {
        self.process.world.borrow().sabotage == Some(sabotage)
    }
}

impl Session for SimulatedSession {
    fn id(&self) -> Option<Vec<u8>> {
        Some(self.id.to_le_bytes().to_vec())
    }

    async fn start(&mut self) -> Result<(), Fault> {
        self.process.live().await;
        let Process { number, goal, .. } = *self.process;
        self.process.world.borrow_mut().start(self.id, number, goal);
        Ok(())
    }

    async fn record(&mut self, unit: &Unit) -> Result<(), Fault> {
        let key = Key::Journal(unit.batch, unit.from);
        let (goal, plan) = (self.process.goal, self.process.plan_sha256);
        self.step("record a batch", |world| {
            let known = world.get(self.id, &key);
            let document = match (goal, known) {
                (Goal::Apply, Some(_)) if world.sabotage == Some(Sabotage::NobodyKeptOut) => {
                    return Ok(());
                }
                (Goal::Apply, Some(_)) => return Err(Fault::Recorded),
                (Goal::Apply, None) => {
                    let at = DateTime::from_millis(0);
                    journal_document("a-run", plan, (unit.batch, unit.from), &unit.changes, at)
                }
                (Goal::Rollback, Some(Stored::Journal(known)))
                    if known.get_str("state").ok() == Some(APPLIED) =>
                {
                    let mut document = (*known).clone();
                    document.insert("state", ROLLED_BACK);
                    document
                }
                (Goal::Rollback, _) => return Err(Fault::Recorded),
            };
            let stored = Some(Stored::Journal(Rc::new(document)));
            if world.sabotage == Some(Sabotage::JournalApart) {
                world.set(key, stored, Duration::ZERO);
                return Ok(());
            }
            self.put(world, key, stored)
        })
        .await
    }

    async fn hold_lease(&mut self, _: &Unit) -> Result<(), Fault> {
        let me = self.process.number;
        self.step("hold the lease", |world| {
            let fence = Key::Fence(self.slot);
            let is_mine =
                matches!(world.get(self.id, &fence), Some(Stored::Holder(holder)) if holder == me);
            if world.sabotage == Some(Sabotage::NobodyKeptOut) {
                return Ok(());
            }
            if !is_mine {
                return Err(Fault::Stop(RunError::LeaseLost));
            }
            self.put(world, fence, Some(Stored::Holder(me)))
        })
        .await
    }

    async fn observe(&mut self, changes: &[Change<'_>]) -> Result<Observation, Fault> {
        let is_blind = self.sabotages(Sabotage::NothingCompared);
        self.step("compare documents", |world| {
            let mut seen = Comparison::new(changes);
            for change in changes {
                let found = world.get(self.id, &Key::Token(id_key(change.id)));
                if let Some(Stored::Token(document)) = found {
                    seen.take(&document);
                }
            }
            let mut seen = seen.end();
            if is_blind {
                for seen in &mut seen.0 {
                    if matches!(seen, Seen::Changed { .. }) {
                        *seen = Seen::Before;
                    }
                }
            }
            Ok(seen)
        })
        .await
    }

    async fn update(&mut self, changes: &[Change<'_>]) -> Result<Updated, Fault> {
        let command = update_changes("cashu_tokens", self.process.goal, changes);
        self.step("write documents", |world| {
            let mut updated = Updated { matched: 0, modified: 0 };
            for (id, update) in statements(command.as_bytes()) {
                let key = Key::Token(id);
                let Some(Stored::Token(document)) = world.get(self.id, &key) else { continue };
                let edited = edit(&document, update);
                updated.matched += 1;
                if edited != *document {
                    updated.modified += 1;
                    self.put(world, key, Some(Stored::Token(edited.into())))?;
                }
            }
            Ok(updated)
        })
        .await
    }

    async fn note_left(&mut self, unit: &Unit, left: &[u64], found: u64) -> Result<(), Fault> {
        let key = Key::Journal(unit.batch, unit.from);
        let goal = self.process.goal;
        self.step("note what is left", |world| {
            let Some(Stored::Journal(known)) = world.get(self.id, &key) else {
                return Ok(());
            };
            let mut document = (*known).clone();
            let left: Vec<Bson> = left.iter().map(|place| Bson::Int64(number(*place))).collect();
            document.insert(left_field(goal), left);
            document.insert(found_field(goal), number(found));
            self.put(world, key, Some(Stored::Journal(Rc::new(document))))
        })
        .await
    }

    async fn abort(&mut self) {
        if self.process.call("abort").await == Fate::Answered {
            self.process.world.borrow_mut().abort(self.id);
        }
    }

    async fn commit(&mut self) -> Result<(), CommitFault> {
        let fate = self.process.call("commit").await;
        let odd = self.process.random(|random| random.per_mille(300));
        let lag = self.process.random(|random| Duration::from_millis(random.below(5_000) as u64));
        let unknown = |last: &str| {
            let is_guessed = self.sabotages(Sabotage::UnknownCommitIsDone);
            let last = last.to_owned();
            if is_guessed { Ok(()) } else { Err(CommitFault::Unknown { last, may_pass: !odd }) }
        };
        let is_done = match fate {
            Fate::Failed => return unknown("the connection was lost"),
            Fate::Vanished => {
                self.process.world.borrow_mut().abort(self.id);
                false
            }
            Fate::AnswerLost => self.process.world.borrow_mut().commit(self.id, lag),
            Fate::Answered => self.process.world.borrow_mut().commit(self.id, Duration::ZERO),
        };
        // Its last sign of life may be the commit itself.
        self.process.live().await;
        match fate {
            _ if !is_done => Err(CommitFault::NotCommitted(vanished())),
            Fate::AnswerLost => unknown("the answer was lost"),
            _ => Ok(()),
        }
    }

    async fn read_recorded(&mut self, unit: &Unit) -> Result<Option<Recorded>, Fault> {
        match self.process.call("read the journal").await {
            Fate::Answered => {
                let found = self.process.world.borrow().majority_journal(unit.batch, unit.from);
                Ok(found.as_deref().and_then(recorded))
            }
            _ => Err(again("the connection was lost")),
        }
    }

    async fn check_lease(&mut self) -> Result<(), RunError> {
        let me = self.process.number;
        let is_mine = self.process.ask("check the lease", |world| world.lease.holder == Some(me));
        if is_mine.await { Ok(()) } else { Err(RunError::LeaseLost) }
    }
}

fn nested<'a>(document: &'a [u8], name: &str) -> &'a [u8] {
    find(document, name.as_bytes()).unwrap().unwrap().value.bytes
}

/// The `_id`s that an `update` command names, each with its update.
fn statements(command: &[u8]) -> Vec<(Vec<u8>, &[u8])> {
    let statements =
        elements(nested(command, "updates")).unwrap().map(|it| it.unwrap().value.bytes);
    let of = |statement| {
        let ids = elements(nested(nested(nested(statement, "q"), "_id"), "$in")).unwrap();
        ids.map(move |id| (id_key(id.unwrap().value), nested(statement, "u")))
    };
    statements.flat_map(of).collect()
}

/// What the server makes of `$set` and `$unset` (`tests/edit_matches_server.rs` proves it).
fn edit(document: &[u8], update: &[u8]) -> Vec<u8> {
    let mut edited = document.to_vec();
    for part in elements(update).unwrap().map(Result::unwrap) {
        for field in elements(part.value.bytes).unwrap().map(Result::unwrap) {
            edited = match part.name {
                b"$set" => set_field(&edited, field.name, field.value).unwrap(),
                _ => remove_field(&edited, field.name).unwrap(),
            };
        }
    }
    edited
}
