//! What the monitor remembers over restarts: `alerts.jsonl` and `trend.jsonl` in its state directory.
//!
//! One JSON object a line, appended as things happen; of several lines of one alert the last holds. A
//! line that can't be read (the end of one cut off by a crash) is skipped. At the start, and whenever the files
//! have grown to twice what is kept, they are rewritten.

use super::alerts::{Alert, HISTORY_MAX};
use super::board::{Board, TREND_POINTS_MAX, TrendPoint};
use crate::publish::{PublishError, at, create_private_directories, write_file};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const ALERTS_FILE: &str = "alerts.jsonl";
const TREND_FILE: &str = "trend.jsonl";

/// The files, or nothing without a state directory.
#[derive(Debug)]
pub struct History {
    directory: Option<PathBuf>,
    lines: Mutex<[usize; 2]>,
}

/// What was remembered.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Alerts, oldest first.
    pub alerts: Vec<Alert>,
    /// The trend, oldest first.
    pub trend: Vec<TrendPoint>,
}

impl History {
    /// Opens the directory, creating it when it is missing, and reads what is there.
    ///
    /// # Errors
    /// When it can't be created, read or written.
    pub fn open(directory: Option<&Path>) -> Result<(History, Remembered), PublishError> {
        let Some(directory) = directory else {
            let none = History { directory: None, lines: Mutex::default() };
            return Ok((none, Remembered::default()));
        };
        create_private_directories(directory)?;
        let lines: Vec<Alert> = read_lines(&directory.join(ALERTS_FILE))?;
        let alerts: BTreeMap<u64, Alert> = lines.into_iter().map(|it| (it.id, it)).collect();
        let mut alerts: Vec<Alert> = alerts.into_values().collect();
        alerts.drain(..alerts.len().saturating_sub(HISTORY_MAX));
        let mut trend: Vec<TrendPoint> = read_lines(&directory.join(TREND_FILE))?;
        trend.drain(..trend.len().saturating_sub(TREND_POINTS_MAX));
        let history = History { directory: Some(directory.to_path_buf()), lines: Mutex::default() };
        history.rewrite(ALERTS_FILE, &alerts)?;
        history.rewrite(TREND_FILE, &trend)?;
        Ok((history, Remembered { alerts, trend }))
    }

    /// Remembers an alert as it is now.
    pub(super) fn alert(&self, alert: &Alert, board: &Board) -> Result<(), PublishError> {
        if self.append(ALERTS_FILE, 0, alert)? > 2 * HISTORY_MAX {
            let mut alerts = board.alerts();
            alerts.sort_by_key(|alert| alert.id);
            self.rewrite(ALERTS_FILE, &alerts)?;
            self.count(0, |_| alerts.len());
        }
        Ok(())
    }

    /// Remembers a point of the trend.
    pub(super) fn point(&self, point: &TrendPoint, board: &Board) -> Result<(), PublishError> {
        if self.append(TREND_FILE, 1, point)? > 2 * TREND_POINTS_MAX {
            let trend = board.trend();
            self.rewrite(TREND_FILE, &trend)?;
            self.count(1, |_| trend.len());
        }
        Ok(())
    }

    fn count(&self, file: usize, change: impl FnOnce(usize) -> usize) -> usize {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines[file] = change(lines[file]);
        lines[file]
    }

    fn append(
        &self,
        name: &str,
        file: usize,
        line: &impl Serialize,
    ) -> Result<usize, PublishError> {
        let Some(directory) = &self.directory else { return Ok(0) };
        let path = directory.join(name);
        let text = serde_json::to_string(line).map_err(|e| at("write", &path)(e.into()))?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()))
            .map_err(at("write", &path))?;
        Ok(self.count(file, |lines| lines + 1))
    }

    fn rewrite<T: Serialize>(&self, name: &str, lines: &[T]) -> Result<(), PublishError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let path = directory.join(name);
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).map_err(|e| at("write", &path)(e.into()))?;
            text.push(b'\n');
        }
        write_file(&path, &text)
    }
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, PublishError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at("read", path)(error)),
        Ok(text) => Ok(text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()),
    }
}
