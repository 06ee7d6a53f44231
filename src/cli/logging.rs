//! Log lines on standard error: which, in which form.
//!
//! Write them with `tracing::info!` and its like. Only events of this program are shown. What other crates say of themselves is not: it is written for
//! their authors, and may hold what must not be shown.

use super::args::{Command, Global, LogFormat};
use super::progress;
use remelt::analysis::printable_line;
use std::io::{self, Write};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The crate's name, with which the target of each of its events begins.
const TARGET: &str = env!("CARGO_CRATE_NAME");

/// What `command` says without being asked to: warnings; of what runs for ever also what it does.
pub(crate) fn level_default(command: &Command) -> LevelFilter {
    match command {
        Command::Serve(_) | Command::Monitor(_) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    }
}

/// Shows events from now on: from `default` on, errors alone with `--quiet`, more with each `-v`. Whoever
/// asks for JSON wants a log, and gets at least what `-v` gives.
pub(crate) fn start(global: &Global, default: LevelFilter) {
    let wanted = match (global.log_format, global.verbose) {
        _ if global.quiet => LevelFilter::ERROR,
        (LogFormat::Text, 0) => default,
        (_, 0 | 1) => default.max(LevelFilter::INFO),
        (_, _) => LevelFilter::DEBUG,
    };
    // Steps are news of a command that ends; of one that begins them every minute they are not.
    let steps =
        if default < LevelFilter::INFO || global.verbose > 0 { wanted } else { LevelFilter::WARN };
    let steps = (format!("{TARGET}::progress"), steps.min(wanted));
    let ours = Targets::new().with_target(TARGET, wanted).with_targets([steps]);
    let registry = tracing_subscriber::registry().with(ours);
    let layer = fmt::layer().with_writer(Lines(global.log_format));
    let started = match global.log_format {
        LogFormat::Text => registry.with(layer.with_ansi(false).with_target(false)).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // Fails only when it was called before; then that one serves.
    let _ = started;
}

/// Standard error, line by line, above the progress bar if one is drawn.
#[derive(Debug, Clone, Copy)]
struct Lines(LogFormat);

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        *self
    }
}

impl Write for Lines {
    /// `event` is one event with its newline, and stays one line: a newline in a path that a client asked for
    /// is spelled out, as other deceptive characters are. JSON has done that itself.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = match self.0 {
            LogFormat::Text => printable_line(text.trim_end_matches('\n')),
            LogFormat::Json => text.trim_end_matches('\n').to_owned(),
        };
        // A standard error that is gone is no reason to stop.
        progress::above_bar(|| {
            let _ = io::stderr().write_all((line + "\n").as_bytes());
        });
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
