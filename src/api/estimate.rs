//! How long applying takes: measured, never assumed.

use crate::live::{RunPace, RunReport};
use crate::monitor::{Board, Pass};
use serde::Serialize;

/// How long, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Estimate {
    /// In words, such as `2 seconds`.
    pub(super) estimated_execution_time: String,
    /// What it was measured on.
    pub(super) estimate_basis: String,
}

/// From the newest finished run of this database; without one, from how fast the pass read, which applying
/// can't be faster than.
pub(super) fn estimate(board: &Board, pass: &Pass) -> Estimate {
    let changes = pass.report.impact.tokens_to_migrate;
    let runs = board.runs().borrow().clone();
    of(changes, &runs.runs, pass.report.performance.documents_per_second)
}

fn of(changes: u64, runs: &[RunReport], read_per_second: u64) -> Estimate {
    if changes == 0 {
        return Estimate {
            estimated_execution_time: in_words(0),
            estimate_basis: "there is nothing to change".to_owned(),
        };
    }
    if let Some((run, RunPace { documents, ms })) = runs.iter().find_map(measured) {
        let seconds = u128::from(changes) * u128::from(ms) / u128::from(documents) / 1000 + 1;
        let rate = u128::from(documents) * 1000 / u128::from(ms);
        return Estimate {
            estimated_execution_time: in_words(u64::try_from(seconds).unwrap_or(u64::MAX)),
            estimate_basis: format!("run {} applied {rate} documents a second here", run.run_id),
        };
    }
    let seconds = (changes / read_per_second.max(1)).saturating_add(1);
    Estimate {
        estimated_execution_time: format!("at least {}", in_words(seconds)),
        estimate_basis: format!(
            "no run has finished here yet; the latest pass read and analysed {read_per_second} documents a second"
        ),
    }
}

/// A run that was finished, whose last process applied something: how fast. What was applied before it, and pauses
/// between, count neither as documents nor as time.
fn measured(run: &RunReport) -> Option<(&RunReport, RunPace)> {
    let is_finished = run.state == crate::journal::RunState::Completed.as_str();
    let pace = run.pace.filter(|pace| pace.documents > 0 && pace.ms > 0)?;
    is_finished.then_some((run, pace))
}

fn in_words(seconds: u64) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds.div_ceil(60)),
        _ => format!("{} hours", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    /// Of a run that began a week before it ended.
    fn run(state: &str, pace: Option<(u64, u64)>) -> RunReport {
        RunReport {
            run_id: "r".to_owned(),
            plan_sha256: None,
            state: state.to_owned(),
            is_active: false,
            started_at: Some(Timestamp(1000)),
            updated_at: Some(Timestamp(1000 + 7 * 86_400_000)),
            changes: 0,
            batches: 0,
            applied: Some(1_000),
            drifted: None,
            restored: None,
            error: None,
            progress: None,
            worked_on_since: None,
            pace: pace.map(|(documents, ms)| RunPace { documents, ms }),
        }
    }

    #[test]
    fn the_newest_finished_run_tells_how_long_the_next_takes() {
        let runs = [
            run("failed", Some((9, 1))),
            run("completed", None),
            run("completed", Some((500, 2_000))),
            run("completed", Some((1, 1))),
        ];
        let told = of(250, &runs, 1);
        assert_eq!(told.estimated_execution_time, "2 seconds");
        assert_eq!(told.estimate_basis, "run r applied 250 documents a second here");
    }

    #[test]
    fn without_a_run_reading_is_the_least_it_takes() {
        let told = of(100_000, &[], 60_000);
        assert_eq!(told.estimated_execution_time, "at least 2 seconds");
        assert!(told.estimate_basis.contains("60000 documents a second"), "{told:?}");
        assert_eq!(of(0, &[], 0).estimated_execution_time, "0 seconds");
        assert_eq!(of(u64::MAX, &[], 0).estimated_execution_time.split(' ').next(), Some("at"));
    }
}
