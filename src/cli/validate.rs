//! `remelt validate`.

use super::args::{OnDriftArg, ValidateArgs};
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{connect, for_shell, run_options, runtime};
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
    output.result(&report, &render::validate(&report, &args.plan_dir, &same(args)))?;
    Ok(if report.ok { Exit::Done } else { Exit::Refused })
}

/// The arguments that apply needs as validate did.
fn same(args: &ValidateArgs) -> String {
    let mut same = args.server.same();
    if let Some(target) = &args.run.target {
        same += &format!(" --target {}", for_shell(target));
    }
    if args.run.on_drift == OnDriftArg::Skip {
        same += " --on-drift skip";
    }
    same
}
