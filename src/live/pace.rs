//! How fast: the rate limit, the replication lag, the pause file.

use super::error::RunError;
use super::options::{PAUSE_FILE, RunOptions};
use crate::progress::Progress;
use crate::server::{Server, failed};
use mongodb::bson::{Bson, doc};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

const PAUSE_POLL: Duration = Duration::from_millis(200);
const LAG_POLL: Duration = Duration::from_secs(1);

/// The gate before every batch, shared by the workers.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    server: &'a Server,
    options: &'a RunOptions,
    progress: &'a Progress,
    pause_file: Option<PathBuf>,
    next: Mutex<Instant>,
    lag_checked: Mutex<Option<Instant>>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(
        server: &'a Server,
        options: &'a RunOptions,
        progress: &'a Progress,
        run_directory: Option<PathBuf>,
    ) -> Pace<'a> {
        Pace {
            server,
            options,
            progress,
            pause_file: run_directory.map(|directory| directory.join(PAUSE_FILE)),
            next: Mutex::new(Instant::now()),
            lag_checked: Mutex::new(None),
        }
    }

    /// Waits until `documents` more may be written, or the run is told to stop.
    pub(super) async fn wait(&self, documents: u64) -> Result<(), RunError> {
        if self.is_paused() {
            tracing::info!("paused: no batch is begun until the file {PAUSE_FILE} is removed");
        }
        while self.is_paused() && !self.progress.is_stopped() {
            sleep(PAUSE_POLL).await;
        }
        self.wait_for_members().await?;
        if let Some(rate) = self.options.rate_max {
            let cost = Duration::from_micros(documents.saturating_mul(1_000_000) / rate.max(1));
            let turn = {
                let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
                let turn = (*next).max(Instant::now());
                *next = turn + cost;
                turn
            };
            while Instant::now() < turn && !self.progress.is_stopped() {
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
        {
            let mut checked = self.lag_checked.lock().unwrap_or_else(PoisonError::into_inner);
            if checked.is_some_and(|at| at.elapsed() < LAG_POLL) {
                return Ok(());
            }
            *checked = Some(Instant::now());
        }
        let mut is_told = false;
        while !self.progress.is_stopped() {
            let lag = self.lag().await?;
            if lag <= lag_max {
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
        let admin = self.server.client().database("admin");
        let status = admin.run_command(doc! {"replSetGetStatus": 1}).await;
        let error = failed("read the members' state", "replSetGetStatus (role clusterMonitor)");
        let status = status.map_err(|e| RunError::Lag(error(e)))?;
        let members = status.get_array("members").cloned().unwrap_or_default();
        let times_of = |state: i32| {
            let members = members.iter().filter_map(Bson::as_document);
            let members = members
                .filter(move |member| member.get_i32("state").is_ok_and(|seen| seen == state));
            members.filter_map(|member| member.get_datetime("optimeDate").ok())
        };
        let primary = times_of(1).max().map_or(0, |at| at.timestamp_millis());
        let slowest = times_of(2).min().map_or(primary, |at| at.timestamp_millis());
        let behind = u64::try_from(primary.saturating_sub(slowest)).unwrap_or(0);
        Ok(Duration::from_millis(behind))
    }
}
