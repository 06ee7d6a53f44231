//! `remelt validate`.

use super::args::{OnDriftArg, ValidateArgs};
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
    output.result(&report, &render::validate(&report, &args.plan_dir, &same(args)))?;
    Ok(if report.ok { Exit::Done } else { Exit::Refused })
}

/// The arguments that apply needs as validate did. A connection string may hold a password and is not shown.
fn same(args: &ValidateArgs) -> String {
    let mut same = String::new();
    if std::env::var_os("MONGODB_URI").is_none() {
        same += " --uri URI";
    }
    for (option, value) in [("db", &args.server.db), ("target", &args.run.target)] {
        if let Some(value) = value {
            same += &format!(" --{option} {value}");
        }
    }
    if args.run.on_drift == OnDriftArg::Skip {
        same += " --on-drift skip";
    }
    same
}
