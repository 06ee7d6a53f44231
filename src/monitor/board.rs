//! What the monitor knows now. The monitor alone writes it; everyone else reads, and never waits for it.

use super::alerts::{Alert, AlertBook, Judgement, Look, Turn};
use super::movement::Movement;
use super::pass::Pass;
use super::system::SystemHealth;
use crate::live::RunReport;
use crate::model::Timestamp;
use crate::server::Server;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;

/// Points of the trend that are kept: a day of passes, one a minute.
pub const TREND_POINTS_MAX: usize = 1440;
/// Errors that are kept.
const ERRORS_MAX: usize = 50;

/// One pass in the trend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrendPoint {
    /// The point in time of the ledger.
    pub at: Timestamp,
    /// Melted and unspent tokens.
    pub problematic_tokens: u64,
    /// Melted tokens.
    pub total_melted_tokens: u64,
    /// Tokens.
    pub total_tokens: u64,
    /// 1 − problematic / melted.
    pub health_score: f64,
    /// What the repair would change, summed; an integer, as text above 2^53.
    pub amount_affected: crate::model::JsonAmount,
    /// How long the pass took.
    pub seconds: f64,
}

/// Something that went wrong lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecentError {
    /// When.
    pub at: Timestamp,
    /// What was being done.
    pub what: &'static str,
    /// What happened, and what to do.
    pub message: String,
}

/// The migration's state and the runs, as last read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunsView {
    /// When they were read; `None` before the first time.
    pub read_at: Option<Timestamp>,
    /// The migration's state.
    pub migration_state: String,
    /// The runs, newest first.
    pub runs: Vec<RunReport>,
}

/// How the passes go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassState {
    /// Passes that ended well.
    pub ended: u64,
    /// Passes that failed.
    pub failed: u64,
    /// Of these the latest ones in a row.
    pub failures_in_a_row: u64,
    /// Why the latest one failed.
    pub last_failure: Option<String>,
    /// Whether one is under way, and since when.
    pub under_way_since: Option<Timestamp>,
    /// When the next one begins.
    pub next_at: Option<Timestamp>,
}

/// What has changed on the board; listeners ask for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A pass ended or failed.
    Pass,
    /// Alerts opened or resolved.
    Alerts,
    /// Runs or the migration's state.
    Runs,
    /// The system's health.
    Health,
}

/// The board.
#[derive(Debug)]
pub struct Board {
    /// When the monitor began.
    pub started_at: Timestamp,
    server: RwLock<Option<Server>>,
    pass: RwLock<Option<Arc<Pass>>>,
    pass_state: Mutex<PassState>,
    system: RwLock<Option<Arc<SystemHealth>>>,
    reachable: Mutex<Result<(), String>>,
    runs: watch::Sender<Arc<RunsView>>,
    movement: Mutex<Movement>,
    alerts: Mutex<AlertBook>,
    trend: Mutex<VecDeque<TrendPoint>>,
    errors: Mutex<VecDeque<RecentError>>,
    changes: tokio::sync::broadcast::Sender<Change>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Gives what was there before: readers must not wait until it is freed.
fn write<T>(lock: &RwLock<T>, value: T) -> T {
    std::mem::replace(&mut *lock.write().unwrap_or_else(PoisonError::into_inner), value)
}

impl Board {
    /// An empty board that remembers earlier alerts and an earlier trend.
    #[must_use]
    pub fn new(started_at: Timestamp, alerts: Vec<Alert>, trend: Vec<TrendPoint>) -> Board {
        let excess = trend.len().saturating_sub(TREND_POINTS_MAX);
        Board {
            started_at,
            server: RwLock::new(None),
            pass: RwLock::new(None),
            pass_state: Mutex::default(),
            system: RwLock::new(None),
            reachable: Mutex::new(Err("the database was not asked yet".to_owned())),
            runs: watch::channel(Arc::default()).0,
            movement: Mutex::default(),
            alerts: Mutex::new(AlertBook::restored(alerts)),
            trend: Mutex::new(trend.into_iter().skip(excess).collect()),
            errors: Mutex::default(),
            changes: tokio::sync::broadcast::channel(64).0,
        }
    }

    /// The connection, once there is one.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        read(&self.server)
    }

    /// The latest pass that ended well.
    #[must_use]
    pub fn pass(&self) -> Option<Arc<Pass>> {
        read(&self.pass)
    }

    /// How the passes go.
    #[must_use]
    pub fn pass_state(&self) -> PassState {
        lock(&self.pass_state).clone()
    }

    /// The system's health, as last told.
    #[must_use]
    pub fn system(&self) -> Option<Arc<SystemHealth>> {
        read(&self.system)
    }

