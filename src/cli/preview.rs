//! `remelt preview`.

use super::args::PreviewArgs;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{TOOL, connect, now, runtime};
use crate::cli::args::ServerArgs;
use remelt::live::{self, RunOptions};
use remelt::plan::{Plan, preview};
use std::time::Instant;

pub(crate) fn run(args: &PreviewArgs, output: &Output) -> anyhow::Result<Exit> {
    let plan = Plan::open(&args.plan_dir)?;
    let mut report = preview(&plan, args.top)?;
    if let Some(uri) = &args.uri {
        let server = ServerArgs { uri: uri.clone(), db: args.db.clone() };
        report.stats.estimated_execution_time = Some(measure(&plan, &server, *output)?);
    }
    output.result(&report, &render::preview(&report, plan.content(), &args.plan_dir))?;
    Ok(Exit::Done)
}

/// Times reading and hashing every planned document on the server. Applying does that three times (before
/// the first write, in each transaction, and after it) and the writing besides, which only a run shows.
fn measure(plan: &Plan, server: &ServerArgs, output: Output) -> anyhow::Result<String> {
    let runtime = runtime()?;
    let server = runtime.block_on(connect(server))?;
    let started = Instant::now();
    watched(output, |progress| {
        runtime.block_on(live::verify(plan, &server, &RunOptions::new(TOOL, now), progress))
    })?;
    let seconds = (started.elapsed() * 3).as_secs() + 1;
    Ok(format!("at least {seconds} seconds"))
}
