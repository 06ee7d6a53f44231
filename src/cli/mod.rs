//! The command line: raw arguments in, results on standard output, everything else on standard error.
//!
//! One thin file a command; what results look like is in `render`, what failures mean in `failure`.
//! Nothing here knows how anything is done.

mod analyze;
mod apply;
mod args;
mod audit;
mod completions;
mod config;
mod confirm;
mod diff;
mod explain;
mod export;
mod failure;
mod generate;
mod health;
mod logging;
mod man;
mod misplaced;
mod monitor;
mod monitoring;
mod output;
mod paint;
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
use clap::{CommandFactory, FromArgMatches};
use failure::Exit;
use output::Output;
use std::ffi::OsString;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Lets a write beyond the limit on files' sizes (`ulimit -f`) fail with an error, which is told, in place of ending
/// the program without a word: a signal for which there is a handler does no more. The handler stays for good.
fn outlive_file_size_limit() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    if let Ok(runtime) = runtime {
        let _inside = runtime.enter();
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    }
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    outlive_file_size_limit();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let (command, refused) = match config::with_defaults(Cli::command(), &arguments) {
        Ok(command) => (command, None),
        Err(refusal) => (Cli::command(), Some(refusal)),
    };
    let parsed = command.try_get_matches_from(arguments);
    let refused = refused.or_else(|| parsed.as_ref().ok().and_then(misplaced::misplaced));
    let cli = match (parsed.and_then(|matches| Cli::from_arg_matches(&matches)), refused) {
        (Err(error), None) => return output::usage(&error, wants_json).into(),
        (Err(error), Some(_)) if output::is_help(&error) => {
            return output::usage(&error, wants_json).into();
        }
        (_, Some(refusal)) => return Output::plain(wants_json).failure(&refusal.into()).into(),
        (Ok(cli), None) => cli,
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
        Command::Completions(args) => completions::run(&args, &output),
        Command::Man(args) => man::run(&args, &output),
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
