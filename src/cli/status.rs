//! `remelt status`.

use super::args::StatusArgs;
use super::failure::Exit;
use super::output::Output;
use super::render;
use super::run::{TOOL, connect, now, runtime};
use remelt::live::{self, RunOptions};
use remelt::server::ServerError;

pub(crate) fn run(args: &StatusArgs, output: &Output) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    let read: Result<_, ServerError> = runtime.block_on(async {
        let server = connect(&args.server).await?;
        let options = RunOptions { tokens: args.tokens.clone(), ..RunOptions::new(TOOL, now) };
        let report = live::status(&server, &options).await?;
        Ok((server, report))
    });
    let (server, report) = read?;
    output.result(&report, &render::status(&report, &server))?;
    Ok(Exit::Done)
}
