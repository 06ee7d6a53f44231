//! How fast: the rate limit, the replication lag, the pause file.

use super::error::RunError;
use super::options::{PAUSE_FILE, RunOptions};
use super::patience::patiently;
use super::work::{Halt, held};
use crate::server::{MEMBERS_PRIVILEGE, Server, failed, read_members, slowest};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

const PAUSE_POLL: Duration = Duration::from_millis(200);
const LAG_POLL: Duration = Duration::from_secs(1);

/// The gate before every batch, shared by the workers.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    server: &'a Server,
    options: &'a RunOptions,
    halt: &'a Halt<'a>,
    pause_file: Option<PathBuf>,
    next: Mutex<Instant>,
    /// When the lag was last seen to be small; held by whoever waits for that, while the others wait for them.
    lag_checked: tokio::sync::Mutex<Option<Instant>>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(
        server: &'a Server,
        options: &'a RunOptions,
        halt: &'a Halt<'a>,
        run_directory: Option<PathBuf>,
    ) -> Pace<'a> {
        Pace {
            server,
            options,
            halt,
            pause_file: run_directory.map(|directory| directory.join(PAUSE_FILE)),
            next: Mutex::new(Instant::now()),
            lag_checked: tokio::sync::Mutex::new(None),
        }
    }

    /// Waits until `documents` more may be written, or the run is to stop.
    pub(super) async fn wait(&self, documents: u64) -> Result<(), RunError> {
        if self.is_paused() {
            tracing::info!("paused: no batch is begun until the file {PAUSE_FILE} is removed");
        }
        while self.is_paused() && !self.halt.is_called() {
            sleep(PAUSE_POLL).await;
        }
        self.wait_for_members().await?;
        if let Some(rate) = self.options.rate_max {
            let cost = Duration::from_micros(documents.saturating_mul(1_000_000) / rate.max(1));
            let turn = {
                let mut next = held(&self.next);
                let turn = (*next).max(Instant::now());
                *next = turn + cost;
                turn
            };
            while Instant::now() < turn && !self.halt.is_called() {
                sleep_until(turn.min(Instant::now() + PAUSE_POLL)).await;
            }
        }
        Ok(())
    }

    fn is_paused(&self) -> bool {
        self.pause_file.as_ref().is_some_and(|file| file.exists())
    }

    async fn wait_for_members(&self) -> Result<(), RunError> {
        let Some(lag_max) = self.options.lag_max else {
            return Ok(());
        };
        let mut checked = self.lag_checked.lock().await;
        if checked.is_some_and(|at| at.elapsed() < LAG_POLL) {
            return Ok(());
        }
        let mut is_told = false;
        while !self.halt.is_called() {
            let lag = self.lag().await?;
            if lag <= lag_max {
                *checked = Some(Instant::now());
                break;
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::info!(seconds = lag.as_secs(), "a secondary is behind: waiting for it");
            }
            sleep(LAG_POLL).await;
        }
        Ok(())
    }

    /// How far the slowest secondary is behind the primary.
    async fn lag(&self) -> Result<Duration, RunError> {
        let members = patiently(self.options.retry, || read_members(self.server.client())).await;
        let error = failed("read the members' state", MEMBERS_PRIVILEGE);
        Ok(slowest(&members.map_err(|e| RunError::Lag(error(e)))?))
    }
}
