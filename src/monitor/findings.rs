//! The findings of a pass: `findings.csv` kept open, with where each row begins.
//!
//! The rows stay on disk, in a file that has lost its name; in memory are eight bytes a row and
//! eight more for each row of a user. Of more than [`FINDINGS_INDEXED_MAX`] rows the first ones can be
//! looked up; the others are counted.

use super::users::Users;
use crate::model::{FindingCode, Severity};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufReader};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Rows that can be looked up.
pub const FINDINGS_INDEXED_MAX: usize = 5_000_000;

/// One row of `findings.csv`, with the same cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingRow {
    /// What was found.
    pub code: String,
    /// How much it matters.
    pub severity: String,
    /// The document.
    pub token_id: String,
    /// Its user.
    pub npub: String,
    /// Its mint.
    pub mint_url: String,
    /// The amount in question; an integer as text, or empty.
    pub amount: String,
    /// In words.
    pub detail: String,
}

/// Which findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FindingFilter<'a> {
    /// Of this kind.
    pub code: Option<FindingCode>,
    /// Of kinds of this severity.
    pub severity: Option<Severity>,
    /// Of this user.
    pub npub: Option<&'a str>,
}

/// A page of findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingPage {
    /// Findings that pass the filter, those that can't be looked up among them.
    pub total: u64,
    /// Those of the page.
    pub rows: Vec<FindingRow>,
}

/// All findings of a pass.
#[derive(Debug)]
pub struct Findings {
    file: File,
    /// Where each row begins, and the end of the last one.
    starts: Vec<u64>,
    /// The rows of one code after another; the report has one run of each code.
    runs: Vec<(FindingCode, Range<u32>)>,
    /// User and row, sorted.
    by_user: Vec<(u32, u32)>,
    /// How many rows of each code come after those that can be looked up.
    beyond: [u64; FindingCode::ALL.len()],
}

impl Findings {
    /// Reads `path` once, to know where everything is, of `rows_max` rows at most. Counts the findings of
    /// each of `users`.
    pub(super) fn index(path: &Path, users: &mut Users, rows_max: usize) -> io::Result<Findings> {
        let file = File::open(path)?;
        let mut rows =
            csv::Reader::from_reader(BufReader::with_capacity(1 << 20, file.try_clone()?));
        rows.byte_headers()?;
        let mut found = Findings {
            file,
            starts: Vec::new(),
            runs: Vec::new(),
            by_user: Vec::new(),
            beyond: [0; FindingCode::ALL.len()],
        };
        let mut row = csv::ByteRecord::new();
        loop {
            let start = rows.position().byte();
            if found.starts.len() <= rows_max {
                found.starts.push(start); // of the row after the last it is only its end
            }
            if !rows.read_byte_record(&mut row)? {
                break;
            }
            let (Some(code), Some(npub)) = (row.get(0).and_then(code_of), row.get(3)) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let user = users.count_finding(npub, code);
            if found.starts.len() > rows_max {
                found.beyond[code.index()] += 1;
                continue;
            }
            let number =
                u32::try_from(found.starts.len() - 1).map_err(|_| io::ErrorKind::InvalidData)?;
            match found.runs.last_mut() {
                Some((last, rows)) if *last == code => rows.end = number + 1,
                _ => found.runs.push((code, number..number + 1)),
            }
            found.by_user.extend(user.map(|user| (user, number)));
        }
        found.by_user.sort_unstable();
        Ok(found)
    }

