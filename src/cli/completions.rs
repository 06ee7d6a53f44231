//! `remelt completions`.

use super::args::{Cli, CompletionsArgs};
use super::failure::Exit;
use super::output::Output;
use clap::CommandFactory;
use serde_json::json;

pub(crate) fn run(args: &CompletionsArgs, output: &Output) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "remelt", &mut script);
    let script = String::from_utf8_lossy(&script);
    output.result(&json!({"shell": args.shell.to_string(), "script": script}), &script)?;
    Ok(Exit::Done)
}
