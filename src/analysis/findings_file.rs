//! `findings.csv`: rows grouped by code, in the order of the codes, whatever order the codes come in.
//!
//! The rows of one code arrive in their own order. Those whose turn it is go straight to the file; the others
//! wait, compressed, in memory up to a bound, then in scratch files.

use super::AnalyzeError;
use super::csv::CsvRows;
use super::pass::Outcome;
use super::reports::{ReportFile, WrittenReport};
use super::shown::ShownFindings;
use crate::model::FindingCode;
use crate::scratch::Spool;
use std::path::Path;

const CODES: usize = FindingCode::ALL.len();

/// Rows of some documents, by code.
#[derive(Debug, Default)]
pub(super) struct RowsByCode([CsvRows; CODES]);

impl RowsByCode {
    pub(super) fn of(&mut self, code: FindingCode) -> &mut CsvRows {
        &mut self.0[code.index()]
    }

    /// Takes out what is there.
    pub(super) fn take(&mut self) -> Vec<(FindingCode, Vec<u8>)> {
        let rows = FindingCode::ALL.iter().zip(&mut self.0);
        rows.map(|(code, rows)| (*code, rows.take())).filter(|(_, rows)| !rows.is_empty()).collect()
    }
}

impl Outcome for Vec<(FindingCode, Vec<u8>)> {
    fn memory_bytes(&self) -> usize {
        self.iter().map(|(_, rows)| rows.capacity()).sum()
    }
}

/// The file under construction.
#[derive(Debug)]
pub(super) struct FindingsFile {
    file: ReportFile,
    shown: ShownFindings,
    /// The code whose rows go to the file now; rows of the codes before it are all there.
    open: usize,
    waiting: [Spool; CODES],
    waiting_bytes_max: usize,
}

impl FindingsFile {
    pub(super) fn create(
        directory: &Path,
        scratch: &Path,
        waiting_bytes_max: usize,
    ) -> Result<FindingsFile, AnalyzeError> {
        Ok(FindingsFile {
            file: ReportFile::findings(directory)?,
            shown: ShownFindings::default(),
            open: 0,
            waiting: std::array::from_fn(|_| Spool::new(scratch)),
            waiting_bytes_max,
        })
    }

    /// Adds whole rows of `code`, after those that it has.
    pub(super) fn add(&mut self, code: FindingCode, rows: &[u8]) -> Result<(), AnalyzeError> {
        self.shown.offer_rows(code, rows);
        if code.index() == self.open {
            return Ok(self.file.write(rows)?);
        }
        self.waiting[code.index()].push(rows)?;
        if self.waiting.iter().map(Spool::memory_bytes).sum::<usize>() > self.waiting_bytes_max {
            self.waiting.iter_mut().try_for_each(Spool::spill)?;
        }
        Ok(())
    }

    /// Says that the codes before `code` are complete.
    pub(super) fn open(&mut self, code: FindingCode) -> Result<(), AnalyzeError> {
        while self.open < code.index() {
            self.open += 1;
            let file = &mut self.file;
            self.waiting[self.open].drain(|rows| Ok::<(), AnalyzeError>(file.write(rows)?))?;
        }
        Ok(())
    }

    /// Says that all codes are complete; gives what a page shows of them.
    pub(super) fn finish(mut self) -> Result<(WrittenReport, ShownFindings), AnalyzeError> {
        if let Some(last) = FindingCode::ALL.last() {
            self.open(*last)?;
        }
        self.shown.sort();
        Ok((self.file.finish()?, self.shown))
    }
}
