//! CSV rows for spreadsheets: RFC 4180, UTF-8, and no cell that a spreadsheet would run.

use crate::document::holds_token;
use crate::model::hash_bytes;
use std::fmt::Display;
use std::io::Write;

/// Most room that is made for rows to come.
const EXPECTED_BYTES_MAX: usize = 64 * 1024;

/// Rows in memory, written one cell after another.
#[derive(Debug, Default)]
pub struct CsvRows {
    bytes: Vec<u8>,
    is_in_row: bool,
}

impl CsvRows {
    /// No rows.
    #[must_use]
    pub fn new() -> CsvRows {
        CsvRows::default()
    }

    /// A header row.
    #[must_use]
    pub fn with_header(columns: &[&str]) -> CsvRows {
        let mut rows = CsvRows::new();
        for column in columns {
            rows.raw(column.as_bytes());
        }
        rows.end_row();
        rows
    }

    fn begin_cell(&mut self) {
        if self.is_in_row {
            self.bytes.push(b',');
        }
        self.is_in_row = true;
    }

    fn raw(&mut self, cell: &[u8]) {
        self.begin_cell();
        if needs_quotes(cell) {
            self.quoted(cell);
        } else {
            self.bytes.extend_from_slice(cell);
        }
    }

    fn quoted(&mut self, cell: &[u8]) {
        self.bytes.push(b'"');
        for part in cell.split_inclusive(|byte| *byte == b'"') {
            self.bytes.extend_from_slice(part);
            if part.ends_with(b"\"") {
                self.bytes.push(b'"');
            }
        }
        self.bytes.push(b'"');
    }

    /// Cells that another [`CsvRows`] wrote, one or more.
    pub(super) fn cells(&mut self, cells: &[u8]) {
        self.begin_cell();
        self.bytes.extend_from_slice(cells);
    }

    /// A cell of text from the data, neutralised; bytes that are not UTF-8 become U+FFFD. Text that
    /// holds an encoded ecash token is named by its SHA-256 alone.
    pub fn text(&mut self, cell: &[u8]) {
        if holds_token(cell) {
            let hash = hash_bytes(cell).to_string();
            return self.raw(format!("(ecash token, SHA-256 {}...)", &hash[..16]).as_bytes());
        }
        if is_plain(cell) {
            return self.cells(cell);
        }
        match std::str::from_utf8(cell) {
            Ok(text) if !needs_neutralising(text) => self.raw(cell),
            Ok(text) => self.raw(neutralised(text).as_bytes()),
            Err(_) => self.raw(neutralised(&String::from_utf8_lossy(cell)).as_bytes()),
        }
    }

    /// A cell of our own making, which needs no quotes: a code, a time.
    pub fn own(&mut self, cell: impl Display) {
        self.begin_cell();
        // Writing to a Vec can't fail.
        let _ = write!(self.bytes, "{cell}");
    }

    /// A cell of our own words, in parts.
    pub(super) fn own_words(&mut self, words: &[&str]) {
        if words.iter().any(|part| needs_quotes(part.as_bytes())) {
            return self.raw(words.concat().as_bytes());
        }
        self.begin_cell();
        words.iter().for_each(|part| self.bytes.extend_from_slice(part.as_bytes()));
    }

    /// A cell with an integer.
    pub(super) fn integer(&mut self, number: impl itoa::Integer) {
        self.cells(itoa::Buffer::new().format(number).as_bytes());
    }

    /// An amount, or an empty cell.
    pub(super) fn amount(&mut self, amount: Option<impl itoa::Integer>) {
        match amount {
            Some(amount) => self.integer(amount),
            None => self.begin_cell(),
        }
    }

    /// A cell that is empty when there is nothing to say.
    pub fn own_if(&mut self, cell: Option<impl Display>) {
        match cell {
            Some(cell) => self.own(cell),
            None => self.raw(b""),
        }
    }

    /// Ends the row.
    pub fn end_row(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
        self.is_in_row = false;
    }

    /// The rows so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.is_in_row = false;
    }

    /// Takes the rows out; about as many again are expected, and room for them is made up to a bound.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.is_in_row = false;
        let expected = (self.bytes.len() + self.bytes.len() / 8).min(EXPECTED_BYTES_MAX);
        std::mem::replace(&mut self.bytes, Vec::with_capacity(expected))
    }
}

