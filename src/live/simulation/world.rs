//! The simulated database: documents, journal and fences under snapshot isolation, and everybody else who
//! writes to them.
//!
//! A transaction sees what was committed when it began. Whoever writes second to the same place loses its
//! transaction, as on the server. What this database promises is what MongoDB documents; what it does
//! beyond that is as unkind as the seed says.

use super::random::Random;
use crate::document::{Value as Bytes, ValueKind};
use crate::document::{find, set_field};
use crate::journal::Goal;
use mongodb::bson::Document;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the server lets a transaction live.
const TRANSACTION_LIFETIME: Duration = Duration::from_secs(60);
/// How long a process may give no sign of life before its lease is taken.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A rule of the database or of the protocol that is broken on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// A commit whose outcome is not known is answered as done.
    UnknownCommitIsDone,
    /// The journal document is written at once and not in the batch's transaction.
    JournalApart,
    /// Whatever is there is taken for what the plan saw.
    NothingCompared,
    /// Nobody is kept out: fences match whoever writes to them, and a journal document never collides.
    NobodyKeptOut,
}

/// A place in the database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A token, by its `_id`.
    Token(Vec<u8>),
    /// A journal document: batch and first change.
    Journal(u64, u64),
    /// A worker's fence.
    Fence(usize),
}

/// What stands there.
#[derive(Debug, Clone)]
pub(super) enum Stored {
    Token(Rc<[u8]>),
    Journal(Rc<Document>),
    Holder(u64),
}

#[derive(Debug, Clone)]
struct Entry {
    version: u64,
    stored: Option<Stored>,
    /// From when on a majority has it; until then majority reads see what was before.
    majority_at: Instant,
    before: Option<Stored>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Committed,
    Gone,
}

#[derive(Debug)]
struct Transaction {
    state: State,
    by: u64,
    goal: Goal,
    began: Instant,
    version: u64,
    snapshot: Rc<BTreeMap<Key, Entry>>,
    writes: BTreeMap<Key, Option<Stored>>,
}

/// Somebody else wrote to the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conflict;

/// What happened to a token.
#[derive(Debug, Clone)]
pub(super) struct Write {
    /// The goal of the run that wrote; `None` for somebody else.
    pub(super) goal: Option<Goal>,
    pub(super) after: Option<Rc<[u8]>>,
}

/// The lease.
#[derive(Debug, Default)]
pub(super) struct Lease {
    pub(super) holder: Option<u64>,
    pub(super) sessions: Vec<u64>,
    /// Since when the holder gives no sign of life.
    pub(super) silent_since: Option<Instant>,
}

/// A planned token before and after, by its `_id`.
pub(super) type Planned = BTreeMap<Vec<u8>, (Rc<[u8]>, Rc<[u8]>)>;

#[derive(Debug)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) planned: Rc<Planned>,
    committed: Rc<BTreeMap<Key, Entry>>,
    version: u64,
    transactions: BTreeMap<u64, Transaction>,
    pub(super) lease: Lease,
    pub(super) history: BTreeMap<Vec<u8>, Vec<Write>>,
    /// What has gone wrong, which must be nothing.
    pub(super) broken: Option<String>,
    story: Option<Vec<String>>,
    epoch: Instant,
}

pub(super) fn id_of(document: &[u8]) -> Vec<u8> {
    let id = find(document, b"_id").unwrap().unwrap().value;
    [&[id.kind.byte()], id.bytes].concat()
}

impl World {
    pub(super) fn new(
        seed: u64,
        sabotage: Option<Sabotage>,
        planned: Rc<Planned>,
        has_story: bool,
    ) -> World {
        let now = Instant::now();
        let entry = |document: &Rc<[u8]>| Entry {
            version: 0,
            stored: Some(Stored::Token(Rc::clone(document))),
            majority_at: now,
            before: None,
        };
        let tokens =
            planned.iter().map(|(id, (before, _))| (Key::Token(id.clone()), entry(before)));
        World {
            random: Random::new(seed),
            sabotage,
            committed: Rc::new(tokens.collect()),
            planned,
            version: 0,
            transactions: BTreeMap::new(),
            lease: Lease::default(),
            history: BTreeMap::new(),
            broken: None,
            story: has_story.then(Vec::new),
            epoch: now,
        }
    }

