//! `remelt diff`.

use super::args::DiffArgs;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::open_snapshot;
use remelt::diff::diff;

pub(crate) fn run(args: &DiffArgs, output: &Output) -> anyhow::Result<Exit> {
    let first = open_snapshot(&args.first, &args.source, *output)?;
    let second = open_snapshot(&args.second, &args.source, *output)?;
    let report = watched(*output, |progress| diff(&first, &second, args.limit, progress))?;
    output.result(&report, &render::diff(&report))?;
    Ok(if report.identical { Exit::Done } else { Exit::LeftOver })
}
