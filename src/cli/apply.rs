//! `remelt apply`.

use super::args::{ApplyArgs, ServerArgs, Target};
use super::confirm::consent;
use super::failure::{Exit, Refusal};
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{
    TOOL, connect, new_run_id, now, open_snapshot, refuse_inside, run_options, runtime,
};
use remelt::copy::{self, CopyRun};
use remelt::journal::{ApplyReport, RunState};
use remelt::live;
use remelt::plan::Plan;
use std::path::Path;

pub(crate) fn run(args: &ApplyArgs, output: &Output) -> anyhow::Result<Exit> {
    let target = args.to.target()?;
    let plan = Plan::open(&args.plan_dir)?;
    let report = match target {
        Target::Snapshot(snapshot) => on_copy(args, &plan, snapshot, *output)?,
        Target::Server(server) => on_server(args, &plan, &server, *output)?,
    };
    let copy = args.out.as_deref();
    output.result(&report, &render::applied(&report, &args.plan_dir, copy))?;
    Ok(match report.state {
        RunState::Completed if report.drifted == 0 => Exit::Done,
        RunState::Completed => Exit::LeftOver,
        _ => Exit::Failed,
    })
}

fn on_copy(
    args: &ApplyArgs,
    plan: &Plan,
    path: &Path,
    output: Output,
) -> anyhow::Result<ApplyReport> {
    let Some(out) = &args.out else {
        return Err(
            Refusal::usage("--snapshot needs --out; name a new directory for the copy").into()
        );
    };
    let snapshot = open_snapshot(path, &args.to.source, output)?;
    refuse_inside(out, path, "snapshot")?;
    refuse_inside(out, &args.plan_dir, "plan")?;
    let what = format!(
        "write a copy of {} to {} with {} tokens repaired",
        path.display(),
        out.display(),
        render::number(plan.content().totals.changes.into()),
    );
    consent(&args.consent, &what, plan.content().snapshot.db.as_deref().unwrap_or("nctool"))?;
    let run_id = new_run_id("apply", plan);
    let run = CopyRun { snapshot: &snapshot, out, run_id: &run_id, tool: TOOL, now };
    Ok(watched(output, |progress| copy::apply(plan, &run, progress))?)
}

fn on_server(
    args: &ApplyArgs,
    plan: &Plan,
    server: &ServerArgs,
    output: Output,
) -> anyhow::Result<ApplyReport> {
    let runtime = runtime()?;
    let server = runtime.block_on(connect(server))?;
    let totals = &plan.content().totals;
    let what = format!(
        "change {} tokens of {} users in database {} on {}, by which balances fall by {}",
        render::number(totals.changes.into()),
        render::number(totals.users.into()),
        server.db(),
        server.hosts(),
        render::number(totals.amount.0),
    );
    consent(&args.consent, &what, server.db())?;
    let options = run_options(&args.run);
    Ok(watched(output, |progress| {
        runtime.block_on(live::apply(plan, &server, &options, progress))
    })?)
}
