//! `remelt rollback`.

use super::args::RollbackArgs;
use super::confirm::consent;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{TOOL, open_snapshot, refuse_inside};
use remelt::copy::{Direction, replay};
use remelt::plan::Plan;

pub(crate) fn run(args: &RollbackArgs, output: &Output) -> anyhow::Result<Exit> {
    let plan = Plan::open(&args.plan_dir)?;
    let snapshot = open_snapshot(&args.snapshot, &args.source, *output)?;
    refuse_inside(&args.out, &args.snapshot, "snapshot")?;
    refuse_inside(&args.out, &args.plan_dir, "plan")?;
    let totals = &plan.content().totals;
    let what = format!(
        "write a copy of {} to {} with {} tokens restored",
        args.snapshot.display(),
        args.out.display(),
        render::number(totals.changes.into()),
    );
    let db = plan.content().snapshot.db.as_deref().unwrap_or("nctool");
    consent(&args.consent, &what, db)?;
    let copied = watched(*output, |progress| {
        replay(&plan, &snapshot, &args.out, Direction::Restore, TOOL, progress)
    })?;
    let _ = copied;
    Ok(Exit::Done)
}
