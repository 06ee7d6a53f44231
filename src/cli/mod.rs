//! The command line: raw arguments in, results on standard output, everything else on standard error.
//!
//! One thin file a command; what results look like is in `render`, what failures mean in `failure`.
//! Nothing here knows how anything is done.

mod analyze;
mod apply;
mod args;
mod audit;
mod confirm;
mod diff;
mod explain;
mod export;
mod failure;
mod generate;
mod health;
mod logging;
mod monitor;
mod monitoring;
mod output;
mod preview;
mod progress;
mod rehearse;
mod render;
mod rollback;
mod run;
mod serve;
mod status;
mod validate;
mod verify;

use args::{Cli, Command};
use clap::Parser;
use failure::Exit;
use output::Output;
use std::process::ExitCode;

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error, wants_json).into(),
    };
    logging::start(&cli.global, logging::level_default(&cli.command));
    let output = Output::new(&cli.global);
    let result = match cli.command {
        Command::Rehearse(args) => rehearse::run(&args, &output),
        Command::Export(args) => export::run(&args, &output),
        Command::Analyze(args) => analyze::run(&args, &output),
        Command::Preview(args) => preview::run(&args, &output),
        Command::Explain(args) => explain::run(&args, &output),
        Command::Audit(args) => audit::run(&args, &output),
        Command::Validate(args) => validate::run(&args, &output),
        Command::Apply(args) => apply::run(&args, &output),
        Command::Verify(args) => verify::run(&args, &output),
        Command::Rollback(args) => rollback::run(&args, &output),
        Command::Status(args) => status::run(&args, &output),
        Command::Diff(args) => diff::run(&args, &output),
        Command::Serve(args) => serve::run(&args, &output),
        Command::Monitor(args) => monitor::run(&args, &output),
        Command::Generate(args) => generate::run(&args, &output),
    };
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => output.failure(&error),
    };
    exit.into()
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
