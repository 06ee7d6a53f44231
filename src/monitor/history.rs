//! What the monitor remembers over restarts: `alerts.jsonl` and `trend.jsonl` in its state directory.
//!
//! One JSON object a line, appended as things happen; of several lines of one alert the last holds. A
//! line that can't be read (the end of one cut off by a crash) is skipped. At the start, and whenever the files
//! have grown to twice what is kept, they are rewritten with what is kept, open alerts always among it.

use super::alerts::{Alert, AlertBook, HISTORY_MAX};
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
        let alerts = AlertBook::restored(alerts.into_values().collect()).into_alerts();
        let mut trend: Vec<TrendPoint> = read_lines(&directory.join(TREND_FILE))?;
        trend.drain(..trend.len().saturating_sub(TREND_POINTS_MAX));
        let lines = Mutex::new([alerts.len(), trend.len()]);
        let history = History { directory: Some(directory.to_path_buf()), lines };
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

#[cfg(test)]
mod tests {
    use super::super::alerts::{AlertState, Priority, Rule};
    use super::*;
    use crate::model::Timestamp;

    fn alert(id: u64, state: AlertState) -> Alert {
        Alert {
            id,
            rule: Rule::OrphanedTokens,
            priority: Priority::Medium,
            state,
            title: String::new(),
            detail: String::new(),
            value: None,
            threshold: None,
            action: String::new(),
            opened_at: Timestamp(0),
            updated_at: Timestamp(0),
            resolved_at: None,
            times: 1,
        }
    }

    fn board(alerts: Vec<Alert>) -> Board {
        Board::new(Timestamp(0), alerts, Vec::new())
    }

    fn lines_of(directory: &Path) -> usize {
        fs::read_to_string(directory.join(ALERTS_FILE)).unwrap().lines().count()
    }

    #[test]
    fn an_open_alert_is_remembered_however_many_came_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let (history, _) = History::open(Some(directory.path())).unwrap();
        let board = board(Vec::new());
        history.alert(&alert(1, AlertState::Open), &board).unwrap();
        let later = 2..2 + HISTORY_MAX as u64;
        later.for_each(|id| history.alert(&alert(id, AlertState::Resolved), &board).unwrap());
        for start in 1..=2 {
            let (_, remembered) = History::open(Some(directory.path())).unwrap();
            let ids: Vec<u64> = remembered.alerts.iter().map(|alert| alert.id).collect();
            assert_eq!((ids.len(), ids[0], ids[1]), (HISTORY_MAX, 1, 3), "start {start}");
            assert_eq!(remembered.alerts[0].state, AlertState::Open);
        }
    }

    #[test]
    fn of_several_lines_of_one_alert_the_last_holds_and_half_a_line_is_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let (history, _) = History::open(Some(directory.path())).unwrap();
        let board = board(Vec::new());
        history.alert(&alert(1, AlertState::Open), &board).unwrap();
        history.alert(&alert(1, AlertState::Resolved), &board).unwrap();
        let path = directory.path().join(ALERTS_FILE);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&*whole, &whole[..20]].concat()).unwrap();
        let (_, remembered) = History::open(Some(directory.path())).unwrap();
        assert_eq!(remembered.alerts, [alert(1, AlertState::Resolved)]);
        assert_eq!(lines_of(directory.path()), 1, "rewritten with what is kept");
    }

    #[test]
    fn the_file_never_holds_more_than_twice_what_is_kept_over_restarts_too() {
        let directory = tempfile::tempdir().unwrap();
        let kept: Vec<Alert> =
            (1..=HISTORY_MAX as u64).map(|id| alert(id, AlertState::Resolved)).collect();
        let board = board(kept.clone());
        let (history, _) = History::open(Some(directory.path())).unwrap();
        kept.iter().for_each(|alert| history.alert(alert, &board).unwrap());
        let (history, remembered) = History::open(Some(directory.path())).unwrap();
        assert_eq!(remembered.alerts.len(), HISTORY_MAX);
        kept.iter().for_each(|alert| history.alert(alert, &board).unwrap());
        assert_eq!(lines_of(directory.path()), 2 * HISTORY_MAX);
        history.alert(&kept[0], &board).unwrap();
        assert_eq!(lines_of(directory.path()), HISTORY_MAX, "rewritten");
    }
}
