//! `remelt analyze`.

use super::args::{AnalyzeArgs, ConsistencyArg, EngineArg, FailOn, ServerArgs};
use super::failure::{Exit, Refusal};
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{
    build_options, connect, open_snapshot, refuse_inside, refuse_inside_plans, runtime, same_server,
};
use remelt::cluster::{ClusterConsistency, ClusterError, ClusterOptions, analyze_in_cluster};
use remelt::plan::{AnalyzeReport, BuildOptions, build};
use std::path::Path;
use std::time::Instant;

pub(crate) fn run(args: &AnalyzeArgs, output: &Output) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let report = match (args.engine, &args.snapshot, &args.plan_dir) {
        (EngineArg::Local, Some(snapshot), Some(plan_dir)) => {
            locally(args, snapshot, plan_dir, started, *output)?
        }
        (EngineArg::Local, ..) => {
            return Err(Refusal::usage("SNAPSHOT and PLAN_DIR are needed; give both").into());
        }
        (EngineArg::Mongodb, None, None) => in_cluster(args, started, *output)?,
        (EngineArg::Mongodb, ..) => {
            return Err(Refusal::usage(
                "--engine mongodb reads the database in place and makes no plan; leave SNAPSHOT and \
                 PLAN_DIR out, or --engine mongodb",
            )
            .into());
        }
    };
    let same = same_server(args.uri.as_deref(), args.source.db.as_deref());
    output.result(&report, &render::analyze(&report, &same))?;
    let mut exit = Exit::Done;
    for (codes, what) in [
        (occurring(&report, &args.fail_on), "found"),
        (
            unchecked(&report, &args.fail_on),
            "not looked for, as there are no wallets to compare with",
        ),
    ] {
        if !codes.is_empty() {
            let codes = codes.join(", ");
            output.note(&format!("named by --fail-on and {what}: {codes}; the exit code is 4"));
            exit = Exit::LeftOver;
        }
    }
    Ok(exit)
}

fn locally(
    args: &AnalyzeArgs,
    snapshot: &Path,
    plan_dir: &Path,
    started: Instant,
    output: Output,
) -> anyhow::Result<AnalyzeReport> {
    let opened = open_snapshot(snapshot, &args.source, output)?;
    refuse_inside(plan_dir, snapshot, "snapshot")?;
    refuse_inside_plans(plan_dir)?;
    let options = BuildOptions { parquet: args.parquet, ..build_options(&args.rule) };
    Ok(watched(output, |progress| {
        build(&opened, plan_dir, &options, &|| started.elapsed(), progress)
    })?)
}

fn in_cluster(
    args: &AnalyzeArgs,
    started: Instant,
    output: Output,
) -> anyhow::Result<AnalyzeReport> {
    if args.rule.repair_time.is_some() {
        let message =
            "--repair-time goes into a plan and --engine mongodb makes none; leave it out";
        return Err(Refusal::usage(message).into());
    }
    if args.parquet {
        let message = "--parquet goes with the reports of a plan and --engine mongodb makes none; leave it \
                       out";
        return Err(Refusal::usage(message).into());
    }
    let Some(uri) = args.uri.clone() else {
        let message = "--engine mongodb needs a database; give --uri or MONGODB_URI";
        return Err(Refusal::usage(message).into());
    };
    let server = ServerArgs { uri, db: args.source.db.clone() };
    let options = cluster_options(args);
    let runtime = runtime()?;
    let report: Result<_, ClusterError> = watched(output, |progress| {
        runtime.block_on(async {
            let server = connect(&server).await?;
            analyze_in_cluster(&server, &options, progress, &|| started.elapsed()).await
        })
    });
    let report = report?;
    report.notes.iter().for_each(|note| output.note(note));
    Ok(report)
}

fn cluster_options(args: &AnalyzeArgs) -> ClusterOptions {
    ClusterOptions {
        tokens: args.source.tokens.clone(),
        wallets: args.source.wallets.clone(),
        require_wallets: !args.source.without_wallets,
        spent_at: args.rule.spent_at.into(),
        consistency: match args.consistency {
            ConsistencyArg::Snapshot => ClusterConsistency::Snapshot,
            ConsistencyArg::None => ClusterConsistency::None,
        },
    }
}

/// The codes among those `wanted` that there are findings of.
fn occurring<'r>(report: &'r AnalyzeReport, wanted: &[FailOn]) -> Vec<&'r str> {
    let is_wanted = |code: &str| {
        wanted.iter().any(|wanted| match wanted {
            FailOn::Any => true,
            FailOn::Code(wanted) => wanted.as_str() == code,
        })
    };
    let findings = report.findings.iter();
    let occurring = findings
        .filter(|(code, finding)| is_wanted(code) && finding["count"].as_u64().unwrap_or(0) > 0);
    occurring.map(|(code, _)| code.as_str()).collect()
}

/// The codes that `wanted` names and of which nothing is known.
fn unchecked<'r>(report: &'r AnalyzeReport, wanted: &[FailOn]) -> Vec<&'r str> {
    let is_wanted = |code: &str| {
        let is_it = |it: &FailOn| matches!(it, FailOn::Code(it) if it.as_str() == code);
        wanted.iter().any(is_it)
    };
    let unknown = report.findings.iter().filter(|(_, finding)| finding["count"].is_null());
    unknown.map(|(code, _)| code.as_str()).filter(|code| is_wanted(code)).collect()
}
