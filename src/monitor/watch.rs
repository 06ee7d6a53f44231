//! The monitor's loops: passes at an interval, a pulse between them, the change stream, the webhook.

use super::alerts::{Look, judge};
use super::board::{Board, RecentError, RunsView, TrendPoint};
use super::delivery::{Outbox, Patience, outbox};
use super::health::situation;
use super::history::History;
use super::options::MonitorOptions;
use super::pass::{Pass, PassError, run};
use super::{movement, system};
use crate::export::ExportError;
use crate::live::{RunOptions, migration_and_runs};
use crate::model::Timestamp;
use crate::plan::seconds_of;
use crate::progress::Progress;
use crate::server::{Server, ServerError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How often runs are looked at.
const PULSE: Duration = Duration::from_secs(2);
/// How often the system's health is asked.
const SYSTEM_EVERY: u32 = 8;
/// After this long without an answer the server counts as gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A pass may take this part of the time: after a long one the next waits longer.
const BUSY_PART: u32 = 4;

/// What became of a pass, as far as the next one cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The server was read.
    Read,
    /// It was away, and was waited for.
    Away,
}

struct Monitor {
    board: Arc<Board>,
    options: Arc<MonitorOptions>,
    history: History,
    outbox: Outbox,
    connected: Notify,
}

/// Monitors until `stop` says `true` or its sender is gone. The pass under way is then given up.
pub async fn monitor(
    board: Arc<Board>,
    options: Arc<MonitorOptions>,
    history: History,
    mut stop: watch::Receiver<bool>,
) {
    let (outbox, delivery) = outbox(&board, &options, Patience::Long);
    let monitor = Monitor { board, options, history, outbox, connected: Notify::new() };
    let progress = Arc::new(Progress::new());
    let delivery = async {
        match delivery {
            Some(task) => task.await,
            None => std::future::pending().await,
        }
    };
    let work = async {
        tokio::join!(
            monitor.passes(&progress),
            monitor.pulse(),
            movement::watch(&monitor.board, &monitor.options, &monitor.connected),
            delivery,
        );
    };
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => progress.stop(),
    }
}

/// One pass, the system's health and the runs, judged once: what `monitor --once` does.
///
/// # Errors
/// When the database does not answer; a pass that fails stands on the board.
pub async fn check_once(
    board: &Arc<Board>,
    options: &Arc<MonitorOptions>,
    history: History,
    progress: &Arc<Progress>,
) -> Result<(), ServerError> {
    let (outbox, delivery) = outbox(board, options, Patience::Short);
    let connected = Notify::new();
    let monitor = Monitor {
        board: Arc::clone(board),
        options: Arc::clone(options),
        history,
        outbox,
        connected,
    };
    let server = monitor.connect().await?;
    monitor.look_at_system(&server).await;
    monitor.look_at_runs(&server).await;
    monitor.pass(&server, 1, progress).await;
    monitor.judge(Look::Pass);
    drop(monitor); // closes the queue, so that delivery ends when it is empty
    if let Some(delivery) = delivery {
        delivery.await;
    }
    Ok(())
}

impl Monitor {
    fn now(&self) -> Timestamp {
        (self.options.now)()
    }

    fn error(&self, what: &'static str, message: String) {
        self.board.note_error(RecentError { at: self.now(), what, message });
    }

    async fn connect(&self) -> Result<Server, ServerError> {
        if let Some(server) = self.board.server() {
            return Ok(server);
        }
        let server = Server::connect(&self.options.server).await?;
        self.board.connected(server.clone());
        self.connected.notify_one();
        Ok(server)
    }

    /// Passes, one after another: the next begins after [`pause`].
    async fn passes(&self, progress: &Arc<Progress>) {
        for number in 1.. {
            let began = Instant::now();
            let outcome = match self.connect().await {
                Ok(server) => self.pass(&server, number, progress).await,
                Err(error) => {
                    self.board.pass_failed(error.to_string());
                    Outcome::Away
                }
            };
            self.judge(Look::Pass);
            let pause = pause(self.options.interval, began.elapsed(), outcome);
            let wait = pause.saturating_sub(began.elapsed());
            let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            self.board.next_pass_at(Timestamp(self.now().0.saturating_add(wait_ms)));
            sleep_until(began + pause).await;
        }
    }

