//! What a long step tells the outside and is told by it: how far it is, and whether to stop.
//!
//! The core counts; it never prints and never looks at a clock. The command line reads the counters and
//! draws them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters of the step under way, shared between the workers and whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    step: Mutex<Step>,
    done: AtomicU64,
    stop: AtomicBool,
}

/// One step of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What is being done, for people; empty between steps.
    pub name: &'static str,
    /// Units to do, or 0 when not known.
    pub total: u64,
    /// What is counted.
    pub unit: Unit,
    /// Counts the steps begun, so that a watcher sees each new one.
    pub serial: u64,
}

/// What [`Progress`] counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    #[default]
    Bytes,
    /// Documents.
    Documents,
}

impl Unit {
    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes",
            Unit::Documents => "documents",
        }
    }
}

/// The step was told to stop before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted, so nothing was published; give the same command again when it suits")]
pub struct Interrupted;

impl Progress {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Progress {
        Progress::default()
    }

    /// Begins a step of `total` units (0 when not known).
    pub fn begin(&self, name: &'static str, total: u64, unit: Unit) {
        tracing::info!(step = name, total, unit = unit.as_str(), "step begun");
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        self.done.store(0, Ordering::Relaxed);
        *step = Step { name, total, unit, serial: step.serial + 1 };
    }

    /// Counts `units` more as done.
    pub fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    /// The step under way and the units done of it.
    #[must_use]
    pub fn current(&self) -> (Step, u64) {
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (step, self.done.load(Ordering::Relaxed))
    }

    /// Asks the work to stop at the next safe point.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`Progress::stop`] was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// `Err` once the work was asked to stop.
    ///
    /// # Errors
    /// [`Interrupted`] after [`Progress::stop`].
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_stopped() { Err(Interrupted) } else { Ok(()) }
    }
}
