//! What to do with a batch, as one table: goal × recorded × observed × policy → step.
//!
//! *Recorded* is what the database's journal says of the batch, if anything; *observed* what its documents are, once
//! that was looked at. This module decides and does nothing.

use crate::journal::{BatchOutcome, Goal};

/// What the documents of a batch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// All byte for byte as before the change.
    AllBefore,
    /// All byte for byte as after it.
    AllAfter,
    /// Some as before, some as after, none else.
    Mixed,
    /// At least one is neither, or is gone.
    Drifted,
}

/// What to do about documents that are neither as before nor as after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrift {
    /// Write nothing.
    #[default]
    Abort,
    /// Leave them, list them, write the rest.
    Skip,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look at its documents, which decides.
    Compare,
    /// Write the documents that are not yet as the goal wants them, and record it.
    Write,
    /// Every document is as the goal wants it already: record it, write no document.
    Record,
    /// Write the documents that are exactly what the plan knows, leave the others, and record both.
    WriteRest,
    /// It was done before: nothing to do.
    AlreadyDone,
    /// Write nothing in the whole run: a document has drifted.
    RefuseDrift,
    /// Write nothing: the run is being rolled back, so it can't be applied any more.
    RefuseRolledBack,
    /// There is nothing to roll back.
    NothingRecorded,
}

/// The table.
#[must_use]
pub fn decide(
    goal: Goal,
    recorded: Option<BatchOutcome>,
    observed: Option<Observed>,
    on_drift: OnDrift,
) -> Step {
    match (goal, recorded) {
        (Goal::Apply, Some(BatchOutcome::Applied))
        | (Goal::Rollback, Some(BatchOutcome::RolledBack)) => return Step::AlreadyDone,
        (Goal::Apply, Some(BatchOutcome::RolledBack)) => return Step::RefuseRolledBack,
        (Goal::Rollback, None) => return Step::NothingRecorded,
        (Goal::Apply, None) | (Goal::Rollback, Some(BatchOutcome::Applied)) => {}
    }
    match (goal, observed, on_drift) {
        (_, None, _) => Step::Compare,
        (_, Some(Observed::Drifted), OnDrift::Abort) => Step::RefuseDrift,
        (_, Some(Observed::Drifted), OnDrift::Skip) => Step::WriteRest,
        (Goal::Apply, Some(Observed::AllAfter), _)
        | (Goal::Rollback, Some(Observed::AllBefore), _) => Step::Record,
        (_, Some(Observed::AllBefore | Observed::AllAfter | Observed::Mixed), _) => Step::Write,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell, written out: rows are goal and record, columns what is observed under abort, nothing yet first, and
    /// under skip where that differs.
    #[test]
    fn every_cell_is_what_it_should_be() {
        use BatchOutcome::{Applied, RolledBack};
        use Goal::{Apply, Rollback};
        use Step::{
            AlreadyDone, Compare, NothingRecorded, Record, RefuseDrift, RefuseRolledBack, Write,
            WriteRest,
        };
        let observed = [
            None,
            Some(Observed::AllBefore),
            Some(Observed::AllAfter),
            Some(Observed::Mixed),
            Some(Observed::Drifted),
        ];
        let table = [
            (Apply, None, [Compare, Write, Record, Write, RefuseDrift], WriteRest),
            (Apply, Some(Applied), [AlreadyDone; 5], AlreadyDone),
            (Apply, Some(RolledBack), [RefuseRolledBack; 5], RefuseRolledBack),
            (Rollback, None, [NothingRecorded; 5], NothingRecorded),
            (Rollback, Some(Applied), [Compare, Record, Write, Write, RefuseDrift], WriteRest),
            (Rollback, Some(RolledBack), [AlreadyDone; 5], AlreadyDone),
        ];
        for (goal, recorded, steps, drifted_under_skip) in table {
            for (seen, step) in observed.into_iter().zip(steps) {
                let cell = format!("{goal:?} {recorded:?} {seen:?}");
                assert_eq!(decide(goal, recorded, seen, OnDrift::Abort), step, "{cell} abort");
                let is_drifted = seen == Some(Observed::Drifted);
                let under_skip = if is_drifted { drifted_under_skip } else { step };
                assert_eq!(decide(goal, recorded, seen, OnDrift::Skip), under_skip, "{cell} skip");
            }
        }
    }
}