    async fn pass(&self, server: &Server, number: u64, progress: &Arc<Progress>) -> Outcome {
        let began_at = self.now();
        self.board.pass_began(began_at);
        self.board.change_movement(|movement| movement.restart(began_at));
        match run(server, &self.options, number, progress).await {
            Ok(pass) => {
                tracing::info!(
                    number,
                    tokens = pass.report.stats.total_tokens,
                    problematic = pass.report.stats.problematic_tokens,
                    seconds = seconds_of(pass.took),
                    "pass ended"
                );
                let point = point(&pass);
                self.remember(self.history.point(&point, &self.board));
                let before = self.board.pass_ended(pass, point);
                tokio::task::spawn_blocking(|| drop(before)); // millions of names, perhaps
                Outcome::Read
            }
            Err(error) => {
                let message = error.to_string();
                self.error("read and analyse the ledger", message.clone());
                self.board.pass_failed(message);
                if is_away(&error) { Outcome::Away } else { Outcome::Read }
            }
        }
    }

    fn remember(&self, written: Result<(), crate::publish::PublishError>) {
        if let Err(error) = written {
            self.error("write the history", error.to_string());
        }
    }

    /// Looks at the runs often, at the system now and then, and judges.
    async fn pulse(&self) {
        for beat in 0_u32.. {
            match self.connect().await {
                Ok(server) => {
                    if self.look_at_runs(&server).await && beat % SYSTEM_EVERY == 0 {
                        self.look_at_system(&server).await;
                    }
                }
                Err(error) => self.reached(Err(error)),
            }
            self.judge(Look::Between);
            sleep(PULSE).await;
        }
    }

    /// Notes whether the database answers; an error only when that is news.
    fn reached(&self, answer: Result<(), ServerError>) {
        let answer = answer.map_err(|error| error.to_string());
        if let (Err(message), None) = (&answer, self.board.unreachable()) {
            self.error("ask the database", message.clone());
        }
        self.board.set_reachable(answer);
    }

    async fn look_at_runs(&self, server: &Server) -> bool {
        let options = RunOptions {
            retry: Duration::ZERO,
            tokens: self.options.tokens.clone(),
            ..RunOptions::new(&self.options.tool, self.options.now)
        };
        match in_time(migration_and_runs(server, &options)).await {
            Ok((migration_state, runs)) => {
                let read_at = Some(self.now());
                self.board.set_runs(RunsView { read_at, migration_state, runs });
                self.reached(Ok(()));
                true
            }
            Err(error) => {
                self.reached(Err(error));
                false
            }
        }
    }

    async fn look_at_system(&self, server: &Server) {
        let began = Instant::now();
        if let Err(error) = in_time(server.ping()).await {
            return self.reached(Err(error));
        }
        let (ping, known) = (began.elapsed(), self.board.system());
        let asked = system::ask(server, &self.options, ping, ANSWER_TIMEOUT, known.as_deref());
        self.board.set_system(asked.await);
    }

    fn judge(&self, look: Look) {
        let now = self.now();
        let situation = situation(&self.board, &self.options, now);
        let judgement = judge(&situation, &self.options.thresholds);
        let source = self
            .board
            .server()
            .map_or_else(String::new, |server| format!("{}/{}", server.hosts(), server.db()));
        for turn in self.board.update_alerts(&judgement, now, look) {
            self.outbox.send(&turn, &source, &self.board, now);
            self.remember(self.history.alert(turn.alert(), &self.board));
        }
    }
}

/// From the beginning of a pass that took so long to that of the next: the interval, or so long that the
/// server is read for a part of the time only. Waiting for one that was away is no burden to it.
fn pause(interval: Duration, took: Duration, outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Read => interval.max(took * BUSY_PART),
        Outcome::Away => took + interval,
    }
}

fn is_away(error: &PassError) -> bool {
    matches!(error, PassError::Export(ExportError::Server(error)) if movement::is_away(error))
}

/// A server that is frozen keeps its connections and says nothing: the driver would wait for ever.
async fn in_time<T>(
    answer: impl Future<Output = Result<T, ServerError>>,
) -> Result<T, ServerError> {
    let gone = Err(ServerError::Lost { doing: "ask how it is" });
    tokio::time::timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(gone)
}

fn point(pass: &Pass) -> TrendPoint {
    TrendPoint {
        at: pass.as_of,
        problematic_tokens: pass.report.stats.problematic_tokens,
        total_melted_tokens: pass.report.stats.total_melted_tokens,
        total_tokens: pass.report.stats.total_tokens,
        health_score: pass.report.health_score,
        amount_affected: pass.report.impact.total_amount_affected,
        seconds: seconds_of(pass.took),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_waited_for_the_server_counts_once_and_one_that_read_it_four_times() {
        let pause = |took, outcome| {
            pause(Duration::from_secs(60), Duration::from_secs(took), outcome).as_secs()
        };
        assert_eq!((pause(1, Outcome::Read), pause(90, Outcome::Read)), (60, 360));
        assert_eq!((pause(1, Outcome::Away), pause(90, Outcome::Away)), (61, 150));
    }
}