// The checks of whole cells look at every byte without stopping, which compilers turn into vector code.

fn needs_quotes(cell: &[u8]) -> bool {
    cell.iter().fold(false, |needs, byte| needs | matches!(byte, b',' | b'"' | b'\r' | b'\n'))
}

/// Characters that change how the text around them is shown or read: controls and the marks of the
/// Unicode bidirectional algorithm.
fn is_deceptive(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\r' && c != '\t'
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{061c}')
}

/// Whether a cell is printable ASCII that begins like a name or a number and needs no quotes: the usual
/// case, seen fast.
fn is_plain(cell: &[u8]) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b',') & (byte != b'"');
    cell.first().is_none_or(u8::is_ascii_alphanumeric)
        && cell.iter().fold(true, |all, byte| all & is_plain(*byte))
}

fn starts_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\0', '＝', '＋', '－', '＠'])
        || text.trim_start().starts_with(['=', '+', '-', '@'])
}

/// `text` as a cell shows it.
#[must_use]
pub fn cell_text(text: &str) -> String {
    if needs_neutralising(text) { neutralised(text) } else { text.to_owned() }
}

/// `text` for a terminal: characters that would change how other text is shown are spelled out.
#[must_use]
pub fn printable(text: &str) -> String {
    spelled_out(text, |c| is_deceptive(c) || c == '\r')
}

/// `text` for people as one line: what would break, pad or hide a part of it is spelled out, too.
#[must_use]
pub fn printable_line(text: &str) -> String {
    let ends_or_pads = |c| matches!(c, '\r' | '\n' | '\t' | '\u{2028}' | '\u{2029}' | '\u{ad}');
    spelled_out(text, |c| is_deceptive(c) || ends_or_pads(c))
}

fn spelled_out(text: &str, is_spelled: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_spelled(c) {
            safe.push_str(&format!("\\u{{{:04x}}}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

fn needs_neutralising(text: &str) -> bool {
    starts_formula(text) || text.chars().any(is_deceptive)
}

/// `text` with an apostrophe before what a spreadsheet would run, and deceptive characters spelled out.
fn neutralised(text: &str) -> String {
    let apostrophe = if starts_formula(text) { "'" } else { "" };
    format!("{apostrophe}{}", spelled_out(text, is_deceptive))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> String {
        let mut rows = CsvRows::new();
        cells.iter().for_each(|cell| rows.text(cell.as_bytes()));
        rows.end_row();
        String::from_utf8(rows.take()).unwrap()
    }

    #[test]
    fn cells_are_quoted_as_rfc_4180_says() {
        assert_eq!(
            row(&["a", "b,c", "say \"hi\"", "two\nlines", ""]),
            "a,\"b,c\",\"say \"\"hi\"\"\",\"two\nlines\",\r\n"
        );
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_neutralised() {
        assert_eq!(
            row(&["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", " =1"]),
            "'=cmd|' /C calc'!A0,'+1,'-1,'@SUM(A1),' =1\r\n"
        );
        assert_eq!(row(&["\tx", "\rx", "\0x"]), "'\tx,\"'\rx\",'\\u{0000}x\r\n");
        assert_eq!(row(&["a\u{202e}b", "ok-fine"]), "a\\u{202e}b,ok-fine\r\n");
    }

    #[test]
    fn room_for_rows_to_come_is_bounded() {
        let mut rows = CsvRows::new();
        for (cell_bytes, expected) in [(800, 902), (4 * EXPECTED_BYTES_MAX, EXPECTED_BYTES_MAX)] {
            rows.text("x".repeat(cell_bytes).as_bytes());
            rows.end_row();
            assert_eq!(rows.take().len(), cell_bytes + 2);
            assert_eq!(rows.bytes.capacity(), expected);
        }
    }

    #[test]
    fn long_cells_and_bytes_that_are_not_text_survive() {
        let long = "x".repeat(1000);
        assert_eq!(row(&[&long]), format!("{long}\r\n"));
        let mut rows = CsvRows::new();
        rows.text(b"a\xffb");
        rows.end_row();
        assert_eq!(rows.bytes(), "a\u{fffd}b\r\n".as_bytes());
    }
}
