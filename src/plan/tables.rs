//! Reading a plan's CSV reports back.

use super::file::REPORTS_DIRECTORY;
use crate::publish::{io_reason, open_regular};
use csv::ByteRecord;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Why a report can't be read. Never holds content of it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}; make the plan anew with remelt analyze", path.display())]
pub struct TableError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub what: String,
}

/// A CSV report, read row by row.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    reader: csv::Reader<File>,
    header: ByteRecord,
}

impl Table {
    /// Opens report `name` of the plan in `directory`.
    ///
    /// # Errors
    /// [`TableError`] when there is none, or it has no header.
    pub fn open(directory: &Path, name: &str) -> Result<Table, TableError> {
        let path = directory.join(REPORTS_DIRECTORY).join(name);
        let file = open_regular(&path)
            .map_err(|error| TableError { path: path.clone(), what: io_reason(&error) })?;
        let mut reader = csv::Reader::from_reader(file);
        let header = reader.byte_headers().cloned();
        let header = header.map_err(|error| fault(&path, &error))?;
        Ok(Table { path, reader, header })
    }

    /// The header row.
    #[must_use]
    pub fn header(&self) -> &ByteRecord {
        &self.header
    }

    /// Puts the next row into `row`; `false` at the end.
    ///
    /// # Errors
    /// [`TableError`] when it is no CSV, or a row has too few or too many cells.
    pub fn next_into(&mut self, row: &mut ByteRecord) -> Result<bool, TableError> {
        self.reader.read_byte_record(row).map_err(|error| fault(&self.path, &error))
    }

    /// An error about the row read last.
    #[must_use]
    pub fn odd(&self, row: &ByteRecord, what: &str) -> TableError {
        let what = format!("{what} in row {}", row_number(row.position()));
        TableError { path: self.path.clone(), what }
    }

    /// The integer in a cell of `row`; `None` in an empty one.
    ///
    /// # Errors
    /// [`TableError`] when there is something else.
    pub fn number(&self, row: &ByteRecord, cell: usize) -> Result<Option<i128>, TableError> {
        let text = row.get(cell).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| self.odd(row, "a cell that should be an integer is none"))
    }
}

/// The number of a row as a spreadsheet shows it: the header is row 1.
fn row_number(position: Option<&csv::Position>) -> u64 {
    position.map_or(0, |position| position.record() + 1)
}

fn fault(path: &Path, error: &csv::Error) -> TableError {
    let what = match error.kind() {
        csv::ErrorKind::Io(error) => io_reason(error),
        csv::ErrorKind::UnequalLengths { pos, .. } => {
            format!("row {} has too few or too many cells", row_number(pos.as_ref()))
        }
        _ => "it is no CSV file".to_owned(),
    };
    TableError { path: path.to_path_buf(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `report` as a table to its end, and looks for a number in the first cell of each row.
    fn read(report: &str) -> Result<(), TableError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(REPORTS_DIRECTORY)).unwrap();
        std::fs::write(directory.path().join(REPORTS_DIRECTORY).join("t.csv"), report).unwrap();
        let mut table = Table::open(directory.path(), "t.csv").unwrap();
        let mut row = ByteRecord::new();
        while table.next_into(&mut row)? {
            table.number(&row, 0)?;
        }
        Ok(())
    }

    #[test]
    fn an_error_names_the_row_that_a_spreadsheet_shows() {
        for end in ["\n", "\r\n"] {
            let rows = |rows: [&str; 4]| rows.map(|row| row.to_owned() + end).concat();
            assert!(read(&rows(["n,t", "1,\"a\nb\"", "2,", ",c"])).is_ok());
            let error = read(&rows(["n,t", "1,\"a\nb\"", "x,", "3,c"])).unwrap_err().to_string();
            assert!(error.contains("should be an integer is none in row 3; "), "{error}");
            let error = read(&rows(["n,t", "1,\"a\nb\"", "2,", "3"])).unwrap_err().to_string();
            assert!(error.contains("row 4 has too few or too many cells; "), "{error}");
        }
    }

    #[test]
    fn a_failing_disk_is_not_taken_for_a_damaged_report() {
        let failed = csv::Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let error = fault(Path::new("a.csv"), &failed).to_string();
        assert!(error.starts_with("a.csv: the disk is full"), "{error}");
    }
}
