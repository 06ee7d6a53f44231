//! `remelt apply`.

use super::args::{ApplyArgs, ServerArgs, Target};
use super::confirm::{Intent, consent};
use super::failure::{Exit, Refusal};
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{
    TOOL, connect, new_run_id, now, open_snapshot, path_for_shell, refuse_inside, run_options,
    runtime,
};
use remelt::copy::{self, CopyRun};
use remelt::journal::{ApplyReport, RunState};
use remelt::live;
use remelt::plan::Plan;
use remelt::server::Server;
use std::path::Path;

pub(crate) fn run(args: &ApplyArgs, output: &Output) -> anyhow::Result<Exit> {
    let target = args.to.target()?;
    let plan = Plan::open(&args.plan_dir)?;
    let (report, repaired) = match target {
        Target::Snapshot(snapshot) => {
            let report = on_copy(args, &plan, snapshot, *output)?;
            let copy = args.out.as_deref().map(path_for_shell).unwrap_or_default();
            (report, format!(" --snapshot {copy}"))
        }
        Target::Server(server) => (on_server(args, &plan, &server, *output)?, server.same()),
    };
    let verify = format!("remelt verify {}{repaired}", path_for_shell(&args.plan_dir));
    output.result(&report, &render::applied(&report, args.out.as_deref(), &verify))?;
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
    let totals = &plan.content().totals;
    let intent = Intent {
        what: format!(
            "write a copy of {} to {} with {} repaired",
            path.display(),
            out.display(),
            render::counted(totals.changes, "token"),
        ),
        facts: vec![
            ("Snapshot", format!("{}, which stays as it is", path.display())),
            ("Copy", out.display().to_string()),
            ("Documents", documents(plan)),
            ("Amount", amount(plan)),
        ],
        db: plan.content().snapshot.db.as_deref().unwrap_or("nctool"),
    };
    consent(&args.consent, &intent)?;
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
    let options = run_options(&args.run);
    // In a script that is sure of it nobody reads what would be done, and apply itself looks at everything.
    if !args.consent.is_given() {
        let left = watched(output, |progress| {
            runtime.block_on(live::applying(plan, &server, &options, progress))
        })?;
        consent(&args.consent, &intent(args, plan, &server, &left))?;
    }
    Ok(watched(output, |progress| {
        runtime.block_on(live::apply(plan, &server, &options, progress))
    })?)
}

fn intent<'a>(
    args: &ApplyArgs,
    plan: &Plan,
    server: &'a Server,
    left: &live::Applying,
) -> Intent<'a> {
    let tokens = render::counted(left.tokens, "token");
    let users = render::counted(left.users, "user");
    let amount = render::number(left.amount);
    let (db, hosts) = (server.db(), server.hosts());
    let go_on = left.run_id.as_ref().map_or_else(String::new, |run| {
        let done = plan.content().totals.changes.saturating_sub(left.tokens);
        format!("go on with run {run}, which did {}, and ", render::number(done.into()))
    });
    let but = match left.drifted {
        0 => String::new(),
        drifted => format!(
            "; {} of them would be left, as they are no longer what the plan saw",
            render::number(drifted.into())
        ),
    };
    let content = plan.content();
    Intent {
        what: format!(
            "{go_on}change {tokens} of {users} in database {db} on {hosts}, by which balances fall by {amount}{but}"
        ),
        facts: vec![
            ("Database", db.to_owned()),
            ("Host", host(server)),
            (
                "Documents",
                format!(
                    "{} of {} in {}, of {users}{but}",
                    render::number(left.tokens.into()),
                    render::number(content.snapshot.tokens_documents.into()),
                    content.snapshot.tokens,
                ),
            ),
            ("Amount", format!("balances fall by {amount} in all")),
            ("Plan", format!("{}, SHA-256 {}", args.plan_dir.display(), plan.sha256())),
        ],
        db,
    }
}

/// Hosts and replica set, as a person checks them.
pub(super) fn host(server: &Server) -> String {
    match &server.deployment().replica_set {
        Some(set) => format!("{} (replica set {set})", server.hosts()),
        None => server.hosts().to_owned(),
    }
}

fn documents(plan: &Plan) -> String {
    let content = plan.content();
    format!(
        "{} of {} in {}, of {}",
        render::number(content.totals.changes.into()),
        render::number(content.snapshot.tokens_documents.into()),
        content.snapshot.tokens,
        render::counted(content.totals.users, "user")
    )
}

fn amount(plan: &Plan) -> String {
    format!("balances fall by {} in all", render::number(plan.content().totals.amount.0))
}
