//! What to do with a batch, as one table: goal × recorded × observed × policy → step.
//!
//! *Recorded* is what the database's journal says of the batch, *observed* what its documents are. This
//! module decides and does nothing.

use crate::journal::Goal;

/// What the database's journal says of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing.
    Absent,
    /// It was applied.
    Applied,
    /// It was applied and rolled back.
    RolledBack,
}

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
pub fn decide(goal: Goal, recorded: Recorded, observed: Observed, on_drift: OnDrift) -> Step {
    match (goal, recorded) {
        (Goal::Apply, Recorded::Applied) | (Goal::Rollback, Recorded::RolledBack) => {
            return Step::AlreadyDone;
        }
        (Goal::Apply, Recorded::RolledBack) => return Step::RefuseRolledBack,
        (Goal::Rollback, Recorded::Absent) => return Step::NothingRecorded,
        (Goal::Apply, Recorded::Absent) | (Goal::Rollback, Recorded::Applied) => {}
    }
    match (goal, observed, on_drift) {
        (_, Observed::Drifted, OnDrift::Abort) => Step::RefuseDrift,
        (_, Observed::Drifted, OnDrift::Skip) => Step::WriteRest,
        (Goal::Apply, Observed::AllAfter, _) | (Goal::Rollback, Observed::AllBefore, _) => {
            Step::Record
        }
        (_, Observed::AllBefore | Observed::AllAfter | Observed::Mixed, _) => Step::Write,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell, written out: rows are goal and record, columns what is observed under abort, and
    /// under skip where that differs.
    #[test]
    fn every_cell_is_what_it_should_be() {
        use Goal::{Apply, Rollback};
        use Recorded::{Absent, Applied, RolledBack};
        use Step::{
            AlreadyDone, NothingRecorded, Record, RefuseDrift, RefuseRolledBack, Write, WriteRest,
        };
        let observed =
            [Observed::AllBefore, Observed::AllAfter, Observed::Mixed, Observed::Drifted];
        let table = [
            (Apply, Absent, [Write, Record, Write, RefuseDrift], WriteRest),
            (Apply, Applied, [AlreadyDone; 4], AlreadyDone),
            (Apply, RolledBack, [RefuseRolledBack; 4], RefuseRolledBack),
            (Rollback, Absent, [NothingRecorded; 4], NothingRecorded),
            (Rollback, Applied, [Record, Write, Write, RefuseDrift], WriteRest),
            (Rollback, RolledBack, [AlreadyDone; 4], AlreadyDone),
        ];
        for (goal, recorded, steps, drifted_under_skip) in table {
            for (seen, step) in observed.into_iter().zip(steps) {
                let cell = format!("{goal:?} {recorded:?} {seen:?}");
                assert_eq!(decide(goal, recorded, seen, OnDrift::Abort), step, "{cell} abort");
                let under_skip = if seen == Observed::Drifted { drifted_under_skip } else { step };
                assert_eq!(decide(goal, recorded, seen, OnDrift::Skip), under_skip, "{cell} skip");
            }
        }
    }
}
