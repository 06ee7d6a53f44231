//! The rows of the CSV reports once more, column by column: Parquet, for programs that read large tables.
//!
//! Made from the finished CSV files and nothing else, cell for cell: text is the CSV's own text, with what
//! it spells out or leaves out for safety. So the plan's hash, which binds the CSV files, binds what must stand
//! here, and an audit makes the files once more.

use super::file::REPORTS_DIRECTORY;
use super::tables::{Table, TableError};
use crate::model::Sha256Hash;
use crate::progress::{Interrupted, Progress, Unit};
use crate::publish::{PublishError, at, create_private_file};
use csv::ByteRecord;
use parquet::basic::{Compression, Type as Physical, ZstdLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// A row group ends after so many rows, or bytes of cells: it is what memory holds.
const GROUP_ROWS_MAX: usize = 128 * 1024;
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a sum must be below to have 38 digits. 2^63 times the most documents that fit on a disk is.
const SUM_MAX: u128 = 10_u128.pow(38);
const MADE_BY: &str = concat!("remelt version ", env!("CARGO_PKG_VERSION"));

const BALANCES: &str = "message balances {
    REQUIRED BYTE_ARRAY npub (STRING);
    REQUIRED BYTE_ARRAY mint_url (STRING);
    REQUIRED INT64 tokens_fixed;
    REQUIRED FIXED_LEN_BYTE_ARRAY (16) unspent_before (DECIMAL(38,0));
    REQUIRED FIXED_LEN_BYTE_ARRAY (16) unspent_after (DECIMAL(38,0));
    REQUIRED FIXED_LEN_BYTE_ARRAY (16) pending (DECIMAL(38,0));
    REQUIRED FIXED_LEN_BYTE_ARRAY (16) spent_before (DECIMAL(38,0));
    REQUIRED FIXED_LEN_BYTE_ARRAY (16) spent_after (DECIMAL(38,0));
    REQUIRED FIXED_LEN_BYTE_ARRAY (16) delta (DECIMAL(38,0));
}";
// Times are text: one date of year 292 million, which a document may hold, and readers that count
// microseconds can't read a column of timestamps at all.
const CHANGES: &str = "message changes {
    REQUIRED BYTE_ARRAY token_id (STRING);
    REQUIRED BYTE_ARRAY npub (STRING);
    REQUIRED BYTE_ARRAY wallet_id (STRING);
    REQUIRED BYTE_ARRAY mint_url (STRING);
    REQUIRED BYTE_ARRAY transaction_id (STRING);
    OPTIONAL INT64 amount;
    REQUIRED BYTE_ARRAY status_before (STRING);
    REQUIRED BYTE_ARRAY status_after (STRING);
    REQUIRED BYTE_ARRAY spent_at_before (STRING);
    REQUIRED BYTE_ARRAY spent_at_after (STRING);
    REQUIRED BYTE_ARRAY created_at (STRING);
}";
const FINDINGS: &str = "message findings {
    REQUIRED BYTE_ARRAY code (STRING);
    REQUIRED BYTE_ARRAY severity (STRING);
    REQUIRED BYTE_ARRAY token_id (STRING);
    REQUIRED BYTE_ARRAY npub (STRING);
    REQUIRED BYTE_ARRAY mint_url (STRING);
    OPTIONAL FIXED_LEN_BYTE_ARRAY (16) amount (DECIMAL(38,0));
    REQUIRED BYTE_ARRAY detail (STRING);
}";

/// A Parquet file of `reports/`.
#[derive(Debug)]
pub struct ParquetReport {
    /// Its name.
    pub name: &'static str,
    /// Name of the CSV file with the same rows.
    csv: &'static str,
    schema: &'static str,
}

/// The Parquet files, in the order of their names: all are there, or none.
pub const PARQUET_REPORTS: [ParquetReport; 4] = [
    ParquetReport { name: "balance_deltas.parquet", csv: "balance_deltas.csv", schema: BALANCES },
    ParquetReport { name: "balances.parquet", csv: "balances.csv", schema: BALANCES },
    ParquetReport { name: "changes.parquet", csv: "changes.csv", schema: CHANGES },
    ParquetReport { name: "findings.parquet", csv: "findings.csv", schema: FINDINGS },
];