    /// Why the database did not answer when it was last asked; `None` when it did.
    #[must_use]
    pub fn unreachable(&self) -> Option<String> {
        lock(&self.reachable).clone().err()
    }

    /// The runs, and news of them.
    #[must_use]
    pub fn runs(&self) -> watch::Receiver<Arc<RunsView>> {
        self.runs.subscribe()
    }

    /// What moved since the latest pass.
    #[must_use]
    pub fn movement(&self) -> Movement {
        lock(&self.movement).clone()
    }

    /// All alerts: the open ones, most urgent first; then the others, latest first.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        lock(&self.alerts).all().into_iter().cloned().collect()
    }

    /// The open alerts, oldest first.
    #[must_use]
    pub fn open_alerts(&self) -> Vec<Alert> {
        lock(&self.alerts).open().cloned().collect()
    }

    /// The trend, oldest first.
    #[must_use]
    pub fn trend(&self) -> Vec<TrendPoint> {
        lock(&self.trend).iter().cloned().collect()
    }

    /// What went wrong lately, newest first.
    #[must_use]
    pub fn errors(&self) -> Vec<RecentError> {
        lock(&self.errors).iter().rev().cloned().collect()
    }

    /// News of what changes.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Why what is known must not be taken for the present; `None` when it may.
    #[must_use]
    pub fn stale_reason(&self) -> Option<String> {
        if let Some(reason) = self.unreachable() {
            return Some(reason);
        }
        let state = self.pass_state();
        (state.failures_in_a_row > 0).then(|| {
            let reason = state.last_failure.unwrap_or_default();
            match state.failures_in_a_row {
                1 => format!("the last pass failed: {reason}"),
                n => format!("the last {n} passes failed: {reason}"),
            }
        })
    }

    fn announce(&self, change: Change) {
        let _ = self.changes.send(change); // nobody may be listening
    }

    pub(super) fn connected(&self, server: Server) {
        write(&self.server, Some(server));
    }

    pub(super) fn pass_began(&self, at: Timestamp) {
        lock(&self.pass_state).under_way_since = Some(at);
    }

    /// Gives the pass before, which may be large.
    pub(super) fn pass_ended(&self, pass: Pass, point: TrendPoint) -> Option<Arc<Pass>> {
        let before = write(&self.pass, Some(Arc::new(pass)));
        {
            let mut state = lock(&self.pass_state);
            state.ended += 1;
            state.failures_in_a_row = 0;
            state.last_failure = None;
            state.under_way_since = None;
        }
        let mut trend = lock(&self.trend);
        trend.push_back(point);
        if trend.len() > TREND_POINTS_MAX {
            trend.pop_front();
        }
        drop(trend);
        self.announce(Change::Pass);
        before
    }

    pub(super) fn pass_failed(&self, message: String) {
        {
            let mut state = lock(&self.pass_state);
            state.failed += 1;
            state.failures_in_a_row += 1;
            state.last_failure = Some(message);
            state.under_way_since = None;
        }
        self.announce(Change::Pass);
    }

    pub(super) fn next_pass_at(&self, at: Timestamp) {
        lock(&self.pass_state).next_at = Some(at);
    }

    pub(super) fn set_system(&self, system: SystemHealth) {
        write(&self.system, Some(Arc::new(system)));
        self.announce(Change::Health);
    }

    pub(super) fn set_reachable(&self, reachable: Result<(), String>) {
        let has_changed = {
            let mut known = lock(&self.reachable);
            let has_changed = known.is_ok() != reachable.is_ok();
            *known = reachable;
            has_changed
        };
        if has_changed {
            self.announce(Change::Health);
        }
    }

    pub(super) fn set_runs(&self, view: RunsView) {
        let known = self.runs.borrow().clone();
        let is_news = (&known.migration_state, &known.runs) != (&view.migration_state, &view.runs);
        self.runs.send_replace(Arc::new(view));
        if is_news {
            self.announce(Change::Runs);
        }
    }

    pub(super) fn change_movement(&self, change: impl FnOnce(&mut Movement)) {
        change(&mut lock(&self.movement));
    }

    pub(super) fn update_alerts(
        &self,
        judgement: &Judgement,
        now: Timestamp,
        look: Look,
    ) -> Vec<Turn> {
        let turns = lock(&self.alerts).update(judgement, now, look);
        if !turns.is_empty() {
            self.announce(Change::Alerts);
        }
        turns
    }

    pub(super) fn note_error(&self, error: RecentError) {
        tracing::warn!(what = error.what, "{}", error.message);
        let mut errors = lock(&self.errors);
        errors.push_back(error);
        if errors.len() > ERRORS_MAX {
            errors.pop_front();
        }
    }
}
