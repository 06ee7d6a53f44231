//! `remelt generate`.

use super::args::GenerateArgs;
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use remelt::generate::{GenerateOptions, generate};
use remelt::progress::Unit;
use serde_json::json;
use std::ops::ControlFlow;
use std::time::Instant;

pub(crate) fn run(args: &GenerateArgs, output: &Output) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let options = GenerateOptions { tokens: args.tokens, seed: args.seed, damage: args.damage };
    let stats = watched(*output, |progress| {
        progress.begin("generating tokens", args.tokens, Unit::Documents);
        let mut seen = 0;
        generate(&args.out_dir, &options, &mut |written| {
            progress.advance(written.saturating_sub(seen));
            seen = written;
            if progress.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    })?;
    let result = json!({
        "path": args.out_dir.display().to_string(),
        "tokens": stats.tokens,
        "wallets": stats.wallets,
        "users": stats.users,
        "bytes": stats.tokens_bytes + stats.wallets_bytes,
        "tokensToMigrate": stats.tokens_to_migrate,
        "seconds": remelt::plan::seconds_of(started.elapsed()),
    });
    output.result(&result, &render::generate(&args.out_dir, &stats))?;
    Ok(Exit::Done)
}