/// Why rows can't be written as Parquet.
#[derive(Debug, thiserror::Error)]
pub enum ParquetReportError {
    /// The CSV file can't be read, or holds what remelt does not write.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The output can't be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Whether the plan in `directory` has Parquet files; one is enough, as then all must be there.
#[must_use]
pub fn has_parquet(directory: &Path) -> bool {
    let reports = directory.join(REPORTS_DIRECTORY);
    PARQUET_REPORTS.iter().any(|report| reports.join(report.name).symlink_metadata().is_ok())
}

/// Writes the Parquet files beside the CSV files of the plan in `directory`.
pub(super) fn write_parquet(
    directory: &Path,
    progress: &Progress,
) -> Result<(), ParquetReportError> {
    progress.begin("writing Parquet", 0, Unit::Bytes);
    for report in &PARQUET_REPORTS {
        let path = directory.join(REPORTS_DIRECTORY).join(report.name);
        let mut file = create_private_file(&path)?;
        report.write(directory, &mut file, progress)?;
        file.sync_all().map_err(at("sync", &path))?;
    }
    Ok(())
}

impl ParquetReport {
    /// SHA-256 of the file that the CSV file of the plan in `directory` gives.
    ///
    /// # Errors
    /// [`ParquetReportError`] when it gives none.
    pub fn hash_made_once_more(
        &self,
        directory: &Path,
        progress: &Progress,
    ) -> Result<Sha256Hash, ParquetReportError> {
        let mut hashing = Hashing(Sha256::new());
        self.write(directory, &mut hashing, progress)?;
        Ok(Sha256Hash(hashing.0.finalize().into()))
    }

    fn write<W: Write + Send>(
        &self,
        directory: &Path,
        sink: &mut W,
        progress: &Progress,
    ) -> Result<(), ParquetReportError> {
        let path = directory.join(REPORTS_DIRECTORY).join(self.name);
        let failed = |error| at("write", &path)(io_error(error));
        let mut table = Table::open(directory, self.csv)?;
        let schema = Arc::new(parse_message_type(self.schema).map_err(failed)?);
        let described = SchemaDescriptor::new(schema.clone());
        let mut columns: Vec<Column> =
            described.columns().iter().map(|column| Column::new(column)).collect();
        if !table.header().iter().eq(described.columns().iter().map(|it| it.name().as_bytes())) {
            return Err(table.odd(table.header(), "columns that remelt does not write").into());
        }
        let properties = WriterProperties::builder()
            .set_created_by(MADE_BY.to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let mut writer =
            SerializedFileWriter::new(sink, schema, Arc::new(properties)).map_err(failed)?;
        let mut row = ByteRecord::new();
        let mut more = table.next_into(&mut row)?;
        while more {
            progress.check()?;
            let (mut rows, mut bytes) = (0, 0);
            while more && rows < GROUP_ROWS_MAX && bytes < GROUP_BYTES_MAX {
                for (column, cell) in columns.iter_mut().zip(&row) {
                    column.push(cell).ok_or_else(|| {
                        table.odd(&row, "a cell of another kind than its column's")
                    })?;
                }
                rows += 1;
                bytes += row.as_slice().len();
                more = table.next_into(&mut row)?;
            }
            let mut group = writer.next_row_group().map_err(failed)?;
            for column in &mut columns {
                let Some(mut chunk) = group.next_column().map_err(failed)? else { break };
                column.write(&mut chunk).and_then(|()| chunk.close()).map_err(failed)?;
            }
            group.close().map_err(failed)?;
            progress.advance(bytes as u64);
        }
        writer.finish().map_err(failed)?;
        Ok(())
    }
}

/// The cells of one column of a row group.
struct Column {
    values: Values,
    /// 1 for each cell with a value, 0 for each empty one, where a cell may be empty.
    defined: Option<Vec<i16>>,
}

enum Values {
    /// One after another, and where each ends.
    Texts(Vec<u8>, Vec<usize>),
    Integers(Vec<i64>),
    /// 16 bytes each, the most significant first.
    Sums(Vec<u8>),
}

const SUM_BYTES: usize = 16;

impl Column {
    fn new(column: &ColumnDescriptor) -> Column {
        let values = match column.physical_type() {
            Physical::INT64 => Values::Integers(Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => Values::Sums(Vec::new()),
            _ => Values::Texts(Vec::new(), Vec::new()),
        };
        Column { values, defined: (column.max_def_level() > 0).then(Vec::new) }
    }

    /// Adds a cell; `None` when it is not of the column's kind.
    fn push(&mut self, cell: &[u8]) -> Option<()> {
        let cell = std::str::from_utf8(cell).ok()?;
        if let Some(defined) = &mut self.defined {
            defined.push(i16::from(!cell.is_empty()));
            if cell.is_empty() {
                return Some(());
            }
        }
        match &mut self.values {
            Values::Texts(bytes, ends) => {
                bytes.extend_from_slice(cell.as_bytes());
                ends.push(bytes.len());
            }
            Values::Integers(integers) => integers.push(cell.parse().ok()?),
            Values::Sums(bytes) => {
                let sum: i128 = cell.parse().ok()?;
                if sum.unsigned_abs() >= SUM_MAX {
                    return None;
                }
                bytes.extend_from_slice(&sum.to_be_bytes());
            }
        }
        Some(())
    }

    /// Writes the cells and forgets them.
    fn write(&mut self, chunk: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let defined = self.defined.as_deref();
        match &mut self.values {
            Values::Texts(bytes, ends) => {
                let all = ByteArray::from(std::mem::take(bytes));
                let mut start = 0;
                let next = |end| all.slice(start, end - std::mem::replace(&mut start, end));
                let texts: Vec<ByteArray> = ends.drain(..).map(next).collect();
                chunk.typed::<ByteArrayType>().write_batch(&texts, defined, None)?;
            }
            Values::Integers(integers) => {
                chunk.typed::<Int64Type>().write_batch(integers, defined, None)?;
                integers.clear();
            }
            Values::Sums(bytes) => {
                let all = ByteArray::from(std::mem::take(bytes));
                let starts = (0..all.len()).step_by(SUM_BYTES);
                let sums: Vec<FixedLenByteArray> =
                    starts.map(|start| all.slice(start, SUM_BYTES).into()).collect();
                chunk.typed::<FixedLenByteArrayType>().write_batch(&sums, defined, None)?;
            }
        }
        self.defined.iter_mut().for_each(Vec::clear);
        Ok(())
    }
}

/// What the output said; the library fails by itself only when it is not used as it must be.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

/// Hashes what is written to it.
struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use std::fs::{self, File};

