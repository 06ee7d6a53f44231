//! `remelt rollback`.

use super::args::RollbackArgs;
use super::confirm::consent;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{TOOL, new_run_id, now, open_snapshot, refuse_inside};
use remelt::copy::{self, CopyRun};
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
    let run_id = new_run_id("rollback", &plan);
    let run = CopyRun { snapshot: &snapshot, out: &args.out, run_id: &run_id, tool: TOOL, now };
    let report = watched(*output, |progress| copy::rollback(&plan, &run, progress))?;
    output.result(&report, &render::rolled_back(&report, &args.out))?;
    Ok(Exit::Done)
}
