//! `remelt analyze`.

use super::args::{AnalyzeArgs, FailOn};
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{build_options, open_snapshot, refuse_inside};
use remelt::plan::{AnalyzeReport, build};
use std::time::Instant;

pub(crate) fn run(args: &AnalyzeArgs, output: &Output) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let snapshot = open_snapshot(&args.snapshot, &args.source, *output)?;
    refuse_inside(&args.plan_dir, &args.snapshot, "snapshot")?;
    let options = build_options(&args.rule);
    let report = watched(*output, |progress| {
        build(&snapshot, &args.plan_dir, &options, &|| started.elapsed(), progress)
    })?;
    output.result(&report, &render::analyze(&report))?;
    Ok(if args.fail_on.iter().any(|wanted| occurs(&report, *wanted)) {
        Exit::LeftOver
    } else {
        Exit::Done
    })
}

fn occurs(report: &AnalyzeReport, wanted: FailOn) -> bool {
    report.findings.iter().any(|(code, finding)| {
        let is_wanted = match wanted {
            FailOn::Any => true,
            FailOn::Code(wanted) => wanted.as_str() == code,
        };
        is_wanted && finding["count"].as_u64().unwrap_or(0) > 0
    })
}
