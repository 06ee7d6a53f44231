//! `remelt validate`.

use super::args::ValidateArgs;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{connect, run_options, runtime};
use remelt::live;
use remelt::plan::Plan;

pub(crate) fn run(args: &ValidateArgs, output: &Output) -> anyhow::Result<Exit> {
    let plan = Plan::open(&args.plan_dir)?;
    let runtime = runtime()?;
    let server = runtime.block_on(connect(&args.server))?;
    let options = run_options(&args.run);
    let report = watched(*output, |progress| {
        runtime.block_on(live::validate(Some(&plan), &server, &options, progress))
    });
    output.result(&report, &render::validate(&report, &args.plan_dir))?;
    Ok(if report.ok { Exit::Done } else { Exit::Refused })
}
