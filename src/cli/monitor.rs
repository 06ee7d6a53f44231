//! `remelt monitor`.

use super::args::MonitorCommandArgs;
use super::failure::Exit;
use super::health;
use super::monitoring::open_board;
use super::output::Output;
use super::progress::watched;
use super::run::{now, runtime};
use remelt::monitor::alerts::Priority;
use remelt::monitor::{Board, Change, HealthCheck, MonitorOptions, health_check};
use remelt::progress::Progress;
use remelt::server::ServerError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast::error::RecvError, watch};

/// How often the loops look whether they were told to stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &MonitorCommandArgs, output: &Output) -> anyhow::Result<Exit> {
    let options = Arc::new(args.monitor.options()?);
    let (board, history) = open_board(&options)?;
    super::monitoring::install_crypto();
    let runtime = runtime()?;
    if args.once {
        let checked: Result<_, ServerError> = watched(*output, |progress| {
            runtime.block_on(remelt::monitor::check_once(&board, &options, history, progress))
        });
        checked?;
        return once(&board, &options, output);
    }
    watched(*output, |progress| {
        runtime.block_on(async {
            let (stop, stopped) = watch::channel(false);
            let monitor = remelt::monitor::monitor(
                Arc::clone(&board),
                Arc::clone(&options),
                history,
                stopped,
            );
            tokio::select! {
                () = monitor => Ok(()),
                result = tell(&board, &options, output) => result,
                () = stopped_by(progress) => {
                    let _ = stop.send(true);
                    Ok(())
                }
            }
        })
    })?;
    Ok(Exit::Done)
}

/// Ends when the user asks to stop.
pub(crate) async fn stopped_by(progress: &Progress) {
    while !progress.is_stopped() {
        tokio::time::sleep(STOP_LOOK).await;
    }
}

fn once(board: &Board, options: &MonitorOptions, output: &Output) -> anyhow::Result<Exit> {
    let check = health_check(board, options, now());
    if let Some(failure) = board.pass_state().last_failure {
        anyhow::bail!("the ledger could not be checked: {failure}");
    }
    let alerts = board.open_alerts();
    output.result(&Once { check: &check, alerts: &alerts }, &health::check(&check, &alerts))?;
    let is_urgent = alerts.iter().any(|alert| alert.priority != Priority::Low);
    Ok(if is_urgent { Exit::LeftOver } else { Exit::Done })
}

#[derive(serde::Serialize)]
struct Once<'a> {
    #[serde(flatten)]
    check: &'a HealthCheck,
    alerts: &'a [remelt::monitor::alerts::Alert],
}

/// One line on standard output for every pass.
async fn tell(board: &Board, options: &MonitorOptions, output: &Output) -> anyhow::Result<()> {
    let mut changes = board.changes();
    loop {
        match changes.recv().await {
            Ok(Change::Pass) | Err(RecvError::Lagged(_)) => {
                let check = health_check(board, options, now());
                output.result(&check, &health::pass(&check))?;
            }
            Ok(_) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
