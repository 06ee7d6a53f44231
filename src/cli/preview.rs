//! `remelt preview`.

use super::args::PreviewArgs;
use super::failure::{Exit, without_credentials};
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{TOOL, connect, now, runtime, same_server};
use crate::cli::args::ServerArgs;
use remelt::live::{self, RunOptions};
use remelt::plan::{Plan, assess, preview};
use std::time::Instant;

pub(crate) fn run(args: &PreviewArgs, output: &Output) -> anyhow::Result<Exit> {
    let plan = Plan::open(&args.plan_dir)?;
    let mut report = preview(&plan, args.top)?;
    report.risk_assessment = Some(assess(&plan, now())?);
    if let Some(uri) = &args.uri {
        let server = ServerArgs { uri: uri.clone(), db: args.db.clone() };
        match measure(&plan, &server, *output) {
            Ok(time) => report.stats.estimated_execution_time = Some(time),
            // A plan can be looked at while its server is away.
            Err(error) => {
                let reason = without_credentials(&error.to_string());
                output.note(&format!("the time was not measured: {reason}"));
            }
        }
    }
    let same = same_server(args.uri.as_deref(), args.db.as_deref());
    output.result(&report, &render::preview(&report, plan.content(), &args.plan_dir, &same))?;
    Ok(Exit::Done)
}

/// Times reading and hashing every planned document on the server. Applying does that three times (before
/// the first write, in each transaction, and after it) and the writing besides, which only a run shows.
fn measure(plan: &Plan, server: &ServerArgs, output: Output) -> anyhow::Result<String> {
    let runtime = runtime()?;
    let server = runtime.block_on(connect(server))?;
    let started = Instant::now();
    let seen = watched(output, |progress| {
        runtime.block_on(live::verify(plan, &server, &RunOptions::new(TOOL, now), progress))
    })?;
    let elapsed = started.elapsed();
    if seen.missing > 0 {
        anyhow::bail!(
            "of {}, {} are not in database {}",
            render::counted(seen.checked, "planned document"),
            render::number(seen.missing.into()),
            server.db()
        );
    }
    let seconds = (elapsed * 3).as_secs() + 1;
    Ok(format!(
        "at least {} (measured: reading {} once took {}.{:03} s and is done three times; writing comes \
         on top and shows only when it is done)",
        render::counted(seconds, "second"),
        render::counted(seen.checked, "document"),
        elapsed.as_secs(),
        elapsed.subsec_millis()
    ))
}