    const HEADER: &str = "code,severity,token_id,npub,mint_url,amount,detail\r\n";

    /// Writes `findings.csv` with these rows, and the Parquet file of it.
    fn write(directory: &Path, rows: &str) -> Result<File, ParquetReportError> {
        let reports = directory.join(REPORTS_DIRECTORY);
        fs::create_dir_all(&reports).unwrap();
        fs::write(reports.join("findings.csv"), format!("{HEADER}{rows}")).unwrap();
        let path = directory.join("findings.parquet");
        let report = &PARQUET_REPORTS[3];
        report.write(directory, &mut File::create(&path).unwrap(), &Progress::new())?;
        Ok(File::open(&path).unwrap())
    }

    /// Rows of each row group.
    fn groups(file: File) -> Vec<i64> {
        let reader = SerializedFileReader::new(file).unwrap();
        reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect()
    }

    #[test]
    fn row_groups_end_where_memory_would() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(groups(write(root.path(), "").unwrap()), Vec::<i64>::new());
        let short = "c,low,t,n,m,-5,d\r\n".repeat(GROUP_ROWS_MAX + 3);
        assert_eq!(groups(write(root.path(), &short).unwrap()), [131_072, 3]);
        // Four of these rows fill a group to the byte.
        let long =
            format!("c,low,t,n,m,,{}\r\n", "d".repeat(GROUP_BYTES_MAX / 4 - "clowtnm".len()));
        assert_eq!(groups(write(root.path(), &long.repeat(9)).unwrap()), [4, 4, 1]);
    }

    #[test]
    fn a_cell_that_remelt_does_not_write_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let sum =
            |digits: usize| format!("c,low,t,n,m,1,d\r\nc,low,t,n,m,-{},d\r\n", "9".repeat(digits));
        assert!(write(root.path(), &sum(38)).is_ok());
        for rows in [sum(39), sum(0)] {
            let error = write(root.path(), &rows).unwrap_err().to_string();
            assert!(error.contains("in row 3;"), "{error}");
        }
        let reports = root.path().join(REPORTS_DIRECTORY);
        fs::write(reports.join("findings.csv"), HEADER.replace("npub", "user")).unwrap();
        let made = PARQUET_REPORTS[3].hash_made_once_more(root.path(), &Progress::new());
        assert!(matches!(made, Err(ParquetReportError::Table(_))), "{made:?}");
    }
}
