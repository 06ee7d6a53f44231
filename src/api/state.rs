//! What all requests share.

use super::limits::Limits;
use super::metrics::HttpMetrics;
use super::options::ApiOptions;
use super::refusal::Refusal;
use super::validation::Validation;
use crate::monitor::{Board, MonitorOptions, Pass};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Streams of events at the same time.
const STREAMS_MAX: usize = 64;

/// What all requests share.
pub(super) struct Api {
    pub(super) board: Arc<Board>,
    pub(super) monitor: Arc<MonitorOptions>,
    pub(super) options: ApiOptions,
    pub(super) limits: Limits,
    pub(super) metrics: HttpMetrics,
    pub(super) validation: Validation,
    pub(super) stop: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
}

impl Api {
    pub(super) fn new(
        board: Arc<Board>,
        monitor: Arc<MonitorOptions>,
        options: ApiOptions,
        stop: watch::Receiver<bool>,
    ) -> Api {
        Api {
            limits: Limits::new(&options),
            metrics: HttpMetrics::new(&board),
            validation: Validation::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            board,
            monitor,
            options,
            stop,
        }
    }

    /// The latest pass, or that there is none yet.
    pub(super) fn pass(&self) -> Result<Arc<Pass>, Refusal> {
        self.board.pass().ok_or_else(|| {
            let why = self.board.stale_reason();
            let why = why.unwrap_or_else(|| "ask again in a moment".to_owned());
            Refusal::not_ready(format!("no pass over the ledger has ended yet; {why}"))
        })
    }

    /// Room for one more stream, held until it ends.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Refusal::busy())
    }
}
