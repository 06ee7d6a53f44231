//! `remelt rehearse`: the whole cycle on a copy, which is thrown away unless it is to be kept.

use super::args::RehearseArgs;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{TOOL, build_options, open_snapshot, refuse_inside};
use anyhow::Context;
use remelt::copy::{Direction, replay};
use remelt::model::Sha256Hash;
use remelt::plan::{AnalyzeReport, Plan, build};
use remelt::publish::StagedDirectory;
use remelt::snapshot::Snapshot;
use remelt::temporary::TemporaryDirectory;
use remelt::verify::{VerifyReport, verify};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

/// The result object of `rehearse`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RehearseReport {
    pub(crate) analyze: AnalyzeReport,
    /// Tokens written repaired.
    pub(crate) applied: u64,
    /// Tokens found as planned in the repaired copy.
    pub(crate) verified: u64,
    /// Tokens written back.
    pub(crate) rolled_back: u64,
    /// Whether the restored copy is the snapshot, byte for byte.
    pub(crate) identical: bool,
    pub(crate) sha256_before: Sha256Hash,
    pub(crate) sha256_after: Sha256Hash,
    #[serde(skip)]
    pub(crate) verification: VerifyReport,
    /// Wall time of each step.
    #[serde(skip)]
    pub(crate) times: [Duration; 4],
}

pub(crate) fn run(args: &RehearseArgs, output: &Output) -> anyhow::Result<Exit> {
    let snapshot = open_snapshot(&args.snapshot, &args.source, *output)?;
    let report = match &args.keep {
        None => {
            let place = std::env::temp_dir();
            let scratch =
                TemporaryDirectory::create(&place, SCRATCH_PREFIX).with_context(|| {
                    let place = place.display();
                    format!("could not use {place} for scratch; set TMPDIR to a place with room")
                })?;
            let mut report = rehearse(args, &snapshot, scratch.path(), *output)?;
            scratch.remove().context("could not remove the scratch directory")?;
            if let Some(plan) = &mut report.analyze.plan {
                plan.path = String::new(); // it is gone
            }
            report
        }
        Some(keep) => {
            refuse_inside(keep, &args.snapshot, "snapshot")?;
            let staged = StagedDirectory::create(keep)?;
            let mut report = rehearse(args, &snapshot, staged.path(), *output)?;
            staged.publish()?;
            if let Some(plan) = &mut report.analyze.plan {
                plan.path = keep.join("plan").display().to_string();
            }
            report
        }
    };
    output.result(&report, &render::rehearse(&report, &args.snapshot, args.keep.as_deref()))?;
    let is_proven = report.identical && report.verification.ok;
    Ok(if is_proven { Exit::Done } else { Exit::Failed })
}

/// A copy of a ledger is not to lie about: the next rehearsal removes what a killed one left.
const SCRATCH_PREFIX: &str = "remelt-rehearsal-";

fn rehearse(
    args: &RehearseArgs,
    snapshot: &Snapshot,
    directory: &Path,
    output: Output,
) -> anyhow::Result<RehearseReport> {
    let plan_dir = directory.join("plan");
    let options = build_options(&args.rule);
    watched(output, |progress| {
        let mut clock = Instant::now();
        let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed();
        let started = Instant::now();
        let analyze = build(snapshot, &plan_dir, &options, &|| started.elapsed(), progress)?;
        let plan = Plan::open(&plan_dir)?;
        let analyzed = lap();

        let repaired_dir = directory.join("repaired");
        let repaired = replay(&plan, snapshot, &repaired_dir, Direction::Repair, TOOL, progress)?;
        let applied = lap();

        let input = args.source.input_options();
        let copy = Snapshot::open(&repaired_dir, &input)?;
        let verification = verify(&plan, &copy, progress)?;
        let verified = lap();

        let restored_dir = directory.join("restored");
        let restored = replay(&plan, &copy, &restored_dir, Direction::Restore, TOOL, progress)?;
        Ok(RehearseReport {
            applied: repaired.changed,
            verified: verification.as_planned,
            rolled_back: restored.changed,
            identical: restored.sha256_written == repaired.sha256_read,
            sha256_before: repaired.sha256_read,
            sha256_after: restored.sha256_written,
            analyze,
            verification,
            times: [analyzed, applied, verified, lap()],
        })
    })
}