    /// Adds to the story, when one is told.
    pub(super) fn tell(&mut self, text: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let at = self.epoch.elapsed().as_millis();
            story.push(format!("{at:>8} ms  {}", text()));
        }
    }

    pub(super) fn story(&self) -> String {
        self.story.as_deref().unwrap_or_default().join("\n")
    }

    /// Notes that a promise is broken; the first one counts.
    pub(super) fn breaks(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            let what = what();
            self.tell(|| format!("BROKEN: {what}"));
            self.broken = Some(what);
        }
    }

    pub(super) fn token(&self, id: &[u8]) -> Option<Rc<[u8]>> {
        match self.committed.get(&Key::Token(id.to_vec()))?.stored.as_ref()? {
            Stored::Token(document) => Some(Rc::clone(document)),
            _ => None,
        }
    }

    /// Every journal document, as the primary has it.
    pub(super) fn journal(&self) -> Vec<Rc<Document>> {
        let stored = self.committed.values().filter_map(|entry| entry.stored.as_ref());
        let journal = stored.filter_map(|stored| match stored {
            Stored::Journal(document) => Some(Rc::clone(document)),
            _ => None,
        });
        journal.collect()
    }

    /// A journal document as a majority has it.
    pub(super) fn majority_journal(&self, batch: u64, from: u64) -> Option<Rc<Document>> {
        let entry = self.committed.get(&Key::Journal(batch, from))?;
        let is_there = entry.majority_at <= Instant::now();
        match if is_there { entry.stored.as_ref() } else { entry.before.as_ref() }? {
            Stored::Journal(document) => Some(Rc::clone(document)),
            _ => None,
        }
    }

    /// Begins a transaction in `session`; one that was open there is given up.
    pub(super) fn start(&mut self, session: u64, by: u64, goal: Goal) {
        let transaction = Transaction {
            state: State::Open,
            by,
            goal,
            began: Instant::now(),
            version: self.version,
            snapshot: Rc::clone(&self.committed),
            writes: BTreeMap::new(),
        };
        self.transactions.insert(session, transaction);
    }

    pub(super) fn state(&self, session: u64) -> State {
        self.transactions.get(&session).map_or(State::Gone, |transaction| transaction.state)
    }

    pub(super) fn abort(&mut self, session: u64) {
        if let Some(transaction) = self.transactions.get_mut(&session)
            && transaction.state == State::Open
        {
            transaction.state = State::Gone;
        }
    }

    /// What the session's transaction sees at `key`.
    pub(super) fn get(&self, session: u64, key: &Key) -> Option<Stored> {
        let transaction = self.transactions.get(&session)?;
        match transaction.writes.get(key) {
            Some(written) => written.clone(),
            None => transaction.snapshot.get(key)?.stored.clone(),
        }
    }

    /// Writes in the session's transaction.
    pub(super) fn put(
        &mut self,
        session: u64,
        key: Key,
        stored: Option<Stored>,
    ) -> Result<(), Conflict> {
        let now = Instant::now();
        for (other, transaction) in &mut self.transactions {
            if *other == session || transaction.state != State::Open {
                continue;
            }
            if transaction.began + TRANSACTION_LIFETIME < now {
                transaction.state = State::Gone;
            } else if transaction.writes.contains_key(&key) {
                self.abort(session);
                return Err(Conflict);
            }
        }
        let newest = self.committed.get(&key).map_or(0, |entry| entry.version);
        let Some(transaction) = self.transactions.get_mut(&session) else {
            return Err(Conflict);
        };
        if newest > transaction.version {
            transaction.state = State::Gone;
            return Err(Conflict);
        }
        transaction.writes.insert(key, stored);
        Ok(())
    }

    /// Commits; `false` when the transaction is gone. A commit that is repeated is one commit. A majority
    /// has it after `lag`.
    pub(super) fn commit(&mut self, session: u64, lag: Duration) -> bool {
        let Some(transaction) = self.transactions.get_mut(&session) else {
            return false;
        };
        match transaction.state {
            State::Gone => return false,
            State::Committed => {
                let keys: Vec<Key> = transaction.writes.keys().cloned().collect();
                if lag.is_zero() {
                    self.reach_majority(&keys);
                }
                return true;
            }
            State::Open => transaction.state = State::Committed,
        }
        let (writes, goal, by) = (transaction.writes.clone(), transaction.goal, transaction.by);
        self.judge(&writes, goal, by);
        for (key, stored) in writes {
            if let Key::Token(id) = &key {
                self.remember(id, Some(goal), stored.as_ref());
            }
            self.set(key, stored, lag);
        }
        true
    }

    fn reach_majority(&mut self, keys: &[Key]) {
        let committed = Rc::make_mut(&mut self.committed);
        for key in keys {
            if let Some(entry) = committed.get_mut(key) {
                entry.majority_at = Instant::now();
            }
        }
    }

    fn remember(&mut self, id: &[u8], goal: Option<Goal>, stored: Option<&Stored>) {
        let after = stored.and_then(|stored| match stored {
            Stored::Token(document) => Some(Rc::clone(document)),
            _ => None,
        });
        self.history.entry(id.to_vec()).or_default().push(Write { goal, after });
    }

    /// Writes at once, outside of any transaction.
    pub(super) fn set(&mut self, key: Key, stored: Option<Stored>, lag: Duration) {
        self.version += 1;
        let version = self.version;
        let committed = Rc::make_mut(&mut self.committed);
        let before = committed.get(&key).and_then(|entry| entry.stored.clone());
        let majority_at = Instant::now() + lag;
        committed.insert(key, Entry { version, stored, majority_at, before });
    }

    /// What must hold of every commit of a run.
    fn judge(&mut self, writes: &BTreeMap<Key, Option<Stored>>, goal: Goal, by: u64) {
        let is_journaled = writes.keys().any(|key| matches!(key, Key::Journal(..)));
        let planned = Rc::clone(&self.planned);
        for key in writes.keys() {
            let Key::Token(id) = key else { continue };
            let (before, after) = &planned[id];
            let expected = if goal == Goal::Apply { before } else { after };
            let there = self.token(id);
            if there.as_ref() != Some(expected) {
                self.breaks(|| format!("process {by} overwrote what somebody else wrote"));
            }
            if !is_journaled && self.sabotage != Some(Sabotage::JournalApart) {
                self.breaks(|| format!("process {by} wrote a token without its journal document"));
            }
            let history = self.history.get(id).map_or(&[][..], Vec::as_slice);
            if history.iter().any(|write| write.goal == Some(goal)) {
                self.breaks(|| format!("process {by} wrote a token twice ({goal:?})"));
            }
        }
        if self.lease.holder != Some(by) {
            self.breaks(|| format!("process {by} committed without the lease"));
        }
    }

    /// Somebody else changes a token: a field, all of it, or what the repair would have made of it.
    pub(super) fn drift(&mut self) {
        let planned = Rc::clone(&self.planned);
        let ids: Vec<&Vec<u8>> = planned.keys().collect();
        let id = ids[self.random.below(ids.len())];
        let (before, after) = &planned[id];
        let edited = |document: &[u8], mark: u64| -> Rc<[u8]> {
            let bytes = mark.to_le_bytes();
            let mark = Bytes { kind: ValueKind::Int64, bytes: &bytes };
            set_field(document, b"note", mark).unwrap().into()
        };
        let mark = self.random.next();
        let (what, document) = match (self.random.below(6), self.token(id)) {
            (0, _) => ("removed", None),
            (1, _) => ("restored", Some(Rc::clone(before))),
            (2, _) => ("repaired", Some(Rc::clone(after))),
            (_, Some(document)) => ("changed", Some(edited(&document, mark))),
            (_, None) => ("inserted", Some(edited(before, mark))),
        };
        // The server lets a plain write wait for a transaction; here the transaction loses.
        let key = Key::Token(id.clone());
        for transaction in self.transactions.values_mut() {
            if transaction.state == State::Open && transaction.writes.contains_key(&key) {
                transaction.state = State::Gone;
            }
        }
        self.tell(|| format!("somebody {what} token {id:02x?}"));
        let stored = document.map(Stored::Token);
        self.remember(id, None, stored.as_ref());
        self.set(key, stored, Duration::ZERO);
    }

    /// Takes the lease for process `me`, when nobody alive has it: ends the sessions of the one before,
    /// then writes the fences.
    pub(super) fn take_lease(&mut self, me: u64, slots: usize) -> bool {
        let expired = self.lease.silent_since.is_some_and(|since| since.elapsed() >= LEASE);
        if self.lease.holder.is_some() && !expired {
            return false;
        }
        self.tell(|| format!("process {me} takes the lease"));
        for session in std::mem::take(&mut self.lease.sessions) {
            self.abort(session);
        }
        self.lease = Lease { holder: Some(me), ..Lease::default() };
        for slot in 0..slots {
            let fence = Key::Fence(slot);
            // A transaction that writes to a fence is over before the fence is written.
            for transaction in self.transactions.values_mut() {
                if transaction.state == State::Open && transaction.writes.contains_key(&fence) {
                    transaction.state = State::Gone;
                }
            }
            self.set(fence, Some(Stored::Holder(me)), Duration::ZERO);
        }
        true
    }

    pub(super) fn release_lease(&mut self, me: u64) {
        if self.lease.holder == Some(me) {
            self.lease = Lease::default();
        }
    }
}
