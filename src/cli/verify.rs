//! `remelt verify`.

use super::args::{Target, VerifyArgs};
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{TOOL, connect, now, open_snapshot, runtime};
use remelt::live::{self, RunOptions};
use remelt::plan::Plan;
use remelt::verify::verify;

pub(crate) fn run(args: &VerifyArgs, output: &Output) -> anyhow::Result<Exit> {
    let target = args.to.target()?;
    let plan = Plan::open(&args.plan_dir)?;
    let report = match target {
        Target::Snapshot(path) => {
            let snapshot = open_snapshot(path, &args.to.source, *output)?;
            watched(*output, |progress| verify(&plan, &snapshot, progress))?
        }
        Target::Server(server) => {
            let runtime = runtime()?;
            let server = runtime.block_on(connect(&server))?;
            let options = RunOptions::new(TOOL, now);
            watched(*output, |progress| {
                runtime.block_on(live::verify(&plan, &server, &options, progress))
            })?
        }
    };
    output.result(&report, &render::verify(&report))?;
    Ok(if report.ok { Exit::Done } else { Exit::LeftOver })
}
