//! `remelt verify`.

use super::args::VerifyArgs;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::open_snapshot;
use remelt::plan::Plan;
use remelt::verify::verify;

pub(crate) fn run(args: &VerifyArgs, output: &Output) -> anyhow::Result<Exit> {
    let plan = Plan::open(&args.plan_dir)?;
    let snapshot = open_snapshot(&args.snapshot, &args.source, *output)?;
    let report = watched(*output, |progress| verify(&plan, &snapshot, progress))?;
    output.result(&report, &render::verify(&report))?;
    Ok(if report.ok { Exit::Done } else { Exit::LeftOver })
}
