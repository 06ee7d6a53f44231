//! `remelt rollback`.

use super::args::{RollbackArgs, ServerArgs, Target};
use super::confirm::consent;
use super::failure::{Exit, Refusal};
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{
    TOOL, connect, new_run_id, now, open_snapshot, refuse_inside, run_options, runtime,
};
use remelt::copy::{self, CopyRun};
use remelt::journal::{RollbackReport, RunState};
use remelt::live::{self, RollbackOf};
use remelt::plan::Plan;
use std::path::Path;

pub(crate) fn run(args: &RollbackArgs, output: &Output) -> anyhow::Result<Exit> {
    let report = match args.to.target()? {
        Target::Snapshot(snapshot) => on_copy(args, snapshot, *output)?,
        Target::Server(server) => on_server(args, &server, *output)?,
    };
    output.result(&report, &render::rolled_back(&report, args.out.as_deref()))?;
    Ok(match report.state {
        RunState::RolledBack if report.drifted == 0 => Exit::Done,
        RunState::RolledBack => Exit::LeftOver,
        _ => Exit::Failed,
    })
}

fn on_copy(args: &RollbackArgs, path: &Path, output: Output) -> anyhow::Result<RollbackReport> {
    let Some(out) = &args.out else {
        return Err(
            Refusal::usage("--snapshot needs --out; name a new directory for the copy").into()
        );
    };
    let plan = Plan::open(&args.what)?;
    let snapshot = open_snapshot(path, &args.to.source, output)?;
    refuse_inside(out, path, "snapshot")?;
    refuse_inside(out, &args.what, "plan")?;
    let what = format!(
        "write a copy of {} to {} with {} tokens restored",
        path.display(),
        out.display(),
        render::number(plan.content().totals.changes.into()),
    );
    consent(&args.consent, &what, plan.content().snapshot.db.as_deref().unwrap_or("nctool"))?;
    let run_id = new_run_id("rollback", &plan);
    let run = CopyRun { snapshot: &snapshot, out, run_id: &run_id, tool: TOOL, now };
    Ok(watched(output, |progress| copy::rollback(&plan, &run, progress))?)
}

fn on_server(
    args: &RollbackArgs,
    server: &ServerArgs,
    output: Output,
) -> anyhow::Result<RollbackReport> {
    // A directory is a plan; anything else is the id of a run, for which no plan is needed.
    let plan = match args.what.is_dir() {
        true => Some(Plan::open(&args.what)?),
        false => None,
    };
    let run_id = args.what.to_string_lossy();
    let of = plan.as_ref().map_or(RollbackOf::Run(&run_id), RollbackOf::Plan);
    let runtime = runtime()?;
    let server = runtime.block_on(connect(server))?;
    let what = format!(
        "restore what {} changed in database {} on {}",
        match &plan {
            Some(_) => format!("the newest run of the plan {}", args.what.display()),
            None => format!("run {run_id}"),
        },
        server.db(),
        server.hosts(),
    );
    consent(&args.consent, &what, server.db())?;
    let options = run_options(&args.run);
    Ok(watched(output, |progress| {
        runtime.block_on(live::rollback(of, &server, &options, progress))
    })?)
}
