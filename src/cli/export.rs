//! `remelt export`.

use super::args::{CompressArg, ConsistencyArg, ExportArgs};
use super::failure::Exit;
use super::output::Output;
use super::progress::watched;
use super::render;
use super::run::{TOOL, connect, runtime};
use remelt::export::{ExportError, ExportOptions, ReadConsistency, Secrets, export};
use remelt::snapshot::format::Compression;
use std::time::Instant;

pub(crate) fn run(args: &ExportArgs, output: &Output) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let options = options(args);
    let runtime = runtime()?;
    let report: Result<_, ExportError> = watched(*output, |progress| {
        runtime.block_on(async {
            let server = connect(&args.server).await?;
            let elapsed = || started.elapsed();
            export(&server, &args.snapshot_dir, &options, progress, &elapsed).await
        })
    });
    let report = report?;
    report.notes.iter().for_each(|note| output.note(note));
    output.result(&report, &render::export(&report))?;
    Ok(Exit::Done)
}

fn options(args: &ExportArgs) -> ExportOptions {
    ExportOptions {
        tokens: args.tokens.clone(),
        wallets: args.wallets.clone(),
        require_wallets: !args.without_wallets,
        compression: match args.compress {
            CompressArg::None => Compression::None,
            CompressArg::Zstd => Compression::Zstd,
            CompressArg::Gzip => Compression::Gzip,
        },
        secrets: if args.without_secrets { Secrets::Hashed } else { Secrets::Full },
        wallet_keys: args.with_wallet_keys,
        consistency: match args.consistency {
            ConsistencyArg::Snapshot => ReadConsistency::Snapshot,
            ConsistencyArg::None => ReadConsistency::None,
        },
        tool: TOOL.to_owned(),
        stands_back: false,
    }
}
