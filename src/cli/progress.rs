//! Progress on a terminal, and Ctrl-C.
#![allow(clippy::print_stderr)] // progress goes to standard error

use super::output::Output;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use remelt::progress::{Progress, Unit};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const REDRAW: Duration = Duration::from_millis(100);

/// Where bars are drawn, so that other lines can be written above them.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));

/// Writes something to standard error that is no part of a bar.
pub(crate) fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// Runs `work` with counters that are drawn while it runs, and that Ctrl-C stops.
pub(crate) fn watched<T>(output: Output, work: impl FnOnce(&Arc<Progress>) -> T) -> T {
    let progress = Arc::new(Progress::new());
    stop_on_signal(&progress);
    let is_drawn = !output.is_quiet() && std::io::stderr().is_terminal();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if is_drawn {
            scope.spawn(|| draw(&progress, &is_over));
        }
        // Also when the work panics: else the scope would wait for the drawing for ever.
        let _over = SetOnDrop(&is_over);
        work(&progress)
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The first signal asks the work to stop where that is safe; the second ends the process.
fn stop_on_signal(progress: &Arc<Progress>) {
    let progress = Arc::clone(progress);
    // Fails only when a handler is there already; then that one serves.
    let _ = ctrlc::set_handler(move || {
        if progress.is_stopped() {
            std::process::exit(1);
        }
        progress.stop();
        let _ = writeln!(
            std::io::stderr(),
            "\nstopping at the next safe point; once more to stop at once"
        );
    });
}

fn draw(progress: &Progress, is_over: &AtomicBool) {
    let mut bar: Option<(u64, ProgressBar)> = None;
    while !is_over.load(Ordering::Relaxed) {
        let (step, done) = progress.current();
        if !step.name.is_empty() && bar.as_ref().is_none_or(|(serial, _)| *serial != step.serial) {
            if let Some((_, old)) = bar.take() {
                old.finish_and_clear();
            }
            bar = Some((step.serial, new_bar(step.name, step.total, step.unit)));
        }
        if let Some((_, bar)) = &bar {
            bar.set_position(done.min(step.total.max(done)));
            bar.tick();
        }
        std::thread::sleep(REDRAW);
    }
    if let Some((_, bar)) = bar {
        bar.finish_and_clear();
    }
}

/// A line of at most 80 columns: name, bar, how far, rate, time left.
fn new_bar(name: &'static str, total: u64, unit: Unit) -> ProgressBar {
    let template = match (total, unit) {
        (0, Unit::Bytes) => "{msg:20} {spinner} {bytes}",
        (0, Unit::Documents) => "{msg:20} {spinner} {human_pos}",
        (_, Unit::Bytes) => {
            "{msg:20} [{bar:18}] {percent:>3}% {binary_bytes_per_sec:>13} ETA {eta}"
        }
        (_, Unit::Documents) => "{msg:20} [{bar:18}] {percent:>3}% {per_sec:>13} ETA {eta}",
    };
    let bar = match total {
        0 => ProgressBar::new_spinner(),
        total => ProgressBar::new(total),
    };
    let bar = BARS.add(bar);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(name);
    bar
}
