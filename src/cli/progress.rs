//! Progress on a terminal or in the log, and Ctrl-C.

use super::output::{Output, print_lines};
use super::render::number;
use super::run::this_command;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use remelt::progress::{Progress, Unit};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

const REDRAW: Duration = Duration::from_millis(100);
/// How often the log says how far a step is, where no bar is drawn.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Where bars are drawn, so that other lines can be written above them.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));

/// Writes something to standard error that is no part of a bar.
pub(crate) fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// Runs `work` with counters that are drawn or logged while it runs, and that Ctrl-C stops.
pub(crate) fn watched<T>(output: Output, work: impl FnOnce(&Arc<Progress>) -> T) -> T {
    let progress = Arc::new(Progress::new());
    stop_on_signal(&progress, output);
    let is_drawn = !output.is_quiet() && !output.logs_json() && std::io::stderr().is_terminal();
    let is_logged = !is_drawn && tracing::enabled!(tracing::Level::INFO);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if is_drawn {
            scope.spawn(|| draw(&progress, &is_over));
        } else if is_logged {
            scope.spawn(|| log(&progress, &is_over));
        }
        // Also when the work panics: else the scope would wait for the watcher for ever.
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
fn stop_on_signal(progress: &Arc<Progress>, output: Output) {
    let progress = Arc::clone(progress);
    // Fails only when a handler is there already; then that one serves.
    let _ = ctrlc::set_handler(move || {
        if progress.is_stopped() {
            let message = format!(
                "stopped at once; what was committed to a database is recorded, and what lies half-made in \
                 a hidden or scratch directory is removed by the next such command; go on or start anew with: {}",
                this_command()
            );
            output.print_error("interrupted", &message);
            std::process::exit(1);
        }
        progress.stop();
        let text = "stopping: what is under way is finished first; Ctrl-C once more stops at once";
        if output.logs_json() {
            tracing::warn!("{text}");
        } else {
            print_lines(&format!("\n{text}\n"));
        }
    });
}

/// Says in the log now and then how far the step under way is.
fn log(progress: &Progress, is_over: &AtomicBool) {
    let (mut serial, mut began, mut told) = (0, Instant::now(), Instant::now());
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(REDRAW);
        let (step, done) = progress.current();
        if step.serial != serial {
            (serial, began, told) = (step.serial, Instant::now(), Instant::now());
        }
        if told.elapsed() < LOG_EVERY || step.name.is_empty() {
            continue;
        }
        told = Instant::now();
        let seconds = began.elapsed().as_secs().max(1);
        let rate = done / seconds;
        let left = (step.total > done && rate > 0).then(|| (step.total - done) / rate);
        let (step, total, unit) = (step.name, step.total, step.unit.as_str());
        tracing::info!(
            step,
            done,
            total,
            unit,
            per_second = rate,
            seconds_left = left,
            "step under way"
        );
    }
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
        (0, Unit::Bytes) => "{msg:24} {spinner} {binary_bytes} {binary_bytes_per_sec}",
        (0, Unit::Documents) => "{msg:24} {spinner} {human_pos} {rate}",
        (_, Unit::Bytes) => {
            "{msg:24} [{bar:16}] {percent:>3}% {binary_bytes_per_sec:>13} ETA {eta}"
        }
        (_, Unit::Documents) => "{msg:24} [{bar:16}] {percent:>3}% {rate:>13} ETA {eta}",
    };
    let bar = match total {
        0 => ProgressBar::new_spinner(),
        total => ProgressBar::new(total),
    };
    let bar = BARS.add(bar);
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            let whole = format!("{:.0}", state.per_sec()).parse::<i128>().unwrap_or(0);
            let _ = write!(to, "{}/s", number(whole));
        };
        bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
    }
    bar.set_message(name);
    bar
}
