//! `remelt audit`.

use super::args::AuditArgs;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{build_options, open_snapshot};
use remelt::audit::audit;

pub(crate) fn run(args: &AuditArgs, output: &Output) -> anyhow::Result<Exit> {
    let snapshot = match &args.snapshot {
        None => None,
        Some(path) => Some(open_snapshot(path, &args.source, *output)?),
    };
    let options = build_options(&args.rule());
    let report =
        watched(*output, |progress| audit(&args.plan_dir, snapshot.as_ref(), &options, progress))?;
    output.result(&report, &render::audit(&report, &args.plan_dir, snapshot.is_some()))?;
    Ok(if report.ok { Exit::Done } else { Exit::Failed })
}
