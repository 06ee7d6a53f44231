//! Where results, notes and failures are printed, and in which form.
#![allow(clippy::print_stdout, clippy::print_stderr)] // this is the one place that prints

use super::args::Global;
use super::failure::{Exit, classify, split_hint, without_credentials};
use remelt::analysis::printable;
use serde::Serialize;
use serde_json::json;
use std::io::Write;

/// The form of everything a command says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Output {
        Output { json: global.json, quiet: global.quiet }
    }

    /// Whether progress and notes are wanted.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// The result: `value` as JSON, or `text` for people.
    pub(crate) fn result(self, value: &impl Serialize, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            let line = serde_json::to_string(value)?;
            writeln!(out, "{line}")
        } else {
            write!(out, "{}", printable(text))
        };
        match written.and_then(|()| out.flush()) {
            // Whoever read the output has closed it, as `head` does; there is nobody left to tell.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(e) => Err(anyhow::anyhow!(
                "could not write the result to standard output: {}",
                remelt::publish::io_reason(&e)
            )),
            Ok(()) => Ok(()),
        }
    }

    /// Something a person should know, on standard error.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "note: {}", printable(text));
        }
    }

    /// The failure, in the form wanted; gives the exit code.
    pub(crate) fn failure(self, error: &anyhow::Error) -> Exit {
        let (exit, code) = classify(error);
        let message = without_credentials(&error.to_string());
        print_error(self.json, code, &message);
        exit
    }
}

fn print_error(wants_json: bool, code: &str, message: &str) {
    let (what, hint) = split_hint(message);
    if wants_json {
        let error = json!({"error": {"code": code, "message": what, "hint": hint}});
        let _ = writeln!(std::io::stdout(), "{error}");
        return;
    }
    let (what, hint) = (printable(what), printable(hint));
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {what}");
    if !hint.is_empty() {
        let _ = writeln!(stderr, "  hint: {hint}");
    }
}

/// Arguments that clap refused, or help and version that it was asked for.
pub(crate) fn usage(error: &clap::Error, wants_json: bool) -> Exit {
    use clap::error::ErrorKind;
    let text = without_credentials(&error.render().to_string());
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = write!(std::io::stdout(), "{text}");
            Exit::Done
        }
        _ if wants_json => {
            let text = text.trim_start_matches("error: ").trim_end();
            let message = text.lines().next().unwrap_or_default();
            let hint = "see remelt --help";
            let error = json!({"error": {"code": "usage", "message": message, "hint": hint}});
            let _ = writeln!(std::io::stdout(), "{error}");
            Exit::Usage
        }
        _ => {
            let _ = write!(std::io::stderr(), "{text}");
            Exit::Usage
        }
    }
}
