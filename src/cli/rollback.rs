//! `remelt rollback`.

use super::apply::host;
use super::args::{RollbackArgs, ServerArgs, Target};
use super::confirm::{Intent, consent};
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
    let (report, status) = match args.to.target()? {
        Target::Snapshot(snapshot) => (on_copy(args, snapshot, *output)?, None),
        Target::Server(server) => {
            let report = on_server(args, &server, *output)?;
            (report, Some(format!("remelt status{}", server.same())))
        }
    };
    let text = render::rolled_back(&report, args.out.as_deref(), status.as_deref());
    output.result(&report, &text)?;
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
    let totals = &plan.content().totals;
    let tokens = render::counted(totals.changes, "token");
    let intent = Intent {
        what: format!(
            "write a copy of {} to {} with {tokens} restored",
            path.display(),
            out.display()
        ),
        facts: vec![
            ("Snapshot", format!("{}, which stays as it is", path.display())),
            ("Copy", out.display().to_string()),
            ("Documents", tokens),
            ("Amount", format!("balances rise by {} in all", render::number(totals.amount.0))),
        ],
        db: plan.content().snapshot.db.as_deref().unwrap_or("nctool"),
    };
    consent(&args.consent, &intent)?;
    let run_id = new_run_id("rollback", &plan);
    let run = CopyRun { snapshot: &snapshot, out, run_id: &run_id, tool: TOOL, now };
    Ok(watched(output, |progress| copy::rollback(&plan, &run, progress))?)
}

fn on_server(
    args: &RollbackArgs,
    server: &ServerArgs,
    output: Output,
) -> anyhow::Result<RollbackReport> {
    if !args.what.is_dir() && (args.what.exists() || args.what.components().count() > 1) {
        let what = args.what.display();
        let message =
            format!("{what} is no directory with a plan; name one, or the id of a run alone");
        return Err(Refusal { exit: Exit::Failed, code: "no_plan", message }.into());
    }
    // A directory is a plan; anything else is the id of a run, for which no plan is needed.
    let plan = match args.what.is_dir() {
        true => Some(Plan::open(&args.what)?),
        false => None,
    };
    let run_id = args.what.to_string_lossy();
    let of = plan.as_ref().map_or(RollbackOf::Run(&run_id), RollbackOf::Plan);
    let runtime = runtime()?;
    let server = runtime.block_on(connect(server))?;
    let options = run_options(&args.run);
    let undoing = runtime.block_on(live::undoing(of, &server, &options))?;
    let tokens = render::counted(undoing.tokens, "token");
    let users = render::counted(undoing.users, "user");
    let amount = render::number(undoing.amount);
    let run = &undoing.run_id;
    let intent = Intent {
        what: format!(
            "restore {tokens} of {users} that run {run} changed in database {} on {}, by which balances \
             rise by {amount}",
            server.db(),
            server.hosts(),
        ),
        facts: vec![
            ("Database", server.db().to_owned()),
            ("Host", host(&server)),
            ("Run", format!("{run} ({})", undoing.state)),
            ("Documents", format!("{tokens}, of {users}")),
            ("Amount", format!("balances rise by {amount} in all")),
        ],
        db: server.db(),
    };
    consent(&args.consent, &intent)?;
    Ok(watched(output, |progress| {
        runtime.block_on(live::rollback(of, &server, &options, progress))
    })?)
}