    /// Findings `offset` to `offset + limit` of those that pass `filter`, in the order of the report.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn page(
        &self,
        filter: FindingFilter<'_>,
        users: &Users,
        offset: u64,
        limit: usize,
    ) -> io::Result<FindingPage> {
        let wanted = |code: FindingCode| {
            filter.code.is_none_or(|only| only == code)
                && filter.severity.is_none_or(|only| only == code.severity())
        };
        let mut page = Page { skip: offset, limit, total: 0, numbers: Vec::new() };
        let counted = |of: &dyn Fn(FindingCode) -> u64| -> u64 {
            FindingCode::ALL.iter().filter(|code| wanted(**code)).map(|code| of(*code)).sum()
        };
        let total = match filter.npub {
            Some(npub) => {
                let rows = users.position(npub).map_or(&[][..], |user| self.rows_of(user));
                let rows = rows.iter().map(|(_, row)| *row);
                rows.filter(|row| wanted(self.code(*row))).for_each(|row| page.add(row..row + 1));
                users.get(npub).map_or(0, |user| counted(&|code| user.findings(code)))
            }
            None => {
                let runs = self.runs.iter().filter(|(code, _)| wanted(*code));
                runs.for_each(|(_, rows)| page.add(rows.clone()));
                page.total + counted(&|code| self.beyond[code.index()])
            }
        };
        Ok(FindingPage { total, rows: self.read(&page.numbers)? })
    }

    fn code(&self, row: u32) -> FindingCode {
        self.runs[self.runs.partition_point(|(_, rows)| rows.end <= row)].0
    }

    fn rows_of(&self, user: u32) -> &[(u32, u32)] {
        let from = self.by_user.partition_point(|(of, _)| *of < user);
        let to = self.by_user.partition_point(|(of, _)| *of <= user);
        &self.by_user[from..to]
    }

    /// Reads rows by their numbers. One reader for all: making one costs more than a row.
    fn read(&self, numbers: &[u32]) -> io::Result<Vec<FindingRow>> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let mut bytes = Vec::new();
        for number in numbers {
            let [start, end] = self.starts[*number as usize..][..2] else { return Err(invalid()) };
            let before = bytes.len();
            bytes.resize(before + usize::try_from(end - start).map_err(|_| invalid())?, 0);
            self.file.read_exact_at(&mut bytes[before..], start)?;
        }
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&*bytes);
        let mut rows = Vec::with_capacity(numbers.len());
        let mut cells = csv::StringRecord::new();
        while reader.read_record(&mut cells)? {
            let cell = |at: usize| cells.get(at).unwrap_or_default().to_owned();
            rows.push(FindingRow {
                code: cell(0),
                severity: cell(1),
                token_id: cell(2),
                npub: cell(3),
                mint_url: cell(4),
                amount: cell(5),
                detail: cell(6),
            });
        }
        if rows.len() == numbers.len() { Ok(rows) } else { Err(invalid()) }
    }
}

fn code_of(cell: &[u8]) -> Option<FindingCode> {
    FindingCode::from_code(std::str::from_utf8(cell).ok()?)
}

struct Page {
    /// Rows that come before the page.
    skip: u64,
    limit: usize,
    total: u64,
    numbers: Vec<u32>,
}

impl Page {
    fn add(&mut self, rows: Range<u32>) {
        let count = u64::from(rows.end - rows.start);
        self.total += count;
        let skipped = self.skip.min(count);
        self.skip -= skipped;
        let first = rows.start + u32::try_from(skipped).unwrap_or(u32::MAX);
        let room = self.limit - self.numbers.len();
        self.numbers.extend((first..rows.end).take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_part_of_all_rows_whatever_runs_they_come_in() {
        let runs = [0..3, 5..5, 7..8, 9..14];
        let all: Vec<u32> = runs.iter().cloned().flatten().collect();
        for skip in 0..=all.len() + 1 {
            for limit in 0..=all.len() + 1 {
                let mut page = Page { skip: skip as u64, limit, total: 0, numbers: Vec::new() };
                runs.iter().cloned().for_each(|rows| page.add(rows));
                let expected: Vec<u32> = all.iter().copied().skip(skip).take(limit).collect();
                assert_eq!((page.numbers, page.total), (expected, all.len() as u64));
            }
        }
    }
    #[test]
    fn rows_that_cannot_be_looked_up_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let balances = file(
            "balances.csv",
            "npub,mint_url,tokens_fixed,unspent_before,unspent_after,pending,spent_before,spent_after,delta\na,m,0,0,0,0,0,0,0\nb,m,0,0,0,0,0,0,0\n",
        );
        let findings = file(
            "findings.csv",
            "code,severity,token_id,npub,mint_url,amount,detail\n\
             inconsistent_status,high,1,a,m,8,x\n\
             inconsistent_status,high,2,b,m,8,x\n\
             orphaned_tokens,medium,3,a,m,,x\n\
             orphaned_tokens,medium,4,b,m,,x\n",
        );
        let filters = [
            (FindingFilter::default(), 4),
            (FindingFilter { npub: Some("b"), ..FindingFilter::default() }, 2),
            (FindingFilter { npub: Some("c"), ..FindingFilter::default() }, 0),
            (
                FindingFilter {
                    code: Some(FindingCode::OrphanedTokens),
                    ..FindingFilter::default()
                },
                2,
            ),
            (
                FindingFilter {
                    severity: Some(Severity::Medium),
                    npub: Some("b"),
                    ..FindingFilter::default()
                },
                1,
            ),
        ];
        for rows_max in 0..=5 {
            let mut users = Users::read(&balances).unwrap();
            let found = Findings::index(&findings, &mut users, rows_max).unwrap();
            for (filter, total) in filters {
                let page = found.page(filter, &users, 0, 10).unwrap();
                assert_eq!(page.total, total, "{filter:?} of {rows_max}");
                let ids = page.rows.iter().map(|row| row.token_id.parse::<usize>().unwrap());
                assert!(ids.clone().all(|id| id <= rows_max), "{filter:?} of {rows_max}");
                if rows_max >= 4 {
                    assert_eq!(ids.count() as u64, total, "{filter:?}");
                }
            }
        }
    }
}
