//! The first rows of each finding, cut to what a page shows: a sample for people.
//!
//! Taken while `findings.csv` is written, or read back from it by whoever checks the page; both give the
//! same rows. Bounded by [`ROWS_SHOWN_MAX`] rows a code and [`CELL_CHARS_MAX`] characters a cell.

use crate::model::FindingCode;

/// Most rows kept of each code.
pub const ROWS_SHOWN_MAX: usize = 300;
/// Most characters kept of a cell.
pub const CELL_CHARS_MAX: usize = 100;

/// A cell of a report, cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownCell {
    /// The first [`CELL_CHARS_MAX`] characters.
    pub text: String,
    /// How many the cell has.
    pub chars: usize,
}

impl ShownCell {
    /// Of a cell's bytes.
    #[must_use]
    pub fn of(cell: &[u8]) -> ShownCell {
        let text = String::from_utf8_lossy(cell);
        match text.char_indices().nth(CELL_CHARS_MAX) {
            None => ShownCell { chars: text.chars().count(), text: text.into_owned() },
            Some((end, _)) => {
                ShownCell { chars: text.chars().count(), text: text[..end].to_owned() }
            }
        }
    }

    /// Whether something was cut off.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.chars > CELL_CHARS_MAX
    }
}

/// Rows of `findings.csv`, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownFindings {
    /// The first rows of each code: the cells after `severity`.
    pub first: Vec<(FindingCode, [ShownCell; 5])>,
    rows: [u64; FindingCode::ALL.len()],
}

impl ShownFindings {
    /// Rows of `code` in all.
    #[must_use]
    pub fn rows(&self, code: FindingCode) -> u64 {
        self.rows[code.index()]
    }

    /// Takes one row, whose cells `cells` gives when they are wanted.
    pub fn offer<'a>(&mut self, code: FindingCode, cells: impl FnOnce() -> [&'a [u8]; 5]) {
        let rows = &mut self.rows[code.index()];
        *rows += 1;
        if *rows <= ROWS_SHOWN_MAX as u64 {
            self.first.push((code, cells().map(ShownCell::of)));
        }
    }

    /// Takes whole rows of one code as their bytes will stand in the file.
    pub(super) fn offer_rows(&mut self, code: FindingCode, rows: &[u8]) {
        let count = count_rows(rows);
        let wanted = (ROWS_SHOWN_MAX as u64).saturating_sub(self.rows(code)).min(count);
        if wanted > 0 {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(rows);
            let mut cells = csv::ByteRecord::new();
            for _ in 0..wanted {
                // Rows of our own making, in memory: reading them can't fail.
                let _ = reader.read_byte_record(&mut cells);
                let cell = |at: usize| cells.get(at + 2).unwrap_or_default();
                self.offer(code, || std::array::from_fn(cell));
            }
        }
        self.rows[code.index()] += count - wanted;
    }

    /// Puts the rows, which came code by code in any order, into the file's order.
    pub(super) fn sort(&mut self) {
        self.first.sort_by_key(|(code, _)| code.index());
    }
}

/// Rows end with a line feed outside quotes; a quote within quotes is doubled, so that it changes nothing.
fn count_rows(rows: &[u8]) -> u64 {
    let (mut count, mut is_quoted) = (0, false);
    for at in memchr::memchr2_iter(b'"', b'\n', rows) {
        match rows[at] {
            b'"' => is_quoted = !is_quoted,
            _ => count += u64::from(!is_quoted),
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cell_is_cut_between_characters_and_says_how_long_it_was() {
        let whole = ShownCell::of("é".repeat(100).as_bytes());
        assert_eq!((whole.chars, whole.is_cut(), whole.text.len()), (100, false, 200));
        let cut = ShownCell::of("é".repeat(1_000_000).as_bytes());
        assert_eq!((cut.chars, cut.is_cut(), cut.text), (1_000_000, true, whole.text));
    }

    #[test]
    fn rows_from_the_file_and_rows_on_their_way_are_the_same() {
        let code = FindingCode::InvalidAmounts;
        let row = b"invalid_amounts,medium,id,\"a \"\"user\"\"\n\",mint,,\"x, y\"\r\n";
        let (mut written, mut read) = (ShownFindings::default(), ShownFindings::default());
        for _ in 0..=ROWS_SHOWN_MAX / 2 {
            written.offer_rows(code, &[&row[..], &row[..]].concat());
        }
        for _ in 0..=ROWS_SHOWN_MAX + 1 {
            read.offer(code, || [b"id", b"a \"user\"\n", b"mint", b"", b"x, y"]);
        }
        assert_eq!(written, read);
        assert_eq!((written.first.len() as u64, written.rows(code)), (300, 302));
    }
}
