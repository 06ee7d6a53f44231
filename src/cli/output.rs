//! Where results, notes and failures are printed, and in which form.
#![allow(clippy::print_stdout, clippy::print_stderr)] // this is the one place that prints

use super::args::{Global, LogFormat};
use super::failure::{Exit, classify, split_hint, without_credentials};
use super::paint::{Tone, paint, stderr_wants_colour, stdout_wants_colour, toned};
use super::render::prose;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use remelt::analysis::{printable, printable_line};
use serde::Serialize;
use serde_json::json;
use std::io::{IsTerminal, Write};

/// The form of everything a command says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    log: LogFormat,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Output {
        Output { json: global.json, quiet: global.quiet, log: global.log_format }
    }

    /// The form when the arguments were not understood.
    pub(crate) fn plain(wants_json: bool) -> Output {
        Output { json: wants_json, quiet: false, log: LogFormat::Text }
    }

    /// Whether progress and notes are wanted.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Whether standard error is for programs: nothing but log lines as JSON.
    pub(crate) fn logs_json(self) -> bool {
        self.log == LogFormat::Json
    }

    /// The result: `value` as JSON, or `text` for people.
    pub(crate) fn result(self, value: &impl Serialize, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            let line = serde_json::to_string(value)?;
            writeln!(out, "{line}")
        } else {
            write!(out, "{}", paint(&printable(text), stdout_wants_colour()))
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
        if self.quiet {
        } else if self.logs_json() {
            tracing::warn!("{text}");
        } else {
            print_lines(&told(&toned(Tone::Warn, "note:"), text));
        }
    }

    /// The failure, in the form wanted; gives the exit code.
    pub(crate) fn failure(self, error: &anyhow::Error) -> Exit {
        let (exit, code) = classify(error);
        self.print_error(code, &without_credentials(&error.to_string()));
        exit
    }

    /// An error: what happened and, after the first `; `, what to do.
    pub(crate) fn print_error(self, code: &str, message: &str) {
        let (what, hint) = split_hint(message);
        if self.logs_json() {
            tracing::error!(code, hint, "{what}");
        }
        if self.json {
            let error = json!({"error": {"code": code, "message": what, "hint": hint}});
            let _ = writeln!(std::io::stdout(), "{error}");
        } else if !self.logs_json() {
            let mut text = told(&toned(Tone::Bad, "error:"), what);
            if !hint.is_empty() {
                text += &told(&format!("  {}", toned(Tone::Strong, "hint:")), hint);
            }
            print_lines(&text);
        }
    }
}

/// `sentence` after `head`: in lines that fit a terminal, and one line for a script.
fn told(head: &str, sentence: &str) -> String {
    let mut text = String::new();
    match std::io::stderr().is_terminal() {
        true => prose(&mut text, &format!("{head} "), sentence),
        false => text = format!("{head} {}\n", printable_line(sentence)),
    }
    text
}

/// Writes lines to standard error, above a progress bar if there is one.
pub(crate) fn print_lines(text: &str) {
    let text = paint(&printable(text), stderr_wants_colour());
    super::progress::above_bar(|| {
        let _ = std::io::stderr().write_all(text.as_bytes());
    });
}

/// Arguments that clap refused, or help and version that it was asked for.
pub(crate) fn usage(error: &clap::Error, wants_json: bool) -> Exit {
    let rendered = error.render();
    let whole = |with_colour: bool| match with_colour {
        true => rendered.ansi().to_string(),
        false => rendered.to_string(),
    };
    let form = |with_colour: bool| without_credentials(&whole(with_colour));
    match error.kind() {
        _ if is_help(error) => {
            // Nothing of it was typed: the URIs in it are examples.
            let _ = write!(std::io::stdout(), "{}", whole(stdout_wants_colour()));
            Exit::Done
        }
        _ if wants_json => {
            let text = form(false);
            let first = text.trim_start_matches("error: ").lines().map(str::trim);
            let first: Vec<&str> = first.take_while(|line| !line.is_empty()).collect();
            let message = first.join(" ");
            let hint = match suggestion(error) {
                Some(word) => format!("did you mean {word}?"),
                None if lacks_uri(error) => URI_TIP.to_owned(),
                None => "see remelt --help".to_owned(),
            };
            let error = json!({"error": {"code": "usage", "message": message, "hint": hint}});
            let _ = writeln!(std::io::stdout(), "{error}");
            Exit::Usage
        }
        _ => {
            let mut text = form(stderr_wants_colour());
            if lacks_uri(error) {
                text += &format!("\n  tip: {URI_TIP}\n");
            }
            let _ = write!(std::io::stderr(), "{text}");
            Exit::Usage
        }
    }
}

/// Whether help or the version was asked for.
pub(crate) fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

const URI_TIP: &str = "MONGODB_URI stands in for --uri, and no process list shows it";

fn lacks_uri(error: &clap::Error) -> bool {
    let lacking = error.get(ContextKind::InvalidArg);
    let is_uri = |word: &String| word.starts_with("--uri");
    error.kind() == ErrorKind::MissingRequiredArgument
        && matches!(lacking, Some(ContextValue::Strings(words)) if words.iter().any(is_uri))
}

/// The word that was probably meant.
fn suggestion(error: &clap::Error) -> Option<&str> {
    let kinds =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(word) => Some(word.as_str()),
        ContextValue::Strings(words) => words.first().map(String::as_str),
        _ => None,
    })
}
